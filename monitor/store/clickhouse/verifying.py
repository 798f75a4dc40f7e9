"""What does not add up: rounds that stand in two places, witnesses of nothing, names that lead astray."""

from __future__ import annotations

from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.naming import Names
from monitor.store.clickhouse.rows import COUNTS, PRUNED
from monitor.store.clickhouse.tables import ask

_IN_SUMS = f"state IN ({COUNTS}, {PRUNED})"
#: Of each kind of problem so many are told.
_SOME = 3


def verify(db: Database, names: Names) -> list[str]:
    """What is wrong with the rounds; empty when everything adds up. Reads every round."""
    problems = [
        f"round {bytes(key).hex()}: counts {times} times, in the sessions {sessions}"
        for key, times, sessions in ask(
            db,
            f"SELECT key, count(), groupArray(session) FROM round FINAL WHERE {_IN_SUMS} "
            f"GROUP BY rid, key HAVING count() > 1 LIMIT {_SOME}",
            ("key",),
        )
    ]
    problems += [
        f"witness {bytes(key).hex()}: stands behind round {bytes(counted).hex()}, which does not count"
        for key, counted in ask(
            db,
            f"SELECT key, counted_key FROM witness FINAL WHERE state = {COUNTS} "
            "AND (counted_rid, counted_key) GLOBAL NOT IN "
            f"(SELECT rid, key FROM round FINAL WHERE {_IN_SUMS}) LIMIT {_SOME}",
            ("key", "counted_key"),
        )
    ]
    problems += [
        f"witness {bytes(key).hex()}: stands behind another round, and counts all the same"
        for (key,) in ask(
            db,
            f"SELECT key FROM witness FINAL WHERE state = {COUNTS} AND (rid != counted_rid OR key != counted_key) "
            f"AND (rid, key) GLOBAL IN (SELECT rid, key FROM round FINAL WHERE {_IN_SUMS}) LIMIT {_SOME}",
            ("key",),
        )
    ]
    problems += [
        f"session {name!r}: is a name of {session!r}, and has rounds of its own"
        for name, session in list(names.unsettled().items())[:_SOME]
    ]
    return problems


def check(db: Database) -> list[str]:
    """What the engine itself finds wrong: parts of the cluster that can't write or have lost touch."""
    if db.cluster is None:
        return []
    return [
        f"{table}: this host's replica {'is read-only' if readonly else 'has lost its coordination'}"
        for table, readonly, _ in ask(
            db,
            "SELECT table, is_readonly, is_session_expired FROM system.replicas "
            f"WHERE database = '{db.database}' AND (is_readonly OR is_session_expired) ORDER BY table",
        )
    ]
