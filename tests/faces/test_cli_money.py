"""`budget` and `--strict-prices` at the prompt: figures, messages and exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.samples import DEMO, lines
from tests.helpers import run

#: This model has no price anywhere.
UNPRICED = "in-house-7b"
#: The same conversations whatever the hour, over within the next one: no nights and no pauses between them.
AWAKE = replace(DEMO, nights=False, pause=1, session_pause=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of an hour ago and a configuration."""
    folder = tmp_path_factory.mktemp("money")
    began = round((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000)
    log = folder / "access.log"
    records = b"".join(lines(replace(AWAKE, start=began), seed=6, limit=250))
    assert UNPRICED.encode() in records
    log.write_bytes(records)
    config = (
        'timezone = "UTC"\n'
        f'[[sources]]\npath = "{log}"\n'
        '[[budgets]]\nname = "ample"\nlimit = "1000"\ncurrency = "USD"\nperiod = "month"\n'
    )
    (folder / "ample.toml").write_text(config)
    small = '[[budgets]]\nname = "small"\ntokens = 1000\nperiod = "month"\nper = "consumer"\n'
    (folder / "small.toml").write_text(config + small)
    return folder


def asked(place: Path, settings: str, *arguments: str, code: int = 0) -> tuple[str, str]:
    return run(*arguments, "--config", place / f"{settings}.toml", "--data-dir", place / settings, code=code)


def test_a_budget_that_is_not_used_up_is_no_failure(place: Path) -> None:
    out, _ = asked(place, "ample", "budget")
    assert "ample" in out
    assert "$1,000.00" in out


def test_an_exceeded_budget_exits_with_1_and_is_shown_for_each_of_its_values(place: Path) -> None:
    out, _ = asked(place, "small", "budget", "--json", code=1)
    answer = json.loads(out)
    small = [b for b in answer["budgets"] if b["name"] == "small"]
    assert answer["exceeded"] == len(small) == len({b["value"] for b in small})
    consumers = json.loads(asked(place, "small", "stats-by", "consumer", "--json")[0])["rows"]
    assert {b["value"] for b in small} == {row["name"] for row in consumers if "name" in row}
    out, _ = asked(place, "small", "budget", code=1)
    assert "exceeded" in out


def test_without_budgets_it_says_how_to_make_one(tmp_path: Path) -> None:
    out, errors = run("budget", "--data-dir", tmp_path / "data", "--log-path", tmp_path / "none.log")
    assert out == ""
    assert "[[budgets]]" in errors


@pytest.mark.parametrize(
    "command", [("stats-model",), ("list",), ("stats-by", "route"), ("overview",), ("export", "-")]
)
def test_strict_prices_fail_on_any_round_without_one_and_name_its_model(place: Path, command: tuple[str, ...]) -> None:
    plain, _ = asked(place, "ample", *command)
    strict, errors = asked(place, "ample", *command, "--strict-prices", code=1)
    assert UNPRICED in errors
    assert "prices missing" in errors
    assert plain.count("\n") == strict.count("\n") > 3


def test_strict_prices_pass_where_everything_has_one(place: Path) -> None:
    asked(place, "ample", "stats-by", "host", "--strict-prices", code=1)
    asked(place, "ample", "list", "--model", "gpt-5.4-mini", "--limit", "1", "--strict-prices")
