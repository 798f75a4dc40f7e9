"""What all answers share: how fresh they are, money, times, and a small JSON form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from monitor.budgets import BudgetBook
from monitor.prices.money import NANO
from monitor.store.base import Counts, Slice, Store

if TYPE_CHECKING:
    from monitor.answers.scope import Scope

#: A name for rounds whose log line names no model.
NO_MODEL = "(no model)"

Money = dict[str, float]


class Asking(msgspec.Struct, frozen=True):
    """Everything that a question needs: the store, how fresh it is, and how to show things."""

    store: Store
    #: The instant up to which the logs are read, milliseconds since 1970; None where nothing was read yet.
    as_of: int | None = None
    #: Bytes of the logs that are not read yet; None when up to date.
    behind_bytes: int | None = None
    #: What links begin with, without a slash at the end.
    base_url: str = "http://localhost:8888"
    timezone: str = "UTC"
    #: The budgets that are configured, and the fixed rates of exchange.
    book: BudgetBook = BudgetBook()
    #: What the asker may see, where a token or link restricts that; `store` shows only that already.
    scope: Scope | None = None
    #: Gives the link to a session for somebody who has no token, and when it ends; None where nobody needs one.
    signed: Callable[[str], tuple[str, int]] | None = None

    @property
    def content_is_open(self) -> bool:
        """Whether what was said may be shown at all."""
        return self.scope is None or self.scope.content

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin."""
        return ZoneInfo(self.timezone)

    def url(self, session_id: str) -> str:
        """The page of a session, for who may see it anyway."""
        return f"{self.base_url}/session?id={quote(session_id, safe='')}"

    def link(self, session_id: str) -> tuple[str, int | None]:
        """The page of a session for whoever gets the link, and when that ends, in seconds since 1970."""
        return (self.url(session_id), None) if self.signed is None else self.signed(session_id)

    @property
    def freshness(self) -> dict[str, Any]:
        """The fields that every answer carries."""
        return {
            "as_of": rfc3339(self.as_of) if self.as_of is not None else None,
            "behind_bytes": self.behind_bytes,
            "missing": list(self.store.missing()),
        }


class Part(BaseModel):
    """A piece of an answer."""

    # Built when first used: a server that lists its tools needs few of them.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def small(self) -> dict[str, Any]:
        """As JSON data without what is unknown, and without empty lists: those are the defaults of all fields."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Answer(Part):
    """An answer to one question."""

    as_of: str | None = Field(default=None, description="The log was read up to this instant.")
    behind_bytes: int | None = Field(default=None, description="Log bytes not read yet; absent when up to date.")
    missing: list[str] = Field(default=[], description="Parts of the store that were away: a partial answer.")


# -- times ----------------------------------------------------------------------------------------


def rfc3339(ms: int) -> str:
    """``2026-02-01T09:30:15.123Z``; whole seconds without a fraction."""
    text = datetime.fromtimestamp(ms // 1000, UTC).isoformat()[:19]
    return f"{text}.{ms % 1000:03d}Z" if ms % 1000 else f"{text}Z"


# -- money and sums -------------------------------------------------------------------------------


def amount(nano: int) -> float:
    """Nano-units as the number that JSON shows: exact to 1e-9 up to some millions of the unit."""
    return nano / NANO if nano % NANO else nano // NANO


def nano_sums(slices: Iterable[Slice]) -> dict[str, int]:
    """Nano-units by currency; nothing of a currency in which nothing has a price."""
    sums: dict[str, int] = {}
    for part in slices:
        if part.counts.nano is not None and part.price.currency is not None:
            sums[part.price.currency] = sums.get(part.price.currency, 0) + part.counts.nano
    return sums


def shown(sums: Mapping[str, int]) -> Money | None:
    """Nano-units by currency as answers show them, or None where there are none."""
    return {currency: amount(nano) for currency, nano in sorted(sums.items())} or None


def costs(slices: Iterable[Slice]) -> Money | None:
    """Sums per currency, or None where nothing has a price."""
    return shown(nano_sums(slices))


def divided(nano: int, parts: int) -> int:
    """An even part of some nano-units, rounded half up."""
    return (2 * nano + parts) // (2 * parts)


class Combined(Part):
    """Costs of several currencies in one, by rates that the user fixed; shown beside them and never instead."""

    currency: str
    amount: float
    rates: list[str]


def combined(ask: Asking, slices: Iterable[Slice]) -> Combined | None:
    """What `slices` cost in the user's base currency; None where that adds nothing or a rate is missing."""
    exchange = ask.book.exchange
    sums = {currency: nano for currency, nano in nano_sums(slices).items() if nano}
    if not sums.keys() - {exchange.base}:
        return None
    converted = [exchange.convert(nano, currency, exchange.base) for currency, nano in sorted(sums.items())]
    known = [nano for nano in converted if nano is not None]
    if len(known) < len(converted):
        return None
    rates = [rate for currency in sorted(sums) if (rate := exchange.rate(currency, exchange.base)) is not None]
    return Combined(currency=exchange.base, amount=amount(sum(known)), rates=rates)


