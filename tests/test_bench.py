"""The benchmarks run: every row of the table is there. How fast anything is, is not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import table
from bench.measure import Row

ROOT = Path(__file__).parent.parent

ROWS = (
    "ingest, lines of 190 KB",
    "ingest, lines of 22 KB",
    "ingest, lines of 2 KB",
    "1000th round of a session against its 10th",
    "stored bytes of the log, sessions of 50 rounds",
    "get_session at 20 k rounds against 5 k",
    "list_sessions at 20 k rounds against 5 k",
    "stats_by_model at 20 k rounds against 5 k",
    "get_session at 20 k rounds against echo",
    "list_sessions at 20 k rounds against echo",
    "stats_by_model at 20 k rounds against echo",
    "spawn to tools/list against a bare server",
    "a line written until a listener is told",
    "CPU of the ingesting process while nothing happens",
    "memory of ingestion above a bare server",
    "64 clients while 1,000 rounds a second are written: served and counted",
    "a usage record against a bare write of its line",
    "rounds beside a source that saw other calls",
    "rounds that another source had seen before",
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other processes' CPU time is read as Linux tells it")
def test_the_quick_run_has_every_row() -> None:
    """One command measures everything; each row has a positive figure and says what is behind it."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["sizes"] == "quick"
    rows = report["rows"]
    assert [row["name"] for row in rows] == list(ROWS)
    for row in rows:
        assert row["measured"] > 0, row
        assert row["goal"] > 0
        assert row["figures"]
        assert row["met"] is (
            row["measured"] >= row["goal"] if row["better"] == "more" else row["measured"] <= row["goal"]
        )


def test_the_table_says_what_is_missed() -> None:
    """A goal that is not reached stands there as missed, whichever way is better."""
    rows = [
        Row("reading", 4.0, "more", 4.2, "x", "fast"),
        Row("answers", 1.5, "less", 1.87, "x", "slow"),
    ]
    assert table(rows).splitlines()[2:] == [
        "| reading | ≥ 4x | 4.2x | met | fast |",
        "| answers | ≤ 1.5x | 1.87x | missed | slow |",
    ]


def test_a_part_that_does_not_exist_is_named() -> None:
    """A misspelt part is an error, and what there is is listed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "ingst"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such part: ingst" in done.stderr
    assert "ingest" in done.stderr
