"""What a store keeps and which questions it answers, in terms of rounds and not of SQL.

Every engine passes the same conformance suite (tests/store/conformance.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Literal, Protocol

import msgspec

from monitor.budgets import BudgetSum
from monitor.prices.money import Cost, CostStatus
from monitor.rounds import Round, Usage

SortBy = Literal["cost", "updated", "created", "tokens", "rounds"]
Grain = Literal["hour", "day", "month"]
#: What spending can be grouped by, besides the model and the session.
Dimension = Literal["consumer", "route", "function", "agent", "host", "user_id", "source"]


#: Which time of a round: until its answer was whole, or until its first token.
Latency = Literal["latency", "ttft"]
#: Rounds are counted by the first of these that is not less than their time; settled with the schema of a store.
LATENCY_STEPS_MS = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000)


class StoreError(Exception):
    """The store can't be used; the message names the file and the way out."""


class OlderStore(StoreError):
    """An older version made the store: it can't be asked until it was opened for writing, which updates it."""


class StoreAway(StoreError):
    """The store can't be reached, or can't take anything in for now; the same may work later."""


class UnknownCursor(ValueError):
    """A page cursor that this store did not give out."""


# -- what goes in ---------------------------------------------------------------------------------


class PricedRound(msgspec.Struct, frozen=True, gc=False):
    """A round and what it cost at its own date, by the price list of now."""

    round: Round
    cost: Cost


class Checkpoint(msgspec.Struct, frozen=True):
    """How far one file or database of a source was read; `position` is the source's own."""

    id: bytes
    #: The source's configured path or name.
    source: str
    path: str
    #: Bytes consumed, and bytes seen: a torn last line lies between.
    offset: int
    size: int
    position: bytes


class SkippedLines(msgspec.Struct, frozen=True):
    """Lines of one source that were no rounds, for one reason."""

    source: str
    reason: str
    count: int
    #: The beginning of one such line; empty where it may not be kept.
    sample: bytes = b""


class SessionName(msgspec.Struct, frozen=True):
    """Another name of a session, told by who gives the names; rounds under either are rounds of the one."""

    name: str
    session_id: str
    #: The session that started this one.
    parent: str | None = None
    channel: str | None = None


class SourceSeen(msgspec.Struct, frozen=True):
    """What a step of reading learned about its source; the rounds that are new in the batch came from there."""

    source: str
    #: How its lines are wrapped, in a word; empty where none could tell.
    format: str = ""
    #: A file that was gone before it was read to its end, and when it was written to last as far as was seen.
    missed_path: str | None = None
    missed_at: int | None = None


class Batch(msgspec.Struct):
    """What one step of reading yields; all of it is kept, or nothing."""

    rounds: list[PricedRound] = []
    skipped: list[SkippedLines] = []
    checkpoints: list[Checkpoint] = []
    #: (file, record key) -> how often the record stood in that file so far; for records with nothing unique.
    occurrences: dict[tuple[bytes, bytes], int] = {}
    #: Names that sessions have: from now on, and for what is there.
    names: list[SessionName] = []
    #: Files that are read from their start again: what was noted of their records goes.
    restarted: list[bytes] = []
    #: The file that these rounds stand in, where they can be taken back out with it; see `Store.remove`. Such rounds
    #: are known by their keys alone, whatever time they come with.
    origin: str | None = None
    #: The instant up to which the sources are read completely with this batch, milliseconds since 1970.
    as_of: int | None = None
    #: At most one, where the batch has rounds.
    seen: list[SourceSeen] = []


class Added(msgspec.Struct, frozen=True):
    """What a batch changed."""

    rounds: int
    duplicates: int
    #: The ids of sessions that grew.
    sessions: tuple[str, ...]
    #: How many messages about budgets wait to be sent because of it.
    alerts: int = 0


class Removed(msgspec.Struct, frozen=True):
    """What taking rounds back out changed."""

    rounds: int
    #: The ids of sessions that shrank, those that hold no rounds any more among them.
    sessions: tuple[str, ...] = ()


#: What a round costs: model, host, start in ms since 1970, usage.
Pricing = Callable[[str | None, str | None, int, Usage], Cost]


