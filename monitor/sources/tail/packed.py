"""Recognise a compressed file, and take its next lines."""

from __future__ import annotations

from collections.abc import Callable

from monitor.sources.tail.chunks import Chunk
from monitor.sources.tail.content import FINGERPRINT_LEAST, WINDOW, digest, fingerprint_size, window_behind
from monitor.sources.tail.histories import Histories, History
from monitor.sources.tail.logfile import LogFile
from monitor.sources.tail.plain import MOST_LINES
from monitor.sources.tail.problems import corrupt, incomplete
from monitor.sources.tail.streams import PIECE, Stream


class PackedReader:
    """Reads compressed files: most are copies of what was read while it was plain.

    One that ends too early is taken for a copy that is still being written until it was quiet for
    `quiet_seconds`.
    """

    def __init__(
        self,
        histories: Histories,
        chunk_bytes: int,
        max_line: int,
        quiet_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._histories = histories
        self._chunk_bytes = chunk_bytes
        self._max_line = max_line
        self._quiet_seconds = quiet_seconds
        self._clock = clock

    def step(self, file: LogFile) -> Chunk | None:
        """The next chunk of an open file, or None if it has none now."""
        if file.stream is None:
            began = self._clock()
            if file.looked_at() and (not file.waiting or self._may_grow(file)):
                return None
            if began < file.retry_at and self._may_grow(file):
                return None
            opened = self._open(file)
            # What is still being written has to be decompressed from its start each time.
            now = self._clock()
            file.retry_at = now + 20 * (now - began)
            if not opened:
                return None
        stream, history = file.stream, file.history
        assert stream is not None
        if history is None:
            return self._end(file, stream)
        if stream.offset != history.offset:
            file.stop_stream()  # the same content was read on under another name meanwhile
            return self.step(file)
        start, before = history.offset, stream.before
        data, dropped = self._read_line(stream)
        if b"\n" not in data:
            return self._end(file, stream)
        first = data.index(b"\n") + 1
        skipped = dropped + first if dropped or first - 1 > self._max_line else 0
        lines: list[bytes] = []
        if skipped:
            end, window = start + skipped, (before + data[:first])[-WINDOW:]
            stream.push_back(data[first:])
        else:
            lines = data.split(b"\n", MOST_LINES)
            rest = lines.pop()
            stream.push_back(rest)
            end, window = start + len(data) - len(rest), window_behind(before, lines)
        state = file.advance(self._histories, end, window)
        stream.offset, stream.before = end, window
        return Chunk(state, lines, start, start == 0, skipped, before)

    def _read_line(self, stream: Stream) -> tuple[bytes, int]:
        """About a chunk of the stream, but at least to the end of a line if there is one.

        Of a line over the limit only the end is kept; how many bytes before that were dropped is
        given as well.
        """
        parts: list[bytes] = []
        held = dropped = 0
        found = False
        while held < self._chunk_bytes or not found:
            piece = stream.read(min(PIECE, self._chunk_bytes))
            if not piece:
                break
            found = found or b"\n" in piece
            parts.append(piece)
            held += len(piece)
            if not found and held > max(self._max_line, WINDOW):
                parts = [b"".join(parts)[-WINDOW:]]
                dropped += held - WINDOW
                held = WINDOW
        return b"".join(parts), dropped

    def _open(self, file: LogFile) -> bool:
        """Recognise the content and stand at the first byte that was not read; False: not now."""
        stream = Stream(file.open_fd, file.codec)
        head = stream.peek_head()
        file.head = head
        size = fingerprint_size(head)
        file.stream = stream
        if size == 0:
            file.history = None
            return True
        # Streams only go forward: the least read first, and the last that matches is the one.
        best: History | None = None
        best_window = b""
        for history in sorted(self._histories.alike(head), key=lambda history: history.offset):
            window = stream.skip_to(history.offset)
            if window is None:
                if stream.end != "complete" and self._may_grow(file):
                    return self._wait(file)
                break
            if digest(window) == history.tail:
                best, best_window = history, window
        if best is None:
            if size < FINGERPRINT_LEAST and stream.end == "cut" and self._may_grow(file):
                return self._wait(file)  # too short to tell what it is a copy of
            best = self._histories.begin(head[:size])
        if stream.position != best.offset:
            stream = file.stream = Stream(file.open_fd, file.codec)
            window = stream.skip_to(best.offset)
            if window is None:
                file.stop_stream()
                return False
            best_window = window
        file.waiting = False
        stream.offset, stream.before = best.offset, best_window
        file.attach(best)
        best.note_head(head)
        return True

    def _wait(self, file: LogFile) -> bool:
        """A copy that is still being written: what it has so far was most likely read."""
        file.stop_stream()
        file.waiting = True
        file.settle(0)
        return False

    def _may_grow(self, file: LogFile) -> bool:
        return self._clock() - file.changed < self._quiet_seconds

    def _end(self, file: LogFile, stream: Stream) -> Chunk | None:
        """Nothing more to take, for now or for good."""
        history = file.history
        file.stop_stream()
        file.problem = None
        if stream.end == "corrupt":
            file.problem = corrupt(file.path, stream.reason)
        elif stream.end == "cut" and not self._may_grow(file):
            file.problem = incomplete(file.path)
        complete = stream.end == "complete"
        file.waiting = stream.end == "cut" and file.problem is None
        file.settle(history.offset if history is not None else 0, finished=complete)
        if not complete or history is None or history.offset == 0:
            return None
        last = history.state
        if last is not None and last.done and file.is_named_by(last):
            return None
        return Chunk(file.state(history, done=True), [], history.offset, False, before=stream.before)
