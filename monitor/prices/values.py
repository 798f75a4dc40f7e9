"""One value of a price file, checked: amounts, counts, dates, currencies; and what to say of a wrong one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

from monitor.prices.lines import Lines

_CURRENCY = re.compile(r"[A-Z]{3}")
#: What a binary float shows of itself (0.30000000000000004). No price list has that many digits.
_MAX_DIGITS = 15


class PriceFileError(ValueError):
    """A price file says something that cannot be priced. The text names file, line, key and the way out."""


class Values:
    """Reads values, and remembers where in the file they stand."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = Lines(text)
        #: The line of the row's header, and which row it is.
        self.line: int | None = None
        self.what = ""
        #: The tables of a row's `tiers` or `hours` (the `parent`) up to the one at hand.
        self.tables: Sequence[dict[str, Any]] = ()
        self.parent = ""
        #: The keys that lead to what is at hand outside rows.
        self.section: tuple[str, ...] = ()

    def known(self, table: dict[str, Any], keys: set[str]) -> None:
        """Refuse keys that are not among `keys`."""
        for key in table:
            if key not in keys:
                self.fail(key, f"is not known here; known are {', '.join(sorted(keys))}")

    def amount(self, key: str, value: object) -> Decimal:
        """A price, exactly."""
        if isinstance(value, str):
            try:
                amount = Decimal(value)
            except InvalidOperation:
                self.fail(key, f'is {value!r}, no number; write it as "0.5"')
        elif isinstance(value, Decimal) or type(value) is int:
            amount = Decimal(value)
        else:
            self.fail(key, f'must be a number, best as text: {key} = "0.5"')
        if not amount.is_finite():
            self.fail(key, f"is {value}; a price is a finite number")
        if amount < 0:
            self.fail(key, f"is {value}; a price cannot be negative")
        if len(amount.normalize().as_tuple().digits) > _MAX_DIGITS or not -18 <= amount.adjusted() <= 12:
            self.fail(
                key,
                f'is {value}: that was rounded by a computer; copy the price from its list as text, "0.3"',
            )
        return amount

    def currency(self, key: str, value: object) -> str:
        """An ISO 4217 code."""
        if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
            self.fail(key, 'must be a currency code of three capitals, such as "CNY" or "USD"')
        return value

    def text(self, table: dict[str, Any], key: str) -> str | None:
        """A text, or None where there is none."""
        value = table.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self.fail(key, "must be text")
        return value

    def count(self, table: dict[str, Any], key: str) -> int | None:
        """A number of tokens, or None where there is none."""
        value = table.get(key)
        if value is not None and (type(value) is not int or value <= 0):
            self.fail(key, "must be a whole number of tokens above zero")
        return value

    def day(self, table: dict[str, Any], key: str) -> date | None:
        """A UTC date, or None where there is none."""
        moment = self.instant(table, key)
        return None if moment is None else datetime.fromtimestamp(moment / 1000, UTC).date()

    def instant(self, table: dict[str, Any], key: str) -> int | None:
        """Milliseconds since 1970 of a date (its midnight in UTC) or of a time with its zone."""
        value = table.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
            except ValueError:
                self.fail(key, f'is {value!r}; write a UTC date such as "2026-11-20"')
        if value is None:
            return None
        if isinstance(value, datetime):
            if value.tzinfo is None:
                self.fail(key, 'has a time without a zone; write "2025-09-05T16:00:00Z"')
        elif isinstance(value, date):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        else:
            self.fail(key, 'must be a UTC date such as "2026-11-20"')
        return round(value.timestamp()) * 1000

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise PriceFileError about `key`, with the line where it stands."""
        if self.line is not None:
            # The key's own line where it stands in this row, else that of the row.
            if not self.tables:
                line = self.lines.in_row(self.line, key)
            elif key in self.tables[-1]:
                before = sum(key in table for table in self.tables[:-1])
                line = self.lines.in_table(self.line, self.parent, key, before)
            else:
                line = self.lines.in_row(self.line, self.parent)
            line = line or self.line
        elif self.what:
            line = self.lines.at(self.what.split()[0])
        else:
            line = self.lines.at(*self.section, key)
        place = f"{self.path}:{line}" if line is not None else f"{self.path}"
        what = f" ({self.what})" if self.what else ""
        name = ".".join((*self.section, key))
        raise PriceFileError(f"{place}{what}: `{name}` {problem}")
