"""What goes on now: totals, the pace of the last minutes, failures, and a budget for what is shown."""

from __future__ import annotations

from pathlib import Path

from monitor.answers.health import SourceStanding, Standing
from monitor.answers.pulse import pulse
from monitor.rounds import Usage
from tests.answers.made import CNY, NOON, NOTHING, asking, made

DAY = 24 * 60
NOW = NOON + 10 * 60_000
STANDING = Standing(
    (SourceStanding("/var/log/a.log", "higress", exists=True, size=9, pending_bytes=4),), ingesting=True
)


def test_the_pace_is_a_mean_of_the_last_five_minutes(tmp_path: Path) -> None:
    rounds = [made(1), made(6), made(7, CNY, usage=Usage(1000, 200)), made(9)]
    seen = pulse(asking(tmp_path, rounds), STANDING, now=NOW)
    # Minutes 6, 7 and 9 lie in the last five.
    assert (seen.pace.rounds, seen.pace.tokens) == (0.6, (110 + 1200 + 110) / 5)
    assert seen.pace.cost == {"CNY": 0.004, "USD": 0.0006}
    assert seen.totals.rounds == 4


def test_the_cache_hit_rate_is_a_share_of_the_input(tmp_path: Path) -> None:
    rounds = [made(1, usage=Usage(1000, 10, None, 750)), made(2, usage=Usage(1000, 10, None, 0))]
    assert pulse(asking(tmp_path, rounds), STANDING, now=NOW).cache_hit_rate == 0.375
    assert pulse(asking(tmp_path / "b", [made(1)]), STANDING, now=NOW).cache_hit_rate is None


def test_a_budget_counts_what_is_shown(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1), made(2, session_id="b"), made(DAY, session_id="b")])

    def used(session_key: str | None = None, since: str | None = None) -> int:
        budget = pulse(ask, STANDING, budget=1000, now=NOW, session_key=session_key, since=since).budget
        assert budget is not None
        assert budget.share == round(budget.used / 1000, 4)
        return budget.used

    assert used() == 330
    assert used(session_key="b") == 220
    assert used(session_key="b", since="2026-02-02") == 110
    assert used(session_key="agent:*") == 110


def test_failures_are_of_the_last_day_and_of_what_is_shown(tmp_path: Path) -> None:
    failed = {"success": False, "usage": Usage()}
    rounds = [
        made(1, NOTHING, started_at=NOW - 2 * DAY * 60_000, status=500, **failed),
        made(2, NOTHING, status=501, **failed),
        made(3, NOTHING, status=502, session_id="b", **failed),
        made(4),
    ]
    ask = asking(tmp_path, rounds)
    assert [row.status for row in pulse(ask, STANDING, now=NOW).failures] == [502, 501]
    assert [row.status for row in pulse(ask, STANDING, session_key="b", now=NOW).failures] == [502]


def test_it_says_how_far_each_source_is_read(tmp_path: Path) -> None:
    (source,) = pulse(asking(tmp_path, [made(1)]), STANDING, now=NOW).sources
    assert (source.path, source.pending_bytes, source.exists) == ("/var/log/a.log", 4, True)
