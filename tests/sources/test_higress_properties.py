"""Whatever a line holds, it is read without an error, never as more than it says, and alike by every reader."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.rounds import MAX_PLAUSIBLE_TOKENS, START, Conversation, Position, Round, Usage
from monitor.samples import DEMO, LITE, LONG, MEDIUM, SHORT, Expected, Profile, lines
from monitor.sources import higress
from monitor.sources.higress import HigressReader, Reading, Skipped

CORPUS = (Path(__file__).parent.parent / "corpus" / "higress.jsonl").read_bytes().split(b"\n")
#: What Higress itself wrote: ai_log first, everything else behind it.
GATEWAY = [line for line in CORPUS if line.startswith(b'{"ai_log":"{') and line.endswith(b'"}')]
HEAD = b'{"ai_log":"'


def read(line: bytes, reader: HigressReader | None = None) -> Round | None:
    """The round of a line, by a fresh reader where none is given; what is skipped has a known reason."""
    reading = (reader or HigressReader()).read(line)
    if isinstance(reading, Skipped):
        assert reading.reason in ("non_ai", "blank", "foreign", "malformed")
        return None
    assert isinstance(reading, Reading)
    assert_sound(reading.round)
    return reading.round


def assert_sound(round_: Round) -> None:
    """Every value has its declared type and can be stored: no bool for a number, no lone surrogate."""
    fields = {name: getattr(round_, name) for name in Round.__struct_fields__}
    del fields["usage"], fields["conversation"]
    for name, value in fields.items():
        assert type(value) in (str, bytes, int, bool, tuple, type(None)), name
    bools = {name for name, value in fields.items() if type(value) is bool}
    assert bools == {"success", "has_tool_calls"}
    for name in ("session_id", "model", "consumer", "route", "function", "user_id", "host", "request_id"):
        value = fields[name]
        assert value is None or (type(value) is str and 0 < len(value) <= 256), name
        assert value is None or value.encode().decode() == value
    for name in ("started_at", "status", "latency_ms", "ttft_ms"):
        assert fields[name] is None or (type(fields[name]) is int and 0 <= fields[name] < 2**62), name
    for name in Usage.__struct_fields__:
        value = getattr(round_.usage, name)
        if name not in ("convention", "lower_bound"):
            assert value is None or (type(value) is int and 0 <= value <= 3 * MAX_PLAUSIBLE_TOKENS), name
    if round_.extra is not None:
        assert isinstance(json.loads(round_.extra, parse_constant=pytest.fail), dict)
    assert len(round_.key) == 16


def body_of(line: bytes) -> Any:
    """What the first ai_log says, read the slow and certain way."""
    end = line.index(b'","', len(HEAD))
    return json.loads(json.loads(line[len(HEAD) - 1 : end + 1]))


def said_of(round_: Round) -> tuple[object, ...]:
    """What comes from the ai_log alone."""
    return (
        *(round_.session_id, round_.session_source, round_.model, round_.usage, round_.response_id, round_.consumer),
        *(round_.conversation, round_.ttft_ms, round_.response_type, round_.has_tool_calls),
    )


# --- Any bytes -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 4))
def test_no_bytes_make_it_raise(data: bytes, head: int) -> None:
    read((b"", HEAD, HEAD + b'{\\"', b'{"ai_log":{', b'{"log":"')[head] + data)


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists), st.text())
def test_no_json_makes_it_raise(value: Any, name: str) -> None:
    text = json.dumps(value)
    for line in (
        text,
        json.dumps({name: value}),
        json.dumps({"ai_log": value}),
        json.dumps({"ai_log": text}),
        json.dumps({"ai_log": {name: value, "model": "m"}}),
        json.dumps({"ai_log": json.dumps({name: value, "model": "m"}), "path": value}),
        json.dumps({"ai_log": json.dumps({"model": "m"}), name: value, "request_id": value}),
        json.dumps({"message": text, name: value}),
    ):
        read(line.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize(
    "place", [b"%s", HEAD + b'%s","a":"', HEAD + b'{\\"messages\\":%s', b'{"ai_log":%s', b'{"a":%s']
)
def test_nesting_without_end_is_damage_and_no_error(opening: bytes, place: bytes) -> None:
    deep = opening * 100_000
    if place.startswith(HEAD):
        deep = deep.replace(b'"', b'\\"')
    assert read(place % deep) is None


@settings(deadline=None)
@given(st.sampled_from(GATEWAY), st.data())
def test_no_damage_makes_it_raise_or_adds_tokens(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line) - 1))
    to = data.draw(st.integers(at, min(len(line), at + 40)))
    kind = data.draw(st.sampled_from(["flip", "insert", "delete", "twice", "cut", "glue"]))
    damaged = {
        "flip": lambda: line[:at] + bytes([line[at] ^ data.draw(st.integers(1, 255))]) + line[at + 1 :],
        "insert": lambda: line[:at] + data.draw(st.binary(max_size=20)) + line[at:],
        "delete": lambda: line[:at] + line[to:],
        "twice": lambda: line[:to] + line[at:],
        "cut": lambda: line[:at],
        "glue": lambda: line[:at] + data.draw(st.sampled_from(GATEWAY)),
    }[kind]()
    true, found = read(line), read(damaged)
    end = line.index(b'","', len(HEAD))
    if at > end + 3 and true is not None and found is not None:
        assert said_of(found) == said_of(true)
    if kind in ("cut", "glue") and at <= end:
        # Half an ai_log is no round, whatever comes behind it.
        assert found is None or at == 0


# --- Hostile headers -----------------------------------------------------------------------------

FORGED = b'x","ai_log":"{\\"session_id\\":\\"victim\\",\\"model\\":\\"forged\\",\\"input_token\\":666}"'
HEADERS = (b"authority", b"user_agent", b"path", b"x_forwarded_for", b"request_id", b"trace_id", b"method")
#: What a header value may hold: anything but control characters, TAB excepted, and bytes from 0x80 up.
header_bytes = st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256), 34, 34, 92, 92]), max_size=30).map(bytes)
hostile = st.one_of(
    header_bytes,
    st.sampled_from(
        [
            b'"',
            b"\\",
            b'\\"',
            b"\t",
            b"\xff",
            b"\\ud800",
            b"\\u0000",
            b'","',
            b'"}',
            b'{"ai_log":"{}"}',
            FORGED,
            FORGED + b',"response_code":"500","y":"',
            b'x","response_code":"500","start_time":"2030-01-01T00:00:00Z","__time__":"1","y":"',
            b'x","ai_log":"{\\"messages\\":[{\\"content\\":\\"a\\"}],\\"session_id\\":\\"victim',
            b'x","messages":"y","model":"forged","session_id":"victim',
        ]
    ),
    st.tuples(header_bytes, st.just(FORGED), header_bytes).map(b"".join),
)


def with_header(line: bytes, name: bytes, value: bytes) -> bytes:
    start = line.index(b'","' + name + b'":"', len(HEAD)) + len(name) + 6
    end = line.find(b'","', start)
    return line[:start] + value + line[end if end > 0 else line.rindex(b'"}') :]


@settings(deadline=None)
@given(st.sampled_from(GATEWAY[:30]), st.lists(st.tuples(st.sampled_from(HEADERS), hostile), min_size=1, max_size=3))
def test_no_header_changes_what_the_first_ai_log_says(line: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    true = read(line)
    attacked = line
    for name, value in headers:
        attacked = with_header(attacked, name, value)
    found = read(attacked)
    if true is None or found is None:
        # GET /v1/models and the like are told by their method, which is a client's word.
        assert (true is None and found is None) or any(name == b"method" for name, _ in headers)
        return
    assert said_of(found) == said_of(true)


@pytest.mark.parametrize("name", [b"authority", b"path", b"user_agent", b"x_forwarded_for"])
@pytest.mark.parametrize("value", [b'a"b', b"a\\b", b"a\\", b"a\tb", b"a\xffb", b"\\ud800", b'"', b'a","b', b'a":"b'])
def test_a_header_that_breaks_the_line_hides_neither_the_round_nor_where_it_went(name: bytes, value: bytes) -> None:
    true, found = read(GATEWAY[0]), read(with_header(GATEWAY[0], name, value))
    assert true is not None
    assert found is not None
    assert said_of(found) == said_of(true)
    for field in ("status", "started_at", "host", "route", "request_id", "success", "latency_ms"):
        assert getattr(found, field) == getattr(true, field), field


def test_a_forged_status_in_the_last_header_does_not_count() -> None:
    forged = with_header(GATEWAY[0], b"user_agent", b'x\\","response_code":"500","response_flags":"UF","y":"')
    found = read(forged)
    assert found is not None
    assert (found.status, found.success) == (200, True)


def test_a_field_that_stands_twice_counts_once_also_when_the_format_is_known() -> None:
    reader = HigressReader()
    assert read(GATEWAY[0], reader) == read(GATEWAY[0])
    found = read(with_header(GATEWAY[0], b"user_agent", b'x","response_code":"500'), reader)
    assert found is not None
    assert (found.status, found.success) == (200, True)


def test_a_format_of_an_operators_own_is_read_whatever_its_values_look_like() -> None:
    for path in ("/v1}", "/{a}", "/"):
        found = read(written({"model": "m", "input_token": 5}, request_id=path, authority="a"))
        assert found is not None
        assert found.usage.input_tokens == 5
    assert HigressReader().read(b'{"ai_log":"-","path":"}","authority":"a"}') == Skipped("non_ai")


def test_a_line_whose_second_half_is_lost_is_damage() -> None:
    cut = GATEWAY[0].index(b'"start_time"')
    assert read(GATEWAY[0][:cut]) is None
    assert HigressReader().read(GATEWAY[0][:cut]) == Skipped("malformed", GATEWAY[0][:cut])


def test_names_that_clients_make_up_do_not_wear_the_reader_out() -> None:
    reader = HigressReader()
    for n in range(100):
        read(with_header(GATEWAY[0], b"user_agent", b'x","made_up_%d":"1' % n), reader)
        read(with_header(GATEWAY[0], b"user_agent", b'x","made\tup":"1'), reader)
        assert read(GATEWAY[0], reader) == read(GATEWAY[0])
    assert len(reader._outer._shapes) <= 8


# --- Any value in any key ---------------------------------------------------------------------------

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-5, 5)
    | st.sampled_from([10**30, -(10**30), 1e308, 2.5, 7.0, "7", "-7", "1e3", "NaN", "٣", "", "-", "{}", '{"a":1}'])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = sorted(higress.AiLog.__struct_fields__)
logs = st.dictionaries(
    st.sampled_from(KEYS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6), values, max_size=8
)


def written(log: Any, **outer: str) -> bytes:
    """A line as the gateway writes it."""
    body = json.dumps(json.dumps(log, ensure_ascii=False, separators=(",", ":")), ensure_ascii=False)
    fields = {
        "method": "POST",
        "path": "/v1/chat/completions",
        "request_id": "r-1",
        "response_code": "200",
        "response_flags": "-",
        "start_time": "2026-02-01T09:30:15.123Z",
        **outer,
    }
    rest = ",".join(f'"{name}":"{value}"' for name, value in fields.items())
    return f'{{"ai_log":{body},{rest}}}'.encode()


shared = HigressReader()


@settings(deadline=None)
@given(logs)
def test_any_value_in_any_key_is_read_alike_by_a_fresh_reader_and_a_seasoned_one(log: dict[str, Any]) -> None:
    line = written(log)
    found = HigressReader().read(line)
    assert shared.read(line) == found
    if isinstance(found, Reading):
        assert_sound(found.round)
        if log.get("session_id") is None:
            assert found.round.session_source != "header"


@settings(deadline=None)
@given(st.sampled_from(KEYS), values)
def test_a_strange_value_costs_its_own_field_and_no_other(key: str, value: Any) -> None:
    log = {"model": "glm-5", "input_token": 42, "output_token": 6, "session_id": "S", "chat_id": "c", "chat_round": 1}
    found = read(written({**log, key: value}))
    assert found is not None
    if key != "model" and key != "request_model":
        assert found.model == "glm-5"
    if key != "session_id":
        assert found.session_id == "S"
    if "token" not in key:
        assert (found.usage.input_tokens, found.usage.output_tokens) == (42, 6)


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a\nb", "\x00", "", "é", "extra_0", "__proto__", "f0", "self", "x" * 5000]
)
def test_an_attribute_of_any_name_is_kept(name: str) -> None:
    reader = HigressReader()
    log = {"model": "glm-5", "input_token": 42, name: {"v": [1, 1e300]}}
    for _ in range(3):
        found = read(written(log), reader)
        assert found is not None
        assert found.extra is not None
        assert json.loads(found.extra)["fields"] == {name: {"v": [1, 1e300]}}
        assert found.usage.input_tokens == 42
    plain = read(written({"model": "glm-5"}), reader)
    assert plain is not None
    assert plain.extra is None


def test_more_attributes_than_can_be_learned_are_still_kept() -> None:
    reader = HigressReader()
    for n in range(0, 200, 7):
        log = {"model": "m", **{f"attribute_{i}": i for i in range(n, n + 7)}}
        found = read(written(log), reader)
        assert found is not None
        assert found.extra is not None
        assert json.loads(found.extra)["fields"] == {f"attribute_{i}": i for i in range(n, n + 7)}


def test_a_number_beyond_all_bounds_costs_no_round() -> None:
    line = written({"model": "glm-5", "output_token": 6, "x": 1, "input_token": 2}).replace(
        b'\\"x\\":1', b'\\"x\\":1e999'
    )
    found = read(line.replace(b'input_token\\":2', b'input_token\\":1e999'))
    assert found is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (None, 6)


def test_counts_that_were_not_believed_are_kept_as_they_stood() -> None:
    found = read(written({"model": "m", "input_token": -5, "output_token": "many", "total_token": 7}))
    assert found is not None
    assert not found.usage.known
    assert found.extra is not None
    assert json.loads(found.extra)["raw"] == {"input_token": -5, "output_token": "many", "total_token": 7}


def test_strings_for_numbers_are_numbers() -> None:
    found = read(written({"model": "m", "input_token": "10", "output_token": "5", "llm_service_duration": "1.6"}))
    assert found is not None
    assert (found.usage.input_tokens, found.usage.output_tokens, found.latency_ms) == (10, 5, 2)


# --- Other ways to write the same --------------------------------------------------------------------


def collected(line: bytes, **fields: Any) -> bytes:
    """The record as a collector writes it anew."""
    return json.dumps({**json.loads(line), **fields}, ensure_ascii=False).encode()


def test_a_collectors_copy_of_a_record_is_the_same_round_wherever_its_own_fields_stand() -> None:
    reader = HigressReader()
    first = {"__time__": "1769938940", "__source__": "a"}
    second = {"__time__": "1769938999", "__tag__:x": "b"}
    record = json.loads(GATEWAY[0])
    copies = [{**first, **record}, {**record, **first}, {**record, **second}, {**second, **record}]
    keys = set()
    for _ in range(3):
        for copy in copies:
            round_ = read(json.dumps(copy, separators=(",", ":")).encode(), reader)
            assert round_ is not None
            keys.add(round_.key)
    assert len(keys) == 1


def test_two_collected_records_never_share_a_key() -> None:
    reader = HigressReader()
    keys = [
        read(collected(written({"model": "m", "input_token": n, "chat_id": "c"}), __time__="1769938940"), reader)
        for n in range(20)
    ]
    assert len({round_.key for round_ in keys if round_ is not None}) == 20
    compact = [
        b'{"ai_log":"{\\"model\\":\\"m\\",\\"chat_id\\":\\"c\\",\\"input_token\\":%d}","__time__":"1769938940"}' % n
        for n in range(20)
    ]
    assert len({round_.key for line in compact if (round_ := read(line, reader)) is not None}) == 20


def test_ai_log_may_be_an_object_or_escaped_twice_or_stand_anywhere() -> None:
    log = {"chat_round": 1, "model": "glm-5", "input_token": 42, "session_id": 'S "1"', "messages": [{"role": "user"}]}
    text = json.dumps(log)
    escaped = json.dumps(text)[1:-1]
    rest = {"method": "POST", "response_code": 200, "start_time": "2026-02-01T09:30:15.123Z"}
    for outer in (
        {"ai_log": log, **rest},
        {**rest, "ai_log": log},
        {"ai_log": text, **rest},
        {**rest, "ai_log": text},
        {"ai_log": escaped, **rest},
        {**rest, "ai_log": escaped},
        {"ai_log": text},
        {"message": json.dumps({"ai_log": text, **rest}), "offset": 5},
    ):
        for line in (json.dumps(outer), json.dumps(outer, separators=(",", ":"))):
            found = read(line.encode())
            assert found is not None, line
            assert (found.model, found.session_id, found.usage.input_tokens) == ("glm-5", 'S "1"', 42)
            assert found.conversation is not None
            assert len(found.conversation.messages) == 1


# --- The same by every reader: conversations -----------------------------------------------------------


class Hits(HigressReader):
    """A reader that counts how often it knew the beginning of a conversation."""

    hits = 0

    def read(self, record: bytes) -> Reading | Skipped:
        reading = super().read(record)
        if isinstance(reading, Reading):
            conversation = reading.round.conversation
            self.hits += conversation is not None and conversation.whole is not None
        return reading


def assert_same(seasoned: Reading | Skipped, fresh: Reading | Skipped) -> None:
    """Equal in everything, except that the seasoned reader may know the beginning already."""
    if isinstance(fresh, Skipped) or isinstance(seasoned, Skipped):
        assert seasoned == fresh
        return
    ours, theirs = seasoned.round.conversation, fresh.round.conversation
    if ours is None or theirs is None:
        assert seasoned == fresh
        return
    assert theirs.whole is None
    assert theirs.end == Position.start(theirs.system).after(theirs.messages)
    assert ours.end == theirs.end
    assert ours.base.after(ours.messages) == ours.end
    if ours.whole is not None:
        assert ours.whole() == theirs.messages
        assert 0 < ours.base.count <= len(theirs.messages)
        assert ours.messages == theirs.messages[ours.base.count :]
        assert ours.base == Position.start(theirs.system).after(theirs.messages[: ours.base.count])
    bare = msgspec.structs.replace(ours, messages=theirs.messages, base=theirs.base, whole=None)
    round_ = msgspec.structs.replace(seasoned.round, conversation=bare)
    assert Reading(round_, seasoned.unique) == fresh


@pytest.mark.parametrize(
    ("profile", "number", "hits"),
    [(SHORT, 2000, 0), (MEDIUM, 1000, 700), (LONG, 300, 250), (LITE, 2000, 0), (DEMO, 1000, 400)],
    ids=lambda p: p.name if isinstance(p, Profile) else "",
)
def test_sample_logs_are_read_alike_and_right(profile: Profile, number: int, hits: int) -> None:
    expected = Expected()
    reader = Hits()
    totals = [0] * 7
    skipped = {"non_ai": 0, "foreign": 0}
    sessions = set()
    for line in lines(profile, 5, number, expected):
        seasoned = reader.read(line)
        assert_same(seasoned, HigressReader().read(line))
        if isinstance(seasoned, Skipped):
            skipped[seasoned.reason] += 1
            continue
        round_ = seasoned.round
        sessions.add(round_.session_id if round_.session_source == "header" else None)
        usage = round_.usage
        for at, value in enumerate(
            (1, not round_.success, usage.input_tokens, usage.output_tokens, usage.reasoning_tokens)
            + (usage.cached_tokens, usage.cache_write_tokens)
        ):
            totals[at] += value or 0
    total = expected.total
    assert totals == [
        *(total.rounds, total.failed, total.input_tokens, total.output_tokens, total.reasoning_tokens),
        *(total.cached_tokens, total.cache_write_tokens),
    ]
    assert (skipped["non_ai"], skipped["foreign"]) == (expected.non_ai, expected.foreign)
    assert sessions == set(expected.sessions)
    assert reader.hits >= hits


CONTENTS = (
    "plain words",
    'quotes "in" it',
    "back\\slashes \\\\ and \\n, \\u0041",
    "newline\nand\ttab\r\x00\x1b",
    "héllo 漢字 🦞👩‍💻 \u2028 <script>&amp;</script> \x7f",
    '"messages":[',
    ',"messages":[{"content":"decoy"}]',
    '\\"messages\\":[{\\"content\\":\\"decoy\\",\\"role\\":\\"user\\"}]',
    '],"model":"forged","session_id":"victim","x":[',
    '","ai_log":"{}","',
    "Runtime: agent=main | session=agent:forged:main | sessionId=f",
    "\\",
    '"',
    "",
)


def go_escaped(value: Any) -> str:
    """JSON as Go writes it, keys in order and HTML escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


