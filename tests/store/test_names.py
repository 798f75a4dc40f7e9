"""Which session a name leads to, when names come from headers and from what was said."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from monitor.prices.money import Cost
from monitor.rounds import Round, Usage
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore

REAL, EVIL = "agent:main:main", "agent:guest:1"


def one(number: int, session_id: str, *aliases: str) -> PricedRound:
    return PricedRound(
        Round(
            key=number.to_bytes(16, "big"),
            source="higress",
            started_at=1_770_000_000_000 + number,
            session_id=session_id,
            session_source="inferred" if aliases else "header",
            session_aliases=aliases,
            usage=Usage(10, 1),
        ),
        Cost("priced", 5, "USD"),
    )


ROUNDS = (one(1, EVIL, REAL), one(2, REAL), one(3, EVIL, REAL), one(4, REAL, "0f3c"))


def test_an_id_that_only_openclaw_can_know_joins_the_session_that_it_is_a_name_of(tmp_path: Path) -> None:
    made_id = "3e9032e3-5a1e-4c0b-9d3f-000a11cf9919"
    store = SqliteStore(tmp_path)
    store.add(Batch(rounds=[one(1, REAL, made_id)]))
    store.add(Batch(rounds=[one(2, made_id)]))  # a compaction: its request names the session id only
    record = store.session(made_id)
    assert record is not None
    assert record.session_id == REAL
    assert sum(part.counts.rounds for part in record.slices) == 2
    assert store.session_count() == 1
    store.close()


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_an_alias_never_catches_the_rounds_of_the_session_that_has_it_as_its_id(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    store = SqliteStore(tmp_path)
    for index in order:
        store.add(Batch(rounds=[ROUNDS[index]]))
    for session_id in (REAL, EVIL):
        record = store.session(session_id)
        assert record is not None
        assert record.session_id == session_id
        assert sum(part.counts.rounds for part in record.slices) == 2
    other = store.session("0f3c")
    assert other is not None
    assert other.session_id == REAL
    assert store.session_count() == 2
    store.close()
