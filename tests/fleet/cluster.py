"""A real ClickHouse cluster on this machine: two shards, two replicas each, ZooKeeper. It leaves nothing behind.

    .venv/bin/python -m tests.fleet.cluster up        starts one that stays, and says how to reach it
    .venv/bin/python -m tests.fleet.cluster status
    .venv/bin/python -m tests.fleet.cluster down

In a test: `with Cluster.temporary() as cluster: ...`. Its nodes are `s1r1`, `s1r2`, `s2r1`, `s2r2` and `zookeeper`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx2

from monitor.store.clickhouse.connection import Connection, connect
from tests.fleet import configs
from tests.fleet.configs import CLUSTER, HOST, PASSWORDS, Place
from tests.fleet.packages import CACHE, Unavailable, unpacked
from tests.helpers import wait_for

KEEPER = "zookeeper"
NAMES = ("s1r1", "s1r2", "s2r1", "s2r2")
#: Below the ports that systems hand out by themselves, so that nobody takes one while its node is down.
_PORTS = range(12_000, 32_000)
_STAYS = CACHE / "up"
_START_S = 60.0
#: A port that is open may not be served yet; then another try is sooner answered.
_POLL_S = 0.5
_TRIES = 3


class Cluster:
    """The nodes of one cluster, by name. All its files are in one folder."""

    def __init__(self, folder: Path, timezone: str = "UTC") -> None:
        """A cluster in an empty `folder`; raises packages.Unavailable where its programs can't be had."""
        self.folder = folder
        self._root = unpacked()
        ports = free_ports(1 + 3 * len(NAMES))
        self.keeper_port = ports.pop()
        self.places = {
            name: Place(name, int(name[1]), int(name[3]), *(ports.pop() for _ in range(3))) for name in NAMES
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        #: Whether nodes were ended or paused since all were well.
        self._handled = False
        self._configure(timezone)

    @classmethod
    @contextmanager
    def temporary(cls, timezone: str = "UTC") -> Iterator[Self]:
        """A running cluster that is gone at the end, also when this process is killed."""
        for again in reversed(range(_TRIES)):
            folder = Path(tempfile.mkdtemp(prefix="session-monitor-fleet-"))
            guard = subprocess.Popen([sys.executable, "-m", "tests.fleet.guard", str(folder)], stdin=subprocess.PIPE)
            with guard, cls(folder, timezone) as cluster:
                try:
                    cluster.up()
                except NotStarted:  # another program can take a port in the moment after it was found free
                    if again:
                        continue
                    raise
                yield cluster
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs."""
        self.kill(*self._running)

    # -- all of it --------------------------------------------------------------------------------

    def up(self) -> None:
        """Start all nodes and wait until each answers. Raises NotStarted."""
        self.start(KEEPER)
        self.start(*NAMES)

    def url(self, database: str = "default", user: str = "default", nodes: Sequence[str] = NAMES) -> str:
        """The store URL of `nodes`; the first that answers is asked. Passwords are in configs.PASSWORDS."""
        hosts = ",".join(f"{HOST}:{self.places[name].http}" for name in nodes)
        return f"clickhouse://{user}@{hosts}/{database}?cluster={CLUSTER}"

    def shard(self, number: int) -> tuple[str, ...]:
        """The names of the nodes that have shard 1 or 2."""
        return tuple(name for name, place in self.places.items() if place.shard == number)

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """A connection to an empty database on all nodes; it goes at the end, and by then all nodes run again."""
        name = f"test_{uuid4().hex}"
        self.ask(NAMES[0], f"CREATE DATABASE {name} ON CLUSTER {CLUSTER}")
        try:
            with connect(self.url(name)) as connection:
                yield connection
        finally:
            self.mend()
            self.ask(NAMES[0], f"DROP DATABASE {name} ON CLUSTER {CLUSTER}", distributed_ddl_task_timeout=0)

    # -- by name ----------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start nodes that are down, and wait until each answers. Raises NotStarted."""
        for _ in range(_TRIES):
            for name in names:
                if not self.runs(name):
                    self._spawn(name)
            # 18.16 ends with a fault where ZooKeeper is slow at the first handshake; another start helps.
            if all(self._answers(name) for name in names):
                return
        raise NotStarted("\n".join(f"{name} does not start: {self.said(name)}" for name in names))

    def stop(self, *names: str) -> None:
        """End nodes in order."""
        self._end(signal.SIGTERM, names)

    def kill(self, *names: str) -> None:
        """End nodes as a loss of power does: kill -9."""
        self._end(signal.SIGKILL, names)

    def pause(self, *names: str) -> None:
        """Nodes stop in the middle of what they do; their connections stay open."""
        self._handled = True
        for name in names:
            self._running[name].send_signal(signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        """Paused nodes go on."""
        for name in names:
            self._running[name].send_signal(signal.SIGCONT)

    def mend(self) -> None:
        """Whatever was done to nodes, all of them run again and take in what is written. Raises NotStarted."""
        if not self._handled:
            return
        self.resume(*(name for name in (KEEPER, *NAMES) if self.runs(name)))
        self.start(KEEPER)
        self.start(*NAMES)
        for name in NAMES:
            wait_for(f"{name} is in touch with ZooKeeper", lambda name=name: self._writes(name))  # type: ignore[misc]
        self._handled = False

    def runs(self, name: str) -> bool:
        """Whether the process of a node is there."""
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def ask(self, name: str, sql: str, **settings: int) -> str:
        """What a node answers as tab-separated text, as user `default`; raises httpx2.HTTPError."""
        place = f"http://{HOST}:{self.places[name].http}/"
        answer = httpx2.post(place, params=settings, content=sql.encode(), timeout=_START_S)
        if answer.is_error:
            raise httpx2.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.text.rstrip("\n")

    def said(self, name: str) -> str:
        """The last that a node wrote about errors."""
        home = self.folder / name
        texts = (log.read_text(errors="replace") for log in (home / "errors.log", home / "output.log") if log.exists())
        return " | ".join(line for text in texts for line in text.strip().splitlines()[-5:])

    # -- inside -----------------------------------------------------------------------------------

    def _configure(self, timezone: str) -> None:
        home = self.folder / KEEPER
        home.mkdir(parents=True)
        (home / "zoo.cfg").write_text(configs.zookeeper(home / "data", self.keeper_port))
        (home / "log4j.properties").write_text(configs.LOG4J)
        for name, place in self.places.items():
            home = self.folder / name
            home.mkdir()
            text = configs.server(home, place, [*self.places.values()], self.keeper_port, timezone)
            (home / "config.xml").write_text(text)
            (home / "users.xml").write_text(configs.users())

    def _spawn(self, name: str) -> None:
        home = self.folder / name
        with (home / "output.log").open("ab") as output:
            process = subprocess.Popen(
                self._keeper_command(home) if name == KEEPER else self._server_command(home),
                cwd=home,
                env={**os.environ, "LD_LIBRARY_PATH": self._libraries()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C ends the tests, and they end the nodes
            )
        (home / "pid").write_text(str(process.pid))
        self._running[name] = process

    def _keeper_command(self, home: Path) -> list[str]:
        jars = self._root / "usr" / "share" / "java"
        light = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return ["java", *light, "-cp", f"{home}:{jars}/*", main, str(home / "zoo.cfg")]

    def _server_command(self, home: Path) -> list[str]:
        return [str(self._root / "usr" / "sbin" / "clickhouse-server"), f"--config-file={home / 'config.xml'}"]

    def _libraries(self) -> str:
        places = [*self._root.glob("lib/*-linux-gnu"), *self._root.glob("usr/lib/*-linux-gnu"), self._root / "usr/lib"]
        return os.pathsep.join(map(str, places))

    def _answers(self, name: str) -> bool:
        """Whether a node answers at last; False once its process has ended."""
        ready = self._keeper_ready if name == KEEPER else lambda: self._ping(name)
        return (
            wait_for(
                f"{name} answers ({self.folder / name})",
                lambda: "yes" if ready() else None if self.runs(name) else "no",
                seconds=_START_S,
            )
            == "yes"
        )

    def _writes(self, name: str) -> bool:
        try:
            # What does things on all nodes has a session of its own, and notices last that it has ended.
            self.ask(name, f"DROP TABLE IF EXISTS default.absent ON CLUSTER {CLUSTER}")
            return self.ask(name, "SELECT sum(is_readonly + is_session_expired) FROM system.replicas") == "0"
        except httpx2.HTTPError:
            return False

    def _ping(self, name: str) -> bool:
        try:
            return httpx2.get(f"http://{HOST}:{self.places[name].http}/ping", timeout=_POLL_S).text == "Ok.\n"
        except httpx2.HTTPError:
            return False

    def _keeper_ready(self) -> bool:
        """Its port opens before it can do anything; it serves once it tells its mode."""
        try:
            with socket.create_connection((HOST, self.keeper_port), timeout=_POLL_S) as line:
                line.sendall(b"stat")
                return b"Mode:" in b"".join(iter(lambda: line.recv(4096), b""))
        except OSError:
            return False

    def _end(self, how: signal.Signals, names: Sequence[str]) -> None:
        self._handled = True
        ended = [self._running.pop(name) for name in names]
        for process in ended:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
        for name, process in zip(names, ended, strict=True):
            try:
                process.wait(_START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"{name} did not end within {_START_S:.0f} s of {how.name}") from None


class NotStarted(Exception):
    """A node ended before it answered; the message has what it said."""


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            found.append(port)
        if len(found) == count:
            return found
    raise Unavailable(f"there are no {count} free ports on {HOST}")


# -- for people -----------------------------------------------------------------------------------


def _up() -> str:
    if (_STAYS / "cluster.json").exists():
        return "there is one already:\n" + _status()
    if _STAYS.exists():  # a start that was broken off
        clear(_STAYS)
    cluster = Cluster(_STAYS)
    try:
        cluster.up()
    except BaseException:
        _down()
        raise
    ports = {name: place.http for name, place in cluster.places.items()}
    (_STAYS / "cluster.json").write_text(json.dumps({"url": cluster.url(), "ports": ports}))
    return _status()


def _status() -> str:
    if not (_STAYS / "cluster.json").exists():
        return "no cluster is up"
    known = json.loads((_STAYS / "cluster.json").read_text())
    lines = [known["url"]]
    lines += [f"  {name:9} http://{HOST}:{port}/" for name, port in known["ports"].items()]
    lines += [f"  {name:9} {'runs' if pid else 'is down'}" for name, pid in sorted(processes(_STAYS).items())]
    given = (f"{name} ({password or 'no password'})" for name, password in PASSWORDS.items())
    return "\n".join([*lines, f"users: {', '.join(given)}", f"logs: {_STAYS}/*/"])


def _down() -> str:
    if not _STAYS.exists():
        return "no cluster is up"
    clear(_STAYS)
    return "down; nothing of it is left"


def processes(folder: Path) -> dict[str, int | None]:
    """Name -> process number of each node of the cluster in `folder` that was ever started; None once it has ended."""
    found: dict[str, int | None] = {}
    for note in folder.glob("*/pid"):
        pid = int(note.read_text() or 0)
        try:  # the number may belong to another program by now
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            command = b""
        found[note.parent.name] = pid if os.fsencode(folder) in command else None
    return found


def clear(folder: Path) -> None:
    """Kill all nodes of the cluster in `folder` and delete it."""
    for name, pid in processes(folder).items():
        if pid is None:
            continue
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for(f"{name} is gone", lambda name=name: processes(folder)[name] is None)  # type: ignore[misc]
    shutil.rmtree(folder)


def main(arguments: Sequence[str]) -> int:
    """The command for people."""
    commands = {"up": _up, "down": _down, "status": _status}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(commands[arguments[0]]())
    except (Unavailable, NotStarted) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
