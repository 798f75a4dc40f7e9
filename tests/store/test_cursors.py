"""Page cursors lead back to where they were given out, and anything else is refused."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.store import cursors
from monitor.store.base import UnknownCursor


@given(st.floats(-1e18, 1e18) | st.integers(1 - (1 << 63), (1 << 63) - 1), st.text())
def test_a_cursor_leads_back_to_its_place(at: float, place: str) -> None:
    assert cursors.decode(cursors.encode("cost", at, place), "cost", str) == (at, place)


@pytest.mark.parametrize(
    "made_of",
    [b'["cost",1,2]', b'["cost",1e300,"s"]', b'["cost",1]', b'["price",1,"s"]', b'["cost","1","s"]', b"{}", b'["cost"'],
)
def test_what_was_not_given_out_is_refused(made_of: bytes) -> None:
    with pytest.raises(UnknownCursor, match="was not given out here"):
        cursors.decode(urlsafe_b64encode(made_of).decode(), "cost", str)


def test_a_cursor_of_another_order_is_told_from_one_that_nobody_gave_out() -> None:
    with pytest.raises(UnknownCursor, match="belongs to another order"):
        cursors.decode(cursors.encode("cost", 1, "s"), "tokens", str)
    with pytest.raises(UnknownCursor, match="was not given out here"):
        cursors.decode("日本", "tokens", str)
