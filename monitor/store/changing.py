"""Stored rounds get another price: what they added to every sum is taken out, what they add now goes in.

Works a few thousand rounds at a time, each step one transaction after which everything adds up; a run
that is interrupted is simply run again. Sums that hold rounds which are no more keep those as they were.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from monitor.prices.money import GIVEN
from monitor.rounds import Usage
from monitor.store.base import Pricing
from monitor.store.counters import Counters
from monitor.store.labels import Labels
from monitor.store.rollups import SPEND, add_batch, fill_batch, subtract_batch, tidy
from monitor.store.rows import LOST_COUNTS, LOWER_BOUND, started_at
from monitor.store.writing import Writer

_STEP = 5000
_CHANGED_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS changed (
  rid INTEGER PRIMARY KEY, price INTEGER NOT NULL, nano INTEGER, flags INTEGER NOT NULL
)"""


class Repricer:
    """Gives stored rounds the prices of a list, step by step."""

    def __init__(self, db: sqlite3.Connection, writer: Writer, pricing: Pricing, version: str) -> None:
        self._db = db
        self._writer = writer
        self._pricing = pricing
        self._version = version
        self._labels = Labels(db)
        self._counters = Counters.as_stored(db)
        self._table = "round"
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
            rows, changed = self._look_at(self._table)
            if changed:
                if self._table == "round":
                    self._apply(changed)
                else:
                    db.executemany("UPDATE witness SET price = ?2, nano = ?3, flags = ?4 WHERE rid = ?1", changed)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # a full disk ends it by itself
                db.execute("ROLLBACK")
            raise
        if self._table == "round":
            self.seen += len(rows)
            self.changed += len(changed)
        if len(rows) == _STEP:
            self._after = rows[-1][0]
            return True
        # What stands behind other rounds adds nothing to any sum, but may come to count one day.
        before, self._table, self._after = self._table, "witness", -(1 << 63)
        return before == "round"

    def _look_at(self, table: str) -> tuple[list[tuple[Any, ...]], list[tuple[int, int, int | None, int]]]:
        """The next rows of a table, and what changes of them."""
        rows = self._db.execute(
            "SELECT r.rid, r.model, f.host, r.price, r.nano, r.flags, r.input, r.output, r.reasoning, r.cached, "
            f"r.cache_write, r.cache_write_1h FROM {table} AS r JOIN facet AS f ON f.id = r.facet "
            "WHERE r.rid > ? ORDER BY r.rid LIMIT ?",
            (self._after, _STEP),
        ).fetchall()
        return rows, [change for row in rows if (change := self._change(row)) is not None]

    def _change(self, row: tuple[Any, ...]) -> tuple[int, int, int | None, int] | None:
        """The round's new price, costs and flags, or None where everything stays."""
        rid, model, host, price, nano, flags, *counts = row
        input_, output, reasoning, cached, write, write_1h = counts
        usage = Usage(input_, output, reasoning, cached, write, write_1h, lower_bound=bool(flags & LOST_COUNTS))
        cost = self._pricing(self._labels.name(model), self._labels.name(host), started_at(rid), usage)
        tag = self._labels.price(price)
        if tag.source == GIVEN:
            return None
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
        number = self._writer.places.price(cost, self._version, tag.reported_currency)
        return rid, number, cost.nano, flags

    def _apply(self, changed: list[tuple[int, int, int | None, int]]) -> None:
        db = self._db
        db.execute("DELETE FROM changed")
        db.executemany("INSERT INTO changed VALUES (?, ?, ?, ?)", changed)
        fill_batch(db, "SELECT rid FROM changed")
        self._counters.move(-1)
        subtract_batch(db)
        db.execute(
            "UPDATE round SET price = c.price, nano = c.nano, flags = c.flags FROM changed AS c WHERE c.rid = round.rid"
        )
        tidy(db)
        fill_batch(db, "SELECT rid FROM changed")
        self._counters.move()
        add_batch(db)
        db.execute("INSERT INTO meta VALUES ('batches', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        db.execute(
            "UPDATE session SET grown = (SELECT value FROM meta WHERE key = 'batches'), "
            f"spend = {SPEND.format(sid='session.sid')} WHERE sid IN (SELECT DISTINCT sid FROM batch)"
        )
        db.execute("DELETE FROM batch")
