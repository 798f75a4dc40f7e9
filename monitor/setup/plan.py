"""What setting up clients would change, all of it known before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from monitor.config import ConfigError
from monitor.setup import entry, naming, skill_files
from monitor.setup.clients import CLIENTS, NAME, Client
from monitor.setup.files import Change, write
from monitor.setup.machine import Machine, OurCommand
from monitor.setup.naming import Naming, Wish
from monitor.setup.skill_files import SkillChanges


@dataclass(frozen=True)
class ClientPlan:
    """What happens to one client."""

    client: Client
    config: Change
    skill: SkillChanges | None
    #: How its requests come to name their session, where we can see to that.
    naming: Naming | None = None

    @property
    def changes(self) -> list[Change]:
        """Everything that would be written: what the configuration names comes before it, what it named goes after."""
        found = [*(self.skill.changes if self.skill else ()), *(self.naming.changes if self.naming else ())]
        found = [change for change in found if change.before != change.after]
        first = [change for change in found if change.after is not None]
        last = [change for change in found if change.after is None]
        return [*first, *([self.config] if self.config.before != self.config.after else ()), *last]

    @property
    def notes(self) -> list[str]:
        """What is worth saying about it."""
        return [*(self.skill.notes if self.skill else ()), *(self.naming.notes if self.naming else ())]

    def carry_out(self) -> list[Path]:
        """Write; gives the backups that were made.

        Raises:
            ConfigError: a file can't be written, or changed meanwhile.
        """
        saved = [write(change) for change in self.changes]
        for folder in (self.skill, self.naming.plugin if self.naming else None):
            if folder is not None:
                skill_files.sweep(folder.folder)
        return [path for path in saved if path is not None]


def chosen(machine: Machine, names: Sequence[str]) -> list[Client]:
    """The clients that were named, else those that have been used on this machine."""
    if names:
        return [CLIENTS[name] for name in dict.fromkeys(names)]
    return [client for client in CLIENTS.values() if client.found(machine)]


def install(
    machine: Machine, clients: Sequence[Client], command: OurCommand | None, url: str | None, wish: Wish | None = None
) -> list[ClientPlan]:
    """Our entry and the skill, put where each client looks; and sessions named as `wish` says, where a client can.

    Raises:
        ConfigError: a file is broken, can't be read, or the client can't do what is asked.
    """
    plans = []
    for client in clients:
        path, wanted = client.config(machine), client.entry(command, url)
        skill = None
        if client.skills is not None:
            skill = skill_files.added(client.skills(machine) / NAME, skill_files.packaged())
        if not client.names_sessions:
            plans.append(ClientPlan(client, entry.added(client, path, wanted), skill))
            continue
        there = naming.There(machine, wish or Wish(), path, client.folder(machine))
        config = entry.added(client, path, wanted, there.edit)
        plans.append(ClientPlan(client, config, skill, there.naming))
    return plans


def uninstall(machine: Machine, clients: Sequence[Client]) -> list[ClientPlan]:
    """Our entry, the skill and the names of sessions, taken out again.

    Raises:
        ConfigError: a file is broken or can't be read.
    """
    plans = []
    for client in clients:
        skill = skill_files.removed(client.skills(machine) / NAME) if client.skills is not None else None
        path = client.config(machine)
        if not client.names_sessions:
            plans.append(ClientPlan(client, entry.removed(client, path), skill))
            continue
        back = naming.Back(path, client.folder(machine))
        config = entry.removed(client, path, back.undo, back.again)
        plans.append(ClientPlan(client, config, skill, back.naming))
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
