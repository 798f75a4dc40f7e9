"""What goes from the fleet's store is gone from the tables, and nobody who writes meanwhile is in its way.

On today's engine and on a cluster of 2018; `tests.store.retention` says what every store must do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import pytest
import zstandard

from monitor.prices.money import Cost
from monitor.rounds import START, UNKNOWN_TIME, Conversation, Round, Usage
from monitor.store.base import Batch, Bounds, PricedRound, Pruned, Purged, SkippedLines, StoreError
from monitor.store.clickhouse import erasing, pruning
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from tests.store.conversations import AUGUST, JULY, after, chained, js, message, session

MINUTE, DAY = 60_000, 86_400_000
MAIN = "agent:main:main"
COST = Cost("priced", 7, "USD", "list A")


def node(db: Database, name: str) -> ClickHouseStore:
    return ClickHouseStore(db, node=name, price_version="list of today")


def told(
    number: int,
    at: int,
    conversation: Conversation | None = None,
    name: str | None = MAIN,
    *,
    source: str = "higress",
    response: str | None = None,
) -> PricedRound:
    r = Round(
        key=number.to_bytes(8, "big") * 2,
        source=source,
        started_at=at,
        session_id=name,
        session_source="header" if name else None,
        model="gpt-5.4",
        usage=Usage(10, 5),
        response_id=response,
        request_id=f"request-{number}",
        conversation=conversation,
        extra=b'{"api":"x","path":"/v1/%d","fields":{"memo":"a secret word"}}' % number,
    )
    return PricedRound(r, COST)


def talk(turns: int, at: int, *, first: int = 0, seed: int = 0, name: str | None = MAIN) -> list[PricedRound]:
    """A conversation that goes on, a round a minute."""
    return [
        told(first + n, at + n * MINUTE, conversation, name)
        for n, conversation in enumerate(chained(session(turns, seed)))
    ]


def pruned(store: ClickHouseStore, bounds: Bounds) -> Pruned:
    *_, last = store.pruning(bounds)
    return last


def read(store: ClickHouseStore, name: str = MAIN) -> list[tuple[bytes, ...] | None]:
    """The messages of the rounds of a session; None where nothing is kept."""
    contents = store.content(store.rounds(name).rounds)
    return [None if one is None else one.messages for one in contents]


def messages(rounds: Sequence[PricedRound]) -> list[tuple[bytes, ...] | None]:
    found: list[tuple[bytes, ...] | None] = []
    for p in rounds:
        conversation = p.round.conversation
        assert conversation is not None
        found.append(conversation.whole() if conversation.whole is not None else conversation.messages)
    return found


def everywhere(db: Database) -> bytes:
    """All that stands in the tables in words, rows included that others have taken the place of."""
    unpack = zstandard.ZstdDecompressor().decompress
    words: list[bytes] = []
    for table in ("piece", "said"):
        words += [unpack(z) for (z,) in db.query(f"SELECT z FROM {table} WHERE z != ''", blobs=("z",))]
    for table in ("round", "witness"):
        for row in db.query(
            f"SELECT ifNull(extra, ''), ifNull(question, '') FROM {table}", blobs=("ifNull(extra, '')",)
        ):
            words += [row[0], str(row[1]).encode()]
    return b"\n".join(words)


def final(db: Database, done: Pruned) -> str:
    """What to ask for where rows may be left that others have taken the place of: it must have been told."""
    if done.not_given_back is None:
        return ""
    assert db.cluster is not None
    assert done.not_given_back == "ClickHouse drops the replaced rows of round from its disks when it merges them"
    return " FINAL"


def count(db: Database, what: str) -> int:
    ((number,),) = db.query(f"SELECT count() FROM {what}")
    return int(number)


def purged(store: ClickHouseStore, name: str = MAIN, *, counts_too: bool = False) -> Purged:
    done = store.purge(name, counts_too=counts_too)
    assert done is not None
    return done


class ClickHouseRetention:
    """The scenarios. Derive from it, name the class ``Test…`` and give the fixture ``db``: an empty database."""

    @pytest.fixture
    def store(self, db: Database) -> ClickHouseStore:
        create(db)
        return node(db, "one")

    # -- pruning --------------------------------------------------------------------------------------

    def test_whole_months_of_conversations_go_with_their_partitions(self, db: Database, store: ClickHouseStore) -> None:
        old, new = talk(5, JULY), talk(5, AUGUST, first=100, seed=1)
        store.add(Batch(rounds=old + new + [told(50, UNKNOWN_TIME, chained(session(1, 9))[0])]))
        bounds = Bounds(content_before=AUGUST)
        planned = store.prunable(bounds)
        assert (planned.months, planned.contents, planned.undated) == (("202607",), 5, 1)
        done = pruned(store, bounds)
        assert (done.months, done.contents, done.rounds) == (("202607",), 5, 0)
        assert read(store) == [messages([told(50, 0, chained(session(1, 9))[0])])[0], *[None] * 5, *messages(new)]
        assert count(db, "piece WHERE substring(chain, 1, 6) = '202607'") == 0
        keys = ", ".join(f"unhex('{p.round.key.hex()}')" for p in old)
        rows = f"round{final(db, done)} WHERE key IN ({keys})"
        assert db.query(f"SELECT DISTINCT extra FROM {rows}") == [('{"api":"x"}',)]
        assert store.prunable(bounds) == Pruned(undated=1)
        assert store.verify() == []

    def test_within_a_month_what_no_round_needs_goes_and_the_rest_reads_as_before(
        self, db: Database, store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pruning, "QUIET_S", 0.0)
        first = talk(3, JULY)
        # It goes on from the first turn in another way; what came after it then was said only before the bound.
        begin = session(3)[0][0]
        more = (*begin, message("user", "something else"))
        branch = told(9, JULY + DAY, after(START.after(begin), more, answer=js("yes")))
        store.add(Batch(rounds=[*first, branch]))
        done = pruned(store, Bounds(content_before=JULY + DAY))
        assert (done.contents, done.months) == (3, ())
        assert read(store) == [None] * 3 + [more]
        words = everywhere(db)
        assert begin[0] in words
        assert b"something else" in words
        for later in session(3)[2][0][len(begin) :]:
            assert later not in words
        for _, said in session(3):
            assert said["answer"] not in words
        assert count(db, "said FINAL WHERE gone = 0") == 1
        # Who still writes finds the pieces that are there, and writes again what is not.
        late = node(db, "two")
        late.add(Batch(rounds=talk(4, JULY + 2 * DAY, first=200)))
        assert read(late)[4:] == messages(talk(4, JULY))
        assert store.verify() == []

    def test_pieces_of_a_chain_that_is_written_to_are_left_alone(self, db: Database, store: ClickHouseStore) -> None:
        rounds = talk(6, JULY)
        store.add(Batch(rounds=rounds[:5]))
        pruned(store, Bounds(content_before=JULY + DAY))
        assert count(db, "piece FINAL WHERE count < 0") == 0
        # The node remembers what it wrote, and builds on it.
        later = told(5, JULY + 2 * DAY, rounds[5].round.conversation)
        store.add(Batch(rounds=[later]))
        assert read(store) == [None] * 5 + messages([later])

    def test_without_rewriting_nothing_can_be_read_all_the_same(self, db: Database, store: ClickHouseStore) -> None:
        store.add(Batch(rounds=talk(3, JULY)))
        *_, done = store.pruning(Bounds(content_before=JULY + DAY), rewrite=False)
        assert done.contents == 3
        assert done.not_given_back is None
        assert read(store) == [None] * 3
        assert [s.has_content for s in store.rounds(MAIN).rounds] == [False] * 3

    def test_rounds_that_went_keep_their_counts_and_nothing_else(self, db: Database, store: ClickHouseStore) -> None:
        rounds = talk(4, JULY)
        store.add(Batch(rounds=rounds))
        done = pruned(store, Bounds(rounds_before=JULY + 15 * MINUTE))
        assert done.rounds == 4
        record = store.session(MAIN)
        assert record is not None
        assert (record.created_at, record.pruned_rounds) == (JULY, 4)
        kept = db.query(
            "SELECT state, at, request_id, extra, question, chain, turn, status, model, input FROM round FINAL"
        )
        assert kept == [(3, JULY - JULY % 900_000, None, None, "", "", None, None, "gpt-5.4", 10)] * 4
        assert count(db, f"round{final(db, done)} WHERE position(ifNull(extra, ''), 'secret') > 0") == 0
        assert store.add(Batch(rounds=rounds)).rounds == 0
        assert store.verify() == []

    def test_when_something_was_last_looked_for_is_known_to_all(self, db: Database, store: ClickHouseStore) -> None:
        assert store.pruned_at() is None
        begun = time.time_ns() // 1_000_000
        pruned(store, Bounds(rounds_before=JULY))
        found = node(db, "two").pruned_at()
        assert found is not None
        assert found >= begun

    def test_what_hinders_the_rewriting_is_told_and_nothing_is_lost(
        self, store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.add(Batch(rounds=talk(3, JULY)))

        def refused(*_: object) -> None:
            raise StoreError("ClickHouse has no room for it")

        monkeypatch.setattr(erasing, "merge", refused)
        done = pruned(store, Bounds(rounds_before=JULY + DAY))
        assert (done.rounds, done.not_given_back) == (3, "ClickHouse has no room for it")

    def test_samples_of_skipped_lines_go_of_all_nodes(self, db: Database, store: ClickHouseStore) -> None:
        other = node(db, "two")
        store.add(Batch(skipped=[SkippedLines("a.log", "malformed", 2, b"a secret word")]))
        other.add(
            Batch(skipped=[SkippedLines("b.log", "malformed", 3, b"a secret word"), SkippedLines("b.log", "x", 1)])
        )
        pruned(store, Bounds(content_before=JULY))
        assert store.skipped() == [
            SkippedLines("a.log", "malformed", 2),
            SkippedLines("b.log", "malformed", 3),
            SkippedLines("b.log", "x", 1),
        ]

    def test_both_witnesses_go_with_the_call_and_none_of_them_comes_back(self, store: ClickHouseStore) -> None:
        gateway = told(1, JULY, source="higress", response="chatcmpl-1")
        transcript = told(2, JULY + 3000, source="openclaw", response="chatcmpl-1")
        store.add(Batch(rounds=[gateway]))
        store.add(Batch(rounds=[transcript]))
        assert [s.counts.rounds for s in store.slices()] == [1]
        assert pruned(store, Bounds(rounds_before=JULY + 60 * MINUTE)).rounds == 1
        # Another record of the one kind may as well be a second one of the same call as that of the other.
        third = told(3, JULY + 4000, source="higress", response="chatcmpl-1")
        for again in ([gateway], [transcript], [transcript, gateway], [third]):
            store.add(Batch(rounds=again))
            assert [s.counts.rounds for s in store.slices()] == [1]
            assert store.verify() == []

    @pytest.mark.parametrize("first", ["higress", "openclaw"])
    def test_a_second_witness_that_comes_after_pruning_counts_nothing(self, store: ClickHouseStore, first: str) -> None:
        second = {"higress": "openclaw", "openclaw": "higress"}[first]
        edge = JULY - JULY % (15 * MINUTE)  # on both sides of a quarter of an hour

        def rounds() -> int:
            assert store.verify() == []
            return sum(s.counts.rounds for s in store.slices())

        store.add(Batch(rounds=[told(1, edge - 1000, source=first, response="chatcmpl-1")]))
        assert pruned(store, Bounds(rounds_before=edge + 60 * MINUTE)).rounds == 1
        store.add(Batch(rounds=[told(2, edge + 1000, source=second, response="chatcmpl-1")]))
        assert rounds() == 1
        # The same kind under the same id is another call, and so is another id.
        store.add(Batch(rounds=[told(3, edge + 2000, source=first, response="chatcmpl-1")]))
        assert rounds() == 2
        store.add(Batch(rounds=[told(4, edge + 2000, source=second, response="chatcmpl-2")]))
        assert rounds() == 3

    def test_rounds_of_a_file_that_is_removed_leave_what_was_pruned_in_place(self, store: ClickHouseStore) -> None:
        old, new = told(1, JULY, source="usage"), told(2, JULY + 90 * MINUTE, source="usage")
        store.add(Batch(rounds=[old, new], origin="2026-07-01.jsonl"))
        assert pruned(store, Bounds(rounds_before=JULY + 30 * MINUTE)).rounds == 1
        mark, _ = store.grown_since(None)
        assert store.remove("2026-07-01.jsonl").rounds == 1
        assert store.grown_since(mark)[1] == [MAIN]
        record = store.session(MAIN)
        assert record is not None
        assert (record.pruned_rounds, record.created_at) == (1, JULY)
        store.add(Batch(rounds=[old, new], origin="2026-07-01.jsonl"))
        assert sum(s.counts.rounds for s in store.slices()) == 2

    # -- purging --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("counts_too", [False, True])
    def test_of_a_purged_session_no_word_is_left_in_any_table(
        self, db: Database, store: ClickHouseStore, counts_too: bool
    ) -> None:
        mine, others = talk(5, JULY), talk(5, JULY, first=100, seed=1, name="another")
        store.add(Batch(rounds=[*mine, *talk(2, AUGUST, first=50), *others]))
        planned = store.purgeable(MAIN, counts_too=counts_too)
        assert planned is not None
        done = purged(store, counts_too=counts_too)
        assert done == planned
        assert (done.rounds, done.contents, done.pieces, done.shared_pieces) == (7, 7, 6 + 3, 0)
        words = everywhere(db)
        for number in range(5):
            for text in session(5)[number][0]:
                assert text not in words
            assert session(5)[number][1]["answer"] not in words
            assert session(5)[number][1]["question"][1:100] not in words
        assert words.count(b"a secret word") == len(others)
        assert read(store, "another") == messages(others)
        assert count(db, "round") == count(db, "round FINAL")
        assert store.verify() == []
        assert (store.session(MAIN) is None) == counts_too
        store.add(Batch(rounds=[*mine, *talk(8, JULY)[5:]]))
        assert all(one is None for one in read(store))
        assert everywhere(db).count(b"a secret word") == len(others)

    def test_pieces_that_a_round_of_another_session_needs_stay(self, db: Database, store: ClickHouseStore) -> None:
        # Conversations without a session are one chain; a transcript then tells whose one of them was.
        turns = session(3)
        rounds = [
            told(n, JULY + n * MINUTE, conversation, None, response=f"chatcmpl-{n}")
            for n, conversation in enumerate(chained(turns))
        ]
        store.add(Batch(rounds=rounds))
        store.add(Batch(rounds=[told(10, JULY + 2 * MINUTE + 1, None, MAIN, source="openclaw", response="chatcmpl-2")]))
        assert len(store.rounds(MAIN).rounds) == 1
        done = purged(store)
        assert (done.pieces, done.shared_pieces) == (1, 3)
        assert read(store) == [None]
        (nameless,) = store.unnamed()
        assert nameless.session_id is None
        assert turns[2][0][-1] not in everywhere(db)
        rows = db.query("SELECT chain, said_key FROM round FINAL WHERE chain != ''")
        assert len(rows) == 2
        assert count(db, "piece FINAL WHERE count >= 0") == 3

    def test_a_session_is_purged_by_any_of_its_names_and_silent_under_all(
        self, db: Database, store: ClickHouseStore
    ) -> None:
        given = talk(2, JULY)
        named = PricedRound(msgspec.structs.replace(given[0].round, session_aliases=("its other name",)), COST)
        store.add(Batch(rounds=[named, given[1]]))
        assert purged(store, "its other name").session_id == MAIN
        late = node(db, "two")
        late.add(Batch(rounds=talk(1, JULY + DAY, first=70, seed=3, name="its other name")))
        assert all(one is None for one in [*read(late), *read(late, "its other name")])
        assert len(late.silenced()) == 2

    def test_a_purge_that_was_interrupted_is_done_again_to_the_end(
        self, db: Database, store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.add(Batch(rounds=talk(4, JULY)))
        real = erasing.delete

        def away(*_: object) -> None:
            raise KeyboardInterrupt

        for what in ("forget_words", "delete"):
            with monkeypatch.context() as patch:
                patch.setattr(erasing, what, away)
                with pytest.raises(KeyboardInterrupt):
                    store.purge(MAIN)
        assert erasing.delete is real
        assert read(store) == [None] * 4
        done = purged(store)
        assert done.left_behind == ()
        words = everywhere(db)
        for text in session(4)[3][0]:
            assert text not in words

    def test_what_could_not_be_deleted_yet_is_told(
        self, store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.add(Batch(rounds=talk(2, JULY)))

        def refused(*_: object) -> None:
            raise StoreError("a host is away")

        monkeypatch.setattr(erasing, "delete", refused)
        done = purged(store)
        assert done.left_behind == ("a host is away",)
        assert read(store) == [None] * 2
        assert store.purgeable("never seen") is None
