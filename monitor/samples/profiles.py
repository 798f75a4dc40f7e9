"""What the sample gateway serves, to whom, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["full", "lite", "bare"]
Shape = Literal["openai", "compact", "plain", "anthropic", "gemini"]

SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Model:
    """A model behind the gateway and how its provider reports tokens.

    - ``openai``: details in full; cached tokens inside input, reasoning inside output.
    - ``compact``: details with only the cached and the reasoning tokens (Qwen, GLM, DeepSeek).
    - ``plain``: no details at all.
    - ``anthropic``: native ``/v1/messages``; cache reads and writes beside input, only in the details.
    - ``gemini``: native ``generateContent``; thoughts beside output, only in the details.
    """

    name: str
    shape: Shape = "openai"
    provider: str = "openai"
    #: Share of the answers that think first.
    thinks: float = 0.0
    #: Whether the thoughts are in the answer as text (``reasoning_content``).
    shows_reasoning: bool = False

    @property
    def host(self) -> str:
        """The gateway's name for the service behind, as in ``upstream_cluster``."""
        return f"llm-{self.provider}.internal.dns"


MODELS: dict[str, Model] = {
    m.name: m
    for m in (
        Model("gpt-5.4", "openai", "openai", thinks=0.8),
        Model("gpt-5.4-mini", "openai", "openai", thinks=0.2),
        Model("claude-sonnet-4-6", "anthropic", "claude"),
        Model("qwen3.5-plus", "compact", "aliyun", thinks=0.5, shows_reasoning=True),
        Model("glm-5", "compact", "zhipu", thinks=0.4, shows_reasoning=True),
        Model("deepseek-chat", "compact", "deepseek"),
        Model("kimi-k2.5", "plain", "moonshot", thinks=0.5, shows_reasoning=True),
        Model("gemini-2.5-pro", "gemini", "gemini", thinks=0.9),
        Model("in-house-7b", "plain", "in-house"),
    )
}


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends requests: `key` is the session id it sends, with ``{uuid}`` and ``{n}`` filled in.

    None sends none. A key without a blank is one lasting session that starts a fresh context now
    and then, as after OpenClaw's ``/new``.
    """

    key: str | None
    weight: float = 1.0
    #: OpenClaw ends the first user message with a line that names the session.
    openclaw: bool = True
    user_agent: str = "OpenAI/JS 7.15.0"
    models: tuple[str, ...] = ()


_OPENCLAW_CLIENTS = (
    Client("agent:main:main", 3),
    Client("agent:main:discord:channel:1480012345678901234", 2),
    Client("agent:main:discord:channel:1480012345678905678", 1),
    Client("agent:research:telegram:group:-1002003004005", 2),
    Client("agent:main:cron:nightly-report", 1),
    Client("agent:main:subagent:{uuid}", 2),
    Client("agent:coder:slack:channel:c0{n}", 2),
    Client("agent:main:explicit:trip-planning", 1),
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What to generate. Shares are between 0 and 1; times are milliseconds."""

    name: str
    #: What the ``ai_log`` holds: with conversations, the Console's default without, or config ``{}``.
    mode: Mode = "full"
    #: Requests per session, on average, and how far a session may be from it.
    turns: int
    turns_spread: float = 0.3
    #: Sessions that talk at the same time.
    sessions: int = 8
    #: Sessions in all; None goes on for ever.
    total_sessions: int | None = None
    system_prompt_bytes: int = 2000
    #: Tokens that every request has besides its messages: the definitions of the tools.
    tool_definition_tokens: int = 150
    #: Share of the answers that call a tool.
    tool_turn_share: float = 0.4
    #: Lines in a tool's result, on average.
    tool_result_lines: int = 8
    stream_share: float = 0.7
    failure_share: float = 0.02
    #: Share of the streams that ended well but never said what they used.
    unmetered_share: float = 0.01
    #: Share of the sessions of any client that send no session id.
    sessionless_share: float = 0.02
    non_ai_share: float = 0.03
    foreign_share: float = 0.002
    #: Name and weight; a name that `MODELS` does not hold is served in the ``openai`` shape.
    models: tuple[tuple[str, float], ...] = (("gpt-5.4", 1.0),)
    clients: tuple[Client, ...] = (Client("agent:main:explicit:{uuid}"), Client("{uuid}", openclaw=False))
    #: Empty where the gateway is not told to log who called.
    consumers: tuple[str, ...] = ()
    #: Prefixes of route names.
    routes: tuple[str, ...] = ("ai-route",)
    chinese_share: float = 0.3
    start: int = 1_769_938_200_000  # 2026-02-01T09:30:00Z
    #: Between an answer and the next question, on average.
    pause: int = 20 * SECOND
    #: Between a session's end and the start of the one that takes its place, on average.
    session_pause: int = 60 * SECOND
    #: People sleep: most sessions that would begin at night wait for the morning.
    nights: bool = False


