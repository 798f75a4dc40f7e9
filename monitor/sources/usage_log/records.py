"""A usage record before it is written: checked, completed, and as one line of JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from monitor.rounds import MAX_PLAUSIBLE_TOKENS
from monitor.sources.usage_log.writer import DayFiles
from monitor.usage_fields import MAPPED

#: What one request may append at most: records, and bytes of each.
MOST_RECORDS = 10_000
MOST_BYTES = 16_384
_LONGEST_TEXT = 1024
_MOST_COST = 10**9
_MOST_MS = 10**9
#: Times that are no call's: before 2015, after 2080.
_EARLIEST, _LATEST = 1_420_070_400, 3_471_292_800
_TEXTS = ("id", "user_id", "session_id", "model", "function", "response_id", "request_id", "consumer", "host")
_COUNTS = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
_DURATIONS = ("duration_ms", "ttft_ms")
_encode = msgspec.json.Encoder(decimal_format="number").encode

#: What a record cost, from its model, host, time in seconds, and the counts that it has.
Price = Callable[[Mapping[str, Any]], tuple[Decimal | float, str] | None]


class BadRecord(ValueError):
    """A record can't be written; the message names what is wrong with it."""


def completed(record: Mapping[str, Any], price: Price | None = None) -> dict[str, Any]:
    """The record with its own id, a time, its total and its cost where `price` has one for it.

    Raises:
        BadRecord: a field is unknown, missing or out of range.
    """
    whole: dict[str, Any] = {"id": None, "timestamp": None}
    for name, value in record.items():
        check = _CHECKS.get(name)
        if check is None:
            raise BadRecord(f"{str(name)[:60]!r} is no field of a usage record: use {', '.join(MAPPED)}")
        # Programs pass empty texts for what they don't know.
        if value is not None and value != "":
            whole[name] = check(name, value)
    _check_parts(whole)
    if "model" not in whole:
        raise BadRecord("model is missing: a record names the model that was called")
    if whole["id"] is None:
        whole["id"] = os.urandom(16).hex()
    if whole["timestamp"] is None:
        whole["timestamp"] = time.time()
    if "cost" in whole:
        whole["cost_given"] = True
    fill(whole, price)
    return whole


def fill(whole: dict[str, Any], price: Price | None) -> None:
    """Add what follows from the counts: their total, and what they cost."""
    into, out = whole.get("input_tokens"), whole.get("output_tokens")
    if "total_tokens" not in whole and into is not None and out is not None:
        whole["total_tokens"] = into + out
    if "cost" not in whole and price is not None:
        priced = price(whole)
        if priced is not None:
            whole["cost"], whole["currency"] = priced


def line_of(whole: Mapping[str, Any]) -> bytes:
    """A record as a line.

    Raises:
        BadRecord: it is too long.
    """
    line = _encode(whole) + b"\n"
    if len(line) > MOST_BYTES:
        raise BadRecord(f"the record has {len(line)} bytes: at most {MOST_BYTES} are kept")
    return line


def append_records(
    files: DayFiles, records: Iterable[Mapping[str, Any]], price: Price | None = None
) -> list[dict[str, Any]]:
    """Check all records, then append them; gives them as they were written. All of them are written, or none.

    Records of several days go to several files, one write each; only a full disk or a crash can come between.

    Raises:
        BadRecord: names the first record that is not right, by its number from 1 on; nothing is written then.
        OSError: the folder can't be written.
    """
    whole: list[dict[str, Any]] = []
    lines: dict[str, list[bytes]] = {}
    moments: dict[str, float] = {}
    for number, record in enumerate(records, 1):
        if number > MOST_RECORDS:
            raise BadRecord(f"there are more than {MOST_RECORDS} records: send them in several requests")
        try:
            if not isinstance(record, Mapping):
                raise BadRecord("a record is a JSON object")
            one = completed(record, price)
            line = line_of(one)
        except BadRecord as error:
            raise BadRecord(f"record {number}: {error}") from None
        whole.append(one)
        path = str(files.path(one["timestamp"]))
        moments[path] = one["timestamp"]
        lines.setdefault(path, []).append(line)
    for path, some in lines.items():
        files.append(b"".join(some), moments[path])
    return whole


def parse(body: bytes) -> list[Any]:
    """The records of a request: one JSON object, an array of them, or JSON lines.

    Raises:
        BadRecord: it is none of these; names the line.
    """
    text = body.strip()
    if not text:
        raise BadRecord("there are no records: send a JSON object, an array of them, or one a line")
    if text[:1] == b"[":
        found = _decode(text, "the array")
        return found if isinstance(found, list) else [found]
    try:
        return [msgspec.json.decode(text)]
    except (msgspec.MsgspecError, RecursionError):
        lines = [line for line in text.splitlines() if line.strip()]
    return [_decode(line, f"record {number}") for number, line in enumerate(lines, 1)]


def _decode(text: bytes, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadRecord(f"{what}: no JSON: {error}") from None


def _text(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise BadRecord(f"{name} is {_said(value)}: use a text")
    if len(value) > _LONGEST_TEXT:
        raise BadRecord(f"{name} has {len(value)} characters: at most {_LONGEST_TEXT}")
    # Half a character can't be written down.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PLAUSIBLE_TOKENS:
        raise BadRecord(f"{name} is {_said(value)}: use a whole number, 0 or more")
    return value


def _number(name: str, value: Any, most: int) -> float | Decimal:
    # What is no number at all is not even in the range.
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value <= most:
        raise BadRecord(f"{name} is {_said(value)}: use a number from 0 to {most}")
    return value


def _duration(name: str, value: Any) -> float | Decimal:
    return _number(name, value, _MOST_MS)


def _cost(name: str, value: Any) -> float | Decimal:
    return _number(name, value, _MOST_COST)


def _currency(name: str, value: Any) -> str:
    if not (isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha()):
        raise BadRecord(f"{name} is {_said(value)}: use three letters, such as CNY")
    return value.upper()


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadRecord(f"{name} is {_said(value)}: use true or false")
    return value


def _moment(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _EARLIEST <= value <= _LATEST:
        raise BadRecord(f"{name} is {_said(value)}: use seconds since 1970, such as 1764115200.5")
    return value


def _status(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 999:
        raise BadRecord(f"{name} is {_said(value)}: use an HTTP status, such as 200")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "timestamp": _moment,
    "cost": _cost,
    "currency": _currency,
    "success": _yes_or_no,
    "status": _status,
    **dict.fromkeys(_TEXTS, _text),
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_DURATIONS, _duration),
}


def _check_parts(whole: Mapping[str, Any]) -> None:
    """A part is never more than what holds it."""
    parts = (whole.get("cached_tokens") or 0) + (whole.get("cache_write_tokens") or 0)
    if parts and parts > whole.get("input_tokens", parts):
        raise BadRecord("cached_tokens and cache_write_tokens are parts of input_tokens, and are more than it")
    reasoning = whole.get("reasoning_tokens") or 0
    if reasoning and reasoning > whole.get("output_tokens", reasoning):
        raise BadRecord("reasoning_tokens are a part of output_tokens, and are more than it")


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
