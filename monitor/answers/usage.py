"""Usage in the words of programs that count calls: by day, month, hour, model, function and user.

`cost` and `total_cost` are plain numbers in one currency, for programs that compute with them. Nothing is
converted: what was spent in other currencies stands in `costs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

import msgspec
from pydantic import Field

from monitor.answers.base import (
    NO_MODEL,
    Answer,
    Asking,
    Money,
    Part,
    Unpriced,
    added,
    amount,
    costs,
    divided,
    mean_ms,
    nano_sums,
    rfc3339,
    share,
    shown,
    unpriced,
)
from monitor.answers.errors import BadQuestion
from monitor.answers.periods import last_days, midnight, today
from monitor.rounds import UNKNOWN_TIME
from monitor.store.base import Bucket, Call, Slice, spend

#: Names for calls whose record names no function or no user.
NO_FUNCTION, NO_USER = "(no function)", "(no user)"
#: How far back slow calls are looked for where no days are given.
SLOW_DAYS = 7
DEFAULT_CURRENCY = "CNY"


class Figures(Part):
    """The counts of a set of calls. A call is one model request: a round."""

    calls: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost: float | None = Field(default=None, description="In `currency` alone; absent where no price is known.")
    costs: Money | None = Field(default=None, description="In every currency.")
    success_rate: float | None = None
    avg_duration_ms: int | None = None


class ModelUsage(Figures):
    """One model's calls."""

    model: str


class FunctionUsage(Figures):
    """One function's calls."""

    function: str


class UserUsage(Figures):
    """One user's calls."""

    user_id: str


class HourUsage(Figures):
    """The calls of one hour of the day, over all days that were asked for."""

    hour: int


class DayUsage(Figures):
    """The calls of one day."""

    date: str
    change: float | None = Field(default=None, description="Of `cost` against the day before.")
    change_rate: float | None = Field(default=None, description="The same as a share of the day before.")


class Summary(Answer):
    """A period in total, by model and by function."""

    period: Literal["daily", "monthly", "days"]
    date: str
    timezone: str
    currency: str
    total_calls: int
    total_tokens: int
    total_cost: float = Field(description="In `currency` alone.")
    costs: Money | None = Field(default=None, description="In every currency.")
    success_rate: float | None = None
    avg_duration_ms: int | None = None
    unpriced: Unpriced | None = None
    by_model: list[ModelUsage]
    by_function: list[FunctionUsage]


class DailyUsage(Summary):
    """One day."""


class SpanUsage(Summary):
    """Some days up to now."""

    since: str
    days: int


class DailyAverage(Part):
    """A month's figures spread evenly over its days so far."""

    calls: float
    tokens: float
    cost: float = Field(description="In `currency` alone.")
    costs: Money | None = None


class MonthlyUsage(Summary):
    """This month so far."""

    month: str
    days: int = Field(description="Days of the month so far, today included.")
    daily_average: DailyAverage


class HourlyUsage(Answer):
    """All hours of the day, with the one that has the most calls."""

    timezone: str
    currency: str
    since: str
    rows: list[HourUsage]
    peak_hour: int | None = Field(default=None, description="0 to 23, the hour with the most calls.")


class CostTrend(Answer):
    """One row a day, oldest first, days without calls included."""

    timezone: str
    currency: str
    since: str
    rows: list[DayUsage]


class TopUsers(Answer):
    """Users by what they used."""

    currency: str
    since: str
    by_tokens: list[UserUsage]
    by_cost: list[UserUsage]


class SlowCall(Part):
    """One call that took long."""

    round_id: str
    timestamp: str | None = None
    duration_ms: int
    model: str | None = None
    function: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost: float | None = Field(default=None, description="In `currency` alone.")
    costs: Money | None = None
    success: bool
    url: str | None = None


class SlowCalls(Answer):
    """Calls that took long, the slowest first."""

    min_ms: int
    currency: str
    since: str
    rows: list[SlowCall]


def daily(
    ask: Asking, days_ago: int = 0, *, currency: str = DEFAULT_CURRENCY, now: datetime | None = None
) -> DailyUsage:
    """One local day: today, or as many days ago.

    Raises:
        BadQuestion: `days_ago` is negative, or leads to before 1970.
    """
    this_day = today(ask.zone, now=now)
    if not 0 <= days_ago < (this_day - date(1970, 1, 1)).days:
        raise BadQuestion(f"days_ago is {days_ago}: use 0 for today, 1 for yesterday")
    day = this_day - timedelta(days=days_ago)
    fields = _summary(ask, day, day + timedelta(days=1), currency)
    return DailyUsage(period="daily", date=day.isoformat(), **fields)


