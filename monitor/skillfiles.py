"""The files of the agent skill, wherever they are installed."""

from __future__ import annotations

from pathlib import Path

NAME = "session-monitor"


def folder() -> Path:
    """The folder that holds SKILL.md: inside the installed package, else the checkout.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).parent
    for place in (package / "_skill", package.parent):
        if (place / "SKILL.md").is_file():
            return place
    raise FileNotFoundError("SKILL.md is missing from this installation: install agent-session-monitor again")


def files() -> dict[str, bytes]:
    """Every file of the skill by its path inside the skill's folder, SKILL.md first."""
    root = folder()
    found = {"SKILL.md": (root / "SKILL.md").read_bytes()}
    for path in sorted((root / "skill").rglob("*.md")):
        found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


def plugin() -> dict[str, bytes]:
    """The files of the plugin for OpenClaw that sends the session key.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    place = folder() / "skill" / "openclaw-plugin"
    return {path.name: path.read_bytes() for path in sorted(place.iterdir()) if path.is_file()}
