"""One log of a fleet's node as a queue: what was read and is not in the store yet, then what its files have.

Two threads use it. The ingesting one takes from the beginning, and what it takes is gone from here once the store has
it. While that does not go on, the following one (`monitor.ingest.follower`) reads the files and adds to the end. At
any moment the queue is, in this order: a chunk that is being shipped and is in memory only, the spool on the disk, a
chunk that has no room there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from monitor.ingest.pieces import Quiet, ReadChunk, without_lines
from monitor.ingest.source import Reader
from monitor.ingest.spool import Spool
from monitor.sources.tail import Chunk, FileState, Problem, Tail, same_log
from monitor.sources.tail.content import digest, window_behind
from monitor.sources.wrap import Unwrapper

log = logging.getLogger("monitor.ingest")

#: How often the places are noted while nothing waits; they may be old, which costs reading twice.
_NOTE_S = 1.0


class Intake:
    """What `LogSource` uses in place of a `Tail`, where the store may be away."""

    def __init__(
        self,
        path: Path,
        spool: Spool,
        *,
        max_rotate: int = 100,
        quiet: Quiet | None = None,
        reader: Reader | None = None,
    ) -> None:
        """`quiet`, with a `reader` of its own: lines are not to be on the disk, but what it leaves of their rounds."""
        self.path = path
        self.spool = spool
        self._max_rotate = max_rotate
        self._quiet = quiet
        self._reader = reader
        self._lock = threading.RLock()
        self._tail: Tail | None = None
        self._pass: Iterator[Chunk] | None = None
        self._again = False
        self._unwrappers: dict[bytes, Unwrapper] = {}
        #: Of each file the lines at its end whose record is not complete.
        self._torn: dict[bytes, Chunk] = {}
        #: How far the store has each file.
        self._stored: dict[bytes, FileState] = {}
        self._head: Chunk | None = None
        self._head_is_spooled = False
        self._over: Chunk | None = None
        self._noted = 0.0
        self._full: str | None = None

    # -- for the one that ships -------------------------------------------------------------------

    def resume(self, states: Sequence[FileState]) -> None:
        """The store is there and says how far it has the files."""
        with self._lock:
            self._stored = {state.id: state for state in states}
            if self._tail is None:
                # What waits here is read already. Else the store knows best: it may be another than it was.
                self._begin([*states, *([] if self.spool.is_empty else self.spool.places())])

    def read(self) -> Iterator[Chunk]:
        """All that waits, then what the files have gained, in chunks of whole records.

        When the next one is asked for, the one before is in the store.
        """
        with self._lock:
            # A pass that was broken off knows nothing of what came since.
            self._again = self._pass is not None
        while True:
            with self._lock:
                chunk = self._first()
            if chunk is None:
                return
            yield chunk
            with self._lock:
                self._shipped(chunk)

    def rewind(self) -> None:
        """What was given out last could not be stored: it comes again."""
        with self._lock:
            if self._head is not None and not self._head_is_spooled:
                self._spool_head()
            if self._head_is_spooled:
                self._head, self._head_is_spooled = None, False

    def states(self) -> list[FileState]:
        """How far the files were read, where all that was read is in the store; else nothing is said of them yet."""
        with self._lock:
            if self._tail is None or self._head or self._over or not self.spool.is_empty:
                return []
            torn = {file: chunk.state_after(0) for file, chunk in self._torn.items()}
            return [torn.get(state.id, state) for state in self._tail.states()]

    def pending_bytes(self) -> int:
        """Bytes that nobody has looked at, and what waits here."""
        with self._lock:
            return self.spool.bytes + (0 if self._tail is None else self._tail.pending_bytes())

    def vanished(self) -> FileState | None:
        """See `Tail.vanished`."""
        with self._lock:
            return None if self._tail is None else self._tail.vanished()

    def problems(self) -> list[Problem]:
        """What stands in the way as of the last pass."""
        with self._lock:
            found = [] if self._tail is None else self._tail.problems()
            if self._full is not None:
                remedy = "give it more room (fleet.spool_bytes), or see to the store"
                found.append(Problem(str(self.spool.folder), "unreadable", self._full, remedy))
            return found

    def close(self) -> None:
        """Let go of the files. What waits on the disk waits for the next process."""
        with self._lock:
            if self._tail is not None:
                self._note(durably=True)
                self._tail.close()
            self._tail = self._pass = None
            self.spool.close()

    # -- for the one that follows -----------------------------------------------------------------

    def follow(self) -> None:
        """Read what the files have gained, and keep it on the disk until it can be shipped."""
        with self._lock:
            if self._tail is None:
                self._begin(self.spool.places())
            kept = True
            if self._head is not None and not self._head_is_spooled:
                kept = self._spool_head()
            while True:
                chunk, self._over = self._over or self._take(), None
                if chunk is None:
                    return
                if kept and self._append(chunk):
                    continue
                if self._has_name(chunk.state):
                    self._over = chunk
                    assert self._tail is not None
                    self._tail.pending_bytes()  # opens what has appeared: it can be told then what was lost of it
                    return
                self.spool.losses.lines(chunk.state, chunk.start, _count(chunk))

    # -- the queue --------------------------------------------------------------------------------

    def _first(self) -> Chunk | None:
        """The first of the queue that the store does not have."""
        while True:
            if self._head is None:
                self._head = self.spool.next()
                self._head_is_spooled = self._head is not None
            if self._head is None:
                self._head, self._over = self._over or self._take(), None
            if self._head is None and self._again:
                self._again = False
                continue
            if self._head is None:
                self._full = None
                return None
            self._head = _beyond(self._head, self._stored.get(self._head.state.id))
            if self._head is not None:
                return self._head
            if self._head_is_spooled:
                self.spool.done()

    def _shipped(self, chunk: Chunk) -> None:
        if self._head is None:
            return  # it came again meanwhile
        if self._head_is_spooled:
            self.spool.done()
        self._head, self._head_is_spooled = None, False
        self._stored[chunk.state.id] = chunk.state
        if time.monotonic() - self._noted > _NOTE_S and self.spool.is_empty:
            self._note(durably=False)

    def _spool_head(self) -> bool:
        """What is being shipped goes to the disk as well, before all that comes after it."""
        assert self._head is not None
        if not self._append(self._head):
            return False
        self._head_is_spooled = True
        self.spool.lend(self._head)
        self._note(durably=True)
        return True

    def _append(self, chunk: Chunk) -> bool:
        try:
            kept = self.spool.append(chunk)
            why = "" if kept else "what may wait here has reached its limit"
        except OSError as error:
            kept, why = False, f"what is read can't be kept here: {error.strerror}"
        if kept:
            self._full = None
            self._note(durably=True)
        elif self._full is None:
            self._full = why
            log.error("%s: %s; lines of %s are lost once their file is", self.spool.folder, why, self.path)
        return kept

    def _note(self, *, durably: bool) -> None:
        self._noted = time.monotonic()
        if self._tail is None or (self._head is not None and not self._head_is_spooled) or self._over is not None:
            return  # the tail is ahead of what is kept
        torn = {file: chunk.state_after(0) for file, chunk in self._torn.items()}
        try:
            self.spool.keep_places([torn.get(state.id, state) for state in self._tail.states()], durably=durably)
        except OSError as error:
            log.warning("%s: how far %s was read can't be noted: %s", self.spool.folder, self.path, error.strerror)

    # -- the files --------------------------------------------------------------------------------

    def _begin(self, known: Sequence[FileState]) -> None:
        furthest: dict[bytes, FileState] = {}
        for state in known:
            there = furthest.get(state.id)
            if there is None or there.offset <= state.offset:
                furthest[state.id] = state
        self._tail = Tail(self.path, max_rotate=self._max_rotate, known=furthest.values())

    def _take(self) -> Chunk | None:
        """The next whole records of the files, or None where a pass over them is at its end."""
        assert self._tail is not None
        if self._pass is None:
            self._pass = self._tail.read()
        for chunk in self._pass:
            whole = self._whole(chunk)
            if whole is not None:
                return whole
        self._pass = None
        return None

    def _whole(self, chunk: Chunk) -> Chunk | None:
        """The whole records of a chunk and of what was torn before it; the rest waits for its end."""
        file = chunk.state.id
        torn = self._torn.pop(file, None)
        if chunk.fresh:
            self._unwrappers[file] = Unwrapper()
            torn = None
        unwrapper = self._unwrappers.setdefault(file, Unwrapper())
        records = list(unwrapper.records(chunk.lines, chunk.start))
        if torn is not None:
            lines = torn.lines + chunk.lines
            chunk = Chunk(chunk.state, lines, torn.start, torn.fresh, chunk.skipped, torn.before)
        held = unwrapper.held
        if held is not None and held >= chunk.start and not chunk.skipped:
            count, at = 0, chunk.start
            while at < held:
                at += len(chunk.lines[count]) + 1
                count += 1
            taken, rest = chunk.lines[:count], chunk.lines[count:]
            self._torn[file] = Chunk(chunk.state, rest, held, held == 0, 0, window_behind(chunk.before, taken))
            if not taken:
                return None
            chunk = Chunk(chunk.state_after(count), taken, chunk.start, chunk.fresh, 0, chunk.before)
        if self._quiet is not None and self._reader is not None:
            return without_lines(chunk, records, self._reader, self._quiet)
        return chunk

    def _has_name(self, state: FileState) -> bool:
        return any(
            (found.st_dev, found.st_ino) == (state.device, state.inode)
            for found in same_log(self.path, self._max_rotate)
        )


def _beyond(chunk: Chunk, stored: FileState | None) -> Chunk | None:
    """What of a chunk lies behind the place up to which the store has its file; None where nothing does."""
    if stored is None or stored.offset <= chunk.start:
        return chunk
    if stored.offset > chunk.state.offset:
        # A file that begins anew is numbered anew, so that nothing of it counts twice.
        return chunk if chunk.fresh else None
    if isinstance(chunk, ReadChunk):
        if (stored.offset, stored.tail) == (chunk.state.offset, chunk.state.tail):
            return None
        if chunk.fresh:
            return chunk
        left = tuple(one for one in chunk.readings if one[0] > stored.offset)
        return msgspec.structs.replace(chunk, readings=left, start=stored.offset)
    if not chunk.lines:
        return chunk  # only how its file is known has changed
    count, at = 0, chunk.start
    while at < stored.offset and count < len(chunk.lines):
        at += len(chunk.lines[count]) + 1
        count += 1
    before = window_behind(chunk.before, chunk.lines[:count])
    if chunk.fresh and (at != stored.offset or digest(before) != stored.tail):
        return chunk
    if stored.offset == chunk.state.offset:
        return None
    return Chunk(chunk.state, chunk.lines[count:], at, False, chunk.skipped, before)


def _count(chunk: Chunk) -> int:
    return len(chunk.readings) if isinstance(chunk, ReadChunk) else len(chunk.lines)
