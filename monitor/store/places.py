"""Where a round belongs, in numbers: its session, its facet, its price; made where there is none yet."""

from __future__ import annotations

import sqlite3

from monitor.prices.money import Cost
from monitor.rounds import Round
from monitor.session_keys import is_made_id, parts

CACHE_LIMIT = 100_000
#: Less than every round id.
BEFORE_ALL = -(1 << 63)
#: When a session without rounds begins.
NEVER = 1 << 62


class Places:
    """Numbers through the connection that writes. What is remembered of them can be forgotten at any time."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._names: dict[str, int] = {}
        self._facets: dict[tuple[str | None, ...], int] = {}
        self._prices: dict[tuple[str | None, ...], int] = {}
        self._sessions: dict[tuple[int, str], int] = {}
        self._session_facets: dict[tuple[str | None, ...], tuple[int, int]] = {}
        self._aliases: set[tuple[str, int]] = set()

    def forget(self) -> None:
        """Forget all: a batch failed, and with it rows may be gone."""
        self.forget_sessions()
        for cache in (self._names, self._facets, self._prices):
            cache.clear()

    def forget_sessions(self) -> None:
        """Forget the sessions: some are no more."""
        for cache in (self._sessions, self._session_facets, self._aliases):
            cache.clear()

    @property
    def full(self) -> bool:
        """Whether so much is remembered that it should be forgotten."""
        return len(self._sessions) > CACHE_LIMIT or len(self._names) > CACHE_LIMIT

    def place(self, r: Round) -> tuple[int, int]:
        """The round's session and facet."""
        place = (r.session_id, r.source, r.consumer, r.route, r.function, r.user_id, r.host)
        known = self._session_facets.get(place)
        if known is None:
            if len(self._session_facets) >= CACHE_LIMIT:
                self._session_facets.clear()
            agent = parts(self._known(r.session_id)).agent
            facet = self._facet((r.source, r.consumer, r.route, r.function, r.user_id, agent, r.host))
            sid = self.session(r.session_id, r.consumer)
            self._session_facets[place] = known = (sid, facet)
        if r.session_aliases:
            for alias in r.session_aliases:
                if (alias, known[0]) not in self._aliases:
                    # What is known to be another session's name is none of this one, whatever was said.
                    self._db.execute(
                        "INSERT OR IGNORE INTO session_name SELECT ?1, ?2 "
                        "WHERE NOT EXISTS (SELECT 1 FROM known_name WHERE name = ?1)",
                        (alias, known[0]),
                    )
                    self._aliases.add((alias, known[0]))
        return known

    def _known(self, name: str | None) -> str | None:
        """The id of the session that is known to have this name; else the name."""
        if name is None:
            return None
        row = self._db.execute("SELECT session_id FROM known_name WHERE name = ?", (name,)).fetchone()
        return name if row is None else str(row[0])

    def agent(self, name: str | None) -> int:
        """The number of the agent of a session."""
        return self.name(parts(self._known(name)).agent)

    def session(self, session_id: str | None, consumer: str | None) -> int:
        """The session with this id; without an id the rounds of a consumer that named none."""
        session_id = self._known(session_id)
        kind, name = (1, consumer or "") if session_id is None else (0, session_id)
        sid = self._sessions.get((kind, name))
        if sid is not None:
            return sid
        db = self._db
        # An id owns its session. Aliases come out of what was said, so they must never catch another session's rounds;
        # but an id that OpenClaw makes can't be guessed, and some of its calls name only that (a compaction does).
        row = db.execute("SELECT sid FROM session WHERE kind = ? AND session_id = ?", (kind, name)).fetchone()
        if row is None and kind == 0 and is_made_id(name):
            row = db.execute("SELECT sid FROM session_name WHERE name = ?", (name,)).fetchone()
        if row is None:
            key = parts(session_id)
            cursor = db.execute(
                "INSERT INTO session VALUES (NULL, ?, ?, 1, ?, ?, 0, 0, 0.0, 0, ?, 0, ?, ?, ?, NULL, NULL, NULL, "
                "0, 0, 0)",
                (
                    kind,
                    name,
                    NEVER,
                    -1,
                    BEFORE_ALL,
                    BEFORE_ALL,
                    self.name(key.agent),
                    self.name(key.channel),
                ),
            )
            row = (cursor.lastrowid,)
            if kind == 0:
                db.execute("INSERT OR REPLACE INTO session_name VALUES (?, ?)", (name, row[0]))
                db.execute(
                    "INSERT OR REPLACE INTO session_name SELECT name, ?2 FROM known_name WHERE session_id = ?1",
                    (name, row[0]),
                )
                db.execute("INSERT INTO meta VALUES ('sessions', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        self._sessions[kind, name] = row[0]
        return int(row[0])

    def name(self, value: str | None) -> int:
        """The number of a text; 0 stands for none."""
        if not value:
            return 0
        known = self._names.get(value)
        if known is None:
            self._db.execute("INSERT OR IGNORE INTO name (value) VALUES (?)", (value,))
            known = int(self._db.execute("SELECT id FROM name WHERE value = ?", (value,)).fetchone()[0])
            self._names[value] = known
        return known

    def _facet(self, values: tuple[str | None, ...]) -> int:
        known = self._facets.get(values)
        if known is None:
            self._facets[values] = known = self.facet_of([self.name(value) for value in values])
        return known

    def facet_of(self, numbers: list[int]) -> int:
        """The facet of source, consumer, route, function, user, agent and host, each by its number."""
        self._db.execute(
            "INSERT OR IGNORE INTO facet (source, consumer, route, function, user_id, agent, host) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            numbers,
        )
        row = self._db.execute(
            "SELECT id FROM facet WHERE source = ? AND consumer = ? AND route = ? AND function = ? "
            "AND user_id = ? AND agent = ? AND host = ?",
            numbers,
        ).fetchone()
        return int(row[0])

    def price(self, cost: Cost, version: str, reported_currency: str | None) -> int:
        """The number of a price tag."""
        values = (cost.status, cost.currency, cost.source, version, reported_currency)
        known = self._prices.get(values)
        if known is None:
            self._prices[values] = known = self.price_of([value or "" for value in values])
        return known

    def price_of(self, texts: list[str]) -> int:
        """The number of a price tag of status, currency, source, version and reported currency."""
        self._db.execute(
            "INSERT OR IGNORE INTO price (status, currency, source, version, reported_currency) VALUES (?, ?, ?, ?, ?)",
            texts,
        )
        row = self._db.execute(
            "SELECT id FROM price WHERE status = ? AND currency = ? AND source = ? AND version = ? "
            "AND reported_currency = ?",
            texts,
        ).fetchone()
        return int(row[0])
