"""What a token costs: the price of a model or of all that the log has seen, and where it comes from."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from monitor.answers.base import Answer, Asking, Part, added, rfc3339
from monitor.answers.periods import instant
from monitor.prices import names, updates
from monitor.store.base import Slice

if TYPE_CHECKING:
    from monitor.prices.catalog import Catalog, Resolution
    from monitor.prices.rates import Rates, Tier, Window


class PriceRow(Part):
    """One model's price at a moment, by its name alone."""

    model: str
    status: str = Field(description="priced, free, partial, estimated or unpriced.")
    rule: str | None = Field(default=None, description="How the name was matched.")
    matched: str | None = None
    provider: str | None = None
    currency: str | None = None
    per_million: dict[str, float] | None = Field(default=None, description="Rates per million tokens.")
    per_request: float | None = None
    effective: str | None = None
    source: str | None = None
    applied: list[str] = Field(
        default=[], description="What priced its rounds of the log, where that is another price than by name alone."
    )


class Prices(Answer):
    """The prices that apply to the models of the log."""

    version: str
    rows: list[PriceRow]


def prices_in_use(ask: Asking, catalog: Catalog, at: str | None = None) -> Prices:
    """The price of every model that the log has seen, as of now or of `at`.

    Raises:
        BadQuestion: `at` is no time.
    """
    at_ms = _moment(ask, at)
    found: dict[str, set[str]] = {}
    for part in ask.store.slices():
        if part.model is not None:
            applied = found.setdefault(part.model, set())
            if part.price.source is not None and part.counts.nano is not None:
                applied.add(part.price.source)
    rows = []
    for model, applied in sorted(found.items()):
        row = price_of(catalog, model, at_ms=at_ms)
        rows.append(row.model_copy(update={"applied": sorted(applied)}) if applied - {row.source} else row)
    return Prices(version=catalog.version, rows=rows, **ask.freshness)


class Band(Part):
    """The price of rounds up to a length; the whole round costs what its band says."""

    up_to_input: int | None = None
    up_to_output: int | None = None
    per_million: dict[str, float]


class Hours(Part):
    """Another price at hours of the day."""

    utc: str
    weekdays: bool = Field(default=False, description="Monday to Friday only, by UTC.")
    per_million: dict[str, float]


class ModelPrice(Answer, PriceRow):
    """The price of one model, and the lists that were asked."""

    version: str
    at: str
    host: str | None = None
    list: str | None = Field(default=None, description="overlay, built-in or genai-prices.")
    until: str | None = Field(default=None, description="The first day on which this price no longer holds.")
    tiers: Sequence[Band] = Field(
        default=[], description="By the length of a round, outside `hours`; given where length or hour matters."
    )
    hours: Sequence[Hours] = []
    context_window: int | None = Field(default=None, description="Tokens of a request and its answer together.")
    max_output: int | None = None
    evidence: str | None = Field(default=None, description="Where the figures stand, by their list.")
    checked: str | None = Field(default=None, description="The day on which somebody looked there.")


def price_of_model(
    ask: Asking, catalog: Catalog, model: str, host: str | None = None, at: str | None = None
) -> ModelPrice:
    """One model's price now or at `at`, whether the log has seen it or not.

    Raises:
        BadQuestion: `at` is no time.
    """
    at_ms = _moment(ask, at)
    found = catalog.price(model, host, at_ms)
    tiers = found.ordinary_tiers
    return ModelPrice(
        **_row(model, found).model_dump(),
        version=catalog.version,
        at=rfc3339(at_ms),
        host=host,
        list=found.list,
        until=_iso(found.until),
        tiers=[_band(tier) for tier in tiers] if len(tiers) > 1 or found.hours else [],
        hours=[_hours(window) for window in found.hours],
        context_window=found.context_window,
        max_output=found.max_output,
        evidence=found.evidence,
        checked=_iso(found.checked),
        **ask.freshness,
    )


