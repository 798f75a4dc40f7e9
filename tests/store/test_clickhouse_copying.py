"""A data directory comes into the fleet's store whole, once, whatever happens meanwhile; on today's engine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from monitor.budgets import BudgetBook
from monitor.config import LOCK_NAME
from monitor.prices.money import Cost
from monitor.rounds import UNKNOWN_TIME, Usage
from monitor.store.base import (
    Batch,
    Bounds,
    Checkpoint,
    PricedRound,
    SessionName,
    SkippedLines,
    SourceSeen,
    Store,
    StoreAway,
    StoreError,
)
from monitor.store.clickhouse.connection import NONE, Database, Settings
from monitor.store.clickhouse.copying import Copied, Copy
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from monitor.store.sqlite import SqliteStore
from tests.fleet.embedded import Embedded, shared
from tests.store.conformance import (
    BUDGETS,
    MOMENTS,
    SESSIONS,
    SETTINGS,
    VERSION,
    ZONES,
    deliveries,
    own,
    snapshot,
    unique,
)
from tests.store.conformance import told as summed
from tests.store.conformance_calls import arrivals, witness
from tests.store.conformance_names import NAMES
from tests.store.conversations import STEPS, Step, chained, grown, session
from tests.store.fewer import fewer
from tests.store.retention import BOUNDS, pruned

pytestmark = pytest.mark.xdist_group("chdb")

EXAMPLES = 2
NODE = "here"
DAY = 86_400_000


@contextmanager
def places() -> Iterator[tuple[Path, Embedded]]:
    """A data directory, and the tables of a fleet's store in an empty database."""
    with tempfile.TemporaryDirectory() as folder, shared().database() as db:
        create(db)
        yield Path(folder) / "data", db


def sqlite(folder: Path, book: BudgetBook | None = None) -> SqliteStore:
    return SqliteStore(folder, price_version=VERSION, budgets=book)


def fleet(db: Database, node: str = NODE) -> ClickHouseStore:
    return ClickHouseStore(db, node=node, price_version=VERSION)


def copied(folder: Path, db: Database, node: str = NODE) -> Copied:
    return Copy(folder, db, node).run()


def apart(batches: Sequence[Sequence[PricedRound]]) -> list[list[PricedRound]]:
    """The rounds, each with a time of its own: of rounds that started at once each store has its own order."""
    numbers = {p.round.key: n for n, p in enumerate(unique(batches))}

    def moved(p: PricedRound) -> PricedRound:
        if p.round.started_at == UNKNOWN_TIME:
            return p
        started_at = p.round.started_at + numbers[p.round.key]
        return PricedRound(msgspec.structs.replace(p.round, started_at=started_at), p.cost)

    return [[moved(p) for p in batch] for batch in batches]


def said(store: Store) -> dict[str, Any]:
    """Everything that a store says, by the question."""
    names = [record.session_id for record in store.top_sessions(None, 1000) if record.session_id is not None]
    return {
        "snapshot": snapshot(store),
        "steps": {key: steps for key, steps in store.latency_steps().items() if any(steps)},
        "budgets": {name: set(store.budget_sums(name)) for name in sorted(store.budget_rules())},
        "rules": store.budget_rules(),
        # Each store numbers them in its own way.
        "alerts": sorted(
            repr(
                msgspec.structs.replace(
                    alert, deliveries=tuple(msgspec.structs.replace(d, alert=0) for d in alert.deliveries)
                )
            )
            for alert in store.alerts()
        ),
        "origins": list(store.origins()),
        "silenced": store.silenced(),
        "checkpoints": {source: store.checkpoints(source) for source in store.sources()},
        "skipped": store.skipped(),
        "feeds": store.feeds(),
        "followed": store.followed(),
        "as of": store.as_of(),
        "pruned at": store.pruned_at(),
        "testimonies": sorted(map(repr, store.testimonies(None, limit=1000))),
        "named by": store.named_by(),
        "below": {name: store.started_by(name) for name in names},
        "turns": {name: list(store.turns(name)) for name in names},
        "windows": [
            summed(store.slices(since, since + width)) for since in sorted(MOMENTS) for width in (450_000, DAY)
        ],
        "said": {name: list(store.content(store.rounds(name).rounds)) for name in names},
    }


