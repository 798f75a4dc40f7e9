"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from monitor.faces.cli.look import say


def period_options(function: Any) -> Any:
    """``--days``, ``--since`` and ``--until``."""
    for option in (
        click.option("--until", metavar="TIME", help="As --since; a day means its end."),
        click.option("--since", metavar="TIME", help="2026-02-01, 2026-02-01T09:00, today, 7d, 12h."),
        click.option("--days", type=click.IntRange(1), metavar="N", help="Last N days, today included."),
    ):
        function = option(function)
    return function


def session_key_option(function: Any) -> Any:
    """``--session-key``: which sessions are shown."""
    return click.option(
        "--session-key", metavar="KEY", help="Show only these sessions: an id, how ids begin, or a glob."
    )(function)


def timezone_option(function: Any) -> Any:
    """``--timezone``: where days begin."""
    return click.option("--timezone", metavar="ZONE", help="Zone in which days begin, such as Asia/Shanghai.")(function)


def output_dir_option(function: Any) -> Any:
    """``--output-dir``: session documents, kept current."""
    return click.option(
        "--output-dir",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Keep one JSON document a session in this folder.",
    )(function)


def state_file_option(function: Any) -> Any:
    """``--state-file``, which others needed: it is taken, and nothing is done with it."""

    def word(_: click.Context, __: click.Parameter, value: str | None) -> None:
        if value is not None:
            click.echo(say("--state-file is not needed: what was read is kept with the figures"), err=True)

    return click.option("--state-file", metavar="FILE", expose_value=False, hidden=True, callback=word)(function)
