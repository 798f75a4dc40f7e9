"""`watch`: the live view of a terminal; plain lines where there is none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from monitor.answers.pulse import Pulse, pulse
from monitor.config import ConfigError, load
from monitor.faces.cli import view
from monitor.faces.cli.main import as_json, common
from monitor.faces.cli.options import session_key_option, state_file_option
from monitor.faces.jsontext import json_text
from monitor.runtime import Runtime
from monitor.store.base import SortBy


@click.command("watch")
@common
@as_json
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Look this often.",
)
@click.option("--budget", type=click.IntRange(1), metavar="TOKENS", help="How many tokens what is shown may use.")
@click.option("--since", metavar="TIME", help="Totals count from here: today, 7d, 2026-02-01; else all time.")
@click.option(
    "--sort-by",
    type=click.Choice(["updated", "cost", "created", "tokens", "rounds"]),
    default="updated",
    show_default=True,
)
@session_key_option
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N looks.")
@click.option("--no-ingest", is_flag=True, help="Only look; another process reads the logs.")
@state_file_option
def watch_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    interval: float,
    budget: int | None,
    since: str | None,
    sort_by: SortBy,
    session_key: str | None,
    count: int | None,
    no_ingest: bool,
) -> None:
    """Sessions as they grow, what a minute costs, failures, and how far the log is read. q ends it.

    Where standard output is no terminal, a line is printed whenever something has changed.

    \b
    session-monitor watch --count 1
    session-monitor watch --interval 5 --since today --budget 1000000 --count 1
    session-monitor watch --session-key 'agent:main:*' --json --count 1
    """
    if "-" in log_path:
        raise ConfigError("--log-path -: standard input has the keys here; use `session-monitor ingest --log-path -`")
    runtime = Runtime(load(config, data_dir=data_dir), log_paths=[Path(path) for path in log_path])
    runtime.sources()  # a source that may not be read is said before anything is shown

    def look() -> Pulse:
        return pulse(
            runtime.asking(wait=False),
            runtime.standing(),
            session_key=session_key,
            since=since,
            budget=budget,
            sort_by=sort_by,
        )

    if not no_ingest:
        runtime.start()
        runtime.settle()
    try:
        drawable = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        if json_ or not drawable:
            if count == 1:
                runtime.asking()  # one look is of what the log holds now
            _lines(look, interval, count, as_json=json_)
        else:
            from monitor.faces.cli.screen import show  # noqa: PLC0415 - only a terminal needs it

            show(look, lambda seen: view.screen(seen, runtime.asking(fresh=False).zone), interval, count)
    finally:
        runtime.close()


def _lines(look: Callable[[], Pulse], interval: float, count: int | None, *, as_json: bool) -> None:
    """A line whenever something has changed."""
    before: object = None
    looks = 0
    while True:
        seen = look()
        now = view.changing(seen)
        if now != before:
            click.echo(json_text(seen.small()) if as_json else view.line(seen))
            before = now
        looks += 1
        if count is not None and looks >= count:
            return
        time.sleep(interval)
