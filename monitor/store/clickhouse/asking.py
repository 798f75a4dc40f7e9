"""Questions about sessions: one by any of its names, pages of them, those that spent the most."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from monitor.store import cursors
from monitor.store.base import (
    SORT_WEIGHTS,
    SessionPage,
    SessionQuery,
    SessionRecord,
    SortBy,
    spend,
)
from monitor.store.clickhouse.conditions import (
    BEFORE_ALL,
    COUNTED,
    NAMED,
    NEVER,
    ask,
    containing,
    matching,
    one_of,
    window,
)
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.records import (
    BY_TEXT,
    CONSUMER,
    FIRST,
    LAST,
    MODEL,
    QUESTION,
    facts,
    nameless,
    records,
    with_period,
)
from monitor.store.clickhouse.values import literal
from monitor.store.schema import QUARTER_MS

#: So many ids stand in a question rather than conditions on all sessions.
_FEW = 5000
#: Spellings are compared with those of so many sessions.
_COMPARED = 2000
_SESSIONS = f"FROM round FINAL WHERE {COUNTED} AND {NAMED}"


def _spend() -> str:
    """What to sort spenders by: whole numbers are added up by currency, so that every asking gives the same."""
    nano = "ifNull(nano, toInt64(0))"
    weights = {currency: weight for currency, weight in SORT_WEIGHTS.items() if weight != 1.0}
    sums = [f"toFloat64(sum(if({one_of('currency', weights)}, toInt64(0), {nano})))"]
    sums += [
        f"sum(if(currency = {literal(currency)}, {nano}, toInt64(0))) * {literal(weight)}"
        for currency, weight in weights.items()
    ]
    return " + ".join(sums)


_SPEND = _spend()
_SORT: dict[SortBy, str] = {
    "cost": _SPEND,
    "updated": LAST,
    "created": FIRST,
    "tokens": "sum(ifNull(input, toInt64(0)) + ifNull(output, toInt64(0)))",
    "rounds": "toInt64(count())",
}


# -- one session ----------------------------------------------------------------------------------


def session_id(db: Database, name: str) -> str | None:
    """The id of the session that a name leads to; whether it has rounds is left to whoever reads them."""
    candidates = _candidates(db, name)
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    rows = ask(db, f"SELECT DISTINCT session {_SESSIONS} AND {one_of('session', candidates)}")
    return next((one for one in candidates if (one,) in rows), None)


def _candidates(db: Database, name: str) -> list[str]:
    """The ids of which the first that has rounds is the one that a name leads to."""
    if not name:
        return []
    for leads_to, said in ask(db, f"SELECT session, said FROM name FINAL WHERE name = {literal(name)} AND gone = 0"):
        # An id owns its session, except where it is known to be another's.
        return [name, leads_to] if said and leads_to != name else [leads_to]
    return [name]


def session(db: Database, name: str, since: int | None = None) -> SessionRecord | None:
    """A session by any of its names; from `since` on only, where given."""
    candidates = _candidates(db, name)
    found = records(db, candidates)
    record = next((found[one] for one in candidates if one in found), None)
    if record is None or since is None:
        return record
    (record,) = with_period(db, [record], since, None, dated=True)
    return record


def started_by(db: Database, name: str) -> list[SessionRecord]:
    """The sessions that a session has started, and those that these have started, and so on."""
    first = session_id(db, name)
    if first is None:
        return []
    seen = {first}
    new = [first]
    while new:
        rows = ask(db, f"SELECT session FROM kin FINAL WHERE {one_of('parent', new)}")
        new = sorted({child for (child,) in rows} - seen)
        seen.update(new)
    below = records(db, sorted(seen))
    if first not in below:
        return []
    del below[first]
    return sorted(below.values(), key=lambda r: (r.created_at or NEVER, r.session_id or ""))


# -- many sessions --------------------------------------------------------------------------------


def sessions(db: Database, query: SessionQuery) -> SessionPage:
    """One page of sessions in the asked order.

    Raises:
        UnknownCursor: see `monitor.store.cursors.decode`.
    """
    behind = cursors.decode(query.cursor, query.sort_by, str) if query.cursor is not None else None
    where = [matching(db, patterns) for patterns in (query.keys, query.only) if patterns is not None]
    led = _named_like(db, query.search) if query.search else set()
    where += _few(db, query, led)
    having = _having(db, query, led)
    chosen = f"{_SESSIONS} AND {' AND '.join(['1', *where])} GROUP BY session HAVING {' AND '.join(['1', *having])}"
    page = chosen
    if behind is not None:
        at, place = literal(behind[0]), literal(behind[1])
        page = f"{chosen} AND (place < {at} OR (place = {at} AND session < {place}))"
    rows = ask(
        db,
        f"SELECT session, {_SORT[query.sort_by]} AS place {page} ORDER BY place DESC, session DESC "
        f"LIMIT {query.limit + 1}",
    )
    more = len(rows) > query.limit
    if behind is None and not more:
        total = len(rows)
    elif where or having:
        ((total,),) = ask(db, f"SELECT count() FROM (SELECT session {chosen})")
    else:
        total = session_count(db)
    rows = rows[: query.limit]
    found = records(db, [name for name, _ in rows])
    cursor = cursors.encode(query.sort_by, rows[-1][1], rows[-1][0]) if more and rows else None
    return SessionPage(tuple(found[name] for name, _ in rows if name in found), cursor, total)


def _few(db: Database, query: SessionQuery, led: Collection[str]) -> list[str]:
    """The ids of sessions that may match, where these are few: they are found sooner than among all."""
    some = None
    if query.since is not None:
        some = f"at >= {min(max(query.since, 0), NEVER) // QUARTER_MS * QUARTER_MS}"
    elif query.consumer is not None:
        some = f"consumer = {literal(query.consumer)}"
    elif query.model is not None:
        some = f"model = {literal(query.model)}"
    elif query.search:
        columns = ("session", "consumer", "model", "ifNull(question, '')")
        some = " OR ".join([*(containing(column, query.search) for column in columns), one_of("session", led)])
    if some is None:
        return []
    rows = ask(db, f"SELECT DISTINCT session FROM round WHERE {NAMED} AND ({some}) LIMIT {_FEW + 1}")
    return [one_of("session", [name for (name,) in rows])] if len(rows) <= _FEW else []


def _having(db: Database, query: SessionQuery, led: Collection[str]) -> list[str]:
    """What must hold of a session's rounds together."""
    having = []
    if query.since is not None:
        having.append(f"{LAST} >= {min(max(query.since, BEFORE_ALL + 1), NEVER)}")
    if query.until is not None:
        having.append(f"{FIRST} < {max(min(query.until, NEVER), 0)}")
    if query.consumer is not None:
        having.append(f"{CONSUMER} = {literal(query.consumer)}" if query.consumer else "0")
    if query.model is not None:
        having.append(f"sum(model = {literal(query.model)}) > 0")
    if query.search:
        asked = containing(QUESTION, query.search)
        if query.search_questions_of is not None:
            asked = f"({asked} AND {matching(db, query.search_questions_of)})"
        places = [containing(column, query.search) for column in ("session", CONSUMER, MODEL)]
        having.append(f"({' OR '.join([*places, asked, one_of('session', led)])})")
    return having


