"""The lists of genai-prices (MIT), as installed or as published later, through a snapshot that nothing can replace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache

from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
    _providers_from_raw,  # there is no public way to read what is published; a test holds on to it
)

from monitor.prices.names import Candidate, Rule, dated, same_model
from monitor.prices.rates import DAY_MS, Epoch, Plan, Rates, Tier, Timeline, Window

#: What genai-prices calls our providers, where it has another name. It is not asked for those whose
#: list is ours: Alibaba and Volcengine are missing there, Zhipu is converted from CNY at a rate nobody
#: chose, and DeepSeek's aliases kept their prices of February 2025 (all seen in 0.2.3).
_THEIR_NAMES = {"moonshot-intl": "moonshotai", "minimax-intl": "minimax"}
_OURS = {"alibaba-cn", "alibaba-intl", "deepseek", "minimax-cn", "moonshot-cn", "volcengine", "zhipu"}

#: Our rates and their keys; `request` is theirs per thousand.
_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning_output": "output_reasoning_mtok",
    "request": "requests_kcount",
}


class Listing:
    """A model of one provider's list, with the rule by which a name led to it."""

    __slots__ = ("context", "model_id", "provider", "rule", "timeline")

    def __init__(self, provider: str, model_id: str, rule: Rule, timeline: Timeline, context: int | None) -> None:
        """`provider` is ours, `model_id` theirs; `context` is the model's window in tokens."""
        self.provider = provider
        self.model_id = model_id
        self.rule = rule
        self.timeline = timeline
        self.context = context


class Lists:
    """The lists of all providers, at one moment of their history."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        # Ours alone: what other libraries of the process do to the shared snapshot changes no price here.
        self._snapshot = DataSnapshot(providers=list(providers), from_auto_update=False)

    def find(self, provider: str, candidates: Iterable[Candidate]) -> Listing | None:
        """The entry for the first of `candidates` that `provider` (a name of ours) lists.

        Their matching is by beginnings and by parts; what it finds counts only if the name is that model
        and nothing more (`names.same_model`).
        """
        if provider in _OURS:
            return None
        try:
            theirs = self._snapshot.find_provider(None, _THEIR_NAMES.get(provider, provider), None)
        except LookupError:
            return None
        for candidate in candidates:
            # Not through the snapshot: it keeps every name that ever matched, and clients choose names.
            model = theirs.find_model(candidate.name, all_providers=self._snapshot.providers)
            if model is None:
                continue
            known = [model.id, *_names(model.match)]
            rule = candidate.rule
            if candidate.name not in (name.lower() for name in known):
                if not any(same_model(candidate.name, name) for name in known):
                    continue
                rule = "date_stripped" if dated(candidate.name) else "normalised" if rule == "exact" else rule
            epochs = tuple(_epochs(model))
            # OpenRouter's entries without a price are those it gives away, and their names say so.
            if not epochs and provider == "openrouter" and model.id.endswith(":free"):
                zero = Decimal(0)
                epochs = (Epoch(Plan([Tier(Rates(input=zero, output=zero))])),)
            if epochs:
                return Listing(provider, model.id, rule, Timeline(epochs), model.context_window or None)
        return None

    def priced_models(self) -> dict[str, int]:
        """How many models have a price, by provider.

        Raises:
            ValueError: a price is below zero or no number.
        """
        counts: dict[str, int] = {}
        for provider in self._snapshot.providers:
            for model in provider.models:
                epochs = tuple(_epochs(model))
                for epoch in epochs:
                    for plan in (epoch.plan, *(plan for _, plan in epoch.windows)):
                        rates = [rate for tier in plan.tiers for rate in tier.rates.values]
                        if not all(rate.is_finite() and rate >= 0 for rate in rates):
                            raise ValueError(f"{provider.id}/{model.id} has a price that is none")
                counts[provider.id] = counts.get(provider.id, 0) + bool(epochs)
        return counts


@lru_cache(maxsize=1)
def installed() -> Lists:
    """The lists that came with the installed library."""
    from genai_prices.data import providers  # noqa: PLC0415 - 1.6 MB of code, not needed where newer lists are kept

    return Lists(providers)


def published(content: bytes) -> Lists:
    """The lists in a file that genai-prices publishes (JSON).

    Raises:
        ValueError: this is no such file, or one in a form that the installed library does not know.
    """
    raw = json.loads(content, parse_float=Decimal)
    if not isinstance(raw, list):
        raise ValueError("there is no list of providers in it")
    return Lists(_providers_from_raw(raw))


def _names(match: MatchLogic) -> Iterator[str]:
    """The texts that a clause compares with. Patterns give none; their models have their id."""
    if isinstance(match, ClauseOr):
        for clause in match.or_:
            yield from _names(clause)
    elif isinstance(match, ClauseAnd):
        for clause in match.and_:
            yield from _names(clause)
    elif isinstance(match, ClauseEquals):
        yield match.equals
    elif isinstance(match, ClauseStartsWith):
        yield match.starts_with
    elif isinstance(match, ClauseEndsWith):
        yield match.ends_with
    elif isinstance(match, ClauseContains):
        yield match.contains


def _epochs(model: ModelInfo) -> Iterator[Epoch]:
    """Their conditions, of which the last that holds wins, as spans of time with hours in them."""
    prices = model.prices
    if isinstance(prices, ModelPrice):
        prices = [ConditionalPrice(prices=prices)]
    starts = {p.constraint.start_date for p in prices if isinstance(p.constraint, StartDateConstraint)}
    dates = [None, *sorted(starts)]
    for since, until in zip(dates, [*dates[1:], None], strict=True):
        windows: list[tuple[Window, Plan]] = []
        base = prices[0].prices if prices else None
        for conditional in reversed(prices):
            limit = conditional.constraint
            if isinstance(limit, TimeOfDateConstraint):
                tiers = tuple(_tiers(conditional.prices))
                if tiers:
                    window = Window(_day_ms(limit.start_time), _day_ms(limit.end_time), tiers)
                    windows.append((window, Plan(tiers)))
            elif limit is None or (since is not None and limit.start_date <= since):
                base = conditional.prices
                break
        tiers = tuple(_tiers(base)) if base is not None else ()
        if tiers:
            yield Epoch(Plan(tiers), _midnight_ms(since), _midnight_ms(until), tuple(windows))


def _tiers(prices: ModelPrice) -> Iterator[Tier]:
    """Tiers by input length; nothing where the entry has no price for text."""
    given: dict[str, Decimal | TieredPrices] = {}
    for ours, theirs in _KEYS.items():
        value = vars(prices).get(theirs)
        if value is not None:
            given[ours] = value
    if not given.keys() & {"input", "output"}:
        return
    starts = sorted({tier.start for v in given.values() if isinstance(v, TieredPrices) for tier in v.tiers})
    for bound in [*starts, None]:
        rates = {ours: _rate(value, bound) for ours, value in given.items()}
        if "request" in rates:
            rates["request"] /= 1000
        yield Tier(Rates(**rates), up_to_input=bound)


def _rate(value: Decimal | TieredPrices, up_to: int | None) -> Decimal:
    if isinstance(value, Decimal):
        return value
    rate = value.base
    for tier in value.tiers:
        # A tier holds for more tokens than its start.
        if up_to is None or tier.start < up_to:
            rate = tier.price
    return rate


def _day_ms(clock: time) -> int:
    offset = clock.utcoffset()
    seconds = clock.hour * 3600 + clock.minute * 60 + clock.second - (int(offset.total_seconds()) if offset else 0)
    return seconds * 1000 % DAY_MS


def _midnight_ms(day: date | None) -> int | None:
    return None if day is None else round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
