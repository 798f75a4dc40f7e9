"""What new prices did to the rounds that are stored."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from monitor.answers.base import Answer, Asking, Money, Unpriced, costs, unpriced
from monitor.store.base import RepricedRounds


class AppliedPrices(Answer):
    """Every stored round has the price that the lists of now give it at its own date."""

    rounds: int = Field(description="Stored rounds, all of which were looked at.")
    changed: int
    kept: int | None = Field(default=None, description="Rounds that were pruned: they keep the price that they had.")
    before: Money | None = None
    after: Money | None = None
    unpriced: Unpriced | None = None
    version: str
    note: str | None = None


def applied_prices(ask: Asking, version: str, apply: Callable[[], RepricedRounds]) -> AppliedPrices:
    """Call `apply`, and tell what all rounds cost before and after."""
    before = costs(ask.store.slices())
    done = apply()
    slices = ask.store.slices()
    note = None
    if done.kept:
        note = f"{done.kept:,} rounds are stored no longer; what they cost stays as it was worked out then."
    return AppliedPrices(
        rounds=done.rounds,
        changed=done.changed,
        kept=done.kept or None,
        before=before,
        after=costs(slices),
        unpriced=unpriced(slices),
        version=version,
        note=note,
        **ask.freshness,
    )
