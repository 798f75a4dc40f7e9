"""What every store must do with sessions that turn out to be one, whatever comes first.

What a store says is compared with a fresh store that was given the same rounds under the names that they have in
the end, which a few lines of plain Python give them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from monitor.prices.money import Cost
from monitor.rounds import Round, Usage
from monitor.store.base import Batch, PricedRound, SessionName, Store
from tests.store.conformance import MOMENTS, SESSIONS, SETTINGS, own, snapshot
from tests.store.conformance_calls import CallConformance, arrivals, counting, sources, without_sources, witness

KEY, ID = "agent:main:main", "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b"
#: What OpenClaw may tell of the sessions that the rounds of these tests are in.
NAMES = {ID: KEY, "AGENT:MAIN:MAIN": KEY, "100%_done\\'\"; DROP TABLE round": SESSIONS[1], "never-seen": KEY}


def renamed(rounds: Iterable[PricedRound], names: Mapping[str, str]) -> list[PricedRound]:
    """The rounds under the names that they have in the end."""
    return [
        PricedRound(
            msgspec.structs.replace(p.round, session_id=names.get(p.round.session_id or "", p.round.session_id)), p.cost
        )
        for p in rounds
    ]


def with_aliases(priced: PricedRound, names: Mapping[str, str]) -> PricedRound:
    """The round with all other names of its session."""
    aliases = tuple(name for name, key in names.items() if key == priced.round.session_id)
    return PricedRound(msgspec.structs.replace(priced.round, session_aliases=aliases), priced.cost)


class NameConformance(CallConformance):
    """The scenarios, on top of those of calls that several sources saw."""

    def check_names(self, store: Store, rounds: Iterable[PricedRound], names: Mapping[str, str]) -> None:
        """The store says what a fresh one says of the rounds under the names that they have in the end."""
        assert store.verify() == []
        found = counting(renamed(rounds, names))
        with self.place() as open_store, closing(open_store()) as fresh:
            fresh.add(Batch(rounds=[with_aliases(priced, names) for priced, _ in found]))
            said, right = snapshot(store), snapshot(fresh)
            assert without_sources(said) == without_sources(right)
            assert self.more(store) == self.more(fresh)
        seen: dict[str | None, set[str]] = {}
        for priced, kinds in found:
            if priced.round.session_id is not None:
                seen.setdefault(priced.round.session_id, set()).update(kinds)
        assert {name: kinds for (name, _), kinds in sources(said).items() if name is not None} == seen
        for name, key in names.items():
            assert store.session(name) == store.session(key)

    @SETTINGS
    @given(arrivals(), st.data())
    def test_rounds_are_where_their_names_lead_whatever_comes_first(
        self, batches: list[list[PricedRound]], data: st.DataObject
    ) -> None:
        with self.place() as open_store, closing(open_store()) as store:
            known: list[PricedRound] = []
            told: dict[str, str] = {}
            for batch in batches:
                new = data.draw(st.lists(st.sampled_from(sorted(NAMES)), max_size=2))
                together = data.draw(st.booleans())
                names = [SessionName(name, NAMES[name]) for name in new]
                if not together:
                    store.add(Batch(names=names))
                store.add(Batch(rounds=batch, names=names if together else []))
                known += batch
                told |= {name: NAMES[name] for name in new}
                self.check_names(store, known, told)

    @SETTINGS
    @given(arrivals(), st.sets(st.sampled_from(sorted(NAMES))))
    def test_a_file_goes_from_where_its_rounds_were_moved_to(
        self, batches: list[list[PricedRound]], told: set[str]
    ) -> None:
        names = {name: NAMES[name] for name in told}
        with self.place() as open_store, closing(open_store()) as store:
            records = [p for batch in batches for p in batch if p.round.source == "usage"]
            others = [p for batch in batches for p in batch if p.round.source != "usage"]
            store.add(Batch(rounds=records, origin="monday"))
            store.add(Batch(rounds=others))
            store.add(Batch(names=[SessionName(name, key) for name, key in names.items()]))
            store.remove("monday")
            self.check_names(store, others, names)

    def test_the_gateways_calls_come_to_the_key_that_is_told_later(self) -> None:
        logged = [
            witness("higress", 0, session_id=ID, consumer="platform"),
            alone(1, ID, at=5000),
            alone(2, KEY, at=9000),
        ]
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=logged))
            assert store.session_count() == 2
            added = store.add(Batch(names=[SessionName(ID, KEY)]))
            assert added.sessions == (KEY,) or set(added.sessions) == {ID, KEY}
            assert store.session_count() == 1
            record = store.session(ID)
            assert record is not None
            assert (record.session_id, record.agent, record.aliases) == (KEY, "main", (ID,))
            assert sum(part.counts.rounds for part in record.slices) == 3
            assert [s.number for s in store.rounds(KEY).rounds] == [1, 2, 3]
            assert set(store.by("agent")) == {"main"}
            self.check_names(store, logged, {ID: KEY})

    def test_of_two_keys_for_one_id_the_first_holds_and_circles_lead_nowhere(self) -> None:
        rounds = [alone(0, ID)]
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=rounds, names=[SessionName(ID, KEY), SessionName(ID, "agent:main:other")]))
            store.add(Batch(names=[SessionName(KEY, ID), SessionName("x", ID), SessionName(KEY, "agent:main:third")]))
            store.add(Batch(names=[SessionName(KEY, KEY)]))
            self.check_names(store, rounds, {ID: KEY})

    def test_a_name_that_was_only_said_gives_way_to_the_one_that_is_known(self) -> None:
        liar = msgspec.structs.replace(alone(0, "agent:main:liar").round, session_aliases=(ID,))
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=[PricedRound(liar, Cost("none"))]))
            assert store.session(ID) is not None
            store.add(Batch(names=[SessionName(ID, KEY)]))
            assert store.session(ID) is None
            store.add(Batch(rounds=[PricedRound(liar, Cost("none")), alone(1, ID)]))
            record = store.session(ID)
            assert record is not None
            assert record.session_id == KEY
            assert store.verify() == []

    def test_sessions_that_were_started_by_others_are_found_from_above(self) -> None:
        rounds = [alone(n, name) for n, name in enumerate((KEY, "agent:main:subagent:1", "agent:main:subagent:2"))]
        names = [
            SessionName("id-0", KEY, channel="telegram"),
            SessionName("id-1", "agent:main:subagent:1", parent=KEY),
            SessionName("id-2", "agent:main:subagent:2", parent="agent:main:subagent:1"),
            SessionName("id-3", "agent:main:subagent:3", parent=KEY),
        ]
        with self.place() as open_store, closing(open_store()) as store:
            store.add(Batch(rounds=rounds, names=names))
            assert [r.session_id for r in store.started_by("id-0")] == [n.session_id for n in names[1:3]]
            assert [r.session_id for r in store.started_by(names[1].session_id)] == ["agent:main:subagent:2"]
            assert store.started_by("nobody") == []
            first, second = store.session(KEY), store.session("id-1")
            assert first is not None
            assert second is not None
            assert (first.channel, first.parent_session) == ("telegram", None)
            assert (second.channel, second.parent_session) == ("subagent", KEY)
            # Who starts each other has each other below, and no end is waited for.
            store.add(Batch(names=[SessionName("id-4", KEY, parent="agent:main:subagent:2")]))
            assert len(store.started_by(KEY)) == 2


def alone(number: int, session_id: str, *, at: int = 0) -> PricedRound:
    """A round that nothing else saw."""
    r = Round(
        key=b"\0\0\0",
        source="higress",
        started_at=MOMENTS[0] + at + number,
        session_id=session_id,
        session_source="header",
        model="gpt-5.4",
        usage=Usage(100, 10),
    )
    return own(900 + number, PricedRound(r, Cost("none")))
