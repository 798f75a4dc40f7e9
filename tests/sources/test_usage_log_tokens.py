"""What SDKs return as usage becomes inclusive counts: dicts, pydantic models and plain objects alike."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from monitor.sources.usage_log.tokens import NoUsage, counts_of, told_by

#: What each SDK says, and what that is under our names. Shapes: the vendors' API references.
CASES: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    (
        "OpenAI chat",
        {"prompt_tokens": 100, "completion_tokens": 580, "total_tokens": 680,
         "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
         "completion_tokens_details": {"reasoning_tokens": 500, "accepted_prediction_tokens": 0}},
        {"input_tokens": 100, "output_tokens": 580, "cached_tokens": 64, "reasoning_tokens": 500},
    ),
    (
        "OpenAI responses",
        {"input_tokens": 36, "output_tokens": 87, "total_tokens": 123, "input_tokens_details": {"cached_tokens": 0},
         "output_tokens_details": {"reasoning_tokens": 0}},
        {"input_tokens": 36, "output_tokens": 87, "cached_tokens": 0, "reasoning_tokens": 0},
    ),
    ("DeepSeek", {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55, "prompt_cache_hit_tokens": 40,
                  "prompt_cache_miss_tokens": 10},
     {"input_tokens": 50, "output_tokens": 5, "cached_tokens": 40}),
    (
        "Anthropic with a cache",
        {"input_tokens": 10, "output_tokens": 200, "cache_read_input_tokens": 9000, "cache_creation_input_tokens": 500,
         "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 0}},
        {"input_tokens": 9510, "output_tokens": 200, "cached_tokens": 9000, "cache_write_tokens": 500},
    ),
    (
        "Anthropic that only read",
        {"input_tokens": 5000, "output_tokens": 200, "cache_read_input_tokens": 100},
        {"input_tokens": 5100, "output_tokens": 200, "cached_tokens": 100, "cache_write_tokens": 0},
    ),
    (
        "Anthropic without a cache",
        {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": None, "cache_creation_input_tokens": None},
        {"input_tokens": 10, "output_tokens": 20},
    ),
    (
        "Gemini",
        {"prompt_token_count": 1000, "candidates_token_count": 50, "thoughts_token_count": 300,
         "cached_content_token_count": 400, "total_token_count": 1350},
        {"input_tokens": 1000, "output_tokens": 350, "cached_tokens": 400, "reasoning_tokens": 300},
    ),
    (
        "Gemini over REST",
        {"promptTokenCount": 7, "candidatesTokenCount": 3, "toolUsePromptTokenCount": 5, "totalTokenCount": 15},
        {"input_tokens": 12, "output_tokens": 3},
    ),
    (
        "Bedrock",
        {"inputTokens": 100, "outputTokens": 20, "cacheReadInputTokens": 900, "cacheWriteInputTokens": 0,
         "totalTokens": 1020},
        {"input_tokens": 1000, "output_tokens": 20, "cached_tokens": 900, "cache_write_tokens": 0},
    ),
    ("ours", {"input_tokens": 1000, "output_tokens": 500}, {"input_tokens": 1000, "output_tokens": 500}),
]  # fmt: skip


class Nested(BaseModel):
    """A pydantic model as SDKs have them, with any fields."""

    model_config = {"extra": "allow"}


class Slots:
    """An object without a dict of its own."""

    __slots__ = ("completion_tokens", "prompt_tokens")

    def __init__(self) -> None:
        self.prompt_tokens = 3
        self.completion_tokens = 4


def as_objects(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_objects(inner) for name, inner in value.items()})
    return value


@pytest.mark.parametrize(("said", "ours"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_usage_object_is_taken_as_it_comes(said: dict[str, Any], ours: dict[str, int]) -> None:
    assert counts_of(said) == ours
    assert counts_of(as_objects(said)) == ours
    assert counts_of(Nested(**said)) == ours


@pytest.mark.parametrize("name", ["usage", "usage_metadata", "usageMetadata"])
@pytest.mark.parametrize(("said", "ours"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_whole_answer_will_do_as_well(name: str, said: dict[str, Any], ours: dict[str, int]) -> None:
    assert counts_of({"id": "x", name: said}) == ours
    assert counts_of(as_objects({"id": "x", name: said})) == ours


def test_objects_with_slots_are_read_too() -> None:
    assert counts_of(Slots()) == {"input_tokens": 3, "output_tokens": 4}


def test_parts_are_never_more_than_what_holds_them() -> None:
    for _, said, _ in CASES:
        found = counts_of(said)
        assert found.get("cached_tokens", 0) + found.get("cache_write_tokens", 0) <= found["input_tokens"]
        assert found.get("reasoning_tokens", 0) <= found["output_tokens"]


def test_an_answer_tells_its_id_and_model() -> None:
    answer = {"id": "chatcmpl-1", "model": "gpt-5.4", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    assert told_by(answer) == {"response_id": "chatcmpl-1", "model": "gpt-5.4"}
    gemini = {"responseId": "r", "modelVersion": "gemini-3", "usageMetadata": {"promptTokenCount": 1}}
    assert told_by(gemini) == {"response_id": "r", "model": "gemini-3"}
    assert told_by(answer["usage"]) == {}
    assert told_by(None) == {}


@pytest.mark.parametrize("value", [None, 7, "usage", [], {}, object(), {"usage": None}, {"text": "hello"}])
def test_anything_else_says_what_would_do(value: object) -> None:
    with pytest.raises(NoUsage, match="OpenAI, Anthropic or Gemini"):
        counts_of(value)
