"""One sealed segment: how it is written, read, named, and what its index holds."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import xxhash
import zstandard

from monitor.rounds import UNKNOWN_TIME, Round
from monitor.session_keys import name_digest
from monitor.sources.higress import HigressReader, Skipped
from monitor.sources.wrap import Unwrapper
from monitor.store.base import StoreError

#: Lines go into the next segment once one holds this much of them.
SEGMENT_BYTES = 64 << 20
#: Repeats far apart are found: requests of one conversation are megabytes from each other.
_WINDOW_LOG = 27
_LEVEL = 3
_PIECE = 1 << 20
SUFFIX, INDEX_SUFFIX = ".zst", ".index"
_VERSION = 1


class ArchiveError(StoreError):
    """A folder of archives or a segment can't be used; the message names it and the way out."""


class Index(msgspec.Struct, frozen=True):
    """What a segment holds, so that nobody has to unpack it to know."""

    version: int
    lines: int
    #: Of the lines, before they were compressed.
    size: int
    #: The first and last start of a round in it, ms since 1970; None where it has no round with a time.
    first: int | None
    last: int | None
    #: xxh3-128 of all lines together.
    content: bytes
    #: 16 bytes for each round: its key, as the store knows it.
    keys: bytes
    #: 20 bytes for each session that has a line in it; see `monitor.session_keys.name_digest`.
    sessions: bytes

    @property
    def rounds(self) -> int:
        """How many rounds it holds."""
        return len(self.keys) // 16

    def holds(self, digests: Iterable[bytes]) -> bool:
        """Whether one of these sessions may have a line in it."""
        here = {self.sessions[at : at + 20] for at in range(0, len(self.sessions), 20)}
        return not here.isdisjoint(digests)


class Segment(msgspec.Struct, frozen=True):
    """A sealed segment."""

    path: Path
    index: Index


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Index).decode


def segments(folder: Path) -> list[Segment]:
    """The sealed segments of a folder, oldest first.

    Raises:
        ArchiveError: an index can't be read.
    """
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        index = path.with_suffix(INDEX_SUFFIX)
        try:
            found.append(Segment(path, _decode(zstandard.ZstdDecompressor().decompress(index.read_bytes()))))
        except FileNotFoundError:
            continue  # not ours
        except (OSError, msgspec.MsgspecError, zstandard.ZstdError) as error:
            raise ArchiveError(f"{index} can't be read: {error}. Remove it and its segment, or restore both") from error
    return found


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a segment or a spool, without their line ends; what is torn at the end is left out.

    Raises:
        ArchiveError: the file is damaged or can't be read.
    """
    try:
        with path.open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            rest = b""
            while piece := reader.read(_PIECE):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
    except (OSError, zstandard.ZstdError) as error:
        raise ArchiveError(f"{path} can't be read: {error}") from error


class Told(msgspec.Struct, frozen=True):
    """What some lines that belong together say: the rounds in them."""

    lines: tuple[bytes, ...]
    rounds: tuple[Round, ...]
    #: Its only record has nothing that another could not have, so that its number in its file tells it apart.
    repeatable: bool
    #: A record in it is damaged: it counts nowhere, and nobody can tell whose it is.
    damaged: bool = False


class Grouper:
    """Puts the lines of one file into groups that can't be taken apart: of a record in several pieces, all of them."""

    def __init__(self) -> None:
        self._reader, self._unwrapper = HigressReader(), Unwrapper()
        self._rounds: list[Round] = []
        self._records = self._repeatable = 0
        self._damaged = False
        #: Lines whose record is not complete yet.
        self.held: list[bytes] = []

    def feed(self, lines: Iterable[bytes]) -> Iterator[Told]:
        """The groups that `lines` complete."""
        for line in lines:
            self.held.append(line)
            for record in self._unwrapper.records([line], 0):
                reading = self._reader.read(record.text)
                self._records += 1
                if isinstance(reading, Skipped):
                    self._damaged |= reading.reason == "malformed"
                else:
                    self._rounds.append(reading.round)
                    self._repeatable += not reading.unique
            if self._unwrapper.held is None:
                single = self._records == self._repeatable == len(self.held) == 1
                yield Told(tuple(self.held), tuple(self._rounds), single, self._damaged)
                self.held, self._rounds, self._records, self._repeatable = [], [], 0, 0
                self._damaged = False


