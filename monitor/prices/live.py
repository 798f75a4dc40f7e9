"""The price lists in use, read anew when a file that they come from has changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from monitor.prices.catalog import Catalog
from monitor.prices.money import Cost
from monitor.prices.overlay import PriceFileError
from monitor.rounds import Usage

log = logging.getLogger("monitor.prices")

_Stamp = tuple[tuple[int, int, int] | None, ...]


class LiveCatalog:
    """A catalog that follows its files. A file that can't be used changes nothing, and is told in `problem`."""

    def __init__(self, load: Callable[[], Catalog], files: Sequence[Path]) -> None:
        """`files` are those that `load` reads and that a user may change.

        Raises:
            PriceFileError: a file can't be used as it is now.
        """
        self._load = load
        self._files = tuple(files)
        self._seen = self._stamp()
        self.catalog = load()
        #: Why the newest change is not in use, or None.
        self.problem: str | None = None

    @property
    def cost(self) -> Callable[[str | None, str | None, int, Usage], Cost]:
        """What a round costs, by the lists of now."""
        return self.catalog.cost

    @property
    def version(self) -> str:
        """The version of the lists of now."""
        return self.catalog.version

    def refresh(self) -> bool:
        """Read the files again where one has changed; whether prices may be others now."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.catalog = self._load()
        except PriceFileError as error:
            self.problem = f"{error}. The prices that were read before it was changed are still in use."
            log.warning("%s", self.problem)
            return False
        self.problem = None
        return True

    def _stamp(self) -> _Stamp:
        return tuple(_signature(file) for file in self._files)


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
