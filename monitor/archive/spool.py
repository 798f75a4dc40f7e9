"""Lines that are being read, kept before anything is made of them, until there are enough for a segment.

A spool is a file of frames, each with the place of its lines; what a crash tore off at its end is cut off.
Lines that come again after a crash are known by their place.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path

import msgspec
import zstandard

from monitor.archive import places as known_places
from monitor.archive.segments import SEGMENT_BYTES, ArchiveError, Grouper, Segment, Writer, names_of
from monitor.store.base import StoreError

log = logging.getLogger("monitor.archive")
log.setLevel(logging.INFO)

#: A frame that zstd passes over, so that ``zstd -dc`` shows the lines of a spool.
_SKIPPED = (0x184D2A50).to_bytes(4, "little")
_RETRY_S = 3600.0
SPOOL_SUFFIX = ".spool"
_SEAL_AFTER_S = 86_400.0
#: Fast: the spool is compressed again when it is sealed.
_LEVEL = 1


class _Frame(msgspec.Struct, array_like=True, frozen=True):
    """The place of some lines, and the bytes of the zstd frame behind this header."""

    file: bytes
    start: int
    size: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Frame).decode


class Spool:
    """The open end of an archive, for one source. One process uses it: the one that ingests."""

    def __init__(
        self,
        folder: Path,
        source: str,
        *,
        silenced: Callable[[], Set[bytes]] = frozenset,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`silenced` gives the digests of sessions whose lines are not to be sealed.

        Raises:
            ArchiveError: nothing can be written to `folder`.
        """
        self.folder = folder
        self.path = known_places.place_of(folder, "open", source).with_suffix(SPOOL_SUFFIX)
        self._places_file = known_places.place_of(folder, "read", source)
        self._silenced = silenced
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._pack = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._bytes, end = self._look()
            os.ftruncate(self._fd, end)
            os.lseek(self._fd, end, os.SEEK_SET)
            began = os.fstat(self._fd).st_mtime
        except OSError as error:
            raise ArchiveError(f"{folder}: nothing can be written there: {error.strerror}") from error
        self._seal_at = began + _SEAL_AFTER_S
        self._retry_at = 0.0

    def keep(self, file: bytes, start: int, lines: Sequence[bytes]) -> None:
        """Keep lines that follow each other in a file from an offset on, durably.

        Raises:
            ArchiveError: they can't be kept.
        """
        if not lines:
            return
        text = b"\n".join((*lines, b""))
        packed = self._pack(text)
        head = _encode(_Frame(file, start, len(packed)))
        frame = b"".join((_SKIPPED, len(head).to_bytes(4, "little"), head, packed))
        try:
            at = os.lseek(self._fd, 0, os.SEEK_CUR)
            if at == 0:
                self._seal_at = self._clock() + _SEAL_AFTER_S
            try:
                view = memoryview(frame)
                while view:
                    view = view[os.write(self._fd, view) :]
                os.fsync(self._fd)
            except OSError:
                os.ftruncate(self._fd, at)
                os.lseek(self._fd, at, os.SEEK_SET)
                raise
        except OSError as error:
            raise ArchiveError(f"{self.path}: what was read can't be archived: {error.strerror}") from error
        self._bytes += len(text)

    def seal_if_due(self) -> bool:
        """Make a segment if it is time for one; whether it was. Trouble is logged, and tried again in an hour."""
        now = self._clock()
        if now < self._retry_at or not self._bytes or (self._bytes < self._segment_bytes and now < self._seal_at):
            return False
        try:
            segment = self.seal()
        except (OSError, StoreError) as error:
            self._retry_at = now + _RETRY_S
            log.warning("no segment could be made, next try in an hour: %s", error)
            return False
        if segment is not None:
            index = segment.index
            log.info("archive: %s lines in %s", f"{index.lines:,}", segment.path)
        return True

    def seal(self) -> Segment | None:
        """Make a segment of what is there, and begin anew; None where nothing is left to seal.

        Raises:
            ArchiveError: it can't be written; everything stays in the spool.
        """
        places = known_places.read(self._places_file)
        silenced = self._silenced()
        groupers: dict[bytes, Grouper] = {}
        ends: dict[bytes, int] = {}
        writer = Writer(self.folder)
        try:
            for file, start, lines in self._frames():
                ends.setdefault(file, places.reached.get(file, 0))
                grouper = groupers.setdefault(file, Grouper())
                new = []
                at = start
                for line in lines:
                    if at >= ends[file]:
                        new.append(line)
                        ends[file] = at + len(line) + 1
                    at += len(line) + 1
                for group, number in places.numbered(file, grouper.feed(new)):
                    if all(names_of(round_).isdisjoint(silenced) for round_ in group.rounds):
                        writer.add(group, number)
        except BaseException:
            writer.discard()
            raise
        # Pieces of a record that is not complete stay in the spool.
        rest = []
        for file, grouper in groupers.items():
            held = sum(map(len, grouper.held)) + len(grouper.held)
            places.reached[file] = ends[file] - held
            if held:
                rest.append((file, ends[file] - held, grouper.held))
        segment = writer.seal()
        # From here on a crash leads to lines that stand in two segments with the same numbers, which count once.
        known_places.write(self._places_file, places)
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._bytes = 0
        for file, start, lines in rest:
            self.keep(file, start, lines)
        return segment

    def close(self) -> None:
        """Let go of the file; what is in it waits for the next process."""
        os.close(self._fd)

    def _look(self) -> tuple[int, int]:
        """The bytes of lines that are there, and where the last whole frame ends."""
        size = end = 0
        for _, _, lines, behind in self._walk():
            size += sum(map(len, lines)) + len(lines)
            end = behind
        return size, end

    def _frames(self) -> Iterator[tuple[bytes, int, list[bytes]]]:
        for file, start, lines, _ in self._walk():
            yield file, start, lines

    def _walk(self) -> Iterator[tuple[bytes, int, list[bytes], int]]:
        at = 0
        unpack = zstandard.ZstdDecompressor().decompress
        while True:
            head = os.pread(self._fd, 8, at)
            if len(head) < 8 or head[:4] != _SKIPPED:
                return
            length = int.from_bytes(head[4:], "little")
            try:
                frame = _decode(os.pread(self._fd, length, at + 8))
                text = unpack(os.pread(self._fd, frame.size, at + 8 + length))
            except (msgspec.MsgspecError, zstandard.ZstdError):
                return
            at += 8 + length + frame.size
            yield frame.file, frame.start, text.split(b"\n")[:-1], at


def spools(folder: Path) -> list[Path]:
    """The spools of a folder that have lines in them."""
    return [path for path in sorted(folder.glob(f".*{SPOOL_SUFFIX}")) if path.stat().st_size]
