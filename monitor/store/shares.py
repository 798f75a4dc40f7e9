"""Which shares of a budget are passed, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import msgspec

from monitor.budgets import WHOLE, Budget, BudgetSum, Exchange, used
from monitor.prices.money import NANO


def passed(
    budget: Budget, at: int, slot: str, sums: list[BudgetSum], exchange: Exchange, zone: ZoneInfo
) -> Iterator[tuple[int, str]]:
    """Each share (in millionths) that the sums of one period under one value pass, with the facts as JSON."""
    have = used(budget.limit, sums, exchange)
    reached = have.share(budget.limit)
    for share in sorted({*budget.warn_at, WHOLE}):
        if reached < share:
            break
        facts = {
            "budget": budget.name,
            "period": budget.period,
            "period_start": at or None,
            "period_end": budget.period_end(at, zone),
            budget.kept_per or "for": slot or None,
            "share": share / WHOLE,
            "used_share": reached / WHOLE,
            "used": _amount(budget, have.amount),
            "limit": _amount(budget, budget.limit.amount),
            "rounds": have.rounds,
            "unpriced_rounds": have.unpriced or None,
            "not_counted": {c: n / NANO for c, n in have.not_counted.items()} or None,
            "exceeded": share >= WHOLE,
        }
        told = {name: value for name, value in facts.items() if value is not None}
        yield share, msgspec.json.encode(told).decode()


def told(budget: Budget, share: int) -> tuple[str, ...]:
    """The channels that are told of a share."""
    channels = budget.channels if share in budget.warn_at else ()
    return channels + budget.exceeded_channels if share >= WHOLE else channels


def _amount(budget: Budget, amount: int) -> dict[str, float]:
    """As JSON: ``{"USD": 8.1}`` or ``{"tokens": 6890}``."""
    if budget.limit.nano is None:
        return {"tokens": amount}
    return {budget.limit.currency or "": amount / NANO}
