"""What of the sources nobody has read yet, as a process sees it that does not read them itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from monitor.runtime.following import STDIN, Following, files_of_days, is_of_days
from monitor.store.base import Store

if TYPE_CHECKING:
    from monitor.sources.tail import FileState

#: Device, inode and size of the files of each source.
Wanted = dict[str, list[tuple[int, int, int]]]


class Unread:
    """Compares what is there with how far the store says that it was read."""

    def __init__(self, store: Store, following: Following) -> None:
        self._store = store
        self._following = following

    def _states(self, name: str) -> list[FileState]:
        from monitor.sources.tail import FileState  # noqa: PLC0415 - only a process that does not ingest asks this

        return [
            msgspec.structs.replace(msgspec.msgpack.decode(c.position, type=FileState), size=c.size)
            for c in self._store.checkpoints(name)
        ]

    def openclaw_folders(self) -> list[Path]:
        """The state folders among what is followed."""
        how = self._store.followed()
        names = self._store.sources()
        if not names:
            return [source.path for source in self._following.sources() if source.kind == "openclaw"]
        return [Path(name) for name in names if name in how and how[name][0] == "openclaw"]

    def of_folder(self, folder: Path) -> int:
        from monitor.ingest.transcripts import unread_bytes  # noqa: PLC0415 - only where there are transcripts

        return unread_bytes(folder, self._store.checkpoints(str(folder)))

    def wanted(
        self, names: Sequence[str] = (), *, without: Sequence[Path] = ()
    ) -> dict[str, list[tuple[int, int, int]]]:
        """Device, inode and size of what has to be read: of each log the live file, and what it was before."""
        wanted = {}
        for name in names or self._store.sources() or [str(source.path) for source in self._following.sources()]:
            if Path(name) in without:
                continue
            files: list[tuple[int, int, int]] = []
            if os.path.isdir(name):
                wanted[name] = [
                    (found.st_dev, found.st_ino, found.st_size)
                    for _, found in files_of_days(Path(name))
                    if found is not None
                ]
                continue
            with contextlib.suppress(OSError):
                found = os.stat(name)
                files.append((found.st_dev, found.st_ino, found.st_size))
            known = {(state.device, state.inode) for state in self._states(name)}
            if known and (not files or files[0][:2] not in known):
                # Rotated, and nobody has looked since: what was written before that has another name now.
                from monitor.sources.tail import same_log  # noqa: PLC0415

                there = [(found.st_dev, found.st_ino, found.st_size) for found in same_log(name)]
                files += [file for file in there if file[:2] in known]
            wanted[name] = files
        return wanted

    def of(self, wanted: dict[str, list[tuple[int, int, int]]]) -> int:
        """Bytes of these files that nobody has read yet."""
        unread = 0
        for name, files in wanted.items():
            states = self._states(name) if files else []
            for device, inode, size in files:
                sizes = (s.size for s in states if (s.device, s.inode) == (device, inode) and s.size <= size)
                unread += size - max(sizes, default=0)
        return unread

    def bytes(self) -> int:
        """Bytes of the logs that no process has read yet."""
        sources = [source for source in self._following.sources() if source.path != STDIN]
        folders = [source.path for source in sources if source.kind == "openclaw"]
        logs = [str(source.path) for source in sources if source.path not in folders]
        return (self.of(self.wanted(logs)) if logs else 0) + sum(map(self.of_folder, folders))

    def has_logs(self) -> bool:
        """Whether there is anything to read, be it under a rotated name only."""
        from monitor.sources.tail import same_log  # noqa: PLC0415

        return any(
            source.path == STDIN
            or is_of_days(source)
            or (source.path.is_dir() if source.kind == "openclaw" else same_log(source.path, source.max_rotate))
            for source in self._following.sources()
        )
