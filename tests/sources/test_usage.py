"""Token counts of every protocol come out alike: parts inside the whole, unknown where the log is silent."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.rounds import MAX_PLAUSIBLE_TOKENS, NO_USAGE, Usage
from monitor.sources.usage import count, normalise

#: What is logged: input, output, total, cached, reasoning, details of both, id of the answer.
Logged = dict[str, Any]


def logged(input_tokens: int | None, output_tokens: int | None, total: int | None, **others: Any) -> Logged:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "total_tokens": total, **others}


SHAPES: dict[str, tuple[Logged, Usage]] = {
    # 1250 holds the 1024 cached, 310 holds the 128 thought: 1250 + 310 = 1560, as the provider says.
    "openai": (
        logged(1250, 310, 1560, cached=1024, reasoning=128),
        Usage(1250, 310, 128, 1024),
    ),
    # The same from the details alone (plugin config {}).
    "openai, counts only in the details": (
        logged(
            3000,
            700,
            3700,
            input_details={"audio_tokens": 0, "cached_tokens": 2048},
            output_details={"reasoning_tokens": 512},
        ),
        Usage(3000, 700, 512, 2048),
    ),
    # A top-level count is newer than the details, which only fill gaps.
    "openai, both places": (
        logged(100, 50, 150, cached=40, input_details={"cached_tokens": 30}, output_details={"reasoning_tokens": 7}),
        Usage(100, 50, 7, 40),
    ),
    "no details at all": (logged(50, 200, 250), Usage(50, 200)),
    "no total": (logged(50, 200, None), Usage(50, 200)),
    # All of the input was cached, all of the output was thought: the edge of "inside".
    "openai, nothing but cache and thoughts": (
        logged(64, 32, 96, cached=64, reasoning=32),
        Usage(64, 32, 32, 64),
    ),
    "embedding: input only": (logged(75, None, 75), Usage(75, None)),
    "rerank: output zero": (logged(261, 0, 261), Usage(261, 0)),
    # 14 + 24000 read + 1800 written = 25814 in all; the total 26034 = 25814 + 220.
    "anthropic": (
        logged(
            14,
            220,
            26034,
            input_details={"cache_read_input_tokens": 24000, "cache_creation_input_tokens": 1800},
            response_id="msg_01",
        ),
        Usage(25814, 220, None, 24000, 1800, convention="anthropic"),
    ),
    # Of the 1800 written, 500 for an hour: 10 + 0 + 1800 = 1810.
    "anthropic, both lifetimes": (
        logged(
            10,
            5,
            1815,
            input_details={
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 1800,
                "cache_creation": {"ephemeral_5m_input_tokens": 1300, "ephemeral_1h_input_tokens": 500},
            },
            response_id="msg_01",
        ),
        Usage(1810, 5, None, 0, 1800, 500, convention="anthropic"),
    ),
    # More written for an hour than written at all can't be: the split is dropped, the rest holds.
    "anthropic, a lifetime that contradicts": (
        logged(
            10,
            5,
            115,
            input_details={
                "cache_creation_input_tokens": 100,
                "cache_creation": {"ephemeral_1h_input_tokens": 101},
            },
        ),
        Usage(110, 5, None, None, 100, convention="anthropic"),
    ),
    # No write in the details, but the id is Anthropic's: 9 + 700 = 709.
    "anthropic, read only": (
        logged(9, 30, 739, input_details={"cache_read_input_tokens": 700}, response_id="msg_01"),
        Usage(709, 30, None, 700, convention="anthropic"),
    ),
    # Neither id nor write, yet more read than the input holds: it must be beside it. 9 + 700 = 709.
    "anthropic, an id of another kind": (
        logged(9, 30, 739, input_details={"cache_read_input_tokens": 700}, response_id="gen-1"),
        Usage(709, 30, None, 700, convention="anthropic"),
    ),
    # Zeros on all sides: nothing was cached, nothing is added.
    "anthropic, nothing cached": (
        logged(
            100,
            20,
            120,
            input_details={"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0},
            response_id="msg_01",
        ),
        Usage(100, 20, None, 0, 0, convention="anthropic"),
    ),
    # Anthropic's names, but 2000 + 20 = 2020 says that the 1500 are inside already.
    "anthropic's names, inclusive total": (
        logged(
            2000,
            20,
            2020,
            input_details={"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 500},
            response_id="msg_01",
        ),
        Usage(2000, 20, None, 1000, 500, convention="anthropic"),
    ),
    # ai-statistics' stream whose last usage block has no cache fields: they were charged and are lost.
    "anthropic, cache counts lost": (
        logged(14, 7, 21, response_id="msg_01"),
        Usage(14, 7, lower_bound=True),
    ),
    # An OpenAI upstream behind /v1/messages: 1500 holds the 1024, the total 2564 counts them twice.
    "openai behind /v1/messages": (
        logged(1500, 40, 2564, input_details={"cache_read_input_tokens": 1024}, response_id="chatcmpl-1"),
        Usage(1500, 40, None, 1024, convention="messages"),
    ),
    # 77 + 250 thought = 327 out; 1000 holds the 400 cached; 1000 + 327 = 1327.
    "gemini": (
        logged(
            1000,
            77,
            1327,
            input_details={"cached_content_token_count": 400},
            output_details={"thoughts_token_count": 250},
        ),
        Usage(1000, 327, 250, 400, convention="gemini"),
    ),
    # The total 1000 + 327 says that the thoughts are inside: a converter added them.
    "gemini, inclusive output": (
        logged(1000, 327, 1327, output_details={"thoughts_token_count": 250}),
        Usage(1000, 327, 250, None, convention="gemini"),
    ),
    "gemini, did not think": (
        logged(10, 5, 15, output_details={"thoughts_token_count": 0}),
        Usage(10, 5, 0, None, convention="gemini"),
    ),
    # ai-proxy's conversion drops 250 thoughts from the output but not from the total: 1327 - 1077.
    "gemini through ai-proxy": (
        logged(1000, 77, 1327),
        Usage(1000, 327, 250, None, convention="inferred_reasoning"),
    ),
    # ai-proxy's Claude conversion drops the cache counts: not to be repaired, so a lower bound.
    "claude through ai-proxy": (
        logged(14, 220, 234, response_id="msg_01"),
        Usage(14, 220, lower_bound=True),
    ),
    # Bedrock: 9000 read or written beside 12: 9012; at which price nobody can say.
    "bedrock": (
        logged(12, 90, 102, cached=9000, input_details={"cached_tokens": 9000}),
        Usage(9012, 90, None, 9000, convention="exclusive_cache", lower_bound=True),
    ),
    # xAI: 32 + 9 + 142 thought = 183, so the thoughts came on top: 9 + 142 = 151.
    "xai, thoughts larger than output": (
        logged(32, 9, 183, cached=6, reasoning=142),
        Usage(32, 151, 142, 6, convention="exclusive_reasoning"),
    ),
    # 100 + 50 + 20 = 170: on top, though they would fit inside.
    "xai, thoughts smaller than output": (
        logged(100, 50, 170, reasoning=20),
        Usage(100, 70, 20, None, convention="exclusive_reasoning"),
    ),
    # Zeros are counts; reasoning 0 rules the inference from the total out.
    "all zero": (logged(0, 0, 0, cached=0, reasoning=0), Usage(0, 0, 0, 0)),
    "explicit zero is believed": (logged(10, 5, 20, reasoning=0), Usage(10, 5, 0)),
    # A total smaller than its parts says nothing.
    "total too small": (logged(10, 5, 1), Usage(10, 5)),
    "nothing": (logged(None, None, None), NO_USAGE),
    "total alone": (logged(None, None, 40), NO_USAGE),
    "empty details": (logged(None, None, None, input_details={}, output_details={}), NO_USAGE),
    "details without a known name": (
        logged(None, None, None, input_details={"image_tokens": 4}),
        NO_USAGE,
    ),
    # Details of any kind of rubbish count for nothing.
    "rubbish details": (
        logged(
            10,
            5,
            15,
            input_details={"cached_tokens": -3, "cache_read_input_tokens": "many", "cache_creation": 7},
            output_details={"reasoning_tokens": True, "thoughts_token_count": [1]},
        ),
        Usage(10, 5),
    ),
    # 10^10 cached beside 1 can't be: what is believed is what stands alone, and it is known to be too little.
    "absurd": (
        logged(1, 5, 6, cached=MAX_PLAUSIBLE_TOKENS),
        Usage(1, 5, lower_bound=True),
    ),
    # Numeric strings in details are numbers (SLS).
    "strings in details": (
        logged(100, 50, 150, input_details={"cached_tokens": "64"}, output_details={"reasoning_tokens": "20"}),
        Usage(100, 50, 20, 64),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_brought_to_our_convention(shape: str) -> None:
    given_counts, expected = SHAPES[shape]
    assert normalise(**given_counts) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (7, 7),
        ("7", 7),
        ("007", 7),
        (7.0, 7),
        (MAX_PLAUSIBLE_TOKENS, MAX_PLAUSIBLE_TOKENS),
        (MAX_PLAUSIBLE_TOKENS + 1, None),
        (-1, None),
        ("-1", None),
        (7.5, None),
        ("7.5", None),
        ("", None),
        (" 7", None),
        ("٧", None),
        ("²", None),
        ("9" * 5000, None),
        (10**400, None),
        (math.nan, None),
        (math.inf, None),
        (1e300, None),
        (True, None),
        (None, None),
        ([1], None),
        ({}, None),
    ],
    ids=lambda v: repr(v)[:20],
)
def test_only_plausible_whole_numbers_are_counts(value: object, expected: int | None) -> None:
    assert count(value) == expected
    assert type(count(value)) in (int, type(None))


counts = st.none() | st.integers(0, 300) | st.integers(MAX_PLAUSIBLE_TOKENS // 2, MAX_PLAUSIBLE_TOKENS)
integers = counts | st.integers()
rubbish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.integers(0, 300),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NAMES = [
    "cached_tokens",
    "reasoning_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "cached_content_token_count",
    "thoughts_token_count",
    "anything",
]
creation = st.fixed_dictionaries({"ephemeral_1h_input_tokens": counts | rubbish})
details = st.dictionaries(st.sampled_from(NAMES), counts | rubbish | creation, max_size=5)


@settings(deadline=None)
@given(integers, integers, integers, integers, integers, details, details, st.none() | st.sampled_from(["msg_1", "x"]))
def test_no_counts_make_it_raise_or_break_what_a_usage_promises(
    input_tokens: int | None,
    output_tokens: int | None,
    total: int | None,
    cached: int | None,
    reasoning: int | None,
    input_details: dict[str, Any],
    output_details: dict[str, Any],
    response_id: str | None,
) -> None:
    usage = normalise(input_tokens, output_tokens, total, cached, reasoning, input_details, output_details, response_id)
    parts = (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)
    for value in (
        usage.input_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    ):
        assert value is None or (type(value) is int and value >= 0)
    assert (usage.total_tokens or 0) <= 2 * MAX_PLAUSIBLE_TOKENS
    assert usage.input_tokens is None or parts <= usage.input_tokens
    assert usage.output_tokens is None or (usage.reasoning_tokens or 0) <= usage.output_tokens
    assert (usage.cache_write_1h_tokens or 0) <= (usage.cache_write_tokens or 0)


@settings(deadline=None)
@given(counts, counts, counts, counts, counts)
def test_what_was_counted_is_never_made_smaller_or_forgotten(
    input_tokens: int | None, output_tokens: int | None, total: int | None, cached: int | None, reasoning: int | None
) -> None:
    usage = normalise(input_tokens, output_tokens, total, cached, reasoning)
    for ours, theirs in ((usage.input_tokens, input_tokens), (usage.output_tokens, output_tokens)):
        assert (ours is None) == (theirs is None)
        assert (ours or 0) >= (theirs or 0)
