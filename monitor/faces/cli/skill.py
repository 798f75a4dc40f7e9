"""`skill`: makes agents find us: their MCP entry and the skill that says when to ask."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from monitor.config import load
from monitor.faces.cli.main import NOT_FOUND, USAGE, common, fail
from monitor.setup import naming, plan
from monitor.setup.clients import CLIENTS, Client
from monitor.setup.machine import Machine, our_command
from monitor.setup.naming import Wish
from monitor.setup.plan import ClientPlan

_IN_HIGRESS = """\
Still to do in Higress: have the plugin ai-statistics write that header into the log, with
    session_id_header: x-session-affinity
  in its configuration, beside `use_default_attributes` or `attributes`:
    all-in-one container   /data/wasmplugins/ai-statistics-1.0.0.yaml, under spec.matchRules[].config
    Kubernetes             kubectl -n higress-system edit wasmplugin ai-statistics-1.0.0, the same place
    console                the AI route's plugins, AI Statistics
The header holds OpenClaw's session id. Follow OpenClaw's own records too (--log-path {state}), and sessions
  are called by their key, such as agent:main:main."""

_BY_ITSELF = """\
In Higress nothing is to be set: the plugin ai-statistics looks for x-openclaw-session-key by itself
  (versions from before February 2026 know no sessions: update it there). A running gateway of OpenClaw 2026.9.6
  loads ours by itself; start an older one again."""

_UNNAMED = """\
Figures by conversation need session ids in the gateway's log. This command has set nothing for that in OpenClaw:
  --naming and --provider say what to do. Where Higress logs messages (use_default_attributes: true), OpenClaw's
  sessions are known by the line that it writes into the conversation."""


@click.group("skill")
def skill_command() -> None:
    """Set up agents: the skill, and the MCP entry in their configuration."""


def _options(function: Any) -> Any:
    for option in (
        click.option("--yes", "-y", is_flag=True, help="Don't ask."),
        click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing."),
        click.option("--http", metavar="URL", help="Use a running service at this address; start no program."),
        click.option(
            "--client",
            "names",
            multiple=True,
            type=click.Choice(list(CLIENTS)),
            help="Only this one. Can be given several times; by default, each one that is found on this machine.",
        ),
        common,
    ):
        function = option(function)
    return function


@skill_command.command("install")
@_options
@click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="ID",
    help="OpenClaw's provider that is Higress, where it can't be told. Can be given several times.",
)
@click.option(
    "--naming",
    "way",
    type=click.Choice(naming.WAYS),
    default="auto",
    help="How OpenClaw names the session of a request: affinity (a setting of each model), plugin (a small one "
    "of ours, sends the session key), none; auto takes what the release of OpenClaw can do.",
)
def install_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    names: tuple[str, ...],
    http: str | None,
    dry_run: bool,
    yes: bool,
    providers: tuple[str, ...],
    way: str,
) -> None:
    """Put the skill and the MCP entry where agents look. Shows the change first, and asks.

    For OpenClaw it also sees to it that requests to Higress name their session.

    \b
    session-monitor skill install --client openclaw --log-path /var/log/proxy/access.log
    session-monitor skill install --http http://127.0.0.1:8888/mcp
    """
    machine = Machine.here()
    clients = _clients(machine, names)
    url, command = None, None
    if http is not None:
        if data_dir or config or log_path:
            fail(USAGE, "--data-dir, --config and --log-path belong to the service behind --http: leave them out here")
        url = plan.mcp_address(http)
        if not names:
            clients = [client for client in clients if _takes_address(client)]
    else:
        command = our_command(
            machine,
            load(config, data_dir=data_dir),
            data_dir=data_dir,
            config=config,
            log_paths=[Path(path) for path in log_path],
        )
        for note in command.notes:
            click.echo(note, err=True)
    if (providers or way != "auto") and not any(client.names_sessions for client in clients):
        fail(USAGE, "--naming and --provider are for OpenClaw: add --client openclaw, or leave them out")
    plans = plan.install(machine, clients, command, url, Wish(way, providers))
    if _carry_out(plans, dry_run=dry_run, yes=yes, nothing="already set up", done=_installed):
        for one in plans:
            if one.naming is not None:
                click.echo(_remains(one.naming.way).format(state=one.client.folder(machine)), err=True)


@skill_command.command("uninstall")
@_options
def uninstall_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    names: tuple[str, ...],
    http: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Take the skill and the MCP entry out again, and nothing else. Data that was collected stays.

    \b
    session-monitor skill uninstall --client cursor
    """
    machine = Machine.here()
    plans = plan.uninstall(machine, _clients(machine, names))
    _carry_out(plans, dry_run=dry_run, yes=yes, nothing="nothing of ours is there", done=_uninstalled)


