"""`skill` and `service` at the prompt: shown first, asked for, done once, undone whole."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from monitor.faces.cli.main import main
from monitor.setup import skill_files
from monitor.setup.json_syntax import Dialect
from monitor.setup.json_text import value_at
from tests.faces.place import Place
from tests.helpers import run

FIXTURES = Path(__file__).parents[1] / "setup" / "fixtures"
LOG = ("--log-path", "/var/log/proxy/access log.log")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home of user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in list(os.environ):
        if name.startswith(("XDG_", "OPENCLAW_", "SESSION_MONITOR_", "CLAUDE_")):
            monkeypatch.delenv(name)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(path: Path, fixture: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((FIXTURES / fixture).read_bytes())
    return path


@pytest.fixture
def cursor(home: Path) -> Path:
    return put(home / ".cursor" / "mcp.json", "cursor.before.json")


@pytest.fixture
def openclaw(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured OpenClaw; the skill is a small one, so that what it says does not matter here."""
    skill = {
        str(path.relative_to(FIXTURES / "skill")): path.read_bytes()
        for path in (FIXTURES / "skill").rglob("*")
        if path.is_file()
    }
    monkeypatch.setattr(skill_files, "packaged", lambda: skill)
    return put(home / ".openclaw" / "openclaw.json", "openclaw.before.json5")


