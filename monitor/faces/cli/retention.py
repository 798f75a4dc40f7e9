"""`prune` and `archive`: what is old goes, or one session, and original lines are kept. Each is shown first."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from monitor.answers import retention
from monitor.answers.base import Answer
from monitor.answers.errors import NotFound
from monitor.faces.cli.ask import opened, print_answer
from monitor.faces.cli.main import NOT_FOUND, USAGE, as_json, common, fail, on_one_line, shown
from monitor.runtime import STDIN
from monitor.store.base import Bounds, Pruned, Store

#: How often it is said how far it is, where that is not a terminal.
_SAY_EVERY_S = 10.0


@click.command("prune")
@common
@as_json
@click.option("--older-than", type=click.IntRange(0, 36_500), metavar="DAYS", help="Take away what is older.")
@click.option("--content-only", is_flag=True, help="Only what was said; the rounds stay.")
@click.option("--session", "session_id", metavar="ID", help="Take away what was said in this session.")
@click.option("--counts-too", is_flag=True, help="With --session: its rounds go out of all sums as well.")
@click.option("--yes", is_flag=True, help="Do it. Without this it is only shown what would go.")
def prune_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    older_than: int | None,
    content_only: bool,
    session_id: str | None,
    counts_too: bool,
    yes: bool,
    **_: Any,
) -> None:
    """Take away old rounds, old conversations, or one session. Sums and totals stay.

    \b
    session-monitor prune --older-than 30
    session-monitor prune --older-than 30 --yes
    session-monitor prune --older-than 7 --content-only --yes
    session-monitor prune --session agent:main:main --yes
    """
    if (older_than is None) == (session_id is None):
        raise click.UsageError("say what goes: --older-than DAYS, or --session ID")
    if content_only and session_id is not None:
        raise click.UsageError("--content-only goes with --older-than; --session keeps counts unless --counts-too")
    if counts_too and session_id is None:
        raise click.UsageError("--counts-too goes with --session")
    runtime = opened(data_dir, config, log_path)
    ask = runtime.asking()
    try:
        with runtime.writing() as store:
            if session_id is not None:
                name = _whole_name(store, session_id)
                folder = runtime.settings.retention.archive
                # Before the store forgets by which names it was known.
                segments, left = _of_archives(folder, store, name, yes)
                if yes:
                    taken = store.purge(name, counts_too=counts_too)
                else:
                    taken = store.purgeable(name, counts_too=counts_too)
                logs = [str(source.path) for source in runtime.sources() if source.path.exists()]
                purged = retention.purging(ask, name, taken, logs, segments=segments, left=left, done=yes)
                print_answer(purged, json_, lambda: _show_purged(purged))
                return
            assert older_than is not None
            bounds = retention.bounds_of(older_than, time.time_ns() // 1_000_000, content_only=content_only)
            plan = store.prunable(bounds)
            found = _done(store, bounds, plan) if yes else plan
            pruned = retention.pruning(ask, bounds, older_than, found, done=yes)
            print_answer(pruned, json_, lambda: _show_pruned(pruned))
    except FileNotFoundError:
        fail(NOT_FOUND, f"{runtime.folder}: nothing is stored there yet, so there is nothing to take away")


def _of_archives(folder: Path | None, store: Store, name: str, yes: bool) -> tuple[list[str], list[str]]:
    """The segments that hold lines of a session, written anew where that is meant; and where lines are left."""
    record = store.session(name)
    if folder is None or record is None or record.session_id is None:
        return [], []
    from monitor.archive import purge, segments_of, spools  # noqa: PLC0415 - only where lines are kept
    from monitor.session_keys import name_digest  # noqa: PLC0415

    digests = {name_digest(one) for one in (record.session_id, *record.aliases)}
    found = purge(folder, digests) if yes else segments_of(folder, digests)
    left = [
        f"lines that were read last are in {spool} until they are sealed, which leaves this session out"
        for spool in spools(folder)
    ]
    return [str(segment.path) for segment in found], left


def _whole_name(store: Store, part: str) -> str:
    if store.session(part) is not None:
        return part
    found = store.names_with(part, 5)
    if len(found) > 1:
        raise NotFound(f"{part[:100]!r} is part of several sessions: {', '.join(found)}")
    return found[0] if found else part


def _done(store: Store, bounds: Bounds, plan: Pruned) -> Pruned:
    """Prune, and say how far it is."""
    *_, last = _watched(store.pruning(bounds), plan.rounds + plan.contents)
    return msgspec.structs.replace(last, undated=plan.undated)


def _watched(steps: Iterator[Pruned], total: int) -> Iterator[Pruned]:
    err = sys.stderr
    if err.isatty():
        with click.progressbar(length=max(1, total), label="pruning", file=err) as bar:
            seen = 0
            for step in steps:
                bar.update(step.rounds + step.contents - seen)
                seen = step.rounds + step.contents
                yield step
        return
    said = time.monotonic()
    for step in steps:
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            click.echo(f"{step.rounds + step.contents:,} of {total:,} rounds", err=True)
        yield step


def _show_pruned(answer: retention.Pruning) -> None:
    verb = "went" if answer.done else "would go"
    click.echo(f"Older than {answer.older_than_days} days (before {answer.before}):")
    if not (answer.rounds or answer.conversations or answer.months):
        click.echo("  nothing to take away")
    if answer.rounds:
        click.echo(f"  {answer.rounds:,} rounds {verb}, with what was said in them; their counts stay in all sums")
    if answer.conversations:
        click.echo(f"  what was said in {answer.conversations:,} rounds {verb}; the rounds stay")
    for month in answer.months:
        click.echo(f"  history-{month}.db {verb} as a whole")
    if answer.undated_rounds:
        click.echo(f"  {answer.undated_rounds:,} rounds without a usable time stay: their age is not known")
    if answer.freed_bytes is not None:
        click.echo(f"  {answer.freed_bytes:,} bytes are free again")
    if answer.not_given_back:
        click.echo(f"  {shown(answer.not_given_back)}", err=True)
    _say_how(answer, answer.done)


def _show_purged(answer: retention.Purging) -> None:
    verb = "went" if answer.done else "would go"
    click.echo(f"Session {on_one_line(answer.session_id)}: {answer.rounds:,} rounds")
    click.echo(f"  what was said in {answer.conversations:,} rounds {verb}")
    if answer.shared_pieces:
        click.echo(f"  {answer.shared_pieces:,} pieces of text stay: other sessions have said the same")
    click.echo(
        f"  its rounds {verb} out of all sums" if answer.counts_too else "  its counts stay; --counts-too removes them"
    )
    click.echo("  of what is said in it from now on nothing is kept")
    for segment in answer.segments:
        click.echo(f"  {shown(segment)} {'was' if answer.done else 'would be'} written anew without its lines")
    for left in answer.left_behind:
        click.echo(f"  {shown(left)}")
    _say_how(answer, answer.done)


def _say_how(_answer: Answer, done: bool) -> None:
    if not done:
        click.echo("Nothing was changed: add --yes to do it.", err=True)


@click.command("archive")
@common
@as_json
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the segments (retention.archive)."
)
@click.option("--yes", is_flag=True, help="Do it. Without this it is only shown what would be archived.")
def archive_command(
    data_dir: Path | None,
    config: Path | None,
    log_path: tuple[str, ...],
    json_: bool,
    to: Path | None,
    yes: bool,
    **_: Any,
) -> None:
    """Keep the original lines of the logs in compressed segments that can be ingested again.

    \b
    session-monitor archive --to lines
    session-monitor archive --to lines --yes
    """
    from monitor.archive import Collected, collect  # noqa: PLC0415

    runtime = opened(data_dir, config, log_path)
    settings = runtime.settings
    if settings.privacy.content != "full":
        fail(
            USAGE,
            f'privacy.content is "{settings.privacy.content}", and an archive of original lines would keep everything '
            "that was said: archive the log files by other means if that is meant",
        )
    folder = to or settings.retention.archive
    if folder is None:
        raise click.UsageError("say where: --to DIR, or retention.archive in the configuration")
    folder = folder.expanduser().absolute()
    total = Collected()
    # Transcripts and usage records are the files of their programs; only logs are deleted after minutes.
    logs = [source for source in runtime.sources() if source.kind == "higress" and source.path != STDIN]
    sources = [source for source in logs if source.path.parent != folder]
    for source in sources:
        found = collect(
            source.path,
            folder,
            max_rotate=source.max_rotate,
            silenced=runtime.store.silenced(),
            dry_run=not yes,
        )
        total = Collected(total.lines + found.lines, total.bytes + found.bytes, total.segments + found.segments)
    answer = retention.Archived(
        done=yes,
        folder=str(folder),
        lines=total.lines,
        bytes=total.bytes,
        segments=[segment.path.name for segment in total.segments],
        segment_bytes=sum(segment.path.stat().st_size for segment in total.segments) or None,
    )
    print_answer(answer, json_, lambda: _show_archived(answer))


def _show_archived(answer: retention.Archived) -> None:
    verb = "are now in" if answer.done else "would go to"
    click.echo(f"{answer.lines:,} lines of {answer.bytes:,} bytes {verb} {shown(answer.folder)}")
    if answer.segment_bytes:
        click.echo(f"  {len(answer.segments)} segments of together {answer.segment_bytes:,} bytes")
    for segment in answer.segments:
        click.echo(f"  {shown(segment)}")
    _say_how(answer, answer.done)
