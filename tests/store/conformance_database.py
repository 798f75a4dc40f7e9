"""What every way to ask ClickHouse must do: values come back as they went in, errors say which kind they are."""

from __future__ import annotations

import math
from contextlib import suppress
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.store.base import StoreAway, StoreError
from monitor.store.clickhouse.connection import Database, literal
from monitor.store.clickhouse.problems import Refused

_NUMBERS = count()
#: Any text that Python can hold, half a surrogate pair as well, with what means something to an engine more often.
_ODD = st.sampled_from(
    ["\\", "'", "\t", "\n", "\r", "\0", "\\N", "NULL", "\ud800", "\udcff", "é", "]", ",", "/*", "--"]
)
TEXT = st.lists(st.one_of(_ODD, st.text(st.characters(exclude_categories=())))).map("".join)
BYTES = st.one_of(st.binary(), st.lists(st.sampled_from([b"\\", b"'", b"\t", b"\n", b"\0", b"\xff"])).map(b"".join))
SIGNED = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([-(2**63), 2**63 - 1, 0, -1]))
UNSIGNED = st.one_of(st.integers(0, 2**64 - 1), st.just(2**64 - 1))

often = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)

_ROW = st.tuples(
    SIGNED,
    UNSIGNED,
    TEXT,
    BYTES,
    st.binary(min_size=16, max_size=16),
    st.none() | TEXT,
    st.none() | BYTES,
    st.none() | SIGNED,
    st.lists(TEXT),
    st.lists(st.lists(st.none() | SIGNED)),
)
_TABLE = """CREATE TABLE IF NOT EXISTS kept (test UInt64, place UInt64, i Int64, u UInt64, t String, b String,
  f FixedString(16), nt Nullable(String), nb Nullable(String), ni Nullable(Int64), a Array(String),
  aa Array(Array(Nullable(Int64)))) ENGINE = Memory"""
_COLUMNS = ["test", "place", "i", "u", "t", "b", "f", "nt", "nb", "ni", "a", "aa"]


