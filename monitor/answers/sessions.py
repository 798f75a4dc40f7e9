"""What a conversation cost: one session, its rounds, and pages of sessions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import Field

from monitor.answers.base import (
    NO_MODEL,
    Answer,
    Asking,
    Combined,
    Money,
    Part,
    Reported,
    Unpriced,
    added,
    amount,
    combined,
    costs,
    mean_ms,
    reported,
    rfc3339,
    unpriced,
)
from monitor.answers.budgets import SessionBudget, own_budget, session_budget
from monitor.answers.course import MOST_ROUNDS, Course, course
from monitor.answers.errors import NotFound
from monitor.answers.keys import key_patterns
from monitor.answers.periods import bounds, instant
from monitor.answers.subagents import Subagents, subagents
from monitor.rounds import BACKFILLED, UNKNOWN_TIME
from monitor.store.base import Content, SessionQuery, SessionRecord, Slice, SortBy, StoredRound

#: How many rounds a detailed answer holds.
DETAILED_ROUNDS = 20
#: How many models an agent is told of that asks in short: it pays for every word of the answer.
CONCISE_MODELS = 3
#: A session that spoke this recently may have a turn under way that the gateway has not written yet.
_RECENT_MS = 90_000
NO_RESET = "No reset was seen: the figures are of the whole session."
SINCE_RESET = "Counted since the conversation last began anew; a compaction counts as that."
UNDER_WAY = "The gateway writes its log every 10 s or 64 KiB: the current turn may not be counted yet."

#: Where an agent finds the id of its own session.
HOW_TO_FIND_YOUR_ID = (
    "Pass your own session id as session_id. OpenClaw: copy the value after `session=` from the `Runtime:` line in "
    'your first message or system prompt, or call session_status with sessionKey "current". Other clients: the '
    "value that your client sends as session header. list_sessions shows all ids; do not guess by recency."
)


#: Rounds that were filled in are counted among the newest ten thousand of a session.
_PAGE, _MOST_PAGES = 500, 20
_MARK = f'"{BACKFILLED}":true'.encode()


class ModelShare(Part):
    """One model's part of a session."""

    model: str
    rounds: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost: Money | None = None


class RoundRow(Part):
    """One model request with its answer; content only where it was asked for."""

    round_id: str
    round: int
    timestamp: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost: Money | None = None
    cost_status: str | None = None
    price_source: str | None = None
    reported_cost: Money | None = Field(default=None, description="What the source itself says that it cost.")
    has_tool_calls: bool | None = None
    response_type: str | None = None
    success: bool
    status: int | None = None
    latency_ms: int | None = None
    ttft_ms: int | None = None
    route: str | None = None
    consumer: str | None = None
    function: str | None = None
    host: str | None = None
    source: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    response_id: str | None = None
    backfilled: bool | None = Field(default=None, description="From a transcript, in the place of a line that is lost.")
    convention: str | None = None
    input_token_details: dict[str, Any] | None = None
    output_token_details: dict[str, Any] | None = None
    more: dict[str, Any] | None = Field(default=None, description="What the log says besides, as it stands there.")
    system: Any = None
    messages: Any = None
    messages_from: int | None = Field(default=None, description="Index of the first of `messages` that is shown.")
    question: Any = None
    answer: Any = None
    reasoning: Any = None
    tool_calls: Any = None


class SessionFigures(Part):
    """What is told of a session wherever it is told."""

    session_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    messages_count: int | None = Field(default=None, description="Rounds: model requests with their answers.")
    total_input_tokens: int | None = Field(default=None, description="Holds cache reads and writes.")
    total_output_tokens: int | None = Field(default=None, description="Holds reasoning.")
    total_reasoning_tokens: int | None = None
    total_cached_tokens: int | None = None
    total_cache_write_tokens: int | None = None
    total_tokens: int | None = None
    model: str | None = None
    cost: Money | None = Field(default=None, description="Per currency; absent when nothing has a price.")
    unpriced: Unpriced | None = None
    unmetered_rounds: int | None = Field(default=None, description="Rounds whose tokens the log does not tell.")
    lower_bound_rounds: int | None = Field(default=None, description="Rounds that cost at least what is counted.")
    estimated_rounds: int | None = Field(default=None, description="Rounds priced by a stand-in list.")
    failed_rounds: int | None = None
    avg_latency_ms: int | None = None
    consumer: str | None = None
    agent: str | None = None
    channel: str | None = None
    parent_session: str | None = None
    aliases: list[str] = []
    session_source: str | None = None
    sources: list[str] = []
    url: str | None = None


class SessionRow(SessionFigures):
    """A session in a list."""

    session_id: str
    messages_count: int
    failed_rounds: int
    budget: SessionBudget | None = Field(default=None, description="Of a budget that is kept per session.")
    question: str | None = None
    url: str


