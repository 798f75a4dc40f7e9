"""Where the money goes by what a round names: consumer, function, route, agent, session, user, host, source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field

from monitor.answers.base import Answer, Asking, Unpriced, added, rfc3339, share, unpriced
from monitor.answers.errors import BadQuestion
from monitor.answers.stats import Figures, Totals, figures, period
from monitor.store.base import Dimension, Slice, spend

GroupDimension = Literal["consumer", "function", "route", "agent", "session", "user", "host", "source"]
DIMENSIONS: tuple[GroupDimension, ...] = get_args(GroupDimension)
#: Under which name the store keeps a dimension.
_STORED: Mapping[str, Dimension] = {
    "consumer": "consumer",
    "function": "function",
    "route": "route",
    "agent": "agent",
    "user": "user_id",
    "host": "host",
    "source": "source",
}


class GroupRow(Figures):
    """One value's share. `name` is absent for rounds that name none."""

    name: str | None = None
    share: float | None = Field(default=None, description="Of all tokens in the period.")
    unpriced: Unpriced | None = None
    url: str | None = None


class GroupStats(Answer):
    """Spending by one dimension, the dearest first."""

    dimension: str
    rows: list[GroupRow]
    more: int | None = Field(default=None, description="How many rows are not shown.")
    totals: Totals
    since: str | None = None
    until: str | None = None


def stats_by(
    ask: Asking,
    dimension: str,
    *,
    since: str | None = None,
    until: str | None = None,
    days: int | None = None,
    limit: int | None = None,
) -> GroupStats:
    """Sums by the values of `dimension`, all time where no period is given; by session at most 1000.

    Raises:
        BadQuestion: there is no such dimension, or a time is none.
    """
    begin, end = period(ask, since, until, days)
    return groups(ask, dimension, begin, end, limit)


def groups(ask: Asking, dimension: str, begin: int | None, end: int | None, limit: int | None = None) -> GroupStats:
    """As `stats_by`, between two instants in milliseconds."""
    slices = list(ask.store.slices(begin, end))
    whole = added(part.counts for part in slices)
    tokens = (whole.input_tokens or 0) + (whole.output_tokens or 0)
    more = None
    if dimension == "session":
        records = ask.store.top_sessions(begin, limit or 1000, end)
        rows = [_row(ask, dimension, record.session_id, list(record.slices), tokens) for record in records]
    elif dimension in _STORED:
        found = sorted(
            ask.store.by(_STORED[dimension], begin, end).items(),
            key=lambda pair: (-spend(pair[1]), -sum(part.counts.rounds for part in pair[1]), pair[0]),
        )
        shown = found if limit is None else found[:limit]
        rows = [_row(ask, dimension, name or None, parts, tokens) for name, parts in shown]
        more = len(found) - len(shown) or None
    else:
        raise BadQuestion(f"{dimension[:60]!r} is nothing to count by: use {', '.join(DIMENSIONS)}")
    sessions = ask.store.session_count() if begin is None and end is None else None
    return GroupStats(
        dimension=dimension,
        rows=rows,
        more=more,
        totals=Totals(unpriced=unpriced(slices), **figures(slices, sessions)),
        since=None if begin is None else rfc3339(begin),
        until=None if end is None else rfc3339(end),
        **ask.freshness,
    )


def _row(ask: Asking, dimension: str, name: str | None, slices: list[Slice], all_tokens: int) -> GroupRow:
    sums = figures(slices, None)
    return GroupRow(
        name=name,
        share=None if sums["total_tokens"] is None else share(sums["total_tokens"], all_tokens),
        unpriced=unpriced(slices),
        url=ask.url(name) if dimension == "session" and name is not None else None,
        **sums,
    )
