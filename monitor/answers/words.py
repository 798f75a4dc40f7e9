"""An answer in the words that an agent would use to its user."""

from __future__ import annotations

from monitor.answers.base import Money
from monitor.answers.sessions import Session

_SIGNS = {"USD": "$", "CNY": "¥", "EUR": "€", "GBP": "£"}


def money(cost: Money | None, *, digits: int = 4) -> str:
    """``$1.2345 + ¥0.2``; an amount too small for the digits is shown in full rather than as zero."""
    if cost is None:
        return "an unknown amount"
    parts = []
    for currency, value in cost.items():
        text = f"{value:,.{digits}f}"
        if value and not text.strip("0.,"):
            text = f"{value:.9f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        parts.append(f"{_SIGNS[currency]}{text}" if currency in _SIGNS else f"{text} {currency}")
    return " + ".join(parts)


def session(answer: Session) -> str:
    """Two sentences and a link."""
    rounds = answer.messages_count or 0
    said = f"This conversation has cost {money(answer.cost)} so far: {rounds:,} rounds"
    if answer.total_tokens is not None:
        said += f" with {answer.total_tokens:,} tokens"
        if answer.total_cached_tokens and answer.total_input_tokens:
            said += f", {answer.total_cached_tokens / answer.total_input_tokens:.0%} of the input from the cache"
    said += "."
    if answer.models:
        share = answer.models[0]
        said += f" Most rounds went to {share.model} ({share.rounds:,})"
        said += f", {answer.failed_rounds} failed." if answer.failed_rounds else "."
    if answer.unpriced is not None:
        said += f" {answer.unpriced.rounds} rounds have no known price ({', '.join(answer.unpriced.models[:3])})."
    return f"{said} Details: {answer.url}"
