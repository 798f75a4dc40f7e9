"""The SQLite file: its tables, its version, and the checks before anything touches it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.store.base import OlderStore, StoreError

#: Marks the file as ours (``file`` and ``PRAGMA application_id`` show it).
APPLICATION_ID = 0x41534D31
#: Round ids count milliseconds from here (2020-01-01), so that they fit with 22 bits of digest below.
EPOCH_MS = 1_577_836_800_000
QUARTER_MS = 900_000
DAY_MS = 86_400_000

#: A window begins here at the earliest: what lies before has no usable time.
FIRST_MS = DAY_MS
#: The sums that every total and roll-up keeps, in this order; see `monitor.store.base.Counts`.
COUNTS = (
    "rounds",
    "failed",
    "unmetered",
    "lower_bound",
    "input",
    "output",
    "reasoning",
    "cached",
    "cache_write",
    "nano",
    "latency",
    "latency_rounds",
    "ttft",
    "ttft_rounds",
    "reported",
)
#: Sums that stay NULL as long as no round knows the figure; the others are never NULL.
MAYBE = frozenset(("input", "output", "reasoning", "cached", "cache_write", "nano", "latency", "ttft", "reported"))

#: The first schema had no `reported`.
_COUNT_COLUMNS = ",\n  ".join(f"{c} INTEGER" if c in MAYBE else f"{c} INTEGER NOT NULL" for c in COUNTS[:14])

#: How a set of rows of ``round`` (or ``batch``, which has the same columns) is summed.
SUMS = """count(*), sum(NOT flags & 1), sum(input IS NULL AND output IS NULL), sum((flags & 2) != 0),
  sum(input), sum(output), sum(reasoning), sum(cached), sum(cache_write), sum(nano),
  sum(latency), count(latency), sum(ttft), count(ttft), sum(reported)"""

#: The same of rows that hold counts already, such as those of `COUNTED`.
COUNT_SUMS = ", ".join(f"sum({name})" for name in COUNTS)

#: Every round that was ever counted, as rows of ``rid, sid, facet, model, price`` and counts: those that are stored
#: one by one, and those that were pruned as the sums of their quarter, under the first id of that quarter.
COUNTED = f"""(SELECT rid, sid, facet, model, price, 1 AS rounds, NOT flags & 1 AS failed,
  input IS NULL AND output IS NULL AS unmetered, (flags & 2) != 0 AS lower_bound, input, output, reasoning, cached,
  cache_write, nano, latency, latency IS NOT NULL AS latency_rounds, ttft, ttft IS NOT NULL AS ttft_rounds, reported
  FROM round UNION ALL SELECT rid, sid, facet, model, price, {", ".join(COUNTS)} FROM pruned)"""

#: How sums are added to sums that are there: an unknown figure changes nothing.
ADD = ",\n  ".join(
    f"{c} = CASE WHEN excluded.{c} IS NULL THEN {c} ELSE ifnull({c}, 0) + excluded.{c} END"
    if c in MAYBE
    else f"{c} = {c} + excluded.{c}"
    for c in COUNTS
)

_ROUND_COLUMNS = """
  rid INTEGER PRIMARY KEY,        -- (start in ms - EPOCH_MS) << 22 | 22 bits of the key: in order of time
  key BLOB NOT NULL,
  sid INTEGER NOT NULL,
  facet INTEGER NOT NULL,
  model INTEGER NOT NULL,
  price INTEGER NOT NULL,
  input INTEGER, output INTEGER, reasoning INTEGER, cached INTEGER, cache_write INTEGER, cache_write_1h INTEGER,
  nano INTEGER,
  latency INTEGER, ttft INTEGER,
  status INTEGER,
  turn INTEGER, opening INTEGER,
  flags INTEGER NOT NULL,         -- 1 success, 2 cost is a lower bound, 4 tool calls, 8 content kept,
                                  -- 16 session inferred, 32 normal, 64 stream, 128 convention is not openai,
                                  -- 256 the log lost counts (2 holds that, and parts without a price)
  request_id TEXT, response_id TEXT,
  extra TEXT"""

_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE name (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE);
INSERT INTO name VALUES (0, '');
CREATE TABLE facet (
  id INTEGER PRIMARY KEY,
  source INTEGER NOT NULL, consumer INTEGER NOT NULL, route INTEGER NOT NULL, function INTEGER NOT NULL,
  user_id INTEGER NOT NULL, agent INTEGER NOT NULL, host INTEGER NOT NULL,
  UNIQUE (source, consumer, route, function, user_id, agent, host)
);
CREATE TABLE price (
  id INTEGER PRIMARY KEY,
  status TEXT NOT NULL, currency TEXT NOT NULL, source TEXT NOT NULL, version TEXT NOT NULL,
  UNIQUE (status, currency, source, version)
);
CREATE TABLE session (
  sid INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,          -- 0 a session, 1 the rounds of a consumer that named none
  session_id TEXT NOT NULL,       -- for kind 1 the consumer
  inferred INTEGER NOT NULL,
  first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,
  rounds INTEGER NOT NULL, tokens INTEGER NOT NULL,
  spend REAL NOT NULL,            -- only to sort by: currencies at fixed weights
  model INTEGER NOT NULL, model_at INTEGER NOT NULL,
  consumer INTEGER NOT NULL, consumer_at INTEGER NOT NULL,
  agent INTEGER NOT NULL, channel INTEGER NOT NULL, parent INTEGER,
  question TEXT, question_at INTEGER,
  sources INTEGER NOT NULL,       -- bits: 1 higress, 2 openclaw, 4 usage
  grown INTEGER NOT NULL DEFAULT 0, -- number of the batch that last added a round
  UNIQUE (kind, session_id)
);
CREATE INDEX session_updated ON session (last_at, sid) WHERE kind = 0;
CREATE INDEX session_created ON session (first_at, sid) WHERE kind = 0;
CREATE INDEX session_spend ON session (spend, sid) WHERE kind = 0;
CREATE INDEX session_tokens ON session (tokens, sid) WHERE kind = 0;
CREATE INDEX session_rounds ON session (rounds, sid) WHERE kind = 0;
CREATE INDEX session_grown ON session (grown) WHERE kind = 0;
CREATE TABLE session_name (name TEXT PRIMARY KEY, sid INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX session_name_of ON session_name (sid);
CREATE TABLE session_slice (
  sid INTEGER NOT NULL, model INTEGER NOT NULL, price INTEGER NOT NULL,
  {_COUNT_COLUMNS},
  PRIMARY KEY (sid, model, price)
) WITHOUT ROWID;
CREATE TABLE round ({_ROUND_COLUMNS});
CREATE INDEX round_of_session ON round (sid);
CREATE INDEX round_response ON round (response_id) WHERE response_id IS NOT NULL;
CREATE TABLE quarter (
  at INTEGER NOT NULL, model INTEGER NOT NULL, price INTEGER NOT NULL,
  {_COUNT_COLUMNS},
  PRIMARY KEY (at, model, price)
) WITHOUT ROWID;
CREATE TABLE day (
  at INTEGER NOT NULL, facet INTEGER NOT NULL, model INTEGER NOT NULL, price INTEGER NOT NULL,
  {_COUNT_COLUMNS},
  PRIMARY KEY (at, facet, model, price)
) WITHOUT ROWID;
CREATE TABLE total (
  model INTEGER NOT NULL, price INTEGER NOT NULL,
  {_COUNT_COLUMNS},
  PRIMARY KEY (model, price)
) WITHOUT ROWID;
CREATE TABLE model_sessions (model INTEGER PRIMARY KEY, sessions INTEGER NOT NULL);
CREATE TABLE presence (
  at INTEGER NOT NULL, model INTEGER NOT NULL, sid INTEGER NOT NULL, PRIMARY KEY (at, model, sid)
) WITHOUT ROWID;
CREATE TABLE checkpoint (
  id BLOB PRIMARY KEY, source TEXT NOT NULL, path TEXT NOT NULL,
  "offset" INTEGER NOT NULL, size INTEGER NOT NULL, position BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE occurrence (
  file BLOB NOT NULL, key BLOB NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (file, key)
) WITHOUT ROWID;
CREATE TABLE skipped (
  source TEXT NOT NULL, reason TEXT NOT NULL, n INTEGER NOT NULL, sample BLOB NOT NULL, PRIMARY KEY (source, reason)
) WITHOUT ROWID;
"""

