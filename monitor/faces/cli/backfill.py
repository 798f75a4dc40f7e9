"""`backfill`: what the gateway's log lost is counted from OpenClaw's transcripts. It is shown first."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.answers.backfill import Backfill, FilledDay, backfill
from monitor.config import ConfigError, check_allowed, is_openclaw, openclaw_folders
from monitor.faces.cli.ask import opened, print_rows
from monitor.faces.cli.look import say
from monitor.faces.cli.main import FAILED, as_csv, as_json, common, fail, shown
from monitor.faces.cli.options import period_options
from monitor.faces.cli.tables import Column, on_a_line, text_of


@click.command("backfill")
@common
@as_json
@as_csv
@period_options
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="OpenClaw's state folder, one that no source reads (~/.openclaw).",
)
@click.option("--past-gateway", is_flag=True, help="Also calls of models that the gateway never saw in this time.")
@click.option("--apply", is_flag=True, help="Do it. Without this it is only shown what would be added.")
def backfill_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    csv_: bool,
    days: int | None,
    since: str | None,
    until: str | None,
    folder: Path | None,
    past_gateway: bool,
    apply: bool,
) -> None:
    """Count what the gateway's log lost from transcripts; the last 30 days unless said otherwise.

    \b
    session-monitor backfill --from ~/.openclaw
    session-monitor backfill --from ~/.openclaw --since 2026-11-20 --until 2026-11-22 --apply
    """
    runtime = opened(data_dir, config, log_path)
    place = check_allowed(_folder(folder), runtime.settings.privacy.allowed_paths)
    followed = [source.path for source in runtime.sources() if source.kind == "openclaw"]
    found = backfill(
        runtime.asking(),
        runtime.catalog(),
        place,
        followed,
        since=since,
        until=until,
        days=days,
        past_gateway=past_gateway,
        done=apply,
    )
    if apply and found.rounds:
        from filelock import Timeout  # noqa: PLC0415 - only where something is stored

        try:
            with runtime.adding() as store:
                for batch in found.batches():
                    store.add(batch)
        except Timeout:
            fail(FAILED, say("another process of this node writes into the fleet's store: stop it, and try again"))
    answer = found.answer
    columns: list[Column[FilledDay]] = [
        Column("date", "date", "text", lambda row: row.date),
        Column("cause", "cause", "text", lambda row: say(row.cause), 1),
        Column("sessions", "sessions", "count", lambda row: row.sessions, 3),
        Column("rounds", "rounds", "count", lambda row: row.rounds),
        Column("input_tokens", "input", "count", lambda row: row.input_tokens),
        Column("output_tokens", "output", "count", lambda row: row.output_tokens),
        Column("cost", "cost", "money", lambda row: row.cost),
    ]
    empty = answer.note or say("Nothing to fill in.")
    print_rows(answer, columns, answer.days, json_=json_, csv_=csv_, empty=empty, ask=runtime.asking())
    if not json_ and not csv_:
        _summary(answer)


def _folder(named: Path | None) -> Path:
    if named is None:
        found = openclaw_folders()
        if not found:
            raise ConfigError("backfill: no state folder of OpenClaw was found here; name it with --from FOLDER")
        return found[0]
    named = named.expanduser()
    if not is_openclaw(named):
        raise ConfigError(f"--from {named}: this is no state folder of OpenClaw, which has a folder agents in it")
    return named


def _summary(answer: Backfill) -> None:
    text = "{rounds} rounds would be added: {input} input, {output} output, {cost}. Add --apply to do it."
    if answer.done:
        text = "{rounds} rounds were added: {input} input, {output} output, {cost}."
    if answer.rounds:
        click.echo(
            say(
                text,
                rounds=f"{answer.rounds:,}",
                input=text_of("count", answer.input_tokens),
                output=text_of("count", answer.output_tokens),
                cost=on_a_line(answer.cost),
            )
        )
        if answer.note is not None:
            click.echo(shown(answer.note))
    click.echo(say("{n} calls of these transcripts are counted already", n=f"{answer.counted_already:,}"), err=True)
    for count, why in (
        (answer.past_gateway, "{n} were left out: the gateway never saw their model (--past-gateway adds them)"),
        (answer.without_id, "{n} were left out: they have no response id by which a line could be told as theirs"),
        (answer.without_counts, "{n} were left out: they have no counts"),
    ):
        if count:
            click.echo(say(why, n=f"{count:,}"), err=True)
