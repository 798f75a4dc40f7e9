"""Rows that stand for rounds of which a data directory has kept sums alone, one for each.

Together they have the sums of their cell, and those of a session lie so that it tells of itself what it told before:
when it began and was heard of last, its latest model and consumer. The same sums make the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import msgspec

from monitor.store.clickhouse.directory import Cell, Told
from monitor.store.clickhouse.rows import PRUNED, SHARE, Row, agent_of
from monitor.store.rows import INFERRED, LOWER_BOUND, SUCCESS, ms_of
from monitor.store.schema import QUARTER_MS, first_rid


class _Kind(NamedTuple):
    """Rows that are alike: of one cell, and all of them successful or none."""

    cell: int
    success: bool


class _Spot(NamedTuple):
    """A place in time that some row has to take, so that the session tells the same as before."""

    rid: int
    model: bool
    consumer: bool


def rows(told: Told, cells: Sequence[Cell], session: str, origin: bytes) -> list[Row]:
    """The rows for the cells of one session and quarter of an hour, in the session `session`.

    `origin` tells the directory apart from others that may have the same sums.
    """
    quarter = cells[0].quarter
    spots = _spots(told, quarter)
    taken = _assign(spots, told, cells)
    rest = first_rid(max(quarter, told.first_at if _within(told.first_at, quarter) else quarter))
    made: list[Row] = []
    for number, cell in enumerate(cells):
        for i, values in enumerate(_shares(cell)):
            kind = _Kind(number, bool(values["flags"] & SUCCESS))
            waiting = taken.get(kind)
            rid = waiting.pop() if waiting else rest
            made.append(_row(told, cell, session, origin, i, rid, values))
    if told.question_at is not None and quarter <= ms_of(told.question_at) < quarter + QUARTER_MS:
        first = min(range(len(made)), key=lambda i: (made[i].rid, made[i].key))
        made[first] = made[first]._replace(question=told.question or "")
    return made


def _row(told: Told, cell: Cell, session: str, origin: bytes, i: int, rid: int, values: dict[str, Any]) -> Row:
    named = (origin, cell.quarter, told.kind, told.session, sorted(cell.place.items()), i)
    own = told.session if told.kind == 0 else ""
    empty: dict[str, Any] = dict.fromkeys(Row._fields)
    return Row(
        **empty
        | cell.place
        | {
            "session": session,
            "rid": rid,
            "key": hashlib.blake2b(msgspec.msgpack.encode(named), digest_size=16).digest(),
            "state": PRUNED,
            "moved": "",
            "at": cell.quarter,
            "agent": cell.place["agent"] if session == own else agent_of(session),
            "sources": told.sources,
            "chain": "",
            "said_key": b"",
            # Sums of a cell only grow, as long as there are any.
            "ver": cell.sums["rounds"],
        }
        | values
        | {"flags": values["flags"] | SHARE | told.inferred * INFERRED}
    )


# -- sums in shares -------------------------------------------------------------------------------


def _shares(cell: Cell) -> Iterator[dict[str, Any]]:
    """The figures of each row of a cell."""
    sums = cell.sums
    number = sums["rounds"]
    metered = number - sums["unmetered"]
    unmetered: list[int | None] = [None] * sums["unmetered"]
    columns = {
        "input": [*_spread(sums["input"], metered), *unmetered],
        "output": [*_spread(sums["output"], metered), *unmetered],
        "latency": [*_spread(sums["latency"], sums["latency_rounds"]), *[None] * (number - sums["latency_rounds"])],
        "ttft": [*_spread(sums["ttft"], sums["ttft_rounds"]), *[None] * (number - sums["ttft_rounds"])],
        **{name: _spread(sums[name], number) for name in ("reasoning", "cached", "cache_write", "nano", "reported")},
    }
    succeeded = number - sums["failed"]
    for i in range(number):
        flags = (i < succeeded) * SUCCESS | (i < sums["lower_bound"]) * LOWER_BOUND
        yield {"flags": flags, **{name: values[i] for name, values in columns.items()}}


def _spread(total: int | None, number: int) -> list[int | None]:
    """A sum in shares that are nearly equal; all of them unknown where it is."""
    if total is None or not number:
        return [None] * number
    share, more = divmod(total, number)
    return [share + (i < more) for i in range(number)]


# -- places in time -------------------------------------------------------------------------------


def _spots(told: Told, quarter: int) -> list[_Spot]:
    """The places in this quarter of an hour that have to be taken, the latest first."""
    found: dict[int, _Spot] = {}
    if told.model and quarter <= ms_of(told.model_at) < quarter + QUARTER_MS:
        found[told.model_at] = _Spot(told.model_at, True, told.model_at == told.consumer_at)
    if told.consumer and quarter <= ms_of(told.consumer_at) < quarter + QUARTER_MS:
        found.setdefault(told.consumer_at, _Spot(told.consumer_at, False, True))
    for at in (told.last_at, told.first_at):
        if _within(at, quarter) and all(ms_of(rid) != at for rid in found):
            found[first_rid(at)] = _Spot(first_rid(at), False, False)
    return [found[rid] for rid in sorted(found, reverse=True)]


def _assign(every: Sequence[_Spot], told: Told, cells: Sequence[Cell]) -> dict[_Kind, list[int]]:
    """Which rows take these places; as many of the places as can be taken, the latest ones first."""
    left: dict[_Kind, int] = {}
    for number, cell in enumerate(cells):
        failed = cell.sums["failed"]
        left[_Kind(number, False)] = failed
        left[_Kind(number, True)] = cell.sums["rounds"] - failed
    chosen: list[_Kind] = []
    spots: Sequence[_Spot] = every

    def place(at: int) -> bool:
        if at == len(spots):
            return True
        for kind, number in left.items():
            if number and _fits(spots[at], kind, told, cells):
                left[kind] -= 1
                chosen.append(kind)
                if place(at + 1):
                    return True
                chosen.pop()
                left[kind] += 1
        return False

    # What lies there may be a round that is stored: then no row has to.
    for number in range(len(every), 0, -1):
        for spots in combinations(every, number):
            if place(0):
                taken: dict[_Kind, list[int]] = {}
                for spot, kind in zip(spots, chosen, strict=True):
                    taken.setdefault(kind, []).append(spot.rid)
                return taken
    return {}


def _fits(spot: _Spot, kind: _Kind, told: Told, cells: Sequence[Cell]) -> bool:
    place = cells[kind.cell].place
    answered = kind.success and bool(place["model"])
    if spot.model:
        fits = answered and place["model"] == told.model
    else:
        fits = not answered or place["model"] == told.model or spot.rid < told.model_at
    if spot.consumer:
        return fits and place["consumer"] == told.consumer
    return fits and (not place["consumer"] or place["consumer"] == told.consumer or spot.rid < told.consumer_at)


def _within(at: int, quarter: int) -> bool:
    return quarter <= at < quarter + QUARTER_MS
