"""What ClickHouse's errors mean: the store is away for now, or something is wrong that waiting does not mend."""

from __future__ import annotations

import re

from monitor.store.base import StoreAway, StoreError
from monitor.store.clickhouse.address import PASSWORD_VARIABLE

#: A node has lost its ZooKeeper or Keeper, is full, busy or about to stop: another node may do what it can't.
ELSEWHERE = frozenset({202, 225, 242, 243, 244, 394, 999})
#: A connection between nodes broke or timed out, no replica of a shard answers, too many parts wait to be merged.
_AWAY = ELSEWHERE | frozenset(
    {32, 159, 198, 203, 209, 210, 236, 252, 254, 279, 285, 286, 289, 319, 369, 415, 416, 473, 1000}
)
_STRANGER = frozenset({192, 193, 194, 195, 516})
_FORBIDDEN = frozenset({164, 291, 392, 497})
_ABSENT = frozenset({60, 81})
_CODE = re.compile(r"Code: (\d+)")
_ENDS = re.compile(r", e\.what\(\) = .*|\(version [^()]*(\([^()]*\))?\)\s*$", re.DOTALL)
_LONGEST = 400


class Refused(StoreError):
    """ClickHouse says that something is wrong: `code` is its number for it."""

    def __init__(self, message: str, code: int | None) -> None:
        """A refusal in words, and its number where there was one."""
        super().__init__(message)
        self.code = code


class Unreachable(StoreAway):
    """No answer, or one that says that the store can't do it now: `code` is ClickHouse's number, if it gave one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        """What failed in words, and its number where there was one."""
        super().__init__(message)
        self.code = code


def problem(place: str, user: str, said: str) -> Refused | Unreachable:
    """The error for what ClickHouse at `place` answered to `user` instead of doing it."""
    found = _CODE.search(said)
    code = int(found[1]) if found is not None else None
    text = brief(said)
    if code in _AWAY:
        return Unreachable(f"ClickHouse at {place} can't do it now: {text}", code)
    advice = ""
    if code in _STRANGER:
        advice = f". Check the user in the store URL, and {PASSWORD_VARIABLE} or password_file="
    elif code in _FORBIDDEN:
        advice = f". The user {user!r} may not do that: use one that may, or grant it"
    elif code in _ABSENT:
        advice = ". The tables are made by  session-monitor store init"
    return Refused(f"ClickHouse at {place} refused: {text}{advice}", code)


def brief(said: str) -> str:
    """What an engine said, on one line that a terminal can show, without its version and the names of its classes."""
    text = _ENDS.sub("", said.strip()).replace(", e.displayText() = ", ", ")
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split()).rstrip(". ")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
