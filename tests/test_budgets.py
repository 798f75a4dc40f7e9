"""Which rounds a budget counts, when its periods begin, and how much of it is used."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.budgets import WHOLE, Budget, BudgetSum, Exchange, Facts, Limit, Period, Used, from_rule, used


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("match", "slot"),
    [
        ((), ""),
        ((("consumer", ("*",)),), ""),
        ((("consumer", ("team-*", "alice")),), ""),
        ((("consumer", ("Alice",)),), None),
        ((("consumer", ("alice",)), ("model", ("gpt-*",))), ""),
        ((("consumer", ("alice",)), ("model", ("qwen*",))), None),
        ((("function", ("",)),), ""),
        ((("function", ("?*",)),), None),
    ],
)
def test_all_dimensions_must_match_one_of_their_globs(match: tuple[tuple[object, ...], ...], slot: str | None) -> None:
    budget = Budget("b", Limit(tokens=1), match=match)  # type: ignore[arg-type]
    assert budget.slot(Facts(consumer="alice", model="gpt-5.4")) == slot


def test_a_budget_per_value_does_not_count_who_has_none() -> None:
    budget = Budget("b", Limit(tokens=1), per="consumer")
    assert budget.slot(Facts(consumer="alice")) == "alice"
    assert budget.slot(Facts(consumer="")) is None
    assert Budget("b", Limit(tokens=1), "session").slot(Facts(session="agent:main:main")) == "agent:main:main"


@pytest.mark.parametrize(
    ("period", "zone", "moment", "start", "end"),
    [
        # A day in Kathmandu begins at 18:15 UTC.
        ("day", "Asia/Kathmandu", "2026-01-31T18:14:59.999+00:00", "2026-01-31T00:00+05:45", "2026-02-01T00:00+05:45"),
        ("day", "Asia/Kathmandu", "2026-01-31T18:15:00+00:00", "2026-02-01T00:00+05:45", "2026-02-02T00:00+05:45"),
        ("month", "Asia/Kathmandu", "2026-01-31T18:15:00+00:00", "2026-02-01T00:00+05:45", "2026-03-01T00:00+05:45"),
        # Adelaide is half an hour off, and its clocks go back on 2026-04-05: that day has 25 hours.
        ("day", "Australia/Adelaide", "2026-04-05T12:00:00+09:30", "2026-04-05T00:00+10:30", "2026-04-06T00:00+09:30"),
        ("day", "Asia/Shanghai", "2026-12-31T15:59:59+00:00", "2026-12-31T00:00+08:00", "2027-01-01T00:00+08:00"),
        ("month", "Asia/Shanghai", "2026-12-31T16:00:00+00:00", "2027-01-01T00:00+08:00", "2027-02-01T00:00+08:00"),
        # Weeks begin on Monday.
        ("week", "UTC", "2026-11-29T23:59:59+00:00", "2026-11-23T00:00+00:00", "2026-11-30T00:00+00:00"),
        ("week", "UTC", "2026-11-30T00:00:00+00:00", "2026-11-30T00:00+00:00", "2026-12-07T00:00+00:00"),
        # New York goes forward on 2026-03-08: that week is an hour short.
        ("week", "America/New_York", "2026-03-08T12:00-04:00", "2026-03-02T00:00-05:00", "2026-03-09T00:00-04:00"),
    ],
)
def test_periods_begin_at_midnight_of_the_zone(period: Period, zone: str, moment: str, start: str, end: str) -> None:
    budget = Budget("b", Limit(tokens=1), period)
    assert budget.period_start(at(moment), ZoneInfo(zone)) == at(start)
    assert budget.period_end(at(moment), ZoneInfo(zone)) == at(end)


def test_the_budget_of_a_session_has_one_period_without_an_end() -> None:
    budget = Budget("b", Limit(tokens=1), "session")
    assert budget.period_start(at("2026-11-25T00:00+00:00"), ZoneInfo("UTC")) == 0
    assert budget.period_end(0, ZoneInfo("UTC")) is None


def test_the_rule_holds_what_sums_depend_on_and_not_the_limit() -> None:
    budget = Budget("b", Limit(10, "USD"), "week", (("model", ("gpt-*",)),), "agent", (1,), ("slack",))
    read, zone = from_rule("b", budget.rule("Asia/Tokyo"))
    assert (read.period, read.match, read.per, zone) == ("week", (("model", ("gpt-*",)),), "agent", "Asia/Tokyo")
    assert Budget("c", Limit(tokens=5), "week", budget.match, "agent").rule("UTC") == budget.rule("UTC")
    assert budget.rule("UTC") != budget.rule("Asia/Tokyo")


@given(st.integers(0, 10**15), st.integers(1, 10**15))
def test_a_limit_is_said_to_be_reached_when_it_is_and_not_before(amount: int, limit: int) -> None:
    assert (Used(amount).share(Limit(limit, "USD")) >= WHOLE) == (amount >= limit)


def sums(**nano: int) -> list[BudgetSum]:
    return [BudgetSum(0, "", currency, value, 10, 1, 0) for currency, value in nano.items()]


def test_other_currencies_are_counted_only_at_a_fixed_rate() -> None:
    limit = Limit(10**10, "USD")
    without = used(limit, sums(USD=5, CNY=7_000_000_000), Exchange("USD"))
    assert (without.amount, without.not_counted, without.rates) == (5, {"CNY": 7_000_000_000}, ())
    rate = Exchange("USD", {"CNY": (Decimal("7.0"), "2026-11-20")})
    with_rate = used(limit, sums(USD=5, CNY=7_000_000_000), rate)
    assert (with_rate.amount, with_rate.not_counted) == (1_000_000_005, {})
    assert with_rate.rates == ("7.0 CNY per USD (2026-11-20)",)


def test_a_rate_is_named_once_however_many_sums_it_converts() -> None:
    rate = Exchange("USD", {"CNY": (Decimal("7.0"), "2026-11-20"), "EUR": (Decimal("0.9"), "2026-11-01")})
    counted = used(Limit(10**10, "USD"), [*sums(CNY=7, EUR=9), *sums(EUR=9, CNY=7)], rate)
    assert counted.rates == ("7.0 CNY per USD (2026-11-20)", "0.9 EUR per USD (2026-11-01)")


def test_tokens_are_counted_whatever_they_cost() -> None:
    assert (
        used(Limit(tokens=100), [*sums(USD=5, CNY=7), BudgetSum(0, "", "", 0, 10, 1, 1)], Exchange("USD")).amount == 30
    )


def test_money_goes_over_the_dollar_and_is_rounded_once() -> None:
    rates = Exchange("CNY", {"CNY": (Decimal("7.2"), "2026-11-20"), "EUR": (Decimal("0.9"), "2026-11-01")})
    assert rates.convert(1_000_000_000, "EUR", "CNY") == 8_000_000_000
    assert rates.convert(1, "CNY", "USD") == 0  # 0.1388… nano
    assert rates.convert(4, "CNY", "USD") == 1  # 0.5555… nano
    assert rates.convert(1, "JPY", "CNY") is None
    assert rates.rate("EUR", "CNY") == "0.9 EUR per USD (2026-11-01), 7.2 CNY per USD (2026-11-20)"


def test_a_limit_reads_as_it_was_meant() -> None:
    assert str(Limit(10_000_000_000, "USD")) == "10 USD"
    assert str(Limit(500_000_000, "CNY")) == "0.5 CNY"
    assert str(Limit(tokens=1_000_000)) == "1000000 tokens"