def span(ask: Asking, days: int = 7, *, currency: str = DEFAULT_CURRENCY, now: datetime | None = None) -> SpanUsage:
    """The last `days` local days, today included.

    Raises:
        BadQuestion: `days` is less than 1.
    """
    begin = last_days(days, ask.zone, now=now)
    last = today(ask.zone, now=now)
    first = datetime.fromtimestamp(begin / 1000, ask.zone).date()
    fields = _summary(ask, first, last + timedelta(days=1), currency)
    return SpanUsage(period="days", date=last.isoformat(), since=first.isoformat(), days=days, **fields)


def monthly(ask: Asking, *, currency: str = DEFAULT_CURRENCY, now: datetime | None = None) -> MonthlyUsage:
    """The local month so far, with its average day."""
    this_day = today(ask.zone, now=now)
    begin = this_day.replace(day=1)
    fields = _summary(ask, begin, this_day + timedelta(days=1), currency)
    days = this_day.day
    sums = nano_sums(ask.store.slices(midnight(begin, ask.zone), midnight(this_day + timedelta(days=1), ask.zone)))
    average = DailyAverage(
        calls=round(fields["total_calls"] / days, 2),
        tokens=round(fields["total_tokens"] / days, 2),
        cost=amount(divided(sums.get(currency, 0), days)),
        costs=shown({name: divided(nano, days) for name, nano in sums.items()}),
    )
    month = begin.isoformat()[:7]
    return MonthlyUsage(period="monthly", date=month, month=month, days=days, daily_average=average, **fields)


def hourly(ask: Asking, days: int = 1, *, currency: str = DEFAULT_CURRENCY, now: datetime | None = None) -> HourlyUsage:
    """The hours of the day over the last `days` local days, today included.

    Raises:
        BadQuestion: `days` is less than 1.
    """
    begin = last_days(days, ask.zone, now=now)
    hours: dict[int, list[Slice]] = {hour: [] for hour in range(24)}
    for bucket in ask.store.buckets("hour", ask.timezone, begin, sessions=False):
        if bucket.label is not None:
            hours[int(bucket.label[-2:])] += bucket.slices
    rows = [HourUsage(hour=hour, **_figures(slices, currency)) for hour, slices in hours.items()]
    busiest = max(rows, key=lambda row: (row.calls, -row.hour))
    return HourlyUsage(
        timezone=ask.timezone,
        currency=currency,
        since=rfc3339(begin),
        rows=rows,
        peak_hour=busiest.hour if busiest.calls else None,
        **ask.freshness,
    )


def cost_trend(
    ask: Asking, days: int = 7, *, currency: str = DEFAULT_CURRENCY, now: datetime | None = None
) -> CostTrend:
    """One row for each of the last `days` local days, with the change from the day before.

    Raises:
        BadQuestion: `days` is less than 1.
    """
    begin = last_days(days, ask.zone, now=now)
    last = today(ask.zone, now=now)
    first = datetime.fromtimestamp(begin / 1000, ask.zone).date()
    before = first - timedelta(days=1)
    found = _by_label(ask.store.buckets("day", ask.timezone, midnight(before, ask.zone), sessions=False))
    rows = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        slices = found.get(day.isoformat(), ())
        yesterday = found.get((day - timedelta(days=1)).isoformat(), ())
        was, is_ = nano_sums(yesterday).get(currency, 0), nano_sums(slices).get(currency, 0)
        known = _cost(slices, currency) is not None and _cost(yesterday, currency) is not None
        rows.append(
            DayUsage(
                date=day.isoformat(),
                change=amount(is_ - was) if known else None,
                change_rate=share(is_ - was, was) if known else None,
                **_figures(slices, currency),
            )
        )
    return CostTrend(timezone=ask.timezone, currency=currency, since=rfc3339(begin), rows=rows, **ask.freshness)


def top_users(
    ask: Asking, limit: int = 10, days: int = 7, *, currency: str = DEFAULT_CURRENCY, now: datetime | None = None
) -> TopUsers:
    """The `limit` users of the last `days` local days with the most tokens, and those with the highest cost.

    Raises:
        BadQuestion: `days` or `limit` is less than 1.
    """
    if limit < 1:
        raise BadQuestion(f"limit is {limit}: use 1 or more")
    begin = last_days(days, ask.zone, now=now)
    found = ask.store.by("user_id", begin)
    rows = {name or NO_USER: slices for name, slices in found.items()}
    figures = {name: UserUsage(user_id=name, **_figures(slices, currency)) for name, slices in rows.items()}

    def by_tokens(name: str) -> tuple[float, int, str]:
        return -(figures[name].total_tokens or 0), -figures[name].calls, name

    def by_cost(name: str) -> tuple[float, float, str]:
        return -nano_sums(rows[name]).get(currency, 0), -spend(rows[name]), name

    return TopUsers(
        currency=currency,
        since=rfc3339(begin),
        by_tokens=[figures[name] for name in sorted(rows, key=by_tokens)[:limit]],
        by_cost=[figures[name] for name in sorted(rows, key=by_cost)[:limit]],
        **ask.freshness,
    )


