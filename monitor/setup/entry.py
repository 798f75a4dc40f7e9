"""Puts our entry into a client's configuration file, and takes exactly that out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from monitor.config import ConfigError
from monitor.setup.clients import OURS, Client
from monitor.setup.files import Change, backups, read, text_of
from monitor.setup.json_syntax import TextProblem
from monitor.setup.json_text import existing_depth, put, take, value_at

Edit = Callable[[str], str]


def _same(text: str) -> str:
    return text


def added(client: Client, path: Path, entry: dict[str, Any], also: Edit = _same) -> Change:
    """The file with our entry in it, after which `also` edits it; keys that the user added to the entry stay.

    Raises:
        ConfigError: the file can't be read, or is broken: where.
    """
    before = read(path)
    text = text_of(path, before) if before is not None else ""
    try:
        after = also(_with_entry(client, text, entry))
    except TextProblem as problem:
        raise _broken(client, path, problem) from None
    return Change(path, before, before if after == text and before is not None else after.encode("utf-8"))


def removed(client: Client, path: Path, also: Edit = _same, again: Edit = _same) -> Change:
    """The file without our entry and edited by `also`: as it was before, where nothing else was changed since.

    `again` repeats the edit that `also` takes back.

    Raises:
        ConfigError: as `added`.
    """
    before = read(path)
    if before is None or not before.strip():
        return Change(path, before, before)
    text = text_of(path, before)
    try:
        entry = value_at(text, client.path, client.dialect)
        if entry is None:
            after = also(text)
            return Change(path, before, before if after == text else after.encode("utf-8"))
        keep: int | None = None
        for backup in backups(path):
            original = _original(client, backup)
            if original is None:
                continue
            if again(put(original, client.path, entry, client.dialect)) == text:
                return Change(path, before, original.encode("utf-8"), backup=False, spent_backup=backup)
            if keep is None:
                keep = existing_depth(original, client.path, client.dialect) if original.strip() else 0
        if keep is None and put("", client.path, entry, client.dialect) == text:
            return Change(path, before, None, backup=False)
        after = take(also(text), client.path, client.dialect, keep=keep or 0)
        return Change(path, before, after.encode("utf-8"))
    except TextProblem as problem:
        raise _broken(client, path, problem) from None


def _with_entry(client: Client, text: str, entry: dict[str, Any]) -> str:
    there = value_at(text, client.path, client.dialect)
    if not isinstance(there, dict):
        return put(text, client.path, entry, client.dialect)
    if not set(there) - set(OURS):
        return text if there == entry else put(text, client.path, entry, client.dialect)
    for key in OURS:
        if key in there and key not in entry:
            text = take(text, (*client.path, key), client.dialect, keep=len(client.path))
    for key, value in entry.items():
        if there.get(key) != value:
            text = put(text, (*client.path, key), value, client.dialect)
    return text


def _original(client: Client, backup: Path) -> str | None:
    """What a backup holds, if that is from before our entry came."""
    try:
        text = text_of(backup, read(backup) or b"")
        return text if not text.strip() or value_at(text, client.path, client.dialect) is None else None
    except (ConfigError, TextProblem):
        return None


def _broken(client: Client, path: Path, problem: TextProblem) -> ConfigError:
    return ConfigError(
        f"{path}:{problem.line}:{problem.column}: {problem.reason} ({client.title} reads {client.dialect.value}); "
        "mend it and try again: nothing was changed"
    )
