"""`budget`: how much of each budget is used, and who was told."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.answers import budgets
from monitor.answers.amounts import money
from monitor.faces.cli.ask import opened, print_rows
from monitor.faces.cli.look import say
from monitor.faces.cli.main import FAILED, as_csv, as_json, common, shown
from monitor.faces.cli.tables import Column

_EXAMPLE = """No budget is configured. In session-monitor.toml:

[[budgets]]
name = "team"
limit = "10.00"
currency = "USD"        # or tokens = 1_000_000
period = "day"          # day | week | month | session
warn_at = [0.8, 1.0]
notify = ["discord://webhook_id/webhook_token"]"""


@click.command("budget")
@common
@as_json
@as_csv
@click.pass_context
def budget_command(
    ctx: click.Context,
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
) -> None:
    """How much of each budget is used. Exits 1 when one is exceeded.

    \b
    session-monitor budget
    session-monitor budget --json
    """
    ask = opened(data_dir, config, log_path).asking()
    answer = budgets.budgets(ask)
    empty = say("Nothing was counted in the present period.") if ask.book.budgets else _EXAMPLE
    print_rows(answer, _COLUMNS, answer.budgets, json_=json_, csv_=csv_, empty=empty, ask=ask)
    if not json_ and ask.book.budgets:
        notes = dict.fromkeys(
            [
                f"{b.name}: {money(b.not_counted)} is in a currency that no rate converts, and not counted"
                for b in answer.budgets
                if b.not_counted
            ]
            + [f"{b.name}: converted at {'; '.join(b.rates)}" for b in answer.budgets if b.rates]
        )
        for text in notes:
            click.echo(shown(text), err=True)
        for alert in answer.alerts:
            for channel, reason in (alert.failed or {}).items():
                click.echo(f"{shown(alert.budget)}: {channel} could not be told: {shown(reason)}", err=True)
        if answer.note:
            click.echo(shown(answer.note), err=True)
    if answer.exceeded:
        ctx.exit(FAILED)


def _amount(value: budgets.Amount) -> str:
    if "tokens" in value:
        return f"{value['tokens']:,} tokens"
    return money(value, digits=2, whole=True)


def _state(row: budgets.BudgetState) -> str:
    lacking = f" (at least: {row.unpriced_rounds} rounds have no price)" if row.unpriced_rounds else ""
    return f"{row.state}{lacking}"


_COLUMNS: list[Column[budgets.BudgetState]] = [
    Column("name", "budget", "text", lambda b: b.name),
    Column("value", "for", "text", lambda b: b.value, 3),
    Column("used", "used", "text", lambda b: _amount(b.used)),
    Column("limit", "limit", "text", lambda b: _amount(b.limit)),
    Column("share", "share", "share", lambda b: b.share),
    Column("state", "state", "text", _state),
    Column("resets_at", "resets", "time", lambda b: b.resets_at, 4),
]
