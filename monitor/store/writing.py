"""One batch, one transaction: rounds, session totals, roll-ups and checkpoints, or nothing of them.

The batch goes into a temporary table with the columns of ``round``; what is there already is taken
out of it; and every total grows by what a GROUP BY over the rest says. The same sums over all of
``round`` must give the same totals: that is what `verify` compares.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence, Set
from typing import Any

import msgspec

from monitor.budgets import BudgetBook
from monitor.prices.money import Cost
from monitor.rounds import UNKNOWN_TIME, Conversation, Round
from monitor.session_keys import is_made_id, parts, without_additions
from monitor.store import latency
from monitor.store.base import SORT_WEIGHTS, Added, Batch, PricedRound
from monitor.store.counters import Counters
from monitor.store.history import History
from monitor.store.schema import ADD, BATCH_TABLE, COUNTS, DAY_MS, EPOCH_MS, QUARTER_MS, SUMS

SUCCESS, LOWER_BOUND, TOOL_CALLS, CONTENT, INFERRED, NORMAL, STREAM, CONVENTION, LOST_COUNTS = (
    1 << bit for bit in range(9)
)
SOURCE_BITS = {"higress": 1, "openclaw": 2, "usage": 4}
_CACHE_LIMIT = 100_000
#: Less than every round id.
_BEFORE_ALL = -(1 << 63)
_PREVIEW = 160

_COUNT_NAMES = ", ".join(COUNTS)
ROUND_NAMES = (
    "rid, key, sid, facet, model, price, input, output, reasoning, cached, cache_write, cache_write_1h, "
    "nano, latency, ttft, status, turn, opening, flags, request_id, response_id, extra, reported"
)
_QUARTER = f"at - at % {QUARTER_MS}"
_DAY = f"at - at % {DAY_MS}"

#: Table -> (what it is grouped by, how that is worked out from a round's columns and its start ``at``).
ROLLUPS: dict[str, tuple[str, str]] = {
    "session_slice": ("sid, model, price", "sid, model, price"),
    "quarter": ("at, model, price", f"{_QUARTER}, model, price"),
    "day": ("at, facet, model, price", f"{_DAY}, facet, model, price"),
    "total": ("model, price", "model, price"),
}


_KEY_BITS = (1 << 22) - 1


def round_id(started_at: int, key: bytes) -> int:
    """A round's place in the order of time, made unlike its neighbours' by 22 bits of its key.

    A round without a usable time gets a place in the first quarter of 1970 by its key: in one
    millisecond there would be no room for all of them.
    """
    if started_at == UNKNOWN_TIME:
        started_at = int.from_bytes(key[3:7], "big") % QUARTER_MS
    return ((started_at - EPOCH_MS) << 22) | (int.from_bytes(key[:3], "big") >> 2)


def started_at(rid: int) -> int:
    """The start that a round id was made of."""
    ms = (rid >> 22) + EPOCH_MS
    return ms if ms >= QUARTER_MS else UNKNOWN_TIME


def _next_id(rid: int) -> int:
    """The id to look at when `rid` is another round's: of the same millisecond, so that the start stays true."""
    return rid - _KEY_BITS if rid & _KEY_BITS == _KEY_BITS else rid + 1


