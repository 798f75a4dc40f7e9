"""What goes on now: sessions as they grow, what a minute costs, the last failures, and whether the log is read."""

from __future__ import annotations

import time

from pydantic import Field

from monitor.answers.base import Answer, Asking, Money, Part, amount, rfc3339, share, unpriced
from monitor.answers.budgets import BudgetState, budgets
from monitor.answers.failures import FailedRound, failed_rounds
from monitor.answers.health import Standing
from monitor.answers.keys import key_patterns
from monitor.answers.periods import instant
from monitor.answers.sessions import SessionRow, list_sessions
from monitor.answers.stats import Totals, figures
from monitor.store.base import Slice, SortBy

#: What a minute costs is an average over this long.
WINDOW_MINUTES = 5
_FAILURES = 5
_BUDGETS = 3
_DAY_MS = 86_400_000


class Pace(Part):
    """Averages of a minute, over the last minutes."""

    minutes: int
    rounds: float
    tokens: float
    cost: Money | None = None


class TokenBudget(Part):
    """A limit of tokens for what is shown."""

    limit: int
    used: int
    share: float


class SourceLag(Part):
    """How far a source is read."""

    path: str
    exists: bool
    pending_bytes: int | None = None
    problems: list[str] = []


class Pulse(Answer):
    """A look at what goes on."""

    at: str
    since: str | None = None
    session_key: str | None = None
    totals: Totals
    cache_hit_rate: float | None = Field(default=None, description="Share of the input that came from a cache.")
    pace: Pace
    budget: TokenBudget | None = None
    budgets: list[BudgetState] = Field(default=[], description="Configured budgets, the most used first.")
    sessions: list[SessionRow]
    total_sessions: int
    failures: list[FailedRound] = Field(default=[], description="Of the last day, newest first.")
    ingesting: bool
    sources: list[SourceLag]
    failure: str | None = Field(default=None, description="Why what was read can't be kept.")


def pulse(
    ask: Asking,
    standing: Standing,
    *,
    session_key: str | None = None,
    since: str | None = None,
    budget: int | None = None,
    sort_by: SortBy = "updated",
    limit: int = 50,
    now: int | None = None,
) -> Pulse:
    """What goes on now in the sessions of `session_key`, or in all.

    `since`: from when the totals count, all time by default. `budget`: how many tokens may be used from then on.
    """
    at = time.time_ns() // 1_000_000 if now is None else now
    keys = None if session_key is None else key_patterns(ask, session_key)
    begin = None if since is None else instant(since, ask.zone)

    def counted(first: int | None) -> list[Slice]:
        return list(ask.store.slices(first) if keys is None else ask.store.slices_of(keys, first))

    listed = list_sessions(ask, sort_by=sort_by, session_key=session_key, since=since, limit=limit)
    slices = counted(begin)
    sums = figures(slices, listed.total)
    cached, whole = sums["cached_tokens"], sums["input_tokens"]
    used = sums["total_tokens"] or 0
    return Pulse(
        at=rfc3339(at),
        since=None if begin is None else rfc3339(begin),
        session_key=session_key,
        totals=Totals(unpriced=unpriced(slices), **sums),
        cache_hit_rate=None if cached is None or whole is None else share(cached, whole),
        pace=_pace(counted(at - WINDOW_MINUTES * 60_000)),
        budget=None if budget is None else TokenBudget(limit=budget, used=used, share=round(used / budget, 4)),
        budgets=budgets(ask).budgets[:_BUDGETS] if ask.book.budgets else [],
        sessions=listed.sessions,
        total_sessions=listed.total,
        failures=failed_rounds(ask, max(begin or 0, at - _DAY_MS), None, _FAILURES, keys),
        ingesting=standing.ingesting,
        sources=[
            SourceLag(
                path=source.source,
                exists=source.exists,
                pending_bytes=source.pending_bytes or None,
                problems=list(source.problems),
            )
            for source in standing.sources
        ],
        failure=standing.failure,
        **ask.freshness,
    )


def _pace(slices: list[Slice]) -> Pace:
    sums = figures(slices, None)
    nano: dict[str, int] = {}
    for part in slices:
        if part.counts.nano is not None and part.price.currency is not None:
            nano[part.price.currency] = nano.get(part.price.currency, 0) + part.counts.nano
    return Pace(
        minutes=WINDOW_MINUTES,
        rounds=round(sums["rounds"] / WINDOW_MINUTES, 2),
        tokens=round((sums["total_tokens"] or 0) / WINDOW_MINUTES, 1),
        cost={currency: amount(sum_ // WINDOW_MINUTES) for currency, sum_ in sorted(nano.items())} or None,
    )
