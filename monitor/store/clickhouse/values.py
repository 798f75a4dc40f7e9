"""Values on their way to ClickHouse and back: SQL literals, rows to insert, typed rows of an answer.

Rows travel as tab-separated text, which engines of 2018 and of today speak alike, and which holds any byte. A str comes
back as the same str, and bytes as the same bytes where they are asked for as bytes: ClickHouse itself does not tell the
two apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from monitor.store.base import StoreError

Row: TypeAlias = tuple[Any, ...]

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
_TABLE = str.maketrans(_ESCAPES)
_MEANT = {escape[1]: char for char, escape in _ESCAPES.items()}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = re.compile("[\\\\'\t\n\r\0\b\f\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
#: What stands in a literal as it is; all other bytes are written in hexadecimal.
_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("\\"), ord("'")}
_LEAST, _MOST = -(2**63), 2**64 - 1


# -- to the engine --------------------------------------------------------------------------------


def literal(value: object) -> str:
    """`value` as it stands in SQL: a list is an array, a tuple what comes after IN.

    Raises ValueError for an empty tuple, which SQL does not know, and for a number of more than 64 bits; TypeError for
    anything else that has no exact literal.
    """
    match value:
        case None:
            return "NULL"
        case str():
            return f"'{value.translate(_TABLE)}'" if not _SURROGATES.search(value) else literal(_bytes(value))
        case bytes():
            return "'" + "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02X}" for byte in value) + "'"
        case int():
            return _int(value)
        case float():
            return repr(value)
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case tuple() if value:
            return f"({', '.join(map(literal, value))})"
        case tuple():
            raise ValueError("nothing is IN an empty tuple: leave the question out")
        case _:
            raise TypeError(f"no SQL literal stands for a {type(value).__name__}")


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """`rows` as TabSeparatedWithNames. Raises as `literal` does.

    The names are there because today's engine takes a first row that looks like names for the names.
    """
    text = ["\t".join(columns)]
    text += ["\t".join(map(_field, row)) for row in rows]
    text.append("")
    return "\n".join(text).encode("utf-8", "surrogateescape")


def _field(value: object) -> str:
    """One field of a line: text in which a lone surrogate stands for a byte that is no UTF-8."""
    if isinstance(value, str):
        return _escape(value) if _SPECIAL.search(value) else value
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape").translate(_TABLE)
    if isinstance(value, list | tuple):
        opening, closing = "[]" if isinstance(value, list) else "()"
        return opening + ",".join(map(_item, value)) + closing
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int):
        return _int(value)
    if isinstance(value, float):
        return repr(value)
    raise TypeError(f"no column takes a {type(value).__name__}")


def _item(value: object) -> str:
    if isinstance(value, str | bytes):
        return f"'{_field(value)}'"
    return "NULL" if value is None else _field(value)


def _escape(value: str) -> str:
    if _SURROGATES.search(value):
        value = _bytes(value).decode("utf-8", "surrogateescape")
    return value.translate(_TABLE)


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _int(value: int) -> str:
    if not _LEAST <= value <= _MOST:
        raise ValueError(f"{value} has more than 64 bits")
    return str(int(value))


# -- and back -------------------------------------------------------------------------------------

_Reader: TypeAlias = Callable[[str], Any]


def rows(payload: bytes, blobs: Collection[str] = ()) -> list[Row]:
    """The rows of an answer in TabSeparatedWithNamesAndTypes; the columns named in `blobs` come as bytes.

    Numbers are numbers, a FixedString is bytes, arrays are lists, NULL is None; dates, times and UUIDs stay text.
    Raises StoreError on a type that is not read, or where there is no such answer.
    """
    try:
        text = payload.decode()
        broken = False
    except UnicodeDecodeError:
        text = payload.decode("utf-8", "surrogateescape")
        broken = True
    given = text.split("\n")
    if len(given) < 3 or given.pop():
        raise StoreError("ClickHouse's answer is not whole; ask again")
    names = [_plain(name) for name in given[0].split("\t")]
    kinds = [_plain(kind) for kind in given[1].split("\t")]
    if len(given) == 2:
        return []
    try:
        columns = zip(*(line.split("\t") for line in given[2:]), strict=True)
        read = [
            _column(_reader(kind, name in blobs), column, kind, broken)
            for name, kind, column in zip(names, kinds, columns, strict=True)
        ]
        return list(zip(*read, strict=True))
    except (ValueError, ArithmeticError):
        raise StoreError("ClickHouse's answer is not what its head says; ask again") from None


def _column(reader: _Reader, column: Sequence[str], kind: str, broken: bool) -> Iterable[object]:
    """The values of a column. Most strings need nothing done to them, and most answers hold no odd byte at all."""
    if "Nullable(" in kind:
        return [None if item == "\\N" else reader(item) for item in column]
    if reader is _text and not broken:
        return [_plain(item) if "\\" in item else item for item in column]
    return map(reader, column)


def _reader(kind: str, blob: bool) -> _Reader:
    """What makes a value of a field of type `kind`, NULL apart."""
    name, _, inner = kind.partition("(")
    inner = inner.removesuffix(")")
    match name:
        case "String":
            return _blob if blob else _text
        case "FixedString":
            return _blob
        case "Nullable" | "LowCardinality":
            return _reader(inner, blob)
        case "SimpleAggregateFunction":
            return _reader(_split(inner)[1], blob)
        case "Array" | "Tuple":
            return lambda field: _Composite(field, blob).value(kind)
        case "Bool":
            return lambda field: field in {"true", "1"}
        case "Float32" | "Float64":
            return float
        case "Decimal" | "Decimal32" | "Decimal64" | "Decimal128":
            return Decimal
        case "Date" | "Date32" | "DateTime" | "DateTime64" | "UUID" | "Enum8" | "Enum16" | "IPv4" | "IPv6":
            return _text
        case "Nothing":
            return lambda field: None
    if re.fullmatch(r"U?Int[0-9]+", name):
        return int
    raise StoreError(f"a column of type {kind[:80]} can't be read; convert it in the question")


def _text(field: str) -> str:
    value = _plain(field) if "\\" in field else field
    if not _SURROGATES.search(value):
        return value
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value


def _blob(field: str) -> bytes:
    return (_plain(field) if "\\" in field else field).encode("utf-8", "surrogateescape")


def _plain(field: str) -> str:
    return _ESCAPE.sub(lambda found: _MEANT.get(found[1], found[1]), field)


class _Composite:
    """Reads an array or a tuple, which stand in a field as they stand in SQL."""

    _quoted = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
    _bare = re.compile(r"[^,\])]+")

    def __init__(self, field: str, blob: bool) -> None:
        self._field = field
        self._blob = blob
        self._at = 0

    def value(self, kind: str) -> Any:
        """The value that stands next, of type `kind`."""
        name, _, inner = kind.partition("(")
        inner = inner.removesuffix(")")
        if name == "Array":
            items: list[Any] = []
            self._take("[")
            while self._next() != "]":
                items.append(self.value(inner))
                self._skip_comma()
            self._take("]")
            return items
        if name == "Tuple":
            parts: list[Any] = []
            self._take("(")
            for part in _split(inner):
                parts.append(self.value(part))
                self._skip_comma()
            self._take(")")
            return tuple(parts)
        return self._scalar(kind)

    def _scalar(self, kind: str) -> Any:
        if self._next() == "'":
            return _reader(kind, self._blob)(self._match(self._quoted)[1])
        bare = self._match(self._bare)[0]
        return None if bare == "NULL" else _reader(kind, self._blob)(bare)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self._field, self._at)
        if found is None:
            raise StoreError(f"ClickHouse's answer can't be read: {self._field[:80]!r}")
        self._at = found.end()
        return found

    def _next(self) -> str:
        return self._field[self._at : self._at + 1]

    def _take(self, sign: str) -> None:
        if self._next() != sign:
            raise StoreError(f"ClickHouse's answer can't be read: {self._field[:80]!r}")
        self._at += 1

    def _skip_comma(self) -> None:
        if self._next() == ",":
            self._at += 1


def _split(inner: str) -> list[str]:
    """The types between the commas of `inner`, without the names that the parts of a tuple may have."""
    found, depth, start = [], 0, 0
    for at, sign in enumerate(f"{inner},"):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            found.append(inner[start:at].strip())
            start = at + 1
    return [re.sub(r"^[A-Za-z_]\w* (?=[A-Z])", "", part) for part in found]
