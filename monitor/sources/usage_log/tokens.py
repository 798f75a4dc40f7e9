"""The usage object of an SDK becomes our counts: OpenAI's, Anthropic's or Gemini's, as it comes.

It may be a dict, a pydantic model or any object with attributes; the whole answer will do as well. Which
convention it follows is told by its names alone, as in logs (`monitor.sources.usage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.sources.usage import count, normalise

#: Where an answer keeps its usage, and its id and model.
_USAGE = ("usage", "usage_metadata", "usageMetadata")
_IDS = ("id", "response_id", "responseId")
_MODELS = ("model", "model_version", "modelVersion")


class NoUsage(TypeError):
    """The object holds no token counts that are known; the message says what would do."""


def counts_of(usage: Any) -> dict[str, int]:
    """The token counts under the names of a usage record, inclusive: parts are inside what holds them.

    Raises:
        NoUsage: it is no usage object and no answer with one.
    """
    found = _inner(usage)
    gemini = _first(found, "prompt_token_count", "promptTokenCount")
    if gemini is not None or _first(found, "candidates_token_count", "candidatesTokenCount") is not None:
        return _gemini(found, gemini)
    into = _first(found, "input_tokens", "prompt_tokens", "inputTokens")
    out = _first(found, "output_tokens", "completion_tokens", "outputTokens")
    if into is None and out is None:
        raise NoUsage(
            f"{type(usage).__name__} holds no token counts: give the usage of an OpenAI, Anthropic or Gemini answer, "
            "the answer itself, or a dict such as {'input_tokens': 1000, 'output_tokens': 500}"
        )
    ins = _details(found, "prompt_tokens_details", "input_tokens_details")
    outs = _details(found, "completion_tokens_details", "output_tokens_details")
    # Anthropic's counts of its cache stand beside the input, and come on top of it; so do Bedrock's.
    for name, also in (
        ("cache_read_input_tokens", "cacheReadInputTokens"),
        ("cache_creation_input_tokens", "cacheWriteInputTokens"),
    ):
        value = _first(found, name, also)
        if value is not None:
            ins[name] = value
    creation = _plain(found.get("cache_creation"))
    if creation:
        ins["cache_creation"] = creation
    anthropic = "cache_read_input_tokens" in ins or "cache_creation_input_tokens" in ins
    if anthropic:
        # One of them alone is a native answer too: what is not said was not used.
        ins.setdefault("cache_creation_input_tokens", 0)
    cached = _first(found, "prompt_cache_hit_tokens", "cached_tokens") if not anthropic else None
    total = _first(found, "total_tokens")
    said = normalise(into, out, total, cached, None, ins, outs)
    return _as_fields(
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cached_tokens=said.cached_tokens,
        cache_write_tokens=said.cache_write_tokens,
        reasoning_tokens=said.reasoning_tokens,
    )


def told_by(answer: Any) -> dict[str, str]:
    """The id and the model that an answer names besides its usage; nothing for a bare usage object."""
    found = _plain(answer)
    if not any(_plain(found.get(name)) for name in _USAGE):
        return {}
    told = {}
    for field, names in (("response_id", _IDS), ("model", _MODELS)):
        value = next((v for name in names if isinstance(v := found.get(name), str) and v), None)
        if value is not None:
            told[field] = value
    return told


def _gemini(found: Mapping[str, Any], prompt: int | None) -> dict[str, int]:
    thoughts = _first(found, "thoughts_token_count", "thoughtsTokenCount")
    cached = _first(found, "cached_content_token_count", "cachedContentTokenCount")
    # What tools gave back to the model is sent to it as well, and counted beside the prompt.
    tools = _first(found, "tool_use_prompt_token_count", "toolUsePromptTokenCount") or 0
    said = normalise(
        None if prompt is None else prompt + tools,
        _first(found, "candidates_token_count", "candidatesTokenCount") or 0,
        None,
        None,
        None,
        {"cached_content_token_count": cached or 0},
        {"thoughts_token_count": thoughts} if thoughts is not None else {},
    )
    return _as_fields(
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cached_tokens=None if cached is None else said.cached_tokens,
        reasoning_tokens=said.reasoning_tokens,
    )


def _inner(usage: Any) -> dict[str, Any]:
    """The usage itself, where the whole answer was given."""
    found = _plain(usage)
    for name in _USAGE:
        inner = _plain(found.get(name))
        if inner:
            return inner
    return found


def _plain(value: Any) -> dict[str, Any]:
    """An object as a mapping of its fields; nothing for anything else."""
    if value is None or isinstance(value, str | bytes | int | float | list | tuple):
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        found = dump()
        return dict(found) if isinstance(found, Mapping) else {}
    fields = getattr(value, "__dict__", None)
    if isinstance(fields, dict) and fields:
        return dict(fields)
    names = [name for name in dir(value) if not name.startswith("_")]
    return {name: got for name in names if not callable(got := getattr(value, name, None))}


def _details(found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        details = _plain(found.get(name))
        if details:
            return details
    return {}


def _first(found: Mapping[str, Any], *names: str) -> int | None:
    return next((value for name in names if (value := count(found.get(name))) is not None), None)


def _as_fields(**counts: int | None) -> dict[str, int]:
    return {name: value for name, value in counts.items() if value is not None}
