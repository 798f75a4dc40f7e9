"""The embedded store does with calls of several witnesses, and with files that go, what every store must do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monitor.budgets import Budget, BudgetBook, Limit
from monitor.store.base import Store
from monitor.store.sqlite import SqliteStore
from tests.store.conformance import VERSION, Open
from tests.store.conformance_names import NameConformance

BUDGETS = (
    Budget("all", Limit(nano=10**18, currency="USD")),
    Budget("each", Limit(tokens=10**15), period="session"),
    Budget("functions", Limit(tokens=10**15), period="week", per="function"),
    Budget("platform", Limit(tokens=10**15), period="month", match=(("consumer", ("plat*",)),), per="model"),
)


class TestSqliteStoreCalls(NameConformance):
    @contextmanager
    def place(self) -> Iterator[Open]:
        with tempfile.TemporaryDirectory() as folder:
            book = BudgetBook(BUDGETS, "Asia/Kathmandu")
            yield lambda other=None: SqliteStore(Path(folder), price_version=VERSION, budgets=other or book)

    def more(self, store: Store) -> Any:
        return {budget.name: set(store.budget_sums(budget.name)) for budget in BUDGETS}
