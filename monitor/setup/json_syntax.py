"""Reads JSON, JSONC and JSON5 and remembers where everything stands, for edits."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

_DEEPEST = 200


class Dialect(Enum):
    """What a program accepts in its file."""

    JSON = "JSON"
    JSONC = "JSON with comments"
    JSON5 = "JSON5"


class TextProblem(ValueError):
    """The text is not what it should be, at a line and a column (both from 1)."""

    def __init__(self, reason: str, text: str, position: int) -> None:
        before = text[:position]
        breaks = list(re.finditer(r"\r\n|\n|\r", before))
        self.reason = reason
        self.line = len(breaks) + 1
        self.column = position - (breaks[-1].end() if breaks else 0) + 1
        super().__init__(f"line {self.line}, column {self.column}: {reason}")


@dataclass(slots=True)
class Member:
    """One ``key: value`` of an object, with the places that an edit needs."""

    name: str
    #: After the comma or brace before it.
    lead: int
    key_start: int
    #: End of the comment, comma or brace before the key, and whether that was a ``//`` comment.
    token_end: int
    after_line_comment: bool
    node: Node
    comma: int | None = None


@dataclass(slots=True)
class Node:
    """A value, and where it stands."""

    start: int
    end: int
    value: Any
    members: list[Member] | None = None
    #: What a list holds.
    items: list[Node] | None = None


_STRICT_SPACE = re.compile(r"[ \t\n\r]+")
_WIDE_SPACE = re.compile(r"[ \t\n\r\v\f\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+")
_STRICT_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WIDE_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F]+|Infinity|NaN"
    r"|(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
)
_WORD = re.compile(r"[\w$\u200c\u200d\\]+")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", '"': '"', "\\": "\\"}
_WORDS = {"null": None, "true": True, "false": False}
#: One object, so that two readings of a text compare equal.
_NAN = math.nan


@dataclass
class Parser:
    """Reads one text; what it met on the way stays known."""

    text: str
    dialect: Dialect
    position: int = 0
    depth: int = 0
    #: Where comments begin, and where they end.
    comments: dict[int, int] = field(default_factory=dict)
    token_end: int = 0
    in_line_comment: bool = False

    def document(self) -> Node:
        """The whole text, read from its beginning."""
        if self.text.startswith("\ufeff"):
            self.position = 1
        self._space()
        node = self._value()
        self._space()
        if self.position < len(self.text):
            self._fail("there is more after the end of the value")
        return node

    # places

    @property
    def _breaks(self) -> str:
        return "\n\r\u2028\u2029" if self.dialect is Dialect.JSON5 else "\n\r"

    def has_break(self, start: int, end: int, text: str | None = None) -> bool:
        """Whether a line ends between the two places."""
        return any(char in self._breaks for char in (self.text if text is None else text)[start:end])

    def indent(self, position: int) -> str:
        """The blanks with which the line of `position` begins."""
        start = max(self.text.rfind("\n", 0, position), self.text.rfind("\r", 0, position)) + 1
        found = re.compile(r"[ \t]*").match(self.text, start, position)
        return found.group() if found else ""

    def after_comments(self, position: int) -> tuple[int, bool]:
        """The end of the comments that stand on the line of `position` after it; whether they end the line."""
        end = position
        while True:
            while position < len(self.text) and self.text[position].isspace() and not self.breaks_at(position):
                position += 1
            if position not in self.comments:
                return end, False
            stop = self.comments[position]
            if self.text.startswith("//", position):
                return stop, True
            if self.has_break(position, stop):
                return end, False
            end = position = stop

    def breaks_at(self, position: int) -> bool:
        """Whether the line ends here, blanks aside."""
        while position < len(self.text) and self.text[position] not in self._breaks:
            if not self.text[position].isspace():
                return False
            position += 1
        return True

    def past_break(self, position: int) -> int:
        """The place after the line end that stands here."""
        while self.text[position] not in self._breaks:
            position += 1
        return position + (2 if self.text.startswith("\r\n", position) else 1)

    def comments_in(self, start: int, end: int) -> bool:
        """Whether a comment begins between the two places."""
        return any(start <= place < end for place in self.comments)

    def _comment_end(self, start: int) -> int:
        if self.text.startswith("/*", start):
            return self.text.index("*/", start + 2) + 2
        return next((at for at in range(start, len(self.text)) if self.text[at] in self._breaks), len(self.text))

    # reading

    def _fail(self, reason: str, position: int | None = None) -> NoReturn:
        raise TextProblem(reason, self.text, self.position if position is None else position)

    def _space(self) -> None:
        """Go to the next token; remember where the last comment ended, if one was passed."""
        self.token_end, self.in_line_comment = self.position, False
        space = _WIDE_SPACE if self.dialect is Dialect.JSON5 else _STRICT_SPACE
        while True:
            if found := space.match(self.text, self.position):
                self.position = found.end()
            if not self.text.startswith(("//", "/*"), self.position):
                return
            if self.dialect is Dialect.JSON:
                self._fail("a comment, which this file's program does not read")
            line = self.text[self.position + 1] == "/"
            if not line and self.text.find("*/", self.position + 2) < 0:
                self._fail("a comment that does not end")
            end = self._comment_end(self.position)
            self.comments[self.position] = end
            self.position = end
            self.token_end, self.in_line_comment = self.position, line

    def _value(self) -> Node:
        start = self.position
        char = self.text[start : start + 1]
        if char == "{":
            return self._nest(self._object)
        if char == "[":
            return self._nest(self._array)
        if char == '"' or (char == "'" and self.dialect is Dialect.JSON5):
            text = self._string()
            return Node(start, self.position, text)
        for word, value in _WORDS.items():
            if self.text.startswith(word, start) and not _WORD.match(self.text, start + len(word)):
                self.position = start + len(word)
                return Node(start, self.position, value)
        number = (_WIDE_NUMBER if self.dialect is Dialect.JSON5 else _STRICT_NUMBER).match(self.text, start)
        if number and not _WORD.match(self.text, number.end()):
            self.position = number.end()
            return Node(start, self.position, _number(number.group()))
        return self._unexpected("a value")

    def _nest(self, read: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            self._fail(f"more than {_DEEPEST} levels deep")
        node = read()
        self.depth -= 1
        return node

    def _object(self) -> Node:
        start = self.position
        self.position += 1
        members: list[Member] = []
        while True:
            lead = self.position
            self._space()
            if self._closes("}", members[-1].comma if members else None):
                value = {member.name: member.node.value for member in members}
                return Node(start, self.position, value, members)
            if members and members[-1].comma is None:
                self._unexpected("a comma or }")
            token_end, after_line_comment, key_start = self.token_end, self.in_line_comment, self.position
            name = self._name()
            self._space()
            if not self.text.startswith(":", self.position):
                self._unexpected(f'a colon after "{name}"')
            self.position += 1
            self._space()
            members.append(Member(name, lead, key_start, token_end, after_line_comment, self._value()))
            self._space()
            if self.text.startswith(",", self.position):
                members[-1].comma = self.position
                self.position += 1

    def _array(self) -> Node:
        start = self.position
        self.position += 1
        items: list[Node] = []
        comma: int | None = None
        while True:
            self._space()
            if self._closes("]", comma):
                return Node(start, self.position, [item.value for item in items], items=items)
            if items and comma is None:
                self._unexpected("a comma or ]")
            items.append(self._value())
            self._space()
            comma = None
            if self.text.startswith(",", self.position):
                comma = self.position
                self.position += 1

    def _closes(self, bracket: str, comma: int | None) -> bool:
        if not self.text.startswith(bracket, self.position):
            return False
        if comma is not None and self.dialect is Dialect.JSON:
            self._fail(f"a comma before {bracket}, which this file's program does not read", comma)
        self.position += 1
        return True

    def _name(self) -> str:
        char = self.text[self.position : self.position + 1]
        if char == '"' or (char == "'" and self.dialect is Dialect.JSON5):
            return self._string()
        word = _WORD.match(self.text, self.position)
        if word is None or self.dialect is not Dialect.JSON5:
            self._unexpected("a key in double quotes or }" if self.dialect is not Dialect.JSON5 else "a key or }")
        name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code.group(1), 16)), word.group())
        if not all(_in_word(char, first=at == 0) for at, char in enumerate(name)):
            self._fail(f"{word.group()} can only be a key in quotes")
        self.position = word.end()
        return name

    def _string(self) -> str:
        start, text = self.position, self.text
        quote = text[start]
        stop = re.compile(rf"[{quote}\\\n\r]" if self.dialect is Dialect.JSON5 else r'["\\\x00-\x1f]')
        parts: list[str] = []
        self.position += 1
        while True:
            found = stop.search(text, self.position)
            if found is None:
                self._fail("a string that does not end", start)
            parts.append(text[self.position : found.start()])
            self.position = found.start()
            if found.group() == quote:
                self.position += 1
                return "".join(parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
            if found.group() != "\\":
                self._fail("a line end or control character inside a string")
            parts.append(self._escape())

    def _escape(self) -> str:
        at, text = self.position, self.text
        char = text[at + 1 : at + 2]
        self.position += 2
        digits = {"u": 4, "x": 2}.get(char)
        if digits == 4 or (digits == 2 and self.dialect is Dialect.JSON5):
            code = re.compile(rf"[0-9a-fA-F]{{{digits}}}").match(text, at + 2)
            if code is None:
                self._fail(f"\\{char} needs {digits} hexadecimal digits", at)
            self.position = code.end()
            return chr(int(code.group(), 16))
        if char in _ESCAPED:
            return _ESCAPED[char]
        if self.dialect is not Dialect.JSON5 or not char or char in "123456789":
            self._fail(f"\\{char} is not an escape that this file's program reads", at)
        if char == "0":
            if text[self.position : self.position + 1].isdigit():
                self._fail("a number after \\0", at)
            return "\0"
        if char in self._breaks:
            if text.startswith("\r\n", at + 1):
                self.position += 1
            return ""
        return "\v" if char == "v" else char

    def _unexpected(self, wanted: str) -> NoReturn:
        char = self.text[self.position : self.position + 1]
        self._fail(f"expected {wanted}, found {_shown(char) if char else 'the end'}")


def _shown(char: str) -> str:
    return char if char.isprintable() and char != " " else f"U+{ord(char):04X}"


def _in_word(char: str, *, first: bool) -> bool:
    category = unicodedata.category(char)
    if char in "$_" or category in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nl"):
        return True
    return not first and (char in "\u200c\u200d" or category in ("Mn", "Mc", "Nd", "Pc"))


def _number(text: str) -> float:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if digits == "NaN":
        return _NAN
    if digits == "Infinity":
        return sign * math.inf
    if digits[:2] in ("0x", "0X"):
        return sign * int(digits, 16)
    return sign * (int(digits) if digits.isdigit() and len(digits) < 4000 else float(digits))
