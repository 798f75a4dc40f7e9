"""Why a call is known to one meter only, or to both with other figures."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

import msgspec

from monitor.answers.reconcile.pairs import COMPACTION_MS, Pair, compacted_at, same_model
from monitor.store.base import Testimony

Kind = Literal["gateway_only", "transcript_only", "counts_differ", "cost_differs"]

#: What each cause means, for who reads of it.
CAUSES = {
    "compaction": "OpenClaw had the conversation summed up just then, and writes that call into no transcript.",
    "retry": "The request failed; OpenClaw writes down one message for several tries.",
    "unrecorded": (
        "A call of a session that OpenClaw knows, and wrote down nowhere: probably a compaction, or another call that "
        "it makes for itself; else a message that was taken out of the transcript since."
    ),
    "no_session": (
        "The line names no session and no transcript has its response id: another program behind the gateway, or a "
        "call that OpenClaw does not write down, such as a compaction or a retry."
    ),
    "other_program": "No transcript knows the session: another program calls through the gateway, or its "
    "transcripts are not read here.",
    "no_transcripts": "No transcript was read for this time: add a source of kind openclaw.",
    "failed": "The call failed and has no counts; it may never have reached the gateway.",
    "no_gateway": "No line of a gateway was read for this time: add a source of kind higress, or the log is gone.",
    "bypassed": "The gateway never saw this model in this time: OpenClaw calls its provider directly.",
    "log_lost": "The gateway's log has no line within a quarter of an hour: it was rotated away, or nobody read it.",
    "bypassed_or_lost": "Other calls of this model went through the gateway: this one took another way, or its line "
    "was lost.",
    "upper_bound": "This release of OpenClaw adds reasoning to output a second time; the gateway is right.",
    "gateway_lost_counts": "The gateway saw no usage (the client went away before the end); the transcript's counts.",
    "transcript_lost_counts": "The transcript has no counts for a call that the gateway counted.",
    "counted_otherwise": "Both counted, and not the same.",
    "other_price": "The price in OpenClaw's configuration is not that of the price list.",
}

_SILENCE_MS = 900_000


class Difference(msgspec.Struct, frozen=True):
    """One difference and its likely cause."""

    kind: Kind
    cause: str
    pair: Pair


class Findings:
    """Works out the differences of the calls of a period."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        self._gateway = sorted(p.gateway.started_at for p in pairs if p.gateway is not None)
        self._models = {p.gateway.model for p in pairs if p.gateway is not None}
        #: Of each session that has transcripts: when calls began, and when it was summed up.
        self._calls: dict[str | None, list[int]] = {}
        self._compactions: dict[str | None, list[int]] = {}
        for pair in pairs:
            if (written := pair.transcript) is not None:
                self._calls.setdefault(written.session_id, []).append(written.started_at)
                at = compacted_at(written)
                if at is not None:
                    self._compactions.setdefault(written.session_id, []).append(at)
        for times in self._calls.values():
            times.sort()

    def all(self) -> list[Difference]:
        """The differences, in the order of their calls; a pair may have two."""
        found = []
        for pair in self._pairs:
            if pair.transcript is None and pair.gateway is not None:
                found.append(Difference("gateway_only", self._why_not_written(pair.gateway, pair.session_id), pair))
            elif pair.gateway is None and pair.transcript is not None:
                found.append(Difference("transcript_only", self._why_not_logged(pair.transcript), pair))
            elif pair.gateway is not None and pair.transcript is not None:
                cause = _why_other_counts(pair.gateway, pair.transcript)
                if cause is not None:
                    found.append(Difference("counts_differ", cause, pair))
                if _other_cost(pair.gateway, pair.transcript):
                    found.append(Difference("cost_differs", "other_price", pair))
        return found

    def _why_not_written(self, logged: Testimony, session: str | None) -> str:
        if not self._calls:
            return "no_transcripts"
        if session not in self._calls:
            return "no_session" if session is None else "other_program"
        if not logged.success or (logged.input_tokens is None and logged.output_tokens is None):
            return "retry"
        times = self._calls[session]
        for at in self._compactions.get(session, ()):
            between = bisect_left(times, at) - bisect_left(times, logged.started_at + 1)
            if 0 <= at - logged.started_at <= COMPACTION_MS and between <= 0:
                return "compaction"
        return "unrecorded"

    def _why_not_logged(self, written: Testimony) -> str:
        if written.input_tokens is None and written.output_tokens is None:
            return "failed"
        if not self._gateway:
            return "no_gateway"
        if not any(same_model(model, written.model) for model in self._models):
            return "bypassed"
        after = bisect_left(self._gateway, written.started_at - _SILENCE_MS)
        if after == len(self._gateway) or self._gateway[after] > written.started_at + _SILENCE_MS:
            return "log_lost"
        return "bypassed_or_lost"


def _why_other_counts(logged: Testimony, written: Testimony) -> str | None:
    mine = (logged.input_tokens, logged.output_tokens, logged.cached_tokens)
    theirs = (written.input_tokens, written.output_tokens, written.cached_tokens)
    if mine[:2] == (None, None) and theirs[:2] == (None, None):
        return None
    if mine[:2] == (None, None):
        return "gateway_lost_counts"
    if theirs[:2] == (None, None):
        return "transcript_lost_counts"
    if not any(one is not None and other is not None and one != other for one, other in zip(mine, theirs, strict=True)):
        return None
    if _extra(written).get("convention") == "openclaw_upper_bound" and mine[0] == theirs[0]:
        return "upper_bound"
    return "counted_otherwise"


def _other_cost(logged: Testimony, written: Testimony) -> bool:
    """Whether both say a cost in one currency and not the same; a cost of ours that is OpenClaw's own says nothing."""
    return (
        logged.nano is not None
        and written.reported_nano is not None
        and logged.currency == written.reported_currency
        and logged.nano != written.reported_nano
    )


def _extra(told: Testimony) -> dict[str, object]:
    if told.extra is None:
        return {}
    found = msgspec.json.decode(told.extra)
    return found if isinstance(found, dict) else {}
