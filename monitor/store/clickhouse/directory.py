"""A data directory as it is copied into a fleet's store: its rows by the names that theirs have there.

One snapshot is read, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monitor.rounds import START, Conversation, Position
from monitor.session_keys import is_made_id, is_passing
from monitor.store.base import Content
from monitor.store.clickhouse.rows import COUNTS, Row
from monitor.store.history import History
from monitor.store.labels import Labels
from monitor.store.rows import CONTENT, SOURCE_BITS, ms_of, round_id, started_at
from monitor.store.schema import COUNTS as SUM_NAMES
from monitor.store.schema import connect
from monitor.store.sqlite import DATABASE

#: Rounds of a page.
PAGE = 5000
_OWN = (
    "{t}.rid, {t}.key, {t}.facet, {t}.model, {t}.price, {t}.input, {t}.output, {t}.reasoning, {t}.cached, "
    "{t}.cache_write, {t}.cache_write_1h, {t}.nano, {t}.latency, {t}.ttft, {t}.status, {t}.turn, {t}.opening, "
    "{t}.flags, {t}.request_id, {t}.response_id, {t}.extra, {t}.reported"
)
#: Calls that one source saw, then what each source said of the others. Of both: the session (empty where it names
#: none), whether it counts under its own id, and the first question of its session where it stands here.
_PAGES = {
    "round": f"SELECT iif(s.kind, '', s.session_id), 1, iif(s.question_at = r.rid, ifnull(s.question, ''), NULL), "
    f"{_OWN.format(t='r')} FROM round AS r JOIN session AS s ON s.sid = r.sid "
    "WHERE r.rid > ? AND NOT EXISTS (SELECT 1 FROM witness AS w WHERE w.rid = r.rid) ORDER BY r.rid LIMIT ?",
    "witness": f"SELECT ifnull(n.value, ''), r.rid IS NOT NULL, "
    "iif(s.question_at = r.rid, ifnull(s.question, ''), NULL), "
    f"{_OWN.format(t='w')} FROM witness AS w LEFT JOIN name AS n ON n.id = w.session "
    "LEFT JOIN round AS r ON r.rid = w.rid LEFT JOIN session AS s ON s.sid = r.sid "
    "WHERE w.rid > ? ORDER BY w.rid LIMIT ?",
}
#: Conversations whose last messages are remembered, so that the next round costs only what it adds.
_REMEMBERED = 64
_BEFORE_ALL = -(1 << 63)


class Record(NamedTuple):
    """What a source said of a call: as a row under the session that it names, and under the id that it had."""

    row: Row
    counts: bool
    rid: int


class Cell(NamedTuple):
    """Sums of rounds of a session that were pruned, all of one quarter of an hour, one place and one price."""

    quarter: int
    place: dict[str, str]
    #: The sums by their names; see `monitor.store.base.Counts`.
    sums: dict[str, Any]


class Told(NamedTuple):
    """What a session tells of itself and its pruned rounds tell no longer. Ids of rounds are the directory's."""

    kind: int
    session: str
    inferred: bool
    sources: int
    first_at: int
    last_at: int
    model: str
    model_at: int
    consumer: str
    consumer_at: int
    question: str | None
    question_at: int | None


