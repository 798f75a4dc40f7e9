"""Conditions on rows, as SQL: states, windows of time, ids that match glob patterns, texts that hold another."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any
from weakref import WeakKeyDictionary

from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import COUNTS, PRUNED
from monitor.store.clickhouse.tables import MANY, among
from monitor.store.clickhouse.values import literal
from monitor.store.schema import EPOCH_MS, FIRST_MS, QUARTER_MS

#: Rows that are in every sum, and those that are there one by one.
COUNTED = f"state IN ({COUNTS}, {PRUNED})"
SHOWN = f"state = {COUNTS}"
NAMED = "session != ''"
#: Later than every round, and earlier.
NEVER, BEFORE_ALL = 1 << 62, -1
#: When a round started, of whichever state: in ``at`` a pruned one has its quarter of an hour. -1 where it is unknown.
STARTED = f"if(at > 0, bitShiftRight(rid, 22) + {EPOCH_MS}, toInt64({BEFORE_ALL}))"

#: Nothing that is searched is longer.
_LONGEST_PART = 4096
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
#: Since these versions engines have to be told that all rows of one place are in one month, and that no condition on
#: ``at`` parts them (see `between`): or they read all months, and merge them.
_TO_BE_TOLD = {
    "do_not_merge_across_partitions_select_final": (1, (20, 10)),
    "defer_partition_pruning_after_final": (0, (26, 3)),
}
_settings: WeakKeyDictionary[Database, dict[str, int]] = WeakKeyDictionary()


def ask(db: Database, sql: str, blobs: Iterable[str] = ()) -> list[tuple[Any, ...]]:
    """The rows of a question whose conditions on times are those of this module."""
    settings = _settings.get(db)
    if settings is None:
        version = db.version()
        told = {name: value for name, (value, since) in _TO_BE_TOLD.items() if version >= since}
        settings = _settings[db] = {**MANY, **told}
    return db.query(sql, settings, frozenset(blobs))


def window(since: int | None, until: int | None) -> str:
    """Rows of [since, until); those without a time are in no window, and everything is in none at all."""
    return "1" if since is None and until is None else between(since, until)


def between(since: int | None, until: int | None) -> str:
    """Rows of [since, until) that have a time.

    A row that is pruned is written again with the start of its quarter for its time. Parts of the table are left out
    by the time of their rows before it is known which row is the last one at its place, so that whole quarters alone
    may decide about them; the rest stands in a form that no index is asked about.
    """
    low = min(max(FIRST_MS, since or 0), NEVER)
    high = NEVER if until is None else max(0, min(until, NEVER))
    first, last = low // QUARTER_MS * QUARTER_MS, -(-high // QUARTER_MS) * QUARTER_MS
    return f"at >= {first} AND at < {last} AND (at >= {low}) + (at < {high}) = 2"


def one_of(column: str, values: Collection[str]) -> str:
    """The column has one of these values."""
    return f"{column} IN {among(values)}" if values else "0"


def containing(column: str, part: str) -> str:
    """The text holds `part`, whether its ASCII letters are large or small."""
    part = part[:_LONGEST_PART].translate(_LOWER)
    return f"position(lower({column}), {literal(part)}) > 0" if part else "1"


def matching(db: Database, patterns: Sequence[str]) -> str:
    """The session's id matches one of these glob patterns, as Python reads them."""
    easy, hard = [], []
    for pattern in patterns:
        simple = _simple(pattern)
        if simple is None:
            hard.append(pattern)
        else:
            easy.append(simple)
    if hard and "1" not in easy:
        # Which bytes a pattern of several characters stands for, engines say differently: so Python tells.
        begins = {_beginning(pattern) for pattern in hard}
        some = " OR ".join(f"startsWith(session, {literal(text)})" if text else "1" for text in sorted(begins))
        found = [name for (name,) in ask(db, f"SELECT DISTINCT session FROM round WHERE {NAMED} AND ({some})")]
        easy.append(one_of("session", [name for name in found if any(fnmatchcase(name, pattern) for pattern in hard)]))
    return f"({' OR '.join(easy)})" if easy else "0"


def _simple(pattern: str) -> str | None:
    """What a pattern says of bytes alone; None for one that has signs within."""
    body = pattern.strip("*")
    if any(sign in body for sign in "*?["):
        return None
    text = literal(body)
    match pattern.startswith("*"), pattern.endswith("*"):
        case True, True:
            return f"position(session, {text}) > 0" if body else "1"
        case True, False:
            return f"endsWith(session, {text})"
        case False, True:
            return f"startsWith(session, {text})"
    return f"session = {text}"


def _beginning(pattern: str) -> str:
    """What every text that matches begins with."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]
