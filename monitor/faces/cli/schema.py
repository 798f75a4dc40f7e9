"""`schema`: the JSON Schema of what a command prints with ``--json``."""

from __future__ import annotations

import click

from monitor.faces.jsontext import json_text
from monitor.faces.schemas import NAMES, schema


@click.command("schema")
@click.argument("name", type=click.Choice(NAMES), required=False)
def schema_command(name: str | None) -> None:
    """Print the JSON Schema of what a command prints with --json; without NAME, which schemas there are.

    Its $id holds a version, which goes up when a field is renamed, removed, or changes its meaning.

    \b
    session-monitor schema
    session-monitor schema stats-model
    """
    if name is None:
        for each in NAMES:
            click.echo(each)
        return
    click.echo(json_text(schema(name), indent=2))
