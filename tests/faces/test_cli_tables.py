"""Tables as they are printed: they fit, numbers stay whole, colour and language are as asked, CSV is safe."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from monitor.faces.cli.main import cli
from monitor.prices.money import Cost
from monitor.rounds import Usage
from monitor.store.base import Batch
from monitor.store.sqlite import SqliteStore
from tests.answers.made import CNY, NOTHING, UNPRICED, made
from tests.helpers import environment
from tests.terminal import COMMAND, Terminal

SNAPSHOTS = Path(__file__).parent / "snapshots" / "tables"
DAY = 24 * 60
#: An id as wide as in Chinese, one that is folded, one that would steer a terminal, one that a spreadsheet would run.
IDS = (
    "会话：预订十一月去卑尔根的火车票",
    "agent:main:discord:channel:" + "1480012345678901234" * 3,
    "up\x1b[2J",
    "=1+1",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose every figure is written down here."""
    folder = tmp_path / "data"
    store = SqliteStore(folder, price_version="v1")
    million = Usage(1_234_567, 89_012, 7_000, 1_000_000, 500)
    rounds = [
        made(1, consumer="platform", usage=million, latency_ms=2500),
        made(2, Cost("priced", 1_234_567_890_123, "CNY", "list B"), consumer="platform", model="qwen3.5-plus"),
        made(3, CNY, session_id=IDS[0], consumer="旅行部", model="qwen3.5-plus", route="ai-route-1"),
        made(4 + DAY, session_id=IDS[1], consumer="research", function="compaction"),
        made(5 + DAY, NOTHING, session_id=IDS[1], consumer="research", usage=Usage(), success=False, status=503),
        made(6 + DAY, UNPRICED, session_id=IDS[2], model="in-house-7b"),
        made(7 + DAY, Cost("priced", 3, "USD", "list A"), session_id=IDS[3], consumer="@SUM(A1:A9)"),
        made(8 + DAY, CNY, session_id=None, session_source=None, consumer="platform"),
    ]
    store.add(Batch(rounds=rounds))
    store.close()
    return folder


