"""Edits one member of a JSON, JSONC or JSON5 text and leaves every other byte as its owner wrote it."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

_DEEPEST = 200
_SHORT_LIST = 100


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


@dataclass(slots=True)
class _Style:
    newline: str
    unit: str
    colon: str
    comma: str
    unquoted: bool


# -- what is used from outside --------------------------------------------------------------------


def value_at(text: str, path: Sequence[str], dialect: Dialect) -> Any:
    """The value at `path`, or None.

    Raises:
        TextProblem: `text` is not valid, or something on the path is no object or is there twice.
    """
    if not text.strip():
        return None
    node: Node | None = _Parser(text, dialect).document()
    for depth in range(len(path)):
        if node is None:
            return None
        member = _member(text, node, path, depth)
        node = member.node if member else None
    return node.value if node else None


def existing_depth(text: str, path: Sequence[str], dialect: Dialect) -> int:
    """How many names of `path` are there."""
    return next(
        (depth for depth in range(len(path)) if value_at(text, path[: depth + 1], dialect) is None),
        len(path),
    )


def put(text: str, path: Sequence[str], value: Any, dialect: Dialect) -> str:
    """The text with `value` at `path`; objects on the way are made. An empty text is an empty object.

    Raises:
        TextProblem: as `value_at`.
    """
    if not text.strip():
        style = _Style("\n", "  ", ": ", ", ", False)
        return _written(_nested(path, value), "", style, spread=True) + "\n"
    parser = _Parser(text, dialect)
    root = parser.document()
    node, holder = root, None
    for depth in range(len(path)):
        member = _member(text, node, path, depth)
        if member is None:
            edited = _insert(parser, root, node, holder, path[depth], _nested(path[depth + 1 :], value))
            break
        node, holder = member.node, member
    else:
        edited = _replace(parser, root, node, holder, value)
    return _checked(edited, _with(root.value, path, value), dialect)


def take(text: str, path: Sequence[str], dialect: Dialect, *, keep: int = 0) -> str:
    """The text without what is at `path`, nor objects on the way that held nothing else.

    The first `keep` names of the path stay, even when they end up empty; so does an object with a comment in it.

    Raises:
        TextProblem: as `value_at`.
    """
    parser = _Parser(text, dialect)
    root = parser.document()
    chain: list[tuple[Node, Member]] = []
    node = root
    for depth in range(len(path)):
        member = _member(text, node, path, depth)
        if member is None:
            return text
        chain.append((node, member))
        node = member.node
    level = len(chain) - 1
    while level > max(keep, 0) and _holds_only(parser, *chain[level]):
        level -= 1
    edited = _remove(parser, *chain[level])
    return _checked(edited, _without(root.value, path[: level + 1]), dialect)


# -- edits ----------------------------------------------------------------------------------------


def _member(text: str, node: Node, path: Sequence[str], depth: int) -> Member | None:
    if node.members is None:
        where = ".".join(path[:depth]) or "the whole text"
        raise TextProblem(f"{where} should be an object ({{…}})", text, node.start)
    found = [member for member in node.members if member.name == path[depth]]
    if len(found) > 1:
        raise TextProblem(f'"{path[depth]}" is there twice: take one of them out', text, found[1].key_start)
    return found[0] if found else None


def _insert(parser: _Parser, root: Node, node: Node, holder: Member | None, name: str, value: Any) -> str:
    text, members = parser.text, node.members or []
    style = _style(parser, root, node)
    last = members[-1] if members else None
    if last is None:
        spread = holder is None or _on_own_line(parser, holder) or parser.has_break(node.start, node.end)
        indent = parser.indent(node.start) + style.unit
        token_end = node.start + 1
    else:
        spread = _on_own_line(parser, last)
        indent = parser.indent(last.key_start) if spread else parser.indent(node.start) + style.unit
        token_end = last.node.end if last.comma is None else last.comma + 1
    place, line_ends = parser.after_comments(token_end)
    spread = spread or line_ends
    key = _key(name, style)
    written = key + style.colon + _written(value, indent if spread else None, style, spread=spread)
    if spread:
        gap = style.newline + indent
    else:
        gap = style.comma[1:] if last or place > token_end else ""
    after = ""
    if last is None and spread and not parser.has_break(place, node.end):
        after = style.newline + parser.indent(node.start)
    elif last is not None and last.comma is not None:
        after = ","
    addition = gap + written + after
    if last is not None and last.comma is None:
        return text[: last.node.end] + "," + text[last.node.end : place] + addition + text[place:]
    return text[:place] + addition + text[place:]


def _replace(parser: _Parser, root: Node, node: Node, holder: Member | None, value: Any) -> str:
    text = parser.text
    if node.value == value:
        return text
    style = _style(parser, root, node)
    spread = holder is None or _on_own_line(parser, holder)
    written = _written(value, parser.indent(holder.key_start if holder else 0), style, spread=spread)
    return text[: node.start] + written + text[node.end :]


def _remove(parser: _Parser, node: Node, member: Member) -> str:
    text, members = parser.text, node.members or []
    position = members.index(member)
    start, end = member.token_end, member.node.end
    cuts = []
    rest = end
    if member.comma is not None:
        if not text[end : member.comma].strip():
            end = rest = member.comma + 1
        else:
            cuts.append((member.comma, member.comma + 1))
    elif position and (before := members[position - 1].comma) is not None:
        cuts.append((before, before + 1))
    if member.after_line_comment and not parser.breaks_at(rest):
        # What follows must not become part of the comment.
        start = parser.past_break(start)
    cuts.append((start, end))
    edited = text
    for first, last in sorted(cuts, reverse=True):
        edited = edited[:first] + edited[last:]
    if len(members) == 1:
        inner_start, inner_end = node.start + 1, node.end - 1 - sum(last - first for first, last in cuts)
        inner = edited[inner_start:inner_end]
        if not inner.strip() and parser.has_break(0, len(inner), inner):
            edited = edited[:inner_start] + edited[inner_end:]
    return edited


def _holds_only(parser: _Parser, node: Node, member: Member) -> bool:
    """Whether `node` has nothing but this member: no other one, and no comment that somebody wrote."""
    comments = [
        place
        for place in parser.comments
        if node.start < place < node.end and not member.node.start <= place < member.node.end
    ]
    return len(node.members or []) == 1 and not comments


def _on_own_line(parser: _Parser, member: Member) -> bool:
    return parser.has_break(member.lead, member.key_start)


def _style(parser: _Parser, root: Node, node: Node) -> _Style:
    text = parser.text
    newline = re.search(r"\r\n|\n|\r", text)
    first = root.members[0] if root.members else None
    unit = ""
    if first is not None and _on_own_line(parser, first):
        unit = parser.indent(first.key_start).removeprefix(parser.indent(root.start))
    spaced = first is None or text[first.node.start - 1] != ":" or parser.has_break(root.start, root.end)
    siblings = node.members or root.members or []
    return _Style(
        newline=newline.group() if newline else "\n",
        unit=unit or "  ",
        colon=": " if spaced else ":",
        comma=", " if spaced else ",",
        unquoted=bool(siblings) and text[siblings[-1].key_start] not in "\"'",
    )


def _key(name: str, style: _Style) -> str:
    return name if style.unquoted and re.fullmatch(r"[A-Za-z_$][\w$]*", name, re.ASCII) else _scalar(name)


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _written(value: Any, indent: str | None, style: _Style, *, spread: bool) -> str:
    indent = indent or ""
    inner, between = indent + style.unit, "," + style.newline
    if isinstance(value, Mapping):
        pairs = [
            _key(name, style) + style.colon + _written(item, inner, style, spread=spread)
            for name, item in value.items()
        ]
        if not spread or not pairs:
            return "{" + style.comma.join(pairs) + "}"
        body = between.join(inner + pair for pair in pairs)
        return f"{{{style.newline}{body}{style.newline}{indent}}}"
    if isinstance(value, list):
        items = [_written(item, inner, style, spread=False) for item in value]
        line = "[" + style.comma.join(items) + "]"
        if not spread or len(indent) + len(line) <= _SHORT_LIST:
            return line
        return "[" + style.newline + between.join(inner + item for item in items) + style.newline + indent + "]"
    return _scalar(value)


def _nested(names: Sequence[str], value: Any) -> Any:
    for name in reversed(names):
        value = {name: value}
    return value


def _with(whole: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    return {**whole, path[0]: _with(whole.get(path[0], {}), path[1:], value)}


def _without(whole: Any, path: Sequence[str]) -> Any:
    if len(path) == 1:
        return {name: value for name, value in whole.items() if name != path[0]}
    return {**whole, path[0]: _without(whole[path[0]], path[1:])}


def _checked(edited: str, right: Any, dialect: Dialect) -> str:
    """The edited text, once reading it has shown that it says what it should."""
    if _Parser(edited, dialect).document().value != right:
        raise TextProblem("this text can't be edited without changing something else in it: edit it by hand", "", 0)
    return edited


# -- reading --------------------------------------------------------------------------------------

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
class _Parser:
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
        values: list[Any] = []
        comma: int | None = None
        while True:
            self._space()
            if self._closes("]", comma):
                return Node(start, self.position, values)
            if values and comma is None:
                self._unexpected("a comma or ]")
            values.append(self._value().value)
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
