"""Sums of whole days, worked out anew from the rounds whenever these have changed, and never added to.

Whoever writes rounds first takes a lease on their days (`tables.write_rounds`): until it ends, their sums are not to be
relied on, and questions read the rounds themselves. Once the lease of a day has ended, some node works its sums out and
says when; they hold until somebody takes another lease. Whatever stops in between, the worst is that rounds are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.durability import everywhere
from monitor.store.clickhouse.rows import COUNTS, PRUNED, SUMS
from monitor.store.clickhouse.schema import CELL, DAY
from monitor.store.clickhouse.tables import ask, now, write
from monitor.store.schema import DAY_MS, FIRST_MS, QUARTER_MS

_SECOND = 10**9
#: After its end so much time passes before sums are worked out: writes arrive, replicas catch up.
PATIENCE_NS = 120 * _SECOND
_RANGES = 50

#: What a cell is of, besides its time.
DIMENSIONS = CELL.names[3:16]
#: Those of them by which sums by time are told; the others take a sum of their own.
_FACETS = DIMENSIONS[:7]
_BY_PRICE = DIMENSIONS[7:]
#: Its sums, in the order of the fields of `Counts`.
_SUMS = CELL.names[16:-1]
#: How the rows of `counted` are summed.
COUNT_SUMS = ", ".join(f"sum({name})" for name in _SUMS)
#: The same of one round.
_ROUND = """toInt64(1) AS c_rounds, toInt64(bitAnd(flags, 1) = 0) AS c_failed,
  toInt64(isNull(input) AND isNull(output)) AS c_unmetered, toInt64(bitAnd(flags, 2) != 0) AS c_lower_bound,
  input AS c_input, output AS c_output, reasoning AS c_reasoning, cached AS c_cached, cache_write AS c_cache_write,
  nano AS c_nano, latency AS c_latency, toInt64(isNotNull(latency)) AS c_latency_rounds, ttft AS c_ttft,
  toInt64(isNotNull(ttft)) AS c_ttft_rounds, reported AS c_reported"""


def settle(db: Database, limit: int = 10, patience_ns: int = PATIENCE_NS) -> int:
    """Work out the sums of days that nobody has a lease on any more; gives how many there were."""
    days = ask(
        db,
        f"SELECT day FROM (SELECT day, maxIf(ver, what = 0) AS until, maxIf(ver, what = 1) AS settled FROM day "
        f"GROUP BY day) WHERE until >= settled AND until < {now() - patience_ns} ORDER BY day LIMIT {limit}",
    )
    for (day,) in days:
        version = now()
        quarter = f"at - modulo(at, {QUARTER_MS}) AS begin"
        empty = ", ".join(f"'' AS {name}" for name in _FACETS)
        _sum_up(db, day, version, f"0, {quarter}, {empty}, {', '.join(_BY_PRICE)}", f"begin, {', '.join(_BY_PRICE)}")
        _sum_up(db, day, version, f"1, toInt64({day}), {', '.join(DIMENSIONS)}", ", ".join(DIMENSIONS))
        write(db, DAY, [(day, 1, version)])
    return len(days)


def _sum_up(db: Database, day: int, version: int, columns: str, by: str) -> None:
    """Write the sums of a day; they are on their shard when this comes back, before anybody is told of them."""
    sql = (
        f"INSERT INTO cell ({', '.join(CELL.names)}) SELECT toInt64({day}), {columns}, {SUMS}, toUInt64({version}) "
        f"FROM round FINAL WHERE at >= {day} AND at < {day + DAY_MS} AND state IN ({COUNTS}, {PRUNED}) GROUP BY {by}"
    )
    everywhere(db, lambda settings: db.execute(sql, settings))


def settled(db: Database) -> dict[int, int]:
    """The days whose sums hold, and since when."""
    return dict(
        ask(
            db,
            "SELECT day, settled FROM (SELECT day, maxIf(ver, what = 0) AS until, maxIf(ver, what = 1) AS settled "
            "FROM day GROUP BY day) WHERE settled > until",
        )
    )


def counted(db: Database, since: int | None, until: int | None, *, facets: bool = False) -> str:
    """A table, in SQL, of sums that make up all rounds of [since, until) with a time, or all where neither is given.

    It has the model and the price, the columns of `COUNT_SUMS`, and either ``at`` (to the quarter of an hour or better)
    or, with `facets`, all of `DIMENSIONS`.
    """
    everything = since is None and until is None
    low = 0 if everything else max(FIRST_MS, since or 0)
    high = 1 << 62 if until is None else max(0, min(until, 1 << 62))
    whole = {day: ver for day, ver in settled(db).items() if low <= day and day + DAY_MS <= high}
    columns = ", ".join(DIMENSIONS if facets else ("at", *_BY_PRICE))
    # Whether a row is the last one at its place is known only after parts were left out by their times; a pruned row
    # has the start of its quarter for its time, so that the edges are compared in a form that no index is asked about.
    parts = [
        f"SELECT {columns}, {_ROUND} FROM round FINAL WHERE state IN ({COUNTS}, {PRUNED}) AND "
        f"(at >= {low}) + (at < {high}) = 2 AND {_outside(sorted(whole), low, high)}"
    ]
    if whole:
        days, versions = list(whole), list(whole.values())
        parts.append(
            f"SELECT {columns}, {', '.join(_SUMS)} FROM cell FINAL WHERE facets = {int(facets)} "
            f"AND day IN ({', '.join(map(str, days))}) "
            f"AND ver >= transform(day, {days}, {_unsigned(versions)}, toUInt64(0))"
        )
    return f"({' UNION ALL '.join(parts)})"


def _unsigned(versions: Sequence[int]) -> str:
    return f"[{', '.join(f'toUInt64({version})' for version in versions)}]"


def _outside(days: Sequence[int], low: int, high: int) -> str:
    """A condition for the times of [low, high) that are in none of the days."""
    edges = [low - low % QUARTER_MS]
    for day in days:
        if edges[-1] == day:
            edges.pop()
            edges.append(day + DAY_MS)
        else:
            edges += [day, day + DAY_MS]
    edges.append(-(-high // QUARTER_MS) * QUARTER_MS)
    ranges = [(a, b) for a, b in list(pairwise(edges))[::2] if a < b]
    if len(ranges) > _RANGES:
        return f"at - modulo(at, {DAY_MS}) NOT IN ({', '.join(map(str, days))})"
    return "(" + (" OR ".join(f"(at >= {a} AND at < {b})" for a, b in ranges) or "0") + ")"
