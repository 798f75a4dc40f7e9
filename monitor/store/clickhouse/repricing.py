"""Stored rounds get another price: the same row is written again with a newer version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from monitor.prices.money import GIVEN
from monitor.rounds import Usage
from monitor.store.base import Pricing, RepricedRounds
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import COUNTS, PRUNED, Row
from monitor.store.clickhouse.schema import ROUND, WITNESS, Table
from monitor.store.clickhouse.tables import BLOBS, ask, now, write, write_rounds
from monitor.store.clickhouse.values import literal
from monitor.store.rows import LOST_COUNTS, LOWER_BOUND

_STEP = 5000


def reprice(
    db: Database, pricing: Pricing, version: str, grown: Callable[[set[str]], None], progress: Callable[[int], None]
) -> RepricedRounds:
    """Price every round that counts, and every witness, anew; `grown` is told of the sessions that changed."""
    seen = changed = 0
    for page in _pages(db, ROUND):
        rows = [new for values in page if (new := _repriced(Row(*values), pricing, version)) is not None]
        write_rounds(db, rows)
        grown({row.session for row in rows})
        seen += len(page)
        changed += len(rows)
        progress(seen)
    # What stands behind other rounds adds nothing to any sum, but may come to count one day.
    for page in _pages(db, WITNESS):
        witnesses = []
        for *values, rid, key, ver in page:
            new = _repriced(Row._make((*values, ver)), pricing, version)
            if new is not None:
                witnesses.append((*new[:-1], rid, key, new.ver))
        write(db, WITNESS, witnesses)
    ((kept,),) = ask(db, f"SELECT count() FROM round FINAL WHERE state = {PRUNED}")
    return RepricedRounds(seen, changed, kept)


def _pages(db: Database, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """All rows that count, in the order of the table, some at a time."""
    places = [table.names.index(name) for name in table.order]
    after = ""
    while True:
        page = ask(
            db,
            f"SELECT {', '.join(table.names)} FROM {table.name} FINAL WHERE state = {COUNTS}{after} "
            f"ORDER BY {', '.join(table.order)} LIMIT {_STEP}",
            BLOBS,
        )
        if page:
            yield page
        if len(page) < _STEP:
            return
        after = f" AND ({', '.join(table.order)}) > ({', '.join(literal(page[-1][place]) for place in places)})"


def _repriced(row: Row, pricing: Pricing, version: str) -> Row | None:
    """The row at its new price, or None where everything stays."""
    if row.price_source == GIVEN:
        return None
    usage = Usage(
        row.input,
        row.output,
        row.reasoning,
        row.cached,
        row.cache_write,
        row.cache_write_1h,
        lower_bound=bool(row.flags & LOST_COUNTS),
    )
    cost = pricing(row.model or None, row.host or None, row.at, usage)
    flags = row.flags & ~LOWER_BOUND
    if usage.lower_bound or cost.status == "partial":
        flags |= LOWER_BOUND
    new = row._replace(
        price_status=cost.status,
        currency=cost.currency or "",
        price_source=cost.source or "",
        price_version=version,
        nano=cost.nano,
        flags=flags,
    )
    return None if new == row else new._replace(ver=now())
