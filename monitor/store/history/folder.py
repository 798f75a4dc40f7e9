"""The conversations of one folder, which has one file a month."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from monitor.store.base import Content
from monitor.store.history.batch import Entry
from monitor.store.history.month import Month
from monitor.store.history.tables import make_file, month_of, second_of

#: Months whose files stay open at the same time.
OPEN_MONTHS = 4

_NAME = re.compile(r"history-(\d{6})\.db")
_MONTH = re.compile(r"\d{6}")


class History:
    """The conversations of one folder. Any thread may call it; calls wait for each other.

    One process writes; any number of others may read the same folder with ``read_only=True``.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Opens nothing yet. A folder that is missing is made at the first write."""
        self._folder = folder
        self._read_only = read_only
        self._files: OrderedDict[str, Month] = OrderedDict()
        self._lock = threading.RLock()

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep what was said in rounds, each (key, start in milliseconds, conversation), durably.

        Each month is one transaction. A round that is there already stays as it is.
        Raises HistoryError; what was written to other months before may then be kept.
        """
        if self._read_only:
            raise RuntimeError("this history was opened for reading only")
        months: dict[str, list[Entry]] = {}
        for entry in entries:
            months.setdefault(month_of(entry[1]), []).append(entry)
        with self._lock:
            for month, part in months.items():
                file = self._file(month, create=True)
                assert file is not None
                file.write(part)

    def read(self, key: bytes, started_at: int) -> Content | None:
        """What was said in a round, its messages complete; None where it is not kept.

        `started_at` is the round's start in milliseconds, as it was written. Raises HistoryError
        rather than return a history whose digest does not match.
        """
        with self._lock:
            file = self._file(month_of(started_at))
            return None if file is None else file.read(key, started_at, whole=True)

    def walk(self, rounds: Iterable[tuple[bytes, int]]) -> Iterator[Content | None]:
        """`read` for each (key, start) in turn; cheap where each round continues the one before."""
        for key, started_at in rounds:
            yield self.read(key, started_at)

    def added(self, key: bytes, started_at: int) -> Content | None:
        """`read` with only the messages from `new_from` on, however long the conversation is.

        `system` is given only where the round begins the conversation.
        """
        with self._lock:
            file = self._file(month_of(started_at))
            return None if file is None else file.read(key, started_at, whole=False)

    def erase(self, rounds: Iterable[tuple[bytes, int]]) -> tuple[int, int]:
        """Remove rounds, each (key, start), and every text that no other round has said, also from the disk.

        Gives how many pieces of their conversations went, and how many stay because others have said the same.
        Takes time in proportion to the months it touches. Raises HistoryError.
        """
        if self._read_only:
            raise RuntimeError("this history was opened for reading only")
        return self._of_each_month(rounds, Month.erase)

    def shared(self, rounds: Iterable[tuple[bytes, int]]) -> tuple[int, int]:
        """What `erase` would give. Nothing is erased."""
        return self._of_each_month(rounds, Month.shared)

    def _of_each_month(
        self, rounds: Iterable[tuple[bytes, int]], what: Callable[[Month, list[tuple[int, bytes]]], tuple[int, int]]
    ) -> tuple[int, int]:
        months: dict[str, list[tuple[int, bytes]]] = {}
        for key, started_at in rounds:
            months.setdefault(month_of(started_at), []).append((second_of(started_at), key))
        gone = stay = 0
        with self._lock:
            for month, part in months.items():
                if (file := self._file(month)) is not None:
                    found = what(file, part)
                    gone, stay = gone + found[0], stay + found[1]
        return gone, stay

    def month(self, month: str) -> Month | None:
        """The file of a month, for what concerns it alone; None where there is none."""
        with self._lock:
            return self._file(month)

    def months(self) -> list[str]:
        """The months that are kept, as ``YYYYMM``, oldest first. Rounds without a time are in 197001."""
        with suppress(FileNotFoundError):
            return sorted(m[1] for name in os.listdir(self._folder) if (m := _NAME.fullmatch(name)))
        return []

    def drop(self, month: str) -> None:
        """Delete a month for good. Other processes that read it see it as gone."""
        if self._read_only:
            raise RuntimeError("this history was opened for reading only")
        path = self._path(month)
        with self._lock:
            if file := self._files.pop(month, None):
                file.close()
            # The log goes first: left alone by a crash, it would be taken for that of a later file.
            for end in ("-wal", "-shm", ""):
                path.with_name(path.name + end).unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop what is remembered of the files, such as after a transaction elsewhere was rolled back."""
        with self._lock:
            for file in self._files.values():
                file.forget()

    def close(self) -> None:
        """Close the files. They are opened again when needed."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, month: str) -> Path:
        if not _MONTH.fullmatch(month):
            raise ValueError(f"not a month: {month!r}")
        return self._folder / f"history-{month}.db"

    def _file(self, month: str, *, create: bool = False) -> Month | None:
        """The file of a month, opened; None where there is none."""
        path = self._path(month)
        try:
            stat = os.stat(path)
            identity = stat.st_dev, stat.st_ino
        except FileNotFoundError:
            identity = None
        file = self._files.get(month)
        if file is not None and file.identity != identity:
            # Dropped behind our back: what is written to an unlinked file is lost.
            self._files.pop(month).close()
            file = None
        if file is None:
            if identity is None:
                if not create:
                    return None
                make_file(path)
            file = Month(path, read_only=self._read_only)
            self._files[month] = file
            if len(self._files) > OPEN_MONTHS:
                self._files.popitem(last=False)[1].close()
        else:
            self._files.move_to_end(month)
        return file
