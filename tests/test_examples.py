"""The example programs do what they say, with records that are known."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monitor import UsageMonitor
from tests.helpers import environment

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str | Path, cwd: Path) -> tuple[int, str]:
    """The exit code and output of an example."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        cwd=cwd,
        env={**environment(), "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Records of yesterday: 40 ordinary calls in one hour, 3 in another, one slow and one dear."""
    m = UsageMonitor(tmp_path / "records" / "ai_usage", timezone="UTC")
    day = (datetime.now(ZoneInfo("UTC")) - timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
    begin = day.timestamp()
    for number in range(40):
        m.record_usage(
            model="qwen-plus", function="live_analysis", input_tokens=1000 + number, output_tokens=500,
            duration_ms=900 + number, user_id="u", timestamp=begin + 60 * number, success=number != 7,
        )  # fmt: skip
    for number in range(3):
        m.record_usage(
            model="gpt-4o", function="summary", input_tokens=100, output_tokens=10, duration_ms=400,
            timestamp=begin + 5 * 3600 + number,
        )  # fmt: skip
    m.record_usage(
        model="qwen-plus", function="live_analysis", input_tokens=900_000, output_tokens=500, duration_ms=61_000,
        timestamp=begin + 3000,
    )  # fmt: skip
    m.close()
    return tmp_path


def test_every_example_is_described_and_run() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == {"cost_control.py", "model_comparison.py", "hourly_peak.py", "anomalies.py"}
    assert programs == set(re.findall(r"\[(\w+\.py)\]", (EXAMPLES / "README.md").read_text()))


def test_cost_control_stops_when_the_money_is_spent(tmp_path: Path) -> None:
    # A call costs 0.01 CNY by the usage list: 1000 tokens in at 0.004 and 500 out at 0.012 a thousand.
    code, out = run("cost_control.py", "--limit", "0.025", "--calls", "2", cwd=tmp_path)
    assert (code, out) == (0, "2 calls today, 3,000 tokens\n0.0200 of 0.025 CNY are spent\n")
    code, out = run("cost_control.py", "--limit", "0.025", "--calls", "5", cwd=tmp_path)
    assert (code, out) == (1, "call 2 was not made: 0.0300 of 0.025 CNY are spent today\n")


def test_model_comparison_shows_each_model_and_the_same_tokens_on_others(folder: Path) -> None:
    code, out = run("model_comparison.py", "--days", "2", "--others", "qwen-turbo", "never-heard-of", cwd=folder)
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    tokens = sum(1000 + n + 500 for n in range(40)) + 900_500
    assert rows["qwen-plus"][1:4] == ["41", "97.6%", f"{tokens:,}"]
    assert rows["gpt-4o"][1:4] == ["3", "100.0%", "330"]
    # 100 in at 0.035 and 10 out at 0.105 a thousand.
    assert rows["gpt-4o"][5:] == ["0.004550", "CNY"]
    assert rows["never-heard-of"][1:] == ["no", "price"]
    assert rows["qwen-turbo"][2] == "CNY"


def test_hourly_peak_names_the_busiest_hour(folder: Path) -> None:
    code, out = run("hourly_peak.py", "--days", "2", cwd=folder)
    assert code == 0
    assert "The peak is 09:00 to 09:59 with 41 of 44 calls." in out
    assert re.search(r"^14:00 +3 +###$", out, re.MULTILINE)
    assert len(re.findall(r"^\d\d:00", out, re.MULTILINE)) == 24


def test_anomalies_finds_the_dear_and_the_slow_call(folder: Path) -> None:
    code, out = run("anomalies.py", "--days", "2", cwd=folder)
    assert code == 1
    assert "dear" in out
    assert "slow: 61,000 ms: qwen-plus, live_analysis" in out


def test_without_records_the_examples_say_so(tmp_path: Path) -> None:
    assert run("model_comparison.py", cwd=tmp_path) == (0, "There are no records yet.\n")
    assert run("hourly_peak.py", cwd=tmp_path) == (0, "There are no records yet.\n")
    assert run("anomalies.py", cwd=tmp_path) == (0, "Nothing is unusual.\n")
