"""What a token costs: the price of each model that the log has seen, and where it comes from."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from decimal import Decimal

from pydantic import Field

from monitor.answers.base import Answer, Asking, Part, added
from monitor.prices.catalog import Catalog
from monitor.store.base import Slice


class PriceRow(Part):
    """One model's price now."""

    model: str
    status: str = Field(description="priced, free, partial, estimated or unpriced.")
    rule: str | None = Field(default=None, description="How the name was matched.")
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


class MissingPrice(Part):
    """A model of the log that no list has a price for."""

    model: str
    rounds: int
    tokens: int


class MissingPrices(Answer):
    """Models without a price, the most used first, and where an overlay file begins."""

    rows: list[MissingPrice]
    overlay: str | None = Field(default=None, description="TOML to fill in and name as prices.overlay.")


def missing_prices(ask: Asking) -> MissingPrices:
    """The models that have tokens and no price."""
    found: dict[str, list[Slice]] = {}
    for part in ask.store.slices():
        if part.price.status == "unpriced" and part.model is not None:
            found.setdefault(part.model, []).append(part)
    rows = []
    for model, slices in found.items():
        counts = added(part.counts for part in slices)
        tokens = (counts.input_tokens or 0) + (counts.output_tokens or 0)
        rows.append(MissingPrice(model=model, rounds=counts.rounds, tokens=tokens))
    rows.sort(key=lambda row: (-row.tokens, row.model))
    return MissingPrices(rows=rows, overlay=_stub(rows) if rows else None, **ask.freshness)


def _stub(rows: Sequence[MissingPrice]) -> str:
    """An overlay that only its figures are missing from: commented out, so that it can't be mistaken for prices."""
    lines = ["schema = 1", ""]
    for row in rows:
        # A JSON string is a TOML basic string, whatever the name holds.
        name = json.dumps(row.model, ensure_ascii=True)
        lines += [
            f"# {row.rounds} rounds, {row.tokens} tokens",
            "# [[price]]",
            f"# match = [{name}]",
            '# currency = "USD"',
            "# per = 1_000_000",
            '# input = "0.00"',
            '# output = "0.00"',
            '# source = "where these figures come from"',
            "",
        ]
    return "\n".join(lines)


class ModelPrice(Answer, PriceRow):
    """The price of one model, and the lists that were asked."""

    version: str


def price_of_model(ask: Asking, catalog: Catalog, model: str, host: str | None = None) -> ModelPrice:
    """One model's price now, whether the log has seen it or not."""
    row = price_of(catalog, model, host)
    return ModelPrice(**row.model_dump(), version=catalog.version, **ask.freshness)


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
        rule=found.rule,
        matched=found.matched,
        provider=found.provider,
        currency=found.currency,
        per_million=rates or None,
        effective=None if found.effective is None else found.effective.isoformat(),
        source=found.source,
    )
