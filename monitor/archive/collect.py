"""Segments of what the logs hold now: each line of each file once, however often it is done."""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path

import msgspec

from monitor.archive import places as known_places
from monitor.archive.segments import SEGMENT_BYTES, ArchiveError, Grouper, Segment, Writer, names_of
from monitor.sources.tail import Tail


class Collected(msgspec.Struct, frozen=True):
    """What was archived, or would be."""

    lines: int = 0
    bytes: int = 0
    segments: tuple[Segment, ...] = ()


def collect(
    log: Path,
    folder: Path,
    *,
    max_rotate: int = 100,
    silenced: Set[bytes] = frozenset(),
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    segment_bytes: int = SEGMENT_BYTES,
) -> Collected:
    """Archive what the files of `log` hold and no run before has archived.

    `progress` is told the bytes so far. Lines of `silenced` sessions are left out.

    Raises:
        ArchiveError: nothing can be written to `folder`.
    """
    file = known_places.place_of(folder, "places", str(log))
    places = known_places.read(file)
    sealed: list[Segment] = []
    groupers: dict[bytes, Grouper] = {}
    writer: Writer | None = None
    lines = size = 0

    def seal() -> None:
        nonlocal writer
        if writer is None:
            return
        full, writer = writer, None
        segment = full.seal()
        if segment is not None:
            sealed.append(segment)
        known_places.write(file, places)

    try:
        with Tail(log, max_rotate=max_rotate, known=list(places.states.values())) as tail:
            for chunk in tail.read():
                name = chunk.state.id
                if chunk.fresh:
                    places.repeats.pop(name, None)
                    groupers.pop(name, None)
                grouper = groupers.setdefault(name, Grouper())
                for group, number in places.numbered(name, grouper.feed(chunk.lines)):
                    if any(not names_of(round_).isdisjoint(silenced) for round_ in group.rounds):
                        continue
                    lines += len(group.lines)
                    size += sum(map(len, group.lines)) + len(group.lines)
                    if not dry_run:
                        writer = writer or Writer(folder)
                        writer.add(group, number)
                # Lines of a record that is not complete come again the next time.
                whole = len(chunk.lines) - len(grouper.held)
                if whole >= 0:
                    places.states[name] = chunk.state_after(whole)
                progress(size)
                if writer is not None and writer.bytes >= segment_bytes:
                    seal()
            places.forget_all_but({state.id for state in tail.states()})
        seal()
    except BaseException as error:
        if writer is not None:
            writer.discard()
        if isinstance(error, OSError):
            raise ArchiveError(f"{folder}: {error.strerror}") from error
        raise
    return Collected(lines, size, tuple(sealed))
