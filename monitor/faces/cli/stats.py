"""`stats-model`, `stats-date`, `stats-by`: sums as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from monitor.answers import groups, stats
from monitor.answers.zones import named_zone
from monitor.faces.cli import columns
from monitor.faces.cli.ask import opened, print_rows
from monitor.faces.cli.look import say
from monitor.faces.cli.main import as_csv, as_json, common
from monitor.faces.cli.options import period_options, session_key_option, state_file_option, timezone_option
from monitor.faces.cli.strict import strict_prices_option


def _nothing() -> str:
    return say("Nothing was counted in this period.")


@click.command("stats-model")
@common
@strict_prices_option
@as_json
@as_csv
@period_options
@timezone_option
@session_key_option
@state_file_option
def stats_model_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    timezone: str | None,
    **query: Any,
) -> None:
    """Tokens and cost by model, all time unless a period is given.

    \b
    session-monitor stats-model --days 7
    session-monitor stats-model --since 2026-02-01 --until 2026-02-28 --csv
    """
    ask = opened(data_dir, config, log_path).asking()
    if timezone is not None:
        ask = named_zone(ask, timezone)
    answer = stats.stats_by_model(ask, **query)
    last = columns.footer("model", answer.totals)
    print_rows(answer, columns.of_models(), answer.rows, json_=json_, csv_=csv_, empty=_nothing(), ask=ask, footer=last)


@click.command("stats-date")
@common
@strict_prices_option
@as_json
@as_csv
@period_options
@click.option("--bucket", type=click.Choice(["hour", "day", "month"]), default="day", show_default=True)
@timezone_option
@session_key_option
@state_file_option
def stats_date_command(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool, csv_: bool, **query: Any
) -> None:
    """Tokens and cost by hour, day or month, all time unless a period is given.

    \b
    session-monitor stats-date --days 7
    session-monitor stats-date --since today --bucket hour --timezone Asia/Shanghai
    """
    ask = opened(data_dir, config, log_path).asking()
    answer = stats.stats_by_date(ask, **query)
    head = {"day": "date"}.get(query["bucket"], query["bucket"])
    last = columns.footer(head, answer.totals)
    print_rows(
        answer, columns.of_dates(head), answer.rows, json_=json_, csv_=csv_, empty=_nothing(), ask=ask, footer=last
    )


@click.command("stats-by")
@common
@strict_prices_option
@as_json
@as_csv
@click.argument("dimension", type=click.Choice(groups.DIMENSIONS))
@period_options
@timezone_option
@click.option("--limit", type=click.IntRange(1, 1000), metavar="N", help="Only the N that spent the most.")
@state_file_option
def stats_by_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    dimension: str,
    timezone: str | None,
    **query: Any,
) -> None:
    """Tokens and cost by consumer, function, route, agent, session, user, host or source.

    \b
    session-monitor stats-by consumer --days 30
    session-monitor stats-by session --since yesterday --limit 10
    """
    ask = opened(data_dir, config, log_path).asking()
    if timezone is not None:
        ask = named_zone(ask, timezone)
    answer = groups.stats_by(ask, dimension, **query)
    last = columns.footer("name", answer.totals)
    print_rows(
        answer,
        columns.of_groups(dimension),
        answer.rows,
        json_=json_,
        csv_=csv_,
        empty=_nothing(),
        ask=ask,
        footer=last,
    )
    if answer.more and not json_:
        click.echo(say("{more} more; --limit shows more", more=answer.more), err=True)
