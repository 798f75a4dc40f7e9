"""What a data directory has besides its rounds, as a node of a fleet has it.

What is there already holds: the node may have gone on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from monitor.store.base import Alert, Checkpoint, Feed, SessionName, SkippedLines
from monitor.store.clickhouse.budgets import as_told
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.directory import Directory
from monitor.store.clickhouse.naming import Names
from monitor.store.clickhouse.schema import NAME, STATE
from monitor.store.clickhouse.state import Entry, State, place
from monitor.store.clickhouse.tables import cut, write

_STEP = 1000


class Belongings:
    """Copies what is not a round."""

    def __init__(self, db: Database, directory: Directory, state: State, names: Names) -> None:
        self._db = db
        self._from = directory.db
        self._directory = directory
        self._state = state
        self._names = names

    def before_rounds(self) -> list[str]:
        """What has to be known before a round comes: sessions that are silent, and names.

        Gives the sessions of the store that became others because of it.
        """
        touched: list[str] = []
        self._put([("silenced", digest, b"1") for (digest,) in self._from.execute("SELECT digest FROM silenced")])
        kinds = self._from.execute("SELECT DISTINCT n.value FROM facet AS f JOIN name AS n ON n.id = f.source")
        self._put([("kind", kind.encode(), b"1") for (kind,) in kinds.fetchall() if kind])
        known = [
            SessionName(*row) for row in self._from.execute("SELECT name, session_id FROM known_name ORDER BY name")
        ]
        kin = [
            SessionName(session, session, parent, channel)
            for session, parent, channel in self._from.execute("SELECT session_id, parent, channel FROM known_session")
        ]
        for some in cut([*kin, *known], _STEP):
            touched += self._names.learn(some)
        said = self._from.execute(
            "SELECT n.name, s.session_id FROM session_name AS n JOIN session AS s ON s.sid = n.sid "
            "WHERE s.kind = 0 AND n.name != s.session_id "
            "AND NOT EXISTS (SELECT 1 FROM known_name AS k WHERE k.name = n.name)"
        )
        while rows := said.fetchmany(_STEP):
            there = self._names.lookup(part for row in rows for part in row)
            wanted = []
            for name, session in rows:
                home, only_said = there.get(session, (session, True))
                if name not in there:
                    wanted.append((name, session if only_said else home, True, False, 1))
            write(self._db, NAME, wanted)
        return touched

    def after_rounds(self) -> None:
        """How far everything was read, last of all, and what else a node remembers."""
        db, node = self._from, self._state.node
        self._put(
            [("budget", name.encode(), rule.encode()) for name, rule in db.execute("SELECT name, rule FROM budget")]
        )
        self._put(
            (
                ("feed", row[0].encode(), msgspec.msgpack.encode(Feed(*row)))
                for row in db.execute(
                    "SELECT source, format, rounds, last_at, missed, missed_at, missed_path FROM feed"
                )
            ),
            node,
        )
        self._put(
            (
                ("followed", source.encode(), msgspec.msgpack.encode((kind, settings.encode())))
                for source, kind, settings in db.execute("SELECT source, kind, settings FROM followed")
            ),
            node,
        )
        self._skipped()
        self._alerts()
        self._pruned_at()
        self._checkpoints()
        as_of = self._directory.meta("as_of")
        if as_of is not None:
            self._put([("as_of", b"", b"%d" % as_of)], node)

    def _put(self, entries: Iterable[Entry], owner: str = "") -> None:
        """Write things down that are not there; whoever writes them at the same moment holds."""
        by_kind: dict[str, list[Entry]] = {}
        for entry in entries:
            by_kind.setdefault(entry[0], []).append(entry)
        for kind, some in by_kind.items():
            there = {id_ for whose, id_, _ in self._state.some(kind) if whose == owner}
            self._write([entry for entry in some if entry[1] not in there], owner)

    def _write(self, entries: Iterable[Entry], owner: str) -> None:
        write(self._db, STATE, [(owner, kind, id_, value or b"", False, 1) for kind, id_, value in entries])

    def _skipped(self) -> None:
        """Lines that were no rounds; of those that are there the larger number holds."""
        node = self._state.node
        there = {
            id_: msgspec.msgpack.decode(value, type=SkippedLines).count
            for whose, id_, value in self._state.some("skipped")
            if whose == node
        }
        found = [
            (f"{source}\0{reason}".encode(), SkippedLines(source, reason, number, sample))
            for source, reason, number, sample in self._from.execute("SELECT source, reason, n, sample FROM skipped")
        ]
        more = [("skipped", id_, msgspec.msgpack.encode(s)) for id_, s in found if s.count > there.get(id_, 0)]
        if more:
            self._state.write(more, node)

    def _alerts(self) -> None:
        sendings: dict[int, list[tuple[str, str, int, int, str | None]]] = {}
        for alert, *sending in self._from.execute("SELECT alert, channel, state, tries, next_at, error FROM delivery"):
            sendings.setdefault(alert, []).append(tuple(sending))
        told: list[Entry] = []
        telling: list[Entry] = []
        for number, budget, at, slot, share, limit, crossed_at, facts in self._from.execute(
            'SELECT id, budget, at, slot, share, "limit", crossed_at, facts FROM alert'
        ):
            entry, entries = as_told(
                Alert(budget, at, slot, share, limit, crossed_at, facts.encode(), ()), sendings.get(number, ())
            )
            told.append(entry)
            telling += entries
        self._put(telling, self._state.node)
        self._put(told)

    def _pruned_at(self) -> None:
        at = self._directory.meta("pruned_at")
        if at is not None and at > int(self._state.get("meta", b"pruned_at") or 0):
            self._state.put("meta", b"pruned_at", b"%d" % at)

    def _checkpoints(self) -> None:
        """How far files were read, each with what was noted of its records: one is worth nothing without the other."""
        node = self._state.node
        entries: dict[bytes, list[Entry]] = {}
        for id_, *rest in self._from.execute('SELECT id, source, path, "offset", size, position FROM checkpoint'):
            entries[id_] = [("checkpoint", id_, msgspec.msgpack.encode(Checkpoint(id_, *rest)))]
        for file, key, n in self._from.execute("SELECT file, key, n FROM occurrence"):
            entries.setdefault(file, []).append(("occurrence", place(file, key), b"%d" % n))
        there = {id_ for whose, id_, _ in self._state.some("checkpoint") if whose == node}
        there |= {file for file in entries.keys() - there if self._state.occurrences(file)}
        self._write([entry for file, some in entries.items() if file not in there for entry in some], node)
