"""`prices`: what a model costs and where that comes from, and which models have no price."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.answers import prices
from monitor.faces.cli.apply import apply_prices
from monitor.faces.cli.ask import opened, print_answer, print_table
from monitor.faces.cli.main import as_json, common, shown


@click.command("prices")
@common
@as_json
@click.argument("model", required=False)
@click.option("--host", help="Who serves the model: a domain such as api.openai.com, or the gateway's name for it.")
def prices_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    model: str | None,
    host: str | None,
) -> None:
    """The price of MODEL and its source; without MODEL, of every model in the log.

    `prices missing` lists the models that have no price, with the beginning of an overlay file.

    \b
    session-monitor prices gpt-5.4
    session-monitor prices missing
    """
    runtime = opened(data_dir, config, log_path)
    ask = runtime.asking()
    if model == "apply":
        apply_prices(runtime, json_)
        return
    if model == "missing":
        missing = prices.missing_prices(ask)
        print_answer(missing, json_, lambda: click.echo(missing.overlay or "Every model in the log has a price."))
        return
    if model is not None:
        one = prices.price_of_model(ask, runtime.catalog(), model, host)
        print_answer(one, json_, lambda: _print_rows([one]))
        return
    answer = prices.prices_in_use(ask, runtime.catalog())
    print_answer(answer, json_, lambda: _print_rows(answer.rows))


def _print_rows(rows: list[prices.PriceRow] | list[prices.ModelPrice]) -> None:
    print_table(
        ("model", "status", "per million tokens", "source"),
        [(row.model, row.status, _rates(row), shown(row.source or "no list has a price for it")) for row in rows],
        "The log names no model yet.",
    )


def _rates(row: prices.PriceRow) -> str:
    if row.per_million is None:
        return "-"
    rates = ", ".join(f"{name.replace('_', ' ')} {rate:g}" for name, rate in row.per_million.items())
    return f"{row.currency} {rates}" if row.currency else rates