class Session(SessionFigures, Answer):
    """What one session cost so far."""

    combined: Combined | None = Field(default=None, description="The cost in one currency, by fixed rates.")
    reported: Reported | None = Field(default=None, description="Costs that the sources report, beside ours.")
    budget: SessionBudget | None = Field(default=None, description="The most used budget that counts this session.")
    subagents: Subagents | None = Field(default=None, description="Only where asked; the other figures leave them out.")
    since: str | None = Field(default=None, description="Figures count from here, not from the session's start.")
    pruned_rounds: int | None = Field(default=None, description="Counted, but stored no longer.")
    backfilled_rounds: int | None = Field(default=None, description="From transcripts, for lines that are lost.")
    models: list[ModelShare] = []
    more_models: int | None = Field(default=None, description="How many models are not named here.")
    note: str | None = None
    trend: Course | None = Field(default=None, description="How its rounds have gone so far.")
    rounds: list[RoundRow] = []
    rounds_cursor: str | None = None


class SessionList(Answer):
    """One page of sessions."""

    sessions: list[SessionRow]
    next_cursor: str | None = None
    total: int
    no_session: list[NoSession] = Field(default=[], description="Rounds that named no session, by consumer.")


class NoSession(Part):
    """The rounds of one consumer that named no session."""

    consumer: str | None = None
    rounds: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Money | None = None


SessionList.model_rebuild()


def get_session(
    ask: Asking,
    session_id: str | None,
    *,
    since: str | None = None,
    detailed: bool = False,
    most_models: int | None = None,
    cursor: str | None = None,
    content_scope: Sequence[str] | None = None,
    include_subagents: bool = False,
) -> Session:
    """One session by any of its names; without a name, how to find it.

    `include_subagents` adds what it cost with the sessions that it started.
    `most_models`: how many models are named, where not all; the figures of the session hold them all.

    Raises:
        NotFound: with the ids nearest to the asked one.
        BadQuestion: `since` is no time.
    """
    if not session_id:
        return Session(note=HOW_TO_FIND_YOUR_ID, **ask.freshness)
    from_ms = None
    note = None
    if since == "reset":
        find(ask, session_id)
        from_ms = last_reset(ask.store.turns(session_id))
        note = NO_RESET if from_ms is None else SINCE_RESET
    elif since is not None:
        from_ms = instant(since, ask.zone)
    record = find(ask, session_id, from_ms)
    rounds: list[RoundRow] = []
    older = trend = None
    if detailed:
        page = ask.store.rounds(session_id, limit=DETAILED_ROUNDS, before=cursor, since=from_ms)
        open_ = content_scope is None or matches(record.session_id or "", content_scope)
        rounds, older = [round_row(stored, fields=open_) for stored in page.rounds], page.older
        if cursor is None:
            trend = course(ask.store.calls(session=session_id, since=from_ms, limit=MOST_ROUNDS))
    recent = ask.as_of is not None and ask.as_of - record.updated_at < _RECENT_MS
    models = model_shares(record.slices, brief=not detailed)
    shown = models if most_models is None else _most_telling(models, most_models)
    return Session(
        pruned_rounds=record.pruned_rounds or None,
        backfilled_rounds=_backfilled(ask, record, from_ms),
        **{**_figures(ask, record), "url": ask.link(record.session_id or session_id)[0]},
        models=shown,
        more_models=len(models) - len(shown) or None,
        combined=combined(ask, record.slices),
        reported=reported(record.slices),
        budget=session_budget(ask, record),
        since=None if from_ms is None else rfc3339(from_ms),
        note=" ".join(filter(None, (note, UNDER_WAY if recent else None))) or None,
        trend=trend,
        subagents=subagents(ask, record, from_ms) if include_subagents else None,
        rounds=rounds,
        rounds_cursor=older,
        **ask.freshness,
    )


def _backfilled(ask: Asking, record: SessionRecord, since: int | None) -> int | None:
    """How many of its rounds were filled in. They are looked for only where anything was ever filled in."""
    if "openclaw" not in record.sources or ask.scope is not None:
        return None
    if not any(feed.format == BACKFILLED for feed in ask.store.feeds()):
        return None
    count, before = 0, None
    for _ in range(_MOST_PAGES):
        page = ask.store.rounds(record.session_id or "", limit=_PAGE, before=before, since=since)
        count += sum(_MARK in (stored.round.extra or b"") for stored in page.rounds)
        before = page.older
        if before is None:
            break
    return count or None


