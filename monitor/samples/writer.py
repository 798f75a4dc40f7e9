"""An Envoy that writes an access log, with the rotations that happen to it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class Writer:
    """Puts records into a file as Envoy does, and rotates it as others do.

    Envoy appends (O_APPEND), keeps up to 64 KiB back, and then writes what it has in pieces of 16 KiB
    that end anywhere, so a reader sees torn lines. Nothing here waits for anything.
    """

    BUFFER = 64 * 1024
    SLICE = 16 * 1024

    def __init__(self, path: Path | str, *, keep: int = 5) -> None:
        self.path = Path(path)
        self.keep = keep
        self._fd = self._open()
        self._pending = bytearray()
        # What a flush has begun to write; records that come meanwhile are not part of it.
        self._writing = bytearray()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def unwritten(self) -> int:
        """Bytes that no reader can see yet."""
        return len(self._pending) + len(self._writing)

    def write(self, record: bytes) -> None:
        """Take a record; the buffer is flushed when it is full."""
        self._pending += record
        if len(self._pending) >= self.BUFFER:
            self.flush()

    def flush(self, slices: int | None = None) -> int:
        """Write what is buffered and return the number of bytes; with `slices`, only so many ``write`` calls.

        To stop after a slice is how a test sees the file at a moment at which a line is torn.
        """
        written = 0
        while (self._writing or self._pending) and slices != 0:
            if not self._writing:
                self._writing, self._pending = self._pending, self._writing
            done = os.write(self._fd, memoryview(self._writing)[: self.SLICE])
            del self._writing[:done]
            written += done
            if slices is not None:
                slices -= 1
        return written

    def rotate(self) -> Path:
        """What logrotate does: shift the old files, rename, create anew. Returns the renamed file.

        Records keep going to the renamed file until `reopen`.
        """
        self._shift()
        old = self._rotated(1)
        self.path.rename(old)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        return old

    def reopen(self) -> None:
        """SIGUSR1: go over to the file at the path; only a flush that has begun still ends in the old one."""
        while self._writing:
            done = os.write(self._fd, memoryview(self._writing)[: self.SLICE])
            del self._writing[:done]
        os.close(self._fd)
        self._fd = self._open()
        self.flush()

    def copytruncate(self) -> Path:
        """The other kind of rotation: copy the file, then empty it in place. Returns the copy."""
        self._shift()
        copy = self._rotated(1)
        shutil.copyfile(self.path, copy)
        os.truncate(self.path, 0)
        return copy

    def close(self) -> None:
        """Write what is left and let go of the file."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _shift(self) -> None:
        self._rotated(self.keep).unlink(missing_ok=True)
        for number in range(self.keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._rotated(number).rename(self._rotated(number + 1))