_EVERYDAY_MODELS = (
    ("gpt-5.4", 3.0),
    ("gpt-5.4-mini", 2.0),
    ("claude-sonnet-4-6", 2.0),
    ("qwen3.5-plus", 2.0),
    ("glm-5", 1.0),
    ("deepseek-chat", 1.0),
)

#: Lines of about 2 KB: a question or two.
SHORT = Profile(
    name="short",
    turns=2,
    sessions=64,
    system_prompt_bytes=60,
    clients=(Client("{uuid}", openclaw=False),),
    tool_turn_share=0.0,
    models=_EVERYDAY_MODELS,
)
#: Lines of about 22 KB on average: sessions of 50 requests.
MEDIUM = Profile(
    name="medium",
    turns=50,
    turns_spread=0.1,
    sessions=8,
    system_prompt_bytes=5000,
    tool_definition_tokens=3000,
    tool_turn_share=0.5,
    tool_result_lines=5,
    models=_EVERYDAY_MODELS,
)
#: Lines of about 190 KB on average: long agent runs with large tool results.
LONG = Profile(
    name="long",
    turns=220,
    turns_spread=0.05,
    sessions=2,
    system_prompt_bytes=26_000,
    tool_definition_tokens=8000,
    tool_turn_share=0.7,
    tool_result_lines=18,
    models=_EVERYDAY_MODELS,
)
#: The Console's default: no conversations, lines of about 1.3 KB.
LITE = Profile(name="lite", mode="lite", tool_definition_tokens=3000, turns=20, sessions=32, models=_EVERYDAY_MODELS)
#: Config ``{}``: details as objects, no conversations.
BARE = replace(LITE, name="bare", mode="bare")
#: Two weeks of a small team, with a bit of everything.
DEMO = Profile(
    name="demo",
    turns=14,
    sessions=5,
    total_sessions=130,
    system_prompt_bytes=3000,
    tool_definition_tokens=7000,
    tool_turn_share=0.45,
    tool_result_lines=6,
    failure_share=0.03,
    unmetered_share=0.005,
    sessionless_share=0.0,
    models=(
        ("gpt-5.4", 3.0),
        ("gpt-5.4-mini", 2.0),
        ("claude-sonnet-4-6", 3.0),
        ("qwen3.5-plus", 2.0),
        ("glm-5", 1.0),
        ("deepseek-chat", 1.5),
        ("kimi-k2.5", 1.0),
        ("gemini-2.5-pro", 1.0),
    ),
    clients=(
        *_OPENCLAW_CLIENTS,
        # The one client that sends no session id, and the one model that no price list knows.
        Client(None, 1, False, "python-httpx/0.28.1", ("deepseek-chat", "gpt-5.4-mini")),
        Client("batch-summaries", 1, False, "python-httpx/0.28.1", ("in-house-7b",)),
    ),
    consumers=("platform", "research", "travel-desk"),
    pause=45 * SECOND,
    session_pause=9 * HOUR,
    nights=True,
)

PROFILES: dict[str, Profile] = {p.name: p for p in (SHORT, MEDIUM, LONG, LITE, BARE, DEMO)}
