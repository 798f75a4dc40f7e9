"""What the commands that ask have in common, and `url`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from monitor.answers import links, sessions
from monitor.answers.base import Answer, Asking
from monitor.answers.errors import NotFound
from monitor.config import ConfigError, load
from monitor.faces.cli import tables
from monitor.faces.cli.look import say
from monitor.faces.cli.main import FAILED, USAGE, as_json, common, fail, shown
from monitor.faces.cli.progress import read_once
from monitor.faces.cli.strict import check_prices
from monitor.faces.cli.tables import Column
from monitor.faces.jsontext import json_text
from monitor.runtime import Runtime
from monitor.store.base import StoreError

Row = TypeVar("Row")


def opened(data_dir: Path | None, config: Path | None, log_path: Sequence[str]) -> Runtime:
    """The store, with what the logs hold now: where no other process reads them, this one does first."""
    from filelock import Timeout  # noqa: PLC0415

    runtime = Runtime(load(config, data_dir=data_dir), log_paths=[Path(path) for path in log_path])
    piped = "-" in log_path
    if runtime.stores.is_fleet and not log_path and not runtime.settings.sources:
        return runtime  # the fleet's nodes read their logs; this machine only asks
    if not runtime.has_logs() or (runtime.ingester_alive() and not piped):
        return runtime
    # Always a pass, whatever the sizes say: a file may have been rotated, or replaced by one of its size.
    try:
        with runtime.ingesting() as ingester:
            read_once(ingester)
    except Timeout:
        if piped:
            fail(FAILED, say("standard input can't be read while another process ingests: name another --data-dir"))
    except (OSError, StoreError, ConfigError) as error:
        click.echo(f"session-monitor: {say('the logs were not read: {error}', error=error)}", err=True)
    return runtime


def print_answer(answer: Answer, json_: bool, table: Callable[[], None]) -> None:
    """Print an answer as JSON, or as `table` does it."""
    if json_:
        click.echo(json_text(answer.small(), indent=2))
    else:
        table()
        say_if_late(answer)
    check_prices(answer)


def print_rows(
    answer: Answer,
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    *,
    json_: bool,
    csv_: bool,
    empty: str,
    ask: Asking,
    footer: dict[str, Any] | None = None,
) -> None:
    """Print an answer as JSON, as CSV, or as a table of `rows`."""
    if json_ and csv_:
        fail(USAGE, say("--json and --csv can't be had together: leave one of them out"))
    if csv_:
        tables.print_csv(columns, rows)
        say_if_late(answer)
        check_prices(answer)
        return
    print_answer(answer, json_, lambda: tables.print_table(columns, rows, empty, footer=footer, zone=ask.zone))


def say_if_late(answer: Answer) -> None:
    """Say on standard error what an answer lacks: lines that are not read yet, parts of the store that are away."""
    if answer.behind_bytes:
        behind = f"{answer.behind_bytes:,}"
        click.echo(
            say("{bytes} bytes of log are not read: this is as of {as_of}", bytes=behind, as_of=answer.as_of), err=True
        )
    if answer.missing:
        parts = "; ".join(shown(part) for part in answer.missing)
        click.echo(say("away just now, and in none of these figures: {parts}", parts=parts), err=True)


def whole_id(ask: Asking, part: str) -> str:
    """The session id that `part` is, or is a part of.

    Raises:
        NotFound: no session has it, or several have.
    """
    if ask.store.session(part) is not None:
        return part
    found = ask.store.names_with(part, 5)
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{part[:100]!r} is part of several sessions: {', '.join(found)}")
    sessions.find(ask, part)  # says what is near
    return part


@click.command("url")
@common
@as_json
@click.argument("session_id")
def url_command(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool, session_id: str
) -> None:
    """The link to a session's page.

    \b
    session-monitor url agent:main:main
    """
    runtime = opened(data_dir, config, log_path)
    ask = runtime.asking()
    answer = links.session_url(ask, whole_id(ask, session_id), reachable=runtime.page_is_served)
    print_answer(answer, json_, lambda: click.echo(answer.url))
    if answer.note and not json_:
        click.echo(answer.note, err=True)
