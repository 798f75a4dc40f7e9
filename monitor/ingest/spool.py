"""Lines of one log that wait on the disk of a fleet's node, in order, while the fleet's store is away.

While the store takes lines they go from the log straight into it, and nothing is written here; once it does not, a
thread of its own (`monitor.ingest.follower`) goes on following, and what it reads goes to the end of a queue of which
this is the part on the disk (`monitor.ingest.intake` has all of it). A piece of the queue is a chunk of whole records
as the tail gave it, with the file's id and offsets, so that the one that ships it does what it would have done then:
same keys, same occurrence numbers, same checkpoints. Pieces are one zstd stream a segment, with long-distance matching,
flushed and fsynced piece by piece, each with a checksum; a torn end was never promised, and a segment goes once all of
it is in the store. Whether a piece is there already the store's own checkpoint says, which is written after the rounds
and by which a piece is cut or passed over: killed at any point, nothing is lost and nothing counts twice. What has no
room is read on from the files as long as they have a name, and then counted as lost, by file and offset, for good.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import xxhash
import zstandard

from monitor.ingest.durable import put, sync_folder, write_all
from monitor.ingest.losses import Losses
from monitor.ingest.pieces import Piece, chunk_of
from monitor.sources.tail import Chunk, FileState

log = logging.getLogger("monitor.ingest")

#: Once so much of the logs is in a segment, the next one begins: room is given back a segment at a time.
_SEGMENT_BYTES = 64 << 20
#: So much is shipped in one step.
_STEP_BYTES = 8 << 20
#: Requests of one conversation are megabytes from each other; the window is in memory while lines wait.
_WINDOW_LOG = 25
_LEVEL = 3
_READ_BYTES = 1 << 18
_HEAD = 12
_SUFFIX = ".zst"
_ACK, _PLACES = "ack", "places"

_encode = msgspec.msgpack.Encoder().encode
_piece = msgspec.msgpack.Decoder(Piece).decode
_states = msgspec.msgpack.Decoder(list[FileState]).decode
_ack = msgspec.msgpack.Decoder(tuple[int, int]).decode


class Room:
    """How much of the disk all spools of a node may take together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def has(self, size: int) -> bool:
        """Whether so many bytes more may be written."""
        return self.used + size <= self.limit


def folder_of(data_dir: Path, source: str) -> Path:
    """Where the lines of a source wait."""
    return data_dir / "spool" / xxhash.xxh3_64_hexdigest(source.encode("utf-8", "surrogateescape"))


class Spool:
    """The queue of one source on the disk. Whoever uses it from several threads sees that they take turns."""

    def __init__(self, folder: Path, source: str, room: Room) -> None:
        """Take up what is there. Nothing is written until something has to wait; raises OSError."""
        self.folder = folder
        self._room = room
        self.losses = Losses(folder, source)
        self._numbers = sorted(int(path.stem) for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())
        #: The segment and the number in it of the first piece that is not known to be in the store.
        self._done = _read_ack(folder / _ACK)
        self._next_number = max([self._done[0], *self._numbers], default=0) + 1
        self._sizes = {number: self._path(number).stat().st_size for number in self._numbers}
        self._room.used += sum(self._sizes.values())
        self._writer: _Writer | None = None
        self._reader: _Reader | None = None
        #: Read and not shipped: (segment, number of the piece behind it, piece).
        self._ahead: tuple[int, int, Piece] | None = None
        self._lent: tuple[tuple[int, int], Chunk] | None = None
        for number in [number for number in self._numbers if number < self._done[0]]:
            self._remove(number)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here, as far as that was looked at."""
        return not self._numbers

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(self._sizes.values())

    # -- at the end -------------------------------------------------------------------------------

    def append(self, chunk: Chunk) -> bool:
        """Keep a chunk behind all others, durably; False where there is no room for it.

        Raises:
            OSError: the disk does not take it; nothing of it is kept.
        """
        body = _encode(Piece.of(chunk))
        if not self._room.has(len(body) + _HEAD) and not self._room.has(_packed_size(body)):
            return False
        if self._writer is not None and self._writer.size >= _SEGMENT_BYTES:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = self._next_number
            self._writer = _Writer(self._path(number), number)
            self._next_number += 1
            self._numbers.append(number)
            self._sizes[number] = 0
        writer = self._writer
        try:
            written = writer.write(body)
        except OSError:
            # What a stream could not write it can't write again: the next piece begins a new segment.
            self._writer = None
            raise
        self._sizes[writer.number] += written
        self._room.used += written
        self.losses.waiting(chunk.state.offset - chunk.start)
        return True

    def lend(self, chunk: Chunk) -> None:
        """The only piece here, which has just been appended, is being shipped already."""
        found = self._following()
        assert found is not None
        self._lent = (found[:2], chunk)

    def keep_places(self, states: Sequence[FileState], *, durably: bool) -> None:
        """Note how far the files were read, for a start at which the store can't tell. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(self.folder / _PLACES, _encode(list(states)), durably=durably)

    def places(self) -> list[FileState]:
        """How far the files were read, as far as that is known here."""
        try:
            return _states((self.folder / _PLACES).read_bytes())
        except (OSError, msgspec.MsgspecError):
            return []

    # -- at the beginning -------------------------------------------------------------------------

    def next(self) -> Chunk | None:
        """What has waited longest, as much as is shipped in one step; the same until it is `done`. None: all is."""
        if self._lent is not None:
            return self._lent[1]
        pieces: list[Piece] = []
        size = 0
        behind = self._done
        while (found := self._following()) is not None:
            piece = found[2]
            if pieces and (size >= _STEP_BYTES or not piece.follows(pieces[-1])):
                self._ahead = found
                break
            pieces.append(piece)
            size += piece.size
            behind = found[:2]
        if not pieces:
            self._clear()
            return None
        self._lent = (behind, chunk_of(pieces))
        return self._lent[1]

    def done(self) -> None:
        """What `next` gave is in the store."""
        if self._lent is None:
            return
        self._done, self._lent = self._lent[0], None
        with suppress(OSError):  # it is looked for in the store then, and found
            put(self.folder / _ACK, _encode(self._done))
        for number in [number for number in self._numbers if number < self._done[0]]:
            self._remove(number)

    def close(self) -> None:
        """Let go of the files; what is in them waits for the next process."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # -- inside -----------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:010d}{_SUFFIX}"

    def _following(self) -> tuple[int, int, Piece] | None:
        """The next piece that was not read yet, its segment and the number of the one behind it."""
        if self._ahead is not None:
            found, self._ahead = self._ahead, None
            return found
        while True:
            if self._reader is None:
                if not self._numbers:
                    return None
                first = self._numbers[0]
                self._reader = _Reader(self._path(first), first)
                if first == self._done[0]:
                    while self._reader.count < self._done[1] and self._reader.next() is not None:
                        pass
            reader = self._reader
            try:
                piece = reader.next()
            except Damaged as error:
                reader.broken = True
                log.error("%s", error)
                self.losses.damaged(reader.path, reader.path.stat().st_size)
                piece = None
            if piece is not None:
                return reader.number, reader.count, piece
            later = [number for number in self._numbers if number > reader.number]
            if not later:
                return None
            reader.close()
            self._reader = _Reader(self._path(later[0]), later[0])

    def _clear(self) -> None:
        """All that was here is in the store."""
        if not self._numbers:
            return
        self.close()
        for number in list(self._numbers):
            self._remove(number)
        self.losses.caught_up()

    def _remove(self, number: int) -> None:
        self._path(number).unlink(missing_ok=True)
        self._room.used -= self._sizes.pop(number)
        self._numbers.remove(number)


class Damaged(Exception):
    """A segment can't be read on from some place."""


