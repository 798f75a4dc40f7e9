"""A round as a row: its columns, its place, its states, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from monitor.prices.money import Cost
from monitor.rounds import ReportedCost, Round, Usage
from monitor.session_keys import parts
from monitor.store.base import Call, Counts, PricedRound, PriceTag, StoredRound
from monitor.store.clickhouse.schema import ROUND
from monitor.store.previews import preview
from monitor.store.rows import (
    CONTENT,
    CONVENTION,
    INFERRED,
    LOST_COUNTS,
    LOWER_BOUND,
    NORMAL,
    SOURCE_BITS,
    STREAM,
    SUCCESS,
    TOOL_CALLS,
    round_id,
)

#: What a row is at its place. A record is new where every place that it may have says FORGOTTEN or nothing.
KNOWN, COUNTS, FORGOTTEN, PRUNED, MOVED = range(5)
#: KNOWN: it was read, and another one counts for its call, or none for good. COUNTS: it is in every sum.
#: FORGOTTEN: taken out; it may come back. PRUNED: in every sum, with its quarter of an hour for its time, and nothing
#: else is kept of it. MOVED: it stands in the session that ``moved`` names.

#: A flag of PRUNED rows that came out of a data directory: it stands for one of several rounds of which only sums were
#: left, so that it has a share of these, and how long it took is told elsewhere (see `monitor.store.clickhouse.sums`).
SHARE = 1 << 9


class Row(NamedTuple):
    """The columns of ``round``, in their order."""

    session: str
    rid: int
    key: bytes
    state: int
    moved: str
    at: int
    consumer: str
    source: str
    route: str
    function: str
    user_id: str
    agent: str
    host: str
    model: str
    price_status: str
    currency: str
    price_source: str
    price_version: str
    reported_currency: str
    input: int | None
    output: int | None
    reasoning: int | None
    cached: int | None
    cache_write: int | None
    cache_write_1h: int | None
    nano: int | None
    reported: int | None
    latency: int | None
    ttft: int | None
    status: int | None
    turn: int | None
    opening: int | None
    flags: int
    sources: int
    request_id: str | None
    response_id: str | None
    extra: bytes | None
    question: str | None
    chain: str
    said_key: bytes
    ver: int


assert Row._fields == ROUND.names

NAMES = ", ".join(Row._fields)
#: The price of a round, as columns.
TAG = "price_status, currency, price_source, price_version, reported_currency"
#: A round in short, as columns.
CALL = (
    "rid, key, at, session, model, consumer, route, function, user_id, host, input, output, reasoning, cached, "
    "cache_write, nano, currency, latency, flags, status, request_id"
)

#: How rows are summed, in the order of the fields of `Counts`.
SUMS = f"""count(), sum(bitAnd(flags, {SUCCESS}) = 0), sum(isNull(input) AND isNull(output)),
  sum(bitAnd(flags, {LOWER_BOUND}) != 0), sum(input), sum(output), sum(reasoning), sum(cached), sum(cache_write),
  sum(nano), sum(latency), count(latency), sum(ttft), count(ttft), sum(reported)"""

_MOST, _LEAST = (1 << 63) - 1, -(1 << 63)


def from_round(priced: PricedRound, session: str, version: str, *, keeps: bool) -> Row:
    """The row of a round in a session.

    Raises:
        ValueError: for a number that no column can hold.
    """
    r, cost = priced.round, priced.cost
    usage = r.usage
    conversation = r.conversation if keeps else None
    flags = (
        r.success * SUCCESS
        | (usage.lower_bound or cost.status == "partial") * LOWER_BOUND
        | r.has_tool_calls * TOOL_CALLS
        | (conversation is not None) * CONTENT
        | (r.session_source == "inferred") * INFERRED
        | (r.response_type == "normal") * NORMAL
        | (r.response_type == "stream") * STREAM
        | (usage.convention != "openai") * CONVENTION
        | usage.lower_bound * LOST_COUNTS
    )
    row = Row(
        session=session,
        rid=round_id(r.started_at, r.key),
        key=r.key,
        state=COUNTS,
        moved="",
        at=r.started_at,
        consumer=r.consumer or "",
        source=r.source,
        route=r.route or "",
        function=r.function or "",
        user_id=r.user_id or "",
        agent=agent_of(session),
        host=r.host or "",
        model=r.model or "",
        price_status=cost.status,
        currency=cost.currency or "",
        price_source=cost.source or "",
        price_version=version,
        reported_currency=r.reported.currency if r.reported is not None else "",
        input=usage.input_tokens,
        output=usage.output_tokens,
        reasoning=usage.reasoning_tokens,
        cached=usage.cached_tokens,
        cache_write=usage.cache_write_tokens,
        cache_write_1h=usage.cache_write_1h_tokens,
        nano=cost.nano,
        reported=r.reported.nano if r.reported is not None else None,
        latency=r.latency_ms,
        ttft=r.ttft_ms,
        status=r.status,
        turn=r.turn,
        opening=r.opening,
        flags=flags,
        sources=SOURCE_BITS.get(r.source, 0),
        request_id=r.request_id,
        response_id=r.response_id,
        extra=r.extra or None,
        question=preview(conversation.question) if conversation is not None else None,
        chain="",
        said_key=b"",
        ver=0,
    )
    for name, value in zip(Row._fields, row, strict=True):
        if isinstance(value, int) and not _LEAST <= value <= _MOST:
            raise ValueError(f"round {r.key.hex()}: {name} is {value}, which no store can hold")
    return row


def agent_of(session: str) -> str:
    """The agent that a session's key names; empty where it names none."""
    return parts(session or None).agent or ""


