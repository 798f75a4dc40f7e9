"""How a session goes from round to round, with series for charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import Field

from monitor.answers.base import Answer, Asking, Money, Part, amount, rfc3339
from monitor.answers.course import MOST_ROUNDS, Course, course
from monitor.answers.sessions import find
from monitor.rounds import UNKNOWN_TIME
from monitor.store.base import Call

_T = TypeVar("_T")


class TrendPoint(Part):
    """One round in a series."""

    round: int
    timestamp: str | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost: Money | None = None
    latency_ms: int | None = None
    success: bool


class SessionTrend(Answer, Course):
    """A session's course with its series, for charts."""

    session_id: str
    rounds: int
    rounds_seen: int | None = Field(default=None, description="The newest of them, where not all were looked at.")
    points: list[TrendPoint] = []
    url: str


def session_trend(ask: Asking, session_id: str, points: int = 200) -> SessionTrend:
    """The course of a session, with a series of at most `points` rounds: the first, the last, and evenly between.

    Raises:
        NotFound: with the ids nearest to the asked one.
    """
    record = find(ask, session_id)
    total = sum(part.counts.rounds for part in record.slices)
    calls = ask.store.calls(session=session_id, limit=MOST_ROUNDS)
    name = record.session_id or session_id
    numbered = list(enumerate(calls, total - len(calls) + 1))
    return SessionTrend(
        session_id=name,
        rounds=total,
        rounds_seen=len(calls) if len(calls) < total else None,
        points=[_point(number, call) for number, call in thinned(numbered, points)],
        url=ask.url(name),
        **course(calls).model_dump(),
        **ask.freshness,
    )


def thinned(items: Sequence[_T], most: int) -> list[_T]:
    """At most `most` of the items, the first and the last among them and the others evenly between."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[-1:]) if most == 1 else []
    return [items[index * (len(items) - 1) // (most - 1)] for index in range(most)]


def _point(number: int, call: Call) -> TrendPoint:
    return TrendPoint(
        round=number,
        timestamp=None if call.started_at == UNKNOWN_TIME else rfc3339(call.started_at),
        input_tokens=call.input_tokens,
        cached_tokens=call.cached_tokens,
        output_tokens=call.output_tokens,
        cost=None if call.nano is None or call.currency is None else {call.currency: amount(call.nano)},
        latency_ms=call.latency_ms,
        success=call.success,
    )
