"""`completion`: what a shell needs to complete our commands and options."""

from __future__ import annotations

import click

from monitor.faces.cli.main import cli

_NAME = "session-monitor"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion of a shell, to be read by it when it starts.

    \b
    session-monitor completion bash
    session-monitor completion zsh
    session-monitor completion fish
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    made = get_completion_class(shell)
    assert made is not None
    completion = made(cli, {}, _NAME, f"_{_NAME.replace('-', '_').upper()}_COMPLETE")
    # Not source(): that starts bash to look at its version, and a shell reads this each time it starts.
    click.echo(completion.source_template % completion.source_vars())
