"""What each source said of a call is told by the fleet's store as the embedded one tells it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.store import base
from monitor.store.base import Batch, PricedRound
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from monitor.store.sqlite import SqliteStore
from tests.fleet.embedded import shared
from tests.store.conformance import MOMENTS, SETTINGS, VERSION, windows
from tests.store.conformance_calls import arrivals
from tests.store.fewer import fewer

pytestmark = pytest.mark.xdist_group("chdb")


def told(testimonies: Sequence[base.Testimony]) -> list[bytes]:
    """What is said, call by call; who of a call's witnesses comes first is nobody's business."""
    keys = [one.key for one in testimonies]
    assert keys == sorted(keys)
    return sorted(msgspec.json.encode(one) for one in testimonies)


class TestTestimonies:
    fewer = fewer(15)

    @SETTINGS
    @given(arrivals(), windows(), st.integers(1, 8))
    def test_the_witnesses_of_each_call_are_those_of_the_embedded_store(
        self, batches: list[list[PricedRound]], window: tuple[int | None, int | None], limit: int
    ) -> None:
        with tempfile.TemporaryDirectory() as folder, shared().database() as db:
            create(db)
            with (
                closing(SqliteStore(Path(folder), price_version=VERSION)) as right,
                closing(ClickHouseStore(db, node="here", price_version=VERSION)) as store,
            ):
                for batch in batches:
                    right.add(Batch(rounds=batch))
                    store.add(Batch(rounds=batch))
                for since, until in [(None, None), (MOMENTS[0], None), window]:
                    said = store.testimonies(since, until, limit=1000)
                    assert told(said) == told(right.testimonies(since, until, limit=1000))
                    assert store.testimonies(since, until, limit=limit) == said[-limit:]
