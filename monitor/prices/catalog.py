"""All price lists behind one question: what did this round cost, and how do you know?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal

import msgspec

from monitor.prices import names, overlay, providers
from monitor.prices.money import Cost, CostStatus
from monitor.prices.overlay import FxRate, PriceFile, PriceFileError, Row
from monitor.prices.providers import Region
from monitor.prices.rates import FOREVER, Epoch, Plan, Rates, Tier, Timeline
from monitor.rounds import UNKNOWN_TIME, Usage

if TYPE_CHECKING:
    from types import ModuleType

#: Pairs of model and host that are kept resolved. More than any gateway serves; clients can invent names.
_CACHED_NAMES = 4096
#: A user's input price this many times off the built-in one is most likely a slip of unit.
_SUSPICIOUS = 20
_DATA = Path(__file__).parent / "data"

_UNPRICED = Cost("unpriced")
_NONE = Cost("none")

List = Literal["overlay", "built-in", "genai-prices"]


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """How a name was priced at a moment, for people. Everything is None where no list has a price."""

    #: ``priced``, ``free``, ``estimated`` or ``unpriced``; a round can still turn out ``partial``.
    status: CostStatus
    rule: names.Rule | None = None
    #: The entry's own name in its list.
    matched: str | None = None
    provider: str | None = None
    list: List | None = None
    #: First day (UTC) on which this price holds; None where the list does not say.
    effective: date | None = None
    currency: str | None = None
    #: Per million tokens: of the first tier, and at this moment of the day.
    rates: Rates | None = None
    #: All tiers by length; one where the length does not matter.
    tiers: tuple[Tier, ...] = ()
    source: str | None = None
    checked: date | None = None
    #: What the model can do, where its list says so: the most tokens that a request and its answer may
    #: have together, and the most that an answer may have.
    context_window: int | None = None
    max_output: int | None = None


class _Offer(msgspec.Struct, frozen=True):
    """An entry of a list that fits a name, over all its time."""

    list: List
    provider: str | None
    matched: str
    rule: names.Rule
    timeline: Timeline
    #: Why this is only a stand-in, or None where it is the price itself.
    stand_in: str | None = None
    #: The rows behind the epochs; none for genai-prices, whose prices are in USD.
    rows: tuple[Row, ...] = ()
    #: The model's context window by genai-prices; rows have their own.
    context: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    """What is needed to price rounds of one name in one epoch."""

    offer: _Offer
    epoch: Epoch
    #: The span in which this is the answer, `until` exclusive.
    since: int
    until: int
    #: None where it depends on the hour.
    plan: Plan | None
    row: Row | None
    currency: str | None
    status: CostStatus
    source: str
    undated_source: str


class _Entry:
    """A name and host, with the offers for them in order and the answer that fitted last."""

    __slots__ = ("_lock", "_offers", "_pending", "last", "newest")

    def __init__(self, offers: Iterator[_Offer]) -> None:
        self._pending = offers
        self._offers: list[_Offer] = []
        self._lock = Lock()
        self.last: _Answer | None = None
        #: For undated rounds, once one was seen.
        self.newest: _Answer | None = None

    def answer(self, at_ms: int) -> _Answer | None:
        """The first offer that has a price for this moment. Offers are looked for only as far as needed."""
        since, until = -FOREVER, FOREVER
        with self._lock:
            for offer in self._known_then_new():
                epoch = offer.timeline.at(at_ms)
                if epoch is None:
                    # What comes after is right only for as long as this offer has nothing to say.
                    start, end = offer.timeline.gap(at_ms)
                    since, until = max(since, start), min(until, end)
                else:
                    answer = _answer(offer, epoch, since, until)
                    if at_ms == UNKNOWN_TIME:
                        self.newest = answer
                    else:
                        self.last = answer
                    return answer
        return None

    def _known_then_new(self) -> Iterator[_Offer]:
        yield from self._offers
        for offer in self._pending:
            self._offers.append(offer)
            yield offer


class Catalog:
    """The user's price files, the built-in lists and genai-prices. Reads no network and starts no thread."""

    def __init__(self, overlays: Sequence[PriceFile], built_in: Sequence[PriceFile], region: Region) -> None:
        """Later `overlays` win over earlier ones. See `Catalog.load`."""
        self.region: Region = region
        self.base_currency = next((f.base_currency for f in reversed(overlays) if f.base_currency), None)
        # A zero needs a currency to be shown in, whoever answered.
        self._nothing_in = self.base_currency or "USD"
        fx: dict[str, FxRate] = {}
        self._aliases: dict[str, str] = {}
        self._pinned: dict[str, str] = {}
        for file in overlays:
            fx |= file.fx
            self._aliases |= file.aliases
            self._pinned |= file.regions
        self.fx: Mapping[str, FxRate] = fx
        self._overlays = [_index(file.rows) for file in reversed(overlays)]
        self._built_in = _index(row for file in built_in for row in file.rows)
        self._date = max(row.checked for file in built_in for row in file.rows if row.checked is not None)
        #: What prices depend on: the same version prices the same round alike.
        self.version = f"genai-prices {_genai_version()}, built-in {self._date}, region {region}"
        if overlays:
            self.version += f", overlay {'+'.join(file.digest for file in overlays)}"
        #: Things in the user's files that are legal and most likely wrong.
        self.warnings = tuple(self._suspicions(overlays))
        # Bounded, and per catalog; the method itself would keep every catalog alive.
        self._entry: Callable[[str, str | None], _Entry] = lru_cache(maxsize=_CACHED_NAMES)(self._resolve)

    @classmethod
    def load(cls, overlays: Sequence[Path] = (), region: Region = "cn") -> Catalog:
        """Read the built-in lists and the user's `overlays`; the last overlay wins.

        `region` chooses between a vendor's mainland and international list where neither the upstream's
        domain nor an overlay's ``[regions]`` does; such prices are ``estimated``. Raise PriceFileError
        if a file cannot be used.
        """
        return cls([overlay.load(path) for path in overlays], _built_in(), region)

    def cost(self, model: str | None, host: str | None, at_ms: int, usage: Usage) -> Cost:
        """What a round cost. `at_ms` is its start in milliseconds since 1970 UTC, or UNKNOWN_TIME.

        Any text is accepted for `model` and `host`. The amount is exact to the last step, which rounds
        half up to 1e-9 of the currency unit.
        """
        known = usage.input_tokens is not None or usage.output_tokens is not None
        if model is None or len(model) > names.MAX_NAME:
            return _UNPRICED if known else _NONE
        if host is not None and len(host) > names.MAX_NAME:
            host = None
        entry = self._entry(model, host)
        answer = entry.newest if at_ms == UNKNOWN_TIME else entry.last
        if answer is None or (at_ms != UNKNOWN_TIME and not answer.since <= at_ms < answer.until):
            answer = entry.answer(at_ms)
            if answer is None:
                return _UNPRICED if known else _NONE
        if not known:
            answered_itself = answer.row is not None and answer.row.gateway
            return Cost("free", 0, self._nothing_in, answer.source) if answered_itself else _NONE
        if answer.status == "free":
            return Cost("free", 0, answer.currency or self._nothing_in, answer.source)
        plan = answer.plan or answer.epoch.plan_at(at_ms)
        status, source = answer.status, answer.source
        if at_ms == UNKNOWN_TIME:
            status, source = "estimated", answer.undated_source
        if usage.lower_bound or not plan.complete(usage):
            status = "partial"
        return Cost(status, plan.nano(usage), answer.currency, source)

    def price(self, model: str, host: str | None, at_ms: int) -> Resolution:
        """Which price a round of `model` at `host` has at `at_ms`, and why. Nothing is cached here."""
        if len(model) > names.MAX_NAME:
            return Resolution(status="unpriced")
        answer = self._resolve(model, host if host is None or len(host) <= names.MAX_NAME else None).answer(at_ms)
        if answer is None:
            return Resolution(status="unpriced")
        offer, epoch = answer.offer, answer.epoch
        plan = epoch.plan_at(at_ms)
        undated = at_ms == UNKNOWN_TIME and answer.status != "free"
        return Resolution(
            status="estimated" if undated else answer.status,
            rule=offer.rule,
            matched=offer.matched,
            provider=offer.provider,
            list=offer.list,
            effective=_day(epoch.since),
            currency=answer.currency,
            rates=plan.tiers[0].rates,
            tiers=plan.tiers,
            source=answer.undated_source if undated else answer.source,
            checked=None if answer.row is None else answer.row.checked,
            context_window=offer.context if answer.row is None else answer.row.context,
            max_output=None if answer.row is None else answer.row.max_output,
        )

    def _resolve(self, model: str, host: str | None) -> _Entry:
        return _Entry(self._offers(model, host))

    def _offers(self, model: str, host: str | None) -> Iterator[_Offer]:
        """Every entry that may price this name: the user's, then the lists of whoever may have served it."""
        name = names.parse(model)
        yield from self._overlay_offers(name, host)
        for candidate in name.candidates:
            target = self._aliases.get(candidate.name)
            if target is not None:
                # An alias does not lead to another alias, so it cannot lead back to itself.
                meant = names.parse(target)
                aliased = tuple(names.Candidate(c.name, "alias") for c in meant.candidates)
                name = names.Name(meant.host, meant.author, aliased)
                yield from self._overlay_offers(name, host)
                break
        for candidate in name.candidates:
            own = [row for row in self._built_in.get(candidate.name, ()) if row.gateway]
            yield from _from_rows("built-in", own, candidate, None)
        # An author's name alone (`Qwen/…`) says nothing of who served it, nor does its own name then.
        bare = [c for c in name.candidates if "/" not in c.name]
        for provider, stand_in in self._servers(name, host):
            # Resellers' own names hold the author; other vendors know the bare name only.
            yield from self._listed(provider, name.candidates if provider in providers.RESELLERS else bare, stand_in)

    def _overlay_offers(self, name: names.Name, host: str | None) -> Iterator[_Offer]:
        # A domain or a prefix leaves no doubt; else it may be anyone who is asked for the price.
        place = (host and providers.of_domain(host)) or name.host
        served_by = [p for p, _ in (self._lists(place) if place else self._servers(name, host))]
        for index in self._overlays:
            for candidate in name.candidates:
                rows = [row for row in index.get(candidate.name, ()) if self._fits(row, served_by)]
                yield from _from_rows("overlay", rows, candidate, None)

    def _fits(self, row: Row, served_by: Sequence[str]) -> bool:
        """Whether the user's row is for this upstream. A provider that only the user knows fits all."""
        provider = row.provider
        if provider is None or not served_by or provider not in providers.WORDS.values():
            return True
        return provider in served_by or any(p in served_by for p in providers.FAMILIES.get(provider, {}).values())

    def _servers(self, name: names.Name, host: str | None) -> Iterator[tuple[str, str | None]]:
        """Providers to ask in turn, each with the reason why its price would only be a stand-in."""
        domain = providers.of_domain(host) if host else None
        hint = providers.of_operators_name(host) if host and domain is None else None
        family = maker = None
        if name.author is None:
            family = next(filter(None, (providers.of_family(c.name) for c in reversed(name.candidates))), None)
            if any(providers.served_by_many(c.name) for c in name.candidates):
                maker = "many serve it, this is its maker's price"
        seen: set[str] = set()
        missing: str | None = None
        for place, sure in ((domain, True), (name.host, True), (hint, False), (family, False)):
            if place is None:
                continue
            guessed = maker if place not in (domain, name.host, hint) else None
            for provider, stand_in in self._lists(place):
                if provider not in seen:
                    seen.add(provider)
                    yield provider, missing or stand_in or guessed
            if sure and missing is None:
                missing = f"no price at {place}"

    def _lists(self, place: str) -> Iterator[tuple[str, str | None]]:
        """The list of a provider, or those of a family: first the one that applies, then the other."""
        lists = providers.FAMILIES.get(place)
        if lists is None:
            yield place, None
            return
        pinned = self._pinned.get(place)
        first = pinned or lists[self.region]
        yield first, None if pinned else f"region {self.region} by default"
        for other in lists.values():
            if other != first:
                yield other, f"no price at {first}"

    def _listed(self, provider: str, candidates: Sequence[names.Candidate], stand_in: str | None) -> Iterator[_Offer]:
        for candidate in candidates:
            rows = [row for row in self._built_in.get(candidate.name, ()) if row.provider == provider]
            yield from _from_rows("built-in", rows, candidate, stand_in)
        found = _genai().find(provider, candidates)
        if found is not None:
            yield _Offer(
                list="genai-prices",
                provider=provider,
                matched=found.model_id,
                rule=found.rule,
                timeline=found.timeline,
                stand_in=stand_in,
                context=found.context,
            )

    def _suspicions(self, overlays: Iterable[PriceFile]) -> Iterator[str]:
        for file in overlays:
            for row in file.rows:
                mine = row.epoch.plan.tiers[0].rates.input
                for name in row.match:
                    theirs = [
                        other.epoch.plan.tiers[0].rates.input
                        for other in self._built_in.get(name, ())
                        if other.currency == row.currency
                    ]
                    if mine and theirs and all(t and max(mine / t, t / mine) > _SUSPICIOUS for t in theirs):
                        at = file.path if row.line is None else f"{file.path}:{row.line}"
                        yield (
                            f"{at}: {name} costs {mine:f} {row.currency} per million input tokens, "
                            f"the built-in list says {theirs[-1]:f}; is `per` right?"
                        )


