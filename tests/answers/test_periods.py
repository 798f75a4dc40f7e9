"""Times as people and agents write them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.answers.base import rfc3339
from monitor.answers.errors import BadQuestion
from monitor.answers.periods import bounds, instant, last_days

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
BERLIN, KATHMANDU = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2026-02-01", ZoneInfo("UTC"), "2026-02-01T00:00:00Z"),
        ("2026-02-01", KATHMANDU, "2026-01-31T18:15:00Z"),
        ("2026-02-01T09:30", KATHMANDU, "2026-02-01T03:45:00Z"),
        ("2026-02-01T09:30:00Z", KATHMANDU, "2026-02-01T09:30:00Z"),
        ("2026-02-01T09:30:00+08:00", BERLIN, "2026-02-01T01:30:00Z"),
        ("today", BERLIN, "2026-03-28T23:00:00Z"),  # the day on which summer time begins has 23 hours
        ("Yesterday", BERLIN, "2026-03-27T23:00:00Z"),
        ("12h", BERLIN, "2026-03-29T00:00:00Z"),
        ("7d", BERLIN, "2026-03-22T12:00:00Z"),
        ("90 m", BERLIN, "2026-03-29T10:30:00Z"),
        ("now", BERLIN, "2026-03-29T12:00:00Z"),
    ],
)
def test_a_time_means_what_people_expect(text: str, zone: ZoneInfo, meant: str) -> None:
    assert instant(text, zone, now=NOW) == ms(meant)


def test_until_a_day_means_until_its_end() -> None:
    assert instant("2026-03-29", BERLIN, now=NOW, end=True) == ms("2026-03-29T22:00:00Z")
    assert instant("today", BERLIN, now=NOW, end=True) == ms("2026-03-29T22:00:00Z")


def test_the_last_days_begin_at_local_midnight_and_hold_today() -> None:
    assert last_days(1, KATHMANDU, now=NOW) == ms("2026-03-28T18:15:00Z")
    assert last_days(7, BERLIN, now=NOW) == ms("2026-03-22T23:00:00Z")
    with pytest.raises(BadQuestion, match="use 1 for today"):
        last_days(0, BERLIN, now=NOW)


def understood(text: str) -> str | None:
    """What is said where `text` is no time; None where it is one."""
    try:
        assert isinstance(instant(text, BERLIN, now=NOW), int)
    except BadQuestion as error:
        return str(error)
    return None


@given(st.text(max_size=80))
def test_anything_else_is_refused_with_the_forms_that_are_understood(text: str) -> None:
    said = understood(text)
    assert said is None or "2026-02-01" in said


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "0001-01-01", "99999w", "9999-12-31T23:59:59-14:00"])
def test_times_that_no_calendar_can_show_are_the_first_or_the_last(text: str) -> None:
    assert rfc3339(instant(text, KATHMANDU)) in ("1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z")
    assert rfc3339(last_days(10**9, KATHMANDU)).startswith("1970-01-0")


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [("2026-03-20", "2026-03-10", None), ("7d", "8d", None), ("now", "yesterday", None), (None, "2026-03-20", 3)],
)
def test_a_period_that_ends_before_it_begins_is_refused(since: str | None, until: str, days: int | None) -> None:
    with pytest.raises(BadQuestion, match="before it begins"):
        bounds(since, until, days, BERLIN, now=NOW)


def test_days_count_back_from_today_where_no_beginning_is_given() -> None:
    assert bounds(None, "yesterday", 2, BERLIN, now=NOW) == (ms("2026-03-27T23:00:00Z"), ms("2026-03-28T23:00:00Z"))
    assert bounds("2026-03-20", None, 2, BERLIN, now=NOW) == (ms("2026-03-19T23:00:00Z"), None)
    assert bounds(None, None, None, BERLIN, now=NOW) == (None, None)
