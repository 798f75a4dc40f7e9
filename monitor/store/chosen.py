"""Sums of chosen sessions, such as all those of one agent: what a view shows of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from monitor.store.base import Bucket, Counts, Grain, Slice
from monitor.store.labels import Labels
from monitor.store.schema import COUNT_SUMS, COUNTED, EPOCH_MS, FIRST_MS, QUARTER_MS, first_rid
from monitor.store.sums import offset_sql

_LAST_RID = (1 << 63) - 1
#: 9999-12-30: a session without any usable time begins behind all times.
_LATEST = 253_402_128_000_000


def choose(db: sqlite3.Connection, keys: Sequence[str]) -> None:
    """Let ``chosen(session_id)`` mean: it matches one of these glob patterns."""
    patterns = tuple(keys)
    db.create_function("chosen", 1, lambda name: any(fnmatchcase(name, pattern) for pattern in patterns))


def slices_of(
    db: sqlite3.Connection, labels: Labels, keys: Sequence[str], since: int | None, until: int | None
) -> list[Slice]:
    """Sums by model and price of chosen sessions: theirs as they stand, or of their rounds in a period."""
    choose(db, keys)
    chosen = "SELECT sid FROM session WHERE kind = 0 AND chosen(session_id)"
    if since is None and until is None:
        rows = db.execute(
            f"SELECT model, price, {COUNT_SUMS} FROM session_slice WHERE sid IN ({chosen}) GROUP BY model, price"
        )
    else:
        rows = db.execute(
            f"SELECT model, price, {COUNT_SUMS} FROM {COUNTED} WHERE sid IN ({chosen}) AND rid >= ? AND rid < ? "
            "GROUP BY model, price",
            _rids(since, until),
        )
    return [Slice(labels.name(r[0]), labels.price(r[1]), Counts(*r[2:])) for r in rows]


def buckets_of(
    db: sqlite3.Connection,
    labels: Labels,
    keys: Sequence[str],
    grain: Grain,
    timezone: str,
    since: int | None,
    until: int | None,
) -> list[Bucket]:
    """Sums by local hour, day or month of chosen sessions, of their rounds."""
    choose(db, keys)
    bounds = db.execute(
        "SELECT min(first_at), max(last_at), count(*) FROM session WHERE kind = 0 AND chosen(session_id)"
    ).fetchone()
    found: dict[str | None, list[Slice]] = {}
    sessions: dict[str | None, int] = {}
    if bounds[2]:
        low, high = min(max(FIRST_MS, bounds[0]), _LATEST), max(0, bounds[1]) + QUARTER_MS
        unit = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}[grain]
        at = f"((rid >> 22) + {EPOCH_MS})"
        offset = offset_sql(ZoneInfo(timezone), low, high)
        label = f"strftime('{unit}', (at + {offset}) / 1000, 'unixepoch')"
        rounds = (
            f"(SELECT *, {at} AS at FROM {COUNTED} WHERE rid >= ? AND rid < ? "
            "AND sid IN (SELECT sid FROM session WHERE kind = 0 AND chosen(session_id)))"
        )
        for r in db.execute(
            f"SELECT {label} AS label, model, price, {COUNT_SUMS} FROM {rounds} GROUP BY 1, 2, 3", _rids(since, until)
        ):
            found.setdefault(r[0], []).append(Slice(labels.name(r[1]), labels.price(r[2]), Counts(*r[3:])))
        sessions.update(
            db.execute(
                f"SELECT {label} AS label, count(DISTINCT sid) FROM {rounds} GROUP BY 1", _rids(since, until)
            ).fetchall()
        )
        if since is None and until is None and bounds[2]:
            timeless = (-_LAST_RID, first_rid(FIRST_MS))
            for r in db.execute(f"SELECT model, price, {COUNT_SUMS} FROM {rounds} GROUP BY 1, 2", timeless):
                found.setdefault(None, []).append(Slice(labels.name(r[0]), labels.price(r[1]), Counts(*r[2:])))
            (sessions[None],) = db.execute(f"SELECT count(DISTINCT sid) FROM {rounds}", timeless).fetchone()
    labels_in_order = sorted(found, key=lambda label: label or "")
    return [Bucket(label, sessions.get(label, 0), tuple(found[label])) for label in labels_in_order]


def _rids(since: int | None, until: int | None) -> tuple[int, int]:
    high = _LAST_RID if until is None else first_rid(max(until, FIRST_MS))
    return first_rid(max(FIRST_MS, since or 0)), high
