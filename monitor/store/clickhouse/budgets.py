"""What budgets have used, asked of the rounds themselves, and which shares were told of.

There is no counter that could go wrong when two nodes write: the rounds of the present period are summed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
import xxhash

from monitor.budgets import SESSION_START, Budget, BudgetBook, BudgetSum, Facts, from_rule
from monitor.rounds import UNKNOWN_TIME
from monitor.store import shares
from monitor.store.base import Alert, Delivery
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import COUNTS, PRUNED, Row
from monitor.store.clickhouse.state import Entry, State
from monitor.store.clickhouse.tables import ask
from monitor.store.clickhouse.values import literal
from monitor.store.schema import DAY_MS, QUARTER_MS

#: The budget of a session is told of while the session is under way, not when an old log is read.
_UNDER_WAY_MS = DAY_MS
#: Name of the budget, start of its period, and the value that it is kept for.
Key = tuple[str, int, str]


class _Told(msgspec.Struct):
    """A share that was passed, as it is kept."""

    number: int
    budget: str
    at: int
    slot: str
    share: int
    limit: str
    crossed_at: int
    facts: str


class _Sending(msgspec.Struct):
    """How telling one channel goes, as it is kept."""

    alert: int
    channel: str
    budget: str
    facts: str
    tries: int
    state: str
    next_at: int
    error: str | None = None


class Budgets:
    """The budgets of a book, or those that were counted before where there is none."""

    def __init__(self, db: Database, state: State, book: BudgetBook | None) -> None:
        self._db = db
        self._state = state
        self._book = book

    def prepare(self) -> None:
        """Keep the rules of the book, and look at what is used now: a limit may have become smaller."""
        if self._book is None:
            return
        book, now = self._book, _now_ms()
        rules = {b.name: b.rule(book.timezone) for b in book.budgets}
        before = self.rules()
        self._state.write(
            [("budget", name.encode(), None) for name in before.keys() - rules.keys()]
            + [("budget", name.encode(), rule.encode()) for name, rule in rules.items() if before.get(name) != rule]
        )
        keys: set[Key] = set()
        for budget in book.budgets:
            if budget.period != "session":
                start = budget.period_start(now, book.zone)
                keys |= {(budget.name, start, s.slot) for s in self._sums(budget, book.timezone, start, None)}
        self.note(keys)

    def rules(self) -> dict[str, str]:
        """The rules by which budgets are counted, by name."""
        return {id_.decode(): value.decode() for _, id_, value in self._state.some("budget")}

    def sums(self, name: str, at: int | None = None, slot: str | None = None, limit: int = 1000) -> list[BudgetSum]:
        """What a budget counts, the newest period first."""
        rule = self._state.get("budget", name.encode())
        if rule is None:
            return []
        budget, zone = from_rule(name, rule.decode())
        found = self._sums(budget, zone, at, slot)
        return sorted(found, key=lambda s: (-s.at, -s.nano, -s.tokens))[:limit]

    def _sums(self, budget: Budget, timezone: str, at: int | None, slot: str | None) -> list[BudgetSum]:
        zone = BudgetBook(timezone=timezone).zone
        per_session = budget.period == "session"
        dimensions: list[str] = sorted(
            {*(name for name, _ in budget.match), *([budget.kept_per] if budget.kept_per is not None else [])}
        )
        where = f"state IN ({COUNTS}, {PRUNED})"
        if not per_session:
            where += f" AND at != {UNKNOWN_TIME}"
            if at is not None:
                where += f" AND at >= {at} AND at < {budget.period_end(at, zone)}"
        elif at not in (None, SESSION_START):
            return []
        if slot is not None and budget.kept_per is not None:
            where += f" AND {budget.kept_per} = {literal(slot)}"
        when = str(SESSION_START) if per_session else f"at - modulo(at, {QUARTER_MS})"
        columns = ", ".join([*dimensions, f"{when} AS q", "if(isNull(nano), '', currency) AS c"])
        rows = ask(
            self._db,
            f"SELECT {columns}, sum(nano), sum(ifNull(input, 0) + ifNull(output, 0)), count(), "
            f"sum(price_status = 'unpriced') FROM round FINAL WHERE {where} "
            f"GROUP BY {', '.join([*dimensions, 'q', 'c'])}",
        )
        found: dict[tuple[int, str, str], list[int]] = {}
        starts: dict[int, int] = {}
        for row in rows:
            values, (quarter, currency, *counts) = row[: len(dimensions)], row[len(dimensions) :]
            under = budget.slot(Facts(**dict(zip(dimensions, values, strict=True))))
            if under is None or slot not in (None, under):
                continue
            if quarter not in starts:
                starts[quarter] = budget.period_start(quarter, zone)
            sums = found.setdefault((starts[quarter], under, currency), [0, 0, 0, 0])
            for index, count in enumerate(counts):
                sums[index] += count or 0
        return [BudgetSum(*key, *counts) for key, counts in found.items()]

    # -- what is passed ---------------------------------------------------------------------------

    def keys(self, rows: Iterable[Row]) -> set[Key]:
        """The sums that rows move."""
        found: set[Key] = set()
        if self._book is None or not self._book.budgets:
            return found
        zone = self._book.zone
        for facts, quarter in {
            (
                Facts(r.consumer, r.agent, r.session, r.model, r.function, r.route),
                r.at - r.at % QUARTER_MS if r.at else UNKNOWN_TIME,
            )
            for r in rows
        }:
            for budget in self._book.budgets:
                slot = budget.slot(facts)
                if slot is not None and (quarter != UNKNOWN_TIME or budget.period == "session"):
                    found.add((budget.name, budget.period_start(quarter, zone), slot))
        return found

    def note(self, moved: Iterable[Key]) -> int:
        """Write down each share that was passed by sums that moved, once; gives how many are to be told."""
        if self._book is None:
            return 0
        book, now, waiting = self._book, _now_ms(), 0
        mine: list[Entry] = []
        everybodys: list[Entry] = []
        for name, at, slot in sorted(moved):
            budget = book.named(name)
            if budget is None:
                continue
            sums = self._sums(budget, book.timezone, at, slot)
            for share, facts in shares.passed(budget, at, slot, sums, book.exchange, book.zone):
                told = _Told(0, name, at, slot, share, str(budget.limit), now, facts)
                id_ = msgspec.msgpack.encode((name, at, slot, share, told.limit))
                if self._state.get("alert", id_) is not None:
                    continue
                told.number = xxhash.xxh3_64_intdigest(id_) >> 1
                everybodys.append(("alert", id_, msgspec.msgpack.encode(told)))
                if self._is_news(budget, at, slot, now):
                    for channel in shares.told(budget, share):
                        sending = _Sending(told.number, channel, name, facts, 0, "waiting", now)
                        mine.append(("delivery", _delivery_id(told.number, channel), msgspec.msgpack.encode(sending)))
                        waiting += 1
        # Who crossed a share tells of it; a kill between the two leaves nobody told who was not to be told.
        self._state.write(mine, self._state.node)
        self._state.write(everybodys)
        return waiting

    def _is_news(self, budget: Budget, at: int, slot: str, now: int) -> bool:
        """Whether the period is the present one: who reads last month's log wants no alert for each of its days."""
        zone = self._book.zone if self._book is not None else BudgetBook().zone
        end = budget.period_end(at, zone)
        if end is not None:
            return at <= now < end
        rows = ask(
            self._db,
            f"SELECT max(at) FROM round FINAL WHERE session = {literal(slot)} AND state IN ({COUNTS}, {PRUNED})",
        )
        return bool(rows) and (rows[0][0] or 0) > now - _UNDER_WAY_MS

    # -- who is told ------------------------------------------------------------------------------

    def alerts(self, limit: int = 100) -> list[Alert]:
        """Shares that were passed, the newest first, with who was told."""
        found = [msgspec.msgpack.decode(value, type=_Told) for _, _, value in self._state.some("alert")]
        found.sort(key=lambda told: (told.crossed_at, told.number), reverse=True)
        deliveries: dict[int, list[Delivery]] = {}
        for sending in self._sendings():
            deliveries.setdefault(sending.alert, []).append(_delivery(sending))
        return [
            Alert(
                told.budget,
                told.at,
                told.slot,
                told.share,
                told.limit,
                told.crossed_at,
                told.facts.encode(),
                tuple(deliveries.get(told.number, ())),
            )
            for told in found[:limit]
        ]

    def due(self, now: int) -> list[Delivery]:
        """Messages of this node that wait and whose time has come."""
        return [
            _delivery(sending)
            for sending in self._sendings(self._state.node)
            if sending.state == "waiting" and sending.next_at <= now
        ][:100]

    def delivered(self, delivery: Delivery, error: str | None, again_at: int | None) -> None:
        """How sending went: done without an `error`, to be tried again at `again_at`, or failed for good."""
        state = "sent" if error is None else "failed" if again_at is None else "waiting"
        sending = _Sending(
            delivery.alert,
            delivery.channel,
            delivery.budget,
            delivery.facts.decode(),
            delivery.tries + 1,
            state,
            _now_ms() if again_at is None else again_at,
            error,
        )
        id_ = _delivery_id(delivery.alert, delivery.channel)
        self._state.put("delivery", id_, msgspec.msgpack.encode(sending), self._state.node)

    def _sendings(self, owner: str | None = None) -> list[_Sending]:
        where = "1" if owner is None else f"owner = {literal(owner)}"
        found = [msgspec.msgpack.decode(value, type=_Sending) for _, _, value in self._state.some("delivery", where)]
        return sorted(found, key=lambda sending: (sending.alert, sending.channel))


