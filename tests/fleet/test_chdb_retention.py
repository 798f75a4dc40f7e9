"""What goes from the fleet's store: old rounds, old conversations, one session, files; on today's engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from monitor.budgets import BudgetBook
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from tests.fleet.embedded import Engine
from tests.store.conformance import VERSION, Open
from tests.store.conformance_calls import CallConformance
from tests.store.retention import RetentionConformance


@cache
def engine() -> Engine:
    return Engine()


@contextmanager
def place() -> Iterator[Open]:
    with engine().database() as db:
        create(db)

        def open_store(book: BudgetBook | None = None) -> ClickHouseStore:
            return ClickHouseStore(db, node="one", price_version=VERSION, budgets=book)

        yield open_store


class TestChdbRetention(RetentionConformance):
    shares_between_sessions = False
    place = staticmethod(place)


class TestChdbCalls(CallConformance):
    place = staticmethod(place)
