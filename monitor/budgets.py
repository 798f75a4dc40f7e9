"""What a budget is: which rounds it counts, in which periods, against which limit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

Period = Literal["day", "week", "month", "session"]
#: By what rounds are chosen. `session` is the session's id.
BudgetDimension = Literal["consumer", "agent", "session", "model", "function", "route"]

#: Shares are whole millionths of the limit, so that 0.8 is exactly four fifths.
WHOLE = 1_000_000
#: The beginning of the one period of a session's budget.
SESSION_START = 0


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What a round is matched by. An absent value is the empty text."""

    consumer: str = ""
    agent: str = ""
    session: str = ""
    model: str = ""
    function: str = ""
    route: str = ""


class Exchange(msgspec.Struct, frozen=True):
    """Fixed rates by which a combined figure is worked out; nothing is converted without one.

    `per_usd` says how many units of a currency one US dollar is, and `as_of` since when the user says so.
    """

    base: str
    per_usd: dict[str, tuple[Decimal, str]] = {}

    def convert(self, nano: int, currency: str, to: str) -> int | None:
        """Nano-units of `currency` in `to`, rounded half up once; None where a rate is missing."""
        if currency == to:
            return nano
        there, here = self._per_usd(to), self._per_usd(currency)
        if there is None or here is None:
            return None
        return int((nano * there / here).quantize(Decimal(1), ROUND_HALF_UP))

    def rate(self, currency: str, to: str) -> str | None:
        """In words by which rate `currency` becomes `to`: ``7.0 CNY per USD (2026-11-20)``."""
        known = [name for name in (currency, to) if name in self.per_usd and name != "USD"]
        if not known or self._per_usd(currency) is None or self._per_usd(to) is None:
            return None
        return ", ".join(f"{self.per_usd[name][0]} {name} per USD ({self.per_usd[name][1]})" for name in known)

    def _per_usd(self, currency: str) -> Decimal | None:
        if currency == "USD":
            return Decimal(1)
        return self.per_usd[currency][0] if currency in self.per_usd else None


class Limit(msgspec.Struct, frozen=True):
    """How much may be used in a period: money of one currency, or tokens."""

    nano: int | None = None
    currency: str | None = None
    tokens: int | None = None

    @property
    def amount(self) -> int:
        """Nano-units or tokens."""
        return (self.tokens if self.nano is None else self.nano) or 0

    def __str__(self) -> str:
        """As it is written down beside an alert: ``10 USD``, ``1000000 tokens``."""
        if self.nano is None:
            return f"{self.tokens} tokens"
        return f"{Decimal(self.nano).scaleb(-9).normalize():f} {self.currency}"


class Budget(msgspec.Struct, frozen=True):
    """A limit for the rounds that match, anew in every period."""

    name: str
    limit: Limit
    period: Period = "day"
    #: Dimension and the globs of which one must fit; all dimensions must.
    match: tuple[tuple[BudgetDimension, tuple[str, ...]], ...] = ()
    #: Each value of this dimension has the limit for itself. A budget of the period `session` is kept per session.
    per: BudgetDimension | None = None
    #: Shares of the limit, in millionths, at which somebody is told.
    warn_at: tuple[int, ...] = (800_000, WHOLE)
    #: Who is told when a share is passed, by names that hold no secret.
    channels: tuple[str, ...] = ()
    #: Who is told only when the limit is reached: a command, a webhook.
    exceeded_channels: tuple[str, ...] = ()

    def rule(self, timezone: str) -> str:
        """Everything that the sums depend on, the limit not among it, as a text; see `from_rule`."""
        return msgspec.json.encode(Rule(self.period, self.match, self.per, timezone)).decode()

    @property
    def kept_per(self) -> BudgetDimension | None:
        """Whose values have sums of their own."""
        return "session" if self.period == "session" else self.per

    def slot(self, facts: Facts) -> str | None:
        """Under which value a round counts; None where it does not. One for all is the empty text."""
        for dimension, patterns in self.match:
            value: str = getattr(facts, dimension)
            if not any(fnmatchcase(value, pattern) for pattern in patterns):
                return None
        if self.kept_per is None:
            return ""
        # A round that names no session, no consumer, … has no limit of its own.
        return getattr(facts, self.kept_per) or None

    def period_start(self, at_ms: int, zone: ZoneInfo) -> int:
        """When the period of a moment began, in milliseconds since 1970. Days begin at midnight of `zone`."""
        if self.period == "session":
            return SESSION_START
        return _midnight(self._first_day(at_ms, zone), zone)

    def period_end(self, at_ms: int, zone: ZoneInfo) -> int | None:
        """When the period of a moment ends, exclusive; None for the budget of a session."""
        if self.period == "session":
            return None
        first = self._first_day(at_ms, zone)
        if self.period == "month":
            following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        else:
            following = first + timedelta(days=7 if self.period == "week" else 1)
        return _midnight(following, zone)

    def _first_day(self, at_ms: int, zone: ZoneInfo) -> date:
        day = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date()
        if self.period == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.period == "month" else day


