"""Whether the figures can be trusted: what was read, what was skipped, what is missing, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from monitor.answers.base import NO_MODEL, Answer, Asking, Part, added
from monitor.answers.health.standing import Standing
from monitor.answers.quality import silent_meters

#: Skipped lines that are in order: traffic without a model, empty lines; in transcripts calls that a fork copied,
#: and what OpenClaw wrote itself.
_NORMAL_REASONS = frozenset(("non_ai", "blank", "copied", "own"))
_FOREIGN_ADVICE = "lines of another program are in this file; that is normal for Higress' all-in-one gateway.log"


class SourceReport(Part):
    """One source."""

    path: str
    kind: str
    exists: bool
    size_bytes: int | None = None
    pending_bytes: int | None = None
    skipped: dict[str, int] | None = Field(default=None, description="Lines that are no rounds, by reason.")
    samples: dict[str, str] | None = Field(default=None, description="The beginning of such a line, quoted log text.")
    problems: list[str] = []


class SourceHealth(Answer):
    """The state of everything that is followed."""

    ok: bool
    ingesting: bool
    rounds: int
    sessions: int
    rounds_without_session: int | None = None
    unpriced_models: list[str] = []
    sources: list[SourceReport]
    advice: list[str] = Field(default=[], description="What to do, most urgent first.")
    version: str | None = None


def source_health(ask: Asking, standing: Standing, *, samples: bool = False) -> SourceHealth:
    """The report on all sources, in short; `samples` shows the beginnings of lines that could not be read."""
    return SourceHealth(**facts(ask, standing, samples=samples))


def facts(ask: Asking, standing: Standing, *, samples: bool) -> dict[str, Any]:
    """The fields of the report; `samples` shows the beginnings of lines that could not be read."""
    skipped: dict[str, dict[str, int]] = {}
    beginnings: dict[str, dict[str, str]] = {}
    for line in ask.store.skipped():
        skipped.setdefault(line.source, {})[line.reason] = line.count
        if samples and line.sample and line.reason not in _NORMAL_REASONS:
            beginnings.setdefault(line.source, {})[line.reason] = line.sample.decode("utf-8", "replace")
    slices = list(ask.store.slices())
    rounds = added(part.counts for part in slices).rounds
    nameless = sum(part.counts.rounds for record in ask.store.unnamed() for part in record.slices)
    unpriced = sorted({part.model or NO_MODEL for part in slices if part.price.status == "unpriced"})
    reports = [
        SourceReport(
            path=source.source,
            kind=source.kind,
            exists=source.exists,
            size_bytes=source.size if source.exists else None,
            pending_bytes=source.pending_bytes or None,
            skipped=skipped.get(source.source),
            samples=beginnings.get(source.source),
            problems=list(source.problems),
        )
        for source in standing.sources
    ]
    advice = _advice(standing, reports, rounds, nameless, unpriced)
    advice += silent_meters(ask, [source.kind for source in standing.sources])
    ok = standing.failure is None and not any(report.problems for report in reports) and not standing.problems
    return {
        "ok": ok and bool(reports) and all(report.exists for report in reports),
        "ingesting": standing.ingesting,
        "rounds": rounds,
        "sessions": ask.store.session_count(),
        "rounds_without_session": nameless or None,
        "unpriced_models": unpriced,
        "sources": reports,
        "advice": advice,
        "version": standing.version or None,
        **ask.freshness,
    }


def _advice(
    standing: Standing, reports: Sequence[SourceReport], rounds: int, nameless: int, unpriced: Sequence[str]
) -> list[str]:
    advice = []
    if standing.failure is not None:
        advice.append(f"{standing.failure}. Nothing is lost as long as the log files exist; it is tried again.")
    advice += standing.problems
    if not reports:
        advice.append(
            "No log is followed: pass --log-path. Higress writes /var/log/proxy/access.log (docker compose), "
            "/var/log/higress/gateway.log inside the all-in-one container, or container output (Kubernetes)."
        )
    if not standing.ingesting:
        advice.append("No process reads the logs now: start `session-monitor serve` or `session-monitor ingest`.")
    for report in reports:
        if not report.exists:
            advice.append(f"{report.path} does not exist yet; it is read as soon as it appears.")
        elif report.size_bytes == 0 and rounds == 0 and report.kind == "usage":
            advice.append(
                f"{report.path} has no usage records yet: `session-monitor record`, `monitor.get_usage_monitor()` in "
                "Python and POST /api/usage/records write them."
            )
        elif report.size_bytes == 0 and rounds == 0:
            advice.append(
                f"{report.path} is empty. Higress' all-in-one image without its O11Y suite leaves access.log empty and "
                "writes to /var/log/higress/gateway.log inside the container."
            )
        bad = (report.skipped or {}).get("malformed", 0)
        if bad:
            advice.append(f"{report.path}: {bad} damaged lines were skipped; `session-monitor doctor` shows one.")
        if rounds == 0 and (report.skipped or {}).get("foreign", 0):
            advice.append(f"{report.path}: {_FOREIGN_ADVICE}. Access-log lines have not been seen in it yet.")
    if rounds and nameless == rounds and (standing.reads_gateway or not standing.sources):
        advice.append(
            "No round names a session. Set session_id_header of Higress' ai-statistics plugin to a header that your "
            "client sends; `session-monitor skill install --client openclaw` has OpenClaw send one."
        )
    if unpriced:
        advice.append(f"No price is known for {', '.join(unpriced[:5])}: their cost is in no total.")
    advice += standing.notes
    return advice
