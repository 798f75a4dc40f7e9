"""`record` and `reset`: one usage record into a usage log, and one day of them out of every figure."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from monitor.config import load
from monitor.faces.cli.look import say
from monitor.faces.cli.main import FAILED, NOT_FOUND, USAGE, as_json, common, fail, shown
from monitor.faces.jsontext import json_text
from monitor.runtime import Runtime


@click.command("record")
@common
@as_json
@click.option("--model", required=True, help="The model that was called.")
@click.option("--input-tokens", type=int, help="Tokens of the request, those from a cache among them.")
@click.option("--output-tokens", type=int, help="Tokens of the answer, reasoning among them.")
@click.option("--cached-tokens", type=int, help="The part of the input that a cache served.")
@click.option("--cache-write-tokens", type=int, help="The part of the input that a cache took.")
@click.option("--reasoning-tokens", type=int, help="The part of the output that was reasoning.")
@click.option("--function", help="What the call was for.")
@click.option("--user-id", help="For whom.")
@click.option("--session-id", help="The session that it belongs to.")
@click.option("--duration-ms", type=float, help="How long it took.")
@click.option("--failed", is_flag=True, help="The call failed.")
@click.option("--response-id", help="The id of the answer: a call that a log saw as well is then counted once.")
@click.option("--cost", type=float, help="What it cost; else the price lists say it.")
@click.option("--currency", help="Of --cost, such as CNY or USD.")
@click.option("--timestamp", type=float, help="When, in seconds since 1970; else now.")
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="The folder of the usage log.")
def record_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    failed: bool,
    folder: Path | None,
    **fields: Any,
) -> None:
    """Write down one call of a model that no gateway saw.

    Without --dir the record goes into the usage log that is followed, else into one in the data directory.

    \b
    session-monitor record --model qwen-plus --input-tokens 1000 --output-tokens 500 --function live_analysis
    session-monitor record --model gpt-5.4 --input-tokens 800 --output-tokens 90 --dir records/ai_usage --json
    """
    from monitor.sources.usage_log.records import BadRecord, append_records  # noqa: PLC0415 - `reset` needs none

    runtime = Runtime(load(config, data_dir=data_dir), log_paths=[Path(path) for path in log_path])
    files = runtime.usage_files(folder)
    try:
        (record,) = append_records(files, [{**fields, "success": not failed}], runtime.usage_prices().of)
    except BadRecord as error:
        fail(USAGE, str(error).removeprefix("record 1: "))
    except OSError as error:
        fail(FAILED, say("{path} can't be written: {error}", path=files.folder, error=error.strerror or error))
    path = files.path(record["timestamp"])
    if json_:
        click.echo(json_text(record))
        return
    told = record["model"]
    if "total_tokens" in record:
        told += f", {record['total_tokens']:,} {say('tokens')}"
    if "cost" in record:
        told += f", {record['cost']} {record.get('currency', 'CNY')}"
    click.echo(shown(say("recorded in {path}: {told}", path=path, told=told)))


def _day(_: click.Context, __: click.Parameter, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value[:40]!r} is no day: write it as 2026-11-25, or `today`") from None


def _day_or_word(ctx: click.Context, parameter: click.Parameter, value: str) -> date | str:
    return value if value in ("today", "yesterday") else _day(ctx, parameter, value)


@click.command("reset")
@common
@as_json
@click.argument("day", metavar="DATE", callback=_day_or_word)
@click.option("--source", type=click.Path(path_type=Path), help="Only this usage log, of several that are followed.")
def reset_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    day: date | str,
    source: Path | None,
) -> None:
    """Take one day of usage records back out of every figure.

    The day's file is put aside under another name, and brings the day back when it has its own again. What a
    gateway logged stays.

    \b
    session-monitor reset 2026-11-25
    session-monitor reset today --source records/ai_usage
    """
    from monitor.ingest.reset import reset_day  # noqa: PLC0415 - `record` needs none

    runtime = Runtime(load(config, data_dir=data_dir), log_paths=[Path(path) for path in log_path])
    zone = ZoneInfo(runtime.settings.zone)
    if isinstance(day, str):
        from monitor.answers.periods import instant  # noqa: PLC0415

        day = datetime.fromtimestamp(instant(day, zone) / 1000, zone).date()
    followed = [one for one in runtime.sources() if one.kind == "usage"]
    wanted = [one for one in followed if source is None or one.path == source.expanduser().absolute()]
    if not wanted:
        known = ", ".join(str(one.path) for one in followed)
        if source is not None and known:
            fail(NOT_FOUND, say("{path} is not followed; usage logs are: {known}", path=source, known=known))
        fail(NOT_FOUND, say("no usage log is followed: name one with --log-path FOLDER, or in the configuration"))
    with runtime.writing(keep_content=True) if runtime.stores.exists else nullcontext() as store:
        done = reset_day(store, wanted, day, zone)
    if not done:
        fail(NOT_FOUND, say("there are no usage records of {day}", day=day))
    if json_:
        told = [
            {
                "source": str(one.source),
                "rounds": one.rounds,
                **({"aside": [str(path) for path in one.aside]} if one.aside else {}),
            }
            for one in done
        ]
        click.echo(json_text({"day": day.isoformat(), "sources": told}, indent=2))
        return
    for one in done:
        click.echo(
            shown(say("{path}: {n} records of {day} are taken out", path=one.source, n=f"{one.rounds:,}", day=day))
        )
        for path in one.aside:
            click.echo(shown(say("  the file is {path} now", path=path)))
