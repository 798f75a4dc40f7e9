"""The answer: how much each meter saw, what only one of them saw, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import Field

from monitor.answers.base import Answer, Asking, Money, Part, amount
from monitor.answers.periods import last_days
from monitor.answers.reconcile.causes import CAUSES, Difference, Findings, Kind
from monitor.answers.reconcile.pairs import Pair, pairs
from monitor.rounds import BACKFILLED, UNKNOWN_TIME
from monitor.store.base import Testimony

DAYS = 7
#: Calls that are looked at: the newest of the period.
MOST_CALLS = 200_000
_MOST_ROWS = 20
_MOST_ROUNDS = 5
_FILLED = f'"{BACKFILLED}":true'.encode()


class Sums(Part):
    """Sums over calls."""

    rounds: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    #: By our price lists, and as OpenClaw worked it out.
    cost: Money | None = None
    reported_cost: Money | None = None
    backfilled: int | None = Field(default=None, description="Of the rounds: filled in for lines that are lost.")


class Finding(Part):
    """Calls of one session and day that differ in one way, for one likely cause."""

    kind: Kind
    #: See `causes`.
    cause: str
    rounds: int
    input_tokens: int | None = Field(default=None, description="Gateway less transcripts where both counted.")
    output_tokens: int | None = None
    cost: Money | None = None
    session_guessed: bool | None = Field(default=None, description="The gateway's lines name no session.")
    round_ids: list[str] = Field(default=[], description="For get_round; at most 5.")


class ReconciledSession(Part):
    """One session on one day where the meters differ."""

    date: str | None = None
    session_id: str | None = None
    consumer: str | None = None
    gateway: Sums
    transcripts: Sums
    findings: list[Finding]


class Joined(Part):
    """Calls that both meters saw, by what shows it."""

    response_id: int
    counts: int | None = Field(default=None, description="No id: by model, time and counts; counted twice in totals.")
    #: No id and no counts: failed calls close together in time.
    time: int | None = None


class Reconciliation(Answer):
    """The gateway's log against OpenClaw's transcripts."""

    since: str
    gateway: Sums
    transcripts: Sums
    joined: Joined
    gateway_only: Sums | None = None
    transcript_only: Sums | None = None
    counts_differ: int | None = None
    cost_differs: int | None = None
    rows: list[ReconciledSession] = Field(default=[], description="Where they differ, the largest difference first.")
    more_rows: int | None = None
    causes: dict[str, str] | None = None
    note: str | None = None


def reconcile(ask: Asking, *, days: int = DAYS, limit: int = _MOST_ROWS) -> Reconciliation:
    """Compare both meters over the last days, today included, in the zone of the answers."""
    since = last_days(days, ask.zone)
    told = ask.store.testimonies(since, limit=MOST_CALLS)
    calls = pairs(told)
    differences = Findings(calls).all()
    by_place: dict[tuple[str | None, str | None, str | None], list[Pair]] = {}
    for pair in calls:
        by_place.setdefault(_place(ask, pair), []).append(pair)
    found: dict[tuple[str | None, str | None, str | None], list[Difference]] = {}
    for difference in differences:
        found.setdefault(_place(ask, difference.pair), []).append(difference)
    rows = [_row(place, by_place[place], some) for place, some in found.items()]
    rows.sort(key=_size, reverse=True)
    only = {kind: [d.pair.seen for d in differences if d.kind == kind] for kind in ("gateway_only", "transcript_only")}
    kinds = [difference.kind for difference in differences]
    return Reconciliation(
        since=datetime.fromtimestamp(since / 1000, UTC).isoformat().replace("+00:00", "Z"),
        gateway=_sums(p.gateway for p in calls),
        transcripts=_sums(p.transcript for p in calls),
        joined=Joined(
            response_id=sum(p.joined_by == "response_id" for p in calls),
            counts=sum(p.joined_by == "counts" for p in calls) or None,
            time=sum(p.joined_by == "time" for p in calls) or None,
        ),
        gateway_only=_sums(only["gateway_only"]) if only["gateway_only"] else None,
        transcript_only=_sums(only["transcript_only"]) if only["transcript_only"] else None,
        counts_differ=kinds.count("counts_differ") or None,
        cost_differs=kinds.count("cost_differs") or None,
        rows=rows[:limit],
        more_rows=max(0, len(rows) - limit) or None,
        causes={name: CAUSES[name] for name in CAUSES if any(d.cause == name for d in differences)} or None,
        note=_note(calls, len(told)),
        **ask.freshness,
    )


def _note(calls: list[Pair], told: int) -> str | None:
    if not calls:
        return "No call was seen in this time, by either meter."
    if told >= MOST_CALLS:
        return f"Only the newest {MOST_CALLS:,} records of this time were compared: ask for fewer days."
    if not any(pair.transcript is not None for pair in calls):
        return 'Only the gateway was read. Follow OpenClaw\'s state folder as well: kind = "openclaw".'
    if not any(pair.gateway is not None for pair in calls):
        return "Only transcripts were read. They leave out compactions and retries; the gateway's log has them."
    return None


def _place(ask: Asking, pair: Pair) -> tuple[str | None, str | None, str | None]:
    """Day, session, and for calls without a session the consumer."""
    at = pair.seen.started_at
    day = None if at == UNKNOWN_TIME else datetime.fromtimestamp(at / 1000, ask.zone).date().isoformat()
    session = pair.session_id
    return day, session, None if session is not None else pair.seen.consumer


def _row(
    place: tuple[str | None, str | None, str | None], calls: list[Pair], differences: list[Difference]
) -> ReconciledSession:
    by_cause: dict[tuple[Kind, str], list[Difference]] = {}
    for difference in differences:
        by_cause.setdefault((difference.kind, difference.cause), []).append(difference)
    day, session, consumer = place
    return ReconciledSession(
        date=day,
        session_id=session,
        consumer=consumer,
        gateway=_sums(pair.gateway for pair in calls),
        transcripts=_sums(pair.transcript for pair in calls),
        findings=[_finding(kind, cause, [d.pair for d in some]) for (kind, cause), some in by_cause.items()],
    )


def _finding(kind: Kind, cause: str, calls: list[Pair]) -> Finding:
    if kind == "cost_differs":
        input_ = output = None
    else:
        input_ = _less((p.gateway, p.transcript, "input_tokens") for p in calls)
        output = _less((p.gateway, p.transcript, "output_tokens") for p in calls)
    costs: dict[str, int] = {}
    for pair in calls:
        for told, sign in ((pair.gateway, 1), (pair.transcript, -1)):
            if told is None:
                continue
            if kind == "cost_differs" and sign < 0:
                nano, currency = told.reported_nano, told.reported_currency
            elif kind == "counts_differ" and sign < 0:
                continue
            else:
                nano, currency = told.nano, told.currency
            if nano is not None and currency is not None:
                # What only a transcript knows is a sum of its own, not one that is missing.
                costs[currency] = costs.get(currency, 0) + (nano if kind == "transcript_only" else sign * nano)
    return Finding(
        kind=kind,
        cause=cause,
        rounds=len(calls),
        input_tokens=input_,
        output_tokens=output,
        cost=None if kind == "counts_differ" else _money(costs),
        session_guessed=any(pair.guessed is not None for pair in calls) or None,
        round_ids=[pair.seen.key.hex() for pair in calls[:_MOST_ROUNDS]],
    )


def _less(told: Iterable[tuple[Testimony | None, Testimony | None, str]]) -> int | None:
    """What the gateway counted less what the transcripts did; of calls that one of them saw, what that one counted."""
    found: int | None = None
    for logged, written, name in told:
        mine = None if logged is None else getattr(logged, name)
        theirs = None if written is None else getattr(written, name)
        if mine is None and theirs is None:
            continue
        value = theirs if logged is None else (mine or 0) - (theirs or 0)
        found = (found or 0) + (value or 0)
    return found


def _sums(told: Iterable[Testimony | None]) -> Sums:
    rounds = filled = 0
    tokens: dict[str, int] = {}
    cost: dict[str, int] = {}
    reported: dict[str, int] = {}
    for one in told:
        if one is None:
            continue
        rounds += 1
        filled += _FILLED in (one.extra or b"")
        for name, value in (("input", one.input_tokens), ("output", one.output_tokens)):
            if value is not None:
                tokens[name] = tokens.get(name, 0) + value
        if one.nano is not None and one.currency is not None:
            cost[one.currency] = cost.get(one.currency, 0) + one.nano
        if one.reported_nano is not None and one.reported_currency is not None:
            reported[one.reported_currency] = reported.get(one.reported_currency, 0) + one.reported_nano
    return Sums(
        rounds=rounds,
        input_tokens=tokens.get("input"),
        output_tokens=tokens.get("output"),
        cost=_money(cost),
        reported_cost=_money(reported),
        backfilled=filled or None,
    )


def _money(nano: dict[str, int]) -> Money | None:
    return {currency: amount(value) for currency, value in sorted(nano.items())} or None


def _size(row: ReconciledSession) -> tuple[int, int]:
    tokens = sum(abs(f.input_tokens or 0) + abs(f.output_tokens or 0) for f in row.findings)
    return tokens, sum(f.rounds for f in row.findings)
