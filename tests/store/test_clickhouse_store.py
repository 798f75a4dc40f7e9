"""The fleet's store does what every store must do, on today's engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from monitor.budgets import BudgetBook
from monitor.store.base import Added, Batch, Store
from monitor.store.clickhouse import rollups, tables
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from tests.fleet.embedded import shared
from tests.store.conformance import VERSION, Open, StoreConformance
from tests.store.conformance_names import NameConformance
from tests.store.fewer import fewer
from tests.store.retention import RetentionConformance
from tests.store.test_calls import BUDGETS

#: The embedded store goes through twenty times as many.
EXAMPLES = 2

pytestmark = pytest.mark.xdist_group("chdb")


@contextmanager
def opened(always: BudgetBook | None = None) -> Iterator[Open]:
    """A store in an empty database of the engine."""
    with shared().database() as db:
        create(db)
        yield lambda book=None: ClickHouseStore(db, node="here", price_version=VERSION, budgets=book or always)


class TestClickHouseStore(StoreConformance):
    fewer = fewer(EXAMPLES)

    @contextmanager
    def place(self) -> Iterator[Open]:
        with opened() as open_store:
            yield open_store


class Summed(ClickHouseStore):
    """A store whose days are summed up after every batch."""

    def add(self, batch: Batch) -> Added:
        added = super().add(batch)
        rollups.settle(self._db, limit=10_000, patience_ns=0)
        return added


class SummedUp:
    """Where the sums of days answer, not their rounds."""

    @pytest.fixture(autouse=True)
    def _short_leases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "LEASE_NS", -1)

    @contextmanager
    def place(self) -> Iterator[Open]:
        with shared().database() as db:
            create(db)
            yield lambda book=None: Summed(db, node="here", price_version=VERSION, budgets=book)


class TestClickHouseSums(SummedUp, StoreConformance):
    fewer = fewer(EXAMPLES)


class TestClickHouseRetention(SummedUp, RetentionConformance):
    shares_between_sessions = False
    fewer = fewer(EXAMPLES)


class TestClickHouseCalls(NameConformance):
    fewer = fewer(EXAMPLES)

    @contextmanager
    def place(self) -> Iterator[Open]:
        with opened(BudgetBook(BUDGETS, "Asia/Kathmandu")) as open_store:
            yield open_store

    def more(self, store: Store) -> Any:
        return {budget.name: set(store.budget_sums(budget.name)) for budget in BUDGETS}
