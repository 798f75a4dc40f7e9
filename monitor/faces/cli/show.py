"""`show`: one session with its rounds and what was said in them."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from monitor.answers import documents, sessions
from monitor.answers.base import Asking
from monitor.answers.rounds import each_round
from monitor.answers.sessions import RoundRow, Session
from monitor.faces.cli.ask import opened, say_if_late, whole_id
from monitor.faces.cli.look import colored, say, styled
from monitor.faces.cli.main import as_json, common, on_one_line, shown
from monitor.faces.cli.strict import check_prices, strict_prices_option
from monitor.faces.cli.tables import on_a_line, text_of
from monitor.faces.jsontext import pieces
from monitor.session_keys import without_additions


@click.command("show")
@common
@strict_prices_option
@as_json
@click.argument("session_id")
@click.option("--rounds", type=click.IntRange(1), metavar="N", help="Only the newest N rounds.")
@click.option("--no-content", is_flag=True, help="Leave out what was said.")
@click.option(
    "--messages",
    type=click.Choice(["full", "new"]),
    default="full",
    show_default=True,
    help="With --json: each round's complete messages, or only those that it added.",
)
@click.option("--subagents", is_flag=True, help="What it cost with the sessions that it started.")
@click.option("--no-pager", is_flag=True, help="Print long sessions at once, on a terminal too.")
def show_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    session_id: str,
    rounds: int | None,
    no_content: bool,
    messages: str,
    subagents: bool,
    no_pager: bool,
) -> None:
    """One session with its rounds. A part of its id is enough where only one session has it.

    \b
    session-monitor show agent:main:main
    session-monitor show agent:main:main --rounds 3 --no-content
    session-monitor show agent:main:main --json
    """
    ask = opened(data_dir, config, log_path).asking()
    name = whole_id(ask, session_id)
    session = sessions.get_session(ask, name, include_subagents=subagents)
    if json_:
        told = documents.rounds(ask, name, newest=rounds, content=not no_content, new_only=messages == "new")
        for piece in pieces(documents.head(session), told):
            click.echo(piece, nl=False)
        check_prices(session)
        return
    rows = each_round(ask, name, content=not no_content, new_only=True, newest=rounds)
    _print(itertools.chain(_head(session, name, ask), *(_round(row, ask) for row in rows)), no_pager)
    say_if_late(session)
    check_prices(session)


def _print(lines: Iterator[str], no_pager: bool) -> None:
    """Print `lines`; through a pager where they are more than a terminal shows."""
    if no_pager or not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in lines:
            click.echo(line, color=colored())
        return
    width, height = shutil.get_terminal_size()
    first: list[str] = []
    used = 0
    for line in lines:
        first.append(line)
        used += sum(1 + len(part) // width for part in line.split("\n"))
        if used >= height:
            whole = (f"{line}\n" for line in itertools.chain(first, lines))
            click.echo_via_pager(whole, color=colored())
            return
    for line in first:
        click.echo(line, color=colored())


def _head(session: Session, name: str, ask: Asking) -> Iterator[str]:
    yield styled(on_one_line(name), bold=True)
    tokens = text_of("count", session.total_tokens)
    rounds = text_of("count", session.messages_count)
    yield "  " + say(
        "{rounds} rounds, {tokens} tokens, {cost}", rounds=rounds, tokens=tokens, cost=on_a_line(session.cost)
    )
    counts = (
        ("input {number}", session.total_input_tokens),
        ("from the cache {number}", session.total_cached_tokens),
        ("output {number}", session.total_output_tokens),
        ("reasoning {number}", session.total_reasoning_tokens),
    )
    parts = [say(text, number=f"{number:,}") for text, number in counts if number is not None]
    if session.subagents is not None:
        whole = session.subagents.together
        yield "  " + say(
            "with {count} sub-agents: {rounds} rounds, {tokens} tokens, {cost}",
            count=f"{session.subagents.count:,}",
            rounds=f"{whole.rounds:,}",
            tokens=text_of("count", whole.total_tokens),
            cost=on_a_line(whole.cost),
        )
    yield "  " + ", ".join(parts)
    begun, updated = (text_of("time", time, ask.zone) for time in (session.created_at, session.updated_at))
    yield f"  {begun} – {updated}"
    if session.failed_rounds:
        yield "  " + styled(say("failed rounds: {number}", number=f"{session.failed_rounds:,}"), fg="red")
    if session.unpriced is not None:
        models = ", ".join(on_one_line(model) for model in session.unpriced.models)
        yield "  " + say("rounds without a price: {number} ({models})", number=session.unpriced.rounds, models=models)
    yield f"  {shown(session.url or '')}"


def _round(row: RoundRow, ask: Asking) -> Iterator[str]:
    counts = say(
        "{input} in, {output} out", input=text_of("count", row.input_tokens), output=text_of("count", row.output_tokens)
    )
    for text, number in (("{number} cached", row.cached_tokens), ("{number} reasoning", row.reasoning_tokens)):
        if number:
            counts += ", " + say(text, number=text_of("count", number))
    line = (
        f"#{row.round}  {_second(row.timestamp, ask)}  {on_one_line(row.model or '-')}  {counts}  {on_a_line(row.cost)}"
    )
    if row.latency_ms is not None:
        line += f"  {row.latency_ms / 1000:.1f} s"
    mark = (
        ""
        if row.success
        else "  " + styled(f"{say('FAILED')} {row.status if row.status is not None else ''}", fg="red")
    )
    yield f"\n{styled(line, bold=True)}{mark}"
    for label, value in (("Q", row.question), ("R", row.reasoning), ("A", row.answer), ("T", row.tool_calls)):
        if value:
            text = _text(value)
            text = without_additions(text) if label == "Q" else text
            yield f"  {styled(say(label) + ':', fg='cyan')} {shown(text)}"


def _second(time: str | None, ask: Asking) -> str:
    return "-" if time is None else f"{datetime.fromisoformat(time).astimezone(ask.zone):%Y-%m-%d %H:%M:%S}"


def _text(value: Any) -> str:
    """What was said, for people: the texts of a list of parts, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = [part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str)]
        if texts:
            return "\n".join(texts)
    return json.dumps(value, ensure_ascii=False)