def last_reset(rounds: Sequence[tuple[int, int | None, int | None]]) -> int | None:
    """When the conversation last began anew (``/new``, a reset; a compaction looks the same).

    `rounds`: (start, user messages in the request, opening) in order. A conversation is known by
    its opening; where a client comes back to one that has only grown, what was in between was
    something small that spoke in the same session, such as a call that finds a title. None where it
    never began anew.
    """
    seen: dict[int | None, tuple[int, int | None]] = {}
    began: int | None = None
    for index, (started, turn, opening) in enumerate(rounds):
        count = turn or 0
        before = seen.get(opening)
        if opening is None and before is not None and count == 1 and before[0] >= 3:
            # Without messages in the log only the numbers tell: one call between two that belong together.
            later = rounds[index + 1][1] if index + 1 < len(rounds) else None
            if later is not None and later >= before[0]:
                continue
        if before is None or count < before[0]:
            began = started if seen else None
            seen[opening] = count, began
        else:
            began = before[1]
            seen[opening] = count, began
    return began


def away(ask: Asking) -> str:
    """A sentence on what could not be looked through; empty where everything was."""
    parts = "; ".join(ask.store.missing())
    return f" It may be in what is away just now: {parts}." if parts else ""


def find(ask: Asking, session_id: str, since: int | None = None) -> SessionRecord:
    """The session of this name.

    Raises:
        NotFound: with the ids nearest to the asked one.
    """
    record = ask.store.session(session_id, since)
    if record is None:
        near = ask.store.similar(session_id[:400])
        if near:
            hint = f"Similar: {', '.join(near)}."
        elif ask.store.session_count():
            hint = "No id is like it."
        else:
            hint = "No session has been read from the log yet."
        if ask.behind_bytes:
            hint += f" The log is still being read ({ask.behind_bytes:,} bytes to go): ask again in a moment."
        hint += away(ask)
        raise NotFound(f"No session {session_id[:200]!r}. {hint} list_sessions (`session-monitor list`) shows all.")
    return record


def list_sessions(
    ask: Asking,
    *,
    sort_by: SortBy = "updated",
    since: str | None = None,
    until: str | None = None,
    model: str | None = None,
    consumer: str | None = None,
    search: str | None = None,
    session_key: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
    questions_of: tuple[str, ...] | None = None,
) -> SessionList:
    """One page of sessions. First questions are searched and shown only for ids that match `questions_of`.

    `session_key` leaves out all other sessions: it is an id, how ids begin, or a glob.
    """
    begin, end = bounds(since, until, None, ask.zone)
    query = SessionQuery(
        sort_by=sort_by,
        since=begin,
        until=end,
        model=model,
        consumer=consumer,
        search=search,
        keys=None if session_key is None else key_patterns(ask, session_key),
        search_questions_of=questions_of,
        limit=limit,
        cursor=cursor,
    )
    page = ask.store.sessions(query)
    unfiltered = cursor is None and not any((since, until, model, consumer, search, session_key))
    return SessionList(
        sessions=[_row(ask, record, questions_of) for record in page.sessions],
        next_cursor=page.next_cursor,
        total=page.total,
        no_session=[_no_session(record) for record in ask.store.unnamed()] if unfiltered else [],
        **ask.freshness,
    )


def _row(ask: Asking, record: SessionRecord, questions_of: tuple[str, ...] | None) -> SessionRow:
    shown = questions_of is None or matches(record.session_id or "", questions_of)
    return SessionRow(
        **_figures(ask, record), budget=own_budget(ask, record), question=record.question if shown else None
    )


