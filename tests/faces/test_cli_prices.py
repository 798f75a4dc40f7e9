"""`prices` at the prompt: one price with its story, all of the log, those that are missing, newer lists."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.prices.overlay import load
from tests.faces.place import Place
from tests.helpers import run
from tests.prices.published import as_file, published
from tests.prices.test_prices_updates import served


def price(data: Path, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("prices", "--data-dir", data, *words, "--json")[0])
    return answer


def test_a_price_names_its_source_and_a_missing_one_says_so(tmp_path: Path) -> None:
    known = price(tmp_path, "gpt-4o")
    assert (known["per_million"]["input"], known["currency"], known["list"]) == (2.5, "USD", "genai-prices")
    assert known["context_window"] == 128_000
    unknown = price(tmp_path, "my-own-model")
    assert unknown["status"] == "unpriced"
    assert "per_million" not in unknown


def test_a_price_tells_all_of_itself(tmp_path: Path) -> None:
    told = price(tmp_path, "GLM-4.6", "--host", "open.bigmodel.cn", "--at", "2026-11-20")
    assert (told["status"], told["rule"], told["provider"], told["host"]) == (
        "priced",
        "normalised",
        "zhipu",
        "open.bigmodel.cn",
    )
    assert told["tiers"] == [
        {"up_to_input": 31_999, "up_to_output": 199, "per_million": {"input": 2, "output": 8, "cached": 0.4}},
        {"up_to_input": 31_999, "per_million": {"input": 3, "output": 14, "cached": 0.6}},
        {"per_million": {"input": 4, "output": 16, "cached": 0.8}},
    ]
    assert "bigmodel.cn/pricing" in told["evidence"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", told["checked"])


def test_a_price_of_the_past_is_that_of_its_day(tmp_path: Path) -> None:
    before = price(tmp_path, "deepseek-chat", "--at", "2025-09-05T15:59:59Z")
    after = price(tmp_path, "deepseek-chat", "--at", "2025-09-05T16:00:00Z")
    assert (before["per_million"]["input"], before["until"]) == (0.27, "2025-09-05")
    assert (after["per_million"]["input"], after["effective"]) == (0.56, "2025-09-05")
    # Half of it from 16:30 to 00:30 UTC.
    assert before["hours"][0]["utc"] == "16:30-00:30"
    assert before["hours"][0]["per_million"]["input"] == 0.135
    assert "is no time" in run("prices", "gpt-4o", "--data-dir", tmp_path, "--at", "someday", code=2)[1]


def test_people_get_a_price_as_a_list_of_facts(tmp_path: Path) -> None:
    out, _ = run("prices", "Deepseek-Chat", "--data-dir", tmp_path, "--at", "2026-11-20T12:00:00Z")
    name, *facts = out.splitlines()
    assert name == "Deepseek-Chat"
    assert all(len(line) <= 120 for line in facts)
    assert "  price    USD input 0.15, output 0.6, cached 0.003 per million tokens" in facts
    assert any("at 01:00-04:00 UTC from Monday to Friday: input 0.3, output 1.2" in line for line in facts)
    assert any("deepseek: deepseek-chat (the name in another spelling" in line for line in facts)
    assert re.search(r"figures .*\(checked\s+\d{4}-\d\d-\d\d\)", " ".join(facts))
    assert "no list has one" in run("prices", "nobody", "--data-dir", tmp_path)[0]
    assert "price    nothing" in run("prices", "glm-4-flash", "--data-dir", tmp_path)[0]


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    out, _ = run("prices", "gpt\x1b[2J", "--data-dir", tmp_path)
    assert "\x1b" not in out


def test_all_models_of_the_log_are_shown_with_what_priced_them(place: Place) -> None:
    answer = json.loads(run("prices", *place.arguments("--json"))[0])
    rows = {row["model"]: row for row in answer["rows"]}
    assert len(rows) > 3
    # What its rounds were priced by is told where it is not what the name alone gives.
    for row in rows.values():
        assert row.get("source") not in row.get("applied", []) or len(row["applied"]) > 1
    table, _ = run("prices", *place.arguments())
    assert all(model in table for model in rows)


ODD_NAMES = ["in-house-7b", "In-House-7B", 'a"b\\\\c', "bell\x7f\x1b[2J", "smile 😀", "*", "x" * 300, "line\u2028"]


def test_the_beginning_of_an_overlay_loads_once_its_figures_are_filled_in(place: Place, tmp_path: Path) -> None:
    line = json.loads(place.log.read_bytes().splitlines()[0])
    with place.log.open("ab") as file:
        for number, name in enumerate(ODD_NAMES):
            said = json.loads(line["ai_log"])
            odd = {**line, "ai_log": json.dumps({**said, "model": name}), "request_id": f"odd-{number}"}
            file.write(json.dumps(odd).encode() + b"\n")
    missing = json.loads(run("prices", *place.arguments("missing", "--json"))[0])
    assert {name for name in ODD_NAMES if name != "x" * 300} <= {row["model"] for row in missing["rows"]}
    shown, _ = run("prices", *place.arguments("missing"))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", shown)
    overlay = tmp_path / "prices.toml"
    overlay.write_text(shown)
    assert load(overlay).rows == ()
    filled = re.sub(r"(?m)^# (\[\[price|match|currency|per|input|output|source)", r"\1", shown)
    overlay.write_text(filled.replace('"0.00"', '"1.25"'))
    rows = load(overlay).rows
    assert {name for row in rows for name in row.match} >= {"in-house-7b", "smile-😀", "bell\x7f\x1b[2j"}
    # And with it nothing is missing that a row can name.
    config = tmp_path / "s.toml"
    config.write_text('[prices]\noverlay = "prices.toml"\n')
    for name in ("in-house-7b", "smile 😀", 'a"b\\\\c'):
        assert price(place.data, name, "--config", str(config))["per_million"]["input"] == 1.25


def test_a_shipped_list_is_named_in_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text('[prices]\noverlay = ["usage-cny", "mine.toml"]\n')
    (tmp_path / "mine.toml").write_text(
        'schema = 1\n[[price]]\nmatch = ["qwen-max"]\ncurrency = "CNY"\nper = 1000\ninput = "1"\noutput = "2"\n'
    )
    assert price(tmp_path, "glm-4", "--config", str(config))["per_million"] == {"input": 100, "output": 100}
    assert price(tmp_path, "qwen-max", "--config", str(config))["per_million"] == {"input": 1000, "output": 2000}
    config.write_text('[prices]\noverlay = "usage-usd"\n')
    _, said = run("prices", "glm-4", "--config", config, "--data-dir", tmp_path, code=2)
    assert "no shipped price list" in said
    assert "Traceback" not in said


def test_a_mistake_in_a_price_file_is_told_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text('[prices]\noverlay = "mine.toml"\n')
    (tmp_path / "mine.toml").write_text('schema = 1\n[regions]\nqwen = "nowhere"\n')
    _, said = run("prices", "glm-4", "--config", config, "--data-dir", tmp_path, code=2)
    assert f"{tmp_path / 'mine.toml'}:3: `regions.qwen` must be one of alibaba-cn, alibaba-intl" in said


NEWER = as_file(published(gpt_4o=Decimal("7.125")))


def test_newer_lists_are_fetched_when_somebody_asks_and_gone_back_from(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(NEWER) as url:
        out, _ = run("prices", "update", "--url", url, "--data-dir", data)
    assert re.search(r"In use from now on: genai-prices \d{4}-\d\d-\d\d [0-9a-f]{8}, prices of [\d,]+ models", out)
    told = price(data, "gpt-4o")
    assert told["per_million"]["input"] == 7.125
    assert re.match(r"genai-prices \d{4}-\d\d-\d\d ", told["version"])
    assert "genai-prices 0." in run("prices", "update", "--remove", "--data-dir", data)[0]
    assert price(data, "gpt-4o")["per_million"]["input"] == 2.5
    assert "no update to remove" in run("prices", "update", "--remove", "--data-dir", data)[0]


def test_a_machine_without_a_network_takes_newer_lists_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_bytes(NEWER)
    answer = price(tmp_path / "data", "update", "--file", str(file))
    assert answer["origin"] == str(file)
    assert answer["models"] > 1000
    assert price(tmp_path / "data", "gpt-4o")["per_million"]["input"] == 7.125


@pytest.mark.parametrize("way", [["--url", "http://127.0.0.1:1/data.json"], ["--file", "/nowhere/data.json"]])
def test_an_update_that_fails_says_why_and_changes_nothing(tmp_path: Path, way: list[str]) -> None:
    out, said = run("prices", "update", *way, "--data-dir", tmp_path / "data", code=1)
    assert out == ""
    assert way[1] in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["gpt-4o", "--remove"], "--remove goes with `prices update`"),
        (["missing", "--file", "x"], "--file goes with `prices update`"),
        (["missing", "--host", "x"], "--host goes with `prices MODEL`"),
        (["update", "--at", "today"], "--at goes with `prices MODEL`"),
        (["update", "--remove", "--file", "x"], "give one of them"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, words: list[str], hint: str) -> None:
    assert hint in run("prices", *words, "--data-dir", tmp_path, code=2)[1]


def test_the_doctor_tells_of_prices_that_look_wrong(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text('[prices]\noverlay = "mine.toml"\n')
    (tmp_path / "mine.toml").write_text(
        'schema = 1\n[[price]]\nmatch = ["doubao-pro-32k"]\ncurrency = "CNY"\nper = 1000\ninput = "0.8"\n'
    )
    out, _ = run("doctor", *place.arguments("--config", str(config)), code=1)
    assert "mine.toml:2: doubao-pro-32k costs 800 CNY per million input tokens" in out
