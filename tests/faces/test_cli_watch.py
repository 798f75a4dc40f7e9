"""The live view in a real terminal: it grows, it fits, and it leaves the terminal as it was."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from monitor.samples import DEMO, Expected, Writer, lines
from tests.faces.place import Place
from tests.helpers import environment, run, wait_for
from tests.terminal import COMMAND, Terminal


def watching(place: Place, *more: str, columns: int = 80, rows: int = 24) -> Terminal:
    return Terminal(COMMAND, "watch", *place.arguments("--interval", "0.3", *more), columns=columns, lines=rows)


def tokens(place: Place) -> int:
    return place.expected.total.input_tokens + place.expected.total.output_tokens


def grow(place: Place) -> None:
    """The log gains what it lacked of the same sample."""
    place.expected = Expected()
    text = list(lines(DEMO, seed=3, limit=500, expected=place.expected))
    with Writer(place.log) as writer:
        for line in text[400:]:
            writer.write(line)


def test_it_shows_the_log_as_it_grows(place: Place) -> None:
    with watching(place) as terminal:
        screen = terminal.wait_for(f"{tokens(place):,} tokens")
        assert f"{place.expected.total.rounds} rounds" in screen
        assert "agent:main:" in screen
        assert "read to its end" in screen
        grow(place)
        terminal.wait_for(f"{tokens(place):,} tokens")
        # Lines are written over; a screen that is wiped first flickers.
        assert b"\x1b[2J" not in terminal.said.partition(b"tokens")[2]
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.is_restored()


def test_it_fits_any_size_and_follows_a_change(place: Place) -> None:
    with watching(place, columns=80, rows=24) as terminal:
        screen = terminal.wait_for("updated")
        assert "model" not in screen
        terminal.resize(140, 40)
        wide = terminal.wait_for("model")
        assert re.search(r"session +model +rounds", wide)
        assert all(len(line) <= 140 for line in wide.splitlines())
        terminal.resize(40, 10)

        def narrow() -> bool:
            shown = terminal.read()
            return "updated" not in shown and "agent:" in shown and "session-monitor" in shown

        wait_for("a narrow view", narrow)
        terminal.resize(100, 30)
        terminal.wait_for("updated")
        terminal.type("q")
        assert terminal.end() == 0


@pytest.mark.parametrize(("how", "code"), [("\x03", 130), ("q", 0), ("Q", 0)])
def test_every_way_out_leaves_the_terminal_as_it_was(place: Place, how: str, code: int) -> None:
    with watching(place) as terminal:
        terminal.wait_for("tokens/min")
        terminal.type(how)
        assert terminal.end() == code
        assert terminal.is_restored()
        assert "Traceback" not in terminal.read()


def test_a_signal_from_outside_leaves_the_terminal_as_it_was(place: Place) -> None:
    with watching(place) as terminal:
        terminal.wait_for("tokens/min")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.end()
        assert terminal.is_restored()


def test_a_budget_has_a_bar_and_its_line(place: Place) -> None:
    used = tokens(place)
    with watching(place, "--budget", str(2 * used)) as terminal:
        terminal.wait_for(f"Budget: {used} / {2 * used} (50.0%)")


def test_a_configured_budget_has_its_line_too(place: Place) -> None:
    config = place.folder / "session-monitor.toml"
    limit = 10 * tokens(place)
    config.write_text(f'timezone = "UTC"\n[[budgets]]\nname = "team"\ntokens = {limit}\nperiod = "session"\n')
    run("ingest", "--once", *place.arguments("--config", str(config)))
    out, _ = run("watch", "--count", "1", *place.arguments("--config", str(config)))
    state = json.loads(run("budget", "--json", *place.arguments("--config", str(config)))[0])
    for budget in state["budgets"][:3]:
        assert f"{budget['used']['tokens']} / {limit} (" in out


def test_the_view_of_a_key_counts_only_its_sessions(place: Place) -> None:
    right = [t for name, t in place.expected.sessions.items() if name is not None and name.startswith("agent:main:")]
    used = sum(t.input_tokens + t.output_tokens for t in right)
    key = ("--session-key", "agent:main:", "--budget", "1000000", "--count", "1")
    out, _ = run("watch", *place.arguments(*key))
    assert f"{len(right)} sessions  {sum(t.rounds for t in right)} rounds  {used:,} tokens" in out
    assert f"Budget: {used} / 1000000 ({used / 1000000:.1%})" in out


def test_without_a_terminal_there_is_a_line_whenever_something_changed(place: Place) -> None:
    first = f"{tokens(place):,} tokens"
    with (
        (place.folder / "out").open("wb") as out,
        subprocess.Popen(
            [COMMAND, "watch", *place.arguments("--interval", "0.2")],
            env={**environment(), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
        ) as process,
    ):

        def said() -> list[str]:
            return (place.folder / "out").read_text("utf-8").splitlines()

        wait_for("the first line", lambda: any(first in line for line in said()))
        grow(place)
        wait_for("a line of what was added", lambda: f"{tokens(place):,} tokens" in said()[-1])
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not any("\x1b" in line for line in said())
    # Nothing is said twice.
    assert len({line[24:] for line in said()}) == len(said())


def test_one_look_as_json(place: Place) -> None:
    out, _ = run("watch", "--json", "--count", "1", *place.arguments())
    (line,) = out.splitlines()
    seen = json.loads(line)
    assert seen["totals"]["rounds"] == place.expected.total.rounds
    assert seen["cache_hit_rate"] == round(place.expected.total.cached_tokens / place.expected.total.input_tokens, 4)


def test_standard_input_has_the_keys(place: Place) -> None:
    _, said = run("watch", "--data-dir", place.data, "--log-path", "-", code=2)
    assert "ingest --log-path -" in said