@lru_cache(maxsize=1)
def _built_in() -> tuple[PriceFile, ...]:
    files = tuple(overlay.load(path) for path in sorted(_DATA.glob("*.toml")))
    if not files:
        raise PriceFileError(f"{_DATA}: the built-in price lists are missing; install the package again")
    return files


@lru_cache(maxsize=1)
def _genai_version() -> str:
    return version("genai-prices")


def _genai() -> ModuleType:
    # 25 MB and 0.15 s: only for names that no price file settles.
    from monitor.prices import bundled  # noqa: PLC0415

    return bundled


def _index(rows: Iterable[Row]) -> dict[str, list[Row]]:
    index: dict[str, list[Row]] = {}
    for row in rows:
        for name in row.match:
            index.setdefault(name, []).append(row)
    return index


def _from_rows(source: List, rows: Sequence[Row], candidate: names.Candidate, stand_in: str | None) -> Iterator[_Offer]:
    """An offer for each provider among `rows`; rows of one provider follow each other in time."""
    for provider in dict.fromkeys(row.provider for row in rows):
        mine = tuple(row for row in rows if row.provider == provider)
        yield _Offer(
            list=source,
            provider=provider,
            matched=candidate.name,
            rule=candidate.rule,
            timeline=Timeline(row.epoch for row in mine),
            stand_in=stand_in,
            rows=mine,
        )


def _answer(offer: _Offer, epoch: Epoch, since: int, until: int) -> _Answer:
    where = offer.list if offer.list != "genai-prices" else f"genai-prices {_genai_version()}"
    entry = offer.matched if offer.provider is None else f"{offer.provider}/{offer.matched}"
    source = f"{where}: {entry}"
    if epoch.since is not None:
        source += f" from {_day(epoch.since)}"
    row = next((row for row in offer.rows if row.epoch is epoch), None)
    if row is not None and row.gateway:
        source += ", answered by the gateway itself"
    if offer.stand_in is not None:
        source += f" ({offer.stand_in})"
    free = row.free if row is not None else epoch.plan.free
    status: CostStatus = "free" if free else "priced" if offer.stand_in is None else "estimated"
    return _Answer(
        offer=offer,
        epoch=epoch,
        since=since if epoch.since is None else max(since, epoch.since),
        until=until if epoch.until is None else min(until, epoch.until),
        plan=None if epoch.windows else epoch.plan,
        row=row,
        currency="USD" if row is None else row.currency,
        status=status,
        source=source,
        undated_source=f"{source} (undated round, newest price)",
    )


def _day(ms: int | None) -> date | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).date()
