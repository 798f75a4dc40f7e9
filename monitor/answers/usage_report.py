"""The report of usage over some days: what `export_report` writes, in the words of programs that count calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import Field

from monitor.answers import usage
from monitor.answers.anomalies.base import Anomaly
from monitor.answers.anomalies.find import find_anomalies
from monitor.answers.base import Answer, Asking
from monitor.prices.catalog import Catalog

_SLOW_MS = 5000
_USERS = 10


class UsageReport(Answer):
    """Usage over some days, with what was slow and what was unusual."""

    generated_at: str
    days: int
    timezone: str
    currency: str
    summary: usage.SpanUsage
    daily: list[usage.DayUsage]
    hourly: list[usage.HourUsage]
    top_users: list[usage.UserUsage]
    slow_calls: list[usage.SlowCall] = Field(description=f"Calls of {_SLOW_MS} ms or more, the slowest first.")
    anomalies: list[Anomaly]


def usage_report(
    ask: Asking,
    catalog: Callable[[], Catalog],
    days: int = 7,
    *,
    currency: str = usage.DEFAULT_CURRENCY,
    now: datetime | None = None,
) -> UsageReport:
    """The report over the last `days` local days, today included.

    Raises:
        BadQuestion: `days` is less than 1.
    """
    return UsageReport(
        generated_at=(now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        days=days,
        timezone=ask.timezone,
        currency=currency,
        summary=usage.span(ask, days, currency=currency, now=now),
        daily=usage.cost_trend(ask, days, currency=currency, now=now).rows,
        hourly=usage.hourly(ask, days, currency=currency, now=now).rows,
        top_users=usage.top_users(ask, _USERS, days, currency=currency, now=now).by_tokens,
        slow_calls=usage.slow(ask, _SLOW_MS, days=days, currency=currency, now=now).rows,
        anomalies=find_anomalies(ask, catalog, days, now=now).rows,
        **ask.freshness,
    )


def report_name(now: datetime) -> str:
    """The name of a report's file, by the local time: ``usage_report_20261125_233800.json``."""
    return f"usage_report_{now:%Y%m%d_%H%M%S}.json"
