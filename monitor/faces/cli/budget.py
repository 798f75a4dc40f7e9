"""`budget`: how much of each budget is used, and who was told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from monitor.answers import budgets
from monitor.answers.amounts import money
from monitor.faces.cli.ask import opened, print_answer, print_table
from monitor.faces.cli.main import FAILED, as_json, common, shown

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
@click.pass_context
def budget_command(
    ctx: click.Context, data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool
) -> None:
    """How much of each budget is used. Exits 1 when one is exceeded.

    \b
    session-monitor budget
    session-monitor budget --json
    """
    ask = opened(data_dir, config, log_path).asking()
    answer = budgets.budgets(ask)

    def table() -> None:
        if not ask.book.budgets:
            click.echo(_EXAMPLE, err=True)
            return
        print_table(
            ("budget", "for", "used", "limit", "share", "state", "resets"),
            [
                (
                    b.name,
                    b.value or "-",
                    _amount(b.used),
                    _amount(b.limit),
                    f"{b.share:.1%}",
                    b.state + (f" (at least: {b.unpriced_rounds} rounds have no price)" if b.unpriced_rounds else ""),
                    "-"
                    if b.resets_at is None
                    else f"{datetime.fromisoformat(b.resets_at).astimezone(ask.zone):%Y-%m-%d %H:%M}",
                )
                for b in answer.budgets
            ],
            "Nothing was counted in the present period.",
        )
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

    print_answer(answer, json_, table)
    if answer.exceeded:
        ctx.exit(FAILED)


def _amount(value: budgets.Amount) -> str:
    if "tokens" in value:
        return f"{value['tokens']:,} tokens"
    return money(value, digits=2, whole=True)