def round_key(rid: int, key: bytes) -> bytes:
    """What names a round outside: its place in time and enough of its key."""
    return rid.to_bytes(8, "big", signed=True) + key[:8]


def tag(values: Sequence[str]) -> PriceTag:
    """A price from the columns of `TAG`."""
    return PriceTag(values[0], *(text or None for text in values[1:]))  # type: ignore[arg-type]


def counts(values: Sequence[Any]) -> Counts:
    """Sums from the columns of `SUMS`."""
    return Counts(*values)


def stored(row: Row, number: int) -> StoredRound:
    """The round that a row holds, with its number in its session."""
    session_id = row.session or None
    source_of_id: Literal["header", "inferred"] | None = None
    if session_id is not None:
        source_of_id = "inferred" if row.flags & INFERRED else "header"
    usage = Usage(
        row.input,
        row.output,
        row.reasoning,
        row.cached,
        row.cache_write,
        row.cache_write_1h,
        lower_bound=bool(row.flags & LOWER_BOUND),
    )
    reported = None
    if row.reported is not None and row.reported_currency:
        reported = ReportedCost(row.reported, row.reported_currency)
    price = tag((row.price_status, row.currency, row.price_source, row.price_version, row.reported_currency))
    return StoredRound(
        number=number,
        round=Round(
            key=round_key(row.rid, row.key),
            source=row.source,
            started_at=row.at,
            session_id=session_id,
            session_source=source_of_id,
            model=row.model or None,
            usage=usage,
            success=bool(row.flags & SUCCESS),
            status=row.status,
            latency_ms=row.latency,
            ttft_ms=row.ttft,
            response_type="normal" if row.flags & NORMAL else "stream" if row.flags & STREAM else None,
            has_tool_calls=bool(row.flags & TOOL_CALLS),
            turn=row.turn,
            consumer=row.consumer or None,
            route=row.route or None,
            function=row.function or None,
            user_id=row.user_id or None,
            host=row.host or None,
            request_id=row.request_id,
            response_id=row.response_id,
            reported=reported,
            extra=row.extra,
        ),
        cost=Cost(price.status, row.nano, price.currency, price.source),
        price_version=price.version,
        has_content=bool(row.flags & CONTENT),
    )


def call(values: Sequence[Any]) -> Call:
    """The round in short, from the columns of `CALL`."""
    rid, key, at, *texts = values[:9]
    session_id, model, consumer, route, function, user_id = (text or None for text in texts)
    host, given, said, reasoning, cached, write, nano, currency, latency, flags, status, request_id = values[9:]
    return Call(
        key=round_key(rid, key),
        started_at=at,
        session_id=session_id,
        model=model,
        consumer=consumer,
        route=route,
        function=function,
        user_id=user_id,
        host=host or None,
        input_tokens=given,
        output_tokens=said,
        reasoning_tokens=reasoning,
        cached_tokens=cached,
        cache_write_tokens=write,
        nano=nano,
        currency=currency or None,
        latency_ms=latency,
        success=bool(flags & SUCCESS),
        status=status,
        request_id=request_id,
    )
