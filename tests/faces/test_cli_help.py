"""The help of every command has examples, and every example does what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from monitor.faces.cli.main import cli
from monitor.samples import DEMO, Expected, lines
from tests.helpers import environment
from tests.terminal import COMMAND

NAME = "session-monitor"
#: Examples that go on until they are stopped, or change the machine; what makes them end, or only look.
_ENDING = {
    "demo": ["--once"],
    "skill install": ["--dry-run"],
    "skill uninstall": ["--dry-run"],
    "service install": ["--dry-run"],
    "service uninstall": ["--dry-run"],
}
#: These end with another code than 0 where nothing is set up.
_CODES = {
    "service status": {0, 1, 3},
    "doctor": {0, 1},
    "token revoke": {3},
    "reset": {0, 3},
    "store init": {2},
    "store migrate": {2},
    "store copy": {2},
}
#: An example that fetches something finds nobody there, and says so.
_FETCHING = "session-monitor prices update"
_NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def commands(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from commands(command, f"{name} ")
            else:
                yield before + name, command


COMMANDS = dict(commands())


def examples(name: str) -> list[str]:
    return re.findall(rf"^ *({NAME} .*)$", COMMANDS[name].help or "", re.MULTILINE)


EXAMPLES = [(name, line) for name in COMMANDS for line in examples(name)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample log, and a state folder in which it has been read."""
    folder = tmp_path_factory.mktemp("made")
    with (folder / "access.log").open("wb") as file:
        file.writelines(lines(DEMO, seed=3, limit=400, expected=Expected()))
    usage = "records/ai_usage"
    called(folder, "record", "--model", "qwen-plus", "--input-tokens", "9", "--output-tokens", "1", "--dir", usage)
    done = called(folder, "ingest", "--once", "--log-path", "access.log", "--log-path", usage)
    assert done.returncode == 0, done.stderr
    return folder


def called(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder that is its home."""
    variables = {n: v for n, v in environment().items() if not n.startswith(("XDG_", "OPENCLAW_"))}
    return subprocess.run(
        [COMMAND, *words],
        cwd=folder,
        env={**variables, **_NO_NETWORK, "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    assert any(line.startswith(f"{NAME} {name}") for line in examples(name))


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_works(made: Path, tmp_path: Path, name: str, line: str) -> None:
    words = shlex.split(line)[1:]
    if name == "serve" and "--http" in words:
        with COMMANDS[name].make_context(name, words[1:]):
            return  # it serves until it is stopped; tests of the HTTP face run it
    folder = tmp_path / "home"
    shutil.copytree(made, folder)
    (folder / ".cursor").mkdir()
    if name == "backfill":
        (folder / ".openclaw" / "agents").mkdir(parents=True)
    # The log of an example is that of the test, and its folders are in the test's; a segment of lines is a log, too.
    words = ["access.log" if word == "/var/log/proxy/access.log" or word.endswith(".zst") else word for word in words]
    words = [f"{folder}{word}" if word.startswith("/backup") else word for word in words]
    done = called(folder, *words, *_ENDING.get(name, []))
    assert done.returncode in ({1} if line == _FETCHING else _CODES.get(name, {0})), done.stderr
    assert "Traceback" not in done.stderr
    # Only a server has nothing to say to a client that has gone.
    assert (done.stdout or done.stderr) or name == "serve"


_ASK_BASH = """
source "$1"
COMP_WORDS=(session-monitor sta)
COMP_CWORD=1
_session_monitor_completion session-monitor
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_commands(tmp_path: Path) -> None:
    (tmp_path / "completion").write_text(called(tmp_path, "completion", "bash").stdout)
    path = os.pathsep.join([str(Path(COMMAND).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", _ASK_BASH, "bash", tmp_path / "completion"],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {"stats-model", "stats-date", "stats-by"}


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "compdef"), ("fish", "complete --no-files --command")])
def test_other_shells_get_a_script_of_theirs(tmp_path: Path, shell: str, sign: str) -> None:
    assert sign in called(tmp_path, "completion", shell).stdout