def matches(session_id: str, patterns: Sequence[str]) -> bool:
    """Whether a session id matches one of some glob patterns, letter case included."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only where content is asked for

    return any(fnmatchcase(session_id, pattern) for pattern in patterns)


def _figures(ask: Asking, record: SessionRecord) -> dict[str, Any]:
    counts = added(part.counts for part in record.slices)
    known = counts.input_tokens is not None or counts.output_tokens is not None
    session_id = record.session_id or ""
    return {
        "session_id": session_id,
        "created_at": rfc3339(record.created_at) if record.created_at else None,
        "updated_at": rfc3339(record.updated_at) if record.updated_at else None,
        "messages_count": counts.rounds,
        "total_input_tokens": counts.input_tokens,
        "total_output_tokens": counts.output_tokens,
        "total_reasoning_tokens": counts.reasoning_tokens,
        "total_cached_tokens": counts.cached_tokens,
        "total_cache_write_tokens": counts.cache_write_tokens,
        "total_tokens": (counts.input_tokens or 0) + (counts.output_tokens or 0) if known else None,
        "model": record.model,
        "cost": costs(record.slices),
        "unpriced": unpriced(record.slices),
        "unmetered_rounds": counts.unmetered or None,
        "lower_bound_rounds": counts.lower_bound or None,
        "estimated_rounds": sum(p.counts.rounds for p in record.slices if p.price.status == "estimated") or None,
        "failed_rounds": counts.failed,
        "avg_latency_ms": mean_ms(counts.latency_total_ms, counts.latency_rounds),
        "consumer": record.consumer,
        "agent": record.agent,
        "channel": record.channel,
        "parent_session": record.parent_session,
        "aliases": list(record.aliases),
        "session_source": record.session_source,
        "sources": list(record.sources),
        "url": ask.url(session_id),
    }


def model_shares(slices: Sequence[Slice], *, brief: bool = False) -> list[ModelShare]:
    """The parts of each model, the one with the most rounds first; `brief` gives rounds and cost only."""
    by_model: dict[str, list[Slice]] = {}
    for part in slices:
        by_model.setdefault(part.model or NO_MODEL, []).append(part)
    shares = []
    for model, parts in by_model.items():
        counts = added(part.counts for part in parts)
        if brief:
            shares.append(ModelShare(model=model, rounds=counts.rounds, cost=costs(parts)))
            continue
        shares.append(
            ModelShare(
                model=model,
                rounds=counts.rounds,
                input_tokens=counts.input_tokens,
                output_tokens=counts.output_tokens,
                reasoning_tokens=counts.reasoning_tokens,
                cached_tokens=counts.cached_tokens,
                cache_write_tokens=counts.cache_write_tokens,
                cost=costs(parts),
            )
        )
    return sorted(shares, key=lambda s: (-s.rounds, s.model))


def _most_telling(models: list[ModelShare], most: int) -> list[ModelShare]:
    """The dearest model of each currency, then those with the most rounds, in the order of `models`."""
    dearest = [
        max(models, key=lambda share, c=currency: (share.cost or {}).get(c, -1.0))  # type: ignore[misc]
        for currency in sorted({currency for share in models for currency in share.cost or {}})
    ]
    names = list(dict.fromkeys(share.model for share in (*dearest, *models)))[:most]
    return [share for share in models if share.model in names]


def _no_session(record: SessionRecord) -> NoSession:
    counts = added(part.counts for part in record.slices)
    return NoSession(
        consumer=record.consumer,
        rounds=counts.rounds,
        input_tokens=counts.input_tokens,
        output_tokens=counts.output_tokens,
        cost=costs(record.slices),
    )


# -- rounds ---------------------------------------------------------------------------------------


def round_row(
    stored: StoredRound, content: Content | None = None, *, new_only: bool = False, fields: bool = True
) -> RoundRow:
    """A round as it is shown; with `new_only` `content` holds only the messages that it added.

    `fields`: whether attributes of the log that are unknown here are shown; they may hold what was said. So may
    the path, whose query can also hold a key.
    """
    r, cost = stored.round, stored.cost
    extra = msgspec.json.decode(r.extra) if r.extra else {}
    if not fields:
        for name in ("fields", "path"):
            extra.pop(name, None)
    said: dict[str, Any] = {}
    if content is not None:
        messages = content.messages
        said = {
            "system": _json(content.system),
            "messages": [_json(m) for m in messages] if messages is not None else _json(content.truncated),
            "messages_from": (content.new_from or None) if new_only else None,
            "question": _json(content.question),
            "answer": _json(content.answer),
            "reasoning": _json(content.reasoning),
            "tool_calls": _json(content.tool_calls),
        }
    return RoundRow(
        round_id=r.key.hex(),
        round=stored.number,
        timestamp=None if r.started_at == UNKNOWN_TIME else rfc3339(r.started_at),
        model=r.model,
        input_tokens=r.usage.input_tokens,
        output_tokens=r.usage.output_tokens,
        reasoning_tokens=r.usage.reasoning_tokens,
        cached_tokens=r.usage.cached_tokens,
        cache_write_tokens=r.usage.cache_write_tokens,
        cost=None if cost.nano is None or cost.currency is None else {cost.currency: amount(cost.nano)},
        cost_status=None if cost.status in ("priced", "none") else cost.status,
        price_source=cost.source,
        reported_cost=None if r.reported is None else {r.reported.currency: amount(r.reported.nano)},
        has_tool_calls=r.has_tool_calls or None,
        response_type=r.response_type,
        success=r.success,
        status=r.status,
        latency_ms=r.latency_ms,
        ttft_ms=r.ttft_ms,
        route=r.route,
        consumer=r.consumer,
        function=r.function,
        host=r.host,
        source=r.source,
        user_id=r.user_id,
        request_id=r.request_id,
        response_id=r.response_id,
        backfilled=extra.pop(BACKFILLED, None) is True or None,
        convention=extra.pop("convention", None),
        input_token_details=extra.pop("input_token_details", None),
        output_token_details=extra.pop("output_token_details", None),
        more=extra or None,
        **said,
    )


def _json(text: bytes | None) -> Any:
    """A logged text as data. Python's reader takes what msgspec refuses, such as lone surrogates."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return json.loads(text)