class DatabaseConformance:
    """Derive from it and give `database`, a connection to an empty database."""

    @pytest.fixture
    def database(self) -> Database:
        raise NotImplementedError

    @often
    @given(rows=st.lists(_ROW, min_size=1, max_size=5))
    def test_rows_come_back_as_they_went_in(self, database: Database, rows: list[tuple[object, ...]]) -> None:
        database.execute(_TABLE)
        test = next(_NUMBERS)
        database.insert("kept", _COLUMNS, [(test, place, *row) for place, row in enumerate(rows)])
        asked = f"SELECT {', '.join(_COLUMNS[2:])} FROM kept WHERE test = {test} ORDER BY place"
        assert database.query(asked, blobs={"b", "nb"}) == rows

    @often
    @given(text=TEXT, raw=BYTES, signed=SIGNED, unsigned=UNSIGNED, texts=st.lists(TEXT, min_size=1))
    def test_literals_are_what_they_stand_for(
        self, database: Database, text: str, raw: bytes, signed: int, unsigned: int, texts: list[str]
    ) -> None:
        values = [text, raw, signed, unsigned, texts, None]
        names = ["text", "raw", "signed", "unsigned", "texts", "nothing"]
        asked = ", ".join(f"{literal(value)} AS {name}" for name, value in zip(names, values, strict=True))
        assert database.query(f"SELECT {asked}", blobs={"raw"}) == [tuple(values)]

    @often
    @given(texts=st.lists(TEXT, min_size=1), other=TEXT)
    def test_a_tuple_is_what_comes_after_in(self, database: Database, texts: list[str], other: str) -> None:
        asked = f"SELECT {literal(other)} IN {literal(tuple(texts))}, {literal(texts[-1])} IN {literal(tuple(texts))}"
        assert database.query(asked) == [(int(other in texts), 1)]

    @often
    @given(raw=BYTES)
    def test_a_literal_has_the_bytes_that_went_into_it(self, database: Database, raw: bytes) -> None:
        assert database.query(f"SELECT hex({literal(raw)})") == [(raw.hex().upper(),)]

    def test_a_first_row_that_looks_like_the_names_of_the_columns_is_a_row(self, database: Database) -> None:
        database.execute("CREATE TABLE texts (session String, model String) ENGINE = Memory")
        rows = [("session", "model"), ("String", "String")]
        database.insert("texts", ["session", "model"], rows)
        assert sorted(database.query("SELECT session, model FROM texts")) == sorted(rows)

    def test_columns_are_told_apart_by_name_and_may_come_in_any_order(self, database: Database) -> None:
        database.execute("CREATE TABLE pairs (a Int64, b String) ENGINE = Memory")
        database.insert("pairs", ["b", "a"], [("x", 1)])
        assert database.query("SELECT * FROM pairs") == [(1, "x")]

    def test_no_rows_are_an_empty_list_and_can_be_inserted(self, database: Database) -> None:
        database.execute("CREATE TABLE none (a Int64) ENGINE = Memory")
        database.insert("none", ["a"], [])
        assert database.query("SELECT a FROM none") == []

    def test_many_rows_come_back(self, database: Database) -> None:
        database.execute("CREATE TABLE many (a Int64, t String) ENGINE = Memory")
        rows = [(number, f"text {number}\n") for number in range(50_000)]
        database.insert("many", ["a", "t"], rows)
        assert database.query("SELECT a, t FROM many ORDER BY a") == rows

    def test_other_types_come_as_what_they_are(self, database: Database) -> None:
        asked = """SELECT toDecimal64('-12.3400', 4), toDate('2026-02-03'), toDateTime('2026-02-03 04:05:06', 'UTC'),
          (1, 'a', (2, NULL)), CAST('b' AS Enum8('a' = 1, 'b' = 2)), toUUID('00000000-0000-0000-0000-000000000001'),
          -1.5, [(1, 'x'), (2, 'y\\n)')]"""
        (row,) = database.query(asked)
        assert row[:-1] == (
            Decimal("-12.3400"),
            "2026-02-03",
            "2026-02-03 04:05:06",
            (1, "a", (2, None)),
            "b",
            "00000000-0000-0000-0000-000000000001",
            -1.5,
        )
        assert row[-1] == [(1, "x"), (2, "y\n)")]

    def test_numbers_that_are_none_come_as_such(self, database: Database) -> None:
        ((nothing, most, least),) = database.query("SELECT 0 / 0, 1 / 0, -1 / 0")
        assert math.isnan(nothing)
        assert (most, least) == (math.inf, -math.inf)

    def test_settings_hold_for_one_question(self, database: Database) -> None:
        with pytest.raises(StoreError):
            database.query("SELECT number FROM system.numbers LIMIT 10", {"max_result_rows": 5})
        assert len(database.query("SELECT number FROM system.numbers LIMIT 10")) == 10

    def test_a_question_may_be_long(self, database: Database) -> None:
        texts = tuple(f"session {number} of those that are asked about" for number in range(20_000))
        assert database.query(f"SELECT {literal(texts[-1])} IN {literal(texts)}") == [(1,)]

    @pytest.mark.parametrize(
        ("sql", "code"), [("SELECT FROM WHERE", 62), ("SELECT 1 FROM absent", 60), ("SELECT throwIf(1)", 395)]
    )
    def test_a_mistake_is_refused_and_not_taken_for_an_absence(self, database: Database, sql: str, code: int) -> None:
        with pytest.raises(Refused) as refused:
            database.query(sql)
        assert refused.value.code == code
        assert not isinstance(refused.value, StoreAway)
        with pytest.raises(Refused):
            database.execute(sql)

    def test_a_question_that_fails_after_many_rows_gives_none_of_them(self, database: Database) -> None:
        with pytest.raises(Refused, match="395"):
            database.query("SELECT number, throwIf(number = 900000) FROM numbers(1000000)")

    def test_rows_that_do_not_fit_are_refused_and_none_of_them_is_there(self, database: Database) -> None:
        database.execute("CREATE TABLE fits (a Int64) ENGINE = Memory")
        with pytest.raises(Refused):
            database.insert("fits", ["a"], [(1,), ("text",)])
        assert database.query("SELECT a FROM fits") == []

    def test_the_version_is_numbers(self, database: Database) -> None:
        with suppress(StopIteration):
            assert next(iter(database.version())) >= 18
        assert len(database.version()) >= 3
