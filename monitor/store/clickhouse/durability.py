"""Rows go to all replicas of their shards before it is said that they are there; where one is away, to those that are.

Without that a replica that dies takes with it what it had not passed on yet, and sums are smaller in silence.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from monitor.store.clickhouse.connection import NONE, Database, Settings
from monitor.store.clickhouse.problems import Unreachable
from monitor.store.clickhouse.schema import Table
from monitor.store.clickhouse.values import literal

log = logging.getLogger("monitor.store")

#: Too few replicas are there; it is not known whether all of them have it.
_FEWER = frozenset({285, 319})
#: Another node writes to the same table just now: engines before 20.10 take one such write at a time.
_BUSY = 286
_TRIES = 60
#: How long the last replica may take.
_WAIT_MS = 5_000
#: After that it is left out for so long.
_LEFT_OUT_S = 30.0


class _Replicas:
    """How many replicas each write has to reach, as far as is known."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.left_out_until = 0.0


_known: WeakKeyDictionary[Database, _Replicas] = WeakKeyDictionary()


def insert(db: Database, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows with all columns of a table.

    Raises:
        StoreAway: they may be there or not; they are to be written again.
    """
    everywhere(db, lambda settings: db.insert(table.name, table.names, rows, settings))


def everywhere(db: Database, write: Callable[[Settings], None]) -> None:
    """Let `write` insert something, under the settings that it is given; it must not matter if it is done again.

    Raises:
        StoreAway: what it inserts may be there or not; it is to be written again.
    """
    if db.cluster is None:
        write(NONE)
        return
    replicas = _known.get(db)
    if replicas is None:
        replicas = _known[db] = _Replicas(_count(db))
    for step in range(_TRIES):
        all_of_them = replicas.count > 1 and time.monotonic() >= replicas.left_out_until
        try:
            write(at_once(db, replicas.count if all_of_them else 0))
        except Unreachable as error:
            if not all_of_them:
                raise
            if error.code == _BUSY and step < _TRIES // 2:
                time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - not a secret
                continue
            if error.code != _BUSY and error.code not in _FEWER:
                raise
            log.warning("a replica is away: what comes in is kept by the others (%s)", error)
            replicas.left_out_until = time.monotonic() + _LEFT_OUT_S
        else:
            return


def at_once(db: Database, replicas: int = 0) -> Settings:
    """The settings under which rows are on their shards, and on so many replicas, when the engine answers."""
    if db.cluster is None:
        return NONE
    # An engine takes a block that it has seen for done, also when it gave its rows up: too few replicas had them.
    settings: dict[str, Any] = {"insert_distributed_sync": 1, "insert_deduplicate": 0}
    if replicas > 1:
        settings |= {"insert_quorum": replicas, "insert_quorum_timeout": _WAIT_MS}
    return settings


def _count(db: Database) -> int:
    """How many replicas every shard has at least."""
    ((count,),) = db.query(
        "SELECT min(replicas) FROM (SELECT shard_num, count() AS replicas FROM system.clusters "
        f"WHERE cluster = {literal(db.cluster)} GROUP BY shard_num)"
    )
    return int(str(count or 1))
