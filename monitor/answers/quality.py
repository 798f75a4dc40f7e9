"""Whether both meters run: one that falls silent while the other goes on has lost its log, or its way."""

from __future__ import annotations

import time
from collections.abc import Collection

from monitor.answers.base import Asking, rfc3339

_DAY_MS = 86_400_000
#: The newest records that are looked at.
_LOOKED_AT = 5_000
#: So many calls, over so long a time, are no accident.
_CALLS, _SPAN_MS = 5, 1_800_000
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


def silent_meters(ask: Asking, kinds: Collection[str], now: int | None = None) -> list[str]:
    """What to say of a meter without calls while the other has some; nothing where only one is followed."""
    if not _METERS.keys() <= set(kinds):
        return []
    now = time.time_ns() // 1_000_000 if now is None else now
    told = ask.store.testimonies(now - _DAY_MS, limit=_LOOKED_AT)
    starts = {kind: [one.started_at for one in told if one.source == kind] for kind in _METERS}
    found = []
    for silent, running in (("higress", "openclaw"), ("openclaw", "higress")):
        last = max(starts[silent], default=None)
        since = [at for at in starts[running] if last is None or at > last]
        begin = min(since, default=0) if last is None else last
        if len(since) >= _CALLS and max(since) - begin >= _SPAN_MS:
            when = "for a day" if last is None else f"since {rfc3339(last)}"
            name, why = _METERS[silent]
            found.append(
                f"{name}: no call {when}, while {_METERS[running][0]} had {len(since):,}: {why}. "
                "`session-monitor reconcile` shows them."
            )
    return found