class RepricedRounds(msgspec.Struct, frozen=True):
    """What a new price list did to stored rounds."""

    rounds: int
    changed: int
    #: Rounds that are in the sums and stored no longer: they keep the price that they had.
    kept: int


class Bounds(msgspec.Struct, frozen=True):
    """How long things are kept: what started before these moments goes (ms since 1970, None: nothing)."""

    #: Rounds, with what was said in them. They stay in all sums.
    rounds_before: int | None = None
    #: What was said; the rounds stay.
    content_before: int | None = None


class Pruned(msgspec.Struct, frozen=True):
    """What pruning takes away, or took."""

    rounds: int = 0
    #: Rounds of which nothing is known any more but what was counted; those in `rounds` are not among them.
    contents: int = 0
    #: Months of conversations whose file goes as a whole.
    months: tuple[str, ...] = ()
    #: Rounds without a usable time: their age is unknown, so they stay.
    undated: int = 0
    #: Bytes that the data directory takes less; None before it is done.
    freed_bytes: int | None = None
    #: Why free space could not be given back to the disk, in words.
    not_given_back: str | None = None


class Purged(msgspec.Struct, frozen=True):
    """What purging one session takes away, or took."""

    session_id: str
    rounds: int
    #: Rounds of which something was kept that was said.
    contents: int
    #: Pieces of conversations that go, and that stay because other sessions have said the same.
    pieces: int = 0
    shared_pieces: int = 0
    #: The counts went as well.
    counts_too: bool = False
    #: Why something may still be found in the files, in words.
    left_behind: tuple[str, ...] = ()


# -- what comes out -------------------------------------------------------------------------------


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Sums over rounds. A token sum is None where no round of the set knows that count."""

    rounds: int = 0
    failed: int = 0
    #: Rounds whose tokens the source did not count.
    unmetered: int = 0
    #: Rounds whose cost is a lower bound.
    lower_bound: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    #: Nano-units of the price's currency; None where nothing in the set has a price.
    nano: int | None = None
    latency_total_ms: int | None = None
    latency_rounds: int = 0
    ttft_total_ms: int | None = None
    ttft_rounds: int = 0
    #: What the source itself says that they cost, in nano-units of the price tag's `reported_currency`.
    reported_nano: int | None = None


class PriceTag(msgspec.Struct, frozen=True, gc=False):
    """Where the costs of a set of rounds come from."""

    status: CostStatus
    currency: str | None = None
    source: str | None = None
    #: The version of the price list that was applied.
    version: str | None = None
    #: Of the costs that the source reports for these rounds; None where it reports none.
    reported_currency: str | None = None


class Slice(msgspec.Struct, frozen=True, gc=False):
    """Sums over the rounds of one model at one price."""

    model: str | None
    price: PriceTag
    counts: Counts


#: Weights for putting spending in several currencies in an order; nobody is shown a sum at these rates.
SORT_WEIGHTS = {"USD": 1.0, "EUR": 1.1, "GBP": 1.3, "CNY": 1 / 7, "JPY": 1 / 150}


def spend(slices: Iterable[Slice]) -> float:
    """What to sort spenders by; never to be shown, since it adds currencies at fixed weights."""
    return sum((s.counts.nano or 0) * SORT_WEIGHTS.get(s.price.currency or "", 1.0) for s in slices)


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """Sums over the rounds of one local hour, day or month, by model and price."""

    #: ``2026-02-01T09``, ``2026-02-01`` or ``2026-02``; None for rounds without a usable time.
    label: str | None
    sessions: int
    slices: tuple[Slice, ...]


class SessionRecord(msgspec.Struct, frozen=True):
    """One session with its sums. `session_id` is None for the rounds of a consumer that named no session."""

    session_id: str | None
    session_source: Literal["header", "inferred"] | None
    aliases: tuple[str, ...]
    created_at: int
    updated_at: int
    #: The latest successful model.
    model: str | None
    consumer: str | None
    agent: str | None
    channel: str | None
    parent_session: str | None
    #: The beginning of the first question, where content is kept.
    question: str | None
    sources: tuple[str, ...]
    slices: tuple[Slice, ...]
    #: Rounds that are in the sums and stored no longer; they keep their numbers, which are the first ones.
    pruned_rounds: int = 0


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions, in which order. Times are milliseconds since 1970."""

    sort_by: SortBy = "updated"
    since: int | None = None
    until: int | None = None
    model: str | None = None
    consumer: str | None = None
    search: str | None = None
    #: Glob patterns of session ids, letter case included; only sessions that match one are found. None: all of them.
    keys: tuple[str, ...] | None = None
    #: Glob patterns of the session ids whose first question may be searched; None: all of them.
    search_questions_of: tuple[str, ...] | None = None
    #: Glob patterns of the session ids that may be listed and counted; None: all of them.
    only: tuple[str, ...] | None = None
    limit: int = 20
    cursor: str | None = None


