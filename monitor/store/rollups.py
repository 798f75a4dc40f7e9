"""Roll-ups of rounds: how each is grouped, and how rounds come into it and out of it again.

What moves stands in the temporary table ``batch``, which has the columns of ``round``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from monitor.store.base import SORT_WEIGHTS
from monitor.store.rows import ROUND_NAMES
from monitor.store.schema import ADD, COUNT_SUMS, COUNTED, COUNTS, DAY_MS, EPOCH_MS, MAYBE, QUARTER_MS, SUMS

QUARTER = f"at - at % {QUARTER_MS}"
_DAY = f"at - at % {DAY_MS}"
_COUNT_NAMES = ", ".join(COUNTS)

#: Table -> (what it is grouped by, how that is worked out from a round's columns and its start ``at``).
ROLLUPS: dict[str, tuple[str, str]] = {
    "session_slice": ("sid, model, price", "sid, model, price"),
    "quarter": ("at, model, price", f"{QUARTER}, model, price"),
    "day": ("at, facet, model, price", f"{_DAY}, facet, model, price"),
    "total": ("model, price", "model, price"),
}
#: What a session is sorted by as its slices give it; ``{sid}`` stands for its number.
SPEND = (
    "ifnull((SELECT sum(part.nano * CASE p.currency "
    + " ".join(f"WHEN '{currency}' THEN {weight!r}" for currency, weight in SORT_WEIGHTS.items())
    + " ELSE 1.0 END) FROM session_slice AS part JOIN price AS p ON p.id = part.price WHERE part.sid = {sid}), 0.0)"
)
#: How sums are taken out of sums again.
SUBTRACT = ",\n  ".join(
    f"{c} = CASE WHEN excluded.{c} IS NULL THEN {c} ELSE {c} - excluded.{c} END"
    if c in MAYBE
    else f"{c} = {c} - excluded.{c}"
    for c in COUNTS
)


def _in_time(step: int) -> str:
    low = f"((t.at - {EPOCH_MS}) << 22)"
    return f"r.rid >= {low} AND r.rid < {low} + {step << 22} AND r.model = t.model AND r.price = t.price"


#: Roll-up -> where to look whether some round that is in a row of it (``t``) knows a figure. In this order.
_PARTS = {
    "session_slice": ("round", "r.sid = t.sid AND r.model = t.model AND r.price = t.price"),
    "quarter": ("round", _in_time(QUARTER_MS)),
    "day": ("round", f"{_in_time(DAY_MS)} AND r.facet = t.facet"),
    "total": ("quarter", "r.model = t.model AND r.price = t.price"),
}


def add_batch(db: sqlite3.Connection) -> None:
    """Let every roll-up grow by what ``batch`` sums up to."""
    for table in ROLLUPS:
        _move(db, table, ADD)


def subtract_batch(db: sqlite3.Connection) -> None:
    """Take what ``batch`` sums up to out of every roll-up; `tidy` it once the rounds are gone or other ones."""
    for table in ROLLUPS:
        _move(db, table, SUBTRACT)


def _move(db: sqlite3.Connection, table: str, change: str) -> None:
    columns, values = ROLLUPS[table]
    db.execute(
        f"INSERT INTO {table} ({columns}, {_COUNT_NAMES}) SELECT {values}, {SUMS} FROM batch "
        f"WHERE true GROUP BY {', '.join(str(i + 1) for i in range(values.count(',') + 1))} "
        f"ON CONFLICT DO UPDATE SET {change}"
    )


def fill_batch(db: sqlite3.Connection, rids: str) -> None:
    """Put stored rounds into ``batch`` as they stand; `rids` is the question that gives their ids."""
    db.execute("DELETE FROM batch")
    start = f"iif((rid >> 22) + {EPOCH_MS} < {QUARTER_MS}, 0, (rid >> 22) + {EPOCH_MS})"
    db.execute(
        f"INSERT INTO batch ({ROUND_NAMES}, at, source_bit, weight) SELECT {ROUND_NAMES}, {start}, 0, 0.0 "
        f"FROM round WHERE rid IN ({rids})"
    )


def tidy(db: sqlite3.Connection, taken: str = "batch") -> None:
    """Take rows away that nothing is left of, and forget sums that nothing left knows.

    `taken` is the table that was subtracted: it has the columns by which roll-ups are grouped, and ``at``.
    """
    for table, (columns, values) in ROLLUPS.items():
        touched = f"({columns}) IN (SELECT DISTINCT {values} FROM {taken})"
        db.execute(f"DELETE FROM {table} WHERE rounds = 0 AND {touched}")
        parts, of_this = _PARTS[table]
        gone = "pruned" if parts == "round" else parts
        for count in sorted(MAYBE):
            db.execute(
                f"UPDATE {table} AS t SET {count} = NULL WHERE {count} = 0 AND {touched} "
                f"AND NOT EXISTS (SELECT 1 FROM {parts} AS r WHERE {of_this} AND r.{count} IS NOT NULL) "
                f"AND NOT EXISTS (SELECT 1 FROM {gone} AS r WHERE {of_this} AND r.{count} IS NOT NULL)"
            )


def recomputed(db: sqlite3.Connection, table: str) -> Iterable[tuple[Any, ...]]:
    """The rows of a roll-up as the rounds themselves give them, and what is kept of those that were pruned."""
    columns, values = ROLLUPS[table]
    count = columns.count(",") + 1
    start = f"((rid >> 22) + {EPOCH_MS})"
    return db.execute(
        f"SELECT {values}, {COUNT_SUMS} FROM (SELECT *, {start} AS at FROM {COUNTED}) GROUP BY "
        + ", ".join(str(i + 1) for i in range(count))
        + " ORDER BY "
        + ", ".join(str(i + 1) for i in range(count))
    )
