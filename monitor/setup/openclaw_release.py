"""Which release of OpenClaw is installed here, without starting it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitor.setup.machine import Machine

Release = tuple[int, int, int]

_NUMBERS = re.compile(r"(\d{4})\.(\d{1,4})\.(\d{1,6})")


def installed(machine: Machine, config: Any) -> Release | None:
    """The release of the `openclaw` on the path, else the one that wrote the configuration; None when neither tells."""
    command = shutil.which("openclaw", path=machine.environ.get("PATH", ""))
    for package in _packages(Path(command)) if command else ():
        if found := release(_version(package)):
            return found
    meta = config.get("meta") if isinstance(config, dict) else None
    return release(meta.get("lastTouchedVersion") if isinstance(meta, dict) else None)


def release(version: object) -> Release | None:
    """The numbers of a version."""
    found = _NUMBERS.match(version) if isinstance(version, str) else None
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def told(release: Release) -> str:
    """A release as people write it."""
    return ".".join(map(str, release))


def _packages(command: Path) -> Iterator[Path]:
    """Where the package of a command can be: it is a link into it, or a script that lies where npm puts such."""
    try:
        real = command.resolve()
    except (OSError, RuntimeError):
        return
    yield from (folder / "package.json" for folder in real.parents if folder.name == "openclaw")
    for folder in (command.parent / "node_modules", command.parent.parent / "lib" / "node_modules"):
        yield folder / "openclaw" / "package.json"
    if command.parent.name == ".bin":
        yield command.parent.parent / "openclaw" / "package.json"


def _version(package: Path) -> object:
    try:
        found = json.loads(package.read_bytes())
    except (OSError, ValueError):
        return None
    return found.get("version") if isinstance(found, dict) and found.get("name") == "openclaw" else None
