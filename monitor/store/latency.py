"""How long answers took, counted by steps: what a histogram is made of. It becomes SQL.

The counts move with the rounds, in one transaction, so that they are exact and survive a restart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Literal, get_args

from monitor.store.base import LATENCY_STEPS_MS, Latency
from monitor.store.labels import Labels

_KINDS: tuple[Latency, ...] = get_args(Latency)

#: Column of ``round`` -> the step of its value.
_STEP = (
    "CASE " + " ".join(f"WHEN {{0}} <= {ms} THEN {step}" for step, ms in enumerate(LATENCY_STEPS_MS))
) + f" ELSE {len(LATENCY_STEPS_MS)} END"

TABLE = """
CREATE TABLE latency (
  kind INTEGER NOT NULL,          -- 0 the whole answer, 1 its first token
  model INTEGER NOT NULL,
  step INTEGER NOT NULL,          -- number of the first of LATENCY_STEPS_MS that is not less; one more behind them
  rounds INTEGER NOT NULL,
  PRIMARY KEY (kind, model, step)
) WITHOUT ROWID
"""


def count(db: sqlite3.Connection, table: Literal["batch", "round"] = "batch", sign: Literal[1, -1] = 1) -> None:
    """Let the counts grow by the rounds in `table`, or shrink by them."""
    db.execute(
        f"INSERT INTO latency {_counted(table, sign)} ON CONFLICT DO UPDATE SET rounds = rounds + excluded.rounds"
    )


def keep_pruned(db: sqlite3.Connection, which: str) -> None:
    """Note what rounds add that are about to go, and that the counts keep; `which` is a condition on ``round``."""
    db.execute(
        f"INSERT INTO pruned_latency {_counted('round', which=which)} "
        "ON CONFLICT DO UPDATE SET rounds = rounds + excluded.rounds"
    )


def take_out(db: sqlite3.Connection, which: str) -> None:
    """Let the counts shrink by rounds that are about to go."""
    db.execute(
        f"INSERT INTO latency {_counted('round', -1, which)} "
        "ON CONFLICT DO UPDATE SET rounds = rounds + excluded.rounds"
    )


def _counted(table: str, sign: int = 1, which: str = "true") -> str:
    return " UNION ALL ".join(
        f"SELECT {kind}, model, {_STEP.format(column)}, {sign} * count(*) FROM {table} "
        f"WHERE {column} IS NOT NULL AND {which} GROUP BY 2, 3"
        for kind, column in enumerate(_KINDS)
    )


def steps(db: sqlite3.Connection, labels: Labels) -> Mapping[tuple[Latency, str | None], tuple[int, ...]]:
    """How many rounds of each model took how long, a number a step."""
    found: dict[tuple[Latency, str | None], list[int]] = {}
    for kind, model, step, rounds in db.execute("SELECT kind, model, step, rounds FROM latency"):
        row = found.setdefault((_KINDS[kind], labels.name(model)), [0] * (len(LATENCY_STEPS_MS) + 1))
        row[step] += rounds
    return {name: tuple(row) for name, row in found.items()}


def wrong(db: sqlite3.Connection) -> list[str]:
    """Where the counts are not those of the rounds."""
    kept = set(db.execute("SELECT kind, model, step, rounds FROM latency WHERE rounds != 0"))
    right = {
        tuple(row)
        for row in db.execute(
            f"SELECT kind, model, step, sum(rounds) FROM (SELECT * FROM pruned_latency UNION ALL {_counted('round')}) "
            "GROUP BY 1, 2, 3"
        )
    }
    return [f"latency: {row} is kept, the rounds tell otherwise" for row in sorted(kept ^ right)[:3]]
