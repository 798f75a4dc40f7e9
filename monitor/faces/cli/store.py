"""`store`: the tables of a fleet's store are made, brought up to date, and filled from a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from monitor.config import ConfigError, Settings, load
from monitor.faces.cli.main import FAILED, NOT_FOUND, common, fail, shown
from monitor.store.base import StoreError

_UNSET = (
    "no store is set, so everything is in the data directory, which needs no setting up. For a fleet name one in the "
    'configuration, store = "clickhouse://user@host:8123/database?cluster=fleet", or in SESSION_MONITOR_STORE; its '
    "password in SESSION_MONITOR_STORE_PASSWORD or in a file that password_file= names"
)


@click.group("store")
def store_command() -> None:
    """Set up the store that a fleet of gateways shares (ClickHouse)."""


@store_command.command("init")
@common
def init_command(data_dir: Path | None, config: Path | None, **_: Any) -> None:
    """Make the database and its tables, on all nodes of the cluster that the address names.

    What is there already stays as it is.

    \b
    session-monitor store init
    """
    from monitor.store.clickhouse import setup  # noqa: PLC0415 - only where there is a fleet

    url = _fleet(config, data_dir)[1]
    try:
        made = setup.init(url)
    except StoreError as error:
        fail(FAILED, str(error))
    click.echo(f"made: {', '.join(made)}" if made else "everything is there already")


@store_command.command("migrate")
@common
def migrate_command(data_dir: Path | None, config: Path | None, **_: Any) -> None:
    """Bring the tables up to this version of the program. May be interrupted and run again.

    \b
    session-monitor store migrate
    """
    from monitor.store.clickhouse import setup  # noqa: PLC0415 - only where there is a fleet
    from monitor.store.clickhouse.connection import connect  # noqa: PLC0415

    url = _fleet(config, data_dir)[1]
    try:
        with connect(url) as db:
            before, now = setup.migrate(db)
    except StoreError as error:
        fail(FAILED, str(error))
    click.echo(f"the tables are of version {now}" + ("" if before == now else f"; they were of version {before}"))


@store_command.command("copy")
@common
@click.option("--node", metavar="NAME", help="Whose checkpoints the copied ones become; by default this machine's.")
def copy_command(data_dir: Path | None, config: Path | None, node: str | None, **_: Any) -> None:
    """Copy a data directory into the fleet's store: rounds, conversations, names, checkpoints.

    Nothing counts twice, however often it runs and whatever came in meanwhile. When it was interrupted, it goes on
    where it was. Stop what ingests into the directory first; afterwards the node goes on where the directory ended.

    \b
    session-monitor store copy
    session-monitor store copy --data-dir /backup/agent-session-monitor
    """
    from monitor.faces.cli.progress import progress  # noqa: PLC0415
    from monitor.store.clickhouse.connection import connect  # noqa: PLC0415 - only where there is a fleet
    from monitor.store.clickhouse.copying import Copy  # noqa: PLC0415
    from monitor.store.sqlite import DATABASE  # noqa: PLC0415

    settings, url = _fleet(config, data_dir)
    folder = settings.data_dir.expanduser().absolute()
    if not (folder / DATABASE).exists():
        fail(NOT_FOUND, f"{folder}: nothing is stored there; name the folder with --data-dir")
    try:
        with connect(url) as db:
            copy = Copy(folder, db, node or settings.fleet.node)
            with progress("copying", copy.total, "rounds") as done:
                copied = copy.run(done)
    except StoreError as error:
        fail(FAILED, str(error))
    click.echo(f"{copied.rounds:,} rounds of {shown(str(folder))} are in {copied.into}, {copied.new:,} of them new")
    for note in copied.notes:
        click.echo(note, err=True)


def _fleet(config: Path | None, data_dir: Path | None) -> tuple[Settings, str]:
    """The settings, and the address of the fleet's store in them.

    Raises:
        ConfigError: none is set.
    """
    settings = load(config, data_dir=data_dir)
    if settings.store is None:
        raise ConfigError(_UNSET)
    return settings, settings.store
