"""Who serves a model: what host names, prefixes and families of names say about it."""

from __future__ import annotations

import re
from typing import Literal

Region = Literal["cn", "intl"]

#: Vendors with one price list for mainland China and another for everybody else. Which of the two
#: bills a round is said by the upstream's domain, by the user's ``[regions]``, or not at all.
FAMILIES: dict[str, dict[Region, str]] = {
    "alibaba": {"cn": "alibaba-cn", "intl": "alibaba-intl"},
    "glm": {"cn": "zhipu", "intl": "zai"},
    "moonshot": {"cn": "moonshot-cn", "intl": "moonshot-intl"},
    "minimax": {"cn": "minimax-cn", "intl": "minimax-intl"},
}

#: The words by which operators and clients call a provider, to a provider or a family.
WORDS: dict[str, str] = {
    "ai21": "ai21",
    "alibaba": "alibaba",
    "alibaba-cn": "alibaba-cn",
    "alibaba-intl": "alibaba-intl",
    "aliyun": "alibaba",
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "anthropic": "anthropic",
    "ark": "volcengine",
    "aws": "aws",
    "azure": "azure",
    "azure-openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "bailian": "alibaba",
    "bedrock": "aws",
    "bigmodel": "zhipu",
    "cerebras": "cerebras",
    "claude": "anthropic",
    "cohere": "cohere",
    "dashscope": "alibaba",
    "dashscope-intl": "alibaba-intl",
    "deepseek": "deepseek",
    "doubao": "volcengine",
    "fireworks": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "glm": "glm",
    "google": "google",
    "google-vertex": "google",
    "grok": "x-ai",
    "groq": "groq",
    "kimi": "moonshot",
    "minimax": "minimax",
    "minimax-cn": "minimax-cn",
    "minimax-intl": "minimax-intl",
    "mistral": "mistral",
    "models": "google",
    "moonshot": "moonshot",
    "moonshot-cn": "moonshot-cn",
    "moonshot-intl": "moonshot-intl",
    "moonshotai": "moonshot",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "qwen": "alibaba",
    "together": "together",
    "together_ai": "together",
    "tongyi": "alibaba",
    "vertex": "google",
    "vertex-ai": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "volcengine": "volcengine",
    "voyage": "voyageai",
    "voyageai": "voyageai",
    "x-ai": "x-ai",
    "xai": "x-ai",
    "z-ai": "zai",
    "zai": "zai",
    "zhipu": "zhipu",
    "zhipuai": "zhipu",
}

#: As the first part of a model's name these say who made it, not who serves it.
_AUTHORS = {"qwen", "amazon", "ai21"}

#: They serve other people's models, under names that hold the author.
RESELLERS = frozenset({"cerebras", "fireworks", "groq", "novita", "openrouter", "together"})

_DOMAINS: dict[str, str] = {
    "dashscope.aliyuncs.com": "alibaba-cn",
    "dashscope-finance.aliyuncs.com": "alibaba-cn",
    "dashscope-intl.aliyuncs.com": "alibaba-intl",
    "aiplatform.googleapis.com": "google",
    "anthropic.com": "anthropic",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.minimax.chat": "minimax-cn",
    "api.minimax.io": "minimax-intl",
    "api.minimaxi.com": "minimax-cn",
    "api.moonshot.ai": "moonshot-intl",
    "api.moonshot.cn": "moonshot-cn",
    "api.z.ai": "zai",
    "bigmodel.cn": "zhipu",
    "cerebras.ai": "cerebras",
    "cognitiveservices.azure.com": "azure",
    "deepseek.com": "deepseek",
    "fireworks.ai": "fireworks",
    "generativelanguage.googleapis.com": "google",
    "groq.com": "groq",
    "mistral.ai": "mistral",
    "novita.ai": "novita",
    "openai.azure.com": "azure",
    "openai.com": "openai",
    "openrouter.ai": "openrouter",
    "perplexity.ai": "perplexity",
    "services.ai.azure.com": "azure",
    "together.ai": "together",
    "together.xyz": "together",
    "volces.com": "volcengine",
    "voyageai.com": "voyageai",
    "x.ai": "x-ai",
}
_VERTEX = re.compile(r"[a-z0-9-]+-aiplatform\.googleapis\.com")
_BEDROCK = re.compile(r"bedrock(?:-runtime|-mantle)?(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")
#: Higress derives the address of an upstream from the name that its operator gave to the provider.
_OPERATORS_NAME = re.compile(r"llm-([a-z0-9_.-]+)\.internal(?:\.dns|\.static)?")

