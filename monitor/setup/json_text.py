"""Edits one value of a JSON, JSONC or JSON5 text and leaves every other byte as its owner wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.setup.json_syntax import Dialect, Member, Node, Parser, TextProblem

_SHORT_LIST = 100

#: A way to a value: keys of objects, and places in lists.
Path = Sequence[str | int]


@dataclass(slots=True)
class _Style:
    newline: str
    unit: str
    colon: str
    comma: str
    unquoted: bool


# -- what is used from outside --------------------------------------------------------------------


def value_at(text: str, path: Path, dialect: Dialect) -> Any:
    """The value at `path`, or None.

    Raises:
        TextProblem: `text` is not valid, or something on the path is no object or list, or is there twice.
    """
    if not text.strip():
        return None
    node: Node | None = Parser(text, dialect).document()
    for depth in range(len(path)):
        if node is None:
            return None
        node, _ = _inside(text, node, path, depth)
    return node.value if node else None


def existing_depth(text: str, path: Path, dialect: Dialect) -> int:
    """How many steps of `path` are there."""
    return next(
        (depth for depth in range(len(path)) if value_at(text, path[: depth + 1], dialect) is None),
        len(path),
    )


def put(text: str, path: Path, value: Any, dialect: Dialect) -> str:
    """The text with `value` at `path`; objects on the way are made. An empty text is an empty object.

    Raises:
        TextProblem: as `value_at`.
    """
    if not text.strip():
        style = _Style("\n", "  ", ": ", ", ", False)
        return _written(_nested(path, value), "", style, spread=True) + "\n"
    parser = Parser(text, dialect)
    root = parser.document()
    node, holder = root, None
    for depth, step in enumerate(path):
        inside, member = _inside(text, node, path, depth)
        if inside is None:
            if isinstance(step, int):
                raise TextProblem(f"{_where(path, depth)} has no entry number {step + 1}", text, node.start)
            edited = _insert(parser, root, node, holder, step, _nested(path[depth + 1 :], value))
            break
        node, holder = inside, member
    else:
        edited = _replace(parser, root, node, holder, value)
    return _checked(edited, _with(root.value, path, value), dialect)


def take(text: str, path: Path, dialect: Dialect, *, keep: int = 0) -> str:
    """The text without what is at `path`, nor objects on the way that held nothing else.

    The first `keep` steps of the path stay, even when they end up empty; so does an object with a comment in it, and
    an entry of a list.

    Raises:
        TextProblem: as `value_at`.
    """
    parser = Parser(text, dialect)
    root = parser.document()
    chain: list[tuple[Node, Member]] = []
    node, first = root, 0
    for depth in range(len(path)):
        inside, member = _inside(text, node, path, depth)
        if inside is None:
            return text
        if member is None:
            chain, first = [], depth + 1
        else:
            chain.append((node, member))
        node = inside
    level = len(chain) - 1
    while level > max(keep - first, 0) and _holds_only(parser, *chain[level]):
        level -= 1
    edited = _remove(parser, *chain[level])
    return _checked(edited, _without(root.value, path[: first + level + 1]), dialect)


def append(text: str, path: Path, value: str, dialect: Dialect) -> str:
    """The text with `value` at the end of the list at `path`, which is there.

    Raises:
        TextProblem: as `value_at`.
    """
    parser, root, node, items = _list(text, path, dialect)
    written = _scalar(value)
    if items:
        last = items[-1]
        before = items[-2].end if len(items) > 1 else node.start + 1
        spread = parser.has_break(before, last.start)
        gap = "\n" + parser.indent(last.start) if spread else " "
        edited = text[: last.end] + "," + gap + written + text[last.end :]
    else:
        edited = text[: node.start + 1] + written + text[node.start + 1 :]
    return _checked(edited, _with(root.value, path, [*node.value, value]), dialect)


def drop(text: str, path: Path, value: str, dialect: Dialect) -> str:
    """The text without `value` in the list at `path`; as it is where the list does not hold it.

    Raises:
        TextProblem: as `value_at`.
    """
    if value not in (value_at(text, path, dialect) or ()):
        return text
    parser, root, node, items = _list(text, path, dialect)
    place = max(number for number, item in enumerate(items) if item.value == value)
    start, end = items[place].start, items[place].end
    before = items[place - 1].end if place else node.start + 1
    after = items[place + 1].start if place + 1 < len(items) else node.end - 1
    if place and not parser.comments_in(before, start):
        start = before
    elif place + 1 < len(items) and not parser.comments_in(end, after):
        end = after
    rest = [*node.value[:place], *node.value[place + 1 :]]
    return _checked(text[:start] + text[end:], _with(root.value, path, rest), dialect)


# -- edits ----------------------------------------------------------------------------------------


def _inside(text: str, node: Node, path: Path, depth: int) -> tuple[Node | None, Member | None]:
    """What the step of `path` at `depth` leads to, and the member that holds it where that is one of an object."""
    step = path[depth]
    if isinstance(step, int):
        if node.items is None:
            raise TextProblem(f"{_where(path, depth)} should be a list ([…])", text, node.start)
        return (node.items[step] if step < len(node.items) else None), None
    member = _member(text, node, path, depth)
    return (member.node if member else None), member


def _where(path: Path, depth: int) -> str:
    return ".".join(str(step) for step in path[:depth]) or "the whole text"


def _list(text: str, path: Path, dialect: Dialect) -> tuple[Parser, Node, Node, list[Node]]:
    parser = Parser(text, dialect)
    root = parser.document()
    node: Node | None = root
    for depth in range(len(path)):
        if node is not None:
            node, _ = _inside(text, node, path, depth)
    if node is None or node.items is None:
        raise TextProblem(f"{_where(path, len(path))} should be a list ([…])", text, node.start if node else 0)
    return parser, root, node, node.items


def _member(text: str, node: Node, path: Path, depth: int) -> Member | None:
    if node.members is None:
        raise TextProblem(f"{_where(path, depth)} should be an object ({{…}})", text, node.start)
    found = [member for member in node.members if member.name == path[depth]]
    if len(found) > 1:
        raise TextProblem(f'"{path[depth]}" is there twice: take one of them out', text, found[1].key_start)
    return found[0] if found else None


def _insert(parser: Parser, root: Node, node: Node, holder: Member | None, name: str, value: Any) -> str:
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


def _replace(parser: Parser, root: Node, node: Node, holder: Member | None, value: Any) -> str:
    text = parser.text
    if node.value == value:
        return text
    style = _style(parser, root, node)
    spread = holder is None or _on_own_line(parser, holder)
    written = _written(value, parser.indent(holder.key_start if holder else 0), style, spread=spread)
    return text[: node.start] + written + text[node.end :]


def _remove(parser: Parser, node: Node, member: Member) -> str:
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


def _holds_only(parser: Parser, node: Node, member: Member) -> bool:
    """Whether `node` has nothing but this member: no other one, and no comment that somebody wrote."""
    comments = [
        place
        for place in parser.comments
        if node.start < place < node.end and not member.node.start <= place < member.node.end
    ]
    return len(node.members or []) == 1 and not comments


def _on_own_line(parser: Parser, member: Member) -> bool:
    return parser.has_break(member.lead, member.key_start)


def _style(parser: Parser, root: Node, node: Node) -> _Style:
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


def _nested(names: Path, value: Any) -> Any:
    for name in reversed(names):
        value = {name: value}
    return value


def _with(whole: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    step = path[0]
    if isinstance(step, int):
        return [*whole[:step], _with(whole[step], path[1:], value), *whole[step + 1 :]]
    return {**whole, step: _with(whole.get(step, {}), path[1:], value)}


def _without(whole: Any, path: Path) -> Any:
    step = path[0]
    if isinstance(step, int):
        return [*whole[:step], _without(whole[step], path[1:]), *whole[step + 1 :]]
    if len(path) == 1:
        return {name: value for name, value in whole.items() if name != step}
    return {**whole, step: _without(whole[step], path[1:])}


def _checked(edited: str, right: Any, dialect: Dialect) -> str:
    """The edited text, once reading it has shown that it says what it should."""
    if Parser(edited, dialect).document().value != right:
        raise TextProblem("this text can't be edited without changing something else in it: edit it by hand", "", 0)
    return edited
