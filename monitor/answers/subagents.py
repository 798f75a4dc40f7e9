"""What a session cost together with the sessions that it started: sub-agents, and theirs."""

from __future__ import annotations

from monitor.answers.base import Asking, Money, Part, added, costs
from monitor.store.base import SessionRecord, Slice

#: How many sub-agents are named; all are counted.
_NAMED = 20


class Figures(Part):
    """The sums of several sessions."""

    rounds: int
    total_input_tokens: int | None = None
    total_output_tokens: int | None = None
    total_tokens: int | None = None
    cost: Money | None = None


class Subagents(Part):
    """The sessions that a session started, and what it cost with them."""

    count: int
    #: Their ids, at most 20.
    sessions: list[str] = []
    #: The session with its sub-agents.
    together: Figures


def subagents(ask: Asking, record: SessionRecord, since: int | None = None) -> Subagents:
    """The sub-agents of a session, counted from `since` on where given."""
    found = ask.store.started_by(record.session_id or "")
    counted = found
    if since is not None:
        counted = [r for one in found if (r := ask.store.session(one.session_id or "", since)) is not None]
    below = [part for one in counted for part in one.slices]
    return Subagents(
        count=len(found),
        sessions=[one.session_id or "" for one in found[:_NAMED]],
        together=_figures([*record.slices, *below]),
    )


def _figures(slices: list[Slice]) -> Figures:
    counts = added(part.counts for part in slices)
    known = counts.input_tokens is not None or counts.output_tokens is not None
    return Figures(
        rounds=counts.rounds,
        total_input_tokens=counts.input_tokens,
        total_output_tokens=counts.output_tokens,
        total_tokens=(counts.input_tokens or 0) + (counts.output_tokens or 0) if known else None,
        cost=costs(slices),
    )
