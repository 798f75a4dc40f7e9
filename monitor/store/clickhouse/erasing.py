"""Words go out of rows, and rows off the disk; what that takes on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from monitor.rounds import extra_without_text
from monitor.store.base import SkippedLines, StoreError
from monitor.store.clickhouse import durability
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.schema import ROUND, Table, local
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import BLOBS, ask, now, touch, write
from monitor.store.clickhouse.values import literal
from monitor.store.rows import CONTENT
from monitor.store.schema import DAY_MS

#: Whether a row of ``round`` or ``witness`` may hold something that a client said; see `extra_without_text`.
HOLDS_TEXT = (
    f"(bitAnd(flags, {CONTENT}) != 0 OR position(ifNull(extra, ''), '\"fields\":') > 0 "
    "OR position(ifNull(extra, ''), '\"path\":') > 0)"
)
#: What is left of a row's words on the side of the engine, by column. A question that went is not that of a later
#: round: it leaves an empty one.
WORDLESS = {
    "flags": f"bitAnd(flags, toUInt32({0xFFFFFFFF ^ CONTENT}))",
    "request_id": "NULL",
    "extra": "NULL",
    "question": "if(isNull(question), NULL, '')",
    "chain": "''",
    "said_key": "''",
}
#: Rows of a table that are to be deleted, and a condition that no other row meets.
Deletion: TypeAlias = tuple[Table, str]
_STEP = 2000
#: How long all hosts of a cluster may take for one statement.
_DDL_S = 60

_skipped = msgspec.msgpack.Decoder(SkippedLines).decode


# -- rows -----------------------------------------------------------------------------------------


def rewrite(db: Database, table: Table, changes: Mapping[str, str], where: str) -> None:
    """Write the rows that meet a condition again, some columns of them changed to what an expression says."""
    if table is ROUND:
        days = f"SELECT DISTINCT at - modulo(at, {DAY_MS}) FROM round FINAL WHERE {where}"
        touch(db, (day for (day,) in ask(db, days)))
    columns = ", ".join({**changes, "ver": f"toUInt64({now()})"}.get(name, name) for name in table.names)
    sql = f"INSERT INTO {table.name} ({', '.join(table.names)}) SELECT {columns} FROM {table.name} FINAL WHERE {where}"
    # On all replicas: one that came back without them would have the words again.
    durability.everywhere(db, lambda settings: db.execute(sql, settings))


def forget_words(db: Database, table: Table, where: str) -> Iterator[list[tuple[Any, ...]]]:
    """Take what clients said out of the rows that meet a condition, some at a time; their places after each step."""
    names = table.names
    places = [names.index(name) for name in table.order]
    order = ", ".join(table.order)
    after = ""
    while True:
        page = ask(
            db,
            f"SELECT {', '.join(names)} FROM {table.name} FINAL WHERE {where} AND {HOLDS_TEXT}{after} "
            f"ORDER BY {order} LIMIT {_STEP}",
            BLOBS,
        )
        version = now()
        write(db, table, [_wordless(names, values, version) for values in page])
        yield [tuple(values[place] for place in places) for values in page]
        if len(page) < _STEP:
            return
        after = f" AND ({order}) > ({', '.join(literal(page[-1][place]) for place in places)})"


def _wordless(names: Sequence[str], values: Sequence[Any], version: int) -> list[Any]:
    row = dict(zip(names, values, strict=True))
    row["flags"] &= ~CONTENT
    row["extra"] = extra_without_text(row["extra"])
    row["question"] = None if row["question"] is None else ""
    row.update(chain="", said_key=b"", ver=version)
    return list(row.values())


def forget_samples(state: State) -> None:
    """Empty the samples of skipped lines: any of them may be a line of a conversation, cut or damaged."""
    for owner, id_, value in state.some("skipped"):
        lines = _skipped(value)
        if lines.sample:
            state.write([("skipped", id_, msgspec.msgpack.encode(msgspec.structs.replace(lines, sample=b"")))], owner)


# -- what goes off the disk -----------------------------------------------------------------------


def drop_partition(db: Database, table: Table, partition: str) -> None:
    """Let the rows of a month go as a whole, on all shards."""
    _alter(db, f"ALTER TABLE {_stored(db, table)}{_everywhere(db)} DROP PARTITION {int(partition)}")


def merge(db: Database, table: Table, partition: str | None = None) -> None:
    """Write a month of a table (or all of it) anew, so that no row is left that another has taken the place of.

    Engines leave the row that was last written to all replicas out of that: see `replaced`.
    """
    which = f" PARTITION {int(partition)}" if partition is not None else ""
    _alter(db, f"OPTIMIZE TABLE {_stored(db, table)}{_everywhere(db)}{which} FINAL")


def delete(db: Database, table: Table, where: str) -> None:
    """Let rows go from the disk; the engine does it in its own time, see `wait`.

    A row that nothing took the place of must not meet the condition, whatever is written meanwhile.
    """
    _alter(db, f"ALTER TABLE {_stored(db, table)}{_everywhere(db)} DELETE WHERE {where}")


def wait(
    db: Database, pending: Iterable[Deletion], limit_s: float, pause: Callable[[float], None] = time.sleep
) -> str | None:
    """Wait until all that was to be deleted is gone; gives in words what is not, where that takes longer.

    Rows are counted, since old engines never call a deletion done while the last part of a table is as it was.
    """
    end = time.monotonic() + limit_s
    step = 0.05
    left = list(pending)
    while left := [(table, where) for table, where in left if _there(db, table, where)]:
        if time.monotonic() >= end:
            tables = ", ".join(sorted({table.name for table, _ in left}))
            return f"ClickHouse still deletes what is gone from its disks ({tables}); it can't be read any more"
        pause(step)
        step = min(2 * step, 1.0)
    return None


def replaced(db: Database, table: Table, where: str) -> int:
    """How many rows that meet a condition are on the disk although others have taken their place."""
    return _there(db, table, where) - _there(db, table, where, " FINAL")


def _there(db: Database, table: Table, where: str, final: str = "") -> int:
    ((number,),) = ask(db, f"SELECT count() FROM {table.name}{final} WHERE {where}")
    return int(number)


def size(db: Database) -> int:
    """The bytes that the tables take on the disk; on a cluster one replica of each shard."""
    ((taken,),) = ask(
        db, f"SELECT sum(bytes_on_disk) FROM {_system(db, 'parts')} WHERE active AND database = {literal(db.database)}"
    )
    return int(taken or 0)


def tried(what: Callable[[], object]) -> str | None:
    """Do something that may be left undone; gives in words why it was."""
    try:
        what()
    except StoreError as error:
        return str(error)
    return None


def _alter(db: Database, sql: str) -> None:
    db.execute(sql, {"distributed_ddl_task_timeout": _DDL_S} if db.cluster is not None else {})


def _stored(db: Database, table: Table) -> str:
    return f"{db.database}.{table.name if db.cluster is None else local(table.name)}"


def _everywhere(db: Database) -> str:
    return f" ON CLUSTER {db.cluster}" if db.cluster is not None else ""


def _system(db: Database, table: str) -> str:
    return f"system.{table}" if db.cluster is None else f"cluster({literal(db.cluster)}, system, {table})"
