"""What every store must do when things go: old rounds, old conversations, one session.

As in `tests.store.conformance`, every answer is compared with one that is worked out in plain Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import ClassVar, get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from monitor.budgets import BudgetBook
from monitor.prices.money import Cost
from monitor.rounds import START, UNKNOWN_TIME, Conversation, Round, Usage
from monitor.store.base import Batch, Bounds, Dimension, PricedRound, Pruned, SkippedLines, Store
from tests.store.conformance import (
    BUDGETS,
    DAY,
    HOUR,
    MINUTE,
    MOMENTS,
    QUARTER,
    SESSIONS,
    SETTINGS,
    ZONES,
    Open,
    at,
    check_budgets,
    check_session,
    deliveries,
    grouped,
    named,
    own,
    snapshot,
    summed,
    told,
    unique,
    windows,
    within,
)

BOUNDS = st.builds(
    lambda moment, quarters, off: moment + quarters * QUARTER + off,
    st.sampled_from(MOMENTS),
    st.sampled_from([-1, 0, 1, 4, 200]),
    st.sampled_from([0, 1, QUARTER - 1]),
)


def pruned(store: Store, bounds: Bounds) -> Pruned:
    """Prune to the end, and give what went."""
    *_, last = store.pruning(bounds)
    return last


def quarter(ms: int) -> int:
    return ms - ms % QUARTER


def goes(priced: PricedRound, before: int) -> bool:
    """Whether a round is older than a bound, which is taken to the quarter of an hour."""
    return UNKNOWN_TIME < priced.round.started_at < quarter(before)


def as_summed(rounds: Iterable[PricedRound], before: int) -> list[PricedRound]:
    """The rounds as sums of a window see them: those that went count where their quarter of an hour begins."""
    return [
        PricedRound(msgspec.structs.replace(p.round, started_at=quarter(p.round.started_at)), p.cost)
        if goes(p, before)
        else p
        for p in rounds
    ]


class RetentionConformance:
    """The scenarios. Derive from it, name the class ``Test…`` and say where a store can be opened."""

    #: Whether what several sessions have said is kept once for all of them.
    shares_between_sessions: ClassVar[bool] = True

    def place(self) -> AbstractContextManager[Open]:
        """Somewhere empty, for as long as the context lasts."""
        raise NotImplementedError

    @SETTINGS
    @given(deliveries(), BOUNDS)
    def test_rounds_that_are_pruned_stay_in_the_sums_of_all_time(
        self, batches: list[list[PricedRound]], before: int
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            for batch in batches:
                store.add(Batch(rounds=batch))
            rounds = unique(batches)
            was = snapshot(store)
            old = [p for p in rounds if goes(p, before)]
            planned = store.prunable(Bounds(rounds_before=before))
            assert snapshot(store) == was
            assert planned.rounds == len(old)
            assert planned.undated == sum(p.round.started_at == UNKNOWN_TIME for p in rounds)
            assert pruned(store, Bounds(rounds_before=before)).rounds == len(old)
            assert store.verify() == []
            assert told(store.slices()) == summed(rounds)
            assert store.session_count() == len(named(rounds))
            for name, group in named(rounds).items():
                record = store.session(name)
                assert record is not None
                check_session(record, group)
                assert record.pruned_rounds == sum(goes(p, before) for p in group)
            for bucket in store.buckets("hour", "Asia/Kathmandu"):
                assert bucket.slices
            again = pruned(store, Bounds(rounds_before=before))
            assert again.rounds == 0

    @SETTINGS
    @given(deliveries(), BOUNDS, st.lists(windows(), min_size=3, max_size=3))
    def test_sums_of_a_window_hold_what_was_pruned_by_the_quarter_of_an_hour(
        self, batches: list[list[PricedRound]], before: int, asked: list[tuple[int | None, int | None]]
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            for batch in batches:
                store.add(Batch(rounds=batch))
            pruned(store, Bounds(rounds_before=before))
            rounds = as_summed(unique(batches), before)
            for since, until in [(None, None), *asked]:
                inside = within(rounds, since, until)
                assert told(store.slices(since, until)) == summed(inside)
                counts = {m: n for m, n in store.sessions_by_model(since, until).items() if n}
                by_model = {model: len(named(group)) for model, group in grouped(inside, lambda r: r.model).items()}
                assert counts == {m: n for m, n in by_model.items() if n}
                dimension: Dimension
                for dimension in ("consumer", "host"):
                    groups = grouped(inside, partial(_value, dimension))
                    assert {v: told(s) for v, s in store.by(dimension, since, until).items()} == {
                        v: summed(group) for v, group in groups.items()
                    }
                if since is not None and until is None:
                    for name, group in named(rounds).items():
                        record = store.session(name, since)
                        assert record is not None
                        assert told(record.slices) == summed(within(group, since, None))

    @SETTINGS
    @given(deliveries(), BOUNDS)
    def test_rounds_that_stay_keep_their_numbers(self, batches: list[list[PricedRound]], before: int) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            for batch in batches:
                store.add(Batch(rounds=batch))
            rounds = unique(batches)
            # A round without a time is numbered among the first, and stays: with it numbers can't stay as they were.
            timed = {n: g for n, g in named(rounds).items() if all(p.round.started_at != UNKNOWN_TIME for p in g)}
            numbers = {name: {s.round.key: s.number for s in store.rounds(name).rounds} for name in timed}
            pruned(store, Bounds(rounds_before=before))
            for name, group in named(rounds).items():
                stored = store.rounds(name).rounds
                assert {s.round.request_id for s in stored} == {
                    p.round.request_id for p in group if not goes(p, before)
                }
                gone = len(group) - len(stored)
                assert [s.number for s in stored] == list(range(gone + 1, len(group) + 1))
                for one in stored:
                    assert store.round(name, one.number) == one
                    assert store.round(None, key=one.round.key) == one
                    assert name not in timed or numbers[name][one.round.key] == one.number
                for number in range(1, gone + 1):
                    assert store.round(name, number) is None
                assert store.round(name, len(group) + 1) is None

    @SETTINGS
    @given(deliveries(), BOUNDS, BOUNDS)
    def test_what_was_pruned_never_counts_again(
        self, batches: list[list[PricedRound]], before: int, later: int
    ) -> None:
        with self.place() as open_store:
            rounds = unique(batches)
            first, late = rounds[::2], rounds[1::2]
            with closing(open_store()) as store:
                store.add(Batch(rounds=first))
                pruned(store, Bounds(rounds_before=before))
                # What comes late is older than the bound as well, and was never counted: it counts.
                added = store.add(Batch(rounds=late + first))
                assert (added.rounds, added.duplicates) == (len(late), len(first))
                assert told(store.slices()) == summed(rounds)
                assert store.verify() == []
                pruned(store, Bounds(rounds_before=max(before, later)))
            with closing(open_store()) as store:
                for batch in [*batches, rounds[::-1]]:
                    assert store.add(Batch(rounds=batch)).rounds == 0
                assert told(store.slices()) == summed(rounds)
                assert {v: told(s) for v, s in store.by("route").items()} == {
                    v: summed(g) for v, g in grouped(rounds, lambda r: r.route or "").items()
                }
                assert store.verify() == []

    def test_rounds_that_only_their_keys_tell_apart_are_known_when_some_of_them_are_gone(self) -> None:
        simple = _round(0, MOMENTS[0])
        alike = [
            own(n, PricedRound(msgspec.structs.replace(simple, key=b"\xff\xff\xff", session_id=SESSIONS[n % 2]), _COST))
            for n in range(12)
        ]
        for name in SESSIONS[:2]:
            with self.place() as open_store, closing(open_store()) as store:
                store.add(Batch(rounds=alike))
                gone = store.purge(name, counts_too=True)
                assert gone is not None
                assert gone.rounds == 6
                # They all had one place; what stays stood behind what went.
                assert store.add(Batch(rounds=alike[::-1])).rounds == 0
                assert told(store.slices()) == summed(p for p in alike if p.round.session_id != name)
                assert store.verify() == []

    @SETTINGS
    @given(deliveries(), BOUNDS, st.data())
    def test_prices_of_pruned_rounds_stay_and_the_sums_hold(
        self, batches: list[list[PricedRound]], before: int, data: st.DataObject
    ) -> None:
        def dearer(model: str | None, _host: str | None, _at: int, usage: Usage) -> Cost:
            return Cost("priced", (usage.input_tokens or 0) + 1, "EUR", "list C") if model else Cost("unpriced")

        with self.place() as open_store, closing(open_store()) as store:
            for batch in batches:
                store.add(Batch(rounds=batch))
            rounds = unique(batches)
            pruned(store, Bounds(rounds_before=before))
            done = store.reprice(dearer, "list of tomorrow")
            old = [p for p in rounds if goes(p, before)]
            assert done.kept == len(old)
            assert done.rounds == len(rounds) - len(old)
            assert store.verify() == []
            nano = sum(p.cost.nano or 0 for p in old if p.cost.currency == "CNY")
            assert nano == sum(s.counts.nano or 0 for s in store.slices() if s.price.currency == "CNY")
            new = [p for p in rounds if not goes(p, before) and p.round.model is not None]
            assert sum((p.round.usage.input_tokens or 0) + 1 for p in new) == sum(
                s.counts.nano or 0 for s in store.slices() if s.price.currency == "EUR"
            )

    @SETTINGS
    @given(deliveries(), BOUNDS, st.integers(0, 6))
    def test_pruning_that_is_left_half_way_leaves_everything_in_order(
        self, batches: list[list[PricedRound]], before: int, steps: int
    ) -> None:
        with self.place() as open_store:
            with closing(open_store()) as store:
                for batch in batches:
                    store.add(Batch(rounds=batch))
                for _ in zip(range(steps), store.pruning(Bounds(before, before)), strict=False):
                    assert store.verify() == []
            with closing(open_store()) as store:
                assert told(store.slices()) == summed(unique(batches))
                pruned(store, Bounds(before, before))
                assert store.verify() == []
                assert told(store.slices()) == summed(unique(batches))

    @SETTINGS
    @given(deliveries(), BOUNDS, st.sampled_from(ZONES))
    def test_budgets_that_are_made_anew_count_what_was_pruned(
        self, batches: list[list[PricedRound]], before: int, zone: str
    ) -> None:
        rounds = unique(batches)
        with self.place() as open_store:
            with closing(open_store()) as store:
                for batch in batches:
                    store.add(Batch(rounds=batch))
                pruned(store, Bounds(rounds_before=before))
            book = BudgetBook(BUDGETS, zone)
            with closing(open_store(book)) as store:
                check_budgets(store, book, rounds)
                name = next(iter(named(rounds)), None)
                if name is not None:
                    store.purge(name, counts_too=True)
                    check_budgets(store, book, [p for p in rounds if p.round.session_id != name])

    # -- conversations ----------------------------------------------------------------------------

    def test_conversations_go_before_the_rounds_that_hold_them(self) -> None:
        talk = [_told(n, MOMENTS[0] + n * HOUR, [f"word {k}" for k in range(n + 1)]) for n in range(6)]
        bound = MOMENTS[0] + 3 * HOUR
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=talk))
            before = told(store.slices())
            planned = store.prunable(Bounds(content_before=bound))
            assert (planned.rounds, planned.contents) == (0, 3)
            done = pruned(store, Bounds(content_before=bound))
            assert (done.rounds, done.contents) == (0, 3)
            stored = store.rounds("agent:main:main").rounds
            assert [s.number for s in stored] == [1, 2, 3, 4, 5, 6]
            assert [s.has_content for s in stored] == [False] * 3 + [True] * 3
            for one, content in zip(stored, store.content(stored), strict=True):
                if not one.has_content:
                    assert content is None
                    assert b"path" not in (one.round.extra or b"")
                    continue
                assert content is not None
                assert content.messages == talk[one.number - 1].round.conversation.messages  # type: ignore[union-attr]
                assert content.answer == b'"answer %d, which is long enough"' % (one.number - 1)
            record = store.session("agent:main:main")
            assert record is not None
            assert record.question is None
            assert told(store.slices()) == before
            assert store.verify() == []
            # Read again, a round that is there brings nothing back.
            store.add(Batch(rounds=talk))
            assert [s.has_content for s in store.rounds("agent:main:main").rounds] == [False] * 3 + [True] * 3

    def test_a_conversation_never_outlives_its_rounds(self) -> None:
        talk = [_told(n, at("2026-03-31T12:00") + n * DAY, [f"word {n}"]) for n in range(4)]
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=talk))
            done = pruned(store, Bounds(rounds_before=talk[2].round.started_at, content_before=at("2026-01-01")))
            assert done.rounds == 2
            stored = store.rounds("agent:main:main").rounds
            contents = list(store.content(stored))
            assert [c.answer for c in contents if c] == [b'"answer %d, which is long enough"' % n for n in (2, 3)]

    # -- one session ------------------------------------------------------------------------------

    def test_a_purged_session_keeps_its_counts_and_nothing_that_was_said(self) -> None:
        shared = "The same instructions for everybody, and quite long ones at that."
        mine = [_told(n, MOMENTS[0] + n * MINUTE, [shared, "private words", f"more {n}"][: n + 1]) for n in range(3)]
        other = [_told(9, MOMENTS[0] + HOUR, [shared, "public words"], session="other")]
        with self.place() as open_store:
            with closing(open_store()) as store:
                store.add(Batch(rounds=mine + other, skipped=[SkippedLines("a.log", "malformed", 2, b"private words")]))
                sums = told(store.slices())
                planned = store.purgeable("agent:main:main")
                assert planned is not None
                assert (planned.rounds, planned.contents) == (3, 3)
                assert planned.pieces > 0
                assert (planned.shared_pieces > 0) == self.shares_between_sessions
                done = store.purge("agent:main:main")
                assert done is not None
                assert (done.rounds, done.contents) == (3, 3)
                assert (done.pieces, done.shared_pieces) == (planned.pieces, planned.shared_pieces)
                assert done.left_behind == ()
                assert told(store.slices()) == sums
                assert store.verify() == []
                assert [s.sample for s in store.skipped()] == [b""]
                record = store.session("agent:main:main")
                assert record is not None
                assert record.question is None
                assert record.pruned_rounds == 0
                stored = store.rounds("agent:main:main").rounds
                assert [s.has_content for s in stored] == [False] * 3
                (content,) = store.content(store.rounds("other").rounds)
                assert content is not None
                assert content.messages == other[0].round.conversation.messages  # type: ignore[union-attr]
                # What is still under way is counted, and not kept.
                store.add(Batch(rounds=[*mine, _told(5, MOMENTS[0] + 9 * MINUTE, [shared, "private words", "again"])]))
                stored = store.rounds("agent:main:main").rounds
                assert [s.has_content for s in stored] == [False] * 4
                assert store.purge("never seen") is None
                assert store.purgeable("never seen") is None
            with closing(open_store()) as store:
                store.add(Batch(rounds=[_told(6, MOMENTS[0] + HOUR, ["private words"])]))
                assert [s.has_content for s in store.rounds("agent:main:main").rounds] == [False] * 5

    @SETTINGS
    @given(deliveries(), BOUNDS, st.booleans())
    def test_a_session_that_is_purged_with_its_counts_was_never_there(
        self, batches: list[list[PricedRound]], before: int, prune_first: bool
    ) -> None:
        rounds = unique(batches)
        for name in list(named(rounds))[:2]:
            rest = [p for p in rounds if p.round.session_id != name]
            with self.place() as here, self.place() as there, closing(here()) as store, closing(there()) as other:
                for batch in batches:
                    store.add(Batch(rounds=batch))
                other.add(Batch(rounds=rest))
                if prune_first:
                    for one in (store, other):
                        pruned(one, Bounds(rounds_before=before))
                done = store.purge(name, counts_too=True)
                assert done is not None
                assert done.rounds == len(rounds) - len(rest)
                assert store.verify() == []
                assert self._said(store, rest) == self._said(other, rest)
                assert store.session(name) is None
                # Not even when the log is read again.
                assert store.add(Batch(rounds=rounds)).rounds == 0
                assert store.session(name) is None
                assert store.verify() == []

    @staticmethod
    def _said(store: Store, rounds: Sequence[PricedRound]) -> object:
        """What a store says of sums, but for the order of rounds that started at once."""
        return (
            told(store.slices()),
            {b.label: (b.sessions, told(b.slices)) for b in store.buckets("hour", "UTC")},
            {(d, v): told(s) for d in get_args(Dimension) for v, s in store.by(d).items()},
            {m: n for m, n in store.sessions_by_model().items() if n},
            store.session_count(),
            {
                name: (told(r.slices), r.pruned_rounds, r.created_at, r.updated_at)
                for name in named(rounds)
                if (r := store.session(name)) is not None
            },
        )


def _value(dimension: str, r: Round) -> str:
    return getattr(r, dimension) or ""


_COST = Cost("priced", 7, "USD", "list A")


def _round(number: int, started_at: int, session: str = "agent:main:main") -> Round:
    return Round(
        key=bytes([number]) * 16,
        source="higress",
        started_at=started_at,
        session_id=session,
        session_source="header",
        model="gpt-5.4",
        usage=Usage(10 + number, 5),
        request_id=f"request-{number}",
    )


def _told(number: int, started_at: int, words: list[str], session: str = "agent:main:main") -> PricedRound:
    """A round in which `words` were said, one a message."""
    messages = tuple(msgspec.json.encode({"role": "user", "content": word}) for word in words)
    conversation = Conversation(
        messages,
        START.after(messages),
        question=msgspec.json.encode(words[-1]),
        answer=b'"answer %d, which is long enough"' % number,
    )
    extra = b'{"api":"x","path":"/v1/%d","fields":{"memo":"word"}}' % number
    r = msgspec.structs.replace(_round(number, started_at, session), conversation=conversation, extra=extra)
    return PricedRound(r, _COST)
