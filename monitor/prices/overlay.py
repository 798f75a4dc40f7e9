"""Price files: the one format in which the built-in lists and the user's own prices are written."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from monitor.prices import names, providers
from monitor.prices.rates import DAY_MS, Epoch, Plan, Rates, Tier, Window

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
_CURRENCY = re.compile(r"[A-Z]{3}")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
#: What a binary float shows of itself (0.30000000000000004). No price list has that many digits.
_MAX_DIGITS = 15


class PriceFileError(ValueError):
    """A price file says something that cannot be priced. The text names file, line, key and the way out."""


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


class _Reader:
    """Checks one parsed document and remembers where in the text it is."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._line: int | None = None
        self._what = ""

    def file(self, document: dict[str, Any], digest: str) -> PriceFile:
        self._known(document, _FILE_KEYS)
        if type(document.get("schema")) is not int or document["schema"] != 1:
            self._fail("schema", "must be 1: write `schema = 1` at the top")
        base = document.get("base_currency")
        rows = [*self._rows(document, "price"), *self._rows(document, "gateway")]
        self._no_overlap(rows)
        return PriceFile(
            path=self._path,
            rows=tuple(rows),
            digest=digest,
            aliases=dict(self._aliases(document)),
            regions=dict(self._regions(document)),
            fx=dict(self._fx(document)),
            base_currency=None if base is None else self._currency("base_currency", base),
        )

    def _rows(self, document: dict[str, Any], kind: str) -> Iterator[Row]:
        tables = document.get(kind, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._fail(kind, f"must be tables: begin each with `[[{kind}]]`")
        header = re.compile(rf"\s*\[\[\s*{kind}\s*\]\]")
        lines = [number for number, line in enumerate(self._lines, 1) if header.match(line)]
        for index, table in enumerate(tables):
            # Rows written in line have no header to point to.
            self._line = lines[index] if len(lines) == len(tables) else None
            self._what = f"{kind} {index + 1}"
            yield self._price(table) if kind == "price" else self._gateway(table)
        self._line, self._what = None, ""

    def _price(self, table: dict[str, Any]) -> Row:
        self._known(table, _ROW_KEYS)
        match = self._match(table)
        currency = self._currency("currency", table.get("currency"))
        since, until = self._time(table, "from"), self._time(table, "until")
        if since is not None and until is not None and until <= since:
            self._fail("until", "must be later than `from`; `until` is the first day that no longer counts")
        given = [key for key in (*_RATES, "tiers", "hours") if key in table]
        if "free" in table:
            if table["free"] is not True:
                self._fail("free", "can only be true; leave it out where there are prices")
            if given:
                self._fail(given[0], "contradicts `free = true`; keep one of the two")
            zero = Decimal(0)
            plan = Plan([Tier(Rates(input=zero, output=zero))])
            windows: tuple[tuple[Window, Plan], ...] = ()
        else:
            per = table.get("per")
            if type(per) is not int or per not in (1000, 1_000_000):
                self._fail("per", "must say for how many tokens the prices are: 1000 or 1_000_000")
            plan = Plan(self._tiers(table, per))
            windows = tuple(self._windows(table, per))
            if plan.free:
                self._fail("input", "is zero with every other price; if it costs nothing, write `free = true`")
        provider = self._text(table, "provider")
        return Row(
            match=match,
            epoch=Epoch(plan, since, until, windows),
            provider=None if provider is None else providers.WORDS.get(names.clean(provider), names.clean(provider)),
            currency=currency,
            free="free" in table,
            source=self._text(table, "source"),
            checked=self._date(table, "checked"),
            line=self._line,
            context=self._count(table, "context"),
            max_output=self._count(table, "max_output"),
        )

    def _gateway(self, table: dict[str, Any]) -> Row:
        self._known(table, _GATEWAY_KEYS)
        zero = Decimal(0)
        return Row(
            match=self._match(table),
            epoch=Epoch(Plan([Tier(Rates(input=zero, output=zero))])),
            provider=None,
            currency=None,
            free=True,
            gateway=True,
            source=self._text(table, "source"),
            checked=self._date(table, "checked"),
            line=self._line,
        )

    def _tiers(self, table: dict[str, Any], per: int) -> Sequence[Tier]:
        if "tiers" not in table:
            return [Tier(self._rates(table, per))]
        tables = table["tiers"]
        for key in _RATES:
            if key in table:
                self._fail(key, "stands beside `tiers`; put it into each tier")
        if "hours" in table:
            self._fail("hours", "stands beside `tiers`; a row can have one of the two")
        if not isinstance(tables, list) or not tables or not all(isinstance(tier, dict) for tier in tables):
            self._fail("tiers", "must be a list: `tiers = [{ up_to_input = 32000, input = …, output = … }, …]`")
        tiers = []
        for tier in tables:
            self._known(tier, _TIER_KEYS)
            bounds = [self._count(tier, key) for key in ("up_to_input", "up_to_output")]
            tiers.append(Tier(self._rates(tier, per), *bounds))
        if tiers[-1].up_to_input is not None or tiers[-1].up_to_output is not None:
            self._fail("tiers", "must end with a tier without `up_to_…`, so that every round has a price")
        inputs = [tier.up_to_input for tier in tiers if tier.up_to_input is not None]
        if inputs != sorted(inputs):
            self._fail("tiers", "must be in order of `up_to_input`; the first that fits is taken")
        return tiers

    def _windows(self, table: dict[str, Any], per: int) -> Iterator[tuple[Window, Plan]]:
        tables = table.get("hours", [])
        if not isinstance(tables, list) or not all(isinstance(window, dict) for window in tables):
            self._fail("hours", 'must be a list: `hours = [{ utc = ["01:00-04:00"], input = …, output = … }]`')
        for window in tables:
            self._known(window, _HOURS_KEYS)
            tier = Tier(self._rates(window, per))
            weekdays = window.get("weekdays", False)
            if type(weekdays) is not bool:
                self._fail("weekdays", "must be true (Monday to Friday only) or false")
            spans = window.get("utc")
            if not isinstance(spans, list) or not spans:
                self._fail("utc", 'must list hours of the day in UTC, such as ["16:30-00:30"]')
            for span in spans:
                found = _HOURS.fullmatch(span) if isinstance(span, str) else None
                if found is None:
                    self._fail("utc", f'has {span!r}; write a span of hours such as "16:30-00:30"')
                start, end = (int(found[i]) * 3_600_000 + int(found[i + 1]) * 60_000 for i in (1, 3))
                if start == end or end > DAY_MS:
                    self._fail("utc", f"has {span!r}, which is no part of a day")
                yield Window(start, end, (tier,), weekdays), Plan([tier])

    def _rates(self, table: dict[str, Any], per: int) -> Rates:
        given = {key: self._amount(key, table[key]) for key in _RATES if key in table}
        if "input" not in given and "output" not in given:
            self._fail("input", "is missing; give `input`, `output` or both, or `free = true`")
        if "thinking_output" in given and "reasoning_output" in given:
            self._fail("reasoning_output", "and `thinking_output` are two ways to bill the same; keep one")
        million = 1_000_000 // per
        return Rates(**{key: value if key == "request" else _plain(value * million) for key, value in given.items()})

    def _amount(self, key: str, value: object) -> Decimal:
        if isinstance(value, str):
            try:
                amount = Decimal(value)
            except InvalidOperation:
                self._fail(key, f'is {value!r}, no number; write it as "0.5"')
        elif isinstance(value, Decimal) or type(value) is int:
            amount = Decimal(value)
        else:
            self._fail(key, f'must be a number, best as text: {key} = "0.5"')
        if not amount.is_finite():
            self._fail(key, f"is {value}; a price is a finite number")
        if amount < 0:
            self._fail(key, f"is {value}; a price cannot be negative")
        if len(amount.normalize().as_tuple().digits) > _MAX_DIGITS or not -18 <= amount.adjusted() <= 12:
            self._fail(
                key,
                f'is {value}: that was rounded by a computer; copy the price from its list as text, "0.3"',
            )
        return amount

    def _match(self, table: dict[str, Any]) -> tuple[str, ...]:
        match = table.get("match")
        if not isinstance(match, list) or not match or not all(isinstance(name, str) for name in match):
            self._fail("match", 'must list model names, such as ["qwen-max"]')
        cleaned = tuple(names.clean(name) for name in match)
        for name, raw in zip(cleaned, match, strict=True):
            if not name or len(name) > names.MAX_NAME:
                self._fail("match", f"has {raw[:40]!r}, which is no model name")
            if "*" in name:
                self._fail("match", f"has {raw!r}; names are matched whole, list each of them")
        return tuple(dict.fromkeys(cleaned))

    def _aliases(self, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for name, target in self._table(document, "aliases").items():
            if not isinstance(target, str) or not target.strip():
                self._fail(f"aliases.{name}", 'must be a model name, such as "volcengine/doubao-1-5-pro-32k"')
            yield names.clean(name), target

    def _regions(self, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for word, target in self._table(document, "regions").items():
            family = providers.WORDS.get(names.clean(word), "")
            # A provider's own name stands for its family as well: zhipu = "zai".
            family = next((key for key, lists in providers.FAMILIES.items() if family in lists.values()), family)
            lists = providers.FAMILIES.get(family)
            if lists is None:
                self._fail(
                    f"regions.{word}",
                    f"has no regional lists; those that have: {', '.join(providers.FAMILIES)}",
                )
            if target not in lists.values():
                self._fail(f"regions.{word}", f"must be one of {', '.join(lists.values())}")
            yield family, target

    def _fx(self, document: dict[str, Any]) -> Iterator[tuple[str, FxRate]]:
        for currency, rate in self._table(document, "fx").items():
            self._currency(f"fx.{currency}", currency)
            if not isinstance(rate, dict) or set(rate) != {"per_usd", "as_of"}:
                self._fail(f"fx.{currency}", 'must be { per_usd = "7.0", as_of = "2026-11-20" }')
            per_usd, as_of = (
                self._amount(f"fx.{currency}.per_usd", rate["per_usd"]),
                self._date(rate, "as_of"),
            )
            if not per_usd or as_of is None:
                self._fail(f"fx.{currency}.per_usd", "must be above zero")
            yield currency, FxRate(per_usd, as_of)

    def _table(self, document: dict[str, Any], key: str) -> dict[str, Any]:
        table = document.get(key, {})
        if not isinstance(table, dict):
            self._fail(key, f"must be a table: begin it with `[{key}]`")
        return table

    def _currency(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
            self._fail(key, 'must be a currency code of three capitals, such as "CNY" or "USD"')
        return value

    def _text(self, table: dict[str, Any], key: str) -> str | None:
        value = table.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self._fail(key, "must be text")
        return value

    def _count(self, table: dict[str, Any], key: str) -> int | None:
        value = table.get(key)
        if value is not None and (type(value) is not int or value <= 0):
            self._fail(key, "must be a whole number of tokens above zero")
        return value

    def _date(self, table: dict[str, Any], key: str) -> date | None:
        moment = self._time(table, key)
        return None if moment is None else datetime.fromtimestamp(moment / 1000, UTC).date()

    def _time(self, table: dict[str, Any], key: str) -> int | None:
        """Milliseconds since 1970 of a date (its midnight in UTC) or of a time with its zone."""
        value = table.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
            except ValueError:
                self._fail(key, f'is {value!r}; write a UTC date such as "2026-11-20"')
        if value is None:
            return None
        if isinstance(value, datetime):
            if value.tzinfo is None:
                self._fail(key, 'has a time without a zone; write "2025-09-05T16:00:00Z"')
        elif isinstance(value, date):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        else:
            self._fail(key, 'must be a UTC date such as "2026-11-20"')
        return round(value.timestamp()) * 1000

    def _no_overlap(self, rows: Iterable[Row]) -> None:
        taken: dict[tuple[str, str | None], list[Row]] = {}
        for row in rows:
            for name in row.match:
                for other in taken.setdefault((name, row.provider), []):
                    if _overlap(row.epoch, other.epoch):
                        self._line = row.line
                        where = "" if other.line is None else f" (line {other.line})"
                        self._fail(
                            "from",
                            f"and `until` overlap with another row for {name!r}{where}; end one of them",
                        )
                taken[name, row.provider].append(row)

    def _known(self, table: dict[str, Any], keys: set[str]) -> None:
        for key in table:
            if key not in keys:
                self._fail(key, f"is not known here; known are {', '.join(sorted(keys))}")

    def _fail(self, key: str, problem: str) -> NoReturn:
        line = self._line
        if line is not None:
            # The key's own line, if it stands between this row's header and the next.
            for number in range(line, len(self._lines)):
                text = self._lines[number]
                if text.lstrip().startswith("[["):
                    break
                if re.search(rf"(?:^|[{{,\s]){re.escape(key)}\s*=", text):
                    line = number + 1
                    break
        place = f"{self._path}:{line}" if line is not None else f"{self._path}"
        what = f" ({self._what})" if self._what else ""
        raise PriceFileError(f"{place}{what}: `{key}` {problem}")


def _plain(amount: Decimal) -> Decimal:
    """The same amount without zeros at its end, and not as a power of ten: 0.5, not 0.5000; 100, not 1E+2."""
    short = amount.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short


def _overlap(one: Epoch, other: Epoch) -> bool:
    return (one.until is None or other.since is None or other.since < one.until) and (
        other.until is None or one.since is None or one.since < other.until
    )