def slow(
    ask: Asking,
    min_ms: int = 5000,
    limit: int = 100,
    *,
    days: int = SLOW_DAYS,
    currency: str = DEFAULT_CURRENCY,
    now: datetime | None = None,
) -> SlowCalls:
    """The slowest calls of the last `days` local days that took at least `min_ms`.

    Raises:
        BadQuestion: `days` or `limit` is less than 1, or `min_ms` is negative.
    """
    if limit < 1 or not 0 <= min_ms < 1 << 62:
        raise BadQuestion(f"limit is {limit} and min_ms is {min_ms}: use 1 or more, and a time that is not negative")
    begin = last_days(days, ask.zone, now=now)
    found = ask.store.calls(since=begin, min_latency_ms=min_ms, limit=limit)
    rows = [_slow_call(ask, call, currency) for call in found]
    return SlowCalls(min_ms=min_ms, currency=currency, since=rfc3339(begin), rows=rows, **ask.freshness)


def _slow_call(ask: Asking, call: Call, currency: str) -> SlowCall:
    known = call.input_tokens is not None or call.output_tokens is not None
    return SlowCall(
        round_id=call.key.hex(),
        timestamp=None if call.started_at == UNKNOWN_TIME else rfc3339(call.started_at),
        duration_ms=call.latency_ms or 0,
        model=call.model,
        function=call.function,
        user_id=call.user_id,
        session_id=call.session_id,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        total_tokens=(call.input_tokens or 0) + (call.output_tokens or 0) if known else None,
        cost=amount(call.nano) if call.nano is not None and call.currency == currency else None,
        costs=None if call.nano is None or call.currency is None else {call.currency: amount(call.nano)},
        success=call.success,
        url=None if call.session_id is None else ask.url(call.session_id),
    )


def _summary(ask: Asking, begin: date, end: date, currency: str) -> dict[str, Any]:
    """What every summary tells of the local days [begin, end)."""
    since, until = midnight(begin, ask.zone), midnight(end, ask.zone)
    slices = list(ask.store.slices(since, until))
    models: dict[str, list[Slice]] = {}
    for part in slices:
        models.setdefault(part.model or NO_MODEL, []).append(part)
    functions = {name or NO_FUNCTION: parts for name, parts in ask.store.by("function", since, until).items()}
    figures = _figures(slices, currency)
    return {
        "timezone": ask.timezone,
        "currency": currency,
        "total_calls": figures["calls"],
        "total_tokens": figures["total_tokens"] or 0,
        "total_cost": amount(nano_sums(slices).get(currency, 0)),
        "costs": figures["costs"],
        "success_rate": figures["success_rate"],
        "avg_duration_ms": figures["avg_duration_ms"],
        "unpriced": unpriced(slices),
        "by_model": [ModelUsage(model=name, **_figures(parts, currency)) for name, parts in _ranked(models)],
        "by_function": [
            FunctionUsage(function=name, **_figures(parts, currency)) for name, parts in _ranked(functions)
        ],
        **ask.freshness,
    }


def _ranked(groups: Mapping[str, list[Slice]]) -> list[tuple[str, list[Slice]]]:
    """The dearest first."""
    return sorted(
        groups.items(), key=lambda pair: (-spend(pair[1]), -sum(part.counts.rounds for part in pair[1]), pair[0])
    )


def _figures(slices: Sequence[Slice], currency: str) -> dict[str, Any]:
    """The counts of `slices` under the names of `Figures`."""
    counts = added(part.counts for part in slices)
    if not counts.rounds:
        # Of no calls everything is known.
        counts = msgspec.structs.replace(counts, input_tokens=0, output_tokens=0)
    known = counts.input_tokens is not None or counts.output_tokens is not None
    return {
        "calls": counts.rounds,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "total_tokens": (counts.input_tokens or 0) + (counts.output_tokens or 0) if known else None,
        "cost": _cost(slices, currency),
        "costs": costs(slices),
        "success_rate": share(counts.rounds - counts.failed, counts.rounds),
        "avg_duration_ms": mean_ms(counts.latency_total_ms, counts.latency_rounds),
    }


def _cost(slices: Iterable[Slice], currency: str) -> float | None:
    """What was spent in `currency`: nothing where all prices are in others, unknown where prices are missing."""
    slices = list(slices)
    spent = nano_sums(slices).get(currency)
    if spent is None and any(part.price.status == "unpriced" for part in slices):
        return None
    return amount(spent or 0)


def _by_label(buckets: Iterable[Bucket]) -> dict[str | None, tuple[Slice, ...]]:
    return {bucket.label: bucket.slices for bucket in buckets}
