"""What is to be told of budgets, and how telling it went, as rows."""

from __future__ import annotations

import sqlite3
import time

from monitor.store.base import Alert, Delivery

_DELIVERY = "d.alert, d.channel, a.budget, a.facts, d.tries, d.state, d.error"


def due(db: sqlite3.Connection, now: int) -> list[Delivery]:
    """Messages that wait and whose time has come, the oldest first."""
    rows = db.execute(
        f"SELECT {_DELIVERY} FROM delivery AS d JOIN alert AS a ON a.id = d.alert "
        "WHERE d.state = 'waiting' AND d.next_at <= ? ORDER BY d.alert, d.channel LIMIT 100",
        (now,),
    )
    return [_delivery(row) for row in rows]


def delivered(db: sqlite3.Connection, delivery: Delivery, error: str | None, again_at: int | None) -> None:
    """How sending went: done without an `error`, to be tried again at `again_at`, or failed for good."""
    state = "sent" if error is None else "failed" if again_at is None else "waiting"
    now = time.time_ns() // 1_000_000
    db.execute(
        "UPDATE delivery SET state = ?, tries = tries + 1, next_at = ?, done_at = ?, error = ? "
        "WHERE alert = ? AND channel = ?",
        (
            state,
            now if again_at is None else again_at,
            None if state == "waiting" else now,
            error,
            delivery.alert,
            delivery.channel,
        ),
    )


def newest(db: sqlite3.Connection, limit: int) -> list[Alert]:
    """Shares that were passed, the newest first, with who was told."""
    rows = db.execute(
        'SELECT id, budget, at, slot, share, "limit", crossed_at, facts FROM alert ORDER BY id DESC LIMIT ?', (limit,)
    ).fetchall()
    told: dict[int, list[Delivery]] = {row[0]: [] for row in rows}
    if rows:
        for row in db.execute(
            f"SELECT {_DELIVERY} FROM delivery AS d JOIN alert AS a ON a.id = d.alert WHERE d.alert >= ?",
            (rows[-1][0],),
        ):
            told[row[0]].append(_delivery(row))
    return [
        Alert(budget, at, slot, share, most, crossed_at, facts.encode(), tuple(told[number]))
        for number, budget, at, slot, share, most, crossed_at, facts in rows
    ]


def _delivery(row: tuple[int, str, str, str, int, str, str | None]) -> Delivery:
    alert, channel, budget, facts, tries, state, error = row
    return Delivery(alert, channel, budget, facts.encode(), tries, state, error)
