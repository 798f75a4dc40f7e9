"""The conversations of one month: written in transactions, read with proof, erased without trace."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import zstandard

from monitor.rounds import START, Position
from monitor.store.base import Content
from monitor.store.history.batch import Batch, Entry, Known
from monitor.store.history.memory import Remembered
from monitor.store.history.pieces import NOTHING, Packer, Payload, Said, filled
from monitor.store.history.tables import HistoryError, check_file, row_proof, second_of

#: Bytes of recently written pieces that are remembered for each open month.
KNOWN_BYTES = 6_000_000
#: Bytes of decompressed pieces, and again of whole histories, that are kept for reading.
READ_BYTES = 6_000_000


class Row(msgspec.Struct, frozen=True):
    """A piece as it was read, its references not yet followed."""

    seq: int
    end: Position
    parent: int | None
    start: int
    payload: Payload


class Chain(msgspec.Struct, frozen=True):
    """A chain as it was read, up to the end of one piece. `size` is in bytes."""

    system: bytes | None = None
    messages: tuple[bytes, ...] = ()
    size: int = 0


class Month:
    """One file, open. It may be written by one process while others read it."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Raises HistoryError for a file that is not ours."""
        self.path = path
        #: Device and inode.
        self.identity = check_file(path)
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
        self._pack = Packer()
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._payload = msgspec.msgpack.Decoder(Payload).decode
        self._said = msgspec.msgpack.Decoder(Said).decode
        self._known: Remembered[bytes, Known] = Remembered(KNOWN_BYTES)
        self._rows: Remembered[int, Row] = Remembered(READ_BYTES)
        self._chains: Remembered[int, Chain] = Remembered(READ_BYTES)
        self._erased: int | None = None
        self._careful = False

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def forget(self) -> None:
        """Drop what is remembered of what the file holds."""
        self._known.clear()
        self._rows.clear()
        self._chains.clear()

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
        """Keep rounds, in one transaction.

        Looks for what is there already only when something is: rounds are rarely written twice.
        """
        if not self._careful:
            try:
                with self._transaction("BEGIN IMMEDIATE"):
                    Batch(self._db, self._pack, self._known, careful=False).write(entries)
                return
            except sqlite3.IntegrityError:
                pass
        try:
            with self._transaction("BEGIN IMMEDIATE"):
                self._careful = Batch(self._db, self._pack, self._known, careful=True).write(entries)
        except sqlite3.IntegrityError as error:
            raise HistoryError(self.path, str(error)) from error

    # Reading

    def read(self, key: bytes, started_at: int, *, whole: bool) -> Content | None:
        """What was said in a round, with all its messages (`whole`) or only the new ones; None if it is not here."""
        try:
            with self._transaction("BEGIN", key):
                return self._read(key, second_of(started_at), whole=whole)
        except (TypeError, ValueError) as error:  # a column holds something else
            raise HistoryError(self.path, str(error), key) from error

    def _read(self, key: bytes, second: int, *, whole: bool) -> Content | None:
        found = self._db.execute(
            "SELECT piece, said, start, proof FROM round WHERE second = ? AND key = ?", (second, key)
        ).fetchone()
        if found is None:
            return None
        piece, own, start, proof = found
        if proof != row_proof(key, piece, own, start):
            raise HistoryError(self.path, "its row is damaged", key)
        row: Row | None = None
        chain = Chain()
        said: Said | None = None
        if piece is not None:
            row = self._row(piece, key)
            said = row.payload.said
            if start is None:
                start = row.start
            chain = self._chain(row, key) if whole else self._tail(row, start, key)
        if own is not None:
            said = self._own(own, key) if own else None
        said = said or NOTHING
        question = said.question
        if isinstance(question, tuple):
            if row is None:
                raise HistoryError(self.path, "the question is missing", key)
            offset, length = question
            question = (chain.messages or self._messages(row, key))[-1][offset : offset + length]
        cut = said.truncated is not None and (row is None or row.end.count == 0)
        return Content(
            None if cut else chain.messages,
            start or 0,
            chain.system,
            said.truncated,
            question,
            said.answer,
            said.reasoning,
            said.tool_calls,
        )

    def _own(self, seq: int, key: bytes | None) -> Said:
        row = self._db.execute("SELECT z FROM said WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise HistoryError(self.path, f"text {seq} is missing", key)
        return self._said(self._decompress(row[0]))

    def _row(self, seq: int, key: bytes | None) -> Row:
        row = self._rows.get(seq)
        if row is None:
            found = self._db.execute("SELECT id, parent, count, start, z FROM piece WHERE seq = ?", (seq,)).fetchone()
            if found is None:
                raise HistoryError(self.path, f"piece {seq} is missing", key)
            id_, parent, count, start, z = found
            if parent is not None and parent >= seq:  # a parent is older; this also rules out circles
                raise HistoryError(self.path, f"piece {seq} is damaged", key)
            text = self._decompress(z)
            row = Row(seq, Position(count, id_), parent, start, self._payload(text))
            self._rows.put(seq, row, len(text) + 500)
        return row

    def _messages(self, row: Row, key: bytes | None) -> tuple[bytes, ...]:
        """The messages of one piece, references followed, and proved by the piece's digest."""
        messages = tuple(row.payload.messages)
        begin = START
        if row.parent is not None:
            parent = self._row(row.parent, key)
            begin = parent.end
            if row.payload.holes:
                source = (parent.payload.said or NOTHING).source()
                messages = (filled(messages[0], row.payload.holes, source), *messages[1:])
        if row.parent is None and row.end.count == 0:
            right = len(messages) == 1 and Position.start(messages[0]) == row.end
        else:
            right = begin.after(messages) == row.end
        if not right:
            raise HistoryError(self.path, f"piece {row.seq} does not match its digest", key)
        return messages

    def _chain(self, row: Row, key: bytes | None) -> Chain:
        """System prompt and messages up to the end of a piece."""
        unread: list[Row] = []
        at: Row | None = row
        known: Chain | None = None
        while at is not None and (known := self._chains.get(at.seq)) is None:
            unread.append(at)
            at = None if at.parent is None else self._row(at.parent, key)
        known = known or Chain()
        if not unread:
            return known
        system, messages, size = known.system, list(known.messages), known.size
        for piece in reversed(unread):
            texts = self._messages(piece, key)
            size += sum(map(len, texts))
            if piece.end.count == 0:
                system = texts[0]
            else:
                messages += texts
        chain = Chain(system, tuple(messages), size)
        self._chains.put(row.seq, chain, size)
        return chain

    def _tail(self, row: Row, start: int, key: bytes | None) -> Chain:
        """The messages from `start` to the end of a piece, and the system prompt if that is the beginning."""
        parts: list[tuple[bytes, ...]] = []
        system = None
        at: Row | None = row
        while at is not None and (at.end.count > start or not start):
            if at.end.count == 0:
                system = self._messages(at, key)[0]
            else:
                parts.append(self._messages(at, key))
            at = None if at.parent is None else self._row(at.parent, key)
        messages = tuple(text for part in reversed(parts) for text in part)
        return Chain(system, messages[max(len(messages) - (row.end.count - start), 0) :])

    # Erasing

    def erase(self, rounds: Sequence[tuple[int, bytes]]) -> tuple[int, int]:
        """Remove rounds, each (second, key), and what nothing else needs, also from the disk.

        Gives how many pieces of their conversations went, and how many stay because other rounds need them.
        """
        with self._erasing():
            led_to: set[int | None] = set()
            for second, key in rounds:
                found = self._db.execute(
                    "SELECT piece FROM round WHERE second = ? AND key = ?", (second, key)
                ).fetchone()
                if found is not None:
                    led_to.add(found[0])
                    self._remove("second = ? AND key = ?", (second, key))
            parents = self._parents()
            reached = _up(led_to, parents)
            needed = self._collect(parents)
        self.empty_log()
        return len(reached - needed), len(reached & needed)

    def erase_before(self, second: int, limit: int) -> int:
        """Remove up to `limit` rounds of before a second; gives how many there were. Pieces wait for `collect`."""
        with self._erasing():
            rows = self._db.execute(
                "SELECT second, key FROM round WHERE second < ? ORDER BY second LIMIT ?", (second, limit)
            ).fetchall()
            for row in rows:
                self._remove("second = ? AND key = ?", row)
        return len(rows)

    def count_before(self, second: int) -> int:
        """How many rounds of before a second there are."""
        try:
            with self._transaction("BEGIN"):
                return int(self._db.execute("SELECT count(*) FROM round WHERE second < ?", (second,)).fetchone()[0])
        except sqlite3.IntegrityError as error:
            raise HistoryError(self.path, str(error)) from error

    def collect(self) -> None:
        """Remove the pieces that no round needs, also from the disk."""
        with self._erasing():
            self._collect(self._parents())
        self.empty_log()

    def shared(self, rounds: Sequence[tuple[int, bytes]]) -> tuple[int, int]:
        """What `erase` would give, with nothing erased."""
        try:
            with self._transaction("BEGIN"):
                db = self._db
                led_to: set[int] = set()
                others: set[int] = set()
                mine = set(rounds)
                for second, key, piece in db.execute("SELECT second, key, piece FROM round WHERE piece IS NOT NULL"):
                    (led_to if (second, bytes(key)) in mine else others).add(piece)
                parents = self._parents()
                reached = _up(led_to, parents)
                return len(reached - _up(others, parents)), len(reached & _up(others, parents))
        except sqlite3.IntegrityError as error:
            raise HistoryError(self.path, str(error)) from error

    def unused(self) -> float:
        """The share of the file that holds nothing."""
        free, pages = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
        return float(free / max(1, pages))

    def rewrite(self) -> None:
        """Write the file anew, so that no unused page is left in it."""
        try:
            self._db.execute("VACUUM")
        except sqlite3.Error as error:
            raise HistoryError(self.path, str(error)) from error
        self.empty_log()

    def empty_log(self) -> bool:
        """Empty SQLite's log, which still has pages as they were; False where a reader keeps it from that."""
        (busy, *_) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    @contextmanager
    def _erasing(self) -> Iterator[None]:
        try:
            with self._transaction("BEGIN IMMEDIATE"):
                yield
                self._db.execute("UPDATE erased SET times = times + 1")
        except sqlite3.IntegrityError as error:
            raise HistoryError(self.path, str(error)) from error

    def _remove(self, which: str, values: tuple[object, ...]) -> None:
        self._db.execute(f"DELETE FROM said WHERE seq = (SELECT said FROM round WHERE {which})", values)
        self._db.execute(f"DELETE FROM round WHERE {which}", values)

    def _parents(self) -> dict[int, int | None]:
        return dict(self._db.execute("SELECT seq, parent FROM piece"))

    def _collect(self, parents: dict[int, int | None]) -> set[int]:
        """Remove pieces that no round needs; gives the ones that stay."""
        db = self._db
        needed = _up(
            (seq for (seq,) in db.execute("SELECT DISTINCT piece FROM round WHERE piece IS NOT NULL")), parents
        )
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
                payload = Payload(self._messages(row, None), said)
            else:
                payload = Payload(row.payload.messages, said, row.payload.holes)
            db.execute("UPDATE piece SET z = ? WHERE seq = ?", (self._pack(payload)[0], seq))
        return needed


def _up(pieces: Iterable[int | None], parents: dict[int, int | None]) -> set[int]:
    """`pieces` and all that come before them."""
    found: set[int] = set()
    for seq in pieces:
        at = seq
        while at is not None and at not in found:
            found.add(at)
            at = parents.get(at)
    return found
