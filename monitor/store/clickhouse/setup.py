"""The tables are made, looked at, and brought up to the version of this program."""

from __future__ import annotations

from dataclasses import replace

from monitor.store.base import StoreError
from monitor.store.clickhouse import address
from monitor.store.clickhouse.connection import Connection, Database
from monitor.store.clickhouse.problems import Refused
from monitor.store.clickhouse.schema import TABLES, VERSION, local, statements
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import ask
from monitor.store.clickhouse.values import literal

_NO_SUCH = frozenset({60, 81})


def init(url: str) -> list[str]:
    """Make the database and all tables that are not there yet; gives the names of those that it made.

    Raises:
        StoreError: the address is wrong, the user may not make tables, or the tables are of a newer program.
        StoreAway: the store can't be reached, or is without its coordination.
    """
    place = address.parse(url)
    on = f" ON CLUSTER {place.cluster}" if place.cluster else ""
    with Connection(replace(place, database="default")) as server:
        server.execute(f"CREATE DATABASE IF NOT EXISTS {place.database}{on}")
    with Connection(place) as db:
        return create(db)


def create(db: Database) -> list[str]:
    """Make the tables that are not there yet in a database that is; gives their names."""
    before = present(db)
    if STATE_TABLE in before:
        refuse_newer(db)
    for statement in statements(db.database, db.cluster):
        db.execute(statement)
    if version(db) is None:
        State(db, "").put("schema", b"", b"%d" % VERSION)
    return [table.name for table in TABLES if table.name not in before]


def migrate(db: Database) -> tuple[int, int]:
    """Bring the tables up to this program's version; gives the version before and the one now.

    May be interrupted at any time and run again.

    Raises:
        StoreError: there are no tables yet, or they are of a newer program.
    """
    before = version(db)
    if before is None:
        raise StoreError(f"{db} has no tables of this program yet: make them with  session-monitor store init")
    refuse_newer(db)
    # Version 1 is the first one: what is missing of it is made, and there is nothing to change.
    create(db)
    State(db, "").put("schema", b"", b"%d" % VERSION)
    return before, VERSION


def version(db: Database) -> int | None:
    """The version of the tables; None where there are none."""
    try:
        found = State(db, "").get("schema")
    except Refused as refused:
        if refused.code in _NO_SUCH:
            return None
        raise
    return None if found is None else int(found)


def refuse_newer(db: Database) -> None:
    """Raise StoreError where the tables are of a newer program."""
    there = version(db)
    if there is not None and there > VERSION:
        raise StoreError(
            f"{db} has tables of version {there}, this program knows {VERSION}: update it (pip install -U "
            "agent-session-monitor)"
        )


def present(db: Database) -> set[str]:
    """The names of the tables that are there."""
    rows = ask(db, f"SELECT name FROM system.tables WHERE database = {literal(db.database)}")
    names = {name for (name,) in rows}
    if db.cluster is not None:
        return {table.name for table in TABLES if {table.name, local(table.name)} <= names}
    return {table.name for table in TABLES if table.name in names}


STATE_TABLE = "state"
