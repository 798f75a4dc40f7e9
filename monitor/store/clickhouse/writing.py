"""A batch comes in: what is new of it is written so that writing it again, anywhere, changes nothing.

There is no transaction across shards, so the order does its work: conversations, then rounds, then what joins them,
then the checkpoints that say that all this was read. Whoever is stopped in between reads the same lines again, and
finds by their content that they are there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from monitor.rounds import Round, without_text
from monitor.session_keys import name_digest
from monitor.store.base import Added, Batch, PricedRound, StoreAway
from monitor.store.clickhouse import rollups
from monitor.store.clickhouse.budgets import Budgets
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.gone import gone
from monitor.store.clickhouse.history import History
from monitor.store.clickhouse.joining import Joiner
from monitor.store.clickhouse.naming import Names
from monitor.store.clickhouse.rows import FORGOTTEN, MOVED, Row, from_round
from monitor.store.clickhouse.schema import GROWN, ORIGIN
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import among, ask, cut, now, rounds, write, write_rounds
from monitor.store.clickhouse.values import literal

#: (session, rid, key): where a record stands.
Place = tuple[str, int, bytes]
_EVERY_SECONDS = 60
#: So long after a failure what was found may be gone again.
_UNSURE_S = 600.0


class Writer:
    """Adds batches. What it remembers between them can be forgotten at any time."""

    def __init__(
        self,
        db: Database,
        state: State,
        names: Names,
        joiner: Joiner,
        budgets: Budgets,
        history: History | None,
        price_version: str,
    ) -> None:
        self._db = db
        self._state = state
        self._names = names
        self._joiner = joiner
        self._budgets = budgets
        self._history = history
        self.price_version = price_version
        self._kinds: set[str] = set()
        self._clock = 0
        self._settled = 0.0
        #: Whoever was here before may have been stopped in the middle.
        self._unsure_until = time.monotonic() + _UNSURE_S

    def add(self, batch: Batch) -> Added:
        """Keep a batch; see the module."""
        try:
            return self._add(batch)
        except StoreAway:
            self._unsure_until = time.monotonic() + _UNSURE_S
            raise

    def _add(self, batch: Batch) -> Added:
        told = list({p.round.key: p for p in reversed(batch.rounds)}.values())[::-1]
        # Before anything is written: what no column can hold is found out.
        for priced in told:
            from_round(priced, "", self.price_version, keeps=False)
        touched = dict.fromkeys(self._names.learn(batch.names) if batch.names else ())
        grown: list[Row] = []
        if told:
            told = self._as_kept(told)
            homes = self._names.canonical(p.round.session_id or "" for p in told)
            new, known = self._sort(told, homes, by_key=batch.origin is not None)
            grown = self._keep(new, homes)
            self._keep_again(told, known, homes)
            self._names.say((p.round for p, _ in new), homes)
            touched |= dict.fromkeys(row.session for row in grown if row.session)
            if batch.origin is not None:
                self._note_origin(batch.origin, grown, known)
            touched |= dict.fromkeys(self._join(told, grown))
        self.note_grown(touched)
        entries = self._state.of_batch(batch, [row.at for row in grown])
        self._state.write(entries, self._state.node)
        alerts = self._budgets.note(self._budgets.keys(grown))
        if batch.as_of is not None and time.monotonic() - self._settled > _EVERY_SECONDS:
            self.settle()
        return Added(len(grown), len(batch.rounds) - len(grown), tuple(name for name in touched if name), alerts)

    def note_grown(self, sessions: Iterable[str]) -> None:
        """Write down that sessions grew, or became others."""
        names = [name for name in dict.fromkeys(sessions) if name]
        if names:
            ((last,),) = ask(self._db, "SELECT max(ver) FROM grown")
            self._clock = max(time.time_ns() // 1000, (last or 0) + 1, self._clock + 1)
            write(self._db, GROWN, [(name, self._clock) for name in names])

    def settle(self) -> None:
        """Put right what two nodes did at the same moment without knowing of each other, and sum up old days."""
        self._settled = time.monotonic()
        lost = self._names.unsettled()
        if lost:
            self.note_grown(self._names.move(lost))
        rollups.settle(self._db)

    # -- which rounds are new ---------------------------------------------------------------------

    def _sort(
        self, told: Sequence[PricedRound], homes: dict[str, str], *, by_key: bool
    ) -> tuple[list[tuple[PricedRound, int]], list[Place]]:
        """The rounds that are new, with the version that they need, and the places of the others.

        `by_key`: rounds are known by their key although they come with another time.
        """
        places: dict[bytes, list[Place]] = {}
        for p in told:
            raw = p.round.session_id or ""
            rid = from_round(p, "", "", keeps=False).rid
            places[p.round.key] = [(home, rid, p.round.key) for home in dict.fromkeys((homes[raw], raw))]
        if by_key:
            for some in cut([p.round.key for p in told]):
                for key, session, rid in ask(
                    self._db, f"SELECT key, session, rid FROM origin FINAL WHERE key IN {among(some)}", ("key",)
                ):
                    places[key].append((session, rid, key))
        there = self.look(place for some in places.values() for place in some)
        new: list[tuple[PricedRound, int]] = []
        known: list[Place] = []
        for p in told:
            found = [(place, there[place]) for place in places[p.round.key] if place in there]
            at = next((place for place, state in found if state != FORGOTTEN), None)
            if at is not None:
                known.append(at)
            else:
                # What was taken out comes back with a newer version than what took it out.
                new.append((p, now() if found else 1))
        pruned = gone(self._db, (p.round for p, _ in new)) if new else set()
        return [(p, version) for p, version in new if p.round.key not in pruned], known

    def look(self, places: Iterable[Place]) -> dict[Place, int]:
        """What stands at each place; for one that was left, what stands where it went."""
        found: dict[Place, int] = {}
        gone: dict[Place, Place] = {}
        wanted = list(dict.fromkeys(places))
        seen = set(wanted)
        while wanted:
            further: list[Place] = []
            for some in cut(wanted):
                for session, rid, key, state, moved in ask(
                    self._db,
                    f"SELECT session, rid, key, state, moved FROM round FINAL WHERE (session, rid, key) IN "
                    f"({', '.join(literal(place) for place in some)})",
                    ("key",),
                ):
                    if state != MOVED:
                        found[session, rid, key] = state
                        continue
                    gone[session, rid, key] = (moved, rid, key)
                    if (moved, rid, key) not in seen:
                        further.append((moved, rid, key))
                        seen.add((moved, rid, key))
            wanted = further
        for place in gone:
            at, steps = place, 0
            while at in gone and steps < 100:
                at, steps = gone[at], steps + 1
            if at in found:
                found[place] = found[at]
        return found

    def _as_kept(self, told: Sequence[PricedRound]) -> list[PricedRound]:
        """The rounds, without what was said where they belong to a session that was purged."""
        silenced = self._state.silenced()
        if not silenced:
            return list(told)

        def quiet(r: Round) -> bool:
            names = (r.session_id, *r.session_aliases) if r.session_id is not None else ()
            return any(name_digest(name) in silenced for name in names)

        return [PricedRound(without_text(p.round), p.cost) if quiet(p.round) else p for p in told]

    # -- what is written --------------------------------------------------------------------------

    def _keep(self, new: Sequence[tuple[PricedRound, int]], homes: dict[str, str]) -> list[Row]:
        keeps = self._history is not None
        rows = [
            from_round(p, homes[p.round.session_id or ""], self.price_version, keeps=keeps)._replace(ver=version)
            for p, version in new
        ]
        if self._history is not None:
            speaking = [
                (row, p.round.conversation)
                for row, (p, _) in zip(rows, new, strict=True)
                if p.round.conversation is not None
            ]
            if speaking:
                kept = {row.key: row for row in self._history.write(speaking)}
                rows = [kept.get(row.key, row) for row in rows]
        kinds = {row.source for row in rows} - self._kinds
        if kinds:
            self._state.write([("kind", kind.encode(), b"1") for kind in sorted(kinds)])
            self._kinds |= kinds
        write_rounds(self._db, rows)
        return rows

    def _keep_again(self, told: Sequence[PricedRound], known: Sequence[Place], homes: dict[str, str]) -> None:
        """Write what is there already once more, as long as an earlier write may not have reached all replicas.

        An engine shows such rows, and gives them up when it starts anew. As the oldest version of itself a row changes
        nothing where another stands. One that stands elsewhere than it would be put now is old, and sure.
        """
        if time.monotonic() >= self._unsure_until:
            return
        there = set(known)
        rows = (from_round(p, homes[p.round.session_id or ""], self.price_version, keeps=False) for p in told)
        write_rounds(self._db, [row._replace(ver=0) for row in rows if (row.session, row.rid, row.key) in there])

    def _join(self, told: Sequence[PricedRound], grown: Sequence[Row]) -> list[str]:
        """Let calls that several sources saw count once; also those that were there: a crash may have come between."""
        if len(self._kinds) < 2:
            self._kinds |= self._state.kinds()
            if len(self._kinds) < 2:
                return []
        rids = {row.key: row.rid for row in grown}
        calls = []
        for p in told:
            if p.round.response_id:
                rid = rids.get(p.round.key)
                if rid is None:
                    rid = from_round(p, "", "", keeps=False).rid
                calls.append((p.round.response_id, rid))
        return self._joiner.settle(calls) if calls else []

    def _note_origin(self, origin: str, grown: Sequence[Row], known: Sequence[Place]) -> None:
        version = now()
        rows = [(row.key, origin, row.session, row.rid, row.at, True, version) for row in grown]
        if known:
            starts = dict.fromkeys(known, 0)
            for some in cut(known):
                for row in rounds(self._db, f"(session, rid, key) IN ({', '.join(literal(p) for p in some)})"):
                    starts[row.session, row.rid, row.key] = row.at
            rows += [
                (key, origin, session, rid, starts[session, rid, key], True, version) for session, rid, key in known
            ]
        write(self._db, ORIGIN, rows)