class Reported(Part):
    """What the sources themselves say that rounds cost, beside what we make of the same rounds."""

    rounds: int
    cost: Money = Field(description="As the source reports it.")
    ours: Money | None = Field(default=None, description="Of the same rounds, by the price lists.")
    difference: Money | None = Field(default=None, description="Ours less theirs, in currencies that both name.")


def reported(slices: Iterable[Slice]) -> Reported | None:
    """The costs that sources report for rounds of `slices`, and the difference from ours."""
    mine = [part for part in slices if part.price.reported_currency is not None]
    if not mine:
        return None
    theirs: dict[str, int] = {}
    ours: dict[str, int] = {}
    both: dict[str, int] = {}
    for part in mine:
        currency = part.price.reported_currency or ""
        theirs[currency] = theirs.get(currency, 0) + (part.counts.reported_nano or 0)
        if part.counts.nano is not None and part.price.currency is not None:
            ours[part.price.currency] = ours.get(part.price.currency, 0) + part.counts.nano
            if part.price.currency == currency:
                both[currency] = both.get(currency, 0) + part.counts.nano - (part.counts.reported_nano or 0)
    return Reported(
        rounds=sum(part.counts.rounds for part in mine),
        cost=shown(theirs) or {},
        ours=shown(ours),
        difference=shown(both),
    )


def added(parts: Iterable[Counts]) -> Counts:
    """The sum of sums; what no part knows stays unknown. Money is left out: it may mix currencies."""
    rows = [msgspec.structs.astuple(counts) for counts in parts]
    if len(rows) == 1:
        sums = rows[0]
    else:
        columns = zip(*rows, strict=True)
        sums = tuple(sum(known) if (known := [n for n in column if n is not None]) else None for column in columns)
    return msgspec.structs.replace(Counts(*sums), nano=None, reported_nano=None)


class Unpriced(Part):
    """Rounds that have tokens and no price: what they cost is in no total."""

    rounds: int
    tokens: int
    models: list[str]


def unpriced(slices: Sequence[Slice]) -> Unpriced | None:
    """What of `slices` has no price."""
    missing = [part for part in slices if part.price.status == "unpriced"]
    if not missing:
        return None
    counts = added(part.counts for part in missing)
    return Unpriced(
        rounds=counts.rounds,
        tokens=(counts.input_tokens or 0) + (counts.output_tokens or 0),
        models=sorted({part.model or NO_MODEL for part in missing}),
    )


def price_source(slices: Sequence[Slice]) -> str | None:
    """Where the prices of `slices` come from."""
    sources = sorted({part.price.source for part in slices if part.price.source and part.counts.nano is not None})
    return "; ".join(sources[:3]) + ("; …" if len(sources) > 3 else "") or None


def mean_ms(total: int | None, rounds: int) -> int | None:
    """An average duration."""
    return None if total is None or not rounds else round(total / rounds)


def share(part: int, whole: int) -> float | None:
    """A share, to four digits; None of nothing."""
    return None if not whole else round(part / whole, 4)
