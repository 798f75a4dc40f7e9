"""Today's engine, within the process: what it is asked over HTTP in production."""

from __future__ import annotations

import pytest

from monitor.store.clickhouse.connection import Database
from tests.fleet.embedded import Embedded
from tests.store.conformance_database import DatabaseConformance

pytestmark = pytest.mark.xdist_group("chdb")


class TestEmbedded(DatabaseConformance):
    @pytest.fixture
    def database(self, embedded: Embedded) -> Database:
        return embedded

    def test_it_is_an_engine_of_today(self, database: Database) -> None:
        assert database.version() >= (26,)
