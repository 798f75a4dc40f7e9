"""Values as text: what no engine is needed to see. Round trips are in conformance_database.py."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from monitor.store.base import StoreError
from monitor.store.clickhouse.values import lines, literal, rows


def test_a_literal_can_not_be_left_by_what_is_in_it() -> None:
    assert literal("a'; DROP TABLE round; --\\") == "'a\\'; DROP TABLE round; --\\\\'"


def test_bytes_are_written_so_that_any_text_can_hold_them() -> None:
    assert literal(b"a'\xff\n") == "'a\\x27\\xFF\\x0A'"


def test_lists_are_arrays_and_tuples_what_comes_after_in() -> None:
    assert literal([1, None, ["x"]]) == "[1, NULL, ['x']]"
    assert literal((1, "x")) == "(1, 'x')"


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_a_number_that_no_column_holds_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        literal(value)
    with pytest.raises(ValueError, match="64 bits"):
        lines(["a"], [(value,)])


def test_an_empty_tuple_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        literal(())


@pytest.mark.parametrize("value", [Decimal("0.1"), date(2026, 1, 2), {"a": 1}])
def test_what_has_no_exact_literal_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        literal(value)


def test_what_can_not_be_inserted_is_refused() -> None:
    with pytest.raises(TypeError, match="date"):
        lines(["a"], [(date(2026, 1, 2),)])


def test_a_boolean_is_a_number() -> None:
    assert literal(True) == "1"
    assert lines(["a"], [(True,), (False,)]) == b"a\n1\n0\n"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"a\nInt64",
        b"a\nInt64\n1",
        b"a\nInt64\nCode: 395, DB::Exception\n",
        b"a\tb\nInt64\tInt64\n1\n",
        b"a\nArray(Int64)\n[1\n",
        b"a\nMap(String, String)\n{}\n",
    ],
)
def test_an_answer_that_is_torn_or_strange_is_an_error_and_not_fewer_rows(payload: bytes) -> None:
    with pytest.raises(StoreError):
        rows(payload)


def test_types_that_newer_engines_wrap_are_unwrapped() -> None:
    kinds = [
        "LowCardinality(Nullable(String))",
        "SimpleAggregateFunction(sum, Int64)",
        "Bool",
        "Tuple(n Int8, t String)",
    ]
    payload = "\n".join(["\t".join("abcd"), "\t".join(kinds), "\\N\t7\ttrue\t(1,'x')", "x\t8\tfalse\t(2,'')", ""])
    assert rows(payload.encode()) == [(None, 7, True, (1, "x")), ("x", 8, False, (2, ""))]
