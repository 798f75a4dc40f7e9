"""The embedded store: one SQLite file for counts, one a month for conversations.

One process writes, through a `SqliteStore` opened for writing; any number of others read while it
does. Each question is answered from one snapshot.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from monitor.budgets import BudgetBook, BudgetSum
from monitor.store import (
    alerts,
    asking,
    calls,
    chosen,
    latency,
    naming,
    pruning,
    purging,
    rollups,
    sums,
    witnesses,
    writing,
)
from monitor.store.base import (
    Added,
    Alert,
    Batch,
    Bounds,
    Bucket,
    Call,
    Checkpoint,
    Content,
    Delivery,
    Dimension,
    Feed,
    Grain,
    Latency,
    Pricing,
    Pruned,
    Purged,
    Removed,
    RepricedRounds,
    RoundPage,
    SessionPage,
    SessionQuery,
    SessionRecord,
    SkippedLines,
    Slice,
    StoredRound,
    StoreError,
    Testimony,
)
from monitor.store.changing import Repricer
from monitor.store.counters import budget_sums
from monitor.store.history import History
from monitor.store.labels import Labels
from monitor.store.schema import COUNTED, COUNTS, EPOCH_MS, connect, explaining

DATABASE = "monitor.db"
#: Connections that wait for the next question; more are opened when more is asked at once.
_KEPT_READERS = 8
_T = TypeVar("_T")


class _Reader:
    """A connection, and the labels that it has seen."""

    def __init__(self, path: Path, history_folder: Path) -> None:
        self.db = connect(path, read_only=True)
        self.labels = Labels(self.db)
        self._history_folder = history_folder
        self._history: History | None = None

    @property
    def history(self) -> History:
        if self._history is None:
            self._history = History(self._history_folder, read_only=True)
        return self._history

    def close(self) -> None:
        self.db.close()
        if self._history is not None:
            self._history.close()


class SqliteStore:
    """A `Store` in a folder.

    Args:
        folder: The data directory.
        read_only: Open for questions only; the folder may still be empty then, and stays so.
        keep_content: Whether conversations are kept besides counts.
        price_version: Names the price list by which the costs of added rounds were worked out.
        budgets: What is counted along; sums of budgets that are new or changed are made when it opens. Without it
            the sums that are there stay as they are.

    Raises:
        StoreError: for a file that is damaged, newer or not ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        keep_content: bool = True,
        price_version: str = "",
        budgets: BudgetBook | None = None,
    ) -> None:
        self.folder = folder
        self.path = folder / DATABASE
        self.price_version = price_version
        self._readers: list[_Reader] = []
        self._free_readers: list[_Reader] = []
        self._lock = threading.Lock()
        self._reader_lock = threading.Lock()
        self._writer: writing.Writer | None = None
        self._write_db: sqlite3.Connection | None = None
        self._write_history: History | None = None
        if not read_only:
            self._write_db = connect(self.path, read_only=False)
            self._write_history = History(folder) if keep_content else None
            self._writer = writing.Writer(self._write_db, self._write_history, budgets)
            if budgets is not None:
                with explaining(self.path):
                    self._writer.count_budgets()

    # -- writing ----------------------------------------------------------------------------------

    def add(self, batch: Batch) -> Added:
        """Keep a batch: all of it, or nothing.

        Raises:
            StoreError: opened for reading only, or the disk is full or broken.
            HistoryError, OSError: the conversations can't be kept.
        """
        if self._writer is None:
            raise StoreError(f"{self.path} was opened for reading only")
        with self._lock, explaining(self.path):
            return self._writer.add(batch, self.price_version)

    def follow(self, source: str, kind: str, settings: bytes) -> None:
        """Remember how a source is read."""
        if self._write_db is None:
            raise StoreError(f"{self.path} was opened for reading only")
        with self._lock, explaining(self.path):
            self._write_db.execute(
                "INSERT OR REPLACE INTO followed VALUES (?, ?, ?)", (source, kind, settings.decode())
            )

    def followed(self) -> Mapping[str, tuple[str, bytes]]:
        """How the sources that were ever followed are read."""
        return self._ask(
            lambda db, _: {
                source: (kind, text.encode()) for source, kind, text in db.execute("SELECT * FROM followed")
            },
            {},
        )

    def origins(self) -> list[str]:
        """The files whose rounds can be taken back out, by the names that batches gave them."""
        return self._ask(
            lambda db, _: [
                row[0]
                for row in db.execute(
                    # From each file to the next by the index, past all their rounds.
                    "WITH RECURSIVE f (file) AS (SELECT min(file) FROM origin UNION ALL "
                    "SELECT (SELECT min(file) FROM origin WHERE file > f.file) FROM f WHERE f.file IS NOT NULL) "
                    "SELECT value FROM f JOIN name ON id = f.file ORDER BY value"
                )
            ],
            [],
        )

    def remove(
        self,
        origin: str,
        *,
        since: int | None = None,
        until: int | None = None,
        checkpoints: Sequence[bytes] = (),
        for_good: bool = False,
    ) -> Removed:
        """Take the rounds of a file back out of every figure, those of [since, until) where given.

        Raises:
            StoreError: opened for reading only, or the disk is full or broken.
        """
        if self._writer is None:
            raise StoreError(f"{self.path} was opened for reading only")
        with self._lock, explaining(self.path):
            return Removed(*self._writer.remove(origin, since, until, checkpoints, for_good=for_good))

    def reprice(
        self, pricing: Pricing, version: str, *, progress: Callable[[int], None] | None = None
    ) -> RepricedRounds:
        """Price every stored round anew by `pricing`, and bring all sums up to that.

        `progress` is called with the number of rounds that were looked at so far. May be interrupted at
        any time and run again.

        Raises:
            StoreError: opened for reading only, or the disk is full or broken.
        """
        writer, db = self._writer, self._write_db
        if writer is None or db is None:
            raise StoreError(f"{self.path} was opened for reading only")
        with explaining(self.path):
            with self._lock:
                repricer = Repricer(db, writer, pricing, version)
            more = True
            while more:
                # Between two steps others may add what they have read.
                with self._lock:
                    more = repricer.step()
                if progress is not None:
                    progress(repricer.seen)
            with self._lock:
                (counted,) = db.execute("SELECT ifnull(sum(rounds), 0) FROM total").fetchone()
        return RepricedRounds(repricer.seen, repricer.changed, max(0, counted - repricer.seen))

    def prunable(self, bounds: Bounds) -> Pruned:
        """What `pruning` would take away."""
        with self._snapshot() as reader:
            return Pruned() if reader is None else pruning.prunable(reader.db, reader.history, bounds)

    def pruning(self, bounds: Bounds, *, rewrite: bool = True) -> Iterator[Pruned]:
        """Take away what is older than `bounds`, in small steps; what went so far after each of them.

        Others may add what they have read between two steps. May be left at any time and begun again.
        With `rewrite`, room is given back to the disk even where that takes as long as copying the file.

        Raises:
            StoreError: opened for reading only, or the disk is full or broken.
        """
        db, writer = self._write_db, self._writer
        if db is None or writer is None:
            raise pruning.refuse_reading_only(self.path)
        before = self._bytes()
        done = Pruned()
        reason: str | None = None
        with closing(History(self.folder)) as history:
            for done in self._stepwise(pruning.Pruner(db, history, bounds, may_rewrite=rewrite).steps()):
                writer.forget_gone()
                yield done
        for said in self._stepwise(pruning.give_back(db, self.path, may_rewrite=rewrite)):
            reason = said
            yield done
        freed = max(0, before - self._bytes())
        yield msgspec.structs.replace(done, freed_bytes=freed, not_given_back=reason)

    def pruned_at(self) -> int | None:
        """When something was last looked for that is too old, ms since 1970."""
        row = self._ask(lambda db, _: db.execute("SELECT value FROM meta WHERE key = 'pruned_at'").fetchone(), None)
        return int(row[0]) if row else None

    def _stepwise(self, steps: Iterator[_T]) -> Iterator[_T]:
        while True:
            with self._lock, explaining(self.path):
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step

    def _bytes(self) -> int:
        """What the data directory takes on the disk."""
        size = 0
        for file in self.folder.glob("*.db*"):
            with suppress(OSError):
                size += file.stat().st_size
        return size

    def purgeable(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """What `purge` would take away; None where there is no such session."""
        with self._snapshot() as reader:
            if reader is None:
                return None
            return purging.purgeable(reader.db, reader.history, _text(name), counts_too=counts_too)

    def silenced(self) -> Set[bytes]:
        """The digests of the names of sessions that were purged."""
        return self._ask(
            lambda db, _: frozenset(bytes(row[0]) for row in db.execute("SELECT digest FROM silenced")), frozenset()
        )

    def purge(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """Take away what was said in a session, and see that nothing of it is kept from now on.

        May be interrupted at any time and run again.

        Raises:
            StoreError: opened for reading only, or the disk is full or broken.
        """
        writer, db = self._writer, self._write_db
        if writer is None or db is None:
            raise pruning.refuse_reading_only(self.path)
        with self._lock, explaining(self.path), closing(History(self.folder)) as history:
            try:
                return purging.purge(db, history, self.path, _text(name), counts_too=counts_too)
            finally:
                writer.forget()

    def due(self, now: int) -> list[Delivery]:
        """Messages about budgets that are to be sent now."""
        return self._ask(lambda db, _: alerts.due(db, now), [])

    def delivered(self, delivery: Delivery, *, error: str | None = None, again_at: int | None = None) -> None:
        """Write down how sending went: done, failed for good, or to be tried again."""
        if self._write_db is None:
            raise StoreError(f"{self.path} was opened for reading only")
        with self._lock, explaining(self.path):
            alerts.delivered(self._write_db, delivery, error, again_at)

    # -- asking -----------------------------------------------------------------------------------

    @contextmanager
    def _snapshot(self) -> Iterator[_Reader | None]:
        """A connection of this question alone, in a read transaction; None where nothing has been stored yet."""
        try:
            reader = self._take()
        except FileNotFoundError:
            yield None
            return
        try:
            with explaining(self.path):
                reader.db.execute("BEGIN")
                try:
                    yield reader
                finally:
                    # Some failures end the transaction by themselves.
                    if reader.db.in_transaction:
                        reader.db.execute("COMMIT")
        finally:
            self._give_back(reader)

    def _take(self) -> _Reader:
        # Threads come and go with the load, so a connection does not belong to one.
        with self._reader_lock:
            if self._free_readers:
                return self._free_readers.pop()
        reader = _Reader(self.path, self.folder)
        with self._reader_lock:
            self._readers.append(reader)
        return reader

    def _give_back(self, reader: _Reader) -> None:
        with self._reader_lock:
            if reader not in self._readers:
                return  # the store was closed meanwhile
            if len(self._free_readers) < _KEPT_READERS:
                self._free_readers.append(reader)
                return
            self._readers.remove(reader)
        reader.close()

    def _ask(self, question: Callable[[sqlite3.Connection, Labels], _T], nothing: _T) -> _T:
        with self._snapshot() as reader:
            return nothing if reader is None else question(reader.db, reader.labels)

    def checkpoints(self, source: str) -> list[Checkpoint]:
        """How far the files of a source were read."""
        rows: list[tuple[Any, ...]] = self._ask(
            lambda db, _: db.execute(
                'SELECT id, source, path, "offset", size, position FROM checkpoint WHERE source = ?', (source,)
            ).fetchall(),
            [],
        )
        return [Checkpoint(*row) for row in rows]

    def sources(self) -> list[str]:
        """The sources that were ever read into this folder."""
        return self._ask(
            lambda db, _: [row[0] for row in db.execute("SELECT DISTINCT source FROM checkpoint ORDER BY source")], []
        )

    def occurrences(self, file: bytes) -> Mapping[bytes, int]:
        """How often the records of a file that hold nothing unique were read so far."""
        return self._ask(
            lambda db, _: dict(db.execute("SELECT key, n FROM occurrence WHERE file = ?", (file,)).fetchall()), {}
        )

    def session(self, name: str, since: int | None = None) -> SessionRecord | None:
        """A session by its id or another of its names."""
        return self._ask(lambda db, labels: asking.session_record(db, labels, _text(name), since), None)

    def started_by(self, name: str) -> list[SessionRecord]:
        """The sessions that a session has started (sub-agents), and those that these have started, and so on."""

        def below(db: sqlite3.Connection, labels: Labels) -> list[SessionRecord]:
            found = (asking.session_record(db, labels, one) for one in naming.descendants(db, _text(name)))
            return [record for record in found if record is not None]

        return self._ask(below, [])

    def sessions(self, query: SessionQuery) -> SessionPage:
        """Sessions that match, a page at a time."""
        texts = {f: _text(v) for f in ("model", "consumer", "search") if (v := getattr(query, f)) is not None}
        if texts:
            query = msgspec.structs.replace(query, **texts)
        return self._ask(lambda db, labels: asking.session_page(db, labels, query), SessionPage((), None, 0))

    def top_sessions(self, since: int | None, limit: int, until: int | None = None) -> Sequence[SessionRecord]:
        """The sessions that spent the most, their sums from `since` on and before `until`."""
        return self._ask(lambda db, labels: asking.top_sessions(db, labels, since, limit, until), [])

    def failed(self, since: int | None, until: int | None = None, limit: int = 10) -> Sequence[StoredRound]:
        """The newest rounds of a period that failed, newest first."""
        return self._ask(lambda db, labels: asking.failed_rounds(db, labels, since, until, limit), [])

    def slices_of(self, keys: Sequence[str], since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """Sums by model and price of the sessions whose id matches a glob pattern of `keys`."""
        return self._ask(lambda db, labels: chosen.slices_of(db, labels, keys, since, until), [])

    def buckets_of(
        self, keys: Sequence[str], grain: Grain, timezone: str, since: int | None = None, until: int | None = None
    ) -> list[Bucket]:
        """Sums by local time of the sessions whose id matches a glob pattern of `keys`."""
        return self._ask(lambda db, labels: chosen.buckets_of(db, labels, keys, grain, timezone, since, until), [])

    def turns(self, name: str) -> Sequence[tuple[int, int | None, int | None]]:
        """(start in ms, user messages, opening) of each round of a session that tells any of them, in order."""
        return self._ask(lambda db, _: asking.session_turns(db, _text(name)), [])

    def unnamed(self) -> Sequence[SessionRecord]:
        """The rounds that belong to no session, one record a consumer."""
        return self._ask(asking.unnamed_records, [])

    def rounds(
        self, name: str, *, limit: int | None = None, before: str | None = None, since: int | None = None
    ) -> RoundPage:
        """The newest `limit` rounds of a session, oldest first."""
        return self._ask(
            lambda db, labels: asking.round_page(db, labels, _text(name), limit=limit, before=before, since=since),
            RoundPage((), None),
        )

    def round(self, name: str | None, number: int | None = None, key: bytes | None = None) -> StoredRound | None:
        """One round by its number in a session or by its key."""
        text = None if name is None else _text(name)
        return self._ask(lambda db, labels: asking.one_round(db, labels, text, number, key), None)

    def calls(
        self,
        *,
        session: str | None = None,
        since: int | None = None,
        until: int | None = None,
        min_latency_ms: int | None = None,
        limit: int,
    ) -> Sequence[Call]:
        """Rounds of a session or of a window in short, oldest first."""
        name = None if session is None else _text(session)
        return self._ask(
            lambda db, labels: calls.calls(db, labels, name, since, until, min_latency_ms=min_latency_ms, limit=limit),
            [],
        )

    def sampled_calls(self, since: int, until: int, step_ms: int, each: int) -> Sequence[Call]:
        """The first `each` rounds of every step of [since, until), oldest first."""
        return self._ask(lambda db, labels: calls.sampled(db, labels, since, until, step_ms, each), [])

    def content(self, rounds: Iterable[StoredRound], *, new_only: bool = False) -> list[Content | None]:
        """What was said in each of `rounds`; None where it is not kept."""
        wanted = list(rounds)
        with self._snapshot() as reader:
            if reader is None:
                return [None] * len(wanted)
            keys = asking.content_keys(reader.db, wanted)
            if new_only:
                return [None if key is None else reader.history.added(*key) for key in keys]
            found = iter(reader.history.walk([key for key in keys if key is not None]))
            return [None if key is None else next(found) for key in keys]

    def testimonies(self, since: int | None, until: int | None = None, *, limit: int) -> Sequence[Testimony]:
        """What each source said of each call of a period, oldest first; of more than `limit` the newest."""
        return self._ask(lambda db, labels: witnesses.testimonies(db, labels, since, until, limit), [])

    def slices(self, since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """Sums by model and price."""
        return self._ask(lambda db, labels: sums.total_slices(db, labels, since, until), [])

    def sessions_by_model(self, since: int | None = None, until: int | None = None) -> Mapping[str | None, int]:
        """How many sessions used each model."""
        return self._ask(lambda db, labels: sums.model_sessions(db, labels, since, until), {})

    def buckets(
        self,
        grain: Grain,
        timezone: str,
        since: int | None = None,
        until: int | None = None,
        *,
        sessions: bool = True,
    ) -> list[Bucket]:
        """Sums by local time, oldest first."""
        return self._ask(lambda db, labels: sums.time_buckets(db, labels, grain, timezone, since, until, sessions), [])

    def by(self, dimension: Dimension, since: int | None = None, until: int | None = None) -> Mapping[str, list[Slice]]:
        """Sums by a dimension's values."""
        return self._ask(lambda db, labels: sums.dimension_slices(db, labels, dimension, since, until), {})

    def latency_steps(self) -> Mapping[tuple[Latency, str | None], tuple[int, ...]]:
        """How many rounds of each model took how long."""
        return self._ask(latency.steps, {})

    def session_count(self) -> int:
        """How many named sessions there are."""
        return self._ask(lambda db, _: asking.count_sessions(db), 0)

    def similar(self, name: str, limit: int = 3) -> list[str]:
        """Ids of sessions that look like `name`, best first."""
        return self._ask(lambda db, _: asking.similar_names(db, _text(name), limit), [])

    def names_with(self, part: str, limit: int = 100, *, only: tuple[str, ...] | None = None) -> list[str]:
        """Session ids that contain `part`, newest first; with `only` those that match one of its glob patterns."""
        return self._ask(lambda db, _: asking.names_with(db, _text(part), limit, only), [])

    def skipped(self) -> list[SkippedLines]:
        """Lines that were no rounds."""
        rows: list[tuple[Any, ...]] = self._ask(
            lambda db, _: db.execute(
                "SELECT source, reason, n, sample FROM skipped ORDER BY source, reason"
            ).fetchall(),
            [],
        )
        return [SkippedLines(*row) for row in rows]

    def feeds(self) -> list[Feed]:
        """What is known of the sources that were read."""
        rows: list[tuple[Any, ...]] = self._ask(
            lambda db, _: db.execute(
                "SELECT source, format, rounds, last_at, missed, missed_at, missed_path FROM feed ORDER BY source"
            ).fetchall(),
            [],
        )
        return [Feed(*row) for row in rows]

    def named_by(self) -> tuple[int, int]:
        """How many sessions are named by a header, and how many only by what was said in them."""
        count = "SELECT ifnull(sum(NOT inferred), 0), ifnull(sum(inferred), 0) FROM session WHERE kind = 0"
        return self._ask(lambda db, _: tuple(db.execute(count).fetchone()), (0, 0))

    def check(self) -> list[str]:
        """What SQLite itself finds damaged."""
        return self._ask(lambda db, _: [row[0] for row in db.execute("PRAGMA quick_check(10)") if row[0] != "ok"], [])

    def as_of(self) -> int | None:
        """The instant up to which all sources were read when they were last read completely."""
        row = self._ask(lambda db, _: db.execute("SELECT value FROM meta WHERE key = 'as_of'").fetchone(), None)
        return int(row[0]) if row else None

    def grown_since(self, mark: int | None) -> tuple[int, Sequence[str]]:
        """A mark for now, and the ids of the sessions that grew since an earlier one."""
        nothing: tuple[int, Sequence[str]] = (0, [])
        return self._ask(lambda db, _: asking.grown_sessions(db, mark), nothing)

    def budget_sums(self, name: str, at: int | None = None, slot: str | None = None) -> list[BudgetSum]:
        """What a budget counted, the newest period first; of one period and under one value where asked."""
        return self._ask(lambda db, _: budget_sums(db, name, at, slot), [])

    def budget_rules(self) -> Mapping[str, str]:
        """The rules by which the sums of budgets are counted, by name."""
        return self._ask(lambda db, _: dict(db.execute("SELECT name, rule FROM budget").fetchall()), {})

    def alerts(self, limit: int = 100) -> list[Alert]:
        """Shares of budgets that were passed, the newest first, and who was told."""
        return self._ask(lambda db, _: alerts.newest(db, limit), [])

    def nodes(self) -> Mapping[str, int]:
        """None: it is one machine's own."""
        return {}

    def missing(self) -> Sequence[str]:
        """Nothing: a file is there as a whole."""
        return ()

    def verify(self) -> list[str]:
        """What does not add up; empty when everything does. Reads every round."""
        return self._ask(lambda db, _: _verify(db), [])

    def close(self) -> None:
        """Let go of the files."""
        if self._write_history is not None:
            self._write_history.close()
        if self._write_db is not None:
            self._write_db.close()
        self._writer = self._write_db = self._write_history = None
        with self._reader_lock:
            readers, self._readers, self._free_readers = self._readers, [], []
        for reader in readers:
            reader.close()


def _text(asked: str) -> str:
    """What was asked for as a text that a database can compare; nothing stored holds half a character."""
    return asked.encode("utf-8", "replace").decode()


def _verify(db: sqlite3.Connection) -> list[str]:
    problems = [row[0] for row in db.execute("PRAGMA quick_check") if row[0] != "ok"]
    for table, (columns, _) in rollups.ROLLUPS.items():
        kept = set(db.execute(f"SELECT {columns}, {', '.join(COUNTS)} FROM {table}"))
        right = {tuple(row) for row in rollups.recomputed(db, table)}
        problems += [f"{table}: {row} is kept, and no rounds add up to it" for row in sorted(kept - right, key=str)[:3]]
        problems += [
            f"{table}: the rounds add up to {row}, which is missing" for row in sorted(right - kept, key=str)[:3]
        ]
    problems += latency.wrong(db)
    for sid, rounds, right_rounds in db.execute(
        "SELECT sid, s.rounds, r.n FROM session AS s LEFT JOIN "
        f"(SELECT sid, sum(rounds) AS n FROM {COUNTED} GROUP BY sid) AS r USING (sid) WHERE s.rounds IS NOT r.n LIMIT 3"
    ):
        problems.append(f"session {sid}: {rounds} rounds are kept as its total, {right_rounds} are there")
    (told,) = db.execute("SELECT ifnull(max(value), 0) FROM meta WHERE key = 'sessions'").fetchone()
    (there,) = db.execute("SELECT count(*) FROM session WHERE kind = 0").fetchone()
    if told != there:
        problems.append(f"sessions: {told} are counted, {there} are there")
    wrong = db.execute(
        "SELECT model, sessions FROM model_sessions EXCEPT SELECT model, count(*) FROM (SELECT DISTINCT s.sid, s.model "
        "FROM session_slice AS s JOIN session AS x ON x.sid = s.sid WHERE x.kind = 0) GROUP BY model LIMIT 3"
    )
    problems += [f"model {model}: {sessions} sessions are counted, there are others" for model, sessions in wrong]
    for rid, counted in db.execute(
        "SELECT w.rid, w.counted FROM witness AS w WHERE NOT EXISTS (SELECT 1 FROM round WHERE rid = w.counted) "
        "OR (w.rid != w.counted AND EXISTS (SELECT 1 FROM round WHERE rid = w.rid)) LIMIT 3"
    ):
        problems.append(f"witness {rid}: stands behind round {counted}, and one of them counts wrongly")
    for name, session_id in db.execute(
        "SELECT k.name, k.session_id FROM known_name AS k WHERE EXISTS (SELECT 1 FROM session WHERE kind = 0 AND "
        "session_id = k.name) OR EXISTS (SELECT 1 FROM session AS s LEFT JOIN session_name AS n ON n.name = k.name "
        "WHERE s.kind = 0 AND s.session_id = k.session_id AND n.sid IS NOT s.sid) LIMIT 3"
    ):
        problems.append(f"session {name!r}: is a name of {session_id!r}, and does not lead there")
    for sid, rounds, right_rounds in db.execute(
        "SELECT sid, s.pruned, ifnull(r.n, 0) FROM session AS s LEFT JOIN "
        "(SELECT sid, sum(rounds) AS n FROM pruned GROUP BY sid) AS r USING (sid) WHERE s.pruned != ifnull(r.n, 0) "
        "LIMIT 3"
    ):
        problems.append(f"session {sid}: {rounds} rounds are noted as pruned, the sums hold {right_rounds}")
    for at, rounds, digests in db.execute(
        f"SELECT p.at, p.n, ifnull(length(k.digests), 0) / 8 FROM (SELECT (rid >> 22) + {EPOCH_MS} AS at, "
        "sum(rounds) AS n FROM pruned GROUP BY 1) AS p LEFT JOIN pruned_key AS k ON k.at = p.at "
        "WHERE p.n > ifnull(length(k.digests), 0) / 8 LIMIT 3"
    ):
        problems.append(f"quarter {at}: {rounds} rounds were pruned, {digests} of them would be known again")
    return problems
