"""One day of usage records goes back out of every figure.

A day's file in a folder is put aside under a name that nobody reads: naming it as before brings the day back. In
other files of usage records nothing is changed; their records of that day are known and never counted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from monitor.config import SourceSettings
from monitor.sources.usage_log.folder import day_files, origin_of, put_aside
from monitor.store.base import Store


class ResetSource(msgspec.Struct, frozen=True):
    """What went out of one source."""

    source: Path
    #: Records that counted, and count no longer.
    rounds: int
    #: What the day's files are called now; none where the source is no folder.
    aside: tuple[Path, ...] = ()
    #: Ids of the sessions that shrank.
    sessions: tuple[str, ...] = ()


def reset_day(store: Store | None, sources: Sequence[SourceSettings], day: date, zone: ZoneInfo) -> list[ResetSource]:
    """Take a local day out of these sources of usage records; those that had nothing of it are left out.

    Other processes may read them meanwhile. `store` is open for writing; None where nothing was stored yet.

    Raises:
        OSError: a file can't be renamed.
        StoreError: the store can't be used.
    """
    done = []
    for source in sources:
        if source.kind != "usage":
            continue
        one = _from_folder(store, source.path, day) if source.path.is_dir() else _from_file(store, source, day, zone)
        if one.rounds or one.aside:
            done.append(one)
    return done


def _from_folder(store: Store | None, folder: Path, day: date) -> ResetSource:
    name = day.isoformat()
    # First the file: whoever reads it meanwhile then notices that it is gone.
    aside = put_aside(folder, name) if name in day_files(folder) else []
    if store is None:
        return ResetSource(folder, 0, tuple(aside))
    known = [c.id for c in store.checkpoints(str(folder)) if Path(c.path).name.startswith(name)]
    removed = store.remove(origin_of(folder, name), checkpoints=known)
    return ResetSource(folder, removed.rounds, tuple(aside), removed.sessions)


def _from_file(store: Store | None, source: SourceSettings, day: date, zone: ZoneInfo) -> ResetSource:
    if store is None:
        return ResetSource(source.path, 0)
    since, until = (
        round(datetime(at.year, at.month, at.day, tzinfo=zone).timestamp() * 1000)
        for at in (day, day + timedelta(days=1))
    )
    removed = store.remove(str(source.path), since=since, until=until, for_good=True)
    return ResetSource(source.path, removed.rounds, (), removed.sessions)
