"""The service in the words of systemd and launchd: a daemon that reads the log and serves page, API and MCP."""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.config import ConfigError
from monitor.setup.clients import NAME
from monitor.setup.machine import Machine

LABEL = "agent-session-monitor"
#: A unit that we wrote says so; others are left alone.
MARK = "written by session-monitor service install"
#: Where a service of the whole machine keeps its data.
SYSTEM_DATA = Path("/var/lib") / LABEL


@dataclass(frozen=True)
class Service:
    """Where the service is described, what the description says, and the commands around it."""

    path: Path
    text: bytes
    start: Sequence[Sequence[str]]
    stop: Sequence[Sequence[str]]
    after_removal: Sequence[Sequence[str]]
    #: Asks the manager whether it runs: its exit code says.
    is_active: Sequence[str]
    manager: str
    #: What else is worth knowing about it.
    hint: str

    def shell(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Commands as one types them."""
        return [" ".join(shlex.quote(word) for word in command) for command in commands]


def service(machine: Machine, line: Sequence[str], data_dir: Path, *, system: bool, uid: int, user: str) -> Service:
    """The service of this machine's kind.

    Raises:
        ConfigError: neither systemd nor launchd is at home here.
    """
    if machine.system == "linux":
        return _systemd(machine, line, data_dir, system=system, user=user)
    if machine.system == "darwin":
        if system:
            raise ConfigError("--system is for systemd; without it the service starts when you log in")
        return _launchd(machine, line, data_dir, uid=uid)
    raise ConfigError(
        f"there is neither systemd nor launchd on {machine.system}; let your own service manager run: "
        + " ".join(shlex.quote(word) for word in line)
    )


def _systemd(machine: Machine, line: Sequence[str], data_dir: Path, *, system: bool, user: str) -> Service:
    folder = Path("/etc/systemd/system")
    if not system:
        folder = (machine.folder("XDG_CONFIG_HOME") or machine.home / ".config") / "systemd" / "user"
    control = ["systemctl"] if system else ["systemctl", "--user"]
    path = folder / f"{NAME}.service"
    return Service(
        path=path,
        text=systemd_unit(line, data_dir, system=system).encode("utf-8"),
        start=[
            [*control, "daemon-reload"],
            [*control, "enable", "--now", NAME],
            *([] if system else [["loginctl", "enable-linger", user]]),
        ],
        stop=[[*control, "disable", "--now", NAME]],
        after_removal=[[*control, "daemon-reload"]],
        is_active=[*control, "is-active", "--quiet", NAME],
        manager="systemctl",
        hint=f"What it says: journalctl {'-u' if system else '--user-unit'} {NAME}",
    )


def systemd_unit(line: Sequence[str], data_dir: Path, *, system: bool) -> str:
    """The text of a unit; every path in it quoted as systemd wants it."""
    program, *rest = line
    command = " ".join([_word(program), *(_word(part).replace("$", "$$") for part in rest)])
    out = [
        f"# {MARK}; change it with: systemctl {'' if system else '--user '}edit {NAME}",
        "[Unit]",
        "Description=Agent session monitor: reads the gateway's log, serves page, API and MCP",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={command}",
        f"WorkingDirectory={_specifiers(str(data_dir))}",
        "Restart=on-failure",
        "# Long enough to wait for a port that another program still holds.",
        "RestartSec=15",
        "UMask=0077",
        "",
        "# It reads logs and writes to its own folder, nothing else. In a user's service the lines about folders",
        "# need systemd 253 and user namespaces; where those are missing they have no effect.",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
    ]
    if not any(part.startswith(("/tmp/", "/var/tmp/")) for part in (*line, str(data_dir))):  # noqa: S108
        out.append("PrivateTmp=yes")
    if system and data_dir == SYSTEM_DATA:
        out += [f"StateDirectory={LABEL}", "StateDirectoryMode=0700"]
    else:
        out.append(f"ReadWritePaths={_word(str(data_dir))}")
    if system:
        out += [
            "# Of root's powers it needs one: to read logs that belong to others.",
            "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
            "PrivateDevices=yes",
            "ProtectKernelTunables=yes",
            "ProtectKernelModules=yes",
            "ProtectControlGroups=yes",
            "ProtectClock=yes",
        ]
    out += ["", "[Install]", f"WantedBy={'multi-user' if system else 'default'}.target", ""]
    return "\n".join(out)


def _launchd(machine: Machine, line: Sequence[str], data_dir: Path, *, uid: int) -> Service:
    path = machine.home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    return Service(
        path=path,
        text=launchd_agent(line, data_dir),
        start=[["launchctl", "bootstrap", f"gui/{uid}", str(path)]],
        stop=[["launchctl", "bootout", f"gui/{uid}/{LABEL}"]],
        after_removal=[],
        is_active=["launchctl", "print", f"gui/{uid}/{LABEL}"],
        manager="launchctl",
        hint=f"What it says: {data_dir / 'service.log'}",
    )


def launchd_agent(line: Sequence[str], data_dir: Path) -> bytes:
    """The property list of a launch agent."""
    text = plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(line),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 15,
            "ProcessType": "Background",
            "Umask": 0o077,
            "WorkingDirectory": str(data_dir),
            "StandardOutPath": "/dev/null",
            "StandardErrorPath": str(data_dir / "service.log"),
        },
        sort_keys=False,
    )
    head, _, rest = text.partition(b"\n")
    return head + f"\n<!-- {MARK} -->\n".encode() + rest


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """One word as systemd reads it."""
    escaped = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"')
    plain = all(char.isascii() and (char.isalnum() or char in "/._-+=:@,%") for char in text)
    return escaped if plain and text else f'"{escaped}"'
