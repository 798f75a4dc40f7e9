"""Nodes of a fleet for tests: real `session-monitor ingest` processes, each with its own data directory and logs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from monitor.ingest.losses import Status, statuses
from monitor.ingest.spool import folder_of
from monitor.samples import Expected
from monitor.sources.tail import FileState
from monitor.store.base import Checkpoint, StoreError
from monitor.store.clickhouse.connection import Connection
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.store import ClickHouseStore
from tests.fleet.cluster import Cluster
from tests.helpers import end, start, totals, wait_for

#: A question or a write may take so long before a host counts as away.
_TIMEOUT_S = 10


class Node:
    """One machine with a gateway."""

    def __init__(self, fleet: Fleet, name: str, *logs: Path, kind: str = "higress") -> None:
        self.name = name
        self.folder = fleet.folder / name
        self.folder.mkdir()
        self.log = logs[0] if logs else self.folder / "access.log"
        self.data = self.folder / "data"
        self.config = self.folder / "session-monitor.toml"
        self.said = self.folder / "said"
        named = "".join(
            f"[[sources]]\nkind = {json.dumps(kind)}\npath = {json.dumps(str(path))}\n" for path in logs or (self.log,)
        )
        self.config.write_text(
            f"data_dir = {json.dumps(str(self.data))}\nstore = {json.dumps(fleet.url)}\n"
            f"[fleet]\nnode = {json.dumps(name)}\n{named}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to ingest, in a process of its own."""
        self._process = start("ingest", "--config", self.config, "--refresh-interval", "0.2", stderr=self.said)

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            end([self._process])
            self._process = None

    def wait(self, seconds: float) -> None:
        """Let its process run; raises subprocess.TimeoutExpired when it still does after that."""
        assert self._process is not None
        self._process.wait(seconds)

    @property
    def waiting(self) -> Sequence[Status]:
        """What waits in its spools."""
        return [status for status in statuses(self.data) if status.since is not None]

    def has_kept(self, written: int) -> None:
        """Wait until all that was ever written to its log is stored, or waits on its disk."""
        spool = folder_of(self.data, str(self.log)) / "places"

        def read() -> bool:
            return spool.exists() and sum(state.offset for state in _places(spool.read_bytes())) >= written

        wait_for(f"{self.name} has kept {written} bytes of its log", read)


_places = msgspec.msgpack.Decoder(list[FileState]).decode


class Fleet:
    """A store on the cluster, and the nodes that write into it."""

    def __init__(self, cluster: Cluster, db: Connection, folder: Path) -> None:
        self.cluster, self.folder, self._db = cluster, folder, db
        create(db)
        self.url = f"{cluster.url(db.database)}&timeout={_TIMEOUT_S}"
        self.store = ClickHouseStore(db, node="the test", read_only=True)
        self.nodes: list[Node] = []

    def node(self, name: str, *logs: Path, kind: str = "higress") -> Node:
        """A node that ingests."""
        node = Node(self, name, *logs, kind=kind)
        self.nodes.append(node)
        node.start()
        return node

    def has(self, expected: Expected) -> None:
        """Wait until the store has as many rounds as there must be, or more."""
        wanted = expected.total.rounds
        try:
            wait_for(f"{wanted} rounds are stored", lambda: (self.rounds() or 0) >= wanted, seconds=90)
        except AssertionError as error:
            raise AssertionError(
                f"{error}: there are {self.rounds()}; {self.said()}; {[statuses(node.data) for node in self.nodes]}"
            ) from None

    def reader(self) -> Path:
        """The configuration of a server that only asks."""
        path = self.folder / "reader.toml"
        path.write_text(f"data_dir = {json.dumps(str(self.folder / 'reader'))}\nstore = {json.dumps(self.url)}\n")
        return path

    def missing(self) -> Sequence[str]:
        """What is missing in an answer of now."""
        self.store.slices()
        return self.store.missing()

    def reached(self, node: str) -> int:
        """How many bytes of its logs a node has stored."""
        found = State(self._db, node).some("checkpoint", f"owner = '{node}'")
        return sum(msgspec.msgpack.decode(value, type=Checkpoint).offset for _, _, value in found)

    def joined(self) -> int:
        """How many calls two sources saw."""
        told = self.store.testimonies(None, limit=10_000)
        return len({one.key for one in told if one.joined})

    def rounds(self) -> int | None:
        """How many rounds the store tells of; None while it tells nothing."""
        try:
            return totals(self.store.slices()).rounds
        except StoreError:
            return None

    def settled(self) -> None:
        """Wait until no node has anything left to store."""
        for node in self.nodes:
            wait_for(f"nothing waits on {node.name}", lambda node=node: not node.waiting)  # type: ignore[misc]

    def said(self) -> str:
        """The last that each node said."""
        return " | ".join(
            line for node in self.nodes if node.said.exists() for line in node.said.read_text().splitlines()[-2:]
        )

    def end(self) -> None:
        """Kill all nodes."""
        for node in self.nodes:
            node.kill()


@contextmanager
def fleet_on(cluster: Cluster, folder: Path) -> Iterator[Fleet]:
    """A fleet with an empty store; its nodes are gone at the end."""
    with cluster.database() as db:
        fleet = Fleet(cluster, db, folder)
        try:
            yield fleet
        finally:
            fleet.end()
