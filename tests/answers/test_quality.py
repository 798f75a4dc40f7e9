"""A meter that falls silent while the other one runs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from monitor.answers.base import Asking
from monitor.answers.quality import silent_meters
from monitor.prices.money import Cost
from monitor.rounds import Round
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore
from tests.openclaw import BEGIN

MINUTE = 60_000
BOTH = ("higress", "openclaw", "usage")


def said(folder: Path, minutes: dict[str, list[int]], kinds: tuple[str, ...] = BOTH) -> list[str]:
    """What is said of calls that began so many minutes before now."""
    rounds = [
        PricedRound(
            Round(key=f"{n:08}{kind:8}".encode(), source=kind, started_at=BEGIN - ago * MINUTE),
            Cost("none"),
        )
        for kind, times in minutes.items()
        for n, ago in enumerate(times)
    ]
    with closing(SqliteStore(folder)) as store:
        store.add(Batch(rounds=rounds))
        return silent_meters(Asking(store), kinds, now=BEGIN)


def test_the_gateway_is_silent_while_openclaw_speaks(tmp_path: Path) -> None:
    (text,) = said(tmp_path, {"higress": [300, 200], "openclaw": [190, 150, 100, 50, 10]})
    assert text.startswith("The gateway's log: no call since 2026-11-21T17:40:00")
    assert "had 5" in text


def test_transcripts_that_never_came_are_missed_after_a_day(tmp_path: Path) -> None:
    (text,) = said(tmp_path, {"higress": list(range(0, 600, 60)), "openclaw": [3000]})
    assert text.startswith("OpenClaw's transcripts: no call for a day")


@pytest.mark.parametrize(
    "minutes",
    [
        {"higress": [300, 1], "openclaw": [290, 200, 100, 50, 20, 2]},
        {"higress": [20], "openclaw": [19, 18, 17, 16, 15, 1]},
        {"higress": [300], "openclaw": [200, 100, 1]},
        {},
    ],
)
def test_nothing_is_said_while_both_speak_or_hardly_anything_was_said(
    tmp_path: Path, minutes: dict[str, list[int]]
) -> None:
    assert said(tmp_path, minutes) == []


def test_one_meter_alone_is_not_compared_with_one_that_nobody_follows(tmp_path: Path) -> None:
    assert said(tmp_path, {"higress": list(range(0, 600, 60))}, ("higress",)) == []
