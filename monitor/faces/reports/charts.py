"""Where the bars of a chart stand: numbers become places in a drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from monitor.answers.base import Money
from monitor.answers.stats import DateRow, Figures
from monitor.faces.cells import amount_text

WIDTH, HEIGHT = 720.0, 150.0
#: More bars than this are no chart; then the last ones are drawn.
_MOST_BARS = 400


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, in units of the drawing; `tip` says what it stands for."""

    x: float
    y: float
    width: float
    height: float
    tip: str
    #: Which part of a pile it is.
    part: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars side by side with a few labels below."""

    bars: list[Bar]
    labels: list[tuple[float, str, str]]
    top: str


def days(rows: Sequence[DateRow]) -> list[tuple[str, DateRow | None]]:
    """All days from the first to the last row, those without rounds too."""
    known = {row.date: row for row in rows if row.date is not None}
    if not known:
        return []
    last = date.fromisoformat(max(known))
    first = max(date.fromisoformat(min(known)), last - timedelta(days=_MOST_BARS - 1))
    span = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    return [(day, known.get(day)) for day in span]


def cost_chart(rows: Sequence[tuple[str, Figures | None]], currency: str) -> Chart:
    """What each day or hour cost in one currency."""
    values = [(name, [_amount(row.cost if row else None, currency)]) for name, row in rows]
    return _chart(values, lambda amount: f"{currency} {amount_text(amount)}", [currency])


def token_chart(rows: Sequence[tuple[str, Figures | None]], parts: Mapping[str, str]) -> Chart:
    """The tokens of each day or hour in a pile: from the cache, other input, output, by their `parts` names."""
    values = []
    for name, row in rows:
        cached = (row.cached_tokens if row else None) or 0
        whole = (row.input_tokens if row else None) or 0
        values.append((name, [float(cached), float(whole - cached), float((row.output_tokens if row else None) or 0)]))
    return _chart(values, lambda count: f"{count:,.0f}", list(parts.values()))


def _amount(cost: Money | None, currency: str) -> float:
    return (cost or {}).get(currency, 0.0)


def _chart(values: Sequence[tuple[str, list[float]]], text: Callable[[float], str], names: Sequence[str]) -> Chart:
    highest = max((sum(pile) for _, pile in values), default=0.0)
    step = WIDTH / max(1, len(values))
    bars, labels = [], []
    for index, (name, pile) in enumerate(values):
        below = 0.0
        for part, value in enumerate(pile):
            if value > 0 and highest > 0:
                height = HEIGHT * value / highest
                x, y = index * step + step * 0.1, HEIGHT - below - height
                tip = f"{name}: {text(value)} {names[part]}" if len(names) > 1 else f"{name}: {text(value)}"
                bars.append(Bar(round(x, 2), round(y, 2), round(step * 0.8, 2), round(height, 2), tip, part))
                below += height
    shown = sorted({0, len(values) // 2, len(values) - 1}) if values else []
    for index in shown:
        anchor = "start" if index == 0 else "end" if index == len(values) - 1 else "middle"
        x = {"start": 0.0, "end": WIDTH, "middle": (index + 0.5) * step}[anchor]
        labels.append((round(x, 2), anchor, values[index][0]))
    return Chart(bars, labels, text(highest))
