"""The files of one configured path, followed together: what is open, what is read next, what is over."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from monitor.sources.tail.chunks import Chunk, FileState
from monitor.sources.tail.histories import Histories, History
from monitor.sources.tail.logfile import LogFile
from monitor.sources.tail.packed import PackedReader
from monitor.sources.tail.plain import PlainReader
from monitor.sources.tail.problems import Problem, too_long, unreadable
from monitor.sources.tail.rotation import Rotation
from monitor.sources.tail.streams import codec_of


class LiveSize(msgspec.Struct, frozen=True):
    """Which file has the configured name right now, and its size in bytes."""

    device: int
    inode: int
    size: int


def live_size(path: str | os.PathLike[str]) -> LiveSize | None:
    """One stat of `path` (links are followed); None if there is no such file to be seen."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return LiveSize(found.st_dev, found.st_ino, found.st_size)


class Tail:
    """One configured path: the live file and its rotated relatives, followed together.

    `known`: the states that were committed for this path, and only for this path. `max_rotate`:
    highest number in ``NAME.N``. `chunk_bytes`: about how much one chunk holds. `max_line`: longer
    lines are skipped and reported. `quiet_seconds`: a file that lost its name is followed until it
    did not change for so long. `clock` gives seconds that only go up.

    Memory is about two chunks, or the longest line. One thread reads; the other methods may be
    called from any thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_rotate: int = 100,
        known: Iterable[FileState] = (),
        chunk_bytes: int = 8 << 20,
        max_line: int = 256 << 20,
        quiet_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = os.path.abspath(path)
        self._max_line = max_line
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._rotation = Rotation(self._path, max_rotate)
        self._files: dict[tuple[int, int], LogFile] = {}
        self._order: list[LogFile] = []
        self._histories = Histories()
        # A line inside a chunk is then never over the limit.
        chunk_bytes = max(1, min(chunk_bytes, max_line))
        self._plain = PlainReader(self._files, self._histories, chunk_bytes, max_line)
        self._packed = PackedReader(self._histories, chunk_bytes, max_line, quiet_seconds, clock)
        self._scan_problems: list[Problem] = []
        #: By path: reading failed, in the last pass that tried.
        self._trouble: dict[str, Problem] = {}
        self._long_lines: Counter[str] = Counter()
        self._again = False
        self._done: dict[tuple[int, int, int, int], History] = {}
        #: A link that moved leaves its old target behind under a name that only the states know.
        self._former_paths: list[str] = []
        known = list(known)
        live = [state for state in known if state.path == self._path]
        self._last_live = max(live, key=lambda state: state.mtime_ns, default=None)
        for state in known:
            history = self._histories.remember(state)
            self._former_paths.append(state.path)
            if state.done:
                self._done[state.device, state.inode, state.size, state.mtime_ns] = history

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The configured path, absolute."""
        return Path(self._path)

    def read(self) -> Iterator[Chunk]:
        """One pass over everything that is there now, oldest file first, in chunks.

        All unfinished files are opened before the first byte is read, and the directory is looked
        at again after each chunk, so a rotation during a long backlog loses nothing. The pass ends
        even if the writer never rests. Trouble with a file is no exception but a `Problem`. The
        iterator may be dropped half-way only together with the chunks that it handed out: states
        inside have moved on; to go back, build a new `Tail` from the committed states.
        """
        # What turns up during a pass (a new live file, a truncation) is read in another round, after
        # what was there before it; the bound is for a directory that changes faster than it is read.
        for _ in range(8):
            with self._lock:
                self._scan()
                self._again = False
                paths = {file.path for file in self._order}
                self._trouble = {path: trouble for path, trouble in self._trouble.items() if path in paths}
                todo = [(file, file.size) for file in self._order]
            for file, limit in todo:
                while True:
                    with self._lock:
                        chunk = self._step(file, limit)
                    if chunk is None:
                        break
                    yield chunk
                    with self._lock:
                        self._scan()
            if not self._again:
                return

    def pending_bytes(self) -> int:
        """Bytes on disk that no pass has looked at yet, in all files.

        A torn last line that was seen and waits for its rest is not pending: no pass could take it.
        Compressed files count with their compressed size.
        """
        with self._lock:
            self._scan()
            return sum(file.unseen() for file in self._order)

    def live_size(self) -> LiveSize | None:
        """Device, inode and size of what has the configured name: one stat, no lock."""
        return live_size(self._path)

    def states(self) -> list[FileState]:
        """The states that are still of use, as last handed out; a store may delete all others."""
        with self._lock:
            return self._histories.states()

    def vanished(self) -> FileState | None:
        """The file that was live when this path was last followed, where nothing that is there now continues it.

        What was written to it since then is lost; None also where nothing is there at all.
        """
        with self._lock:
            here = {file.history.id for file in self._files.values() if file.history is not None}
            if here and self._last_live is not None and self._last_live.id not in here:
                return self._last_live
            return None

    def problems(self) -> list[Problem]:
        """What stands in the way as of the last pass; empty when all is well."""
        with self._lock:
            found = [*self._scan_problems, *self._trouble.values()]
            found += [file.problem for file in self._order if file.problem is not None]
            found += [too_long(path, count, self._max_line) for path, count in self._long_lines.items()]
            return found

    def close(self) -> None:
        """Close all files. A closed `Tail` may read again; it opens what it needs."""
        with self._lock:
            for file in self._files.values():
                file.release()
            self._files.clear()
            self._order = []

    def _step(self, file: LogFile, limit: int) -> Chunk | None:
        """The next chunk of a file, or None if it has none now."""
        if file.fd is None:
            return None
        known = file.history
        try:
            file.look(os.fstat(file.fd), self._clock())
            chunk = self._packed.step(file) if file.codec else self._plain.step(file, limit)
        except OSError as error:
            self._lost(file, error)
            return None
        self._trouble.pop(file.path, None)
        if known is not None and file.history is None:
            self._again = True  # it holds something else now, which is to be read as well
        if chunk is not None and chunk.skipped:
            self._long_lines[file.path] += 1
        return chunk

    # -- which files there are

    def _scan(self) -> None:
        """Bring `_files` and `_order` up to date, open what is unfinished, close what is over."""
        for _ in range(5):
            self._match_names()
            if not self._rotation.moved():
                break  # otherwise names moved between listing and looking: a file could be missed
        if self._former_paths:
            self._look_at_former_paths()
        now = self._clock()
        for file in list(self._order):
            if file.fd is None:
                continue
            try:
                file.look(os.fstat(file.fd), now)
                if file.history is None and not file.codec and not file.settled():
                    self._plain.identify(file)
            except OSError as error:
                self._lost(file, error)
                continue
            if not file.live and file.consumed() and now - file.changed >= self._quiet_seconds:
                file.release()
                if not file.listed:
                    self._forget(file)
        self._histories.prune({file.history for file in self._order if file.history is not None})

    def _match_names(self) -> None:
        entries = self._rotation.look()
        self._scan_problems = list(self._rotation.problems)
        for held in self._files.values():
            held.listed = held.live = False
        order: list[LogFile] = []
        for path, found, live in entries:
            file = self._file(path, found)
            if file is None:
                continue
            if not file.listed:
                file.listed = True
                order.append(file)
            if live:
                file.live = True
                order.remove(file)  # a link and its target are one file: the last
                order.append(file)
            file.path = path
        for gone in [file for file in self._files.values() if not file.listed and file.fd is None]:
            self._forget(gone)
        # What lost its name is older than what has one.
        self._order = [file for file in self._files.values() if not file.listed] + order

    def _file(self, path: str, found: os.stat_result) -> LogFile | None:
        """The file at `path`, open if it may hold something new."""
        codec = codec_of(path)
        file = self._files.get((found.st_dev, found.st_ino))
        if file is not None and file.codec != codec:
            file.release()
            self._forget(file)
            file = None
        if file is not None and (file.fd is not None or file.unchanged(found)):
            return file
        history = self._done.get((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        if file is None and codec and history is not None:
            file = LogFile(path, codec, found, self._clock())
            file.history = history
            file.settle(history.offset, finished=True)
            self._files[file.key] = file
            return file
        return self._open(path, codec)

    def _open(self, path: str, codec: str) -> LogFile | None:
        try:
            # Not blocking: a FIFO may take the name between the look and this.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._scan_problems.append(unreadable(path, error))
            return None
        found = os.fstat(fd)
        held = self._files.get((found.st_dev, found.st_ino))
        if not stat.S_ISREG(found.st_mode) or (held is not None and held.fd is not None):
            os.close(fd)
            return held
        if held is not None:
            self._forget(held)  # closed long ago: the inode may have another life by now
        file = LogFile(path, codec, found, self._clock())
        file.fd = fd
        self._files[file.key] = file
        self._again = True
        return file

    def _look_at_former_paths(self) -> None:
        """Once after the start: take up files that were followed under a name that is not ours now."""
        former, self._former_paths = self._former_paths, []
        left: list[tuple[int, LogFile]] = []
        for path in dict.fromkeys(former):
            try:
                found = os.stat(path)
            except OSError:
                continue
            if (found.st_dev, found.st_ino) in self._files or codec_of(path):
                continue
            if not stat.S_ISREG(found.st_mode):
                continue
            file = self._open(path, "")
            if file is None or file.fd is None:
                continue
            try:
                self._plain.identify(file, only_known=True)
            except OSError:
                file.history = None
            if file.history is None:
                file.release()
                self._forget(file)
            else:
                left.append((found.st_mtime_ns, file))
        left.sort(key=lambda entry: entry[0])
        self._order[:0] = [file for _, file in left]

    def _lost(self, file: LogFile, error: OSError) -> None:
        self._trouble[file.path] = unreadable(file.path, error)
        file.release()
        self._forget(file)

    def _forget(self, file: LogFile) -> None:
        self._files.pop(file.key, None)
        self._order = [other for other in self._order if other is not file]