class SessionPage(msgspec.Struct, frozen=True):
    """One page of sessions; `total` counts all that match."""

    sessions: tuple[SessionRecord, ...]
    next_cursor: str | None
    total: int


class StoredRound(msgspec.Struct, frozen=True, kw_only=True):
    """A round as it is kept, with its number in its session. `conversation` of `round` is not filled in."""

    number: int
    round: Round
    cost: Cost
    price_version: str | None
    has_content: bool


class RoundPage(msgspec.Struct, frozen=True):
    """Rounds in the order of their start, and how to get the ones before them."""

    rounds: tuple[StoredRound, ...]
    older: str | None


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A round in short, for questions that look at many of them."""

    #: The same as the `round.key` of a `StoredRound`.
    key: bytes
    #: Milliseconds since 1970, or UNKNOWN_TIME.
    started_at: int
    session_id: str | None
    model: str | None
    consumer: str | None
    route: str | None
    function: str | None
    user_id: str | None
    host: str | None
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    #: Nano-units of `currency`; None where it has no price.
    nano: int | None
    currency: str | None
    latency_ms: int | None
    success: bool
    status: int | None
    request_id: str | None


class Content(msgspec.Struct, frozen=True):
    """What was said in a round: JSON texts, to the byte as they were logged. None where nothing was."""

    #: None where the gateway cut them (see `truncated`).
    messages: tuple[bytes, ...] | None = None
    #: How many messages lie before the first one that this round added.
    new_from: int = 0
    system: bytes | None = None
    truncated: bytes | None = None
    question: bytes | None = None
    answer: bytes | None = None
    reasoning: bytes | None = None
    tool_calls: bytes | None = None


class Feed(msgspec.Struct, frozen=True):
    """What is known of a source besides its places in files."""

    source: str
    #: How its lines are wrapped, in a word; empty where that is not known.
    format: str
    #: Rounds that came from it first.
    rounds: int
    #: The newest start of a round in it, ms since 1970; 0 where none has one.
    last_at: int
    #: How often a file was gone before it was read to its end, and which one was last, last written to at `missed_at`.
    missed: int = 0
    missed_at: int | None = None
    missed_path: str | None = None


class Delivery(msgspec.Struct, frozen=True):
    """A message about a budget on its way to one channel."""

    alert: int
    channel: str
    budget: str
    #: What is told, as a JSON object.
    facts: bytes
    tries: int = 0
    #: ``waiting``, ``sent`` or ``failed``.
    state: str = "waiting"
    #: Why the last try failed.
    error: str | None = None


class Alert(msgspec.Struct, frozen=True):
    """A share of a budget that was passed. One that nobody was to be told of has no deliveries."""

    budget: str
    at: int
    slot: str
    #: In millionths of the limit.
    share: int
    limit: str
    crossed_at: int
    facts: bytes
    deliveries: tuple[Delivery, ...]


class Testimony(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one source said of one call."""

    #: Of the round that counts for the call, the same as the `round.key` of a `StoredRound`.
    key: bytes
    source: str
    #: Whether another source saw the call, too.
    joined: bool
    started_at: int
    session_id: str | None
    consumer: str | None
    host: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cached_tokens: int | None
    nano: int | None
    currency: str | None
    reported_nano: int | None
    reported_currency: str | None
    status: int | None
    success: bool
    response_id: str | None
    extra: bytes | None