class Gateway:
    """Conversations that grow, are edited, branch, are compacted, and share names; with every kind of trap."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.conversations: list[dict[str, Any]] = []

    def content(self, size: int = 0) -> Any:
        r = self.random
        text = "".join(r.choices(CONTENTS, k=r.randint(1, 4))) + "".join(r.choices('ab \\"\n', k=size))
        kind = r.random()
        if kind < 0.1:
            return [{"type": "text", "text": text}, {"type": "image", "messages": [{"content": text}]}]
        return None if kind < 0.13 else text

    def message(self, role: str = "", size: int = 0) -> Any:
        r = self.random
        message = {"role": role or r.choice(["user", "assistant", "tool", "system"]), "content": self.content(size)}
        if r.random() < 0.1:
            message["tool_calls"] = [
                {"function": {"name": "f", "arguments": json.dumps({"messages": [self.content()]})}}
            ]
        if r.random() < 0.02:
            return r.choice([1, 12, "bare", None, [], {}])
        return message

    def begin(self) -> dict[str, Any]:
        r = self.random
        others = [c for c in self.conversations if c["messages"]]
        roots = [[self.message("system", 5000)], [self.message("system", 5000), self.message("user")]]
        runtime = f"do it\n\nRuntime: agent=main | session=agent:main:{r.randint(0, 5)} | sessionId=id{r.randint(0, 5)}"
        if r.random() < 0.3:
            roots.append([self.message("system", 4000), {"role": "user", "content": runtime}])
        messages = list(r.choice(others)["messages"]) if others and r.random() < 0.4 else r.choice(roots)
        return {
            "session": r.choice([None, None, f"s{r.randint(0, 6)}", 'od"d\\', "x" * 500]),
            "system": r.choice([None, None, None, "be kind", runtime, [{"text": "parts"}]]),
            "messages": messages,
        }

    def step(self) -> bytes:
        r = self.random
        if len(self.conversations) < 12 or r.random() < 0.02:
            self.conversations.append(self.begin())
            self.conversations[:] = self.conversations[-20:]
        c = r.choice(self.conversations)
        messages = c["messages"]
        what = r.random()
        if what < 0.60:
            messages += [self.message("", r.choice([0, 0, 300])) for _ in range(r.randint(1, 3))]
        elif what < 0.66 and len(messages) > 2:  # edited
            messages[r.randrange(len(messages))] = self.message("", 50)
        elif what < 0.71 and len(messages) > 2:  # cut back to an earlier turn
            del messages[r.randrange(1, len(messages)) :]
        elif what < 0.75:  # compacted
            c["messages"] = messages = [messages[0], self.message("user", 4000)]
        elif what < 0.79:
            c["system"] = r.choice([None, "be kind", "be brief", c["system"]])
        elif what < 0.82:
            c["session"] = r.choice([None, "s1", "s2", c["session"]])
        # else: the same again
        if len(messages) > 40:
            c["messages"] = messages = messages[:1]
        return self.line(c, messages)

    def line(self, c: dict[str, Any], messages: list[Any]) -> bytes:
        r = self.random
        log: dict[str, Any] = {
            "answer": self.content(),
            "chat_id": f"chat-{r.getrandbits(40):x}",
            "chat_round": len(messages),
            "input_token": len(messages),
            "messages": messages,
            "model": "glm-5",
            "question": self.content(),
            "system": c["system"],
        }
        if c["session"] is not None:
            log["session_id"] = c["session"]
        kind = r.random()
        if kind < 0.03:
            log["messages"] = "[map[content:" + "x" * 5000 + '"messages":[ [truncated] role:user]]'
        elif kind < 0.05:
            log["messages"] = r.choice([None, {}, [], 7, "", {"messages": messages}])
        elif kind < 0.08:  # an attribute that sorts before the messages and looks like them
            log["attribute"] = {"messages": messages}
        elif kind < 0.10:  # the same names inside and behind
            log["zebra"] = {"messages": messages, "session_id": "victim"}
        elif kind < 0.12:
            del log["messages"]
        body = json.dumps(go_escaped(log), ensure_ascii=False)
        agent = r.choice(
            ["curl/8", "curl/8", "curl/8", 'a"b', "a\\b", "a\tb", 'x","ai_log":"{\\"session_id\\":\\"victim\\"}']
        )
        if r.random() < 0.02:
            agent = 'x","y":"' + json.dumps(go_escaped({"messages": messages, "session_id": "s1"}))[1:-1]
        time = "2026-02-01T09:30:15.123Z"
        rest = f'"path":"/v1/messages","response_code":"200","start_time":"{time}","user_agent":"{agent}"'
        return f'{{"ai_log":{body},{rest}}}'.encode()

    def lines(self, number: int) -> Iterator[bytes]:
        for _ in range(number):
            yield self.step()


@pytest.mark.parametrize("seed", range(6))
def test_traps_of_all_kinds_are_read_alike(seed: int) -> None:
    reader = Hits()
    long = 0
    for line in Gateway(seed).lines(700):
        fresh = HigressReader().read(line)
        assert isinstance(fresh, Reading), line
        assert fresh.round.model == "glm-5"
        assert_same(reader.read(line), fresh)
        long += len(line) > 6144
    assert long > 500
    assert reader.hits > 250


def test_what_was_read_before_may_be_forgotten_at_any_time() -> None:
    reader = Hits()
    for number, line in enumerate(islice(Gateway(99).lines(400), 400)):
        if number % 50 == 0:
            reader.forget()
        assert_same(reader.read(line), HigressReader().read(line))
    assert reader.hits > 50


def test_many_conversations_that_begin_alike_are_told_apart() -> None:
    reader = Hits()
    system = {"role": "system", "content": "s" * 8000}
    talks = [[system, {"role": "user", "content": f"talk {n}"}] for n in range(20)]
    for turn in range(4):
        for talk in talks:
            talk.append({"role": "assistant", "content": f"turn {turn}"})
            line = written({"chat_round": 1, "messages": talk, "model": "m"})
            assert_same(reader.read(line), HigressReader().read(line))
    assert reader.hits == 60


def conversation_of(reading: Reading | Skipped) -> Conversation:
    assert isinstance(reading, Reading)
    assert reading.round.conversation is not None
    return reading.round.conversation


def test_a_system_prompt_that_changed_makes_another_conversation_of_the_same_messages() -> None:
    reader = HigressReader()
    messages = [{"role": "user", "content": "u" * 8000}]
    for system in ("first", "second", None, "first"):
        line = written({"messages": messages, "model": "m", "system": system})
        found = conversation_of(reader.read(line))
        text = None if system is None else json.dumps(system).encode()
        all_messages = found.whole() if found.whole is not None else found.messages
        assert found.end == Position.start(text).after(all_messages)
        assert_same(reader.read(line), HigressReader().read(line))


def test_only_what_is_new_is_parsed_again() -> None:
    reader = HigressReader()
    messages: list[dict[str, str]] = [{"role": "user", "content": "u" * 8000}]
    first = conversation_of(reader.read(written({"messages": messages, "model": "m"})))
    assert (first.base, len(first.messages), first.whole) == (START, 1, None)
    messages += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    second = conversation_of(reader.read(written({"messages": messages, "model": "m"})))
    assert second.base == first.end
    assert [json.loads(m)["content"] for m in second.messages] == ["a", "b"]
    assert second.whole is not None
    assert len(second.whole()) == 3


# --- Sessions that OpenClaw names in the conversation ---------------------------------------------------

RUNTIME = "Runtime: agent=main | session=agent:main:main | sessionId=id-1 | host=box"
FORGED_RUNTIME = "Runtime: agent=main | session=agent:victim:main | sessionId=id-2"


def session_of(messages: list[tuple[str, str]], **log: Any) -> tuple[str | None, tuple[str, ...], str | None]:
    said = [{"role": role, "content": content} for role, content in messages]
    found = read(written({"messages": said, "model": "m", **log}))
    assert found is not None
    return found.session_id, found.session_aliases, found.session_source


INFERRED = ("agent:main:main", ("id-1",), "inferred")


def test_the_session_is_found_at_the_end_of_the_first_user_message() -> None:
    assert session_of([("system", "be kind"), ("user", f"hello\n\n{RUNTIME}")]) == INFERRED


def test_the_session_is_found_in_the_system_prompt() -> None:
    assert session_of([("system", f"be kind\n## Runtime\n{RUNTIME}\nmore"), ("user", "hello")]) == INFERRED
    assert session_of([("user", "hello")], system=f"be kind\n{RUNTIME}") == INFERRED


def test_a_header_is_believed_before_any_text() -> None:
    assert session_of([("user", RUNTIME)], session_id="S") == ("S", (), "header")


def test_lines_in_later_messages_are_ignored() -> None:
    later = [("assistant", FORGED_RUNTIME), ("user", FORGED_RUNTIME), ("tool", FORGED_RUNTIME)]
    assert session_of([("user", f"hello\n\n{RUNTIME}"), *later]) == INFERRED
    assert session_of([("user", "hello"), *later]) == (None, (), None)


def test_what_a_user_typed_does_not_override_openclaws_own_line() -> None:
    assert session_of([("user", f"{FORGED_RUNTIME}\n\n{RUNTIME}")]) == INFERRED
    assert session_of([("system", RUNTIME), ("user", FORGED_RUNTIME)]) == INFERRED


def test_a_session_id_of_60_kb_is_listed_under_a_short_name_of_its_own() -> None:
    one, two = session_of([], session_id="x" * 60_000), session_of([], session_id="x" * 60_001)
    assert one[0] is not None
    assert len(one[0]) <= 256
    assert one != two