#: A batch while it is being added: the same columns as ``round``, and what only sessions keep.
BATCH_TABLE = f"""
CREATE TEMP TABLE IF NOT EXISTS batch ({_ROUND_COLUMNS},
  reported INTEGER,
  at INTEGER NOT NULL, source_bit INTEGER NOT NULL, weight REAL NOT NULL, question TEXT
)"""


def first_rid(ms: int) -> int:
    """The smallest round id of a moment, in milliseconds since 1970."""
    return max(-(1 << 63), min((1 << 63) - 1, (ms - EPOCH_MS) << 22))


def _first(db: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)


def _second(db: sqlite3.Connection) -> None:
    """Costs that sources report, budgets, and who was told of them."""
    for table in ("round", "session_slice", "quarter", "day", "total"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN reported INTEGER")
    # Of a lower bound that was kept before, nobody can tell any more whose it was: it stays one.
    db.execute("UPDATE round SET flags = flags | 256 WHERE flags & 2")
    for statement in _SECOND_TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)


_SECOND_TABLES = """
CREATE TABLE new_price (
  id INTEGER PRIMARY KEY,
  status TEXT NOT NULL, currency TEXT NOT NULL, source TEXT NOT NULL, version TEXT NOT NULL,
  reported_currency TEXT NOT NULL, -- of the cost that the source reports; empty where it reports none
  UNIQUE (status, currency, source, version, reported_currency)
);
INSERT INTO new_price SELECT id, status, currency, source, version, '' FROM price;
DROP TABLE price;
ALTER TABLE new_price RENAME TO price;
CREATE TABLE budget (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  rule TEXT NOT NULL              -- JSON, what its sums depend on: other than the configured, they are made anew
);
CREATE TABLE budget_sum (
  budget INTEGER NOT NULL,
  at INTEGER NOT NULL,            -- when the period begins, ms since 1970; 0 for budgets of a session
  slot TEXT NOT NULL,             -- whose money it is: a session, or a value of what the budget is kept per
  currency TEXT NOT NULL,         -- empty for rounds without a cost
  nano INTEGER NOT NULL, tokens INTEGER NOT NULL, rounds INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  PRIMARY KEY (budget, at, slot, currency)
) WITHOUT ROWID;
CREATE TABLE alert (
  id INTEGER PRIMARY KEY,
  budget TEXT NOT NULL,
  at INTEGER NOT NULL, slot TEXT NOT NULL,
  share INTEGER NOT NULL,         -- that was passed, in millionths of the limit
  "limit" TEXT NOT NULL,
  crossed_at INTEGER NOT NULL,
  facts TEXT NOT NULL,            -- JSON, as they stood then
  UNIQUE (budget, at, slot, share, "limit")
);
CREATE TABLE delivery (
  alert INTEGER NOT NULL, channel TEXT NOT NULL,
  state TEXT NOT NULL,            -- waiting, sent, failed
  tries INTEGER NOT NULL, next_at INTEGER NOT NULL, done_at INTEGER, error TEXT,
  PRIMARY KEY (alert, channel)
) WITHOUT ROWID;
CREATE INDEX delivery_waiting ON delivery (next_at) WHERE state = 'waiting';
"""


