"""What several tests need: to wait for something without guessing how long, and to run the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

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


def start(
    *arguments: str | Path, cwd: Path | None = None, stderr: Path | None = None
) -> subprocess.Popen[bytes]:
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
    """What each process printed, once all of them have ended well."""
    printed = []
    for process in processes:
        try:
            out, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            for other in processes:
                other.kill()
            raise
        assert process.returncode == 0, errors
        printed.append(out)
    return printed


def environment() -> dict[str, str]:
    """The environment without settings of this program that happen to be in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SESSION_MONITOR_")}
