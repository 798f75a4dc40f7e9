"""The fleet's store on a real cluster of two shards with two replicas does what every store must do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from monitor.budgets import BudgetBook
from monitor.store.base import Store
from monitor.store.clickhouse.connection import connect
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from tests.fleet.cluster import Cluster
from tests.store.conformance import VERSION, Open, StoreConformance
from tests.store.conformance_names import NameConformance
from tests.store.fewer import fewer
from tests.store.retention import RetentionConformance
from tests.store.test_calls import BUDGETS

EXAMPLES = 1


class OnCluster:
    """Opens stores in an empty database of the cluster."""

    _cluster: Cluster

    @pytest.fixture(autouse=True)
    def _on(self, cluster: Cluster) -> None:
        type(self)._cluster = cluster

    @contextmanager
    def opened(self, always: BudgetBook | None = None) -> Iterator[Open]:
        with self._cluster.database() as db:
            create(db)
            url = self._cluster.url(db.database)
            yield lambda book=None: ClickHouseStore(
                connect(url), node="here", price_version=VERSION, budgets=book or always
            )


class TestClusterStore(OnCluster, StoreConformance):
    fewer = fewer(EXAMPLES)

    @contextmanager
    def place(self) -> Iterator[Open]:
        with self.opened() as open_store:
            yield open_store


class TestClusterRetention(OnCluster, RetentionConformance):
    shares_between_sessions = False
    fewer = fewer(EXAMPLES)

    @contextmanager
    def place(self) -> Iterator[Open]:
        with self.opened() as open_store:
            yield open_store


class TestClusterCalls(OnCluster, NameConformance):
    fewer = fewer(EXAMPLES)

    @contextmanager
    def place(self) -> Iterator[Open]:
        with self.opened(BudgetBook(BUDGETS, "Asia/Kathmandu")) as open_store:
            yield open_store

    def more(self, store: Store) -> Any:
        return {budget.name: set(store.budget_sums(budget.name)) for budget in BUDGETS}
