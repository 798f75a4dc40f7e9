"""Recognise a file that is not compressed, and take its next lines."""

from __future__ import annotations

import os
from collections.abc import Mapping

from monitor.sources.tail.chunks import Chunk
from monitor.sources.tail.content import (
    FINGERPRINT_LEAST,
    FINGERPRINT_MOST,
    digest,
    fingerprint_size,
    read_head,
    window_at,
    window_behind,
)
from monitor.sources.tail.histories import Histories, History
from monitor.sources.tail.logfile import LogFile

#: Bytes of lines alone do not bound memory when lines are tiny.
MOST_LINES = 100_000


class PlainReader:
    """Reads the plain ones among `files`, which are all that are held, by device and inode.

    While a file is written, it may be truncated, overwritten or copied at any moment. So what was
    read counts only if afterwards the file still begins, and still goes on to the offset, as it
    did before.
    """

    def __init__(
        self, files: Mapping[tuple[int, int], LogFile], histories: Histories, chunk_bytes: int, max_line: int
    ) -> None:
        self._files = files
        self._histories = histories
        self._chunk_bytes = chunk_bytes
        self._max_line = max_line

    # -- which content a file has

    def identify(self, file: LogFile, *, only_known: bool = False) -> None:
        """Find the history that this file continues, or begin one."""
        head = read_head(file.open_fd)
        size = fingerprint_size(head)
        file.searched = 0
        if size == 0:
            file.searched = len(head) if len(head) < FINGERPRINT_MOST else 0
            file.settle(0)
            return
        for history in self._histories.alike(head):
            if history.offset <= file.size:
                same = digest(window_at(file.open_fd, history.offset)) == history.tail
            else:
                same = self._is_copy(file, history)
            if same:
                break
        else:
            if only_known:
                return
            history = self._shortly_begun_copy(file, size) or self._histories.begin(head[:size])
        file.attach(history)
        if len(head) >= history.fingerprint_size:
            history.note_head(head)

    def _shortly_begun_copy(self, file: LogFile, size: int) -> History | None:
        """What `file` is a copy of, if it is still too short for a whole fingerprint."""
        if size < FINGERPRINT_LEAST:
            for other in self._files.values():
                history = other.history
                if history is not None and history.offset > file.size and self._is_copy(file, history):
                    return history
        return None

    def _is_copy(self, file: LogFile, history: History) -> bool:
        """Whether `file` is so far a copy of the beginning of another file that is held (copytruncate)."""
        end = window_at(file.open_fd, file.size)
        for other in self._files.values():
            if other is file or other.history is not history or other.codec or other.fd is None:
                continue
            # The other one must still be what was read: it may have been overwritten with this very content.
            intact = (
                digest(window_at(other.fd, history.offset)) == history.tail
                and digest(os.pread(other.fd, history.head_size, 0)) == history.head
            )
            if intact and window_at(other.fd, file.size) == end:
                return True
        return False

    def _verify(self, file: LogFile, history: History) -> bytes | None:
        """The bytes before the offset if the file still is what was read, else None.

        Called after a read: what was read is then known to follow these bytes.
        """
        size = os.fstat(file.open_fd).st_size
        if size < file.seen:
            return None
        if size >= history.head_size and digest(os.pread(file.open_fd, history.head_size, 0)) != history.head:
            return None
        if size < history.offset:
            # A copy that is still being made, or was made before the last lines came: nothing to take.
            # Once recognised it stays one, even if the original is truncated now.
            end = digest(window_at(file.open_fd, size))
            if (size, end) != (file.seen, file.seen_tail) and not self._is_copy(file, history):
                return None
            file.seen, file.seen_tail = size, end
            return b""
        before = window_at(file.open_fd, history.offset)
        if digest(before) != history.tail:
            return None
        file.seen, file.seen_tail = history.offset, history.tail
        return before

    # -- reading on

    def step(self, file: LogFile, limit: int) -> Chunk | None:
        """The next chunk of an open file, or None if it has none now; starts no chunk at or behind `limit`.

        A file that turned out to hold something else than before has no history after that.
        """
        history = file.history
        if history is None or file.settled():
            return None
        start = history.offset
        if start >= limit and file.size > start:
            return None  # came in after the pass began: its turn is the next one
        lines: list[bytes] = []
        end = start
        torn = False
        near = file.searched - start < self._chunk_bytes
        if file.size > (start if near else file.searched):
            if near:
                data = os.pread(file.open_fd, min(self._chunk_bytes, file.size - start), start)
                lines = data.split(b"\n", MOST_LINES)
                rest = lines.pop()
                end = start + len(data) - len(rest)
                torn = b"\n" not in rest
                if torn:
                    file.searched = start + len(data)
                del data, rest
            if not lines:
                found = self._end_of_line(file)
                if found is not None and found - start > self._max_line:
                    return self._skip_line(file, history, found)
                if found is not None:
                    lines = [_pread_all(file.open_fd, found - 1 - start, start)]
                    end = found
                    if len(lines[0]) != found - 1 - start:
                        lines = []  # it was truncated meanwhile: the check below sees that
        before = self._verify(file, history)
        if before is None:
            file.detach()
            return None
        if not lines:
            file.settle(start)
            return None
        state = file.advance(self._histories, end, window_behind(before, lines))
        if torn and file.searched == file.size:
            file.settle(end)
        return Chunk(state, lines, start, start == 0, before=before)

    def _end_of_line(self, file: LogFile) -> int | None:
        """Where the line at the offset ends, behind its line feed; looks only where nobody looked."""
        while file.searched < file.size:
            piece = os.pread(file.open_fd, min(self._chunk_bytes, file.size - file.searched), file.searched)
            if not piece:
                return None
            found = piece.find(b"\n")
            if found >= 0:
                return file.searched + found + 1
            file.searched += len(piece)
        return None

    def _skip_line(self, file: LogFile, history: History, end: int) -> Chunk | None:
        window = window_at(file.open_fd, end)
        before = self._verify(file, history)
        if before is None:
            file.detach()
            return None
        start = history.offset
        state = file.advance(self._histories, end, window)
        return Chunk(state, [], start, start == 0, skipped=end - start, before=before)


def _pread_all(fd: int, size: int, offset: int) -> bytes:
    """What one ``pread`` may give in several parts."""
    data = os.pread(fd, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    have = len(data)
    while have < size and (more := os.pread(fd, size - have, offset + have)):
        parts.append(more)
        have += len(more)
    return b"".join(parts)
