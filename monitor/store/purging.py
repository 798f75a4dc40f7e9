"""One session goes: every text of it, from every table and file, and with `counts_too` its rounds as well.

What other sessions have said too (a system prompt, a file that both read) is theirs, and stays.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from monitor.session_keys import name_digest
from monitor.store.base import Purged
from monitor.store.counters import Counters
from monitor.store.history import History
from monitor.store.history.tables import month_of
from monitor.store.pruning import MAY_HOLD_TEXT, empty_log, forget_texts, rewrite, take_rounds, transaction
from monitor.store.rollups import ROLLUPS, SUBTRACT, tidy
from monitor.store.rows import CONTENT, started_at
from monitor.store.schema import COUNTS, EPOCH_MS

#: Rounds whose texts or counts go in one transaction.
_STEP = 2000
#: Where what was said in a session is told of, by its number: its rounds, what other sources said of the same
#: calls, and what was said under one of its names and counts for another session.
_TABLES = (
    ("round", "t.sid = ?1"),
    (
        "witness",
        "(t.counted IN (SELECT rid FROM round WHERE sid = ?1) OR t.session IN (SELECT n.id FROM name AS n "
        "JOIN session_name AS s ON s.name = n.value WHERE s.sid = ?1))",
    ),
)
_AT = f"max((rid >> 22) + {EPOCH_MS}, 0)"


def find(db: sqlite3.Connection, name: str) -> tuple[int, str] | None:
    """The number and the id of a session, by any of its names."""
    row: tuple[int, str] | None = db.execute(
        "SELECT sid, session_id FROM session WHERE sid = (SELECT sid FROM session_name WHERE name = ?)", (name,)
    ).fetchone()
    return row


def purgeable(db: sqlite3.Connection, history: History, name: str, *, counts_too: bool) -> Purged | None:
    """What would go."""
    found = find(db, name)
    if found is None:
        return None
    sid, session_id = found
    rounds, contents = db.execute(
        f"SELECT count(*), sum(flags & {CONTENT} OR {MAY_HOLD_TEXT}) FROM round WHERE sid = ?", (sid,)
    ).fetchone()
    pieces, shared = history.shared(_said(db, sid))
    return Purged(session_id, rounds, contents or 0, pieces, shared, counts_too)


def purge(db: sqlite3.Connection, history: History, path: Path, name: str, *, counts_too: bool) -> Purged | None:
    """Take away what was said in a session. May be interrupted at any time and run again.

    Raises:
        HistoryError: a file of conversations can't be used.
    """
    found = find(db, name)
    if found is None:
        return None
    sid, session_id = found
    names = [row[0] for row in db.execute("SELECT name FROM session_name WHERE sid = ?", (sid,))]
    # First of all, so that nothing new comes in while the old goes.
    with transaction(db):
        db.executemany(
            "INSERT OR IGNORE INTO silenced VALUES (?)", [(name_digest(one),) for one in {session_id, *names}]
        )
    said = _said(db, sid)
    pieces, shared = history.erase(said)
    contents = rounds = 0
    with transaction(db):
        db.execute("UPDATE session SET question = NULL, question_at = NULL WHERE sid = ?", (sid,))
        # Any of them may be a line of this session, cut or damaged.
        db.execute("UPDATE skipped SET sample = x'' WHERE sample != x''")
    for table, theirs in _TABLES:
        more = True
        while more:
            with transaction(db):
                rows = db.execute(
                    f"SELECT rid FROM {table} AS t WHERE {theirs} AND (flags & {CONTENT} OR {MAY_HOLD_TEXT}) LIMIT ?2",
                    (sid, _STEP),
                ).fetchall()
                forget_texts(db, [rid for (rid,) in rows], table)
            if table == "round":
                contents += len(rows)
            more = len(rows) == _STEP
    if counts_too:
        rounds = _take_counts(db, sid)
    else:
        (rounds,) = db.execute("SELECT count(*) FROM round WHERE sid = ?", (sid,)).fetchone()
    left = []
    # Pages that were split or moved before today may still hold a copy of what stood in them.
    for month in sorted({month_of(at) for _, at in said}):
        if (file := history.month(month)) is not None:
            file.rewrite()
    if (reason := rewrite(path)) is not None:
        left.append(reason)
    if not empty_log(db):
        left.append(f"{path.name}-wal still holds it: another process reads the old state; purge again later")
    return Purged(session_id, rounds, contents, pieces, shared, counts_too, tuple(left))


def _said(db: sqlite3.Connection, sid: int) -> list[tuple[bytes, int]]:
    """The keys and starts of a session's rounds, under which what was said is kept, by whatever witness."""
    found = {}
    for table, theirs in _TABLES:
        for key, rid in db.execute(f"SELECT key, rid FROM {table} AS t WHERE {theirs}", (sid,)):
            found[bytes(key)] = started_at(rid)
    return list(found.items())


def _take_counts(db: sqlite3.Connection, sid: int) -> int:
    """Let the rounds of a session go out of every sum; gives how many there were."""
    more = True
    while more:
        with transaction(db):
            rows = db.execute("SELECT rid, key FROM round WHERE sid = ? ORDER BY rid LIMIT ?", (sid, _STEP)).fetchall()
            if rows:
                take_rounds(db, rows, sid)
        more = len(rows) == _STEP
    # All of them are sums of quarters now, and these are taken out of the others.
    counters = Counters.as_stored(db)
    counts = ", ".join(f"sum({name})" for name in COUNTS)
    with transaction(db):
        db.execute(f"CREATE TEMP TABLE leaving AS SELECT *, {_AT} AS at FROM pruned WHERE sid = ?", (sid,))
        counters.take_out_pruned(sid)
        db.execute("DELETE FROM pruned WHERE sid = ?", (sid,))
        db.execute(
            "UPDATE model_sessions SET sessions = sessions - 1 WHERE model IN (SELECT DISTINCT model FROM leaving)"
        )
        db.execute("DELETE FROM model_sessions WHERE sessions = 0")
        for table, (names, values) in ROLLUPS.items():
            db.execute(
                f"INSERT INTO {table} ({names}, {', '.join(COUNTS)}) SELECT {values}, {counts} FROM leaving "
                f"WHERE true GROUP BY {', '.join(str(i + 1) for i in range(values.count(',') + 1))} "
                f"ON CONFLICT DO UPDATE SET {SUBTRACT}"
            )
        tidy(db, "leaving")
        (rounds,) = db.execute("SELECT ifnull(sum(rounds), 0) FROM leaving").fetchone()
        for statement in (
            "DELETE FROM presence WHERE sid = ?",
            "DELETE FROM session_name WHERE sid = ?",
            "UPDATE session SET parent = NULL WHERE parent = ?",
            "DELETE FROM session WHERE sid = ?",
        ):
            db.execute(statement, (sid,))
        db.execute("UPDATE meta SET value = value - 1 WHERE key = 'sessions'")
        # Other processes that write may remember it.
        db.execute("INSERT INTO meta VALUES ('dropped', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        db.execute("DROP TABLE leaving")
    return int(rounds)
