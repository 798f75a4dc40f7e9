"""Sums over rows: by model and price, by local time, by a dimension, by how long answers took.

A round that was pruned counts as if it had started with its quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

from monitor.store.base import LATENCY_STEPS_MS, Bucket, Dimension, Grain, Latency, Slice
from monitor.store.clickhouse import steps as steps_of_sums
from monitor.store.clickhouse.conditions import COUNTED, NAMED, ask, matching, window
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rollups import COUNT_SUMS, counted
from monitor.store.clickhouse.rows import SHARE, SUMS, TAG, counts, tag
from monitor.store.schema import DAY_MS, QUARTER_MS
from monitor.store.sums import offset_sql

_COUNTED = f"FROM round FINAL WHERE {COUNTED} AND"
_BY_PRICE = f"model, {TAG}"
_HOUR_MS = 4 * QUARTER_MS
#: A number that stands for a stretch of local time, of milliseconds of local time; none is less than 0.
_STRETCH: dict[Grain, str] = {
    "hour": f"intDiv({{}}, {_HOUR_MS})",
    "day": f"intDiv({{}}, {DAY_MS})",
    "month": f"toInt64(toYYYYMM(toDate(intDiv({{}}, {DAY_MS}))))",
}
_TIMELESS = -1


def slices(db: Database, since: int | None = None, until: int | None = None) -> list[Slice]:
    """Sums by model and price; all time where no bound is given."""
    return _slices(db, f"{COUNT_SUMS} FROM {counted(db, since, until)}")


def slices_of(db: Database, keys: Sequence[str], since: int | None = None, until: int | None = None) -> list[Slice]:
    """As `slices`, of the sessions alone whose id matches a glob pattern of `keys`."""
    return _slices(db, f"{SUMS} {_COUNTED} {_chosen(db, keys, since, until)}")


def _chosen(db: Database, keys: Sequence[str], since: int | None, until: int | None) -> str:
    return f"{NAMED} AND {matching(db, keys)} AND {window(since, until)}"


def _slices(db: Database, summed: str) -> list[Slice]:
    rows = ask(db, f"SELECT {_BY_PRICE}, {summed} GROUP BY {_BY_PRICE} ORDER BY {_BY_PRICE}")
    return [_slice(row) for row in rows]


def _slice(row: Sequence[object]) -> Slice:
    model, *price = row[:6]
    return Slice(str(model) or None, tag([str(text) for text in price]), counts(row[6:]))


def sessions_by_model(db: Database, since: int | None = None, until: int | None = None) -> Mapping[str | None, int]:
    """How many sessions used each model."""
    rows = ask(db, f"SELECT model, uniqExact(session) {_COUNTED} {NAMED} AND {window(since, until)} GROUP BY model")
    return {model or None: count for model, count in rows}


def by(
    db: Database, dimension: Dimension, since: int | None = None, until: int | None = None
) -> dict[str, list[Slice]]:
    """Sums by a dimension's values, each by model and price; "" is the absent value."""
    found: dict[str, list[Slice]] = {}
    for value, *row in ask(
        db,
        f"SELECT {dimension}, {_BY_PRICE}, {COUNT_SUMS} FROM {counted(db, since, until, facets=True)} "
        f"GROUP BY {dimension}, {_BY_PRICE} ORDER BY {dimension}, {_BY_PRICE}",
    ):
        found.setdefault(value, []).append(_slice(row))
    return found


# -- local time -----------------------------------------------------------------------------------


def buckets(
    db: Database,
    grain: Grain,
    timezone: str,
    since: int | None = None,
    until: int | None = None,
    *,
    sessions: bool = True,
) -> list[Bucket]:
    """Sums by local hour, day or month, oldest first; those without a time before all, where no bound is given."""
    condition = window(since, until)
    summed = f"{COUNT_SUMS} FROM {counted(db, since, until)}"
    return _buckets(db, condition, summed, grain, timezone, sessions=sessions)


def buckets_of(
    db: Database,
    keys: Sequence[str],
    grain: Grain,
    timezone: str,
    since: int | None = None,
    until: int | None = None,
) -> list[Bucket]:
    """As `buckets`, of the sessions alone whose id matches a glob pattern of `keys`."""
    condition = _chosen(db, keys, since, until)
    return _buckets(db, condition, f"{SUMS} {_COUNTED} {condition}", grain, timezone, sessions=True)


def _buckets(db: Database, condition: str, summed: str, grain: Grain, timezone: str, *, sessions: bool) -> list[Bucket]:
    """Buckets of rows that meet a condition; `summed` is how they are summed, and from which table."""
    # Rows that count no longer only make the bounds wider.
    ((low, high, there),) = ask(db, f"SELECT min(at), max(at), count() FROM round WHERE at > 0 AND {condition}")
    offset = offset_sql(ZoneInfo(timezone), low, high + QUARTER_MS) if there else "0"
    stretch = f"if(at > 0, {_STRETCH[grain].format(f'at + {offset}')}, toInt64({_TIMELESS})) AS stretch"
    found: dict[int, list[Slice]] = {}
    for number, *row in ask(
        db,
        f"SELECT {stretch}, {_BY_PRICE}, {summed} GROUP BY stretch, {_BY_PRICE} ORDER BY stretch, {_BY_PRICE}",
    ):
        found.setdefault(number, []).append(_slice(row))
    named: dict[int, int] = {}
    if sessions and found:
        named.update(
            ask(db, f"SELECT {stretch}, uniqExact(session) {_COUNTED} {NAMED} AND {condition} GROUP BY stretch")
        )
    return [Bucket(_label(grain, number), named.get(number, 0), tuple(some)) for number, some in found.items()]


def _label(grain: Grain, stretch: int) -> str | None:
    if stretch == _TIMELESS:
        return None
    if grain == "month":
        return f"{stretch // 100:04}-{stretch % 100:02}"
    seconds = stretch * (DAY_MS if grain == "day" else _HOUR_MS) // 1000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d" if grain == "day" else "%Y-%m-%dT%H")


# -- how long it took -----------------------------------------------------------------------------


def latency_steps(db: Database) -> dict[tuple[Latency, str | None], tuple[int, ...]]:
    """How many rounds of each model took how long: a number for each of LATENCY_STEPS_MS, and one for the rest."""
    kinds: tuple[Latency, ...] = get_args(Latency)
    up_to = [f"countIf(isNotNull({kind}) AND {kind} <= {ms})" for kind in kinds for ms in LATENCY_STEPS_MS]
    told = ", ".join([*(f"count({kind})" for kind in kinds), *up_to])
    found: dict[tuple[Latency, str | None], tuple[int, ...]] = {}
    for model, *row in ask(db, f"SELECT model, {told} {_COUNTED} bitAnd(flags, {SHARE}) = 0 GROUP BY model"):
        totals, steps = row[: len(kinds)], row[len(kinds) :]
        for place, kind in enumerate(kinds):
            if totals[place]:
                begin = place * len(LATENCY_STEPS_MS)
                reached = [0, *steps[begin : begin + len(LATENCY_STEPS_MS)], totals[place]]
                found[kind, model or None] = tuple(b - a for a, b in pairwise(reached))
    for kind, name, more in steps_of_sums.told(db):
        before = found.get((kind, name or None), (0,) * len(more))
        found[kind, name or None] = tuple(a + b for a, b in zip(before, more, strict=True))
    return found
