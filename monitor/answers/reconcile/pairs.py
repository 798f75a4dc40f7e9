"""Which record of the gateway and which of a transcript are one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from monitor.store.base import Testimony

#: What shows that two records are one call. Only ids prove it; a call that is joined otherwise stands in the
#: totals twice.
JoinedBy = Literal["response_id", "counts", "time"]
#: Without an id the records of one call begin this close together.
_CLOSE_MS = 120_000


class Pair(msgspec.Struct, frozen=True):
    """One call: what the gateway said of it, and what the transcript did."""

    gateway: Testimony | None
    transcript: Testimony | None
    joined_by: JoinedBy | None = None

    @property
    def seen(self) -> Testimony:
        """One that saw it, the gateway first."""
        found = self.gateway or self.transcript
        assert found is not None
        return found


def pairs(told: Iterable[Testimony]) -> list[Pair]:
    """The calls of a period, in the order of their start."""
    by_call: dict[bytes, list[Testimony]] = {}
    for one in told:
        if one.source in ("higress", "openclaw"):
            by_call.setdefault(one.key, []).append(one)
    found: list[Pair] = []
    gateway: list[Testimony] = []
    transcripts: list[Testimony] = []
    for group in by_call.values():
        logged = next((one for one in group if one.source == "higress"), None)
        written = next((one for one in group if one.source == "openclaw"), None)
        if logged is not None and written is not None:
            found.append(Pair(logged, written, "response_id"))
        elif logged is not None:
            gateway.append(logged)
        elif written is not None:
            transcripts.append(written)
    found += _join(gateway, transcripts, "counts", _same_counts)
    found += _join(gateway, transcripts, "time", _both_without_counts)
    found += [Pair(one, None) for one in gateway]
    found += [Pair(None, one) for one in transcripts]
    return sorted(found, key=lambda pair: (pair.seen.started_at, pair.seen.key))


def _join(
    gateway: list[Testimony],
    transcripts: list[Testimony],
    joined_by: JoinedBy,
    alike: Callable[[Testimony, Testimony], bool],
) -> list[Pair]:
    """Take those that are alike out of both lists, the nearest first."""
    near = sorted(
        (abs(logged.started_at - written.started_at), g, t)
        for t, written in enumerate(transcripts)
        for g, logged in _close(gateway, written.started_at)
        if alike(logged, written)
    )
    used_gateway: set[int] = set()
    used_transcripts: set[int] = set()
    found = []
    for _, g, t in near:
        if g not in used_gateway and t not in used_transcripts:
            used_gateway.add(g)
            used_transcripts.add(t)
            found.append(Pair(gateway[g], transcripts[t], joined_by))
    gateway[:] = [one for g, one in enumerate(gateway) if g not in used_gateway]
    transcripts[:] = [one for t, one in enumerate(transcripts) if t not in used_transcripts]
    return found


def _close(told: list[Testimony], at: int) -> Iterable[tuple[int, Testimony]]:
    """Those that began around a moment; `told` is in the order of its starts."""
    from bisect import bisect_left  # noqa: PLC0415 - only where something is left to join

    start = bisect_left(told, at - _CLOSE_MS, key=lambda one: one.started_at)
    for index in range(start, len(told)):
        if told[index].started_at > at + _CLOSE_MS:
            return
        yield index, told[index]


def _may_be_one(logged: Testimony, written: Testimony) -> bool:
    """Whether nothing speaks against it: two ids that differ do, and two sessions."""
    if logged.response_id is not None and written.response_id is not None:
        return False
    return logged.session_id is None or logged.session_id == written.session_id


def _same_counts(logged: Testimony, written: Testimony) -> bool:
    return (
        logged.input_tokens is not None
        and (logged.input_tokens, logged.output_tokens) == (written.input_tokens, written.output_tokens)
        and same_model(logged.model, written.model)
        and _may_be_one(logged, written)
    )


def _both_without_counts(logged: Testimony, written: Testimony) -> bool:
    known = (logged.input_tokens, logged.output_tokens, written.input_tokens, written.output_tokens)
    return (
        known == (None, None, None, None)
        and (logged.model is None or same_model(logged.model, written.model))
        and (logged.session_id is not None or logged.success == written.success)
        and _may_be_one(logged, written)
    )


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names are those of one model: providers before it and dates behind it are written or left out."""
    if one is None or other is None:
        return False
    first, second = (name.lower().rsplit("/", 1)[-1] for name in (one, other))
    return first == second or first.startswith(f"{second}-") or second.startswith(f"{first}-")
