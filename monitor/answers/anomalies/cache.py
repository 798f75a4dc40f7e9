"""Cache misses that cost money: the cached part of a session's input collapses while the input does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from monitor.answers.anomalies.base import Finding, paid, took
from monitor.answers.anomalies.sessions import Sessions
from monitor.answers.course import without_asides
from monitor.rounds import Usage
from monitor.store.base import Call

if TYPE_CHECKING:
    from monitor.prices.catalog import Catalog

#: From at least this share of the input cached to at most that, with so many tokens cached before.
_WAS, _IS, _LEAST_TOKENS = 0.5, 0.1, 1024
#: Vendors keep a cache for some minutes.
_PAUSE_MS = 300_000
#: Misses that are priced; looking at more changes no order that anybody sees.
_MOST_PRICED = 2000


def misses(sessions: Sessions, catalog: Callable[[], Catalog]) -> Iterator[Finding]:
    """Rounds whose input could have come from the cache as it did a round before; `catalog` is called if needed."""
    priced = 0
    for calls in sessions.values():
        for before, call in pairwise(without_asides([call for call in calls if call.input_tokens])):
            if not _missed(before, call) or priced >= _MOST_PRICED:
                continue
            priced += 1
            extra = _extra(before, call, catalog())
            if extra is not None and extra <= 0:
                continue  # its cached tokens cost as much as others
            was, is_ = _share(before), _share(call)
            pause = call.started_at - before.started_at
            why = f"{is_:.0%} of its {call.input_tokens or 0:,} input tokens came from the cache, "
            why += f"a round before {was:.0%} of {before.input_tokens or 0:,}"
            why += f" ({took(pause)} earlier, longer than caches are kept)" if pause > _PAUSE_MS else ""
            if extra is not None and call.currency is not None and call.nano is not None:
                why += (
                    f"; it cost {paid(call.nano, call.currency)}, with a hit {paid(call.nano - extra, call.currency)}"
                )
            yield Finding(
                kind="cache_miss",
                call=call,
                value=round(is_, 4),
                usual=round(was, 4),
                unit="share of input cached",
                times=1.0 if not extra or not call.nano else call.nano / max(1, call.nano - extra),
                why=why,
                extra={} if extra is None or call.currency is None else {call.currency: extra},
            )


def _share(call: Call) -> float:
    return (call.cached_tokens or 0) / (call.input_tokens or 1)


def _missed(before: Call, call: Call) -> bool:
    return (
        before.model == call.model
        and before.host == call.host
        and call.success
        and before.cached_tokens is not None
        and call.cached_tokens is not None
        and before.cached_tokens >= _LEAST_TOKENS
        and _share(before) >= _WAS
        and _share(call) <= _IS
        and (call.input_tokens or 0) >= (before.input_tokens or 0)
    )


def _extra(before: Call, call: Call, catalog: Catalog) -> int | None:
    """What the miss cost more than a hit as large as the one before, in the round's currency; None where unknown."""
    if call.nano is None or call.model is None:
        return None
    cached = before.cached_tokens or 0
    # What a miss writes to the cache, a hit would have found there.
    written = call.cache_write_tokens
    hit = Usage(
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        reasoning_tokens=call.reasoning_tokens,
        cached_tokens=cached,
        cache_write_tokens=None if written is None else min(written, max(0, (call.input_tokens or 0) - cached)),
    )
    missed = Usage(
        call.input_tokens, call.output_tokens, call.reasoning_tokens, call.cached_tokens, call.cache_write_tokens
    )
    with_hit = catalog.cost(call.model, call.host, call.started_at, hit)
    without = catalog.cost(call.model, call.host, call.started_at, missed)
    if with_hit.nano is None or without.nano is None or with_hit.currency != call.currency:
        return None
    return without.nano - with_hit.nano
