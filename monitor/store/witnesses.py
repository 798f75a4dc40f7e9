"""What each source said of each call, side by side: for whoever compares them."""

from __future__ import annotations

import sqlite3

from monitor.store.asking import round_key
from monitor.store.base import Testimony
from monitor.store.labels import Labels
from monitor.store.rows import SUCCESS, started_at
from monitor.store.schema import FIRST_MS, first_rid

#: Of the source's own row, which stands in ``round`` where nobody else saw the call, else in ``witness``.
_SAID = (
    "{t}.rid, {t}.facet, {t}.model, {t}.price, {t}.input, {t}.output, {t}.reasoning, {t}.cached, {t}.nano, "
    "{t}.reported, {t}.status, {t}.flags, {t}.response_id, {t}.extra"
)
_ALONE = (
    f"SELECT r.rid, substr(r.key, 1, 8), r.sid, 0, {_SAID.format(t='r')} FROM round AS r "
    "WHERE r.rid >= ?1 AND r.rid < ?2 AND NOT EXISTS (SELECT 1 FROM witness WHERE counted = r.rid)"
)
_TOGETHER = (
    f"SELECT r.rid, substr(r.key, 1, 8), r.sid, 1, {_SAID.format(t='w')} FROM round AS r "
    "JOIN witness AS w ON w.counted = r.rid WHERE r.rid >= ?1 AND r.rid < ?2"
)


def testimonies(
    db: sqlite3.Connection, labels: Labels, since: int | None, until: int | None, limit: int
) -> list[Testimony]:
    """What each source said of the calls of a period, the newest `limit` of them, oldest first."""
    low = first_rid(max(FIRST_MS, since or 0))
    high = (1 << 63) - 1 if until is None else first_rid(until)
    rows = db.execute(f"{_ALONE} UNION ALL {_TOGETHER} ORDER BY 1 DESC, 4 LIMIT ?3", (low, high, limit)).fetchall()
    facets: dict[int, tuple[str | None, ...]] = {}
    sessions: dict[int, str | None] = {}
    found = []
    for rid, key, sid, joined, own, facet, model, price, given, said, reasoning, cached, nano, *more in reversed(rows):
        reported, status, flags, response_id, extra = more
        if sid not in sessions:
            kind, name = db.execute("SELECT kind, session_id FROM session WHERE sid = ?", (sid,)).fetchone()
            sessions[sid] = None if kind else name
        if facet not in facets:
            ids = db.execute("SELECT source, consumer, host FROM facet WHERE id = ?", (facet,)).fetchone()
            facets[facet] = tuple(labels.name(number) for number in ids)
        source, consumer, host = facets[facet]
        tag = labels.price(price)
        found.append(
            Testimony(
                key=round_key(rid, key),
                source=source or "",
                joined=bool(joined),
                started_at=started_at(own),
                session_id=sessions[sid],
                consumer=consumer,
                host=host,
                model=labels.name(model),
                input_tokens=given,
                output_tokens=said,
                reasoning_tokens=reasoning,
                cached_tokens=cached,
                nano=nano,
                currency=tag.currency,
                reported_nano=reported,
                reported_currency=tag.reported_currency,
                status=status,
                success=bool(flags & SUCCESS),
                response_id=response_id,
                extra=extra.encode() if extra else None,
            )
        )
    return found
