"""The programs that can ask us over MCP: where each keeps its configuration, and how an entry in it looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.config import ConfigError
from monitor.setup.json_syntax import Dialect
from monitor.setup.machine import Machine, OurCommand

#: The name of our entry, and of the skill's folder.
NAME = "session-monitor"
#: What we may write in an entry; other keys in it are the user's.
OURS = ("type", "command", "args", "url", "transport")


@dataclass(frozen=True)
class Client:
    """One program that speaks MCP."""

    name: str
    title: str
    dialect: Dialect
    keys: tuple[str, ...]
    config: Callable[[Machine], Path]
    #: A folder that is there when the program is.
    folder: Callable[[Machine], Path]
    #: Fixed parts of an entry that starts a program; of one that names an address, None where there are none such.
    stdio: Mapping[str, str]
    http: Mapping[str, str] | None
    #: What the user does so that the change counts.
    then: str
    skills: Callable[[Machine], Path] | None = None
    #: Options of `serve` that suit this program.
    options: Sequence[str] = ()
    #: Whether its configuration can make its requests name their session to the gateway.
    names_sessions: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """Where our entry stands."""
        return (*self.keys, NAME)

    def found(self, machine: Machine) -> bool:
        """Whether this program has been used here."""
        return self.config(machine).exists() or self.folder(machine).is_dir()

    def entry(self, command: OurCommand | None, url: str | None) -> dict[str, Any]:
        """What stands under our name.

        Raises:
            ConfigError: an address is asked for, and this program can only start programs.
        """
        if url is not None:
            if self.http is None:
                raise ConfigError(
                    f"--http: {self.title}'s configuration file can only start programs, not name an address; "
                    "leave --http out for it: the program that it starts answers from the same data as the service"
                )
            return {**self.http, "url": url}
        assert command is not None
        first, *rest = command.line(*self.options)
        if any("${" in part for part in (first, *rest)):
            raise ConfigError(f"a path holds ${{, which {self.title} would replace by something else; use another path")
        return {**self.stdio, "command": first, "args": rest}


def _openclaw_home(machine: Machine) -> Path:
    return machine.folder("OPENCLAW_HOME") or machine.home


def _openclaw_state(machine: Machine) -> Path:
    home = _openclaw_home(machine)
    return machine.folder("OPENCLAW_STATE_DIR", home) or home / ".openclaw"


def _openclaw_config(machine: Machine) -> Path:
    return machine.folder("OPENCLAW_CONFIG_PATH", _openclaw_home(machine)) or _openclaw_state(machine) / "openclaw.json"


def _claude_code(machine: Machine) -> Path:
    return machine.folder("CLAUDE_CONFIG_DIR") or machine.home / ".claude"


def _claude_code_config(machine: Machine) -> Path:
    return (machine.folder("CLAUDE_CONFIG_DIR") or machine.home) / ".claude.json"


def _claude_desktop(machine: Machine) -> Path:
    return machine.settings_folder / "Claude"


def _cursor(machine: Machine) -> Path:
    return machine.home / ".cursor"


def _vscode(machine: Machine) -> Path:
    return machine.settings_folder / "Code" / "User"


CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client(
            name="openclaw",
            title="OpenClaw",
            dialect=Dialect.JSON5,
            keys=("mcp", "servers"),
            config=_openclaw_config,
            folder=_openclaw_state,
            stdio={},
            # Without a transport OpenClaw would take the address for the older event stream.
            http={"transport": "streamable-http"},
            then="A running gateway takes it up within seconds; a session sees it from its next turn on.",
            skills=lambda machine: _openclaw_state(machine) / "skills",
            # OpenClaw shows a structured answer to the model three times.
            options=("--text-only",),
            names_sessions=True,
        ),
        Client(
            name="claude-code",
            title="Claude Code",
            dialect=Dialect.JSON,
            keys=("mcpServers",),
            config=_claude_code_config,
            folder=_claude_code,
            stdio={"type": "stdio"},
            http={"type": "http"},
            then="Sessions that start from now on have it.",
            skills=lambda machine: _claude_code(machine) / "skills",
        ),
        Client(
            name="claude-desktop",
            title="Claude Desktop",
            dialect=Dialect.JSON,
            keys=("mcpServers",),
            config=lambda machine: _claude_desktop(machine) / "claude_desktop_config.json",
            folder=_claude_desktop,
            stdio={},
            http=None,
            then="Quit Claude Desktop completely and start it again.",
        ),
        Client(
            name="cursor",
            title="Cursor",
            dialect=Dialect.JSONC,
            keys=("mcpServers",),
            config=lambda machine: _cursor(machine) / "mcp.json",
            folder=_cursor,
            stdio={},
            http={},
            then="Switch it on in Cursor's MCP settings if it is not on already.",
        ),
        Client(
            name="vscode",
            title="VS Code",
            dialect=Dialect.JSONC,
            keys=("servers",),
            config=lambda machine: _vscode(machine) / "mcp.json",
            folder=_vscode,
            stdio={"type": "stdio"},
            http={"type": "http"},
            then="VS Code asks once whether it may start the server.",
        ),
    )
}
