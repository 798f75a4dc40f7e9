"""What an entry of a price list charges for a round, exactly: integers, rounded once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from monitor.rounds import UNKNOWN_TIME, Usage

DAY_MS = 86_400_000
#: Beyond any token count and any time in milliseconds.
FOREVER = 1 << 62
_MILLION = 1_000_000


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in a currency unit per million tokens. None means that the list does not say."""

    input: Decimal | None = None
    output: Decimal | None = None
    #: Tokens read from a cache; without it they cost as much as input.
    cached: Decimal | None = None
    #: Tokens written to a cache; without it they cost as much as input.
    cache_write: Decimal | None = None
    #: Tokens written for an hour; without it they cost as much as other writes.
    cache_write_1h: Decimal | None = None
    #: The whole output of a round that reasoned (Alibaba lists a thinking mode so).
    thinking_output: Decimal | None = None
    #: Only the reasoning part of the output.
    reasoning_output: Decimal | None = None
    #: Per request, in a currency unit.
    request: Decimal | None = None

    @property
    def values(self) -> tuple[Decimal, ...]:
        """The prices that are given."""
        return tuple(value for value in msgspec.structs.astuple(self) if value is not None)


class Tier(msgspec.Struct, frozen=True):
    """Rates for rounds up to a length. The whole round costs what its tier says, not only the excess."""

    rates: Rates
    #: Input tokens, inclusive; None is no bound.
    up_to_input: int | None = None
    #: Output tokens, inclusive; None is no bound.
    up_to_output: int | None = None


class Window(msgspec.Struct, frozen=True):
    """Hours of the day, in milliseconds since midnight UTC, at which other tiers hold. May pass midnight."""

    start: int
    end: int
    tiers: tuple[Tier, ...]
    #: Monday to Friday by UTC only.
    weekdays: bool = False

    def holds(self, at_ms: int) -> bool:
        """Whether `at_ms` lies within."""
        day, time = divmod(at_ms, DAY_MS)
        # 1970-01-01 was a Thursday.
        if self.weekdays and (day + 3) % 7 > 4:
            return False
        if self.start <= self.end:
            return self.start <= time < self.end
        return time >= self.start or time < self.end


class _Scaled(NamedTuple):
    """A tier's rates per token, as integers in 1/`scale` nano-units."""

    up_to_input: int
    up_to_output: int
    scale: int
    input: int
    cached: int
    cache_write: int
    cache_write_1h: int
    output: int
    thinking_output: int | None
    reasoning_output: int
    request: int


def _scale(tier: Tier) -> _Scaled:
    rates = tier.rates
    # A price per million tokens is that many thousand nano-units per token: three places come for free.
    places = max((-int(value.as_tuple().exponent) for value in rates.values), default=0)
    places = max(places - 3, 0)

    def scaled(value: Decimal | None, default: int = 0) -> int:
        return default if value is None else int(value.scaleb(3 + places))

    plain = scaled(rates.input)
    write = scaled(rates.cache_write, plain)
    output = scaled(rates.output)
    return _Scaled(
        up_to_input=FOREVER if tier.up_to_input is None else tier.up_to_input,
        up_to_output=FOREVER if tier.up_to_output is None else tier.up_to_output,
        scale=10**places,
        input=plain,
        cached=scaled(rates.cached, plain),
        cache_write=write,
        cache_write_1h=scaled(rates.cache_write_1h, write),
        output=output,
        thinking_output=None if rates.thinking_output is None else scaled(rates.thinking_output),
        reasoning_output=scaled(rates.reasoning_output, output),
        request=scaled(rates.request) * _MILLION,
    )


