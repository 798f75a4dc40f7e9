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


#: Where the cost of a usage record comes from: it was given to the record, and no price list changes it; or the record
#: was written with it, which holds until prices are applied anew.
GIVEN = "given with the record"
RECORDED = "as the record says"


def stated(reported: ReportedCost, *, given: bool) -> Cost:
    """The cost that a usage record of our own states."""
    source = GIVEN if given else RECORDED
    return Cost("priced" if reported.nano else "free", reported.nano, reported.currency, source)
