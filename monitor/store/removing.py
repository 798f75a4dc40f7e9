"""Rounds are taken out of every sum again, as if they had never been added.

For calls that another source tells better, and for usage records whose file is gone. Costs time by the
rounds that go, not by the rounds that stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

import msgspec

from monitor.store import latency
from monitor.store.counters import Counters, Key
from monitor.store.places import BEFORE_ALL, NEVER, Places
from monitor.store.rollups import QUARTER, SPEND, fill_batch, subtract_batch, tidy
from monitor.store.rows import CONTENT, INFERRED, SOURCE_BITS, next_id
from monitor.store.schema import EPOCH_MS, QUARTER_MS, first_rid

_MS = f"((rid >> 22) + {EPOCH_MS})"
_KNOWN = first_rid(QUARTER_MS)
_LATEST = "FROM round WHERE sid = s.sid AND model != 0 AND flags & 1 ORDER BY rid DESC LIMIT 1"
_CONSUMER = (
    "FROM round AS r JOIN facet AS f ON f.id = r.facet WHERE r.sid = s.sid AND f.consumer != 0 "
    "ORDER BY r.rid DESC LIMIT 1"
)

#: The beginning of the question of a round, by its id; None where nobody kept it.
Question = Callable[[int], str | None]


class Taken(msgspec.Struct):
    """What taking rounds out has moved: sums of budgets, and sessions by their numbers."""

    budgets: set[Key] = set()
    sessions: set[int] = set()


def take_out(db: sqlite3.Connection, rids: Iterable[int], counters: Counters | None, question: Question) -> Taken:
    """Take rounds out of every sum. Sessions that hold none any more stay until `drop_empty`."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS gone (rid INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM gone")
    db.executemany("INSERT OR IGNORE INTO gone VALUES (?)", [(rid,) for rid in rids])
    fill_batch(db, "SELECT rid FROM gone")
    taken = Taken()
    if counters is not None:
        taken.budgets = counters.move(-1)
    subtract_batch(db)
    latency.count(db, sign=-1)
    db.execute("DELETE FROM round WHERE rid IN (SELECT rid FROM gone)")
    tidy(db)
    db.execute(
        f"DELETE FROM presence AS p WHERE (at, model, sid) IN (SELECT DISTINCT {QUARTER}, model, sid FROM batch) "
        "AND NOT EXISTS (SELECT 1 FROM round AS r WHERE r.sid = p.sid AND r.model = p.model "
        f"AND r.rid >= (p.at - {EPOCH_MS}) << 22 AND r.rid < (p.at - {EPOCH_MS - QUARTER_MS}) << 22) "
        "AND NOT EXISTS (SELECT 1 FROM pruned AS r WHERE r.sid = p.sid AND r.model = p.model "
        f"AND r.rid = (p.at - {EPOCH_MS}) << 22)"
    )
    db.execute(
        "UPDATE model_sessions SET sessions = sessions - b.n FROM (SELECT model, count(*) AS n FROM "
        "(SELECT DISTINCT sid, model FROM batch) AS x WHERE EXISTS (SELECT 1 FROM session WHERE sid = x.sid AND "
        "kind = 0) AND NOT EXISTS (SELECT 1 FROM session_slice AS s WHERE s.sid = x.sid AND s.model = x.model) "
        "GROUP BY model) AS b WHERE b.model = model_sessions.model"
    )
    db.execute("DELETE FROM model_sessions WHERE sessions = 0")
    _sessions(db, taken, question)
    db.execute("DELETE FROM batch")
    return taken


