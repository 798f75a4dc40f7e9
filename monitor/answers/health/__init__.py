"""Whether the figures can be trusted: in short for agents (`source_health`), in full for people (`diagnosis`)."""

from __future__ import annotations

from monitor.answers.health.diagnosis import Diagnosis, Finding, SourceDetail, diagnosis
from monitor.answers.health.report import SourceHealth, SourceReport, source_health
from monitor.answers.health.standing import Hint, Place, SourceStanding, Standing, Trouble

__all__ = [
    "Diagnosis",
    "Finding",
    "Hint",
    "Place",
    "SourceDetail",
    "SourceHealth",
    "SourceReport",
    "SourceStanding",
    "Standing",
    "Trouble",
    "diagnosis",
    "source_health",
]
