"""What is told of budgets: to whoever looks after them, and to the agent that spends."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.answers import words
from monitor.answers.base import Asking
from monitor.answers.budgets import budgets, failed_channels
from monitor.answers.overview import spend_overview
from monitor.answers.sessions import get_session, list_sessions
from monitor.answers.stats import stats_by_model
from monitor.budgets import Budget, BudgetBook, Exchange, Limit
from monitor.prices.money import Cost
from monitor.rounds import ReportedCost, Usage
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore
from tests.answers.made import CNY, UNPRICED, USD, made

RATES = Exchange("USD", {"CNY": (Decimal(8), "2026-11-20")})


def spent(number: int, cost: Cost = USD, **fields: Any) -> PricedRound:
    """A round of just now; 100 tokens in and 10 out."""
    now = round(datetime.now(UTC).timestamp() * 1000)
    return made(number, cost, **{"started_at": now + number, **fields})


def asking(folder: Path, rounds: list[PricedRound], *given: Budget, exchange: Exchange | None = None) -> Asking:
    book = BudgetBook(given, "UTC", exchange or Exchange("USD"))
    store = SqliteStore(folder, budgets=book, price_version="v1")
    store.add(Batch(rounds=rounds))
    return Asking(store, as_of=1, book=book)


def test_a_session_is_told_of_the_budget_that_would_stop_it_first(tmp_path: Path) -> None:
    ask = asking(
        tmp_path,
        [spent(1, Cost("priced", 8_300_000_000, "USD", "list A"), consumer="alice"), spent(2, session_id="other")],
        Budget("team", Limit(10_000_000_000, "USD"), "month", (("consumer", ("*",)),)),
        Budget("tokens", Limit(tokens=1_000_000), "session"),
        Budget("someone else", Limit(tokens=1), "day", (("consumer", ("bob",)),)),
    )
    session = get_session(ask, "agent:main:main")
    assert session.budget is not None
    assert session.budget.small() == {
        "name": "team",
        "period": "month",
        "limit": {"USD": 10},
        "used": {"USD": 8.3015},
        "share": 0.8302,
        "state": "warning",
        "text": "83 % of $10.00 this month",
        "resets_at": session.budget.resets_at,
    }
    assert "Budget team: 83 % of $10.00 this month." in words.session(session)
    other = get_session(ask, "other").budget
    assert other is not None
    assert other.name == "team"


def test_a_list_tells_of_each_session_s_own_budget_only(tmp_path: Path) -> None:
    rounds = [spent(1), spent(2), spent(3, session_id="other")]
    shared = Budget("team", Limit(tokens=100), "day")
    (tmp_path / "a").mkdir()
    ask = asking(tmp_path / "a", rounds, shared, Budget("each", Limit(tokens=220), "session"))
    rows = {row.session_id: row.budget for row in list_sessions(ask).sessions}
    assert {name: b.small() for name, b in rows.items() if b} == {
        "agent:main:main": {
            "name": "each", "share": 1.0, "state": "exceeded", "text": "100 % of 220 tokens in this session",
        },
        "other": {"name": "each", "share": 0.5, "state": "ok", "text": "50 % of 220 tokens in this session"},
    }  # fmt: skip
    assert all(row.budget is None for row in list_sessions(asking(tmp_path / "b", rounds, shared)).sessions)


def test_a_session_that_no_budget_counts_is_told_of_none(tmp_path: Path) -> None:
    ask = asking(tmp_path, [spent(1)], Budget("b", Limit(tokens=1), "day", (("model", ("qwen*",)),)))
    assert get_session(ask, "agent:main:main").budget is None
    assert get_session(Asking(ask.store), "agent:main:main").budget is None


@pytest.mark.parametrize(("route", "name"), [("ai-route-1", "by route"), ("ai-route-2", None)])
def test_route_and_function_are_those_of_the_newest_round(tmp_path: Path, route: str, name: str | None) -> None:
    budget = Budget("by route", Limit(tokens=1000), "month", (("route", ("*-1",)), ("function", ("",))))
    ask = asking(tmp_path, [spent(1, route="ai-route-9"), spent(2, route=route)], budget)
    found = get_session(ask, "agent:main:main").budget
    assert (found.name if found else None) == name


def test_a_budget_that_is_used_up_says_so(tmp_path: Path) -> None:
    ask = asking(tmp_path, [spent(1)], Budget("small", Limit(tokens=110), "day"), Budget("large", Limit(tokens=200)))
    answer = budgets(ask)
    assert answer.exceeded == 1
    assert [(b.name, b.state, b.share, b.used) for b in answer.budgets] == [
        ("small", "exceeded", 1.0, {"tokens": 110}),
        ("large", "ok", 0.55, {"tokens": 110}),
    ]
    assert [(a.budget, a.share) for a in answer.alerts] == [("small", 1.0), ("small", 0.8)]


def test_each_value_has_the_limit_for_itself(tmp_path: Path) -> None:
    rounds = [spent(1, consumer="alice"), spent(2, consumer="alice"), spent(3, consumer="bob"), spent(4)]
    answer = budgets(asking(tmp_path, rounds, Budget("each", Limit(tokens=220), "week", per="consumer")))
    assert [(b.value, b.used["tokens"], b.text) for b in answer.budgets] == [
        ("alice", 220, "100 % of 220 tokens this week for alice"),
        ("bob", 110, "50 % of 220 tokens this week for bob"),
    ]


def test_what_a_budget_of_money_can_not_count_is_told(tmp_path: Path) -> None:
    rounds = [spent(1), spent(2, CNY), spent(3, UNPRICED)]
    limit = Budget("money", Limit(1_000_000_000, "USD"), "day")
    (without,) = budgets(asking(tmp_path / "a", rounds, limit)).budgets
    assert (without.used, without.not_counted, without.unpriced_rounds) == ({"USD": 0.0015}, {"CNY": 0.02}, 1)
    (converted,) = budgets(asking(tmp_path / "b", rounds, limit, exchange=RATES)).budgets
    assert (converted.used, converted.not_counted) == ({"USD": 0.004}, None)
    assert converted.rates == ["8 CNY per USD (2026-11-20)"]


def test_a_budget_that_nothing_was_counted_for_is_there_all_the_same(tmp_path: Path) -> None:
    (found,) = budgets(asking(tmp_path, [], Budget("b", Limit(tokens=5), "day"))).budgets
    assert (found.used, found.share, found.state) == ({"tokens": 0}, 0, "ok")


def test_a_budget_that_the_running_process_does_not_know_is_said_to_be_uncounted(tmp_path: Path) -> None:
    ask = asking(tmp_path, [spent(1)], Budget("old", Limit(tokens=5), "day"))
    changed = BudgetBook((Budget("old", Limit(tokens=5), "day"), Budget("new", Limit(tokens=5), "day")), "UTC")
    note = budgets(Asking(ask.store, as_of=1, book=changed)).note
    assert note == "new is counted once the process that reads the logs starts anew."


def test_a_channel_that_failed_last_is_for_the_doctor_and_one_that_works_again_is_not(tmp_path: Path) -> None:
    budget = Budget("b", Limit(tokens=220), "month", warn_at=(400_000, 900_000), channels=("slack", "mail"))
    ask = asking(tmp_path, [spent(1)], budget)
    store = ask.store
    mail, slack = store.due(1 << 60)
    store.delivered(mail, error="no route")
    store.delivered(slack, error="refused", again_at=1 << 60)
    assert sorted(failed_channels(store.alerts())) == [
        f"budget b: {name} could not be told: {why}. See `notify` and `on_exceeded` in the configuration."
        for name, why in (("mail", "no route"), ("slack", "refused"))
    ]
    store.add(Batch(rounds=[spent(2)]))
    for delivery in store.due(1 << 50):
        store.delivered(delivery)
    assert failed_channels(store.alerts()) == []


# -- one currency, and what sources say ----------------------------------------------------------


def test_costs_are_combined_only_at_a_fixed_rate_and_beside_themselves(tmp_path: Path) -> None:
    ask = asking(tmp_path, [spent(1), spent(2, CNY)], exchange=RATES)
    session = get_session(ask, "agent:main:main")
    assert session.cost == {"CNY": 0.02, "USD": 0.0015}
    assert session.combined is not None
    assert session.combined.small() == {"currency": "USD", "amount": 0.004, "rates": ["8 CNY per USD (2026-11-20)"]}
    totals = stats_by_model(ask).totals
    assert totals.combined == session.combined
    assert get_session(Asking(ask.store), "agent:main:main").combined is None


def test_a_currency_without_a_rate_combines_nothing(tmp_path: Path) -> None:
    rounds = [spent(1), spent(2, CNY), spent(3, Cost("priced", 5, "EUR", "list E"))]
    assert get_session(asking(tmp_path, rounds, exchange=RATES), "agent:main:main").combined is None


def test_one_currency_that_is_the_base_needs_no_combining(tmp_path: Path) -> None:
    assert get_session(asking(tmp_path, [spent(1)], exchange=RATES), "agent:main:main").combined is None


def test_what_a_source_says_it_cost_stands_beside_ours_with_the_difference(tmp_path: Path) -> None:
    theirs = ReportedCost(2_000_000, "USD")
    rounds = [
        spent(1, reported=theirs),
        spent(2),
        spent(3, CNY, reported=theirs),
        spent(4, UNPRICED, usage=Usage(5, 5), reported=ReportedCost(0, "USD")),
    ]
    ask = asking(tmp_path, rounds)
    session = get_session(ask, "agent:main:main", detailed=True)
    assert session.reported is not None
    assert session.reported.small() == {
        "rounds": 3,
        "cost": {"USD": 0.004},
        "ours": {"CNY": 0.02, "USD": 0.0015},
        "difference": {"USD": -0.0005},
    }
    assert [row.reported_cost for row in session.rounds] == [{"USD": 0.002}, None, {"USD": 0.002}, {"USD": 0}]
    assert stats_by_model(ask).rows[0].reported == session.reported


def test_the_overview_tells_each_budget_in_a_sentence_and_combines_currencies(tmp_path: Path) -> None:
    limits = [Budget("large", Limit(tokens=1000), "day"), Budget("small", Limit(tokens=220), "day")]
    ask = asking(tmp_path, [spent(1), spent(2, CNY)], *limits, exchange=RATES)
    overview = spend_overview(ask, "UTC")
    assert [(b.name, b.state, b.text) for b in overview.budgets] == [
        ("small", "exceeded", "100 % of 220 tokens today"),
        ("large", "ok", "22 % of 1,000 tokens today"),
    ]
    assert overview.this_month.combined is not None
    assert overview.this_month.combined.amount == 0.004
