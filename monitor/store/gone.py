"""What is stored no longer and must never count again: eight bytes of each round that was pruned.

And eight of each response id, since another source may tell of the same call long after.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Set

import xxhash

from monitor.rounds import Round
from monitor.store.rows import SOURCE_BITS
from monitor.store.schema import EPOCH_MS, QUARTER_MS

_SIZE = 8
#: Quarters whose rounds are remembered: a log that is read again is read in the order of its time.
_REMEMBERED = 16
_KEY_BITS = (1 << 22) - 1


class Gone:
    """The rounds that were taken out, as the connection that writes knows them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._quarters: Set[int] | None = None
        self._known: dict[int, Set[bytes]] = {}

    def forget(self) -> None:
        """Forget what was remembered of rows."""
        self._quarters = None
        self._known.clear()

    def has(self, rid: int, round_: Round) -> bool:
        """Whether a round that has no row where it belongs was counted before all the same.

        Also where another kind of source told of the same call, which counts once.
        """
        if self._quarters is None:
            self._quarters = {at for (at,) in self._db.execute("SELECT at FROM pruned_key")}
        if not self._quarters:
            return False
        at = quarter_of(rid)
        if round_.response_id:
            others = [call_digest(kind, round_.response_id) for kind in SOURCE_BITS if kind != round_.source]
            near = (at, at - QUARTER_MS, at + QUARTER_MS)
            if any(digest in self._of(quarter) for quarter in near for digest in others):
                return True
        if at not in self._quarters:
            return False
        if round_digest(round_.key) in self._of(at):
            return True
        # Its place may have been taken by a round that is gone: then it stands behind that.
        first = rid & ~_KEY_BITS
        return any(
            self._db.execute(
                f"SELECT 1 FROM {table} WHERE rid BETWEEN ? AND ? AND key = ?", (first, first | _KEY_BITS, round_.key)
            ).fetchone()
            for table in ("round", "witness", "gap")
        )

    def _of(self, at: int) -> Set[bytes]:
        """The digests of a quarter of an hour."""
        if self._quarters is None or at not in self._quarters:
            return frozenset()
        known = self._known.get(at)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            row = self._db.execute("SELECT digests FROM pruned_key WHERE at = ?", (at,)).fetchone()
            known = self._known[at] = split(row[0] if row else b"")
        return known


def note_gone(db: sqlite3.Connection, rounds: Iterable[tuple[int, bytes, str, str | None]]) -> None:
    """Write down that rounds, each (id, key, kind of source, response id), were counted and are stored no longer."""
    digests: dict[int, list[bytes]] = {}
    for rid, key, kind, response_id in rounds:
        found = digests.setdefault(quarter_of(rid), [])
        found.append(round_digest(key))
        if response_id:
            found.append(call_digest(kind, response_id))
    db.executemany(
        "INSERT INTO pruned_key VALUES (?, ?) ON CONFLICT DO UPDATE SET "
        "digests = CAST(digests || excluded.digests AS BLOB)",
        [(at, b"".join(found)) for at, found in digests.items()],
    )


def quarter_of(rid: int) -> int:
    """The quarter of an hour in which a round with this id started, ms since 1970."""
    at = (rid >> 22) + EPOCH_MS
    return at - at % QUARTER_MS


def round_digest(key: bytes) -> bytes:
    """What is kept of a round's key. Two rounds of one quarter that share it are not to be expected."""
    return xxhash.xxh3_64_digest(key)


def call_digest(kind: str, response_id: str) -> bytes:
    """What is kept of a call that one kind of source told of, for the others that may tell of it later."""
    return xxhash.xxh3_64_digest(f"{kind}\0{response_id}".encode("utf-8", "replace"))


def split(digests: bytes) -> Set[bytes]:
    """The digests of a quarter one by one."""
    return {digests[at : at + _SIZE] for at in range(0, len(digests), _SIZE)}
