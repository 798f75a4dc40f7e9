"""Price files: the one format in which the built-in lists and the user's own prices are written."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from monitor.prices import names, providers
from monitor.prices.rates import DAY_MS, Epoch, Plan, Rates, Tier, Window
from monitor.prices.values import PriceFileError, Values

__all__ = ["FxRate", "PriceFile", "PriceFileError", "Row", "load"]

_RATES = (
    "input",
    "output",
    "cached",
    "cache_write",
    "cache_write_1h",
    "thinking_output",
    "reasoning_output",
    "request",
)
_ABOUT_KEYS = ("match", "provider", "currency", "per", "from", "until", "free", "source", "checked")
_CAN_KEYS = ("context", "max_output")
_ROW_KEYS = {*_ABOUT_KEYS, *_CAN_KEYS, "tiers", "hours", *_RATES}
_TIER_KEYS = {"up_to_input", "up_to_output", *_RATES}
_HOURS_KEYS = {"utc", "weekdays", *_RATES}
_GATEWAY_KEYS = {"match", "source", "checked"}
_FILE_KEYS = {"schema", "base_currency", "fx", "regions", "aliases", "price", "gateway"}
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


class FxRate(msgspec.Struct, frozen=True):
    """A rate that the user fixed, to show totals in one currency; never used to price a round."""

    per_usd: Decimal
    as_of: date


class Row(msgspec.Struct, frozen=True):
    """One entry of a list, for the names in `match` and one span of time."""

    match: tuple[str, ...]
    epoch: Epoch
    #: A provider or family of `monitor.prices.providers`, or any name the user gave; None fits every host.
    provider: str | None
    #: ISO 4217; None where nothing is ever charged (answers of the gateway itself).
    currency: str | None
    free: bool = False
    #: The gateway answered itself: there is nothing to price, whatever was counted.
    gateway: bool = False
    source: str | None = None
    checked: date | None = None
    line: int | None = None
    #: The most tokens that a request and its answer may have together, where the list says so.
    context: int | None = None
    #: The most tokens that an answer may have.
    max_output: int | None = None


class PriceFile(msgspec.Struct, frozen=True):
    """Everything that one file says. Names are in the form of `names.clean`."""

    path: Path
    rows: tuple[Row, ...]
    #: The first twelve hex digits of the SHA-256 of the file.
    digest: str
    aliases: Mapping[str, str] = {}
    #: Family to provider, such as ``alibaba`` to ``alibaba-cn``.
    regions: Mapping[str, str] = {}
    fx: Mapping[str, FxRate] = {}
    base_currency: str | None = None


def load(path: Path) -> PriceFile:
    """Read and check a price file. Raise PriceFileError if anything in it is unclear."""
    try:
        content = path.read_bytes()
        document = tomllib.loads(content.decode(), parse_float=Decimal)
    except OSError as error:
        raise PriceFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PriceFileError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise PriceFileError(f"{path}: is not TOML: {error}") from error
    except InvalidOperation as error:
        raise PriceFileError(f'{path}: holds a number that is none; write prices as text, "0.5"') from error
    return _Reader(path, content.decode()).file(document, hashlib.sha256(content).hexdigest()[:12])


class _Reader(Values):
    """Checks one parsed document."""

    def file(self, document: dict[str, Any], digest: str) -> PriceFile:
        self.known(document, _FILE_KEYS)
        if type(document.get("schema")) is not int or document["schema"] != 1:
            self.fail("schema", "must be 1: write `schema = 1` at the top")
        base = document.get("base_currency")
        rows = [*self._rows(document, "price"), *self._rows(document, "gateway")]
        self._no_overlap(rows)
        return PriceFile(
            path=self.path,
            rows=tuple(rows),
            digest=digest,
            aliases=dict(self._aliases(document)),
            regions=dict(self._regions(document)),
            fx=dict(self._fx(document)),
            base_currency=None if base is None else self.currency("base_currency", base),
        )

    def _rows(self, document: dict[str, Any], kind: str) -> Iterator[Row]:
        tables = document.get(kind, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.fail(kind, f"must be tables: begin each with `[[{kind}]]`")
        lines = self.lines.rows(kind)
        for index, table in enumerate(tables):
            # Rows written in line have no header to point to.
            self.line = lines[index] if len(lines) == len(tables) else None
            self.what = f"{kind} {index + 1}"
            yield self._price(table) if kind == "price" else self._gateway(table)
        self.line, self.what = None, ""

    def _price(self, table: dict[str, Any]) -> Row:
        self.known(table, _ROW_KEYS)
        match = self._match(table)
        currency = self.currency("currency", table.get("currency"))
        since, until = self.instant(table, "from"), self.instant(table, "until")
        if since is not None and until is not None and until <= since:
            self.fail("until", "must be later than `from`; `until` is the first day that no longer counts")
        given = [key for key in (*_RATES, "tiers", "hours") if key in table]
        if "free" in table:
            if table["free"] is not True:
                self.fail("free", "can only be true; leave it out where there are prices")
            if given:
                self.fail(given[0], "contradicts `free = true`; keep one of the two")
            zero = Decimal(0)
            plan = Plan([Tier(Rates(input=zero, output=zero))])
            windows: tuple[tuple[Window, Plan], ...] = ()
        else:
            per = table.get("per")
            if type(per) is not int or per not in (1000, 1_000_000):
                self.fail("per", "must say for how many tokens the prices are: 1000 or 1_000_000")
            plan = Plan(self._tiers(table, per))
            windows = tuple(self._windows(table, per))
            if plan.free:
                self.fail("input", "is zero with every other price; if it costs nothing, write `free = true`")
        provider = self.text(table, "provider")
        return Row(
            match=match,
            epoch=Epoch(plan, since, until, windows),
            provider=None if provider is None else providers.WORDS.get(names.clean(provider), names.clean(provider)),
            currency=currency,
            free="free" in table,
            source=self.text(table, "source"),
            checked=self.day(table, "checked"),
            line=self.line,
            context=self.count(table, "context"),
            max_output=self.count(table, "max_output"),
        )

    def _gateway(self, table: dict[str, Any]) -> Row:
        self.known(table, _GATEWAY_KEYS)
        zero = Decimal(0)
        return Row(
            match=self._match(table),
            epoch=Epoch(Plan([Tier(Rates(input=zero, output=zero))])),
            provider=None,
            currency=None,
            free=True,
            gateway=True,
            source=self.text(table, "source"),
            checked=self.day(table, "checked"),
            line=self.line,
        )

    def _tiers(self, table: dict[str, Any], per: int) -> Sequence[Tier]:
        if "tiers" not in table:
            return [Tier(self._rates(table, per))]
        tables = table["tiers"]
        for key in _RATES:
            if key in table:
                self.fail(key, "stands beside `tiers`; put it into each tier")
        if "hours" in table:
            self.fail("hours", "stands beside `tiers`; a row can have one of the two")
        if not isinstance(tables, list) or not tables or not all(isinstance(tier, dict) for tier in tables):
            self.fail("tiers", "must be a list: `tiers = [{ up_to_input = 32000, input = …, output = … }, …]`")
        tiers: list[Tier] = []
        for index, tier in enumerate(tables):
            self.tables, self.parent = tables[: index + 1], "tiers"
            self.known(tier, _TIER_KEYS)
            bounds = [self.count(tier, key) for key in ("up_to_input", "up_to_output")]
            new = Tier(self._rates(tier, per), *bounds)
            if any(_covers(earlier, new) for earlier in tiers):
                self.fail(next(iter(tier)), "begins a tier that no round reaches: an earlier one takes all of them")
            tiers.append(new)
        self.tables = ()
        if tiers[-1].up_to_input is not None or tiers[-1].up_to_output is not None:
            self.fail("tiers", "must end with a tier without `up_to_…`, so that every round has a price")
        inputs = [tier.up_to_input for tier in tiers if tier.up_to_input is not None]
        if inputs != sorted(inputs):
            self.fail("tiers", "must be in order of `up_to_input`; the first that fits is taken")
        return tiers

    def _windows(self, table: dict[str, Any], per: int) -> Iterator[tuple[Window, Plan]]:
        tables = table.get("hours", [])
        if not isinstance(tables, list) or not all(isinstance(window, dict) for window in tables):
            self.fail("hours", 'must be a list: `hours = [{ utc = ["01:00-04:00"], input = …, output = … }]`')
        found: list[Window] = []
        for index, window in enumerate(tables):
            self.tables, self.parent = tables[: index + 1], "hours"
            self.known(window, _HOURS_KEYS)
            tier = Tier(self._rates(window, per))
            weekdays = window.get("weekdays", False)
            if type(weekdays) is not bool:
                self.fail("weekdays", "must be true (Monday to Friday only) or false")
            spans = window.get("utc")
            if not isinstance(spans, list) or not spans:
                self.fail("utc", 'must list hours of the day in UTC, such as ["16:30-00:30"]')
            for span in spans:
                parts = _HOURS.fullmatch(span) if isinstance(span, str) else None
                if parts is None:
                    self.fail("utc", f'has {span!r}; write a span of hours such as "16:30-00:30"')
                start, end = (int(parts[i]) * 3_600_000 + int(parts[i + 1]) * 60_000 for i in (1, 3))
                if start == end or end > DAY_MS:
                    self.fail("utc", f"has {span!r}, which is no part of a day")
                new = Window(start, end, (tier,), weekdays)
                if any(_meet(new, other) for other in found):
                    self.fail("utc", f"has {span!r}, which overlaps with other hours of this row")
                found.append(new)
                yield new, Plan([tier])
        self.tables = ()

    def _rates(self, table: dict[str, Any], per: int) -> Rates:
        given = {key: self.amount(key, table[key]) for key in _RATES if key in table}
        if "input" not in given and "output" not in given:
            self.fail("input", "is missing; give `input`, `output` or both, or `free = true`")
        if "thinking_output" in given and "reasoning_output" in given:
            self.fail("reasoning_output", "and `thinking_output` are two ways to bill the same; keep one")
        million = 1_000_000 // per
        return Rates(**{key: value if key == "request" else _plain(value * million) for key, value in given.items()})

    def _match(self, table: dict[str, Any]) -> tuple[str, ...]:
        match = table.get("match")
        if not isinstance(match, list) or not match or not all(isinstance(name, str) for name in match):
            self.fail("match", 'must list model names, such as ["qwen-max"]')
        cleaned = tuple(names.clean(name) for name in match)
        for name, raw in zip(cleaned, match, strict=True):
            if not name or len(name) > names.MAX_NAME:
                self.fail("match", f"has {raw[:40]!r}, which is no model name")
            if "*" in name:
                self.fail("match", f"has {raw!r}; names are matched whole, list each of them")
        return tuple(dict.fromkeys(cleaned))

    def _aliases(self, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
        seen: dict[str, str] = {}
        for name, target in self._section_of(document, "aliases").items():
            if not isinstance(target, str) or not target.strip():
                self.fail(name, 'must be a model name, such as "volcengine/doubao-1-5-pro-32k"')
            cleaned = names.clean(name)
            if not cleaned or len(cleaned) > names.MAX_NAME:
                self.fail(name, "is no model name")
            if seen.setdefault(cleaned, name) != name:
                self.fail(name, f"is the same name as {seen[cleaned]!r}; keep one of them")
            yield cleaned, target
        self.section = ()

    def _regions(self, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
        seen: dict[str, str] = {}
        for word, target in self._section_of(document, "regions").items():
            family = providers.WORDS.get(names.clean(word), "")
            # A provider's own name stands for its family as well: zhipu = "zai".
            family = next((key for key, lists in providers.FAMILIES.items() if family in lists.values()), family)
            lists = providers.FAMILIES.get(family)
            if lists is None:
                self.fail(word, f"has no regional lists; those that have: {', '.join(providers.FAMILIES)}")
            if target not in lists.values():
                self.fail(word, f"must be one of {', '.join(lists.values())}")
            if seen.setdefault(family, word) != word:
                self.fail(word, f"is the same vendor as {seen[family]!r}; keep one of them")
            yield family, target
        self.section = ()

    def _fx(self, document: dict[str, Any]) -> Iterator[tuple[str, FxRate]]:
        for currency, rate in self._section_of(document, "fx").items():
            self.currency(currency, currency)
            if not isinstance(rate, dict) or set(rate) != {"per_usd", "as_of"}:
                self.fail(currency, 'must be { per_usd = "7.0", as_of = "2026-11-20" }')
            self.section = ("fx", currency)
            per_usd, as_of = self.amount("per_usd", rate["per_usd"]), self.day(rate, "as_of")
            if not per_usd or as_of is None:
                self.fail("per_usd", "must be above zero")
            self.section = ("fx",)
            yield currency, FxRate(per_usd, as_of)
        self.section = ()

    def _section_of(self, document: dict[str, Any], key: str) -> dict[str, Any]:
        table = document.get(key, {})
        if not isinstance(table, dict):
            self.fail(key, f"must be a table: begin it with `[{key}]`")
        self.section = (key,)
        return table

    def _no_overlap(self, rows: Iterable[Row]) -> None:
        taken: dict[tuple[str, str | None], list[Row]] = {}
        for row in rows:
            for name in row.match:
                for other in taken.setdefault((name, row.provider), []):
                    if _overlap(row.epoch, other.epoch):
                        self.line = row.line
                        where = "" if other.line is None else f" (line {other.line})"
                        self.fail(
                            "from",
                            f"and `until` overlap with another row for {name!r}{where}; end one of them",
                        )
                taken[name, row.provider].append(row)


def _plain(amount: Decimal) -> Decimal:
    """The same amount without zeros at its end, and not as a power of ten: 0.5, not 0.5000; 100, not 1E+2."""
    short = amount.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short


def _covers(earlier: Tier, later: Tier) -> bool:
    """Whether every round that fits `later` fits `earlier` as well."""
    return all(
        bound is None or (other is not None and other <= bound)
        for bound, other in (
            (earlier.up_to_input, later.up_to_input),
            (earlier.up_to_output, later.up_to_output),
        )
    )


def _meet(one: Window, other: Window) -> bool:
    """Whether there is a moment in both; on some weekday all of them hold."""
    monday = 4 * DAY_MS
    return one.holds(monday + other.start) or other.holds(monday + one.start)


def _overlap(one: Epoch, other: Epoch) -> bool:
    return (one.until is None or other.since is None or other.since < one.until) and (
        other.until is None or one.since is None or one.since < other.until
    )
