"""A record's time is read in any form that logs use; what is no usable time is none, never the clock's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sources.times import epoch_ms

#: 2026-02-01T09:30:15.123Z
MS = 1_769_938_215_123


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # Envoy's %START_TIME%, and RFC 3339 with every number of digits.
        ("2026-02-01T09:30:15.123Z", MS),
        ("2026-02-01T09:30:15Z", MS - 123),
        ("2026-02-01T09:30:15.1Z", MS - 23),
        ("2026-02-01T09:30:15.123456Z", MS),
        ("2026-02-01T09:30:15.123456789Z", MS),
        ("2026-02-01T09:30:15.123999999Z", MS),
        # Zones are turned into UTC; without one it is UTC.
        ("2026-02-01T17:30:15.123+08:00", MS),
        ("2026-02-01T17:30:15.123+0800", MS),
        ("2026-02-01T04:00:15.123-05:30", MS),
        ("2026-02-01T09:30:15.123", MS),
        ("2026-02-01 09:30:15.123", MS),
        ("  2026-02-01T09:30:15.123Z  ", MS),
        ("20260201T093015Z", MS - 123),
        # Epoch seconds to nanoseconds, as numbers and as text.
        (1_769_938_215, MS - 123),
        ("1769938215", MS - 123),
        (1_769_938_215.123, MS),
        ("1769938215.123", MS),
        (1_769_938_215_123, MS),
        ("1769938215123", MS),
        ("1769938215123456", MS),
        (1_769_938_215_123_456_789, MS),
        # Forms that operators like.
        ("2026/02/01T09:30:15+0000", MS - 123),
        ("2026/02/01T17:30:15+08:00", MS - 123),
        ("2026/02/01 09:30:15", MS - 123),
        ("01/Feb/2026:09:30:15 +0000", MS - 123),
        ("Sun, 01 Feb 2026 09:30:15 GMT", MS - 123),
    ],
)
def test_a_time_is_read(value: object, expected: int) -> None:
    assert epoch_ms(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "-",
        "now",
        "2026-02-01",  # a date alone would be midnight: a guess
        "2026-02-31T09:30:15Z",
        "2026-13-01T09:30:15Z",
        "1999-12-31T23:59:59Z",
        "2090-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-02-01T09:30:15Z" + " and more" * 10,
        "Sun, 01 Feb 2026 09:30:15 CET",  # zone names depend on the machine
        0,
        -1,
        12345,
        True,
        float("nan"),
        float("inf"),
        "nan",
        "infinity",
        "1e400",
        10**400,
        "9" * 60,
        [],
        {},
        b"2026-02-01T09:30:15Z",
    ],
    ids=lambda v: repr(v)[:30],
)
def test_what_is_no_usable_time_is_none(value: object) -> None:
    assert epoch_ms(value) is None


moments = st.datetimes(datetime(2015, 1, 2), datetime(2079, 12, 30)).map(lambda d: d.replace(tzinfo=UTC))
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(deadline=None)
@given(moments, zones, st.sampled_from(["milliseconds", "microseconds"]))
def test_every_moment_is_read_exactly_in_every_zone(moment: datetime, zone: timezone, precision: str) -> None:
    exact = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert epoch_ms(moment.astimezone(zone).isoformat(timespec=precision)) == exact
    assert epoch_ms(exact) == exact
    assert epoch_ms(str(exact)) == exact
    assert epoch_ms(f"{exact // 1000}.{exact % 1000:03}") == exact


@settings(deadline=None)
@given(st.text(max_size=70) | st.integers() | st.floats() | st.from_regex(r"\d{4}[-/]\d\d[-/]\d\d.{0,20}"))
def test_no_value_makes_it_raise(value: object) -> None:
    found = epoch_ms(value)
    assert found is None or 1_420_070_400_000 <= found <= 3_471_292_800_000
