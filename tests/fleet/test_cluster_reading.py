"""Questions to a cluster whose engine leaves out parts of a table by the times in them before it merges rows."""

from __future__ import annotations

from monitor.store.clickhouse.conditions import COUNTED, between
from monitor.store.clickhouse.connection import Connection
from monitor.store.clickhouse.rounds import calls, sampled_calls
from monitor.store.clickhouse.rows import PRUNED
from monitor.store.clickhouse.schema import ROUND
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.tables import write
from tests.store.conformance import HOUR, MOMENTS, QUARTER
from tests.store.test_clickhouse_conditions import row


def test_a_round_that_was_pruned_is_in_no_window_that_begins_behind_its_quarter(database: Connection) -> None:
    create(database)
    was = row("s", MOMENTS[0] + 5000)
    write(database, ROUND, [was])
    write(database, ROUND, [was._replace(state=PRUNED, at=MOMENTS[0], ver=1)])
    for since, until, right in (
        (MOMENTS[0], None, 1), (MOMENTS[0] + 1, None, 0), (MOMENTS[0] + 5000, None, 0), (None, MOMENTS[0] + 1, 1),
        (None, MOMENTS[0], 0), (MOMENTS[0] - QUARTER, MOMENTS[0] + QUARTER, 1),
    ):  # fmt: skip
        sql = f"SELECT count() FROM round FINAL WHERE {COUNTED} AND {between(since, until)}"
        assert database.query(sql) == [(right,)], (since, until)


def test_a_sample_of_a_cluster_is_the_first_of_all_its_shards(database: Connection) -> None:
    create(database)
    rows = [row(f"s{n % 7}", MOMENTS[0] + n * HOUR // 20, n) for n in range(100)]
    write(database, ROUND, rows)
    until = MOMENTS[0] + 5 * HOUR
    found = sampled_calls(database, MOMENTS[0], until, HOUR, 3)
    assert [call.started_at for call in found] == [rows[n].at for n in range(100) if n % 20 < 3]
    assert [call.started_at for call in calls(database, limit=4)] == [one.at for one in rows[-4:]]
