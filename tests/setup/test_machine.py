"""Where clients keep their files on each system, and how others start this program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monitor.config import ConfigError, load
from monitor.setup.clients import CLIENTS
from monitor.setup.machine import Machine, OurCommand, our_command

HOME = Path("/home/user")


def place(client: str, system: str = "linux", **environ: str) -> str:
    return str(CLIENTS[client].config(Machine(system, HOME, environ)))


def test_each_client_has_its_file() -> None:
    assert place("openclaw") == "/home/user/.openclaw/openclaw.json"
    assert place("claude-code") == "/home/user/.claude.json"
    assert place("claude-desktop") == "/home/user/.config/Claude/claude_desktop_config.json"
    assert place("cursor") == "/home/user/.cursor/mcp.json"
    assert place("vscode") == "/home/user/.config/Code/User/mcp.json"


def test_macos_and_windows_have_other_folders() -> None:
    library = "/home/user/Library/Application Support"
    assert place("claude-desktop", "darwin") == f"{library}/Claude/claude_desktop_config.json"
    assert place("vscode", "darwin") == f"{library}/Code/User/mcp.json"
    roaming = "/home/user/AppData/Roaming"
    assert place("claude-desktop", "win32") == f"{roaming}/Claude/claude_desktop_config.json"
    assert place("vscode", "win32", APPDATA="/roaming") == "/roaming/Code/User/mcp.json"


def test_variables_that_move_a_clients_files_count() -> None:
    assert place("openclaw", OPENCLAW_STATE_DIR="/srv/claw") == "/srv/claw/openclaw.json"
    assert place("openclaw", OPENCLAW_CONFIG_PATH="~/claw.json") == "/home/user/claw.json"
    assert place("openclaw", OPENCLAW_HOME="/srv") == "/srv/.openclaw/openclaw.json"
    assert place("openclaw", OPENCLAW_HOME="/srv", OPENCLAW_CONFIG_PATH="~/c.json") == "/srv/c.json"
    assert place("openclaw", OPENCLAW_STATE_DIR=" ") == "/home/user/.openclaw/openclaw.json"
    assert place("claude-code", CLAUDE_CONFIG_DIR="/srv/claude") == "/srv/claude/.claude.json"
    assert place("vscode", XDG_CONFIG_HOME="/cfg") == "/cfg/Code/User/mcp.json"
    skills = CLIENTS["openclaw"].skills
    assert skills is not None
    assert skills(Machine("linux", HOME, {"OPENCLAW_STATE_DIR": "/srv/claw"})) == Path("/srv/claw/skills")


def test_without_a_home_folder_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(ConfigError, match="set HOME"):
        Machine.here()


# -- our own command ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("SESSION_MONITOR_", "XDG_"))]:
        monkeypatch.delenv(name)


def command(data_dir: Path | None = None, config: Path | None = None, *logs: str) -> OurCommand:
    return our_command(
        Machine.here(),
        load(config, data_dir=data_dir),
        data_dir=data_dir,
        config=config,
        log_paths=[Path(log) for log in logs],
    )


def test_it_starts_from_anywhere() -> None:
    line = command().line()
    assert Path(line[0]).is_absolute()
    assert os.access(line[0], os.X_OK)
    assert line[-1] == "serve"


def test_only_what_is_not_usual_is_an_option(tmp_path: Path) -> None:
    usual = tmp_path / ".local" / "state" / "agent-session-monitor"
    assert list(command(usual).options) == []
    assert list(command(Path("data")).options) == ["--data-dir", str(tmp_path / "data")]


def test_paths_are_made_whole(tmp_path: Path) -> None:
    made = command(None, None, "logs/a b.log", "~/x.log")
    wanted = ["--log-path", str(tmp_path / "logs/a b.log"), "--log-path", str(tmp_path / "x.log")]
    assert list(made.options) == wanted
    assert len([note for note in made.notes if "does not exist yet" in note]) == 2


def test_variables_of_this_shell_become_options_or_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SESSION_MONITOR_TIMEZONE", "Asia/Shanghai")
    made = command()
    assert list(made.options) == ["--data-dir", str(tmp_path / "state" / "agent-session-monitor")]
    assert any("SESSION_MONITOR_TIMEZONE" in note for note in made.notes)


def test_a_configuration_found_here_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "session-monitor.toml").write_text(f'data_dir = "{tmp_path}/kept"\n')
    made = command()
    assert list(made.options) == ["--config", str(tmp_path / "session-monitor.toml")]
    assert made.data_dir == tmp_path / "kept"
    named = command(tmp_path / "other", tmp_path / "session-monitor.toml")
    assert list(named.options)[2:] == ["--data-dir", str(tmp_path / "other")]


@pytest.mark.parametrize(("log", "said"), [("-", "standard input"), ("a\nb.log", "line break"), ("a\udcff", "UTF-8")])
def test_what_can_not_stand_in_a_configuration_is_refused(log: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        command(None, None, log)
