"""Two witnesses of one call count once: the gateway's log and a transcript, or a usage record of its own.

By the same rules as in the embedded store (`monitor.store.joining`): what carries one response id and lies close
together in time is one cluster; the kind that is believed first counts, the others stand behind the nearest of it.
Every witness is kept as it was told in ``witness``, so that the outcome depends on what there is and never on what
came first. Nothing locks here. A record is written as one that counts, and only then its cluster is looked at: of two
nodes that write the two witnesses of a call at the same moment, one at least sees both, and both come to the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.naming import Names, left, quiet
from monitor.store.clickhouse.rows import COUNTS, PRUNED, Row, agent_of
from monitor.store.clickhouse.schema import WITNESS
from monitor.store.clickhouse.tables import BLOBS, among, ask, cut, now, rounds, write, write_rounds
from monitor.store.joining import APART_MS, MOST
from monitor.store.rows import (
    CONTENT,
    CONVENTION,
    INFERRED,
    LOST_COUNTS,
    LOWER_BOUND,
    NORMAL,
    SOURCE_BITS,
    STREAM,
    SUCCESS,
    TOOL_CALLS,
    ms_of,
)

_KINDS = list(SOURCE_BITS)
#: Taken together from the witness that has counts.
_METERED = ("model", "host", "input", "output", "reasoning", "cached", "cache_write", "cache_write_1h", "nano",
            "price_status", "currency", "price_source", "price_version")  # fmt: skip
#: Taken one by one from the first witness that knows.
_FIRST_KNOWN = ("latency", "ttft", "status", "turn", "opening", "request_id", "extra", "question")
_FIRST_TEXT = ("consumer", "route", "function", "user_id")


class _Place(NamedTuple):
    rid: int
    key: bytes


class _Entry(msgspec.Struct):
    """One witness: what its source said."""

    own: Row
    #: The row that counts under its place, as it stands.
    present: Row | None = None
    #: The place behind which it stands in ``witness``.
    counted: _Place | None = None

    @property
    def place(self) -> _Place:
        return _Place(self.own.rid, self.own.key)

    @property
    def kind(self) -> int:
        return _KINDS.index(self.own.source) if self.own.source in _KINDS else len(_KINDS)


class Joiner:
    """Settles what counts of the calls under some response ids, through one connection."""

    def __init__(self, db: Database, names: Names) -> None:
        self._db = db
        self._names = names

    def settle(self, calls: Iterable[tuple[str, int]]) -> list[str]:
        """Bring the calls with these response ids, near these ids of rounds, up to date.

        Gives the sessions whose sums changed.
        """
        near: dict[str, tuple[int, int]] = {}
        for response_id, rid in calls:
            low, high = near.get(response_id, (rid, rid))
            near[response_id] = min(low, rid), max(high, rid)
        out: list[Row] = []
        witnesses: list[tuple[Any, ...]] = []
        touched: dict[str, None] = {}
        for some in cut(sorted(near), 500):
            ids = {response_id: near[response_id] for response_id in some}
            for entries, pruned in self._entries(ids):
                self._settle(entries, pruned, out, witnesses)
        for row in out:
            touched |= {row.session: None}
        # Witnesses first: what counts can be worked out again from them.
        write(self._db, WITNESS, witnesses)
        write_rounds(self._db, out)
        return [session for session in touched if session]

    # -- what is known ----------------------------------------------------------------------------

    def _entries(self, ids: dict[str, tuple[int, int]]) -> list[tuple[list[_Entry], list[Row]]]:
        """The witnesses of each id that may belong together, oldest first, and rounds of it that were pruned."""
        low, high = min(b[0] for b in ids.values()), max(b[1] for b in ids.values())
        while True:
            found = self._fetch(ids, low, high)
            rids = [e.own.rid for entries, _ in found for e in entries]
            lowest, highest = min(rids, default=low), max(rids, default=high)
            if lowest >= low and highest <= high:
                return found
            low, high = min(low, lowest), max(high, highest)

    def _fetch(self, ids: Iterable[str], low: int, high: int) -> list[tuple[list[_Entry], list[Row]]]:
        begin, end = low - (APART_MS + 1 << 22), high + (APART_MS + 1 << 22)
        between = f"response_id IN {among(ids)} AND rid >= {begin} AND rid <= {end}"
        months = f"at >= {max(0, ms_of(begin))} AND at <= {max(0, ms_of(end))}"
        present = {
            _Place(row.rid, row.key): row
            for row in rounds(self._db, f"{between} AND {months} AND state IN ({COUNTS}, {PRUNED})")
        }
        names = ", ".join(WITNESS.names)
        entries: dict[str, list[_Entry]] = {}
        for *values, rid, key, ver in ask(
            self._db, f"SELECT {names} FROM witness FINAL WHERE {between} AND state = {COUNTS}", BLOBS
        ):
            own = Row._make((*values, ver))
            there = present.pop(_Place(own.rid, own.key), None)
            entry = _Entry(own, there if there is None or there.state == COUNTS else None, _Place(rid, key))
            entries.setdefault(own.response_id or "", []).append(entry)
        pruned: dict[str, list[Row]] = {}
        for row in present.values():
            if row.state == PRUNED:
                pruned.setdefault(row.response_id or "", []).append(row)
            else:
                entries.setdefault(row.response_id or "", []).append(_Entry(row, row))
        for some in entries.values():
            some.sort(key=lambda e: e.place)
        return [(some, pruned.get(response_id, [])) for response_id, some in entries.items()]

    # -- one id -----------------------------------------------------------------------------------

    def _settle(
        self, entries: Sequence[_Entry], pruned: Sequence[Row], out: list[Row], witnesses: list[tuple[Any, ...]]
    ) -> None:
        version = now()
        cluster: list[_Entry] = []
        for entry in entries:
            if entry.counted is None and any(
                _apart(entry.own.rid, row.rid) <= APART_MS and row.sources & ~SOURCE_BITS.get(entry.own.source, 0)
                for row in pruned
            ):
                # The call is in the sums already, and what it was merged from is gone.
                out.append(quiet(entry.own, version))
                continue
            if cluster and _apart(entry.own.rid, cluster[-1].own.rid) > APART_MS:
                self._count(cluster, version, out, witnesses)
                cluster = []
            cluster.append(entry)
        if cluster:
            self._count(cluster, version, out, witnesses)

    def _count(self, cluster: list[_Entry], version: int, out: list[Row], witnesses: list[tuple[Any, ...]]) -> None:
        first = min(e.kind for e in cluster)
        together = len(cluster) <= MOST and any(e.kind != first for e in cluster)
        if not together and all(e.counted is None for e in cluster):
            return
        homes = self._names.canonical(e.own.session for e in cluster)
        leaders = [e for e in cluster if e.kind == first or not together]
        behind: dict[_Place, list[_Entry]] = {e.place: [e] for e in leaders}
        for entry in cluster:
            if together and entry.kind != first:
                rid = entry.own.rid
                nearest = min(leaders, key=lambda e: (_apart(e.own.rid, rid), e.place))
                behind[nearest.place].append(entry)
        for entry in cluster:
            group = behind.get(entry.place)
            if group is None:
                if entry.present is not None:
                    out.append(quiet(entry.present, version))
                continue
            group.sort(key=lambda e: (e is not entry, e.kind, e.place))
            _place(entry, _merged(group, homes), homes, version, out)
        for place, group in behind.items():
            for entry in group:
                if together and entry.counted != place:
                    witnesses.append((*entry.own[:-1], *place, version))
                elif not together and entry.counted is not None:
                    witnesses.append((*entry.own._replace(state=0)[:-1], *entry.counted, version))


def _place(entry: _Entry, wanted: Row, homes: dict[str, str], version: int, out: list[Row]) -> None:
    """Let `wanted` count at its place, and nothing where it counted before."""
    present = entry.present
    if present is not None and present._replace(ver=0) == wanted._replace(ver=0):
        return
    before = homes[entry.own.session] if present is None else present.session
    out.append(wanted._replace(ver=version))
    if before != wanted.session:
        out.append(left(wanted._replace(session=before), wanted.session, version))


def _merged(group: Sequence[_Entry], homes: dict[str, str]) -> Row:
    """What counts for a call: `group` are its witnesses, the one that is believed first at the beginning."""
    rows = [e.own for e in group]
    lead = rows[0]
    if len(rows) == 1:
        # Since it was kept, its session may have turned out to be another one.
        home = homes[lead.session]
        return lead._replace(session=home, agent=agent_of(home), state=COUNTS, sources=_bits(rows))
    meter = next((r for r in rows if r.input is not None or r.output is not None), lead)
    named = next((r for r in rows if r.session), lead)
    told = next((r for r in rows if r.reported is not None), None)
    said = next((r for r in rows if r.flags & CONTENT), None)
    # Of these bits the first that has any says it; of the others each witness tells for itself.
    form = next((bits for r in rows if (bits := r.flags & (NORMAL | STREAM))), 0)
    flags = (
        (lead.flags & SUCCESS)
        | (meter.flags & (LOWER_BOUND | LOST_COUNTS | CONVENTION))
        | (named.flags & INFERRED)
        | form
    )
    for row in rows:
        flags |= row.flags & (TOOL_CALLS | CONTENT)
    home = homes[named.session]
    changes: dict[str, Any] = {name: getattr(meter, name) for name in _METERED}
    for name in _FIRST_KNOWN:
        changes[name] = next((value for r in rows if (value := getattr(r, name)) is not None), None)
    for name in _FIRST_TEXT:
        changes[name] = next((value for r in rows if (value := getattr(r, name))), "")
    return lead._replace(
        **changes,
        session=home,
        agent=agent_of(home),
        state=COUNTS,
        flags=flags,
        reported=told.reported if told is not None else None,
        reported_currency=told.reported_currency if told is not None else "",
        chain=said.chain if said is not None else "",
        said_key=said.said_key if said is not None else b"",
        sources=_bits(rows),
    )


def _bits(rows: Iterable[Row]) -> int:
    bits = 0
    for row in rows:
        bits |= SOURCE_BITS.get(row.source, 0)
    return bits


def _apart(one: int, other: int) -> int:
    """Milliseconds between the starts that two ids were made of."""
    return abs((one >> 22) - (other >> 22))
