"""What a node's spools hold, since when, and which lines were lost for want of room: kept where anybody can read it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec

from monitor.ingest.durable import put
from monitor.sources.tail import FileState

log = logging.getLogger("monitor.ingest")

_STATUS = "status"
#: Of more losses the oldest are told together.
_MOST = 200


class Lost(msgspec.Struct):
    """Lines of one file that are in no figure."""

    path: str
    #: What the file is known by, in hexadecimal digits.
    file: str
    start: int
    end: int
    lines: int
    #: When the last of them was given up, ms since 1970.
    at: int
    #: The file itself was a spool's, and damaged: how many lines were in it nobody can tell.
    damaged: bool = False


class Status(msgspec.Struct):
    """How a spool stands."""

    source: str
    #: When lines began to wait, ms since 1970; None where none do.
    since: int | None = None
    #: Bytes of the log that came to wait since then.
    bytes: int = 0
    lost: list[Lost] = []
    #: Lines and bytes of all losses, those too that are no longer told one by one.
    lost_lines: int = 0
    lost_bytes: int = 0
    #: Up to when the store was told of them.
    told: int = 0


_decode = msgspec.json.Decoder(Status).decode


class Losses:
    """The account of one spool. What can't be written down now is written with what comes next."""

    def __init__(self, folder: Path, source: str) -> None:
        self._path = folder / _STATUS
        self.status = status_of(folder) or Status(source)

    def waiting(self, size: int) -> None:
        """So many bytes more of the log wait."""
        status = self.status
        began = status.since is None
        if status.since is None:
            status.since, status.bytes = _now_ms(), 0
        status.bytes += size
        self._write(durably=began)

    def caught_up(self) -> None:
        """Nothing waits any more."""
        self.status.since, self.status.bytes = None, 0
        self._write()

    def lines(self, state: FileState, start: int, lines: int) -> None:
        """Lines of a file from an offset up to its state are lost."""
        path, file, end = state.path, state.id.hex(), state.offset
        status = self.status
        status.lost_lines += lines
        status.lost_bytes += end - start
        for one in status.lost:
            if (one.file, one.end) == (file, start):
                one.end, one.lines, one.at = end, one.lines + lines, _now_ms()
                break
        else:
            self._add(Lost(path, file, start, end, lines, _now_ms()))
        log.error(
            "%s: %d lines (bytes %d to %d) are lost: there was no room for them while the store was away",
            path, lines, start, end,
        )  # fmt: skip
        self._write()

    def damaged(self, path: Path, size: int) -> None:
        """A segment can't be read."""
        self._add(Lost(str(path), "", 0, size, 0, _now_ms(), damaged=True))
        self._write()

    def untold(self) -> list[Lost]:
        """Losses that the store does not know of."""
        return [one for one in self.status.lost if one.at > self.status.told]

    def tell(self, lost: Lost) -> None:
        """The store knows of it, and of all that were before."""
        self.status.told = max(self.status.told, lost.at)
        self._write()

    def _add(self, lost: Lost) -> None:
        self.status.lost = [*self.status.lost, lost][-_MOST:]

    def _write(self, *, durably: bool = True) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            put(self._path, msgspec.json.encode(self.status), durably=durably)
        except OSError as error:
            log.warning("%s can't be written: %s", self._path, error.strerror)


def status_of(folder: Path) -> Status | None:
    """How the spool in a folder stands; None where there never was one."""
    try:
        return _decode((folder / _STATUS).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


def statuses(data_dir: Path) -> list[Status]:
    """How all spools of a node stand."""
    found = (status_of(path.parent) for path in sorted((data_dir / "spool").glob(f"*/{_STATUS}")))
    return [status for status in found if status is not None]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
