"""Conversations, each message once: a round keeps only what came after the longest prefix already seen.

Every request to a model repeats the whole conversation, so logs grow with the square of its turns.
Here a conversation is a chain of pieces. A piece holds the messages between two positions and what
the model said after them, in one zstd frame; its name is the digest of the position where it ends
(see `monitor.rounds.Position`), so equal beginnings are one piece whoever said them. An answer
that comes back as a message of the next request is a reference into the piece before.

There is one SQLite file a month, `history-YYYYMM.db`, which can be dropped: chains never leave it.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar
from zlib import crc32

import msgspec
import zstandard

from monitor.rounds import START, UNKNOWN_TIME, Conversation, Position
from monitor.store.base import Content, StoreError

APPLICATION_ID = 0x41534D48
SCHEMA_VERSION = 1

#: Months whose files stay open at the same time.
OPEN_MONTHS = 4
#: Bytes of recently written pieces that are remembered for each open month.
KNOWN_BYTES = 6_000_000
#: Bytes of decompressed pieces, and again of whole histories, that are kept for reading.
READ_BYTES = 6_000_000
#: SQLite does not split a row of some 2 KB to fill a page; pages of 4 KB would be a quarter empty.
PAGE_BYTES = 16_384
#: A longer run of messages is cut into several pieces, so that an edit near its end repeats little.
PIECE_BYTES = 32_768
#: A text that is shorter than this is repeated: a reference to it would save nothing.
WORTH_A_REFERENCE = 24

_MILLISECONDS_A_DAY = 86_400_000
_SECONDS_MAX = 253_402_300_799  # the end of the year 9999
_NAME = re.compile(r"history-(\d{6})\.db")
_MONTH = re.compile(r"\d{6}")

_SCHEMA = """
CREATE TABLE piece (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,  -- digest of the position behind the last message
  parent INTEGER,           -- seq of the piece before, NULL at the start of a chain
  count INTEGER NOT NULL,   -- messages up to the end of this piece; 0 for a system prompt beside them
  start INTEGER NOT NULL,   -- messages before those that the first round to end here added
  z BLOB NOT NULL           -- zstd of a msgpack _Payload
);
CREATE TABLE said (         -- what a round said that ended on a piece of another round, or on none
  seq INTEGER PRIMARY KEY,
  z BLOB NOT NULL           -- zstd of a msgpack _Said
);
CREATE TABLE round (        -- in order of time, so that new rows go to the same few pages
  second INTEGER NOT NULL,
  key BLOB NOT NULL,
  piece INTEGER,            -- NULL: nothing before the first message
  said INTEGER,             -- NULL: in the piece; 0: nothing
  start INTEGER,            -- NULL: as in the piece
  proof INTEGER NOT NULL,   -- checksum of this row, since pages have none; see _proof
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


class _Said(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True, gc=False):
    """The texts of a round besides its messages."""

    answer: bytes | None = None
    reasoning: bytes | None = None
    tool_calls: bytes | None = None
    #: Offset and length within the last message, where the question stands in it.
    question: bytes | tuple[int, int] | None = None
    truncated: bytes | None = None

    def source(self) -> bytes:
        """What the messages of a following piece may refer to."""
        return b"".join((self.answer or b"", self.reasoning or b"", self.tool_calls or b""))


class _Payload(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True, gc=False):
    """A piece as it is stored. `holes` belong to the first message: see `_without`."""

    messages: Sequence[bytes]
    said: _Said | None = None
    holes: Sequence[tuple[int, int, int]] = ()


class _Row(msgspec.Struct, frozen=True):
    """A piece as it was read, its references not yet followed."""

    seq: int
    end: Position
    parent: int | None
    start: int
    payload: _Payload


class _History(msgspec.Struct, frozen=True):
    """A chain as it was read, up to the end of one piece. `size` is in bytes."""

    system: bytes | None = None
    messages: tuple[bytes, ...] = ()
    size: int = 0


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A piece that can be built on. `said` is None where it is not at hand."""

    seq: int
    start: int
    said: _Said | None = None


Entry = tuple[bytes, int, Conversation]

_NOTHING = _Said()
_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class _Lru(Generic[_K, _V]):
    """What was used last, up to a sum of weights."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._items: OrderedDict[_K, tuple[_V, int]] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        item = self._items.get(key)
        if item is None:
            return None
        self._items.move_to_end(key)
        return item[0]

    def put(self, key: _K, value: _V, weight: int) -> None:
        old = self._items.pop(key, None)
        self._items[key] = value, weight
        self._weight += weight - (old[1] if old else 0)
        while self._weight > self._limit and len(self._items) > 1:
            self._weight -= self._items.popitem(last=False)[1][1]

    def clear(self) -> None:
        self._items.clear()
        self._weight = 0


class History:
    """The conversations of one folder. Any thread may call it; calls wait for each other.

    One process writes; any number of others may read the same folder with ``read_only=True``.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Opens nothing yet. A folder that is missing is made at the first write."""
        self._folder = folder
        self._read_only = read_only
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._lock = threading.RLock()

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep what was said in rounds, each (key, start in milliseconds, conversation), durably.

        Each month is one transaction. A round that is there already stays as it is.
        Raises HistoryError; what was written to other months before may then be kept.
        """
        if self._read_only:
            raise RuntimeError("this history was opened for reading only")
        months: dict[str, list[Entry]] = {}
        for entry in entries:
            months.setdefault(_month_of(entry[1]), []).append(entry)
        with self._lock:
            for month, part in months.items():
                file = self._file(month, create=True)
                assert file is not None
                file.write(part)

    def read(self, key: bytes, started_at: int) -> Content | None:
        """What was said in a round, its messages complete; None where it is not kept.

        `started_at` is the round's start in milliseconds, as it was written. Raises HistoryError
        rather than return a history whose digest does not match.
        """
        with self._lock:
            file = self._file(_month_of(started_at))
            return None if file is None else file.read(key, started_at, whole=True)

    def walk(self, rounds: Iterable[tuple[bytes, int]]) -> Iterator[Content | None]:
        """`read` for each (key, start) in turn; cheap where each round continues the one before."""
        for key, started_at in rounds:
            yield self.read(key, started_at)

    def added(self, key: bytes, started_at: int) -> Content | None:
        """`read` with only the messages from `new_from` on, however long the conversation is.

        `system` is given only where the round begins the conversation.
        """
        with self._lock:
            file = self._file(_month_of(started_at))
            return None if file is None else file.read(key, started_at, whole=False)

    def erase(self, rounds: Iterable[tuple[bytes, int]]) -> None:
        """Remove rounds, each (key, start), and every text that no other round has said, also from the disk.

        Takes time in proportion to the months it touches. Raises HistoryError.
        """
        if self._read_only:
            raise RuntimeError("this history was opened for reading only")
        months: dict[str, list[tuple[int, bytes]]] = {}
        for key, started_at in rounds:
            months.setdefault(_month_of(started_at), []).append((_second(started_at), key))
        with self._lock:
            for month, part in months.items():
                if (file := self._file(month)) is not None:
                    file.erase(part)

    def months(self) -> list[str]:
        """The months that are kept, as ``YYYYMM``, oldest first. Rounds without a time are in 197001."""
        with suppress(FileNotFoundError):
            return sorted(m[1] for name in os.listdir(self._folder) if (m := _NAME.fullmatch(name)))
        return []

    def drop(self, month: str) -> None:
        """Delete a month for good. Other processes that read it see it as gone."""
        if self._read_only:
            raise RuntimeError("this history was opened for reading only")
        path = self._path(month)
        with self._lock:
            if file := self._files.pop(month, None):
                file.close()
            # The log goes first: left alone by a crash, it would be taken for that of a later file.
            for end in ("-wal", "-shm", ""):
                path.with_name(path.name + end).unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop what is remembered of the files, such as after a transaction elsewhere was rolled back."""
        with self._lock:
            for file in self._files.values():
                file.forget()

    def close(self) -> None:
        """Close the files. They are opened again when needed."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, month: str) -> Path:
        if not _MONTH.fullmatch(month):
            raise ValueError(f"not a month: {month!r}")
        return self._folder / f"history-{month}.db"

    def _file(self, month: str, *, create: bool = False) -> _File | None:
        """The file of a month, opened; None where there is none."""
        path = self._path(month)
        try:
            stat = os.stat(path)
            identity = stat.st_dev, stat.st_ino
        except FileNotFoundError:
            identity = None
        file = self._files.get(month)
        if file is not None and file.identity != identity:
            # Dropped behind our back: what is written to an unlinked file is lost.
            self._files.pop(month).close()
            file = None
        if file is None:
            if identity is None:
                if not create:
                    return None
                _make(path)
            file = _File(path, read_only=self._read_only)
            self._files[month] = file
            if len(self._files) > OPEN_MONTHS:
                self._files.popitem(last=False)[1].close()
        else:
            self._files.move_to_end(month)
        return file


def _second(started_at: int) -> int:
    return min(max(started_at // 1000, 0), _SECONDS_MAX)


def _month_of(started_at: int) -> str:
    return _month_of_day(started_at // _MILLISECONDS_A_DAY)


@lru_cache(maxsize=64)
def _month_of_day(day: int) -> str:
    """A time that no calendar knows is no time."""
    seconds = day * 86_400
    return f"{datetime.fromtimestamp(seconds if 0 <= seconds <= _SECONDS_MAX else UNKNOWN_TIME, UTC):%Y%m}"


def _make(path: Path) -> None:
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


def _check(path: Path) -> tuple[int, int]:
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


def _proof(key: bytes, piece: int | None, said: int | None, start: int | None) -> int:
    return crc32(f"{piece} {said} {start}".encode(), crc32(key))


class _File:
    """The conversations of one month."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.identity = _check(path)
        try:
            if not read_only:
                os.chmod(path, 0o600)
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
                uri=True,
                timeout=30,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            raise HistoryError(path, f"cannot be opened: {error}") from error
        try:
            self._db.executescript("PRAGMA synchronous=FULL; PRAGMA cache_size=-4000;")
            if not read_only:
                self._db.executescript("PRAGMA journal_size_limit=16777216; PRAGMA secure_delete=ON;")
        except sqlite3.Error as error:
            self._db.close()
            raise HistoryError(path, f"cannot be opened: {error}") from error
        self._compress = zstandard.ZstdCompressor(level=3, write_checksum=True).compress
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._encode = msgspec.msgpack.Encoder().encode
        self._payload = msgspec.msgpack.Decoder(_Payload).decode
        self._said = msgspec.msgpack.Decoder(_Said).decode
        self._known: _Lru[bytes, _Known] = _Lru(KNOWN_BYTES)
        self._rows: _Lru[int, _Row] = _Lru(READ_BYTES)
        self._histories: _Lru[int, _History] = _Lru(READ_BYTES)
        self._erased: int | None = None
        self._careful = False

    def close(self) -> None:
        self._db.close()

    def forget(self) -> None:
        self._known.clear()
        self._rows.clear()
        self._histories.clear()

    @contextmanager
    def _transaction(self, begin: str, key: bytes | None = None) -> Iterator[None]:
        """Commit, or roll back and forget. Errors of SQLite and of what it holds become HistoryError."""
        try:
            self._db.execute(begin)
            try:
                # Rows never change, except by erasing: then nothing that is remembered holds.
                (erased,) = self._db.execute("SELECT times FROM erased").fetchone()
                if erased != self._erased:
                    self.forget()
                    self._erased = erased
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self.forget()
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.Error, zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise HistoryError(self.path, str(error), key) from error

    # Writing

    def write(self, entries: Sequence[Entry]) -> None:
        """Looks for what is there already only when something is: rounds are rarely written twice."""
        if not self._careful:
            try:
                with self._transaction("BEGIN IMMEDIATE"):
                    _Batch(self, self._known, careful=False).write(entries)
                return
            except sqlite3.IntegrityError:
                pass
        try:
            with self._transaction("BEGIN IMMEDIATE"):
                self._careful = _Batch(self, self._known, careful=True).write(entries)
        except sqlite3.IntegrityError as error:
            raise HistoryError(self.path, str(error)) from error

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._db.execute(sql, values)

    def insert(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        self._db.executemany(sql, rows)

    def pack(self, value: _Payload | _Said) -> tuple[bytes, int]:
        """A value as it is stored, and the size that it had before it was compressed."""
        text = self._encode(value)
        return self._compress(text), len(text)

    # Reading

    def read(self, key: bytes, started_at: int, *, whole: bool) -> Content | None:
        try:
            with self._transaction("BEGIN", key):
                return self._read(key, _second(started_at), whole=whole)
        except (TypeError, ValueError) as error:  # a column holds something else
            raise HistoryError(self.path, str(error), key) from error

    def _read(self, key: bytes, second: int, *, whole: bool) -> Content | None:
        found = self._db.execute(
            "SELECT piece, said, start, proof FROM round WHERE second = ? AND key = ?", (second, key)
        ).fetchone()
        if found is None:
            return None
        piece, own, start, proof = found
        if proof != _proof(key, piece, own, start):
            raise HistoryError(self.path, "its row is damaged", key)
        row: _Row | None = None
        history = _History()
        said: _Said | None = None
        if piece is not None:
            row = self._row(piece, key)
            said = row.payload.said
            if start is None:
                start = row.start
            history = self._history(row, key) if whole else self._tail(row, start, key)
        if own is not None:
            said = self._own(own, key) if own else None
        said = said or _NOTHING
        question = said.question
        if isinstance(question, tuple):
            if row is None:
                raise HistoryError(self.path, "the question is missing", key)
            offset, length = question
            question = (history.messages or self._messages(row, key))[-1][offset : offset + length]
        cut = said.truncated is not None and (row is None or row.end.count == 0)
        return Content(
            None if cut else history.messages,
            start or 0,
            history.system,
            said.truncated,
            question,
            said.answer,
            said.reasoning,
            said.tool_calls,
        )

    def _own(self, seq: int, key: bytes | None) -> _Said:
        row = self._db.execute("SELECT z FROM said WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise HistoryError(self.path, f"text {seq} is missing", key)
        return self._said(self._decompress(row[0]))

    def _row(self, seq: int, key: bytes | None) -> _Row:
        row = self._rows.get(seq)
        if row is None:
            found = self._db.execute("SELECT id, parent, count, start, z FROM piece WHERE seq = ?", (seq,)).fetchone()
            if found is None:
                raise HistoryError(self.path, f"piece {seq} is missing", key)
            id_, parent, count, start, z = found
            if parent is not None and parent >= seq:  # a parent is older; this also rules out circles
                raise HistoryError(self.path, f"piece {seq} is damaged", key)
            text = self._decompress(z)
            row = _Row(seq, Position(count, id_), parent, start, self._payload(text))
            self._rows.put(seq, row, len(text) + 500)
        return row

    def _messages(self, row: _Row, key: bytes | None) -> tuple[bytes, ...]:
        """The messages of one piece, references followed, and proved by the piece's digest."""
        messages = tuple(row.payload.messages)
        begin = START
        if row.parent is not None:
            parent = self._row(row.parent, key)
            begin = parent.end
            if row.payload.holes:
                source = (parent.payload.said or _NOTHING).source()
                messages = (_filled(messages[0], row.payload.holes, source), *messages[1:])
        if row.parent is None and row.end.count == 0:
            right = len(messages) == 1 and Position.start(messages[0]) == row.end
        else:
            right = begin.after(messages) == row.end
        if not right:
            raise HistoryError(self.path, f"piece {row.seq} does not match its digest", key)
        return messages

    def _history(self, row: _Row, key: bytes | None) -> _History:
        """System prompt and messages up to the end of a piece."""
        chain: list[_Row] = []
        at: _Row | None = row
        known: _History | None = None
        while at is not None and (known := self._histories.get(at.seq)) is None:
            chain.append(at)
            at = None if at.parent is None else self._row(at.parent, key)
        known = known or _History()
        if not chain:
            return known
        system, messages, size = known.system, list(known.messages), known.size
        for piece in reversed(chain):
            texts = self._messages(piece, key)
            size += sum(map(len, texts))
            if piece.end.count == 0:
                system = texts[0]
            else:
                messages += texts
        history = _History(system, tuple(messages), size)
        self._histories.put(row.seq, history, size)
        return history

    def _tail(self, row: _Row, start: int, key: bytes | None) -> _History:
        """The messages from `start` to the end of a piece, and the system prompt if that is the beginning."""
        parts: list[tuple[bytes, ...]] = []
        system = None
        at: _Row | None = row
        while at is not None and (at.end.count > start or not start):
            if at.end.count == 0:
                system = self._messages(at, key)[0]
            else:
                parts.append(self._messages(at, key))
            at = None if at.parent is None else self._row(at.parent, key)
        messages = tuple(text for part in reversed(parts) for text in part)
        return _History(system, messages[max(len(messages) - (row.end.count - start), 0) :])

    # Erasing

    def erase(self, rounds: Sequence[tuple[int, bytes]]) -> None:
        try:
            with self._transaction("BEGIN IMMEDIATE"):
                self._erase(rounds)
                self._db.execute("UPDATE erased SET times = times + 1")
        except sqlite3.IntegrityError as error:
            raise HistoryError(self.path, str(error)) from error
        # Until it is emptied, the log still has the pages as they were.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _erase(self, rounds: Sequence[tuple[int, bytes]]) -> None:
        db = self._db
        for second, key in rounds:
            db.execute(
                "DELETE FROM said WHERE seq = (SELECT said FROM round WHERE second = ? AND key = ?)",
                (second, key),
            )
            db.execute("DELETE FROM round WHERE second = ? AND key = ?", (second, key))
        parents: dict[int, int | None] = dict(db.execute("SELECT seq, parent FROM piece"))
        needed: set[int] = set()
        for (seq,) in db.execute("SELECT DISTINCT piece FROM round WHERE piece IS NOT NULL"):
            at: int | None = seq
            while at is not None and at not in needed:
                needed.add(at)
                at = parents.get(at)
        db.executemany("DELETE FROM piece WHERE seq = ?", [(seq,) for seq in parents if seq not in needed])
        # A piece that is still needed may carry the answer of a round that is not.
        speaking = {seq for (seq,) in db.execute("SELECT piece FROM round WHERE said IS NULL")}
        silent = {seq for seq in needed - speaking if self._row(seq, None).payload.said is not None}
        # Children first: what they refer to is then still there.
        for seq in sorted(needed, reverse=True):
            referring = parents[seq] in silent
            if not referring and seq not in silent:
                continue
            row = self._row(seq, None)
            said = None if seq in silent else row.payload.said
            if referring:
                payload = _Payload(self._messages(row, None), said)
            else:
                payload = _Payload(row.payload.messages, said, row.payload.holes)
            db.execute("UPDATE piece SET z = ? WHERE seq = ?", (self.pack(payload)[0], seq))


class _Batch:
    """The rounds of one transaction on one file, collected and then inserted."""

    def __init__(self, file: _File, known: _Lru[bytes, _Known], *, careful: bool) -> None:
        """`careful`: some of the rounds or pieces may be there already."""
        self._file = file
        self._known = known
        self._careful = careful
        self._pieces: list[tuple[object, ...]] = []
        self._own: list[tuple[object, ...]] = []
        self._rounds: list[tuple[object, ...]] = []
        self._next_piece: int = file.execute("SELECT ifnull(max(seq), 0) + 1 FROM piece").fetchone()[0]
        self._next_own: int = file.execute("SELECT ifnull(max(seq), 0) + 1 FROM said").fetchone()[0]

    def write(self, entries: Sequence[Entry]) -> bool:
        """Returns whether a round was there already. Raises IntegrityError for that, unless careful."""
        seen: set[tuple[int, bytes]] = set()
        again = False
        for key, started_at, conversation in entries:
            second = _second(started_at)
            if self._careful:
                if (second, key) in seen or self._file.execute(
                    "SELECT 1 FROM round WHERE second = ? AND key = ?", (second, key)
                ).fetchone():
                    again = True
                    continue
                seen.add((second, key))
            self._add(key, second, conversation)
        self._file.insert("INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?)", self._pieces)
        self._file.insert("INSERT INTO said VALUES (?, ?)", self._own)
        self._file.insert("INSERT INTO round VALUES (?, ?, ?, ?, ?, ?)", self._rounds)
        return again

    def _add(self, key: bytes, second: int, conversation: Conversation) -> None:
        base, messages = conversation.base, conversation.messages
        question: bytes | tuple[int, int] | None = conversation.question
        if messages and conversation.question is not None:
            offset = _find(messages[-1], conversation.question)
            if offset >= 0:
                question = offset, len(conversation.question)
        said = _Said(
            conversation.answer,
            conversation.reasoning,
            conversation.tool_calls,
            question,
            conversation.truncated,
        )
        mine = False  # whether the piece where this round ends is its own, and carries what it said
        parent = self._find(base.digest) if base.count else None
        place: _Known | None
        if parent is not None:
            start = base.count
            if not messages:
                place = parent
            else:
                place = self._known_end(conversation.end.digest)
                if place is None:
                    mine = True
                    place = self._store(base, parent, messages, conversation.end, start=start, said=said)
        else:
            if base.count:
                if conversation.whole is None:
                    raise ValueError(f"round {key.hex()}: a conversation with a base needs `whole`")
                messages = conversation.whole()
            place, start, mine = self._from_the_start(conversation.system, messages, said)
            if base.count:
                start = base.count
        if place is None:
            self._end(second, key, None, self._say(said), None)
            return
        own = None if mine else self._say(said)
        # A round that brought nothing new added what the first round in its place did.
        added = None if start == place.start or start >= base.count + len(messages) else start
        self._end(second, key, place.seq, own, added)

    def _end(self, second: int, key: bytes, piece: int | None, own: int | None, start: int | None) -> None:
        self._rounds.append((second, key, piece, own, start, _proof(key, piece, own, start)))

    def _from_the_start(
        self, system: bytes | None, messages: tuple[bytes, ...], said: _Said
    ) -> tuple[_Known | None, int, bool]:
        """Store a conversation that is given completely behind the longest part of it that is known.

        Returns the piece where it ends, how many messages were there before, and whether the piece is new.
        """
        begin = Position.start(system)
        trail = begin.trail(messages)
        leading = _leading(messages)
        depth, parent = self._deepest(begin, trail, leading)
        if parent is None and system is not None:
            parent = self._keep(begin, None, [system], start=0)
        if depth == len(messages):
            return parent, depth, False
        start = 0 if depth <= leading else depth
        at = trail[depth - 1] if depth else begin
        if depth < leading < len(messages):
            # What leads is likely to lead other conversations too.
            end = trail[leading - 1]
            parent = self._store(at, parent, messages[depth:leading], end, start=start)
            at, depth = end, leading
        return self._store(at, parent, messages[depth:], trail[-1], start=start, said=said), start, True

    def _deepest(self, begin: Position, trail: list[Position], leading: int) -> tuple[int, _Known | None]:
        """How much of a conversation is known, in messages, and the piece that ends there."""
        if not self._careful:
            for at in reversed(trail[leading:]):
                if (known := self._known.get(at.digest)) is not None:
                    return at.count, known
        places = [at for at in (begin, *trail) if at.digest]
        while places:
            part, places = places[-250:], places[:-250]
            found = {at.digest: self._known.get(at.digest) for at in part}
            marks = ",".join("?" * len(part))
            for id_, seq, start in self._file.execute(
                f"SELECT id, seq, start FROM piece WHERE id IN ({marks})",
                [at.digest for at in part],
            ):
                found[id_] = found[id_] or _Known(seq, start)
            for at in reversed(part):
                if (known := found[at.digest]) is not None:
                    return at.count, known
        return 0, None

    def _known_end(self, digest: bytes) -> _Known | None:
        """The piece that ends there, if it is there. Unless careful, a guess that the database checks."""
        return self._find(digest) if self._careful else self._known.get(digest)

    def _find(self, digest: bytes) -> _Known | None:
        known = self._known.get(digest)
        if known is None:
            row = self._file.execute("SELECT seq, start FROM piece WHERE id = ?", (digest,)).fetchone()
            if row is not None:
                known = _Known(*row)
                self._known.put(digest, known, 300)
        return known

    def _store(
        self,
        at: Position,
        parent: _Known | None,
        messages: Sequence[bytes],
        end: Position,
        *,
        start: int,
        said: _Said | None = None,
    ) -> _Known:
        """Store `messages`, which lead from `at` to `end`, as one piece or, if they are long, as several."""
        holes: Sequence[tuple[int, int, int]] = ()
        texts = messages
        if parent is not None and parent.said is not None:
            rest, holes = _without(messages[0], parent.said)
            if holes:
                texts = [rest, *messages[1:]]
        if len(messages) > 1 and sum(map(len, messages)) > PIECE_BYTES:
            size, first = 0, 0
            for i, message in enumerate(messages):
                if size and size + len(message) > PIECE_BYTES:
                    at = at.after(messages[first:i])
                    # Another conversation may have been cut here too, and have gone on differently.
                    parent = self._known_end(at.digest) or self._keep(
                        at, parent, texts[first:i], start=start, holes=holes
                    )
                    size, first, holes = 0, i, ()
                size += len(message)
            texts = texts[first:]
        return self._keep(end, parent, texts, start=start, said=said, holes=holes)

    def _keep(
        self,
        end: Position,
        parent: _Known | None,
        texts: Sequence[bytes],
        *,
        start: int,
        said: _Said | None = None,
        holes: Sequence[tuple[int, int, int]] = (),
    ) -> _Known:
        seq = self._next_piece
        self._next_piece += 1
        z, size = self._file.pack(_Payload(texts, said, holes))
        self._pieces.append((seq, end.digest, parent.seq if parent else None, end.count, start, z))
        known = _Known(seq, start, said)
        self._known.put(end.digest, known, 400 if said is None else 400 + size)
        return known

    def _say(self, said: _Said) -> int:
        if said == _NOTHING:
            return 0
        seq = self._next_own
        self._next_own += 1
        self._own.append((seq, self._file.pack(said)[0]))
        return seq


class _Role(msgspec.Struct):
    role: str = ""


_role: Callable[[bytes], _Role] = msgspec.json.Decoder(_Role).decode


def _leading(messages: Sequence[bytes]) -> int:
    """How many messages at the beginning are instructions of whoever built the agent."""
    for i, message in enumerate(messages):
        try:
            if _role(message).role not in {"system", "developer"}:
                return i
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return i
    return len(messages)


def _find(text: bytes, part: bytes) -> int:
    """`text.find(part)`, without its costly preparation where the beginning of `part` finds the place."""
    offset = text.find(part[:16])
    return offset if offset < 0 or text.startswith(part, offset) else text.find(part, offset)


def _without(message: bytes, said: _Said) -> tuple[bytes, list[tuple[int, int, int]]]:
    """Take out of a message what the round before said.

    Returns what is left, and for each hole its offset in the message, the offset of the text in
    ``said.source()``, and its length in bytes. `_filled` undoes it.
    """
    found: list[tuple[int, int, int]] = []
    begin = 0
    for text in (said.answer, said.reasoning, said.tool_calls):
        if not text:
            continue
        if len(text) >= WORTH_A_REFERENCE:
            offset = _find(message, text)
            if offset >= 0:
                found.append((offset, begin, len(text)))
            elif text is said.tool_calls:
                # Clients send calls back with other fields. Between strings, which cannot hold
                # the separator themselves, the rest is mostly alike.
                at = begin
                for part in text.split(b'","'):
                    if len(part) >= WORTH_A_REFERENCE and (offset := _find(message, part)) >= 0:
                        found.append((offset, at, len(part)))
                    at += len(part) + 3
        begin += len(text)
    if not found:
        return message, found
    found.sort()
    rest: list[bytes] = []
    holes: list[tuple[int, int, int]] = []
    end = 0
    for offset, at, length in found:
        if offset >= end:
            rest.append(message[end:offset])
            holes.append((offset, at, length))
            end = offset + length
    rest.append(message[end:])
    return b"".join(rest), holes


def _filled(rest: bytes, holes: Sequence[tuple[int, int, int]], source: bytes) -> bytes:
    """The message that `_without` took apart."""
    parts: list[bytes] = []
    used = length_so_far = 0
    for offset, at, length in holes:
        take = offset - length_so_far
        parts.append(rest[used : used + take])
        parts.append(source[at : at + length])
        used += take
        length_so_far = offset + length
    parts.append(rest[used:])
    return b"".join(parts)


__all__ = ["Content", "Entry", "History", "HistoryError"]
