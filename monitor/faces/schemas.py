"""JSON Schemas of what ``--json`` prints, made from the answers themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

#: Of all schemas. Goes up when a field is renamed, removed, or changes its meaning; new fields leave it.
VERSION = 1


def _session() -> dict[str, Any]:
    from monitor.answers.documents import document_schema  # noqa: PLC0415 - one schema is asked for at a time

    return document_schema()


def _of(module: str, name: str) -> Callable[[], dict[str, Any]]:
    def made() -> dict[str, Any]:
        from importlib import import_module  # noqa: PLC0415

        model: type[BaseModel] = getattr(import_module(f"monitor.answers.{module}"), name)
        return model.model_json_schema()

    return made


#: By the command whose ``--json`` it describes; what a command prints in several forms has several.
_MADE: dict[str, Callable[[], dict[str, Any]]] = {
    "list": _of("sessions", "SessionList"),
    "show": _session,
    "stats-model": _of("stats", "ModelStats"),
    "stats-date": _of("stats", "DateStats"),
    "stats-by": _of("groups", "GroupStats"),
    "overview": _of("overview", "SpendOverview"),
    "compare": _of("comparison", "Comparison"),
    "anomalies": _of("anomalies.base", "Anomalies"),
    "reconcile": _of("reconcile.answer", "Reconciliation"),
    "backfill": _of("backfill", "Backfill"),
    "watch": _of("pulse", "Pulse"),
    "export": _of("report", "FinOpsReport"),
    "url": _of("links", "SessionLink"),
    "doctor": _of("health", "Diagnosis"),
    "budget": _of("budgets", "Budgets"),
    "prune": _of("retention", "Pruning"),
    "prune-session": _of("retention", "Purging"),
    "archive": _of("retention", "Archived"),
    "prices": _of("prices", "Prices"),
    "prices-model": _of("prices", "ModelPrice"),
    "prices-missing": _of("prices", "MissingPrices"),
    "prices-apply": _of("repricing", "AppliedPrices"),
    "prices-update": _of("prices", "PriceUpdate"),
}
NAMES = tuple(_MADE)


def schema(name: str) -> dict[str, Any]:
    """The schema of what the command `name` prints.

    Raises:
        KeyError: there is none of this name.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:agent-session-monitor:{name}:{VERSION}",
        **_MADE[name](),
    }
