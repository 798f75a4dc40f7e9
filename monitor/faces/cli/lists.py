"""`list`: sessions with what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from monitor.answers import sessions
from monitor.faces.cli import columns
from monitor.faces.cli.ask import opened, print_rows
from monitor.faces.cli.look import say
from monitor.faces.cli.main import as_csv, as_json, common
from monitor.faces.cli.options import session_key_option, state_file_option
from monitor.faces.cli.strict import strict_prices_option


@click.command("list")
@common
@strict_prices_option
@as_json
@as_csv
@click.option(
    "--sort-by",
    type=click.Choice(["cost", "updated", "created", "tokens", "rounds"]),
    default="updated",
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--since", metavar="TIME", help="2026-02-01, 2026-02-01T09:00, today, 7d, 12h.")
@click.option("--until", metavar="TIME", help="As --since; a day means its end.")
@click.option("--model", metavar="NAME", help="Only sessions that used this model.")
@click.option("--consumer", metavar="NAME", help="Only sessions of this consumer.")
@click.option("--search", metavar="TEXT", help="Part of an id, consumer, model or first question.")
@session_key_option
@state_file_option
def list_command(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool, csv_: bool, **query: Any
) -> None:
    """Sessions with their tokens and cost.

    \b
    session-monitor list --sort-by cost --limit 10
    session-monitor list --since 7d --session-key 'agent:main:*'
    session-monitor list --search discord --csv
    """
    ask = opened(data_dir, config, log_path).asking()
    answer = sessions.list_sessions(ask, **query)
    asked = any(query[name] for name in ("since", "until", "model", "consumer", "search", "session_key"))
    empty = say("No session matches.") if asked else say("No session yet: session-monitor doctor says what is missing.")
    print_rows(answer, columns.of_sessions(), answer.sessions, json_=json_, csv_=csv_, empty=empty, ask=ask)
    if answer.total > len(answer.sessions) and not json_:
        shown = say("{shown} of {total} sessions; --limit shows more", shown=len(answer.sessions), total=answer.total)
        click.echo(shown, err=True)
