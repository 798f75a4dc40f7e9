"""What can price a name: entries of lists in the order in which they are asked, each over its own time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from threading import Lock
from typing import Literal

import msgspec

from monitor.prices import names
from monitor.prices.money import CostStatus
from monitor.prices.overlay import Row
from monitor.prices.rates import FOREVER, Epoch, Plan, Timeline
from monitor.rounds import UNKNOWN_TIME

List = Literal["overlay", "built-in", "genai-prices"]


class Offer(msgspec.Struct, frozen=True):
    """An entry of a list that fits a name, over all its time."""

    list: List
    #: The list and its version, for people.
    label: str
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


class Answer(msgspec.Struct, frozen=True):
    """What is needed to price rounds of one name in one epoch."""

    offer: Offer
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


class Entry:
    """A name and host, with the offers for them in order and the answer that fitted last."""

    __slots__ = ("_lock", "_offers", "_pending", "last", "newest")

    def __init__(self, offers: Iterator[Offer]) -> None:
        self._pending = offers
        self._offers: list[Offer] = []
        self._lock = Lock()
        self.last: Answer | None = None
        #: For undated rounds, once one was seen.
        self.newest: Answer | None = None

    def answer(self, at_ms: int) -> Answer | None:
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
                    answer = as_answer(offer, epoch, since, until)
                    if at_ms == UNKNOWN_TIME:
                        self.newest = answer
                    else:
                        self.last = answer
                    return answer
        return None

    def _known_then_new(self) -> Iterator[Offer]:
        yield from self._offers
        for offer in self._pending:
            self._offers.append(offer)
            yield offer


def from_rows(source: List, rows: Sequence[Row], candidate: names.Candidate, stand_in: str | None) -> Iterator[Offer]:
    """An offer for each provider among `rows`; rows of one provider follow each other in time."""
    for provider in dict.fromkeys(row.provider for row in rows):
        mine = tuple(row for row in rows if row.provider == provider)
        yield Offer(
            list=source,
            label=source,
            provider=provider,
            matched=candidate.name,
            rule=candidate.rule,
            timeline=Timeline(row.epoch for row in mine),
            stand_in=stand_in,
            rows=mine,
        )


def as_answer(offer: Offer, epoch: Epoch, since: int, until: int) -> Answer:
    """The answer of `offer` within `epoch`, and within the span in which no earlier offer has one."""
    entry = offer.matched if offer.provider is None else f"{offer.provider}/{offer.matched}"
    source = f"{offer.label}: {entry}"
    if epoch.since is not None:
        source += f" from {day_of(epoch.since)}"
    row = next((row for row in offer.rows if row.epoch is epoch), None)
    if row is not None and row.gateway:
        source += ", answered by the gateway itself"
    if offer.stand_in is not None:
        source += f" ({offer.stand_in})"
    free = row.free if row is not None else epoch.plan.free
    status: CostStatus = "free" if free else "priced" if offer.stand_in is None else "estimated"
    return Answer(
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


def day_of(ms: int | None) -> date | None:
    """The UTC day of an instant."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).date()