class Directory:
    """What is in the directory at one moment.

    Raises:
        StoreError: there is nothing that can be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        self.db = connect(self.path, read_only=True)
        self.db.execute("BEGIN")
        self._labels = Labels(self.db)
        self._history = History(folder, read_only=True)
        self._facets: dict[int, dict[str, str]] = {}
        self._trails = _Trails()

    def close(self) -> None:
        """Let go of the files."""
        self.db.close()
        self._history.close()

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def number(self, sql: str) -> int:
        """The one number that a question gives."""
        return int(self.db.execute(sql).fetchone()[0] or 0)

    def meta(self, name: str) -> int | None:
        """A number that has a name."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    # -- rounds -----------------------------------------------------------------------------------

    def pages(self, table: str) -> Iterator[list[Record]]:
        """All records of ``round`` that stand in it alone, or of ``witness``, in the order of their time."""
        after = _BEFORE_ALL
        while page := self.db.execute(_PAGES[table], (after, PAGE)).fetchall():
            yield [self._record(*values) for values in page]
            after = page[-1][3]

    def _record(self, session: str, counts: int, question: str | None, rid: int, key: bytes, *rest: Any) -> Record:
        facet, model, price, *figures, flags, request_id, response_id, extra, reported = rest
        at = started_at(rid)
        place = self._facet(facet)
        values: dict[str, Any] = (
            dict(zip(_FIGURES, figures, strict=True))
            | place
            | self._price(price)
            | {
                "session": session,
                "rid": round_id(at, key),
                "key": key,
                "state": COUNTS,
                "moved": "",
                "at": at,
                "model": self._labels.name(model) or "",
                "flags": flags,
                "sources": SOURCE_BITS.get(place["source"], 0),
                "request_id": request_id,
                "response_id": response_id,
                "extra": extra.encode() if extra else None,
                "reported": reported,
                "question": question,
                "chain": "",
                "said_key": b"",
                "ver": 1,
            }
        )
        return Record(Row(**values), bool(counts), rid)

    def _facet(self, number: int) -> dict[str, str]:
        known = self._facets.get(number)
        if known is None:
            ids = self.db.execute(f"SELECT {', '.join(_PLACE)} FROM facet WHERE id = ?", (number,)).fetchone()
            known = {name: self._labels.name(id_) or "" for name, id_ in zip(_PLACE, ids, strict=True)}
            if len(self._facets) < 100_000:
                self._facets[number] = known
        return known

    def _price(self, number: int) -> dict[str, str]:
        tag = self._labels.price(number)
        return {
            "price_status": tag.status,
            "currency": tag.currency or "",
            "price_source": tag.source or "",
            "price_version": tag.version or "",
            "reported_currency": tag.reported_currency or "",
        }

    # -- conversations ----------------------------------------------------------------------------

    def said(self, row: Row) -> Conversation | None:
        """What was said in a round, as it came in; None where it is not kept."""
        content = self._history.read(row.key, row.at) if row.flags & CONTENT else None
        return None if content is None else self._trails.conversation(row.session or row.key.hex(), content)

    # -- names ------------------------------------------------------------------------------------

    def made_names(self, sessions: Sequence[str]) -> dict[str, list[str]]:
        """The names of sessions that are ids of OpenClaw's, as requests said them: rounds may come under these."""
        found: dict[str, list[str]] = {}
        for start in range(0, len(sessions), 500):
            some = sessions[start : start + 500]
            for session, name in self.db.execute(
                "SELECT s.session_id, n.name FROM session AS s JOIN session_name AS n ON n.sid = s.sid "
                f"WHERE s.kind = 0 AND s.session_id IN ({','.join('?' * len(some))}) AND n.name != s.session_id",
                some,
            ):
                if is_made_id(name):
                    found.setdefault(session, []).append(name)
        return found

    def origins(self, records: Sequence[Record]) -> dict[int, list[str]]:
        """The files in which records stand, by the ids of these."""
        found: dict[int, list[str]] = {}
        low, high = records[0].rid, records[-1].rid
        for rid, file in self.db.execute(
            "SELECT o.rid, n.value FROM origin AS o JOIN name AS n ON n.id = o.file WHERE o.rid BETWEEN ? AND ?",
            (low, high),
        ):
            found.setdefault(rid, []).append(file)
        return found

    # -- what was pruned --------------------------------------------------------------------------

    def cells(self) -> Iterator[tuple[Told, list[Cell]]]:
        """The sums of rounds that were pruned, by quarters of an hour and sessions."""
        before: tuple[int, int] | None = None
        cells: list[Cell] = []
        for rid, sid, facet, model, price, *sums in self.db.execute(
            f"SELECT rid, sid, facet, model, price, {', '.join(SUM_NAMES)} FROM pruned ORDER BY rid, sid"
        ):
            if before is not None and before != (rid, sid):
                yield self._told(before[1]), cells
                cells = []
            before = rid, sid
            place = {**self._facet(facet), **self._price(price), "model": self._labels.name(model) or ""}
            cells.append(Cell(ms_of(rid), place, dict(zip(SUM_NAMES, sums, strict=True))))
        if before is not None:
            yield self._told(before[1]), cells

    def _told(self, sid: int) -> Told:
        kind, session, inferred, sources, first, last, model, model_at, consumer, consumer_at, question, question_at = (
            self.db.execute(
                "SELECT kind, session_id, inferred, sources, first_at, last_at, model, model_at, consumer, "
                "consumer_at, question, question_at FROM session WHERE sid = ?",
                (sid,),
            ).fetchone()
        )
        return Told(
            kind,
            session,
            bool(inferred),
            sources,
            first,
            last,
            self._labels.name(model) or "",
            model_at,
            self._labels.name(consumer) or "",
            consumer_at,
            question,
            question_at,
        )

    def digests(self) -> Iterator[tuple[int, bytes]]:
        """What is left of the keys of rounds that were pruned, by their quarter of an hour."""
        yield from self.db.execute("SELECT at, digests FROM pruned_key ORDER BY at")


_PLACE = ("source", "consumer", "route", "function", "user_id", "agent", "host")
_FIGURES = ("input", "output", "reasoning", "cached", "cache_write", "cache_write_1h", "nano", "latency", "ttft",
            "status", "turn", "opening")  # fmt: skip


class _Trails:
    """Makes conversations of what was kept of them; of a round that follows another only what it adds is digested."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes | None, tuple[bytes, ...], list[Position]]] = {}

    def conversation(self, name: str, content: Content) -> Conversation:
        """What was said as it came in; `name` is that of the session, or any other."""
        messages = content.messages or ()
        system, before, trail = self._known.pop(name, (None, (), []))
        same = 0
        if system == content.system:
            for one, other in zip(messages, before, strict=False):
                if one is not other and one != other:
                    break
                same += 1
        start = Position.start(content.system)
        at = trail[same - 1] if same else start
        trail = [*trail[:same], *at.trail(messages[same:])]
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[name] = content.system, messages, trail
        new_from = content.new_from if content.new_from < len(messages) else 0
        return Conversation(
            messages[new_from:],
            trail[-1] if trail else start,
            trail[new_from - 1] if new_from else START,
            (lambda: messages) if new_from else None,
            content.system,
            content.truncated,
            content.question,
            content.answer,
            content.reasoning,
            content.tool_calls,
            _passing(messages[new_from:]),
        )


def _passing(messages: Sequence[bytes]) -> int:
    return 1 if messages and is_passing(messages[-1]) else 0
