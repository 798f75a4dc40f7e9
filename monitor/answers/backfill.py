"""What the gateway's log lost and transcripts still have: found, and made ready to be counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field

from monitor.answers.base import Answer, Asking, Money, Part, amount, rfc3339
from monitor.answers.periods import bounds
from monitor.answers.reconcile.causes import CAUSES, Findings
from monitor.answers.reconcile.pairs import pairs
from monitor.prices.catalog import Catalog
from monitor.rounds import BACKFILLED, UNKNOWN_TIME, Round, without_text
from monitor.sources.openclaw import StateFolder
from monitor.store.base import Batch, PricedRound, SessionName, SourceSeen, Testimony

#: Calls whose lines are lost. Those that never went through the gateway are another matter.
LOST = ("log_lost", "no_gateway", "bypassed_or_lost")
DAYS = 30
_MOST_RECORDS = 1_000_000
#: Records this far around the period tell whether the log was silent, and whether an id was seen before.
_AROUND_MS = 6 * 3_600_000
_STEP = 1_000


class FilledDay(Part):
    """Calls of one day that the log lost for one likely reason."""

    date: str
    cause: str
    rounds: int
    sessions: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Money | None = None
    unpriced: int | None = Field(default=None, description="Rounds without a price.")


class Backfill(Answer):
    """What would be added from transcripts, or was."""

    folder: str
    since: str
    until: str | None = None
    done: bool
    rounds: int
    sessions: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Money | None = None
    unpriced: int | None = None
    days: list[FilledDay] = []
    counted_already: int = Field(description="Calls of these transcripts that are counted already.")
    past_gateway: int | None = Field(default=None, description="Left out: calls of models that the gateway never saw.")
    without_id: int | None = Field(
        default=None, description="Left out: without a response id nobody could tell their lines from them later."
    )
    without_counts: int | None = Field(default=None, description="Left out: calls without counts, most of them failed.")
    causes: dict[str, str] | None = None
    note: str | None = None


class Filling(msgspec.Struct):
    """What is found: the answer, and what is to be stored to make it true."""

    answer: Backfill
    rounds: list[PricedRound]
    names: list[SessionName]
    folder: Path

    def batches(self) -> Iterator[Batch]:
        """What is to be stored, in steps; without places in files, so that nobody follows the folder because of it."""
        seen = SourceSeen(f"{BACKFILLED} {self.folder}", BACKFILLED)
        for start in range(0, len(self.rounds), _STEP):
            part = self.rounds[start : start + _STEP]
            yield Batch(rounds=part, names=self.names if start == 0 else [], seen=[seen])


def backfill(
    ask: Asking,
    catalog: Catalog,
    folder: Path,
    followed: Iterable[Path],
    *,
    since: str | None = None,
    until: str | None = None,
    days: int | None = None,
    past_gateway: bool = False,
    done: bool = False,
) -> Filling:
    """Find what `folder`, a state folder of OpenClaw that no source reads, has and the gateway's log lost.

    `past_gateway`: also calls of models that the gateway never saw in the period. `done`: it will be stored.

    Raises:
        BadQuestion: the period is none.
    """
    begin, end = bounds(since, until, DAYS if days is None and since is None else days, ask.zone)
    begin = begin or 0
    is_followed = folder in set(followed)
    found, names = _read(folder, begin, end)
    told = ask.store.testimonies(
        max(0, begin - _AROUND_MS), None if end is None else end + _AROUND_MS, limit=_MOST_RECORDS
    )
    known = _Known(told)
    fresh = {call.key: PricedRound(call, catalog.cost(call.model, call.host, call.started_at, call.usage))
             for call in found if not known.has(call)}  # fmt: skip
    left = {"past_gateway": 0, "without_id": 0, "without_counts": 0}
    chosen: list[tuple[str, PricedRound]] = []
    compared = pairs([*told, *(_testimony(priced) for priced in fresh.values())])
    for difference in () if is_followed else Findings(compared).all():
        priced = fresh.get(difference.pair.seen.key)
        if priced is None or difference.kind != "transcript_only":
            continue
        if not priced.round.usage.known:
            left["without_counts"] += 1
        elif difference.cause not in LOST and not (past_gateway and difference.cause == "bypassed"):
            left["past_gateway"] += 1
        elif priced.round.response_id is None:
            left["without_id"] += 1
        else:
            chosen.append((difference.cause, _marked(priced)))
    rounds = [priced for _, priced in chosen]
    ids = {name for priced in rounds for name in (priced.round.session_id, *priced.round.session_aliases)}
    answer = Backfill(
        folder=str(folder),
        since=rfc3339(begin),
        until=None if end is None else rfc3339(end),
        done=done and bool(rounds),
        days=_days(ask, chosen),
        counted_already=len(found) - len(fresh),
        causes={name: CAUSES[name] for name in CAUSES if any(cause == name for cause, _ in chosen)} or None,
        note=_note(is_followed, len(found), told),
        **{name: count or None for name, count in left.items()},
        **_sums(rounds),
        **ask.freshness,
    )
    return Filling(answer, rounds, [name for name in names if {name.name, name.session_id} & ids], folder)


class _Known:
    """Which calls are counted already."""

    def __init__(self, told: Sequence[Testimony]) -> None:
        self._written = {(t.started_at, t.response_id, t.input_tokens, t.output_tokens) for t in told}
        self._ids: dict[str, list[int]] = {}
        for one in told:
            if one.response_id is not None:
                self._ids.setdefault(one.response_id, []).append(one.started_at)

    def has(self, call: Round) -> bool:
        """Whether a call was read from where it stands, or somebody else saw it."""
        usage = call.usage
        if (call.started_at, call.response_id, usage.input_tokens, usage.output_tokens) in self._written:
            return True
        return any(abs(at - call.started_at) <= _AROUND_MS for at in self._ids.get(call.response_id or "", ()))


def _read(folder: Path, begin: int, end: int | None) -> tuple[list[Round], list[SessionName]]:
    """The calls of a period that stand in a state folder, each once, and the names of sessions."""
    calls: dict[bytes, Round] = {}
    names: list[SessionName] = []
    for found in StateFolder(folder, (), keep_content=False).read():
        names += [SessionName(one.session_id, one.key, one.parent, one.channel) for one in found.names]
        for call in found.calls:
            if call.started_at != UNKNOWN_TIME and begin <= call.started_at and (end is None or call.started_at < end):
                calls[call.key] = call
    return sorted(calls.values(), key=lambda call: (call.started_at, call.key)), names


def _testimony(priced: PricedRound) -> Testimony:
    """A call that is not stored, as the store would tell of it."""
    call, cost = priced.round, priced.cost
    return Testimony(
        key=call.key,
        source=call.source,
        joined=False,
        started_at=call.started_at,
        session_id=call.session_id,
        consumer=call.consumer,
        host=call.host,
        model=call.model,
        input_tokens=call.usage.input_tokens,
        output_tokens=call.usage.output_tokens,
        reasoning_tokens=call.usage.reasoning_tokens,
        cached_tokens=call.usage.cached_tokens,
        nano=cost.nano,
        currency=cost.currency,
        reported_nano=None if call.reported is None else call.reported.nano,
        reported_currency=None if call.reported is None else call.reported.currency,
        status=call.status,
        success=call.success,
        response_id=call.response_id,
        extra=call.extra,
    )


def _marked(priced: PricedRound) -> PricedRound:
    """The call with the mark, and without anything that was said in it."""
    call = without_text(priced.round)
    extra = msgspec.json.decode(call.extra) if call.extra else {}
    return PricedRound(
        msgspec.structs.replace(call, extra=msgspec.json.encode({**extra, BACKFILLED: True})), priced.cost
    )


def _days(ask: Asking, chosen: Sequence[tuple[str, PricedRound]]) -> list[FilledDay]:
    by_day: dict[tuple[str, str], list[PricedRound]] = {}
    for cause, priced in chosen:
        day = datetime.fromtimestamp(priced.round.started_at / 1000, ask.zone).date().isoformat()
        by_day.setdefault((day, cause), []).append(priced)
    return [FilledDay(date=day, cause=cause, **_sums(some)) for (day, cause), some in sorted(by_day.items())]


def _sums(rounds: Sequence[PricedRound]) -> dict[str, Any]:
    cost: dict[str, int] = {}
    for priced in rounds:
        if priced.cost.nano is not None and priced.cost.currency is not None:
            cost[priced.cost.currency] = cost.get(priced.cost.currency, 0) + priced.cost.nano
    return {
        "rounds": len(rounds),
        "sessions": len({priced.round.session_id for priced in rounds} - {None}),
        "input_tokens": _total(priced.round.usage.input_tokens for priced in rounds),
        "output_tokens": _total(priced.round.usage.output_tokens for priced in rounds),
        "cost": {currency: amount(nano) for currency, nano in sorted(cost.items())} or None,
        "unpriced": sum(priced.cost.status == "unpriced" for priced in rounds) or None,
    }


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _note(followed: bool, found: int, told: Sequence[Testimony]) -> str | None:
    if followed:
        return "A source reads this folder: its calls are counted as they come, and there is nothing to fill in."
    if not found:
        return "The transcripts have no call in this time."
    if any(one.source == "higress" and one.response_id is None and one.input_tokens is not None for one in told):
        return (
            "Some lines of the log have no response id. A lost line of that kind that turns up later would count "
            "beside what was filled in for it; `session-monitor reconcile` would show the two as one call."
        )
    return None
