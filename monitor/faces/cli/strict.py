"""`--strict-prices`: an answer that holds rounds without a price is a failed check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from pydantic import BaseModel

from monitor.answers.base import Unpriced
from monitor.faces.cli.look import say
from monitor.faces.cli.main import FAILED, fail

_KEY = "strict_prices"


def strict_prices_option(function: Any) -> Any:
    """``--strict-prices``: exit with 1 where something has no price."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.meta[_KEY] = value

    return click.option(
        "--strict-prices",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Exit with 1 when a round that is counted here has no price.",
    )(function)


def check_prices(answer: BaseModel) -> None:
    """End the command where it was asked to be strict and `answer` holds rounds without a price."""
    context = click.get_current_context(silent=True)
    if context is None or not context.meta.get(_KEY):
        return
    found = list(_unpriced(answer))
    if found:
        models = sorted({model for part in found for model in part.models})
        fail(
            FAILED,
            say(
                "no price is known for {models}: `session-monitor prices missing` begins a price file for them",
                models=", ".join(models),
            ),
        )


def _unpriced(part: Any) -> Iterator[Unpriced]:
    if isinstance(part, Unpriced):
        yield part
    elif isinstance(part, BaseModel):
        for value in part.__dict__.values():
            yield from _unpriced(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _unpriced(value)
