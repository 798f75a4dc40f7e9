"""Progress of long work on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import click

from monitor.faces.cli.look import console, say

if TYPE_CHECKING:
    from monitor.ingest import Ingester

Unit = Literal["bytes", "sessions", "rounds"]

#: Reading less than this takes no time that anybody notices.
_WORTH_A_BAR = 50_000_000
#: How often a line is written where there is no terminal.
_LINE_EVERY_S = 10.0


@contextlib.contextmanager
def progress(title: str, total: int, unit: Unit) -> Iterator[Callable[[int], None]]:
    """Give a function that takes how much of `total` is done."""
    if sys.stderr.isatty():
        with _bar(title, total, unit) as done:
            yield done
    else:
        yield Lines(title, total, unit).done


@contextlib.contextmanager
def _bar(title: str, total: int, unit: Unit) -> Iterator[Callable[[int], None]]:
    from rich.progress import (  # noqa: PLC0415 - short work needs no bar
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    bar = Progress(
        TextColumn(title), BarColumn(), *columns, TimeRemainingColumn(), console=console(sys.stderr), transient=True
    )
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


class Lines:
    """Progress where nobody watches: the first line at once, others every ten seconds."""

    def __init__(self, title: str, total: int, unit: Unit, clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._total, self._unit, self._clock = title, total, unit, clock
        self._began = self._said = clock()
        click.echo(say("{title}: {total} to go", title=title, total=self._amount(total)), err=True)

    def done(self, done: int) -> None:
        """Say how far it is, if some time has passed since it was last said."""
        now = self._clock()
        if now - self._said < _LINE_EVERY_S or not done:
            return
        self._said = now
        speed = done / (now - self._began)
        left = (self._total - done) / speed if speed else 0.0
        click.echo(
            say(
                "{title}: {done} of {total} ({share:.0%}), {speed}/s, {minutes}:{seconds:02d} left",
                title=self._title,
                done=self._amount(done),
                total=self._amount(self._total),
                share=done / self._total,
                speed=self._amount(round(speed)),
                minutes=int(left) // 60,
                seconds=int(left) % 60,
            ),
            err=True,
        )

    def _amount(self, value: int) -> str:
        if self._unit == "sessions":
            return say("{number} sessions", number=f"{value:,}")
        if self._unit == "rounds":
            return say("{number} rounds", number=f"{value:,}")
        return f"{value / 1e6:,.1f} MB"


def read_once(ingester: Ingester) -> int:
    """One pass over the logs, with its progress where there is much to read; the number of new rounds."""
    total = ingester.pending_bytes()
    if total < _WORTH_A_BAR:
        return ingester.once()
    with progress(say("reading the log"), total, "bytes") as done:
        return ingester.once(on_batch=lambda: done(max(0, total - ingester.pending_bytes())))
