"""Sessions as their rows tell them: sums by model and price, and the facts that go with these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from monitor.session_keys import parts
from monitor.store.base import SessionRecord, Slice
from monitor.store.clickhouse.conditions import BEFORE_ALL, COUNTED, NAMED, NEVER, STARTED, ask, between, one_of
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import PRUNED, SUMS, TAG, counts, tag
from monitor.store.rows import INFERRED, SOURCE_BITS, SUCCESS

#: More and less than every round id.
_MOST, _LEAST = (1 << 63) - 1, -(1 << 63) + 1
#: When a session began, behind everything where that is unknown; and when something was last heard of it.
FIRST = f"min(if(at > 0, {STARTED}, toInt64({NEVER})))"
LAST = f"max({STARTED})"
#: The latest of the consumers, and of the models that answered. Where two rounds have one place, the text decides.
CONSUMER = "argMaxIf(consumer, (rid, consumer), consumer != '')"
_ANSWERED = f"model != '' AND bitAnd(flags, {SUCCESS}) != 0"
MODEL = f"argMaxIf(model, (rid, model), {_ANSWERED})"
_ASKED = "ifNull(question, '')"
#: The first question; empty where none is kept.
QUESTION = f"argMinIf({_ASKED}, (rid, {_ASKED}), isNotNull(question))"
#: Whether no round was named by a header.
BY_TEXT = f"min(bitAnd(flags, {INFERRED}) != 0)"
#: Facts of rows that share a model and a price, from which those of a session are put together.
_FACTS = f"""{FIRST}, {LAST}, max(if({_ANSWERED}, rid, toInt64({_LEAST}))),
  max(if(consumer != '', rid, toInt64({_LEAST}))), {CONSUMER},
  min(if(isNotNull(question), rid, toInt64({_MOST}))), {QUESTION}, {BY_TEXT}, groupBitOr(sources),
  sum(state = {PRUNED})"""
_SUMS_BEGIN, _FACTS_BEGIN = 6, 21


class Facts(msgspec.Struct):
    """What the rows of a session tell of it."""

    slices: list[Slice] = []
    first: int = NEVER
    last: int = BEFORE_ALL
    #: Place and text of the latest model that answered, of the latest consumer, of the first question.
    model: tuple[int, str] = (_LEAST, "")
    consumer: tuple[int, str] = (_LEAST, "")
    question: tuple[int, str] = (_MOST, "")
    by_text: bool = True
    sources: int = 0
    pruned: int = 0

    def take(self, row: Sequence[Any]) -> None:
        """Add what the rows of one model and price tell."""
        model, price = row[0], tag(row[1:_SUMS_BEGIN])
        self.slices.append(Slice(model or None, price, counts(row[_SUMS_BEGIN:_FACTS_BEGIN])))
        first, last, answered, from_at, consumer, asked_at, question, by_text, sources, pruned = row[_FACTS_BEGIN:]
        self.first = min(self.first, first)
        self.last = max(self.last, last)
        if answered > _LEAST:
            self.model = max(self.model, (answered, model))
        self.consumer = max(self.consumer, (from_at, consumer))
        self.question = min(self.question, (asked_at, question))
        self.by_text = self.by_text and bool(by_text)
        self.sources |= sources
        self.pruned += pruned


def facts(db: Database, condition: str, by: str) -> dict[str, Facts]:
    """The facts of rows that count and meet a condition, by a column."""
    found: dict[str, Facts] = {}
    for name, *row in ask(
        db,
        f"SELECT {by}, model, {TAG}, {SUMS}, {_FACTS} FROM round FINAL WHERE {COUNTED} AND {condition} "
        f"GROUP BY {by}, model, {TAG} ORDER BY {by}, model, {TAG}",
    ):
        found.setdefault(name, Facts()).take(row)
    return found


def records(db: Database, ids: Iterable[str]) -> dict[str, SessionRecord]:
    """The sessions with these ids, as far as they have rounds."""
    wanted = [name for name in dict.fromkeys(ids) if name]
    if not wanted:
        return {}
    names: dict[str, list[str]] = {}
    kin: dict[str, tuple[str, str]] = {}
    for is_name, session, one, other in ask(
        db,
        f"SELECT 1, session, name, '' FROM name FINAL WHERE gone = 0 AND {one_of('session', wanted)} UNION ALL "
        f"SELECT 0, session, ifNull(parent, ''), ifNull(channel, '') FROM kin FINAL WHERE {one_of('session', wanted)}",
    ):
        if is_name:
            names.setdefault(session, []).append(one)
        else:
            kin[session] = one, other
    # A name that is a session of its own leads there.
    others = [name for some in names.values() for name in some]
    found = facts(db, one_of("session", dict.fromkeys([*wanted, *others])), "session")
    return {
        name: _record(
            name, found[name], [other for other in names.get(name, ()) if other not in found], *kin.get(name, ("", ""))
        )
        for name in wanted
        if name in found
    }


def _record(session_id: str, told: Facts, names: Iterable[str], parent: str, channel: str) -> SessionRecord:
    key = parts(session_id)
    return msgspec.structs.replace(
        nameless("", told),
        session_id=session_id,
        session_source="inferred" if told.by_text else "header",
        aliases=tuple(sorted(name for name in names if name != session_id)),
        consumer=told.consumer[1] or None,
        agent=key.agent,
        channel=key.channel or channel or None,
        parent_session=parent or None,
    )


def nameless(consumer: str, told: Facts) -> SessionRecord:
    """The rounds of a consumer that named no session."""
    return SessionRecord(
        session_id=None,
        session_source=None,
        aliases=(),
        created_at=0 if told.first == NEVER else told.first,
        updated_at=max(told.last, 0),
        model=told.model[1] or None,
        consumer=consumer or None,
        agent=None,
        channel=None,
        parent_session=None,
        question=told.question[1] or None,
        sources=tuple(name for name, bit in SOURCE_BITS.items() if told.sources & bit),
        slices=tuple(told.slices),
        pruned_rounds=told.pruned,
    )


def with_period(
    db: Database, found: Sequence[SessionRecord], since: int | None, until: int | None, *, dated: bool
) -> list[SessionRecord]:
    """The same sessions with the sums of a period; where it is `dated`, they begin and end in it as well."""
    if not found:
        return []
    slices: dict[str, list[Slice]] = {}
    times: dict[str, list[int]] = {}
    condition = f"{one_of('session', [record.session_id or '' for record in found])} AND {between(since, until)}"
    for session, model, *row in ask(
        db,
        f"SELECT session, model, {TAG}, {SUMS}, min(at), max(at) FROM round FINAL WHERE {COUNTED} AND {NAMED} AND "
        f"{condition} GROUP BY session, model, {TAG} ORDER BY session, model, {TAG}",
    ):
        slices.setdefault(session, []).append(Slice(model or None, tag(row[:5]), counts(row[5:-2])))
        times.setdefault(session, []).extend(row[-2:])
    said = []
    for record in found:
        name = record.session_id or ""
        one = msgspec.structs.replace(record, slices=tuple(slices.get(name, ())))
        if dated:
            at = times.get(name, [0])
            one = msgspec.structs.replace(one, created_at=min(at), updated_at=max(at))
        said.append(one)
    return said