def _third(db: sqlite3.Connection) -> None:
    """How long answers took, counted by steps."""
    from monitor.store import latency  # noqa: PLC0415 - it is told of the schema, once

    db.execute(latency.TABLE)
    latency.count(db, "round")


def _fourth(db: sqlite3.Connection) -> None:
    """Calls that several sources saw, and which file a usage record came from."""
    columns = _ROUND_COLUMNS.replace("sid INTEGER", "session INTEGER")
    for statement in _THIRD_TABLES.format(columns=columns).split(";\n"):
        if statement.strip():
            db.execute(statement)


_THIRD_TABLES = """
CREATE TABLE witness (            -- what each source said of a call that several saw; ``session`` is a name
  {columns},
  reported INTEGER,
  counted INTEGER NOT NULL        -- the round that counts for the call: of the first witness, with what all know
);
CREATE INDEX witness_response ON witness (response_id);
CREATE INDEX witness_counted ON witness (counted);
CREATE TABLE gap (
  rid INTEGER PRIMARY KEY,        -- that no round has any more, and none may get
  key BLOB NOT NULL               -- of a record that is not counted again; empty where it may be
);
CREATE TABLE origin (
  file INTEGER NOT NULL, rid INTEGER NOT NULL,  -- the name of a file, a round that stands in it
  PRIMARY KEY (file, rid)
) WITHOUT ROWID;
CREATE INDEX origin_of ON origin (rid);
CREATE TABLE record (             -- rounds with an origin by their key alone: an id is one whatever time it comes with
  key BLOB PRIMARY KEY, rid INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE followed (
  source TEXT PRIMARY KEY,
  kind TEXT NOT NULL, settings TEXT NOT NULL  -- JSON: how it is read, besides
) WITHOUT ROWID;
"""