def here(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    """Run the command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    assert ended.value.code == code, said.err
    return said.out, said.err


def test_a_dry_run_shows_the_change_and_makes_none(home: Path, cursor: Path) -> None:
    before = files(home)
    out, said = run("skill", "install", "--dry-run", *LOG)
    assert f"--- {cursor}\n+++ {cursor}\n" in out
    assert '"/var/log/proxy/access log.log"' in out
    assert "Nothing was changed" in said
    assert files(home) == before


def test_nobody_to_ask_means_nothing_is_done(home: Path, cursor: Path) -> None:
    before = files(home)
    for command in ("install", "uninstall"):
        if command == "uninstall":
            run("skill", "install", "--yes")
            before = files(home)
        _, said = run("skill", command, code=2)
        assert "--yes" in said
        assert files(home) == before


def test_on_a_terminal_it_asks(home: Path, cursor: Path) -> None:
    def answer(word: bytes) -> int:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", "from monitor.faces.cli.main import main; main()", "skill", "install"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            os.write(ours, word)
            _, said = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert b"Make these changes?" in said
        return process.returncode

    before = files(home)
    assert answer(b"n\n") == 0
    assert files(home) == before
    assert answer(b"y\n") == 0
    assert "session-monitor" in cursor.read_text()


def test_a_second_time_says_that_it_is_done(home: Path, cursor: Path) -> None:
    run("skill", "install", "--yes", *LOG)
    after = files(home)
    out, said = run("skill", "install", *LOG)
    assert out == ""
    assert "already set up" in said
    assert files(home) == after


def test_openclaw_gets_entry_and_skill_and_gives_both_back(
    home: Path, openclaw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(home)
    out, said = here(capsys, "skill", "install", "--yes", *LOG)
    entry = value_at(openclaw.read_text(), ("mcp", "servers", "session-monitor"), Dialect.JSON5)
    assert entry["args"] == ["serve", "--text-only", *LOG]
    assert Path(entry["command"]).is_absolute()
    skill = home / ".openclaw" / "skills" / "session-monitor"
    assert (skill / "SKILL.md").read_bytes() == (FIXTURES / "skill" / "SKILL.md").read_bytes()
    assert (skill / "references" / "fields.md").is_file()
    model = value_at(openclaw.read_text(), ("models", "providers", "higress", "models", 0), Dialect.JSON5)
    assert model["compat"] == {"sendSessionAffinityHeaders": True}
    assert "session_id_header: x-session-affinity" in said
    assert "/data/wasmplugins/ai-statistics-1.0.0.yaml" in said
    assert f"--log-path {home / '.openclaw'}" in said
    assert out.startswith(f"--- {openclaw}\n")
    again, said = here(capsys, "skill", "install", *LOG)
    assert again == ""
    assert "already set up" in said
    here(capsys, "skill", "uninstall", "--yes")
    assert files(home) == before
    _, said = here(capsys, "skill", "uninstall")
    assert "nothing of ours" in said


def test_openclaw_can_name_sessions_by_our_plugin(
    home: Path, openclaw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(home)
    words = ("--client", "openclaw", "--naming", "plugin", "--provider", "higress")
    _, said = here(capsys, "skill", "install", "--dry-run", *words)
    plugin = home / ".openclaw" / "extensions" / "session-monitor"
    assert f"new: {plugin / 'index.js'}" in said
    assert files(home) == before
    _, said = here(capsys, "skill", "install", "--yes", *words)
    assert "x-openclaw-session-key" in said
    assert (plugin / "openclaw.plugin.json").is_file()
    _, said = here(capsys, "skill", "install", "--yes", "--naming", "affinity")
    assert "remembered in:" in said
    assert not plugin.exists()
    _, said = here(capsys, "skill", "install", "--yes", "--naming", "none", "--http", "http://127.0.0.1:8888")
    assert "session_id_header" in said  # what was set before goes on
    here(capsys, "skill", "uninstall", "--yes")
    assert {name: data for name, data in files(home).items() if "backup" not in name} == before


def test_openclaw_without_a_higress_is_told_what_is_missing(
    home: Path, openclaw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openclaw.write_text("{models: {providers: {gw: {baseUrl: 'http://10.0.0.5/v1', models: [{id: 'm'}]}}}}")
    _, said = here(capsys, "skill", "install", "--yes")
    assert "name it with --provider. There are: gw (http://10.0.0.5/v1)" in said
    assert "This command has set nothing for that" in said


def test_openclaws_own_variables_decide_where_its_files_are(
    home: Path, openclaw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = put(tmp_path / "claw" / "main.json5", "openclaw.before.json5")
    monkeypatch.setenv("OPENCLAW_CONFIG_PATH", str(moved))
    monkeypatch.setenv("OPENCLAW_STATE_DIR", str(tmp_path / "claw"))
    here(capsys, "skill", "install", "--yes", "--client", "openclaw")
    assert "session-monitor" in moved.read_text()
    assert (tmp_path / "claw" / "skills" / "session-monitor" / "SKILL.md").is_file()
    assert "session-monitor" not in openclaw.read_text()


def test_all_clients_that_are_found_are_listed_and_set_up(
    home: Path, openclaw: Path, cursor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vscode = put(home / ".config" / "Code" / "User" / "mcp.json", "vscode.before.json")
    _, said = here(capsys, "skill", "install", "--yes", "--http", "http://127.0.0.1:8888")
    for path in (openclaw, cursor, vscode):
        assert f"{path}\n" in said
        assert "http://127.0.0.1:8888/mcp" in path.read_text()
    assert "claude" not in said


def test_one_broken_file_stops_it_before_anything_is_written(
    home: Path, openclaw: Path, cursor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cursor.write_text('{"mcpServers": {"a": }}')
    before = files(home)
    _, said = here(capsys, "skill", "install", "--yes", code=2)
    assert f"{cursor}:1:22: expected a value, found }}" in said
    assert files(home) == before


def test_claude_desktop_has_no_address_to_give(home: Path) -> None:
    desktop = put(home / ".config" / "Claude" / "claude_desktop_config.json", "claude-desktop.before.json")
    if sys.platform != "linux":
        return  # it lies elsewhere there, see the tests of machines
    before = files(home)
    _, said = run("skill", "install", "--yes", "--client", "claude-desktop", "--http", "http://127.0.0.1:8888", code=2)
    assert "leave --http out" in said
    _, said = run("skill", "install", "--yes", "--http", "http://127.0.0.1:8888/mcp")
    assert "Claude Desktop is left out" in said
    assert files(home) == before
    run("skill", "install", "--yes")
    assert "session-monitor" in desktop.read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 3, "--client"),
        (("--client", "emacs"), 2, "claude-code"),
        (("--client", "cursor", "--http", "localhost:8888"), 2, "http://127.0.0.1:8888/mcp"),
        (("--client", "cursor", "--http", "http://h/mcp", *LOG), 2, "leave them out"),
        (("--client", "cursor", "--log-path", "-"), 2, "standard input"),
        (("--client", "cursor", "--config", "/nowhere.toml"), 2, "/nowhere.toml"),
        (("--client", "cursor", "--naming", "plugin"), 2, "--client openclaw"),
        (("--client", "openclaw", "--provider", "higress"), 2, "has no such entry"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(home: Path, words: tuple[str, ...], code: int, said: str) -> None:
    out, errors = run("skill", "install", "--yes", *words, code=code)
    assert said in errors
    assert "Traceback" not in errors
    assert out == ""
    assert files(home) == {}


def test_the_written_entry_starts_a_server_that_answers(place: Place, home: Path, cursor: Path) -> None:
    run("skill", "install", "--yes", *place.arguments())
    entry = json.loads(cursor.read_text())["mcpServers"]["session-monitor"]
    bare = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    server = StdioServerParameters(command=entry["command"], args=[*entry["args"], "--no-web"], env=bare, cwd="/")

    async def ask() -> int:
        async with Client(server) as client:
            answer = await client.call_tool("get_session", {"session_id": "agent:main:main"})
            assert answer.structured_content is not None
            return int(answer.structured_content["messages_count"])

    assert anyio.run(ask) == place.expected.sessions["agent:main:main"].rounds


# -- service ------------------------------------------------------------------------------------------

linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
UNIT = Path(".config/systemd/user/session-monitor.service")


@linux
def test_the_service_is_shown_written_and_taken_away(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "access log.log"
    log.touch()
    out, said = run("service", "install", "--dry-run", "--log-path", log)
    assert f'--log-path "{log}"' in out
    assert files(home) == {}
    shown, said = run("service", "install", "--log-path", log, "--http", "9999")
    assert (home / UNIT).read_text() == shown
    assert "serve --http 9999 --log-path" in shown
    assert "systemctl --user enable --now session-monitor" in said
    assert "loginctl enable-linger" in said
    data = home / ".local" / "state" / "agent-session-monitor"
    assert data.stat().st_mode & 0o777 == 0o700
    _, said = run("service", "install", "--log-path", log, "--http", "9999")
    assert "already there" in said
    _, said = run("service", "uninstall")
    assert "systemctl --user stop session-monitor" in said
    assert files(home) == {}
    assert data.is_dir()


@linux
def test_a_unit_of_somebody_else_is_left_alone(home: Path) -> None:
    unit = home / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    for command in ("install", "uninstall"):
        _, said = run("service", command, code=2)
        assert "not written by this program" in said
    assert unit.read_text() == "[Service]\nExecStart=/bin/true\n"


@linux
def test_now_runs_the_commands_and_status_asks(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for systemctl and loginctl that note how they are called."""
    called = tmp_path / "called"
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("systemctl", "loginctl"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*" >> {called}\n[ "$2" != is-active ] || [ -e {tmp_path}/up ]\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    run("service", "status", code=3)
    run("service", "install", "--now")
    done = [line for line in called.read_text().splitlines() if "show-environment" not in line]
    assert done[:2] == ["systemctl --user daemon-reload", "systemctl --user enable --now session-monitor"]
    assert done[2].startswith("loginctl enable-linger ")
    run("service", "status", code=1)
    (tmp_path / "up").touch()
    out, _ = run("service", "status", "--json")
    assert json.loads(out) == {"path": str(home / UNIT), "installed": True, "running": True}
    run("service", "install", "--now", "--http", "9000")
    assert called.read_text().splitlines()[-1] == "systemctl --user restart session-monitor"
    wants = home / UNIT.parent / "default.target.wants"
    wants.mkdir()
    (wants / UNIT.name).symlink_to(home / UNIT)
    run("service", "uninstall", "--now")
    assert "systemctl --user disable --now session-monitor" in called.read_text()
    assert called.read_text().splitlines()[-1] == "systemctl --user daemon-reload"
    assert os.listdir(wants) == []


@linux
@pytest.mark.parametrize("address", ["", "port", "1:2:x", "0", "70000", "a b:80"])
def test_an_address_that_is_none_is_refused(home: Path, address: str) -> None:
    _, said = run("service", "install", "--http", address, code=2)
    assert "127.0.0.1:8888" in said
    assert files(home) == {}


@linux
def test_a_service_of_the_machine_is_shown_to_anybody(home: Path) -> None:
    out, said = run("service", "install", "--system", "--dry-run")
    assert "--data-dir /var/lib/agent-session-monitor" in out or "StateDirectory=agent-session-monitor" in out
    assert "WantedBy=multi-user.target" in out
    assert "/etc/systemd/system/session-monitor.service" in said
