"""Questions while a part of the cluster is away: answered from the rest, and it is remembered that they were."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence

from monitor.store.base import StoreAway, StoreError
from monitor.store.clickhouse.connection import NONE, Database, Settings
from monitor.store.clickhouse.values import Row, literal

#: Leaves out shards of which no replica can be reached.
_SKIPPING = {"skip_unavailable_shards": 1}
#: An answer is made of several questions, and this long after one of them it is said that something was missing.
_REMEMBERED_S = 10.0


class Partial:
    """A `Database` that answers from the shards that are there; what is written goes on needing all of them."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._missing: tuple[str, ...] = ()
        self._noticed = 0.0

    @property
    def database(self) -> str:
        """The database's name."""
        return self._db.database

    @property
    def cluster(self) -> str | None:
        """The cluster's name, where there is one."""
        return self._db.cluster

    def __str__(self) -> str:
        return str(self._db)

    def query(self, sql: str, settings: Settings = NONE, blobs: Collection[str] = ()) -> list[Row]:
        """The rows that answer `sql`, of the shards that can be reached.

        Raises:
            StoreAway: not even a part can be asked.
        """
        try:
            return self._db.query(sql, settings, blobs)
        except StoreAway:
            if self._db.cluster is None:
                raise
            missing = self._away()
            if not missing:
                raise
            found = self._db.query(sql, {**settings, **_SKIPPING}, blobs)
            self._missing, self._noticed = missing, time.monotonic()
            return found

    def missing(self) -> Sequence[str]:
        """The parts that were away when something was asked just now."""
        return self._missing if time.monotonic() - self._noticed < _REMEMBERED_S else ()

    def _away(self) -> tuple[str, ...]:
        """The shards of which no replica answers."""
        cluster = literal(self._db.cluster)
        try:
            hosts: dict[int, list[str]] = {}
            for shard, host, port in self._db.query(
                f"SELECT shard_num, host_name, port FROM system.clusters WHERE cluster = {cluster} "
                "ORDER BY shard_num, replica_num"
            ):
                hosts.setdefault(_number(shard), []).append(f"{host}:{port}")
            answering = self._db.query(
                f"SELECT substitution FROM cluster({cluster}, system, macros) WHERE macro = 'shard'", _SKIPPING
            )
        except StoreError:
            return ()
        there = {str(name) for (name,) in answering}
        lost = len(hosts) - len(there)
        if lost <= 0:
            return ()
        named = [f"shard {number} ({', '.join(names)})" for number, names in hosts.items() if str(number) not in there]
        return tuple(named) if len(named) == lost else (f"{lost} of {len(hosts)} shards",)

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], settings: Settings = NONE
    ) -> None:
        """See `Database`."""
        self._db.insert(table, columns, rows, settings)

    def execute(self, sql: str, settings: Settings = NONE) -> None:
        """See `Database`."""
        self._db.execute(sql, settings)

    def version(self) -> tuple[int, ...]:
        """See `Database`."""
        return self._db.version()

    def close(self) -> None:
        """Let go of the connection."""
        self._db.close()


def _number(value: object) -> int:
    return int(str(value))