def _clients(machine: Machine, names: tuple[str, ...]) -> list[Client]:
    clients = plan.chosen(machine, names)
    if not clients:
        places = "\n".join(f"  {client.name:<15} {client.config(machine)}" for client in CLIENTS.values())
        fail(NOT_FOUND, f"no agent was found on this machine; name one with --client. Looked for:\n{places}")
    click.echo("Named:" if names else "Found on this machine:", err=True)
    for client in clients:
        path = client.config(machine)
        click.echo(f"  {client.name:<15} {path}{'' if path.exists() else ' (no such file yet)'}", err=True)
    return clients


def _takes_address(client: Client) -> bool:
    if client.http is None:
        click.echo(
            f"{client.title} is left out: its configuration can't name an address. For it, run this without --http.",
            err=True,
        )
    return client.http is not None


def _carry_out(
    plans: list[ClientPlan], *, dry_run: bool, yes: bool, nothing: str, done: Callable[[ClientPlan, list[Path]], None]
) -> bool:
    """Show every change, ask, then write; False when the answer was no."""
    for one in plans:
        for note in one.notes:
            click.echo(note, err=True)
        if not one.changes:
            click.echo(f"{one.client.title}: {nothing}.", err=True)
        for change in one.changes:
            if change is not one.config and change.before is None:
                click.echo(f"new: {change.path}", err=True)
            elif change is not one.config and change.after is None:
                click.echo(f"goes: {change.path}", err=True)
            elif one.naming is not None and change is one.naming.record:
                click.echo(f"remembered in: {change.path}", err=True)
            else:
                click.echo(change.diff, nl=False)
    sys.stdout.flush()
    todo = [one for one in plans if one.changes]
    if not todo:
        return True
    if dry_run:
        click.echo("Nothing was changed (--dry-run).", err=True)
        return True
    if not yes:
        if not sys.stdin.isatty():
            fail(USAGE, "nobody can be asked here, so nothing was changed; say --yes to do it, or --dry-run to look")
        if not click.confirm("Make these changes?", err=True):
            click.echo("Nothing was changed.", err=True)
            return False
    for one in todo:
        done(one, one.carry_out())
    return True


def _installed(one: ClientPlan, saved: list[Path]) -> None:
    click.echo(f"{one.client.title}: set up. {one.client.then}", err=True)
    _saved(saved)


def _remains(way: str | None) -> str:
    """What is to be done in Higress for the names of sessions."""
    if way is None:
        return _UNNAMED
    return _IN_HIGRESS if way == "affinity" else _BY_ITSELF


def _uninstalled(one: ClientPlan, saved: list[Path]) -> None:
    click.echo(f"{one.client.title}: taken out.", err=True)
    _saved(saved)
    if one.config.spent_backup is not None:
        click.echo(f"  {one.config.path} is again what it was; the backup {one.config.spent_backup} is gone.", err=True)


def _saved(paths: list[Path]) -> None:
    for path in paths:
        click.echo(f"  What was there before: {path}", err=True)