def names_of(round_: Round) -> set[bytes]:
    """The digests of all names by which a round's session is known."""
    return (
        set() if round_.session_id is None else {name_digest(n) for n in (round_.session_id, *round_.session_aliases)}
    )


class Writer:
    """A segment that is being made. It has its name only once `seal` is done."""

    def __init__(self, folder: Path) -> None:
        """Raises ArchiveError where nothing can be written."""
        self.folder = folder
        self._draft = folder / f".{secrets.token_hex(8)}.new"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self._draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
        except OSError as error:
            raise ArchiveError(f"{folder}: nothing can be written there: {error.strerror}") from error
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _LEVEL, window_log=_WINDOW_LOG, enable_ldm=True, write_checksum=True, write_content_size=False
        )
        self._pack = zstandard.ZstdCompressor(compression_params=parameters).stream_writer(self._file, closefd=False)
        self._digest = xxhash.xxh3_128()
        self._keys: dict[bytes, None] = {}
        self._sessions: set[bytes] = set()
        self._repeats: dict[bytes, int] = {}
        self._first: int | None = None
        self._last: int | None = None
        self.lines = self.bytes = 0

    def add(self, group: Told, number: int = 1) -> None:
        """Take some lines. `number` says which of the equal ones of its file a repeatable line is.

        It is written as often as it takes for it to be that one here as well.
        """
        if group.repeatable:
            (line,) = group.lines
            have = self._repeats.get(line, 0)
            for _ in range(have, number):
                self._write(line)
            self._repeats[line] = max(have, number)
        else:
            for line in group.lines:
                self._write(line)
        for round_ in group.rounds:
            self._keys[round_.key] = None
            self._sessions |= names_of(round_)
            at = round_.started_at
            if at != UNKNOWN_TIME:
                self._first = at if self._first is None else min(self._first, at)
                self._last = at if self._last is None else max(self._last, at)

    def _write(self, line: bytes) -> None:
        self._pack.write(line + b"\n")
        self._digest.update(line + b"\n")
        self.lines += 1
        self.bytes += len(line) + 1

    def seal(self, path: Path | None = None) -> Segment | None:
        """Give it its name, or that of the segment that it replaces; None where it holds nothing."""
        if not self.lines:
            self.discard()
            return None
        index = Index(
            _VERSION,
            self.lines,
            self.bytes,
            self._first,
            self._last,
            self._digest.digest(),
            b"".join(self._keys),
            b"".join(sorted(self._sessions)),
        )
        try:
            self._pack.close()  # type: ignore[no-untyped-call]
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            path = path or self.folder / f"{self._name()}{SUFFIX}"
            packed = zstandard.ZstdCompressor().compress(_encode(index))
            if path.exists():
                # The old index tells of more than is there, so whoever looks again finds it again.
                self._draft.replace(path)
                put(path.with_suffix(INDEX_SUFFIX), packed)
            else:
                # The index first: a segment is one once it has its name, and then everything is there.
                put(path.with_suffix(INDEX_SUFFIX), packed)
                self._draft.replace(path)
            _sync_folder(self.folder)
        except OSError as error:
            self.discard()
            raise ArchiveError(f"{self.folder}: a segment could not be written: {error.strerror}") from error
        return Segment(path, index)

    def discard(self) -> None:
        """Forget it."""
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def _name(self) -> str:
        at = datetime.fromtimestamp((self._first or 0) / 1000, UTC)
        return f"{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def put(path: Path, content: bytes) -> None:
    """Write a small file, whole or not at all, for its owner only."""
    draft = path.with_name(f".{secrets.token_hex(8)}.new")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _sync_folder(folder: Path) -> None:
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)
