"""Takes a cluster down when the process that started it has gone, in whatever way.

It waits for its standard input to end, which the kernel sees to even after kill -9.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.fleet.cluster import clear


def main(folder: Path) -> None:
    """Wait, then clear `folder`."""
    os.setsid()  # what ends the tests must not end this
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clear(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
