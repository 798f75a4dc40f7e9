"""What is older than it is to be kept goes: conversations first, then rounds, which stay in all sums.

A round that goes is written again as one that is only counted, with its quarter of an hour for its time. Its row
stays, so that it is known for ever; each step leaves everything in order, and a run that is interrupted is simply
run again, by whichever node.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from monitor.store.base import Bounds, Pruned
from monitor.store.clickhouse import erasing
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.pieces import UNDATED, first_of
from monitor.store.clickhouse.recalling import Link, upwards
from monitor.store.clickhouse.rows import COUNTS, KNOWN, PRUNED
from monitor.store.clickhouse.schema import ORIGIN, PIECE, ROUND, SAID, WITNESS, Table
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import among, ask, cut, now, write
from monitor.store.clickhouse.values import literal
from monitor.store.history.tables import month_of
from monitor.store.pruning import in_quarters
from monitor.store.rows import CONTENT
from monitor.store.schema import DAY_MS, FIRST_MS, QUARTER_MS, first_rid

#: What no round needs is taken out of a chain that was left alone for so long: a node that writes builds on pieces
#: that it remembers, though not for as long as this (see `history.TRUSTED_S`).
QUIET_S = 900.0
#: The count of a piece of which nothing is there any more.
GONE = -1
#: How long one waits for the engine to delete what can't be read any more.
WAIT_S = 60.0
#: Chains that are looked at in one step.
_CHAINS = 200
_FIRST = first_rid(FIRST_MS)


def prunable(db: Database, bounds: Bounds) -> Pruned:
    """What would go."""
    bounds = in_quarters(bounds)
    rounds = contents = 0
    months: list[str] = []
    if bounds.rounds_before is not None:
        ((rounds,),) = ask(db, f"SELECT count() FROM round FINAL WHERE {_between(FIRST_MS, bounds.rounds_before)}")
    if bounds.content_before is not None:
        since = max(FIRST_MS, bounds.rounds_before or 0)
        ((contents,),) = ask(
            db,
            f"SELECT count() FROM round FINAL WHERE {_between(since, bounds.content_before)} "
            f"AND bitAnd(flags, {CONTENT}) != 0",
        )
        months = _whole_months(db, bounds.content_before)
    ((undated,),) = ask(db, f"SELECT count() FROM round FINAL WHERE state = {COUNTS} AND at < {FIRST_MS}")
    return Pruned(rounds, contents, tuple(months), undated)


def pruning(db: Database, state: State, bounds: Bounds, *, rewrite: bool = True) -> Iterator[Pruned]:
    """Do it in small steps; what is done so far after each. May be left at any time.

    With `rewrite`, months of which something went are written anew, so that it is gone from the disk as well.
    """
    return _Pruner(db, state, in_quarters(bounds)).steps(rewrite=rewrite)


def pruned_at(state: State) -> int | None:
    """When something was last looked for that is too old, ms since 1970."""
    value = state.get("meta", b"pruned_at")
    return None if value is None else int(value)


def _between(since: int, until: int) -> str:
    """Rounds that count and started then."""
    return f"state = {COUNTS} AND at >= {since} AND at < {until}"


def _whole_months(db: Database, before: int) -> list[str]:
    """The months of conversations that ended before."""
    found = {month for table in (PIECE, SAID) for month in _months(db, table, f"at < {before}")}
    return sorted(month for month in found if month < month_of(before) and month != UNDATED)


def _months(db: Database, table: Table, where: str) -> list[str]:
    """The months of the rows that meet a condition, as partitions are named."""
    rows = ask(db, f"SELECT DISTINCT toYYYYMM(toDate(intDiv(at, {DAY_MS}))) FROM {table.name} WHERE {where}")
    return [f"{month:06}" for (month,) in rows]


class _Pruner:
    def __init__(self, db: Database, state: State, bounds: Bounds) -> None:
        self._db = db
        self._state = state
        self._bounds = bounds
        self._done = Pruned()
        #: What is to be written anew: a table and a month of it, where it has months; and which rows went of it.
        self._touched: dict[tuple[Table, str | None], str] = {}
        self._deleted: list[erasing.Deletion] = []

    def steps(self, *, rewrite: bool) -> Iterator[Pruned]:
        before = erasing.size(self._db)
        bounds = self._bounds
        if bounds.content_before is not None:
            yield from self._forget_conversations(bounds.content_before)
            yield from self._forget_texts(bounds.content_before)
        if bounds.rounds_before is not None:
            yield from self._take_rounds(bounds.rounds_before)
        if rewrite:
            yield from self._rewrite()
        self._state.put("meta", b"pruned_at", b"%d" % (time.time_ns() // 1_000_000))
        freed = max(0, before - erasing.size(self._db))
        yield msgspec.structs.replace(self._done, freed_bytes=freed)

    def _rewrite(self) -> Iterator[Pruned]:
        for (table, month), words in self._touched.items():
            self._hindered(erasing.tried(partial(erasing.merge, self._db, table, month)))
            if erasing.replaced(self._db, table, words):
                self._hindered(f"ClickHouse drops the replaced rows of {table.name} from its disks when it merges them")
            yield self._done
        self._hindered(erasing.wait(self._db, self._deleted, WAIT_S))

    def _hindered(self, reason: str | None) -> None:
        if self._done.not_given_back is None:
            self._done = msgspec.structs.replace(self._done, not_given_back=reason)

    def _delete(self, table: Table, where: str) -> None:
        """Let rows of which nothing may be left go from the disk, however long the engine takes for it."""
        problem = erasing.tried(partial(erasing.delete, self._db, table, where))
        self._hindered(problem)
        if problem is None:
            self._deleted.append((table, where))

    # -- conversations ----------------------------------------------------------------------------

    def _forget_conversations(self, before: int) -> Iterator[Pruned]:
        for month in _whole_months(self._db, before):
            for table in (SAID, PIECE):
                erasing.drop_partition(self._db, table, month)
            self._done = msgspec.structs.replace(self._done, months=(*self._done.months, month))
            yield self._done
        last = month_of(before)
        old = f"gone = 0 AND at >= {max(FIRST_MS, first_of(last))} AND at < {before}"
        ((number,),) = ask(self._db, f"SELECT count() FROM said FINAL WHERE {old}")
        if number:
            version = now()
            erasing.rewrite(self._db, SAID, {"piece": "''", "new_from": "toInt64(0)", "z": "''", "gone": "1"}, old)
            self._delete(SAID, f"{old} AND ver < {version}")
            yield self._done
        for which in collect(self._db, f"chain >= '{last}:' AND chain < '{last};'"):
            self._delete(PIECE, which)
        yield self._done

    # -- rounds -----------------------------------------------------------------------------------

    def _forget_texts(self, before: int) -> Iterator[Pruned]:
        """What stands of conversations beside the counts: first questions, fields that clients fill, samples."""
        since = max(FIRST_MS, self._bounds.rounds_before or 0)
        which = _between(since, before)
        for month in _months(self._db, ROUND, f"{which} AND {erasing.HOLDS_TEXT}"):
            self._touched[ROUND, month] = f"{which} AND {erasing.HOLDS_TEXT}"
        for places in erasing.forget_words(self._db, ROUND, which):
            self._done = msgspec.structs.replace(self._done, contents=self._done.contents + len(places))
            yield self._done
        which = f"rid >= {_FIRST} AND rid < {first_rid(before)}"
        for places in erasing.forget_words(self._db, WITNESS, which):
            if places:
                self._touched[WITNESS, None] = f"{which} AND {erasing.HOLDS_TEXT}"
            yield self._done
        # Nobody knows how old they are.
        erasing.forget_samples(self._state)
        yield self._done

    def _take_rounds(self, before: int) -> Iterator[Pruned]:
        """Let rounds go, a day at a time."""
        days = ask(
            self._db,
            f"SELECT intDiv(at, {DAY_MS}), count() FROM round FINAL WHERE {_between(FIRST_MS, before)} "
            f"GROUP BY intDiv(at, {DAY_MS}) ORDER BY intDiv(at, {DAY_MS})",
        )
        for day, number in days:
            since, until = max(FIRST_MS, day * DAY_MS), min(before, (day + 1) * DAY_MS)
            # What the witnesses of a call said goes first: what counts of it is all in the round.
            behind = f"state = {COUNTS} AND counted_rid >= {first_rid(since)} AND counted_rid < {first_rid(until)}"
            gone = {**erasing.WORDLESS, "status": "NULL", "turn": "NULL", "opening": "NULL"}
            erasing.rewrite(self._db, WITNESS, {**gone, "state": str(KNOWN)}, behind)
            quarter = f"intDiv(at, {QUARTER_MS}) * {QUARTER_MS}"
            erasing.rewrite(self._db, ROUND, {**gone, "state": str(PRUNED), "at": quarter}, _between(since, until))
            self._touched[ROUND, month_of(since)] = _between(FIRST_MS, before)
            self._done = msgspec.structs.replace(self._done, rounds=self._done.rounds + number)
            yield self._done
        # Nothing of a file that is taken back out can go any more.
        erasing.rewrite(self._db, ORIGIN, {"there": "0"}, f"there = 1 AND at >= {FIRST_MS} AND at < {before}")
        yield self._done


# -- pieces that no round needs -------------------------------------------------------------------


class Told(NamedTuple):
    """A chain: its pieces, where its rounds end by their keys, and when it was written to last."""

    links: dict[bytes, Link]
    said: dict[bytes, bytes]
    written: int


def collect(db: Database, which: str) -> list[str]:
    """Empty the pieces that no round needs, of chains of which a round is gone; gives which rows are to be deleted.

    `which` is a condition on chains. They are left alone for now where they were written to a short while ago.
    """
    version = now()
    latest = version - int(QUIET_S * 1e9)
    names = ask(db, f"SELECT chain FROM said FINAL WHERE {which} GROUP BY chain HAVING max(gone) = 1 ORDER BY chain")
    unneeded: dict[str, set[bytes]] = {}
    alone: list[str] = []
    for some in cut([name for (name,) in names], _CHAINS):
        rows: list[tuple[object, ...]] = []
        for name, chain in told_in(db, some).items():
            if chain.written > latest or not chain.links:
                continue
            ids = chain.links.keys() - upwards(chain.said.values(), chain.links)
            rows += emptied(name, ids)
            if not chain.said:
                alone.append(name)
            elif ids:
                unneeded[name] = ids
        write(db, PIECE, rows)
    return list(old_pieces(alone, unneeded, version))


def old_pieces(alone: Sequence[str], unneeded: Mapping[str, Iterable[bytes]], version: int) -> Iterator[str]:
    """Conditions for pieces that empty ones took the place of since `version`: all of some chains, some of others."""
    old = f"count > {GONE} AND ver < {version}"
    for some in cut(alone):
        yield f"chain IN {among(some)} AND {old}"
    for name, ids in unneeded.items():
        for part in cut(sorted(ids)):
            yield f"chain = {literal(name)} AND id IN {among(part)} AND {old}"


def told_in(db: Database, chains: Sequence[str]) -> dict[str, Told]:
    """What there is in some chains, without the texts."""
    found = {name: Told({}, {}, 0) for name in chains}
    if not chains:
        return found
    which = f"chain IN {among(chains)}"
    for name, id_, parent, count, ver in ask(
        db,
        f"SELECT chain, id, parent, count, ver FROM piece FINAL WHERE {which} AND count > {GONE}",
        ("id", "parent"),
    ):
        found[name].links[id_] = Link(parent, count)
        found[name] = found[name]._replace(written=max(found[name].written, ver))
    for name, key, piece, ver in ask(
        db, f"SELECT chain, key, piece, ver FROM said FINAL WHERE {which} AND gone = 0", ("key", "piece")
    ):
        found[name].said[key] = piece
        found[name] = found[name]._replace(written=max(found[name].written, ver))
    return found


def emptied(chain: str, ids: Iterable[bytes]) -> list[tuple[object, ...]]:
    """The rows of pieces of which nothing is there any more."""
    at, version = first_of(chain[:6]), now()
    return [(chain, id_, b"", GONE, at, b"", version) for id_ in sorted(ids)]