class Store(Protocol):
    """Where rounds are kept. One process writes, any number read."""

    def checkpoints(self, source: str) -> list[Checkpoint]:
        """How far the files of a source were read."""
        ...

    def sources(self) -> list[str]:
        """The sources that were ever read."""
        ...

    def occurrences(self, file: bytes) -> Mapping[bytes, int]:
        """How often the records of a file that hold nothing unique were read so far."""
        ...

    def add(self, batch: Batch) -> Added:
        """Keep a batch: all of it, or nothing. Rounds that are there already change nothing."""
        ...

    def session(self, name: str, since: int | None = None) -> SessionRecord | None:
        """A session by its id or another of its names; from `since` on only, where given."""
        ...

    def started_by(self, name: str) -> Sequence[SessionRecord]:
        """The sessions that a session has started (sub-agents), and those that these have started, and so on."""
        ...

    def sessions(self, query: SessionQuery) -> SessionPage:
        """Sessions that match, a page at a time."""
        ...

    def top_sessions(self, since: int | None, limit: int, until: int | None = None) -> Sequence[SessionRecord]:
        """The sessions that spent the most, their sums from `since` on and before `until`."""
        ...

    def failed(self, since: int | None, until: int | None = None, limit: int = 10) -> Sequence[StoredRound]:
        """The newest rounds of a period that failed, newest first."""
        ...

    def slices_of(self, keys: Sequence[str], since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """As `slices`, of the sessions alone whose id matches a glob pattern of `keys`."""
        ...

    def buckets_of(
        self, keys: Sequence[str], grain: Grain, timezone: str, since: int | None = None, until: int | None = None
    ) -> list[Bucket]:
        """As `buckets`, of the sessions alone whose id matches a glob pattern of `keys`."""
        ...

    def turns(self, name: str) -> Sequence[tuple[int, int | None, int | None]]:
        """(start in ms, user messages, opening) of each round of a session that tells any of them, in order."""
        ...

    def unnamed(self) -> Sequence[SessionRecord]:
        """The rounds that belong to no session, one record a consumer."""
        ...

    def rounds(
        self, name: str, *, limit: int | None = None, before: str | None = None, since: int | None = None
    ) -> RoundPage:
        """The newest `limit` rounds of a session, oldest first; `before` is a page's `older`."""
        ...

    def round(self, name: str | None, number: int | None = None, key: bytes | None = None) -> StoredRound | None:
        """One round by its number in a session or by its key."""
        ...

    def calls(
        self,
        *,
        session: str | None = None,
        since: int | None = None,
        until: int | None = None,
        min_latency_ms: int | None = None,
        limit: int,
    ) -> Sequence[Call]:
        """Rounds of a session or of a window in short, oldest first.

        Of more than `limit` the newest; with `min_latency_ms` the slowest of those that took so long, slowest first.
        """
        ...

    def sampled_calls(self, since: int, until: int, step_ms: int, each: int) -> Sequence[Call]:
        """The first `each` rounds of every step of [since, until), oldest first: a short look at a long time."""
        ...

    def content(self, rounds: Iterable[StoredRound], *, new_only: bool = False) -> Iterable[Content | None]:
        """What was said in each of `rounds`; None where it is not kept.

        With `new_only`, `messages` are only those from `new_from` on.
        """
        ...

    def testimonies(self, since: int | None, until: int | None = None, *, limit: int) -> Sequence[Testimony]:
        """What each source said of each call of a period, oldest first; of more than `limit` the newest."""
        ...

    def slices(self, since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """Sums by model and price; all time where no bound is given."""
        ...

    def sessions_by_model(self, since: int | None = None, until: int | None = None) -> Mapping[str | None, int]:
        """How many sessions used each model."""
        ...

    def buckets(
        self,
        grain: Grain,
        timezone: str,
        since: int | None = None,
        until: int | None = None,
        *,
        sessions: bool = True,
    ) -> list[Bucket]:
        """Sums by local time, oldest first. Sessions are counted where they are asked for: that takes the longest."""
        ...

    def by(self, dimension: Dimension, since: int | None = None, until: int | None = None) -> Mapping[str, list[Slice]]:
        """Sums by a dimension's values, each by model and price; "" is the absent value."""
        ...

    def latency_steps(self) -> Mapping[tuple[Latency, str | None], tuple[int, ...]]:
        """How many rounds of each model took how long: a number for each of LATENCY_STEPS_MS, and one for the rest."""
        ...

    def session_count(self) -> int:
        """How many named sessions there are."""
        ...

    def similar(self, name: str, limit: int = 3) -> list[str]:
        """Ids of sessions that look like `name`, best first."""
        ...

    def names_with(self, part: str, limit: int = 100, *, only: tuple[str, ...] | None = None) -> list[str]:
        """Session ids that contain `part`, newest first; with `only` those that match one of its glob patterns."""
        ...

    def skipped(self) -> Sequence[SkippedLines]:
        """Lines that were no rounds."""
        ...

    def feeds(self) -> Sequence[Feed]:
        """What is known of the sources that were read."""
        ...

    def named_by(self) -> tuple[int, int]:
        """How many sessions are named by a header, and how many only by what was said in them."""
        ...

    def check(self) -> list[str]:
        """What is damaged, as far as the engine finds out without adding anything up."""
        ...

    def as_of(self) -> int | None:
        """The instant up to which all sources were read when they were last read completely."""
        ...

    def grown_since(self, mark: int | None) -> tuple[int, Sequence[str]]:
        """A mark for now, and the ids of the sessions that grew since an earlier one; none for a mark of None."""
        ...

    def budget_sums(self, name: str, at: int | None = None, slot: str | None = None) -> Sequence[BudgetSum]:
        """What a budget counted, the newest period first; of one period and under one value where asked."""
        ...

    def budget_rules(self) -> Mapping[str, str]:
        """The rules by which the sums of budgets are counted, by name."""
        ...

    def alerts(self, limit: int = 100) -> Sequence[Alert]:
        """Shares of budgets that were passed, the newest first, and who was told."""
        ...

    def due(self, now: int) -> Sequence[Delivery]:
        """Messages about budgets that are to be sent now."""
        ...

    def delivered(self, delivery: Delivery, *, error: str | None = None, again_at: int | None = None) -> None:
        """Write down how sending went: done, failed for good, or to be tried again."""
        ...

    def reprice(
        self, pricing: Pricing, version: str, *, progress: Callable[[int], None] | None = None
    ) -> RepricedRounds:
        """Price every stored round anew, and bring all sums up to that."""
        ...

    def prunable(self, bounds: Bounds) -> Pruned:
        """What `pruning` would take away."""
        ...

    def pruning(self, bounds: Bounds, *, rewrite: bool = True) -> Iterator[Pruned]:
        """Take away what is older, in small steps, each of which leaves everything in order; what went so far.

        With `rewrite`, room is given back to the disk even where that takes as long as copying everything.
        """
        ...

    def pruned_at(self) -> int | None:
        """When something was last looked for that is too old, ms since 1970."""
        ...

    def purgeable(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """What `purge` would take away; None where there is no such session."""
        ...

    def silenced(self) -> Set[bytes]:
        """The digests of the names of sessions that were purged; see `monitor.session_keys.name_digest`."""
        ...

    def purge(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """Take away what was said in a session, and see that nothing of it is kept from now on.

        With `counts_too` its rounds go out of all sums as well, and never count again.
        """
        ...

    def follow(self, source: str, kind: str, settings: bytes) -> None:
        """Remember how a source is read: its kind, and what else was set for it as a JSON object."""
        ...

    def followed(self) -> Mapping[str, tuple[str, bytes]]:
        """How the sources that were ever followed are read: kind and settings by source."""
        ...

    def origins(self) -> list[str]:
        """The files whose rounds can be taken back out, by the names that batches gave them."""
        ...

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

        A round that stands in another file too stays. `checkpoints` are forgotten with the rounds, so that a file
        that comes back is read again; with `for_good` the records are known and never counted again.
        """
        ...

    def nodes(self) -> Mapping[str, int]:
        """The machines that write into the store, and up to when each has read its sources (ms since 1970).

        None where the store is one machine's own.
        """
        ...

    def missing(self) -> Sequence[str]:
        """What is in no figure just now, in words: parts of the store that are away, machines that are silent."""
        ...

    def verify(self) -> list[str]:
        """What does not add up: totals and roll-ups against the rounds, and the engine's own check."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