def _named_like(db: Database, part: str) -> set[str]:
    """The ids of sessions that have a name, besides their own, that holds `part`."""
    rows = ask(db, f"SELECT name, session, said FROM name FINAL WHERE gone = 0 AND {containing('name', part)}")
    said = [name for name, _, is_said in rows if is_said]
    own = {name for (name,) in ask(db, f"SELECT DISTINCT session {_SESSIONS} AND {one_of('session', said)}")}
    return {leads_to for name, leads_to, is_said in rows if not is_said or name not in own}


def top_sessions(db: Database, since: int | None, limit: int, until: int | None = None) -> list[SessionRecord]:
    """The sessions that spent the most, their sums from `since` on and before `until`."""
    rows = ask(
        db,
        f"SELECT session, {_SPEND} AS spent, count() AS n {_SESSIONS} AND {window(since, until)} "
        f"GROUP BY session ORDER BY spent DESC, n DESC, session LIMIT {limit}",
    )
    by_id = records(db, [row[0] for row in rows])
    found = [by_id[row[0]] for row in rows if row[0] in by_id]
    if since is not None or until is not None:
        found = with_period(db, found, since, until, dated=until is None)
    return sorted(found, key=lambda r: (-spend(r.slices), -sum(part.counts.rounds for part in r.slices)))


def unnamed(db: Database) -> list[SessionRecord]:
    """The rounds that belong to no session, one record a consumer."""
    found = [nameless(consumer, told) for consumer, told in facts(db, "session = ''", "consumer").items()]
    return sorted(found, key=lambda r: -r.updated_at)


def session_count(db: Database) -> int:
    """How many sessions have an id."""
    ((count,),) = ask(db, f"SELECT uniqExact(session) {_SESSIONS}")
    return int(count)


def named_by(db: Database) -> tuple[int, int]:
    """How many sessions are named by a header, and how many only by what was said in them."""
    ((header, text),) = ask(
        db,
        f"SELECT sum(by_text = 0), sum(by_text) FROM (SELECT session, {BY_TEXT} AS by_text {_SESSIONS} "
        "GROUP BY session)",
    )
    return int(header or 0), int(text or 0)


def grown_since(db: Database, mark: int | None) -> tuple[int, list[str]]:
    """A mark for now, and the ids of the sessions that grew since an earlier one; none for a mark of None."""
    ((now,),) = ask(db, "SELECT max(ver) FROM grown")
    if mark is None or mark >= now:
        return int(now), []
    rows = ask(db, f"SELECT session FROM grown FINAL WHERE ver > {max(mark, 0)} AND {NAMED} ORDER BY ver, session")
    return int(now), [name for (name,) in rows]


# -- names ----------------------------------------------------------------------------------------


def similar(db: Database, name: str, limit: int = 3) -> list[str]:
    """Session ids near `name`: those that hold it or a part of it, else the ones spelled most alike."""
    found = names_with(db, name, limit) if name else []
    if len(found) < limit:
        near = difflib.get_close_matches(name, names_with(db, "", _COMPARED), limit, cutoff=0.5)
        found += [other for other in near if other not in found]
    return found[:limit]


def names_with(db: Database, part: str, limit: int = 100, *, only: Sequence[str] | None = None) -> list[str]:
    """Session ids that contain `part`, newest first; with `only` those that match one of its glob patterns."""
    listed = "1" if only is None else matching(db, only)
    rows = ask(
        db,
        f"SELECT session {_SESSIONS} AND {containing('session', part)} AND {listed} GROUP BY session "
        f"ORDER BY {LAST} DESC, session DESC LIMIT {limit}",
    )
    return [session for (session,) in rows]
