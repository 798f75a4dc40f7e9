"""Figures and texts as HTML, one by one."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from markupsafe import Markup

from monitor.faces.web import figures


def shown(html: Markup) -> str:
    return html.striptags()


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1_500, "1.5K"), (15_630_000, "15.6M"), (2_000_000_000, "2B")]
)
def test_a_large_number_is_short_and_exact_underneath(value: int, text: str) -> None:
    html = figures.compact(value)
    assert shown(html) == text
    assert f'value="{value}"' in html


@pytest.mark.parametrize(
    ("cost", "digits", "text"),
    [
        ({"USD": 1.5}, 2, "$1.50"),
        ({"USD": 0.000000125}, 4, "$0.0000001"),
        ({"CNY": 0}, 4, "CN¥0.0000"),
        ({"XYZ": 12345.678}, 2, "XYZ 12,345.68"),
        ({"CNY": 1, "USD": 2}, 2, "CN¥1.00 $2.00"),
    ],
)
def test_an_amount_is_never_rounded_to_nothing(cost: dict[str, float], digits: int, text: str) -> None:
    assert shown(figures.money(cost, digits)) == text


def test_the_exact_amount_is_kept_in_full() -> None:
    assert 'value="0.000000001"' in figures.money({"USD": 1e-9})


@pytest.mark.parametrize(
    ("value", "text"), [(3, "$3.00"), (0.075, "$0.075"), (1.25, "$1.25"), (0.0, "$0.00"), (100, "$100.00")]
)
def test_a_rate_is_shown_to_its_last_digit(value: float, text: str) -> None:
    assert shown(figures.rate(value, "USD")) == text


def test_what_is_unknown_is_no_number() -> None:
    unknown = [
        figures.number(None),
        figures.compact(None),
        figures.share(None),
        figures.change(None),
        figures.duration(None),
        figures.size(None),
        figures.money(None),
        figures.moment(None, ZoneInfo("UTC")),
    ]
    assert {shown(html) for html in unknown} == {"–"}


@pytest.mark.parametrize(("ms", "text"), [(0, "0 ms"), (850, "850 ms"), (1_000, "1.0 s"), (61_440, "61.4 s")])
def test_a_duration_is_in_seconds_where_there_are_any(ms: int, text: str) -> None:
    assert shown(figures.duration(ms)) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (3 << 30, "3.0 GiB")])
def test_a_size_has_its_unit(size: int, text: str) -> None:
    assert shown(figures.size(size)) == text


def test_a_time_is_shown_in_the_zone_of_the_settings_and_names_the_instant() -> None:
    html = figures.moment("2026-02-01T23:30:15.5Z", ZoneInfo("Asia/Shanghai"))
    assert shown(html) == "2026-02-02 07:30:15"
    assert 'datetime="2026-02-01T23:30:15.5Z"' in html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>&</b>", "&lt;b&gt;&amp;&lt;/b&gt;"),
        ("a\u202eb", 'a<span class="control">U+202E</span>b'),
        ("a\x1b[31m", 'a<span class="control">U+001B</span>[31m'),
        ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a\u200bb", 'a<span class="control">U+200B</span>b'),
        ("👩\u200d💻", "👩\u200d💻"),
        ("a\u200db", 'a<span class="control">U+200D</span>b'),
        ("\ud800", '<span class="control">U+D800</span>'),
    ],
)
def test_text_of_a_log_can_neither_mark_up_nor_reorder_nor_hide(text: str, html: str) -> None:
    assert figures.text(text) == html
