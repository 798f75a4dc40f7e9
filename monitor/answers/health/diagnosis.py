"""The whole examination: everything that is not as it should be, and what to do about each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from monitor.answers.base import Asking, Part, added, rfc3339
from monitor.answers.health.report import SourceHealth, SourceReport, facts
from monitor.answers.health.standing import Place, Standing
from monitor.answers.health.times import DAYS, gaps
from monitor.answers.quality import meters
from monitor.store.base import Feed

_DAY_MS = 86_400_000
#: A clock that is this far ahead is wrong, and not merely not set to the second.
_AHEAD_MS = 300_000
#: What was lost longer ago than this is history.
_RECENT_MS = 7 * _DAY_MS
_LEAST_FREE = 500_000_000

_SKIPPED = {
    "malformed": "they are damaged: see whether two programs write to this file, or its disk was full",
    "foreign": "they are no access-log records; that is normal for Higress' all-in-one gateway.log, else name the "
    "access log instead",
}


class Finding(Part):
    """One thing that is not as it should be."""

    severity: Literal["problem", "hint"] = Field(description="A problem needs doing; a hint may be meant as it is.")
    about: str
    what: str
    do: str
    fixable: bool = Field(default=False, description="`doctor --fix` does it.")


class SourceDetail(SourceReport):
    """One source, with what is known of its lines."""

    format: str | None = Field(default=None, description="How its lines are wrapped: plain, docker, cri, sls; gz, zst.")
    rounds: int | None = Field(default=None, description="Rounds that came from it first.")
    newest: str | None = Field(default=None, description="The newest start of a round in it.")


class Diagnosis(SourceHealth):
    """The state of everything, with what to do."""

    sources: list[SourceDetail]  # type: ignore[assignment]  # more of each
    findings: list[Finding] = []
    named_by_header: int | None = Field(default=None, description="Sessions whose id stood in a header's place.")
    named_by_text: int | None = Field(default=None, description="Sessions that only the conversation names.")
    data_dir: str
    data_bytes: int | None = None
    free_bytes: int | None = None
    checked: str | None = None
    versions: dict[str, str] = {}
    nodes: dict[str, str] = Field(default={}, description="Machines that write, and up to when each has read.")


def diagnosis(ask: Asking, standing: Standing, place: Place, *, now_ms: int | None = None) -> Diagnosis:
    """The report with all findings, problems first."""
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    report = facts(ask, standing, samples=True)
    by_header, by_text = ask.store.named_by()
    followed = {seen.source: seen for seen in ask.store.feeds()}
    found = [
        *_of_place(place),
        *_of_fleet(ask),
        *_of_sources(standing, report),
        *_of_names(standing, report, by_header, by_text),
        *_of_meters(ask, standing, now),
        *_of_prices(report["unpriced_models"]),
        *_of_times(ask, now),
        *_of_lost_files(ask, now),
        *(_hint(hint.about, hint.what, hint.do) for hint in place.hints),
    ]
    found.sort(key=lambda finding: finding.severity != "problem")
    report["ok"] = not any(finding.severity == "problem" for finding in found)
    report["advice"] = []
    report["sources"] = [_detail(source, followed.get(source.path)) for source in report["sources"]]
    return Diagnosis(
        **report,
        findings=found,
        named_by_header=by_header or None,
        named_by_text=by_text or None,
        data_dir=place.folder,
        data_bytes=place.bytes,
        free_bytes=place.free_bytes,
        checked=place.checked,
        versions=place.versions,
        nodes={name: rfc3339(at) for name, at in sorted(ask.store.nodes().items())},
    )


def _of_fleet(ask: Asking) -> Iterator[Finding]:
    for what in ask.store.missing():
        yield _problem(
            "fleet",
            f"{what}: what it holds or reads is in no figure",
            "see that it runs and reaches the others; a node that is no more is forgotten after a week",
        )


def _detail(source: SourceReport, seen: Feed | None) -> SourceDetail:
    known = source.model_dump()
    if seen is None:
        return SourceDetail(**known)
    newest = rfc3339(seen.last_at) if seen.last_at else None
    return SourceDetail(**known, format=seen.format or None, rounds=seen.rounds, newest=newest)


def _problem(about: str, what: str, do: str, *, fixable: bool = False) -> Finding:
    return Finding(severity="problem", about=about, what=what, do=do, fixable=fixable)


def _hint(about: str, what: str, do: str) -> Finding:
    return Finding(severity="hint", about=about, what=what, do=do)


def _of_place(place: Place) -> Iterator[Finding]:
    for trouble in place.troubles:
        yield _problem(place.folder, trouble.what, trouble.do, fixable=trouble.fixable)
    for broken in place.broken:
        yield _problem(
            "the database",
            broken,
            "restore a backup; or move monitor.db away, and the logs that still exist are read again",
        )
    if place.free_bytes is not None and place.free_bytes < _LEAST_FREE:
        yield _problem(
            place.folder,
            f"only {place.free_bytes:,} bytes are free on its disk",
            "make room: what can't be written is not counted. `session-monitor prune --older-than 30` takes old "
            "rounds away, --content-only old conversations",
        )


def _of_sources(standing: Standing, report: dict[str, object]) -> Iterator[Finding]:
    if standing.failure is not None:
        yield _problem(
            "ingestion", standing.failure, "nothing is lost as long as the log files exist; it is tried again"
        )
    for what in standing.problems:
        yield _problem("this program", what, "see the message")
    for note in standing.notes:
        yield _hint("this program", note, "see the message")
    if not standing.sources:
        yield _problem(
            "sources",
            "no log is followed",
            "pass --log-path. Higress writes /var/log/proxy/access.log (docker compose), "
            "/var/log/higress/gateway.log inside the all-in-one container, or container output (Kubernetes)",
        )
    if not standing.ingesting:
        yield _hint(
            "ingestion",
            "no process reads the logs now"
            + (", and Higress deletes them after minutes" if standing.reads_gateway else ""),
            "run `session-monitor service install`, or `session-monitor ingest --once` from cron every minute",
        )
    for source in standing.sources:
        if not source.exists:
            yield _problem(source.source, "it does not exist yet", "check the path; it is read as soon as it appears")
        elif source.size == 0 and report["rounds"] == 0 and source.kind == "higress" and not source.problems:
            yield _problem(
                source.source,
                "it is empty, and nothing was ever read",
                "Higress' all-in-one image without its O11Y suite leaves access.log empty and writes to "
                "/var/log/higress/gateway.log inside the container: name that file",
            )
        for what in source.problems:
            yield _problem(source.source, what, "see the message")
    sources: Sequence[object] = report["sources"]  # type: ignore[assignment]
    for one in sources:
        skipped: dict[str, int] = getattr(one, "skipped", None) or {}
        path = str(getattr(one, "path", ""))
        for reason, do in _SKIPPED.items():
            if count := skipped.get(reason):
                severity = _problem if reason == "malformed" or report["rounds"] == 0 else _hint
                yield severity(path, f"{count:,} lines were skipped: {reason}", do)


def _of_names(standing: Standing, report: dict[str, object], by_header: int, by_text: int) -> Iterator[Finding]:
    rounds, nameless = int(str(report["rounds"])), int(str(report["rounds_without_session"] or 0))
    if standing.sources and not standing.reads_gateway:
        if nameless:
            # Who records calls may have no sessions at all: that is no fault.
            yield _hint(
                "sessions",
                f"{nameless:,} of {rounds:,} records name no session",
                "if they should belong to sessions: give `session_id` with each record",
            )
        return
    both = (
        "two ends need setting: the client must send a session in a header, and Higress' ai-statistics plugin must "
        "know which (session_id_header); `session-monitor skill install --client openclaw` sets OpenClaw's end and "
        "says what to set in Higress"
    )
    if rounds and nameless == rounds:
        yield _problem("sessions", "no round names a session", both)
    elif nameless:
        yield _hint(
            "sessions",
            f"{nameless:,} of {rounds:,} rounds name no session; they are counted under their consumer",
            f"if they should belong to sessions: {both}",
        )
    if by_text and not by_header:
        yield _hint(
            "sessions",
            f"{by_text:,} sessions are known only by what stands in their conversation",
            "the surer way is a header: set session_id_header of Higress' ai-statistics plugin to the one that your "
            "client sends (OpenClaw: x-session-affinity, with compat.sendSessionAffinityHeaders)",
        )


def _of_meters(ask: Asking, standing: Standing, now: int) -> Iterator[Finding]:
    for meter in meters(ask.store, [source.kind for source in standing.sources], now):
        if meter.silent is not None:
            # Without the log nobody counts what is billed; transcripts are silent also while OpenClaw only rests.
            severity = _problem if meter.kind == "higress" else _hint
            yield severity(meter.title, meter.silent, f"{meter.why}; `session-monitor reconcile` shows the calls")


def _of_prices(models: object) -> Iterator[Finding]:
    names = list(models) if isinstance(models, list) else []
    if names:
        shown = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
        yield _problem(
            "prices",
            f"no price is known for {shown}: what they cost is in no total",
            "`session-monitor prices missing > prices.toml`, fill in the prices (0 where it is free), and name the "
            "file as prices.overlay",
        )


def _of_times(ask: Asking, now: int) -> Iterator[Finding]:
    future = added(part.counts for part in ask.store.slices(now + _AHEAD_MS)).rounds
    if future:
        yield _problem(
            "clocks",
            f"{future:,} rounds start in the future",
            "set the clocks of the gateway and of this machine by NTP; their days and budgets are wrong until then",
        )
    by_hour = {
        bucket.label: sum(part.counts.rounds for part in bucket.slices)
        for bucket in ask.store.buckets("hour", "UTC", now - DAYS * _DAY_MS, now)
        if bucket.label is not None
    }
    missing = gaps(by_hour)
    for gap in missing[-3:]:
        yield _hint(
            "gaps",
            f"no round at all from {gap.begin:%Y-%m-%d %H:%M} to {gap.end:%Y-%m-%d %H:%M} UTC, which is a busy time "
            "as a rule",
            "if the gateway was up: rotated logs that still exist are read with `session-monitor ingest --once "
            "--log-path FILE`, each line once",
        )


def _of_lost_files(ask: Asking, now: int) -> Iterator[Finding]:
    for seen in ask.store.feeds():
        if seen.missed and seen.missed_at is not None:
            recent = seen.missed_at > now - _RECENT_MS
            yield (_problem if recent else _hint)(
                seen.source,
                f"{seen.missed_path} was rotated away before anybody looked at it again: lines from after "
                f"{rfc3339(seen.missed_at)} may be lost (seen {seen.missed} times)",
                "keep a process reading (`session-monitor service install`), or let logrotate keep more files; if the "
                "file is still somewhere, `session-monitor ingest --once --log-path FILE` counts what is missing",
            )
