"""How rows of the tables are read and written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import NAMES, Row
from monitor.store.clickhouse.schema import ROUND, Table
from monitor.store.clickhouse.values import literal

_T = TypeVar("_T")
#: Values in one list of a question.
STEP = 1000
#: Columns of ``round`` and ``witness`` that are bytes.
BLOBS = frozenset(("key", "said_key", "extra", "counted_key"))
#: Lists of a thousand places are long questions.
MANY = {"max_ast_elements": 10_000_000, "max_expanded_ast_elements": 10_000_000}


def now() -> int:
    """The version of what is written now: nanoseconds, so that what is written later holds."""
    return time.time_ns()


def write(db: Database, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Write rows with all columns of a table."""
    if rows:
        db.insert(table.name, table.names, rows)


def write_rounds(db: Database, rows: Sequence[Row]) -> None:
    """Write rows of ``round``."""
    write(db, ROUND, rows)


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
