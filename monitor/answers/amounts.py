"""Money as people write it."""

from __future__ import annotations

from collections.abc import Mapping

_SIGNS = {"USD": "$", "CNY": "¥", "EUR": "€", "GBP": "£"}


def money(cost: Mapping[str, int | float] | None, *, digits: int = 4, whole: bool = False) -> str:
    """``$1.2345 + ¥0.2``; an amount too small for the digits is shown in full rather than as zero.

    With `whole` zeros at the end stay: ``$10.00``.
    """
    if cost is None:
        return "an unknown amount"
    parts = []
    for currency, value in cost.items():
        text = f"{value:,.{digits}f}"
        if value and not text.strip("0.,"):
            text = f"{value:.9f}"
        text = text.rstrip("0").rstrip(".") if "." in text and not whole else text
        parts.append(f"{_SIGNS[currency]}{text}" if currency in _SIGNS else f"{text} {currency}")
    return " + ".join(parts)
