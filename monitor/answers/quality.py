"""Whether both meters run: one that falls silent while the other goes on has lost its log, or its way."""

from __future__ import annotations

import time
from collections.abc import Collection

import msgspec

from monitor.answers.base import Asking, rfc3339
from monitor.store.base import Store

_DAY_MS = 86_400_000
#: The newest records that are looked at.
_LOOKED_AT = 5_000
#: So many calls of the other, over so long a time, are no accident.
_CALLS = 5
SILENT_AFTER_MS = 1_800_000
_METERS = {
    "higress": (
        "The gateway's log",
        "OpenClaw may call its provider directly, the log may be written elsewhere or have been rotated away",
    ),
    "openclaw": (
        "OpenClaw's transcripts",
        "their folder may have moved or belong to another user, or another program calls through the gateway",
    ),
}


class Meter(msgspec.Struct, frozen=True):
    """One of the two meters, as it stands."""

    #: The kind of its source.
    kind: str
    title: str
    #: When its newest call of the last day began.
    last: int | None
    #: What there is to say when it has fallen silent, and what may be behind that.
    silent: str | None = None
    why: str = ""

    @property
    def words(self) -> str:
        """Both in a sentence."""
        return f"{self.title}: {self.silent}: {self.why}. `session-monitor reconcile` shows them."


def meters(store: Store, kinds: Collection[str], now: int, after_ms: int = SILENT_AFTER_MS) -> list[Meter]:
    """Both meters, or none where only one is followed.

    A meter is silent after `after_ms` in which it has no call and the other one has some.
    """
    if not _METERS.keys() <= set(kinds):
        return []
    told = store.testimonies(now - _DAY_MS, limit=_LOOKED_AT)
    starts = {kind: [one.started_at for one in told if one.source == kind] for kind in _METERS}
    found = []
    for kind, other in (("higress", "openclaw"), ("openclaw", "higress")):
        last = max(starts[kind], default=None)
        since = [at for at in starts[other] if last is None or at > last]
        begin = min(since, default=0) if last is None else last
        silent = None
        title, why = _METERS[kind]
        if len(since) >= _CALLS and max(since) - begin >= after_ms:
            when = "for a day" if last is None else f"since {rfc3339(last)}"
            if last is None and len(told) >= _LOOKED_AT:
                when = f"since {rfc3339(begin)} at least"
            silent = f"no call {when}, while {_METERS[other][0]} had {len(since):,}"
        found.append(Meter(kind, title, last, silent, why))
    return found


def silent_meters(ask: Asking, kinds: Collection[str], now: int | None = None) -> list[str]:
    """What to say of a meter without calls while the other has some; nothing where only one is followed."""
    now = time.time_ns() // 1_000_000 if now is None else now
    return [meter.words for meter in meters(ask.store, kinds, now) if meter.silent is not None]
