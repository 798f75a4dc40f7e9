"""Files whose rounds are taken back out, as if they had never been read: usage records whose file is gone, a wrong log.

Each round is written again as one that is forgotten (it may come back) or known (it never counts again), and the calls
that it was a witness of are settled without it. A run that is interrupted is simply run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from monitor.store.base import Removed
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.joining import Joiner
from monitor.store.clickhouse.naming import quiet
from monitor.store.clickhouse.rows import COUNTS, FORGOTTEN, KNOWN, MOVED, Row
from monitor.store.clickhouse.schema import ORIGIN, WITNESS
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import BLOBS, among, ask, cut, now, rounds, write, write_rounds
from monitor.store.clickhouse.values import literal

_STEP = 1000
#: A round that went from session to session is followed so often.
_MOVES = 100

#: (key, session, rid, at) of a record, as ``origin`` has it.
_Record = tuple[bytes, str, int, int]


def origins(db: Database) -> list[str]:
    """The files whose rounds can be taken back out, by the names that batches gave them."""
    return [file for (file,) in ask(db, "SELECT DISTINCT file FROM origin FINAL WHERE there = 1 ORDER BY file")]


def remove(
    db: Database,
    state: State,
    joiner: Joiner,
    origin: str,
    *,
    since: int | None,
    until: int | None,
    checkpoints: Sequence[bytes],
    for_good: bool,
) -> Removed:
    """Take the rounds of a file back out, those of [since, until) where given; `checkpoints` are forgotten."""
    which = f"file = {literal(origin)} AND there = 1"
    if since is not None:
        which += f" AND at >= {since}"
    if until is not None:
        which += f" AND at < {until}"
    number, sessions = 0, dict[str, None]()
    while True:
        records: list[_Record] = ask(
            db, f"SELECT key, session, rid, at FROM origin FINAL WHERE {which} ORDER BY key LIMIT {_STEP}", ("key",)
        )
        if records:
            taken, touched = _take_out(db, joiner, origin, records, KNOWN if for_good else FORGOTTEN)
            number += taken
            sessions.update(dict.fromkeys(touched))
        if len(records) < _STEP:
            break
    state.forget_files(checkpoints)
    return Removed(number, tuple(name for name in sessions if name))


def _take_out(db: Database, joiner: Joiner, origin: str, records: Sequence[_Record], to: int) -> tuple[int, list[str]]:
    """Take records of a file out; how many rounds went, and the sessions whose sums changed."""
    elsewhere = {
        key
        for (key,) in ask(
            db,
            f"SELECT DISTINCT key FROM origin FINAL WHERE key IN {among(key for key, *_ in records)} "
            f"AND file != {literal(origin)} AND there = 1",
            ("key",),
        )
    }
    rows = standing(db, ((session, rid, key) for key, session, rid, _ in records if key not in elsewhere))
    witnesses = _witnesses(db, rows)
    behind = {(values[1], values[2]) for values in witnesses}
    going = [row for row in rows if row.state == COUNTS or (row.state == KNOWN and (row.rid, row.key) in behind)]
    version = now()
    own = WITNESS.names.index("state")
    # Witnesses first: what counts of a call is worked out from them.
    write(db, WITNESS, [(*values[:own], to, *values[own + 1 : -1], version) for values in witnesses])
    write_rounds(db, [quiet(row, version, to) for row in going])
    touched = [row.session for row in going if row.state == COUNTS]
    touched += joiner.settle((row.response_id, row.rid) for row in rows if row.response_id)
    write(db, ORIGIN, [(key, origin, session, rid, at, False, version) for key, session, rid, at in records])
    return len(going), touched


def standing(db: Database, places: Iterable[tuple[str, int, bytes]]) -> list[Row]:
    """The rows at some places; of one that was left, the row where it went."""
    found: dict[tuple[str, int, bytes], Row] = {}
    wanted = list(dict.fromkeys(places))
    for _ in range(_MOVES):
        further: dict[tuple[str, int, bytes], None] = {}
        for some in cut(wanted):
            for row in rounds(db, f"(session, rid, key) IN {among(some)}"):
                if row.state == MOVED:
                    further[row.moved, row.rid, row.key] = None
                else:
                    found[row.session, row.rid, row.key] = row
        wanted = [place for place in further if place not in found]
        if not wanted:
            break
    return list(found.values())


def _witnesses(db: Database, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """The rows of ``witness`` in which these records tell of their calls."""
    wanted = sorted((row.response_id, row.rid, row.key) for row in rows if row.response_id)
    found: list[tuple[Any, ...]] = []
    for some in cut(wanted):
        found += ask(
            db,
            f"SELECT {', '.join(WITNESS.names)} FROM witness FINAL WHERE (response_id, rid, key) IN {among(some)} "
            f"AND state = {COUNTS}",
            BLOBS,
        )
    return found
