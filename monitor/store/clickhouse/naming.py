"""Names of sessions: which session a name leads to, and what moves when two sessions turn out to be one.

OpenClaw's own records tell which key an id has (``said = 0``); what a request says of itself (``said = 1``) is
believed only as long as no session has that name as its own id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monitor.rounds import Round
from monitor.session_keys import is_made_id
from monitor.store.base import SessionName
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import COUNTS, KNOWN, MOVED, PRUNED, Row, agent_of
from monitor.store.clickhouse.schema import KIN, NAME
from monitor.store.clickhouse.tables import among, ask, cut, now, rounds, write, write_rounds


class Names:
    """The names of sessions, through one connection."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def lookup(self, names: Iterable[str]) -> dict[str, tuple[str, bool]]:
        """The session of each name that has one, and whether that was only said."""
        found: dict[str, tuple[str, bool]] = {}
        for some in cut(sorted(set(names))):
            for name, session, said in ask(
                self._db, f"SELECT name, session, said FROM name FINAL WHERE gone = 0 AND name IN {among(some)}"
            ):
                found[name] = session, bool(said)
        return found

    def canonical(self, names: Iterable[str]) -> dict[str, str]:
        """The session that a round under each of these ids belongs to; an absent id (empty) stays absent."""
        asked = sorted({name for name in names if name})
        told = self.lookup(asked)
        found = {"": ""}
        # An id owns its session. Names come out of what was said, so they must never catch another session's rounds;
        # but an id that OpenClaw makes can't be guessed, and some of its calls name only that (a compaction does).
        doubtful = [name for name in asked if name in told and told[name][1] and is_made_id(name)]
        own = self.with_rounds(doubtful) if doubtful else set()
        further = self.lookup(told[name][0] for name in doubtful if name not in own)
        for name in asked:
            session, said = told.get(name, (name, False))
            if not said:
                found[name] = session
            elif name in doubtful and name not in own:
                target, only_said = further.get(session, (session, True))
                found[name] = session if only_said else target
            else:
                found[name] = name
        return found

    def with_rounds(self, sessions: Iterable[str]) -> set[str]:
        """Those of the ids that are sessions with rounds."""
        found: set[str] = set()
        for some in cut(sorted(set(sessions))):
            found |= {
                session
                for (session,) in ask(
                    self._db,
                    "SELECT DISTINCT session FROM round FINAL "
                    f"WHERE session IN {among(some)} AND state IN ({COUNTS}, {PRUNED})",
                )
            }
        return found

    def say(self, told: Iterable[Round], homes: Mapping[str, str]) -> None:
        """Keep the other names that rounds say their sessions have; who said one first keeps it."""
        wanted: dict[str, str] = {}
        for r in told:
            for alias in r.session_aliases:
                wanted.setdefault(alias, homes[r.session_id or ""])
        wanted = {alias: session for alias, session in wanted.items() if session and alias != session}
        if wanted:
            there = self.lookup(wanted)
            version = now()
            write(self._db, NAME, [(a, s, True, False, version) for a, s in wanted.items() if a not in there])

    def learn(self, names: Iterable[SessionName]) -> list[str]:
        """Keep what OpenClaw tells of sessions, and move what has to; gives the sessions that grew or went."""
        names = list(names)
        self._learn_kin(names)
        known = {
            name: session
            for name, (session, said) in self.lookup(
                part for one in names for part in (one.name, one.session_id)
            ).items()
            if not said
        }
        targets: set[str] = set()
        for some in cut(sorted({one.name for one in names})):
            targets |= {
                session
                for (session,) in ask(
                    self._db,
                    f"SELECT DISTINCT session FROM name FINAL WHERE gone = 0 AND said = 0 AND session IN {among(some)}",
                )
            }
        news: dict[str, str] = {}
        for one in names:
            # A name of a name would lead in circles; and of two sessions for one name the first keeps it.
            if one.name == one.session_id or one.name in targets or one.session_id in known or one.name in known:
                continue
            known[one.name] = news[one.name] = one.session_id
            targets.add(one.session_id)
        if not news:
            return []
        version = now()
        write(self._db, NAME, [(name, session, False, False, version) for name, session in news.items()])
        return self.move(news)

    def _learn_kin(self, names: Iterable[SessionName]) -> None:
        told = [one for one in names if one.parent is not None or one.channel is not None]
        if not told:
            return
        kin: dict[str, tuple[str | None, str | None]] = {}
        for some in cut(sorted({one.session_id for one in told})):
            for session, parent, channel in ask(
                self._db, f"SELECT session, parent, channel FROM kin FINAL WHERE session IN {among(some)}"
            ):
                kin[session] = parent, channel
        before = dict(kin)
        for one in told:
            parent, channel = kin.get(one.session_id, (None, None))
            kin[one.session_id] = (
                one.parent if parent is None else parent,
                one.channel if channel is None else channel,
            )
        version = now()
        write(self._db, KIN, [(session, *of, version) for session, of in kin.items() if before.get(session) != of])

    def move(self, news: Mapping[str, str]) -> list[str]:
        """Let the rounds under each of these ids, and the names that led there, belong to another session."""
        touched: dict[str, None] = {}
        for some in cut(sorted(news)):
            version = now()
            rows: list[Row] = []
            for row in rounds(self._db, f"session IN {among(some)} AND state IN ({COUNTS}, {PRUNED})"):
                to = news[row.session]
                # First the new place: a reader in between sees a round twice rather than not at all, and only then.
                rows.append(moved(row, to, version))
                rows.append(left(row, to, version))
                touched |= {row.session: None, to: None}
            write_rounds(self._db, rows)
            led = ask(
                self._db,
                f"SELECT name, session FROM name FINAL WHERE gone = 0 AND said = 1 AND session IN {among(some)}",
            )
            write(self._db, NAME, [(name, news[session], True, False, version) for name, session in led])
        return list(touched)

    def unsettled(self) -> dict[str, str]:
        """Sessions with rounds whose id is known to be another session's: two nodes wrote at the same moment."""
        found = ask(
            self._db,
            "SELECT name, session FROM name FINAL WHERE gone = 0 AND said = 0 AND name GLOBAL IN "
            f"(SELECT session FROM round FINAL WHERE state IN ({COUNTS}, {PRUNED}))",
        )
        return dict(found)


def moved(row: Row, session: str, version: int) -> Row:
    """The row at its place in another session."""
    return row._replace(session=session, agent=agent_of(session), ver=version)


def left(row: Row, session: str, version: int) -> Row:
    """What stays of a row at the place that it left for another session."""
    return row._replace(**NOTHING, state=MOVED, moved=session, ver=version)


def quiet(row: Row, version: int, state: int = KNOWN) -> Row:
    """What stays of a row that does not count."""
    return row._replace(**NOTHING, state=state, moved="", ver=version)


#: What a row that is not counted keeps nothing of.
NOTHING: dict[str, Any] = {
    "input": None,
    "output": None,
    "reasoning": None,
    "cached": None,
    "cache_write": None,
    "cache_write_1h": None,
    "nano": None,
    "reported": None,
    "latency": None,
    "ttft": None,
    "request_id": None,
    "extra": None,
    "question": None,
    "chain": "",
    "said_key": b"",
}
