"""A line of a usage log becomes the round that it tells of, whatever names it uses, and nothing makes reading raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.prices.money import GIVEN, RECORDED, Cost
from monitor.rounds import UNKNOWN_TIME, ReportedCost, Round, Usage
from monitor.sources.reading import Reading, Skipped
from monitor.sources.usage_log.reader import UsageReader
from monitor.usage_fields import FieldNames

WHOLE = {
    "id": "3f0c",
    "timestamp": 1764115200.25,
    "user_id": "user_123",
    "session_id": "session_abc",
    "model": "qwen-plus",
    "function": "live_analysis",
    "input_tokens": 1000,
    "output_tokens": 500,
    "total_tokens": 1500,
    "cost": 0.01,
    "duration_ms": 1234.5,
    "success": True,
}


def line(**fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def read(record: bytes, names: FieldNames | None = None) -> Reading:
    found = UsageReader(names).read(record)
    assert isinstance(found, Reading), found
    return found


def skipped(record: bytes, names: FieldNames | None = None) -> str:
    found = UsageReader(names).read(record)
    assert isinstance(found, Skipped), found
    return found.reason


def one(**fields: Any) -> Round:
    return read(line(**{"model": "qwen-plus", **fields})).round


def test_a_record_says_all_that_a_round_has() -> None:
    reading = read(line(**WHOLE, response_id="chatcmpl-1", consumer="team", host="dashscope", status=200, ttft_ms=80))
    r = reading.round
    assert (r.source, r.started_at, r.session_id, r.session_source) == (
        "usage", 1_764_115_200_250, "session_abc", "header",
    )  # fmt: skip
    assert (r.model, r.function, r.user_id, r.consumer, r.host) == (
        "qwen-plus", "live_analysis", "user_123", "team", "dashscope",
    )  # fmt: skip
    assert r.usage == Usage(1000, 500)
    assert (r.latency_ms, r.ttft_ms, r.success, r.status, r.response_id) == (1234, 80, True, 200, "chatcmpl-1")
    assert r.reported == ReportedCost(10_000_000, "CNY")
    assert r.extra is None
    assert reading.unique


def test_what_a_record_does_not_say_is_unknown() -> None:
    r = one()
    assert r.usage == Usage()
    assert (r.started_at, r.session_id, r.latency_ms, r.reported, r.user_id) == (UNKNOWN_TIME, None, None, None, None)
    assert r.success


def test_a_record_is_known_by_its_own_id_or_else_by_its_text() -> None:
    first, again = read(line(**WHOLE)), read(line(**{**WHOLE, "function": "another"}))
    assert first.unique
    assert first.round.key == again.round.key
    other = read(line(**{**WHOLE, "id": "3f0d"}))
    assert other.round.key != first.round.key
    nameless = {name: value for name, value in WHOLE.items() if name != "id"}
    plain, same, changed = (read(line(**f)) for f in (nameless, nameless, {**nameless, "output_tokens": 501}))
    assert not plain.unique
    assert plain.round.key == same.round.key != changed.round.key


def test_ids_of_another_programs_file_are_its_own() -> None:
    names = FieldNames((("id", "no"),))
    here, there = (UsageReader(names, path).read(line(no=1, model="m")) for path in ("/a.jsonl", "/b.jsonl"))
    assert isinstance(here, Reading)
    assert isinstance(there, Reading)
    assert here.unique
    assert here.round.key != there.round.key


def test_the_cost_in_our_own_files_stands_and_in_others_is_only_reported() -> None:
    assert read(line(**WHOLE)).cost == Cost("priced", 10_000_000, "CNY", RECORDED)
    assert read(line(**WHOLE, cost_given=True, currency="usd")).cost == Cost("priced", 10_000_000, "USD", GIVEN)
    assert read(line(**{**WHOLE, "cost": 0})).cost == Cost("free", 0, "CNY", RECORDED)
    foreign = read(line(m="qwen-plus", price="$0.25"), FieldNames((("model", "m"), ("cost", "price")), currency="USD"))
    assert foreign.cost is None
    assert foreign.round.reported == ReportedCost(250_000_000, "USD")


@pytest.mark.parametrize(
    ("told", "exact"),
    [(0.1, 100_000_000), (0.0000000014, 1), ("0.0012", 1_200_000), (12, 12_000_000_000), ("¥3.5", 3_500_000_000)],
)
def test_a_cost_is_exact_to_a_billionth(told: object, exact: int) -> None:
    reported = one(cost=told).reported
    assert reported is not None
    assert reported.nano == exact


@pytest.mark.parametrize(
    ("told", "ms"),
    [
        (1764115200, 1_764_115_200_000),
        (1764115200.5, 1_764_115_200_500),
        (1764115200500, 1_764_115_200_500),
        ("1764115200", 1_764_115_200_000),
        ("2025-11-26T00:00:00Z", 1_764_115_200_000),
        ("2025-11-26T08:00:00+08:00", 1_764_115_200_000),
        ("soon", UNKNOWN_TIME),
        (-1, UNKNOWN_TIME),
    ],
)
def test_times_are_seconds_milliseconds_or_iso(told: object, ms: int) -> None:
    assert one(timestamp=told).started_at == ms


@pytest.mark.parametrize(
    ("fields", "success"),
    [
        ({"success": False}, False),
        ({"success": "ok"}, True),
        ({"success": "Failed"}, False),
        ({"success": 200}, True),
        ({"success": "503"}, False),
        ({"success": 1}, True),
        ({"success": 0}, False),
        ({"status": 429}, False),
        ({"status": 200}, True),
        ({"success": True, "status": 500}, True),
    ],
)
def test_success_is_told_in_many_words(fields: dict[str, Any], success: bool) -> None:
    assert one(**fields).success is success


def test_cache_and_reasoning_are_inside_unless_the_mapping_says_otherwise() -> None:
    counts = {"input_tokens": 1000, "output_tokens": 500, "cached_tokens": 300, "cache_write_tokens": 50,
              "reasoning_tokens": 200}  # fmt: skip
    assert one(**counts).usage == Usage(1000, 500, 200, 300, 50)
    names = FieldNames((("function", "task"),), input_includes_cache=False, output_includes_reasoning=False)
    assert read(line(model="m", **counts), names).round.usage == Usage(1350, 700, 200, 300, 50)
    # A part that is larger than its whole can only have come on top.
    assert one(input_tokens=100, cached_tokens=900).usage == Usage(1000, None, None, 900)


def test_a_total_tells_the_count_that_is_missing() -> None:
    assert one(output_tokens=20, total_tokens=120).usage == Usage(100, 20)
    assert one(input_tokens=100, total_tokens=120).usage == Usage(100, 20)
    assert one(total_tokens=120).usage == Usage(120)


def test_other_names_are_read_by_a_mapping_also_inside_objects() -> None:
    names = FieldNames(
        (
            ("cost", "cost.total"),
            ("input_tokens", "usage.in"),
            ("model", "llm"),
            ("output_tokens", "usage.out"),
            ("timestamp", "ts"),
        ),
        currency="USD",
    )
    r = read(
        line(ts=1764115200123, llm="gpt-5.4", usage={"in": 10, "out": 2}, cost={"total": 0.5}, user_id="u", extra=1),
        names,
    ).round
    assert (r.started_at, r.model, r.usage, r.user_id) == (1_764_115_200_123, "gpt-5.4", Usage(10, 2), "u")
    assert r.reported == ReportedCost(500_000_000, "USD")
    assert r.extra is not None
    assert json.loads(r.extra) == {"fields": {"extra": 1}}
    # A name with a dot that stands there as it is.
    assert read(b'{"llm": "m", "usage.in": 7}', names).round.usage == Usage(7)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "blank"),
        (b"   \r", "blank"),
        (b"INFO started", "foreign"),
        (b"[1, 2]", "foreign"),
        (b'"text"', "foreign"),
        (b'{"level": "info"}', "foreign"),
        (b'{"model": "qwen-plus", "input_tok', "malformed"),
        (b'{"model": "qwen-plus"}{"model": "qwen-plus"}', "malformed"),
        (line(model="m", input_tokens=-1), "malformed"),
        (line(model="m", input_tokens="many"), "malformed"),
        (line(model="m", output_tokens=10**12), "malformed"),
        (line(model="m", cost=-1), "malformed"),
        (line(model="m", cost="free"), "malformed"),
        (line(model="m", cost=1, currency="Taler"), "malformed"),
        (b'{"model": "m", "cost": NaN}', "malformed"),
        (b'{"model": "\xff"}', "malformed"),
    ],
)
def test_what_is_no_record_is_told_by_its_reason(record: bytes, reason: str) -> None:
    assert skipped(record) == reason


def json_values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**400, "1e999"])
    return st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(st.dictionaries(st.sampled_from([*WHOLE, "cached_tokens", "reasoning_tokens", "currency", "x"]), json_values()))
def test_no_values_make_reading_raise(fields: dict[str, Any]) -> None:
    found = UsageReader().read(line(**fields))
    if isinstance(found, Reading):
        assert len(found.round.key) == 16
        assert found.round.started_at >= 0


@given(st.binary())
def test_no_bytes_make_reading_raise(record: bytes) -> None:
    assert isinstance(UsageReader().read(record), Reading | Skipped)
    assert isinstance(UsageReader().read(b'{"model":"m",' + record), Reading | Skipped)
    assert isinstance(UsageReader(FieldNames((("model", "a.b"), ("cost", "a")))).read(record), Reading | Skipped)
