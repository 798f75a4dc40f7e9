"""`service`: reads the log and serves the page at all times, started by systemd or launchd."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from monitor.config import ConfigError, load
from monitor.faces.cli.main import FAILED, NOT_FOUND, as_json, common, fail
from monitor.setup.files import Change, read, write
from monitor.setup.machine import Machine, our_command
from monitor.setup.service_unit import MARK, SYSTEM_DATA, Service, service


@click.group("service")
def service_command() -> None:
    """Run in the background at all times: a systemd or launchd service."""


def _options(function: Any) -> Any:
    for option in (
        click.option("--system", is_flag=True, help="For the whole machine, as root (systemd)."),
        click.option(
            "--http",
            metavar="[HOST:]PORT",
            default="8888",
            show_default=True,
            help="Where the page, the API and MCP are.",
        ),
        common,
    ):
        function = option(function)
    return function


_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")


@service_command.command("install")
@_options
@_dry_run
@click.option("--now", is_flag=True, help="Enable and start it as well.")
def install_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    http: str,
    system: bool,
    dry_run: bool,
    now: bool,
) -> None:
    """Write a service that follows the log and serves page, API and MCP; shows it first.

    \b
    session-monitor service install --log-path /var/log/proxy/access.log --now
    """
    made, folder, notes = _service(data_dir, config, log_path, http, system)
    before = read(made.path)
    if before is not None and MARK.encode() not in before:
        raise ConfigError(f"{made.path} was not written by this program; move it away first")
    click.echo(f"# {made.path}", err=True)
    click.echo(made.text.decode("utf-8"), nl=False)
    for note in notes:
        click.echo(note, err=True)
    change = Change(made.path, before, made.text, mode=0o644)
    if dry_run:
        click.echo("Nothing was written (--dry-run).", err=True)
        return
    _check_root(system)
    _make(folder)
    saved = write(change)
    click.echo(f"{made.path}: {'already there' if before == made.text else 'written'}.", err=True)
    if saved is not None:
        click.echo(f"What was there before: {saved}", err=True)
    if now:
        # A service that runs already takes up what was written.
        restart = [] if before is None else [[*made.start[0][:-1], "restart", made.path.stem]]
        _run(made, [*made.start, *restart] if made.manager == "systemctl" else _renewed(made, before))
    else:
        click.echo("To start it:", err=True)
        for line in made.shell(made.start):
            click.echo(f"  {line}", err=True)
    click.echo(made.hint, err=True)


@service_command.command("uninstall")
@_options
@_dry_run
@click.option("--now", is_flag=True, help="Stop and disable it as well.")
def uninstall_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    http: str,
    system: bool,
    dry_run: bool,
    now: bool,
) -> None:
    """Take the service away. What it collected stays.

    \b
    session-monitor service uninstall --now
    """
    made, _, _ = _service(data_dir, config, log_path, http, system)
    there = read(made.path)
    if there is None:
        click.echo(f"{made.path}: nothing of ours is there.", err=True)
        return
    if MARK.encode() not in there:
        raise ConfigError(f"{made.path} was not written by this program, so it stays")
    change = Change(made.path, there, None, backup=False)
    click.echo(change.diff, nl=False)
    if dry_run:
        click.echo("Nothing was changed (--dry-run).", err=True)
        return
    _check_root(system)
    if now:
        _run(made, made.stop)
    write(change)
    for folder in made.path.parent.glob("*.wants"):
        link = folder / made.path.name
        if link.is_symlink() and not link.exists():
            link.unlink()
    click.echo(f"{made.path}: gone.", err=True)
    if now:
        _run(made, made.after_removal)
        return
    click.echo("If it is running:", err=True)
    stop = [[*made.stop[0][:-3], "stop", made.path.stem]] if made.manager == "systemctl" else made.stop
    for line in made.shell([*stop, *made.after_removal]):
        click.echo(f"  {line}", err=True)


@service_command.command("status")
@_options
@as_json
@click.pass_context
def status_command(
    ctx: click.Context,
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    http: str,
    system: bool,
    json_: bool,
) -> None:
    """Whether the service is there and runs. Exits 3 when it is not installed, 1 when it does not run.

    \b
    session-monitor service status --json
    """
    made, _, _ = _service(data_dir, config, log_path, http, system)
    installed = read(made.path) is not None
    runs = _answers(made.is_active) if installed and _usable(made, system) else None
    answer: dict[str, object] = {"path": str(made.path), "installed": installed}
    if runs is not None:
        answer["running"] = runs
    if json_:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        state = {None: f"{made.manager} can't be asked here", True: "running", False: "not running"}[runs]
        click.echo(f"{made.path}: {state if installed else 'not installed'}")
    if not installed:
        click.echo("To install it: session-monitor service install --log-path PATH --now", err=True)
        ctx.exit(NOT_FOUND)
    if runs is False:
        click.echo(made.hint, err=True)
        ctx.exit(FAILED)


def _service(
    data_dir: Path | None, config: Path | None, log_path: tuple[str, ...], http: str, system: bool
) -> tuple[Service, Path, Sequence[str]]:
    machine = Machine.here()
    usual = None
    if system:
        # Root's own folder is closed to a service that protects homes.
        usual = SYSTEM_DATA
        data_dir = data_dir or SYSTEM_DATA
    command = our_command(
        machine,
        load(config, data_dir=data_dir),
        data_dir=data_dir,
        config=config,
        log_paths=[Path(path) for path in log_path],
    )
    line = command.line("--http", _address(http))
    notes = list(command.notes)
    if not log_path:
        notes.append(
            "No --log-path: it follows what the configuration names, else what its data folder follows already, "
            "else the places where Higress puts its log."
        )
    if system and usual == command.data_dir:
        notes.append(f"Other commands see its figures with --data-dir {command.data_dir}.")
    if system and command.data_dir.exists() and command.data_dir.stat().st_uid != 0:
        raise ConfigError(
            f"{command.data_dir} is not root's, and a service of the whole machine runs as root; "
            "leave --data-dir out, or install without --system as the user whose folder it is"
        )
    uid = os.getuid() if hasattr(os, "getuid") else 0
    made = service(machine, line, command.data_dir, system=system, uid=uid, user=_user(uid))
    return made, command.data_dir, notes


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536 or any(char.isspace() for char in host):
        raise ConfigError(f"--http {text}: use PORT or HOST:PORT, such as 8888 or 127.0.0.1:8888")
    return text


def _user(uid: int) -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(uid)


def _check_root(system: bool) -> None:
    if system and os.geteuid() != 0:
        raise ConfigError("--system writes to /etc/systemd/system: run it as root, or leave --system out")


def _make(folder: Path) -> None:
    """The data folder has to be there before the service may write to it and nowhere else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} can't be made: {error.strerror}; name another with --data-dir") from None


def _renewed(made: Service, before: bytes | None) -> list[Sequence[str]]:
    return [*([] if before is None else made.stop), *made.start]


def _usable(made: Service, system: bool) -> bool:
    """Whether the service manager can be asked: in containers it often is there without running."""
    if shutil.which(made.manager) is None:
        return False
    if made.manager != "systemctl":
        return True
    return _answers([*made.is_active[: 1 if system else 2], "show-environment"])


def _answers(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(made: Service, commands: Sequence[Sequence[str]]) -> None:
    """Run the manager's commands; where it can't be used, say them."""
    if not _usable(made, "--user" not in made.is_active):
        click.echo(f"{made.manager} can't be used from here. Where it can, run:", err=True)
        for line in made.shell(commands):
            click.echo(f"  {line}", err=True)
        return
    for command, line in zip(commands, made.shell(commands), strict=True):
        click.echo(f"$ {line}", err=True)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        if done.returncode != 0:
            fail(FAILED, f"this failed: {line}")
