"""How far each file was archived: of no use to anybody but the next run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import xxhash

from monitor.archive.segments import Told, put
from monitor.sources.tail import FileState


class Places(msgspec.Struct):
    """How far the files of one log were archived, by what identifies a file."""

    states: dict[bytes, FileState] = {}
    #: Lines that begin before this offset are in a segment.
    reached: dict[bytes, int] = {}
    #: How often lines that hold nothing unique stood in a file, by their digest.
    repeats: dict[bytes, dict[bytes, int]] = {}

    def numbered(self, file: bytes, groups: Iterable[Told]) -> Iterator[tuple[Told, int]]:
        """Each group with the number of its line among the equal ones of its file."""
        held = self.repeats.setdefault(file, {})
        for group in groups:
            number = 1
            if group.repeatable:
                digest = xxhash.xxh3_128_digest(group.lines[0])
                number = held[digest] = held.get(digest, 0) + 1
            yield group, number

    def forget_all_but(self, files: set[bytes]) -> None:
        """Forget files that are no more."""
        for held in (self.states, self.reached, self.repeats):
            for file in held.keys() - files:
                del held[file]


def place_of(folder: Path, kind: str, source: str) -> Path:
    """The file in which the places of a log are kept."""
    return folder / f".{kind}-{xxhash.xxh3_64_hexdigest(source.encode('utf-8', 'replace'))}"


def read(file: Path) -> Places:
    """The places, none where they can't be read: lines are archived again then, and still count once."""
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=Places)
    except (OSError, msgspec.MsgspecError):
        return Places()


def write(file: Path, places: Places) -> None:
    """Keep the places, whole or not at all."""
    put(file, msgspec.msgpack.encode(places))
