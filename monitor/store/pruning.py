"""What is older than it is to be kept goes: conversations first, then rounds, which stay in all sums.

Works a few thousand rounds at a time. Each step is one transaction after which everything adds up; a run
that is interrupted is simply run again. A round that goes leaves its counts with its quarter of an hour,
and eight bytes by which it is known when a log that holds it is read again.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from monitor.rounds import extra_without_text
from monitor.store import latency
from monitor.store.base import Bounds, Pruned, StoreError
from monitor.store.gone import note_gone
from monitor.store.history import History
from monitor.store.history.tables import month_of, second_of
from monitor.store.rows import CONTENT
from monitor.store.schema import ADD, COUNTS, EPOCH_MS, FIRST_MS, QUARTER_MS, SUMS, first_rid

_STEP = 2000
#: Rounds that are looked at in one step, where most of them may have nothing to take away.
_LOOK = 10_000
#: Whether the fields of a round hold some that a client filled; see `extra_without_text`.
MAY_HOLD_TEXT = """ifnull(extra LIKE '%"fields":%' OR extra LIKE '%"path":%', 0)"""
#: Pages that are given back at once.
_PAGES = 2000
#: The file is written anew where at least this share of it is unused.
_WORTH_REWRITING = 0.1
_UNDATED = month_of(0)
_FIRST = first_rid(FIRST_MS)


def in_quarters(bounds: Bounds) -> Bounds:
    """Whole quarters of an hour go, and never what is said without the rounds that say it."""
    rounds, content = (
        None if at is None else at - at % QUARTER_MS for at in (bounds.rounds_before, bounds.content_before)
    )
    if rounds is not None:
        content = max(rounds, content or rounds)
    return Bounds(rounds, content)


def prunable(db: sqlite3.Connection, history: History, bounds: Bounds) -> Pruned:
    """What would go."""
    bounds = in_quarters(bounds)
    rounds = contents = 0
    if bounds.rounds_before is not None:
        (rounds,) = db.execute(
            "SELECT count(*) FROM round WHERE rid >= ? AND rid < ?", (_FIRST, first_rid(bounds.rounds_before))
        ).fetchone()
    months: list[str] = []
    if bounds.content_before is not None:
        low = _FIRST if bounds.rounds_before is None else first_rid(bounds.rounds_before)
        (contents,) = db.execute(
            f"SELECT count(*) FROM round WHERE rid >= ? AND rid < ? AND flags & {CONTENT}",
            (max(low, _FIRST), first_rid(bounds.content_before)),
        ).fetchone()
        months = _whole_months(history, bounds.content_before)
    (undated,) = db.execute("SELECT count(*) FROM round WHERE rid < ?", (_FIRST,)).fetchone()
    return Pruned(rounds, contents, tuple(months), undated)


def _whole_months(history: History, before: int) -> list[str]:
    return [month for month in history.months() if month < month_of(before) and month != _UNDATED]


class Pruner:
    """Takes away what is older than the bounds, step by step, through the connection that writes."""

    def __init__(self, db: sqlite3.Connection, history: History, bounds: Bounds, *, may_rewrite: bool = True) -> None:
        self._may_rewrite = may_rewrite
        self._db = db
        self._history = history
        self._bounds = in_quarters(bounds)
        self._done = Pruned()

    def steps(self) -> Iterator[Pruned]:
        """Do it; what is done so far after each step. May be left at any time."""
        before = self._bounds.content_before
        if before is not None:
            yield from self._forget_conversations(before)
            yield from self._forget_texts(first_rid(before))
        if self._bounds.rounds_before is not None:
            more = True
            while more:
                more = self._take_rounds(first_rid(self._bounds.rounds_before))
                yield self._done
        now = time.time_ns() // 1_000_000
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('pruned_at', ?)", (now,))
        yield self._done

    def _forget_conversations(self, before: int) -> Iterator[Pruned]:
        history = self._history
        for month in _whole_months(history, before):
            history.drop(month)
            self._done = msgspec.structs.replace(self._done, months=(*self._done.months, month))
            yield self._done
        # Looked up at each step: another process may drop the month meanwhile.
        last, second = month_of(before), second_of(before)
        removed = False
        while (file := history.month(last)) is not None and file.erase_before(second, _STEP):
            removed = True
            yield self._done
        if removed and (file := history.month(last)) is not None:
            file.collect()
            yield self._done
            if self._may_rewrite and file.unused() >= _WORTH_REWRITING and _no_room_for(file.path) is None:
                file.rewrite()
                yield self._done

    def _forget_texts(self, before: int) -> Iterator[Pruned]:
        """What stands of conversations beside the counts: first questions, fields that clients fill, samples."""
        db = self._db
        keep = self._bounds.rounds_before
        for table in ("round", "witness"):
            after = (_FIRST if keep is None or table == "witness" else max(_FIRST, first_rid(keep))) - 1
            more = True
            while more:
                with transaction(db):
                    rows = db.execute(
                        f"SELECT rid, flags & {CONTENT} OR {MAY_HOLD_TEXT} FROM {table} WHERE rid > ? AND rid < ? "
                        "ORDER BY rid LIMIT ?",
                        (after, before, _LOOK),
                    ).fetchall()
                    said = [rid for rid, holds in rows if holds]
                    forget_texts(db, said, table)
                if rows:
                    after = rows[-1][0]
                more = len(rows) == _LOOK
                if table == "round":
                    self._done = msgspec.structs.replace(self._done, contents=self._done.contents + len(said))
                yield self._done
        with transaction(db):
            db.execute(
                "UPDATE session SET question = NULL WHERE question IS NOT NULL AND question_at < ? "
                "AND question_at >= ?",
                (before, _FIRST),
            )
            # Nobody knows how old they are.
            db.execute("UPDATE skipped SET sample = x'' WHERE sample != x''")
        yield self._done

    def _take_rounds(self, before: int) -> bool:
        """Let some more rounds go; whether there may be others."""
        db = self._db
        with transaction(db):
            rows = db.execute(
                "SELECT rid, key FROM round WHERE rid >= ? AND rid < ? ORDER BY rid LIMIT ?", (_FIRST, before, _STEP)
            ).fetchall()
            if rows:
                take_rounds(db, rows)
        self._done = msgspec.structs.replace(self._done, rounds=self._done.rounds + len(rows))
        return len(rows) == _STEP


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of it, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def forget_texts(db: sqlite3.Connection, rids: Sequence[int], table: str = "round") -> None:
    """Take what clients said out of rounds (or witnesses); they stay."""
    for rid in rids:
        (extra,) = db.execute(f"SELECT extra FROM {table} WHERE rid = ?", (rid,)).fetchone()
        kept = extra_without_text(extra.encode() if extra else None)
        db.execute(
            f"UPDATE {table} SET flags = flags & ~{CONTENT}, extra = ? WHERE rid = ?",
            (None if kept is None else kept.decode(), rid),
        )


def take_rounds(db: sqlite3.Connection, rows: Sequence[tuple[int, bytes]], sid: int | None = None) -> None:
    """Let rounds go, each (id, key), that follow each other in time; they stay in every sum.

    They are all the rounds from the first to the last of them, or all those of one session.
    """
    which = f"rid BETWEEN {rows[0][0]} AND {rows[-1][0]}" + ("" if sid is None else f" AND sid = {sid}")
    quarter = f"((rid >> 22) + {EPOCH_MS}) / {QUARTER_MS} * {QUARTER_MS}"
    db.execute(
        f"INSERT INTO pruned (rid, sid, facet, model, price, {', '.join(COUNTS)}) "
        f"SELECT ({quarter} - {EPOCH_MS}) << 22, sid, facet, model, price, {SUMS} FROM round "
        f"WHERE {which} GROUP BY 1, 2, 3, 4, 5 ON CONFLICT DO UPDATE SET {ADD}"
    )
    db.execute(
        "UPDATE session SET pruned = pruned + b.n FROM (SELECT sid, count(*) AS n FROM round "
        f"WHERE {which} GROUP BY sid) AS b WHERE b.sid = session.sid"
    )
    if sid is None:
        latency.keep_pruned(db, which)
    else:
        # Of a session that goes altogether nothing is to stay; what was pruned of it before can't be told any more.
        latency.take_out(db, which)
    going = f"(SELECT rid FROM round WHERE {which})"
    # What other sources said of the same calls goes with the rounds that count for them.
    for table, of_them in (("round", f"t.rid IN {going}"), ("witness", f"t.counted IN {going} AND t.rid != t.counted")):
        found = db.execute(
            f"SELECT t.rid, t.key, n.value, t.response_id FROM {table} AS t JOIN facet AS f ON f.id = t.facet "
            f"JOIN name AS n ON n.id = f.source WHERE {of_them}"
        )
        note_gone(db, found.fetchall())
    db.execute(f"DELETE FROM witness WHERE counted IN {going}")
    db.execute(f"DELETE FROM origin WHERE rid IN {going}")
    db.execute(f"DELETE FROM round WHERE {which}")


# -- room on the disk -----------------------------------------------------------------------------


def give_back(db: sqlite3.Connection, path: Path, *, may_rewrite: bool) -> Iterator[str | None]:
    """Give unused pages back to the disk in small steps; the last gives a reason where that can't be, else None."""
    if db.execute("PRAGMA auto_vacuum").fetchone()[0]:
        while db.execute("PRAGMA freelist_count").fetchone()[0]:
            db.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
            yield None
        yield None if empty_log(db) else _HELD
        return
    unused, pages = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
    if not may_rewrite or unused < _WORTH_REWRITING * pages:
        yield None
        return
    yield rewrite(path)


_HELD = "another process reads the old state just now; the room is given back when it is done"


def rewrite(path: Path) -> str | None:
    """Write the file anew without its unused pages; gives the reason where there is no room for that."""
    if (reason := _no_room_for(path)) is not None:
        return reason
    # A connection of its own, with nothing set: the copy belongs on the disk, however large it is.
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        # From now on free pages can be given back without writing everything.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("VACUUM")
        return None if empty_log(db) else _HELD
    except sqlite3.OperationalError as error:
        return f"{path.name} is not written anew: {error}"
    finally:
        db.close()


def _no_room_for(path: Path) -> str | None:
    """Why a copy of a file can't be made, where there is no room for it."""
    needed = path.stat().st_size
    for folder in (path.parent, Path(tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free
        if free < 1.2 * needed:
            return f"{path.name} is not written anew: that takes {needed:,} bytes in {folder}, where {free:,} are free"
    return None


def empty_log(db: sqlite3.Connection) -> bool:
    """Empty SQLite's log, which still has pages as they were; False where a reader keeps it from that."""
    (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def refuse_reading_only(path: Path) -> StoreError:
    """The error for a store that was not opened for writing."""
    return StoreError(f"{path} was opened for reading only")
