"""What several tests need: to wait for something without guessing how long, and to run the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from monitor.samples import Expected, Profile, Totals
from monitor.store.base import SessionQuery, Slice, Store

T = TypeVar("T")

_LOOK_EVERY_S = 0.01
_COMMAND = (sys.executable, "-c", "from monitor.faces.cli.main import main; main()")


def wait_for(what: str, happened: Callable[[], T | None], *, seconds: float = 60.0) -> T:
    """The first true thing that `happened` gives; the deadline is only there to end a broken test."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds:.0f} s: {what}")
        time.sleep(_LOOK_EVERY_S)
    return found


def start(*arguments: str | Path, cwd: Path | None = None, stderr: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `session-monitor` with `arguments`; what it says goes nowhere, or into the file `stderr`."""
    with (stderr or Path(os.devnull)).open("ab") as errors:
        return subprocess.Popen(
            [*_COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def run(*arguments: str | Path, code: int | None = 0, seconds: float = 120) -> tuple[str, str]:
    """Run `session-monitor` to its end and give what it printed on both channels."""
    done = subprocess.run(
        [*_COMMAND, *map(str, arguments)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if code is not None:
        assert done.returncode == code, f"{arguments} ended with {done.returncode}: {done.stderr}"
    return done.stdout, done.stderr


def script(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a Python process that runs `code`; its channels are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(processes: Sequence[subprocess.Popen[str]], *, seconds: float = 120) -> list[str]:
    """What each process printed, once all of them have ended well; on the first that has not, all are ended."""
    printed = []
    try:
        for process in processes:
            out, errors = process.communicate(timeout=seconds)
            assert process.returncode == 0, errors
            printed.append(out)
    finally:
        end(processes)
    return printed


def end(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """Kill what still runs, and let go of its channels."""
    for process in processes:
        process.kill()
        process.wait()
        for channel in (process.stdin, process.stdout, process.stderr):
            if channel is not None:
                channel.close()


def environment() -> dict[str, str]:
    """The environment without settings of this program that happen to be in it, and without a terminal's size."""
    foreign = ("COLUMNS", "LINES")
    return {n: v for n, v in os.environ.items() if not n.startswith("SESSION_MONITOR_") and n not in foreign}


# -- what a log holds against what a store says of it ---------------------------------------------


def totals(slices: Iterable[Slice]) -> Totals:
    """The sums of `slices` as sample logs tell theirs."""
    sums = Totals()
    for part in slices:
        counts = part.counts
        sums.rounds += counts.rounds
        sums.failed += counts.failed
        sums.unmetered += counts.unmetered
        sums.input_tokens += counts.input_tokens or 0
        sums.output_tokens += counts.output_tokens or 0
        sums.reasoning_tokens += counts.reasoning_tokens or 0
        sums.cached_tokens += counts.cached_tokens or 0
        sums.cache_write_tokens += counts.cache_write_tokens or 0
    return sums


def check_totals(store: Store, expected: Expected, profile: Profile) -> None:
    """Session sums, roll-ups and rounds all say exactly what was written, and agree with each other."""
    assert store.verify() == []
    assert totals(store.slices()) == expected.total
    by_model: dict[str | None, list[Slice]] = {}
    for part in store.slices():
        by_model.setdefault(part.model, []).append(part)
    assert {model: totals(parts) for model, parts in by_model.items()} == expected.models
    assert session_totals(store) == expected_sessions(expected, profile)
    hours: dict[tuple[str | None, str | None], Totals] = {}
    hosts: dict[str, Totals] = {}
    for (model, host, quarter), cell in expected.cells.items():
        hour = datetime.fromtimestamp(quarter / 1000, UTC).strftime("%Y-%m-%dT%H")
        _add(hours.setdefault((hour, model), Totals()), cell)
        _add(hosts.setdefault(host, Totals()), cell)
    told: dict[tuple[str | None, str | None], Totals] = {}
    for bucket in store.buckets("hour", "UTC"):
        for part in bucket.slices:
            _add(told.setdefault((bucket.label, part.model), Totals()), totals([part]))
    assert told == hours
    assert {host: totals(parts) for host, parts in store.by("host").items()} == hosts


def session_totals(store: Store) -> dict[str | None, Totals]:
    """The sums of every session; None stands for the rounds of all that named none."""
    found: dict[str | None, Totals] = {}
    cursor = None
    while True:
        page = store.sessions(SessionQuery(limit=100, cursor=cursor))
        for record in page.sessions:
            assert record.session_id not in found
            found[record.session_id] = totals(record.slices)
        cursor = page.next_cursor
        if cursor is None:
            break
    nameless = [part for record in store.unnamed() for part in record.slices]
    if nameless:
        found[None] = totals(nameless)
    return found


def expected_sessions(expected: Expected, profile: Profile) -> dict[str | None, Totals]:
    """The sums by the session that the log tells: by its header, else by OpenClaw's line in a logged message."""
    sums: dict[str | None, Totals] = {
        name: replace(held) for name, held in expected.sessions.items() if name is not None
    }
    for name, held in expected.headerless.items():
        told = profile.mode == "full" and name.startswith("agent:")
        _add(sums.setdefault(name if told else None, Totals()), held)
    return sums


def _add(sums: Totals, more: Totals) -> None:
    for name, value in more.as_json().items():
        setattr(sums, name, getattr(sums, name) + value)


def wrapped(records: Iterable[bytes], kind: Literal["plain", "docker", "cri"], piece: int = 16 * 1024) -> bytes:
    """Records as a container runtime writes them down: long ones in pieces."""
    if kind == "plain":
        return b"".join(records)
    out = []
    for number, record in enumerate(records):
        text = record.rstrip(b"\n").decode()
        pieces = [text[at : at + piece] for at in range(0, len(text), piece)] or [""]
        for index, part in enumerate(pieces):
            last = index == len(pieces) - 1
            when = f"2026-02-03T04:05:{number % 60:02d}.{index % 1000:03d}456789Z"
            if kind == "docker":
                whole = {"log": part + "\n" * last, "stream": "stdout", "time": when}
                line = json.dumps(whole, separators=(",", ":"))
            else:
                line = f"{when} stdout {'F' if last else 'P'} {part}"
            out.append(line.encode() + b"\n")
    return b"".join(out)