class Rule(msgspec.Struct, frozen=True):
    """What the sums of a budget depend on."""

    period: Period
    match: tuple[tuple[BudgetDimension, tuple[str, ...]], ...]
    per: BudgetDimension | None
    timezone: str


def from_rule(name: str, rule: str) -> tuple[Budget, str]:
    """A budget that counts by a rule that was written down, without a limit, and its time zone."""
    read = msgspec.json.decode(rule, type=Rule)
    return Budget(name, Limit(), read.period, read.match, read.per), read.timezone


class BudgetBook(msgspec.Struct, frozen=True):
    """All budgets with what they have in common."""

    budgets: tuple[Budget, ...] = ()
    #: IANA name of the zone in which days begin.
    timezone: str = "UTC"
    exchange: Exchange = Exchange("USD")

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin."""
        return ZoneInfo(self.timezone)

    @property
    def of_sessions(self) -> BudgetBook:
        """Only the budgets that are kept per session: what they tell of one tells nothing of another."""
        return msgspec.structs.replace(self, budgets=tuple(b for b in self.budgets if b.kept_per == "session"))

    def named(self, name: str) -> Budget | None:
        """The budget of this name."""
        return next((budget for budget in self.budgets if budget.name == name), None)


class Used(msgspec.Struct, frozen=True):
    """What of a budget is used in one period."""

    #: Nano-units of the limit's currency, or tokens.
    amount: int
    #: Costs in currencies that no rate converts: they are in no share.
    not_counted: dict[str, int] = {}
    rounds: int = 0
    #: Rounds with tokens and no price: money that nobody can count.
    unpriced: int = 0
    #: The rates by which other currencies were counted.
    rates: tuple[str, ...] = ()

    def share(self, limit: Limit) -> int:
        """The used share of `limit` in millionths, rounded down: 100 % is said when it is reached and not before."""
        return self.amount * WHOLE // limit.amount


class BudgetSum(msgspec.Struct, frozen=True, gc=False):
    """What was counted for a budget in one period under one value, in one currency (empty: without a cost)."""

    at: int
    slot: str
    currency: str
    nano: int
    tokens: int
    rounds: int
    unpriced: int


def used(limit: Limit, sums: list[BudgetSum], exchange: Exchange) -> Used:
    """The sums of one period under one value against `limit`."""
    rounds = sum(s.rounds for s in sums)
    unpriced = sum(s.unpriced for s in sums)
    if limit.nano is None:
        return Used(sum(s.tokens for s in sums), rounds=rounds, unpriced=0)
    to = limit.currency or exchange.base
    amount = 0
    not_counted: dict[str, int] = {}
    rates: dict[str, None] = {}  # each once: many sums are in the same currency
    for part in sums:
        if not part.currency or not part.nano:
            continue
        nano = exchange.convert(part.nano, part.currency, to)
        if nano is None:
            not_counted[part.currency] = not_counted.get(part.currency, 0) + part.nano
            continue
        amount += nano
        rate = exchange.rate(part.currency, to)
        if rate is not None:
            rates.setdefault(rate)
    return Used(amount, not_counted, rounds, unpriced, tuple(rates))


def _midnight(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000
