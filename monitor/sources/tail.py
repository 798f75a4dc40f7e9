"""Follow one rotating file, every byte once.

A `Tail` knows nothing of what is in the lines. It hands out complete lines, oldest first, each
time with the `FileState` that is true once they are taken. Whoever commits that state together
with what it made of the lines gets exactly the following ones after a restart.

A file is known by its content: a fingerprint of its beginning, and a hash of the bytes just before
the place where reading stopped. Names, inodes and times are hints that save work; none of them
decides. What cannot be recognised is read from its start, which costs time; a consumer that knows
its records by content counts nothing twice.
"""

from __future__ import annotations

import bz2
import errno
import lzma
import os
import re
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

import msgspec
import xxhash
import zstandard

#: A fingerprint goes on over further lines until it covers this much: short first lines are often alike.
FINGERPRINT_LEAST = 256
#: A longer first line counts by its beginning only, so that recognising a file stays cheap.
FINGERPRINT_MOST = 1 << 20
#: Bytes before an offset that must be the ones that were read.
WINDOW = 1024
#: Histories of files that are gone: kept for copies that come back, but not without end.
REMEMBERED = 4096
#: A time stamp younger than this may hide a second change (coarse clocks: FAT has two seconds).
_RACY_NS = 2_000_000_000
#: A directory is listed again after this long even if its time did not change (network file systems).
_RELIST_SECONDS = 5.0
#: Bytes of lines alone do not bound memory when lines are tiny.
_MOST_LINES = 100_000
_PIECE = 1 << 18

ProblemKind = Literal["missing", "unreadable", "not_a_file", "corrupt", "incomplete", "line_too_long"]


class FileState(msgspec.Struct, frozen=True):
    """How far one file was read. Kept by the store, committed with what the lines became.

    `id`: 16 bytes, the same for as long as this content is followed, under whatever name.
    `offset`: bytes consumed of the (decompressed) content, always just behind a line end.
    `tail`: xxh3-128 of the up to 1024 bytes before `offset`.
    `fingerprint`: xxh3-128 of the first `fingerprint_size` bytes.
    `path`, `device`, `inode`, `mtime_ns` and `size` (bytes on disk) are from the last look.
    `done`: a compressed file, read to its end; need not be opened while those hints hold.
    """

    id: bytes
    path: str
    fingerprint: bytes
    fingerprint_size: int
    offset: int
    tail: bytes
    size: int
    device: int
    inode: int
    mtime_ns: int
    done: bool = False


class Chunk(msgspec.Struct, frozen=True):
    """Lines that follow each other in one file.

    `state` holds after all of them were taken. `lines` are complete and without the line feed (a
    carriage return stays). `start` is the offset of the first one; each next one starts
    ``len(line) + 1`` bytes later. `fresh`: this is the beginning of the file. `lines` is empty
    where only the state moved: a line over the limit was skipped (`skipped` bytes), or a compressed
    file turned out to be read already.
    """

    state: FileState
    lines: list[bytes]
    start: int
    fresh: bool
    skipped: int = 0
    #: Up to `WINDOW` bytes before `start`.
    before: bytes = b""

    def state_after(self, count: int) -> FileState:
        """The state after the first `count` lines only, 0 <= count <= len(lines).

        For records that span lines: commit this while the rest of the record is pending, keep the
        pending lines, and go on with the next chunk. After a restart the lines behind come again.
        """
        if not 0 <= count <= len(self.lines):
            raise ValueError(f"a chunk of {len(self.lines)} lines has no state after {count}")
        if count == len(self.lines):
            return self.state
        taken = self.lines[:count]
        window = b""
        for line in reversed(taken):
            window = line[-WINDOW:] + b"\n" + window
            if len(window) >= WINDOW:
                break
        else:
            window = self.before + window
        return msgspec.structs.replace(
            self.state,
            offset=self.start + sum(map(len, taken)) + count,
            tail=_digest(window[-WINDOW:]),
            done=False,
        )


