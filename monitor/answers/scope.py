"""What an asker may see: a store that shows only the sessions that a token or a link opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import NoReturn

import msgspec

from monitor.answers.errors import BadQuestion
from monitor.budgets import BudgetSum
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
    Store,
    StoredRound,
    Testimony,
)

#: What a round's `extra` may hold of what was said.
_SAID = ("fields", "path")
#: Near names are looked for among this many, because most may not be shown.
_LOOK_AT = 200


class NotOpen(BadQuestion):
    """The asker's token or link does not open this; the message says what it does open."""


class Scope(msgspec.Struct, frozen=True):
    """The sessions that an asker may see."""

    #: Glob patterns of session ids.
    patterns: tuple[str, ...]
    #: Whether what was said is open, and not only figures.
    content: bool = False
    #: When a link that is given to the asker ends at the latest, seconds since 1970.
    until: int | None = None

    def opens(self, session_id: str | None) -> bool:
        """Whether the session of this id may be seen; rounds without a session never are."""
        return session_id is not None and any(fnmatchcase(session_id, pattern) for pattern in self.patterns)

    @property
    def said(self) -> str:
        """The patterns in words."""
        return ", ".join(repr(pattern[:100]) for pattern in self.patterns[:5])


#: Who asks, where a token or link restricts that; set by what takes requests, for each request.
ASKED_BY: ContextVar[Scope | None] = ContextVar("asked_by", default=None)