def check_same(folder: Path, db: Database) -> None:
    """Both stores answer everything alike."""
    with closing(SqliteStore(folder, read_only=True)) as old, closing(fleet(db)) as new:
        before, after = said(old), said(new)
        for question, answer in before.items():
            assert after[question] == answer, question
        assert new.verify() == []


def with_marks(store: Store, batches: Iterable[Sequence[PricedRound]]) -> None:
    """Add batches with all else that comes with them: files, checkpoints, lines that were no rounds."""
    for number, batch in enumerate(batches):
        records = [p for p in batch if p.round.source == "usage"]
        rest = [p for p in batch if p.round.source != "usage"]
        log = b"log"
        store.add(
            Batch(
                rounds=rest,
                checkpoints=[Checkpoint(log, "access.log", "/var/log/access.log", number, number + 1, b"at")],
                occurrences={(log, b"record %d" % number): number + 1},
                skipped=[SkippedLines("access.log", "malformed", 1, b"not a line")],
                seen=[SourceSeen("access.log", "istio")] if rest else [],
                as_of=MOMENTS[0] + number,
            )
        )
        store.add(Batch(rounds=records, origin=f"day {number % 2}"))
    store.follow("access.log", "higress", b'{"path":"x"}')


class Torn(Embedded):
    """A database whose connection breaks after some statements that write, before or after the last one arrived."""

    def __init__(self, db: Embedded, after: int, *, arrives: bool) -> None:
        super().__init__(db._engine, db.database)
        self._left = after
        self._arrives = arrives

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], settings: Settings = NONE
    ) -> None:
        self._left -= 1
        if self._left >= 0 or self._arrives:
            super().insert(table, columns, rows, settings)
        if self._left < 0:
            raise StoreAway("the connection broke")


