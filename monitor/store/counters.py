"""What budgets have counted: moved in the transaction that adds the rounds, with the shares that are passed by it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

from monitor.budgets import SESSION_START, Budget, BudgetBook, BudgetSum, Facts, from_rule
from monitor.rounds import UNKNOWN_TIME
from monitor.store import shares
from monitor.store.schema import DAY_MS, EPOCH_MS, QUARTER_MS, first_rid

log = logging.getLogger("monitor.store")

_CACHE_LIMIT = 100_000
#: The budget of a session is told of while the session is under way, not when an old log is read.
_UNDER_WAY_MS = DAY_MS
_ROUNDS = f"(SELECT *, max((rid >> 22) + {EPOCH_MS}, 0) AS at FROM round WHERE rid >= ?)"
#: Rounds that are stored no longer, in the form of `_grouped`.
_PRUNED = (
    f"SELECT r.sid, r.facet, r.model, iif(r.nano IS NULL, '', p.currency), max((r.rid >> 22) + {EPOCH_MS}, 0), "
    "r.nano, ifnull(r.input, 0) + ifnull(r.output, 0), r.rounds, iif(p.status = 'unpriced', r.rounds, 0) "
    "FROM pruned AS r JOIN price AS p ON p.id = r.price"
)

#: Budget (its number), start of its period, and the value that it is kept for.
Key = tuple[int, int, str]


class Counters:
    """The sums of all budgets of a book, through the connection that writes."""

    def __init__(self, db: sqlite3.Connection, book: BudgetBook) -> None:
        self._db = db
        self._book = book
        self._zone = book.zone
        self._numbers: dict[str, int] = {}
        self._slots: dict[tuple[int, int, int], list[tuple[Budget, str]]] = {}
        self._starts: dict[tuple[str, int], int] = {}

    @classmethod
    def as_stored(cls, db: sqlite3.Connection) -> Counters:
        """By the rules under which the sums that are there were made, whatever is configured here; without limits."""
        found = [(number, *from_rule(name, rule)) for number, name, rule in db.execute("SELECT * FROM budget")]
        counters = cls(db, BudgetBook(tuple(budget for _, budget, _ in found), found[0][2] if found else "UTC"))
        counters._numbers = {budget.name: number for number, budget, _ in found}
        return counters

    def forget(self) -> None:
        """Forget what was remembered of rows: a batch failed, and with it they may be gone."""
        self._slots.clear()

    def prepare(self) -> None:
        """Make the sums of new and changed budgets anew from the rounds, and forget budgets that are no more."""
        db, book = self._db, self._book
        known = {name: (number, rule) for number, name, rule in db.execute("SELECT id, name, rule FROM budget")}
        for name in known.keys() - {budget.name for budget in book.budgets}:
            db.execute("DELETE FROM budget_sum WHERE budget = ?", (known[name][0],))
            db.execute("DELETE FROM budget WHERE id = ?", (known[name][0],))
        changed = []
        for budget in book.budgets:
            rule = budget.rule(book.timezone)
            number, before = known.get(budget.name, (None, None))
            if number is None:
                number = db.execute("INSERT INTO budget (name, rule) VALUES (?, ?)", (budget.name, rule)).lastrowid
            assert number is not None
            self._numbers[budget.name] = number
            if rule != before:
                db.execute("UPDATE budget SET rule = ? WHERE id = ?", (rule, number))
                changed.append(budget)
        if changed:
            self.rebuild(changed)
        self._look_at_now()

    def rebuild(self, budgets: Sequence[Budget]) -> None:
        """Sum the rounds of `budgets` anew, of everything that is there."""
        for budget in budgets:
            self._db.execute("DELETE FROM budget_sum WHERE budget = ?", (self._numbers[budget.name],))
        log.info("budgets are counted anew: %s", ", ".join(budget.name for budget in budgets))
        self._slots.clear()
        names = {budget.name for budget in budgets}
        self._move(self._db.execute(_grouped(_ROUNDS), (first_rid(0),)), 1, names)
        self._move(self._db.execute(_PRUNED), 1, names)
        self._slots.clear()

    def take_out_pruned(self, sid: int) -> None:
        """Count the rounds of a session that are stored no longer out again."""
        if self._book.budgets:
            self._move(self._db.execute(f"{_PRUNED} WHERE r.sid = ?", (sid,)), -1)

    def move(self, sign: int = 1) -> set[Key]:
        """Count the rounds in the table ``batch``, or take them out again; gives the sums that moved."""
        return self._move(self._db.execute(_grouped("batch")), sign) if self._book.budgets else set()

    def _move(self, groups: Iterable[tuple[Any, ...]], sign: int, only: set[str] | None = None) -> set[Key]:
        sums: dict[tuple[int, int, str, str], list[int]] = {}
        for sid, facet, model, currency, at, *counts in groups:
            for budget, slot in self._counting(sid, facet, model):
                if (only is not None and budget.name not in only) or (
                    at == UNKNOWN_TIME and budget.period != "session"
                ):
                    continue
                key = (self._numbers[budget.name], self._start(budget, at), slot, currency)
                found = sums.setdefault(key, [0, 0, 0, 0])
                for index, count in enumerate(counts):
                    found[index] += sign * (count or 0)
        self._db.executemany(
            "INSERT INTO budget_sum (budget, at, slot, currency, nano, tokens, rounds, unpriced) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET nano = nano + excluded.nano, "
            "tokens = tokens + excluded.tokens, rounds = rounds + excluded.rounds, "
            "unpriced = unpriced + excluded.unpriced",
            [(*key, *counts) for key, counts in sums.items()],
        )
        if sign < 0:
            self._db.executemany(
                "DELETE FROM budget_sum WHERE budget = ? AND at = ? AND slot = ? AND currency = ? AND rounds = 0", sums
            )
        return {key[:3] for key in sums}

    def _counting(self, sid: int, facet: int, model: int) -> list[tuple[Budget, str]]:
        """The budgets that count rounds of this place, each with the value under which it does."""
        known = self._slots.get((sid, facet, model))
        if known is None:
            if len(self._slots) >= _CACHE_LIMIT:
                self._slots.clear()
            consumer, route, function, agent, model_name, session = self._db.execute(
                "SELECT c.value, r.value, f.value, a.value, m.value, iif(s.kind = 0, s.session_id, '') "
                "FROM facet AS x JOIN name AS c ON c.id = x.consumer JOIN name AS r ON r.id = x.route "
                "JOIN name AS f ON f.id = x.function JOIN name AS a ON a.id = x.agent JOIN name AS m ON m.id = ? "
                "JOIN session AS s ON s.sid = ? WHERE x.id = ?",
                (model, sid, facet),
            ).fetchone()
            facts = Facts(consumer, agent, session, model_name, function, route)
            known = [(b, slot) for b in self._book.budgets if (slot := b.slot(facts)) is not None]
            self._slots[sid, facet, model] = known
        return known

    def _start(self, budget: Budget, at: int) -> int:
        if budget.period == "session":
            return SESSION_START
        known = self._starts.get((budget.period, at))
        if known is None:
            if len(self._starts) >= _CACHE_LIMIT:
                self._starts.clear()
            known = self._starts[budget.period, at] = budget.period_start(at, self._zone)
        return known

    # -- what is passed ---------------------------------------------------------------------------

    def _look_at_now(self) -> None:
        """Look at what is used in the present periods: a limit may have become smaller."""
        now = _now_ms()
        keys: set[Key] = set()
        for budget in self._book.budgets:
            if budget.period != "session":
                number, start = self._numbers[budget.name], budget.period_start(now, self._zone)
                slots = self._db.execute(
                    "SELECT DISTINCT slot FROM budget_sum WHERE budget = ? AND at = ?", (number, start)
                )
                keys |= {(number, start, slot) for (slot,) in slots}
        self.note(keys)

    def note(self, moved: Iterable[Key]) -> int:
        """Write down each share that was passed by sums that moved, once; gives how many are to be told."""
        by_number = {self._numbers[budget.name]: budget for budget in self._book.budgets}
        now = _now_ms()
        waiting = 0
        for number, at, slot in sorted(moved):
            budget = by_number[number]
            sums = budget_sums(self._db, budget.name, at, slot)
            for share, facts in shares.passed(budget, at, slot, sums, self._book.exchange, self._zone):
                cursor = self._db.execute(
                    'INSERT OR IGNORE INTO alert (budget, at, slot, share, "limit", crossed_at, facts) '
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (budget.name, at, slot, share, str(budget.limit), now, facts),
                )
                if cursor.rowcount and self._is_news(budget, at, slot, now):
                    waiting += self._tell(budget, share, cursor.lastrowid, now)
        return waiting

    def _tell(self, budget: Budget, share: int, alert: int | None, now: int) -> int:
        channels = shares.told(budget, share)
        self._db.executemany(
            "INSERT INTO delivery VALUES (?, ?, 'waiting', 0, ?, NULL, NULL)",
            [(alert, channel, now) for channel in channels],
        )
        return len(channels)

    def _is_news(self, budget: Budget, at: int, slot: str, now: int) -> bool:
        """Whether the period is the present one: who reads last month's log wants no alert for each of its days.

        Nor for days to come, which only a wrong clock can write of.
        """
        end = budget.period_end(at, self._zone)
        if end is not None:
            return at <= now < end
        row = self._db.execute("SELECT last_at FROM session WHERE kind = 0 AND session_id = ?", (slot,)).fetchone()
        return row is not None and row[0] > now - _UNDER_WAY_MS


def _grouped(rounds: str) -> str:
    """Rounds as a budget sees them: who, when to the quarter of an hour, in which currency."""
    return (
        "SELECT r.sid, r.facet, r.model, iif(r.nano IS NULL, '', p.currency), "
        f"r.at - r.at % {QUARTER_MS}, sum(r.nano), sum(ifnull(r.input, 0) + ifnull(r.output, 0)), count(*), "
        f"sum(p.status = 'unpriced') FROM {rounds} AS r JOIN price AS p ON p.id = r.price GROUP BY 1, 2, 3, 4, 5"
    )


def budget_sums(
    db: sqlite3.Connection, name: str, at: int | None = None, slot: str | None = None, limit: int = 1000
) -> list[BudgetSum]:
    """What was counted for a budget, the newest period first."""
    rows = db.execute(
        "SELECT at, slot, currency, nano, tokens, rounds, unpriced FROM budget_sum "
        "WHERE budget = (SELECT id FROM budget WHERE name = ?) AND (?2 IS NULL OR at = ?2) "
        "AND (?3 IS NULL OR slot = ?3) ORDER BY at DESC, nano DESC, tokens DESC LIMIT ?4",
        (name, at, slot, limit),
    )
    return [BudgetSum(*row) for row in rows]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
