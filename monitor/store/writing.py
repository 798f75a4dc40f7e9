"""One batch, one transaction: rounds, session totals, roll-ups and checkpoints, or nothing of them.

The batch goes into a temporary table with the columns of ``round``; what is there already is taken
out of it; and every total grows by what a GROUP BY over the rest says. The same sums over all of
``round`` must give the same totals: that is what `verify` compares.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence, Set

from monitor.budgets import BudgetBook
from monitor.rounds import without_text
from monitor.session_keys import name_digest
from monitor.store import latency
from monitor.store.base import SORT_WEIGHTS, Added, Batch, PricedRound, SessionName
from monitor.store.counters import Counters
from monitor.store.gone import Gone
from monitor.store.history import History
from monitor.store.joining import Joined, Joiner
from monitor.store.naming import learn
from monitor.store.places import BEFORE_ALL, Places
from monitor.store.previews import preview
from monitor.store.removing import Taken, drop_empty, leave_gaps, refresh_sources, take_out
from monitor.store.rollups import QUARTER, add_batch
from monitor.store.rows import (
    CONTENT,
    CONVENTION,
    INFERRED,
    LOST_COUNTS,
    LOWER_BOUND,
    NORMAL,
    ROUND_NAMES,
    SOURCE_BITS,
    STREAM,
    SUCCESS,
    TOOL_CALLS,
    BatchRow,
    content_key,
    next_id,
    round_id,
)
from monitor.store.schema import BATCH_TABLE, first_rid

_REMOVE_STEP = 5000
#: Where the ids of rounds stand.
_KEYS = ("round", "witness", "gap")


class Writer:
    """Adds batches through one connection. What it remembers between batches can be forgotten at any time."""

    def __init__(self, db: sqlite3.Connection, history: History | None, book: BudgetBook | None = None) -> None:
        self._db = db
        self._history = history
        self._book = book
        self._counters: Counters | None = None
        #: How often sessions were taken away, as far as this writer knows.
        self._dropped = 0
        self.places = Places(db)
        self._joiner = Joiner(db, self.places, self._question)
        self._gone = Gone(db)
        self._silenced: Set[bytes] | None = None
        self._data_version = -1
        self._db.execute(BATCH_TABLE)

    def count_budgets(self) -> None:
        """Bring the sums of budgets up to their definitions; from then on they move with every batch."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._counters = Counters(self._db, self._book or BudgetBook())
            self._counters.prepare()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk ends it by itself
                self._db.execute("ROLLBACK")
            raise

    def add(self, batch: Batch, price_version: str) -> Added:
        """Keep `batch`. On any failure nothing of it is kept, and the error goes on to the caller."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have pruned, or taken a session out.
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
            if version != self._data_version:
                self._data_version = version
                self.forget_gone()
            added = self._add(batch, price_version)
            self._db.execute("COMMIT")
        except BaseException:
            self.forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        if self.places.full:
            self.forget()
        return added

    def forget_gone(self) -> None:
        """Forget what was remembered of rounds that were pruned and sessions that were purged: there may be more."""
        self._silenced = None
        self._gone.forget()

    def forget(self) -> None:
        """Forget what was remembered of rows: they may be others now."""
        self.forget_gone()
        self.places.forget()
        self._joiner.forget()
        if self._counters is not None:
            self._counters.forget()
        if self._history is not None:
            self._history.forget()

    def _add(self, batch: Batch, price_version: str) -> Added:
        self._look_for_dropped()
        sessions, alerts = self._learn(batch.names) if batch.names else ((), 0)
        new, known = self._new_rounds(self._as_kept(batch.rounds), by_key=batch.origin is not None)
        duplicates = len(batch.rounds) - len(new)
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
            rows = self._rows(new, price_version)
            grown, alerts = self._move(self._joiner.join(rows) or Joined(rows=rows), self._counters)
            sessions = tuple(dict.fromkeys((*sessions, *grown)))
        if batch.origin is not None:
            origin = self.places.name(batch.origin)
            stand = [(origin, rid) for rid in (*known, *(rid for rid, _ in new))]
            self._db.executemany("INSERT OR IGNORE INTO origin VALUES (?, ?)", stand)
            self._db.executemany("INSERT OR REPLACE INTO record VALUES (?, ?)", [(p.round.key, rid) for rid, p in new])
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
        for seen in batch.seen:
            db.execute(
                "INSERT INTO feed VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET "
                "format = iif(?2 = '', format, ?2), rounds = rounds + ?3, last_at = max(last_at, ?4), "
                "missed = missed + (?5 AND missed_at IS NOT ?6), missed_at = ifnull(?6, missed_at), "
                "missed_path = ifnull(?7, missed_path)",
                (
                    seen.source,
                    seen.format,
                    len(new),
                    max((p.round.started_at for _, p in new), default=0),
                    int(seen.missed_path is not None),
                    seen.missed_at,
                    seen.missed_path,
                ),
            )
        if batch.as_of is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('as_of', ?)", (batch.as_of,))
        return Added(len(new), duplicates, sessions, alerts)

    def _learn(self, names: Sequence[SessionName]) -> tuple[tuple[str, ...], int]:
        """Keep names of sessions; sessions that turn out to be one become one."""
        moving = learn(self._db, self.places, names)
        if not moving.sessions:
            return (), 0
        if self._counters is not None:
            self._counters.forget()
        moved = self._move(Joined(out=moving.out, rows=moving.rows, sessions=set(moving.sessions)), self._counters)
        moving.finish(self._db)
        self.places.forget_sessions()
        return moved

    def _move(self, joined: Joined, counters: Counters | None) -> tuple[tuple[str, ...], int]:
        """Take out what goes and add what comes; the sessions that changed, and how many alerts wait because of it."""
        db = self._db
        taken = take_out(db, joined.out, counters, self._question) if joined.out else Taken()
        names = self._names_of(taken.sessions)
        if joined.rows:
            marks = ",".join("?" * 27)
            db.execute("DELETE FROM batch")
            db.executemany(f"INSERT INTO batch VALUES ({marks})", joined.rows)
            db.execute(f"INSERT INTO round ({ROUND_NAMES}) SELECT {ROUND_NAMES} FROM batch")
            if counters is not None:
                taken.budgets |= counters.move()
            names += self._totals()
        elif taken.sessions:
            db.execute("INSERT INTO meta VALUES ('batches', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        joined.finish(db)
        for sid in taken.sessions | joined.seen.keys():
            refresh_sources(db, sid)
        if taken.sessions or joined.sessions:
            drop_empty(db, taken.sessions | joined.sessions, self.places, counters)
        alerts = self._counters.note(taken.budgets) if self._counters is not None else 0
        return tuple(dict.fromkeys(names)), alerts

    def _look_for_dropped(self) -> None:
        """Forget the sessions where another process has taken some away."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'dropped'").fetchone()
        if row is not None and row[0] != self._dropped:
            self._dropped = row[0]
            self.places.forget_sessions()
            if self._counters is not None:
                self._counters.forget()

    def _names_of(self, sids: Iterable[int]) -> tuple[str, ...]:
        rows = (
            self._db.execute("SELECT session_id FROM session WHERE kind = 0 AND sid = ?", (sid,)).fetchone()
            for sid in sids
        )
        return tuple(row[0] for row in rows if row is not None)

    def _question(self, rid: int) -> str | None:
        """The beginning of the question of a stored round."""
        if self._history is None:
            return None
        row = content_key(self._db, rid)
        content = self._history.added(*row) if row is not None else None
        return None if content is None else preview(content.question)

    # -- what goes again --------------------------------------------------------------------------

    def remove(
        self, origin: str, since: int | None, until: int | None, checkpoints: Sequence[bytes], *, for_good: bool
    ) -> tuple[int, tuple[str, ...]]:
        """Take the rounds of a file out; how many they were, and the sessions that shrank.

        Works in steps, each a transaction after which everything adds up.
        """
        count, names, more = 0, dict[str, None](), True
        while more:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                taken, more, sessions = self._remove_some(origin, since, until, for_good=for_good)
                if not more:
                    for id_ in checkpoints:
                        self._db.execute("DELETE FROM checkpoint WHERE id = ?", (id_,))
                        self._db.execute("DELETE FROM occurrence WHERE file = ?", (id_,))
                self._db.execute("COMMIT")
            except BaseException:
                self.forget()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            count += taken
            names.update(dict.fromkeys(sessions))
        return count, tuple(names)

    def _remove_some(
        self, origin: str, since: int | None, until: int | None, *, for_good: bool
    ) -> tuple[int, bool, tuple[str, ...]]:
        db = self._db
        self._look_for_dropped()
        low = BEFORE_ALL if since is None else first_rid(since)
        high = -BEFORE_ALL - 1 if until is None else first_rid(until)
        rows = db.execute(
            "SELECT o.file, o.rid, EXISTS (SELECT 1 FROM origin AS p WHERE p.rid = o.rid AND p.file != o.file) "
            "FROM origin AS o WHERE o.file = (SELECT id FROM name WHERE value = ?) AND o.rid >= ? AND o.rid < ? "
            "ORDER BY o.rid LIMIT ?",
            (origin, low, high, _REMOVE_STEP),
        ).fetchall()
        db.executemany("DELETE FROM origin WHERE file = ? AND rid = ?", [row[:2] for row in rows])
        keys = {}
        for _, rid, elsewhere in rows:
            key = None if elsewhere else self._round_key(rid)
            if key is not None:
                keys[rid] = key
        sessions: tuple[str, ...] = ()
        if keys:
            # Whoever has no budgets of its own leaves those that are counted right all the same.
            counters = self._counters or Counters.as_stored(db)
            sessions, _ = self._move(self._joiner.without(keys), counters)
            leave_gaps(db, [(rid, key if for_good else b"") for rid, key in keys.items()])
            if not for_good:
                db.executemany("DELETE FROM record WHERE key = ?", [(key,) for key in keys.values()])
        return len(keys), len(rows) == _REMOVE_STEP, sessions

    def _round_key(self, rid: int) -> bytes | None:
        """The key of the round with an id, whether it counts or stands behind another; None where it is gone."""
        row = self._db.execute(
            "SELECT key FROM round WHERE rid = ?1 UNION SELECT key FROM witness WHERE rid = ?1", (rid,)
        ).fetchone()
        return None if row is None else bytes(row[0])

    # -- which rounds are new ---------------------------------------------------------------------

    def _new_rounds(
        self, rounds: Sequence[PricedRound], *, by_key: bool
    ) -> tuple[list[tuple[int, PricedRound]], list[int]]:
        """The rounds that are not there yet with their ids, and the ids of the others; equal keys count once.

        `by_key`: rounds are known by their key although they come with another time.
        """
        if not rounds:
            return [], []
        wanted: dict[bytes, PricedRound] = {}
        for priced in rounds:
            wanted.setdefault(priced.round.key, priced)
        new, known = [], []
        if by_key:
            for key in list(wanted):
                row = self._db.execute("SELECT rid FROM record WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    known.append(row[0])
                    del wanted[key]
            if not wanted:
                return [], known
        homes = {key: round_id(priced.round.started_at, key) for key, priced in wanted.items()}
        ids = set(homes.values())
        taken = self._keys_at(ids)
        for key, priced in wanted.items():
            rid = homes[key]
            # Where another round has this id by chance, the round is or will be behind it.
            while (there := taken[rid] if rid in taken else self._key_at(rid, ids)) is not None and there != key:
                rid = next_id(rid)
            if there is None and self._gone.has(rid, priced.round):
                continue
            if there is None:
                taken[rid] = key
                new.append((rid, priced))
            else:
                known.append(rid)
        return new, known

    def _as_kept(self, rounds: Sequence[PricedRound]) -> Sequence[PricedRound]:
        """The rounds, without what was said where they belong to a session that was purged."""
        if self._silenced is None:
            self._silenced = {bytes(row[0]) for row in self._db.execute("SELECT digest FROM silenced")}
        silenced = self._silenced
        if not silenced:
            return rounds
        kept = []
        for priced in rounds:
            r = priced.round
            names = (r.session_id, *r.session_aliases) if r.session_id is not None else ()
            quiet = any(name_digest(name) in silenced for name in names)
            kept.append(PricedRound(without_text(r), priced.cost) if quiet else priced)
        return kept

    def _key_at(self, rid: int, asked: Set[int]) -> bytes | None:
        """The key of the stored round with an id; those of the `asked` ones are known to be free."""
        if rid in asked:
            return None
        row = self._db.execute(
            " UNION ALL ".join(f"SELECT key FROM {table} WHERE rid = ?1" for table in _KEYS), (rid,)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _keys_at(self, wanted: Set[int]) -> dict[int, bytes]:
        db = self._db
        low, high = min(wanted), max(wanted)
        # Rounds of one batch lie close together in time, so a range is usually the shorter way.
        rows = db.execute(
            " UNION ALL ".join(f"SELECT rid, key FROM {table} WHERE rid BETWEEN ?1 AND ?2" for table in _KEYS)
            + " LIMIT ?3",
            (low, high, 4 * len(wanted)),
        ).fetchall()
        if len(rows) < 4 * len(wanted):
            return dict(rows)
        found: dict[int, bytes] = {}
        ids = list(wanted)
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ",".join("?" * len(some))
            for table in _KEYS:
                found.update(db.execute(f"SELECT rid, key FROM {table} WHERE rid IN ({marks})", some))
        return found

    # -- rows -------------------------------------------------------------------------------------

    def _rows(self, new: list[tuple[int, PricedRound]], price_version: str) -> list[BatchRow]:
        keeps = self._history is not None
        place, name, price = self.places.place, self.places.name, self.places.price
        rows: list[BatchRow] = []
        for rid, priced in new:
            r, cost = priced.round, priced.cost
            usage = r.usage
            sid, facet = place(r)
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
                    name(r.model) if r.model else 0,
                    price(cost, price_version, r.reported.currency if r.reported is not None else None),
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
                    preview(conversation.question) if keeps and conversation is not None else None,
                )
            )
        return rows

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
        add_batch(db)
        latency.count(db)
        db.execute(f"INSERT OR IGNORE INTO presence SELECT DISTINCT {QUARTER}, model, sid FROM batch")
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
