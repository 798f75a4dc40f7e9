"""Money and names as they stand in sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,79}")
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


def quoted(name: str) -> str:
    """A name of the log inside a sentence: one that could pass for something else stands in quotes, and is cut."""
    return name if _PLAIN.fullmatch(name) else repr(name[:60])
