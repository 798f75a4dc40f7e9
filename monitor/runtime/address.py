"""Where the page is served, told to the other processes on the same data directory."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import NamedTuple

from monitor.config import ADDRESS_NAME

log = logging.getLogger("monitor.runtime")


class Address(NamedTuple):
    """What a process tells of the page that it serves."""

    url: str
    pid: int
    #: A token is asked for there.
    guarded: bool


class Addresses:
    """The address that this process serves, and the one that is published in the data directory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ADDRESS_NAME
        #: Of this process.
        self.own: Address | None = None

    def publish(self, url: str, *, guarded: bool, first: bool) -> None:
        """Tell other processes where this one serves the page; one that is told of already stays, unless `first`."""
        self.own = Address(url, os.getpid(), guarded)
        told = self.told()
        if not first and told is not None and (told.url, told.pid) != (url, os.getpid()):
            return
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self.own._asdict()))
            temporary.chmod(0o600)
            temporary.replace(self._path)
        except OSError as error:
            log.warning("other processes can't be told where the page is: %s", error)

    def withdraw(self) -> None:
        """Stop telling it."""
        if self.own is not None:
            told, self.own = self.told(), None
            if told is not None and told.pid == os.getpid():
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def told(self) -> Address | None:
        """The published address and the process that serves it, where that one lives."""
        try:
            told = json.loads(self._path.read_text())
            os.kill(int(told["pid"]), 0)
            return Address(str(told["url"]), int(told["pid"]), bool(told.get("guarded")))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    @property
    def known(self) -> Address | None:
        """Where the page is served, or None where nobody serves it."""
        return self.own if self.own is not None else self.told()
