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
_AT_ONCE_MS = 2_000
#: A summary is written down at most this long after its call began.
COMPACTION_MS = 300_000


class Pair(msgspec.Struct, frozen=True):
    """One call: what the gateway said of it, and what the transcript did."""

    gateway: Testimony | None
    transcript: Testimony | None
    joined_by: JoinedBy | None = None
    #: The session that the call was probably made for, where the gateway's line names none.
    guessed: str | None = None

    @property
    def session_id(self) -> str | None:
        """The session of the call, by what either says, else by a guess."""
        for told in (self.transcript, self.gateway):
            if told is not None and told.session_id is not None:
                return told.session_id
        return self.guessed

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
    told_by_transcripts = [one for group in by_call.values() for one in group if one.source == "openclaw"]
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
    guess = _Guess(told_by_transcripts)
    found += [Pair(one, None, guessed=guess.session_of(one)) for one in gateway]
    found += [Pair(None, one) for one in transcripts]
    return sorted(found, key=lambda pair: (pair.seen.started_at, pair.seen.key))


class _Guess:
    """For which session a call was made that names none: one that was summed up, or failed, just then."""

    def __init__(self, transcripts: Iterable[Testimony]) -> None:
        self._summed_up: list[tuple[int, str]] = []
        self._failed: list[tuple[int, str]] = []
        for one in transcripts:
            if one.session_id is None:
                continue
            at = compacted_at(one)
            if at is not None:
                self._summed_up.append((at, one.session_id))
            if not one.success:
                self._failed.append((one.started_at, one.session_id))

    def session_of(self, logged: Testimony) -> str | None:
        """The session, or None where several might be meant."""
        if logged.session_id is not None:
            return None
        at = logged.started_at
        if logged.input_tokens is None and logged.output_tokens is None:
            # What OpenClaw writes down is the last of several tries, or (2026.7) has the time of the first.
            tries = [(moment < at, abs(moment - at), session) for moment, session in self._failed]
            near = [one for one in tries if one[1] <= _CLOSE_MS]
            return min(near)[2] if near else None
        summed_up = {session for moment, session in self._summed_up if 0 <= moment - at <= COMPACTION_MS}
        return summed_up.pop() if len(summed_up) == 1 else None


def compacted_at(written: Testimony) -> int | None:
    """When the conversation was summed up before a call of a transcript; None where it was not."""
    if written.extra is None or b'"compacted_at"' not in written.extra:
        return None
    at = msgspec.json.decode(written.extra).get("compacted_at")
    return at if isinstance(at, int) else None


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
        # A stream that was cut counts as failed here and as answered there: only its moment tells.
        and (
            logged.session_id is not None
            or logged.success == written.success
            or abs(logged.started_at - written.started_at) <= _AT_ONCE_MS
        )
        and _may_be_one(logged, written)
    )


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names are those of one model: providers before it and dates behind it are written or left out."""
    if one is None or other is None:
        return False
    first, second = (name.lower().rsplit("/", 1)[-1] for name in (one, other))
    return first == second or first.startswith(f"{second}-") or second.startswith(f"{first}-")
