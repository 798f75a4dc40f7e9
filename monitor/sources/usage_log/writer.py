"""Append usage records to one file a day, from any number of threads and processes.

A record is one line and one ``write`` to a file that is opened for appending, so lines never mix, and a record
that was written outlives its process. A crash in the middle of a write leaves a torn line at most; whoever
writes next ends it first, so that it spoils nothing but itself. After a power failure the last seconds may be
missing, unless each record is synced to the disk.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

#: Of the days whose files were used last the files stay open.
_OPEN_FILES = 4
SUFFIX = ".jsonl"
#: A line without an end is looked at so often; a write takes a small part of that.
_LOOKS, _BETWEEN_LOOKS_S = 20, 0.0005


class _Day:
    """The file of one local day."""

    __slots__ = ("begin", "end", "fd", "identity", "path")

    def __init__(self, path: str, begin: float, end: float) -> None:
        self.path = path
        self.begin = begin
        self.end = end
        self.fd = -1
        self.identity: tuple[int, int] | None = None


class DayFiles:
    """The files of a folder, one for each day of a time zone, by when the calls were made."""

    def __init__(self, folder: str | os.PathLike[str], zone: ZoneInfo, *, sync: bool = False) -> None:
        """Nothing is made before the first record. `sync`: each record is on the disk before `append` returns."""
        self.folder = Path(folder).absolute()
        self.zone = zone
        self._sync = sync
        self._days: list[_Day] = []
        self._lock = threading.Lock()
        _ALL.add(self)

    def path(self, at: float) -> Path:
        """The file of the day of a moment, in seconds since 1970."""
        with self._lock:
            return Path(self._day(at).path)

    def append(self, line: bytes, at: float | None = None) -> None:
        """Write complete lines into the file of a moment's day, `at` in seconds since 1970, now where it is None.

        `line` ends with a line end; several lines stay together.

        Raises:
            OSError: the folder can't be made or the file not written; the record is not kept then.
        """
        moment = time.time() if at is None else at
        # Nobody may close a file while another thread writes to it: its number could be another file's by then.
        with self._lock:
            day = self._day(moment)
            try:
                found = os.stat(day.path)
            except FileNotFoundError:
                found = None
            if day.fd < 0 or found is None or (found.st_dev, found.st_ino) != day.identity:
                # The file is new, or was taken away: what is written to a file without a name is lost.
                self._open(day)
                found = os.fstat(day.fd)
            if found.st_size and os.pread(day.fd, 1, found.st_size - 1) != b"\n" and self._is_torn(day.fd):
                line = b"\n" + line
            self._write(day.fd, line)

    @staticmethod
    def _is_torn(fd: int) -> bool:
        """Whether the last line stays without its end; while another process writes, it looks so for a moment."""
        size = -1
        for _ in range(_LOOKS):
            before, size = size, os.fstat(fd).st_size
            if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
                return False
            if size == before:
                time.sleep(_BETWEEN_LOOKS_S)
        return True

    def _write(self, fd: int, line: bytes) -> None:
        written = os.write(fd, line)
        while written < len(line):
            # A full disk takes a part. The rest may still find room; if not, the line stays torn.
            line = line[written:]
            written = os.write(fd, line)
        if self._sync:
            _to_disk(fd)

    def _day(self, at: float) -> _Day:
        for day in self._days:
            if day.begin <= at < day.end:
                return day
        local = datetime.fromtimestamp(at, self.zone).date()
        begin = datetime(local.year, local.month, local.day, tzinfo=self.zone).timestamp()
        after = local + timedelta(days=1)
        end = datetime(after.year, after.month, after.day, tzinfo=self.zone).timestamp()
        day = _Day(os.path.join(self.folder, local.isoformat() + SUFFIX), begin, end)
        for old in self._days[_OPEN_FILES - 1 :]:
            self._close(old)
        self._days = [day, *self._days[: _OPEN_FILES - 1]]
        return day

    def _open(self, day: _Day) -> None:
        self._close(day)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            fd = os.open(day.path, flags, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(day.path, flags, 0o600)
        found = os.fstat(fd)
        day.fd, day.identity = fd, (found.st_dev, found.st_ino)

    @staticmethod
    def _close(day: _Day) -> None:
        fd, day.fd, day.identity = day.fd, -1, None
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Let go of the files; they are opened again when needed."""
        with self._lock:
            for day in self._days:
                self._close(day)
            self._days = []

    def renew(self) -> None:
        """After a fork: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()


#: Systems without the shorter way have the longer one.
_to_disk = getattr(os, "fdatasync", os.fsync)

_ALL: weakref.WeakSet[DayFiles] = weakref.WeakSet()


def _after_fork() -> None:
    for files in list(_ALL):
        files.renew()


os.register_at_fork(after_in_child=_after_fork)
