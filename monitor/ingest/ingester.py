"""The background task: step by step, whatever stops it in between; the next step starts at that place."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from monitor.ingest.logs import LogSource
from monitor.ingest.source import Signature, Source, SourceState
from monitor.redaction import Redactor, mask
from monitor.sources.wake import Wake
from monitor.store.base import Added, Batch, PricedRound, Store

if TYPE_CHECKING:
    from monitor.ingest.follower import Follower

log = logging.getLogger("monitor.ingest")

_SAMPLE_BYTES = 400
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
#: Without any event from the file system the logs are looked at this often.
_IDLE_LOOK_S = 5.0
#: Between two pieces of less urgent work.
_REST_S = 0.02


class Ingester:
    """Reads sources into a store, once or until it is stopped.

    One thread runs it; `catch_up` and `states` may be called from any other.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        store: Store,
        *,
        on_added: Callable[[Added], None] | None = None,
        before_pass: Callable[[], None] | None = None,
        spare_time: Callable[[], bool] | None = None,
        redactor: Redactor | None = None,
        refresh_interval: float | None = None,
        follower: Follower | None = None,
    ) -> None:
        """`follower`: goes on following the logs while the store takes nothing; it is told how this one gets on."""
        self.sources = list(sources)
        self._store = store
        self._on_added = on_added
        self._before_pass = before_pass
        self._spare_time = spare_time
        self._redactor = redactor
        self._follower = follower
        self._idle_look_s = _IDLE_LOOK_S if refresh_interval is None else refresh_interval
        self._stop = threading.Event()
        self._wake: Wake | None = None
        self._changed = threading.Condition()
        self._passes_begun = 0
        self._passes_done = 0
        self._as_of: int | None = None
        self._seen: dict[str, Signature | None] = {}
        self._states: tuple[SourceState, ...] = ()
        self._failure: str | None = None

    # -- in the ingesting thread ------------------------------------------------------------------

    def once(self, on_batch: Callable[[], None] | None = None) -> int:
        """One pass over everything that is there now; gives the number of rounds that were new.

        `on_batch` is called whenever a piece of the logs has been kept.

        Raises:
            sqlite3.Error, OSError: what was read could not be kept; the next pass reads it again.
        """
        try:
            new = self._once(on_batch)
        except BaseException as error:
            if self._follower is not None:
                self._follower.failed(str(error))
            raise
        if self._follower is not None and not self._stop.is_set():
            self._follower.resting()
        return new

    def _once(self, on_batch: Callable[[], None] | None) -> int:
        with self._changed:
            self._passes_begun += 1
            this = self._passes_begun
        began = _now_ms()
        if self._follower is not None:
            self._follower.passing()
        if self._before_pass is not None:
            self._before_pass()
        seen = {source.name: source.signature() for source in self.sources}
        new = 0
        moved = False
        for source in self.sources:
            try:
                for batch in source.batches():
                    added = self._store.add(_as_kept(batch, self._redactor))
                    new += added.rounds
                    moved = True
                    if self._follower is not None:
                        self._follower.stored()
                    if self._on_added is not None and added.rounds:
                        self._on_added(added)
                    if on_batch is not None:
                        on_batch()
                    if self._stop.is_set():
                        return new
            except BaseException:
                source.restart()
                raise
        states = tuple(source.state() for source in self.sources)
        # What can't be read is not read up to now, however often it is looked at.
        complete = not any(state.refused_bytes for state in states)
        try:
            looked_at = [checkpoint for source in self.sources for checkpoint in source.grown(seen[source.name])]
            if moved or looked_at:
                self._store.add(Batch(checkpoints=looked_at, as_of=began if complete else None))
        except BaseException:
            for source in self.sources:
                source.restart()
            raise
        with self._changed:
            self._seen, self._states = seen, states
            if complete:
                self._as_of = began
            self._passes_done = this
            self._failure = None
            self._changed.notify_all()
        return new

    def pending_bytes(self) -> int:
        """Bytes of the logs, rotated and compressed ones too, that are still to be read."""
        return sum(source.tail.pending_bytes() for source in self.sources if isinstance(source, LogSource))

    def run(self) -> None:
        """Follow the sources until `stop`. A failure is logged, reported and tried again, never fatal."""
        retry = _FIRST_RETRY_S
        watched = self._watched()
        self._wake = Wake(watched)
        try:
            while not self._stop.is_set():
                try:
                    self.once()
                    retry = _FIRST_RETRY_S
                except Exception as error:
                    log.warning("could not keep what was read, next try in %.1f s: %s", retry, error)
                    with self._changed:
                        self._failure = f"could not keep what was read: {error}"
                        self._changed.notify_all()
                    self._stop.wait(retry)
                    retry = min(2 * retry, _LAST_RETRY_S)
                    continue
                # Less urgent work is done between two passes, a little each time.
                more = self._work_less_urgent()
                if watched != (watched := self._watched()):
                    self._wake.watch(watched)
                self._wake.wait(_REST_S if more else self._idle_look_s)
        finally:
            self._wake.close()
            for source in self.sources:
                source.close()

    def _work_less_urgent(self) -> bool:
        if self._spare_time is None:
            return False
        if self._follower is None:
            return self._spare_time()
        self._follower.passing()  # it may ask the store, too
        try:
            return self._spare_time()
        finally:
            self._follower.idle()

    def _watched(self) -> list[Path]:
        return [path for source in self.sources for path in source.watched]

    # -- from any thread --------------------------------------------------------------------------

    def stop(self) -> None:
        """Make `run` return soon."""
        self._stop.set()
        if self._wake is not None:
            self._wake.poke()

    def catch_up(self, timeout: float) -> tuple[int | None, int | None]:
        """Wait until what the logs hold now is read, at most `timeout` seconds.

        Gives the instant up to which everything is read (milliseconds), and the bytes that are
        still unread or None where there are none.
        """
        now = _now_ms()
        if not self._grown():
            return self._reached(now)
        deadline = time.monotonic() + timeout
        with self._changed:
            wanted = self._passes_begun + 1
            if self._wake is not None:
                self._wake.poke()
            while self._passes_done < wanted and not self._stop.is_set() and self._failure is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
                if self._passes_done >= wanted - 1 and not self._grown():
                    return self._reached(now)
            if self._passes_done >= wanted:
                return self._reached(self._as_of)
            return self._as_of, max(1, self._behind())

    def _reached(self, as_of: int | None) -> tuple[int | None, int | None]:
        """`as_of` for logs that were read to their end, unless one of them can't be read."""
        refused = sum(state.refused_bytes for state in self._states)
        return (self._as_of, refused) if refused else (as_of, None)

    def _grown(self) -> bool:
        return self._passes_done == 0 or any(
            source.signature() != self._seen.get(source.name) for source in self.sources
        )

    def _behind(self) -> int:
        """Bytes of the live files that the last complete pass had not seen."""
        behind = 0
        for source in self.sources:
            now, then = source.signature(), self._seen.get(source.name)
            if now is not None:
                same = then is not None and then[:2] == now[:2]
                behind += max(0, now[2] - (then[2] if same and then is not None else 0))
        return behind

    @property
    def states(self) -> tuple[SourceState, ...]:
        """How the sources stood after the last pass."""
        return self._states

    @property
    def as_of(self) -> int | None:
        """The instant up to which everything was read that the logs held; None before the first complete pass."""
        return self._as_of

    @property
    def failure(self) -> str | None:
        """Why nothing can be kept just now, in words; None when all is well."""
        return self._failure


def _as_kept(batch: Batch, redactor: Redactor | None) -> Batch:
    """The batch with short samples, and where there is a redactor without secrets."""
    if redactor is not None:
        batch.rounds = [PricedRound(redactor.round(priced.round), priced.cost) for priced in batch.rounds]
    samples = (line.sample if redactor is None else mask(line.sample) for line in batch.skipped)
    batch.skipped = [
        msgspec.structs.replace(line, sample=sample[:_SAMPLE_BYTES])
        for line, sample in zip(batch.skipped, samples, strict=True)
    ]
    return batch


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
