"""Writes session documents with their progress."""

from __future__ import annotations

import click

from monitor.faces.cli.look import say
from monitor.faces.cli.progress import progress
from monitor.faces.folder import SessionFolder
from monitor.runtime import Runtime

#: Fewer are written before anybody wonders.
_WORTH_A_BAR = 200


def write_documents(folder: SessionFolder, runtime: Runtime) -> None:
    """Write the documents of all sessions that have changed, and say how many those were."""
    ask = runtime.asking()
    total = ask.store.session_count()
    if total < _WORTH_A_BAR:
        written = folder.write_all(ask)
    else:
        with progress(say("writing documents"), total, "sessions") as done:
            written = folder.write_all(ask, done)
    text = "{written} of {total} session documents written to {folder}"
    click.echo(say(text, written=written, total=total, folder=folder.path), err=True)
