"""The fleet's store does what every store must do, on today's engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from monitor.budgets import BudgetBook
from monitor.store.base import Store
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from tests.fleet.embedded import shared
from tests.store.conformance import VERSION, Open, StoreConformance
from tests.store.conformance_names import NameConformance
from tests.store.retention import RetentionConformance
from tests.store.test_calls import BUDGETS

pytestmark = pytest.mark.xdist_group("chdb")


@contextmanager
def opened(always: BudgetBook | None = None) -> Iterator[Open]:
    """A store in an empty database of the engine."""
    with shared().database() as db:
        create(db)
        yield lambda book=None: ClickHouseStore(db, node="here", price_version=VERSION, budgets=book or always)


class TestClickHouseStore(StoreConformance):
    @contextmanager
    def place(self) -> Iterator[Open]:
        with opened() as open_store:
            yield open_store


class TestClickHouseRetention(RetentionConformance):
    @contextmanager
    def place(self) -> Iterator[Open]:
        with opened() as open_store:
            yield open_store


class TestClickHouseCalls(NameConformance):
    @contextmanager
    def place(self) -> Iterator[Open]:
        with opened(BudgetBook(BUDGETS, "Asia/Kathmandu")) as open_store:
            yield open_store

    def more(self, store: Store) -> Any:
        return {budget.name: set(store.budget_sums(budget.name)) for budget in BUDGETS}