class Problem(msgspec.Struct, frozen=True):
    """Something that keeps bytes from being read: where, why, and the way out, in words."""

    path: str
    kind: ProblemKind
    reason: str
    remedy: str
    count: int = 1


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
        self._max_rotate = max_rotate
        # A line inside a chunk is then never over the limit.
        self._chunk_bytes = max(1, min(chunk_bytes, max_line))
        self._max_line = max_line
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[tuple[int, int], _File] = {}
        self._order: list[_File] = []
        self._listings: dict[str, _Listing] = {}
        self._scan_problems: list[Problem] = []
        #: By path: reading failed, in the last pass that tried.
        self._trouble: dict[str, Problem] = {}
        self._long_lines: dict[str, int] = {}
        self._again = False
        self._histories = _Histories()
        self._done: dict[tuple[int, int, int, int], _History] = {}
        #: A link that moved leaves its old target behind under a name that only the states know.
        self._former_paths: list[str] = []
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

    def problems(self) -> list[Problem]:
        """What stands in the way as of the last pass; empty when all is well."""
        with self._lock:
            found = [*self._scan_problems, *self._trouble.values()]
            found += [file.problem for file in self._order if file.problem is not None]
            found += [
                Problem(
                    path,
                    "line_too_long",
                    f"{count} line(s) longer than {self._max_line} bytes were skipped",
                    "no record is that long: look at what writes to this file, or raise the limit",
                    count,
                )
                for path, count in self._long_lines.items()
            ]
            return found

    def close(self) -> None:
        """Close all files. A closed `Tail` may read again; it opens what it needs."""
        with self._lock:
            for file in self._files.values():
                file.release()
            self._files.clear()
            self._order = []

    # -- which files there are

    def _scan(self) -> None:
        """Bring `_files` and `_order` up to date, open what is unfinished, close what is over."""
        for _ in range(5):
            self._scan_problems = []
            if self._match_names():
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
                    self._identify(file)
            except OSError as error:
                self._lost(file, error)
                continue
            if not file.live and file.consumed() and now - file.changed >= self._quiet_seconds:
                file.release()
                if not file.listed:
                    self._forget(file)
        self._histories.prune({file.history for file in self._order if file.history is not None})

    def _match_names(self) -> bool:
        places = [_split(self._path)]
        real = os.path.realpath(self._path)
        if real != os.path.join(os.path.realpath(places[0][0]), places[0][1]):
            places.append(_split(real))
        listings = [self._listing(*place) for place in places]
        entries: list[tuple[_Name, str, os.stat_result]] = []
        newest: dict[str, int] = {}
        for (directory, _), listing in zip(places, listings, strict=True):
            for name in listing.names:
                path = os.path.join(directory, name.text)
                found = self._stat(path)
                if found is not None:
                    entries.append((name, path, found))
                    newest[name.style] = max(newest.get(name.style, 0), found.st_mtime_ns)
        found = self._stat(self._path)
        if found is not None:
            # The states have to know a link's target: after it moved, only they do.
            entries.append((_LIVE, real if len(places) > 1 else self._path, found))
        elif not entries and not self._scan_problems:
            self._complain(self._path, "missing", "the file does not exist (yet)", _REMEDY_MISSING)
        # Numbers and dates side by side mean that the rotation was changed: the newer style is in use.
        entries.sort(key=lambda entry: (entry[0] is _LIVE, newest.get(entry[0].style, 0), entry[0].age))

        for held in self._files.values():
            held.listed = held.live = False
        order: list[_File] = []
        for name, path, found in entries:
            file = self._file(path, found)
            if file is None:
                continue
            if not file.listed:
                file.listed = True
                order.append(file)
            if name is _LIVE or path == real:
                file.live = True
                order.remove(file)  # a link and its target are one file: the last
                order.append(file)
            file.path = path
        for gone in [file for file in self._files.values() if not file.listed and file.fd is None]:
            self._forget(gone)
        # What lost its name is older than what has one.
        self._order = [file for file in self._files.values() if not file.listed] + order
        return all(_directory_key(listing.directory) == listing.key for listing in listings)

    def _listing(self, directory: str, base: str) -> _Listing:
        key = _directory_key(directory)
        now = time.monotonic()
        where = os.path.join(directory, base)
        last = self._listings.get(where)
        if last is None or last.key != key or not last.steady or now - last.at >= _RELIST_SECONDS:
            steady = key is not None and time.time_ns() - key[2] > _RACY_NS
            pattern = last.pattern if last is not None else _relatives(base)
            last = _Listing(directory, pattern, key, steady, now)
            stem = os.path.splitext(base)[0]
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        # Most names in a log directory are none of ours, and this is the cheap way to know.
                        if entry.name.startswith(stem):
                            name = _parse(entry.name, pattern, self._max_rotate)
                            if name is not None:
                                last.names.append(name)
            except FileNotFoundError:
                pass  # "missing" says it, if nothing else is found
            except OSError as error:
                last.error = error
            self._listings[where] = last
        if last.error is not None:
            self._complain_of(directory, last.error)
        return last

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._complain_of(path, error)
            return None
        if stat.S_ISREG(found.st_mode):
            return found
        self._complain(
            path,
            "not_a_file",
            "this is not a regular file",
            "name a log file here, or move this out of the way",
        )
        return None

    def _file(self, path: str, found: os.stat_result) -> _File | None:
        """The file at `path`, open if it may hold something new."""
        codec = _codec(path)
        file = self._files.get((found.st_dev, found.st_ino))
        if file is not None and file.codec != codec:
            file.release()
            self._forget(file)
            file = None
        if file is not None and (file.fd is not None or file.unchanged(found)):
            return file
        history = self._done.get((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        if file is None and codec and history is not None:
            file = _File(path, codec, found, self._clock())
            file.history = history
            file.settle(history.offset, finished=True)
            self._files[file.key] = file
            return file
        return self._open(path, codec)

    def _open(self, path: str, codec: str) -> _File | None:
        try:
            # Not blocking: a FIFO may take the name between the look and this.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain_of(path, error)
            return None
        found = os.fstat(fd)
        held = self._files.get((found.st_dev, found.st_ino))
        if not stat.S_ISREG(found.st_mode) or (held is not None and held.fd is not None):
            os.close(fd)
            return held
        if held is not None:
            self._forget(held)  # closed long ago: the inode may have another life by now
        file = _File(path, codec, found, self._clock())
        file.fd = fd
        self._files[file.key] = file
        self._again = True
        return file

    def _look_at_former_paths(self) -> None:
        """Once after the start: take up files that were followed under a name that is not ours now."""
        former, self._former_paths = self._former_paths, []
        left: list[tuple[int, _File]] = []
        for path in dict.fromkeys(former):
            try:
                found = os.stat(path)
            except OSError:
                continue
            if (found.st_dev, found.st_ino) in self._files or _codec(path):
                continue
            if not stat.S_ISREG(found.st_mode):
                continue
            file = self._open(path, "")
            if file is None or file.fd is None:
                continue
            try:
                self._identify(file, only_known=True)
            except OSError:
                file.history = None
            if file.history is None:
                file.release()
                self._forget(file)
            else:
                left.append((found.st_mtime_ns, file))
        left.sort(key=lambda entry: entry[0])
        self._order[:0] = [file for _, file in left]

    def _forget(self, file: _File) -> None:
        self._files.pop(file.key, None)
        self._order = [other for other in self._order if other is not file]

    # -- which content a file has

    def _identify(self, file: _File, *, only_known: bool = False) -> None:
        """Find the history that this plain file continues, or begin one."""
        assert file.fd is not None
        head = _read_head(file.fd)
        size = _fingerprint_size(head)
        file.searched = 0
        if size == 0:
            file.searched = len(head) if len(head) < FINGERPRINT_MOST else 0
            file.settle(0)
            return
        for history in self._histories.alike(head):
            if history.offset <= file.size:
                same = _digest(_window(file.fd, history.offset)) == history.tail
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
            history.head_size = min(history.fingerprint_size, WINDOW)
            history.head = _digest(head[: history.head_size])

    def _shortly_begun_copy(self, file: _File, size: int) -> _History | None:
        """What `file` is a copy of, if it is still too short for a whole fingerprint."""
        if size < FINGERPRINT_LEAST:
            for other in self._order:
                history = other.history
                if history is not None and history.offset > file.size and self._is_copy(file, history):
                    return history
        return None

    def _is_copy(self, file: _File, history: _History) -> bool:
        """Whether `file` is so far a copy of the beginning of another file that is held (copytruncate)."""
        assert file.fd is not None
        end = _window(file.fd, file.size)
        for other in self._files.values():
            if other is file or other.history is not history or other.codec or other.fd is None:
                continue
            # The other one must still be what was read: it may have been overwritten with this very content.
            intact = (
                _digest(_window(other.fd, history.offset)) == history.tail
                and _digest(os.pread(other.fd, history.head_size, 0)) == history.head
            )
            if intact and _window(other.fd, file.size) == end:
                return True
        return False

    def _verify(self, file: _File, history: _History) -> bytes | None:
        """The bytes before the offset if the file still is what was read, else None.

        Called after a read: what was read is then known to follow these bytes.
        """
        assert file.fd is not None
        size = os.fstat(file.fd).st_size
        if size < file.seen:
            return None
        if size >= history.head_size and _digest(os.pread(file.fd, history.head_size, 0)) != history.head:
            return None
        if size < history.offset:
            # A copy that is still being made, or was made before the last lines came: nothing to take.
            # Once recognised it stays one, even if the original is truncated now.
            end = _digest(_window(file.fd, size))
            if (size, end) != (file.seen, file.seen_tail) and not self._is_copy(file, history):
                return None
            file.seen, file.seen_tail = size, end
            return b""
        before = _window(file.fd, history.offset)
        if _digest(before) != history.tail:
            return None
        file.seen, file.seen_tail = history.offset, history.tail
        return before

    def _lost(self, file: _File, error: OSError) -> None:
        self._trouble[file.path] = _unreadable(file.path, error)
        file.release()
        self._forget(file)

    # -- reading on

    def _step(self, file: _File, limit: int) -> Chunk | None:
        """The next chunk of a file, or None if it has none now; starts no chunk at or behind `limit`."""
        if file.fd is None:
            return None
        try:
            file.look(os.fstat(file.fd), self._clock())
            chunk = self._step_compressed(file) if file.codec else self._step_plain(file, limit)
        except OSError as error:
            self._lost(file, error)
            return None
        self._trouble.pop(file.path, None)
        return chunk

    def _step_plain(self, file: _File, limit: int) -> Chunk | None:
        history = file.history
        if history is None or file.fd is None or file.settled():
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
                data = os.pread(file.fd, min(self._chunk_bytes, file.size - start), start)
                lines = data.split(b"\n", _MOST_LINES)
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
                    lines = [_pread_all(file.fd, found - 1 - start, start)]
                    end = found
                    if len(lines[0]) != found - 1 - start:
                        lines = []  # it was truncated meanwhile: the check below sees that
        before = self._verify(file, history)
        if before is None:
            file.detach()
            self._again = True
            return None
        if not lines:
            file.settle(start)
            return None
        self._advance(file, history, end, _tail_of(before, lines))
        if torn and file.searched == file.size:
            file.settle(end)
        return Chunk(self._state(file, history), lines, start, start == 0, before=before)

    def _end_of_line(self, file: _File) -> int | None:
        """Where the line at the offset ends, behind its line feed; looks only where nobody looked."""
        assert file.fd is not None
        while file.searched < file.size:
            piece = os.pread(file.fd, min(self._chunk_bytes, file.size - file.searched), file.searched)
            if not piece:
                return None
            found = piece.find(b"\n")
            if found >= 0:
                return file.searched + found + 1
            file.searched += len(piece)
        return None

    def _skip_line(self, file: _File, history: _History, end: int) -> Chunk | None:
        assert file.fd is not None
        window = _window(file.fd, end)
        before = self._verify(file, history)
        if before is None:
            file.detach()
            self._again = True
            return None
        start = history.offset
        self._long_lines[file.path] = self._long_lines.get(file.path, 0) + 1
        self._advance(file, history, end, window)
        return Chunk(self._state(file, history), [], start, start == 0, skipped=end - start, before=before)

    def _advance(self, file: _File, history: _History, end: int, window: bytes) -> None:
        if history.fingerprint_size < FINGERPRINT_LEAST and end > history.fingerprint_size:
            head = file.head if file.codec or file.fd is None else _read_head(file.fd)
            self._histories.extend(history, head)
        history.offset = end
        history.tail = _digest(window)
        file.seen, file.seen_tail = end, history.tail

    def _state(self, file: _File, history: _History, *, done: bool = False) -> FileState:
        history.state = FileState(
            id=history.id,
            path=file.path,
            fingerprint=history.fingerprint,
            fingerprint_size=history.fingerprint_size,
            offset=history.offset,
            tail=history.tail,
            size=file.size,
            device=file.key[0],
            inode=file.key[1],
            mtime_ns=file.mtime_ns,
            done=done,
        )
        return history.state

    # -- compressed files

    def _step_compressed(self, file: _File) -> Chunk | None:
        if file.stream is None:
            began = self._clock()
            if file.looked_at() and (not file.waiting or self._may_grow(file)):
                return None
            if began < file.retry_at and self._may_grow(file):
                return None
            opened = self._open_stream(file)
            # What is still being written has to be decompressed from its start each time.
            now = self._clock()
            file.retry_at = now + 20 * (now - began)
            if not opened:
                return None
        stream, history = file.stream, file.history
        assert stream is not None
        if history is None:
            return self._end_stream(file, stream)
        if stream.offset != history.offset:
            file.stop_stream()  # the same content was read on under another name meanwhile
            return self._step_compressed(file)
        start, before = history.offset, stream.before
        parts: list[bytes] = []
        held = dropped = 0
        found = False
        while held < self._chunk_bytes or not found:
            piece = stream.read(min(_PIECE, self._chunk_bytes))
            if not piece:
                break
            found = found or b"\n" in piece
            parts.append(piece)
            held += len(piece)
            if not found and held > max(self._max_line, WINDOW):
                parts = [b"".join(parts)[-WINDOW:]]
                dropped += held - WINDOW
                held = WINDOW
        data = b"".join(parts)
        del parts
        if not found:
            return self._end_stream(file, stream)
        first = data.index(b"\n") + 1
        skipped = dropped + first if dropped or first - 1 > self._max_line else 0
        lines: list[bytes] = []
        if skipped:
            end, window = start + skipped, (before + data[:first])[-WINDOW:]
            stream.push_back(data[first:])
            self._long_lines[file.path] = self._long_lines.get(file.path, 0) + 1
        else:
            lines = data.split(b"\n", _MOST_LINES)
            rest = lines.pop()
            stream.push_back(rest)
            end, window = start + len(data) - len(rest), _tail_of(before, lines)
        self._advance(file, history, end, window)
        stream.offset, stream.before = end, window
        return Chunk(self._state(file, history), lines, start, start == 0, skipped, before)

    def _open_stream(self, file: _File) -> bool:
        """Recognise the content and stand at the first byte that was not read; False: not now."""
        assert file.fd is not None
        stream = _Stream(file.fd, file.codec)
        head = stream.peek_head()
        file.head = head
        size = _fingerprint_size(head)
        file.stream = stream
        if size == 0:
            file.history = None
            return True
        candidates = sorted(self._histories.alike(head), key=lambda history: history.offset)
        best: _History | None = None
        best_window = b""
        for history in candidates:
            window = stream.skip_to(history.offset)
            if window is None:
                if stream.end != "complete" and self._may_grow(file):
                    return self._wait_for_stream(file)
                break
            if _digest(window) == history.tail:
                best, best_window = history, window
        if best is None:
            if size < FINGERPRINT_LEAST and stream.end == "cut" and self._may_grow(file):
                return self._wait_for_stream(file)  # too short to tell what it is a copy of
            best = self._histories.begin(head[:size])
            best_window = b""
        if stream.position != best.offset:
            stream = _Stream(file.fd, file.codec)
            file.stream = stream
            window = stream.skip_to(best.offset)
            if window is None:
                file.stop_stream()
                return False
            best_window = window
        file.waiting = False
        stream.offset, stream.before = best.offset, best_window
        file.attach(best)
        best.head_size = min(best.fingerprint_size, WINDOW)
        best.head = _digest(head[: best.head_size])
        return True

    def _wait_for_stream(self, file: _File) -> bool:
        """A copy that is still being written: what it has so far was most likely read."""
        file.stop_stream()
        file.waiting = True
        file.settle(0)
        return False

    def _may_grow(self, file: _File) -> bool:
        return self._clock() - file.changed < self._quiet_seconds

    def _end_stream(self, file: _File, stream: _Stream) -> Chunk | None:
        """Nothing more to take from a compressed file, for now or for good."""
        end, reason = stream.end, stream.reason
        history = file.history
        file.stop_stream()
        if end == "corrupt":
            file.problem = Problem(
                file.path,
                "corrupt",
                f"the compressed data is damaged: {reason}; what came before the damage was read",
                "restore this file from a backup, or remove it",
            )
        elif end == "cut" and not self._may_grow(file):
            file.problem = Problem(
                file.path,
                "incomplete",
                "the compressed data ends too early, and nobody is writing it any more",
                "compress the original again if it is still there, or remove this file",
            )
        else:
            file.problem = None
        file.waiting = end == "cut" and file.problem is None
        file.settle(history.offset if history is not None else 0, finished=end == "complete")
        last = history.state if history is not None else None
        if end != "complete" or history is None or history.offset == 0:
            return None
        if last is not None and last.done and file.is_named_by(last):
            return None
        return Chunk(self._state(file, history, done=True), [], history.offset, False, before=stream.before)

    # -- what went wrong

    def _complain(self, path: str, kind: ProblemKind, reason: str, remedy: str) -> None:
        self._scan_problems.append(Problem(path, kind, reason, remedy))

    def _complain_of(self, path: str, error: OSError) -> None:
        self._scan_problems.append(_unreadable(path, error))


def _unreadable(path: str, error: OSError) -> Problem:
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = (
            "let the user that runs the monitor read it (group or ACL: read on the file, read and search "
            "on each directory above it), and see that rotation keeps it so"
        )
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = "raise the limit of open files (ulimit -n) for the monitor"
    else:
        remedy = "the file is tried again on every pass; look at the disk or the mount if this stays"
    return Problem(path, "unreadable", f"cannot be read: {error.strerror or error}", remedy)


_REMEDY_MISSING = "nothing to do if the gateway has not logged yet; otherwise check the configured path"


# ---------------------------------------------------------------- one file and its content


class _History:
    """What is known of one content, whatever files hold it."""

    __slots__ = (
        "fingerprint",
        "fingerprint_size",
        "head",
        "head_size",
        "id",
        "offset",
        "state",
        "tail",
    )

    def __init__(self, identity: bytes, fingerprint: bytes, fingerprint_size: int) -> None:
        self.id = identity
        self.fingerprint = fingerprint
        self.fingerprint_size = fingerprint_size
        self.offset = 0
        self.tail = _digest(b"")
        #: The very first bytes, which are compared before each read.
        self.head = b""
        self.head_size = 0
        #: As last handed out, or as known from the start.
        self.state: FileState | None = None


class _Histories:
    """All contents that were met, found by their beginnings."""

    def __init__(self) -> None:
        self._all: dict[bytes, _History] = {}
        self._by_fingerprint: dict[tuple[int, bytes], list[_History]] = {}
        #: Sizes of fingerprints that cover less than they should, because the file was short.
        self._short: dict[int, int] = {}

    def remember(self, state: FileState) -> _History:
        history = _History(state.id, state.fingerprint, state.fingerprint_size)
        history.offset, history.tail, history.state = state.offset, state.tail, state
        self._drop(state.id)
        self._add(history)
        return history

    def begin(self, head: bytes) -> _History:
        """A new history for a content that starts with `head`, its fingerprinted bytes."""
        fingerprint = _digest(head)
        ordinal = 0
        while (identity := _digest(fingerprint + ordinal.to_bytes(8, "big"))) in self._all:
            ordinal += 1
        history = _History(identity, fingerprint, len(head))
        self._add(history)
        return history

    def alike(self, head: bytes) -> list[_History]:
        """Histories whose beginning `head` has, the furthest read first."""
        sizes = {size for size in self._short if size <= len(head)}
        sizes.add(_fingerprint_size(head))
        found: list[_History] = []
        for size in sizes:
            found += self._by_fingerprint.get((size, _digest(head[:size])), ())
        return sorted(found, key=lambda history: -history.offset)

    def extend(self, history: _History, head: bytes) -> None:
        """The file has grown: let the fingerprint cover as much as it should."""
        size = _fingerprint_size(head)
        if size <= history.fingerprint_size:
            return
        self._unlink(history)
        history.fingerprint, history.fingerprint_size = _digest(head[:size]), size
        history.head_size = min(size, WINDOW)
        history.head = _digest(head[: history.head_size])
        self._link(history)

    def states(self) -> list[FileState]:
        return [history.state for history in self._all.values() if history.state is not None]

    def prune(self, used: set[_History]) -> None:
        """Of too many, forget the oldest that no present file has."""
        if len(self._all) <= REMEMBERED + len(used):
            return
        spare = [history for history in self._all.values() if history not in used]
        for history in spare[: len(self._all) - REMEMBERED]:
            self._drop(history.id)

    def _add(self, history: _History) -> None:
        self._all[history.id] = history
        self._link(history)

    def _drop(self, identity: bytes) -> None:
        history = self._all.pop(identity, None)
        if history is not None:
            self._unlink(history)

    def _link(self, history: _History) -> None:
        size = history.fingerprint_size
        self._by_fingerprint.setdefault((size, history.fingerprint), []).append(history)
        if size < FINGERPRINT_LEAST:
            self._short[size] = self._short.get(size, 0) + 1

    def _unlink(self, history: _History) -> None:
        size = history.fingerprint_size
        same = self._by_fingerprint[size, history.fingerprint]
        same.remove(history)
        if not same:
            del self._by_fingerprint[size, history.fingerprint]
        if size < FINGERPRINT_LEAST:
            self._short[size] -= 1
            if not self._short[size]:
                del self._short[size]


class _File:
    """One inode: held open while it may grow, remembered by size and time afterwards."""

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
        self.history: _History | None = None
        #: Up to here this very file was seen to hold what its history says.
        self.seen = 0
        #: Digest of the bytes before that.
        self.seen_tail = b""
        #: No line end lies between the offset and here.
        self.searched = 0
        self.problem: Problem | None = None
        self.stream: _Stream | None = None
        self.head = b""
        #: A compressed file ends too early: somebody may be writing it.
        self.waiting = False
        #: No new attempt to decompress before this time.
        self.retry_at = float("-inf")
        self.finished = False
        self._settled: tuple[int, int, int] | None = None
        self._steady = False

    def look(self, found: os.stat_result, now: float) -> None:
        if (found.st_size, found.st_mtime_ns) != (self.size, self.mtime_ns):
            self.size, self.mtime_ns, self.changed = found.st_size, found.st_mtime_ns, now
            if self.size < self.searched:
                self.searched = 0  # its torn end was cut off
            self.finished = False

    def settle(self, offset: int, *, finished: bool = False) -> None:
        """All that there is now was looked at."""
        self._settled = (self.size, self.mtime_ns, offset)
        self._steady = finished or time.time_ns() - self.mtime_ns > _RACY_NS
        self.finished = finished

    def settled(self) -> bool:
        offset = self.history.offset if self.history is not None else 0
        return self._steady and self._settled == (self.size, self.mtime_ns, offset)

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
        if self.fd is None or self.finished:
            return 0
        if self.codec:
            taken = self.stream.taken if self.stream is not None else 0
            return 0 if self.consumed() else max(0, self.size - taken)
        if self.searched >= self.size:
            return 0  # no more than a torn line
        offset = self.history.offset if self.history is not None else 0
        return max(0, self.size - offset)

    def is_named_by(self, state: FileState) -> bool:
        return (state.path, state.device, state.inode, state.size, state.mtime_ns) == (
            self.path,
            *self.key,
            self.size,
            self.mtime_ns,
        )

    def attach(self, history: _History) -> None:
        self.history = history
        self.seen = min(history.offset, self.size)
        self.seen_tail = b""

    def detach(self) -> None:
        """It is not what it was: its content has to be recognised anew."""
        self.history = None
        self.seen = self.searched = 0
        self._settled = None

    def stop_stream(self) -> None:
        self.stream = None
        self.head = b""

    def release(self) -> None:
        self.stop_stream()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _digest(data: bytes) -> bytes:
    return xxhash.xxh3_128_digest(data)


def _window(fd: int, offset: int) -> bytes:
    start = max(0, offset - WINDOW)
    return os.pread(fd, offset - start, start)


def _tail_of(before: bytes, lines: list[bytes]) -> bytes:
    window = b""
    for line in reversed(lines):
        window = line[-WINDOW:] + b"\n" + window
        if len(window) >= WINDOW:
            return window[-WINDOW:]
    return (before + window)[-WINDOW:]


def _pread_all(fd: int, size: int, offset: int) -> bytes:
    data = os.pread(fd, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    have = len(data)
    while have < size and (more := os.pread(fd, size - have, offset + have)):
        parts.append(more)
        have += len(more)
    return b"".join(parts)


def _read_head(fd: int) -> bytes:
    """As much of the beginning as a fingerprint needs."""
    size = 4096
    while True:
        head = os.pread(fd, size, 0)
        if len(head) < size or size >= FINGERPRINT_MOST or head.find(b"\n", FINGERPRINT_LEAST - 1) >= 0:
            return head
        size = min(size * 4, FINGERPRINT_MOST)


def _fingerprint_size(head: bytes) -> int:
    """How many bytes of `head` the fingerprint covers; 0 while there is no complete line."""
    end = head.find(b"\n", FINGERPRINT_LEAST - 1)
    if 0 <= end < FINGERPRINT_MOST:
        return end + 1
    if len(head) >= FINGERPRINT_MOST:
        return FINGERPRINT_MOST
    return head.rfind(b"\n", 0, FINGERPRINT_LEAST) + 1


# ---------------------------------------------------------------- decompression


class _Stream:
    """The decompressed bytes of an open file, front to back, in bounded pieces.

    `end`, once `read` has returned nothing: "complete", "cut" (more should follow) or "corrupt".
    """

    def __init__(self, fd: int, codec: str) -> None:
        self._fd = fd
        self._codec = codec
        self._decode = _DECODERS[codec]()
        self._fed = False
        self._members = 0
        self._input = b""
        self._left = b""
        self.end: Literal["complete", "cut", "corrupt"] | None = None
        self.reason = ""
        #: Compressed bytes taken from the file.
        self.taken = 0
        #: Decompressed bytes handed out.
        self.position = 0
        #: Where the consumer stands, and the bytes before that.
        self.offset = 0
        self.before = b""

    def read(self, most: int) -> bytes:
        """The next bytes, `most` or fewer; none at the end."""
        if not self._left:
            self._left = self._next(most)
        if len(self._left) <= most:
            data, self._left = self._left, b""
        else:
            data, self._left = self._left[:most], self._left[most:]
        self.position += len(data)
        return data

    def push_back(self, data: bytes) -> None:
        self._left = data + self._left
        self.position -= len(data)

    def peek_head(self) -> bytes:
        head = b""
        while len(head) < FINGERPRINT_MOST and head.find(b"\n", FINGERPRINT_LEAST - 1) < 0:
            piece = self.read(65536)
            if not piece:
                break
            head += piece
        self.push_back(head)
        return head[:FINGERPRINT_MOST]

    def skip_to(self, offset: int) -> bytes | None:
        """Go to `offset`; the up to `WINDOW` bytes before it, or None if the content is shorter.

        Only forward: from the beginning, or from where the last call stopped.
        """
        window = self.before
        while self.position < offset:
            piece = self.read(min(_PIECE, offset - self.position))
            if not piece:
                return None
            window = (window + piece)[-WINDOW:]
        self.before = window
        return window

    def _next(self, most: int) -> bytes:
        while self.end is None:
            if not self._input:
                self._input = os.pread(self._fd, 65536, self.taken)
                self.taken += len(self._input)
                if not self._input and not self._fed:
                    self.end = "complete" if self._members else "cut"
                    return b""
            if not self._fed and self._members and not self._input.strip(b"\0"):
                self._input = b""  # padding behind the last member, as tape and some tools leave it
                continue
            at_end = not self._input
            self._fed = True
            try:
                data, self._input = self._decode(self._input, most)
            except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError) as error:
                self.end, self.reason = "corrupt", str(error)
                return b""
            if self._decode.eof:
                self._members += 1
                self._decode = _DECODERS[self._codec]()
                self._fed = False
            elif at_end and not data:
                self.end = "cut"
            if data:
                return data
        return b""


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.eof = False

    def __call__(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        """(decompressed, input that is left)"""
        out = self._inner.decompress(data, most)
        self.eof = self._inner.eof
        return out, self._inner.unused_data if self.eof else self._inner.unconsumed_tail


class _Zstd:
    #: The decoder cannot bound its output, so its input is bounded: 1 KiB makes 32 MiB at the very worst.
    STEP = 1024

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self.eof = False

    def __call__(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        out: list[bytes] = []
        have = at = 0
        while at < len(data) and have < most and not self.eof:
            piece = self._inner.decompress(data[at : at + self.STEP])
            at += self.STEP
            out.append(piece)
            have += len(piece)
            self.eof = self._inner.eof
        return b"".join(out), (self._inner.unused_data if self.eof else b"") + data[at:]


class _Stdlib:
    """bz2 and lzma: decoders that keep the input that they did not use."""

    def __init__(self, inner: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._inner = inner
        self.eof = False

    def __call__(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        left = b""
        if not self._inner.needs_input:
            data, left = b"", data
        out = self._inner.decompress(data, most)
        self.eof = self._inner.eof
        return out, (self._inner.unused_data if self.eof else b"") + left


_DECODERS: dict[str, Callable[[], _Gzip | _Zstd | _Stdlib]] = {
    ".gz": _Gzip,
    ".zst": _Zstd,
    ".bz2": lambda: _Stdlib(bz2.BZ2Decompressor()),
    ".xz": lambda: _Stdlib(lzma.LZMADecompressor()),
}


def _codec(path: str) -> str:
    suffix = os.path.splitext(path)[1]
    return suffix if suffix in _DECODERS else ""


# ---------------------------------------------------------------- names


class _Name(msgspec.Struct, frozen=True):
    text: str
    style: str
    #: Sorts the names of one style in the order in which they were written.
    age: tuple[int, ...]


_LIVE = _Name("", "live", ())


class _Listing:
    """The relatives of one name in one directory, as of one moment."""

    def __init__(
        self,
        directory: str,
        pattern: re.Pattern[str],
        key: tuple[int, int, int] | None,
        steady: bool,
        at: float,
    ) -> None:
        self.directory = directory
        self.pattern = pattern
        self.key = key
        self.steady = steady
        self.at = at
        self.names: list[_Name] = []
        self.error: OSError | None = None


def _directory_key(directory: str) -> tuple[int, int, int] | None:
    """Changes when a name in the directory does."""
    try:
        found = os.stat(directory)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _split(path: str) -> tuple[str, str]:
    return os.path.dirname(path), os.path.basename(path)


def _relatives(base: str) -> re.Pattern[str]:
    """Matches the rotated names of a file called `base`."""
    mark = (
        r"(?:\.(?P<number{0}>\d{{1,6}})"
        r"|[-_.](?P<date{0}>(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])(?:[\dT_.-]*\d)?)"
        r"|[-_.](?P<epoch{0}>1\d{{9}}))"
    )
    stem, extension = os.path.splitext(base)
    forms = [re.escape(base) + mark.format(1)]
    if extension:
        forms.append(re.escape(stem) + mark.format(2) + re.escape(extension))
    return re.compile(rf"(?:{'|'.join(forms)})(?P<codec>\.gz|\.zst|\.bz2|\.xz)?", re.ASCII)


def _parse(text: str, pattern: re.Pattern[str], max_rotate: int) -> _Name | None:
    match = pattern.fullmatch(text)
    if match is None:
        return None
    groups = match.groupdict()
    # Behind the plain file of the same age: of two copies the one that can be checked cheaply goes first.
    packed = int(groups["codec"] is not None)
    number = groups["number1"] or groups.get("number2")
    if number is not None:
        return _Name(text, "number", (-int(number), packed)) if int(number) <= max_rotate else None
    date = groups["date1"] or groups.get("date2")
    if date is not None:
        digits = re.sub(r"\D", "", date[:10])[:8]
        rest = date[len(re.match(r"\d{4}\D?\d\d\D?\d\d", date)[0]) :]  # type: ignore[index]
        return _Name(text, "date", (int(digits), *map(int, re.findall(r"\d+", rest)), packed))
    epoch = int(groups["epoch1"] or groups["epoch2"])
    when = datetime.fromtimestamp(epoch, UTC)
    return _Name(text, "date", (int(when.strftime("%Y%m%d")), epoch, packed))
