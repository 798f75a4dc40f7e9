"""A line of a usage log becomes a `Round`. Nothing that a line contains makes this raise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import xxhash

from monitor.prices.money import NANO, stated
from monitor.rounds import UNKNOWN_TIME, ReportedCost, Round, Usage
from monitor.session_keys import bounded
from monitor.sources import usage as token_usage
from monitor.sources.reading import Reading, Skipped
from monitor.sources.times import epoch_ms
from monitor.usage_fields import NAMES, FieldNames

#: Costs beyond a billion units are damage.
_MOST_UNITS = Decimal(10**9)
_LONGEST_MS = 10**9
_TOKENS = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
_GOOD = frozenset(("true", "ok", "success", "succeeded", "completed", "complete", "done", "yes"))
_BAD = frozenset(("false", "error", "failed", "failure", "fail", "timeout", "cancelled", "canceled", "no"))
_decoder = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder(decimal_format="number").encode


class UsageReader:
    """Reads usage records one by one."""

    kind = "usage"

    def __init__(self, names: FieldNames | None = None, scope: str = "") -> None:
        """`names`: how the file names its fields. `scope`: in which ids of the file are its own; ours are anywhere."""
        self._names = names or FieldNames()
        self._get = self._names.getters()
        mapped = dict(self._names.fields)
        self._known = frozenset(mapped.get(name, name).split(".")[0] for name in NAMES)
        self._scope = b"" if self._names.is_ours else scope.encode("utf-8", "surrogateescape")

    def forget(self) -> None:
        """Nothing is remembered."""

    def read(self, record: bytes) -> Reading | Skipped:
        """One record without its line end."""
        record = record.strip()
        if not record:
            return Skipped("blank")
        try:
            found = _decoder.decode(record)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            # A line that was torn by a crash begins as a record does.
            return Skipped("malformed" if record[:1] == b"{" else "foreign", record)
        try:
            return self._read(record, found)
        except (ValueError, OverflowError, InvalidOperation):
            return Skipped("malformed", record)

    def _read(self, record: bytes, found: dict[str, Any]) -> Reading | Skipped:
        value = {name: got for name, get in self._get.items() if (got := get(found)) is not None}
        usage = self._usage(value)
        model = _text(value.get("model"))
        reported = self._cost(value)
        if model is None and not usage.known and reported is None:
            return Skipped("foreign", record)
        id_ = _text(value.get("id"))
        status = _whole(value.get("status"), 999)
        session = value.get("session_id")
        session_id = bounded(session) if isinstance(session, str) and session else _text(session)
        round_ = Round(
            key=self._key(record, id_),
            source=self.kind,
            started_at=epoch_ms(value.get("timestamp")) or UNKNOWN_TIME,
            session_id=session_id,
            session_source="header" if session_id is not None else None,
            model=model,
            usage=usage,
            success=_success(value.get("success"), status),
            status=status,
            latency_ms=_whole(value.get("duration_ms"), _LONGEST_MS),
            ttft_ms=_whole(value.get("ttft_ms"), _LONGEST_MS),
            consumer=_text(value.get("consumer")),
            function=_text(value.get("function")),
            user_id=_text(value.get("user_id")),
            host=_text(value.get("host")),
            request_id=_text(value.get("request_id")),
            response_id=_text(value.get("response_id")),
            reported=reported,
            extra=self._extra(found),
        )
        # In our own files the cost was worked out or given when the record was written, and stands.
        cost = None
        if reported is not None and self._names.is_ours:
            cost = stated(reported, given=value.get("cost_given") is True)
        return Reading(round_, id_ is not None, cost)

    def _key(self, record: bytes, id_: str | None) -> bytes:
        if id_ is None:
            return xxhash.xxh3_128_digest(b"usage\0" + record)
        return xxhash.xxh3_128_digest(b"\0".join((b"usage id", self._scope, id_.encode("utf-8", "surrogatepass"))))

    def _usage(self, value: Mapping[str, Any]) -> Usage:
        counts: dict[str, int] = {}
        for name in _TOKENS:
            if name in value:
                count = token_usage.count(value[name])
                if count is None:
                    raise ValueError(f"{name} is no count")
                counts[name] = count
        cached, write = counts.get("cached_tokens"), counts.get("cache_write_tokens")
        reasoning = counts.get("reasoning_tokens")
        into, out, total = (counts.get(name) for name in ("input_tokens", "output_tokens", "total_tokens"))
        if into is not None and (
            not self._names.input_includes_cache or (cached or 0) + (write or 0) > into  # a part of nothing smaller
        ):
            into += (cached or 0) + (write or 0)
        if out is not None and (not self._names.output_includes_reasoning or (reasoning or 0) > out):
            out += reasoning or 0
        if total is not None:
            # A program that counts only one of the two tells the other by the total.
            if into is None and out is not None and total >= out + (cached or 0) + (write or 0):
                into = total - out
            elif out is None and into is not None and total >= into + (reasoning or 0):
                out = total - into
            elif into is None and out is None:
                into = total
        return Usage(into, out, reasoning, cached, write)

    def _cost(self, value: Mapping[str, Any]) -> ReportedCost | None:
        stated = value.get("cost")
        if stated is None or isinstance(stated, bool):
            return None
        amount = Decimal(str(stated).strip().lstrip("$¥￥"))
        if not amount.is_finite() or not 0 <= amount <= _MOST_UNITS:
            raise ValueError("cost is no amount")
        currency = str(value.get("currency") or self._names.currency).strip().upper()
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
            raise ValueError("currency is no code")
        return ReportedCost(int((amount * NANO).to_integral_value(rounding="ROUND_HALF_UP")), currency)

    def _extra(self, found: Mapping[str, Any]) -> bytes | None:
        """What the record says besides."""
        more = {name: said for name, said in found.items() if name not in self._known}
        return _encode({"fields": more}) if more else None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return bounded(value) if value.strip() else None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return None


def _whole(value: Any, most: int) -> int | None:
    """A number of milliseconds, or a status, that is plausible; None for any other."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(value) if 0 <= value <= most else None


def _success(value: Any, status: int | None) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value == 1 or 200 <= value < 400
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _GOOD or word in _BAD:
            return word in _GOOD
        if word.isdigit():
            return _success(int(word), status)
    return status is None or 200 <= status < 400
