"""`overview`, `compare`, `anomalies`: spending at a glance, cheaper models, and what is unusual."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from monitor.answers.comparison import ComparedModel, compare_models
from monitor.answers.overview import Change, SpendOverview, spend_overview
from monitor.answers.stats import Totals
from monitor.faces.cli.ask import opened, print_rows, whole_id
from monitor.faces.cli.look import say
from monitor.faces.cli.main import as_csv, as_json, common, shown
from monitor.faces.cli.options import timezone_option
from monitor.faces.cli.strict import strict_prices_option
from monitor.faces.cli.tables import Column, on_a_line, text_of

_Span = tuple[str, Totals, Change | None]


@click.command("overview")
@common
@strict_prices_option
@as_json
@as_csv
@timezone_option
def overview_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    timezone: str | None,
) -> None:
    """Today, yesterday and this month, each against the same time before, and a forecast.

    \b
    session-monitor overview
    session-monitor overview --timezone Asia/Shanghai
    """
    ask = opened(data_dir, config, log_path).asking()
    answer = spend_overview(ask, timezone)
    spans: list[_Span] = [
        ("today", answer.today, answer.change.today),
        ("yesterday", answer.yesterday, None),
        ("this month", answer.this_month, answer.change.this_month),
    ]
    columns: list[Column[_Span]] = [
        Column("span", "span", "text", lambda s: say(s[0])),
        Column("sessions", "sessions", "count", lambda s: s[1].sessions, 6),
        Column("rounds", "rounds", "count", lambda s: s[1].rounds),
        Column("input_tokens", "input", "count", lambda s: s[1].input_tokens, 7),
        Column("output_tokens", "output", "count", lambda s: s[1].output_tokens, 7),
        Column("total_tokens", "tokens", "count", lambda s: s[1].total_tokens, 1),
        Column("cost", "cost", "money", lambda s: s[1].cost),
        Column("difference", "difference", "money", lambda s: s[2].difference if s[2] else None, 3),
        Column("rate", "change", "text", lambda s: _rates(s[2].rate if s[2] else None), 4),
        Column("success_rate", "ok", "share", lambda s: s[1].success_rate, 5),
    ]
    print_rows(answer, columns, spans, json_=json_, csv_=csv_, empty="", ask=ask)
    if not json_ and not csv_:
        _more(answer)


def _more(answer: SpendOverview) -> None:
    if answer.average_per_day is not None:
        day = answer.average_per_day
        text = "average of {days} days: {rounds} rounds, {tokens} tokens, {cost} a day"
        tokens = text_of("count", day.tokens)
        click.echo(say(text, days=day.days, rounds=f"{day.rounds:,.0f}", tokens=tokens, cost=on_a_line(day.cost)))
    if answer.forecast.cost:
        text = "forecast of the month: {cost} ({low} to {high})"
        low, high = on_a_line(answer.forecast.low), on_a_line(answer.forecast.high)
        click.echo(say(text, cost=on_a_line(answer.forecast.cost), low=low, high=high))
    click.echo(shown(answer.forecast.how), err=True)


def _rates(rates: Mapping[str, float] | None) -> str | None:
    return "\n".join(f"{currency} {rate:+.1%}" for currency, rate in rates.items()) if rates else None


@click.command("compare")
@common
@as_json
@as_csv
@click.argument("session_id", required=False)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Compare with this model. Can be repeated.")
def compare_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    session_id: str | None,
    models: tuple[str, ...],
) -> None:
    """What the same tokens would have cost on other models: of a session, or of the last 30 days.

    \b
    session-monitor compare agent:main:main
    session-monitor compare --model gpt-5.4-mini --model deepseek-chat
    """
    runtime = opened(data_dir, config, log_path)
    ask = runtime.asking()
    name = None if session_id is None else whole_id(ask, session_id)
    answer = compare_models(ask, runtime.catalog(), name, list(models) or None)
    columns: list[Column[ComparedModel]] = [
        Column("model", "model", "text", lambda r: f"{r.model} *" if r.current else r.model, wish=32),
        Column("cost", "cost", "money", lambda r: r.cost),
        Column("saving", "saving", "money", lambda r: r.saving, 3),
        Column("saving_rate", "change", "text", lambda r: _rates(_less(r.saving_rate)), 4),
        Column("limits", "can't do", "text", lambda r: "; ".join(r.limits) or None, 2, wish=24),
        Column("context_window", "context", "count", lambda r: r.context_window, 8),
        Column("price_source", "price from", "text", lambda r: r.price_source, 12, wish=60),
    ]
    empty = say("Nothing was counted in this period.")
    print_rows(answer, columns, answer.rows, json_=json_, csv_=csv_, empty=empty, ask=ask)
    if not json_ and not csv_:
        text = "{compared} of {rounds} rounds compared, which cost {cost}; * marks what was used"
        counts = {"compared": f"{answer.rounds_compared:,}", "rounds": f"{answer.rounds:,}"}
        click.echo(say(text, **counts, cost=on_a_line(answer.cost)))
        for line in (answer.advice, *answer.check):
            click.echo(shown(line))


def _less(rates: Mapping[str, float] | None) -> dict[str, float] | None:
    """A saving of a quarter is a change of -25%."""
    return {currency: -rate for currency, rate in rates.items()} if rates else None


@click.command("anomalies")
@common
@as_json
@as_csv
@click.option("--days", type=click.IntRange(1, 31), default=1, show_default=True, metavar="N", help="Last N days.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
def anomalies_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    days: int,
    limit: int,
) -> None:
    """Unusually dear, slow or failing rounds and sessions, each with why.

    \b
    session-monitor anomalies
    session-monitor anomalies --days 7 --limit 5
    """
    from monitor.answers.anomalies.base import Anomaly  # noqa: PLC0415 - other questions here do not need them
    from monitor.answers.anomalies.find import find_anomalies  # noqa: PLC0415

    runtime = opened(data_dir, config, log_path)
    ask = runtime.asking()
    answer = find_anomalies(ask, runtime.catalog, days, limit=limit)
    columns: list[Column[Anomaly]] = [
        Column("severity", "severity", "text", lambda a: a.severity),
        Column("kind", "kind", "text", lambda a: a.kind.replace("_", " "), 4),
        Column("when", "time", "time", lambda a: a.when, 5),
        Column("session_id", "session", "text", lambda a: a.session_id, 3),
        Column("round", "round", "count", lambda a: a.round, 7),
        Column("why", "why", "text", lambda a: a.why, wish=40),
        Column("cost", "extra cost", "money", lambda a: a.cost, 2),
    ]
    empty = say("Nothing unusual among {rounds} rounds.", rounds=f"{answer.rounds:,}")
    print_rows(answer, columns, answer.rows, json_=json_, csv_=csv_, empty=empty, ask=ask)
    if answer.note and not json_:
        click.echo(shown(answer.note), err=True)