def as_told(alert: Alert, sendings: Iterable[tuple[str, str, int, int, str | None]]) -> tuple[Entry, list[Entry]]:
    """What is kept of an alert of another store, for everybody; and of how telling it went, for the node that tells.

    `sendings` are (channel, state, tries, when it is tried next, why the last try failed).
    """
    id_ = msgspec.msgpack.encode((alert.budget, alert.at, alert.slot, alert.share, alert.limit))
    facts = alert.facts.decode()
    number = xxhash.xxh3_64_intdigest(id_) >> 1
    told = _Told(number, alert.budget, alert.at, alert.slot, alert.share, alert.limit, alert.crossed_at, facts)
    entries: list[Entry] = []
    for channel, state, tries, next_at, error in sendings:
        sending = _Sending(number, channel, alert.budget, facts, tries, state, next_at, error)
        entries.append(("delivery", _delivery_id(number, channel), msgspec.msgpack.encode(sending)))
    return ("alert", id_, msgspec.msgpack.encode(told)), entries


def _delivery_id(alert: int, channel: str) -> bytes:
    return alert.to_bytes(8, "big") + channel.encode()


def _delivery(sending: _Sending) -> Delivery:
    return Delivery(
        sending.alert,
        sending.channel,
        sending.budget,
        sending.facts.encode(),
        sending.tries,
        sending.state,
        sending.error,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
