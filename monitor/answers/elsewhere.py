"""Work that was done, and what the same tokens would cost on another model: round by round, or from sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from monitor.answers.base import added
from monitor.prices.rates import DAY_MS, Plan, Tier
from monitor.rounds import MAX_PLAUSIBLE_TOKENS, UNKNOWN_TIME, Usage
from monitor.store.base import Counts, PriceTag, Slice, StoredRound

if TYPE_CHECKING:
    from monitor.prices.catalog import Catalog, Resolution

#: Rounds of average length that are priced at once where only sums are known, so that parts of tokens count.
_MANY = 1000


class Elsewhere(NamedTuple):
    """What the work costs on another model: nano-units of its currency."""

    nano: int
    status: str
    #: The same, by the currency in which the rounds were paid.
    by_paid: dict[str, int]


class Work(NamedTuple):
    """What was done, and by which function its cost on another model is found."""

    #: What the rounds cost, by model and price.
    slices: list[Slice]
    rounds: int
    compared: int
    longest_input: int | None
    longest_output: int | None
    tool_rounds: int | None
    cost_on: Callable[[str, Resolution], Elsewhere]


def of_rounds(catalog: Catalog, rounds: Sequence[StoredRound], total: int, at: int) -> Work:
    """Rounds one by one: each is priced at its own length and hour."""
    known = [stored for stored in rounds if stored.round.usage.known]
    slices = [
        Slice(
            stored.round.model,
            PriceTag(stored.cost.status, stored.cost.currency, stored.cost.source, stored.price_version),
            Counts(
                rounds=1,
                input_tokens=stored.round.usage.input_tokens,
                output_tokens=stored.round.usage.output_tokens,
                reasoning_tokens=stored.round.usage.reasoning_tokens,
                cached_tokens=stored.round.usage.cached_tokens,
                cache_write_tokens=stored.round.usage.cache_write_tokens,
                nano=stored.cost.nano,
            ),
        )
        for stored in known
    ]

    def cost_on(model: str, _: Resolution) -> Elsewhere:
        nano, statuses = 0, set()
        by_paid: dict[str, int] = {}
        for stored in known:
            started = stored.round.started_at
            # The same hour of the last day: some prices depend on it.
            moment = at if started == UNKNOWN_TIME else at - (at - started) % DAY_MS
            cost = catalog.cost(model, None, moment, stored.round.usage)
            nano += cost.nano or 0
            paid_in = stored.cost.currency if stored.cost.nano is not None else None
            if paid_in is not None:
                by_paid[paid_in] = by_paid.get(paid_in, 0) + (cost.nano or 0)
            statuses.add(cost.status)
        status = next((s for s in ("unpriced", "partial", "estimated", "priced") if s in statuses), "free")
        return Elsewhere(nano, status, by_paid)

    return Work(
        slices,
        total,
        len(known),
        max((n for s in known if (n := s.round.usage.input_tokens) is not None), default=None),
        max((n for s in known if (n := s.round.usage.output_tokens) is not None), default=None),
        sum(stored.round.has_tool_calls for stored in known),
        cost_on,
    )


def of_sums(slices: Sequence[Slice]) -> Work:
    """Sums by model: each model's rounds are priced at their average length."""
    groups: dict[tuple[str | None, str | None], list[Counts]] = {}
    for part in slices:
        paid_in = None if part.counts.nano is None else part.price.currency
        groups.setdefault((part.model, paid_in), []).append(part.counts)
    sums = [(paid_in, added(parts)) for (_, paid_in), parts in groups.items()]
    counted = [(paid_in, counts) for paid_in, counts in sums if counts.rounds > counts.unmetered]

    def cost_on(_: str, price: Resolution) -> Elsewhere:
        nanos = [(paid_in, _average_cost(price, counts)) for paid_in, counts in counted]
        by_paid: dict[str, int] = {}
        for paid_in, nano in nanos:
            if paid_in is not None:
                by_paid[paid_in] = by_paid.get(paid_in, 0) + nano
        return Elsewhere(sum(nano for _, nano in nanos), price.status, by_paid)

    metered = [part for part in slices if part.counts.rounds > part.counts.unmetered]
    total = added(part.counts for part in slices)
    return Work(metered, total.rounds, total.rounds - total.unmetered, None, None, None, cost_on)


def _average_cost(price: Resolution, counts: Counts) -> int:
    """What rounds cost of which the sums are known, all at the tier of their average."""
    rounds = counts.rounds - counts.unmetered
    given, said = (counts.input_tokens or 0) / rounds, (counts.output_tokens or 0) / rounds
    tier = next(
        (
            tier
            for tier in price.tiers
            if (tier.up_to_input is None or given <= tier.up_to_input)
            and (tier.up_to_output is None or said <= tier.up_to_output)
        ),
        price.tiers[-1],
    )

    # So many that a usage still takes them for tokens and not for damage.
    many = _MANY if (given + said) * _MANY < MAX_PLAUSIBLE_TOKENS // 4 else 1

    def of_many(tokens: int | None) -> int:
        return (tokens or 0) * many // rounds

    reasoning, cached, write = map(of_many, (counts.reasoning_tokens, counts.cached_tokens, counts.cache_write_tokens))
    usage = Usage(
        # Some rounds tell a part and not the whole.
        input_tokens=max(of_many(counts.input_tokens), cached + write),
        output_tokens=max(of_many(counts.output_tokens), reasoning),
        reasoning_tokens=reasoning,
        cached_tokens=cached,
        cache_write_tokens=write,
    )
    nano = Plan([Tier(tier.rates)]).nano(usage)
    if tier.rates.request is not None:
        nano += int(tier.rates.request.scaleb(9)) * (many - 1)
    return nano * rounds // many
