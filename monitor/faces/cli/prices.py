"""`prices`: what a model costs and where that comes from, which models have no price, newer lists."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from monitor.answers import prices
from monitor.config import load
from monitor.faces.cli.apply import apply_prices
from monitor.faces.cli.ask import opened, print_answer, print_rows
from monitor.faces.cli.look import say
from monitor.faces.cli.main import FAILED, as_csv, as_json, common, fail, shown
from monitor.faces.cli.tables import Column
from monitor.prices.updates import UpdateError
from monitor.runtime import Runtime


class _Asked(NamedTuple):
    """What stands on the command line."""

    data_dir: Path | None
    config: Path | None
    log_path: tuple[str, ...]
    json: bool
    host: str | None = None
    at: str | None = None
    url: str | None = None
    file: Path | None = None
    remove: bool = False
    csv: bool = False


@click.command("prices")
@common
@as_json
@as_csv
@click.argument("model", required=False)
@click.option("--host", help="Who serves the model: a domain such as api.openai.com, or the gateway's name for it.")
@click.option("--at", metavar="TIME", help="The price of another day: 2026-02-01, 2026-02-01T09:00, 30d.")
@click.option("--url", help="With update: fetch from there instead.")
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="With update: take this file instead.")
@click.option("--remove", is_flag=True, help="With update: go back to the list that is installed.")
def prices_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    model: str | None,
    host: str | None,
    at: str | None,
    url: str | None,
    file: Path | None,
    remove: bool,
) -> None:
    """The price of MODEL and its source; without MODEL, of every model in the log.

    `prices missing` lists the models that have no price, with the beginning of an overlay file.
    `prices apply` prices the stored rounds anew.
    `prices update` fetches the list that genai-prices publishes now; nothing else reaches the network.

    \b
    session-monitor prices gpt-5.4
    session-monitor prices deepseek-chat --at 2025-09-01
    session-monitor prices missing
    session-monitor prices update
    """
    asked = _Asked(data_dir, config, log_path, json_, host, at, url, file, remove, csv_)
    run, allowed = _WORDS.get(model or "", (None, {"host", "at"} if model else {"at", "csv"}))
    for option in ("host", "at", "url", "file", "remove", "csv"):
        if getattr(asked, option) and option not in allowed:
            usual = "prices" if option == "csv" else "prices MODEL"
            where = next((f"prices {word}" for word, (_, takes) in _WORDS.items() if option in takes), usual)
            raise click.UsageError(f"--{option} goes with `{where}`")
    if run is not None:
        run(asked)
    elif model is not None:
        _one(asked, model)
    else:
        _all(asked)


def _all(asked: _Asked) -> None:
    runtime = opened(asked.data_dir, asked.config, asked.log_path)
    ask = runtime.asking()
    answer = prices.prices_in_use(ask, runtime.catalog(), asked.at)
    empty = say("The log names no model yet.")
    print_rows(answer, _COLUMNS, answer.rows, json_=asked.json, csv_=asked.csv, empty=empty, ask=ask)


def _one(asked: _Asked, model: str) -> None:
    runtime = opened(asked.data_dir, asked.config, asked.log_path)
    answer = prices.price_of_model(runtime.asking(), runtime.catalog(), model, asked.host, asked.at)
    print_answer(answer, asked.json, lambda: _print_price(answer))


def _missing(asked: _Asked) -> None:
    runtime = opened(asked.data_dir, asked.config, asked.log_path)
    answer = prices.missing_prices(runtime.asking())
    print_answer(answer, asked.json, lambda: click.echo(answer.overlay or "Every model in the log has a price."))


def _apply(asked: _Asked) -> None:
    apply_prices(opened(asked.data_dir, asked.config, asked.log_path), asked.json)


def _update(asked: _Asked) -> None:
    if sum((asked.url is not None, asked.file is not None, asked.remove)) > 1:
        raise click.UsageError("--url, --file and --remove are three ways: give one of them")
    # No log is read for this: what it is about are the rounds from now on.
    folder = Runtime(load(asked.config, data_dir=asked.data_dir)).folder
    try:
        if asked.remove:
            answer = prices.remove_update(folder)
        else:
            answer = prices.update_prices(folder, url=asked.url, file=asked.file)
    except UpdateError as error:
        fail(FAILED, str(error))

    def report() -> None:
        if answer.removed is False:
            click.echo(f"There is no update to remove: {answer.in_use} is in use.")
            return
        what = f", prices of {answer.models:,} models from {shown(answer.origin or '')}" if answer.models else ""
        click.echo(f"In use from now on: {answer.in_use}{what}.")
        click.echo("Stored rounds keep their cost until `session-monitor prices apply`.")

    print_answer(answer, asked.json, report)


#: What can stand in MODEL's place: what it does, and the options that go with it.
_WORDS: dict[str, tuple[Callable[[_Asked], None], set[str]]] = {
    "missing": (_missing, set()),
    "apply": (_apply, set()),
    "update": (_update, {"url", "file", "remove"}),
}


# -- for people -----------------------------------------------------------------------------------

_RULES = {
    "exact": "the name as it stands",
    "alias": "through an alias of yours",
    "normalised": "the name in another spelling: case, prefix, dots or spaces",
    "revision_dropped": "the name without Bedrock's region and revision",
    "latest_dropped": "the name without -latest",
    "date_stripped": "the name without the date of its snapshot",
}


def _print_price(price: prices.ModelPrice) -> None:
    """One price as a list of facts."""
    facts: list[tuple[str, str]] = [("status", price.status)]
    if price.source is None:
        facts.append(("price", "no list has one: `session-monitor prices missing` prints the beginning of your own"))
    elif price.status == "free":
        facts.append(("price", "nothing"))
    elif price.tiers:
        facts += [("price" if index == 0 else "", line) for index, line in enumerate(_bands(price))]
    else:
        facts.append(("price", f"{_rates(price)} per million tokens"))
    for hours in price.hours:
        when = f"{hours.utc} UTC{' from Monday to Friday' if hours.weekdays else ''}"
        facts.append(("", f"at {when}: {_amounts(hours.per_million)}"))
    facts.append(("at", price.at + (f", served by {price.host}" if price.host else "")))
    if price.source is not None:
        facts.append(
            ("found", f"{price.provider or 'any provider'}: {price.matched} ({_RULES[price.rule or 'exact']})")
        )
        facts.append(("list", price.source))
        if price.effective or price.until:
            spans = (price.effective and f"from {price.effective}", price.until and f"until {price.until}")
            facts.append(("holds", " ".join(filter(None, spans))))
    if price.context_window:
        most = f", {price.max_output:,} of them in the answer" if price.max_output else ""
        facts.append(("can take", f"{price.context_window:,} tokens{most}"))
    if price.evidence:
        facts.append(("figures", price.evidence + (f" (checked {price.checked})" if price.checked else "")))
    facts.append(("version", price.version))
    click.echo(shown(price.model))
    for name, text in facts:
        head, *rest = textwrap.wrap(shown(text), 100, break_long_words=False, break_on_hyphens=False) or [""]
        click.echo(f"  {name:<9}{head}")
        for line in rest:
            click.echo(f"  {'':<9}{line}")


def _bands(price: prices.ModelPrice) -> list[str]:
    if len(price.tiers) == 1:
        return [f"{price.currency} {_amounts(price.tiers[0].per_million)} per million tokens"]
    lines = [f"{price.currency} per million tokens, by the length of the whole round"]
    for band in price.tiers:
        bounds = [
            f"{bound:,} {what}"
            for bound, what in ((band.up_to_input, "input"), (band.up_to_output, "output"))
            if bound is not None
        ]
        lines.append(f"{'up to ' + ' and '.join(bounds) if bounds else 'above'}: {_amounts(band.per_million)}")
    return lines


def _sources(row: prices.PriceRow) -> str:
    if not row.applied:
        return row.source or "no list has a price for it"
    return "\n".join((row.source or "by its name alone: no price", *(f"its rounds: {one}" for one in row.applied)))


def _rates(row: prices.PriceRow) -> str:
    if row.per_million is None:
        return "-"
    each = f", {row.per_request:g} a request" if row.per_request else ""
    amounts = f"{_amounts(row.per_million)}{each}"
    return f"{row.currency} {amounts}" if row.currency else amounts


def _amounts(rates: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {rate:g}" for name, rate in rates.items())


_COLUMNS: list[Column[prices.PriceRow]] = [
    Column("model", "model", "text", lambda r: r.model, wish=32),
    Column("status", "state", "text", lambda r: r.status, 4),
    Column("per_million", "per million tokens", "text", _rates, wish=40),
    Column("source", "source", "text", _sources, 2, wish=40),
]
