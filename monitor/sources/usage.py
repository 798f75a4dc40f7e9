"""What the token counts of one record mean, whichever protocol they were counted under.

The convention is read off the record itself - its detail keys, checked against its total - and
never off the model's name. Shapes and their evidence: docs/sources.md, "Token counts".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from monitor.rounds import MAX_PLAUSIBLE_TOKENS, NO_USAGE, Convention, Usage

Details = Mapping[str, Any]
_NO_DETAILS: Details = {}


def count(value: object) -> int | None:
    """A token count from a number or a numeric string; None for anything that can't be one."""
    if type(value) is int:
        return value if 0 <= value <= MAX_PLAUSIBLE_TOKENS else None
    if type(value) is float:
        # Another plugin's merge takes numbers through float64.
        return count(int(value)) if math.isfinite(value) and value.is_integer() else None
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 12:
        return count(int(value))
    return None


def normalise(
    input_tokens: int | None,
    output_tokens: int | None,
    total_tokens: int | None,
    cached: int | None = None,
    reasoning: int | None = None,
    input_details: Details = _NO_DETAILS,
    output_details: Details = _NO_DETAILS,
    response_id: str | None = None,
) -> Usage:
    """Bring counts as they were logged to our inclusive convention.

    `cached` and `reasoning` are top-level counts where the record has them; details fill the gaps.
    Never raises: counts that contradict each other are read as exclusive, which is the only way
    in which a part can be larger than its whole. Where not even that gives plausible counts, only
    input and output are believed.
    """
    try:
        if input_details or output_details:
            return _with_details(
                input_tokens, output_tokens, total_tokens, cached, reasoning, input_details, output_details, response_id
            )
        if input_tokens is None and output_tokens is None and cached is None and reasoning is None:
            return NO_USAGE
        # A native Claude answer without any cache detail has lost its cache counts on the way
        # (ai-statistics' streams, ai-proxy's conversion): what was paid for them can't be seen.
        lost = cached is None and response_id is not None and response_id.startswith("msg_")
        return _openai(input_tokens, output_tokens, total_tokens, cached, reasoning, lost)
    except ValueError:
        return Usage(count(input_tokens), count(output_tokens), lower_bound=True)


def _with_details(
    input_tokens: int | None,
    output_tokens: int | None,
    total_tokens: int | None,
    cached: int | None,
    reasoning: int | None,
    ins: Details,
    outs: Details,
    response_id: str | None,
) -> Usage:
    read = count(ins.get("cache_read_input_tokens"))
    write = count(ins.get("cache_creation_input_tokens"))
    if read is not None or write is not None:
        return _anthropic(input_tokens, output_tokens, total_tokens, read, write, ins, outs, response_id)
    gemini_cached = count(ins.get("cached_content_token_count"))
    thoughts = count(outs.get("thoughts_token_count"))
    if gemini_cached is not None or thoughts is not None:
        return _gemini(input_tokens, output_tokens, total_tokens, gemini_cached, thoughts)
    if cached is None:
        cached = count(ins.get("cached_tokens"))
    if reasoning is None:
        reasoning = count(outs.get("reasoning_tokens"))
    if input_tokens is None and output_tokens is None and cached is None and reasoning is None:
        return NO_USAGE
    return _openai(input_tokens, output_tokens, total_tokens, cached, reasoning, lost=False)


def _openai(
    input_tokens: int | None,
    output_tokens: int | None,
    total: int | None,
    cached: int | None,
    reasoning: int | None,
    lost: bool,
) -> Usage:
    convention: Convention = "openai"
    if cached is not None and input_tokens is not None and cached > input_tokens:
        # Bedrock behind ai-proxy: cached_tokens is read plus write, and both came on top of input.
        # Which part was written, and at the dearer price, the log can't say.
        convention, lost = "exclusive_cache", True
        input_tokens += cached
    plain = (input_tokens or 0) + (output_tokens or 0)
    if reasoning and output_tokens is not None:
        if reasoning > output_tokens or (total is not None and total == plain + reasoning):
            convention = "exclusive_reasoning"
            output_tokens += reasoning
    elif (
        reasoning is None
        and convention == "openai"
        and total is not None
        and input_tokens is not None
        and output_tokens is not None
        and total > plain
    ):
        # ai-proxy's Gemini conversion drops the thoughts from the output but not from the total.
        convention = "inferred_reasoning"
        reasoning = total - plain
        output_tokens += reasoning
    return Usage(input_tokens, output_tokens, reasoning, cached, convention=convention, lower_bound=lost)


def _anthropic(
    input_tokens: int | None,
    output_tokens: int | None,
    total: int | None,
    read: int | None,
    write: int | None,
    ins: Details,
    outs: Details,
    response_id: str | None,
) -> Usage:
    reasoning = count(outs.get("reasoning_tokens"))
    if reasoning is not None and reasoning > (output_tokens or 0):
        reasoning = None
    creation = ins.get("cache_creation")
    one_hour = count(creation.get("ephemeral_1h_input_tokens")) if isinstance(creation, Mapping) else None
    if one_hour is not None and one_hour > (write or 0):
        one_hour = None
    parts = (read or 0) + (write or 0)
    native = (
        write is not None  # an OpenAI upstream never reports writes
        or (response_id is not None and response_id.startswith("msg_"))
        or parts > (input_tokens or 0)
    )
    if not native:
        # ai-proxy puts OpenAI's prompt_tokens, which hold the cached ones, under Anthropic's names; the
        # total then counts the cached part twice, exactly as a native answer's does.
        return Usage(input_tokens, output_tokens, reasoning, read, convention="messages", lower_bound=False)
    whole = None if input_tokens is None else input_tokens + parts
    if total is not None and input_tokens is not None and total == input_tokens + (output_tokens or 0) and parts:
        if parts <= input_tokens:
            whole = input_tokens  # the total says that the cache counts were already inside
    return Usage(whole, output_tokens, reasoning, read, write, one_hour, convention="anthropic")


def _gemini(
    input_tokens: int | None,
    output_tokens: int | None,
    total: int | None,
    cached: int | None,
    thoughts: int | None,
) -> Usage:
    if cached is not None and input_tokens is not None and cached > input_tokens:
        input_tokens += cached
    if thoughts and output_tokens is not None:
        inside = total is not None and total == (input_tokens or 0) + output_tokens and thoughts <= output_tokens
        if not inside:
            output_tokens += thoughts
    return Usage(input_tokens, output_tokens, thoughts, cached, convention="gemini")
