"""What an anomaly says, what is worth a word, and how figures are written in its sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from pydantic import Field

from monitor.answers.amounts import money
from monitor.answers.base import Answer, Money, Part, shown
from monitor.store.base import SORT_WEIGHTS, Call

Kind = Literal[
    "dear_rounds",
    "slow_calls",
    "error_burst",
    "retry_loop",
    "repeated_rounds",
    "runaway_session",
    "growing_context",
    "cache_miss",
]
Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
#: What is worth a word at all, what is much, and what is very much, in US dollars; nobody is shown these sums.
_WORTH, _MUCH, _VERY_MUCH = 0.01, 0.1, 2.0
NANO = 1e9


class Anomaly(Part):
    """Something unusual, with the figure that makes it so."""

    kind: Kind
    severity: Severity
    session_id: str | None = None
    round: int | None = None
    round_id: str | None = None
    model: str | None = None
    when: str | None = None
    value: float
    usual: float | None = None
    unit: str
    rounds: int | None = Field(default=None, description="How many rounds are meant, the worst of which is named.")
    why: str
    cost: Money | None = Field(default=None, description="What it cost more than usual.")
    url: str


class Anomalies(Answer):
    """Unusual rounds and sessions, the worst first, one of a kind and session."""

    since: str
    rounds: int = Field(description="Rounds that were looked at.")
    left_out: int | None = Field(default=None, description="Older rounds of the period that were not looked at.")
    compared_with: int = Field(description="Earlier rounds that say what is usual.")
    rows: list[Anomaly] = []
    more: int | None = Field(default=None, description="How many more there are.")
    note: str | None = None


class Finding(msgspec.Struct, kw_only=True):
    """An anomaly before it is counted and written down."""

    kind: Kind
    #: The round that shows it best.
    call: Call
    value: float
    usual: float | None = None
    unit: str
    #: How many times the usual; larger is worse.
    times: float
    why: str
    rounds: int = 1
    #: What it cost more than usual, in nano-units by currency.
    extra: Mapping[str, int] = {}
    #: Bad whatever it costs.
    grave: bool = False
    #: What is one anomaly is named once: the session, where there is one.
    group: tuple[str | None, ...] = ()

    @property
    def spend(self) -> float:
        """The extra cost, to put findings in an order; never to be shown."""
        return weight(self.extra)

    @property
    def severity(self) -> Severity:
        """How much it matters: by money first, else by how unusual it is."""
        if self.grave or self.spend >= _VERY_MUCH:
            return "high"
        return "medium" if self.spend >= _MUCH or self.times >= 10 else "low"


def weight(nano: Mapping[str, int]) -> float:
    """A sum to sort by or to hold against a threshold, roughly in US dollars."""
    return sum(amount * SORT_WEIGHTS.get(currency, 1.0) for currency, amount in nano.items()) / NANO


def worth_a_word(nano: Mapping[str, int]) -> bool:
    """Whether so much money is worth telling."""
    return weight(nano) >= _WORTH


def cost_of(calls: Sequence[Call]) -> dict[str, int]:
    """Nano-units by currency."""
    sums: dict[str, int] = {}
    for call in calls:
        if call.nano is not None and call.currency is not None:
            sums[call.currency] = sums.get(call.currency, 0) + call.nano
    return sums


# -- figures in words -----------------------------------------------------------------------------


def took(ms: float) -> str:
    """``850 ms``, ``3.1 s``, ``12 min``."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 600_000 else f"{ms / 60_000:.0f} min"


def paid(nano: float, currency: str) -> str:
    """An amount of one currency."""
    return money(shown({currency: round(nano)}))


def clock(ms: int, zone: ZoneInfo) -> str:
    """The local time of day."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).strftime("%H:%M")
