"""Pages, answers and events for many clients at once, while the log that they show keeps growing."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import IO

import httpx2

from bench.measure import Row, Sizes, cpu_of, environment, scratch
from monitor import samples

ROUNDS_A_SECOND = 1_000
CLIENTS = 64
#: One client in so many follows the log instead of asking.
_ONE_FOLLOWS = 8
_STEPS_A_SECOND = 20
_SESSION = "agent:main:main"
#: What clients ask for in turn.
PATHS = (
    "/",
    f"/session?id={_SESSION}",
    "/api/sessions?sort_by=cost",
    f"/api/session?id={_SESSION}",
    f"/api/session?id={_SESSION}&rounds=true&messages=new&limit=20",
    "/api/stats",
    "/api/overview",
    "/metrics",
    "/healthz",
)


@dataclass
class Outcome:
    """What came of it."""

    written: int = 0
    counted: int = 0
    #: Requests that were not answered with 200, in words.
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    events: int = 0
    took: float = 0.0
    cpu: float = 0.0


def load(folder: Path, *, clients: int = CLIENTS, requests: int, rate: int = ROUNDS_A_SECOND) -> Outcome:
    """Let `clients` make `requests` each at once, while `rate` rounds a second are written; count everything."""
    outcome = Outcome()
    log = folder / "access.log"
    rounds = [line for line in samples.lines(samples.LITE, 7, 20_000) if line.startswith(b'{"ai_log":"{')]
    first = [line for line in samples.lines(samples.DEMO, 3, 400) if line.startswith(b'{"ai_log":"{')]
    log.write_bytes(b"".join(first))
    outcome.written = len(first)
    command = [sys.executable, "-c", "from monitor.faces.cli.main import main; main()", "serve", "--http", "0"]
    command += ["--data-dir", str(folder / "data"), "--log-path", str(log)]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        base = _address(process.stderr)
        stop = threading.Event()
        writer = threading.Thread(target=_write, args=(log, rounds, rate, stop, outcome))
        before, began = cpu_of(process.pid), time.perf_counter()
        writer.start()
        try:
            asyncio.run(_ask(base, clients, requests, outcome))
        finally:
            stop.set()
            writer.join()
        outcome.took, outcome.cpu = time.perf_counter() - began, cpu_of(process.pid) - before
        outcome.counted = _counted(base, outcome.written)
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stderr is not None:
            process.stderr.close()
    return outcome


def served(sizes: Sizes) -> Iterator[Row]:
    """How many of the pages that are asked for are served, and of the rounds that are written counted."""
    with scratch("served") as folder:
        found = load(folder, requests=sizes.load_requests)
    asked = len(found.seconds) + len(found.failed)
    right = min(len(found.seconds) / asked, found.counted / found.written, found.written / max(found.counted, 1))
    slow = quantiles(found.seconds, n=20)
    yield Row(
        f"{CLIENTS} clients while {ROUNDS_A_SECOND:,} rounds a second are written: served and counted",
        100,
        "more",
        100 * right,
        "%",
        f"{asked:,} requests in {found.took:.0f} s, {asked / found.took:.0f} a second, {1e3 * slow[9]:.0f} ms on the "
        f"median, {1e3 * slow[18]:.0f} ms for 95 %; {found.counted:,} of {found.written:,} rounds; {found.events} "
        f"events heard; CPU {found.cpu / found.took:.0%}",
    )


def _address(errors: IO[str]) -> str:
    for line in errors:
        match = re.match(r"page +(http://\S+:\d+)/", line)
        if match is not None:
            # What else it says must not fill the pipe.
            threading.Thread(target=errors.read, daemon=True).start()
            return match[1]
    raise RuntimeError("the server ended before it said where it is")


def _write(log: Path, rounds: list[bytes], rate: int, stop: threading.Event, outcome: Outcome) -> None:
    """Append at an even pace. The lines are repeated as other requests."""
    began, number = time.perf_counter(), 0
    lines = cycle(rounds)
    with log.open("ab", buffering=0) as file:
        while not stop.wait(1 / _STEPS_A_SECOND):
            due = int((time.perf_counter() - began) * rate)
            some = []
            while number < due:
                number += 1
                some.append(next(lines).replace(b'"request_id":"', b'"request_id":"%x-' % number, 1))
            file.write(b"".join(some))
    outcome.written += number


async def _ask(base: str, clients: int, requests: int, outcome: Outcome) -> None:
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=base, timeout=60, limits=limits) as client:
        following = [asyncio.create_task(_follow(client, outcome)) for _ in range(clients // _ONE_FOLLOWS)]
        asking = range(clients - len(following))
        try:
            await asyncio.gather(*(_client(client, number, requests, outcome) for number in asking))
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)


async def _client(client: httpx2.AsyncClient, number: int, requests: int, outcome: Outcome) -> None:
    for turn in range(requests):
        path = PATHS[(number + turn) % len(PATHS)]
        began = time.perf_counter()
        try:
            answer = await client.get(path)
        except httpx2.HTTPError as error:
            outcome.failed.append(f"{path}: {type(error).__name__}: {error}")
            continue
        if answer.status_code != 200:
            outcome.failed.append(f"{path}: {answer.status_code}: {answer.text[:200]}")
            continue
        if path.startswith("/api/"):
            json.loads(answer.content)  # whole
        outcome.seconds.append(time.perf_counter() - began)


async def _follow(client: httpx2.AsyncClient, outcome: Outcome) -> None:
    async with client.stream("GET", "/api/live") as answer:
        async for line in answer.aiter_lines():
            outcome.events += line == "event: grown"


def _counted(base: str, written: int) -> int:
    """The rounds in the answer, once it has all of them or has not grown for a while."""
    last, still = -1, 0
    while last < written and still < 40:
        time.sleep(0.25)
        now: int = httpx2.get(f"{base}/api/stats", timeout=60).json()["totals"]["rounds"]
        still = 0 if now > last else still + 1
        last = now
    return last
