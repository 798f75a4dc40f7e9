"""Values as people and spreadsheets read them: exact amounts, and no text that would be taken for a formula."""

from __future__ import annotations

import unicodedata

#: What begins a formula in one spreadsheet or another, the full-width forms too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str, keep: str = "\n") -> str:
    """Text that can't steer a terminal: control and formatting characters are shown, not obeyed, but for `keep`."""
    return "".join(
        char if char in keep or unicodedata.category(char) not in _STEERING else f"\\x{ord(char):02x}" for char in text
    )


def safe(text: str) -> str:
    """Text that stays text: an apostrophe before what would begin a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def decimal(amount: float | None) -> str:
    """An amount in full, without an exponent; empty where there is none."""
    if amount is None:
        return ""
    text = f"{amount:.9f}".rstrip("0")
    return text.removesuffix(".")


def amount_text(amount: float) -> str:
    """Six digits behind the point; nine where six would show nothing."""
    text = f"{amount:,.6f}"
    return f"{amount:.9f}" if amount and not text.strip("-0.,") else text
