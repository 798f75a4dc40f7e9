"""`doctor`: whether the figures can be trusted, what to do about each thing that is wrong, and `--fix`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from monitor import __version__
from monitor.answers.health import Diagnosis, SourceDetail, diagnosis
from monitor.config import load
from monitor.faces.cli.ask import opened, print_answer
from monitor.faces.cli.main import FAILED, as_json, common, on_one_line, shown
from monitor.runtime import STDIN, Runtime
from monitor.setup import data_dir as places
from monitor.setup.machine import Machine
from monitor.setup.openclaw_hints import hints
from monitor.store.base import StoreAway

#: More than any rotation keeps: what lies beyond `max_rotate` was never looked at.
_ALL_ROTATED = 10_000


@click.command("doctor")
@common
@as_json
@click.option("--deep", is_flag=True, help="Add every sum up anew and compare; reads every round.")
@click.option("--fix", is_flag=True, help="Put right what is safe: folders, modes, leftovers, rotated files missed.")
@click.option("--dry-run", is_flag=True, help="With --fix: only say what would be done.")
@click.pass_context
def doctor_command(
    ctx: click.Context,
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    deep: bool,
    fix: bool,
    dry_run: bool,
) -> None:
    """What is read, what was skipped and why, what is missing, what to do. Exits 1 when something needs doing.

    \b
    session-monitor doctor
    session-monitor doctor --deep
    session-monitor doctor --fix --dry-run
    """
    if dry_run and not fix:
        raise click.UsageError("--dry-run goes with --fix")
    settings = load(config, data_dir=data_dir)
    archive = settings.retention.archive
    # Before anything is opened: a place that can't be used would only give an error.
    folder = settings.data_dir.expanduser().absolute()
    found = places.repairs(folder, archive)
    if fix:
        for repair in found:
            if repair.run is None:
                continue
            if not dry_run:
                try:
                    repair.run()
                except OSError as error:
                    click.echo(f"could not be put right: {shown(repair.trouble.what)}: {error}", err=True)
                    continue
            click.echo(shown(f"would be done: {repair.trouble.do}" if dry_run else repair.done), err=True)
    runtime = opened(data_dir, config, log_path)
    if fix and not dry_run:
        _read_what_was_missed(runtime, data_dir, config, log_path)
    found = places.repairs(runtime.folder, archive)
    try:
        broken = runtime.store.verify() if deep else runtime.store.check()
    except StoreAway as away:
        broken = [f"it can't be checked now: {away}"]
    try:
        place = places.place(
            runtime.folder,
            found,
            checked="every sum was added up anew" if deep else "quick check",
            broken=broken,
            versions=_versions(runtime),
            hints=hints(Machine.here(), [source.path for source in runtime.sources() if source.kind == "openclaw"]),
        )
        answer = diagnosis(runtime.asking(), runtime.standing(), place)
    except StoreAway:
        # What this node knows by itself can be told all the same.
        for what in runtime.waiting_here()[0]:
            click.echo(f"! {shown(what)}", err=True)
        raise
    pid = places.ingesting_process(runtime.folder)
    print_answer(answer, json_, lambda: _show(answer, pid))
    if not answer.ok:
        ctx.exit(FAILED)


def _read_what_was_missed(
    runtime: Runtime, data_dir: Path | None, config: Path | None, log_path: Sequence[str]
) -> None:
    """Read rotated files that lie beyond what is looked at otherwise; each line counts once."""
    from filelock import Timeout  # noqa: PLC0415

    if any(source.path == STDIN for source in runtime.sources()) or not runtime.has_logs():
        return
    further = Runtime(
        load(config, data_dir=data_dir), log_paths=[Path(path) for path in log_path], max_rotate=_ALL_ROTATED
    )
    try:
        with further.ingesting() as ingester:
            new = ingester.once()
    except Timeout:
        click.echo("rotated files were not looked through: another process ingests", err=True)
        return
    finally:
        further.close()
    if new:
        click.echo(f"read {new:,} rounds from rotated files that had been missed", err=True)


def _versions(runtime: Runtime) -> dict[str, str]:
    catalog = runtime.catalog()
    days = (datetime.now(UTC).date() - catalog.checked).days
    return {
        "program": __version__,
        **runtime.stores.versions(),
        "python": platform.python_version(),
        "prices": f"{catalog.version} ({days:,} {'day' if days == 1 else 'days'} old)",
    }


def _show(answer: Diagnosis, pid: int | None) -> None:
    click.echo(f"{answer.rounds:,} rounds in {answer.sessions:,} sessions, read up to {answer.as_of or 'nothing yet'}")
    if answer.ingesting:
        click.echo(f"a process reads the logs{f' ({pid})' if pid else ''}")
    for name, read in answer.nodes.items():
        click.echo(f"node {on_one_line(name)}: read up to {read}")
    for source in answer.sources:
        _show_source(source)
    size = f"{answer.data_bytes:,} bytes" if answer.data_bytes is not None else "unknown size"
    free = f", {answer.free_bytes:,} free on its disk" if answer.free_bytes is not None else ""
    click.echo(f"{shown(answer.data_dir)}: {size}{free}; database: {answer.checked}")
    click.echo("versions: " + ", ".join(f"{name} {shown(version)}" for name, version in answer.versions.items()))
    named = []
    if answer.named_by_header:
        named.append(f"{answer.named_by_header:,} sessions by a header")
    if answer.named_by_text:
        named.append(f"{answer.named_by_text:,} by their conversation only")
    if answer.rounds_without_session:
        named.append(f"{answer.rounds_without_session:,} rounds without one")
    if named:
        click.echo("session ids: " + ", ".join(named))
    for finding in answer.findings:
        mark = "!" if finding.severity == "problem" else "-"
        fixable = " (doctor --fix does it)" if finding.fixable else ""
        click.echo(f"{mark} {shown(finding.about)}: {shown(finding.what)}\n    {shown(finding.do)}{fixable}")
    if answer.ok:
        click.echo("Nothing needs doing.")


def _show_source(source: SourceDetail) -> None:
    state = f"{source.size_bytes or 0:,} bytes, {source.pending_bytes or 0:,} unread" if source.exists else "absent"
    more = f", {source.format}" if source.format else ""
    more += f", {source.rounds:,} rounds" if source.rounds is not None else ""
    click.echo(f"{shown(source.path)}: {state}{more}")
    for reason, count in (source.skipped or {}).items():
        click.echo(f"  {count:,} {'line' if count == 1 else 'lines'} skipped: {reason}")
        sample = (source.samples or {}).get(reason)
        if sample:
            click.echo(f"    such as: {shown(sample)[:200]}")
