"""Long work says how far it is: on standard error, as a bar on a terminal and as lines elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from monitor.faces.cli.progress import Lines
from tests.faces.place import Place
from tests.helpers import environment
from tests.terminal import Terminal

#: The command with a threshold that the sample log passes.
_COMMAND = """
import monitor.faces.cli.progress as progress
progress._WORTH_A_BAR = 1
from monitor.faces.cli.main import main
main()
"""


def test_a_first_reading_has_a_bar_on_a_terminal(place: Place) -> None:
    with Terminal(sys.executable, "-c", _COMMAND, "ingest", "--once", *place.arguments()) as terminal:
        assert terminal.end() == 0
        assert b"reading the log" in terminal.said
        assert "new rounds" in terminal.read()


def test_elsewhere_lines_say_it_and_standard_output_stays_clean(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, "stats-model", "--json", *place.arguments()],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["totals"]["rounds"] == place.expected.total.rounds
    size = place.log.stat().st_size
    assert f"reading the log: {size / 1e6:,.1f} MB to go" in done.stderr
    assert "\x1b" not in done.stderr


def test_lines_come_now_and_then_with_speed_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines("reading", 3_000_000_000, "bytes", clock=lambda: now[0])
    for second in range(1, 31):
        now[0] = float(second)
        lines.done(second * 50_000_000)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "reading: 3,000.0 MB to go",
        "reading: 500.0 MB of 3,000.0 MB (17%), 50.0 MB/s, 0:50 left",
        "reading: 1,000.0 MB of 3,000.0 MB (33%), 50.0 MB/s, 0:40 left",
        "reading: 1,500.0 MB of 3,000.0 MB (50%), 50.0 MB/s, 0:30 left",
    ]
