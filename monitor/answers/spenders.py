"""Who spends the most: sessions, consumers, functions, routes, agents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from monitor.answers.base import Answer, Asking, Money, Part, Unpriced, added, costs, rfc3339, share, unpriced
from monitor.answers.periods import last_days
from monitor.store.base import Dimension, Slice, spend

SpenderDimension = Literal["session", "consumer", "function", "route", "agent"]


class SpenderRow(Part):
    """One spender. `name` is absent for rounds that name none."""

    name: str | None = None
    rounds: int
    total_tokens: int | None = None
    cost: Money | None = None
    share: float | None = Field(default=None, description="Of all tokens in the period.")
    unpriced: Unpriced | None = None
    url: str | None = None


class TopSpenders(Answer):
    """Spenders, the dearest first."""

    dimension: str
    since: str | None = None
    rows: list[SpenderRow]


def top_spenders(
    ask: Asking, dimension: SpenderDimension = "session", *, days: int | None = None, limit: int = 10
) -> TopSpenders:
    """The `limit` values of `dimension` that spent the most; all time where no days are given."""
    begin = None if days is None else last_days(days, ask.zone)
    found: list[tuple[str | None, list[Slice]]]
    if dimension == "session":
        all_slices = list(ask.store.slices(begin))
        found = [(r.session_id, list(r.slices)) for r in ask.store.top_sessions(begin, limit)]
    else:
        groups = ask.store.by(_stored(dimension), begin)
        # The values of a dimension, the absent one among them, hold every round.
        all_slices = [part for slices in groups.values() for part in slices]
        found = [(name or None, slices) for name, slices in groups.items()]
        found.sort(key=lambda pair: (-spend(pair[1]), -sum(part.counts.rounds for part in pair[1]), pair[0] or ""))
    whole = added(part.counts for part in all_slices)
    tokens = (whole.input_tokens or 0) + (whole.output_tokens or 0)
    return TopSpenders(
        dimension=dimension,
        since=None if begin is None else rfc3339(begin),
        rows=[_row(ask, dimension, name, slices, tokens) for name, slices in found[:limit]],
        **ask.freshness,
    )


def _stored(dimension: SpenderDimension) -> Dimension:
    stored: dict[str, Dimension] = {
        "consumer": "consumer",
        "function": "function",
        "route": "route",
        "agent": "agent",
    }
    return stored[dimension]


def _row(ask: Asking, dimension: str, name: str | None, slices: list[Slice], all_tokens: int) -> SpenderRow:
    counts = added(part.counts for part in slices)
    known = counts.input_tokens is not None or counts.output_tokens is not None
    tokens = (counts.input_tokens or 0) + (counts.output_tokens or 0)
    return SpenderRow(
        name=name,
        rounds=counts.rounds,
        total_tokens=tokens if known else None,
        cost=costs(slices),
        share=share(tokens, all_tokens) if known else None,
        unpriced=unpriced(slices),
        url=ask.url(name) if dimension == "session" and name is not None else None,
    )
