"""`record` writes one usage record and `reset` takes a day of them back out."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.helpers import run

NOON = 1764158400.0  # 2025-11-26T12:00Z


def total(data: Path, *more: str | Path) -> int:
    """How many rounds are counted."""
    rows = json.loads(run("stats-model", "--json", "--data-dir", data, *more)[0]).get("rows", [])
    return sum(int(row["rounds"]) for row in rows)


def test_a_record_is_written_printed_and_counted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    out, err = run(
        "record", "--model", "qwen-plus", "--input-tokens", "1000", "--output-tokens", "500", "--function",
        "live_analysis", "--user-id", "u", "--session-id", "s", "--duration-ms", "12.5", "--response-id", "r", "--json",
        "--data-dir", data,
    )  # fmt: skip
    record = json.loads(out)
    assert err == ""
    assert {**record, "id": "", "timestamp": 0} == {
        "id": "", "timestamp": 0, "model": "qwen-plus", "input_tokens": 1000, "output_tokens": 500,
        "total_tokens": 1500, "function": "live_analysis", "user_id": "u", "session_id": "s", "duration_ms": 12.5,
        "response_id": "r", "success": True, "cost": 0.01, "currency": "CNY",
    }  # fmt: skip
    out, _ = run("record", "--model", "glm-9", "--failed", "--cost", "2", "--currency", "USD", "--data-dir", data)
    assert "glm-9, 2.0 USD" in out
    rows = {r["model"]: r for r in json.loads(run("stats-model", "--json", "--data-dir", data)[0])["rows"]}
    assert (rows["qwen-plus"]["rounds"], rows["qwen-plus"]["cost"]) == (1, {"CNY": 0.01})
    assert (rows["glm-9"]["cost"], rows["glm-9"]["success_rate"]) == ({"USD": 2.0}, 0.0)
    session = json.loads(run("show", "s", "--json", "--data-dir", data)[0])
    assert session["total_tokens"] == 1500


def test_a_record_goes_into_the_folder_that_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    out, _ = run("record", "--model", "m", "--timestamp", str(NOON), "--dir", folder, "--data-dir", tmp_path / "data")
    (path,) = folder.iterdir()
    assert str(path) in out
    assert json.loads(path.read_text())["timestamp"] == NOON
    assert total(tmp_path / "data", "--log-path", folder) == 1


def test_a_record_that_is_not_right_is_refused(tmp_path: Path) -> None:
    _, err = run("record", "--model", "m", "--input-tokens", "-5", "--data-dir", tmp_path, code=2)
    assert err == "session-monitor: input_tokens is -5: use a whole number, 0 or more\n"
    (tmp_path / "file").write_text("")
    _, err = run("record", "--model", "m", "--dir", tmp_path / "file" / "below", code=1)
    assert "can't be written" in err
    run("record", code=2)


def test_a_day_goes_and_comes_back_with_its_file(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "records"
    days = {str(NOON): 2, str(NOON - 86400): 1}
    for at, times in days.items():
        for _ in range(times):
            run("record", "--model", "m", "--timestamp", at, "--dir", folder, "--data-dir", data)
    assert total(data, "--log-path", folder) == 3
    (day,) = (path for path in folder.iterdir() if len(path.read_text().splitlines()) == 2)
    name = day.name.removesuffix(".jsonl")
    out, _ = run("reset", name, "--json", "--data-dir", data)
    aside = folder / f"{day.name}.reset"
    assert json.loads(out) == {
        "day": name,
        "sources": [{"source": str(folder), "rounds": 2, "aside": [str(aside)]}],
    }
    assert total(data) == 1
    _, err = run("reset", name, "--data-dir", data, code=3)
    assert err == f"session-monitor: there are no usage records of {name}\n"
    aside.rename(day)
    assert total(data) == 3
    # A second reset of the day takes another name.
    aside.write_text("")
    assert "2 records" in run("reset", name, "--data-dir", data)[0]
    assert (folder / f"{day.name}.reset-2").exists()
    assert total(data) == 1


def test_a_day_of_a_file_of_another_program_is_never_counted_again(tmp_path: Path) -> None:
    log = tmp_path / "token-usage.jsonl"
    lines = [json.dumps({"ts": NOON + hours * 3600, "model": "m", "in": 5}) + "\n" for hours in (-13, -11, 0, 11, 13)]
    log.write_text("".join(lines))
    config = tmp_path / "session-monitor.toml"
    config.write_text(
        f'timezone = "UTC"\ndata_dir = "{tmp_path / "data"}"\n[[sources]]\nkind = "usage"\npath = "{log}"\n'
        'fields = { timestamp = "ts", input_tokens = "in" }\n'
    )
    assert total(tmp_path / "data", "--config", config) == 5
    out, _ = run("reset", "2025-11-26", "--config", config)
    assert "3 records of 2025-11-26" in out
    assert log.read_text() == "".join(lines)
    assert total(tmp_path / "data", "--config", config) == 2
    # Neither rotated, nor copied, nor read anew.
    log.rename(tmp_path / "token-usage.jsonl.1")
    log.write_text("".join(lines))
    assert total(tmp_path / "data", "--config", config) == 2
    log.write_text("".join(lines) + json.dumps({"ts": NOON, "model": "m", "in": 6}) + "\n")
    assert total(tmp_path / "data", "--config", config) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["soon"], 2, "is no day"),
        (["2025-11-26"], 3, "no usage log is followed"),
        (["today"], 3, "no usage log is followed"),
    ],
)
def test_what_cannot_be_reset_is_told(tmp_path: Path, arguments: list[str], code: int, what: str) -> None:
    _, err = run("reset", *arguments, "--data-dir", tmp_path / "data", code=code)
    assert what in err


def test_only_the_named_source_is_reset(tmp_path: Path) -> None:
    data = tmp_path / "data"
    at = str(NOON)
    config = tmp_path / "session-monitor.toml"
    config.write_text("".join(f'[[sources]]\nkind = "usage"\npath = "{name}"\n' for name in ("one", "two")))
    for name in ("one", "two"):
        run("record", "--model", "m", "--timestamp", at, "--dir", tmp_path / name, "--config", config)
    assert total(data, "--config", config) == 2
    day = next((tmp_path / "one").iterdir()).name.removesuffix(".jsonl")
    _, err = run("reset", day, "--source", tmp_path / "three", "--data-dir", data, "--config", config, code=3)
    assert str(tmp_path / "one") in err
    run("reset", day, "--source", tmp_path / "one", "--data-dir", data, "--config", config)
    assert total(data, "--config", config) == 1


def test_today_is_the_day_of_the_zone(tmp_path: Path) -> None:
    config = tmp_path / "session-monitor.toml"
    config.write_text('timezone = "Pacific/Kiritimati"\n')
    data = tmp_path / "data"
    run("record", "--model", "m", "--data-dir", data, "--config", config)
    (path,) = (data / "usage").iterdir()
    assert path.name == f"{datetime.now(ZoneInfo('Pacific/Kiritimati')).date()}.jsonl"
    run("reset", "today", "--data-dir", data, "--config", config)
    assert total(data, "--config", config) == 0
