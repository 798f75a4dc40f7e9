"""From when to when: what people and agents write for a time becomes an instant."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from monitor.answers.errors import BadQuestion

_AGO = re.compile(r"(\d{1,5})\s*([smhdw])")
#: What can be shown as a time; no round is from before or behind that.
_LATEST = 253_402_128_000_000  # 9999-12-30
_FIRST_DAY = date(1970, 1, 2)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def instant(text: str, zone: ZoneInfo, *, now: datetime | None = None, end: bool = False) -> int:
    """Milliseconds since 1970 of ``2026-02-01``, ``2026-02-01T09:30``, ``today``, ``yesterday``, ``7d`` or ``12h``.

    A date or time without a zone is meant in `zone`. With `end` a bare date means its last moment. What lies
    before 1970 or behind all dates gives the first or the last instant.

    Raises:
        BadQuestion: naming the forms that are understood.
    """
    return min(max(_instant(text, (now or datetime.now(UTC)).astimezone(zone), zone, end), 0), _LATEST)


def _instant(text: str, moment_now: datetime, zone: ZoneInfo, end: bool) -> int:
    word = text.strip().lower()
    if word == "now":
        return _ms(moment_now)
    if word in ("today", "yesterday"):
        day = moment_now.date() - timedelta(days=word == "yesterday")
        return midnight(day + timedelta(days=1) if end else day, zone)
    ago = _AGO.fullmatch(word)
    if ago:
        return _ms(moment_now) - int(ago[1]) * _SECONDS[ago[2]] * 1000
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", word) and word < "9999-12-30":
            day = date.fromisoformat(word)
            return midnight(day + timedelta(days=1) if end else day, zone)
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadQuestion(
            f"{text[:60]!r} is no time: use a date (2026-02-01), a time (2026-02-01T09:30:00Z), "
            "'today', 'yesterday', or a span back from now (7d, 12h, 30m)"
        ) from None
    return _ms(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def last_days(days: int, zone: ZoneInfo, *, now: datetime | None = None) -> int:
    """The beginning of a period of `days` local days of which today is the last."""
    if days < 1:
        raise BadQuestion(f"days is {days}: use 1 for today, 7 for the last week")
    today = (now or datetime.now(UTC)).astimezone(zone).date()
    return midnight(today - timedelta(days=min(days - 1, (today - _FIRST_DAY).days)), zone)


def bounds(
    since: str | None, until: str | None, days: int | None, zone: ZoneInfo, *, now: datetime | None = None
) -> tuple[int | None, int | None]:
    """Begin and end of a period; `days` counts local days back from today, today included, where `since` is not given.

    Raises:
        BadQuestion: a time is none, or the period ends before it begins.
    """
    now = now or datetime.now(UTC)
    begin = None if since is None else instant(since, zone, now=now)
    if days is not None and begin is None:
        begin = last_days(days, zone, now=now)
    end = None if until is None else instant(until, zone, now=now, end=True)
    if begin is not None and end is not None and end < begin:
        start = f"{days} days back from today" if since is None else repr(since[:60])
        raise BadQuestion(f"the period ends ({str(until)[:60]!r}) before it begins ({start}): change one of the two")
    return begin, end


def today(zone: ZoneInfo, *, now: datetime | None = None) -> date:
    """The local day of this moment."""
    return (now or datetime.now(UTC)).astimezone(zone).date()


def midnight(day: date, zone: ZoneInfo) -> int:
    """When a local day begins."""
    return _ms(datetime(day.year, day.month, day.day, tzinfo=zone))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