class TestCopy:
    fewer = fewer(EXAMPLES)

    @SETTINGS
    @given(deliveries(), BOUNDS, st.sampled_from(ZONES), st.booleans(), st.sampled_from([None, *SESSIONS[:3]]))
    def test_the_fleets_store_says_what_the_directory_said(
        self, batches: list[list[PricedRound]], before: int, zone: str, prune: bool, purged: str | None
    ) -> None:
        batches = apart(batches)
        with places() as (folder, db):
            with closing(sqlite(folder, BudgetBook(BUDGETS, zone))) as store:
                with_marks(store, batches)
                if prune:
                    pruned(store, Bounds(rounds_before=before))
                if purged is not None:
                    store.purge(purged, counts_too=prune)
                expected = sum(s.counts.rounds for s in store.slices())
            done = copied(folder, db)
            assert (done.rounds, done.new) == (expected, expected)
            check_same(folder, db)
            # Read again from the start, nothing counts twice, whoever reads.
            with closing(fleet(db, "elsewhere")) as new:
                for batch in batches:
                    assert new.add(Batch(rounds=batch)).rounds == 0
            assert copied(folder, db).new == 0
            with closing(sqlite(folder)) as old, closing(fleet(db)) as new:
                assert snapshot(new) == snapshot(old)

    @SETTINGS
    @given(arrivals(), st.sets(st.sampled_from(sorted(NAMES))), st.sampled_from([None, "day 0"]), st.booleans())
    def test_calls_of_several_witnesses_and_names_come_as_they_are(
        self, batches: list[list[PricedRound]], told: set[str], removed: str | None, for_good: bool
    ) -> None:
        names = [SessionName(name, NAMES[name], parent="boss", channel="telegram") for name in sorted(told)]
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                with_marks(store, batches[:1])
                store.add(Batch(names=names))
                with_marks(store, batches[1:])
                if removed is not None:
                    store.remove(removed, for_good=for_good)
                expected = sum(s.counts.rounds for s in store.slices())
            assert copied(folder, db).rounds == expected
            check_same(folder, db)
            with closing(sqlite(folder)) as old, closing(fleet(db)) as new:
                for batch in batches:
                    # What was taken back out may come back, in both alike.
                    for one in (old, new):
                        with_marks(one, [batch])
                assert snapshot(new) == snapshot(old)
                assert new.verify() == []

    @SETTINGS
    @given(arrivals(), st.data(), BOUNDS)
    def test_what_nodes_had_read_before_and_meanwhile_counts_once(
        self, batches: list[list[PricedRound]], data: st.DataObject, before: int
    ) -> None:
        everything = unique(batches)
        live = data.draw(st.lists(st.sampled_from(everything), max_size=10))
        prune = data.draw(st.booleans())
        names = [SessionName(name, NAMES[name]) for name in data.draw(st.sets(st.sampled_from(sorted(NAMES))))]
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                for batch in batches:
                    store.add(Batch(rounds=batch))
                store.add(Batch(names=names))
                if prune:
                    pruned(store, Bounds(rounds_before=before))
            with closing(fleet(db, "other")) as other:
                other.add(Batch(rounds=live[::2]))

                def meanwhile(done: int) -> None:
                    other.add(Batch(rounds=live[1::2]))

                Copy(folder, db, NODE).run(meanwhile)
                other.add(Batch(rounds=live))
                copied(folder, db)
                for batch in batches:
                    assert other.add(Batch(rounds=batch)).rounds == 0
                with closing(SqliteStore(folder, read_only=True)) as old:
                    assert snapshot(other) == snapshot(old)
                assert other.verify() == []

    @SETTINGS
    @given(arrivals(), BOUNDS)
    def test_rounds_that_were_pruned_between_two_copies_stay_counted_once(
        self, batches: list[list[PricedRound]], before: int
    ) -> None:
        with places() as (folder, db):
            bound = before - 7 * DAY
            for at in (None, bound, before):
                with closing(sqlite(folder)) as store:
                    for batch in batches:
                        store.add(Batch(rounds=batch))
                    if at is not None:
                        pruned(store, Bounds(rounds_before=at))
                copied(folder, db)
                with closing(SqliteStore(folder, read_only=True)) as old, closing(fleet(db)) as new:
                    assert new.verify() == []
                    assert summed(new.slices()) == summed(old.slices())
                    assert {key: steps for key, steps in new.latency_steps().items() if any(steps)} == {
                        key: steps for key, steps in old.latency_steps().items() if any(steps)
                    }

    def test_a_copy_that_breaks_at_any_statement_ends_as_one_that_does_not_when_it_is_run_again(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with closing(sqlite(folder, BudgetBook(BUDGETS, "UTC"))) as store:
                some = [witness(kind, n * 700, number=10 * n + k, session_id=SESSIONS[n % 3])
                        for n in range(4) for k, kind in enumerate(("higress", "openclaw", "usage"))]  # fmt: skip
                with_marks(store, [some[:5], some[5:], _old(4)])
                store.add(Batch(names=[SessionName(SESSIONS[2], SESSIONS[0])], rounds=_spoken(5)))
                pruned(store, Bounds(rounds_before=MOMENTS[0] - DAY))
                expected = snapshot(store)
            broke = True
            statement = 0
            while broke:
                with shared().database() as db:
                    create(db)
                    try:
                        Copy(folder, Torn(db, statement, arrives=bool(statement % 2)), NODE).run()
                        broke = False
                    except StoreAway:
                        copied(folder, db)
                    with closing(fleet(db)) as new:
                        assert snapshot(new) == expected, statement
                        assert new.verify() == []
                    assert copied(folder, db).new == 0
                    statement += 1
            assert statement > 20

    def test_what_one_directory_had_pruned_and_another_has_counts_once_in_either_order(self) -> None:
        for order in (0, 1):
            with places() as (folder, db), tempfile.TemporaryDirectory() as name:
                folders = [folder, Path(name)]
                for one in folders:
                    with closing(sqlite(one)) as store:
                        store.add(Batch(rounds=_old(6)))
                        expected = summed(store.slices())
                with closing(sqlite(folder)) as store:
                    pruned(store, Bounds(rounds_before=MOMENTS[0] - DAY))
                done = [copied(one, db, f"node {number}") for number, one in enumerate(folders[:: 1 - 2 * order])]
                assert done[0].new == 6
                with closing(fleet(db)) as new:
                    assert summed(new.slices()) == expected
                    assert new.verify() == []

    def test_rounds_of_one_moment_that_only_their_keys_tell_apart_are_all_known_again(self) -> None:
        alike = [_alone(n, SESSIONS[n % 2], key=b"\xff\xff\xff", started_at=MOMENTS[0]) for n in range(12)]
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                store.add(Batch(rounds=alike))
            assert copied(folder, db).new == 12
            with closing(sqlite(folder)) as old, closing(fleet(db)) as new:
                assert new.add(Batch(rounds=alike[::-1])).rounds == 0
                assert summed(new.slices()) == summed(old.slices())
                requests = {s.round.request_id for s in new.rounds(SESSIONS[0]).rounds}
                assert requests == {p.round.request_id for p in alike[::2]}
                assert new.verify() == []

    def test_a_node_goes_on_where_the_directory_ended_and_is_not_sent_back(self) -> None:
        def read(offset: int, count: int) -> Batch:
            return Batch(
                checkpoints=[Checkpoint(b"f", "a.log", "/a.log", offset, offset, b"")],
                occurrences={(b"f", b"record"): count},
                as_of=offset,
            )

        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                store.add(read(100, 2))
            copied(folder, db)
            with closing(fleet(db)) as new, closing(fleet(db, "other")) as other:
                assert [c.offset for c in new.checkpoints("a.log")] == [100]
                assert new.occurrences(b"f") == {b"record": 2}
                assert other.checkpoints("a.log") == []
                new.add(read(250, 3))
                copied(folder, db)
                assert [c.offset for c in new.checkpoints("a.log")] == [250]
                assert new.occurrences(b"f") == {b"record": 3}
                assert new.as_of() == 250

    def test_nobody_is_told_again_of_a_budget_that_was_passed(self) -> None:
        now = time.time_ns() // 1_000_000
        book = BudgetBook(
            tuple(msgspec.structs.replace(b, channels=("slack",)) for b in BUDGETS if b.limit.nano is not None), "UTC"
        )
        dear = [
            PricedRound(
                msgspec.structs.replace(_alone(n, SESSIONS[0]).round, started_at=now - 1000 + n),
                Cost("priced", 10**15, currency, "list A"),
            )
            for n, currency in enumerate(("USD", "CNY"))
        ]
        with places() as (folder, db):
            with closing(sqlite(folder, book)) as store:
                assert store.add(Batch(rounds=dear)).alerts > 0
                sent, *later = store.due(now + 10_000)
                store.delivered(sent)
            copied(folder, db)
            check_same(folder, db)
            with closing(ClickHouseStore(db, node=NODE, price_version=VERSION, budgets=book)) as new:
                # What waits is told by the node that goes on, and only that.
                assert len(new.due(now + 60_000)) == len(later)
                for delivery in new.due(now + 60_000):
                    new.delivered(delivery)
                copied(folder, db)
                assert list(new.due(now + 60_000)) == []
                assert new.add(Batch(rounds=dear)).alerts == 0

    def test_a_directory_that_is_written_to_is_refused_and_keeps_others_out_until_the_copy_is_done(self) -> None:
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                store.add(Batch(rounds=_spoken(2)))
            with FileLock(folder / LOCK_NAME), pytest.raises(StoreError, match="another process ingests into it"):
                Copy(folder, db, NODE)
            copy = Copy(folder, db, NODE)
            with pytest.raises(TimeoutError):
                FileLock(folder / LOCK_NAME, timeout=0).acquire()
            assert copy.run().new == 2
            with FileLock(folder / LOCK_NAME, timeout=0):
                pass

    def test_nothing_in_the_directory_changes(self) -> None:
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                store.add(Batch(rounds=[*_spoken(3), *_old(3)]))
                pruned(store, Bounds(rounds_before=MOMENTS[0] - DAY))

            def files() -> dict[str, bytes]:
                return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(("-shm", "-wal"))}

            before = files()
            copied(folder, db)
            assert files() == before

    def test_a_store_without_tables_names_the_way_out(self) -> None:
        with shared().database() as db, pytest.raises(StoreError, match="store init"):
            Copy(Path("data"), db, NODE)

    def test_what_was_pruned_keeps_its_sums_its_numbers_and_its_steps_and_a_note_says_what_is_lost(self) -> None:
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                store.add(Batch(rounds=_old(9)))
                store.add(Batch(rounds=[_alone(50 + n, SESSIONS[0]) for n in range(2)]))
                pruned(store, Bounds(rounds_before=MOMENTS[0] - DAY))
            done = copied(folder, db)
            assert (done.rounds, done.new) == (11, 11)
            assert "9 rounds were stored here no longer" in done.notes[0]
            check_same(folder, db)
            with closing(fleet(db)) as new:
                assert [s.number for s in new.rounds(SESSIONS[0]).rounds] == [6, 7]
                assert new.add(Batch(rounds=_old(9))).rounds == 0


