"""Follows the logs of a fleet's node while what is read can't be stored: a log that rotates waits for nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from monitor.ingest.intake import Intake

log = logging.getLogger("monitor.ingest")
log.setLevel(logging.INFO)

#: How often the logs are looked at then; rotation takes a minute at least.
_LOOK_S = 1.0
#: What takes longer than this to be stored does not go on.
_STUCK_S = 3.0


class Follower:
    """A thread beside the ingesting one, which says how it gets on."""

    def __init__(self, intakes: Mapping[Path, Intake]) -> None:
        self.intakes = dict(intakes)
        self.look_s, self.stuck_s = _LOOK_S, _STUCK_S
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._why: str | None = None
        self._told = False
        self._moved: float | None = None

    # -- told by the ingesting thread ---------------------------------------------------------------

    def passing(self) -> None:
        """A pass over the sources has begun, or other work with the store."""
        self._moved, self._why = time.monotonic(), None

    def idle(self) -> None:
        """That work is done."""
        self._moved = None

    def stored(self) -> None:
        """Something was stored."""
        self._moved = time.monotonic()
        self._why = None

    def resting(self) -> None:
        """A pass is at its end: all that there was is stored."""
        self._moved = self._why = None
        if self._told:
            self._told = False
            log.info("the store is back: all that has waited here is in it")

    def failed(self, why: str) -> None:
        """What was read can't be stored."""
        self._moved, self._why = None, why

    # -- the thread -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look after the logs; the store is about to be opened."""
        self._moved = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let go of the files; what they hold is kept before, where it could not be stored."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._stuck() is not None:
            self.follow()
        for intake in self.intakes.values():
            intake.close()

    def follow(self) -> None:
        """Read what the logs have gained, and keep it on the disk."""
        for path, intake in self.intakes.items():
            try:
                intake.follow()
            except Exception:
                log.exception("%s can't be followed just now", path)

    def _run(self) -> None:
        while not self._stop.wait(self.look_s):
            why = self._stuck()
            if why is None:
                continue
            self.follow()
            if not self._told and any(not intake.spool.is_empty for intake in self.intakes.values()):
                self._told = True
                log.warning("lines are kept on this node's disk until the store takes them: %s", why)

    def _stuck(self) -> str | None:
        moved = self._moved
        if moved is not None and time.monotonic() - moved > self.stuck_s:
            return "it takes long"
        return self._why
