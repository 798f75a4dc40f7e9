"""Conditions in SQL say what they say in Python, on rows that were written again and on ids of any kind."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.prices.money import Cost
from monitor.rounds import Round
from monitor.store.base import PricedRound
from monitor.store.clickhouse.asking import top_sessions
from monitor.store.clickhouse.conditions import COUNTED, between, containing, matching
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.rows import PRUNED, Row, from_round
from monitor.store.clickhouse.schema import ROUND
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.sums import slices_of
from tests.fleet.embedded import shared
from tests.store.conformance import MOMENTS, QUARTER, SETTINGS, VERSION

pytestmark = pytest.mark.xdist_group("chdb")

IDS = (
    "a", "A", "b", "ab", "a:b", "a*b", "a?b", "[a]", "a]", "[", "!", "-", "ab\nc", "\n", "'", "\\", "a\\b", "%", "a_b",
    "会", "会话", "a会b", "é", "É", "e\u0301", "\U0001f600", "a\U0001f600b", "a\0b", "ß", "K", "\u212a",
)  # fmt: skip


@contextmanager
def tables() -> Iterator[Database]:
    """Empty tables."""
    with shared().database() as db:
        create(db)
        yield db


def row(session: str, started_at: int, number: int = 1) -> Row:
    r = Round(key=bytes([number]) * 16, source="higress", started_at=started_at, session_id=session)
    return from_round(PricedRound(r, Cost("priced", 7, "USD", "list")), session, VERSION, keeps=False)


@pytest.fixture(scope="module")
def named() -> Iterator[Database]:
    """A table with a round for each of `IDS`, and one that names no session."""
    with tables() as db:
        db.insert("round", ROUND.names, [row(name, MOMENTS[0]) for name in ("", *IDS)])
        yield db


def found(db: Database, condition: str) -> set[str]:
    return {
        str(name)
        for (name,) in db.query(f"SELECT DISTINCT session FROM round FINAL WHERE session != '' AND {condition}")
    }


PATTERNS = st.one_of(
    st.text("ab*?[!]-:\\'\n会é\U0001f600\0", max_size=7),
    st.sampled_from(
        ["[!a]*", "[a-b]", "[]a]*", "[!]a]", "*[*]*", "a[?]b", "[[]a[]]", "?", "??", "*?b", "**", "", "[é-会]*"]
    ),
)


@SETTINGS
@given(st.lists(PATTERNS, max_size=3))
def test_ids_match_glob_patterns_as_python_reads_them(named: Database, patterns: list[str]) -> None:
    right = {name for name in IDS if any(fnmatchcase(name, pattern) for pattern in patterns)}
    assert found(named, matching(named, patterns)) == right


@SETTINGS
@given(st.text("abAB*%_\\'\n会éÉßK\u212a\U0001f600\0", max_size=3))
def test_a_part_is_found_whether_its_ascii_letters_are_large_or_small(named: Database, part: str) -> None:
    def small(text: str) -> str:
        return "".join(c.lower() if c in string.ascii_letters else c for c in text)

    assert found(named, containing("session", part)) == {name for name in IDS if small(part) in small(name)}


@SETTINGS
@given(st.lists(st.integers(-2, 2 * QUARTER + 2), min_size=1, max_size=6), st.sets(st.integers(0, 5)), st.data())
def test_a_window_has_a_pruned_round_where_its_quarter_begins_and_nowhere_else(
    offsets: list[int], pruned: Iterable[int], data: st.DataObject
) -> None:
    rows = [row("s", MOMENTS[0] + offset, number) for number, offset in enumerate(offsets)]
    again = [
        old._replace(state=PRUNED, at=old.at // QUARTER * QUARTER, ver=1)
        for number, old in enumerate(rows)
        if number in pruned
    ]
    now = {one.key: one for one in [*rows, *again]}
    edges = sorted({edge for one in (*rows, *again) for edge in (one.at, one.at + 1)})
    since = data.draw(st.sampled_from(edges))
    until = data.draw(st.sampled_from([*edges, None]))
    right = sum(one.at >= since and (until is None or one.at < until) for one in now.values())
    with tables() as db:
        # Each in a part of its own, which is left out or not by the times in it alone.
        for one in (*rows, *again):
            db.insert("round", ROUND.names, [one])
        ((count,),) = db.query(f"SELECT count() FROM round FINAL WHERE {COUNTED} AND {between(since, until)}")
        assert count == right
        assert sum(part.counts.rounds for part in slices_of(db, ["*"], since, until)) == right
        assert sum(p.counts.rounds for r in top_sessions(db, since, 3, until) for p in r.slices) == right
