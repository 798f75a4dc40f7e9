"""Tables that fit: columns of little weight leave a narrow terminal, numbers are never broken; and the same as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import IO, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import click

from monitor.faces.cli.look import console, say
from monitor.faces.cli.main import shown
from monitor.faces.csvcells import decimal, safe

Row = TypeVar("Row")
Kind = Literal["text", "count", "money", "share", "time"]

#: Text is folded to this many cells before a column leaves.
_LEAST_TEXT = 16
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column. `name` is its name in CSV, `head` what people read."""

    name: str
    head: str
    kind: Kind
    value: Callable[[Row], Any]
    #: Which column leaves first where there is no room: the highest; 0 stays.
    leaves: int = 0
    style: str | None = None


def text_of(kind: Kind, value: Any, zone: ZoneInfo | None = None) -> str:
    """A value as people read it; several currencies get a line each."""
    if value is None or value == {}:
        return "-"
    match kind:
        case "count":
            return f"{value:,}"
        case "share":
            return f"{value:.1%}"
        case "time":
            return f"{datetime.fromisoformat(value).astimezone(zone):%Y-%m-%d %H:%M}"
        case "money":
            return "\n".join(f"{currency} {amount_text(amount)}" for currency, amount in value.items())
        case _:
            return shown(str(value))


def amount_text(amount: float) -> str:
    """Six digits behind the point; nine where six would show nothing."""
    text = f"{amount:,.6f}"
    return f"{amount:.9f}" if amount and not text.strip("-0.,") else text


def on_a_line(cost: Mapping[str, float] | None) -> str:
    """Money of all currencies in one line."""
    return text_of("money", cost).replace("\n", " + ")


def print_table(
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    empty: str,
    *,
    footer: Mapping[str, Any] | None = None,
    zone: ZoneInfo | None = None,
) -> None:
    """Print `rows`, or on standard error that there are none. `footer`: values by the names of their columns."""
    if not rows:
        click.echo(empty, err=True)
        return
    out = console()
    cells = [[text_of(column.kind, column.value(row), zone) for column in columns] for row in rows]
    feet = None if footer is None else [_foot(column, footer, zone) for column in columns]
    heads = [say(column.head) for column in columns]
    chosen = _fitting(columns, heads, cells if feet is None else [*cells, feet], out.width)
    if chosen is None:
        _print_blocks(heads, cells, out.width)
        return
    from rich.box import SIMPLE  # noqa: PLC0415 - JSON output needs no tables
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, show_footer=feet is not None)
    for index in chosen:
        column = columns[index]
        number = column.kind in ("count", "money", "share")
        table.add_column(
            Text(heads[index], style="bold"),
            Text(feet[index], style="bold") if feet is not None else "",
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=column.kind != "text",
            style=column.style,
        )
    for line in cells:
        table.add_row(*(Text(line[index]) for index in chosen))
    out.print(table)


def _foot(column: Column[Row], footer: Mapping[str, Any], zone: ZoneInfo | None) -> str:
    return text_of(column.kind, footer[column.name], zone) if column.name in footer else ""


def _fitting(
    columns: Sequence[Column[Row]], heads: Sequence[str], cells: Sequence[Sequence[str]], width: int
) -> list[int] | None:
    """The columns that find room, in their order; None where even those that stay do not."""
    from rich.cells import cell_len  # noqa: PLC0415

    least = []
    for index, column in enumerate(columns):
        lines = [heads[index], *(part for line in cells for part in line[index].split("\n"))]
        need = max(map(cell_len, lines))
        least.append(min(need, max(_LEAST_TEXT, cell_len(heads[index]))) if column.kind == "text" else need)
    chosen = list(range(len(columns)))
    while sum(least[index] for index in chosen) + _GAP * (len(chosen) - 1) > width:
        last = max(chosen, key=lambda index: columns[index].leaves)
        if columns[last].leaves == 0:
            return None
        chosen.remove(last)
    return chosen


def _print_blocks(heads: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> None:
    """One value a line, for a terminal that is too narrow for any table."""
    click.echo("-" * min(width, 20))
    for line in cells:
        for head, cell in zip(heads, line, strict=True):
            click.echo(f"{head}: {cell.replace(chr(10), ' + ')}")
        click.echo("-" * min(width, 20))


# -- CSV ------------------------------------------------------------------------------------------


def print_csv(columns: Sequence[Column[Row]], rows: Sequence[Row], stream: IO[str] | None = None) -> None:
    """All columns of `rows`, one column a currency, times as in JSON, nothing that a spreadsheet would run."""
    currencies: dict[str, list[str]] = {}
    for column in columns:
        if column.kind == "money":
            currencies[column.name] = sorted({name for row in rows for name in column.value(row) or {}})
    writer = csv.writer(stream or sys.stdout, lineterminator="\n")
    heads = []
    for column in columns:
        heads += (
            [f"{column.name}_{currency}" for currency in currencies[column.name]]
            if (column.name in currencies)
            else [column.name]
        )
    writer.writerow(map(safe, heads))
    for row in rows:
        line: list[str | int | Decimal] = []
        for column in columns:
            value = column.value(row)
            if column.kind == "money":
                line += [decimal((value or {}).get(currency)) for currency in currencies[column.name]]
            elif value is None:
                line.append("")
            else:
                line.append(safe(shown(value)) if isinstance(value, str) else value)
        writer.writerow(line)
