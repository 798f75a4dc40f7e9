"""How output looks: its language, and whether it has colour."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

import click

from monitor.faces.words import LANGUAGES, Words, language_of

if TYPE_CHECKING:
    from rich.console import Console

#: Width of what goes into a file or another program, where COLUMNS does not say it.
_WIDE = 200
_LANGUAGE, _PLAIN = "monitor.language", "monitor.plain"


def _kept(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            ctx.meta[name] = value

    return keep


def look_options(function: Any) -> Any:
    """``--lang`` and ``--no-color``; commands need not take them as arguments."""
    for option in (
        click.option(
            "--no-color", is_flag=True, expose_value=False, callback=_kept(_PLAIN), help="No colour (as NO_COLOR=1)."
        ),
        click.option(
            "--lang",
            type=click.Choice(LANGUAGES),
            expose_value=False,
            callback=_kept(_LANGUAGE),
            help="Language of the output; else SESSION_MONITOR_LANG or LANG decides.",
        ),
    ):
        function = option(function)
    return function


def words() -> Words:
    """The words of the language that was asked for."""
    return Words(_asked(_LANGUAGE) or language_of(os.environ))


def say(text: str, **values: object) -> str:
    """`text` in the language that was asked for, with `values` put in."""
    return words()(text, **values)


def console(stream: IO[str] | None = None) -> Console:
    """What tables are printed with, as wide as the terminal; wide enough for anything where there is none."""
    from rich.console import Console  # noqa: PLC0415 - JSON output needs no tables

    made = Console(file=stream, no_color=True if _asked(_PLAIN) else None, highlight=False, emoji=False, markup=False)
    if not made.is_terminal and not os.environ.get("COLUMNS", "").isdecimal():
        made = Console(file=stream, width=_WIDE, no_color=made.no_color, highlight=False, emoji=False, markup=False)
    return made


def colored(stream: IO[str] | None = None) -> bool:
    """Whether `stream`, standard output by default, is shown in colour."""
    if _asked(_PLAIN) or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and (stream or sys.stdout).isatty()


def styled(text: str, **style: Any) -> str:
    """`text` in colour where there is any."""
    return click.style(text, **style) if colored() else text


def _asked(name: str) -> Any:
    ctx = click.get_current_context(silent=True)
    return None if ctx is None else ctx.meta.get(name)
