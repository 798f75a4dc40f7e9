"""Sums over time become SQL: whole steps from the roll-ups, the edges of a period from their rounds.

A round that was pruned counts as if it had started with its quarter of an hour.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from monitor.store.base import Bucket, Counts, Dimension, Grain, Slice
from monitor.store.labels import Labels
from monitor.store.schema import (
    COUNT_SUMS,
    COUNTED,
    COUNTS,
    DAY_MS,
    EPOCH_MS,
    FIRST_MS,
    QUARTER_MS,
    first_rid,
)

_NEVER = 1 << 62


def total_slices(db: sqlite3.Connection, labels: Labels, since: int | None, until: int | None) -> list[Slice]:
    """Sums by model and price."""
    if since is None and until is None:
        rows = db.execute(f"SELECT model, price, {', '.join(COUNTS)} FROM total").fetchall()
    else:
        rows = _window(db, "model, price", since, until)
    return [Slice(labels.name(r[0]), labels.price(r[1]), Counts(*r[2:])) for r in rows]


def _window(db: sqlite3.Connection, columns: str, since: int | None, until: int | None) -> list[tuple[Any, ...]]:
    """Sums over [since, until): whole quarters from the roll-up, the rest of the edges from their rounds."""
    low = max(FIRST_MS, since or 0)
    high = _NEVER if until is None else until
    first = -(-low // QUARTER_MS) * QUARTER_MS
    last = high // QUARTER_MS * QUARTER_MS
    parts: list[str] = []
    values: list[int] = []
    if first < last:
        edges = [(low, first), (last, high)]
    else:
        first = last = 0
        edges = [(low, high)]
    # This part comes first and is never left out: it gives the columns their names.
    parts.append(f"SELECT {columns}, {', '.join(COUNTS)} FROM quarter WHERE at >= ? AND at < ?")
    values += [first, last]
    for begin, end in edges:
        if begin < end < _NEVER:
            parts.append(f"SELECT {columns}, {COUNT_SUMS} FROM {COUNTED} WHERE rid >= ? AND rid < ? GROUP BY {columns}")
            values += [first_rid(begin), first_rid(end)]
    return db.execute(
        f"SELECT {columns}, {COUNT_SUMS} FROM ({' UNION ALL '.join(parts)}) GROUP BY {columns}",
        values,
    ).fetchall()


def dimension_slices(
    db: sqlite3.Connection, labels: Labels, dimension: Dimension, since: int | None, until: int | None
) -> dict[str, list[Slice]]:
    """Sums by the values of one dimension: whole days from the roll-up, the edges from their rounds."""
    low = 0 if since is None and until is None else max(FIRST_MS, since or 0)
    high = _NEVER if until is None else until
    first = -(-low // DAY_MS) * DAY_MS
    last = high // DAY_MS * DAY_MS
    parts: list[str] = []
    values: list[int] = []
    columns = "facet, model, price"
    if first < last:
        edges = [(low, first), (last, high)]
    else:
        first = last = 0
        edges = [(low, high)]
    # This part comes first and is never left out: it gives the columns their names.
    parts.append(f"SELECT {columns}, {', '.join(COUNTS)} FROM day WHERE at >= ? AND at < ?")
    values += [first, last]
    for begin, end in edges:
        if begin < end < _NEVER:
            parts.append(f"SELECT {columns}, {COUNT_SUMS} FROM {COUNTED} WHERE rid >= ? AND rid < ? GROUP BY {columns}")
            values += [first_rid(begin), first_rid(end)]
    found: dict[str, list[Slice]] = {}
    for r in db.execute(
        f"SELECT f.{dimension}, u.model, u.price, {COUNT_SUMS} FROM ({' UNION ALL '.join(parts)}) AS u "
        f"JOIN facet AS f ON f.id = u.facet GROUP BY f.{dimension}, u.model, u.price",
        values,
    ):
        found.setdefault(labels.name(r[0]) or "", []).append(
            Slice(labels.name(r[1]), labels.price(r[2]), Counts(*r[3:]))
        )
    return found


def model_sessions(
    db: sqlite3.Connection, labels: Labels, since: int | None, until: int | None
) -> Mapping[str | None, int]:
    """How many sessions used each model."""
    if since is None and until is None:
        rows = db.execute("SELECT model, sessions FROM model_sessions").fetchall()
    else:
        low = max(FIRST_MS, since or 0)
        high = _NEVER if until is None else until
        rows = db.execute(
            "SELECT p.model, count(DISTINCT p.sid) FROM (SELECT model, sid FROM presence WHERE at >= ? AND at < ? "
            f"UNION ALL SELECT model, sid FROM {COUNTED} WHERE rid >= ? AND rid < ? "
            f"UNION ALL SELECT model, sid FROM {COUNTED} WHERE rid >= ? AND rid < ?) AS p "
            "JOIN session AS s ON s.sid = p.sid WHERE s.kind = 0 GROUP BY p.model",
            _edges(low, high),
        ).fetchall()
    return {labels.name(model): count for model, count in rows}


def _edges(low: int, high: int) -> tuple[int, ...]:
    """Bounds of the whole quarters in [low, high), and of the rounds before and behind them."""
    first = -(-low // QUARTER_MS) * QUARTER_MS
    last = high // QUARTER_MS * QUARTER_MS
    if first >= last:
        return 0, 0, first_rid(low), first_rid(high), 0, 0
    return first, last, first_rid(low), first_rid(first), first_rid(last), first_rid(min(high, last + QUARTER_MS))


def time_buckets(
    db: sqlite3.Connection,
    labels: Labels,
    grain: Grain,
    timezone: str,
    since: int | None,
    until: int | None,
    count_sessions: bool,
) -> list[Bucket]:
    """Sums by local hour, day or month.

    Quarters of an hour are the finest steps between zones' offsets that are in use, so every local
    hour and day is a set of whole quarters (Nepal is at +05:45, parts of Australia at +08:45).
    """
    bounds = db.execute("SELECT min(at), max(at) FROM quarter WHERE at > 0").fetchone()
    found: dict[str | None, list[Slice]] = {}
    sessions: dict[str | None, int] = {}
    low = high = 0
    if bounds[0] is not None:
        low = max(bounds[0], bounds[0] if since is None else since)
        high = min(bounds[1] + QUARTER_MS, _NEVER if until is None else until)
    if low < high:
        unit = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}[grain]
        label = f"strftime('{unit}', (at + {offset_sql(ZoneInfo(timezone), low, high)}) / 1000, 'unixepoch')"
        edge = f"(SELECT *, (rid >> 22) + {EPOCH_MS} AS at FROM {COUNTED} WHERE rid >= ? AND rid < ?)"
        columns = "label, model, price"
        for r in db.execute(
            f"SELECT {columns}, {COUNT_SUMS} FROM ("
            f"SELECT {label} AS label, model, price, {', '.join(COUNTS)} FROM quarter WHERE at >= ? AND at < ? "
            f"UNION ALL SELECT {label}, model, price, {COUNT_SUMS} FROM {edge} GROUP BY 1, 2, 3 "
            f"UNION ALL SELECT {label}, model, price, {COUNT_SUMS} FROM {edge} GROUP BY 1, 2, 3) GROUP BY {columns}",
            _edges(low, high),
        ):
            found.setdefault(r[0], []).append(Slice(labels.name(r[1]), labels.price(r[2]), Counts(*r[3:])))
    if low < high and count_sessions:
        sessions.update(
            db.execute(
                f"SELECT label, count(DISTINCT p.sid) FROM ("
                f"SELECT {label} AS label, sid FROM presence WHERE at >= ? AND at < ? "
                f"UNION ALL SELECT {label}, sid FROM {edge} UNION ALL SELECT {label}, sid FROM {edge}) AS p "
                "JOIN session AS s ON s.sid = p.sid WHERE s.kind = 0 GROUP BY label",
                _edges(low, high),
            ).fetchall()
        )
    buckets = [Bucket(label, sessions.get(label, 0), tuple(found[label])) for label in sorted(found, key=str)]
    if since is None and until is None:
        rows = db.execute(f"SELECT model, price, {', '.join(COUNTS)} FROM quarter WHERE at = 0").fetchall()
        if rows:
            (count,) = db.execute(
                "SELECT count(DISTINCT p.sid) FROM presence AS p JOIN session AS s ON s.sid = p.sid "
                "WHERE p.at = 0 AND s.kind = 0"
            ).fetchone()
            slices = tuple(Slice(labels.name(r[0]), labels.price(r[1]), Counts(*r[2:])) for r in rows)
            buckets.insert(0, Bucket(None, count if count_sessions else 0, slices))
    return buckets


def offset_sql(zone: ZoneInfo, low: int, high: int) -> str:
    """The zone's offset in milliseconds at ``at``, for ``at`` in [low, high)."""
    cases, begin = [], low
    offset = _offset(zone, begin)
    # Offsets change at most a few times a year and never twice within a week.
    while begin < high:
        end = min(begin + 7 * DAY_MS, high)
        later = _offset(zone, end)
        if later != offset:
            left, right = begin // QUARTER_MS, end // QUARTER_MS + 1
            while right - left > 1:
                middle = (left + right) // 2
                left, right = (middle, right) if _offset(zone, middle * QUARTER_MS) == offset else (left, middle)
            cases.append(f"WHEN at < {right * QUARTER_MS} THEN {offset}")
            offset = later
        begin = end
    return f"CASE {' '.join(cases)} ELSE {offset} END" if cases else str(offset)


def _offset(zone: ZoneInfo, ms: int) -> int:
    moment = datetime.fromtimestamp(ms // 1000, UTC).astimezone(zone)
    return int((moment.utcoffset() or timedelta()).total_seconds() * 1000)
