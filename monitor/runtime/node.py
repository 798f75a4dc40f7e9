"""A node of a fleet by itself: its logs are followed while the store is away; what waits there, and what is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.answers.base import rfc3339
from monitor.config import Settings, SourceSettings
from monitor.runtime.following import STDIN, is_of_days

if TYPE_CHECKING:
    from monitor.ingest.follower import Follower
    from monitor.ingest.pieces import Quiet

#: So long a loss is a problem; then it is only told.
_RECENT_MS = 7 * 86_400_000
_SHOWN = 5


def follower(settings: Settings, folder: Path, sources: Sequence[SourceSettings]) -> Follower:
    """What follows the logs among `sources`, with what waited in the data directory already.

    Other sources stay where they are, and wait there. Raises OSError where the data directory can't be used.
    """
    from monitor.ingest.follower import Follower  # noqa: PLC0415 - only where there is a fleet
    from monitor.ingest.intake import Intake  # noqa: PLC0415
    from monitor.ingest.spool import Room, Spool, folder_of  # noqa: PLC0415
    from monitor.sources.higress import HigressReader  # noqa: PLC0415
    from monitor.sources.usage_log.reader import UsageReader  # noqa: PLC0415

    room = Room(settings.fleet.spool_bytes)
    intakes = {}
    for source in sources:
        if source.kind == "openclaw" or source.path == STDIN or is_of_days(source):
            continue
        name = str(source.path)
        quiet = _quiet(settings.privacy.content)
        reader = UsageReader(source.names, name) if source.kind == "usage" else HigressReader()
        spool = Spool(folder_of(folder, name), name, room)
        intakes[source.path] = Intake(
            source.path, spool, max_rotate=source.max_rotate, quiet=quiet, reader=None if quiet is None else reader
        )
    return Follower(intakes)


def _quiet(content: str) -> Quiet | None:
    """What makes rounds fit for the disk; None where lines may stand there as they are."""
    if content == "none":
        from monitor.rounds import without_text  # noqa: PLC0415

        return without_text
    if content == "redacted":
        from monitor.redaction import Redactor  # noqa: PLC0415 - only where secrets are masked

        return Redactor().round
    return None


def told(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is wrong with the lines that wait here or are lost, and what is only worth knowing, in sentences."""
    if not (folder / "spool").is_dir():
        return (), ()
    from monitor.ingest.losses import statuses  # noqa: PLC0415 - only where lines ever waited

    problems: list[str] = []
    notes: list[str] = []
    now = time.time_ns() // 1_000_000
    for status in statuses(folder):
        if status.since is not None:
            problems.append(
                f"{status.source}: lines wait on this node since {rfc3339(status.since)}, {status.bytes:,} bytes so "
                "far; they go into the store in order as soon as it takes them"
            )
        for lost in status.lost[-_SHOWN:]:
            if lost.damaged:
                what = f"{lost.path} was damaged: what waited in it is lost"
            else:
                what = (
                    f"{lost.path}: {lost.lines:,} lines (bytes {lost.start:,} to {lost.end:,}) are in no figure: the "
                    "store was away and no room was left for them; give it more (fleet.spool_bytes)"
                )
            (problems if lost.at > now - _RECENT_MS else notes).append(f"{what} (until {rfc3339(lost.at)})")
        if len(status.lost) > _SHOWN:
            notes.append(
                f"{status.source}: {status.lost_lines:,} lines ({status.lost_bytes:,} bytes) were lost in all; the "
                f"last {len(status.lost)} places are in {folder / 'spool'}/*/status"
            )
    return tuple(problems), tuple(notes)