def exactly(session_id: str) -> str:
    """The pattern that only this id matches."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in session_id)


class ScopedStore:
    """A `Store` as an asker may see it.

    Sums over all sessions are refused, since no engine keeps them by session. What a store learns to answer
    later is not there until somebody has thought of it: nothing is passed on by itself.
    """

    def __init__(self, store: Store, scope: Scope) -> None:
        self._store = store
        self._scope = scope

    def _refuse(self) -> NoReturn:
        raise NotOpen(
            f"This token opens the sessions {self._scope.said} only, and this answer would tell of others: "
            "ask for one of those (list_sessions shows them), or use a token without a scope."
        )

    def _figures_only(self, stored: StoredRound) -> StoredRound:
        """The round without what its attributes may hold of what was said."""
        extra = stored.round.extra
        if self._scope.content or extra is None:
            return stored
        known = {name: value for name, value in msgspec.json.decode(extra).items() if name not in _SAID}
        shown = msgspec.structs.replace(stored.round, extra=msgspec.json.encode(known) if known else None)
        return msgspec.structs.replace(stored, round=shown)

    def _shown(self, record: SessionRecord) -> SessionRecord:
        """The session without the name of another one, and without its question where that is not open."""
        if record.parent_session is not None and not self._scope.opens(record.parent_session):
            record = msgspec.structs.replace(record, parent_session=None)
        if not self._scope.content:
            record = msgspec.structs.replace(record, question=None)
        return record

    def _is_open(self, name: str) -> bool:
        record = self._store.session(name)
        return record is not None and self._scope.opens(record.session_id)

    # -- sessions and rounds: those that are open -------------------------------------------------

    def session(self, name: str, since: int | None = None) -> SessionRecord | None:
        """A session, if it is open."""
        record = self._store.session(name, since)
        return self._shown(record) if record is not None and self._scope.opens(record.session_id) else None

    def sessions(self, query: SessionQuery) -> SessionPage:
        """The open ones of the sessions that match."""
        page = self._store.sessions(
            msgspec.structs.replace(
                query,
                only=self._scope.patterns,
                search_questions_of=query.search_questions_of if self._scope.content else (),
            )
        )
        return msgspec.structs.replace(page, sessions=tuple(self._shown(record) for record in page.sessions))

    def started_by(self, name: str) -> Sequence[SessionRecord]:
        """The open ones of the sessions that an open session has started."""
        if not self._is_open(name):
            return []
        return [self._shown(record) for record in self._store.started_by(name) if self._scope.opens(record.session_id)]

    def turns(self, name: str) -> Sequence[tuple[int, int | None, int | None]]:
        """The turns of an open session."""
        return self._store.turns(name) if self._is_open(name) else []

    def unnamed(self) -> Sequence[SessionRecord]:
        """None: rounds without a session are open to nobody who is restricted to sessions."""
        return []

    def rounds(
        self, name: str, *, limit: int | None = None, before: str | None = None, since: int | None = None
    ) -> RoundPage:
        """Rounds of an open session."""
        if not self._is_open(name):
            return RoundPage((), None)
        page = self._store.rounds(name, limit=limit, before=before, since=since)
        return msgspec.structs.replace(page, rounds=tuple(self._figures_only(stored) for stored in page.rounds))

    def round(self, name: str | None, number: int | None = None, key: bytes | None = None) -> StoredRound | None:
        """A round of an open session."""
        stored = self._store.round(name, number, key)
        if stored is None or not self._scope.opens(stored.round.session_id):
            return None
        return self._figures_only(stored)

    def calls(
        self,
        *,
        session: str | None = None,
        since: int | None = None,
        until: int | None = None,
        min_latency_ms: int | None = None,
        limit: int,
    ) -> Sequence[Call]:
        """Rounds of an open session in short; refused without a session."""
        if session is None:
            self._refuse()
        if not self._is_open(session):
            return []
        return self._store.calls(session=session, since=since, until=until, min_latency_ms=min_latency_ms, limit=limit)

    def sampled_calls(self, since: int, until: int, step_ms: int, each: int) -> Sequence[Call]:
        """Refused."""
        self._refuse()

    def content(self, rounds: Iterable[StoredRound], *, new_only: bool = False) -> Iterable[Content | None]:
        """What was said in rounds of open sessions."""
        if not self._scope.content:
            raise NotOpen("This token opens figures only, not what was said: its owner can make one with --content.")
        wanted = list(rounds)
        if not all(self._scope.opens(stored.round.session_id) for stored in wanted):
            self._refuse()
        return self._store.content(wanted, new_only=new_only)

    def similar(self, name: str, limit: int = 3) -> list[str]:
        """Open ids that look like `name`."""
        return [near for near in self._store.similar(name, _LOOK_AT) if self._scope.opens(near)][:limit]

    def names_with(self, part: str, limit: int = 100, *, only: tuple[str, ...] | None = None) -> list[str]:
        """Open ids that contain `part`."""
        return self._store.names_with(part, limit, only=self._scope.patterns)

    def session_count(self) -> int:
        """How many sessions are open."""
        return self._store.sessions(SessionQuery(only=self._scope.patterns, limit=1)).total

    def grown_since(self, mark: int | None) -> tuple[int, Sequence[str]]:
        """A mark for now, and which open sessions grew."""
        now, grown = self._store.grown_since(mark)
        return now, [name for name in grown if self._scope.opens(name)]

    def as_of(self) -> int | None:
        """The instant up to which all sources were read."""
        return self._store.as_of()

    def budget_sums(self, name: str, at: int | None = None, slot: str | None = None) -> Sequence[BudgetSum]:
        """What a budget that is kept per session counted for an open one; refused otherwise."""
        if not self._scope.opens(slot):
            self._refuse()
        return self._store.budget_sums(name, at, slot)

    # -- sums over all sessions -------------------------------------------------------------------

    def top_sessions(self, since: int | None, limit: int, until: int | None = None) -> Sequence[SessionRecord]:
        """Refused."""
        self._refuse()

    def failed(self, since: int | None, until: int | None = None, limit: int = 10) -> Sequence[StoredRound]:
        """Refused."""
        self._refuse()

    def slices_of(self, keys: Sequence[str], since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """Refused: which sessions a pattern fits is not known before they are counted."""
        self._refuse()

    def buckets_of(
        self, keys: Sequence[str], grain: Grain, timezone: str, since: int | None = None, until: int | None = None
    ) -> list[Bucket]:
        """Refused, as `slices_of`."""
        self._refuse()

    def testimonies(self, since: int | None, until: int | None = None, *, limit: int) -> Sequence[Testimony]:
        """Refused."""
        self._refuse()

    def slices(self, since: int | None = None, until: int | None = None) -> Sequence[Slice]:
        """Refused."""
        self._refuse()

    def sessions_by_model(self, since: int | None = None, until: int | None = None) -> Mapping[str | None, int]:
        """Refused."""
        self._refuse()

    def buckets(
        self,
        grain: Grain,
        timezone: str,
        since: int | None = None,
        until: int | None = None,
        *,
        sessions: bool = True,
    ) -> list[Bucket]:
        """Refused."""
        self._refuse()

    def latency_steps(self) -> Mapping[tuple[Latency, str | None], tuple[int, ...]]:
        """Refused."""
        self._refuse()

    def by(self, dimension: Dimension, since: int | None = None, until: int | None = None) -> Mapping[str, list[Slice]]:
        """Refused."""
        self._refuse()

    # -- the sources and the store itself ---------------------------------------------------------

    def checkpoints(self, source: str) -> list[Checkpoint]:
        """Refused."""
        self._refuse()

    def sources(self) -> list[str]:
        """Refused."""
        self._refuse()

    def occurrences(self, file: bytes) -> Mapping[bytes, int]:
        """Refused."""
        self._refuse()

    def skipped(self) -> Sequence[SkippedLines]:
        """Refused."""
        self._refuse()

    def feeds(self) -> Sequence[Feed]:
        """Refused."""
        self._refuse()

    def named_by(self) -> tuple[int, int]:
        """Refused."""
        self._refuse()

    def check(self) -> list[str]:
        """Refused."""
        self._refuse()

    def pruned_at(self) -> int | None:
        """Refused."""
        self._refuse()

    def prunable(self, bounds: Bounds) -> Pruned:
        """Refused."""
        self._refuse()

    def pruning(self, bounds: Bounds, *, rewrite: bool = True) -> Iterator[Pruned]:
        """Refused."""
        self._refuse()

    def purgeable(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """Refused."""
        self._refuse()

    def silenced(self) -> Set[bytes]:
        """Refused."""
        self._refuse()

    def purge(self, name: str, *, counts_too: bool = False) -> Purged | None:
        """Refused."""
        self._refuse()

    def nodes(self) -> Mapping[str, int]:
        """Refused."""
        self._refuse()

    def missing(self) -> Sequence[str]:
        """That something is missing concerns everybody; where it would be does not."""
        return ["a part of the store"] if self._store.missing() else []

    def verify(self) -> list[str]:
        """Refused."""
        self._refuse()

    def budget_rules(self) -> Mapping[str, str]:
        """Refused."""
        self._refuse()

    def alerts(self, limit: int = 100) -> Sequence[Alert]:
        """Refused."""
        self._refuse()

    def due(self, now: int) -> Sequence[Delivery]:
        """Refused."""
        self._refuse()

    def delivered(self, delivery: Delivery, *, error: str | None = None, again_at: int | None = None) -> None:
        """Refused."""
        self._refuse()

    def reprice(
        self, pricing: Pricing, version: str, *, progress: Callable[[int], None] | None = None
    ) -> RepricedRounds:
        """Refused."""
        self._refuse()

    def add(self, batch: Batch) -> Added:
        """Refused."""
        self._refuse()

    def follow(self, source: str, kind: str, settings: bytes) -> None:
        """Refused."""
        self._refuse()

    def followed(self) -> Mapping[str, tuple[str, bytes]]:
        """Refused."""
        self._refuse()

    def origins(self) -> list[str]:
        """Refused."""
        self._refuse()

    def remove(
        self,
        origin: str,
        *,
        since: int | None = None,
        until: int | None = None,
        checkpoints: Sequence[bytes] = (),
        for_good: bool = False,
    ) -> Removed:
        """Refused."""
        self._refuse()

    def close(self) -> None:
        """The store belongs to somebody else."""
