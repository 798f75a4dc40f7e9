"""Which fields a usage record has, and under which names another program's file has them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

#: The fields that are understood, in the order in which they are written.
NAMES = (
    "id",
    "timestamp",
    "user_id",
    "session_id",
    "model",
    "function",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
    "currency",
    "cost_given",
    "duration_ms",
    "ttft_ms",
    "success",
    "status",
    "response_id",
    "request_id",
    "consumer",
    "host",
)
#: What a mapping may name; whether a cost was given is said by our own records only.
MAPPED = tuple(name for name in NAMES if name != "cost_given")


class FieldNames(msgspec.Struct, frozen=True):
    """How a file names its fields: ours to theirs, dots for objects inside objects. Unnamed ones have our names."""

    fields: tuple[tuple[str, str], ...] = ()
    #: Whether the counts of input tokens hold those that a cache served or took.
    input_includes_cache: bool = True
    #: Whether the counts of output tokens hold those of reasoning.
    output_includes_reasoning: bool = True
    #: The currency of costs that name none.
    currency: str = "CNY"

    @property
    def is_ours(self) -> bool:
        """Whether the file has our own names."""
        return not self.fields

    def getters(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Our names and how to get each out of a record."""
        named = dict(self.fields)
        return {name: _getter(named.get(name, name)) for name in NAMES}


def _getter(path: str) -> Callable[[Mapping[str, Any]], Any]:
    parts = path.split(".")
    if len(parts) == 1:
        return operator.methodcaller("get", path)

    def get(record: Mapping[str, Any]) -> Any:
        # A name with a dot in it may stand there as it is.
        if path in record:
            return record[path]
        value: Any = record
        for part in parts:
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value

    return get
