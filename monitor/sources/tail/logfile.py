"""One file on the disk, whatever its name: held open while it may grow, remembered by size and time afterwards."""

from __future__ import annotations

import os
import time

from monitor.sources.tail.chunks import FileState
from monitor.sources.tail.content import FINGERPRINT_LEAST, digest, read_head
from monitor.sources.tail.histories import Histories, History
from monitor.sources.tail.problems import Problem
from monitor.sources.tail.rotation import steady
from monitor.sources.tail.streams import Stream


class LogFile:
    """An inode, the content that it was seen to have, and how much of it was looked at."""

    def __init__(self, path: str, codec: str, found: os.stat_result, now: float) -> None:
        self.path = path
        self.codec = codec
        self.key = (found.st_dev, found.st_ino)
        self.size = found.st_size
        self.mtime_ns = found.st_mtime_ns
        #: When it last changed, on the tail's clock; a file that was old when found is quiet already.
        self.changed = now - max(0.0, (time.time_ns() - found.st_mtime_ns) / 1e9)
        self.fd: int | None = None
        self.live = False
        self.listed = False
        self.history: History | None = None
        #: Up to here this very file was seen to hold what its history says.
        self.seen = 0
        #: Digest of the bytes before that.
        self.seen_tail = b""
        #: No line end lies between the offset and here.
        self.searched = 0
        self.problem: Problem | None = None
        #: While a compressed file is being read: its content, and the beginning of that.
        self.stream: Stream | None = None
        self.head = b""
        #: A compressed file ends too early: somebody may be writing it.
        self.waiting = False
        #: No new attempt to decompress before this time.
        self.retry_at = float("-inf")
        self._finished = False
        self._settled: tuple[int, int, int] | None = None
        self._steady = False

    @property
    def open_fd(self) -> int:
        """The descriptor, where the file is known to be open."""
        assert self.fd is not None
        return self.fd

    # -- what the disk says

    def look(self, found: os.stat_result, now: float) -> None:
        """Note its present size and time."""
        if (found.st_size, found.st_mtime_ns) != (self.size, self.mtime_ns):
            self.size, self.mtime_ns, self.changed = found.st_size, found.st_mtime_ns, now
            if self.size < self.searched:
                self.searched = 0  # its torn end was cut off
            self._finished = False

    def settle(self, offset: int, *, finished: bool = False) -> None:
        """All that there is now was looked at."""
        self._settled = (self.size, self.mtime_ns, offset)
        self._steady = finished or steady(self.mtime_ns)
        self._finished = finished

    def settled(self) -> bool:
        """Nothing new to look at, in the file or in what others read of the same content."""
        return self._steady and self._settled == (self.size, self.mtime_ns, self._offset())

    def looked_at(self) -> bool:
        """As it is now, whatever others read of the same content."""
        return self._steady and self._settled is not None and self._settled[:2] == (self.size, self.mtime_ns)

    def consumed(self) -> bool:
        """Nothing is left to take unless the file changes."""
        if self._settled is None or self._settled[:2] != (self.size, self.mtime_ns):
            return False
        return not self.waiting and self.stream is None

    def unchanged(self, found: os.stat_result) -> bool:
        """For a closed file: still as it was when it was closed."""
        return self._settled is not None and self._settled[:2] == (found.st_size, found.st_mtime_ns)

    def unseen(self) -> int:
        """Bytes on disk that nobody looked at yet."""
        if self.fd is None or self._finished:
            return 0
        if self.codec:
            taken = self.stream.taken if self.stream is not None else 0
            return 0 if self.consumed() else max(0, self.size - taken)
        if self.searched >= self.size:
            return 0  # no more than a torn line
        return max(0, self.size - self._offset())

    def _offset(self) -> int:
        return self.history.offset if self.history is not None else 0

    # -- what it holds

    def attach(self, history: History) -> None:
        """Its content was recognised."""
        self.history = history
        self.seen = min(history.offset, self.size)
        self.seen_tail = b""

    def detach(self) -> None:
        """It is not what it was: its content has to be recognised anew."""
        self.history = None
        self.seen = self.searched = 0
        self._settled = None

    def advance(self, histories: Histories, end: int, window: bytes) -> FileState:
        """Everything before `end` was taken, the last of it being `window`."""
        history = self.history
        assert history is not None
        if history.fingerprint_size < FINGERPRINT_LEAST and end > history.fingerprint_size:
            histories.extend(history, self.head if self.codec else read_head(self.open_fd))
        history.offset = self.seen = end
        history.tail = self.seen_tail = digest(window)
        return self.state(history)

    def state(self, history: History, *, done: bool = False) -> FileState:
        """How far it was read, to be committed."""
        history.state = FileState(
            id=history.id,
            path=self.path,
            fingerprint=history.fingerprint,
            fingerprint_size=history.fingerprint_size,
            offset=history.offset,
            tail=history.tail,
            size=self.size,
            device=self.key[0],
            inode=self.key[1],
            mtime_ns=self.mtime_ns,
            done=done,
        )
        return history.state

    def is_named_by(self, state: FileState) -> bool:
        """Whether the hints in `state` are those of this file as it is."""
        return (state.path, state.device, state.inode, state.size, state.mtime_ns) == (
            self.path,
            *self.key,
            self.size,
            self.mtime_ns,
        )

    # -- letting go

    def stop_stream(self) -> None:
        """Forget how far decompression was."""
        self.stream = None
        self.head = b""

    def release(self) -> None:
        """Close it."""
        self.stop_stream()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
