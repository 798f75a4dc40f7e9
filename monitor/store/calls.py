"""Rounds in short become SQL: of one session, of a window of time, or a sample of a long time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from monitor.store.asking import round_key
from monitor.store.base import Call
from monitor.store.labels import Labels
from monitor.store.rows import SUCCESS, started_at
from monitor.store.schema import FIRST_MS, first_rid

_COLUMNS = (
    "rid, substr(key, 1, 8), sid, facet, model, price, input, output, reasoning, cached, cache_write, nano, latency, "
    "flags, status, request_id"
)
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


def calls(
    db: sqlite3.Connection,
    labels: Labels,
    session: str | None,
    since: int | None,
    until: int | None,
    *,
    min_latency_ms: int | None,
    limit: int,
) -> list[Call]:
    """The newest rounds of a session or of a window, oldest first; or the slowest, slowest first."""
    timeless = session is not None and since is None and until is None
    low = _LOWEST if timeless else first_rid(max(FIRST_MS, since or 0))
    high = _HIGHEST if until is None else first_rid(until)
    where, values = "rid >= ? AND rid < ?", [low, high]
    if session is not None:
        row = db.execute("SELECT sid FROM session_name WHERE name = ?", (session,)).fetchone()
        if row is None:
            return []
        where, values = f"sid = ? AND {where}", [row[0], *values]
    order = "rid DESC"
    if min_latency_ms is not None:
        where, order = f"{where} AND latency >= ?", "latency DESC, rid DESC"
        values.append(min_latency_ms)
    rows = db.execute(f"SELECT {_COLUMNS} FROM round WHERE {where} ORDER BY {order} LIMIT ?", (*values, limit))
    found = _calls(db, labels, rows.fetchall())
    return found if min_latency_ms is not None else found[::-1]


def sampled(db: sqlite3.Connection, labels: Labels, since: int, until: int, step_ms: int, each: int) -> list[Call]:
    """The first `each` rounds of every step; each step is one look at the index, whatever lies in it."""
    # Before the first round and behind the last there is nothing to look at.
    (low,) = db.execute("SELECT min(rid) FROM round WHERE rid >= ?", (first_rid(FIRST_MS),)).fetchone()
    (high,) = db.execute("SELECT max(rid) FROM round").fetchone()
    rows: list[tuple[Any, ...]] = []
    if low is not None:
        begin = max(since, FIRST_MS)
        skipped = max(0, started_at(low) - begin) // step_ms
        for start in range(begin + skipped * step_ms, min(until, started_at(high) + 1), step_ms):
            end = min(start + step_ms, until)
            rows += db.execute(
                f"SELECT {_COLUMNS} FROM round WHERE rid >= ? AND rid < ? ORDER BY rid LIMIT ?",
                (first_rid(start), first_rid(end), each),
            )
    return _calls(db, labels, rows)


def _calls(db: sqlite3.Connection, labels: Labels, rows: Iterable[tuple[Any, ...]]) -> list[Call]:
    facets: dict[int, tuple[str | None, ...]] = {}
    sessions: dict[int, str | None] = {}
    found = []
    for (
        rid,
        key,
        sid,
        facet,
        model,
        price,
        given,
        said,
        reasoning,
        cached,
        write,
        nano,
        latency,
        flags,
        status,
        req,
    ) in rows:
        if sid not in sessions:
            kind, name = db.execute("SELECT kind, session_id FROM session WHERE sid = ?", (sid,)).fetchone()
            sessions[sid] = None if kind else name
        if facet not in facets:
            ids = db.execute(
                "SELECT consumer, route, function, user_id, host FROM facet WHERE id = ?", (facet,)
            ).fetchone()
            facets[facet] = tuple(labels.name(number) for number in ids)
        consumer, route, function, user_id, host = facets[facet]
        found.append(
            Call(
                key=round_key(rid, key),
                started_at=started_at(rid),
                session_id=sessions[sid],
                model=labels.name(model),
                consumer=consumer,
                route=route,
                function=function,
                user_id=user_id,
                host=host,
                input_tokens=given,
                output_tokens=said,
                reasoning_tokens=reasoning,
                cached_tokens=cached,
                cache_write_tokens=write,
                nano=nano,
                currency=labels.price(price).currency,
                latency_ms=latency,
                success=bool(flags & SUCCESS),
                status=status,
                request_id=req,
            )
        )
    return found
