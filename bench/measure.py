"""What a row of the table is, and how its figures are taken: CPU time, side by side, the median of several."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Literal, Self

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = "2025-11-25"


@dataclass(frozen=True)
class Row:
    """One line of the table: a goal, what was measured, and the absolute figures behind it."""

    name: str
    goal: float
    better: Literal["more", "less"]
    measured: float
    unit: str
    figures: str

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.measured >= self.goal if self.better == "more" else self.measured <= self.goal

    def as_json(self) -> dict[str, Any]:
        """The row as JSON data."""
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured. Small sizes find what is broken; only the full ones are worth quoting."""

    name: str
    #: Lines of the logs with long, medium and short lines.
    long_lines: int
    medium_lines: int
    short_lines: int
    repeats: int
    #: Text that each round of the thousand adds, and how many rounds are compared.
    round_bytes: int
    rounds_compared: int
    sessions_of_50: int
    #: Rounds in the two stores that are asked.
    small_store: int
    large_store: int
    #: Calls in a block, and how many blocks of each server take turns.
    calls: int
    blocks: int
    spawns: int
    told_lines: int
    idle_seconds: float
    memory_mb: int
    #: By each of the clients of a server under load.
    load_requests: int


QUICK = Sizes(
    name="quick",
    long_lines=220,
    medium_lines=400,
    short_lines=2000,
    repeats=2,
    round_bytes=150,
    rounds_compared=10,
    sessions_of_50=8,
    small_store=5_000,
    large_store=20_000,
    calls=10,
    blocks=3,
    spawns=2,
    told_lines=4,
    idle_seconds=2.0,
    memory_mb=30,
    load_requests=4,
)
FULL = Sizes(
    name="full",
    long_lines=880,
    medium_lines=4000,
    short_lines=20_000,
    repeats=7,
    round_bytes=1000,
    rounds_compared=60,
    sessions_of_50=80,
    small_store=100_000,
    large_store=1_000_000,
    calls=50,
    blocks=15,
    spawns=11,
    told_lines=20,
    idle_seconds=15.0,
    memory_mb=300,
    load_requests=60,
)


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        yield Path(folder)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time that this process, with all its threads, spends on `work`."""
    gc.collect()
    before = time.process_time()
    work()
    return time.process_time() - before


def side_by_side(repeats: int, *works: Callable[[], float]) -> list[list[float]]:
    """What each of `works` measures, taken in turns so that a noisy minute hits all of them; a first turn is lost."""
    measured: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for figures, work in zip(measured, works, strict=True):
            figure = work()
            if turn:
                figures.append(figure)
    return measured


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the ratios of neighbours in time."""
    return median(a / b for a, b in zip(over, under, strict=True))


def cpu_of(pid: int) -> float:
    """CPU seconds that another process has used so far, by its clock (Linux: clock_getcpuclockid)."""
    return time.clock_gettime(~pid << 3 | 2)


def peak_memory_of(pid: int) -> int | None:
    """The most resident memory that a running process ever had, in bytes; None once it has ended.

    The figure that `wait4` gives would hold our own memory from before the child's `exec` too.
    """
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def environment() -> dict[str, str]:
    """Ours without the settings of whoever runs this."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SESSION_MONITOR_")}


def our_server(folder: Path) -> list[str]:
    """The command of our server over a data directory, with an empty log to follow."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "access.log"
    log.touch()
    options = ["--no-web", "--data-dir", str(folder), "--log-path", str(log)]
    return [sys.executable, str(ROOT / "server.py"), *options]


def bare_server(answers: Path | None = None) -> list[str]:
    """The command of a server that has nothing behind it; see `bench.bare`."""
    return [sys.executable, str(ROOT / "bench" / "bare.py"), *([str(answers)] if answers else [])]


class Peer:
    """A server on the other end of two pipes, spoken to without any library, so that only its own time shows."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, env=environment()
        )
        self.pid = self._process.pid
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def hello(self) -> None:
        """The handshake."""
        who = {"name": "bench", "version": "1"}
        self.ask("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": who})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A request and its result."""
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == self._number:
                result: dict[str, Any] = message["result"]
                return result
        raise RuntimeError(f"the server ended instead of answering {method}")

    def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A tool's result, which must not be an error."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(f"{tool}: {result['content']}")
        return result

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()
