"""The columns of the tables: one place for their order and for what leaves a narrow terminal first."""

from __future__ import annotations

from typing import TypeVar

from monitor.answers.groups import GroupRow
from monitor.answers.sessions import SessionRow
from monitor.answers.stats import DateRow, Figures, ModelRow, Totals
from monitor.faces.cli.look import say
from monitor.faces.cli.tables import Column

Counted = TypeVar("Counted", bound=Figures)


def of_sessions() -> list[Column[SessionRow]]:
    """A list of sessions."""
    return [
        Column("session_id", "session", "text", lambda s: s.session_id, wish=56),
        Column("model", "model", "text", lambda s: s.model, 5),
        Column("consumer", "consumer", "text", lambda s: s.consumer, 8),
        Column("rounds", "rounds", "count", lambda s: s.messages_count, 2),
        Column("failed_rounds", "failed", "count", lambda s: s.failed_rounds, 7),
        Column("input_tokens", "input", "count", lambda s: s.total_input_tokens, 10),
        Column("output_tokens", "output", "count", lambda s: s.total_output_tokens, 9),
        Column("cached_tokens", "cached", "count", lambda s: s.total_cached_tokens, 11),
        Column("total_tokens", "tokens", "count", lambda s: s.total_tokens),
        Column("cost", "cost", "money", lambda s: s.cost, style="cyan"),
        Column("updated_at", "updated", "time", lambda s: s.updated_at, 3),
    ]


def of_models() -> list[Column[ModelRow]]:
    """Spending by model."""
    return [
        Column("model", "model", "text", lambda r: r.model, wish=32),
        *_figures(),
        Column("price_source", "price from", "text", lambda r: r.price_source, 12, wish=60),
    ]


def of_dates(head: str) -> list[Column[DateRow]]:
    """Spending by date."""
    label: Column[DateRow] = Column(head, head, "text", lambda r: r.date or r.hour or r.month or say("no time"))
    return [label, *_figures()]


def of_groups(dimension: str) -> list[Column[GroupRow]]:
    """Spending by one dimension."""
    return [
        Column("name", dimension, "text", lambda r: r.name or say("(none)"), wish=46),
        Column("share", "share", "share", lambda r: r.share, 8),
        *_figures(),
    ]


def _figures() -> list[Column[Counted]]:
    return [
        Column("sessions", "sessions", "count", lambda r: r.sessions, 6),
        Column("rounds", "rounds", "count", lambda r: r.rounds),
        Column("failed_rounds", "failed", "count", lambda r: r.failed_rounds, 10),
        Column("input_tokens", "input", "count", lambda r: r.input_tokens, 3),
        Column("output_tokens", "output", "count", lambda r: r.output_tokens, 3),
        Column("reasoning_tokens", "reasoning", "count", lambda r: r.reasoning_tokens, 11),
        Column("cached_tokens", "cached", "count", lambda r: r.cached_tokens, 7),
        Column("total_tokens", "tokens", "count", lambda r: r.total_tokens, 9),
        Column("cost", "cost", "money", lambda r: r.cost, style="cyan"),
        Column("success_rate", "ok", "share", lambda r: r.success_rate, 4),
    ]


def footer(first: str, totals: Totals) -> dict[str, object]:
    """The last line of a table: the figures of everything."""
    values: dict[str, object] = {column.name: column.value(totals) for column in _figures()}  # type: ignore[var-annotated]
    if totals.sessions is None:
        del values["sessions"]
    return {first: say("total"), **values}
