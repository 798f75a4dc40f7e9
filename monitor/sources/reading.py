"""What reading one record gives: a round, or a reason why it is none."""

from __future__ import annotations

from typing import Literal

import msgspec

from monitor.prices.money import Cost
from monitor.rounds import Round

#: Why a line is not a round. ``non_ai`` is traffic without a model and normal; the others are kept for `doctor`.
#:
#: - ``blank``: nothing on the line.
#: - ``foreign``: not an access-log record (pilot-agent's text in a shared file, a bare JSON value).
#: - ``malformed``: an access-log record that is damaged, or whose ``ai_log`` is not an object; a usage record that
#:   is torn or has counts that are none.
Reason = Literal["non_ai", "blank", "foreign", "malformed"]


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """A line that is not a round, and why."""

    reason: Reason
    #: The record as it was read; whoever keeps it shortens it.
    record: bytes = b""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A round, and whether its record has something that no other record can have.

    Two records that are equal to the byte and hold a request id, a response id or a collector's
    offset are one; without any of these they may be two calls, and their order tells them apart.
    """

    round: Round
    unique: bool
    #: What the round cost, where the record decides that and no price list does.
    cost: Cost | None = None