def _sessions(db: sqlite3.Connection, taken: Taken, question: Question) -> None:
    """Let the sessions of the rounds in ``batch`` say what is left of them."""
    grown = "(SELECT ifnull(max(value), 0) + 1 FROM meta WHERE key = 'batches')"
    db.execute(
        "UPDATE session AS s SET rounds = s.rounds - b.n, tokens = s.tokens - b.t, "
        f"spend = {SPEND.format(sid='s.sid')}, grown = {grown}, "
        # Of what was pruned before, only the session itself knows when it began.
        f"first_at = iif(s.pruned, s.first_at, ifnull((SELECT {_MS} FROM round WHERE sid = s.sid AND rid >= {_KNOWN} "
        f"ORDER BY rid LIMIT 1), {NEVER})), last_at = ifnull((SELECT iif({_MS} < {QUARTER_MS}, 0, {_MS}) FROM round "
        "WHERE sid = s.sid ORDER BY rid DESC LIMIT 1), iif(s.pruned, s.last_at, -1)) "
        "FROM (SELECT sid, count(*) AS n, sum(ifnull(input, 0) + ifnull(output, 0)) AS t FROM batch GROUP BY sid) AS b "
        "WHERE s.sid = b.sid"
    )
    # What stood in a round that is gone is looked up in those that are left.
    touched = "sid IN (SELECT DISTINCT sid FROM batch)"
    db.execute(
        f"UPDATE session AS s SET model = ifnull((SELECT model {_LATEST}), iif(s.pruned, model, 0)), "
        f"model_at = ifnull((SELECT rid {_LATEST}), {BEFORE_ALL}) "
        f"WHERE {touched} AND model_at IN (SELECT rid FROM gone)"
    )
    db.execute(
        f"UPDATE session AS s SET consumer = ifnull((SELECT f.consumer {_CONSUMER}), iif(s.pruned, consumer, 0)), "
        f"consumer_at = ifnull((SELECT r.rid {_CONSUMER}), {BEFORE_ALL}) "
        f"WHERE {touched} AND consumer_at IN (SELECT rid FROM gone)"
    )
    db.execute(
        "UPDATE session AS s SET inferred = NOT EXISTS (SELECT 1 FROM round WHERE sid = s.sid "
        f"AND NOT flags & {INFERRED}) WHERE {touched} AND NOT inferred"
    )
    rows = db.execute(f"SELECT sid, question_at IN (SELECT rid FROM gone) FROM session WHERE {touched}").fetchall()
    for sid, asks in rows:
        taken.sessions.add(sid)
        if asks:
            found = _first_question(db, sid, question)
            db.execute("UPDATE session SET question = ?, question_at = ? WHERE sid = ?", (*found, sid))


def refresh_sources(db: sqlite3.Connection, sid: int) -> None:
    """Let a session name no kind of source any more that saw none of the rounds that are left."""
    for (sources,) in db.execute("SELECT sources FROM session WHERE sid = ?", (sid,)).fetchall():
        left = sum(bit for kind, bit in SOURCE_BITS.items() if sources & bit and _has_seen(db, sid, kind))
        if left != sources:
            db.execute("UPDATE session SET sources = ? WHERE sid = ?", (left, sid))


def _has_seen(db: sqlite3.Connection, sid: int, kind: str) -> bool:
    """Whether a source of this kind told of a round of the session."""
    return (
        db.execute(
            "SELECT 1 FROM round AS r JOIN facet AS f ON f.id = r.facet, (SELECT id FROM name WHERE value = ?) AS k "
            "WHERE r.sid = ? AND (f.source = k.id OR EXISTS (SELECT 1 FROM witness AS w JOIN facet AS g "
            "ON g.id = w.facet WHERE w.counted = r.rid AND g.source = k.id)) LIMIT 1",
            (kind, sid),
        ).fetchone()
        is not None
    )


def _first_question(db: sqlite3.Connection, sid: int, question: Question) -> tuple[str | None, int | None]:
    """The question of the first round that has one, and that round's id."""
    rids = db.execute(f"SELECT rid FROM round WHERE sid = ? AND flags & {CONTENT} ORDER BY rid", (sid,))
    for (rid,) in rids.fetchall():
        text = question(rid)
        if text is not None:
            return text, rid
    return None, None


def drop_empty(db: sqlite3.Connection, sids: Iterable[int], places: Places, counters: Counters | None) -> None:
    """Forget those of the sessions `sids` that hold no rounds any more."""
    empty = [
        (sid, kind)
        for sid in sorted(sids)
        for rounds, kind in db.execute("SELECT rounds, kind FROM session WHERE sid = ?", (sid,))
        if rounds == 0
    ]
    for sid, kind in empty:
        db.execute("DELETE FROM session_name WHERE sid = ?", (sid,))
        db.execute("DELETE FROM session WHERE sid = ?", (sid,))
        if kind == 0:
            db.execute("UPDATE meta SET value = value - 1 WHERE key = 'sessions'")
    if empty:
        # Other processes that write may remember them.
        db.execute("INSERT INTO meta VALUES ('dropped', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        places.forget_sessions()
        if counters is not None:
            counters.forget()


def leave_gaps(db: sqlite3.Connection, taken: Iterable[tuple[int, bytes]]) -> None:
    """Mark ids that became free before ids that are in use, so that the rounds of those are still found.

    `taken` are ids with what is to stand there: a key, so that its record is known and not counted again, or
    nothing, so that it may come back.
    """
    left, marked = dict(taken), True
    while marked:
        marked = False
        for rid, key in list(left.items()):
            if key or _in_use(db, next_id(rid)):
                db.execute("INSERT OR REPLACE INTO gap VALUES (?, ?)", (rid, key))
                del left[rid]
                marked = True


def _in_use(db: sqlite3.Connection, rid: int) -> bool:
    return any(
        db.execute(f"SELECT 1 FROM {table} WHERE rid = ?", (rid,)).fetchone() for table in ("round", "witness", "gap")
    )
