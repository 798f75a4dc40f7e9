"""Questions about rounds one by one: pages of a session, one by its number, those that failed, witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.store import cursors
from monitor.store.base import Call, RoundPage, StoredRound, Testimony, UnknownCursor
from monitor.store.clickhouse.asking import session_id
from monitor.store.clickhouse.conditions import COUNTED, SHOWN, ask, between, window
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import CALL, FORGOTTEN, NAMES, PRUNED, Row, call, round_key, stored
from monitor.store.clickhouse.tables import BLOBS, among
from monitor.store.clickhouse.values import literal
from monitor.store.rows import SOURCE_BITS, SUCCESS, started_at
from monitor.store.schema import FIRST_MS, QUARTER_MS, first_rid

#: Rounds are numbered so many in one question.
_AT_ONCE = 200
#: A step of a sample is looked at in so many pieces.
_PIECES = 60
_NEWEST = "rid DESC, session DESC, key DESC"


def _rows(db: Database, condition: str, order: str) -> list[Row]:
    sql = f"SELECT {NAMES} FROM round FINAL WHERE {SHOWN} AND {condition} ORDER BY {order}"
    return [Row._make(row) for row in ask(db, sql, BLOBS)]


def _numbers(db: Database, rows: Sequence[Row]) -> list[int]:
    """The numbers of rounds in their sessions, where the pruned ones come first; without an id those of a consumer."""
    found: list[int] = []
    for begin in range(0, len(rows), _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        until_there = [
            f"sum({_of(row)} AND (state = {PRUNED} OR rid < {row.rid} OR (rid = {row.rid} AND key <= "
            f"{literal(row.key)})))"
            for row in some
        ]
        sessions = among(sorted({row.session for row in some}))
        sql = f"SELECT {', '.join(until_there)} FROM round FINAL WHERE {COUNTED} AND session IN {sessions}"
        found += ask(db, sql)[0]
    return found


def _of(row: Row) -> str:
    """Rows of the same session."""
    consumer = "" if row.session else f" AND consumer = {literal(row.consumer)}"
    return f"session = {literal(row.session)}{consumer}"


# -- one session ----------------------------------------------------------------------------------


def rounds(
    db: Database, name: str, *, limit: int | None = None, before: str | None = None, since: int | None = None
) -> RoundPage:
    """The newest `limit` rounds of a session, oldest first; `before` is a page's `older`.

    Raises:
        UnknownCursor: `before` is none.
    """
    condition = [] if before is None else [_before(before)]
    session = session_id(db, name)
    if session is None:
        return RoundPage((), None)
    condition.append(f"session = {literal(session)}")
    if since is not None:
        condition.append(f"rid >= {first_rid(max(since, FIRST_MS))}")
    rows = _rows(db, " AND ".join(condition), _NEWEST if limit is None else f"{_NEWEST} LIMIT {limit + 1}")
    more = limit is not None and len(rows) > limit
    rows = rows[:limit]
    if not rows:
        return RoundPage((), None)
    rows.reverse()
    (first,) = _numbers(db, rows[:1])
    older = cursors.encode("round", rows[0].rid, rows[0].key.hex()) if more else None
    return RoundPage(tuple(stored(row, first + place) for place, row in enumerate(rows)), older)


def _before(cursor: str) -> str:
    """Rounds before the one that a cursor was given out behind."""
    rid, key = cursors.decode(cursor, "round", str)
    try:
        place = literal(bytes.fromhex(key))
    except ValueError:
        raise UnknownCursor(cursors.NOWHERE) from None
    return f"(rid < {literal(int(rid))} OR (rid = {literal(int(rid))} AND key < {place}))"


def round(db: Database, name: str | None, number: int | None = None, key: bytes | None = None) -> StoredRound | None:  # noqa: A001 - the name of the question
    """One round by its number in a session, or by its key."""
    if key is not None:
        return _with_key(db, key)
    session = None if name is None or number is None or number < 1 else session_id(db, name)
    if session is None or number is None:
        return None
    of_session = f"session = {literal(session)}"
    ((pruned,),) = ask(db, f"SELECT count() FROM round FINAL WHERE state = {PRUNED} AND {of_session}")
    if number <= pruned:
        return None
    rows = _rows(db, of_session, f"rid, key LIMIT {number - pruned - 1}, 1")
    return stored(rows[0], number) if rows else None


def _with_key(db: Database, key: bytes) -> StoredRound | None:
    # A key does not tell its round's time, but the page and the tools give the id that does.
    if len(key) != 16:
        return None
    rid = int.from_bytes(key[:8], "big", signed=True)
    quarter = started_at(rid) // QUARTER_MS * QUARTER_MS
    condition = (
        f"rid = {rid} AND substring(key, 1, 8) = {literal(key[8:])} AND at >= {quarter} AND at < {quarter + QUARTER_MS}"
    )
    rows = _rows(db, condition, "session, key LIMIT 1")
    return stored(rows[0], *_numbers(db, rows)) if rows else None


def turns(db: Database, name: str) -> list[tuple[int, int | None, int | None]]:
    """(start in ms, user messages, opening) of each round of a session that tells any of them, in order."""
    session = session_id(db, name)
    if session is None:
        return []
    return [
        (at, turn, opening)
        for at, turn, opening in ask(
            db,
            f"SELECT at, turn, opening FROM round FINAL WHERE {SHOWN} AND session = {literal(session)} "
            "AND (isNotNull(turn) OR isNotNull(opening)) ORDER BY rid, key",
        )
    ]


# -- a window of time -----------------------------------------------------------------------------


def failed(db: Database, since: int | None, until: int | None = None, limit: int = 10) -> list[StoredRound]:
    """The newest rounds of a period that failed, newest first."""
    rows = _rows(db, f"{between(since, until)} AND bitAnd(flags, {SUCCESS}) = 0", f"{_NEWEST} LIMIT {limit}")
    return [stored(row, number) for row, number in zip(rows, _numbers(db, rows), strict=True)]


def calls(
    db: Database,
    *,
    session: str | None = None,
    since: int | None = None,
    until: int | None = None,
    min_latency_ms: int | None = None,
    limit: int,
) -> list[Call]:
    """The newest rounds of a session or of a window, oldest first; or the slowest, slowest first."""
    condition = between(since, until)
    if session is not None:
        name = session_id(db, session)
        if name is None:
            return []
        condition = f"session = {literal(name)} AND {window(since, until)}"
    order = _NEWEST
    if min_latency_ms is not None:
        condition, order = f"{condition} AND latency >= {literal(min_latency_ms)}", f"latency DESC, {_NEWEST}"
    sql = f"SELECT {CALL} FROM round FINAL WHERE {SHOWN} AND {condition} ORDER BY {order} LIMIT {limit}"
    found = [call(row) for row in ask(db, sql, BLOBS)]
    return found if min_latency_ms is not None else found[::-1]


def sampled_calls(db: Database, since: int, until: int, step_ms: int, each: int) -> list[Call]:
    """The first `each` rounds of every step of [since, until), oldest first: a short look at a long time."""
    inside, offset = between(since, until), f"(at - {max(since, FIRST_MS)})"
    step, within = f"intDiv({offset}, {step_ms})", f"modulo({offset}, {step_ms})"
    # First how far into each step one has to look: to put all rounds of a long time in order takes much room.
    piece_ms = max(1, step_ms // _PIECES)
    seen: dict[int, int] = {}
    ends: dict[int, int] = {}
    for number, piece, count in ask(
        db,
        f"SELECT {step} AS step, intDiv({within}, {piece_ms}) AS piece, count() FROM round FINAL "
        f"WHERE {SHOWN} AND {inside} GROUP BY step, piece ORDER BY step, piece",
    ):
        if seen.get(number, 0) < each:
            ends[number] = (piece + 1) * piece_ms
        seen[number] = seen.get(number, 0) + count
    if not ends:
        return []
    # Numbers of one type, whatever they are.
    steps, there = (f"[{', '.join(f'toInt64({n})' for n in some)}]" for some in (ends, ends.values()))
    looked_at = f"{within} < transform({step}, {steps}, {there}, toInt64(0))"
    end = f"ORDER BY rid, session, key LIMIT {each} BY {step}"
    sql = f"SELECT {CALL} FROM round FINAL WHERE {SHOWN} AND {inside} AND {looked_at} {end}"
    return [call(row) for row in ask(db, sql, BLOBS)]


# -- witnesses ------------------------------------------------------------------------------------

_SAID = (
    "source, at, consumer, host, model, input, output, reasoning, cached, nano, currency, reported, "
    "reported_currency, status, flags, response_id, extra"
)


def testimonies(
    db: Database,
    since: int | None,
    until: int | None = None,  # noqa: PT028 - no test, though its name begins like one
    *,
    limit: int,
) -> list[Testimony]:
    """What each source said of each call of a period, oldest first; of more than `limit` the newest."""
    counting = ask(
        db,
        f"SELECT rid, key, session, {_SAID} FROM round FINAL WHERE {SHOWN} AND {between(since, until)} "
        f"ORDER BY {_NEWEST} LIMIT {limit}",
        BLOBS,
    )
    if not counting:
        return []
    behind: dict[tuple[int, bytes], list[Sequence[Any]]] = {}
    for rid, key, *said in ask(
        db,
        f"SELECT counted_rid, counted_key, {_SAID} FROM witness FINAL WHERE state != {FORGOTTEN} "
        f"AND counted_rid >= {counting[-1][0]} AND counted_rid <= {counting[0][0]} ORDER BY rid, key",
        BLOBS,
    ):
        behind.setdefault((rid, key), []).append(said)
    found: list[Testimony] = []
    for rid, key, session, *own in reversed(counting):
        joined = sorted(behind.get((rid, key), []), key=lambda said: SOURCE_BITS.get(said[0], 1 << 8))
        found += [_testimony(round_key(rid, key), session, said, joined=bool(joined)) for said in joined or [own]]
    return found[-limit:]


def _testimony(key: bytes, session: str, said: Sequence[Any], *, joined: bool) -> Testimony:
    source, at, consumer, host, model, given, answered, reasoning, cached, nano, currency, *more = said
    reported, reported_currency, status, flags, response_id, extra = more
    return Testimony(
        key=key,
        source=source,
        joined=joined,
        started_at=at,
        session_id=session or None,
        consumer=consumer or None,
        host=host or None,
        model=model or None,
        input_tokens=given,
        output_tokens=answered,
        reasoning_tokens=reasoning,
        cached_tokens=cached,
        nano=nano,
        currency=currency or None,
        reported_nano=reported,
        reported_currency=reported_currency or None,
        status=status,
        success=bool(flags & SUCCESS),
        response_id=response_id or None,
        extra=extra or None,
    )
