"""`reconcile`: the gateway's log against OpenClaw's transcripts."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.answers.reconcile import Reconciliation, reconcile
from monitor.answers.reconcile.answer import Finding, ReconciledSession
from monitor.faces.cli.ask import opened, print_rows
from monitor.faces.cli.look import say
from monitor.faces.cli.main import as_csv, as_json, common, shown
from monitor.faces.cli.tables import Column, on_a_line, text_of

#: One finding with where it was made.
_Row = tuple[ReconciledSession, Finding]


@click.command("reconcile")
@common
@as_json
@as_csv
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, metavar="N", help="Last N days.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Sessions that are told.")
def reconcile_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    days: int,
    limit: int,
) -> None:
    """What the gateway saw against what OpenClaw wrote down, and why they differ.

    \b
    session-monitor reconcile
    session-monitor reconcile --days 30
    """
    ask = opened(data_dir, config, log_path).asking()
    answer = reconcile(ask, days=days, limit=limit)
    rows: list[_Row] = [(row, finding) for row in answer.rows for finding in row.findings]
    columns: list[Column[_Row]] = [
        Column("date", "date", "text", lambda r: r[0].date),
        Column("session_id", "session", "text", lambda r: r[0].session_id or r[0].consumer or say("(none)"), wish=40),
        Column("kind", "seen by", "text", lambda r: say(r[1].kind), 2),
        Column("cause", "cause", "text", lambda r: say(r[1].cause), 1),
        Column("rounds", "rounds", "count", lambda r: r[1].rounds),
        Column("input_tokens", "input", "count", lambda r: r[1].input_tokens, 4),
        Column("output_tokens", "output", "count", lambda r: r[1].output_tokens, 4),
        Column("cost", "cost", "money", lambda r: r[1].cost, 3),
    ]
    print_rows(answer, columns, rows, json_=json_, csv_=csv_, empty=_agreement(answer), ask=ask)
    if not json_ and not csv_:
        _summary(answer)


def _agreement(answer: Reconciliation) -> str:
    return answer.note or say("Both meters agree on every call.")


def _summary(answer: Reconciliation) -> None:
    for name, sums in (("gateway", answer.gateway), ("transcripts", answer.transcripts)):
        click.echo(
            say(
                "{name}: {rounds} rounds, {input} input, {output} output, {cost}",
                name=say(name),
                rounds=f"{sums.rounds:,}",
                input=text_of("count", sums.input_tokens),
                output=text_of("count", sums.output_tokens),
                cost=on_a_line(sums.cost),
            )
        )
    joined = answer.joined
    click.echo(
        say(
            "seen by both: {ids} by response id, {counts} by model, time and counts, {time} by time",
            ids=f"{joined.response_id:,}",
            counts=f"{joined.counts or 0:,}",
            time=f"{joined.time or 0:,}",
        )
    )
    for cause, meaning in (answer.causes or {}).items():
        click.echo(f"{say(cause)}: {shown(meaning)}")
    if answer.rows and answer.note is not None:
        click.echo(shown(answer.note))
