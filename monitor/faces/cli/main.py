"""The command `session-monitor`: options, exit codes, and nothing that reaches a user as a traceback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from monitor import __version__
from monitor.config import ConfigError
from monitor.faces.cells import visible

OK, FAILED, USAGE, NOT_FOUND, UNREADABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Commands(click.Group):
    """Loads a command's module when the command is used, so that `--help` and `serve` start fast."""

    _where = {
        "serve": "serve",
        "ingest": "ingest",
        "watch": "watch",
        "list": "lists",
        "show": "show",
        "stats-model": "stats",
        "stats-date": "stats",
        "stats-by": "stats",
        "overview": "glance",
        "compare": "glance",
        "anomalies": "glance",
        "reconcile": "reconcile",
        "backfill": "backfill",
        "export": "export",
        "url": "ask",
        "doctor": "doctor",
        "prune": "retention",
        "archive": "retention",
        "prices": "prices",
        "budget": "budget",
        "record": "usage",
        "reset": "usage",
        "demo": "demo",
        "schema": "schema",
        "completion": "completion",
        "skill": "skill",
        "service": "service",
        "token": "token",
        "store": "store",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands."""
        return list(self._where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, its module imported now."""
        if cmd_name not in self._where:
            return None
        from importlib import import_module  # noqa: PLC0415

        module = import_module(f"monitor.faces.cli.{self._where[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_") + "_command")
        return command


def common(function: Any) -> Any:
    """The options that every command takes."""
    from monitor.faces.cli.look import look_options  # noqa: PLC0415 - it needs this module's words

    for option in (
        look_options,
        click.option(
            "--log-path",
            multiple=True,
            metavar="PATH",
            help="Access log to follow; with its rotated files. Can be given several times.",
        ),
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings (TOML)."),
        click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where figures are kept."),
    ):
        function = option(function)
    return function


def as_json(function: Any) -> Any:
    """``--json``, for commands that print an answer."""
    return click.option("--json", "json_", is_flag=True, help="Print the answer as JSON.")(function)


def as_csv(function: Any) -> Any:
    """``--csv``, for commands that print a table; after `as_json`."""
    return click.option("--csv", "csv_", is_flag=True, help="Print the table as CSV, with all columns.")(function)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="session-monitor")
def cli() -> None:
    """What AI agent conversations behind a Higress gateway cost, from its access log."""


def fail(code: int, message: str) -> NoReturn:
    """Say what is wrong on standard error and end with `code`."""
    click.echo(f"session-monitor: {shown(message)}", err=True)
    sys.exit(code)


def shown(text: str) -> str:
    """Log text that can't steer a terminal: control and formatting characters are shown, not obeyed."""
    return visible(text)


def on_one_line(text: str) -> str:
    """The same for a name that has one line to itself: it can't make up further ones."""
    return visible(text, keep="")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; the process ends with one of the documented exit codes."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="session-monitor: %(message)s")
    try:
        code = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        if sys.stdout is not None:  # it is where the caller closed it
            sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else OK)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OK)
    except ConfigError as error:
        fail(USAGE, str(error))
    except Exception as error:
        _explain(error)


def _explain(error: Exception) -> NoReturn:
    """Known failures by their own words; others by name, with the way to the details."""
    from monitor.answers.errors import BadQuestion, NotFound  # noqa: PLC0415
    from monitor.prices.overlay import PriceFileError  # noqa: PLC0415
    from monitor.store.base import StoreError, UnknownCursor  # noqa: PLC0415

    if os.environ.get("SESSION_MONITOR_DEBUG"):
        raise error
    if isinstance(error, NotFound):
        # Answers name the tool that an agent has; at the prompt that is a command.
        fail(NOT_FOUND, str(error).replace("list_sessions shows", "`session-monitor list` shows"))
    if isinstance(error, BadQuestion | UnknownCursor | PriceFileError):
        fail(USAGE, str(error))
    if isinstance(error, StoreError):
        fail(FAILED, str(error))
    fail(FAILED, f"{type(error).__name__}: {error} (set SESSION_MONITOR_DEBUG=1 for the details)")
