"""All price lists behind one question: what did this round cost, and how do you know?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from monitor.prices import lists, names, overlay, providers, updates
from monitor.prices.money import Cost, CostStatus
from monitor.prices.offers import Entry, List, Offer, day_of, from_rows
from monitor.prices.overlay import FxRate, PriceFile, PriceFileError, Row
from monitor.prices.providers import Region
from monitor.prices.rates import Rates, Tier, Window
from monitor.rounds import UNKNOWN_TIME, Usage

if TYPE_CHECKING:
    from monitor.prices.bundled import Lists

#: Pairs of model and host that are kept resolved. More than any gateway serves; clients can invent names.
_CACHED_NAMES = 4096
#: A user's input price this many times off the built-in one is most likely a slip of unit.
_SUSPICIOUS = 20
#: Prices that are this much older than what they price may have changed since.
_STALE = timedelta(days=60)
_DATA = Path(__file__).parent / "data"

_UNPRICED = Cost("unpriced")
_NONE = Cost("none")


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
    #: The first day on which it no longer holds; None where it still does.
    until: date | None = None
    currency: str | None = None
    #: Per million tokens: of the first tier, and at this moment of the day.
    rates: Rates | None = None
    #: All tiers by length at this moment of the day; one where the length does not matter.
    tiers: tuple[Tier, ...] = ()
    #: All tiers outside the hours below.
    ordinary_tiers: tuple[Tier, ...] = ()
    #: Hours of the day (UTC) at which other prices hold.
    hours: tuple[Window, ...] = ()
    source: str | None = None
    #: Where the figures stand, by their list, and when somebody looked there.
    evidence: str | None = None
    checked: date | None = None
    #: What the model can do, where its list says so: the most tokens that a request and its answer may
    #: have together, and the most that an answer may have.
    context_window: int | None = None
    max_output: int | None = None


class Catalog:
    """The user's price files, the built-in lists and genai-prices. Reads no network and starts no thread."""

    def __init__(
        self,
        overlays: Sequence[PriceFile],
        built_in: Sequence[PriceFile],
        region: Region,
        kept: tuple[updates.Kept, bytes] | str | None = None,
    ) -> None:
        """Later `overlays` win over earlier ones; `kept` is what `updates.kept_in` gives. See `Catalog.load`."""
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
        self._files = tuple(overlays)
        self._overlays = [_index(file.rows) for file in reversed(overlays)]
        self._built_in = _index(row for file in built_in for row in file.rows)
        #: The day on which the built-in lists were last checked.
        self.checked: date = max(row.checked for file in built_in for row in file.rows if row.checked is not None)
        self._unusable = kept if isinstance(kept, str) else None
        self._kept: updates.Kept | None = None
        #: Newer lists as they were published, until they are needed.
        self._content: bytes | None = None
        if isinstance(kept, tuple):
            self._kept, self._content = kept
        self._genai: Lists | None = None
        self._genai_lock = Lock()
        self._genai_label = self._kept.label if self._kept is not None else f"genai-prices {updates.library_version()}"
        #: What prices depend on: the same version prices the same round alike.
        content = hashlib.sha256("".join(file.digest for file in built_in).encode()).hexdigest()[:8]
        self.version = f"{self._genai_label}, built-in {self.checked} {content}, region {region}"
        if overlays:
            self.version += f", overlay {'+'.join(file.digest for file in overlays)}"
        # Bounded, and per catalog; the method itself would keep every catalog alive.
        self._entry: Callable[[str, str | None], Entry] = lru_cache(maxsize=_CACHED_NAMES)(self._resolve)

    @classmethod
    def load(cls, overlays: Sequence[Path | str] = (), region: Region = "cn", data_dir: Path | None = None) -> Catalog:
        """Read the built-in lists and the user's `overlays`; the last overlay wins.

        An overlay that is a text without folder and suffix is a shipped list (`monitor.prices.lists`), anything
        else a file. `region` chooses between a vendor's mainland and international list where neither the
        upstream's domain nor an overlay's ``[regions]`` does; such prices are ``estimated``. In `data_dir` may
        lie newer lists of genai-prices (`monitor.prices.updates`). Raise PriceFileError if a file cannot be used.
        """
        kept = None if data_dir is None else updates.kept_in(data_dir)
        return cls([overlay.load(path) for path in lists.paths(overlays)], _built_in(), region, kept)

    def listed(self) -> set[str]:
        """The names of models in the user's files and in the built-in lists; genai-prices has many more."""
        return {name for index in (*self._overlays, self._built_in) for name in index}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Things in the user's files, and in what an update left, that are legal and most likely wrong."""
        unusable = () if self._unusable is None else (self._unusable,)
        return (*unusable, *self._suspicions())

    def stale(self, newest_ms: int | None) -> str | None:
        """A warning where the price data is more than 60 days older than the round of `newest_ms`, else None."""
        if newest_ms is None or newest_ms == UNKNOWN_TIME:
            return None
        newest = day_of(newest_ms)
        old = [
            f"{what} {day}"
            for what, day in (
                ("the built-in price lists are of", self.checked),
                ("the update of genai-prices is of", None if self._kept is None else self._kept.day),
            )
            if newest is not None and day is not None and newest - day > _STALE
        ]
        if not old:
            return None
        return (
            f"{' and '.join(old)}, the newest round is of {newest}: prices may have changed since. Install a newer "
            "version of this program, and run `session-monitor prices update` for genai-prices' part."
        )

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
            effective=day_of(epoch.since),
            until=day_of(epoch.until),
            currency=answer.currency,
            rates=plan.tiers[0].rates,
            tiers=plan.tiers,
            ordinary_tiers=epoch.plan.tiers,
            hours=tuple(window for window, _ in epoch.windows),
            source=answer.undated_source if undated else answer.source,
            evidence=None if answer.row is None else answer.row.source,
            checked=None if answer.row is None else answer.row.checked,
            context_window=offer.context if answer.row is None else answer.row.context,
            max_output=None if answer.row is None else answer.row.max_output,
        )

    def _resolve(self, model: str, host: str | None) -> Entry:
        return Entry(self._offers(model, host))

    def _offers(self, model: str, host: str | None) -> Iterator[Offer]:
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
            yield from from_rows("built-in", own, candidate, None)
        # An author's name alone (`Qwen/…`) says nothing of who served it, nor does its own name then.
        bare = [c for c in name.candidates if "/" not in c.name]
        for provider, stand_in in self._servers(name, host):
            # Resellers' own names hold the author; other vendors know the bare name only.
            yield from self._listed(provider, name.candidates if provider in providers.RESELLERS else bare, stand_in)

    def _overlay_offers(self, name: names.Name, host: str | None) -> Iterator[Offer]:
        # A domain or a prefix leaves no doubt; else it may be anyone who is asked for the price.
        place = (host and providers.of_domain(host)) or name.host
        served_by = [p for p, _ in (self._lists(place) if place else self._servers(name, host))]
        for index in self._overlays:
            for candidate in name.candidates:
                rows = [row for row in index.get(candidate.name, ()) if self._fits(row, served_by)]
                yield from from_rows("overlay", rows, candidate, None)

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

    def _listed(self, provider: str, candidates: Sequence[names.Candidate], stand_in: str | None) -> Iterator[Offer]:
        for candidate in candidates:
            rows = [row for row in self._built_in.get(candidate.name, ()) if row.provider == provider]
            yield from from_rows("built-in", rows, candidate, stand_in)
        found = self._genai_lists().find(provider, candidates)
        if found is not None:
            yield Offer(
                list="genai-prices",
                label=self._genai_label,
                provider=provider,
                matched=found.model_id,
                rule=found.rule,
                timeline=found.timeline,
                stand_in=stand_in,
                context=found.context,
            )

    def _genai_lists(self) -> Lists:
        with self._genai_lock:
            if self._genai is None:
                # 25 MB and 0.15 s: only for names that no price file settles.
                from monitor.prices import bundled  # noqa: PLC0415

                self._genai = bundled.installed() if self._content is None else bundled.published(self._content)
                self._content = None
            return self._genai

    def _suspicions(self) -> Iterator[str]:
        for file in self._files:
            for row in file.rows:
                at = file.path if row.line is None else f"{file.path}:{row.line}"
                if row.provider is not None and row.provider not in providers.known():
                    near = get_close_matches(row.provider, providers.known(), n=1)
                    if near:
                        yield (
                            f"{at}: nobody is known as provider {row.provider!r}, so the row is for every upstream; "
                            f"is {near[0]!r} meant?"
                        )
                mine = row.epoch.plan.tiers[0].rates.input
                for name in row.match:
                    theirs = list(self._lists_say(name, row)) if mine else []
                    if mine and theirs and all(max(mine / t, t / mine) > _SUSPICIOUS for t in theirs):
                        yield (
                            f"{at}: {name} costs {mine:f} {row.currency} per million input tokens, "
                            f"the built-in list says {theirs[-1]:f}; is `per` right?"
                        )

    def _lists_say(self, name: str, row: Row) -> Iterator[Decimal]:
        """Input prices of `name` in the lists that are not the user's, in the currency of the user's `row`."""
        for other in self._built_in.get(name, ()):
            price = other.epoch.plan.tiers[0].rates.input
            if price and other.currency == row.currency:
                yield price
        if row.currency == "USD" and name not in self._built_in:
            parsed = names.parse(name)
            for provider, _ in self._servers(parsed, None):
                found = self._genai_lists().find(provider, parsed.candidates)
                if found is not None:
                    price = found.timeline.epochs[-1].plan.tiers[0].rates.input
                    if price:
                        yield price


@lru_cache(maxsize=1)
def _built_in() -> tuple[PriceFile, ...]:
    files = tuple(overlay.load(path) for path in sorted(_DATA.glob("*.toml")))
    if not files:
        raise PriceFileError(f"{_DATA}: the built-in price lists are missing; install the package again")
    return files


def _index(rows: Iterable[Row]) -> dict[str, list[Row]]:
    index: dict[str, list[Row]] = {}
    for row in rows:
        for name in row.match:
            index.setdefault(name, []).append(row)
    return index
