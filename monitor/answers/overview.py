"""The spending of today, yesterday and this month, how it changed, and what the month will come to."""

from __future__ import annotations

import calendar
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from pydantic import Field

from monitor.answers.base import (
    Answer,
    Asking,
    Money,
    Part,
    added,
    combined,
    costs,
    divided,
    nano_sums,
    share,
    shown,
    unpriced,
)
from monitor.answers.budgets import BudgetState, budget_states
from monitor.answers.periods import midnight
from monitor.answers.stats import Totals, figures
from monitor.store.base import SessionQuery, Slice

#: A forecast looks at this many complete days, and needs at least that many.
LOOK_BACK_DAYS, LEAST_DAYS = 28, 7
#: Weekdays and weekends have a level of their own where there are this many days, so many of them on weekends.
_DAYS_FOR_WEEKENDS, _WEEKEND_DAYS = 14, 4
#: A day counts at most as the upper quartile and three times the distance between the quartiles.
_FENCE = 3
_DRAWS = 1000
_MOST_BUDGETS = 10
_DAY_MS = 86_400_000


class Change(Part):
    """Spending against that of an earlier span of the same length."""

    against: str = Field(description="What it is compared with.")
    rounds: int = Field(description="Then.")
    cost: Money | None = Field(default=None, description="Then.")
    difference: Money | None = Field(default=None, description="Now less then.")
    rate: dict[str, float] | None = Field(default=None, description="The difference as a share of then, by currency.")


class Changes(Part):
    """Today and this month, each against the same span before."""

    today: Change
    this_month: Change


class AverageDay(Part):
    """The average of the complete days before today."""

    days: int
    rounds: float
    tokens: int | None = None
    cost: Money | None = None


class Forecast(Part):
    """What this month will come to."""

    cost: Money | None = None
    low: Money | None = None
    high: Money | None = None
    how: str = Field(description="How it was made, or why there is none.")


class SpendOverview(Answer):
    """Spending at a glance."""

    timezone: str
    today: Totals
    yesterday: Totals
    this_month: Totals
    change: Changes
    success_rate: float | None = Field(default=None, description="This month.")
    budgets: list[BudgetState] = Field(default=[], description="The most used first.")
    average_per_day: AverageDay | None = None
    forecast: Forecast


class _Day(msgspec.Struct, frozen=True):
    """The sums of one complete local day."""

    day: date
    slices: Sequence[Slice]

    @property
    def weekend(self) -> bool:
        return self.day.weekday() >= 5


def spend_overview(ask: Asking, timezone: str | None = None, *, now: datetime | None = None) -> SpendOverview:
    """Today, yesterday and this month in a zone's days, with what they are compared to and a forecast.

    Raises:
        BadQuestion: there is no such zone.
    """
    if timezone is not None:
        from monitor.answers.zones import named_zone  # noqa: PLC0415 - most questions name none

        ask = named_zone(ask, timezone)
    zone = ask.zone
    moment = (now or datetime.now(UTC)).astimezone(zone)
    day = moment.date()
    tomorrow, yesterday = day + timedelta(days=1), day - timedelta(days=1)
    slices_of = ask.store.slices
    today_slices = list(slices_of(midnight(day, zone), midnight(tomorrow, zone)))
    month_slices = list(slices_of(midnight(day.replace(day=1), zone), midnight(tomorrow, zone)))
    month = _totals(ask, month_slices, _sessions_since(ask, day.replace(day=1)))
    days = _complete_days(ask, day)
    return SpendOverview(
        timezone=ask.timezone,
        today=_totals(ask, today_slices, _sessions_since(ask, day)),
        yesterday=_of_day(ask, yesterday),
        this_month=month,
        change=Changes(
            today=_change(ask, today_slices, yesterday, _same_time(moment, yesterday), "yesterday"),
            this_month=_change(ask, month_slices, *_last_month(moment), "last month"),
        ),
        success_rate=month.success_rate,
        budgets=budget_states(ask)[:_MOST_BUDGETS],
        average_per_day=_average(days),
        forecast=_forecast(month_slices, days, moment),
        **ask.freshness,
    )


# -- periods --------------------------------------------------------------------------------------


def _totals(ask: Asking, slices: Sequence[Slice], sessions: int) -> Totals:
    return Totals(unpriced=unpriced(slices), combined=combined(ask, slices), **figures(slices, sessions))


def _sessions_since(ask: Asking, day: date) -> int:
    """How many sessions have a round since a day began: those that spoke last after that."""
    return ask.store.sessions(SessionQuery(since=midnight(day, ask.zone), limit=1)).total


def _of_day(ask: Asking, day: date) -> Totals:
    begin, end = midnight(day, ask.zone), midnight(day + timedelta(days=1), ask.zone)
    buckets = ask.store.buckets("day", ask.timezone, begin, end)
    slices = [part for bucket in buckets for part in bucket.slices]
    return _totals(ask, slices, sum(bucket.sessions for bucket in buckets))


def _same_time(moment: datetime, day: date) -> datetime:
    """The same time by the clock on another day."""
    return datetime.combine(day, moment.time(), moment.tzinfo)


def _last_month(moment: datetime) -> tuple[date, datetime]:
    """When the last month began, and the same day and time of it; its end where it has no such day."""
    last = moment.date().replace(day=1) - timedelta(days=1)
    if moment.day > last.day:
        return last.replace(day=1), datetime.combine(moment.date().replace(day=1), datetime.min.time(), moment.tzinfo)
    return last.replace(day=1), _same_time(moment, last.replace(day=moment.day))


