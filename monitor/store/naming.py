"""Sessions that turn out to be one: what was kept under a session id moves to the session with the key.

OpenClaw's transcripts tell which key an id has, often after the gateway's log has told of calls under the id.
Whatever comes first, the sums are those of a store that knew the name from the start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from monitor.store.base import SORT_WEIGHTS, SessionName
from monitor.store.places import Places
from monitor.store.rows import ROUND_NAMES, SOURCE_BITS, Row, started_at

#: Session ids per statement.
_STEP = 500


class Moving(msgspec.Struct):
    """Rounds that go from one session into another."""

    out: list[int] = []
    rows: list[tuple[Any, ...]] = []
    #: Sessions that hold nothing then, and those that take their names.
    sessions: dict[int, int] = {}
    names: list[tuple[str, int]] = []

    def finish(self, db: sqlite3.Connection) -> None:
        """Give the names of the sessions that are gone to the others, once the rounds have moved."""
        db.executemany("INSERT OR REPLACE INTO session_name VALUES (?, ?)", self.names)


def learn(db: sqlite3.Connection, places: Places, names: Iterable[SessionName]) -> Moving:
    """Keep which names sessions have; what has to move because of it."""
    moving = Moving()
    news: list[SessionName] = []
    for one in names:
        if one.parent is not None or one.channel is not None:
            db.execute(
                "INSERT INTO known_session VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                "parent = ifnull(parent, excluded.parent), channel = ifnull(channel, excluded.channel)",
                (one.session_id, one.parent, one.channel),
            )
        # A name of a name would lead in circles; and of two sessions for one name the first keeps it.
        if (
            one.name == one.session_id
            # Sums of rounds that are stored no longer can't move: such a session stays one of its own.
            or db.execute(
                "SELECT 1 FROM session WHERE kind = 0 AND session_id = ? AND pruned > 0", (one.name,)
            ).fetchone()
            or db.execute("SELECT 1 FROM known_name WHERE name = ?", (one.session_id,)).fetchone()
            or db.execute("SELECT 1 FROM known_name WHERE session_id = ?", (one.name,)).fetchone()
        ):
            continue
        if db.execute("INSERT OR IGNORE INTO known_name VALUES (?, ?)", (one.name, one.session_id)).rowcount:
            news.append(one)
    if news:
        places.forget_sessions()
    for one in news:
        _apply(db, places, one, moving)
    return moving


def _apply(db: sqlite3.Connection, places: Places, one: SessionName, moving: Moving) -> None:
    own = db.execute("SELECT sid FROM session WHERE kind = 0 AND session_id = ?", (one.name,)).fetchone()
    if own is None:
        # What was only said to be a name of another session is none.
        there = db.execute("SELECT sid FROM session WHERE kind = 0 AND session_id = ?", (one.session_id,)).fetchone()
        db.execute("DELETE FROM session_name WHERE name = ?", (one.name,))
        if there is not None:
            db.execute("INSERT INTO session_name VALUES (?, ?)", (one.name, there[0]))
        return
    sid = own[0]
    target = places.session(one.session_id, None)
    moving.sessions[sid] = target
    moving.names += [(name, target) for (name,) in db.execute("SELECT name FROM session_name WHERE sid = ?", (sid,))]
    question, question_at = db.execute("SELECT question, question_at FROM session WHERE sid = ?", (sid,)).fetchone()
    agent = places.agent(one.session_id)
    facets: dict[int, tuple[int, int]] = {}
    weights: dict[int, float] = {}
    for values in db.execute(f"SELECT {ROUND_NAMES} FROM round WHERE sid = ?", (sid,)).fetchall():
        row = Row(*values)
        if row.facet not in facets:
            facets[row.facet] = _facet_with(db, places, row.facet, agent)
        if row.price not in weights:
            (currency,) = db.execute("SELECT currency FROM price WHERE id = ?", (row.price,)).fetchone()
            weights[row.price] = SORT_WEIGHTS.get(currency, 1.0)
        facet, bit = facets[row.facet]
        for (kind,) in db.execute(
            "SELECT n.value FROM witness AS w JOIN facet AS f ON f.id = w.facet JOIN name AS n ON n.id = f.source "
            "WHERE w.counted = ?",
            (row.rid,),
        ):
            bit |= SOURCE_BITS.get(kind, 0)
        moving.out.append(row.rid)
        moving.rows.append(
            (
                *row._replace(sid=target, facet=facet),
                started_at(row.rid),
                bit,
                weights[row.price],
                question if row.rid == question_at else None,
            )
        )


def _facet_with(db: sqlite3.Connection, places: Places, facet: int, agent: int) -> tuple[int, int]:
    """The same facet of an agent, and the bit of its kind of source."""
    numbers = list(
        db.execute(
            "SELECT source, consumer, route, function, user_id, agent, host FROM facet WHERE id = ?", (facet,)
        ).fetchone()
    )
    (kind,) = db.execute("SELECT value FROM name WHERE id = ?", (numbers[0],)).fetchone()
    numbers[5] = agent
    return places.facet_of(numbers), SOURCE_BITS.get(kind, 0)


def known_of(db: sqlite3.Connection, session_ids: list[str]) -> dict[str, tuple[str | None, str | None]]:
    """The parents and channels of sessions, where OpenClaw told them."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for start in range(0, len(session_ids), _STEP):
        some = session_ids[start : start + _STEP]
        marks = ",".join("?" * len(some))
        for session_id, parent, channel in db.execute(
            f"SELECT session_id, parent, channel FROM known_session WHERE session_id IN ({marks})", some
        ):
            found[session_id] = parent, channel
    return found


def descendants(db: sqlite3.Connection, name: str) -> list[str]:
    """The ids of the sessions that a session has started, and those that these have started, and so on."""
    row = db.execute(
        "SELECT session_id FROM session WHERE kind = 0 AND sid = (SELECT sid FROM session_name WHERE name = ?)", (name,)
    ).fetchone()
    if row is None:
        return []
    rows = db.execute(
        "WITH RECURSIVE below(id) AS (SELECT ?1 UNION SELECT k.session_id FROM known_session AS k JOIN below "
        "ON k.parent = below.id) SELECT s.session_id FROM below JOIN session AS s ON s.kind = 0 "
        "AND s.session_id = below.id WHERE below.id != ?1 ORDER BY s.first_at, s.sid",
        row,
    )
    return [session_id for (session_id,) in rows]