def _fifth(db: sqlite3.Connection) -> None:
    """Names of sessions, and which session started which, as OpenClaw tells them."""
    for statement in _NAMES.split(";\n"):
        if statement.strip():
            db.execute(statement)


_NAMES = """
CREATE TABLE known_name (name TEXT PRIMARY KEY, session_id TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX known_name_of ON known_name (session_id);
CREATE TABLE known_session (session_id TEXT PRIMARY KEY, parent TEXT, channel TEXT) WITHOUT ROWID;
CREATE INDEX known_session_below ON known_session (parent) WHERE parent IS NOT NULL;
"""


def _sixth(db: sqlite3.Connection) -> None:
    """Rounds that are no more, sessions of which nothing is kept that was said, and what is known of each source."""
    for statement in _SIXTH_TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)


_SIXTH_COUNTS = ",\n  ".join(f"{c} INTEGER" if c in MAYBE else f"{c} INTEGER NOT NULL" for c in COUNTS[:15])
_SIXTH_TABLES = f"""
ALTER TABLE session ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
CREATE TABLE pruned (            -- sums of rounds that are stored no longer
  rid INTEGER NOT NULL,          -- the first round id of their quarter of an hour
  sid INTEGER NOT NULL, facet INTEGER NOT NULL, model INTEGER NOT NULL, price INTEGER NOT NULL,
  {_SIXTH_COUNTS},
  PRIMARY KEY (rid, sid, facet, model, price)
) WITHOUT ROWID;
CREATE INDEX pruned_of_session ON pruned (sid);
CREATE TABLE pruned_latency (    -- what rounds that are stored no longer add to `latency`
  kind INTEGER NOT NULL, model INTEGER NOT NULL, step INTEGER NOT NULL, rounds INTEGER NOT NULL,
  PRIMARY KEY (kind, model, step)
) WITHOUT ROWID;
CREATE TABLE pruned_key (
  at INTEGER PRIMARY KEY,        -- a quarter of an hour
  digests BLOB NOT NULL          -- 8 bytes for each of its rounds that is stored no longer: it never counts again
);
CREATE TABLE silenced (          -- sessions that were purged: of what is said in them nothing is kept
  digest BLOB PRIMARY KEY
) WITHOUT ROWID;
CREATE TABLE feed (
  source TEXT PRIMARY KEY,
  format TEXT NOT NULL,          -- of the lines that came last
  rounds INTEGER NOT NULL,       -- that came from it first
  last_at INTEGER NOT NULL,      -- the newest start of a round, ms since 1970
  missed INTEGER NOT NULL,       -- how often a file was gone before it was read to its end
  missed_at INTEGER, missed_path TEXT
) WITHOUT ROWID;
"""