class TestConversations:
    fewer = fewer(EXAMPLES)

    def test_they_are_read_back_to_the_byte_and_each_message_is_kept_once(self) -> None:
        turns = session(30)
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                store.add(Batch(rounds=_spoken(30)))
            copied(folder, db)
            check_same(folder, db)
            ((kept,),) = db.query("SELECT sum(length(z)) FROM piece FINAL")
            everything = sum(map(len, turns[-1][0]))
            assert kept < everything

    @SETTINGS
    @given(st.lists(STEPS, min_size=1, max_size=12), st.sampled_from([None, *SESSIONS[:2]]))
    def test_any_conversation_is_what_it_was(self, steps: list[Step], name: str | None) -> None:
        told = grown(steps)
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                for number, one in enumerate(told):
                    r = msgspec.structs.replace(
                        _alone(number, name or "").round,
                        key=one.key,
                        started_at=one.at,
                        session_id=name,
                        session_source="header" if name else None,
                        conversation=one.conversation,
                    )
                    store.add(Batch(rounds=[PricedRound(r, Cost("none"))]))
            copied(folder, db)
            with closing(fleet(db)) as new:
                for one in told:
                    (stored,) = [s for s in _all(new, name) if s.round.started_at == one.at]
                    (content,) = new.content([stored])
                    assert content is not None
                    assert msgspec.structs.replace(content, new_from=0) == one.content
            with closing(sqlite(folder)) as old, closing(fleet(db)) as new:
                for one in told:
                    assert all(any(s.round.started_at == one.at for s in _all(some, name)) for some in (old, new))
                if name is not None:
                    assert new.session(name) == old.session(name)

    def test_what_a_purge_in_the_fleet_silenced_is_not_brought_back(self) -> None:
        name = "agent:main:main"
        with places() as (folder, db):
            with closing(sqlite(folder)) as store:
                store.add(Batch(rounds=_spoken(3)))
            with closing(fleet(db)) as new:
                new.add(Batch(rounds=_spoken(1)))
                assert new.purge(name) is not None
                copied(folder, db)
                assert [s.has_content for s in new.rounds(name).rounds] == [False] * 3
                record = new.session(name)
                assert record is not None
                assert record.question is None

    def test_words_that_were_pruned_or_purged_in_the_directory_stay_away(self) -> None:
        for forget in (
            lambda store: pruned(store, Bounds(content_before=MOMENTS[0] + 3 * 60_000)),
            lambda store: store.purge("agent:main:main"),
        ):
            with places() as (folder, db):
                with closing(sqlite(folder)) as store:
                    store.add(Batch(rounds=_spoken(6, step=10 * 60_000)))
                    forget(store)
                copied(folder, db)
                check_same(folder, db)