def ran(data: Path, *words: str, code: int = 0, **variables: str) -> str:
    """What the installed command prints for these figures."""
    names = ("COLUMNS", "LINES", "LANG", "LC_ALL", "LC_MESSAGES", "NO_COLOR", "FORCE_COLOR", "TERM")
    clean = {name: value for name, value in environment().items() if name not in names}
    done = subprocess.run(
        [COMMAND, words[0], "--data-dir", str(data), *words[1:]],
        env={**clean, "SESSION_MONITOR_TIMEZONE": "UTC", "PYTHONUTF8": "1", **variables},
        cwd=data.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


TABLES = {
    "list": ("list",),
    "stats-model": ("stats-model",),
    "stats-date": ("stats-date", "--timezone", "Asia/Shanghai"),
    "stats-by-consumer": ("stats-by", "consumer"),
    "stats-by-session": ("stats-by", "session"),
    "show": ("show", "agent:main:main", "--no-content"),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", TABLES)
def test_tables_look_as_they_did(data: Path, name: str, width: int, language: str) -> None:
    said = ran(data, *TABLES[name], "--lang", language, COLUMNS=str(width))
    text = "".join(f"{line.rstrip()}\n" for line in said.splitlines())
    snapshot = SNAPSHOTS / f"{name}.{width}.{language}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS") == "write":
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        snapshot.write_text(text, "utf-8")
    assert text == snapshot.read_text("utf-8")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("words", [w for n, w in TABLES.items() if n != "show"], ids=" ".join)
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(
    data: Path, words: tuple[str, ...], language: str
) -> None:
    for width in (20, 45, 60, 80, 100, 140, 200):
        done = CliRunner().invoke(
            cli, [words[0], "--data-dir", str(data), *words[1:], "--lang", language], env={"COLUMNS": str(width)}
        )
        text = done.stdout
        if not text.startswith("-"):  # one value a line is what a terminal gets that is too narrow for any table
            assert max(map(cell_len, text.splitlines())) <= width
        else:
            assert width < 45
        # The largest sums there are: all tokens, and the money of the dearest round.
        assert "1,234.587890" in text or "1,234.567890" in text


def test_columns_of_numbers_end_in_one_place(data: Path) -> None:
    lines = ran(data, "stats-by", "consumer", "--lang", "zh", COLUMNS="140").splitlines()
    cost = [line for line in lines if re.search(r"(CNY|USD) [\d,.]+", line)]
    ends = set()
    for line in cost:
        found = re.search(r"(CNY|USD) [\d,.]+", line)
        assert found is not None
        if len(found[0].partition(".")[2]) == 6:
            ends.add(cell_len(line[: found.end()]))
    assert len(ends) == 1


def test_the_last_line_has_the_totals(data: Path) -> None:
    totals = json.loads(ran(data, "stats-model", "--json"))["totals"]
    lines = ran(data, "stats-model", COLUMNS="200").splitlines()
    last = next(line for line in lines if line.startswith("total"))
    for name in ("rounds", "input_tokens", "output_tokens"):
        assert f" {totals[name]:,} " in last


@pytest.mark.parametrize(
    ("variables", "options", "colour"),
    [
        ({}, (), True),
        ({"NO_COLOR": "1"}, (), False),
        ({}, ("--no-color",), False),
        ({"FORCE_COLOR": "1"}, ("--no-color",), False),
    ],
)
def test_colour_on_a_terminal_can_be_turned_off(
    data: Path, variables: dict[str, str], options: tuple[str, ...], colour: bool
) -> None:
    with Terminal(COMMAND, "show", IDS[1], "--data-dir", data, *options, variables=variables) as terminal:
        assert terminal.end() == 0
        assert "503" in terminal.read()
        assert (b"\x1b[31m" in terminal.said) == colour


def test_colour_in_a_pipe_is_there_only_when_forced(data: Path) -> None:
    assert "\x1b" not in ran(data, "show", IDS[1])
    assert "\x1b[31m" in ran(data, "show", IDS[1], FORCE_COLOR="1")
    assert "\x1b" not in ran(data, "list")


def test_the_language_is_that_of_the_option_else_of_the_environment(data: Path) -> None:
    assert "会话" in ran(data, "list", "--lang", "zh").splitlines()[0]
    assert "会话" in ran(data, "list", LANG="zh_CN.UTF-8").splitlines()[0]
    assert "session" in ran(data, "list", "--lang", "en", LANG="zh_CN.UTF-8").splitlines()[0]
    assert "session" in ran(data, "list", LANG="zh_CN.UTF-8", SESSION_MONITOR_LANG="en").splitlines()[0]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_what_json_holds(data: Path) -> None:
    sheet = rows(ran(data, "stats-model", "--csv"))
    answer = json.loads(ran(data, "stats-model", "--json"), parse_float=Decimal)
    assert [row["model"] for row in sheet] == [row["model"] for row in answer["rows"]]
    for line, row in zip(sheet, answer["rows"], strict=True):
        assert int(line["rounds"]) == row["rounds"]
        assert line["input_tokens"] == str(row.get("input_tokens", ""))
        for currency in ("CNY", "USD"):
            amount: Any = row.get("cost", {}).get(currency)
            assert line[f"cost_{currency}"] == "" if amount is None else Decimal(line[f"cost_{currency}"]) == amount


def test_nothing_in_csv_is_run_by_a_spreadsheet_or_steers_a_terminal(data: Path) -> None:
    for words in (("list", "--csv"), ("stats-by", "consumer", "--csv"), ("stats-by", "session", "--csv")):
        text = ran(data, *words)
        assert "\x1b" not in text
        for row in rows(text):
            assert not any(value.startswith(("=", "+", "@")) for value in row.values()), row
    assert "'=1+1" in ran(data, "list", "--csv")
    ran(data, "export", "report.csv")
    report = (data.parent / "report.csv").read_text(encoding="utf-8")
    assert "\x1b" not in report
    assert "'=1+1" in report


def test_a_name_with_line_breaks_makes_up_no_further_rows(data: Path) -> None:
    store = SqliteStore(data, price_version="v1")
    forged = "x\nforged  gpt-5.4\u2028forged"
    store.add(Batch(rounds=[made(9, session_id=forged, consumer="a\nforged", model="c\nforged")]))
    store.close()
    asked: tuple[tuple[str, ...], ...] = (("list",), ("stats-model",), ("stats-by", "consumer"), ("show", "x\nforged"))
    for words in asked:
        text = ran(data, *words, COLUMNS="200")
        assert "forged" in text
        assert not any(line.lstrip().startswith("forged") for line in text.splitlines()), (words, text)
