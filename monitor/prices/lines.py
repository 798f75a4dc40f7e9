"""Where in the text of a TOML file a key stands, so that a complaint can point to it."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")


class Lines:
    """The lines of a file, numbered from 1. It is a search, not a parser: where nothing is found, it says None."""

    def __init__(self, text: str) -> None:
        """`text` is known to be TOML."""
        self._lines = text.splitlines()
        self._headers = [
            (number, found[1], line.lstrip().startswith("[["))
            for number, line in enumerate(self._lines, 1)
            if line.lstrip()[:1] == "[" and (found := _HEADER.match(line))
        ]

    def rows(self, kind: str) -> list[int]:
        """The lines of all ``[[kind]]``."""
        return [number for number, name, many in self._headers if many and name == kind]

    def in_row(self, header: int, key: str) -> int | None:
        """The line where the row with its header in line `header` sets `key`."""
        return self._key(key, header + 1, self._end(header))

    def in_table(self, header: int, parent: str, key: str, nth: int) -> int | None:
        """The line of the `nth` time that `key` is set in the tables of the row's `parent`."""
        start = self.in_row(header, parent)
        return None if start is None else self._key(key, start, self._end(header), nth)

    def at(self, *path: str) -> int | None:
        """The line of a key outside rows, such as ``fx``, ``CNY``: of itself, else of what holds it."""
        top_end = self._headers[0][0] if self._headers else len(self._lines) + 1
        for length in range(len(path), 0, -1):
            *tables, key = path[:length]
            named = [number for number, name, _ in self._headers if _parts(name) == path[:length]]
            inside = [number for number, name, _ in self._headers if tables and _parts(name) == tuple(tables)]
            for number in inside:
                found = self._key(key, number + 1, self._end(number))
                if found is not None:
                    return found
            if named:
                return named[0]
            # `fx.CNY = …` and `fx = { CNY = … }` at the top.
            found = self._key(".".join(path[:length]), 1, top_end)
            if found is not None:
                return found
        return None

    def _end(self, header: int) -> int:
        return next((number for number, _, _ in self._headers if number > header), len(self._lines) + 1)

    def _key(self, key: str, start: int, end: int, nth: int = 0) -> int | None:
        setting = re.compile(rf"(?:^|[{{,\s])(?:{re.escape(key)}|([\"']){re.escape(key)}\1)\s*=")
        for number in range(start, end):
            line = self._lines[number - 1]
            if line.lstrip().startswith("#"):
                continue
            count = len(setting.findall(line))
            if count > nth:
                return number
            nth -= count
        return None


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a header's dotted name, without quotes."""
    return tuple(part.strip().strip("\"'") for part in name.split("."))