#: One step a schema version, in order; a released step is never edited.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _first,
    _second,
    _third,
    _fourth,
    _fifth,
    _sixth,
)
VERSION = len(MIGRATIONS)


def create_private(path: Path) -> None:
    """Make an empty file that only its owner can read; SQLite gives its side files the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the database and make sure that it is ours, whole and not newer than this program.

    Raises:
        StoreError: with the file's name and the way out. The file is left as it is.
        FileNotFoundError: `read_only`, and nothing has been stored yet.
    """
    if read_only and not path.exists():
        raise FileNotFoundError(path)
    db: sqlite3.Connection | None = None
    try:
        with explaining(path):
            if not read_only:
                create_private(path)
            db = _open(path, "ro")
            version = _checked_version(db, path)
            if not read_only:
                # Only now: whoever opens for writing and closes again may change the file, and it is ours.
                db.close()
                db = _open(path, "rw")
                version = _checked_version(db, path)
            db.execute("PRAGMA cache_size = -8192")
            db.execute("PRAGMA temp_store = MEMORY")
            if read_only:
                if version == 0:
                    raise FileNotFoundError(path)  # another process is about to make the tables
                if version < VERSION:
                    raise OlderStore(
                        f"{path} has schema version {version}, this program needs {VERSION}: "
                        "start `session-monitor ingest` or `serve` once, which brings it up to date"
                    )
                return db
            if version == 0:
                # Later only a rewriting of the whole file could bring it about.
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _use_wal(db)
            db.execute("PRAGMA synchronous = NORMAL")
            # What is deleted is to be gone, not merely unused.
            db.execute("PRAGMA main.secure_delete = ON")
            if version < VERSION:
                _migrate(db)
            return db
    except BaseException:
        if db is not None:
            db.close()
        raise


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Say what SQLite says of a file with the way out; what only this program can be blamed for stays as it is.

    Raises:
        StoreError: the file is damaged or locked, or its disk is full or broken.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        # What stands above the lowest byte tells kinds of one trouble apart.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreError(
                f"{path} can't be used: {error}. Move it away to start anew (the logs that still exist are read "
                "again), or recover it with `sqlite3 FILE .recover`"
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(f"{path} is locked by another program: {error}") from error
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise StoreError(
                f"{path} can't be used just now: {error}. See that its disk has room and that its folder can be written"
            ) from error
        raise


def _use_wal(db: sqlite3.Connection) -> None:
    """Change to write-ahead logging; SQLite does not wait by itself where several processes do so at once."""
    for attempt in range(100):
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == 99:
                raise
            time.sleep(0.05)


def _checked_version(db: sqlite3.Connection, path: Path) -> int:
    # One snapshot: another process may be making the tables just now.
    db.execute("BEGIN")
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    db.execute("COMMIT")
    if application != APPLICATION_ID:
        if application == 0 and version == 0 and not tables:
            return 0
        raise StoreError(f"{path} belongs to another program: name another --data-dir, or move the file away")
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer version (schema {version}, this program knows {VERSION}): "
            "update agent-session-monitor, or name another --data-dir"
        )
    return version


def _migrate(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        for step in MIGRATIONS[version:]:
            step(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk ends it by itself
            db.execute("ROLLBACK")
        raise