class Plan:
    """The tiers of one entry, ready to be multiplied."""

    __slots__ = ("_scaled", "has_input", "has_output", "tiers")

    def __init__(self, tiers: Iterable[Tier]) -> None:
        """`tiers` in the order in which they are tried; the last must have no bound."""
        self.tiers = tuple(tiers)
        last = self.tiers[-1]
        if last.up_to_input is not None or last.up_to_output is not None:
            raise ValueError("the last tier must have no bound")
        self._scaled = tuple(_scale(tier) for tier in self.tiers)
        self.has_input = any(tier.rates.input is not None for tier in self.tiers)
        self.has_output = any(tier.rates.output is not None for tier in self.tiers)

    @property
    def free(self) -> bool:
        """Whether the list gives prices, and every one is zero."""
        values = [value for tier in self.tiers for value in tier.rates.values]
        return bool(values) and not any(values)

    def nano(self, usage: Usage) -> int:
        """What `usage` costs in nano-units, rounded half up. What was not counted costs nothing here."""
        reasoning = usage.reasoning_tokens or 0
        cached = usage.cached_tokens or 0
        write = usage.cache_write_tokens or 0
        long_write = usage.cache_write_1h_tokens or 0
        known_input, known_output = usage.input_tokens, usage.output_tokens
        # Parts of a whole that was not counted are still tokens.
        whole = cached + write if known_input is None else known_input
        output = reasoning if known_output is None else known_output
        tier = self._scaled[0]
        if whole > tier.up_to_input or output > tier.up_to_output:
            for tier in self._scaled[1:]:
                if whole <= tier.up_to_input and output <= tier.up_to_output:
                    break
        total = tier.request + (whole - cached - write) * tier.input
        if cached:
            total += cached * tier.cached
        if write:
            total += (write - long_write) * tier.cache_write + long_write * tier.cache_write_1h
        if not reasoning:
            total += output * tier.output
        elif tier.thinking_output is not None:
            total += output * tier.thinking_output
        else:
            total += (output - reasoning) * tier.output + reasoning * tier.reasoning_output
        scale = tier.scale
        return total if scale == 1 else (2 * total + scale) // (2 * scale)

    def complete(self, usage: Usage) -> bool:
        """Whether every part of `usage` was counted and has a price.

        An entry that prices only input (embedding, rerank) has no output to count.
        """
        known_input, known_output = usage.input_tokens, usage.output_tokens
        if known_input is None or (known_input and not self.has_input):
            return False
        return known_output is not None or not self.has_output


class Epoch(msgspec.Struct, frozen=True):
    """The time for which an entry holds: milliseconds since 1970 UTC, `until` exclusive, None open."""

    plan: Plan
    since: int | None = None
    until: int | None = None
    windows: tuple[tuple[Window, Plan], ...] = ()

    def plan_at(self, at_ms: int) -> Plan:
        """The plan for this moment; outside all windows, and for undated rounds, the ordinary one."""
        if at_ms != UNKNOWN_TIME:
            for window, plan in self.windows:
                if window.holds(at_ms):
                    return plan
        return self.plan


class Timeline:
    """Epochs that follow each other, perhaps with gaps."""

    __slots__ = ("_starts", "epochs")

    def __init__(self, epochs: Iterable[Epoch]) -> None:
        """`epochs` in any order; they must not overlap and there must be at least one."""
        self.epochs = tuple(sorted(epochs, key=lambda epoch: -FOREVER if epoch.since is None else epoch.since))
        self._starts = [-FOREVER if epoch.since is None else epoch.since for epoch in self.epochs]

    def at(self, at_ms: int) -> Epoch | None:
        """The epoch of this moment, the newest for UNKNOWN_TIME, None where the list had no price yet."""
        if at_ms == UNKNOWN_TIME:
            return self.epochs[-1]
        index = bisect_right(self._starts, at_ms) - 1
        if index < 0:
            return None
        epoch = self.epochs[index]
        return epoch if epoch.until is None or at_ms < epoch.until else None

    def gap(self, at_ms: int) -> tuple[int, int]:
        """Where `at` gives None: the span around this moment that has no epoch, its end exclusive."""
        index = bisect_right(self._starts, at_ms) - 1
        until = self.epochs[index].until if index >= 0 else None
        following = self._starts[index + 1 : index + 2]
        return -FOREVER if until is None else until, following[0] if following else FOREVER
