"""A round as a row of the database: its columns, its flags, and the id that puts it in the order of time."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from monitor.rounds import UNKNOWN_TIME
from monitor.store.schema import EPOCH_MS, QUARTER_MS

SUCCESS, LOWER_BOUND, TOOL_CALLS, CONTENT, INFERRED, NORMAL, STREAM, CONVENTION, LOST_COUNTS = (
    1 << bit for bit in range(9)
)
#: Kinds of sources in the order in which they are believed where several saw the same call.
SOURCE_BITS = {"higress": 1, "openclaw": 2, "usage": 4}


class Row(NamedTuple):
    """What ``round`` keeps of a round; texts that repeat stand there by their numbers."""

    rid: int
    key: bytes
    sid: int
    facet: int
    model: int
    price: int
    input: int | None
    output: int | None
    reasoning: int | None
    cached: int | None
    cache_write: int | None
    cache_write_1h: int | None
    nano: int | None
    latency: int | None
    ttft: int | None
    status: int | None
    turn: int | None
    opening: int | None
    flags: int
    request_id: str | None
    response_id: str | None
    extra: str | None
    reported: int | None


#: A row with what only sessions keep: start, bits of the sources that saw it, weight of its currency, question.
BatchRow = tuple[Any, ...]


ROUND_NAMES = ", ".join(Row._fields)
#: What ``witness`` keeps of a round: the same, but the session by its name.
WITNESS_NAMES = ", ".join("session" if name == "sid" else name for name in Row._fields)
_KEY_BITS = (1 << 22) - 1


def round_id(started_at: int, key: bytes) -> int:
    """A round's place in the order of time, made unlike its neighbours' by 22 bits of its key.

    A round without a usable time gets a place in the first quarter of 1970 by its key: in one
    millisecond there would be no room for all of them.
    """
    if started_at == UNKNOWN_TIME:
        started_at = int.from_bytes(key[3:7], "big") % QUARTER_MS
    return ((started_at - EPOCH_MS) << 22) | (int.from_bytes(key[:3], "big") >> 2)


def ms_of(rid: int) -> int:
    """The moment that a round id was made of, also of rounds without a usable time (in the first quarter of 1970)."""
    return (rid >> 22) + EPOCH_MS


def started_at(rid: int) -> int:
    """The start that a round id was made of."""
    ms = ms_of(rid)
    return ms if ms >= QUARTER_MS else UNKNOWN_TIME


def next_id(rid: int) -> int:
    """The id to look at when `rid` is another round's: of the same millisecond, so that the start stays true."""
    return rid - _KEY_BITS if rid & _KEY_BITS == _KEY_BITS else rid + 1


def content_key(db: sqlite3.Connection, rid: int) -> tuple[bytes, int] | None:
    """The key and start under which the history has what was said in a round: its own, else of another witness."""
    row = db.execute(
        f"SELECT key, rid FROM witness WHERE (counted = ?1 OR rid = ?1) AND flags & {CONTENT} "
        "ORDER BY rid != ?1 LIMIT 1",
        (rid,),
    ).fetchone()
    if row is None:
        row = db.execute(f"SELECT key, rid FROM round WHERE rid = ? AND flags & {CONTENT}", (rid,)).fetchone()
    return None if row is None else (row[0], started_at(row[1]))
