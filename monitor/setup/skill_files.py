"""Copies the skill's folder to where agents look, and takes back what is still ours."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from monitor import skillfiles
from monitor.config import ConfigError
from monitor.setup.files import Change, read

#: Remembers what we put there, so that a later version knows what it may replace and take away.
RECEIPT = ".session-monitor-files.json"
_MODE = 0o644


@dataclass
class SkillChanges:
    """What happens to a copy of the skill."""

    folder: Path
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def packaged() -> dict[str, bytes]:
    """The skill's files as they came with this program, by relative path.

    Raises:
        ConfigError: they did not come along.
    """
    try:
        return skillfiles.files()
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error


def added(folder: Path, files: dict[str, bytes]) -> SkillChanges:
    """What makes `folder` a copy: files that differ, those of an older copy that are no more, and a receipt."""
    plan = SkillChanges(folder)
    if _is_link(plan):
        return plan
    receipt = _receipt(folder)
    for name, content in files.items():
        there = read(folder / name)
        if there != content:
            users = there is not None and receipt.get(name) != _digest(there)
            plan.changes.append(Change(folder / name, there, content, backup=users, mode=_MODE))
    for name in receipt.keys() - files.keys():
        there = read(folder / name)
        if there is not None and receipt[name] == _digest(there):
            plan.changes.append(Change(folder / name, there, None, backup=False))
    wanted = json.dumps({name: _digest(content) for name, content in sorted(files.items())}, indent=1) + "\n"
    there = read(folder / RECEIPT)
    if there != wanted.encode():
        plan.changes.append(Change(folder / RECEIPT, there, wanted.encode(), backup=False, mode=_MODE))
    return plan


def removed(folder: Path, files: dict[str, bytes] | None = None) -> SkillChanges:
    """What takes the copy away: files whose content is ours, by the receipt or by what this program came with.

    `files` is what it came with; left out, those of the skill.
    """
    plan = SkillChanges(folder)
    try:
        files = packaged() if files is None else files
    except ConfigError:
        files = {}
    if _is_link(plan) or not folder.is_dir():
        return plan
    receipt = _receipt(folder)
    for name in sorted(files.keys() | receipt.keys()):
        there = read(folder / name)
        if there is None:
            continue
        if there == files.get(name) or receipt.get(name) == _digest(there):
            plan.changes.append(Change(folder / name, there, None, backup=False))
        else:
            plan.notes.append(f"{folder / name} was changed since, so it stays.")
    there = read(folder / RECEIPT)
    if there is not None:
        plan.changes.append(Change(folder / RECEIPT, there, None, backup=False))
    return plan


def sweep(folder: Path) -> None:
    """Take away folders that are empty now, the skill's own last."""
    if folder.is_symlink() or not folder.is_dir():
        return
    inside = sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True)
    for path in (*inside, folder):
        if not any(path.iterdir()):
            path.rmdir()


def _is_link(plan: SkillChanges) -> bool:
    if not plan.folder.is_symlink():
        return False
    plan.notes.append(f"{plan.folder} is a link to {plan.folder.resolve()}, so it stays as it is.")
    return True


def _receipt(folder: Path) -> dict[str, str]:
    try:
        found = json.loads(read(folder / RECEIPT) or b"{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: digest
        for name, digest in found.items()
        if isinstance(digest, str) and not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
