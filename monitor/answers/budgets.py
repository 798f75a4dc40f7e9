"""How much of each budget is used, and what of that concerns one session."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace
from pydantic import Field

from monitor.answers.amounts import money
from monitor.answers.base import Answer, Asking, Money, Part, amount, rfc3339
from monitor.budgets import SESSION_START, WHOLE, Budget, BudgetDimension, BudgetSum, Facts, Limit, used
from monitor.store.base import Alert, SessionQuery, SessionRecord

#: ``{"USD": 8.1}`` or ``{"tokens": 6890}``.
Amount = dict[str, int | float]

#: Of a budget that is kept per session or consumer, so many are shown, those with the largest share.
_SHOWN = 20
#: In an overview.
_IN_SHORT = 10
#: Sessions that spoke within this time are looked at; what an old one used is nobody's worry any more.
_UNDER_WAY_MS = 86_400_000
_NEEDS_A_ROUND = ("function", "route")
_WHEN = {"day": "today", "week": "this week", "month": "this month", "session": "in this session"}
NOT_COUNTED_YET = "is counted once the process that reads the logs starts anew"


class BudgetState(Part):
    """One budget in its present period. `used` and `limit` are money, or `{"tokens": n}`."""

    name: str
    period: str
    per: str | None = None
    value: str | None = Field(default=None, description="Whose part it is, for a budget that is kept per something.")
    limit: Amount
    used: Amount
    share: float
    state: Literal["ok", "warning", "exceeded"]
    text: str
    starts_at: str | None = None
    resets_at: str | None = None
    rounds: int | None = None
    unpriced_rounds: int | None = Field(default=None, description="Rounds without a price: their cost is not counted.")
    not_counted: Money | None = Field(default=None, description="Costs in currencies without a rate of exchange.")
    rates: list[str] = []


class SessionBudget(Part):
    """The budget that a session uses the largest share of; in lists its own one, in short."""

    name: str
    period: str | None = None
    limit: Amount | None = None
    used: Amount | None = None
    share: float
    state: Literal["ok", "warning", "exceeded"]
    text: str
    resets_at: str | None = None


class ToldAlert(Part):
    """A share of a budget that was passed, and who was told."""

    budget: str
    value: str | None = None
    share: float
    limit: str
    at: str
    sent: list[str] = []
    waiting: list[str] = []
    failed: dict[str, str] | None = Field(default=None, description="Channel to the reason.")


class Budgets(Answer):
    """All budgets, the most used first."""

    budgets: list[BudgetState]
    exceeded: int
    alerts: list[ToldAlert] = Field(default=[], description="The newest shares that were passed.")
    note: str | None = None


def budgets(ask: Asking, *, alerts: int = 20) -> Budgets:
    """What is used of every budget in its present period, and the newest alerts."""
    states = budget_states(ask)
    rules = ask.store.budget_rules()
    stale = [
        b.name for b in ask.book.budgets if ask.as_of is not None and rules.get(b.name) != b.rule(ask.book.timezone)
    ]
    return Budgets(
        budgets=states,
        exceeded=sum(state.state == "exceeded" for state in states),
        alerts=[_told(alert) for alert in ask.store.alerts(alerts)],
        note=f"{', '.join(stale)} {NOT_COUNTED_YET}." if stale else None,
        **ask.freshness,
    )


def budget_states(ask: Asking) -> list[BudgetState]:
    """The present periods of all budgets, the most used first."""
    now = time.time_ns() // 1_000_000
    states = []
    for budget in ask.book.budgets:
        start = budget.period_start(now, ask.book.zone)
        by_slot: dict[str, list[BudgetSum]] = {} if budget.kept_per else {"": []}
        if budget.period == "session":
            parts = [part for name in _under_way(ask, now) for part in ask.store.budget_sums(budget.name, start, name)]
        else:
            parts = list(ask.store.budget_sums(budget.name, start))
        for part in parts:
            by_slot.setdefault(part.slot, []).append(part)
        mine = [_state(ask, budget, slot, sums, start) for slot, sums in by_slot.items()]
        states += sorted(mine, key=lambda state: -state.share)[:_SHOWN]
    return sorted(states, key=lambda state: -state.share)


def budgets_in_short(ask: Asking) -> list[SessionBudget]:
    """Every budget in a sentence, the most used first."""
    shown = {"name", "period", "limit", "used", "share", "state", "text", "resets_at"}
    return [SessionBudget(**state.model_dump(include=shown)) for state in budget_states(ask)[:_IN_SHORT]]


def _under_way(ask: Asking, now: int) -> list[str]:
    page = ask.store.sessions(SessionQuery(since=now - _UNDER_WAY_MS, limit=100))
    return [record.session_id for record in page.sessions if record.session_id is not None]


def session_budget(ask: Asking, record: SessionRecord) -> SessionBudget | None:
    """The budget that would stop this session first; None where none applies."""
    if not ask.book.budgets or record.session_id is None:
        return None
    facts = _facts(ask, record)
    now = time.time_ns() // 1_000_000
    found = []
    for budget in ask.book.budgets:
        slot = budget.slot(facts)
        # Who may see some sessions only must not learn from a budget what others spent.
        if slot is not None and (ask.scope is None or budget.kept_per == "session"):
            start = budget.period_start(now, ask.book.zone)
            found.append(_state(ask, budget, slot, ask.store.budget_sums(budget.name, start, slot), start))
    if not found:
        return None
    most = max(found, key=lambda state: state.share)
    return SessionBudget(**{name: getattr(most, name) for name in SessionBudget.model_fields})


def own_budget(ask: Asking, record: SessionRecord) -> SessionBudget | None:
    """The budget of the session itself, for a row of a list: those that it shares with others say nothing of it."""
    if record.session_id is None or not any(budget.period == "session" for budget in ask.book.budgets):
        return None
    mine = tuple(budget for budget in ask.book.budgets if budget.period == "session")
    found = session_budget(replace(ask, book=replace(ask.book, budgets=mine)), record)
    return None if found is None else SessionBudget(**found.model_dump(include={"name", "share", "state", "text"}))


def _facts(ask: Asking, record: SessionRecord) -> Facts:
    function = route = ""
    if any(d in _NEEDS_A_ROUND for b in ask.book.budgets for d in (b.per, *(name for name, _ in b.match))):
        newest = ask.store.rounds(record.session_id or "", limit=1).rounds
        if newest:
            function, route = newest[0].round.function or "", newest[0].round.route or ""
    return Facts(
        record.consumer or "", record.agent or "", record.session_id or "", record.model or "", function, route
    )


def _state(ask: Asking, budget: Budget, slot: str, sums: Sequence[BudgetSum], start: int) -> BudgetState:
    have = used(budget.limit, list(sums), ask.book.exchange)
    share = have.share(budget.limit)
    end = budget.period_end(start, ask.book.zone)
    state: Literal["ok", "warning", "exceeded"] = "ok"
    if share >= WHOLE:
        state = "exceeded"
    elif budget.warn_at and share >= budget.warn_at[0]:
        state = "warning"
    return BudgetState(
        name=budget.name,
        period=budget.period,
        per=budget.kept_per,
        value=slot or None,
        limit=_limit(budget.limit, budget.limit.amount),
        used=_limit(budget.limit, have.amount),
        share=round(share / WHOLE, 4),
        state=state,
        text=describe(budget.limit, share, budget.period, budget.kept_per, slot),
        starts_at=None if start == SESSION_START else rfc3339(start),
        resets_at=None if end is None else rfc3339(end),
        rounds=have.rounds,
        unpriced_rounds=have.unpriced or None,
        not_counted={c: amount(n) for c, n in sorted(have.not_counted.items())} or None,
        rates=list(have.rates),
    )


def describe(limit: Limit, share: int, period: str, kept_per: BudgetDimension | None = None, slot: str = "") -> str:
    """``83 % of $10.00 today``; a per cent is only said when it is reached."""
    of = f"{limit.tokens:,} tokens" if limit.nano is None else money(_limit(limit, limit.amount), digits=2, whole=True)
    whose = f" for {slot}" if slot and kept_per != "session" else ""
    return f"{share * 100 // WHOLE} % of {of} {_WHEN[period]}{whose}"


def _limit(limit: Limit, value: int) -> Amount:
    if limit.nano is None:
        return {"tokens": value}
    return {limit.currency or "": amount(value)}


def _told(alert: Alert) -> ToldAlert:
    by_state: dict[str, list[str]] = {}
    for delivery in alert.deliveries:
        by_state.setdefault(delivery.state, []).append(delivery.channel)
    return ToldAlert(
        budget=alert.budget,
        value=alert.slot or None,
        share=round(alert.share / WHOLE, 4),
        limit=alert.limit,
        at=rfc3339(alert.crossed_at),
        sent=by_state.get("sent", []),
        waiting=by_state.get("waiting", []),
        failed={d.channel: d.error or "" for d in alert.deliveries if d.state == "failed"} or None,
    )


def failed_channels(alerts: Sequence[Alert]) -> list[str]:
    """Channels whose newest message did not arrive, in words: for whoever looks after this program."""
    newest: dict[tuple[str, str], str | None] = {}
    for alert in alerts:
        for delivery in alert.deliveries:
            if delivery.state == "sent" or delivery.error is not None:
                newest.setdefault(
                    (alert.budget, delivery.channel), None if delivery.state == "sent" else delivery.error
                )
    return [
        f"budget {budget}: {channel} could not be told: {error}. See `notify` and `on_exceeded` in the configuration."
        for (budget, channel), error in newest.items()
        if error is not None
    ]
