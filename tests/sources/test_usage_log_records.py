"""A record is checked before it is written, and of a request all records are written or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.prices.model_pricing import UsagePrices
from monitor.prices.money import NANO
from monitor.sources.reading import Reading
from monitor.sources.usage_log.reader import UsageReader
from monitor.sources.usage_log.records import (
    MOST_BYTES,
    MOST_RECORDS,
    BadRecord,
    append_records,
    completed,
    line_of,
    parse,
)
from monitor.sources.usage_log.writer import DayFiles

NOON = 1764158400.0  # 2025-11-26T12:00Z
PRICES = UsagePrices()


def files_in(folder: Path) -> DayFiles:
    return DayFiles(folder, ZoneInfo("UTC"))


def test_a_record_gets_its_own_id_a_time_a_total_and_a_cost() -> None:
    given_record = {"model": "qwen-plus", "input_tokens": 1000, "output_tokens": 500, "user_id": None}
    whole = completed(given_record, PRICES.of)
    assert {name: whole[name] for name in ("model", "total_tokens", "cost", "currency")} == {
        "model": "qwen-plus", "total_tokens": 1500, "cost": 0.01, "currency": "CNY",
    }  # fmt: skip
    assert len(whole["id"]) == 32
    assert whole["id"] != completed(given_record)["id"]
    assert whole["timestamp"] > NOON
    assert "cost_given" not in whole
    assert "user_id" not in whole


def test_what_is_given_stays_and_a_given_cost_is_marked() -> None:
    record = {"model": "qwen-plus", "id": "mine", "timestamp": NOON, "total_tokens": 3, "cost": 0.5, "currency": "usd"}
    assert completed(record, PRICES.of) == {**record, "currency": "USD", "cost_given": True}


def test_unknown_counts_and_prices_stay_unknown() -> None:
    whole = completed({"model": "never-heard-of", "user_id": "", "function": None}, PRICES.of)
    assert set(whole) == {"id", "timestamp", "model"}


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({}, "model is missing"),
        ({"model": ""}, "model is missing"),
        ({"model": " "}, "model is ' '"),
        ({"model": None}, "model is missing"),
        ({"model": ["m"]}, r"model is \['m'\]"),
        ({"model": "m", "tokens": 1}, "'tokens' is no field of a usage record: use id, timestamp"),
        ({"model": "m", "cost_given": True}, "no field"),
        ({"model": "m", "input_tokens": -1}, "input_tokens is -1: use a whole number"),
        ({"model": "m", "input_tokens": 1.5}, "whole number"),
        ({"model": "m", "input_tokens": True}, "whole number"),
        ({"model": "m", "input_tokens": "7"}, "whole number"),
        ({"model": "m", "output_tokens": 10**11}, "whole number"),
        ({"model": "m", "cost": float("nan")}, "cost is nan"),
        ({"model": "m", "cost": float("inf")}, "cost is inf"),
        ({"model": "m", "cost": -0.1}, "cost is -0.1"),
        ({"model": "m", "currency": "Yuan"}, "three letters"),
        ({"model": "m", "success": "yes"}, "use true or false"),
        ({"model": "m", "timestamp": 1764115200500}, "seconds since 1970"),
        ({"model": "m", "timestamp": "now"}, "seconds since 1970"),
        ({"model": "m", "status": 1000}, "HTTP status"),
        ({"model": "m", "duration_ms": -1}, "duration_ms is -1"),
        ({"model": "m", "function": "x" * 2000}, "2000 characters"),
        ({"model": "m", "input_tokens": 5, "cached_tokens": 6}, "parts of input_tokens"),
        ({"model": "m", "output_tokens": 5, "reasoning_tokens": 6}, "a part of output_tokens"),
    ],
)
def test_a_record_that_is_not_right_is_refused_with_the_reason(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(BadRecord, match=what):
        completed(fields)


def test_a_record_that_is_too_long_is_refused() -> None:
    names = ("user_id", "session_id", "function", "response_id", "request_id", "consumer", "host", "id")
    with pytest.raises(BadRecord, match=f"at most {MOST_BYTES}"):
        line_of(completed({"model": "界" * 1000, **dict.fromkeys(names, "界" * 1000)}))


def test_half_a_character_does_not_keep_a_record_from_being_written() -> None:
    line = line_of(completed({"model": "m", "function": "half \ud800"}))
    assert json.loads(line)["function"] == "half ?"


def test_all_records_of_a_request_are_written_or_none(tmp_path: Path) -> None:
    good = [{"model": "m", "timestamp": NOON + day * 86400, "function": str(day)} for day in (0, 1, 0)]
    with pytest.raises(BadRecord, match="record 3: input_tokens is -1"):
        append_records(files_in(tmp_path), [*good[:2], {"model": "m", "input_tokens": -1}, good[2]])
    with pytest.raises(BadRecord, match="record 2: a record is a JSON object"):
        append_records(files_in(tmp_path), [good[0], "text"])  # type: ignore[list-item]
    with pytest.raises(BadRecord, match="more than"):
        append_records(files_in(tmp_path), [{"model": "m"}] * (MOST_RECORDS + 1))
    assert list(tmp_path.iterdir()) == []
    written = append_records(files_in(tmp_path), good)
    found = {p.name: [json.loads(line) for line in p.read_bytes().splitlines()] for p in tmp_path.iterdir()}
    assert found == {"2025-11-26.jsonl": [written[0], written[2]], "2025-11-27.jsonl": [written[1]]}


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'{"model": "m"}', [{"model": "m"}]),
        (b'[{"model": "a"}, {"model": "b"}]', [{"model": "a"}, {"model": "b"}]),
        (b'{"model": "a"}\n\n{"model": "b"}\r\n', [{"model": "a"}, {"model": "b"}]),
        (b"[]", []),
        (b"7", [7]),
    ],
)
def test_a_body_is_one_record_an_array_or_json_lines(body: bytes, records: list[Any]) -> None:
    assert parse(body) == records


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "there are no records"),
        (b" \n", "there are no records"),
        (b"[1,", "the array: no JSON"),
        (b'{"model": "a"}\n{"model": ', "record 2: no JSON"),
        (b"\xff\xfe", "record 1: no JSON"),
        (b"[" * 100_000, "the array"),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_the_line(body: bytes, what: str) -> None:
    with pytest.raises(BadRecord, match=what):
        parse(body)


@given(
    st.sampled_from(["qwen-plus", "gpt-4o", "glm-4-flash", "never-heard-of"]),
    st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 10**9),
    st.none() | st.floats(0, 10**6),
    st.none() | st.text(min_size=1, max_size=50).filter(str.strip),
    st.booleans(),
    st.none() | st.decimals(0, 10**6, places=9),
)
def test_what_is_written_is_what_is_read(
    model: str,
    input_tokens: int | None,
    output_tokens: int | None,
    duration_ms: float | None,
    function: str | None,
    success: bool,
    cost: Any,
) -> None:
    whole = completed(
        {
            "model": model,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "duration_ms": duration_ms,
            "function": function,
            "success": success,
            "cost": cost,
            "timestamp": NOON,
        },
        PRICES.of,
    )
    line = line_of(whole)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    reading = UsageReader().read(line)
    assert isinstance(reading, Reading)
    r = reading.round
    assert (r.model, r.usage.input_tokens, r.usage.output_tokens) == (model, input_tokens, output_tokens)
    assert r.latency_ms == (None if duration_ms is None else round(duration_ms))
    assert r.function == function
    assert r.success is success
    assert r.started_at == NOON * 1000
    if cost is not None:
        assert r.reported is not None
        assert r.reported.nano == int(cost * NANO)
    elif r.reported is not None:
        # The price that the list has for these counts, to the last digit.
        priced = PRICES.nano(model, r.usage, at=NOON)
        assert priced == (r.reported.nano, r.reported.currency)
