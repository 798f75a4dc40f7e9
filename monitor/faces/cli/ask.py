"""Questions at the prompt: `list`, `show`, `stats-model`, `stats-date`, `url`, `doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from monitor.answers import documents, health, links, sessions, stats
from monitor.answers.base import Answer, Asking, NotFound
from monitor.answers.rounds import each_round
from monitor.config import ConfigError, load
from monitor.faces.cli.main import FAILED, as_json, common, fail, json_text, shown
from monitor.runtime import Runtime
from monitor.session_keys import without_additions
from monitor.store.base import StoreError

#: Reading less than this takes no time that anybody notices.
_WORTH_A_WORD = 50_000_000


def opened(data_dir: Path | None, config: Path | None, log_path: Sequence[str]) -> Runtime:
    """The store, with what the logs hold now: where no other process reads them, this one does first."""
    from filelock import Timeout  # noqa: PLC0415

    runtime = Runtime(load(config, data_dir=data_dir), log_paths=[Path(path) for path in log_path])
    piped = "-" in log_path
    if not runtime.has_logs() or (runtime.ingester_alive() and not piped):
        return runtime
    # Always a pass, whatever the sizes say: a file may have been rotated, or replaced by one of its size.
    unread = runtime.unread_bytes()
    if unread > _WORTH_A_WORD:
        click.echo(f"reading {unread:,} bytes of log first", err=True)
    try:
        with runtime.ingesting() as ingester:
            ingester.once()
    except Timeout:
        if piped:
            fail(FAILED, "standard input can't be read while another process ingests: name another --data-dir")
    except (OSError, StoreError, ConfigError) as error:
        click.echo(f"session-monitor: the logs were not read: {error}", err=True)
    return runtime


def print_answer(answer: Answer, json_: bool, table: Callable[[], None]) -> None:
    if json_:
        click.echo(json_text(answer.small(), indent=2))
    else:
        table()
        _say_if_late(answer.as_of, answer.behind_bytes)


def _say_if_late(as_of: str | None, behind_bytes: int | None) -> None:
    if behind_bytes:
        click.echo(f"{behind_bytes:,} bytes of log are not read: this is as of {as_of or 'before them'}", err=True)


@click.command("list")
@common
@as_json
@click.option("--sort-by", type=click.Choice(["cost", "updated", "created", "tokens", "rounds"]), default="updated")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--since", metavar="TIME", help="2026-02-01, 2026-02-01T09:00, today, 7d, 12h.")
@click.option("--until", metavar="TIME")
@click.option("--model")
@click.option("--consumer")
@click.option("--search", help="Part of an id, consumer, model or first question.")
def list_command(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool, **query: Any
) -> None:
    """Sessions with their tokens and cost.

    \b
    session-monitor list --sort-by cost --limit 10
    """
    ask = opened(data_dir, config, log_path).asking()
    answer = sessions.list_sessions(ask, **query)

    def table() -> None:
        print_table(
            ("session", "model", "rounds", "tokens", "cost", "updated"),
            [
                (
                    s.session_id,
                    s.model or "-",
                    s.messages_count,
                    _n(s.total_tokens),
                    _cost(s.cost),
                    _when(s.updated_at, ask),
                )
                for s in answer.sessions
            ],
            "No session matches."
            if any(query[name] for name in ("since", "until", "model", "consumer", "search"))
            else "No session yet: session-monitor doctor says what is missing.",
        )

    print_answer(answer, json_, table)


@click.command("show")
@common
@as_json
@click.argument("session_id")
@click.option("--rounds", type=click.IntRange(1), help="Only the newest N rounds.")
@click.option("--no-content", is_flag=True, help="Leave out what was said.")
@click.option(
    "--messages",
    type=click.Choice(["full", "new"]),
    default="full",
    show_default=True,
    help="With --json: each round's complete messages, or only those that it added.",
)
def show_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    session_id: str,
    rounds: int | None,
    no_content: bool,
    messages: str,
) -> None:
    """One session with its rounds. A part of its id is enough where only one session has it.

    \b
    session-monitor show agent:main:main --json
    """
    ask = opened(data_dir, config, log_path).asking()
    name = _whole_id(ask, session_id)
    session = sessions.get_session(ask, name)
    if json_:
        # Streamed: a session may have any number of rounds.
        document = json_text(documents.head(session), indent=2)
        click.echo(document[: document.rindex("\n}")] + ',\n  "rounds": [', nl=False)
        each = documents.rounds(ask, name, newest=rounds, content=not no_content, new_only=messages == "new")
        for index, document_round in enumerate(each):
            click.echo((",\n    " if index else "\n    ") + json_text(document_round), nl=False)
        click.echo("\n  ]\n}")
        return
    click.echo(
        f"{shown(name)}\n  {session.messages_count} rounds, {_n(session.total_tokens)} tokens, "
        f"{_on_a_line(session.cost)}\n  {session.url}"
    )
    for row in each_round(ask, name, content=not no_content, new_only=True, newest=rounds):
        mark = "" if row.success else f"  FAILED {row.status if row.status is not None else ''}"
        click.echo(
            f"\n#{row.round}  {row.timestamp or '-'}  {shown(row.model or '-')}  {_n(row.input_tokens)} in, "
            f"{_n(row.output_tokens)} out  {_on_a_line(row.cost)}{mark}"
        )
        for label, value in (("Q", row.question), ("R", row.reasoning), ("A", row.answer), ("T", row.tool_calls)):
            if value:
                text = without_additions(_text(value)) if label == "Q" else _text(value)
                click.echo(f"  {label}: {shown(text)}")
    _say_if_late(session.as_of, session.behind_bytes)


def _whole_id(ask: Asking, part: str) -> str:
    if ask.store.session(part) is not None:
        return part
    found = ask.store.names_with(part, 5)
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{part[:100]!r} is part of several sessions: {', '.join(found)}")
    sessions.find(ask, part)  # says what is near
    return part


_PERIOD = (
    click.option("--days", type=click.IntRange(1), help="Last N days, today included."),
    click.option("--since", metavar="TIME"),
    click.option("--until", metavar="TIME"),
)


def _period(function: Any) -> Any:
    for option in reversed(_PERIOD):
        function = option(function)
    return function


@click.command("stats-model")
@common
@as_json
@_period
def stats_model_command(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool, **period: Any
) -> None:
    """Tokens and cost by model, all time unless a period is given."""
    answer = stats.stats_by_model(opened(data_dir, config, log_path).asking(), **period)

    def table() -> None:
        print_table(
            ("model", "sessions", "rounds", "input", "output", "cached", "cost", "ok"),
            [
                (
                    r.model,
                    _n(r.sessions),
                    _n(r.rounds),
                    _n(r.input_tokens),
                    _n(r.output_tokens),
                    _n(r.cached_tokens),
                    _cost(r.cost),
                    _percent(r.success_rate),
                )
                for r in answer.rows
            ],
            "Nothing was counted in this period.",
        )

    print_answer(answer, json_, table)


@click.command("stats-date")
@common
@as_json
@_period
@click.option("--bucket", type=click.Choice(["hour", "day", "month"]), default="day", show_default=True)
@click.option("--timezone", metavar="ZONE", help="Zone in which days begin, such as Asia/Shanghai.")
def stats_date_command(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool, **query: Any
) -> None:
    """Tokens and cost by hour, day or month, all time unless a period is given."""
    answer = stats.stats_by_date(opened(data_dir, config, log_path).asking(), **query)

    def table() -> None:
        print_table(
            ("date", "sessions", "rounds", "input", "output", "cost", "ok"),
            [
                (
                    r.date or r.hour or r.month or "no time",
                    _n(r.sessions),
                    _n(r.rounds),
                    _n(r.input_tokens),
                    _n(r.output_tokens),
                    _cost(r.cost),
                    _percent(r.success_rate),
                )
                for r in answer.rows
            ],
            "Nothing was counted in this period.",
        )

    print_answer(answer, json_, table)


@click.command("url")
@common
@as_json
@click.argument("session_id")
def url_command(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool, session_id: str
) -> None:
    """The link to a session's page."""
    runtime = opened(data_dir, config, log_path)
    ask = runtime.asking()
    answer = links.session_url(ask, _whole_id(ask, session_id), reachable=runtime.page_is_served)
    print_answer(answer, json_, lambda: click.echo(answer.url))
    if answer.note and not json_:
        click.echo(answer.note, err=True)


