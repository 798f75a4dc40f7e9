"""Exact money: whole nano-units (1e-9 of a currency unit), rounded once per round."""

from __future__ import annotations

from typing import Literal

import msgspec

from monitor.rounds import ReportedCost

NANO = 10**9

#: - ``priced``: every part of the usage had a price.
#: - ``free``: the price list says zero, or the gateway answered by itself (cache, guard).
#: - ``partial``: a lower bound; the log lost counts, or a part has no price of its own.
#: - ``estimated``: priced by a stand-in that the source names (a region's default list, an undated round).
#: - ``unpriced``: there are tokens, and no list has a price for them.
#: - ``none``: nothing was counted, so there is nothing to price.
CostStatus = Literal["priced", "free", "partial", "estimated", "unpriced", "none"]


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What one round cost. `nano` is None where it is unknown, and 0 only where it is known to be free."""

    status: CostStatus
    nano: int | None = None
    #: ISO 4217, such as ``USD`` or ``CNY``.
    currency: str | None = None
    #: Where the price comes from, for people: list, entry, and the day from which it holds.
    source: str | None = None


#: Where the cost comes from that a record was given by who wrote it; no price list changes it.
GIVEN = "the record's own cost"
#: Where the cost comes from that a record tells, while no list has a price.
REPORTED = "reported by the source; no list has a price"


def or_reported(cost: Cost, reported: ReportedCost, *, given: bool) -> Cost:
    """What a round cost whose source reports a cost: that is right where it was given, and better than no price.

    A zero that nobody gave is none: OpenClaw writes one for every model that its configuration has no price for.
    """
    if given:
        return Cost("priced" if reported.nano else "free", reported.nano, reported.currency, GIVEN)
    if reported.nano and cost.status in ("unpriced", "none"):
        return Cost("estimated", reported.nano, reported.currency, REPORTED)
    return cost
