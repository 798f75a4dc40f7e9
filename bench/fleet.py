"""The fleet's store on a real cluster: several nodes against one, and questions beside the embedded store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

from bench import big_store
from bench.measure import Row, Sizes, environment, scratch, side_by_side
from monitor.samples import LITE, lines
from monitor.store.base import SessionQuery, Store
from monitor.store.clickhouse import rollups
from monitor.store.clickhouse.connection import Connection, Database, connect
from monitor.store.clickhouse.rows import from_round
from monitor.store.clickhouse.schema import DAY, ROUND
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from monitor.store.schema import DAY_MS
from monitor.store.sqlite import SqliteStore
from tests.fleet.cluster import Cluster

_BLOCK = 50_000
_WEEK = big_store.START + 80 * DAY_MS
#: What is asked of both stores.
_QUESTIONS: dict[str, Callable[[Store], object]] = {
    "one session": lambda store: store.session(big_store.ASKED),
    "20 sessions by cost": lambda store: store.sessions(SessionQuery(sort_by="cost")),
    "by model, all time": lambda store: store.slices(),
    "by day": lambda store: store.buckets("day", "Asia/Shanghai", sessions=False),
    "by consumer, 7 days": lambda store: store.by(
        "consumer", big_store.START + 80 * DAY_MS, big_store.START + 87 * DAY_MS
    ),
}


def fleet(sizes: Sizes) -> Iterator[Row]:
    """Two shards with two replicas on this machine, whatever it has: what it shows is ratios."""
    with Cluster.temporary() as cluster, scratch("fleet") as folder:
        yield from _ingest(cluster, folder, sizes)
        for count in (sizes.small_store, sizes.large_store):
            yield from _asked(cluster, folder / str(count), count, sizes)


# -- nodes ----------------------------------------------------------------------------------------


def _ingest(cluster: Cluster, folder: Path, sizes: Sizes) -> Iterator[Row]:
    logs = []
    for number in range(4):
        log = folder / f"gateway-{number}.log"
        with log.open("wb") as file:
            profile = replace(LITE, start=LITE.start + number)
            file.writelines(islice(lines(profile, seed=number + 1), sizes.short_lines))
        logs.append(log)
    took = {nodes: _together(cluster, folder / f"{nodes}-nodes", logs[:nodes]) for nodes in (1, 2, 4)}
    speed = {nodes: nodes * sizes.short_lines / seconds for nodes, seconds in took.items()}
    for nodes in (2, 4):
        yield Row(
            f"{nodes} nodes take in against 1",
            1.0,
            "more",
            speed[nodes] / speed[1],
            "x",
            f"{speed[nodes]:,.0f} against {speed[1]:,.0f} lines a second; all on the same {os.cpu_count()} cores",
        )


def _together(cluster: Cluster, folder: Path, logs: Sequence[Path]) -> float:
    """Seconds until nodes, started at once, have each taken in a log of its own."""
    with cluster.database() as db:
        create(db)
        url = cluster.url(db.database)
        began = time.perf_counter()
        nodes = [
            subprocess.Popen(
                [sys.executable, "-m", "monitor.faces.cli", "ingest", "--once", "--data-dir", str(folder / log.stem),
                 "--log-path", str(log)],
                env={**environment(), "SESSION_MONITOR_STORE": url, "SESSION_MONITOR_FLEET__NODE": log.stem},
                stdout=subprocess.DEVNULL,
            )
            for log in logs
        ]  # fmt: skip
        for node in nodes:
            if node.wait():
                raise RuntimeError(f"a node ended with {node.returncode}")
        return time.perf_counter() - began


# -- questions ------------------------------------------------------------------------------------


def _asked(cluster: Cluster, folder: Path, count: int, sizes: Sizes) -> Iterator[Row]:
    folder.mkdir()
    big_store.build(folder, count)
    with cluster.database() as db:
        create(db)
        size = _fill(db, count)
        embedded = SqliteStore(folder, read_only=True)
        theirs = ClickHouseStore(connect(cluster.url(db.database)), read_only=True)
        for name, question in _QUESTIONS.items():
            ours, beside = side_by_side(
                sizes.repeats, partial(_seconds, question, theirs), partial(_seconds, question, embedded)
            )
            yield Row(
                f"{name}, {count:,} rounds: fleet's store",
                1.0,
                "less",
                median(ours),
                "s",
                f"{1000 * median(ours):.1f} ms; the embedded store {1000 * median(beside):.2f} ms; "
                f"{size / count:.0f} bytes a round and replica",
            )
        embedded.close()
        theirs.close()


def _seconds(question: Callable[[Store], object], store: Store) -> float:
    began = time.perf_counter()
    question(store)
    return time.perf_counter() - began


def _fill(db: Connection, count: int) -> float:
    """Write the same rounds as `big_store.build`, and sum their days up; bytes that one replica of all keeps."""
    found = big_store.rounds(count)
    while block := list(islice(found, _BLOCK)):
        rows = [from_round(p, p.round.session_id or "", "bench", keeps=False)._replace(ver=1) for p in block]
        db.insert(ROUND.name, ROUND.names, rows, {"insert_distributed_sync": 1})
        db.insert(DAY.name, DAY.names, [(day, 0, 1) for day in {row.at - row.at % DAY_MS for row in rows}])
    time.sleep(1)
    _sum_up(db)
    ((size,),) = db.query(
        f"SELECT sum(bytes) FROM cluster({db.cluster}, system, parts) WHERE active AND database = '{db.database}' "
        "AND table = 'round_local'"
    )
    return float(str(size))


def _sum_up(db: Database) -> None:
    while rollups.settle(db, limit=100, patience_ns=0):
        pass
