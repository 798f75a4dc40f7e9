"""`export`: reports whose figures are those of the log, as JSON, CSV and HTML."""

from __future__ import annotations

import csv
import json
import re
import stat
from collections.abc import Sequence
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from monitor.samples import Totals
from monitor.store.base import Batch
from monitor.store.sqlite import SqliteStore
from tests.answers.made import CNY, made
from tests.faces.place import Place
from tests.helpers import run

COUNTS = ("rounds", "input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens")
HOSTILE = "<script>alert(1)</script><b>\"'&"


def exported(place: Place, name: str, *words: str) -> str:
    path = place.folder / name
    run("export", *place.arguments(str(path), *words))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path.read_text("utf-8")


def right(totals: Totals) -> dict[str, int]:
    return {name: getattr(totals, name) for name in COUNTS}


def told(row: dict[str, Any]) -> dict[str, int]:
    return {name: int(row.get(name) or 0) for name in COUNTS}


def test_the_json_report_has_the_figures_of_the_log(place: Place) -> None:
    report = json.loads(exported(place, "report.json"))
    expected = place.expected
    assert told(report["totals"]) == right(expected.total)
    assert report["totals"]["failed_rounds"] == report["failures"]["rounds"] == expected.total.failed
    assert {row["model"]: told(row) for row in report["by_model"]} == {
        model or "(no model)": right(totals) for model, totals in expected.models.items()
    }
    hours: dict[int, int] = {}
    for (_, _, quarter), totals in expected.cells.items():
        hour = quarter // 3_600_000 % 24
        hours[hour] = hours.get(hour, 0) + totals.rounds
    exported(place, "utc.json", "--timezone", "UTC")
    utc = json.loads((place.folder / "utc.json").read_text())
    assert {row["hour"]: row["rounds"] for row in utc["by_hour"]} == hours
    by_host: dict[str, int] = {}
    for (_, host, _), totals in expected.cells.items():
        by_host[host] = by_host.get(host, 0) + totals.rounds
    assert {row.get("name", "-"): row["rounds"] for row in report["by_host"]} == by_host
    for name, row in {row["name"]: row for row in report["by_session"]}.items():
        if name in expected.sessions and name not in expected.headerless:
            assert told(row) == right(expected.sessions[name])


def test_the_csv_report_has_the_same_figures_in_one_tidy_table(place: Place) -> None:
    report = json.loads(exported(place, "report.json"), parse_float=Decimal)
    rows = list(csv.DictReader(exported(place, "report.csv").splitlines()))
    sections: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        sections.setdefault(row["section"], []).append(row)
    (total,) = sections["totals"]
    assert told(total) == right(place.expected.total)
    for name in ("by_model", "by_date", "by_consumer", "by_route", "by_agent", "by_host", "by_source", "by_session"):
        assert [told(row) for row in sections[name]] == [told(row) for row in report[name]], name
        for line, row in zip(sections[name], report[name], strict=True):
            for currency in ("CNY", "USD"):
                amount = row.get("cost", {}).get(currency)
                said = line[f"cost_{currency}"]
                assert (Decimal(said) if said else None) == (None if amount is None else Decimal(amount))
    assert [row["name"] for row in sections["by_model"]] == [row["model"] for row in report["by_model"]]
    facts = {row["name"]: row["value"] for row in sections["about"]}
    assert facts["schema_version"] == "1"


class Page(HTMLParser):
    """The tags of a page, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_the_html_report_stands_alone_and_has_the_figures(place: Place) -> None:
    text = exported(place, "report.html")
    page = Page(text)
    assert page.links == []
    assert "script" not in page.tags
    assert "@import" not in text
    assert "url(" not in text
    assert page.tags.count("svg") == 2 + len(json.loads(exported(place, "r.json"))["totals"]["cost"])
    total = place.expected.total
    assert f"{total.input_tokens + total.output_tokens:,}" in page.texts
    assert f"{total.rounds:,}" in page.texts
    for model in place.expected.models:
        assert (model or "(no model)") in page.texts
    assert "用量报告" in exported(place, "zh.html", "--lang", "zh")


def test_what_a_log_says_is_text_in_html_and_csv(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data", price_version="v1")
    rounds = [made(1, session_id=HOSTILE, model=HOSTILE, consumer="=cmd|' /C calc'!A0"), made(2, CNY, consumer=HOSTILE)]
    store.add(Batch(rounds=rounds))
    store.close()
    for name in ("r.html", "r.csv"):
        run("export", "--data-dir", tmp_path / "data", tmp_path / name)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "<script" not in text
    assert HOSTILE in Page(text).texts
    for row in csv.reader((tmp_path / "r.csv").read_text("utf-8").splitlines()):
        assert not any(cell.startswith(("=", "+", "@")) for cell in row)


def test_a_folder_gets_a_file_named_after_the_time(place: Place) -> None:
    (place.folder / "reports").mkdir()
    _, said = run("export", *place.arguments(str(place.folder / "reports"), "--format", "html"))
    (path,) = (place.folder / "reports").iterdir()
    assert re.fullmatch(r"usage_report_\d{8}_\d{6}\.html", path.name)
    assert str(path) in said


def test_standard_output_gets_the_report_and_nothing_else(place: Place) -> None:
    out, _ = run("export", "-", *place.arguments())
    assert told(json.loads(out)["totals"]) == right(place.expected.total)
    out, _ = run("export", "-", "--format", "csv", *place.arguments())
    assert out.startswith("section,name,value,")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("report.pdf",), ".html"),
        ((), "--sessions"),
        (("no/such/folder/report.json",), "no/such/folder"),
        (("report.json", "--since", "someday"), "2026-02-01"),
    ],
)
def test_what_cannot_be_written_is_said(place: Place, words: tuple[str, ...], hint: str) -> None:
    paths = [str(place.folder / word) if "." in word else word for word in words]
    out, said = run("export", *place.arguments(*paths), code=2)
    assert hint in said
    assert out == ""
    assert not (place.folder / "report.json").exists()


def test_days_count_from_local_midnight(place: Place) -> None:
    report = json.loads(exported(place, "r.json", "--days", "7", "--timezone", "Asia/Kathmandu"))
    assert report["since"].endswith("T18:15:00Z")
    assert report["before"]["until"] <= report["since"]
