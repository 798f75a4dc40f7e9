"""What every store must do, whatever it is made of.

An engine passes by deriving from `StoreConformance` and saying in `place` where an empty store can be
opened. Every answer is compared with one that is worked out in plain Python from the same rounds.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, ClassVar, Protocol, get_args
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.budgets import Budget, BudgetBook, Facts, Limit
from monitor.prices.money import Cost
from monitor.rounds import START, UNKNOWN_TIME, Conversation, ReportedCost, Round, Usage
from monitor.session_keys import parts
from monitor.store.base import (
    LATENCY_STEPS_MS,
    Batch,
    Bucket,
    Call,
    Checkpoint,
    Counts,
    Dimension,
    Grain,
    PricedRound,
    PriceTag,
    SessionPage,
    SessionQuery,
    SessionRecord,
    SkippedLines,
    Slice,
    SortBy,
    Store,
    StoredRound,
    UnknownCursor,
    spend,
)


class Open(Protocol):
    """Opens the same store again each time; the version of the price list that it is told of is `VERSION`."""

    def __call__(self, book: BudgetBook | None = None) -> Store: ...


VERSION = "list of today"

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors],
)

SECOND, MINUTE, QUARTER, HOUR, DAY = 1000, 60_000, 900_000, 3_600_000, 86_400_000


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


#: Around these the questions are hard: clocks go back or forward, days, months and years end somewhere.
MOMENTS = (
    at("2026-11-01T06:00"),  # New York goes back from 2 to 1
    at("2026-03-08T07:00"),  # New York goes forward
    at("2026-04-04T15:00"),  # Lord Howe goes back by half an hour
    at("2026-10-03T15:30"),  # Lord Howe goes forward by half an hour
    at("2026-01-31T18:15"),  # a month begins in Kathmandu
    at("2027-01-01T00:00"),
)
ZONES = ("UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York")

SESSIONS = (
    "agent:main:main",
    "agent:research:discord:channel:1480012345678901234",
    "AGENT:MAIN:MAIN",
    "100%_done\\'\"; DROP TABLE round",
    "会话 <b>一</b>",
    "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b",
)


# -- rounds ---------------------------------------------------------------------------------------


def moments() -> st.SearchStrategy[int]:
    """Times on and beside the edges of quarters, hours and days, and rounds without a time."""
    near = st.builds(
        lambda moment, quarters, off: moment + quarters * QUARTER + off,
        st.sampled_from(MOMENTS),
        st.integers(-12, 12) | st.sampled_from([-96, 96, 2880]),
        st.sampled_from([0, 0, -1, 1, 450_000]),
    )
    return st.one_of(near, near, near, near, st.just(UNKNOWN_TIME))


def usages() -> st.SearchStrategy[Usage]:
    def build(fresh: int, cached: int, write: int, reasoning: int, said: int, known: int) -> Usage:
        if known == 0:
            return Usage()
        if known == 1:
            return Usage(input_tokens=fresh)
        if known == 2:
            return Usage(output_tokens=said, lower_bound=True)
        return Usage(
            fresh + cached + write,
            said + reasoning,
            reasoning if known > 3 else None,
            cached if known > 4 else None,
            write if known > 5 else None,
            write // 2 if known > 6 else None,
        )

    few = st.integers(0, 5000)
    return st.builds(build, few, few, few, few, few, st.integers(0, 9))


def costs() -> st.SearchStrategy[Cost]:
    return st.one_of(
        st.builds(lambda nano: Cost("priced", nano, "USD", "list A"), st.integers(1, 10**12)),
        st.builds(lambda nano: Cost("priced", nano, "CNY", "list B"), st.integers(1, 10**12)),
        st.builds(lambda nano: Cost("partial", nano, "USD", "list A"), st.integers(1, 10**9)),
        st.sampled_from([Cost("free", 0, "USD", "list A"), Cost("unpriced"), Cost("none")]),
    )


def plain_rounds() -> st.SearchStrategy[Round]:
    """Rounds whose key is not yet their own."""
    maybe = st.none() | st.integers(0, 90_000)
    return st.builds(
        Round,
        key=st.sampled_from([b"\0\0\0", b"\0\0\0", b"\xff\xff\xff", b"\xff\xff\xfb", b"abc"]),
        source=st.sampled_from(["higress", "higress", "openclaw", "usage"]),
        started_at=moments(),
        session_id=st.sampled_from([*SESSIONS, None]),
        session_source=st.sampled_from(["header", "inferred"]),
        session_aliases=st.sampled_from([(), (), ("first",), ("first", "second")]),
        model=st.sampled_from(["gpt-5.4", "qwen3.5-plus", "claude-sonnet-4-6", None]),
        usage=usages(),
        success=st.booleans(),
        status=st.sampled_from([None, 0, 200, 429, 503]),
        latency_ms=maybe,
        ttft_ms=maybe,
        response_type=st.sampled_from([None, "normal", "stream"]),
        has_tool_calls=st.booleans(),
        consumer=st.sampled_from([None, "platform", "travel-desk"]),
        route=st.sampled_from([None, "ai-route-1", "ai-route-2"]),
        function=st.sampled_from([None, "compaction"]),
        user_id=st.sampled_from([None, "u-1"]),
        host=st.sampled_from([None, "llm-openai.internal.dns", "llm-aliyun.internal.dns"]),
        response_id=st.sampled_from([None, "chatcmpl-1"]),
        reported=st.sampled_from(
            [None, None, ReportedCost(1_500_000, "USD"), ReportedCost(0, "USD"), ReportedCost(70_000_000, "CNY")]
        ),
        extra=st.sampled_from([None, b'{"api":"openai/v1"}']),
    )


def own(number: int, priced: PricedRound) -> PricedRound:
    """The round with a key, a request id and, where it has names besides its id, names of its own.

    The first 22 bits of many keys are the same, so that rounds of one moment are hard to tell apart.
    """
    r = priced.round
    digest = hashlib.sha256(number.to_bytes(4, "big")).digest()
    aliases = tuple(f"{name} name of {r.session_id}" for name in r.session_aliases) if r.session_id else ()
    return PricedRound(
        msgspec.structs.replace(
            r,
            key=r.key + digest[:13],
            request_id=f"request-{number}",
            # Calls that several sources saw are in tests of their own.
            response_id=f"chatcmpl-{number}" if r.response_id else None,
            session_aliases=aliases,
            session_source=r.session_source if r.session_id is not None else None,
        ),
        priced.cost,
    )


def many_rounds(most: int = 30) -> st.SearchStrategy[list[PricedRound]]:
    """Rounds of several sessions in the order in which they come in, which is not that of their start."""
    return st.lists(st.builds(PricedRound, plain_rounds(), costs()), max_size=most).map(
        lambda found: [own(number, priced) for number, priced in enumerate(found)]
    )


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[PricedRound]]:
    """Batches in which every round comes at least once, some of them again, now or later."""
    rounds = draw(many_rounds())
    again = draw(st.lists(st.sampled_from(rounds), max_size=8)) if rounds else []
    arriving = draw(st.permutations(rounds + again)) if draw(st.booleans()) else rounds + again
    cuts = sorted(draw(st.lists(st.integers(0, len(arriving)), max_size=4)))
    return [arriving[begin:end] for begin, end in pairwise([0, *cuts, len(arriving)])]


def bounds() -> st.SearchStrategy[int | None]:
    """Beginnings and ends of windows: on edges, beside them, and far outside of everything."""
    inside = moments().filter(lambda ms: ms != UNKNOWN_TIME)
    return st.one_of(
        st.none(), inside, inside, st.sampled_from([0, 1, at("2015-01-01"), at("2099-01-01"), at("9999-12-31")])
    )


def windows() -> st.SearchStrategy[tuple[int | None, int | None]]:
    """Beginnings and ends; some windows are so narrow that they lie inside a quarter of an hour."""
    narrow = st.builds(
        lambda moment, width: (moment, moment + width),
        moments().filter(lambda ms: ms != UNKNOWN_TIME),
        st.sampled_from([0, 1, SECOND, QUARTER, HOUR, DAY]),
    )
    return st.one_of(st.tuples(bounds(), bounds()), narrow)


# -- the same in plain Python ---------------------------------------------------------------------


def unique(batches: Iterable[Sequence[PricedRound]]) -> list[PricedRound]:
    """Each round once."""
    return list({priced.round.key: priced for batch in batches for priced in batch}.values())


def counted(rounds: Iterable[PricedRound]) -> Counts:
    """The sums over `rounds`; what none of them knows is unknown."""
    rounds = list(rounds)

    def total(values: Iterable[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    usages = [p.round.usage for p in rounds]
    return Counts(
        rounds=len(rounds),
        failed=sum(not p.round.success for p in rounds),
        unmetered=sum(u.input_tokens is None and u.output_tokens is None for u in usages),
        lower_bound=sum(p.round.usage.lower_bound or p.cost.status == "partial" for p in rounds),
        input_tokens=total(u.input_tokens for u in usages),
        output_tokens=total(u.output_tokens for u in usages),
        reasoning_tokens=total(u.reasoning_tokens for u in usages),
        cached_tokens=total(u.cached_tokens for u in usages),
        cache_write_tokens=total(u.cache_write_tokens for u in usages),
        nano=total(p.cost.nano for p in rounds),
        latency_total_ms=total(p.round.latency_ms for p in rounds),
        latency_rounds=sum(p.round.latency_ms is not None for p in rounds),
        ttft_total_ms=total(p.round.ttft_ms for p in rounds),
        ttft_rounds=sum(p.round.ttft_ms is not None for p in rounds),
        reported_nano=total(p.round.reported.nano if p.round.reported else None for p in rounds),
    )


Sums = dict[tuple[str | None, PriceTag], Counts]


def summed(rounds: Iterable[PricedRound]) -> Sums:
    """The sums by model and price."""
    groups: dict[tuple[str | None, PriceTag], list[PricedRound]] = {}
    for p in rounds:
        reported = p.round.reported.currency if p.round.reported else None
        tag = PriceTag(p.cost.status, p.cost.currency, p.cost.source, VERSION, reported)
        groups.setdefault((p.round.model, tag), []).append(p)
    return {key: counted(group) for key, group in groups.items()}


def slices_of(rounds: Iterable[PricedRound]) -> list[Slice]:
    """The sums by model and price as a store tells them."""
    return [Slice(model, price, counts) for (model, price), counts in summed(rounds).items()]


def told(slices: Iterable[Slice]) -> Sums:
    """The sums that a store tells, which must not tell any twice."""
    slices = list(slices)
    found = {(part.model, part.price): part.counts for part in slices}
    assert len(found) == len(slices)
    return found


def within(rounds: Iterable[PricedRound], since: int | None, until: int | None) -> list[PricedRound]:
    """The rounds of [since, until); those without a time are in no window."""
    if since is None and until is None:
        return list(rounds)
    return [
        p
        for p in rounds
        if p.round.started_at != UNKNOWN_TIME
        and (since is None or p.round.started_at >= since)
        and (until is None or p.round.started_at < until)
    ]


def grouped(rounds: Iterable[PricedRound], by: Callable[[Round], Any]) -> dict[Any, list[PricedRound]]:
    groups: dict[Any, list[PricedRound]] = {}
    for p in rounds:
        groups.setdefault(by(p.round), []).append(p)
    return groups


def named(rounds: Iterable[PricedRound]) -> dict[str, list[PricedRound]]:
    """The rounds of each session that has an id."""
    return {name: group for name, group in grouped(rounds, lambda r: r.session_id).items() if name is not None}


def latest(rounds: Iterable[PricedRound], value: Callable[[Round], str | None]) -> set[str | None]:
    """What the last of the rounds that have it say; several where several started at once, None where none has it."""
    having = [p.round for p in rounds if value(p.round)]
    if not having:
        return {None}
    last = max(r.started_at for r in having)
    return {value(r) for r in having if r.started_at == last}


def check_session(record: SessionRecord, rounds: Sequence[PricedRound]) -> None:
    """`record` says of a session what its rounds say."""
    assert told(record.slices) == summed(rounds)
    known = [p.round.started_at for p in rounds if p.round.started_at != UNKNOWN_TIME]
    assert record.created_at == min(known, default=0)
    assert record.updated_at == max(known, default=0)
    assert record.model in latest(rounds, lambda r: r.model if r.success else None)
    assert set(record.sources) == {p.round.source for p in rounds}
    if record.session_id is None:
        assert {record.consumer} == {p.round.consumer for p in rounds}
        assert record.session_source is None
        return
    assert {record.session_id} == {p.round.session_id for p in rounds}
    assert record.consumer in latest(rounds, lambda r: r.consumer)
    by_header = any(p.round.session_source == "header" for p in rounds)
    assert record.session_source == ("header" if by_header else "inferred")
    assert set(record.aliases) == {name for p in rounds for name in p.round.session_aliases}
    assert (record.agent, record.channel) == (parts(record.session_id).agent, parts(record.session_id).channel)


def check_round(stored: StoredRound, priced: PricedRound) -> None:
    """A stored round is the one that was added."""
    r = priced.round
    same = msgspec.structs.asdict(stored.round)
    for name in ("key", "usage", "session_aliases", "conversation"):
        del same[name]
    assert same == {name: value for name, value in msgspec.structs.asdict(r).items() if name in same}
    for name in Usage.__struct_fields__[:6]:
        assert getattr(stored.round.usage, name) == getattr(r.usage, name), name
    assert stored.cost == priced.cost
    assert stored.price_version == VERSION
    assert not stored.has_content


def check_call(call: Call, priced: PricedRound) -> None:
    """A round in short is the one that was added."""
    r = priced.round
    for name in set(Call.__struct_fields__) - {"key", "currency", "nano"}:
        assert getattr(call, name) == getattr(r.usage if name.endswith("_tokens") else r, name), name
    assert (call.nano, call.currency) == (priced.cost.nano, priced.cost.currency)


def each_page(store: Store, query: SessionQuery) -> list[SessionPage]:
    """All pages of an answer."""
    pages = [store.sessions(query)]
    while pages[-1].next_cursor is not None:
        pages.append(store.sessions(msgspec.structs.replace(query, cursor=pages[-1].next_cursor)))
        assert len(pages) < 1000
    return pages


def snapshot(store: Store) -> object:
    """Everything that a store says of its rounds."""
    pages = each_page(store, SessionQuery(limit=100))
    records = [record for page in pages for record in page.sessions] + list(store.unnamed())
    sessions = {
        (record.session_id, record.consumer): (msgspec.structs.replace(record, slices=()), told(record.slices))
        for record in records
    }
    return (
        sessions,
        {name: store.rounds(name) for name, _ in sessions if name is not None},
        told(store.slices()),
        {b.label: (b.sessions, told(b.slices)) for b in store.buckets("hour", "UTC")},
        {(d, v): told(s) for d in get_args(Dimension) for v, s in store.by(d).items()},
        dict(store.sessions_by_model()),
        store.session_count(),
    )


class StoreConformance:
    """The scenarios. Derive from it, name the class ``Test…`` and say where a store can be opened."""

    #: False where a store keeps no conversations at all.
    keeps_content: ClassVar[bool] = True

    def place(self) -> AbstractContextManager[Open]:
        """Somewhere empty, for as long as the context lasts."""
        raise NotImplementedError

    def filled(self, store: Store, batches: Iterable[Sequence[PricedRound]]) -> list[PricedRound]:
        """Add `batches`; gives the rounds that the store must now hold."""
        seen: set[bytes] = set()
        batches = list(batches)
        for batch in batches:
            new = {p.round.key for p in batch} - seen
            added = store.add(Batch(rounds=list(batch)))
            assert added.rounds == len(new)
            assert added.duplicates == len(batch) - len(new)
            assert set(added.sessions) == {
                p.round.session_id for p in batch if p.round.key in new and p.round.session_id is not None
            }
            seen |= new
        return unique(batches)

    # -- sessions ---------------------------------------------------------------------------------

    @SETTINGS
    @given(deliveries())
    def test_every_session_has_the_sums_of_its_rounds(self, batches: list[list[PricedRound]]) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            sessions = named(self.filled(store, batches))
            assert store.session_count() == len(sessions)
            for name in SESSIONS:
                record = store.session(name)
                assert (record is None) == (name not in sessions)
                if record is not None:
                    check_session(record, sessions[name])
                    for alias in record.aliases:
                        assert store.session(alias) == record
            assert store.verify() == []

    @SETTINGS
    @given(deliveries())
    def test_rounds_without_a_session_are_summed_by_consumer(self, batches: list[list[PricedRound]]) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            rounds = self.filled(store, batches)
            nameless = grouped((p for p in rounds if p.round.session_id is None), lambda r: r.consumer)
            records = store.unnamed()
            assert len(records) == len(nameless)
            for record in records:
                assert record.session_id is None
                check_session(record, nameless[record.consumer])

    @SETTINGS
    @given(deliveries(), bounds().filter(lambda ms: ms is not None))
    def test_a_session_from_a_moment_on_has_the_sums_from_there(
        self, batches: list[list[PricedRound]], since: int
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            for name, rounds in named(self.filled(store, batches)).items():
                later = within(rounds, since, None)
                record = store.session(name, since)
                assert record is not None
                assert told(record.slices) == summed(later)
                if later:
                    assert record.created_at == min(p.round.started_at for p in later)
                    assert record.updated_at == max(p.round.started_at for p in later)
                found = store.rounds(name, since=since).rounds
                assert {s.round.request_id for s in found} == {p.round.request_id for p in later}
            assert store.session("never seen", since) is None

    @SETTINGS
    @given(deliveries(), st.integers(1, 7))
    def test_every_session_is_on_exactly_one_page_in_every_order(
        self, batches: list[list[PricedRound]], limit: int
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            sessions = named(self.filled(store, batches))
            sort_by: SortBy
            for sort_by in get_args(SortBy):
                pages = each_page(store, SessionQuery(sort_by=sort_by, limit=limit))
                records = [record for page in pages for record in page.sessions]
                assert Counter(r.session_id for r in records) == Counter(sessions.keys())
                assert all(page.total == len(sessions) for page in pages)
                assert all(len(page.sessions) == limit for page in pages[:-1])
                for record in records:
                    assert record.session_id is not None
                    check_session(record, sessions[record.session_id])
                ranks = [rank for r in records if (rank := self._rank(r, sort_by)) is not None]
                assert ranks == sorted(ranks, reverse=True), sort_by

    @staticmethod
    def _rank(record: SessionRecord, sort_by: SortBy) -> int | None:
        """What a session is sorted by; None where that cannot be compared."""
        if sort_by == "updated":
            return record.updated_at
        if sort_by == "created":
            return record.created_at or None
        if sort_by == "rounds":
            return sum(part.counts.rounds for part in record.slices)
        if sort_by == "tokens":
            return sum((s.counts.input_tokens or 0) + (s.counts.output_tokens or 0) for s in record.slices)
        # Across currencies an order by money is a matter of taste.
        if any(part.price.currency == "CNY" for part in record.slices):
            return None
        return sum(part.counts.nano or 0 for part in record.slices)

    @SETTINGS
    @given(deliveries(), bounds(), bounds(), st.integers(1, 3), st.data())
    def test_filters_leave_out_what_does_not_match(
        self,
        batches: list[list[PricedRound]],
        since: int | None,
        until: int | None,
        limit: int,
        data: st.DataObject,
    ) -> None:
        model = data.draw(st.sampled_from([None, None, "gpt-5.4", "qwen3.5-plus", "unheard-of"]))
        consumer = data.draw(st.sampled_from([None, None, "platform", "unheard-of"]))
        with self.place() as open_store, closing(open_store()) as store:
            sessions = named(self.filled(store, batches))
            query = SessionQuery(since=since, until=until, model=model, consumer=consumer, limit=limit)
            pages = each_page(store, query)
            found = Counter(record.session_id for page in pages for record in page.sessions)
            wanted = set()
            for name, rounds in sessions.items():
                known = [p.round.started_at for p in rounds if p.round.started_at != UNKNOWN_TIME]
                record = store.session(name)
                assert record is not None
                if (
                    (since is None or max(known, default=-1) >= since)
                    and (until is None or (known and min(known) < until))
                    and (model is None or any(p.round.model == model for p in rounds))
                    and (consumer is None or record.consumer == consumer)
                ):
                    wanted.add(name)
            assert found == Counter(wanted)
            assert all(page.total == len(wanted) for page in pages)

    def test_a_search_finds_ids_names_consumers_and_models_by_any_part(self) -> None:
        def one(number: int, session: str, **more: Any) -> PricedRound:
            r = Round(key=bytes([number]) * 16, source="higress", started_at=MOMENTS[0], session_id=session, **more)
            return PricedRound(r, Cost("none"))

        rounds = [
            one(1, "agent:main:main", session_aliases=("0b54cbe4",), model="gpt-5.4"),
            one(2, "agent:main:discord:channel:7", consumer="platform", model="glm-5"),
            one(3, "100%_sure"),
            one(4, "100 times sure"),
            one(5, "back\\slash 'quoted'"),
        ]
        with self.place() as open_store, closing(open_store()) as store:
            self.filled(store, [rounds])

            def search(text: str) -> set[str | None]:
                page = store.sessions(SessionQuery(search=text, limit=100))
                assert page.total == len(page.sessions)
                return {record.session_id for record in page.sessions}

            assert search("main") == {"agent:main:main", "agent:main:discord:channel:7"}
            assert search("MAIN:M") == {"agent:main:main"}
            assert search("b54c") == {"agent:main:main"}
            assert search("latform") == {"agent:main:discord:channel:7"}
            assert search("glm") == {"agent:main:discord:channel:7"}
            assert search("100%") == {"100%_sure"}
            assert search("%_s") == {"100%_sure"}
            assert search("_sure") == {"100%_sure"}
            assert search("k\\s") == {"back\\slash 'quoted'"}
            assert search("'quoted'") == {"back\\slash 'quoted'"}
            assert search("*") == set()
            assert search("?") == set()
            assert search("[a-z]") == set()
            assert search("no such thing") == set()
            assert search("x" * 70_000) == set()

    def test_a_search_in_questions_stays_within_the_ids_that_are_allowed(self) -> None:
        if not self.keeps_content:
            return

        def asked(number: int, session: str, question: bytes) -> PricedRound:
            said = (b'{"role":"user","content":' + question + b"}",)
            conversation = Conversation(said, START.after(said), question=question)
            r = Round(
                key=bytes([number]) * 16,
                source="higress",
                started_at=MOMENTS[0] + number,
                session_id=session,
                conversation=conversation,
            )
            return PricedRound(r, Cost("none"))

        rounds = [
            asked(1, "public:a", b'"Where is  the\\nlaundry?"'),
            asked(2, "private:b", b'"the laundry money"'),
            asked(3, "private:b", b'"something else"'),
        ]
        with self.place() as open_store, closing(open_store()) as store:
            self.filled(store, [rounds[2:], rounds[:2]])

            def search(text: str, *patterns: str, anywhere: bool = False) -> set[str | None]:
                query = SessionQuery(search=text, search_questions_of=None if anywhere else patterns)
                return {record.session_id for record in store.sessions(query).sessions}

            assert search("laundry", anywhere=True) == {"public:a", "private:b"}
            assert search("laundry") == set()
            assert search("laundry", "public:*") == {"public:a"}
            assert search("laundry", "PUBLIC:*") == set()
            assert search("laundry", "nothing", "private:?") == {"private:b"}
            assert search("private", "public:*") == {"private:b"}
            # Python's patterns, as wherever else a scope is looked at: SQL reads the second one as "! or p".
            assert search("laundry", "[!p]*") == set()
            assert search("laundry", "[!p]*", "[!x]ublic*") == {"public:a"}
            first = store.session("private:b")
            assert first is not None
            assert first.question == "the laundry money"
            second = store.session("public:a")
            assert second is not None
            assert second.question == "Where is the laundry?"

    @SETTINGS
    @given(
        deliveries(),
        st.lists(st.sampled_from(["agent:*", "*:main", "[!a]*", "s?", "*"]), max_size=2),
        st.sampled_from(get_args(SortBy)),
    )
    def test_only_sessions_of_the_asked_patterns_are_listed_and_counted(
        self, batches: list[list[PricedRound]], patterns: list[str], sort_by: SortBy
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            sessions = named(self.filled(store, batches))
            right = {name for name in sessions if any(fnmatchcase(name, pattern) for pattern in patterns)}
            pages = each_page(store, SessionQuery(sort_by=sort_by, limit=2, only=tuple(patterns)))
            assert Counter(r.session_id for page in pages for r in page.sessions) == Counter(right)
            assert store.sessions(SessionQuery(only=tuple(patterns), limit=1)).total == len(right)
            assert set(store.names_with("", 100, only=tuple(patterns))) == right
            part = {name for name in right if "main" in name.lower()}
            assert set(store.names_with("main", 100, only=tuple(patterns))) == part

    def test_names_that_look_alike_are_suggested(self) -> None:
        rounds = [
            PricedRound(
                Round(key=bytes([n]) * 16, source="higress", started_at=MOMENTS[0] + n, session_id=name), Cost("none")
            )
            for n, name in enumerate(["agent:main:main", "agent:main:discord:channel:77", "100%_sure", "batch"])
        ]
        with self.place() as open_store, closing(open_store()) as store:
            assert store.similar("agent:main:main") == []
            self.filled(store, [rounds])
            assert store.similar("agent:main:mian")[0] == "agent:main:main"
            assert store.similar("channel:77") == ["agent:main:discord:channel:77"]
            assert len(store.similar("agent:main", 1)) == 1
            assert store.similar("zzzzzzzzz") == []
            assert store.names_with("agent:") == ["agent:main:discord:channel:77", "agent:main:main"]
            assert store.names_with("agent:", 1) == ["agent:main:discord:channel:77"]
            assert store.names_with("%") == ["100%_sure"]
            for hostile in ("x" * 70_000, "\x00", "\ud800", "%" * 100, "[", "'"):
                assert "batch" not in store.similar(hostile)
                assert store.names_with(hostile) in ([], ["100%_sure"])
                assert store.session(hostile) is None

    @SETTINGS
    @given(st.one_of(st.text(), st.binary().map(lambda raw: raw.hex()), st.integers().map(str)))
    def test_a_cursor_that_was_not_given_out_is_refused(self, cursor: str) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            self.filled(store, [[own(0, PricedRound(_SIMPLE, Cost("none")))]])
            with pytest.raises(UnknownCursor):
                store.sessions(SessionQuery(cursor=cursor))
            with pytest.raises(UnknownCursor):
                store.rounds("agent:main:main", before=cursor)

    def test_a_cursor_of_another_order_is_refused(self) -> None:
        rounds = [
            own(n, PricedRound(msgspec.structs.replace(_SIMPLE, session_id=f"s{n}"), Cost("none"))) for n in range(3)
        ]
        with self.place() as open_store, closing(open_store()) as store:
            self.filled(store, [rounds])
            cursor = store.sessions(SessionQuery(sort_by="tokens", limit=1)).next_cursor
            assert cursor is not None
            with pytest.raises(UnknownCursor):
                store.sessions(SessionQuery(sort_by="rounds", cursor=cursor))
            with pytest.raises(UnknownCursor):
                store.rounds("s0", before=cursor)

    # -- rounds -----------------------------------------------------------------------------------

    @SETTINGS
    @given(deliveries())
    def test_rounds_are_numbered_in_the_order_of_their_start(self, batches: list[list[PricedRound]]) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            for name, rounds in named(self.filled(store, batches)).items():
                page = store.rounds(name)
                assert page.older is None
                assert [s.number for s in page.rounds] == list(range(1, len(rounds) + 1))
                starts = [s.round.started_at for s in page.rounds]
                assert starts == sorted(starts)
                by_request = {p.round.request_id: p for p in rounds}
                assert len(page.rounds) == len(by_request)
                for stored in page.rounds:
                    check_round(stored, by_request[stored.round.request_id])
                    assert store.round(name, stored.number) == stored
                    assert store.round(None, key=stored.round.key) == stored
                assert store.round(name, len(rounds) + 1) is None
                assert store.round(name, 0) is None
                assert store.round(name, -1) is None
            assert store.rounds("never seen").rounds == ()
            assert store.round("never seen", 1) is None
            for nobody in (b"", b"\xff", b"\xff" * 16, b"\x7f" * 40):
                assert store.round(None, key=nobody) is None

    @SETTINGS
    @given(deliveries(), st.integers(1, 5))
    def test_pages_of_rounds_hold_each_round_once_newest_page_first(
        self, batches: list[list[PricedRound]], limit: int
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            for name in named(self.filled(store, batches)):
                everything = store.rounds(name).rounds
                pages = [store.rounds(name, limit=limit)]
                while (older := pages[-1].older) is not None:
                    pages.append(store.rounds(name, limit=limit, before=older))
                assert tuple(s for page in reversed(pages) for s in page.rounds) == everything
                assert all(len(page.rounds) == limit for page in pages[:-1])

    def test_rounds_of_a_session_are_found_by_every_name_of_it(self) -> None:
        r = msgspec.structs.replace(_SIMPLE, session_aliases=("0b54cbe4",))
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=[own(0, PricedRound(r, Cost("none")))]))
            (alias,) = own(0, PricedRound(r, Cost("none"))).round.session_aliases
            assert store.rounds(alias) == store.rounds("agent:main:main")
            assert store.round(alias, 1) == store.round("agent:main:main", 1)
            assert store.round(alias, 1) is not None

    @SETTINGS
    @given(deliveries(), windows(), st.integers(1, 12), st.integers(0, 90_000))
    def test_rounds_in_short_are_the_newest_or_the_slowest_of_a_session_or_a_window(
        self,
        batches: list[list[PricedRound]],
        window: tuple[int | None, int | None],
        limit: int,
        slow: int,
    ) -> None:
        since, until = window
        with self.place() as open_store, closing(open_store()) as store:
            rounds = self.filled(store, batches)
            by_request = {p.round.request_id: p for p in rounds}
            timed = [p for p in rounds if p.round.started_at != UNKNOWN_TIME]
            for session in (None, *SESSIONS):
                # A session without a window has its timeless rounds too; a window has none.
                inside = within(rounds if session is not None else timed, since, until)
                inside = [p for p in inside if session in (None, p.round.session_id)]
                found = store.calls(session=session, since=since, until=until, limit=limit)
                starts = [call.started_at for call in found]
                assert starts == sorted(p.round.started_at for p in inside)[-limit:]
                assert len({call.request_id for call in found}) == len(found)
                for call in found:
                    check_call(call, by_request[call.request_id])
                    stored = store.round(None, key=call.key)
                    assert stored is not None
                    assert stored.round.request_id == call.request_id
                slowest = store.calls(session=session, since=since, until=until, min_latency_ms=slow, limit=limit)
                took = [p.round.latency_ms for p in inside if p.round.latency_ms is not None]
                assert [c.latency_ms for c in slowest] == sorted((ms for ms in took if ms >= slow), reverse=True)[
                    :limit
                ]
            assert store.calls(session="never seen", limit=3) == []

    @SETTINGS
    @given(
        deliveries(),
        moments().filter(lambda ms: ms != UNKNOWN_TIME),
        st.integers(0, 40),
        st.sampled_from([QUARTER, HOUR, DAY]),
        st.integers(1, 4),
    )
    def test_a_sample_holds_the_first_rounds_of_every_step(
        self, batches: list[list[PricedRound]], since: int, steps: int, step: int, each: int
    ) -> None:
        until = since + steps * step - step // 3
        with self.place() as open_store, closing(open_store()) as store:
            wanted: dict[int, list[int]] = {}
            for p in sorted(within(self.filled(store, batches), since, until), key=lambda p: p.round.started_at):
                wanted.setdefault((p.round.started_at - since) // step, []).append(p.round.started_at)
            found = store.sampled_calls(since, until, step, each)
            assert [call.started_at for call in found] == [at for ats in wanted.values() for at in ats[:each]]

    # -- sums -------------------------------------------------------------------------------------

    @SETTINGS
    @given(deliveries(), st.lists(windows(), min_size=3, max_size=3))
    def test_sums_of_any_window_are_those_of_its_rounds(
        self, batches: list[list[PricedRound]], asked: list[tuple[int | None, int | None]]
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            rounds = self.filled(store, batches)
            for since, until in [(None, None), *asked]:
                inside = within(rounds, since, until)
                assert told(store.slices(since, until)) == summed(inside)
                by_model = {model: len(named(group)) for model, group in grouped(inside, lambda r: r.model).items()}
                counts = dict(store.sessions_by_model(since, until))
                assert {m: n for m, n in counts.items() if n} == {m: n for m, n in by_model.items() if n}

    @SETTINGS
    @given(deliveries())
    def test_rounds_are_counted_by_how_long_they_took(self, batches: list[list[PricedRound]]) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            right: dict[tuple[str, str | None], Counter[int]] = {}
            for p in self.filled(store, batches):
                for kind, ms in (("latency", p.round.latency_ms), ("ttft", p.round.ttft_ms)):
                    if ms is not None:
                        step = bisect_left(LATENCY_STEPS_MS, ms)
                        right.setdefault((kind, p.round.model), Counter())[step] += 1
            told = {name: Counter(dict(enumerate(row))) for name, row in store.latency_steps().items()}
            assert {name: +row for name, row in told.items()} == right

    @SETTINGS
    @given(
        deliveries(),
        st.sampled_from(ZONES),
        st.sampled_from(get_args(Grain)),
        st.lists(windows(), min_size=2, max_size=2),
    )
    def test_sums_by_local_time_are_those_of_the_wall_clock(
        self,
        batches: list[list[PricedRound]],
        zone: str,
        grain: Grain,
        asked: list[tuple[int | None, int | None]],
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            rounds = self.filled(store, batches)
            for since, until in [(None, None), *asked]:
                buckets = store.buckets(grain, zone, since, until)
                labels = [b.label for b in buckets]
                assert labels == sorted(labels, key=lambda label: (label is not None, label))
                assert len(set(labels)) == len(labels)
                assert self._told_by_label(buckets) == self._by_label(within(rounds, since, until), zone, grain)
                quick = store.buckets(grain, zone, since, until, sessions=False)
                assert quick == [msgspec.structs.replace(bucket, sessions=0) for bucket in buckets]

    @staticmethod
    def _by_label(rounds: list[PricedRound], zone: str, grain: Grain) -> dict[str | None, tuple[int, Sums]]:
        form = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}[grain]

        def label(r: Round) -> str | None:
            if r.started_at == UNKNOWN_TIME:
                return None
            return datetime.fromtimestamp(r.started_at / 1000, ZoneInfo(zone)).strftime(form)

        return {name: (len(named(group)), summed(group)) for name, group in grouped(rounds, label).items()}

    @staticmethod
    def _told_by_label(buckets: Iterable[Bucket]) -> dict[str | None, tuple[int, Sums]]:
        return {b.label: (b.sessions, told(b.slices)) for b in buckets}

    @SETTINGS
    @given(deliveries(), st.lists(windows(), min_size=2, max_size=2))
    def test_sums_by_every_dimension_are_those_of_the_rounds(
        self, batches: list[list[PricedRound]], asked: list[tuple[int | None, int | None]]
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            rounds = self.filled(store, batches)
            for since, until in [(None, None), *asked]:
                inside = within(rounds, since, until)
                dimension: Dimension
                for dimension in get_args(Dimension):

                    def value(r: Round, dimension: str = dimension) -> str:
                        found = parts(r.session_id).agent if dimension == "agent" else getattr(r, dimension)
                        return found or ""

                    assert {v: told(s) for v, s in store.by(dimension, since, until).items()} == {
                        v: summed(group) for v, group in grouped(inside, value).items()
                    }

    # -- chosen sessions, failures ----------------------------------------------------------------

    @SETTINGS
    @given(
        deliveries(),
        st.sampled_from([("agent:*",), ("*",), ("100[%]_done*", "AGENT:[!x]*"), ("会话 <b>?</b>",), ("agent",), ()]),
        st.sampled_from(ZONES),
        st.sampled_from(get_args(Grain)),
        windows(),
    )
    def test_sums_of_chosen_sessions_are_those_of_their_rounds(
        self,
        batches: list[list[PricedRound]],
        keys: tuple[str, ...],
        zone: str,
        grain: Grain,
        asked: tuple[int | None, int | None],
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            chosen = [
                p
                for p in self.filled(store, batches)
                if (name := p.round.session_id) is not None and any(fnmatchcase(name, key) for key in keys)
            ]
            listed = {r.session_id for page in each_page(store, SessionQuery(keys=keys)) for r in page.sessions}
            assert listed == named(chosen).keys()
            for since, until in ((None, None), asked):
                inside = within(chosen, since, until)
                assert told(store.slices_of(keys, since, until)) == summed(inside)
                buckets = store.buckets_of(keys, grain, zone, since, until)
                assert self._told_by_label(buckets) == self._by_label(inside, zone, grain)

    @SETTINGS
    @given(deliveries(), windows(), st.integers(1, 6))
    def test_the_sessions_that_spent_the_most_have_the_sums_of_the_period(
        self, batches: list[list[PricedRound]], asked: tuple[int | None, int | None], limit: int
    ) -> None:
        since, until = asked
        with self.place() as open_store, closing(open_store()) as store:
            sessions = named(within(self.filled(store, batches), since, until))
            records = store.top_sessions(since, limit, until)
            names = [record.session_id for record in records]
            assert len(names) == len(set(names)) == min(limit, len(sessions))
            for record in records:
                assert record.session_id is not None
                assert told(record.slices) == summed(sessions[record.session_id])
            spent = {name: spend(slices_of(group)) for name, group in sessions.items()}
            assert [spent[name or ""] for name in names] == sorted(spent.values(), reverse=True)[:limit]

    @SETTINGS
    @given(deliveries(), windows(), st.integers(1, 6))
    def test_the_newest_failures_of_a_period_are_found(
        self, batches: list[list[PricedRound]], asked: tuple[int | None, int | None], limit: int
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            rounds = self.filled(store, batches)
            timed = [p for p in within(rounds, *asked) if p.round.started_at != UNKNOWN_TIME]
            failed = {p.round.request_id: p for p in timed if not p.round.success}
            found = store.failed(*asked, limit)
            starts = sorted((p.round.started_at for p in failed.values()), reverse=True)
            assert [stored.round.started_at for stored in found] == starts[:limit]
            for stored in found:
                check_round(stored, failed[stored.round.request_id])
                assert store.round(None, key=stored.round.key) == stored

    # -- what is added ----------------------------------------------------------------------------

    @SETTINGS
    @given(deliveries())
    def test_what_is_added_again_changes_nothing(self, batches: list[list[PricedRound]]) -> None:
        with self.place() as open_store:
            with closing(open_store()) as store:
                self.filled(store, batches)
                before = snapshot(store)
            with closing(open_store()) as store:
                everything = [p for batch in batches for p in batch]
                for again in [*batches, everything, everything[::-1]]:
                    added = store.add(Batch(rounds=again))
                    assert (added.rounds, added.duplicates, added.sessions) == (0, len(again), ())
                assert snapshot(store) == before
                assert store.verify() == []

    @SETTINGS
    @given(deliveries(), st.data())
    def test_any_cut_and_any_order_give_the_same_answers(
        self, batches: list[list[PricedRound]], data: st.DataObject
    ) -> None:
        # Which of two rounds that start in the same millisecond comes first is nobody's business.
        rounds = list({p.round.started_at: p for p in unique(batches)}.values())
        shuffled = data.draw(st.permutations(rounds))
        cut = data.draw(st.integers(0, len(rounds)))
        with self.place() as here, self.place() as there, closing(here()) as one, closing(there()) as other:
            one.add(Batch(rounds=rounds))
            for batch in (shuffled[:cut], shuffled[cut:]):
                other.add(Batch(rounds=list(batch)))
            assert snapshot(one) == snapshot(other)

    @SETTINGS
    @given(st.lists(st.tuples(st.integers(0, 11), st.booleans()), min_size=1, max_size=40), st.data())
    def test_rounds_that_only_their_keys_tell_apart_are_told_apart(
        self, arriving: list[tuple[int, bool]], data: st.DataObject
    ) -> None:
        prefix = data.draw(st.sampled_from([b"\xff\xff\xff", b"\xff\xff\xfb", b"\0\0\0"]))
        rounds = [own(n, PricedRound(msgspec.structs.replace(_SIMPLE, key=prefix), Cost("none"))) for n in range(6)]
        # Their ids lie beside those of the first six.
        beside = prefix[:2] + bytes([max(0, prefix[2] - 4)])
        rounds += [
            own(n, PricedRound(msgspec.structs.replace(_SIMPLE, key=beside), Cost("none"))) for n in range(6, 12)
        ]
        batches: list[list[PricedRound]] = [[]]
        for number, new_batch in arriving:
            if new_batch:
                batches.append([])
            batches[-1].append(rounds[number])
        with self.place() as open_store, closing(open_store()) as store:
            kept = self.filled(store, batches)
            page = store.rounds("agent:main:main")
            assert {s.round.request_id for s in page.rounds} == {p.round.request_id for p in kept}
            assert {s.round.started_at for s in page.rounds} == {_SIMPLE.started_at}
            assert len({s.round.key for s in page.rounds}) == len(kept)
            for stored in page.rounds:
                assert store.round(None, key=stored.round.key) == stored
            assert store.verify() == []

    def test_many_rounds_without_a_time_are_all_kept(self) -> None:
        timeless = msgspec.structs.replace(_SIMPLE, started_at=UNKNOWN_TIME, key=b"\xff\xff\xff")
        rounds = [own(n, PricedRound(timeless, Cost("none"))) for n in range(500)]
        with self.place() as open_store, closing(open_store()) as store:
            self.filled(store, [rounds[:300], rounds[100:]])
            page = store.rounds("agent:main:main")
            assert len(page.rounds) == 500
            assert {s.round.started_at for s in page.rounds} == {UNKNOWN_TIME}
            (bucket,) = store.buckets("day", "UTC")
            assert (bucket.label, bucket.sessions) == (None, 1)
            assert store.slices(0, None) == []
            assert store.slices(None, at("2099-01-01")) == []
            record = store.session("agent:main:main")
            assert record is not None
            assert record.model == "gpt-5.4"

    def test_a_batch_that_cannot_be_kept_leaves_nothing_behind(self) -> None:
        good = [own(n, PricedRound(_SIMPLE, Cost("priced", 7, "USD", "list A"))) for n in range(3)]
        huge = msgspec.structs.replace(good[2].round, latency_ms=1 << 70, session_id="only in the bad batch")
        bad = Batch(
            rounds=[good[1], PricedRound(huge, Cost("none"))],
            skipped=[SkippedLines("access.log", "blank", 3)],
            checkpoints=[Checkpoint(b"id", "access.log", "/access.log", 10, 10, b"position")],
            occurrences={(b"file", b"key"): 1},
            as_of=1,
        )
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=[good[0]]))
            before = snapshot(store)
            with pytest.raises(Exception):  # noqa: B017, PT011 - which one is the engine's business
                store.add(bad)
            assert snapshot(store) == before
            assert store.verify() == []
            assert store.checkpoints("access.log") == []
            assert list(store.skipped()) == []
            assert store.occurrences(b"file") == {}
            assert store.as_of() is None
            assert store.session("only in the bad batch") is None
            added = store.add(Batch(rounds=good))
            assert (added.rounds, added.duplicates) == (2, 1)
            assert store.verify() == []

    # -- what goes with the rounds ----------------------------------------------------------------

    def test_a_checkpoint_is_what_was_last_kept_under_its_id(self) -> None:
        first = Checkpoint(b"\0\1", "access.log", "/logs/access.log", 10, 12, b"\0position\xff")
        other = Checkpoint(b"\0\2", "access.log", "/logs/access.log.1", 5, 5, b"")
        foreign = Checkpoint(b"\0\3", "other.log", "/logs/other.log", 1, 1, b"")
        moved = msgspec.structs.replace(first, path="/logs/access.log.1", offset=12)
        with self.place() as open_store:
            with closing(open_store()) as store:
                assert store.checkpoints("access.log") == []
                store.add(Batch(checkpoints=[first, other, foreign]))
                store.add(Batch(checkpoints=[moved]))
            with closing(open_store()) as store:
                assert sorted(store.checkpoints("access.log"), key=lambda c: c.id) == [moved, other]
                assert store.checkpoints("other.log") == [foreign]

    def test_occurrences_are_kept_by_file_and_go_when_it_is_read_from_its_start(self) -> None:
        with self.place() as open_store:
            with closing(open_store()) as store:
                store.add(Batch(occurrences={(b"a", b"k1"): 1, (b"a", b"k2"): 1, (b"b", b"k1"): 7}))
                store.add(Batch(occurrences={(b"a", b"k1"): 2}))
            with closing(open_store()) as store:
                assert store.occurrences(b"a") == {b"k1": 2, b"k2": 1}
                store.add(Batch(restarted=[b"a"], occurrences={(b"a", b"k2"): 1}))
                assert store.occurrences(b"a") == {b"k2": 1}
                assert store.occurrences(b"b") == {b"k1": 7}
                assert store.occurrences(b"c") == {}

    def test_skipped_lines_are_counted_by_reason_with_one_of_them(self) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(skipped=[SkippedLines("a", "foreign", 2, b"\xff\0one"), SkippedLines("a", "blank", 1)]))
            store.add(Batch(skipped=[SkippedLines("a", "foreign", 3), SkippedLines("b", "foreign", 1, b"two")]))
            assert {(s.source, s.reason): (s.count, s.sample) for s in store.skipped()} == {
                ("a", "blank"): (1, b""),
                ("a", "foreign"): (5, b"\xff\0one"),
                ("b", "foreign"): (1, b"two"),
            }

    def test_how_far_the_sources_were_read_is_told_from_the_last_complete_pass(self) -> None:
        with self.place() as open_store:
            with closing(open_store()) as store:
                assert store.as_of() is None
                store.add(Batch(as_of=5))
                store.add(Batch(rounds=[own(0, PricedRound(_SIMPLE, Cost("none")))]))
                assert store.as_of() == 5
            with closing(open_store()) as store:
                assert store.as_of() == 5

    def test_another_opening_of_the_store_sees_what_is_added(self) -> None:
        with self.place() as open_store, closing(open_store()) as writer, closing(open_store()) as reader:
            for number in range(3):
                assert len(reader.rounds("agent:main:main").rounds) == number
                writer.add(Batch(rounds=[own(number, PricedRound(_SIMPLE, Cost("none")))]))
                assert snapshot(reader) == snapshot(writer)

    def test_conversations_read_back_exactly(self) -> None:
        if not self.keeps_content:
            return
        messages = tuple(b'{"role":"user","content":"%d \\u003c\xe5\xb7\xb2"}' % n for n in range(9))
        rounds = []
        for turn in (0, 1, 2):
            said = messages[: 3 * turn + 3]
            conversation = Conversation(said, START.after(said), question=said[-1], answer=b'"a%d"' % turn)
            started_at = UNKNOWN_TIME if turn == 2 else MOMENTS[0] + turn
            r = msgspec.structs.replace(_SIMPLE, conversation=conversation, started_at=started_at)
            rounds.append(own(turn, PricedRound(r, Cost("none"))))
        silent = own(3, PricedRound(_SIMPLE, Cost("none")))
        with self.place() as open_store:
            with closing(open_store()) as store:
                store.add(Batch(rounds=[*rounds, silent]))
                store.add(Batch(rounds=[*rounds, silent]))
            with closing(open_store()) as store:
                stored = store.rounds("agent:main:main").rounds
                for one, content in zip(stored, store.content(stored), strict=True):
                    turn = int((one.round.request_id or "").removeprefix("request-"))
                    assert one.has_content == (turn != 3)
                    if turn == 3:
                        assert content is None
                        continue
                    assert content is not None
                    assert content.messages == messages[: 3 * turn + 3]
                    assert content.answer == b'"a%d"' % turn
                    assert content.question == messages[3 * turn + 2]

    # -- prices that change, budgets --------------------------------------------------------------

    @SETTINGS
    @given(deliveries(), st.integers(0, 6))
    def test_rounds_with_new_prices_are_as_if_they_had_always_had_them(
        self, batches: list[list[PricedRound]], salt: int
    ) -> None:
        def price(model: str | None, host: str | None, at: int, usage: Usage) -> Cost:
            """Another price for some, the same kind of unknown for others; nothing that the round does not tell."""
            tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
            kinds = ("priced", "partial", "free", "unpriced", "none")
            kind = kinds[(len(model or "") + len(host or "") + tokens + at // QUARTER + salt) % len(kinds)]
            if kind in ("priced", "partial"):
                return Cost(kind, 7 * tokens + salt, "CNY" if tokens % 2 else "USD", "list C")  # type: ignore[arg-type]
            return Cost("free", 0, "USD", "list C") if kind == "free" else Cost(kind)  # type: ignore[arg-type]

        book = BudgetBook(BUDGETS, "Asia/Kathmandu")
        with self.place() as open_store, closing(open_store(book)) as store:
            rounds = self.filled(store, batches)
            done = store.reprice(price, VERSION)
            assert (done.rounds, done.kept) == (len(rounds), 0)

            def priced_anew(r: Round) -> PricedRound:
                return PricedRound(r, price(r.model, r.host, r.started_at, r.usage))

            new = [priced_anew(p.round) for p in rounds]
            assert store.verify() == []
            assert told(store.slices()) == summed(new)
            for name, group in named(new).items():
                record = store.session(name)
                assert record is not None
                check_session(record, group)
            check_budgets(store, book, new)
            assert store.reprice(price, VERSION).changed == 0

    @SETTINGS
    @given(deliveries(), st.sampled_from(ZONES))
    def test_a_budget_counts_the_rounds_that_match_in_their_period(
        self, batches: list[list[PricedRound]], zone: str
    ) -> None:
        book = BudgetBook(BUDGETS, zone)
        with self.place() as open_store:
            with closing(open_store(book)) as store:
                half = batches[: len(batches) // 2]
                check_budgets(store, book, self.filled(store, half))
            # Another opening goes on counting; one with other budgets makes their sums anew from the rounds.
            with closing(open_store(book)) as store:
                self.filled_again(store, batches)
                check_budgets(store, book, unique(batches))
            other = BudgetBook((*BUDGETS[:2], Budget("new", Limit(tokens=5), "week"), BUDGETS[3]), "America/New_York")
            with closing(open_store(other)) as store:
                check_budgets(store, other, unique(batches))
                assert store.budget_sums(BUDGETS[2].name) == []

    def filled_again(self, store: Store, batches: Iterable[Sequence[PricedRound]]) -> None:
        """Add `batches` to a store that may hold some of them."""
        for batch in batches:
            store.add(Batch(rounds=list(batch)))

    def test_each_share_of_a_budget_is_told_once_however_often_the_store_is_opened(self) -> None:
        now = round(datetime.now(UTC).timestamp() * 1000)
        budget = Budget(
            "small", Limit(tokens=100), "month", warn_at=(500_000, 800_000), channels=("a", "b"),
            exceeded_channels=("command",),
        )  # fmt: skip
        book = BudgetBook((budget,), "UTC")

        def spent(number: int, tokens: int, at: int = now) -> PricedRound:
            r = msgspec.structs.replace(_SIMPLE, started_at=at, usage=Usage(tokens, 0))
            return own(number, PricedRound(r, Cost("unpriced")))

        with self.place() as open_store:
            with closing(open_store(book)) as store:
                assert store.add(Batch(rounds=[spent(0, 49)])).alerts == 0
                assert store.add(Batch(rounds=[spent(1, 1)])).alerts == 2
                # What was used in a month that is over concerns nobody any more, nor what a wrong clock has written.
                assert store.add(Batch(rounds=[spent(2, 1000, MOMENTS[4] - DAY)])).alerts == 0
                assert store.add(Batch(rounds=[spent(9, 1000, now + 366 * DAY)])).alerts == 0
            with closing(open_store(book)) as store:
                assert store.add(Batch(rounds=[spent(3, 1)])).alerts == 0
                assert store.add(Batch(rounds=[spent(4, 70)])).alerts == 3
                assert store.add(Batch(rounds=[spent(4, 70), spent(5, 500)])).alerts == 0
                waiting = store.due(now + HOUR)
                assert sorted((d.channel, msgspec.json.decode(d.facts)["share"]) for d in waiting) == [
                    ("a", 0.5), ("a", 0.8), ("b", 0.5), ("b", 0.8), ("command", 1.0),
                ]  # fmt: skip
                store.delivered(waiting[0])
                store.delivered(waiting[1], error="busy", again_at=now + DAY)
                store.delivered(waiting[2], error="gone")
                assert len(store.due(now + HOUR)) == 2
            with closing(open_store(book)) as store:
                assert len(store.due(now + HOUR)) == 2
                assert len(store.due(now + 2 * DAY)) == 3
                states = [(d.state, d.tries, d.error) for alert in store.alerts() for d in alert.deliveries]
                assert sorted(s for s in states if s[0] != "waiting" or s[1]) == [
                    ("failed", 1, "gone"), ("sent", 1, None), ("waiting", 1, "busy"),
                ]  # fmt: skip
                # What was passed is written down whether somebody is told or not: three shares in each month.
                assert len(store.alerts()) == 9

    def test_a_limit_that_was_made_smaller_is_told_when_the_store_opens(self) -> None:
        now = round(datetime.now(UTC).timestamp() * 1000)
        with self.place() as open_store:
            r = msgspec.structs.replace(_SIMPLE, started_at=now, usage=Usage(60, 0))
            with closing(open_store(BudgetBook((Budget("b", Limit(tokens=100), "day", channels=("a",)),)))) as store:
                assert store.add(Batch(rounds=[own(0, PricedRound(r, Cost("unpriced")))])).alerts == 0
            with closing(open_store(BudgetBook((Budget("b", Limit(tokens=50), "day", channels=("a",)),)))) as store:
                assert [d.budget for d in store.due(now + DAY)] == ["b", "b"]


#: Budgets of every period, by globs and by values, in money and in tokens.
BUDGETS = (
    Budget("all", Limit(10**9, "USD"), "day"),
    Budget("teams", Limit(10**9, "CNY"), "week", (("consumer", ("plat*", "nobody")),), per="consumer"),
    Budget("sessions", Limit(tokens=1000), "session", (("model", ("gpt-*", "qwen*")),)),
    Budget("agents", Limit(tokens=1000), "month", (("agent", ("*",)), ("route", ("ai-route-?", ""))), per="agent"),
)


def check_budgets(store: Store, book: BudgetBook, rounds: Iterable[PricedRound]) -> None:
    """The sums of `book` are those of the rounds, worked out one by one."""
    zone = ZoneInfo(book.timezone)
    for budget in book.budgets:
        right: Counter[tuple[int, str, str, str]] = Counter()
        keys = set()
        for p in rounds:
            r = p.round
            facts = Facts(
                r.consumer or "", parts(r.session_id).agent or "", r.session_id or "", r.model or "",
                r.function or "", r.route or "",
            )  # fmt: skip
            slot = budget.slot(facts)
            if slot is None or (r.started_at == UNKNOWN_TIME and budget.period != "session"):
                continue
            local = datetime.fromtimestamp(r.started_at / 1000, UTC).astimezone(zone).date()
            first = {
                "day": local,
                "week": local - timedelta(days=local.isoweekday() - 1),
                "month": local.replace(day=1),
                "session": None,
            }[budget.period]
            at = 0 if first is None else round(datetime(first.year, first.month, first.day, tzinfo=zone).timestamp())
            key = (at * 1000, slot, "" if p.cost.nano is None else p.cost.currency or "")
            keys.add(key)
            right[(*key, "nano")] += p.cost.nano or 0
            right[(*key, "tokens")] += (r.usage.input_tokens or 0) + (r.usage.output_tokens or 0)
            right[(*key, "rounds")] += 1
            right[(*key, "unpriced")] += p.cost.status == "unpriced"
        sums = store.budget_sums(budget.name)
        assert {(s.at, s.slot, s.currency) for s in sums} == keys
        for s in sums:
            for name in ("nano", "tokens", "rounds", "unpriced"):
                assert getattr(s, name) == right[s.at, s.slot, s.currency, name], (budget.name, name)


_SIMPLE = Round(
    key=b"\0\0\0", source="higress", started_at=MOMENTS[0], session_id="agent:main:main", session_source="header",
    model="gpt-5.4",
)  # fmt: skip
