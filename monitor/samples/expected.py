"""What a right reader must find in a sample log."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

QUARTER_HOUR_MS = 900_000

_Key = TypeVar("_Key")


@dataclass(slots=True)
class Line:
    """One line, and what it says."""

    data: bytes
    kind: Literal["round", "non_ai", "foreign"] = "round"
    session_id: str | None = None
    conversation: str = ""
    model: str | None = None
    host: str = ""
    start: int = 0
    failed: bool = False
    #: Inclusive input and output, reasoning, cache reads, cache writes.
    used: tuple[int, int, int, int, int] | None = None


@dataclass(slots=True)
class Totals:
    """Sums over rounds. Tokens are inclusive: input holds both cache counts, output holds reasoning."""

    rounds: int = 0
    failed: int = 0
    #: Rounds without any token counts.
    unmetered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0

    def as_json(self) -> dict[str, int]:
        """The sums by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(slots=True)
class Expected:
    """Exactly what a right reader finds in the lines that `lines` has yielded so far.

    None stands for a session id or a model that the log does not say. `cells` is keyed by model,
    host (the last part of ``upstream_cluster``) and start of the quarter hour in which the request
    started.
    """

    lines: int = 0
    bytes: int = 0
    #: Lines of the access log that are no model requests (``"ai_log":"-"``).
    non_ai: int = 0
    #: Lines that are not of the access log.
    foreign: int = 0
    total: Totals = field(default_factory=Totals)
    sessions: dict[str | None, Totals] = field(default_factory=dict)
    models: dict[str | None, Totals] = field(default_factory=dict)
    cells: dict[tuple[str | None, str, int], Totals] = field(default_factory=dict)
    #: Rounds without a session id by the conversation they truly belong to: the key in OpenClaw's
    #: ``Runtime:`` line where there is one, else a name that no line mentions.
    headerless: dict[str, Totals] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; mappings as sorted rows, because JSON keys cannot be null."""
        return {
            "lines": self.lines,
            "bytes": self.bytes,
            "non_ai": self.non_ai,
            "foreign": self.foreign,
            "total": self.total.as_json(),
            "sessions": [{"session_id": k, **t.as_json()} for k, t in _sorted(self.sessions)],
            "models": [{"model": k, **t.as_json()} for k, t in _sorted(self.models)],
            "cells": [
                {"model": model, "host": host, "quarter": quarter, **t.as_json()}
                for (model, host, quarter), t in sorted(
                    self.cells.items(), key=lambda item: (item[0][2], item[0][1], item[0][0] or "")
                )
            ],
            "headerless": [{"conversation": k, **t.as_json()} for k, t in sorted(self.headerless.items())],
        }

    def add(self, line: Line) -> None:
        """Count a line."""
        self.lines += 1
        self.bytes += len(line.data)
        if line.kind == "foreign":
            self.foreign += 1
            return
        if line.kind == "non_ai":
            self.non_ai += 1
            return
        cell = (line.model, line.host, line.start - line.start % QUARTER_HOUR_MS)
        holders = [
            self.total,
            _held(self.sessions, line.session_id),
            _held(self.models, line.model),
            _held(self.cells, cell),
        ]
        if line.session_id is None:
            holders.append(_held(self.headerless, line.conversation))
        used = line.used
        for totals in holders:
            totals.rounds += 1
            totals.failed += line.failed
            if used is None:
                totals.unmetered += 1
                continue
            totals.input_tokens += used[0]
            totals.output_tokens += used[1]
            totals.reasoning_tokens += used[2]
            totals.cached_tokens += used[3]
            totals.cache_write_tokens += used[4]


def _held(totals: dict[_Key, Totals], key: _Key) -> Totals:
    found = totals.get(key)
    if found is None:
        found = totals[key] = Totals()
    return found


def _sorted(totals: dict[str | None, Totals]) -> list[tuple[str | None, Totals]]:
    return sorted(totals.items(), key=lambda item: (item[0] is not None, item[0] or ""))