@click.command("doctor")
@common
@as_json
@click.pass_context
def doctor_command(
    ctx: click.Context, data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], json_: bool
) -> None:
    """What is read, what was skipped and why, what is missing, what to do. Exits 1 when something needs doing."""
    runtime = opened(data_dir, config, log_path)
    runtime.catalog()  # what is wrong with price files is told as well
    answer = health.source_health(runtime.asking(), runtime.standing(), samples=True)

    def report() -> None:
        click.echo(
            f"{_n(answer.rounds)} rounds in {_n(answer.sessions)} sessions, read up to {answer.as_of or 'nothing yet'}"
        )
        for source in answer.sources:
            size = (
                f"{_n(source.size_bytes)} bytes, {_n(source.pending_bytes or 0)} unread" if source.exists else "absent"
            )
            click.echo(f"{shown(source.path)}: {size}")
            for reason, count in (source.skipped or {}).items():
                click.echo(f"  {_n(count)} lines skipped: {reason}")
                sample = (source.samples or {}).get(reason)
                if sample:
                    click.echo(f"    such as: {shown(sample)[:200]}")
            for problem in source.problems:
                click.echo(f"  {shown(problem)}")
        for advice in answer.advice:
            click.echo(f"- {shown(advice)}")

    print_answer(answer, json_, report)
    if not answer.ok:
        ctx.exit(FAILED)


#: Columns that make no sense when they are folded.
_WHOLE = frozenset(("rounds", "tokens", "sessions", "input", "output", "cached", "cost", "ok", "updated", "date"))
#: Width of a table that goes into a file or another program.
_WIDE = 200

# -- tables ---------------------------------------------------------------------------------------


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.box import SIMPLE  # noqa: PLC0415 - JSON output needs no tables
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE, pad_edge=False)
    numbers = {"rounds", "tokens", "cost", "sessions", "input", "output", "cached", "ok"}
    for name in head:
        number = name in numbers
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=name in _WHOLE)
    for row in rows:
        table.add_row(*(Text(shown(str(cell))) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    console.print(table)


def _text(value: Any) -> str:
    """What was said, for people: the texts of a list of parts, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = [part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str)]
        if texts:
            return "\n".join(texts)
    return json.dumps(value, ensure_ascii=False)


def _when(time: str | None, ask: Asking) -> str:
    """A time in the zone of the one who looks, to the minute."""
    return "-" if time is None else f"{datetime.fromisoformat(time).astimezone(ask.zone):%Y-%m-%d %H:%M}"


def _n(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _cost(cost: dict[str, float] | None) -> str:
    """One currency a line, so that a narrow table can hold two."""
    if cost is None:
        return "-"
    return "\n".join(f"{currency} {value:,.6f}".rstrip("0").rstrip(".") for currency, value in cost.items())


def _on_a_line(cost: dict[str, float] | None) -> str:
    return _cost(cost).replace("\n", " + ")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