def _change(ask: Asking, now: Sequence[Slice], begin: date, end: datetime, name: str) -> Change:
    then = list(ask.store.slices(midnight(begin, ask.zone), round(end.timestamp() * 1000)))
    is_, was = nano_sums(now), nano_sums(then)
    both = sorted(is_.keys() | was.keys())
    until = end.strftime("%H:%M") if name == "yesterday" else end.strftime("%Y-%m-%d %H:%M")
    return Change(
        against=f"{name} until {until}",
        rounds=added(part.counts for part in then).rounds,
        cost=costs(then),
        difference=shown({c: is_.get(c, 0) - was.get(c, 0) for c in both}),
        rate={c: rate for c in both if (rate := share(is_.get(c, 0) - was.get(c, 0), was.get(c, 0))) is not None}
        or None,
    )


def _complete_days(ask: Asking, day: date) -> list[_Day]:
    """The complete days before `day`, as far back as a forecast looks, from the second day with rounds on."""
    days = [
        _Day(each, ask.store.slices(midnight(each, ask.zone), midnight(each + timedelta(days=1), ask.zone)))
        for each in (day - timedelta(days=back) for back in range(LOOK_BACK_DAYS, 0, -1))
    ]
    if ask.store.calls(until=midnight(days[0].day, ask.zone), limit=1):
        return days
    first = next((index for index, each in enumerate(days) if each.slices), len(days))
    # On the first day with rounds the log began, most likely in the middle of the day.
    return days[first + 1 :]


def _average(days: Sequence[_Day]) -> AverageDay | None:
    if not days:
        return None
    slices = [part for each in days for part in each.slices]
    counts = added(part.counts for part in slices)
    known = counts.input_tokens is not None or counts.output_tokens is not None
    tokens = (counts.input_tokens or 0) + (counts.output_tokens or 0)
    return AverageDay(
        days=len(days),
        rounds=round(counts.rounds / len(days), 1),
        tokens=divided(tokens, len(days)) if known else None,
        cost=shown({currency: divided(nano, len(days)) for currency, nano in nano_sums(slices).items()}),
    )


# -- the month to come ----------------------------------------------------------------------------


def _forecast(month: Sequence[Slice], days: Sequence[_Day], moment: datetime) -> Forecast:
    if len(days) < LEAST_DAYS:
        have = f"there are {len(days)}" if len(days) != 1 else "there is 1"
        return Forecast(how=f"No forecast: it takes {LEAST_DAYS} complete days of the log, and {have}.")
    weekends = sum(each.weekend for each in days)
    by_kind = len(days) >= _DAYS_FOR_WEEKENDS and weekends >= _WEEKEND_DAYS
    spent = nano_sums(month)
    daily = [nano_sums(each.slices) for each in days]
    currencies = sorted(spent.keys() | {name for sums in daily for name in sums})
    if not currencies:
        return Forecast(how="No forecast: nothing of these days has a price.")
    ahead = _ahead(moment)
    expected, low, high = {}, {}, {}
    for currency in currencies:
        so_far = spent.get(currency, 0)
        known = [(each.weekend and by_kind, sums.get(currency, 0)) for each, sums in zip(days, daily, strict=True)]
        kinds = {kind: cut([nano for k, nano in known if k == kind]) for kind in {k for k, _ in known}}
        parts = [(kinds[day.weekday() >= 5 and by_kind], portion) for day, portion in ahead]
        expected[currency] = so_far + sum(divided(sum(past) * portion, len(past) * _DAY_MS) for past, portion in parts)
        draws = _draws(parts)
        low[currency] = min(expected[currency], so_far + draws[_DRAWS // 10])
        high[currency] = max(expected[currency], so_far + draws[_DRAWS - _DRAWS // 10])
    how = f"This month so far, and for the rest the average of the last {len(days)} complete days"
    how += ", weekdays and weekends apart" if by_kind else ""
    how += "; days far above the others are cut. low to high: 8 of 10 random draws of such days."
    if unpriced(month) is not None:
        how += " What has no price is not in it."
    return Forecast(cost=shown(expected), low=shown(low), high=shown(high), how=how)


def _ahead(moment: datetime) -> list[tuple[date, int]]:
    """The days of the month that are still to come, each with how much of it, in milliseconds of a day."""
    day = moment.date()
    zone = moment.tzinfo
    assert isinstance(zone, ZoneInfo)
    begin, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
    left = (end - round(moment.timestamp() * 1000)) * _DAY_MS // (end - begin)
    last = calendar.monthrange(day.year, day.month)[1]
    return [(day, left), *((day.replace(day=number), _DAY_MS) for number in range(day.day + 1, last + 1))]


def cut(sums: Sequence[int]) -> list[int]:
    """The sums of days, none higher than the fence: one mad day must not become every day of a forecast."""
    ordered = sorted(sums)
    lower, upper = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    # Where most days are alike, or nothing, the fence would cut all others off.
    if upper == lower:
        return list(sums)
    return [min(nano, upper + _FENCE * (upper - lower)) for nano in sums]


def _draws(parts: Sequence[tuple[Sequence[int], int]]) -> list[int]:
    """Sums of days drawn from the past ones, in order; the same draws every time."""
    r = random.Random(1)  # noqa: S311 - no secret
    sums = [0] * _DRAWS
    for past, portion in parts:
        for index, nano in enumerate(r.choices(past, k=_DRAWS)):
            sums[index] += nano * portion // _DAY_MS
    return sorted(sums)
