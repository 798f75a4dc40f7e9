"""The SQLite file of one month: its tables, how it is made, and how a foreign one is refused."""

from __future__ import annotations

import os
import secrets
import sqlite3
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from zlib import crc32

from monitor.rounds import UNKNOWN_TIME
from monitor.store.base import StoreError

APPLICATION_ID = 0x41534D48
SCHEMA_VERSION = 1

#: SQLite does not split a row of some 2 KB to fill a page; pages of 4 KB would be a quarter empty.
PAGE_BYTES = 16_384

_MILLISECONDS_A_DAY = 86_400_000
_SECONDS_MAX = 253_402_300_799  # the end of the year 9999

_SCHEMA = """
CREATE TABLE piece (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,  -- digest of the position behind the last message
  parent INTEGER,           -- seq of the piece before, NULL at the start of a chain
  count INTEGER NOT NULL,   -- messages up to the end of this piece; 0 for a system prompt beside them
  start INTEGER NOT NULL,   -- messages before those that the first round to end here added
  z BLOB NOT NULL           -- zstd of a msgpack Payload
);
CREATE TABLE said (         -- what a round said that ended on a piece of another round, or on none
  seq INTEGER PRIMARY KEY,
  z BLOB NOT NULL           -- zstd of a msgpack Said
);
CREATE TABLE round (        -- in order of time, so that new rows go to the same few pages
  second INTEGER NOT NULL,
  key BLOB NOT NULL,
  piece INTEGER,            -- NULL: nothing before the first message
  said INTEGER,             -- NULL: in the piece; 0: nothing
  start INTEGER,            -- NULL: as in the piece
  proof INTEGER NOT NULL,   -- checksum of this row, since pages have none; see row_proof
  PRIMARY KEY (second, key)
) WITHOUT ROWID;
CREATE TABLE erased (times INTEGER NOT NULL);
INSERT INTO erased VALUES (0);
"""


class HistoryError(StoreError):
    """A history file cannot be used, or does not hold what it should. The text names file and round."""

    def __init__(self, path: Path, what: str, key: bytes | None = None) -> None:
        """`path` is the file, `key` the round that was asked for, if any."""
        self.path = path
        self.key = key
        super().__init__(f"{path}: {what}" if key is None else f"{path}: round {key.hex()}: {what}")


def second_of(started_at: int) -> int:
    """The second in which a round started, given in milliseconds; anything else is cut to what has a date."""
    return min(max(started_at // 1000, 0), _SECONDS_MAX)


def month_of(started_at: int) -> str:
    """The month of a time in milliseconds, as ``YYYYMM``."""
    return _month_of_day(started_at // _MILLISECONDS_A_DAY)


@lru_cache(maxsize=64)
def _month_of_day(day: int) -> str:
    """A time that no calendar knows is no time."""
    seconds = day * 86_400
    return f"{datetime.fromtimestamp(seconds if 0 <= seconds <= _SECONDS_MAX else UNKNOWN_TIME, UTC):%Y%m}"


def make_file(path: Path) -> None:
    """Make an empty history file, which appears under its name only when it is complete."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        db = sqlite3.connect(draft, isolation_level=None)
        try:
            # SQLite gives its side files the mode of the database.
            db.executescript(
                f"PRAGMA page_size={PAGE_BYTES}; PRAGMA synchronous=FULL;"
                f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
                f"BEGIN; {_SCHEMA} COMMIT; PRAGMA journal_mode=WAL;"
            )
        finally:
            db.close()
        try:
            os.link(draft, path)
        except FileExistsError:  # another process was faster
            pass
        except OSError:  # a file system without links
            if not path.exists():
                draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, sqlite3.Error) as error:
        raise HistoryError(path, f"cannot be made: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def check_file(path: Path) -> tuple[int, int]:
    """Refuse what is not ours before SQLite touches it. Returns the file's device and inode."""
    try:
        with open(path, "rb") as file:
            head = file.read(100)
            stat = os.fstat(file.fileno())
    except OSError as error:
        raise HistoryError(path, f"cannot be opened: {error}") from error
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        raise HistoryError(path, "is not a history file, or is damaged")
    if int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        raise HistoryError(path, "is a database of another program")
    if (version := int.from_bytes(head[60:64], "big")) != SCHEMA_VERSION:
        raise HistoryError(path, f"has version {version} of the history format; this program knows {SCHEMA_VERSION}")
    return stat.st_dev, stat.st_ino


def row_proof(key: bytes, piece: int | None, said: int | None, start: int | None) -> int:
    """The checksum of a row of `round`."""
    return crc32(f"{piece} {said} {start}".encode(), crc32(key))
