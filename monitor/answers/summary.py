"""All of it in one answer: how much, by model and by day."""

from __future__ import annotations

from pydantic import Field

from monitor.answers.base import Answer, Asking, Money
from monitor.answers.stats import DateRow, ModelRow, Totals, stats_by_date, stats_by_model


class Summary(Answer):
    """Everything that was ever read, by model and by day."""

    total_sessions: int
    total_cost: Money = Field(description="Per currency; empty where nothing has a price.")
    totals: Totals
    by_model: list[ModelRow] = Field(description="The dearest first.")
    by_date: list[DateRow] = Field(description="The oldest first.")
    timezone: str


def summary(ask: Asking) -> Summary:
    """Sums of all time."""
    models, dates = stats_by_model(ask), stats_by_date(ask)
    return Summary(
        total_sessions=models.totals.sessions or 0,
        total_cost=models.totals.cost or {},
        totals=models.totals,
        by_model=models.rows,
        by_date=dates.rows,
        timezone=dates.timezone,
        **ask.freshness,
    )
