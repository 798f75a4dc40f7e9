"""Texts and prices by the numbers that stand for them."""

from __future__ import annotations

import sqlite3

from monitor.store.base import PriceTag


class Labels:
    """Texts and prices by their numbers; they never change once written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._names: dict[int, str | None] = {0: None}
        self._prices: dict[int, PriceTag] = {}

    def name(self, number: int) -> str | None:
        """The text of a number; None for 0."""
        try:
            return self._names[number]
        except KeyError:
            if len(self._names) > 50_000:
                self._names = {0: None}
            row = self._db.execute("SELECT value FROM name WHERE id = ?", (number,)).fetchone()
            value = self._names[number] = row[0] if row else None
            return value

    def price(self, number: int) -> PriceTag:
        """The price of a number."""
        try:
            return self._prices[number]
        except KeyError:
            row = self._db.execute(
                "SELECT status, currency, source, version, reported_currency FROM price WHERE id = ?", (number,)
            ).fetchone()
            tag = self._prices[number] = PriceTag(row[0], *(text or None for text in row[1:]))
            return tag
