"""How rows of the tables are read and written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from monitor.store.clickhouse import durability
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import NAMES, Row
from monitor.store.clickhouse.schema import DAY, ROUND, Table
from monitor.store.clickhouse.values import literal
from monitor.store.schema import DAY_MS

_T = TypeVar("_T")
#: Values in one list of a question.
STEP = 1000
#: Columns of ``round`` and ``witness`` that are bytes.
BLOBS = frozenset(("key", "said_key", "extra", "counted_key"))
#: Lists of a thousand places are long questions.
MANY = {"max_ast_elements": 10_000_000, "max_expanded_ast_elements": 10_000_000}

#: How long a lease on a day lasts, and how much of it must be left for a write. Clocks of nodes may differ by less.
LEASE_NS = 600 * 10**9
_LEFT_NS = LEASE_NS // 2

_leases: WeakKeyDictionary[Database, dict[int, int]] = WeakKeyDictionary()


def now() -> int:
    """The version of what is written now: nanoseconds, so that what is written later holds."""
    return time.time_ns()


def write(db: Database, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Write rows with all columns of a table. On a cluster they are where they belong when this comes back."""
    if rows:
        durability.insert(db, table, rows)


def write_rounds(db: Database, rows: Sequence[Row]) -> None:
    """Write rows of ``round``; sums of their days that were worked out before do not hold from now on."""
    if rows:
        touch(db, (row.at for row in rows))
        write(db, ROUND, rows)


def touch(db: Database, starts: Iterable[int]) -> None:
    """Take a lease on the days of rounds that are about to be written; `starts` are their ``at``."""
    leases = _leases.setdefault(db, {})
    moment = now()
    days = {at - at % DAY_MS for at in starts}
    short = [day for day in days if leases.get(day, 0) < moment + _LEFT_NS]
    if short:
        write(db, DAY, [(day, 0, moment + LEASE_NS) for day in sorted(short)])
        leases.update(dict.fromkeys(short, moment + LEASE_NS))


def rounds(db: Database, where: str, order: str = "") -> list[Row]:
    """The rows of ``round`` that meet a condition."""
    return [Row(*values) for values in ask(db, f"SELECT {NAMES} FROM round FINAL WHERE {where} {order}", BLOBS)]


def ask(db: Database, sql: str, blobs: Iterable[str] = ()) -> list[tuple[Any, ...]]:
    """The rows of a question that may be long."""
    return db.query(sql, MANY, frozenset(blobs))


def among(values: Iterable[Any]) -> str:
    """``(a, b, c)`` for IN."""
    return f"({', '.join(literal(value) for value in values)})"


def cut(values: Sequence[_T], size: int = STEP) -> Iterator[Sequence[_T]]:
    """The values a list at a time."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
