"""One value of a transcript's record: read as what it should be, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from monitor.rounds import NO_USAGE, ReportedCost, Usage
from monitor.sources.usage import count

_LONGEST = 400
#: A single call that cost more than this is damage.
_MOST_USD = Decimal(10**6)


class Unreadable(ValueError):
    """A record that is no JSON object."""


def decode(text: bytes | str) -> dict[str, Any]:
    """A record as an object.

    Raises:
        Unreadable: it is none.
    """
    try:
        try:
            value = msgspec.json.decode(text)
        except msgspec.MsgspecError:
            # Python's reader takes what msgspec refuses, such as half of a surrogate pair.
            value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("not JSON") from error
    if not isinstance(value, dict):
        raise Unreadable("not an object")
    return value


def encode(value: object) -> bytes:
    """A value as JSON in UTF-8, whatever its texts hold."""
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return json.dumps(value).encode()


def text(value: object) -> str | None:
    """A short text, or None where it is none or empty."""
    if not isinstance(value, str) or not value:
        return None
    return value[:_LONGEST].encode("utf-8", "replace").decode()


def mapping(value: object) -> Mapping[str, Any]:
    """An object, or an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def usage(recorded: Mapping[str, Any], api: str | None) -> Usage:
    """OpenClaw's counts in our convention: its `input` leaves out what came from the cache or went into it.

    Zeros everywhere are what OpenClaw writes where the provider told nothing, so they are unknown.
    """
    counts = [count(recorded.get(name)) for name in ("input", "output", "cacheRead", "cacheWrite")]
    if not any(counts):
        return NO_USAGE
    fresh, output, read, write = counts
    reasoning = count(recorded.get("reasoningTokens"))
    if reasoning is not None and reasoning > (output or 0):
        reasoning = None
    # Releases before 2026.7 kept no count of reasoning, and added it to OpenAI's output, which holds it already.
    doubled = "reasoningTokens" not in recorded and output and (api is None or api.startswith("openai"))
    whole = None if fresh is None and not read and not write else (fresh or 0) + (read or 0) + (write or 0)
    try:
        return Usage(
            whole,
            output,
            reasoning,
            read,
            write,
            convention="openclaw_upper_bound" if doubled else "openclaw",
        )
    except ValueError:
        return NO_USAGE


def reported(recorded: Mapping[str, Any], usage: Usage) -> ReportedCost | None:
    """What OpenClaw says that a call cost. It writes 0 where it has no price, so 0 says nothing."""
    total = mapping(recorded.get("cost")).get("total")
    if not usage.known or isinstance(total, bool) or not isinstance(total, int | float):
        return None
    exact = Decimal(repr(total))
    if not exact.is_finite() or not 0 < exact < _MOST_USD:
        return None
    return ReportedCost(int(exact.scaleb(9).to_integral_value(ROUND_HALF_UP)), "USD")
