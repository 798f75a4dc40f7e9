"""The store of a fleet: what `monitor.store.base.Store` asks, answered by ClickHouse.

Any number of nodes write through one of these each, any number of servers only ask.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import msgspec

from monitor.budgets import BudgetBook, BudgetSum
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
from monitor.store.clickhouse import (
    asking,
    history,
    pruning,
    purging,
    removing,
    repricing,
    rounds,
    sums,
    verifying,
)
from monitor.store.clickhouse.budgets import Budgets
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.joining import Joiner
from monitor.store.clickhouse.naming import Names
from monitor.store.clickhouse.nodes import Nodes
from monitor.store.clickhouse.partial import Partial
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.writing import Writer


class ClickHouseStore:
    """A `Store` in a ClickHouse database, whose tables `monitor.store.clickhouse.schema` describes.

    Args:
        db: The connection.
        node: The name of this machine among those that write; checkpoints are each node's own.
        read_only: Open for questions only.
        keep_content: Whether conversations are kept besides counts.
        price_version: Names the price list by which the costs of added rounds were worked out.
        budgets: What is looked at when rounds are added. Without it the rules that are there stay as they are.
    """

    def __init__(
        self,
        db: Database,
        *,
        node: str | None = None,
        read_only: bool = False,
        keep_content: bool = True,
        price_version: str = "",
        budgets: BudgetBook | None = None,
    ) -> None:
        self._db = db
        self._asked = Partial(db)
        self._lock = threading.RLock()
        # Whoever writes must see all that is there; who only asks gets what can be had.
        known = self._asked if read_only else db
        self._state = State(known, node or socket.gethostname())
        self._standing = Nodes(State(self._asked, self._state.node))
        self._names = Names(db)
        self._budgets = Budgets(known, self._state, budgets)
        self._joiner = Joiner(db, self._names)
        self._writer: Writer | None = None
        if not read_only:
            kept = history.History(db) if keep_content else None
            self._writer = Writer(db, self._state, self._names, self._joiner, self._budgets, kept, price_version)
            self._budgets.prepare()

    @property
    def price_version(self) -> str:
        """Names the price list by which the costs of added rounds are worked out."""
        return self._writing().price_version

    @price_version.setter
    def price_version(self, version: str) -> None:
        self._writing().price_version = version

    # -- writing ----------------------------------------------------------------------------------

    def _writing(self) -> Writer:
        if self._writer is None:
            raise StoreError(f"{self._db} was opened for reading only")
        return self._writer

    def add(self, batch: Batch) -> Added:
        """Keep a batch. What is there already, from this node or another, changes nothing.

        Raises:
            StoreError: opened for reading only, or the engine refuses it.
            StoreAway: the engine can't be reached; parts of the batch may be there, and come again without harm.
        """
        with self._lock:
            return self._writing().add(batch)

    def follow(self, source: str, kind: str, settings: bytes) -> None:
        """Remember how this node reads a source."""
        self._writing()
        self._state.follow(source, kind, settings)

    def followed(self) -> Mapping[str, tuple[str, bytes]]:
        """How the sources that this node ever followed are read."""
        return self._state.followed()

    def origins(self) -> list[str]:
        """The files whose rounds can be taken back out, by the names that batches gave them."""
        return removing.origins(self._db)

    def remove(
        self,
        origin: str,
        *,
        since: int | None = None,
        until: int | None = None,
        checkpoints: Sequence[bytes] = (),
        for_good: bool = False,
    ) -> Removed:
        """Take the rounds of a file back out of every figure, those of [since, until) where given."""
        with self._lock:
            writer = self._writing()
            removed = removing.remove(
                self._db,
                self._state,
                self._joiner,
                origin,
                since=since,
                until=until,
                checkpoints=checkpoints,
                for_good=for_good,
            )
            writer.note_grown(removed.sessions)
            return removed

    def reprice(
        self, pricing: Pricing, version: str, *, progress: Callable[[int], None] | None = None
    ) -> RepricedRounds:
        """Price every stored round anew by `pricing`; all sums follow from the rounds."""
        with self._lock:
            writer = self._writing()
            return repricing.reprice(self._db, pricing, version, writer.note_grown, progress or (lambda _: None))

    def prunable(self, bounds: Bounds) -> Pruned:
        """What `pruning` would take away."""
        return pruning.prunable(self._db, bounds)

    def pruning(self, bounds: Bounds, *, rewrite: bool = True) -> Iterator[Pruned]:
        """Take away what is older than `bounds`, in small steps; what went so far after each of them."""
        self._writing()
        return pruning.pruning(self._db, self._state, bounds, rewrite=rewrite)

    def pruned_at(self) -> int | None:
        """When something was last looked for that is too old, ms since 1970."""
        return pruning.pruned_at(self._state)

    def purgeable(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """What `purge` would take away; None where there is no such session."""
        return purging.purgeable(self._db, _text(name), counts_too=counts_too)

    def silenced(self) -> Set[bytes]:
        """The digests of the names of sessions that were purged."""
        return self._state.silenced()

    def purge(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """Take away what was said in a session, and see that nothing of it is kept from now on."""
        with self._lock:
            self._writing()
            return purging.purge(self._db, self._state, _text(name), counts_too=counts_too)

    def due(self, now: int) -> list[Delivery]:
        """Messages about budgets that this node is to send now."""
        return self._budgets.due(now)

    def delivered(self, delivery: Delivery, *, error: str | None = None, again_at: int | None = None) -> None:
        """Write down how sending went: done, failed for good, or to be tried again."""
        self._writing()
        self._budgets.delivered(delivery, error, again_at)

    # -- asking -----------------------------------------------------------------------------------

    def checkpoints(self, source: str) -> list[Checkpoint]:
        """How far this node read the files of a source."""
        return self._state.checkpoints(source)

    def sources(self) -> list[str]:
        """The sources that were ever read, by whichever node."""
        return self._state.sources()

    def occurrences(self, file: bytes) -> Mapping[bytes, int]:
        """How often this node read the records of a file that hold nothing unique."""
        return self._state.occurrences(file)

    def session(self, name: str, since: int | None = None) -> SessionRecord | None:
        """A session by its id or another of its names."""
        return asking.session(self._asked, _text(name), since)

    def started_by(self, name: str) -> Sequence[SessionRecord]:
        """The sessions that a session has started (sub-agents), and those that these have started, and so on."""
        return asking.started_by(self._asked, _text(name))

    def sessions(self, query: SessionQuery) -> SessionPage:
        """Sessions that match, a page at a time."""
        texts = {f: _text(v) for f in ("model", "consumer", "search") if (v := getattr(query, f)) is not None}
        return asking.sessions(self._asked, msgspec.structs.replace(query, **texts) if texts else query)

    def top_sessions(self, since: int | None, limit: int, until: int | None = None) -> Sequence[SessionRecord]:
        """The sessions that spent the most, their sums from `since` on and before `until`."""
        return asking.top_sessions(self._asked, since, limit, until)

    def failed(self, since: int | None, until: int | None = None, limit: int = 10) -> Sequence[StoredRound]:
        """The newest rounds of a period that failed, newest first."""
        return rounds.failed(self._asked, since, until, limit)

    def slices_of(self, keys: Sequence[str], since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """Sums by model and price of the sessions whose id matches a glob pattern of `keys`."""
        return sums.slices_of(self._asked, keys, since, until)

    def buckets_of(
        self, keys: Sequence[str], grain: Grain, timezone: str, since: int | None = None, until: int | None = None
    ) -> list[Bucket]:
        """Sums by local time of the sessions whose id matches a glob pattern of `keys`."""
        return sums.buckets_of(self._asked, keys, grain, timezone, since, until)

    def turns(self, name: str) -> Sequence[tuple[int, int | None, int | None]]:
        """(start in ms, user messages, opening) of each round of a session that tells any of them, in order."""
        return rounds.turns(self._asked, _text(name))

    def unnamed(self) -> Sequence[SessionRecord]:
        """The rounds that belong to no session, one record a consumer."""
        return asking.unnamed(self._asked)

    def rounds(
        self, name: str, *, limit: int | None = None, before: str | None = None, since: int | None = None
    ) -> RoundPage:
        """The newest `limit` rounds of a session, oldest first."""
        return rounds.rounds(self._asked, _text(name), limit=limit, before=before, since=since)

    def round(self, name: str | None, number: int | None = None, key: bytes | None = None) -> StoredRound | None:
        """One round by its number in a session or by its key."""
        return rounds.round(self._asked, None if name is None else _text(name), number, key)

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
        return rounds.calls(
            self._asked, session=name, since=since, until=until, min_latency_ms=min_latency_ms, limit=limit
        )

    def sampled_calls(self, since: int, until: int, step_ms: int, each: int) -> Sequence[Call]:
        """The first `each` rounds of every step of [since, until), oldest first."""
        return rounds.sampled_calls(self._asked, since, until, step_ms, each)

    def content(self, rounds: Iterable[StoredRound], *, new_only: bool = False) -> Iterable[Content | None]:
        """What was said in each of `rounds`; None where it is not kept."""
        return history.content(self._asked, list(rounds), new_only=new_only)

    def testimonies(self, since: int | None, until: int | None = None, *, limit: int) -> Sequence[Testimony]:
        """What each source said of each call of a period, oldest first; of more than `limit` the newest."""
        return rounds.testimonies(self._asked, since, until, limit=limit)

    def slices(self, since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """Sums by model and price."""
        return sums.slices(self._asked, since, until)

    def sessions_by_model(self, since: int | None = None, until: int | None = None) -> Mapping[str | None, int]:
        """How many sessions used each model."""
        return sums.sessions_by_model(self._asked, since, until)

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
        return sums.buckets(self._asked, grain, timezone, since, until, sessions=sessions)

    def by(self, dimension: Dimension, since: int | None = None, until: int | None = None) -> Mapping[str, list[Slice]]:
        """Sums by a dimension's values."""
        return sums.by(self._asked, dimension, since, until)

    def latency_steps(self) -> Mapping[tuple[Latency, str | None], tuple[int, ...]]:
        """How many rounds of each model took how long."""
        return sums.latency_steps(self._asked)

    def session_count(self) -> int:
        """How many named sessions there are."""
        return asking.session_count(self._asked)

    def similar(self, name: str, limit: int = 3) -> list[str]:
        """Ids of sessions that look like `name`, best first."""
        return asking.similar(self._asked, _text(name), limit)

    def names_with(self, part: str, limit: int = 100, *, only: tuple[str, ...] | None = None) -> list[str]:
        """Session ids that contain `part`, newest first; with `only` those that match one of its glob patterns."""
        return asking.names_with(self._asked, _text(part), limit, only=only)

    def skipped(self) -> list[SkippedLines]:
        """Lines that were no rounds."""
        return self._state.skipped()

    def feeds(self) -> list[Feed]:
        """What is known of the sources that were read."""
        return self._state.feeds()

    def named_by(self) -> tuple[int, int]:
        """How many sessions are named by a header, and how many only by what was said in them."""
        return asking.named_by(self._asked)

    def check(self) -> list[str]:
        """What the engine itself finds damaged."""
        return verifying.check(self._db)

    def as_of(self) -> int | None:
        """The instant up to which all nodes have read all of their sources, but for those that are silent."""
        return self._standing.as_of()

    def nodes(self) -> Mapping[str, int]:
        """Up to when each node has read its sources."""
        return self._standing.nodes()

    def grown_since(self, mark: int | None) -> tuple[int, Sequence[str]]:
        """A mark for now, and the ids of the sessions that grew since an earlier one."""
        return asking.grown_since(self._asked, mark)

    def budget_sums(self, name: str, at: int | None = None, slot: str | None = None) -> list[BudgetSum]:
        """What a budget counts, the newest period first; of one period and under one value where asked."""
        return self._budgets.sums(name, at, slot)

    def budget_rules(self) -> Mapping[str, str]:
        """The rules by which budgets are counted, by name."""
        return self._budgets.rules()

    def alerts(self, limit: int = 100) -> list[Alert]:
        """Shares of budgets that were passed, the newest first, and who was told."""
        return self._budgets.alerts(limit)

    def missing(self) -> Sequence[str]:
        """Shards of which no replica answers, and nodes that have said nothing for a while."""
        return [*self._asked.missing(), *self._standing.silent()]

    def verify(self) -> list[str]:
        """What does not add up; empty when everything does. Reads every round."""
        return verifying.verify(self._db, self._names)

    def close(self) -> None:
        """Let go of the connection."""
        self._db.close()


def _text(asked: str) -> str:
    """What was asked for as a text that a database can compare; nothing stored holds half a character."""
    return asked.encode("utf-8", "replace").decode()
