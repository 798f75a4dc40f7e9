"""Answers as plain mappings, as programs compute with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex, overload

from pydantic import BaseModel


class Row(dict[str, Any]):
    """A mapping whose values are attributes as well: ``row["cost"]`` and ``row.cost``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r}: there are {', '.join(self)}") from None

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self]


class Rows(list[Row]):
    """Rows in order; those that have a name are found by it too: ``rows["qwen-plus"]``."""

    def __init__(self, rows: Iterable[Row] = (), name: str | None = None) -> None:
        """`name`: the field by whose value a row is found."""
        super().__init__(rows)
        self._name = name

    @overload
    def __getitem__(self, key: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> list[Row]: ...
    @overload
    def __getitem__(self, key: str) -> Row: ...
    def __getitem__(self, key: SupportsIndex | slice | str) -> Row | list[Row]:
        """A row by its place, or by the value of the field that names it."""
        if isinstance(key, str):
            found = self.get(key)
            if found is None:
                raise KeyError(key)
            return found
        return super().__getitem__(key)

    def __contains__(self, value: object) -> bool:
        return self.get(value) is not None if isinstance(value, str) else super().__contains__(value)

    def get(self, name: str) -> Row | None:
        """The row of this name, or None."""
        return next((row for row in self if self._name is not None and row.get(self._name) == name), None)

    def keys(self) -> list[str]:
        """The names of the rows."""
        return [str(row[self._name]) for row in self] if self._name is not None else []

    def values(self) -> list[Row]:
        """The rows."""
        return list(self)

    def items(self) -> Iterator[tuple[str, Row]]:
        """Names and rows."""
        return zip(self.keys(), self, strict=False)


#: What rows of an answer are found by.
_NAMES = {"by_model": "model", "by_function": "function", "by_tokens": "user_id", "by_cost": "user_id"}


def row_of(answer: BaseModel) -> Row:
    """An answer as a mapping, its lists as rows."""
    return _row(answer.model_dump(mode="json"))


def rows_of(answers: Iterable[BaseModel], name: str | None = None) -> Rows:
    """Parts of an answer as rows."""
    return Rows((row_of(answer) for answer in answers), name)


def _row(data: dict[str, Any]) -> Row:
    row = Row()
    for name, value in data.items():
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            row[name] = Rows((_row(one) for one in value), _NAMES.get(name))
        elif isinstance(value, dict) and name not in ("costs", "total_costs"):
            row[name] = _row(value)
        else:
            row[name] = value
    if row.get("costs") is None and "costs" in row:
        row["costs"] = {}
    return row
