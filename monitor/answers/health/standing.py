"""What only the process itself knows of its sources and its place, as it is asked for its health."""

from __future__ import annotations

import msgspec


class SourceStanding(msgspec.Struct, frozen=True):
    """What the runtime knows of a source besides what is stored."""

    source: str
    kind: str
    exists: bool
    size: int
    pending_bytes: int
    problems: tuple[str, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """How a process stands when it is asked for the health of its sources."""

    sources: tuple[SourceStanding, ...]
    #: Some process reads the logs.
    ingesting: bool
    #: Why what was read can't be kept, in words.
    failure: str | None = None
    problems: tuple[str, ...] = ()
    #: Worth knowing, and no fault of what is running.
    notes: tuple[str, ...] = ()
    version: str = ""

    @property
    def reads_gateway(self) -> bool:
        """A gateway's log is among the sources."""
        return any(source.kind == "higress" for source in self.sources)


class Trouble(msgspec.Struct, frozen=True):
    """Something that is not as it should be in a place where this program keeps its data."""

    what: str
    #: What a person should do.
    do: str
    #: ``doctor --fix`` can do it.
    fixable: bool = False


class Hint(msgspec.Struct, frozen=True):
    """Something in the programs around this one that somebody may not have meant."""

    about: str
    what: str
    #: What a person should do.
    do: str


class Place(msgspec.Struct, frozen=True):
    """The data directory, and the programs around it."""

    folder: str
    #: Bytes that it takes, and that are free on its disk; None where that can't be told.
    bytes: int | None = None
    free_bytes: int | None = None
    troubles: tuple[Trouble, ...] = ()
    #: What was checked of the database, and what does not add up in it.
    checked: str | None = None
    broken: tuple[str, ...] = ()
    #: Name -> version, or age.
    versions: dict[str, str] = {}
    hints: tuple[Hint, ...] = ()
