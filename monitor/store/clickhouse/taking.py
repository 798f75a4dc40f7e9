"""Rounds of a data directory come into a fleet's store, a page at a time, where its own nodes would put them.

What each source said is written as if it had just been read, and calls that several saw are then settled from it. So
it does not matter what is there already: from a copy that was interrupted, or from nodes that read the same logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from monitor.rounds import Conversation, Round
from monitor.session_keys import name_digest
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.directory import Directory, Record
from monitor.store.clickhouse.gone import gone
from monitor.store.clickhouse.history import History
from monitor.store.clickhouse.joining import Joiner
from monitor.store.clickhouse.naming import Names, left
from monitor.store.clickhouse.rows import COUNTS, PRUNED, Row, agent_of
from monitor.store.clickhouse.schema import ORIGIN
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import among, ask, cut, write, write_rounds
from monitor.store.clickhouse.writing import Place, Writer
from monitor.store.previews import preview
from monitor.store.rows import CONTENT

#: Conversations that are in memory at once.
_AT_ONCE = 500


class Taker:
    """Takes pages of records."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        state: State,
        writer: Writer,
        names: Names,
        joiner: Joiner,
    ) -> None:
        self._db = db
        self._directory = directory
        self._writer = writer
        self._names = names
        self._joiner = joiner
        self._history = History(db)
        self._state = state
        self._silenced: frozenset[bytes] = frozenset()

    def take(self, page: Sequence[Record], *, joined: bool) -> int:
        """Keep a page of records; gives how many of them are new and count. `joined`: several sources saw the calls."""
        # Others go on meanwhile.
        self._silenced = self._state.silenced()
        sessions = list(dict.fromkeys(record.row.session for record in page))
        homes = self._names.canonical(sessions)
        aliases = self._live_aliases(sessions)
        places: dict[bytes, list[Place]] = {
            row.key: [(name, row.rid, row.key) for name in dict.fromkeys((homes[row.session], row.session))]
            + [(name, row.rid, row.key) for name in aliases.get(row.session, ())]
            for row, _, _ in page
        }
        there = self._writer.look(place for some in places.values() for place in some)
        found = {key: next((place for place in some if place in there), None) for key, some in places.items()}
        new = [record for record in page if found[record.row.key] is None]
        pruned = self._pruned(record.row for record in new)
        new = [record for record in new if record.row.key not in pruned]
        rows = self._keep(new, homes)
        # Rounds of a session that came under another of its names are looked for there.
        marks = [
            left(row, row.session, 1)._replace(session=name)
            for row, record in zip(rows, new, strict=True)
            for name in aliases.get(record.row.session, ())
            if name != row.session
        ]
        write_rounds(self._db, marks)
        self._note_origins(page, {row.key: (row.session, row.rid, row.key) for row in rows}, found)
        touched = [row.session for row in rows if row.session]
        touched += self._settle([record.row for record in page if record.row.key not in pruned], joined=joined)
        self._writer.note_grown(touched)
        return sum(record.counts for record in new)

    def _live_aliases(self, sessions: Sequence[str]) -> dict[str, list[str]]:
        """Other names of sessions under which there are rounds, since somebody wrote these before he knew."""
        made = self._directory.made_names([name for name in sessions if name])
        if not made:
            return {}
        live = self._names.with_rounds(name for some in made.values() for name in some)
        return {session: [name for name in some if name in live] for session, some in made.items()}

    def _pruned(self, rows: Iterable[Row]) -> set[bytes]:
        """The keys of those that another directory had counted, and pruned."""
        asked = [Round(key=r.key, source=r.source, started_at=r.at, response_id=r.response_id) for r in rows]
        return gone(self._db, asked) if asked else set()

    # -- what is written --------------------------------------------------------------------------

    def _keep(self, new: Sequence[Record], homes: dict[str, str]) -> list[Row]:
        rows: list[Row] = []
        for some in cut(new, _AT_ONCE):
            kept: list[Row] = []
            speaking: list[tuple[Row, Conversation]] = []
            for record in some:
                row, conversation = self._said(record.row, homes[record.row.session])
                if conversation is not None:
                    speaking.append((row, conversation))
                kept.append(row)
            if speaking:
                placed = {row.key: row for row in self._history.write(speaking)}
                kept = [placed.get(row.key, row) for row in kept]
            rows += kept
        write_rounds(self._db, rows)
        return rows

    def _said(self, own: Row, home: str) -> tuple[Row, Conversation | None]:
        """The row in its session, and what was said in it."""
        row = own if home == own.session else own._replace(session=home, agent=agent_of(home))
        if own.session and not self._silenced.isdisjoint((name_digest(home), name_digest(own.session))):
            return row._replace(flags=row.flags & ~CONTENT, question=None), None
        conversation = self._directory.said(own)
        if conversation is not None and row.question is None:
            row = row._replace(question=preview(conversation.question))
        return row, conversation

    def _note_origins(self, page: Sequence[Record], new: dict[bytes, Place], found: dict[bytes, Place | None]) -> None:
        files = self._directory.origins(page)
        rows = []
        for record in page:
            place = new.get(record.row.key) or found[record.row.key]
            if place is not None:
                session, rid, key = place
                rows += [(key, file, session, rid, record.row.at, True, 1) for file in files.get(record.rid, ())]
        write(self._db, ORIGIN, rows)

    # -- calls that several sources saw -----------------------------------------------------------

    def _settle(self, rows: Sequence[Row], *, joined: bool) -> list[str]:
        calls = [(row.response_id, row.rid) for row in rows if row.response_id]
        if not joined and calls:
            others = self._seen_by_others(rows) if len(self._state.kinds()) > 1 else set()
            calls = [call for call in calls if call[0] in others]
        return self._joiner.settle(calls) if calls else []

    def _seen_by_others(self, rows: Sequence[Row]) -> set[str]:
        """The response ids of rounds that are there besides these."""
        mine = {row.key for row in rows}
        found: set[str] = set()
        for some in cut(sorted({row.response_id for row in rows if row.response_id})):
            for response_id, key in ask(
                self._db,
                f"SELECT response_id, key FROM round FINAL WHERE response_id IN {among(some)} "
                f"AND state IN ({COUNTS}, {PRUNED})",
                ("key",),
            ):
                if key not in mine:
                    found.add(response_id)
        return found
