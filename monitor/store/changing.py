"""Stored rounds get another price: what they added to every sum is taken out, what they add now goes in.

Works a few thousand rounds at a time, each step one transaction after which everything adds up; a run
that is interrupted is simply run again. Sums that hold rounds which are no more keep those as they were.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from monitor.rounds import Usage
from monitor.store.base import SORT_WEIGHTS, Pricing
from monitor.store.counters import Counters
from monitor.store.labels import Labels
from monitor.store.schema import COUNTS, DAY_MS, EPOCH_MS, MAYBE, QUARTER_MS
from monitor.store.writing import LOST_COUNTS, LOWER_BOUND, ROLLUPS, ROUND_NAMES, Writer, add_batch, started_at

_STEP = 5000
_SUBTRACT = ",\n  ".join(
    f"{c} = CASE WHEN excluded.{c} IS NULL THEN {c} ELSE {c} - excluded.{c} END"
    if c in MAYBE
    else f"{c} = {c} - excluded.{c}"
    for c in COUNTS
)
_CHANGED_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS changed (
  rid INTEGER PRIMARY KEY, price INTEGER NOT NULL, nano INTEGER, flags INTEGER NOT NULL
)"""


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


class Repricer:
    """Gives stored rounds the prices of a list, step by step."""

    def __init__(self, db: sqlite3.Connection, writer: Writer, pricing: Pricing, version: str) -> None:
        self._db = db
        self._writer = writer
        self._pricing = pricing
        self._version = version
        self._labels = Labels(db)
        self._counters = Counters.as_stored(db)
        self._after = -(1 << 63)
        db.execute(_CHANGED_TABLE)
        #: Rounds that were looked at so far, and those of them that have another price now.
        self.seen = 0
        self.changed = 0

    def step(self) -> bool:
        """Price some more rounds, in the order of their time; whether there may be more."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            rows = db.execute(
                "SELECT r.rid, r.model, f.host, r.price, r.nano, r.flags, r.input, r.output, r.reasoning, r.cached, "
                "r.cache_write, r.cache_write_1h FROM round AS r JOIN facet AS f ON f.id = r.facet "
                "WHERE r.rid > ? ORDER BY r.rid LIMIT ?",
                (self._after, _STEP),
            ).fetchall()
            changed = [change for row in rows if (change := self._change(row)) is not None]
            if changed:
                self._apply(changed)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        self.seen += len(rows)
        self.changed += len(changed)
        if rows:
            self._after = rows[-1][0]
        return len(rows) == _STEP

    def _change(self, row: tuple[Any, ...]) -> tuple[int, int, int | None, int] | None:
        """The round's new price, costs and flags, or None where everything stays."""
        rid, model, host, price, nano, flags, *counts = row
        input_, output, reasoning, cached, write, write_1h = counts
        usage = Usage(input_, output, reasoning, cached, write, write_1h, lower_bound=bool(flags & LOST_COUNTS))
        cost = self._pricing(self._labels.name(model), self._labels.name(host), started_at(rid), usage)
        tag = self._labels.price(price)
        same = (tag.status, tag.currency, tag.source, tag.version) == (
            cost.status,
            cost.currency,
            cost.source,
            self._version or None,
        )
        if same and nano == cost.nano:
            return None
        low = usage.lower_bound or cost.status == "partial"
        flags = flags | LOWER_BOUND if low else flags & ~LOWER_BOUND
        number = self._writer.price_number(cost, self._version, tag.reported_currency)
        return rid, number, cost.nano, flags

    def _apply(self, changed: list[tuple[int, int, int | None, int]]) -> None:
        db = self._db
        db.execute("DELETE FROM changed")
        db.executemany("INSERT INTO changed VALUES (?, ?, ?, ?)", changed)
        self._fill()
        self._counters.move(-1)
        for table in ROLLUPS:
            add_batch(db, table, _SUBTRACT)
        db.execute(
            "UPDATE round SET price = c.price, nano = c.nano, flags = c.flags FROM changed AS c WHERE c.rid = round.rid"
        )
        self._tidy()
        self._fill()
        self._counters.move()
        for table in ROLLUPS:
            add_batch(db, table)
        db.execute("INSERT INTO meta VALUES ('batches', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        weights = " ".join(f"WHEN '{currency}' THEN {weight!r}" for currency, weight in SORT_WEIGHTS.items())
        db.execute(
            "UPDATE session SET grown = (SELECT value FROM meta WHERE key = 'batches'), spend = ifnull((SELECT "
            f"sum(s.nano * CASE p.currency {weights} ELSE 1.0 END) FROM session_slice AS s "
            "JOIN price AS p ON p.id = s.price WHERE s.sid = session.sid), 0.0) "
            "WHERE sid IN (SELECT DISTINCT sid FROM batch)"
        )
        db.execute("DELETE FROM batch")

    def _fill(self) -> None:
        """Put the rounds in question into ``batch`` as they stand."""
        self._db.execute("DELETE FROM batch")
        start = f"iif((rid >> 22) + {EPOCH_MS} < {QUARTER_MS}, 0, (rid >> 22) + {EPOCH_MS})"
        self._db.execute(
            f"INSERT INTO batch ({ROUND_NAMES}, at, source_bit, weight) SELECT {ROUND_NAMES}, {start}, 0, 0.0 "
            "FROM round WHERE rid IN (SELECT rid FROM changed)"
        )

    def _tidy(self) -> None:
        """Take rows away that nothing is left of, and make a sum unknown again where nothing that is left knows it."""
        for table, (columns, values) in ROLLUPS.items():
            touched = f"({columns}) IN (SELECT DISTINCT {values} FROM batch)"
            self._db.execute(f"DELETE FROM {table} WHERE rounds = 0 AND {touched}")
            parts, of_this = _PARTS[table]
            for count in sorted(MAYBE):
                self._db.execute(
                    f"UPDATE {table} AS t SET {count} = NULL WHERE {count} = 0 AND {touched} "
                    f"AND NOT EXISTS (SELECT 1 FROM {parts} AS r WHERE {of_this} AND r.{count} IS NOT NULL)"
                )
