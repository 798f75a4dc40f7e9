"""Figures as HTML: readable as they stand, and with their exact value for a script that knows the viewer's locale."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from monitor.answers.base import Money

_SIGNS = {"USD": "$", "CNY": "CN¥", "EUR": "€", "GBP": "£", "JPY": "¥"}
_STEPS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_UNKNOWN = Markup('<span class="unknown">–</span>')
_ZERO_WIDTH_JOINER = "\u200d"


def number(value: int | None) -> Markup:
    """A whole number with its digits grouped."""
    if value is None:
        return _UNKNOWN
    return Markup('<data value="{}" data-as="int">{:,}</data>').format(value, value)


def compact(value: int | None) -> Markup:
    """A large number in three digits, exact in its title."""
    if value is None:
        return _UNKNOWN
    text = next((f"{value / step:.3g}{sign}" for step, sign in _STEPS if value >= step), str(value))
    return Markup('<data value="{}" data-as="compact" title="{:,}">{}</data>').format(value, value, text)


def share(value: float | None) -> Markup:
    """A part of a whole in percent."""
    if value is None:
        return _UNKNOWN
    return Markup('<data value="{}" data-as="percent">{:.1%}</data>').format(value, value)


def change(value: float | None) -> Markup:
    """A change in percent, with its sign."""
    if value is None:
        return _UNKNOWN
    return Markup('<data value="{}" data-as="change">{:+.0%}</data>').format(value, value)


def duration(ms: int | None) -> Markup:
    """Milliseconds, as seconds where there are any."""
    if ms is None:
        return _UNKNOWN
    text = f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms} ms"
    return Markup('<data value="{}" data-as="ms" title="{:,} ms">{}</data>').format(ms, ms, text)


def size(count: int | None) -> Markup:
    """Bytes."""
    if count is None:
        return _UNKNOWN
    text = next((f"{count / step:.1f} {unit}" for step, unit in _BYTES if count >= step), f"{count} B")
    return Markup('<data value="{}" data-as="bytes" title="{:,} B">{}</data>').format(count, count, text)


def money(cost: Money | None, digits: int = 4) -> Markup:
    """Amounts, a currency each; exact in the title, and never rounded to nothing."""
    if cost is None:
        return _UNKNOWN
    parts = []
    for currency, value in cost.items():
        exact = f"{Decimal(str(value)):f}"
        places = digits
        while value and places < 9 and not f"{value:.{places}f}".strip("-0."):
            places += 1
        shown = f"{value:,.{places}f}"
        text = f"{_SIGNS[currency]}{shown}" if currency in _SIGNS else f"{currency} {shown}"
        parts.append(
            Markup(
                '<data value="{}" data-as="money" data-currency="{}" data-digits="{}" title="{} {}">{}</data>'
            ).format(exact, currency, places, currency, exact, text)
        )
    return Markup('<span class="money">{}</span>').format(Markup(" ").join(parts))


def rate(value: float, currency: str) -> Markup:
    """A price, to its last digit."""
    places = -int(Decimal(str(value)).normalize().as_tuple().exponent)
    return money({currency: value}, max(2, places))


def moment(time: str | None, zone: ZoneInfo, *, day: bool = False) -> Markup:
    """An instant in the zone of the settings; the browser shows it in the viewer's."""
    if time is None:
        return _UNKNOWN
    local = datetime.fromisoformat(time).astimezone(zone)
    return Markup('<time datetime="{}" data-as="{}">{:%Y-%m-%d %H:%M}{}</time>').format(
        time, "minute" if day else "second", local, "" if day else f":{local:%S}"
    )


def text(value: object) -> Markup:
    """Text of a log: markup is escaped, and characters that control, reorder or hide text are shown by number."""
    out: list[Markup | str] = []
    plain: list[str] = []
    before = ""
    for char in str(value):
        hidden = char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Cs")
        # Joined emoji are one picture.
        if char == _ZERO_WIDTH_JOINER and unicodedata.category(before or " ") in ("So", "Sk", "Mn"):
            hidden = False
        before = char
        if not hidden:
            plain.append(char)
        elif char != "\r":
            out += [escape("".join(plain)), Markup('<span class="control">U+{:04X}</span>').format(ord(char))]
            plain = []
    return Markup("").join([*out, escape("".join(plain))])
