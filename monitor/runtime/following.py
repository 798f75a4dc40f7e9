"""Which sources are followed, and what is there of each."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.config import DEFAULT_LOGS, Settings, SourceSettings, check_allowed, is_openclaw, openclaw_folders
from monitor.runtime.stores import Stores
from monitor.store.base import OlderStore, Store, StoreAway, StoreError

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger("monitor.runtime")

STDIN = Path("-")
#: Usage records that were given to this program lie here, below the data directory.
OWN_RECORDS = "usage"


class Following:
    """What one process follows, by its command line, the configuration and what was followed before."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        stores: Stores,
        lock: Callable[[], FileLock],
        *,
        log_paths: Sequence[Path],
        max_rotate: int | None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._stores = stores
        self._folder = settings.data_dir.expanduser().absolute()
        self._lock = lock
        self._log_paths = tuple(log_paths)
        self._max_rotate = max_rotate

    def sources(self) -> list[SourceSettings]:
        """Those of the command line, else of the configuration, else those followed before, else the usual places.

        Raises:
            ConfigError: a path that may not be read.
        """
        found = [_named(path) for path in self._log_paths] or list(self._settings.sources)
        if not found:
            found = self._remembered()
        if not found:
            found = [SourceSettings(path=path) for path in DEFAULT_LOGS if path.exists()]
            if self._settings.usage.folder.is_dir():
                found.append(SourceSettings(kind="usage", path=self._settings.usage.folder))
            found += [SourceSettings(kind="openclaw", path=path) for path in openclaw_folders()]
        own = self._folder / OWN_RECORDS
        if own.is_dir() and all(source.path != own for source in found):
            found.append(SourceSettings(kind="usage", path=own))
        allowed = self._settings.privacy.allowed_paths
        return [
            source.model_copy(
                update={
                    "path": source.path if source.path in (STDIN, own) else check_allowed(source.path, allowed),
                    "max_rotate": source.max_rotate if self._max_rotate is None else self._max_rotate,
                }
            )
            for source in found
        ]

    def _remembered(self) -> list[SourceSettings]:
        """The sources that the data directory already follows, read as they were."""
        try:
            how = self._store.followed()
        except OlderStore:
            # After an upgrade: what is followed stands in tables that have to be brought up to date first.
            self._bring_up_to_date()
            how = self._store.followed()
        except StoreAway as error:
            log.warning("what was followed before can't be asked: name the logs in the configuration (%s)", error)
            return []
        found = []
        for name in self._store.sources():
            kind, settings = how.get(name, ("higress", b"{}"))
            try:
                found.append(SourceSettings(**{**json.loads(settings), "kind": kind, "path": Path(name)}))
            except ValueError:
                # Written by another version of this program.
                log.warning("%s is not followed: name it in the configuration", name)
        return found

    def _bring_up_to_date(self) -> None:
        """Give the tables of an older version what is new in them.

        Raises:
            StoreError: a process of the older version ingests, or the store can't be used.
        """
        try:
            with self._lock():
                self._stores.writing().close()
        except TimeoutError:
            raise StoreError(
                f"{self._folder} is of an older version of this program, and a process of that version reads the logs: "
                "stop it (`session-monitor service status` tells whether it is the service), then start this one"
            ) from None

    def usage_folder(self) -> Path:
        """Where usage records go that are given to this program: the first folder of them that is followed.

        Without one they go into the data directory, which is followed from then on.
        """
        for source in self.sources():
            if is_of_days(source) and not source.fields:
                return source.path
        return self._folder / OWN_RECORDS


def is_of_days(source: SourceSettings) -> bool:
    """Whether a source is a folder with a file a day: it is there as one, or may become one."""
    path = source.path
    return source.kind == "usage" and (path.is_dir() or (path != STDIN and not path.suffix and not path.exists()))


def _named(path: Path) -> SourceSettings:
    """What is meant by a path on the command line: a folder has usage records, or is OpenClaw's; else it is a log."""
    if is_openclaw(path):
        return SourceSettings(kind="openclaw", path=path)
    return SourceSettings(kind="usage" if path.is_dir() and not path.suffix else "higress", path=path)


def files_of_days(folder: Path) -> list[tuple[Path, os.stat_result | None]]:
    from monitor.sources.usage_log.folder import day_files  # noqa: PLC0415 - only where there are such files

    found: list[tuple[Path, os.stat_result | None]] = []
    with contextlib.suppress(OSError):
        for path in (path for paths in day_files(folder).values() for path in paths):
            try:
                found.append((path, path.stat()))
            except OSError:
                found.append((path, None))
    return found


def size_of(source: SourceSettings) -> int | None:
    """Bytes of a log, or of all files of a folder that are read; None where it is not there."""
    path = source.path
    try:
        if source.kind == "openclaw":
            from monitor.ingest.transcripts import signature_of  # noqa: PLC0415 - only where there are transcripts

            signature = signature_of(path)
            return None if signature is None else signature[2]
        if path.is_dir():
            return sum(found.st_size for _, found in files_of_days(path) if found is not None)
        return path.stat().st_size
    except OSError:
        return None
