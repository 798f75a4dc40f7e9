"""What data directories that were copied had pruned: known by eight bytes of each round, and never counted again.

A round that is pruned here stays as a row. Of one that was pruned before it was copied only its digest is left, in
``state`` by quarters of an hour, as in `monitor.store.gone`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from monitor.rounds import Round
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.schema import STATE
from monitor.store.clickhouse.tables import ask, cut, now, write
from monitor.store.clickhouse.values import literal
from monitor.store.gone import call_digest, quarter_of, round_digest, split
from monitor.store.rows import SOURCE_BITS, round_id
from monitor.store.schema import QUARTER_MS

KIND = "gone"
#: An entry is named by its quarter of an hour and by what tells apart where it comes from, eight bytes each.
_QUARTER = 8


def gone(db: Database, rounds: Iterable[Round]) -> set[bytes]:
    """The keys of those of the rounds that were counted once and are stored no longer.

    Also where another kind of source told of the same call, which counts once.
    """
    asked = [(r, quarter_of(round_id(r.started_at, r.key))) for r in rounds]
    known = _digests(db, {quarter for r, at in asked for quarter in _near(r, at)})
    if not known:
        return set()
    return {r.key for r, at in asked if _has(known, r, at)}


def _near(r: Round, at: int) -> tuple[int, ...]:
    return (at, at - QUARTER_MS, at + QUARTER_MS) if r.response_id else (at,)


def _has(known: Mapping[int, Set[bytes]], r: Round, at: int) -> bool:
    if round_digest(r.key) in known.get(at, ()):
        return True
    if not r.response_id:
        return False
    others = [call_digest(kind, r.response_id) for kind in SOURCE_BITS if kind != r.source]
    return any(digest in known.get(quarter, ()) for quarter in _near(r, at) for digest in others)


def _digests(db: Database, quarters: Iterable[int]) -> dict[int, Set[bytes]]:
    found: dict[int, Set[bytes]] = {}
    for some in cut(sorted({at for at in quarters if at >= 0})):
        # The range is what the table is sorted by; within it the list tells.
        for id_, value in ask(
            db,
            f"SELECT id, value FROM state FINAL WHERE kind = {literal(KIND)} AND owner = '' AND gone = 0 "
            f"AND id >= {literal(_name(some[0]))} AND id < {literal(_name(some[-1] + 1))} "
            f"AND substring(id, 1, {_QUARTER}) IN ({', '.join(literal(_name(at)) for at in some)})",
            ("id", "value"),
        ):
            at = int.from_bytes(id_[:_QUARTER], "big")
            found[at] = found.get(at, frozenset()) | split(value)
    return found


def note(db: Database, digests: Sequence[tuple[int, bytes, bytes]]) -> None:
    """Write digests down, each (quarter of an hour, eight bytes that name where they come from, digests in a row)."""
    for some in cut(digests):
        names = [_name(at) + origin for at, origin, _ in some]
        there = dict(
            ask(
                db,
                f"SELECT id, value FROM state FINAL WHERE kind = {literal(KIND)} AND owner = '' AND gone = 0 "
                f"AND id IN ({', '.join(map(literal, names))})",
                ("id", "value"),
            )
        )
        version = now()
        rows = []
        for name, (_, _, value) in zip(names, some, strict=True):
            before = there.get(name, b"")
            more = split(value) - split(before)
            if more:
                rows.append(("", KIND, name, before + b"".join(sorted(more)), False, version))
        write(db, STATE, rows)


def _name(quarter: int) -> bytes:
    return quarter.to_bytes(_QUARTER, "big")
