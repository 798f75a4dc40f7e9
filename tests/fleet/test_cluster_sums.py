"""Sums of days on a cluster: worked out once nobody writes to them, and the same as those of the rounds."""

from __future__ import annotations

import pytest

from monitor.store.base import Batch
from monitor.store.clickhouse import rollups, sums, tables
from monitor.store.clickhouse.connection import Connection
from monitor.store.clickhouse.schema import ROUND
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from tests.store.conformance import DAY, HOUR, MOMENTS, VERSION, slices_of, summed, told
from tests.store.conformance_names import alone


def test_days_that_were_summed_up_say_what_their_rounds_say_until_somebody_writes(
    database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LEASE_NS", -1)
    create(database)
    rounds = [alone(n, f"session {n % 9}", at=n * HOUR // 4) for n in range(300)]
    store = ClickHouseStore(database, node="here", price_version=VERSION)
    store.add(Batch(rounds=rounds))
    by_rounds = (told(store.slices()), store.buckets("hour", "Asia/Kathmandu"), store.by("source"))
    assert rollups.settle(database, limit=100, patience_ns=0) == len(rollups.settled(database)) > 3
    assert (told(store.slices()), store.buckets("hour", "Asia/Kathmandu"), store.by("source")) == by_rounds
    assert by_rounds[0] == summed(rounds)
    since = MOMENTS[0] + DAY // 2
    later = [p for p in rounds if p.round.started_at >= since]
    assert told(store.slices(since, None)) == told(slices_of(later))
    # What comes past the store is not seen where a day's sums answer: they do answer.
    (row,) = tables.rounds(database, "session = 'session 1' ORDER BY rid LIMIT 1")
    tables.write(database, ROUND, [row._replace(key=b"\1" * 16)])
    assert told(sums.slices(database)) == by_rounds[0]
    tables.touch(database, [row.at])
    assert sum(counts.rounds for counts in told(sums.slices(database)).values()) == len(rounds) + 1
