"""The invariants of a round's counts, and positions in conversations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rounds import MAX_PLAUSIBLE_TOKENS, NO_USAGE, START, Position, Usage

messages = st.lists(st.binary(max_size=20), max_size=8)


@pytest.mark.parametrize(
    ("counts", "what"),
    [
        ({"input_tokens": 10, "cached_tokens": 11}, "cache tokens exceed input"),
        ({"input_tokens": 10, "cached_tokens": 6, "cache_write_tokens": 5}, "cache tokens exceed input"),
        ({"output_tokens": 5, "reasoning_tokens": 6}, "reasoning tokens exceed output"),
        ({"cache_write_tokens": 5, "cache_write_1h_tokens": 6}, "1h cache writes exceed"),
        ({"input_tokens": -1}, "cache tokens exceed input"),
        ({"input_tokens": MAX_PLAUSIBLE_TOKENS + 1}, "cache tokens exceed input"),
    ],
)
def test_a_part_larger_than_its_whole_is_no_usage(counts: dict[str, int], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Usage(**counts)  # type: ignore[arg-type]


def test_a_total_is_known_as_far_as_its_parts_are() -> None:
    assert NO_USAGE.total_tokens is None
    assert not NO_USAGE.known
    assert Usage(input_tokens=3).total_tokens == 3
    assert Usage(0, 0).total_tokens == 0
    assert Usage(0, 0).known


@given(messages, messages)
def test_a_position_does_not_depend_on_how_a_conversation_was_cut(first: list[bytes], second: list[bytes]) -> None:
    whole = START.after(first + second)
    assert START.after(first).after(second) == whole
    assert whole.count == len(first) + len(second)
    trail = START.trail(first + second)
    assert len(trail) == whole.count
    assert (trail or [START])[-1] == whole


@given(messages, messages)
def test_different_conversations_have_different_positions(one: list[bytes], other: list[bytes]) -> None:
    assert (START.after(one) == START.after(other)) == (one == other)


def test_a_system_prompt_beside_the_messages_is_no_message() -> None:
    assert Position.start(b'"x"').count == 0
    assert Position.start(b'"x"') != Position.start(b'"y"')
    assert Position.start(None) == START
    assert Position.start(b'"x"').after([b"m"]) != START.after([b'"x"', b"m"])
