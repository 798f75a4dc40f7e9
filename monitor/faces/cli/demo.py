"""`demo`: the whole thing on sample logs that grow while you watch."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.config import load
from monitor.faces.cli.main import FAILED, fail

if TYPE_CHECKING:
    from monitor.runtime import Runtime

FIRST_PORT = 8890
#: How much of the past the demo shows.
_PAST_MS = 14 * 86_400_000


@click.command("demo")
@click.option("--once", is_flag=True, help="Read the samples, print one answer as an agent would give it, and exit.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Keep what the demo makes here.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page; the first free one from 8890.")
def demo_command(once: bool, data_dir: Path | None, port: int | None) -> None:
    """Run everything on sample logs, in a data directory and on a port of its own.

    \b
    session-monitor demo
    session-monitor demo --once
    """
    from monitor.runtime import Runtime  # noqa: PLC0415

    with _folder(data_dir) as folder:
        log = folder / "access.log"
        _write_past(log)
        runtime = Runtime(load(None, data_dir=folder), log_paths=[log])
        if once:
            _once(runtime)
            return
        _serve(runtime, log, port)


@contextlib.contextmanager
def _folder(asked: Path | None) -> Iterator[Path]:
    if asked is not None:
        asked.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield asked
        return
    folder = Path(tempfile.mkdtemp(prefix="session-monitor-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_past(log: Path) -> None:
    from monitor.samples import DEMO, lines  # noqa: PLC0415

    if log.exists():
        return
    now = _now_ms()
    # Up to now, so that today and yesterday have something to show.
    profile = dataclasses.replace(DEMO, start=now - _PAST_MS, total_sessions=None)
    with log.open("wb") as file:
        log.chmod(0o600)
        file.writelines(lines(profile, seed=7, until=now))


def _once(runtime: Runtime) -> None:
    from monitor.answers import sessions, words  # noqa: PLC0415

    with runtime.ingesting() as ingester:
        new = ingester.once()
    ask = runtime.asking()
    listed = sessions.list_sessions(ask, sort_by="cost", limit=1)
    if not listed.sessions:
        fail(FAILED, "the sample logs gave no session")
    click.echo(f"read {new} rounds of {listed.total} sessions from {runtime.sources()[0].path}", err=True)
    answer = sessions.get_session(ask, listed.sessions[0].session_id)
    click.echo(f"> What has this conversation cost?  (get_session, session_id={answer.session_id})")
    click.echo(words.session(answer))


def _serve(runtime: Runtime, log: Path, port: int | None) -> None:
    from monitor.faces import serving  # noqa: PLC0415

    stop = threading.Event()
    threading.Thread(target=_grow, args=(log, stop), daemon=True).start()
    chosen = serving.first_free_port(FIRST_PORT) if port is None else port
    click.echo(f"sample log, growing:  {log}", err=True)
    click.echo("stop with Ctrl-C", err=True)
    try:
        serving.serve_http(runtime, "127.0.0.1", chosen)
    finally:
        stop.set()


def _grow(log: Path, stop: threading.Event) -> None:
    """A gateway at work: conversations that go on now, a line every second or so."""
    from monitor.samples import DEMO, Writer, lines  # noqa: PLC0415

    pace = random.Random(11)  # noqa: S311 - a demo's rhythm is no secret
    with Writer(log) as writer:
        for seed in itertools.count(100):
            profile = dataclasses.replace(
                DEMO, start=_now_ms(), nights=False, pause=4_000, session_pause=2_000, total_sessions=40
            )
            for line in lines(profile, seed=seed):
                if stop.wait(pace.uniform(0.3, 1.5)):
                    return
                writer.write(line)
                writer.flush()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
