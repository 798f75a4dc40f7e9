"""Questions about sessions and rounds become SQL: rows by index, and never a scan over all rounds."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from monitor.prices.money import Cost
from monitor.rounds import ReportedCost, Round, Usage
from monitor.store import cursors
from monitor.store.base import (
    Counts,
    RoundPage,
    SessionPage,
    SessionQuery,
    SessionRecord,
    Slice,
    StoredRound,
    spend,
)
from monitor.store.chosen import choose
from monitor.store.labels import Labels
from monitor.store.naming import known_of
from monitor.store.rows import (
    CONTENT,
    INFERRED,
    LOWER_BOUND,
    NORMAL,
    SOURCE_BITS,
    STREAM,
    SUCCESS,
    TOOL_CALLS,
    content_key,
    started_at,
)
from monitor.store.schema import COUNT_SUMS, COUNTED, COUNTS, FIRST_MS, QUARTER_MS, first_rid

_NEVER = 1 << 62
_LONGEST_PART = 4096
_SORT_COLUMNS = {
    "cost": "spend",
    "updated": "last_at",
    "created": "first_at",
    "tokens": "tokens",
    "rounds": "rounds",
}
#: Left to itself the planner reads all sessions by their unique key, because ``kind = 0`` begins it.
_SORT_INDEXES = {
    "cost": "session_spend",
    "updated": "session_updated",
    "created": "session_created",
    "tokens": "session_tokens",
    "rounds": "session_rounds",
}
_SESSION_COLUMNS = (
    "sid, kind, session_id, inferred, first_at, last_at, model, consumer, agent, channel, parent, question, sources, "
    "pruned"
)


def session_record(db: sqlite3.Connection, labels: Labels, name: str, since: int | None = None) -> SessionRecord | None:
    """A session by any of its names."""
    row = db.execute(
        f"SELECT {_SESSION_COLUMNS} FROM session WHERE sid = (SELECT sid FROM session_name WHERE name = ?)",
        (name,),
    ).fetchone()
    if row is None:
        return None
    if since is None:
        return _records(db, labels, [row])[0]
    low = first_rid(max(since, FIRST_MS))
    rows = db.execute(
        f"SELECT model, price, {COUNT_SUMS}, min(rid), max(rid) FROM {COUNTED} WHERE sid = ? AND rid >= ? "
        "GROUP BY model, price",
        (row[0], low),
    ).fetchall()
    whole = _records(db, labels, [row])[0]
    if not rows:
        return msgspec.structs.replace(whole, slices=(), created_at=0, updated_at=0)
    return msgspec.structs.replace(
        whole,
        slices=tuple(Slice(labels.name(r[0]), labels.price(r[1]), Counts(*r[2:-2])) for r in rows),
        created_at=started_at(min(r[-2] for r in rows)),
        updated_at=started_at(max(r[-1] for r in rows)),
    )


def session_page(db: sqlite3.Connection, labels: Labels, query: SessionQuery) -> SessionPage:
    """One page of sessions in the asked order."""
    where = ["kind = 0"]
    values: list[str | float] = []
    if query.since is not None:
        where.append("last_at >= ?")
        values.append(query.since)
    if query.until is not None:
        where.append("first_at < ?")
        values.append(query.until)
    if query.consumer is not None:
        where.append("consumer = ifnull((SELECT id FROM name WHERE value = ?), -1)")
        values.append(query.consumer)
    if query.model is not None:
        where.append(
            "sid IN (SELECT sid FROM session_slice WHERE model = ifnull((SELECT id FROM name WHERE value = ?), -1))"
        )
        values.append(query.model)
    if query.keys is not None:
        where.append("chosen(session_id)")
        choose(db, query.keys)
    if query.search:
        part = _like(query.search)
        question = "question LIKE ? ESCAPE '\\'"
        if query.search_questions_of is not None:
            _match(db, "opened", query.search_questions_of)
            question = f"({question} AND opened(session_id))"
        # The ids of names are few; the sessions that have them are found by them.
        where.append(
            f"(session_id LIKE ? ESCAPE '\\' OR {question} OR sid IN (SELECT n.sid FROM session_name AS n WHERE n.name "
            "LIKE ? ESCAPE '\\') OR consumer IN (SELECT id FROM name WHERE value LIKE ? ESCAPE '\\') OR model IN "
            "(SELECT id FROM name WHERE value LIKE ? ESCAPE '\\'))"
        )
        values += [part] * 5
    if query.only is not None:
        _match(db, "listed", query.only)
        where.append("listed(session_id)")
    filtered = len(where) > 1
    condition = " AND ".join(where)
    index = _SORT_INDEXES[query.sort_by]
    total = count_sessions(db)
    if filtered:
        all_sessions = total
        by_time = "" if query.since is None else "INDEXED BY session_updated"
        total = int(db.execute(f"SELECT count(*) FROM session {by_time} WHERE {condition}", values).fetchone()[0])
        # A few sessions of a short time are sorted sooner than they are found among all.
        if query.since is not None and 8 * total < all_sessions:
            index = _SORT_INDEXES["updated"]
    column = _SORT_COLUMNS[query.sort_by]
    if query.cursor is not None:
        at, sid = cursors.decode(query.cursor, query.sort_by, int)
        condition += f" AND ({column}, sid) < (?, ?)"
        values += [at, sid]
    rows = db.execute(
        f"SELECT {_SESSION_COLUMNS}, {column} FROM session INDEXED BY {index} WHERE {condition} "
        f"ORDER BY {column} DESC, sid DESC LIMIT ?",
        (*values, query.limit + 1),
    ).fetchall()
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    cursor = cursors.encode(query.sort_by, rows[-1][-1], rows[-1][0]) if more else None
    return SessionPage(tuple(_records(db, labels, rows)), cursor, total)


def top_sessions(
    db: sqlite3.Connection, labels: Labels, since: int | None, limit: int, until: int | None = None
) -> list[SessionRecord]:
    """The sessions that spent the most from `since` on, and before `until`."""
    low = 0 if since is None else since
    if until is not None:
        return _top_sessions_between(db, labels, low, until, limit)
    # A session that began in the period has its sums already; only those that began before it, or hold rounds
    # without a usable time, are summed anew.
    began = "first_at >= ?"
    if since is not None:
        for table in ("round", "pruned"):
            began += f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE sid = session.sid AND rid < {first_rid(FIRST_MS)})"
    whole = db.execute(
        f"SELECT {_SESSION_COLUMNS} FROM session WHERE kind = 0 AND last_at >= ? AND {began} "
        "ORDER BY spend DESC, tokens DESC LIMIT ?",
        (low, low, limit),
    ).fetchall()
    records = _records(db, labels, whole)
    if since is not None:
        older = db.execute(
            f"SELECT session_id FROM session WHERE kind = 0 AND last_at >= ? AND NOT ({began})", (low, low)
        ).fetchall()
        records += [r for (name,) in older if (r := session_record(db, labels, name, since)) is not None]
    records.sort(key=lambda r: (-spend(r.slices), -sum(part.counts.rounds for part in r.slices)))
    return records[:limit]


def _top_sessions_between(
    db: sqlite3.Connection, labels: Labels, low: int, until: int, limit: int
) -> list[SessionRecord]:
    """The sessions that spent the most in a period that is over: their rounds in it are summed anew."""
    slices: dict[int, list[Slice]] = {}
    for r in db.execute(
        f"SELECT sid, model, price, {COUNT_SUMS} FROM {COUNTED} WHERE rid >= ? AND rid < ? GROUP BY sid, model, price",
        (first_rid(max(low, FIRST_MS)), first_rid(max(until, FIRST_MS))),
    ):
        slices.setdefault(r[0], []).append(Slice(labels.name(r[1]), labels.price(r[2]), Counts(*r[3:])))
    found: list[SessionRecord] = []
    dearest = sorted(slices, key=lambda sid: (-spend(slices[sid]), -sum(part.counts.rounds for part in slices[sid])))
    for sid in dearest:
        row = db.execute(f"SELECT {_SESSION_COLUMNS} FROM session WHERE sid = ? AND kind = 0", (sid,)).fetchone()
        if row is not None:
            found.append(msgspec.structs.replace(_records(db, labels, [row])[0], slices=tuple(slices[sid])))
        if len(found) == limit:
            break
    return found


def session_turns(db: sqlite3.Connection, name: str) -> list[tuple[int, int | None, int | None]]:
    """Start, user messages and opening of the rounds of a session that tell any of them."""
    rows = db.execute(
        "SELECT rid, turn, opening FROM round WHERE sid = (SELECT sid FROM session_name WHERE name = ?) "
        "AND (turn IS NOT NULL OR opening IS NOT NULL) ORDER BY rid",
        (name,),
    )
    return [(started_at(rid), turn, opening) for rid, turn, opening in rows]


def unnamed_records(db: sqlite3.Connection, labels: Labels) -> list[SessionRecord]:
    """The rounds without a session, by consumer."""
    rows = db.execute(f"SELECT {_SESSION_COLUMNS} FROM session WHERE kind = 1 ORDER BY last_at DESC").fetchall()
    return _records(db, labels, rows)


def _records(db: sqlite3.Connection, labels: Labels, rows: Sequence[tuple[Any, ...]]) -> list[SessionRecord]:
    if not rows:
        return []
    sids = [row[0] for row in rows]
    marks = ",".join("?" * len(sids))
    slices: dict[int, list[Slice]] = {sid: [] for sid in sids}
    for r in db.execute(
        f"SELECT sid, model, price, {', '.join(COUNTS)} FROM session_slice WHERE sid IN ({marks})",
        sids,
    ):
        slices[r[0]].append(Slice(labels.name(r[1]), labels.price(r[2]), Counts(*r[3:])))
    aliases: dict[int, list[str]] = {}
    for sid, name in db.execute(f"SELECT sid, name FROM session_name WHERE sid IN ({marks}) ORDER BY name", sids):
        aliases.setdefault(sid, []).append(name)
    told = known_of(db, [row[2] for row in rows if row[1] == 0])
    records = []
    for row in rows:
        sid, kind, session_id, inferred, first, last, model, consumer, agent, channel, parent, question = row[:12]
        sources, pruned = row[12:14]
        above, over = told.get(session_id, (None, None)) if kind == 0 else (None, None)
        source: Literal["header", "inferred"] | None = None if kind else ("inferred" if inferred else "header")
        records.append(
            SessionRecord(
                session_id=None if kind else session_id,
                session_source=source,
                aliases=tuple(name for name in aliases.get(sid, ()) if name != session_id),
                created_at=0 if first == _NEVER else first,
                updated_at=max(last, 0),
                model=labels.name(model),
                consumer=(session_id or None) if kind else labels.name(consumer),
                agent=labels.name(agent),
                channel=labels.name(channel) or over,
                parent_session=_session_id(db, parent) or above,
                question=question,
                sources=tuple(name for name, bit in SOURCE_BITS.items() if sources & bit),
                slices=tuple(slices[sid]),
                pruned_rounds=pruned,
            )
        )
    return records


def _session_id(db: sqlite3.Connection, sid: int | None) -> str | None:
    if sid is None:
        return None
    row = db.execute("SELECT session_id FROM session WHERE sid = ?", (sid,)).fetchone()
    return row[0] if row else None


def grown_sessions(db: sqlite3.Connection, mark: int | None) -> tuple[int, Sequence[str]]:
    """The number of the last batch, and the ids of the sessions that a batch after `mark` added to."""
    row = db.execute("SELECT value FROM meta WHERE key = 'batches'").fetchone()
    now = int(row[0]) if row else 0
    if mark is None or mark >= now:
        return now, []
    rows = db.execute("SELECT session_id FROM session WHERE kind = 0 AND grown > ?", (mark,))
    return now, [session_id for (session_id,) in rows]


# -- rounds ---------------------------------------------------------------------------------------

_ROUND_COLUMNS = (
    "r.rid, r.key, r.sid, r.model, r.price, r.input, r.output, r.reasoning, r.cached, r.cache_write, "
    "r.cache_write_1h, r.nano, r.latency, r.ttft, r.status, r.turn, r.flags, r.request_id, r.response_id, r.extra, "
    "r.reported, f.source, f.consumer, f.route, f.function, f.user_id, f.host"
)


def round_page(
    db: sqlite3.Connection,
    labels: Labels,
    name: str,
    *,
    limit: int | None,
    before: str | None,
    since: int | None,
) -> RoundPage:
    """The newest rounds of a session, oldest first."""
    found = db.execute(
        "SELECT s.sid, s.session_id, s.pruned FROM session AS s JOIN session_name AS n ON n.sid = s.sid "
        "WHERE n.name = ?",
        (name,),
    ).fetchone()
    if found is None:
        return RoundPage((), None)
    sid, session_id, pruned = found
    low = -(1 << 63) if since is None else first_rid(max(since, FIRST_MS))
    high = (1 << 63) - 1 if before is None else cursors.decode(before, "round", int)[1] - 1
    rows = db.execute(
        f"SELECT {_ROUND_COLUMNS} FROM round AS r JOIN facet AS f ON f.id = r.facet "
        "WHERE r.sid = ? AND r.rid BETWEEN ? AND ? ORDER BY r.rid DESC LIMIT ?",
        (sid, low, high, -1 if limit is None else limit + 1),
    ).fetchall()
    more = limit is not None and len(rows) > limit
    rows = rows[:limit]
    if not rows:
        return RoundPage((), None)
    rows.reverse()
    (earlier,) = db.execute("SELECT count(*) FROM round WHERE sid = ? AND rid < ?", (sid, rows[0][0])).fetchone()
    first = pruned + earlier + 1
    rounds = tuple(_stored(row, labels, first + index, session_id) for index, row in enumerate(rows))
    return RoundPage(rounds, cursors.encode("round", 0, rows[0][0]) if more else None)


def one_round(
    db: sqlite3.Connection, labels: Labels, name: str | None, number: int | None, key: bytes | None
) -> StoredRound | None:
    """One round by its number in a session, or by its key."""
    select = f"SELECT {_ROUND_COLUMNS} FROM round AS r JOIN facet AS f ON f.id = r.facet "
    if key is not None:
        # A key does not tell its round's time, but the page and the tools give the id that does.
        if len(key) != 16:
            return None
        rid = int.from_bytes(key[:8], "big", signed=True)
        row = db.execute(select + "WHERE r.rid = ? AND substr(r.key, 1, 8) = ?", (rid, key[8:])).fetchone()
    elif number is None or number < 1:
        return None
    else:
        found = db.execute(
            "SELECT sid, pruned FROM session WHERE sid = (SELECT sid FROM session_name WHERE name = ?)", (name,)
        ).fetchone()
        if found is None or number <= found[1]:
            return None
        row = db.execute(
            select + "WHERE r.sid = ? ORDER BY r.rid LIMIT 1 OFFSET ?", (found[0], number - found[1] - 1)
        ).fetchone()
    if row is None:
        return None
    kind, session_id, pruned = db.execute(
        "SELECT kind, session_id, pruned FROM session WHERE sid = ?", (row[2],)
    ).fetchone()
    (earlier,) = db.execute("SELECT count(*) FROM round WHERE sid = ? AND rid < ?", (row[2], row[0])).fetchone()
    return _stored(row, labels, pruned + earlier + 1, None if kind else session_id)


def failed_rounds(
    db: sqlite3.Connection, labels: Labels, since: int | None, until: int | None, limit: int
) -> list[StoredRound]:
    """The newest failed rounds of a period: only the quarters of an hour that have some are looked through."""
    low = max(FIRST_MS, since or 0)
    high = _NEVER if until is None else until
    found: list[StoredRound] = []
    quarters = db.execute(
        "SELECT DISTINCT at FROM quarter WHERE failed > 0 AND at > ? AND at < ? ORDER BY at DESC",
        (low - QUARTER_MS, high),
    )
    for (at,) in quarters:
        begin, end = max(low, at), min(high, at + QUARTER_MS)
        for row in db.execute(
            f"SELECT {_ROUND_COLUMNS}, s.pruned, s.session_id, s.kind FROM round AS r "
            "JOIN facet AS f ON f.id = r.facet JOIN session AS s ON s.sid = r.sid "
            f"WHERE r.rid >= ? AND r.rid < ? AND r.flags & {SUCCESS} = 0 ORDER BY r.rid DESC LIMIT ?",
            (first_rid(begin), first_rid(end), limit - len(found)),
        ).fetchall():
            (earlier,) = db.execute("SELECT count(*) FROM round WHERE sid = ? AND rid < ?", (row[2], row[0])).fetchone()
            found.append(_stored(row[:-3], labels, row[-3] + earlier + 1, None if row[-1] else row[-2]))
        if len(found) >= limit:
            break
    return found


def round_key(rid: int, key: bytes) -> bytes:
    """What names a round outside: its place and enough of its key."""
    return rid.to_bytes(8, "big", signed=True) + key[:8]


def _stored(row: tuple[Any, ...], labels: Labels, number: int, session_id: str | None) -> StoredRound:
    (rid, key, _, model, price, input_, output, reasoning, cached, write, write_1h, nano, latency, ttft, status) = row[
        :15
    ]
    turn, flags, request_id, response_id, extra, reported, source, consumer, route, function, user_id, host = row[15:]
    tag = labels.price(price)
    usage = Usage(input_, output, reasoning, cached, write, write_1h, lower_bound=bool(flags & LOWER_BOUND))
    source_of_id: Literal["header", "inferred"] | None = None
    if session_id is not None:
        source_of_id = "inferred" if flags & INFERRED else "header"
    return StoredRound(
        number=number,
        round=Round(
            key=round_key(rid, key),
            source=labels.name(source) or "",
            started_at=started_at(rid),
            session_id=session_id,
            session_source=source_of_id,
            model=labels.name(model),
            usage=usage,
            success=bool(flags & SUCCESS),
            status=status,
            latency_ms=latency,
            ttft_ms=ttft,
            response_type="normal" if flags & NORMAL else "stream" if flags & STREAM else None,
            has_tool_calls=bool(flags & TOOL_CALLS),
            turn=turn,
            consumer=labels.name(consumer),
            route=labels.name(route),
            function=labels.name(function),
            user_id=labels.name(user_id),
            host=labels.name(host),
            request_id=request_id,
            response_id=response_id,
            reported=(
                None
                if reported is None or tag.reported_currency is None
                else ReportedCost(reported, tag.reported_currency)
            ),
            extra=extra.encode() if extra else None,
        ),
        cost=Cost(tag.status, nano, tag.currency, tag.source),
        price_version=tag.version,
        has_content=bool(flags & CONTENT),
    )


def content_keys(db: sqlite3.Connection, rounds: Sequence[StoredRound]) -> list[tuple[bytes, int] | None]:
    """The full keys and start times under which what was said in `rounds` is kept."""
    return [
        content_key(db, int.from_bytes(stored.round.key[:8], "big", signed=True)) if stored.has_content else None
        for stored in rounds
    ]


# -- names ----------------------------------------------------------------------------------------


def count_sessions(db: sqlite3.Connection) -> int:
    """How many sessions have an id."""
    row = db.execute("SELECT value FROM meta WHERE key = 'sessions'").fetchone()
    return int(row[0]) if row else 0


def similar_names(db: sqlite3.Connection, name: str, limit: int) -> list[str]:
    """Session ids near `name`: those that hold it or a part of it, else the ones spelled most alike."""
    found = names_with(db, name, limit) if name else []
    if len(found) < limit:
        recent = [
            row[0]
            for row in db.execute(
                "SELECT session_id FROM session INDEXED BY session_updated WHERE kind = 0 "
                "ORDER BY last_at DESC LIMIT 2000"
            )
        ]
        near = difflib.get_close_matches(name, recent, limit, cutoff=0.5)
        found += [other for other in near if other not in found]
    return found[:limit]


def names_with(db: sqlite3.Connection, part: str, limit: int, only: Sequence[str] | None = None) -> list[str]:
    """Session ids that contain `part`, newest first; with `only` those that match one of its glob patterns."""
    pattern = _like(part)
    listed = ""
    if only is not None:
        _match(db, "listed", only)
        listed = "AND listed(session_id) "
    rows = db.execute(
        "SELECT session_id FROM session INDEXED BY session_updated WHERE kind = 0 AND session_id LIKE ? ESCAPE '\\' "
        f"{listed}ORDER BY last_at DESC LIMIT ?",
        (pattern, limit),
    )
    return [row[0] for row in rows]


def _match(db: sqlite3.Connection, function: str, patterns: Sequence[str]) -> None:
    """An SQL function that says whether a text matches one of `patterns`, as Python reads them.

    What is found must be what is shown: SQLite's GLOB reads [!a] otherwise, and ends at a NUL.
    """
    db.create_function(function, 1, lambda name: any(fnmatchcase(name, pattern) for pattern in patterns))


def _like(part: str) -> str:
    """The pattern of texts that contain `part`."""
    # Nothing that is searched is that long, and SQLite refuses patterns of more than 50 000 bytes.
    part = part[:_LONGEST_PART].replace("\x00", "\ufffd")  # at a NUL a pattern ends
    return "%" + part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
