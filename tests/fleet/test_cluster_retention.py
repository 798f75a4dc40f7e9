"""What goes from the fleet's store is gone from all shards of a cluster of 2018."""

from __future__ import annotations

import pytest

from monitor.store.clickhouse.connection import Connection, Database
from tests.store.clickhouse_retention import ClickHouseRetention


class TestClusterGoing(ClickHouseRetention):
    @pytest.fixture
    def db(self, database: Connection) -> Database:
        return database
