"""Page cursors: where the next page begins, as a text that means something only to the store that gave it out."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeVar, get_args

import msgspec

from monitor.store.base import SortBy, UnknownCursor

#: A page of sessions in each of their orders, or a page of a session's rounds.
_KINDS = (*get_args(SortBy), "round")
_BIT_63 = 1 << 63
NOWHERE = "this cursor was not given out here: leave it out to start with the first page"
_Place = TypeVar("_Place", int, str)


def encode(kind: str, at: float, place: int | str) -> str:
    """The cursor behind the row that stands at `place` among those with the value `at`."""
    return urlsafe_b64encode(msgspec.json.encode([kind, at, place])).decode().rstrip("=")


def decode(cursor: str, kind: str, place: type[_Place]) -> tuple[float, _Place]:
    """The value and the place that a cursor of this kind was made of.

    Raises:
        UnknownCursor: nobody gave it out, or it belongs to another order.
    """
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        made_of, at, there = msgspec.json.decode(urlsafe_b64decode(padded), type=tuple[str, float | int, int | str])
    except (ValueError, msgspec.MsgspecError):
        raise UnknownCursor(NOWHERE) from None
    numbers = [number for number in (at, there) if not isinstance(number, str)]
    if made_of not in _KINDS or not isinstance(there, place) or not all(abs(n) < _BIT_63 for n in numbers):
        raise UnknownCursor(NOWHERE)
    if made_of != kind:
        raise UnknownCursor("this cursor belongs to another order: leave it out to start with the first page")
    return at, there