class _Writer:
    """A segment that grows."""

    def __init__(self, path: Path, number: int) -> None:
        self.number = number
        self.size = 0
        self._path = path
        self._at = 0
        self._fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        sync_folder(path.parent)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _LEVEL, window_log=_WINDOW_LOG, enable_ldm=True, write_content_size=False
        )
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def write(self, body: bytes) -> int:
        """Add a piece, durably; gives the bytes that it took. Raises OSError: then the segment ends before it."""
        head = len(body).to_bytes(4, "little") + xxhash.xxh3_64_digest(body)
        data = self._stream.compress(head + body) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        try:
            write_all(self._fd, data)
            os.fsync(self._fd)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._at)
            os.close(self._fd)
            raise
        self._at += len(data)
        self.size += len(body)
        return len(data)

    def close(self) -> None:
        write_all(self._fd, self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH))
        os.close(self._fd)


class _Reader:
    """The pieces of a segment one after the other, also while it grows."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number
        #: How many pieces were read.
        self.count = 0
        #: It can't be read on.
        self.broken = False
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._stream = zstandard.ZstdDecompressor().decompressobj()
        self._held = bytearray()

    def next(self) -> Piece | None:
        """The next piece; None while there is none. Raises Damaged."""
        while not self.broken:
            if len(self._held) >= _HEAD:
                end = _HEAD + int.from_bytes(self._held[:4], "little")
                if len(self._held) >= end:
                    body = bytes(self._held[_HEAD:end])
                    if xxhash.xxh3_64_digest(body) != self._held[4:_HEAD]:
                        raise Damaged(f"{self.path} is damaged: what was in it is lost")
                    del self._held[:end]
                    try:
                        piece = _piece(body)
                    except msgspec.MsgspecError as error:
                        raise Damaged(f"{self.path} was written by another version: {error}") from None
                    self.count += 1
                    return piece
            if self._stream.eof:
                return None
            data = os.read(self._fd, _READ_BYTES)
            if not data:
                return None
            try:
                self._held += self._stream.decompress(data)
            except zstandard.ZstdError as error:
                raise Damaged(f"{self.path} is damaged ({error}): what was in it is lost") from None
        return None

    def close(self) -> None:
        os.close(self._fd)


def _packed_size(body: bytes) -> int:
    """Not less than what a piece takes, as far as can be told before it is written."""
    return len(zstandard.ZstdCompressor(level=1).compress(body)) * 11 // 10 + 1024


def _read_ack(path: Path) -> tuple[int, int]:
    try:
        return _ack(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return 0, 0
