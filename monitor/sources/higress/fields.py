"""One field of a round from what was logged for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import xxhash

from monitor.rounds import UNKNOWN_TIME
from monitor.session_keys import bounded
from monitor.sources.higress.ai_log import AiLog
from monitor.sources.higress.outer import Outer
from monitor.sources.times import epoch_ms

#: Response flags that say that the answer did not arrive whole (Envoy's stream_info/utility.h).
_FAILED_FLAGS = frozenset(
    ("DC", "UC", "UF", "UH", "UT", "UR", "URX", "LR", "SI", "DPE", "UPE", "UMSDR", "NR", "NC", "OM", "DT", "RL", "UAEX")
)


def is_plain(logged: tuple[int | float | str | None, ...], counts: tuple[int | None, ...]) -> bool:
    """Whether the counts say all that was logged: none was dropped as damage, and the total is their sum."""
    if logged != counts and any(c is None and v is not None for v, c in zip(logged, counts, strict=True)):
        return False
    return counts[2] is None or counts[2] == (counts[0] or 0) + (counts[1] or 0)


def label(value: Any) -> str | None:
    """A name or an identifier of bounded length; None for what is missing or can't be one."""
    if type(value) is not str:
        return str(value) if type(value) in (int, float) and abs(value) < 10**18 else None
    if value in ("-", ""):
        return None
    return value if len(value) <= 256 else bounded(value)


def model_of(log: AiLog) -> str | None:
    for name in (log.model, log.request_model):
        if name and name not in ("unknown", "UNKNOWN", "-"):
            return bounded(name)
    return None


def succeeded(status: int | None, flags: str | None, answered: bool) -> bool:
    if flags is not None and not _FAILED_FLAGS.isdisjoint(flags.split(",")):
        return False
    return answered if status is None else 200 <= status < 400


def milliseconds(*values: object) -> int | None:
    for value in values:
        if isinstance(value, str):
            value = value.strip()
            if not re.fullmatch(r"\d{1,10}(\.\d{1,9})?", value):
                continue
            value = float(value)
        if isinstance(value, int | float) and 0 <= value < 10**10:
            return round(value)
    return None


def host_of(outer: Outer) -> str | None:
    """``llm-openai.internal.dns`` from ``outbound|443||llm-openai.internal.dns``, else the upstream's address."""
    cluster = label(outer.upstream_cluster)
    if cluster is not None:
        name = cluster.rpartition("|")[2]
        if name:
            return name
    return label(outer.upstream_host)


def started_at(outer: Outer, collected: Mapping[str, Any] | None) -> int:
    for value in (outer.start_time, outer.timestamp, outer.time, collected and collected.get("__time__")):
        if value is not None and (moment := epoch_ms(value)) is not None:
            return moment
    # When a container runtime took the line is no help: it differs between copies of one record.
    return UNKNOWN_TIME


def key_of_collected(outer: Mapping[str, Any], unique: bool) -> bytes:
    """The key of a record that a collector wrote anew: its own fields, in a fixed order.

    A collector's fields differ between exports of one record; its offset counts only where
    nothing else tells two records apart.
    """
    own = {name: value for name, value in outer.items() if not name.startswith("__")}
    if unique and not label(own.get("request_id")):
        own["__file_offset__"] = outer.get("__file_offset__")
    return xxhash.xxh3_128_digest(json.dumps(own, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))


def add_extra(
    extra: dict[str, Any],
    log: AiLog,
    unknown: Mapping[str, msgspec.Raw],
    outer: Outer,
    others: Mapping[str, Any],
    flags: str | None,
) -> None:
    """Add what has no field of its own."""
    if log.api and log.api != "-":
        extra["api"] = log.api
    if log.request_model:
        extra["request_model"] = log.request_model
    if log.api_type:
        extra["api_type"] = log.api_type
    if log.cache_status:
        extra["cache_status"] = log.cache_status
    if log.token_ratelimit_status:
        extra["token_ratelimit_status"] = log.token_ratelimit_status
    if log.fallback_from:
        extra["fallback_from"] = log.fallback_from
    if flags:
        extra["response_flags"] = flags
    if outer.response_code_details != "via_upstream" and (details := _short(outer.response_code_details)):
        extra["response_code_details"] = details
    if outer.path != "/v1/chat/completions" and (path := _short(outer.path)):
        extra["path"] = path.partition("?")[0]  # what follows may hold keys, or what was asked
    if outer.trace_id != "-" and (trace := _short(outer.trace_id)):
        extra["trace_id"] = trace
    fields: dict[str, Any] = dict(unknown)
    for name, value in others.items():
        if value not in ("-", "", None):
            fields[name] = value
    if fields:
        extra["fields"] = fields


def _short(value: Any) -> str | None:
    return None if value in ("-", "", None) else str(value)[:512]
