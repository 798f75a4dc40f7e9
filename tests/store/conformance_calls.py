"""What every store must do with calls that several sources saw, and with files whose rounds are taken back out.

What a store says is compared with a fresh store that was given, in one batch, the rounds that a few lines of plain
Python make of the same witnesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from monitor.prices.money import Cost
from monitor.rounds import UNKNOWN_TIME, ReportedCost, Round, Usage
from monitor.store.base import Batch, PricedRound, SessionRecord, Store
from tests.store.conformance import HOUR, MINUTE, MOMENTS, SETTINGS, VERSION, Open, costs, own, plain_rounds, snapshot

KINDS = ("higress", "openclaw", "usage")
#: Calls under one id whose starts are farther apart than this from one to the next are different calls.
APART = 6 * HOUR
#: So many rounds under one id name no call.
TOO_MANY = 65
#: No two of these are as far from each other as any other two, so that the nearest is always one.
OFFSETS = tuple(MINUTE * 3**power // 100 for power in range(12))


# -- witnesses ------------------------------------------------------------------------------------


@st.composite
def witnesses(draw: st.DrawFn) -> list[PricedRound]:
    """Rounds of all kinds that share a few response ids, at different moments near and far from each other."""
    rounds = draw(st.lists(st.builds(PricedRound, plain_rounds(), costs()), min_size=1, max_size=14))
    offsets = draw(st.lists(st.sampled_from(OFFSETS), min_size=len(rounds), max_size=len(rounds)))
    made = []
    for number, (priced, offset) in enumerate(zip(rounds, offsets, strict=True)):
        one = own(number, priced).round
        made.append(
            PricedRound(
                msgspec.structs.replace(
                    one,
                    source=draw(st.sampled_from(KINDS)),
                    # A millisecond of its own, so that what comes first is never a matter of taste.
                    started_at=MOMENTS[0] + offset + number,
                    session_aliases=(),
                    response_id=draw(st.sampled_from(["chatcmpl-1", "chatcmpl-1", "chatcmpl-2", None])),
                ),
                priced.cost,
            )
        )
    return made


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[PricedRound]]:
    """Witnesses in any order, some twice, cut into batches anywhere."""
    rounds = draw(witnesses())
    again = draw(st.lists(st.sampled_from(rounds), max_size=5))
    arriving = draw(st.permutations(rounds + again))
    cuts = sorted(draw(st.lists(st.integers(0, len(arriving)), max_size=6)))
    return [arriving[begin:end] for begin, end in pairwise([0, *cuts, len(arriving)])]


# -- the same in plain Python ---------------------------------------------------------------------


def counting(rounds: Iterable[PricedRound]) -> list[tuple[PricedRound, set[str]]]:
    """What counts, and which kinds of sources saw it."""
    by_id: dict[str | None, list[PricedRound]] = {}
    for priced in sorted({p.round.key: p for p in rounds}.values(), key=lambda p: p.round.started_at):
        by_id.setdefault(priced.round.response_id, []).append(priced)
    found = [(priced, {priced.round.source}) for priced in by_id.pop(None, [])]
    for group in by_id.values():
        cluster: list[PricedRound] = []
        for priced in group:
            if cluster and priced.round.started_at - cluster[-1].round.started_at > APART:
                found += calls(cluster)
                cluster = []
            cluster.append(priced)
        found += calls(cluster)
    return found


def calls(cluster: list[PricedRound]) -> list[tuple[PricedRound, set[str]]]:
    """What counts of rounds under one id that lie together in time."""
    kinds = [kind for kind in KINDS if any(p.round.source == kind for p in cluster)]
    if len(kinds) == 1 or len(cluster) >= TOO_MANY:
        return [(priced, {priced.round.source}) for priced in cluster]
    leads = [p for p in cluster if p.round.source == kinds[0]]
    behind: dict[bytes, list[PricedRound]] = {p.round.key: [p] for p in leads}
    for kind in kinds[1:]:
        for priced in (p for p in cluster if p.round.source == kind):
            at = priced.round.started_at
            nearest = min(leads, key=lambda p: (abs(p.round.started_at - at), p.round.started_at))
            behind[nearest.round.key].append(priced)
    return [(merged(group), {p.round.source for p in group}) for group in behind.values()]


def merged(group: list[PricedRound]) -> PricedRound:
    """One call as its witnesses tell it together, the one that is believed first at the beginning."""
    rounds = [p.round for p in group]
    lead = rounds[0]
    meter = next((p for p in group if p.round.usage.known), group[0])
    named = next((r for r in rounds if r.session_id is not None), lead)

    def first(value: Callable[[Round], Any]) -> Any:
        return next((found for r in rounds if (found := value(r)) is not None), None)

    return PricedRound(
        msgspec.structs.replace(
            lead,
            session_id=named.session_id,
            session_source=named.session_source,
            model=meter.round.model,
            usage=meter.round.usage,
            host=meter.round.host,
            consumer=first(lambda r: r.consumer),
            route=first(lambda r: r.route),
            function=first(lambda r: r.function),
            user_id=first(lambda r: r.user_id),
            status=first(lambda r: r.status),
            latency_ms=first(lambda r: r.latency_ms),
            ttft_ms=first(lambda r: r.ttft_ms),
            response_type=first(lambda r: r.response_type),
            has_tool_calls=any(r.has_tool_calls for r in rounds),
            request_id=first(lambda r: r.request_id),
            reported=first(lambda r: r.reported),
            extra=first(lambda r: r.extra),
        ),
        meter.cost,
    )


def without_sources(said: Any) -> Any:
    """A snapshot but for the kinds of sources that saw a session."""
    sessions: dict[Any, tuple[SessionRecord, Any]] = said[0]
    plain = {name: (msgspec.structs.replace(record, sources=()), slices) for name, (record, slices) in sessions.items()}
    return (plain, *said[1:])


def sources(said: Any) -> dict[Any, set[str]]:
    """The kinds of sources that saw each session."""
    return {name: set(record.sources) for name, (record, _) in said[0].items()}


class CallConformance:
    """The scenarios. Derive from it, name the class ``Test…`` and say where a store can be opened."""

    def place(self) -> AbstractContextManager[Open]:
        """Somewhere empty, for as long as the context lasts."""
        raise NotImplementedError

    def more(self, store: Store) -> Any:
        """What else of a store must be the same, such as sums of budgets."""
        return None

    def check(self, store: Store, rounds: Iterable[PricedRound]) -> None:
        """The store says what a fresh one says of the calls that `rounds` witness."""
        assert store.verify() == []
        found = counting(rounds)
        with self.place() as open_store, closing(open_store()) as fresh:
            fresh.add(Batch(rounds=[priced for priced, _ in found]))
            said, right = snapshot(store), snapshot(fresh)
            assert without_sources(said) == without_sources(right)
            assert self.more(store) == self.more(fresh)
        seen: dict[tuple[str | None, str | None], set[str]] = {}
        for priced, kinds in found:
            r = priced.round
            if r.session_id is None:
                seen.setdefault((None, r.consumer), set()).update(kinds)
            else:
                (name,) = [name for name in sources(said) if name[0] == r.session_id]
                seen.setdefault(name, set()).update(kinds)
        assert sources(said) == seen

    # -- calls that several sources saw -----------------------------------------------------------

    @SETTINGS
    @given(arrivals())
    def test_a_call_with_several_witnesses_counts_once_whatever_comes_first(
        self, batches: list[list[PricedRound]]
    ) -> None:
        with self.place() as open_store:
            with closing(open_store()) as store:
                keys: set[bytes] = set()
                for batch in batches:
                    added = store.add(Batch(rounds=batch))
                    new = {p.round.key for p in batch} - keys
                    assert (added.rounds, added.duplicates) == (len(new), len(batch) - len(new))
                    keys |= new
                everything = [p for batch in batches for p in batch]
                self.check(store, everything)
            with closing(open_store()) as store:
                added = store.add(Batch(rounds=everything))
                assert (added.rounds, added.duplicates) == (0, len(everything))
                self.check(store, everything)

    @SETTINGS
    @given(arrivals())
    def test_everything_adds_up_after_every_batch(self, batches: list[list[PricedRound]]) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            known: list[PricedRound] = []
            for batch in batches:
                store.add(Batch(rounds=batch))
                known += batch
                self.check(store, known)

    def test_the_gateway_counts_and_the_record_says_what_it_was_for(self) -> None:
        record = witness("usage", 2000, session_id="session_abc", function="live_analysis", usage=Usage(900, 100))
        logged = witness("higress", 0, session_id="agent:main:main", consumer="platform", usage=Usage(1000, 120))
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=[record]))
            assert store.session("session_abc") is not None
            store.add(Batch(rounds=[logged]))
            assert store.session("session_abc") is None
            assert store.session_count() == 1
            (stored,) = store.rounds("agent:main:main").rounds
            assert stored.round.usage == Usage(1000, 120)
            assert (stored.round.consumer, stored.round.function) == ("platform", "live_analysis")
            assert stored.round.source == "higress"
            (part,) = store.slices()
            assert (part.counts.rounds, part.counts.input_tokens) == (1, 1000)
            self.check(store, [record, logged])

    def test_where_the_gateway_lost_the_tokens_the_transcript_tells_them(self) -> None:
        logged = witness("higress", 0, session_id="agent:main:main", usage=Usage(), model=None)
        told = witness("openclaw", 900, session_id="agent:main:main", usage=Usage(1000, 120, cached_tokens=400))
        for order in ([logged, told], [told, logged]):
            with self.place() as open_store, closing(open_store()) as store:
                for one in order:
                    store.add(Batch(rounds=[one]))
                (part,) = store.slices()
                assert (part.model, part.counts.rounds, part.counts.cached_tokens) == ("gpt-5.4", 1, 400)
                self.check(store, order)

    def test_a_cost_that_a_record_reports_stays_beside_the_gateways_figures(self) -> None:
        record = witness("usage", 1, usage=Usage(1, 1), reported=ReportedCost(5_000, "CNY"))
        logged = witness("higress", 0, usage=Usage(1000, 120))
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=[logged]))
            store.add(Batch(rounds=[record]))
            (part,) = store.slices()
            assert (part.counts.reported_nano, part.price.reported_currency) == (5_000, "CNY")
            assert part.counts.input_tokens == 1000
            self.check(store, [record, logged])

    def test_one_id_hours_later_is_another_call(self) -> None:
        logged = witness("higress", 0)
        within, beyond = witness("openclaw", APART), witness("openclaw", 2 * APART + 1)
        with self.place() as open_store, closing(open_store()) as store:
            for one in (beyond, logged, within):
                store.add(Batch(rounds=[one]))
            assert sum(part.counts.rounds for part in store.slices()) == 2
            self.check(store, [logged, within, beyond])

    def test_an_id_that_many_rounds_carry_names_no_call(self) -> None:
        logged = [witness("higress", 2 * n, number=n) for n in range(TOO_MANY - 2)]
        told = [witness("openclaw", 2 * n + 1, number=1000 + n) for n in range(3)]
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=[*logged, told[0]]))
            assert sum(part.counts.rounds for part in store.slices()) == len(logged)
            self.check(store, [*logged, told[0]])
            store.add(Batch(rounds=[told[1]]))
            assert sum(part.counts.rounds for part in store.slices()) == TOO_MANY
            self.check(store, [*logged, *told[:2]])
            store.add(Batch(rounds=[told[2]]))
            self.check(store, [*logged, *told])

    def test_a_record_without_a_time_is_no_witness_of_a_call_that_has_one(self) -> None:
        timeless = witness("usage", 0)
        timeless = PricedRound(msgspec.structs.replace(timeless.round, started_at=UNKNOWN_TIME), timeless.cost)
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=[timeless]))
            store.add(Batch(rounds=[witness("higress", 0)]))
            assert sum(part.counts.rounds for part in store.slices()) == 2
            assert store.verify() == []

    @SETTINGS
    @given(arrivals())
    def test_new_prices_reach_every_witness(self, batches: list[list[PricedRound]]) -> None:
        def price(model: str | None, host: str | None, at: int, usage: Usage) -> Cost:
            return Cost("priced", 7 * (usage.input_tokens or 0) + 1, "USD", "list C")

        everything = [p for batch in batches for p in batch]
        dearer = [PricedRound(p.round, price(None, None, 0, p.round.usage)) for p in everything]
        with self.place() as open_store, closing(open_store()) as store:
            for batch in batches[:-1]:
                store.add(Batch(rounds=batch))
            store.reprice(price, VERSION)
            keys = {p.round.key for batch in batches[:-1] for p in batch}
            # What was stored before has the new price, also where it only comes to count now.
            last = [p for p in dearer if p.round.key not in keys]
            store.add(Batch(rounds=last))
            self.check(store, dearer)

    # -- files whose rounds are taken back out ----------------------------------------------------

    @SETTINGS
    @given(arrivals(), st.data())
    def test_a_file_that_goes_leaves_what_a_fresh_reading_of_the_rest_gives(
        self, batches: list[list[PricedRound]], data: st.DataObject
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            holds: dict[str, list[PricedRound]] = {"monday": [], "tuesday": []}
            others: list[PricedRound] = []
            for batch in batches:
                records = [p for p in batch if p.round.source == "usage"]
                rest = [p for p in batch if p.round.source != "usage"]
                day = data.draw(st.sampled_from(sorted(holds)))
                store.add(Batch(rounds=records, origin=day))
                store.add(Batch(rounds=rest))
                holds[day] += records
                others += rest
            removed = store.remove("monday")
            alone = {p.round.key for p in holds["monday"]} - {p.round.key for p in holds["tuesday"]}
            assert removed.rounds == len(alone)
            self.check(store, [*others, *holds["tuesday"]])
            assert store.remove("monday").rounds == 0
            # The file comes back.
            assert store.add(Batch(rounds=holds["monday"], origin="monday")).rounds == len(alone)
            self.check(store, [*others, *holds["tuesday"], *holds["monday"]])
            for day in sorted(holds):
                store.remove(day)
            assert list(store.origins()) == []
            self.check(store, others)

    @SETTINGS
    @given(arrivals(), st.integers(-1, 12))
    def test_a_stretch_of_a_file_that_goes_for_good_is_never_counted_again(
        self, batches: list[list[PricedRound]], edge: int
    ) -> None:
        everything = [p for batch in batches for p in batch]
        until = MOMENTS[0] + (OFFSETS[edge] if 0 <= edge < len(OFFSETS) else edge * HOUR)
        with self.place() as open_store, closing(open_store()) as store:
            for batch in batches:
                store.add(Batch(rounds=batch, origin="log"))
            store.remove("log", since=MOMENTS[0], until=until, for_good=True)
            left = [p for p in everything if not MOMENTS[0] <= p.round.started_at < until]
            self.check(store, left)
            assert store.add(Batch(rounds=everything, origin="log")).rounds == 0
            self.check(store, left)

    def test_a_record_of_a_file_is_known_by_its_key_whatever_time_it_comes_with(self) -> None:
        first = witness("usage", 0)
        later = PricedRound(msgspec.structs.replace(first.round, started_at=MOMENTS[0] + HOUR), first.cost)
        with self.place() as open_store, closing(open_store()) as store:
            assert store.add(Batch(rounds=[first, later], origin="a")).rounds == 1
            assert store.add(Batch(rounds=[later, first], origin="b")).rounds == 0
            self.check(store, [first])
            store.remove("a")
            self.check(store, [first])
            store.remove("b")
            self.check(store, [])
            assert store.add(Batch(rounds=[later], origin="b")).rounds == 1
            self.check(store, [later])
            store.remove("b", for_good=True)
            assert store.add(Batch(rounds=[first], origin="a")).rounds == 0
            self.check(store, [])

    @SETTINGS
    @given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
    def test_rounds_that_only_their_keys_tell_apart_stay_known_when_some_of_them_go(
        self, order: Sequence[int], going: set[int]
    ) -> None:
        plain = msgspec.structs.replace(witness("usage", 0).round, key=b"\xff\xff\xff", response_id=None)
        rounds = [own(n, PricedRound(plain, Cost("none"))) for n in range(6)]
        with self.place() as open_store, closing(open_store()) as store:
            for n in order:
                store.add(Batch(rounds=[rounds[n]], origin="going" if n in going else "staying"))
            store.remove("going")
            staying = [rounds[n] for n in range(6) if n not in going]
            assert store.add(Batch(rounds=staying)).rounds == 0
            page = store.rounds("agent:main:main")
            assert {s.round.request_id for s in page.rounds} == {p.round.request_id for p in staying}
            assert store.add(Batch(rounds=rounds)).rounds == len(going)
            assert store.add(Batch(rounds=rounds)).rounds == 0
            assert store.verify() == []


def witness(kind: str, offset: int, *, number: int | None = None, **more: Any) -> PricedRound:
    """A round of a kind, so many milliseconds after the first moment, under the one id."""
    r = Round(key=b"\0\0\0", source=kind, started_at=MOMENTS[0] + offset, session_id="agent:main:main")
    fields = {"session_source": "header", "model": "gpt-5.4", "response_id": "chatcmpl-1", "usage": Usage(100, 10)}
    r = msgspec.structs.replace(r, **{**fields, **more})
    made = own(KINDS.index(kind) + 10 * offset if number is None else number, PricedRound(r, Cost("none")))
    return PricedRound(msgspec.structs.replace(made.round, response_id="chatcmpl-1"), made.cost)
