"""The overview: periods and what they are compared with, and the forecast of the month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.answers.base import Asking
from monitor.answers.errors import BadQuestion
from monitor.answers.overview import LEAST_DAYS, cut, spend_overview
from monitor.answers.stats import Totals
from monitor.budgets import Budget, BudgetBook, Exchange, Limit
from monitor.prices.money import Cost
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore
from tests.answers.made import CNY, FREE, NOON, UNPRICED, USD, asking, made, scattered

#: 2026-02-01T09:30:00Z, a Sunday and the first day of a month.
NOW = datetime.fromtimestamp(NOON / 1000, UTC)
#: None changes its clocks in these months, when a wall clock shows some times twice or never.
ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")
DAY_MS = 86_400_000


def spent(rounds: Iterable[PricedRound]) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = {}
    for p in rounds:
        if p.cost.nano is not None and p.cost.currency is not None:
            sums[p.cost.currency] = sums.get(p.cost.currency, Fraction(0)) + Fraction(p.cost.nano, 10**9)
    return sums


def as_fractions(money: dict[str, float] | None) -> dict[str, Fraction]:
    return {currency: Fraction(Decimal(repr(value))) for currency, value in (money or {}).items()}


def check(totals: Totals, rounds: list[PricedRound]) -> None:
    assert totals.rounds == len(rounds)
    assert totals.sessions == len({p.round.session_id for p in rounds} - {None})
    assert (totals.input_tokens or 0) == sum(p.round.usage.input_tokens or 0 for p in rounds)
    assert as_fractions(totals.cost) == spent(rounds)
    assert (totals.failed_rounds or 0) == sum(not p.round.success for p in rounds)
    missing = sum(p.cost.status == "unpriced" for p in rounds)
    assert (totals.unpriced.rounds if totals.unpriced else 0) == missing


@settings(max_examples=60, deadline=None)
@given(scattered(days=70, most=60), st.sampled_from(ZONES), st.integers(0, 60 * DAY_MS))
def test_periods_and_what_they_are_compared_with_are_those_of_the_wall_clock(
    rounds: list[PricedRound], zone: str, off: int
) -> None:
    # Nothing is from behind the moment of the question.
    now = (NOW + timedelta(milliseconds=off)).astimezone(ZoneInfo(zone))
    rounds = [p for p in rounds if p.round.started_at <= now.timestamp() * 1000]
    with TemporaryDirectory() as folder:
        answer = spend_overview(asking(Path(folder), rounds), zone, now=now)

    def clock(p: PricedRound) -> datetime:
        return datetime.fromtimestamp(p.round.started_at / 1000, ZoneInfo(zone)).replace(tzinfo=None)

    wall = now.replace(tzinfo=None)
    today = [p for p in rounds if clock(p).date() == wall.date()]
    yesterday = [p for p in rounds if clock(p).date() == wall.date() - timedelta(days=1)]
    month = [p for p in rounds if (clock(p).year, clock(p).month) == (wall.year, wall.month)]
    check(answer.today, today)
    check(answer.yesterday, yesterday)
    check(answer.this_month, month)
    then = spent(p for p in yesterday if clock(p).time() < wall.time())
    assert as_fractions(answer.change.today.cost) == then
    difference = {c: spent(today).get(c, 0) - then.get(c, 0) for c in spent(today).keys() | then.keys()}
    assert as_fractions(answer.change.today.difference) == difference
    last = wall.replace(day=1) - timedelta(days=1)
    before = [p for p in rounds if (clock(p).year, clock(p).month) == (last.year, last.month)]
    before = [p for p in before if (clock(p).day, clock(p).time()) < (wall.day, wall.time())]
    assert answer.change.this_month.rounds == len(before)
    assert as_fractions(answer.change.this_month.cost) == spent(before)


def test_the_end_of_a_long_month_is_compared_with_the_whole_of_a_short_one(tmp_path: Path) -> None:
    last_of_february = datetime(2026, 2, 28, 23, 59, tzinfo=UTC)
    first_of_march = datetime(2026, 3, 1, 0, 1, tzinfo=UTC)
    rounds = [
        made(n, started_at=round(at.timestamp() * 1000)) for n, at in enumerate([last_of_february, first_of_march])
    ]
    change = spend_overview(asking(tmp_path, rounds), now=datetime(2026, 3, 30, 8, 0, tzinfo=UTC)).change.this_month
    assert (change.against, change.rounds) == ("last month until 2026-03-01 00:00", 1)
    assert change.difference == {"USD": 0}
    assert change.rate == {"USD": 0}


def test_a_change_says_what_it_is_against_and_keeps_currencies_apart(tmp_path: Path) -> None:
    yesterday = NOON - DAY_MS
    rounds = [
        made(1, started_at=NOON - 1),
        made(2, started_at=NOON - 2),
        made(3, started_at=yesterday - 1),
        made(4, CNY, started_at=yesterday - 2),
        made(5, started_at=yesterday + 60_000),  # later in the day than it is now
    ]
    change = spend_overview(asking(tmp_path, rounds), now=NOW).change.today
    assert change.against == "yesterday until 09:30"
    assert change.cost == {"CNY": 0.02, "USD": 0.0015}
    assert change.difference == {"CNY": -0.02, "USD": 0.0015}
    assert change.rate == {"CNY": -1, "USD": 1}


def test_budgets_and_a_combined_figure_stand_beside_the_costs(tmp_path: Path) -> None:
    exchange = Exchange("USD", {"CNY": (Decimal("8"), "2026-01-15")})
    budget = Budget("team", Limit(nano=3 * 10**9, currency="USD"), "month")
    book = BudgetBook((budget,), exchange=exchange)
    store = SqliteStore(tmp_path, price_version="v1", budgets=book)
    now = datetime.now(UTC)
    ms = round(now.timestamp() * 1000)
    store.add(Batch(rounds=[made(1, started_at=ms), made(2, CNY, started_at=ms)]))
    answer = spend_overview(Asking(store, ms, book=book), now=now)
    assert answer.this_month.combined is not None
    # 0.0015 dollars, and 0.02 yuan at eight a dollar.
    assert (answer.this_month.combined.currency, answer.this_month.combined.amount) == ("USD", 0.004)
    assert answer.this_month.combined.rates == ["8 CNY per USD (2026-01-15)"]
    [state] = answer.budgets
    assert (state.name, state.used, state.limit, state.state) == ("team", {"USD": 0.004}, {"USD": 3}, "ok")


def test_an_empty_store_has_an_overview_without_a_forecast(tmp_path: Path) -> None:
    answer = spend_overview(Asking(SqliteStore(tmp_path, read_only=True)), "Asia/Kolkata", now=NOW)
    small = answer.small()
    assert small["today"] == small["yesterday"] == small["this_month"] == {"rounds": 0, "sessions": 0}
    assert small["forecast"] == {"how": "No forecast: it takes 7 complete days of the log, and there are 0."}
    assert "average_per_day" not in small
    assert "success_rate" not in small


def test_one_round_is_no_reason_for_a_forecast(tmp_path: Path) -> None:
    answer = spend_overview(asking(tmp_path, [made(0)]), now=NOW)
    assert (answer.today.rounds, answer.this_month.cost, answer.success_rate) == (1, {"USD": 0.0015}, 1)
    assert answer.forecast.cost is None
    assert answer.average_per_day is None


def test_an_unknown_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadQuestion, match="IANA"):
        spend_overview(asking(tmp_path, []), "Mars/Olympus")


# -- the forecast ---------------------------------------------------------------------------------


def each_day(days: int, cost: Cost | None = None, **more: object) -> list[PricedRound]:
    """A round at noon on each of the days before that of `NOW`."""
    return [made(n, cost or USD, started_at=NOON - n * DAY_MS, **more) for n in range(1, days + 1)]


def test_even_spending_gives_the_same_for_every_day_to_come(tmp_path: Path) -> None:
    # 1 February 09:30 UTC: 14.5 of 24 hours of today and 27 days are to come, at 0.0015 a day.
    forecast = spend_overview(asking(tmp_path, each_day(40)), now=NOW).forecast
    wanted = Fraction(15, 10_000) * (27 + Fraction(29, 48))
    assert forecast.cost is not None
    assert abs(as_fractions(forecast.cost)["USD"] - wanted) <= Fraction(28, 10**9)
    assert forecast.low is not None
    assert forecast.low["USD"] <= forecast.cost["USD"]
    assert abs(as_fractions(forecast.low)["USD"] - wanted) <= Fraction(60, 10**9)
    assert "28 complete days, weekdays and weekends apart" in forecast.how


def test_what_was_spent_this_month_is_in_the_forecast(tmp_path: Path) -> None:
    rounds = [*each_day(40), made(99, Cost("priced", 7 * 10**9, "USD", "list A"), started_at=NOON - 1)]
    without = spend_overview(asking(tmp_path / "a", rounds[:-1]), now=NOW).forecast
    with_it = spend_overview(asking(tmp_path / "b", rounds), now=NOW).forecast
    assert without.cost is not None
    assert with_it.cost is not None
    assert as_fractions(with_it.cost)["USD"] - as_fractions(without.cost)["USD"] == 7


def test_weekends_have_a_level_of_their_own_where_there_are_enough(tmp_path: Path) -> None:
    # Saturdays and Sundays cost nothing. 14 to 28 February 2026, asked at midnight: 10 working days are left.
    moment = datetime(2026, 2, 14, tzinfo=UTC)
    days = [moment - timedelta(days=n) for n in range(1, 40)]
    rounds = [
        made(n, USD if day.weekday() < 5 else FREE, started_at=round(day.timestamp() * 1000) + 3_600_000)
        for n, day in enumerate(days)
    ]
    answer = spend_overview(asking(tmp_path, rounds), now=moment)
    assert answer.this_month.cost == {"CNY": 0, "USD": 0.015}  # 10 working days of 1 to 13 February
    assert answer.forecast.cost == {"CNY": 0, "USD": 0.03}
    assert answer.forecast.low == answer.forecast.high == {"CNY": 0, "USD": 0.03}


def test_one_mad_day_does_not_become_every_day(tmp_path: Path) -> None:
    rounds = [
        made(n, Cost("priced", (10 + n % 3) * 10**8, "USD", "list A"), started_at=NOON - n * DAY_MS)
        for n in range(1, 40)
    ]
    calm = spend_overview(asking(tmp_path / "a", rounds), now=NOW).forecast
    mad = made(50, Cost("priced", 1000 * 10**9, "USD", "list A"), started_at=NOON - 3 * DAY_MS)
    wild = spend_overview(asking(tmp_path / "b", [*rounds, mad]), now=NOW).forecast
    assert calm.cost is not None
    assert wild.cost is not None
    assert calm.cost["USD"] < wild.cost["USD"] < 1.5 * calm.cost["USD"]


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_days_are_cut_at_the_fence_and_nowhere_else(sums: list[int]) -> None:
    kept = cut(sums)
    assert len(kept) == len(sums)
    middle = sorted(sums)[len(sums) // 2]
    for before, after in zip(sums, kept, strict=True):
        assert after <= before
        assert before > middle or after == before


def test_days_without_rounds_count_as_days(tmp_path: Path) -> None:
    # Every fourth day only; the log goes back further than the forecast looks.
    rounds = [made(n, started_at=NOON - n * DAY_MS) for n in range(4, 80, 4)]
    average = spend_overview(asking(tmp_path, rounds), now=NOW).average_per_day
    assert average is not None
    assert (average.days, average.rounds, average.tokens) == (28, 0.2, 28)  # 7 rounds of 110 tokens: 27.5 a day
    assert average.cost == {"USD": 0.000375}


def test_the_day_on_which_the_log_begins_is_not_complete(tmp_path: Path) -> None:
    few = spend_overview(asking(tmp_path / "a", each_day(LEAST_DAYS)), now=NOW)
    assert few.forecast.cost is None
    assert "there are 6" in few.forecast.how
    assert few.average_per_day is not None
    assert few.average_per_day.days == 6
    enough = spend_overview(asking(tmp_path / "b", each_day(LEAST_DAYS + 1)), now=NOW)
    assert enough.forecast.cost is not None
    assert "weekdays" not in enough.forecast.how


def test_a_forecast_says_that_something_has_no_price(tmp_path: Path) -> None:
    rounds = [*each_day(20), made(90, UNPRICED, model="mine", started_at=NOON - 1)]
    answer = spend_overview(asking(tmp_path / "a", rounds), now=NOW)
    assert "no price is not in it" in answer.forecast.how
    nothing = spend_overview(asking(tmp_path / "b", each_day(20, UNPRICED)), now=NOW)
    assert (nothing.forecast.cost, nothing.forecast.how) == (None, "No forecast: nothing of these days has a price.")


def test_the_same_question_gives_the_same_range(tmp_path: Path) -> None:
    rounds = [made(n, Cost("priced", n * 10**8, "USD", "list A"), started_at=NOON - n * DAY_MS) for n in range(1, 40)]
    ask = asking(tmp_path, rounds)
    first = spend_overview(ask, now=NOW).forecast
    assert first == spend_overview(ask, now=NOW).forecast
    assert first.low is not None
    assert first.high is not None
    assert first.cost is not None
    assert first.low["USD"] < first.cost["USD"] < first.high["USD"]
