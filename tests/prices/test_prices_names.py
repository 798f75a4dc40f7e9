"""How a logged name is taken apart, and what it may never be taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.prices import names, providers


def found(model: str) -> dict[str, str]:
    return {candidate.name: candidate.rule for candidate in names.parse(model).candidates}


@pytest.mark.parametrize(
    ("logged", "name", "rule"),
    [
        ("gpt-4o", "gpt-4o", "exact"),
        ("GPT-4o", "gpt-4o", "normalised"),
        (' "qwen-max" ', "qwen-max", "normalised"),
        ("ｑｗｅｎ-max", "qwen-max", "normalised"),
        ("Claude Sonnet 4.5", "claude-sonnet-4-5", "normalised"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5", "normalised"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro", "normalised"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4-20250514", "normalised"),
        ("gemini-2.5-pro@default", "gemini-2.5-pro", "normalised"),
        ("deepseek-v4-pro[1m]", "deepseek-v4-pro", "normalised"),
        ("qwen-plus-latest", "qwen-plus", "latest_dropped"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-20250514", "revision_dropped"),
        ("gpt-4o-2024-05-13", "gpt-4o", "date_stripped"),
        ("claude-3-haiku-20240307", "claude-3-haiku", "date_stripped"),
        ("doubao-1-5-pro-32k-250115", "doubao-1-5-pro-32k", "date_stripped"),
        ("deepseek-r1-0528", "deepseek-r1", "date_stripped"),
    ],
)
def test_a_name_is_looked_for_under_its_other_spellings(logged: str, name: str, rule: str) -> None:
    assert found(logged)[name] == rule


@pytest.mark.parametrize(
    "name",
    ["qwen3-235b-a22b-instruct-2507", "gemini-2.5-pro", "o3", "moonshot-v1-128k", "mistral-large-2411"],
)
def test_numbers_that_are_no_date_stay(name: str) -> None:
    assert list(found(name)) == [name]


def test_a_dated_name_is_tried_before_the_name_without_its_date() -> None:
    assert list(found("gpt-4o-2024-05-13")) == ["gpt-4o-2024-05-13", "gpt-4o"]


@pytest.mark.parametrize("variant", [":free", ":thinking", ":online", "-zzz"])
def test_a_variant_is_part_of_the_name(variant: str) -> None:
    assert "gpt-4o" not in found("gpt-4o" + variant)


@pytest.mark.parametrize(
    ("logged", "host", "author"),
    [
        ("azure/gpt-4o", "azure", None),
        ("bedrock/us.anthropic.claude-3-haiku-20240307-v1:0", "aws", None),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", "aws", None),
        ("dashscope/qwen-max", "alibaba", None),
        ("xai/grok-4", "x-ai", None),
        ("amazon-bedrock/us.anthropic.claude-3-haiku-20240307-v1:0", "aws", None),
        ("google-vertex/gemini-2.5-pro", "google", None),
        ("azure-openai/gpt-4o", "azure", None),
        ("dashscope-intl/qwen-max", "alibaba-intl", None),
        ("Qwen/Qwen3-32B", None, "qwen"),
        ("deepseek-ai/DeepSeek-V3", None, "deepseek-ai"),
        ("meta-llama/Llama-3.1-8B-Instruct", None, "meta-llama"),
        ("zai-org/GLM-4.6", None, "zai-org"),
        ("openai/gpt-oss-120b", None, "openai"),
        ("gpt-4o", None, None),
    ],
)
def test_prefixes_name_a_host_or_only_an_author(logged: str, host: str | None, author: str | None) -> None:
    name = names.parse(logged)
    assert (name.host, name.author) == (host, author)


QUALIFIERS = (
    "distill-qwen-32b embed embedding rerank audio image tts realtime transcribe vl vision coder ft omni ocr "
    "asr mini nano lite turbo 32b 9 thinking fast zzz"
)


@pytest.mark.parametrize("qualifier", QUALIFIERS.split())
def test_a_qualifier_makes_it_another_model(qualifier: str) -> None:
    assert not names.same_model(f"gemini-2.5-pro-{qualifier}", "gemini-2.5-pro")
    assert not names.same_model(f"{qualifier}-gemini-2.5-pro", "gemini-2.5-pro")


@pytest.mark.parametrize(
    "decorated",
    [
        "gemini-2.5-pro",
        "gemini-2.5-pro-preview-06-05",
        "gemini-2.5-pro-preview-09-2025",
        "gemini-2.5-pro-exp",
        "gemini-2.5-pro-001",
        "gemini-2.5-pro-20250605",
        "gemini-2.5-pro@20250605",
    ],
)
def test_decoration_leaves_it_the_same_model(decorated: str) -> None:
    assert names.same_model(decorated, "gemini-2.5-pro")


def test_a_part_of_a_name_is_not_the_name() -> None:
    assert not names.same_model("gemini-2.5", "gemini-2.5-pro")
    assert not names.same_model("claude-sonnet-4-9", "claude-sonnet-4")


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("dashscope.aliyuncs.com", "alibaba-cn"),
        ("dashscope-intl.aliyuncs.com", "alibaba-intl"),
        ("api.openai.com:443", "openai"),
        ("ark.cn-beijing.volces.com", "volcengine"),
        ("open.bigmodel.cn", "zhipu"),
        ("api.z.ai", "zai"),
        ("api.moonshot.cn", "moonshot-cn"),
        ("api.moonshot.ai", "moonshot-intl"),
        ("API.DeepSeek.com.", "deepseek"),
        ("openrouter.ai", "openrouter"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws"),
        ("us-central1-aiplatform.googleapis.com", "google"),
        ("acme.openai.azure.com", "azure"),
        ("10.0.0.7:8000", None),
        ("api.openai.com.evil.example", None),
        ("notopenai.com", None),
        ("s3.amazonaws.com", None),
        ("llm-openai.internal.dns", None),
        ("", None),
    ],
)
def test_a_domain_belongs_to_a_provider(host: str, provider: str | None) -> None:
    assert providers.of_domain(host) == provider


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("llm-openai.internal.dns", "openai"),
        ("llm-aliyun.internal.dns", "alibaba"),
        ("llm-doubao.internal.static", "volcengine"),
        ("llm-claude.internal.dns", "anthropic"),
        ("llm-openai-backup.internal.dns", None),
        ("llm-my-openai.internal.dns", None),
        ("openai.internal.dns", None),
        ("api.openai.com", None),
    ],
)
def test_an_operators_name_counts_only_as_a_whole_word(host: str, provider: str | None) -> None:
    assert providers.of_operators_name(host) == provider


@given(st.text(max_size=300))
def test_any_text_can_be_taken_apart(text: str) -> None:
    name = names.parse(text)
    assert all(candidate.name for candidate in name.candidates)
    assert len({candidate.name for candidate in name.candidates}) == len(name.candidates)
    providers.of_domain(text)
    providers.of_operators_name(text)
