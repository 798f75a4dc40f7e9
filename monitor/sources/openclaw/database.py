"""Transcripts in an agent's SQLite file (releases from 2026.7.2 on), read while OpenClaw writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import xxhash
import zstandard

from monitor.sources.openclaw.names import Index, naming

#: The newest schema that was seen (2026.9.6).
KNOWN_SCHEMA = 23
_NEEDED = frozenset(("session_id", "seq", "event_json"))
_ROWS = 500
_MAX_EVENT = 64 << 20
_WAL_INDEX_HEADER = 96

#: Session by session through the index, without a look at all their events.
_LAST = """
WITH RECURSIVE s(id) AS (
  SELECT min(session_id) FROM transcript_events
  UNION ALL
  SELECT (SELECT min(session_id) FROM transcript_events WHERE session_id > s.id) FROM s WHERE s.id IS NOT NULL
)
SELECT id, (SELECT max(seq) FROM transcript_events WHERE session_id = s.id) FROM s WHERE id IS NOT NULL"""


class OtherSchema(Exception):
    """The database can't be read by what is known here; the message says so with the way out."""


class Event(msgspec.Struct, frozen=True):
    """One event as it is stored; `text` is None where it can't be unpacked."""

    seq: int
    text: bytes | None
    mark: bytes


class AgentDatabase:
    """One agent's database, open for reading. Each question is answered by itself, so that no lock is held."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self._tables = {name: self._columns(name) for (name,) in tables}
        self.schema = int(db.execute("PRAGMA user_version").fetchone()[0])
        missing = _NEEDED - self._tables.get("transcript_events", set())
        if missing:
            raise OtherSchema(
                f"its schema {self.schema} keeps transcripts elsewhere (no {', '.join(sorted(missing))} in "
                f"transcript_events); this program knows schemas up to {KNOWN_SCHEMA}: update it, until then nothing "
                "of this agent is counted from here"
            )
        self._packed = "event_zstd" if "event_zstd" in self._tables["transcript_events"] else "NULL"
        self.path = path

    def _columns(self, table: str) -> set[str]:
        return {row[0] for row in self._db.execute("SELECT name FROM pragma_table_info(?)", (table,))}

    def last_events(self) -> dict[str, int]:
        """The number of the last event of each session."""
        return {row[0]: row[1] for row in self._db.execute(_LAST) if isinstance(row[0], str)}

    def mark_of(self, session_id: str, seq: int) -> bytes | None:
        """What an event is known by; None where it is gone."""
        row = self._db.execute(
            f"SELECT event_json, {self._packed} FROM transcript_events WHERE session_id = ? AND seq = ?",  # noqa: S608 - the name is one of two above
            (session_id, seq),
        ).fetchone()
        return None if row is None else _mark(row[0], row[1])

    def events(self, session_id: str, after: int) -> Iterator[Event]:
        """The events of a session behind a place, a few hundred at a time."""
        while True:
            rows = self._db.execute(
                f"SELECT seq, event_json, {self._packed} FROM transcript_events "  # noqa: S608 - as above
                "WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?",
                (session_id, after, _ROWS),
            ).fetchall()
            for seq, plain, packed in rows:
                yield Event(seq, _text(plain, packed), _mark(plain, packed))
            if len(rows) < _ROWS:
                return
            after = rows[-1][0]

    def archives(self) -> dict[str, tuple[str, int]]:
        """Transcripts that were put away in the database: name -> (session id, size)."""
        if not {"session_id", "archive_name", "archive_blob"} <= self._tables.get("session_transcript_archives", set()):
            return {}
        rows = self._db.execute(
            "SELECT archive_name, session_id, length(archive_blob) FROM session_transcript_archives"
        )
        return {str(name): (str(session_id), int(size or 0)) for name, session_id, size in rows}

    def archive(self, name: str) -> list[bytes]:
        """The records of a transcript that was put away.

        Raises:
            zstandard.ZstdError: it is damaged.
        """
        row = self._db.execute(
            "SELECT encoding, archive_blob FROM session_transcript_archives WHERE archive_name = ?", (name,)
        ).fetchone()
        if row is None:
            return []
        content = row[1].encode() if isinstance(row[1], str) else bytes(row[1] or b"")
        if row[0] == "zstd":
            content = _unpacked(content)
        return [line for line in content.split(b"\n") if line.strip()]

    def index(self) -> Index:
        """Which keys the sessions have."""
        index = Index()
        for table, id_ in (
            ("session_windows", "session_id"),
            ("session_nodes", "current_session_id"),
            ("session_transcript_archives", "session_id"),
        ):
            columns = self._tables.get(table, set())
            if not {id_, "session_key"} <= columns:
                continue
            known = [n if n in columns else "NULL" for n in ("parent_session_key", "spawned_by", "channel")]
            rows = self._db.execute(f"SELECT {id_}, session_key, {', '.join(known)} FROM {table}")  # noqa: S608 - names from above
            for session_id, key, parent, spawned, channel in rows:
                found = naming(session_id, key, parent or spawned, channel)
                if found is not None:
                    index.add(found)
        return index

    def forks(self) -> set[str]:
        """The ids of sessions that began as copies of others."""
        forks = set()
        if {"session_id", "reason"} <= self._tables.get("session_windows", set()):
            rows = self._db.execute("SELECT session_id FROM session_windows WHERE reason IN ('fork', 'rewind')")
            forks = {row[0] for row in rows}
        if {"current_session_id", "fork_source_session_id"} <= self._tables.get("session_nodes", set()):
            rows = self._db.execute(
                "SELECT current_session_id FROM session_nodes WHERE fork_source_session_id IS NOT NULL"
            )
            forks |= {row[0] for row in rows}
        return forks


def side_file(path: Path) -> Path:
    """Where a database has what is not in its main file yet."""
    return path.with_name(path.name + "-wal")


def change_counter(path: Path) -> bytes:
    """What changes in the moment in which a transaction can be seen.

    The side file grows before that: whoever looks only there may think that it has read what it can't see yet.
    SQLite keeps this beginning of the index of the side file for its readers (the WAL-index header).
    """
    try:
        with path.with_name(path.name + "-shm").open("rb") as shared:
            return shared.read(_WAL_INDEX_HEADER)
    except OSError:
        return b""


@contextmanager
def opened(path: Path) -> Iterator[AgentDatabase]:
    """The database at a path, for as long as the context lasts. Nothing is written, and nobody waits for us.

    Raises:
        sqlite3.Error: it can't be read.
        OtherSchema: it is of a kind that is not known here.
    """
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1, isolation_level=None)
    try:
        db.execute("PRAGMA query_only = ON")
        db.text_factory = _lenient
        yield AgentDatabase(db, path)
    finally:
        db.close()


def _lenient(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _text(plain: object, packed: object) -> bytes | None:
    if isinstance(plain, str):
        return plain.encode("utf-8", "replace")
    if isinstance(packed, bytes):
        try:
            return _unpacked(packed)
        except zstandard.ZstdError:
            return None
    return None


def _unpacked(packed: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        return reader.read(_MAX_EVENT)


def _mark(plain: object, packed: object) -> bytes:
    content = packed if isinstance(packed, bytes) else str(plain).encode("utf-8", "replace")
    return xxhash.xxh3_64_digest(content)
