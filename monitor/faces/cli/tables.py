"""Tables that fit: columns of little weight leave a narrow terminal, numbers are never broken; and the same as CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import click

from monitor.faces.cells import amount_text, decimal, safe
from monitor.faces.cli.look import console, say
from monitor.faces.cli.main import on_one_line, shown

if TYPE_CHECKING:
    from rich.table import Table

Row = TypeVar("Row")
Kind = Literal["text", "count", "money", "share", "time"]

#: Text is folded to this many cells before a column leaves.
_LEAST_TEXT = 16
#: Columns from this number on leave before the wish of another is broken.
_LITTLE = 5
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
    #: Text gets this many cells as long as columns of little weight can leave for it.
    wish: int = 0


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
            return on_one_line(str(value))


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
    table = rich_table(columns, rows, out.width, footer=footer, zone=zone)
    if table is not None:
        out.print(table)
        return
    # Too narrow for any table: one value a line.
    for row in rows:
        click.echo("-" * min(out.width, 20))
        for column in columns:
            cell = text_of(column.kind, column.value(row), zone).replace("\n", " + ")
            click.echo(f"{say(column.head)}: {cell}")


def rich_table(
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    width: int,
    *,
    footer: Mapping[str, Any] | None = None,
    zone: ZoneInfo | None = None,
    fold: bool = True,
) -> Table | None:
    """The table for a terminal of this width; None where even the columns that stay find no room.

    Without `fold`, text that is too long is cut, so that each row has as many lines as its money.
    """
    from rich.box import SIMPLE  # noqa: PLC0415 - JSON output needs no tables
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    cells = [[text_of(column.kind, column.value(row), zone) for column in columns] for row in rows]
    feet = None if footer is None else [_foot(column, footer, zone) for column in columns]
    heads = [say(column.head) for column in columns]
    needs = _needs(heads, cells if feet is None else [*cells, feet])
    chosen = _fitting(columns, heads, cells, needs, width)
    if chosen is None:
        return None
    widths = _widths(columns, chosen, needs, width)
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, show_footer=feet is not None)
    for index in chosen:
        column = columns[index]
        number = column.kind in ("count", "money", "share")
        table.add_column(
            Text(heads[index], style="bold"),
            Text(feet[index], style="bold") if feet is not None else "",
            justify="right" if number else "left",
            overflow="fold" if fold else "ellipsis",
            no_wrap=not fold or column.kind != "text",
            max_width=widths[index],
            style=column.style,
        )
    for line in cells:
        table.add_row(*(Text(line[index]) for index in chosen))
    return table


def _foot(column: Column[Row], footer: Mapping[str, Any], zone: ZoneInfo | None) -> str:
    return text_of(column.kind, footer[column.name], zone) if column.name in footer else ""


def _needs(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column would like to be."""
    from rich.cells import cell_len  # noqa: PLC0415

    return [
        max(map(cell_len, [head, *(part for line in cells for part in line[index].split("\n"))]))
        for index, head in enumerate(heads)
    ]


def _fitting(
    columns: Sequence[Column[Row]],
    heads: Sequence[str],
    cells: Sequence[Sequence[str]],
    needs: Sequence[int],
    width: int,
) -> list[int] | None:
    """The columns that find room, in their order; None where even those that stay do not."""
    from rich.cells import cell_len  # noqa: PLC0415

    least, wished = [], []
    for column, head, need in zip(columns, heads, needs, strict=True):
        floor = max(_LEAST_TEXT, cell_len(head)) if column.kind == "text" else need
        least.append(min(need, floor))
        wished.append(min(need, max(floor, column.wish)))
    # A column in which nothing is known says nothing.
    chosen = [
        index
        for index, column in enumerate(columns)
        if column.leaves == 0 or any(line[index] not in ("-", "") for line in cells)
    ]
    for widths, weight in ((wished, _LITTLE), (least, 1)):
        while sum(widths[index] for index in chosen) + _GAP * (len(chosen) - 1) > width:
            last = max(chosen, key=lambda index: columns[index].leaves)
            if columns[last].leaves < weight:
                break
            chosen.remove(last)
        else:
            return chosen
    return None


def _widths(columns: Sequence[Column[Row]], chosen: Sequence[int], needs: Sequence[int], width: int) -> dict[int, int]:
    """The width of each chosen column: what is too much is taken from the widest text."""
    widths = {index: needs[index] for index in chosen}
    texts = [index for index in chosen if columns[index].kind == "text"]
    excess = sum(widths.values()) + _GAP * (len(chosen) - 1) - width
    while excess > 0 and texts:
        widest = max(texts, key=lambda index: widths[index])
        widths[widest] -= 1
        excess -= 1
    return widths


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
