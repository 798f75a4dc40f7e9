"""Two meters, and every difference between them: the gateway's log against OpenClaw's transcripts."""

from __future__ import annotations

from monitor.answers.reconcile.answer import Reconciliation, reconcile

__all__ = ["Reconciliation", "reconcile"]
