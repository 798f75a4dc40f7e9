"""The FinOps report: what a period cost, by everything that it can be asked by, against the period before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pydantic import Field

from monitor.answers.base import Answer, Asking, Part, rfc3339, share
from monitor.answers.failures import FailedRound, failed_rounds
from monitor.answers.groups import GroupRow, groups
from monitor.answers.overview import Forecast, spend_overview
from monitor.answers.periods import bounds
from monitor.answers.stats import DateRow, Figures, ModelRow, Totals, dates_between, figures, models_between
from monitor.store.base import Slice

#: Goes up when a field is renamed, removed, or changes its meaning.
SCHEMA_VERSION = 1
TOP = 10
#: More sessions than this are a list and no report; they are counted all the same.
MOST_SESSIONS = 1000
_DAY = timedelta(days=1)

Row = TypeVar("Row", bound=Figures)


class Priced(Part):
    """How much of the tokens has a price, and from where."""

    rounds: int = Field(description="Rounds whose cost is known, free ones too.")
    tokens: int
    share: float | None = Field(default=None, description="Of all tokens.")
    estimated_rounds: int | None = Field(default=None, description="Priced by a stand-in list.")
    free_rounds: int | None = None
    lower_bound_rounds: int | None = Field(default=None, description="They cost at least what is counted.")
    price_lists: list[str] = Field(default=[], description="Versions of the price lists that were applied.")


class Change(Part):
    """How a figure differs from the period before, as a share of it: 0.25 is a quarter more. Absent: it was nothing."""

    rounds: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    total_tokens: float | None = None
    cost: dict[str, float] | None = Field(default=None, description="By currency.")
    success_rate: float | None = Field(default=None, description="Difference of the two rates, in points of 1.")


class Before(Part):
    """The period of the same length that ended where this one begins."""

    since: str
    until: str
    totals: Totals
    change: Change


class HourRow(Figures):
    """One hour of the day, all days of the period together."""

    hour: int = Field(ge=0, le=23)


class Failures(Part):
    """What went wrong."""

    rounds: int
    rate: float | None = None
    by_model: list[ModelRow] = Field(default=[], description="Models with failed rounds, those that failed most first.")
    by_host: list[GroupRow] = []
    newest: list[FailedRound] = []


class MonthForecast(Forecast):
    """What the running month is likely to cost."""

    month: str


class FinOpsReport(Answer):
    """Everything that a period cost, and what for."""

    schema_version: int
    created_at: str
    timezone: str
    since: str | None = Field(default=None, description="Absent: from the first round on.")
    until: str | None = Field(default=None, description="Absent: up to as_of.")
    totals: Totals
    priced: Priced
    before: Before | None = Field(default=None, description="Absent where the report is of all time.")
    forecast: MonthForecast
    by_model: list[ModelRow]
    by_date: list[DateRow]
    by_hour: list[HourRow] = Field(description="By hour of the day in the report's zone.")
    by_consumer: list[GroupRow]
    by_function: list[GroupRow]
    by_route: list[GroupRow]
    by_agent: list[GroupRow]
    by_user: list[GroupRow]
    by_host: list[GroupRow]
    by_source: list[GroupRow]
    by_session: list[GroupRow] = Field(description=f"The {MOST_SESSIONS} dearest sessions at most.")
    top_sessions: list[GroupRow] = Field(description=f"The {TOP} dearest sessions.")
    failures: Failures


def report(ask: Asking, since: str | None = None, until: str | None = None, *, days: int | None = None) -> FinOpsReport:
    """The report of a period, of all time where none is given. `days` counts local days, today included.

    Raises:
        BadQuestion: a time is none, or the period ends before it begins.
    """
    now = datetime.now(UTC)
    begin, end = bounds(since, until, days, ask.zone, now=now)
    slices = list(ask.store.slices(begin, end))
    models = models_between(ask, begin, end)
    dates = dates_between(ask, begin, end)
    by_host = groups(ask, "host", begin, end).rows
    sessions = groups(ask, "session", begin, end, MOST_SESSIONS).rows
    totals = models.totals
    if totals.sessions is None and len(sessions) < MOST_SESSIONS:
        totals = totals.model_copy(update={"sessions": len(sessions)})
    return FinOpsReport(
        schema_version=SCHEMA_VERSION,
        created_at=rfc3339(_ms(now) // 1000 * 1000),
        timezone=ask.timezone,
        since=None if begin is None else rfc3339(begin),
        until=None if end is None else rfc3339(end),
        totals=totals,
        priced=_priced(slices),
        before=None if begin is None else _before(ask, begin, min(end or _ms(now), _ms(now)), totals),
        forecast=_forecast(ask, now),
        by_model=models.rows,
        by_date=dates.rows,
        by_hour=_hours(ask, begin, end),
        by_consumer=groups(ask, "consumer", begin, end).rows,
        by_function=groups(ask, "function", begin, end).rows,
        by_route=groups(ask, "route", begin, end).rows,
        by_agent=groups(ask, "agent", begin, end).rows,
        by_user=groups(ask, "user", begin, end).rows,
        by_host=by_host,
        by_source=groups(ask, "source", begin, end).rows,
        by_session=sessions,
        top_sessions=sessions[:TOP],
        failures=Failures(
            rounds=totals.failed_rounds or 0,
            rate=share(totals.failed_rounds or 0, totals.rounds),
            by_model=_failing(models.rows),
            by_host=_failing(by_host),
            newest=failed_rounds(ask, begin, end, TOP),
        ),
        **ask.freshness,
    )


def _forecast(ask: Asking, now: datetime) -> MonthForecast:
    made = spend_overview(ask, now=now).forecast
    return MonthForecast(month=f"{now.astimezone(ask.zone):%Y-%m}", **made.model_dump())


def _priced(slices: list[Slice]) -> Priced:
    def rounds(*statuses: str) -> int:
        return sum(part.counts.rounds for part in slices if part.price.status in statuses)

    def tokens(parts: list[Slice]) -> int:
        return sum((part.counts.input_tokens or 0) + (part.counts.output_tokens or 0) for part in parts)

    known = [part for part in slices if part.counts.nano is not None]
    return Priced(
        rounds=sum(part.counts.rounds for part in known),
        tokens=tokens(known),
        share=share(tokens(known), tokens(slices)),
        estimated_rounds=rounds("estimated") or None,
        free_rounds=rounds("free") or None,
        lower_bound_rounds=sum(part.counts.lower_bound for part in slices) or None,
        price_lists=sorted({part.price.version for part in known if part.price.version}),
    )


def _hours(ask: Asking, begin: int | None, end: int | None) -> list[HourRow]:
    by_hour: dict[int, list[Slice]] = {}
    for bucket in ask.store.buckets("hour", ask.timezone, begin, end):
        if bucket.label is not None:
            by_hour.setdefault(int(bucket.label[-2:]), []).extend(bucket.slices)
    return [HourRow(hour=hour, **figures(by_hour[hour], None)) for hour in sorted(by_hour)]


def _failing(rows: Sequence[Row]) -> list[Row]:
    return sorted((row for row in rows if row.failed_rounds), key=lambda row: -(row.failed_rounds or 0))


def _before(ask: Asking, begin: int, end: int, totals: Totals) -> Before | None:
    """The period before: whole local days earlier where this one begins with a day, else as many seconds."""
    if begin >= end:
        return None
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).astimezone(ask.zone) for ms in (begin, end))
    if (first.hour, first.minute, first.second, first.microsecond) == (0, 0, 0, 0):
        # Differences of local times count days of 23 and 25 hours as days.
        days = -((first.replace(tzinfo=None) - last.replace(tzinfo=None)) // _DAY)
        since, until = _ms(first - days * _DAY), _ms(last - days * _DAY)
    else:
        since, until = begin - (end - begin), begin
    if since < 0:
        return None
    then = models_between(ask, since, until).totals
    return Before(since=rfc3339(since), until=rfc3339(until), totals=then, change=_change(then, totals))


def _change(then: Totals, now: Totals) -> Change:
    def ratio(old: float | None, new: float | None) -> float | None:
        return None if not old or new is None else round(new / old - 1, 4)

    old_cost, new_cost = then.cost or {}, now.cost or {}
    costs = {
        currency: change
        for currency in sorted(old_cost)
        if (change := ratio(old_cost[currency], new_cost.get(currency, 0.0))) is not None
    }
    rates = then.success_rate, now.success_rate
    return Change(
        rounds=ratio(then.rounds, now.rounds),
        input_tokens=ratio(then.input_tokens, now.input_tokens),
        output_tokens=ratio(then.output_tokens, now.output_tokens),
        total_tokens=ratio(then.total_tokens, now.total_tokens),
        cost=costs or None,
        success_rate=None if rates[0] is None or rates[1] is None else round(rates[1] - rates[0], 4),
    )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
