"""The unit that systemd reads and the agent that launchd reads say exactly our command."""

from __future__ import annotations

import configparser
import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.config import ConfigError
from monitor.setup.machine import Machine
from monitor.setup.service_unit import MARK, SYSTEM_DATA, launchd_agent, service, systemd_unit

ODD = '/srv/it\'s 100% "odd" $HOME \\ 日志/a.log'
LINE = ["/bin/echo", "serve", "--http", "8888", "--log-path", ODD]
DATA = Path("/srv/my data")


def directives(unit: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit)
    return dict(parser["Service"])


def as_systemd_reads(command: str) -> list[str]:
    """Words of a command line: quotes, backslashes, then specifiers and variables."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', command)
    return [re.sub(r"\\(.)", r"\1", a or b).replace("%%", "%").replace("$$", "$") for a, b in words]


def test_the_unit_starts_our_command_whatever_its_paths_hold() -> None:
    unit = directives(systemd_unit(LINE, DATA, system=False))
    assert as_systemd_reads(unit["ExecStart"]) == LINE
    assert as_systemd_reads(unit["ReadWritePaths"]) == [str(DATA)]
    assert unit["WorkingDirectory"] == str(DATA)


def test_the_unit_may_do_little() -> None:
    unit = directives(systemd_unit(LINE, DATA, system=False))
    for name, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "PrivateTmp": "yes",
        "UMask": "0077",
        "Restart": "on-failure",
    }.items():
        assert unit[name] == value


def test_a_log_below_tmp_stays_visible() -> None:
    assert "PrivateTmp" not in directives(systemd_unit([*LINE, "/tmp/access.log"], DATA, system=False))


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("data", [DATA, SYSTEM_DATA])
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, system: bool, data: Path) -> None:
    path = tmp_path / "session-monitor.service"
    text = systemd_unit(LINE, data, system=system)
    path.write_text(text)
    assert len(set(directives(text))) == len([line for line in text.splitlines() if re.match(r"\w+=", line)]) - 2
    if shutil.which("systemd-analyze") is None:
        return  # the checks above are what is left without systemd
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_LOG_LEVEL": "warning"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "session-monitor.service" not in done.stderr


def test_a_service_of_the_machine_has_a_folder_of_its_own() -> None:
    unit = directives(systemd_unit(LINE, SYSTEM_DATA, system=True))
    assert unit["StateDirectory"] == "agent-session-monitor"
    assert unit["CapabilityBoundingSet"] == "CAP_DAC_READ_SEARCH"
    assert "ReadWritePaths" not in unit


def test_the_launch_agent_starts_our_command() -> None:
    text = launchd_agent(LINE, DATA)
    agent = plistlib.loads(text)
    assert agent["ProgramArguments"] == LINE
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["Umask"] == 0o077
    assert agent["StandardErrorPath"] == "/srv/my data/service.log"
    assert MARK.encode() in text


def test_each_system_has_its_place_and_its_commands() -> None:
    home = Path("/home/user")
    linux = service(Machine("linux", home, {}), LINE, DATA, system=False, uid=1000, user="user")
    assert linux.path == home / ".config/systemd/user/session-monitor.service"
    assert linux.shell(linux.start) == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now session-monitor",
        "loginctl enable-linger user",
    ]
    root = service(Machine("linux", home, {}), LINE, DATA, system=True, uid=0, user="root")
    assert root.path == Path("/etc/systemd/system/session-monitor.service")
    assert root.shell(root.start) == ["systemctl daemon-reload", "systemctl enable --now session-monitor"]
    mac = service(Machine("darwin", home, {}), LINE, DATA, system=False, uid=501, user="user")
    assert mac.path == home / "Library/LaunchAgents/agent-session-monitor.plist"
    assert mac.shell(mac.start) == [f"launchctl bootstrap gui/501 {mac.path}"]


@pytest.mark.parametrize(
    ("system", "whole", "said"), [("win32", False, "your own service manager"), ("darwin", True, "--system")]
)
def test_where_there_is_no_such_manager_the_way_out_is_said(system: str, whole: bool, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        service(Machine(system, Path("/home/user"), {}), LINE, DATA, system=whole, uid=0, user="user")