class Writer:
    """Adds batches through one connection. What it remembers between batches can be forgotten at any time."""

    def __init__(self, db: sqlite3.Connection, history: History | None, book: BudgetBook | None = None) -> None:
        self._db = db
        self._history = history
        self._book = book
        self._counters: Counters | None = None
        self._names: dict[str, int] = {}
        self._facets: dict[tuple[str | None, ...], int] = {}
        self._prices: dict[tuple[str | None, ...], int] = {}
        self._sessions: dict[tuple[int, str], int] = {}
        self._session_facets: dict[tuple[str | None, ...], tuple[int, int, int]] = {}
        self._aliases: set[tuple[str, int]] = set()
        self._db.execute(BATCH_TABLE)

    def count_budgets(self) -> None:
        """Bring the sums of budgets up to their definitions; from then on they move with every batch."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._counters = Counters(self._db, self._book or BudgetBook())
            self._counters.prepare()
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def add(self, batch: Batch, price_version: str) -> Added:
        """Keep `batch`. On any failure nothing of it is kept, and the error goes on to the caller."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            added = self._add(batch, price_version)
            self._db.execute("COMMIT")
        except BaseException:
            self._forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        if len(self._sessions) > _CACHE_LIMIT or len(self._names) > _CACHE_LIMIT:
            self._forget()
        return added

    def _forget(self) -> None:
        for cache in (self._names, self._facets, self._prices, self._sessions, self._session_facets, self._aliases):
            cache.clear()
        if self._counters is not None:
            self._counters.forget()
        if self._history is not None:
            self._history.forget()

    def _add(self, batch: Batch, price_version: str) -> Added:
        new, duplicates = self._new_rounds(batch.rounds)
        sessions: tuple[str, ...] = ()
        alerts = 0
        if new:
            if self._history is not None:
                # Durable before the transaction that refers to it; what a crash leaves over is found again by content.
                said = [
                    (p.round.key, p.round.started_at, p.round.conversation)
                    for _, p in new
                    if p.round.conversation is not None
                ]
                if said:
                    self._history.write(said)
            self._fill(new, price_version)
            moved = self._counters.move() if self._counters is not None else set()
            sessions = self._totals()
            if self._counters is not None:
                alerts = self._counters.note(moved)
        db = self._db
        for file in batch.restarted:
            db.execute("DELETE FROM occurrence WHERE file = ?", (file,))
        db.executemany(
            "INSERT INTO occurrence VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = excluded.n",
            [(file, key, n) for (file, key), n in batch.occurrences.items()],
        )
        db.executemany(
            "INSERT INTO skipped VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n, "
            "sample = CASE WHEN excluded.sample = x'' THEN sample ELSE excluded.sample END",
            [(s.source, s.reason, s.count, s.sample) for s in batch.skipped],
        )
        db.executemany(
            'INSERT OR REPLACE INTO checkpoint (id, source, path, "offset", size, position) VALUES (?, ?, ?, ?, ?, ?)',
            [(c.id, c.source, c.path, c.offset, c.size, c.position) for c in batch.checkpoints],
        )
        if batch.as_of is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('as_of', ?)", (batch.as_of,))
        return Added(len(new), duplicates, sessions, alerts)

    # -- which rounds are new ---------------------------------------------------------------------

    def _new_rounds(self, rounds: Sequence[PricedRound]) -> tuple[list[tuple[int, PricedRound]], int]:
        """The rounds that are not there yet with their ids; equal keys count once."""
        if not rounds:
            return [], 0
        wanted: dict[bytes, PricedRound] = {}
        for priced in rounds:
            wanted.setdefault(priced.round.key, priced)
        homes = {key: round_id(priced.round.started_at, key) for key, priced in wanted.items()}
        ids = set(homes.values())
        taken = self._keys_at(ids)
        new = []
        for key, priced in wanted.items():
            rid = homes[key]
            # Where another round has this id by chance, the round is or will be behind it.
            while (there := taken[rid] if rid in taken else self._key_at(rid, ids)) is not None and there != key:
                rid = _next_id(rid)
            if there is None:
                taken[rid] = key
                new.append((rid, priced))
        return new, len(rounds) - len(new)

    def _key_at(self, rid: int, asked: Set[int]) -> bytes | None:
        """The key of the stored round with an id; those of the `asked` ones are known to be free."""
        if rid in asked:
            return None
        row = self._db.execute("SELECT key FROM round WHERE rid = ?", (rid,)).fetchone()
        return None if row is None else bytes(row[0])

    def _keys_at(self, wanted: Set[int]) -> dict[int, bytes]:
        db = self._db
        low, high = min(wanted), max(wanted)
        # Rounds of one batch lie close together in time, so a range is usually the shorter way.
        rows = db.execute("SELECT rid, key FROM round WHERE rid BETWEEN ? AND ? LIMIT ?", (low, high, 4 * len(wanted)))
        found = dict(rows.fetchall())
        if len(found) < 4 * len(wanted):
            return found
        found = {}
        ids = list(wanted)
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ",".join("?" * len(some))
            found.update(db.execute(f"SELECT rid, key FROM round WHERE rid IN ({marks})", some))
        return found

    # -- rows -------------------------------------------------------------------------------------

    def _fill(self, new: list[tuple[int, PricedRound]], price_version: str) -> None:
        db = self._db
        db.execute("DELETE FROM batch")
        keeps = self._history is not None
        rows = []
        for rid, priced in new:
            r, cost = priced.round, priced.cost
            usage = r.usage
            sid, facet = self._place(r)
            conversation = r.conversation
            flags = (
                r.success * SUCCESS
                | (usage.lower_bound or cost.status == "partial") * LOWER_BOUND
                | r.has_tool_calls * TOOL_CALLS
                | (keeps and conversation is not None) * CONTENT
                | (r.session_source == "inferred") * INFERRED
                | (r.response_type == "normal") * NORMAL
                | (r.response_type == "stream") * STREAM
                | (usage.convention != "openai") * CONVENTION
                | usage.lower_bound * LOST_COUNTS
            )
            rows.append(
                (
                    rid,
                    r.key,
                    sid,
                    facet,
                    self._name(r.model) if r.model else 0,
                    self.price_number(cost, price_version, r.reported.currency if r.reported is not None else None),
                    usage.input_tokens,
                    usage.output_tokens,
                    usage.reasoning_tokens,
                    usage.cached_tokens,
                    usage.cache_write_tokens,
                    usage.cache_write_1h_tokens,
                    cost.nano,
                    r.latency_ms,
                    r.ttft_ms,
                    r.status,
                    r.turn,
                    r.opening,
                    flags,
                    r.request_id,
                    r.response_id,
                    r.extra.decode() if r.extra else None,
                    r.reported.nano if r.reported is not None else None,
                    r.started_at,
                    SOURCE_BITS.get(r.source, 0),
                    SORT_WEIGHTS.get(cost.currency or "", 1.0),
                    preview(conversation) if keeps and conversation is not None else None,
                )
            )
        db.executemany(f"INSERT INTO batch VALUES ({','.join('?' * 27)})", rows)
        db.execute(f"INSERT INTO round ({ROUND_NAMES}) SELECT {ROUND_NAMES} FROM batch")

    def _place(self, r: Round) -> tuple[int, int]:
        """The round's session and facet."""
        place = (r.session_id, r.source, r.consumer, r.route, r.function, r.user_id, r.host)
        known = self._session_facets.get(place)
        if known is None:
            if len(self._session_facets) >= _CACHE_LIMIT:
                self._session_facets.clear()
            agent = parts(r.session_id).agent
            facet = self._facet((r.source, r.consumer, r.route, r.function, r.user_id, agent, r.host))
            sid = self._session(r)
            self._session_facets[place] = known = (sid, facet, 0)
        if r.session_aliases:
            for alias in r.session_aliases:
                if (alias, known[0]) not in self._aliases:
                    self._db.execute("INSERT OR IGNORE INTO session_name VALUES (?, ?)", (alias, known[0]))
                    self._aliases.add((alias, known[0]))
        return known[0], known[1]

    def _session(self, r: Round) -> int:
        kind, name = (1, r.consumer or "") if r.session_id is None else (0, r.session_id)
        sid = self._sessions.get((kind, name))
        if sid is not None:
            return sid
        db = self._db
        # An id owns its session. Aliases come out of what was said, so they must never catch another session's rounds;
        # but an id that OpenClaw makes can't be guessed, and some of its calls name only that (a compaction does).
        row = db.execute("SELECT sid FROM session WHERE kind = ? AND session_id = ?", (kind, name)).fetchone()
        if row is None and kind == 0 and is_made_id(name):
            row = db.execute("SELECT sid FROM session_name WHERE name = ?", (name,)).fetchone()
        if row is None:
            key = parts(r.session_id)
            cursor = db.execute(
                "INSERT INTO session VALUES (NULL, ?, ?, ?, ?, ?, 0, 0, 0.0, 0, ?, 0, ?, ?, ?, NULL, NULL, NULL, 0, 0)",
                (
                    kind,
                    name,
                    r.session_source == "inferred",
                    1 << 62,
                    -1,
                    _BEFORE_ALL,
                    _BEFORE_ALL,
                    self._name(key.agent),
                    self._name(key.channel),
                ),
            )
            row = (cursor.lastrowid,)
            if kind == 0:
                db.execute("INSERT OR REPLACE INTO session_name VALUES (?, ?)", (name, row[0]))
                db.execute("INSERT INTO meta VALUES ('sessions', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        self._sessions[kind, name] = row[0]
        return int(row[0])

    def _name(self, value: str | None) -> int:
        if not value:
            return 0
        known = self._names.get(value)
        if known is None:
            self._db.execute("INSERT OR IGNORE INTO name (value) VALUES (?)", (value,))
            known = int(self._db.execute("SELECT id FROM name WHERE value = ?", (value,)).fetchone()[0])
            self._names[value] = known
        return known

    def _facet(self, values: tuple[str | None, ...]) -> int:
        known = self._facets.get(values)
        if known is None:
            ids = [self._name(value) for value in values]
            self._db.execute(
                "INSERT OR IGNORE INTO facet (source, consumer, route, function, user_id, agent, host) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                ids,
            )
            row = self._db.execute(
                "SELECT id FROM facet WHERE source = ? AND consumer = ? AND route = ? AND function = ? "
                "AND user_id = ? AND agent = ? AND host = ?",
                ids,
            ).fetchone()
            self._facets[values] = known = int(row[0])
        return known

    def price_number(self, cost: Cost, version: str, reported_currency: str | None) -> int:
        """The number of a price tag, made where there is none yet."""
        values = (cost.status, cost.currency, cost.source, version, reported_currency)
        known = self._prices.get(values)
        if known is None:
            texts = [value or "" for value in values]
            self._db.execute(
                "INSERT OR IGNORE INTO price (status, currency, source, version, reported_currency) "
                "VALUES (?, ?, ?, ?, ?)",
                texts,
            )
            row = self._db.execute(
                "SELECT id FROM price WHERE status = ? AND currency = ? AND source = ? AND version = ? "
                "AND reported_currency = ?",
                texts,
            ).fetchone()
            self._prices[values] = known = int(row[0])
        return known

    # -- totals -----------------------------------------------------------------------------------

    def _totals(self) -> tuple[str, ...]:
        db = self._db
        # Before the slices grow: a model is new to a session if no slice says otherwise.
        db.execute(
            "INSERT INTO model_sessions SELECT model, count(*) FROM (SELECT DISTINCT sid, model FROM batch) AS b "
            "WHERE EXISTS (SELECT 1 FROM session WHERE sid = b.sid AND kind = 0) AND NOT EXISTS "
            "(SELECT 1 FROM session_slice AS s WHERE s.sid = b.sid AND s.model = b.model) GROUP BY model "
            "ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions"
        )
        for table in ROLLUPS:
            add_batch(db, table)
        latency.count(db)
        db.execute(f"INSERT OR IGNORE INTO presence SELECT DISTINCT {_QUARTER}, model, sid FROM batch")
        db.execute("INSERT INTO meta VALUES ('batches', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        db.execute(
            "UPDATE session AS s SET first_at = min(s.first_at, ifnull(b.lo, s.first_at)), "
            "last_at = max(s.last_at, b.hi), "
            "rounds = s.rounds + b.n, tokens = s.tokens + b.t, spend = s.spend + b.spend, "
            "sources = s.sources | b.bits, inferred = min(s.inferred, b.inferred), "
            "grown = (SELECT value FROM meta WHERE key = 'batches') "
            "FROM (SELECT sid, min(nullif(at, 0)) AS lo, max(at) AS hi, count(*) AS n, "
            "sum(ifnull(input, 0) + ifnull(output, 0)) AS t, sum(ifnull(nano, 0) * weight) AS spend, "
            "max(source_bit & 1) | max(source_bit & 2) | max(source_bit & 4) AS bits, "
            f"min((flags & {INFERRED}) != 0) AS inferred FROM batch GROUP BY sid) AS b "
            "WHERE s.sid = b.sid"
        )
        # Bare columns beside max() and min() come from the row that has it (SQLite, "Bare columns in an aggregate").
        db.execute(
            "UPDATE session SET model = b.model, model_at = b.hi FROM (SELECT sid, model, max(rid) AS hi FROM batch "
            "WHERE model != 0 AND flags & 1 GROUP BY sid) AS b WHERE session.sid = b.sid AND b.hi > model_at"
        )
        db.execute(
            "UPDATE session SET consumer = b.consumer, consumer_at = b.hi FROM (SELECT sid, f.consumer, "
            "max(rid) AS hi FROM batch JOIN facet AS f ON f.id = facet WHERE f.consumer != 0 GROUP BY sid) AS b "
            "WHERE session.sid = b.sid AND b.hi > consumer_at"
        )
        db.execute(
            "UPDATE session SET question = b.question, question_at = b.lo FROM (SELECT sid, question, min(rid) AS lo "
            "FROM batch WHERE question IS NOT NULL GROUP BY sid) AS b "
            "WHERE session.sid = b.sid AND (question_at IS NULL OR b.lo < question_at)"
        )
        rows = db.execute(
            "SELECT session_id FROM session WHERE kind = 0 AND sid IN (SELECT DISTINCT sid FROM batch)"
        ).fetchall()
        db.execute("DELETE FROM batch")
        return tuple(row[0] for row in rows)


def add_batch(db: sqlite3.Connection, table: str, change: str = ADD) -> None:
    """Let a roll-up grow by what the table ``batch`` sums up to, or `change` otherwise where it is there already."""
    columns, values = ROLLUPS[table]
    db.execute(
        f"INSERT INTO {table} ({columns}, {_COUNT_NAMES}) SELECT {values}, {SUMS} FROM batch "
        f"WHERE true GROUP BY {', '.join(str(i + 1) for i in range(values.count(',') + 1))} "
        f"ON CONFLICT DO UPDATE SET {change}"
    )


def preview(conversation: Conversation) -> str | None:
    """The beginning of a round's question as one line of text, or None where there is none."""
    question = conversation.question
    if question is None:
        return None
    try:
        value = msgspec.json.decode(question) if len(question) < 4096 else _cut(question)
    except msgspec.MsgspecError:
        return None
    if isinstance(value, list):
        value = next((p.get("text") for p in value if isinstance(p, dict) and isinstance(p.get("text"), str)), None)
    if not isinstance(value, str):
        return None
    line = " ".join(without_additions(value)[: 4 * _PREVIEW].split())
    return line[:_PREVIEW] or None


def _cut(text: bytes) -> object:
    """The beginning of a long JSON string, cut where no escape is torn."""
    if text[:1] != b'"':
        return msgspec.json.decode(text)
    piece = text[: 8 * _PREVIEW]
    for shorter in range(12):
        try:
            return msgspec.json.decode(piece[: len(piece) - shorter] + b'"')
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return None


def recomputed(db: sqlite3.Connection, table: str) -> Iterable[tuple[Any, ...]]:
    """The rows of a roll-up as the rounds themselves give them."""
    columns, values = ROLLUPS[table]
    count = columns.count(",") + 1
    start = f"((rid >> 22) + {EPOCH_MS})"
    return db.execute(
        f"SELECT {values}, {SUMS} FROM (SELECT *, {start} AS at FROM round) GROUP BY "
        + ", ".join(str(i + 1) for i in range(count))
        + " ORDER BY "
        + ", ".join(str(i + 1) for i in range(count))
    )
