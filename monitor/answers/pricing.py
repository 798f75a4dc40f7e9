"""The price of every model that is known, per 1,000 tokens, for programs that count calls."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal

from pydantic import Field

from monitor.answers.base import Answer, Asking, Part
from monitor.prices.catalog import Catalog
from monitor.prices.model_pricing import display_name
from monitor.prices.rates import Rates

_THOUSAND = Decimal(1000)


class ModelRates(Part):
    """One model's price now, per 1,000 tokens in `currency`."""

    display_name: str
    currency: str
    input: float
    output: float
    cached: float | None = Field(default=None, description="Of input tokens that a cache served.")
    cache_write: float | None = Field(default=None, description="Of input tokens that a cache took.")
    source: str | None = None
    in_use: bool | None = Field(default=None, description="The log has calls of this model.")


class Pricing(Answer):
    """Prices by model: those of the lists, and those of the log wherever their price comes from."""

    models: dict[str, ModelRates]
    unpriced: list[str] = Field(default=[], description="Models of the log that no list has a price for.")
    version: str


def pricing(ask: Asking, catalog: Catalog) -> Pricing:
    """What every known model costs now. A price by length is that of a short request."""
    now = time.time_ns() // 1_000_000
    used = {part.model for part in ask.store.slices() if part.model is not None}
    models: dict[str, ModelRates] = {}
    unpriced = []
    for name in sorted({*catalog.listed(), *used}):
        found = catalog.price(name, None, now)
        if found.rates is None or found.rates.input is None or found.currency is None:
            if name in used:
                unpriced.append(name)
            continue
        models[name] = ModelRates(
            display_name=display_name(name),
            currency=found.currency,
            input=_per_thousand(found.rates.input),
            output=_per_thousand(found.rates.output or Decimal(0)),
            **_caches(found.rates),
            source=found.source,
            in_use=True if name in used else None,
        )
    return Pricing(models=models, unpriced=unpriced, version=catalog.version, **ask.freshness)


def _caches(rates: Rates) -> Mapping[str, float]:
    pairs = (("cached", rates.cached), ("cache_write", rates.cache_write))
    return {name: _per_thousand(rate) for name, rate in pairs if rate is not None}


def _per_thousand(per_million: Decimal) -> float:
    return float(per_million / _THOUSAND)
