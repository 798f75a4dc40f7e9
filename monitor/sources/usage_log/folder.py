"""The day files of a folder: which are there, under which names."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: A day's file, also packed: ``2026-11-25.jsonl``, ``2026-11-25.jsonl.gz``.
_DAY_FILE = re.compile(r"(\d{4}-\d\d-\d\d)\.jsonl(?:\.gz|\.zst)?", re.ASCII)
#: What a day's file is called once its day was reset; nobody reads it then.
ASIDE = ".reset"


def day_files(folder: Path) -> dict[str, list[Path]]:
    """The files of each day, the days in order.

    Raises:
        OSError: the folder can't be listed.
    """
    found: dict[str, list[Path]] = {}
    for name in sorted(os.listdir(folder)):
        match = _DAY_FILE.fullmatch(name)
        if match is not None:
            found.setdefault(match[1], []).append(folder / name)
    return found


def origin_of(folder: Path, day: str) -> str:
    """What the store calls a day's file, however it is packed."""
    return str(folder / f"{day}.jsonl")


def day_of(folder: Path, origin: str) -> str | None:
    """The day of an origin in this folder; None for any other."""
    path = Path(origin)
    match = _DAY_FILE.fullmatch(path.name)
    return match[1] if match is not None and path.parent == folder else None


def put_aside(folder: Path, day: str) -> list[Path]:
    """Give a day's files names under which nobody reads them; gives those names.

    Raises:
        OSError: a file can't be renamed.
    """
    moved = []
    for path in day_files(folder).get(day, []):
        target = path.with_name(path.name + ASIDE)
        number = 1
        while target.exists():
            number += 1
            target = path.with_name(f"{path.name}{ASIDE}-{number}")
        path.rename(target)
        moved.append(target)
    return moved
