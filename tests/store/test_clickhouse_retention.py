"""What goes from the fleet's store is gone from the tables of today's engine."""

from __future__ import annotations

import pytest

from monitor.store.clickhouse import erasing
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.schema import PIECE, SAID
from tests.fleet.embedded import Embedded
from tests.store.clickhouse_retention import ClickHouseRetention

pytestmark = pytest.mark.xdist_group("chdb")


class TestClickHouseGoing(ClickHouseRetention):
    @pytest.fixture
    def db(self, embedded: Embedded) -> Database:
        return embedded


def test_waiting_for_deletions_ends_when_they_are_done_or_the_time_is_over() -> None:
    class Slow:
        left = 5

        def query(self, *_: object) -> list[tuple[int]]:
            self.left -= 1
            return [(max(self.left, 0),)]

    paused: list[float] = []
    pending = [(PIECE, "chain = 'a'"), (SAID, "chain = 'a'")]
    assert erasing.wait(Slow(), pending, 60.0, paused.append) is None  # type: ignore[arg-type]
    assert paused == [0.05, 0.1]
    problem = erasing.wait(Slow(), pending, 0.0, paused.append)  # type: ignore[arg-type]
    assert problem is not None
    assert "(piece, said)" in problem
    assert len(paused) == 2
