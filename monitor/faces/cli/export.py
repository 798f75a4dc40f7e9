"""`export`: the FinOps report as a file, and session documents in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from monitor.answers.report import report
from monitor.answers.zones import named_zone
from monitor.faces.cli.ask import opened, say_if_late
from monitor.faces.cli.documents import write_documents
from monitor.faces.cli.look import say, words
from monitor.faces.cli.main import USAGE, common, fail
from monitor.faces.cli.options import period_options, timezone_option
from monitor.faces.cli.strict import check_prices, strict_prices_option
from monitor.faces.folder import SessionFolder
from monitor.faces.reports import FORMATS, Format, format_of, rendered, write_report


@click.command("export")
@common
@strict_prices_option
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option("--format", "format_", type=click.Choice(FORMATS), help="By default what the suffix of FILE says.")
@period_options
@timezone_option
@click.option(
    "--sessions",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write one JSON document a session into this folder, those that have changed.",
)
def export_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    file: Path | None,
    format_: Format | None,
    days: int | None,
    since: str | None,
    until: str | None,
    timezone: str | None,
    sessions: Path | None,
) -> None:
    """Write the usage report of a period, of all time where none is given.

    FILE ends with .json, .csv or .html; in a folder the file is named after the time; - is standard output.

    \b
    session-monitor export report.json --days 30
    session-monitor export report.html --since 2026-02-01 --until 2026-02-28
    session-monitor export - --format csv --days 7
    session-monitor export --sessions documents
    """
    if file is None and sessions is None:
        fail(USAGE, say("name a file for the report (report.json, .csv or .html), or a folder with --sessions"))
    printed = file is not None and str(file) == "-"
    if file is not None and not printed and format_ is None and not file.is_dir():
        format_of(file)  # what can't be written is said before anything is read
    folder = None if sessions is None else SessionFolder(sessions)
    runtime = opened(data_dir, config, log_path)
    if file is not None:
        ask = runtime.asking()
        made = report(ask if timezone is None else named_zone(ask, timezone), since, until, days=days)
        if printed:
            sys.stdout.write(rendered(made, format_ or "json", language=words().language))
        else:
            path = write_report(made, file, format_, language=words().language)
            click.echo(say("written: {path}", path=path), err=True)
        say_if_late(made)
    if folder is not None:
        write_documents(folder, runtime)
    if file is not None:
        check_prices(made)