def price_of(catalog: Catalog, model: str, host: str | None = None, at_ms: int | None = None) -> PriceRow:
    """One model's price now or at `at_ms`, with the rule that found it."""
    return _row(model, catalog.price(model, host, _now() if at_ms is None else at_ms))


def _row(model: str, found: Resolution) -> PriceRow:
    request = None if found.rates is None else found.rates.request
    return PriceRow(
        model=model,
        status=found.status,
        rule=found.rule,
        matched=found.matched,
        provider=found.provider,
        currency=found.currency,
        per_million=(_per_million(found.rates) or None) if found.rates is not None else None,
        per_request=None if request is None else float(request),
        effective=_iso(found.effective),
        source=found.source,
    )


def _per_million(rates: Rates) -> dict[str, float]:
    shown: dict[str, float] = {}
    for name in rates.__struct_fields__:
        rate = getattr(rates, name)
        if isinstance(rate, Decimal) and name != "request":
            shown[name] = int(rate) if rate == rate.to_integral_value() else float(rate)
    return shown


def _band(tier: Tier) -> Band:
    return Band(up_to_input=tier.up_to_input, up_to_output=tier.up_to_output, per_million=_per_million(tier.rates))


def _hours(window: Window) -> Hours:
    start, end = (f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}" for ms in (window.start, window.end))
    return Hours(utc=f"{start}-{end}", weekdays=window.weekdays, per_million=_per_million(window.tiers[0].rates))


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _moment(ask: Asking, at: str | None) -> int:
    return _now() if at is None else instant(at, ask.zone)


# -- what has no price ----------------------------------------------------------------------------


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
    # Spellings that are one name to a price list share a row.
    spellings: dict[str, list[MissingPrice]] = {}
    for row in rows:
        spellings.setdefault(names.clean(row.model), []).append(row)
    for name, same in spellings.items():
        lines.append(f"# {sum(row.rounds for row in same)} rounds, {sum(row.tokens for row in same)} tokens")
        if not name or len(name) > names.MAX_NAME or "*" in name:
            lines += [f"# no row can name {_quoted(same[0].model[:60])}: what logs it should be given a name", ""]
            continue
        lines += [
            "# [[price]]",
            f"# match = [{', '.join(_quoted(row.model) for row in same)}]",
            '# currency = "USD"',
            "# per = 1_000_000",
            '# input = "0.00"',
            '# output = "0.00"',
            '# source = "where these figures come from"',
            "",
        ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A TOML string of one line that neither ends early nor steers a terminal, whatever `text` holds."""
    shown = []
    for char in text:
        if char in '"\\':
            shown.append("\\" + char)
        elif unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp"):
            shown.append(f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}")
        else:
            # A lone half of a character is none, and no TOML can hold it.
            shown.append("\ufffd" if unicodedata.category(char) == "Cs" else char)
    return f'"{"".join(shown)}"'


# -- newer lists ----------------------------------------------------------------------------------


class PriceUpdate(Answer):
    """What became of a wish for newer lists of genai-prices."""

    in_use: str = Field(description="The lists of genai-prices that are used from now on.")
    origin: str | None = None
    models: int | None = Field(default=None, description="How many models have a price in it.")
    removed: bool | None = Field(default=None, description="Whether there was an update to go back from.")


def update_prices(folder: Path, *, url: str | None = None, file: Path | None = None) -> PriceUpdate:
    """Fetch the lists that genai-prices publishes now, from `url` or `file` instead where given, and keep them.

    Raises:
        UpdateError: they can't be had, read or kept. Those in use stay in use.
    """
    if file is not None:
        content, origin = updates.read(file), str(file)
    else:
        origin = url or updates.published_address()
        content = updates.fetch(origin)
    kept = updates.keep(folder, content, origin)
    return PriceUpdate(in_use=kept.label, origin=origin, models=kept.models)


def remove_update(folder: Path) -> PriceUpdate:
    """Go back to the installed lists.

    Raises:
        UpdateError: the kept file can't be removed.
    """
    removed = updates.remove(folder)
    return PriceUpdate(in_use=f"genai-prices {updates.library_version()}", removed=removed)