def _all(store: Store, name: str | None) -> list[Any]:
    if name is not None:
        return list(store.rounds(name).rounds)
    keys = [call.key for call in store.calls(limit=1000)]
    return [found for key in keys if (found := store.round(None, key=key)) is not None]


def _alone(number: int, name: str, *, key: bytes = b"abc", started_at: int | None = None) -> PricedRound:
    r = msgspec.structs.replace(
        witness("higress", 0, number=number, session_id=name).round,
        key=key,
        started_at=MOMENTS[0] + number if started_at is None else started_at,
        usage=Usage(100 + number, 10, cached_tokens=number),
        latency_ms=37 * number,
    )
    return own(900 + number, PricedRound(r, Cost("priced", 7 * number, "USD", "list A")))


def _old(number: int) -> list[PricedRound]:
    """Rounds of a few days ago, several a quarter of an hour."""
    return [_alone(100 + n, SESSIONS[n % 2], started_at=MOMENTS[0] - 4 * DAY + 400_000 * n + n) for n in range(number)]


def _spoken(number: int, step: int = 1000) -> list[PricedRound]:
    """Rounds of a conversation that goes on."""
    return [
        PricedRound(
            msgspec.structs.replace(
                _alone(300 + n, "agent:main:main", started_at=MOMENTS[0] + n * step).round, conversation=conversation
            ),
            Cost("none"),
        )
        for n, conversation in enumerate(chained(session(number)))
    ]
