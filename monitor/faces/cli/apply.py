"""`prices apply`: the rounds that are stored get the prices of now."""

from __future__ import annotations

import click

from monitor.answers import repricing
from monitor.answers.amounts import money
from monitor.faces.cli.ask import print_answer
from monitor.faces.cli.look import say
from monitor.faces.cli.main import NOT_FOUND, fail, shown
from monitor.faces.cli.progress import progress
from monitor.runtime import Runtime


def apply_prices(runtime: Runtime, json_: bool) -> None:
    """Price every stored round anew at its own date; may be interrupted and run again."""
    ask = runtime.asking()
    rounds = sum(part.counts.rounds for part in ask.store.slices())
    if not rounds:
        fail(NOT_FOUND, f"{runtime.folder}: no round is stored yet, so there is nothing to price anew")
    with progress(say("pricing anew"), rounds, "rounds") as done:
        answer = repricing.applied_prices(ask, runtime.catalog().version, lambda: runtime.repriced(done))

    def report() -> None:
        click.echo(f"{answer.changed:,} of {answer.rounds:,} rounds have another price now")
        click.echo(f"  before  {money(answer.before)}")
        click.echo(f"  now     {money(answer.after)}")
        if answer.unpriced is not None:
            click.echo(f"  {answer.unpriced.rounds:,} rounds have no price: session-monitor prices missing")
        click.echo(f"  {shown(answer.version)}")
        if answer.note:
            click.echo(answer.note, err=True)

    print_answer(answer, json_, report)
