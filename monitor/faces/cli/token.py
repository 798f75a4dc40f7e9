"""`token`: who is let in over HTTP, and to what."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from monitor.access.tokens import Token, Tokens
from monitor.answers.base import rfc3339
from monitor.config import load
from monitor.faces.cli.look import say
from monitor.faces.cli.main import NOT_FOUND, as_json, common, fail
from monitor.faces.cli.tables import Column, print_table
from monitor.faces.jsontext import json_text

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


class _Span(click.ParamType[int]):
    """``30d``, ``12h`` or ``2w`` as seconds."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is no span of time: use 12h, 30d or 8w", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.group("token")
def token_command() -> None:
    """Tokens that open the page, the API and MCP over HTTP; with a scope, some sessions only."""


def _tokens(data_dir: Path | None, config: Path | None) -> Tokens:
    return Tokens(load(config, data_dir=data_dir).data_dir.expanduser().absolute())


@token_command.command("create")
@common
@as_json
@click.option(
    "--scope", multiple=True, metavar="PATTERN", help="Only sessions whose id matches, e.g. 'agent:main:*'. Repeatable."
)
@click.option("--content", is_flag=True, help="With --scope: open what was said too, not only figures.")
@click.option("--expires", type=_Span(), metavar="SPAN", help="When it ends: 12h, 30d, 8w from now.")
@click.option("--note", metavar="TEXT", help="Who it is for.")
def create_command(
    data_dir: Path | None,
    config: Path | None,
    json_: bool,
    scope: tuple[str, ...],
    content: bool,
    expires: int | None,
    note: str | None,
    **_: object,
) -> None:
    """Make a token and print it, once. Without --scope it opens everything.

    \b
    session-monitor token create --scope 'agent:main:*' --expires 30d
    """
    if content and not scope:
        raise click.UsageError("--content goes with --scope: a token without a scope opens everything anyway")
    if any(not pattern or len(pattern) > 300 for pattern in scope):
        raise click.UsageError("--scope: name a session id, or a pattern such as 'agent:main:*'")
    tokens = _tokens(data_dir, config)
    made, secret = tokens.create(scope=scope or None, content=content, lasts_s=expires, note=note and note[:200])
    if json_:
        click.echo(json_text({"token": secret, **_row(made)}))
        return
    click.echo(secret)
    click.echo(f"This is token {made.id}; it opens {_opens(made)} and is not shown again.", err=True)


@token_command.command("list")
@common
@as_json
def list_command(data_dir: Path | None, config: Path | None, json_: bool, **_: object) -> None:
    """The tokens that were made, without what only their holders know.

    \b
    session-monitor token list
    """
    made = _tokens(data_dir, config).all()
    if json_:
        click.echo(json_text({"tokens": [_row(token) for token in made]}))
        return
    columns: list[Column[Token]] = [
        Column("id", "id", "text", lambda token: token.id),
        Column("opens", "opens", "text", _opens),
        Column("made", "made", "text", lambda token: _time(token.created_at), 2),
        Column("ends", "ends", "text", _end),
        Column("note", "note", "text", lambda token: token.note or "-", 3),
    ]
    print_table(columns, made, say("There is no token yet: `session-monitor token create` makes one."))


@token_command.command("revoke")
@common
@click.argument("token_id", metavar="ID")
def revoke_command(data_dir: Path | None, config: Path | None, token_id: str, **_: object) -> None:
    """Take a token back; who was logged in with it is out at once.

    \b
    session-monitor token revoke 1a2b3c4d
    """
    if not _tokens(data_dir, config).revoke(token_id):
        fail(NOT_FOUND, f"there is no token {token_id[:60]!r}: `session-monitor token list` shows them")
    click.echo(f"revoked {token_id}", err=True)


def _opens(token: Token) -> str:
    if token.scope is None:
        return "everything"
    return f"{'figures and content' if token.content else 'figures'} of {', '.join(token.scope)}"


def _time(seconds: int) -> str:
    return rfc3339(seconds * 1000)


def _end(token: Token) -> str:
    if token.expires_at is None:
        return "never"
    return f"{_time(token.expires_at)}{' (over)' if token.expired(time.time()) else ''}"


def _row(token: Token) -> dict[str, object]:
    row = {
        "id": token.id,
        "scope": None if token.scope is None else list(token.scope),
        "content": token.scope is None or token.content,
        "created_at": _time(token.created_at),
        "expires_at": None if token.expires_at is None else _time(token.expires_at),
        "note": token.note,
    }
    return {name: value for name, value in row.items() if value is not None}
