"""Single settings in somebody's configuration: made, remembered, and taken back if they are still what we made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from monitor.setup.files import read
from monitor.setup.json_syntax import Dialect, TextProblem
from monitor.setup.json_text import append, drop, existing_depth, put, take, value_at

#: A key of an object, or the entry of a list that has this id: its place may have changed since.
Step = str | dict[Literal["id"], str]


class Setting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value that we set, and what was there."""

    path: list[Step]
    value: Any
    #: How many steps of the path were there before.
    kept: int
    #: What was there before.
    before: Any | msgspec.UnsetType = msgspec.UNSET
    #: Whether `value` was added to a list at the path.
    in_list: bool = False


class Record(msgspec.Struct, omit_defaults=True):
    """What we set in one file, in the order in which it was done."""

    way: str
    settings: list[Setting] = []
    #: What it was done for.
    providers: list[str] = []


@dataclass(frozen=True)
class Undone:
    """A text without our settings, and those in it that somebody has changed since."""

    text: str
    changed: Sequence[Setting]


def made(text: str, path: Sequence[Step], value: Any, dialect: Dialect) -> tuple[str, Setting | None]:
    """The text with `value` at `path`; None where it was so already."""
    steps = _steps(text, path, dialect)
    if steps is None:
        return text, None
    before = value_at(text, steps, dialect)
    if before == value:
        return text, None
    setting = Setting(
        list(path), value, existing_depth(text, steps, dialect), msgspec.UNSET if before is None else before
    )
    return put(text, steps, value, dialect), setting


def added(text: str, path: Sequence[Step], value: str, dialect: Dialect) -> tuple[str, Setting | None]:
    """The text with `value` in the list at `path`; None where it was in it already."""
    steps = _steps(text, path, dialect)
    if steps is None or value in value_at(text, steps, dialect):
        return text, None
    return append(text, steps, value, dialect), Setting(list(path), value, len(path), in_list=True)


def again(text: str, record: Record, dialect: Dialect) -> str:
    """The text with all that was set once."""
    for setting in record.settings:
        change = added if setting.in_list else made
        text, _ = change(text, setting.path, setting.value, dialect)
    return text


def undone(text: str, record: Record, dialect: Dialect) -> Undone:
    """The text as if nothing of `record` had ever been set; what was changed since stays as it is."""
    changed = []
    for setting in reversed(record.settings):
        try:
            steps = _steps(text, setting.path, dialect)
            there = None if steps is None else value_at(text, steps, dialect)
        except TextProblem:  # what was an object is none any more
            steps, there = None, None
        if steps is None or there is None:
            continue
        if setting.in_list:
            text = drop(text, steps, setting.value, dialect)
        elif there != setting.value:
            changed.append(setting)
        elif setting.before is not msgspec.UNSET:
            text = put(text, steps, setting.before, dialect)
        else:
            text = take(text, steps, dialect, keep=setting.kept)
    return Undone(text, changed)


def recorded(path: Path) -> Record | None:
    """What the file says that we have set; None where there is no such file, or it is none of ours.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        return msgspec.json.decode(read(path) or b"", type=Record)
    except msgspec.MsgspecError:
        return None


def written(record: Record) -> bytes:
    """`record` as a file."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def told(path: Sequence[Step]) -> str:
    """A path as people write it."""
    text = ""
    for step in path:
        text += f"[{step['id']}]" if isinstance(step, dict) else f".{step}"
    return text.removeprefix(".")


def _steps(text: str, path: Sequence[Step], dialect: Dialect) -> list[str | int] | None:
    """`path` with places for ids; None where no entry has the id."""
    steps: list[str | int] = []
    for step in path:
        if isinstance(step, str):
            steps.append(step)
            continue
        entries = value_at(text, steps, dialect)
        found = [number for number, entry in enumerate(entries or ()) if isinstance(entry, dict) and _id(entry) == step]
        if not found:
            return None
        steps.append(found[0])
    return steps


def _id(entry: dict[str, Any]) -> dict[str, Any]:
    return {"id": entry.get("id")}
