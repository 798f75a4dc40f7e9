"""What ClickHouse's errors are taken for, and what is said of them."""

from __future__ import annotations

import pytest

from monitor.store.base import StoreAway
from monitor.store.clickhouse.problems import Refused, brief, problem

#: As 18.16 and as today's engine write them.
OLD = "Code: {}, e.displayText() = DB::Exception: What went wrong., e.what() = DB::Exception\n"
NEW = "Code: {}. DB::Exception: What went wrong. (SOME_NAME) (version 26.9.2.1 (official build))\n"


@pytest.mark.parametrize("form", [OLD, NEW])
@pytest.mark.parametrize("code", [159, 209, 210, 225, 242, 252, 279, 319, 999])
def test_what_may_work_later_is_an_absence(form: str, code: int) -> None:
    found = problem("one:8123", "ada", form.format(code))
    assert isinstance(found, StoreAway)
    assert found.code == code
    assert "one:8123" in str(found)


@pytest.mark.parametrize("form", [OLD, NEW])
@pytest.mark.parametrize("code", [27, 47, 60, 62, 115, 193, 497])
def test_what_waiting_does_not_mend_is_a_refusal(form: str, code: int) -> None:
    found = problem("one:8123", "ada", form.format(code))
    assert isinstance(found, Refused)
    assert not isinstance(found, StoreAway)
    assert found.code == code


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (516, "SESSION_MONITOR_STORE_PASSWORD"),
        (497, "'ada' may not"),
        (60, "session-monitor store init"),
        (81, "session-monitor store init"),
    ],
)
def test_the_way_out_is_said(code: int, advice: str) -> None:
    assert advice in str(problem("one:8123", "ada", NEW.format(code)))


def test_an_error_is_one_line_without_the_names_of_classes() -> None:
    assert brief(OLD.format(60)) == "Code: 60, DB::Exception: What went wrong"
    assert brief(NEW.format(60)) == "Code: 60. DB::Exception: What went wrong. (SOME_NAME)"


def test_an_error_can_not_move_the_cursor_or_fill_the_screen() -> None:
    said = brief("Code: 1. \x1b[31mred\nline\r" + "x" * 10_000)
    assert "\x1b" not in said
    assert "\n" not in said
    assert len(said) < 500
