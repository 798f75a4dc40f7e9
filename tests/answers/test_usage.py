"""Usage for programs that compute with plain numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.answers.base import Asking
from monitor.answers.errors import BadQuestion
from monitor.answers.usage import cost_trend, daily, hourly, monthly, slow, top_users
from monitor.config import ConfigError, load
from monitor.rounds import UNKNOWN_TIME, Usage
from monitor.store.base import PricedRound
from monitor.store.sqlite import SqliteStore
from tests.answers.made import CNY, FREE, NOON, NOTHING, UNPRICED, USD, asking, made, scattered

#: 2026-02-01T09:30:00Z, a Sunday.
NOW = datetime.fromtimestamp(NOON / 1000, UTC)
DAY = 24 * 60
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Asia/Shanghai")


def day_of(priced: PricedRound, zone: str) -> str:
    return datetime.fromtimestamp(priced.round.started_at / 1000, ZoneInfo(zone)).date().isoformat()


def in_currency(rounds: Iterable[PricedRound], currency: str) -> Decimal:
    """The sum in one currency, in its unit."""
    return sum(
        (Decimal(p.cost.nano).scaleb(-9) for p in rounds if p.cost.currency == currency and p.cost.nano is not None),
        Decimal(0),
    )


def tokens(rounds: Iterable[PricedRound]) -> int:
    return sum((p.round.usage.input_tokens or 0) + (p.round.usage.output_tokens or 0) for p in rounds)


def exactly(value: float | None, wanted: Decimal) -> bool:
    return value is not None and abs(Decimal(repr(value)) - wanted) < Decimal("1e-9")


@settings(max_examples=40, deadline=None)
@given(scattered(), st.sampled_from(ZONES), st.integers(0, 8), st.sampled_from(["CNY", "USD"]))
def test_a_day_holds_what_started_on_it_and_one_currency_at_a_time(
    rounds: list[PricedRound], zone: str, days_ago: int, currency: str
) -> None:
    day = (NOW.astimezone(ZoneInfo(zone)).date() - timedelta(days=days_ago)).isoformat()
    right = [p for p in rounds if day_of(p, zone) == day]
    with TemporaryDirectory() as folder:
        answer = daily(asking(Path(folder), rounds, timezone=zone), days_ago, currency=currency, now=NOW)
    assert (answer.date, answer.total_calls, answer.total_tokens) == (day, len(right), tokens(right))
    assert exactly(answer.total_cost, in_currency(right, currency))
    for name, value in (answer.costs or {}).items():
        assert exactly(value, in_currency(right, name))
    if right:
        assert answer.success_rate == round(sum(p.round.success for p in right) / len(right), 4)
    for row in answer.by_model:
        of_model = [p for p in right if (p.round.model or "(no model)") == row.model]
        assert (row.calls, row.total_tokens or 0) == (len(of_model), tokens(of_model))
        if row.cost is not None:
            assert exactly(row.cost, in_currency(of_model, currency))
    by_function = {row.function: row.calls for row in answer.by_function}
    assert by_function == {
        name: sum((p.round.function or "(no function)") == name for p in right)
        for name in {p.round.function or "(no function)" for p in right}
    }
    assert sum(row.calls for row in answer.by_model) == len(right)


@settings(max_examples=40, deadline=None)
@given(scattered(), st.sampled_from(ZONES), st.integers(1, 8))
def test_every_day_of_a_trend_is_there_and_says_how_it_differs_from_the_day_before(
    rounds: list[PricedRound], zone: str, days: int
) -> None:
    last = NOW.astimezone(ZoneInfo(zone)).date()
    with TemporaryDirectory() as folder:
        trend = cost_trend(asking(Path(folder), rounds, timezone=zone), days, now=NOW)
    assert [row.date for row in trend.rows] == [(last - timedelta(days=n)).isoformat() for n in range(days)][::-1]
    for row in trend.rows:
        before = (datetime.fromisoformat(row.date) - timedelta(days=1)).date().isoformat()
        mine = [p for p in rounds if day_of(p, zone) == row.date]
        theirs = [p for p in rounds if day_of(p, zone) == before]
        assert row.calls == len(mine)
        if row.change is not None:
            assert exactly(row.change, in_currency(mine, "CNY") - in_currency(theirs, "CNY"))
        else:
            assert any(p.cost.status == "unpriced" for p in mine + theirs)


@settings(max_examples=40, deadline=None)
@given(scattered(), st.sampled_from(ZONES), st.integers(1, 8))
def test_hours_are_those_of_the_wall_clock_and_the_peak_has_the_most_calls(
    rounds: list[PricedRound], zone: str, days: int
) -> None:
    first = (NOW.astimezone(ZoneInfo(zone)).date() - timedelta(days=days - 1)).isoformat()
    counts = dict.fromkeys(range(24), 0)
    for priced in rounds:
        if day_of(priced, zone) >= first:
            counts[datetime.fromtimestamp(priced.round.started_at / 1000, ZoneInfo(zone)).hour] += 1
    with TemporaryDirectory() as folder:
        answer = hourly(asking(Path(folder), rounds, timezone=zone), days, now=NOW)
    assert {row.hour: row.calls for row in answer.rows} == counts
    most = max(counts.values())
    assert answer.peak_hour == (min(h for h, n in counts.items() if n == most) if most else None)


@settings(max_examples=40, deadline=None)
@given(scattered(), st.integers(1, 4))
def test_users_are_ranked_by_tokens_and_by_cost(rounds: list[PricedRound], limit: int) -> None:
    first = (NOW.date() - timedelta(days=6)).isoformat()
    users: dict[str, list[PricedRound]] = {}
    for priced in rounds:
        if day_of(priced, "UTC") >= first:
            users.setdefault(priced.round.user_id or "(no user)", []).append(priced)
    with TemporaryDirectory() as folder:
        answer = top_users(asking(Path(folder), rounds), limit, now=NOW)
    totals = sorted((tokens(group) for group in users.values()), reverse=True)
    assert [row.total_tokens or 0 for row in answer.by_tokens] == totals[:limit]
    spent = sorted((in_currency(group, "CNY") for group in users.values()), reverse=True)
    for row, wanted in zip(answer.by_cost, spent[:limit], strict=True):
        assert in_currency(users[row.user_id], "CNY") == wanted


def test_a_month_has_its_average_day_and_is_rounded_once(tmp_path: Path) -> None:
    # Two of the rounds are of January.
    rounds = [made(n + 2, CNY, started_at=NOON + n * DAY * 60_000) for n in range(-2, 3)]
    now = NOW + timedelta(days=2)
    answer = monthly(asking(tmp_path, rounds), now=now)
    assert (answer.month, answer.period, answer.days, answer.total_calls) == ("2026-02", "monthly", 3, 3)
    assert answer.total_cost == 0.06
    assert answer.daily_average.cost == 0.02
    assert answer.daily_average.calls == 1
    third = monthly(asking(tmp_path / "b", [made(1, CNY)]), now=now)
    assert Decimal(str(third.daily_average.cost)) == Decimal("0.006666667")


def test_money_in_other_currencies_is_never_in_the_plain_number(tmp_path: Path) -> None:
    answer = daily(asking(tmp_path, [made(1, USD), made(2, USD, model="other"), made(3, CNY)]), now=NOW)
    assert answer.total_cost == 0.02
    assert answer.costs == {"CNY": 0.02, "USD": 0.003}
    assert {row.model: (row.cost, row.costs) for row in answer.by_model} == {
        "gpt-5.4": (0.02, {"CNY": 0.02, "USD": 0.0015}),
        "other": (0, {"USD": 0.0015}),
    }


def test_a_free_model_costs_nothing_and_one_without_a_price_has_no_cost(tmp_path: Path) -> None:
    answer = daily(asking(tmp_path, [made(1, FREE, model="free"), made(2, UNPRICED, model="mine")]), now=NOW)
    rows = {row["model"]: row for row in answer.small()["by_model"]}
    assert (rows["free"]["cost"], rows["free"]["costs"]) == (0, {"CNY": 0})
    assert "cost" not in rows["mine"]
    assert answer.total_cost == 0
    assert answer.unpriced is not None
    assert (answer.unpriced.rounds, answer.unpriced.models) == (1, ["mine"])


def test_an_empty_store_answers_everything_with_nothing(tmp_path: Path) -> None:
    ask = Asking(SqliteStore(tmp_path, read_only=True), timezone="Asia/Kolkata")
    day = daily(ask, now=NOW).small()
    assert (day["total_calls"], day["total_tokens"], day["total_cost"]) == (0, 0, 0)
    assert day["by_model"] == day["by_function"] == []
    assert "success_rate" not in day
    assert monthly(ask, now=NOW).daily_average.cost == 0
    assert [row.calls for row in hourly(ask, now=NOW).rows] == [0] * 24
    assert hourly(ask, now=NOW).peak_hour is None
    trend = cost_trend(ask, 3, now=NOW)
    assert [(row.cost, row.change, row.change_rate) for row in trend.rows] == [(0, 0, None)] * 3
    assert top_users(ask, now=NOW).by_tokens == []
    assert slow(ask, now=NOW).rows == []


def test_slow_calls_are_the_slowest_of_the_week(tmp_path: Path) -> None:
    rounds = [
        made(1, CNY, latency_ms=5000, user_id="u", function="f"),
        made(2, latency_ms=4999),
        made(3, latency_ms=70_000, success=False, usage=Usage(), session_id=None, session_source=None),
        made(4, latency_ms=90_000, started_at=NOON - 9 * DAY * 60_000),
        made(5, NOTHING, latency_ms=90_000, started_at=UNKNOWN_TIME),
    ]
    answer = slow(asking(tmp_path, rounds), now=NOW)
    assert [(row.duration_ms, row.cost, row.total_tokens) for row in answer.rows] == [
        (70_000, None, None),
        (5000, 0.02, 110),
    ]
    assert answer.rows[0].costs == {"USD": 0.0015}
    assert answer.rows[0].url is None
    assert answer.rows[1].url == "http://localhost:8888/session?id=agent%3Amain%3Amain"
    assert len(slow(asking(tmp_path, []), limit=1, now=NOW).rows) == 1


def test_impossible_periods_are_refused_with_the_way_out(tmp_path: Path) -> None:
    ask = asking(tmp_path, [])
    for days_ago in (-1, 10**9):
        with pytest.raises(BadQuestion, match="use 0 for today"):
            daily(ask, days_ago)
    for question in (hourly, cost_trend):
        with pytest.raises(BadQuestion, match="use 1 for today"):
            question(ask, 0)
    with pytest.raises(BadQuestion, match="limit is 0"):
        top_users(ask, 0)
    with pytest.raises(BadQuestion, match="use 1 or more"):
        slow(ask, limit=0)


def test_the_plain_currency_is_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "session-monitor.toml"
    file.write_text('[usage]\ncurrency = "usd"\n')
    assert load(file).usage.currency == "USD"
    file.write_text('[usage]\ncurrency = "dollars"\n')
    with pytest.raises(ConfigError, match="three letters"):
        load(file)
