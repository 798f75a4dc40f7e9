"""A folder with a sample log, a data directory, and the commands that use them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from monitor.samples import DEMO, Expected, lines

ROOT = Path(__file__).parents[2]


@dataclass
class Place:
    """A folder with a sample log, and what a right reader finds in it."""

    folder: Path
    log: Path
    data: Path
    expected: Expected

    def arguments(self, *more: str) -> list[str]:
        """Options that point a command here."""
        return ["--data-dir", str(self.data), "--log-path", str(self.log), *more]

    def server(self, *more: str) -> tuple[str, list[str]]:
        """The command of the stdio server."""
        return sys.executable, [str(ROOT / "server.py"), *self.arguments("--no-web", *more)]


def sampled(folder: Path) -> Place:
    """A place with the sample log that the tests of the faces share."""
    expected = Expected()
    log = folder / "access.log"
    with log.open("wb") as file:
        file.writelines(lines(DEMO, seed=3, limit=400, expected=expected))
    return Place(folder, log, folder / "data", expected)
