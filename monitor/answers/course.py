"""The course of a session in a few figures: context, cost, cache and latency at its beginning and now."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from pydantic import Field

from monitor.answers.amounts import money
from monitor.answers.base import Money, Part, share, shown
from monitor.store.base import Call

#: More rounds than these are not looked at, so that a detailed answer stays quick: the newest count.
MOST_ROUNDS = 10_000
#: A call that is this many times shorter than both its neighbours is something small on the side, such as finding a
#: title.
_ASIDE = 4
#: The input falls below this part of what it was: the context was compacted, or the conversation began anew.
_RESET = 0.5
#: Rounds at the beginning and at the end that are compared with each other.
_ENDS = 5
#: A change by less than this factor is none.
_NOTICED = 1.15


class Course(Part):
    """A session's course in a few figures."""

    first_input: int | None = Field(default=None, description="Median input tokens of the first rounds.")
    last_input: int | None = Field(default=None, description="Median input tokens of the last rounds.")
    growth_per_round: int | None = Field(default=None, description="By how much the input typically grows a round.")
    resets: int | None = Field(default=None, description="How often the input fell by half: compactions, resets.")
    cost_per_round: Money | None = Field(default=None, description="Median of the last rounds.")
    first_cost_per_round: Money | None = Field(default=None, description="Median of the first rounds.")
    cache_hit_rate: float | None = Field(default=None, description="Cached share of the input of the last rounds.")
    first_cache_hit_rate: float | None = None
    latency_ms: int | None = Field(default=None, description="Median of the last rounds.")
    first_latency_ms: int | None = None
    said: str


def course(calls: Sequence[Call]) -> Course:
    """The course of rounds of one session, oldest first."""
    counted = without_asides([call for call in calls if call.input_tokens])
    inputs = [call.input_tokens or 0 for call in counted]
    first, last = counted[:_ENDS], counted[-_ENDS:]
    steps = [after - before for before, after in pairwise(inputs) if after >= _RESET * before]
    resets = max(0, len(inputs) - 1) - len(steps)
    figures = Course(
        first_input=_middle([call.input_tokens for call in first]),
        last_input=_middle([call.input_tokens for call in last]),
        growth_per_round=round(median(steps)) if steps else None,
        resets=resets or None,
        cost_per_round=_cost(last),
        first_cost_per_round=_cost(first),
        cache_hit_rate=_hits(last),
        first_cache_hit_rate=_hits(first),
        latency_ms=_middle([call.latency_ms for call in last]),
        first_latency_ms=_middle([call.latency_ms for call in first]),
        said="",
    )
    return figures.model_copy(update={"said": _said(figures, len(counted))})


def without_asides(calls: Sequence[Call]) -> list[Call]:
    """The rounds without those that are far shorter than the rounds before and after them.

    Of the last round only the one before is known: if it begins something new, the next one will show it.
    """
    sizes = [call.input_tokens or 0 for call in calls]
    around = [*sizes, sizes[-2] if len(sizes) > 1 else 0]
    return [
        call
        for index, call in enumerate(calls)
        if index == 0 or _ASIDE * sizes[index] >= min(sizes[index - 1], around[index + 1])
    ]


def _middle(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(median(known)) if known else None


def _cost(calls: Sequence[Call]) -> Money | None:
    """The median cost, where all that have one have it in the same currency."""
    known = [(call.currency, call.nano) for call in calls if call.nano is not None and call.currency is not None]
    currencies = {currency for currency, _ in known}
    if len(currencies) != 1:
        return None
    return shown({currencies.pop(): round(median(nano for _, nano in known))})


def _hits(calls: Sequence[Call]) -> float | None:
    known = [call for call in calls if call.cached_tokens is not None]
    return share(sum(call.cached_tokens or 0 for call in known), sum(call.input_tokens or 0 for call in known))


def _said(figures: Course, counted: int) -> str:
    """The course in a sentence or two."""
    first, last = figures.first_input, figures.last_input
    if first is None or last is None:
        return "No round of this session has known tokens."
    if counted < 2 * _ENDS:
        said = f"The last rounds take {last:,} input tokens; {counted} are too few to tell how that goes on."
    elif last > _NOTICED * first and figures.growth_per_round is not None and figures.growth_per_round > 0:
        said = f"The context has grown from {first:,} to {last:,} input tokens, typically by "
        said += f"{figures.growth_per_round:,} a round"
    elif first > _NOTICED * last:
        said = f"The context has shrunk from {first:,} to {last:,} input tokens"
    else:
        said = f"The context stays near {last:,} input tokens"
    if counted >= 2 * _ENDS:
        said += f", with {figures.resets} resets or compactions." if figures.resets else "."
    was, is_ = figures.first_cost_per_round, figures.cost_per_round
    if is_ is not None and any(is_.values()):
        said += f" A round costs {money(is_)} now"
        said += f", at first {money(was)}" if _differ(was, is_) else ""
        rate = figures.cache_hit_rate
        said += f"; {rate:.0%} of its input comes from the cache." if rate is not None else "."
    return said


def _differ(was: Money | None, is_: Money) -> bool:
    """Whether two costs in the same money are worth telling apart."""
    if was is None or was.keys() != is_.keys():
        return False
    [before], [after] = was.values(), is_.values()
    return max(before, after) > _NOTICED * min(before, after)
