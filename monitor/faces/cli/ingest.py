"""`ingest`: read the logs without serving anything."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from monitor.config import load
from monitor.faces.cli.documents import write_documents
from monitor.faces.cli.main import FAILED, UNREADABLE, common, fail
from monitor.faces.cli.options import output_dir_option, state_file_option
from monitor.faces.cli.progress import read_once
from monitor.faces.folder import SessionFolder

#: How long `--once` waits for another process that ingests.
_WAIT_S = 600.0
#: The same for standard input, which nobody else can read: a moment, in case a command holds the lock.
_WAIT_TO_READ_S = 5.0


@click.command("ingest")
@common
@click.option("--once", is_flag=True, help="One pass over what is there now, then exit (for cron).")
@click.option("--max-rotate", type=click.IntRange(0), help="How many rotated files are looked at.")
@click.option(
    "--refresh-interval",
    type=click.FloatRange(0.05, 3600),
    metavar="SECONDS",
    help="Look at the logs this often even when the file system reports no change (5).",
)
@output_dir_option
@state_file_option
def ingest_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    once: bool,
    max_rotate: int | None,
    refresh_interval: float | None,
    output_dir: Path | None,
) -> None:
    """Read the logs into the data directory.

    \b
    session-monitor ingest --once --log-path /var/log/proxy/access.log
    session-monitor ingest --once --output-dir sessions
    """
    from filelock import Timeout  # noqa: PLC0415

    from monitor.runtime import STDIN, Runtime, is_of_days  # noqa: PLC0415
    from monitor.sources.usage_log.folder import day_files  # noqa: PLC0415 - only where there is something to read

    runtime = Runtime(
        load(config, data_dir=data_dir),
        log_paths=[Path(path) for path in log_path],
        max_rotate=max_rotate,
        refresh_interval=refresh_interval,
    )
    sources = runtime.sources()
    if not sources:
        fail(UNREADABLE, "there is no log to read: name one with --log-path")
    folder = None if output_dir is None else SessionFolder(output_dir)
    piped = any(source.path == STDIN for source in sources)
    if piped:
        once = True  # a stream is over when it ends
    if once:
        named = {Path(path) for path in log_path} | {Path(path).absolute() for path in log_path}
        for source in sources:
            if source.path == STDIN:
                continue
            try:
                if source.kind == "openclaw" or is_of_days(source):
                    os.listdir(source.path)
                    if source.kind == "usage" and source.path in named and not day_files(source.path):
                        click.echo(
                            f"{source.path}: no usage records are in this folder (2026-11-25.jsonl and the like); "
                            "a log, or a segment of an archive, is named by its file",
                            err=True,
                        )
                    continue
                with source.path.open("rb"):
                    pass
            except OSError as error:
                fail(UNREADABLE, f"{source.path}: {error.strerror}: name another file with --log-path")
    deadline = time.monotonic() + (_WAIT_TO_READ_S if piped else _WAIT_S)
    while True:
        try:
            with runtime.ingesting(wait=not once) as ingester:
                if not once:
                    click.echo(f"following {', '.join(str(source.path) for source in sources)}", err=True)
                    end = folder.follow(runtime) if folder is not None else None
                    try:
                        ingester.run()
                    finally:
                        if end is not None:
                            end()
                    return
                new = read_once(ingester)
                click.echo(f"{new} new rounds", err=True)
                runtime.do_upkeep()
                for state in ingester.states:
                    for problem in state.problems:
                        click.echo(f"{problem.path}: {problem.what}", err=True)
                if folder is not None:
                    write_documents(folder, runtime)
                return
        except Timeout:
            # Another process ingests: either it passes the present end of the logs, or its lock comes free.
            if once and not piped and runtime.unread_bytes() == 0:
                click.echo("another process has read everything", err=True)
                if folder is not None:
                    write_documents(folder, runtime)
                return
            if piped and time.monotonic() > deadline:
                fail(FAILED, "standard input can't be read while another process ingests: name another --data-dir")
            if once and time.monotonic() > deadline:
                fail(FAILED, "another process ingests into this data directory and does not get to the end")
            time.sleep(0.1 if once else 2.0)
        except OSError as error:
            fail(FAILED, f"{runtime.folder}: {error.strerror or error} (process {os.getpid()})")
