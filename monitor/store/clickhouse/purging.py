"""One session goes: every text of it, from every table, and with `counts_too` its rounds out of all sums as well.

At once nothing of it can be read any more: its rows are written again without what was said. What they took the place
of is then deleted from the disks of all nodes, which the engine does in its own time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from monitor.session_keys import name_digest
from monitor.store.base import Purged
from monitor.store.clickhouse import erasing
from monitor.store.clickhouse.asking import session_id
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.pruning import emptied, old_pieces, told_in
from monitor.store.clickhouse.recalling import upwards
from monitor.store.clickhouse.records import records
from monitor.store.clickhouse.rows import COUNTS, KNOWN, PRUNED
from monitor.store.clickhouse.schema import GROWN, KIN, NAME, ORIGIN, PIECE, ROUND, SAID, WITNESS, Table
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import among, ask, cut, now, write
from monitor.store.clickhouse.values import literal

#: How long one waits for the engine to delete what can't be read any more.
WAIT_S = 60.0
#: Rows that one statement names.
_AT_ONCE = 1000
#: What stays of a round that never counts again: where it stands, and what tells it apart.
_STAYS = frozenset(("session", "rid", "key", "at", "source", "response_id", "counted_rid", "counted_key", "ver"))


#: What a row is sorted by: a session or a response id, and the place and key of a round.
Place = tuple[Any, ...]


class _Session(msgspec.Struct):
    """A session, and where what was said in it is told of."""

    id: str
    #: It and its other names.
    names: tuple[str, ...]
    #: (rid, key) of its rounds; how many of them are stored one by one, and how many hold something that was said.
    rounds: list[tuple[int, bytes]]
    stored: int = 0
    contents: int = 0
    #: (response id, rid, key) of what other sources said of the same calls, and of what was said under its names.
    witnesses: list[Place] = []
    #: Keys of what was said, by chain.
    said: dict[str, set[bytes]] = {}


class _Going(msgspec.Struct):
    """What goes of one chain."""

    chain: str
    said: set[bytes]
    pieces: set[bytes]
    #: Pieces of the session that no other round needs, and that others need.
    mine: int
    shared: int
    #: Whether others are left in it.
    others: bool


def purgeable(db: Database, name: str, *, counts_too: bool) -> Purged | None:
    """What would go."""
    session = _find(db, name)
    return None if session is None else _purged(session, _going(db, session), counts_too=counts_too)


def purge(db: Database, state: State, name: str, *, counts_too: bool) -> Purged | None:
    """Take away what was said in a session. May be interrupted at any time and run again."""
    session = _find(db, name)
    if session is None:
        return None
    # First of all, so that nothing new comes in while the old goes.
    state.write([("silenced", name_digest(one), b"1") for one in session.names])
    erasing.forget_samples(state)
    version = now()
    going = _going(db, session)
    for one in going:
        for keys in cut(sorted(one.said), _AT_ONCE):
            which = f"chain = {literal(one.chain)} AND key IN {among(keys)}"
            erasing.rewrite(db, SAID, {"piece": "''", "new_from": "toInt64(0)", "z": "''", "gone": "1"}, which)
        write(db, PIECE, emptied(one.chain, one.pieces))
    # Tables with places in them, and the version before which nothing of these is to be left.
    rewritten: list[tuple[Table, Sequence[Place], int]] = []
    texts = erasing.forget_words(db, ROUND, f"session IN {among(session.names)}")
    rewritten += [(ROUND, places, version) for places in texts]
    for some in cut(session.witnesses, _AT_ONCE):
        texts = erasing.forget_words(db, WITNESS, f"(response_id, rid, key) IN {among(some)}")
        rewritten += [(WITNESS, places, version) for places in texts]
    if counts_too:
        later = now()
        _take_counts(db, session)
        rewritten += [(ROUND, [(session.id, *place) for place in session.rounds], later)]
        rewritten += [(WITNESS, session.witnesses, later)]
    pending = list(_deletions(going, rewritten, version))
    if counts_too:
        pending.append((GROWN, f"session = {literal(session.id)}"))
    problems = [erasing.tried(partial(erasing.delete, db, *one)) for one in pending]
    # When it grew is no word of it, and goes in its own time.
    begun = [one for one, problem in zip(pending, problems, strict=True) if problem is None and one[0] is not GROWN]
    problems.append(erasing.wait(db, begun, WAIT_S))
    done = _purged(session, going, counts_too=counts_too)
    return msgspec.structs.replace(done, left_behind=tuple(dict.fromkeys(filter(None, problems))))


def _purged(session: _Session, going: Sequence[_Going], *, counts_too: bool) -> Purged:
    return Purged(
        session.id,
        len(session.rounds) if counts_too else session.stored,
        session.contents,
        sum(one.mine for one in going),
        sum(one.shared for one in going),
        counts_too,
    )


# -- what there is --------------------------------------------------------------------------------


def _find(db: Database, name: str) -> _Session | None:
    """A session by any of its names; None where it has no rounds."""
    id_ = session_id(db, name)
    record = records(db, [id_]).get(id_) if id_ is not None else None
    if id_ is None or record is None:
        return None
    session = _Session(id_, (id_, *record.aliases), [])
    ids: set[str] = set()
    for rid, key, state, response_id, chain, said_key, holds in ask(
        db,
        f"SELECT rid, key, state, ifNull(response_id, ''), chain, said_key, {erasing.HOLDS_TEXT} FROM round FINAL "
        f"WHERE session = {literal(id_)} AND state IN ({COUNTS}, {PRUNED})",
        ("key", "said_key"),
    ):
        session.rounds.append((rid, key))
        session.stored += state == COUNTS
        session.contents += state == COUNTS and bool(holds)
        if response_id:
            ids.add(response_id)
        _say(session.said, chain, said_key)
    mine = set(session.rounds)
    conditions = [f"session IN {among(session.names)}"]
    conditions += [f"response_id IN {among(some)}" for some in cut(sorted(ids), _AT_ONCE)]
    found: dict[Place, None] = {}
    for condition in conditions:
        for response_id, rid, key, named, counted_rid, counted_key, chain, said_key in ask(
            db,
            "SELECT response_id, rid, key, session, counted_rid, counted_key, chain, said_key FROM witness FINAL "
            f"WHERE {condition}",
            ("key", "counted_key", "said_key"),
        ):
            if (counted_rid, counted_key) in mine or named in session.names:
                found[response_id, rid, key] = None
                _say(session.said, chain, said_key)
    session.witnesses = list(found)
    _add_own_chains(db, session)
    return session


def _add_own_chains(db: Database, session: _Session) -> None:
    """What stands in the chains of its names, but for what rounds that belong elsewhere now have said there."""
    names = among(session.names)
    own = [chain for (chain,) in ask(db, f"SELECT DISTINCT chain FROM said WHERE substring(chain, 8) IN {names}")]
    for some in cut(own, _AT_ONCE):
        which = f"chain IN {among(some)}"
        others: dict[str, set[bytes]] = {}
        for chain, key in ask(
            db,
            f"SELECT chain, said_key FROM round FINAL WHERE {which} AND session != {literal(session.id)} "
            f"AND state = {COUNTS}",
            ("said_key",),
        ):
            _say(others, chain, key)
        for chain, key in ask(db, f"SELECT chain, key FROM said FINAL WHERE {which} AND gone = 0", ("key",)):
            if key not in others.get(chain, ()):
                _say(session.said, chain, key)
        for chain in some:
            session.said.setdefault(chain, set())


def _say(said: dict[str, set[bytes]], chain: str, key: bytes) -> None:
    if chain:
        said.setdefault(chain, set()).add(key)


def _going(db: Database, session: _Session) -> list[_Going]:
    """What is to go of each chain."""
    going = []
    for some in cut(sorted(session.said), _AT_ONCE):
        for name, told in told_in(db, some).items():
            keys = session.said[name] & told.said.keys()
            reached = upwards((told.said[key] for key in keys), told.links)
            others = told.said.keys() - keys
            needed = upwards((told.said[key] for key in others), told.links)
            pieces = (reached if others else told.links.keys()) - needed
            mine = len(reached - needed)
            going.append(_Going(name, keys, set(pieces), mine, len(reached) - mine, bool(others)))
    return going


# -- what goes ------------------------------------------------------------------------------------


def _take_counts(db: Database, session: _Session) -> None:
    """Let the rounds of a session go out of every sum, for good."""
    for some in cut(session.witnesses, _AT_ONCE):
        erasing.rewrite(db, WITNESS, _blank(WITNESS), f"(response_id, rid, key) IN {among(some)}")
    this = f"session = {literal(session.id)}"
    erasing.rewrite(db, ROUND, _blank(ROUND), f"{this} AND state IN ({COUNTS}, {PRUNED})")
    erasing.rewrite(db, ORIGIN, {"there": "0"}, f"{this} AND there = 1")
    # What OpenClaw itself tells of names holds whatever goes; the rest stood in the rounds.
    erasing.rewrite(db, NAME, {"gone": "1"}, f"{this} AND said = 1 AND gone = 0")
    erasing.rewrite(db, KIN, {"parent": "NULL", "channel": "NULL"}, this)
    erasing.rewrite(db, KIN, {"parent": "NULL"}, f"ifNull(parent, '') = {literal(session.id)}")


def _blank(table: Table) -> dict[str, str]:
    """What the columns of a round are set to that never counts again."""
    changes = {}
    for name, kind in table.columns:
        if name not in _STAYS:
            changes[name] = "NULL" if kind.startswith("Nullable") else "''" if kind == "String" else f"to{kind}(0)"
    return {**changes, "state": f"toUInt8({KNOWN})"}


def _deletions(
    going: Sequence[_Going], rewritten: Iterable[tuple[Table, Sequence[Place], int]], version: int
) -> Iterator[erasing.Deletion]:
    """The rows that others have taken the place of since `version`."""
    alone = [one.chain for one in going if not one.others]
    for which in old_pieces(alone, {one.chain: one.pieces for one in going if one.others}, version):
        yield PIECE, which
    old = f"gone = 0 AND ver < {version}"
    for some in cut(alone, _AT_ONCE):
        yield SAID, f"chain IN {among(some)} AND {old}"
    for one in going:
        for keys in cut(sorted(one.said), _AT_ONCE) if one.others else ():
            yield SAID, f"chain = {literal(one.chain)} AND key IN {among(keys)} AND {old}"
    for table, places, until in rewritten:
        for part in cut(places, _AT_ONCE):
            yield table, f"({', '.join(table.order)}) IN {among(part)} AND ver < {until}"
