"""What the times of rounds give away: hours that are missing, and clocks that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

_HOUR = timedelta(hours=1)
#: How far back hours are compared with the same hour on other days.
DAYS = 14
#: With fewer days nobody knows what is usual.
_LEAST_DAYS = 5
#: An hour is busy as a rule if on every other day, but for one, it had this many rounds.
_BUSY = 10


class Gap(msgspec.Struct, frozen=True):
    """Hours without any round that are busy on other days: [begin, end)."""

    begin: datetime
    end: datetime

    @property
    def hours(self) -> int:
        """How many."""
        return round((self.end - self.begin) / _HOUR)


def gaps(rounds_by_hour: Mapping[str, int]) -> list[Gap]:
    """Gaps in the rounds by UTC hour (``2026-02-01T09``), oldest first.

    A quiet night is no gap: only hours count that were busy on nearly all other days.
    """
    counts = {datetime.strptime(label, "%Y-%m-%dT%H").replace(tzinfo=UTC): n for label, n in rounds_by_hour.items()}
    if not counts:
        return []
    first, last = min(counts), max(counts)
    found: list[Gap] = []
    hour = first + _HOUR
    while hour < last:
        if not counts.get(hour) and _usually_busy(hour, counts, first, last):
            if found and found[-1].end == hour:
                found[-1] = Gap(found[-1].begin, hour + _HOUR)
            else:
                found.append(Gap(hour, hour + _HOUR))
        hour += _HOUR
    return found


def _usually_busy(hour: datetime, counts: Mapping[datetime, int], first: datetime, last: datetime) -> bool:
    others = [
        counts.get(other, 0)
        for days in range(-DAYS, DAYS + 1)
        if days and first <= (other := hour + timedelta(days=days)) <= last
    ]
    return len(others) >= _LEAST_DAYS and sum(count >= _BUSY for count in others) >= len(others) - 1
