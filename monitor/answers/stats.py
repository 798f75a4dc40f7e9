"""Where the money goes: by model and by date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from monitor.answers.base import (
    NO_MODEL,
    Answer,
    Asking,
    Combined,
    Money,
    Part,
    Reported,
    Unpriced,
    added,
    amount,
    combined,
    costs,
    divided,
    mean_ms,
    price_source,
    reported,
    rfc3339,
    share,
    unpriced,
)
from monitor.answers.keys import key_patterns
from monitor.answers.periods import bounds
from monitor.answers.sessions import ModelShare, model_shares
from monitor.store.base import Grain, Slice, spend


class Figures(Part):
    """The counts of a set of rounds."""

    sessions: int | None = None
    rounds: int
    failed_rounds: int | None = None
    unmetered_rounds: int | None = None
    lower_bound_rounds: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    total_tokens: int | None = None
    cost: Money | None = None
    success_rate: float | None = None
    avg_latency_ms: int | None = None


class ModelRow(Figures):
    """One model's share."""

    model: str
    cost_per_round: Money | None = None
    price_source: str | None = None
    unpriced: Unpriced | None = None
    reported: Reported | None = Field(default=None, description="Costs that the sources report, beside ours.")


class DateRow(Figures):
    """One hour, day or month in the asked zone; none of them for rounds without a usable time."""

    date: str | None = None
    hour: str | None = None
    month: str | None = None
    models: list[ModelShare] = []


class Totals(Figures):
    """Everything in the asked period."""

    unpriced: Unpriced | None = None
    combined: Combined | None = Field(default=None, description="The cost in one currency, by fixed rates.")


class ModelStats(Answer):
    """Spending by model, the dearest first."""

    rows: list[ModelRow]
    totals: Totals
    since: str | None = None
    until: str | None = None
    price_lists: list[str] = Field(default=[], description="Versions of the price lists that were applied.")


class DateStats(Answer):
    """Spending by date, the oldest first."""

    rows: list[DateRow]
    totals: Totals
    timezone: str
    since: str | None = None
    until: str | None = None


def stats_by_model(
    ask: Asking,
    *,
    since: str | None = None,
    until: str | None = None,
    days: int | None = None,
    session_key: str | None = None,
    sessions: bool = True,
) -> ModelStats:
    """Sums by model; all time where no period is given. `session_key` leaves out all other sessions.

    Without `sessions` those of a period are not counted: over a long time nothing else takes as long.
    """
    begin, end = period(ask, since, until, days)
    return models_between(ask, begin, end, session_key, sessions)


def models_between(
    ask: Asking, begin: int | None, end: int | None, session_key: str | None = None, sessions: bool = True
) -> ModelStats:
    """As `stats_by_model`, between two instants in milliseconds."""
    counted: Mapping[str | None, int] | None = None
    if session_key is None:
        slices = list(ask.store.slices(begin, end))
        counted = ask.store.sessions_by_model(begin, end) if sessions else None
    else:
        slices = list(ask.store.slices_of(key_patterns(ask, session_key), begin, end))
    by_model: dict[str | None, list[Slice]] = {}
    for part in slices:
        by_model.setdefault(part.model, []).append(part)
    rows = [
        ModelRow(
            model=model or NO_MODEL,
            cost_per_round=_per_round(parts),
            price_source=price_source(parts),
            unpriced=unpriced(parts),
            reported=reported(parts),
            **figures(parts, None if counted is None else counted.get(model, 0)),
        )
        for model, parts in by_model.items()
    ]
    rows.sort(key=lambda row: (-spend(by_model[None if row.model == NO_MODEL else row.model]), -row.rounds, row.model))
    return ModelStats(
        rows=rows,
        totals=_totals(ask, slices, begin is None and end is None and session_key is None),
        since=None if begin is None else rfc3339(begin),
        until=None if end is None else rfc3339(end),
        price_lists=sorted({part.price.version for part in slices if part.price.version}),
        **ask.freshness,
    )


def stats_by_date(
    ask: Asking,
    *,
    days: int | None = None,
    bucket: Grain = "day",
    timezone: str | None = None,
    since: str | None = None,
    until: str | None = None,
    session_key: str | None = None,
    sessions: bool = True,
) -> DateStats:
    """Sums by local hour, day or month; all time where no period is given. The last two as in `stats_by_model`."""
    if timezone is not None:
        from monitor.answers.zones import named_zone  # noqa: PLC0415 - most questions name none

        ask = named_zone(ask, timezone)
    begin, end = period(ask, since, until, days)
    return dates_between(ask, begin, end, bucket, session_key, sessions)


def dates_between(
    ask: Asking,
    begin: int | None,
    end: int | None,
    bucket: Grain = "day",
    session_key: str | None = None,
    sessions: bool = True,
) -> DateStats:
    """As `stats_by_date`, between two instants in milliseconds."""
    if session_key is None:
        buckets = ask.store.buckets(bucket, ask.timezone, begin, end, sessions=sessions)
    else:
        buckets = ask.store.buckets_of(key_patterns(ask, session_key), bucket, ask.timezone, begin, end)
    field = {"day": "date", "hour": "hour", "month": "month"}[bucket]
    rows = [
        DateRow(
            **({field: each.label} if each.label is not None else {}),
            models=model_shares(each.slices),
            **figures(each.slices, each.sessions if sessions else None),
        )
        for each in buckets
    ]
    slices = [part for each in buckets for part in each.slices]
    return DateStats(
        rows=rows,
        totals=_totals(ask, slices, begin is None and end is None and session_key is None),
        timezone=ask.timezone,
        since=None if begin is None else rfc3339(begin),
        until=None if end is None else rfc3339(end),
        **ask.freshness,
    )


def period(ask: Asking, since: str | None, until: str | None, days: int | None) -> tuple[int | None, int | None]:
    """The bounds of a period in milliseconds; `days` counts local days back from today, today included."""
    return bounds(since, until, days, ask.zone)


def figures(slices: Sequence[Slice], sessions: int | None) -> dict[str, Any]:
    """The counts of `slices` under the names of `Figures`."""
    counts = added(part.counts for part in slices)
    known = counts.input_tokens is not None or counts.output_tokens is not None
    return {
        "sessions": sessions,
        "rounds": counts.rounds,
        "failed_rounds": counts.failed or None,
        "unmetered_rounds": counts.unmetered or None,
        "lower_bound_rounds": counts.lower_bound or None,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "reasoning_tokens": counts.reasoning_tokens,
        "cached_tokens": counts.cached_tokens,
        "cache_write_tokens": counts.cache_write_tokens,
        "total_tokens": (counts.input_tokens or 0) + (counts.output_tokens or 0) if known else None,
        "cost": costs(slices),
        "success_rate": share(counts.rounds - counts.failed, counts.rounds),
        "avg_latency_ms": mean_ms(counts.latency_total_ms, counts.latency_rounds),
    }


def _totals(ask: Asking, slices: Sequence[Slice], all_time: bool) -> Totals:
    return Totals(
        unpriced=unpriced(slices),
        combined=combined(ask, slices),
        **figures(slices, ask.store.session_count() if all_time else None),
    )


def _per_round(slices: Sequence[Slice]) -> Money | None:
    """Average cost of the rounds that have one, per currency."""
    sums: dict[str, tuple[int, int]] = {}
    for part in slices:
        if part.counts.nano is not None and part.price.currency is not None:
            nano, rounds = sums.get(part.price.currency, (0, 0))
            sums[part.price.currency] = nano + part.counts.nano, rounds + part.counts.rounds
    return {currency: amount(divided(nano, n)) for currency, (nano, n) in sorted(sums.items())} or None
