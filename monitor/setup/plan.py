"""What setting up clients would change, all of it known before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from monitor.config import ConfigError
from monitor.setup import entry, skill_files
from monitor.setup.clients import CLIENTS, NAME, Client
from monitor.setup.files import Change, write
from monitor.setup.machine import Machine, OurCommand
from monitor.setup.skill_files import SkillChanges


@dataclass(frozen=True)
class ClientPlan:
    """What happens to one client."""

    client: Client
    config: Change
    skill: SkillChanges | None

    @property
    def changes(self) -> list[Change]:
        """Everything that would be written: the skill first, since the entry is what makes agents look for it."""
        found = [*(self.skill.changes if self.skill else ()), self.config]
        return [change for change in found if change.before != change.after]

    @property
    def notes(self) -> list[str]:
        """What is worth saying about it."""
        return self.skill.notes if self.skill else []

    def carry_out(self) -> list[Path]:
        """Write; gives the backups that were made.

        Raises:
            ConfigError: a file can't be written, or changed meanwhile.
        """
        saved = [write(change) for change in self.changes]
        if self.skill is not None:
            skill_files.sweep(self.skill.folder)
        return [path for path in saved if path is not None]


def chosen(machine: Machine, names: Sequence[str]) -> list[Client]:
    """The clients that were named, else those that have been used on this machine."""
    if names:
        return [CLIENTS[name] for name in dict.fromkeys(names)]
    return [client for client in CLIENTS.values() if client.found(machine)]


def install(
    machine: Machine, clients: Sequence[Client], command: OurCommand | None, url: str | None
) -> list[ClientPlan]:
    """Our entry and the skill, put where each client looks.

    Raises:
        ConfigError: a file is broken, can't be read, or the client can't do what is asked.
    """
    return _plans(
        machine,
        clients,
        lambda client, path: entry.added(client, path, client.entry(command, url)),
        lambda folder: skill_files.added(folder, skill_files.packaged()),
    )


def uninstall(machine: Machine, clients: Sequence[Client]) -> list[ClientPlan]:
    """Our entry and the skill, taken out again.

    Raises:
        ConfigError: a file is broken or can't be read.
    """
    return _plans(machine, clients, entry.removed, skill_files.removed)


def _plans(
    machine: Machine,
    clients: Sequence[Client],
    configure: Callable[[Client, Path], Change],
    copy: Callable[[Path], SkillChanges],
) -> list[ClientPlan]:
    plans = []
    for client in clients:
        skill = None
        if client.skills is not None:
            skill = copy(client.skills(machine) / NAME)
        plans.append(ClientPlan(client, configure(client, client.config(machine)), skill))
    return plans


def mcp_address(text: str) -> str:
    """The address of MCP, from that or from the page's.

    Raises:
        ConfigError: it is no web address.
    """
    parts = urlsplit(text)
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or "${" in text or any(char.isspace() for char in text):
        raise ConfigError(f"--http {text}: use an address such as http://127.0.0.1:8888/mcp")
    return text.rstrip("/") + "/mcp" if parts.path in ("", "/") and not parts.query else text
