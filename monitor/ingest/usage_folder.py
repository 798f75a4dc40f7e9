"""A folder of usage logs as one source: a file a day, each followed like any log.

A day's file that is gone, or holds something else than it did, takes its records back out of every figure.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from monitor.ingest import LogSource, Signature, SourceProblem, SourceState
from monitor.prices.catalog import Catalog
from monitor.prices.live import LiveCatalog
from monitor.sources.tail import FileState
from monitor.sources.tail.rotation import steady
from monitor.sources.usage_log.folder import day_files, day_of, origin_of
from monitor.sources.usage_log.reader import UsageReader
from monitor.store.base import Batch, Checkpoint, Store
from monitor.usage_fields import FieldNames

log = logging.getLogger("monitor.ingest")

#: Files that changed last are kept open, so many.
_OPEN = 4
#: The names of all day files until the year 3000 begin so; a change of any of them is told.
_BEGINNING = "2"

_Stamp = tuple[int, int, int, int]


class UsageFolder:
    """The day files of one folder."""

    def __init__(
        self,
        path: Path,
        store: Store,
        catalog: Catalog | LiveCatalog,
        *,
        names: FieldNames | None = None,
        keep_content: bool = True,
    ) -> None:
        self.path = path
        self.name = str(path)
        self._store = store
        self._catalog = catalog
        self._names = names
        self._keep_content = keep_content
        self._logs: dict[Path, LogSource] = {}
        #: Files that were read to their end, as they were then.
        self._read: dict[Path, _Stamp] | None = None
        #: Of these some may have changed since and look the same.
        self._racy: set[Path] = set()
        #: The days that the last pass found.
        self._days: set[str] | None = None
        #: What stood in the way of files that are closed again.
        self._problems: dict[Path, tuple[SourceProblem, ...]] = {}

    @property
    def watched(self) -> Sequence[Path]:
        """Anything that begins as day files do, and the newest of them, for systems that tell nothing."""
        newest = [paths[-1] for paths in list(self._listed().values())[-1:]]
        return [self.path / _BEGINNING, *newest]

    def signature(self) -> Signature | None:
        """Changes with the names and sizes of the day files."""
        try:
            device = os.stat(self.path).st_dev
        except OSError:
            return None
        names, size = 0, 0
        for path, stamp in self._stamps().items():
            names = zlib.crc32(f"{path.name} {stamp[1]}".encode(errors="surrogateescape"), names)
            size += stamp[2]
        return device, names, size

    def batches(self) -> Iterator[Batch]:
        """What the files have gained, the oldest day first; and what is gone goes."""
        listed = self._listed()
        self._take_out_gone(listed)
        if self._read is None:
            self._read = {Path(state.path): stamp for state in self._states() if (stamp := _whole(state))}
        for day, paths in listed.items():
            for path in paths:
                stamp = _stamp(path)
                if stamp is None or (self._read.get(path) == stamp and path not in self._racy):
                    continue
                source = self._log(path, day)
                yield from self._of(source, path, day)
                if not source.state().refused_bytes:
                    self._read[path] = stamp
                    # Another change so soon after this one may not show in the time stamp.
                    if steady(stamp[3]):
                        self._racy.discard(path)
                    else:
                        self._racy.add(path)
        self._close_idle()

    def _of(self, source: LogSource, path: Path, day: str) -> Iterator[Batch]:
        """The batches of one file. Where it was replaced, what it held before goes first."""
        for chunk in source.tail.read():
            if chunk.fresh and chunk.state.path == str(path):
                old = [c for c in self._store.checkpoints(self.name) if c.path == str(path)]
                if old:
                    self._remove(day, old, "holds something else than it did")
            yield source.batch(chunk)

    def _log(self, path: Path, day: str) -> LogSource:
        source = self._logs.pop(path, None)
        if source is None:
            source = LogSource(
                path,
                self._store,
                self._catalog,
                max_rotate=0,
                keep_content=self._keep_content,
                reader=UsageReader(self._names, self.name),
                name=self.name,
                origin=origin_of(self.path, day),
            )
        self._logs[path] = source  # the last one is the one that was used last
        return source

    def _close_idle(self) -> None:
        for path in list(self._logs)[:-_OPEN]:
            source = self._logs.pop(path)
            self._problems[path] = source.state().problems
            source.close()

    # -- what is gone -----------------------------------------------------------------------------

    def _take_out_gone(self, listed: dict[str, list[Path]]) -> None:
        before, self._days = self._days, set(listed)
        if before is not None and before <= self._days:
            return
        for left in (before or set()) - self._days:
            # Whoever took it out: a file that comes back is a new one.
            self._forget(left)
        try:
            device = os.stat(self.path).st_dev
        except OSError:
            self._days = before
            return  # without the folder nobody can tell what is in it
        gone = [
            day
            for origin in self._store.origins()
            if (day := day_of(self.path, origin)) is not None and day not in listed
        ]
        if not gone:
            return
        known: dict[str, list[Checkpoint]] = {}
        for checkpoint in self._store.checkpoints(self.name):
            known.setdefault(Path(checkpoint.path).name[:10], []).append(checkpoint)
        for day in gone:
            checkpoints = known.get(day, [])
            devices = {_state(checkpoint).device for checkpoint in checkpoints}
            if devices and device not in devices:
                continue  # another disk is there now, or the mount point without its disk
            self._forget(day)
            self._remove(day, checkpoints, "is gone")

    def _remove(self, day: str, checkpoints: Sequence[Checkpoint], why: str) -> None:
        origin = origin_of(self.path, day)
        removed = self._store.remove(origin, checkpoints=[c.id for c in checkpoints])
        if removed.rounds:
            log.warning("%s %s: its records (%d) are taken out of every figure", origin, why, removed.rounds)

    def _forget(self, day: str) -> None:
        for path in [path for path in self._logs if path.name.startswith(day)]:
            self._logs.pop(path).close()
        for path in [path for path in self._read or () if path.name.startswith(day)]:
            del (self._read or {})[path]

    # -- as any source ----------------------------------------------------------------------------

    def grown(self, seen: Signature | None) -> list[Checkpoint]:
        """Checkpoints of files that only gained a torn line."""
        found = []
        for path, source in self._logs.items():
            stamp = (self._read or {}).get(path)
            found += source.grown(None if stamp is None else stamp[:3])
        return found

    def restart(self) -> None:
        """Go back to what the store has."""
        for source in self._logs.values():
            source.close()
        self._logs.clear()
        self._read = self._days = None

    def close(self) -> None:
        """Let go of the files."""
        self.restart()

    def state(self) -> SourceState:
        """How the folder stands now."""
        states = [source.state() for source in self._logs.values()]
        pending = sum(state.pending_bytes for state in states)
        read = self._read or {}
        for path, stamp in self._stamps().items():
            if path not in self._logs and read.get(path) != stamp:
                pending += stamp[2]
        problems = [problem for state in states for problem in state.problems]
        problems += [problem for path, some in self._problems.items() if path not in self._logs for problem in some]
        return SourceState(
            self.name,
            exists=self.path.is_dir(),
            pending_bytes=pending,
            problems=tuple(problems),
            refused_bytes=sum(state.refused_bytes for state in states),
        )

    def _listed(self) -> dict[str, list[Path]]:
        try:
            return day_files(self.path)
        except OSError:
            return {}

    def _stamps(self) -> dict[Path, _Stamp]:
        paths = [path for paths in self._listed().values() for path in paths]
        return {path: stamp for path in paths if (stamp := _stamp(path)) is not None}

    def _states(self) -> list[FileState]:
        return [_state(checkpoint) for checkpoint in self._store.checkpoints(self.name)]


def _state(checkpoint: Checkpoint) -> FileState:
    return msgspec.msgpack.decode(checkpoint.position, type=FileState)


def _whole(state: FileState) -> _Stamp | None:
    """What a file looked like when it was read to its end; None where it was not."""
    stamp = (state.device, state.inode, state.size, state.mtime_ns)
    return stamp if state.done or state.offset == state.size else None


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
