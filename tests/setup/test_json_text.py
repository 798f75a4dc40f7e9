"""Editing somebody's configuration: only our member changes, and taking it out gives back every byte."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from monitor.setup.json_syntax import Dialect, TextProblem
from monitor.setup.json_text import append, drop, put, take, value_at

PATH = ("mcp", "servers", "session-monitor")
ENTRY = {"command": "/opt/session monitor/bin/session-monitor", "args": ["serve", "--log-path", "/日志/a\\b.log"]}

# -- JSON5 texts of every shape ---------------------------------------------------------------------

_COMMENTS = ["/* c */", "/**/", "// c{\n", "//\r\n", "/* , } \n */", "// \u2028"]
_SPACES = ["", "", " ", "\n", "\r\n", "\t", "\n\n  ", "\u00a0", "\r"]
_trivia = st.lists(st.sampled_from(_SPACES + _COMMENTS), max_size=3).map("".join)
_names = st.sampled_from(["a", "b", "$ref", "名", "x y", "", "mcpServers", "session-monitor2", "it's"])
_scalars = st.sampled_from(
    [
        ("null", None),
        ("true", True),
        ("false", False),
        ("0x1F", 31),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+1e3", 1000.0),
        ("-Infinity", -math.inf),
        ("'it\\'s \"it\"'", 'it\'s "it"'),
        ('"a\\\nb\\x41\\u00e9\\0"', "abAé\0"),
        ('"// no comment /* \t"', "// no comment /* \t"),
        ("'\\ud83d\\ude00'", "😀"),
    ]
)
Written = tuple[str, Any]


def _key(name: str, kind: int) -> str:
    if kind == 0 and name.isidentifier():
        return name
    if kind == 1:
        return "'" + name.replace("'", "\\'") + "'"
    return json.dumps(name, ensure_ascii=kind == 2)


@st.composite
def _object(draw: st.DrawFn, values: st.SearchStrategy[Written], inner: tuple[str, Written] | None = None) -> Written:
    members = draw(st.lists(st.tuples(_names, values), max_size=3, unique_by=lambda pair: pair[0]))
    if inner is not None:
        members.insert(draw(st.integers(0, len(members))), inner)
    parts = []
    for number, (name, (text, _)) in enumerate(members):
        key = _key(name, draw(st.integers(0, 3)))
        last = number == len(members) - 1
        comma = "," if not last or draw(st.booleans()) else ""
        gaps = [draw(_trivia) for _ in range(4)]
        parts.append(f"{gaps[0]}{key}{gaps[1]}:{gaps[2]}{text}{gaps[3]}{comma}")
    return "{" + "".join(parts) + draw(_trivia) + "}", {name: value for name, (_, value) in members}


@st.composite
def _array(draw: st.DrawFn, values: st.SearchStrategy[Written]) -> Written:
    items = draw(st.lists(values, max_size=3))
    body = ",".join(draw(_trivia) + text + draw(_trivia) for text, _ in items)
    trailing = draw(st.booleans())
    return "[" + body + ("," if items and trailing else "") + draw(_trivia) + "]", [v for _, v in items]


_values = st.recursive(_scalars, lambda inner: _object(inner) | _array(inner), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> Written:
    """A configuration with no, some or all of the objects on the way to our entry."""
    depth = draw(st.integers(0, 2))
    inner: tuple[str, Written] | None = None
    for name in reversed(PATH[:depth]):
        inner = (name, draw(_object(_values, inner)))
    text, value = draw(_object(_values, inner))
    return draw(st.sampled_from(["", "\ufeff"])) + draw(_trivia) + text + draw(_trivia), value


def _with(whole: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    rest = value if len(path) == 1 else _with(whole.get(path[0], {}), path[1:], value)
    return {**whole, path[0]: rest}


@settings(max_examples=150, deadline=None)
@given(documents())
@example(("{a:1// c\n}", {"a": 1}))
@example(("{/* a\n*/}", {}))
@example(('{"mcp":{"servers":{}//\r\n}}', {"mcp": {"servers": {}}}))
def test_our_member_is_all_that_a_reader_sees_change(document: Written) -> None:
    text, value = document
    assert value_at(text, (), Dialect.JSON5) == value
    edited = put(text, PATH, ENTRY, Dialect.JSON5)
    assert value_at(edited, (), Dialect.JSON5) == _with(value, PATH, ENTRY)
    assert put(edited, PATH, ENTRY, Dialect.JSON5) == edited


def _brackets(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=150, deadline=None)
@given(documents())
def test_taking_it_out_again_gives_back_all_but_blanks_in_what_was_empty(document: Written) -> None:
    text, value = document
    depth = 0
    there: Any = value
    while depth < len(PATH) - 1 and isinstance(there.get(PATH[depth]), dict):
        there = there[PATH[depth]]
        depth += 1
    again = take(put(text, PATH, ENTRY, Dialect.JSON5), PATH, Dialect.JSON5, keep=depth)
    assert _brackets(again) == _brackets(text)
    if there:
        assert again == text


@settings(max_examples=100, deadline=None)
@given(documents(), st.sampled_from(["x", "y", "z"]))
def test_another_member_added_after_ours_survives(document: Written, name: str) -> None:
    text, value = document
    both = put(put(text, PATH, ENTRY, Dialect.JSON5), (*PATH[:2], name), [], Dialect.JSON5)
    assert value_at(take(both, PATH, Dialect.JSON5), (), Dialect.JSON5) == _with(value, (*PATH[:2], name), [])


@settings(max_examples=100, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=3), st.integers(0, 2))
def test_an_entry_of_a_list_is_edited_like_any_object(written: list[Written], place: int) -> None:
    place %= len(written)
    texts = [text.removeprefix("\ufeff") for text, _ in written]
    text = "{models: [" + ",\n".join(f"{one}\n" for one in texts) + "]}"
    path = ("models", place, "compat", "sendSessionAffinityHeaders")
    edited = put(text, path, True, Dialect.JSON5)
    models = [value for _, value in written]
    models[place] = {**models[place], "compat": {"sendSessionAffinityHeaders": True}}
    assert value_at(edited, (), Dialect.JSON5) == {"models": models}
    again = take(edited, path, Dialect.JSON5, keep=2)
    assert _brackets(again) == _brackets(text)
    if written[place][1]:
        assert again == text


@settings(max_examples=150, deadline=None)
@given(_array(_scalars))
@example(('["a", // first\n]', ["a"]))
@example(("[/* none */]", []))
def test_what_is_added_to_a_list_can_be_dropped_again(written: Written) -> None:
    text, items = written
    whole = "{allow: " + text + "}"
    longer = append(whole, ("allow",), "session-monitor", Dialect.JSON5)
    assert value_at(longer, ("allow",), Dialect.JSON5) == [*items, "session-monitor"]
    assert drop(longer, ("allow",), "session-monitor", Dialect.JSON5) == whole
    assert drop(whole, ("allow",), "session-monitor", Dialect.JSON5) == whole


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('["x", "a"]', '["a"]'),
        ('["x"]', "[]"),
        ('[\n  "a",\n  "x",\n  "b",\n]', '[\n  "a",\n  "b",\n]'),
        ('["a", /* mine */ "x", "b"]', '["a", /* mine */ "b"]'),
    ],
)
def test_what_surrounds_an_item_stays(text: str, left: str) -> None:
    assert drop(text, (), "x", Dialect.JSON5) == left


def test_a_list_of_lines_gets_a_line() -> None:
    assert append('[\n  "a",\n  "b"\n]', (), "c", Dialect.JSON5) == '[\n  "a",\n  "b",\n  "c"\n]'


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=4), _json, max_size=4), st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_what_was_strict_json_stays_strict_json(value: dict[str, Any], indent: int | str | None, narrow: bool) -> None:
    assume("mcpServers" not in value)
    text = json.dumps(value, indent=indent, separators=(",", ":") if narrow else None, ensure_ascii=False)
    edited = put(text, ("mcpServers", "session-monitor"), ENTRY, Dialect.JSON)
    assert json.loads(edited) == {**value, "mcpServers": {"session-monitor": ENTRY}}
    assert take(edited, ("mcpServers", "session-monitor"), Dialect.JSON) == text


# -- single cases -------------------------------------------------------------------------------------


def test_it_is_written_as_the_rest_of_the_file_is() -> None:
    text = "{\r\n\ta: {x: 1},\r\n\tmcp: { // ours\r\n\t},\r\n}\r\n"
    edited = put(text, ("mcp", "session-monitor"), {"command": "c", "args": ["serve"]}, Dialect.JSON5)
    assert edited == (
        "{\r\n\ta: {x: 1},\r\n\tmcp: { // ours\r\n"
        '\t\t"session-monitor": {\r\n\t\t\tcommand: "c",\r\n\t\t\targs: ["serve"]\r\n\t\t}'
        "\r\n\t},\r\n}\r\n"
    )


def test_a_file_on_one_line_stays_on_one_line() -> None:
    assert put('{"a":1}\n', ("s", "m"), {"args": [1, 2]}, Dialect.JSON) == '{"a":1,"s":{"m":{"args":[1,2]}}}\n'
    assert put('{ "a": 1 }', ("s", "m"), {"args": [1, 2]}, Dialect.JSON) == '{ "a": 1, "s": {"m": {"args": [1, 2]}} }'


def test_a_long_list_gets_a_line_for_each_item() -> None:
    edited = put("{}", ("args",), ["x" * 60, "y" * 60], Dialect.JSON)
    assert edited == '{\n  "args": [\n    "' + "x" * 60 + '",\n    "' + "y" * 60 + '"\n  ]\n}'


def test_a_value_is_replaced_in_its_place() -> None:
    text = '{\n  "a": {"old": true}, // note\n  "b": 2\n}'
    assert put(text, ("a",), "new", Dialect.JSON5) == '{\n  "a": "new", // note\n  "b": 2\n}'


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("{a:1, // c\n m:2}", "{a:1 // c\n }"),
        ("{// c\n m:2}", "{// c\n}"),
        ("{m:2 /* mine */, b:1}", "{ /* mine */ b:1}"),
        ("{a:1,\n\n  // about m\n  m: 2, // after\n  b: 3}", "{a:1,\n\n  // about m // after\n  b: 3}"),
        ("{a:1, m:2,}", "{a:1,}"),
        ("{s:{m:2}}", "{s:{}}"),
    ],
)
def test_what_surrounds_a_member_stays(text: str, left: str) -> None:
    path = ("s", "m") if "s:" in text else ("m",)
    taken = take(text, path, Dialect.JSON5, keep=1)
    assert value_at(taken, (), Dialect.JSON5) == value_at(left, (), Dialect.JSON5)
    assert _brackets(taken) == _brackets(left)


def test_an_object_that_somebody_commented_stays_when_it_is_empty() -> None:
    assert take("{s: {/* mine */ m: 1}}", ("s", "m"), Dialect.JSON5) == "{s: {/* mine */}}"
    assert take("{s: {m: 1 /* mine */}}", ("s", "m"), Dialect.JSON5) == "{s: { /* mine */}}"
    assert take("{s: {m: 1}}", ("s", "m"), Dialect.JSON5) == "{}"


@pytest.mark.parametrize(
    ("text", "dialect", "line", "column", "reason"),
    [
        ('{"a": 1,\n "b": 2,\n}', Dialect.JSON, 2, 8, "a comma before }"),
        ('{"a": 1, // x\n}', Dialect.JSON, 1, 10, "a comment"),
        ("{a: 1}", Dialect.JSONC, 1, 2, "a key in double quotes"),
        ("{'a': 1}", Dialect.JSONC, 1, 2, "a key in double quotes"),
        ('{"a": 01}', Dialect.JSON, 1, 7, "a value"),
        ('{"a": "x\r\n"}', Dialect.JSON5, 1, 9, "a line end"),
        ('{\r\n"a" 1}', Dialect.JSON5, 2, 5, "a colon"),
        ('{"a": 1 "b": 2}', Dialect.JSON5, 1, 9, "a comma or }"),
        ('{"a": [1 2]}', Dialect.JSON5, 1, 10, "a comma or ]"),
        ('{"a": 1', Dialect.JSON5, 1, 8, "the end"),
        ('{"a": "x', Dialect.JSON5, 1, 7, "does not end"),
        ("{} /* x", Dialect.JSON5, 1, 4, "does not end"),
        ("{} {}", Dialect.JSON5, 1, 4, "after the end"),
        ("{,}", Dialect.JSON5, 1, 2, "a key or }"),
        ('{"a": "\\x4"}', Dialect.JSON5, 1, 8, "hexadecimal"),
        ('{"a": "\\v"}', Dialect.JSON, 1, 8, "escape"),
        ("// nothing", Dialect.JSON5, 1, 11, "a value"),
        ("[" * 1000, Dialect.JSON, 1, 201, "levels deep"),
    ],
)
def test_a_broken_text_is_said_with_its_place(text: str, dialect: Dialect, line: int, column: int, reason: str) -> None:
    with pytest.raises(TextProblem, match=reason) as caught:
        put(text, PATH, ENTRY, dialect)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "the whole text should be an object"),
        ("{mcp: null}", "mcp should be an object"),
        ("{mcp: {servers: []}}", "mcp.servers should be an object"),
        ("{mcp: {}, 'mcp': {}}", '"mcp" is there twice'),
    ],
)
def test_a_path_that_leads_nowhere_is_said(text: str, reason: str) -> None:
    with pytest.raises(TextProblem, match=reason):
        put(text, PATH, ENTRY, Dialect.JSON5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{a: {}}", "a should be a list"), ("{a: [0]}", "a has no entry number 2"), ("{a: [0, 1]}", r"a\.1 should be an")],
)
def test_a_list_that_is_none_is_said(text: str, reason: str) -> None:
    with pytest.raises(TextProblem, match=reason):
        put(text, ("a", 1, "b"), 1, Dialect.JSON5)
    with pytest.raises(TextProblem, match="b should be a list"):
        append("{b: 1}", ("b",), "x", Dialect.JSON5)
