"""Two witnesses of one call count once: the gateway's log and a transcript, or a usage record of its own.

What carries the same response id and lies close together in time is one cluster. Where sources of different
kinds are in it, the rounds of the kind that is believed first count (`SOURCE_BITS` has the order), and each round
of another kind stands behind the nearest of them. What counts has the figures of the first witness that has
tokens, and of everything else what the first witness knows: a usage record adds its function to what the gateway
counted. Every witness is kept as it was told, in the table ``witness``, so that the outcome depends on what
there is and never on what came first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from monitor.store.base import SORT_WEIGHTS
from monitor.store.places import Places
from monitor.store.removing import Question
from monitor.store.rows import (
    CONTENT,
    CONVENTION,
    INFERRED,
    LOST_COUNTS,
    LOWER_BOUND,
    NORMAL,
    ROUND_NAMES,
    SOURCE_BITS,
    STREAM,
    SUCCESS,
    TOOL_CALLS,
    WITNESS_NAMES,
    BatchRow,
    Row,
    started_at,
)

#: A gap of this many milliseconds parts calls under one id: some servers give out few ids, again and again.
APART_MS = 6 * 3_600_000
#: An id that so many rounds carry in one go names no call, and nothing is joined by it.
MOST = 64

#: In ids of rounds, and a little more.
_APART = (APART_MS + 1) << 22
_KINDS = list(SOURCE_BITS)
_FACET = "source, consumer, route, function, user_id, agent, host"


class _Entry(msgspec.Struct):
    """One witness: what its source said."""

    row: Row
    #: The session that it names, by the number of the name.
    session: int
    #: Its source's place in the order of belief.
    kind: int
    facet: tuple[int, ...]
    #: The row of the batch that brings it; None for one that is stored.
    new: BatchRow | None = None
    #: The row of ``round`` under its id as it stands.
    present: Row | None = None
    #: The round that it stood behind before, where it stands in ``witness``.
    counted: int | None = None


class Joined(msgspec.Struct):
    """What joining asks for; `finish` writes down the witnesses once the rounds have moved."""

    #: Rounds to be taken out of every sum before others are added.
    out: list[int] = []
    #: Rows to be added.
    rows: list[BatchRow] = []
    #: Sessions that may be empty then.
    sessions: set[int] = set()
    #: Sessions whose rounds stay as they are and were seen by other sources than before, with the bits of these.
    seen: dict[int, int] = {}
    witnesses: list[tuple[Any, ...]] = []
    alone: list[int] = []

    def finish(self, db: sqlite3.Connection) -> None:
        """Keep the witnesses, in the same transaction."""
        db.executemany("DELETE FROM witness WHERE rid = ?", [(rid,) for rid in self.alone])
        marks = ",".join("?" * (len(Row._fields) + 1))
        db.executemany(
            f"INSERT OR REPLACE INTO witness ({WITNESS_NAMES}, counted) VALUES ({marks})",
            self.witnesses,
        )
        db.executemany("UPDATE session SET sources = sources | ?2 WHERE sid = ?1", self.seen.items())


class Joiner:
    """Finds the witnesses of one call among what is stored and what comes."""

    def __init__(self, db: sqlite3.Connection, places: Places, question: Question) -> None:
        self._db = db
        self._places = places
        self._question = question
        self._kinds = 0
        db.execute("CREATE TEMP TABLE IF NOT EXISTS arriving (response_id TEXT, low INTEGER, high INTEGER, kind TEXT)")

    def forget(self) -> None:
        """Forget which kinds of sources there are."""
        self._kinds = 0

    def join(self, rows: Sequence[BatchRow]) -> Joined | None:
        """What has to move so that `rows`, which are new, count with what is stored; None where nothing joins."""
        if not self._several(rows):
            return None
        arriving: dict[tuple[str, int], tuple[int, int]] = {}
        for row in rows:
            if row[_RESPONSE]:
                key = row[_RESPONSE], row[_BITS]
                low, high = arriving.get(key, (row[0], row[0]))
                arriving[key] = min(low, row[0]), max(high, row[0])
        names = {bit: kind for kind, bit in SOURCE_BITS.items()}
        db = self._db
        db.execute("DELETE FROM arriving")
        db.executemany(
            "INSERT INTO arriving VALUES (?, ?, ?, ?)",
            [(id_, low - _APART, high + _APART, names.get(bit, "")) for (id_, bit), (low, high) in arriving.items()],
        )
        found = db.execute(
            "SELECT DISTINCT response_id FROM arriving AS a WHERE EXISTS (SELECT 1 FROM witness AS w WHERE "
            "w.response_id = a.response_id) OR EXISTS (SELECT 1 FROM round AS r JOIN facet AS f ON f.id = r.facet "
            "JOIN name AS n ON n.id = f.source WHERE r.response_id = a.response_id AND r.rid BETWEEN a.low AND a.high "
            "AND n.value != a.kind) UNION SELECT response_id FROM arriving GROUP BY response_id HAVING count(*) > 1"
        )
        ids = {response_id for (response_id,) in found}
        if not ids:
            return None
        new: dict[str, list[BatchRow]] = {}
        joined = Joined()
        for row in rows:
            if row[_RESPONSE] in ids:
                new.setdefault(row[_RESPONSE], []).append(row)
            else:
                joined.rows.append(row)
        for response_id, some in new.items():
            self._settle(joined, response_id, some, set())
        return joined

    def without(self, rids: Iterable[int]) -> Joined:
        """What has to move so that the stored rounds `rids` are as if they had never come."""
        joined = Joined()
        named: dict[str, list[int]] = {}
        for rid in sorted(rids):
            row = self._db.execute("SELECT response_id FROM witness WHERE rid = ?", (rid,)).fetchone()
            if row is None:
                joined.out.append(rid)
            else:
                named.setdefault(row[0], []).append(rid)
        for response_id, some in named.items():
            self._settle(joined, response_id, [], set(some))
        return joined

    def _several(self, rows: Sequence[BatchRow]) -> bool:
        """Whether sources of more than one kind have told anything."""
        if not self._kinds:
            for (kind,) in self._db.execute(
                "SELECT DISTINCT n.value FROM facet AS f JOIN name AS n ON n.id = f.source"
            ).fetchall():
                self._kinds |= SOURCE_BITS.get(kind, 0)
        for row in rows:
            self._kinds |= row[_BITS]
        return self._kinds & (self._kinds - 1) != 0

    # -- one id -----------------------------------------------------------------------------------

    def _settle(self, joined: Joined, response_id: str, new: Sequence[BatchRow], gone: set[int]) -> None:
        """Work out what counts of the calls under one id."""
        entries = self._stored(response_id, new, gone) + [self._arriving(row) for row in new]
        entries.sort(key=lambda e: e.row.rid)
        cluster: list[_Entry] = []
        for entry in entries:
            if entry.row.rid in gone:
                if entry.present is not None:
                    joined.out.append(entry.row.rid)
                joined.alone.append(entry.row.rid)
                # Whatever it stood behind has one witness less, even where nothing else changes.
                for (sid,) in self._db.execute("SELECT sid FROM round WHERE rid = ?", (entry.counted,)).fetchall():
                    joined.seen.setdefault(sid, 0)
                continue
            if cluster and _apart(entry.row.rid, cluster[-1].row.rid) > APART_MS:
                self._count(joined, cluster)
                cluster = []
            cluster.append(entry)
        if cluster:
            self._count(joined, cluster)

    def _count(self, joined: Joined, cluster: list[_Entry]) -> None:
        first = min(e.kind for e in cluster)
        together = len(cluster) <= MOST and any(e.kind != first for e in cluster)
        leaders = [e for e in cluster if e.kind == first or not together]
        behind: dict[int, list[_Entry]] = {e.row.rid: [e] for e in leaders}
        for entry in cluster:
            if together and entry.kind != first:
                rid = entry.row.rid
                nearest = min(leaders, key=lambda e: (_apart(e.row.rid, rid), e.row.rid))
                behind[nearest.row.rid].append(entry)
        for entry in cluster:
            group = behind.get(entry.row.rid)
            if group is not None:
                group.sort(key=lambda e: (e is not entry, e.kind, e.row.rid))
            before = _bits(e for e in cluster if e is entry or e.counted == entry.row.rid)
            self._move(joined, entry, group, before)
        for rid, group in behind.items():
            for entry in group:
                if together:
                    joined.witnesses.append((*entry.row._replace(sid=entry.session), rid))
                elif entry.counted is not None:
                    joined.alone.append(entry.row.rid)

    def _move(self, joined: Joined, entry: _Entry, group: list[_Entry] | None, before: int) -> None:
        """Let a round count for `group`, or for nothing where that is None; `before` are the sources that saw it."""
        wanted = None if group is None else self._merged(group)
        if entry.present is not None:
            if wanted == entry.present:
                if group is not None and _bits(group) != before:
                    sid = entry.present.sid
                    joined.seen[sid] = joined.seen.get(sid, 0) | _bits(group)
                return
            joined.out.append(entry.row.rid)
        if wanted is not None and group is not None:
            if len(group) == 1 and entry.new is not None:
                joined.rows.append(entry.new)
                return
            at = started_at(wanted.rid)
            joined.rows.append((*wanted, at, _bits(group), self._weight(wanted.price), self._asked(group)))
        if entry.new is not None:
            joined.sessions.add(entry.row.sid)

    # -- what is known ----------------------------------------------------------------------------

    def _arriving(self, row: BatchRow) -> _Entry:
        own = Row(*row[: len(Row._fields)])
        facet = self._facet(own.facet)
        return _Entry(own, self._session_name(own.sid), self._kind(facet[0]), facet, new=row)

    def _stored(self, response_id: str, new: Sequence[BatchRow], gone: set[int]) -> list[_Entry]:
        """What is stored under an id, from the first of `new` or `gone` to the last and in the clusters of these."""
        db = self._db
        if new:
            low, high = min(row[0] for row in new), max(row[0] for row in new)
        else:
            marks = ",".join("?" * len(gone))
            low, high = db.execute(
                f"SELECT min(rid), max(rid) FROM witness WHERE response_id = ? AND rid IN ({marks})",
                (response_id, *gone),
            ).fetchone()
        low, high = self._walk(response_id, low, down=True), self._walk(response_id, high, down=False)
        between = (response_id, low, high)
        present = {
            row[0]: Row(*row)
            for row in db.execute(
                f"SELECT {ROUND_NAMES} FROM round WHERE response_id = ? AND rid BETWEEN ? AND ?", between
            )
        }
        entries = []
        for *row, counted in db.execute(
            f"SELECT {WITNESS_NAMES}, counted FROM witness WHERE response_id = ? AND rid BETWEEN ? AND ?", between
        ).fetchall():
            own = Row(*row)
            facet = self._facet(own.facet)
            there = present.pop(own.rid, None)
            entries.append(_Entry(own, own.sid, self._kind(facet[0]), facet, present=there, counted=counted))
        for own in present.values():
            facet = self._facet(own.facet)
            entries.append(_Entry(own, self._session_name(own.sid), self._kind(facet[0]), facet, present=own))
        return entries

    def _walk(self, response_id: str, begin: int, *, down: bool) -> int:
        """The id of the last round that is reached from `begin` without a gap."""
        order, sign = ("DESC", "<") if down else ("ASC", ">")
        some = (
            f"SELECT rid FROM (SELECT rid FROM {{}} WHERE response_id = ? AND rid {sign} ? "
            f"ORDER BY rid {order} LIMIT ?)"
        )
        at = begin
        rows = self._db.execute(
            f"{some.format('round')} UNION {some.format('witness')} ORDER BY rid {order} LIMIT ?",
            (response_id, begin, MOST + 1) * 2 + (MOST + 1,),
        )
        for (rid,) in rows:
            if _apart(rid, at) > APART_MS:
                break
            at = rid
        return at

    def _facet(self, number: int) -> tuple[int, ...]:
        return tuple(self._db.execute(f"SELECT {_FACET} FROM facet WHERE id = ?", (number,)).fetchone())

    def _kind(self, name: int) -> int:
        kind = self._text(name)
        return _KINDS.index(kind) if kind in _KINDS else len(_KINDS)

    def _text(self, number: int) -> str | None:
        if not number:
            return None
        return str(self._db.execute("SELECT value FROM name WHERE id = ?", (number,)).fetchone()[0])

    def _session_name(self, sid: int) -> int:
        kind, name = self._db.execute("SELECT kind, session_id FROM session WHERE sid = ?", (sid,)).fetchone()
        return 0 if kind else self._places.name(name)

    def _weight(self, price: int) -> float:
        (currency,) = self._db.execute("SELECT currency FROM price WHERE id = ?", (price,)).fetchone()
        return SORT_WEIGHTS.get(currency, 1.0)

    def _asked(self, group: Sequence[_Entry]) -> str | None:
        for entry in group:
            if entry.new is not None:
                if entry.new[-1] is not None:
                    return str(entry.new[-1])
            elif entry.row.flags & CONTENT and (text := self._question(entry.row.rid)) is not None:
                return text
        return None

    # -- what counts ------------------------------------------------------------------------------

    def _merged(self, group: Sequence[_Entry]) -> Row:
        """What counts for a call: `group` are its witnesses, the one that is believed first at the beginning."""
        lead = group[0].row
        if len(group) == 1:
            if group[0].new is not None or group[0].counted is None:
                return lead
            # Since it was kept, its session may have turned out to be another one.
            facet = [*group[0].facet]
            facet[5] = self._agent(group[0])
            return lead._replace(
                sid=self._sid(group[0], facet[1]),
                facet=lead.facet if facet[5] == group[0].facet[5] else self._places.facet_of(facet),
            )
        meter = next((e for e in group if e.row.input is not None or e.row.output is not None), group[0])
        named = next((e for e in group if e.session), group[0])
        facet = [_first(e.facet[place] for e in group) or 0 for place in range(7)]
        facet[0], facet[5], facet[6] = group[0].facet[0], self._agent(named), meter.facet[6]
        # Of these bits the first that has any says it; of the others each witness tells for itself.
        form = _first(e.row.flags & (NORMAL | STREAM) for e in group) or 0
        flags = (
            (lead.flags & SUCCESS)
            | (meter.row.flags & (LOWER_BOUND | LOST_COUNTS | CONVENTION))
            | (named.row.flags & INFERRED)
            | form
        )
        for entry in group:
            flags |= entry.row.flags & (TOOL_CALLS | CONTENT)
        told = next((e for e in group if e.row.reported is not None), None)
        counts = {name: getattr(meter.row, name) for name in _METERED}
        known = {name: _known(getattr(e.row, name) for e in group) for name in _FIRST_KNOWN}
        return lead._replace(
            sid=self._sid(named, facet[1]),
            facet=self._places.facet_of(facet),
            flags=flags,
            price=self._tag(meter.row.price, told.row.price if told is not None else None),
            reported=told.row.reported if told is not None else None,
            **counts,
            **known,
        )

    def _agent(self, named: _Entry) -> int:
        """The agent of the session that a witness names."""
        return self._places.agent(self._text(named.session)) if named.session else named.facet[5]

    def _sid(self, named: _Entry, consumer: int) -> int:
        """The session of a call: that of the witness that names one, else the rounds of its consumer."""
        return self._places.session(self._text(named.session), self._text(consumer))

    def _tag(self, price: int, reported: int | None) -> int:
        """The price of one witness with the currency that another reports in."""
        question = "SELECT status, currency, source, version, reported_currency FROM price WHERE id = ?"
        texts = list(self._db.execute(question, (price,)).fetchone())
        currency = "" if reported is None else self._db.execute(question, (reported,)).fetchone()[4]
        if texts[4] == currency:
            return price
        return self._places.price_of([*texts[:4], currency])


_RESPONSE = Row._fields.index("response_id")
_BITS = len(Row._fields) + 1
_METERED = ("model", "input", "output", "reasoning", "cached", "cache_write", "cache_write_1h", "nano")
_FIRST_KNOWN = ("latency", "ttft", "status", "turn", "opening", "request_id", "extra")


def _apart(one: int, other: int) -> int:
    """Milliseconds between the starts that two ids were made of."""
    return abs((one >> 22) - (other >> 22))


def _bits(group: Iterable[_Entry]) -> int:
    bits = 0
    for entry in group:
        if entry.kind < len(_KINDS):
            bits |= SOURCE_BITS[_KINDS[entry.kind]]
    return bits


def _first(values: Iterable[int]) -> int | None:
    return next((value for value in values if value), None)


def _known(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)
