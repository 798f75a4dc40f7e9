"""What is too old goes by itself: once a day, a little at a time, in the process that reads the logs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from monitor.store.base import Bounds, Pruned, Store

log = logging.getLogger("monitor.ingest.retention")
# What was taken away is said, whatever else is not.
log.setLevel(logging.INFO)

DAY_MS = 86_400_000
_AGAIN_S = 86_400.0
_RETRY_S = 3600.0


def bounds(now_ms: int, rounds_days: int, content_days: int) -> Bounds:
    """What is older than so many days; 0 days: nothing of the kind."""
    return Bounds(
        rounds_before=now_ms - rounds_days * DAY_MS if rounds_days else None,
        content_before=now_ms - content_days * DAY_MS if content_days else None,
    )


class Retention:
    """Prunes a store in small steps, each of them between two passes over the logs."""

    def __init__(
        self,
        store: Store,
        rounds_days: int,
        content_days: int,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives seconds since 1970."""
        self._store = store
        self._days = rounds_days, content_days
        self._clock = clock
        self._next_at = 0.0
        self._steps: Iterator[Pruned] | None = None
        self._done = Pruned()

    def step(self) -> bool:
        """Take a little away if it is time; whether there is more to do at once. Trouble is logged, and tried again."""
        now = self._clock()
        if self._steps is None:
            if now < self._next_at:
                return False
            # Unused pages are used again; writing the file anew would keep ingestion waiting.
            self._steps = self._store.pruning(bounds(int(now * 1000), *self._days), rewrite=False)
            self._done = Pruned()
        try:
            self._done = next(self._steps)
        except StopIteration:
            self._finish(now + _AGAIN_S)
            if self._done.rounds or self._done.contents or self._done.months:
                log.info("%s", in_words(self._done))
            return False
        except Exception as error:
            self._finish(now + _RETRY_S)
            log.warning("what is too old could not be taken away, next try in an hour: %s", error)
            return False
        return True

    def once_a_day(self) -> None:
        """Do all of it, unless that was done within a day: for processes that only read once."""
        last = self._store.pruned_at()
        if last is None or last <= (self._clock() - _AGAIN_S) * 1000:
            while self.step():
                pass

    def _finish(self, next_at: float) -> None:
        self._steps = None
        self._next_at = next_at


def in_words(done: Pruned) -> str:
    """What went, in a line for the log."""
    said = f"retention: {done.rounds:,} rounds went (their counts stay), {done.contents:,} conversations"
    if done.months:
        said += f", the files of {', '.join(done.months)}"
    if done.freed_bytes:
        said += f"; {done.freed_bytes:,} bytes are free again"
    if done.not_given_back:
        said += f"; {done.not_given_back}"
    return said
