"""The FinOps report: every part adds up to the whole, and the period before is the one before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.answers.base import Asking
from monitor.answers.errors import BadQuestion
from monitor.answers.report import report
from monitor.prices.money import Cost
from monitor.rounds import Usage
from tests.answers.made import CNY, FREE, NOON, NOTHING, UNPRICED, asking, made

DAY = 24 * 60
PARTS = (
    "by_model",
    "by_date",
    "by_hour",
    "by_consumer",
    "by_function",
    "by_route",
    "by_agent",
    "by_user",
    "by_host",
    "by_source",
)


@pytest.fixture
def ask(tmp_path: Path) -> Asking:
    rounds = [
        made(
            1, consumer="alice", route="r1", function="chat", user_id="u1", host="h1", usage=Usage(1000, 100, 60, 400)
        ),
        made(2, CNY, consumer="bob", session_id="agent:coder:x", model="glm-5", usage=Usage(2000, 300, None, 0, 70)),
        made(DAY + 3, consumer="alice", session_id="s2"),
        made(DAY + 4, NOTHING, consumer="bob", session_id="s2", usage=Usage(), success=False, status=429),
        made(DAY + 5, UNPRICED, model="mine", session_id=None, session_source=None),
        made(2 * DAY + 6, FREE, consumer="alice"),
        made(2 * DAY + 600, Cost("estimated", 7, "CNY", "list B"), consumer="bob", success=False, status=503),
    ]
    return asking(tmp_path, rounds)


def test_every_part_adds_up_to_the_whole(ask: Asking) -> None:
    whole = report(ask)
    assert (whole.totals.rounds, whole.totals.input_tokens, whole.totals.output_tokens) == (7, 3400, 440)
    assert whole.totals.cost == {"CNY": 0.020000007, "USD": 0.003}
    for part in PARTS:
        rows = getattr(whole, part)
        assert sum(row.rounds for row in rows) == 7, part
        assert sum(row.input_tokens or 0 for row in rows) == 3400, part
        assert sum(row.failed_rounds or 0 for row in rows) == 2, part
        for currency, amount in whole.totals.cost.items():
            assert sum((row.cost or {}).get(currency, 0) for row in rows) == pytest.approx(amount, abs=1e-12), part
    named = [row for row in whole.by_session if row.name is not None]
    assert sum(row.rounds for row in named) == 6  # one round names no session
    assert whole.totals.sessions == len(named) == 3
    assert whole.before is None


def test_what_has_a_price_is_told_apart(ask: Asking) -> None:
    priced = report(ask).priced
    assert (priced.rounds, priced.tokens) == (5, 3840 - 110)
    assert priced.share == round(3730 / 3840, 4)
    assert (priced.free_rounds, priced.estimated_rounds) == (1, 1)
    assert priced.price_lists == ["v1"]
    assert report(ask).totals.unpriced is not None


def test_failures_are_newest_first_with_their_session(ask: Asking) -> None:
    failures = report(ask).failures
    assert (failures.rounds, failures.rate) == (2, round(2 / 7, 4))
    assert [(row.status, row.session_id) for row in failures.newest] == [(503, "agent:main:main"), (429, "s2")]
    assert [row.model for row in failures.by_model] == ["gpt-5.4"]
    assert report(ask, until="2026-02-02").failures.rounds == 1


def test_hours_are_those_of_the_clock_in_the_zone(ask: Asking, tmp_path: Path) -> None:
    assert [(row.hour, row.rounds) for row in report(ask).by_hour] == [(9, 6), (19, 1)]
    kathmandu = Asking(ask.store, as_of=ask.as_of, timezone="Asia/Kathmandu")
    # 09:31 is 15:16 there; 19:30 is a quarter past one of the next day.
    assert [(row.hour, row.rounds) for row in report(kathmandu).by_hour] == [(1, 1), (15, 6)]
    assert [row.date for row in report(kathmandu).by_date] == ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"]


def test_the_period_before_has_as_many_days_and_ends_where_this_begins(ask: Asking) -> None:
    made_report = report(ask, since="2026-02-02", until="2026-02-02")
    assert (made_report.since, made_report.until) == ("2026-02-02T00:00:00Z", "2026-02-03T00:00:00Z")
    before = made_report.before
    assert before is not None
    assert (before.since, before.until) == ("2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z")
    assert before.totals.rounds == 2
    assert before.change.rounds == 0.5
    # 3000 tokens of input before, 200 now; what cost CNY then costs nothing in CNY now.
    assert before.change.input_tokens == round(200 / 3000 - 1, 4)
    assert before.change.cost == {"CNY": -1.0, "USD": 0.0}
    assert before.change.success_rate == round(2 / 3 - 1, 4)


def test_a_day_that_is_not_over_is_compared_with_as_much_of_the_day_before(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    ask = asking(tmp_path, [made(1, started_at=round(midnight.timestamp() * 1000))])
    before = report(ask, days=1).before
    assert before is not None
    assert datetime.fromisoformat(before.since) == midnight - timedelta(days=1)
    assert now - timedelta(days=1) <= datetime.fromisoformat(before.until) < now - timedelta(hours=23)


def test_a_period_that_begins_within_a_day_is_compared_with_as_long_a_time(ask: Asking) -> None:
    before = report(ask, since="2026-02-01T09:32", until="2026-02-01T09:33").before
    assert before is not None
    assert (before.since, before.until) == ("2026-02-01T09:31:00Z", "2026-02-01T09:32:00Z")
    assert (before.totals.rounds, before.change.cost) == (1, {"USD": -1.0})


def test_a_period_before_all_rounds_is_empty_and_whole(ask: Asking) -> None:
    nothing = report(ask, since="2020-01-01", until="2020-01-31")
    assert nothing.totals.rounds == 0
    assert nothing.small()["by_model"] == []
    assert nothing.priced.share is None
    assert nothing.failures.newest == []


def test_a_time_that_is_none_is_refused(ask: Asking) -> None:
    with pytest.raises(BadQuestion, match="whenever"):
        report(ask, since="whenever")


def test_a_clock_that_goes_forward_does_not_shift_the_days_before(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, started_at=NOON)], timezone="Europe/Berlin")
    before = report(ask, since="2026-03-29", until="2026-03-29").before  # a day of 23 hours
    assert before is not None
    assert (before.since, before.until) == ("2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z")
