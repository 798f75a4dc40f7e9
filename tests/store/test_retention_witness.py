"""A call that two sources told of goes once, and never counts again by whichever of them comes later."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from monitor.prices.money import Cost
from monitor.rounds import START, Conversation, Round, Usage
from monitor.store.base import Batch, Bounds, PricedRound
from monitor.store.sqlite import SqliteStore
from tests.helpers import totals

AT = 1_790_000_000_000
MINUTE = 60_000
COST = Cost("priced", 7, "USD", "list A")


def told(number: int, source: str, *, at: int = AT, response: str = "chatcmpl-1", session: str = "a") -> PricedRound:
    said = (b'{"role":"user","content":"%s says"}' % source.encode(),)
    r = Round(
        key=bytes([number]) * 16,
        source=source,
        started_at=at,
        session_id=session,
        session_source="header",
        model="gpt-5.4",
        usage=Usage(10, 5),
        response_id=response,
        conversation=Conversation(said, START.after(said), answer=b'"what %s heard"' % source.encode()),
    )
    return PricedRound(r, COST)


def rounds_in(store: SqliteStore) -> int:
    assert store.verify() == []
    return totals(store.slices()).rounds


def pruned(store: SqliteStore, before: int) -> int:
    *_, last = store.pruning(Bounds(rounds_before=before))
    return last.rounds


def test_both_witnesses_go_with_the_call_and_none_of_them_comes_back(tmp_path: Path) -> None:
    gateway, transcript = told(1, "higress"), told(2, "openclaw", at=AT + 3000)
    with closing(SqliteStore(tmp_path)) as store:
        store.add(Batch(rounds=[gateway]))
        store.add(Batch(rounds=[transcript]))
        assert rounds_in(store) == 1
        assert pruned(store, AT + 60 * MINUTE) == 1
        assert rounds_in(store) == 1
        for again in ([gateway], [transcript], [transcript, gateway]):
            store.add(Batch(rounds=again))
            assert rounds_in(store) == 1


@pytest.mark.parametrize("first", ["higress", "openclaw"])
def test_a_second_witness_that_comes_after_pruning_counts_nothing(tmp_path: Path, first: str) -> None:
    second = {"higress": "openclaw", "openclaw": "higress"}[first]
    # On both sides of a quarter of an hour.
    edge = AT - AT % (15 * MINUTE)
    with closing(SqliteStore(tmp_path)) as store:
        store.add(Batch(rounds=[told(1, first, at=edge - 1000)]))
        assert pruned(store, edge + 60 * MINUTE) == 1
        store.add(Batch(rounds=[told(2, second, at=edge + 1000)]))
        assert rounds_in(store) == 1
        # The same kind under the same id is another call, and so is another id.
        store.add(Batch(rounds=[told(3, first, at=edge + 2000)]))
        assert rounds_in(store) == 2
        store.add(Batch(rounds=[told(4, second, at=edge + 2000, response="chatcmpl-2")]))
        assert rounds_in(store) == 3


def test_what_another_source_heard_of_a_purged_session_goes_as_well(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.add(Batch(rounds=[told(1, "higress"), told(2, "openclaw", at=AT + 3000)]))
        store.add(Batch(rounds=[told(3, "higress", response="chatcmpl-9", session="b")]))
        done = store.purge("a")
        assert done is not None
        assert done.contents == 1
        (one,) = store.rounds("a").rounds
        assert list(store.content([one])) == [None]
        (other,) = store.content(store.rounds("b").rounds)
        assert other is not None
        assert other.answer == b'"what higress heard"'
        done = store.purge("a", counts_too=True)
        assert done is not None
        assert rounds_in(store) == 1
        store.add(Batch(rounds=[told(1, "higress"), told(2, "openclaw", at=AT + 3000)]))
        assert rounds_in(store) == 1


def test_rounds_of_a_file_that_is_removed_leave_what_was_pruned_in_place(tmp_path: Path) -> None:
    old, new = told(1, "usage", response=""), told(2, "usage", at=AT + 90 * MINUTE, response="")
    with closing(SqliteStore(tmp_path)) as store:
        store.add(Batch(rounds=[old, new], origin="2026-09-21.jsonl"))
        assert pruned(store, AT + 30 * MINUTE) == 1
        assert store.remove("2026-09-21.jsonl").rounds == 1
        assert rounds_in(store) == 1
        record = store.session("a")
        assert record is not None
        assert record.pruned_rounds == 1
        assert record.created_at == AT
        store.add(Batch(rounds=[old, msgspec.structs.replace(new)], origin="2026-09-21.jsonl"))
        assert rounds_in(store) == 2
