"""What is followed, as the background task sees it: anything that gives batches and says how it stands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from monitor.sources.reading import Reading, Skipped
from monitor.store.base import Batch, Checkpoint

#: Device, inode and size of a file.
Signature = tuple[int, int, int]
#: Where a record with nothing unique ended in its file, its key, and how often it stood there up to then.
Occurrence = tuple[int, bytes, int]


class Keeper(Protocol):
    """Where original lines are kept, before anything that was made of them is."""

    def keep(self, file: bytes, start: int, lines: Sequence[bytes]) -> None:
        """Keep lines that follow each other in a file from an offset on, durably."""
        ...


class SourceProblem(msgspec.Struct, frozen=True):
    """Something about a source that a person should know."""

    source: str
    path: str
    what: str


class SourceState(msgspec.Struct, frozen=True):
    """How a source stands: what it has, and what of it was read."""

    source: str
    exists: bool
    pending_bytes: int
    problems: tuple[SourceProblem, ...] = ()
    #: Bytes of the live file that can't be read.
    refused_bytes: int = 0
    #: Worth knowing, and no fault.
    notes: tuple[str, ...] = ()


class Reader(Protocol):
    """Makes rounds of the records of one kind of source, one by one."""

    def read(self, record: bytes) -> Reading | Skipped:
        """One record without its line end and its container wrapper. Never raises."""
        ...

    def forget(self) -> None:
        """Drop what was remembered of earlier records."""
        ...


class Source(Protocol):
    """Something that is followed, as `Ingester` uses it."""

    name: str

    @property
    def watched(self) -> Sequence[Path]:
        """Paths that change when there is something to read."""
        ...

    def signature(self) -> Signature | None:
        """Changes when there is something to read; the last of it is a size. None where nothing is there."""
        ...

    def batches(self) -> Iterator[Batch]:
        """What was gained since the last time."""
        ...

    def grown(self, seen: Signature | None) -> list[Checkpoint]:
        """Checkpoints of what was only looked at; `seen` is the signature before the pass that is over."""
        ...

    def restart(self) -> None:
        """Go back to what the store has."""
        ...

    def state(self) -> SourceState:
        """How it stands."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def signature_of(path: Path) -> Signature | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size
