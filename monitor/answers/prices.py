"""What a token costs: the price of each model that the log has seen, and where it comes from."""

from __future__ import annotations

import time
from decimal import Decimal

from pydantic import Field

from monitor.answers.base import Answer, Asking, Part
from monitor.prices.catalog import Catalog


class PriceRow(Part):
    """One model's price now."""

    model: str
    status: str = Field(description="priced, free, partial, estimated or unpriced.")
    matched: str | None = None
    provider: str | None = None
    currency: str | None = None
    per_million: dict[str, float] | None = Field(default=None, description="Rates per million tokens.")
    effective: str | None = None
    source: str | None = None


class Prices(Answer):
    """The prices that apply to the models of the log."""

    version: str
    rows: list[PriceRow]


def prices_in_use(ask: Asking, catalog: Catalog) -> Prices:
    """The price of every model that the log has seen, as of now."""
    models = sorted({part.model for part in ask.store.slices() if part.model is not None})
    return Prices(version=catalog.version, rows=[price_of(catalog, model) for model in models], **ask.freshness)


def price_of(catalog: Catalog, model: str, host: str | None = None) -> PriceRow:
    """One model's price now, with the rule that found it."""
    found = catalog.price(model, host, time.time_ns() // 1_000_000)
    rates = {}
    if found.rates is not None:
        for name in type(found.rates).__struct_fields__:
            rate = getattr(found.rates, name)
            if isinstance(rate, Decimal):
                rates[name] = int(rate) if rate == rate.to_integral_value() else float(rate)
    return PriceRow(
        model=model,
        status=found.status,
        matched=found.matched,
        provider=found.provider,
        currency=found.currency,
        per_million=rates or None,
        effective=None if found.effective is None else found.effective.isoformat(),
        source=found.source,
    )