#: Beginnings of names that only one vendor gives out. Open models that many serve are not here.
_FIRST_PARTY: tuple[tuple[str, str], ...] = (
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("codex-", "openai"),
    ("text-embedding-3", "openai"),
    ("text-embedding-ada", "openai"),
    ("ft:gpt-", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "google"),
    ("grok-", "x-ai"),
    ("mistral-", "mistral"),
    ("ministral-", "mistral"),
    ("magistral-", "mistral"),
    ("codestral-", "mistral"),
    ("devstral-", "mistral"),
    ("pixtral-", "mistral"),
    ("open-mistral-", "mistral"),
    ("open-mixtral-", "mistral"),
    ("command-", "cohere"),
    ("sonar", "perplexity"),
    ("voyage-", "voyageai"),
    ("qwen", "alibaba"),
    ("qwq-", "alibaba"),
    ("qvq-", "alibaba"),
    ("text-embedding-v", "alibaba"),
    ("gte-rerank", "alibaba"),
    ("glm-", "glm"),
    ("charglm-", "glm"),
    ("codegeex-", "glm"),
    ("deepseek-", "deepseek"),
    ("kimi-", "moonshot"),
    ("moonshot-", "moonshot"),
    ("minimax-", "minimax"),
    ("abab", "minimax"),
    ("doubao-", "volcengine"),
)


#: Open weights: under these bare names many serve them.
_OPEN_WEIGHTS = ("deepseek-r1", "deepseek-v3")
#: Open weights that their maker does not serve, so that `openai/…` is an author here.
_ONLY_OTHERS_SERVE = "gpt-oss-"


def of_prefix(word: str, rest: str) -> str | None:
    """The provider or family that the `word` of ``word/rest`` names; None for an author, and for nobody."""
    return None if word in _AUTHORS or rest.startswith(_ONLY_OTHERS_SERVE) else WORDS.get(word)


def of_domain(host: str) -> str | None:
    """The provider that a public domain belongs to. `host` may carry a port."""
    name = host.strip().lower().partition(":")[0].rstrip(".")
    if _BEDROCK.fullmatch(name):
        return "aws"
    if _VERTEX.fullmatch(name):
        return "google"
    while name:
        if name in _DOMAINS:
            return _DOMAINS[name]
        name = name.partition(".")[2]
    return None


def of_operators_name(host: str) -> str | None:
    """The provider or family that an operator's own upstream name suggests, if it is exactly a known word."""
    match = _OPERATORS_NAME.fullmatch(host.strip().lower().partition(":")[0])
    return WORDS.get(match[1]) if match else None


def of_family(name: str) -> str | None:
    """The provider or family whose own names begin like `name`."""
    if name.startswith(_ONLY_OTHERS_SERVE):
        return None
    for beginning, provider in _FIRST_PARTY:
        if name.startswith(beginning):
            return provider
    return None


def known() -> frozenset[str]:
    """Every name by which a price row can mean a provider or family."""
    return frozenset(WORDS.values()) | frozenset(name for family in FAMILIES.values() for name in family.values())


def served_by_many(name: str) -> bool:
    """Whether whoever asks for `name` may well mean somebody else than its maker."""
    return name.startswith(_OPEN_WEIGHTS)
