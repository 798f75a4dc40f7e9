"""How soon a listener hears of a line, and what it costs to wait for one."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from statistics import median

from bench.measure import Row, Sizes, cpu_of, environment, scratch
from monitor import samples
from monitor.config import Settings
from monitor.runtime import Runtime

_SETTLE_S = 2.0


def told(sizes: Sizes) -> Iterator[Row]:
    """A line written until a listener is told, the slowest of some at odd moments."""
    r = random.Random(3)
    rounds = (line for line in samples.lines(samples.SHORT, 5) if line.startswith(b'{"ai_log":"{'))
    heard = threading.Event()
    seconds = []
    with scratch("told") as folder, (folder / "access.log").open("wb", buffering=0) as log:
        runtime = Runtime(Settings(data_dir=folder / "data"), log_paths=[folder / "access.log"])
        runtime.listen(lambda _: heard.set())
        runtime.start()
        runtime.settle()
        try:
            for _ in range(sizes.told_lines):
                time.sleep(r.uniform(0.1, 0.6))
                heard.clear()
                began = time.perf_counter()
                log.write(next(rounds))
                if not heard.wait(30):
                    raise RuntimeError("no listener was told of a line within 30 s")
                seconds.append(time.perf_counter() - began)
        finally:
            runtime.close()
    yield Row(
        "a line written until a listener is told",
        1.0,
        "less",
        max(seconds),
        "s",
        f"{1e3 * median(seconds):.0f} ms on the median of {len(seconds)}, {1e3 * max(seconds):.0f} ms at most",
    )


def idle(sizes: Sizes) -> Iterator[Row]:
    """The CPU that a following process uses while nothing is written."""
    with scratch("idle") as folder:
        log = folder / "access.log"
        with log.open("wb") as file:
            file.writelines(samples.lines(samples.SHORT, 5, 200))
        command = [sys.executable, "-c", "from monitor.faces.cli.main import main; main()"]
        command += ["ingest", "--data-dir", str(folder / "data"), "--log-path", str(log)]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
        try:
            time.sleep(_SETTLE_S)
            before, began = cpu_of(process.pid), time.perf_counter()
            time.sleep(sizes.idle_seconds)
            used, took = cpu_of(process.pid) - before, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()
    yield Row(
        "CPU of the ingesting process while nothing happens",
        0.5,
        "less",
        100 * used / took,
        "%",
        f"{1e3 * used:.1f} ms of CPU in {took:.0f} s",
    )
