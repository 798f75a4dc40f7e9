"""The lines of one session leave the archives: segments that hold some are written anew without them."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import msgspec

from monitor.archive.segments import (
    INDEX_SUFFIX,
    Grouper,
    Segment,
    Told,
    Writer,
    lines_of,
    names_of,
    segments,
)


def segments_of(folder: Path, digests: Set[bytes]) -> list[Segment]:
    """The segments that hold lines of these sessions."""
    return [segment for segment in segments(folder) if segment.index.holds(digests)]


def purge(folder: Path, digests: Set[bytes]) -> list[Segment]:
    """Write the segments that hold lines of these sessions anew without them; gives those segments.

    Damaged lines in them go as well, since nobody can tell whose they are.
    May be interrupted at any time and run again: a segment is the old one or the new one.

    Raises:
        ArchiveError: a segment can't be read or written; those before it are done.
    """
    done = []
    for segment in segments_of(folder, digests):
        writer = Writer(folder)
        grouper = Grouper()
        try:
            for group in grouper.feed(lines_of(segment.path)):
                if not _goes(group, digests):
                    # As they stand there, repeated ones too.
                    writer.add(msgspec.structs.replace(group, repeatable=False))
        except BaseException:
            writer.discard()
            raise
        if writer.seal(segment.path) is None:
            segment.path.unlink()
            segment.path.with_suffix(INDEX_SUFFIX).unlink(missing_ok=True)
        done.append(segment)
    return done


def _goes(group: Told, digests: Set[bytes]) -> bool:
    return group.damaged or any(not names_of(round_).isdisjoint(digests) for round_ in group.rounds)
