"""The data directory as it lies there: what is wrong with it, and how that is put right."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from monitor.answers.health import Hint, Place, Trouble
from monitor.config import ADDRESS_NAME, LOCK_NAME

#: What is left of something that was being made is taken for forgotten after this.
_FORGOTTEN_S = 3600
_DRAFTS = ("history-*.db.*.new", "web.[0-9]*")


@dataclass(frozen=True)
class Repair:
    """A trouble, and what puts it right; None where only a person can."""

    trouble: Trouble
    done: str = ""
    run: Callable[[], None] | None = None


def repairs(folder: Path, archive: Path | None = None) -> list[Repair]:
    """What is wrong with the data directory (and the folder of archives, where one is set)."""
    found = list(_folder(folder, "the data directory"))
    if archive is not None:
        found += _folder(archive, "the folder of archives")
        found += _drafts(archive, (".*.new",))
    if folder.is_dir():
        found += _stale_address(folder)
        found += _drafts(folder)
    return found


def place(
    folder: Path,
    found: list[Repair],
    *,
    checked: str,
    broken: list[str],
    versions: dict[str, str],
    hints: Sequence[Hint] = (),
) -> Place:
    """The data directory in the words of a diagnosis."""
    free: int | None = None
    at = folder
    while not at.exists() and at != at.parent:
        at = at.parent
    with suppress(OSError):
        free = shutil.disk_usage(at).free
    return Place(
        str(folder),
        sum(file.lstat().st_size for file in _files(folder)),
        free,
        tuple(repair.trouble for repair in found),
        checked,
        tuple(broken),
        versions,
        tuple(hints),
    )


def ingesting_process(folder: Path) -> int | None:
    """The process that holds the lock, where the system tells (Linux)."""
    try:
        held = (folder / LOCK_NAME).stat()
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    identity = f"{os.major(held.st_dev):02x}:{os.minor(held.st_dev):02x}:{held.st_ino}"
    for line in locks.splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[-3] == identity:
            return int(fields[-4])
    return None


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if not (file := folder / name).is_symlink() and file.is_file():
                yield file


def _folder(folder: Path, what: str) -> Iterator[Repair]:
    if not folder.exists():
        yield Repair(
            Trouble(f"{what} {folder} does not exist", f"mkdir -p -m 700 {folder}", fixable=True),
            f"made {folder}",
            lambda: folder.mkdir(mode=0o700, parents=True),
        )
        return
    if not folder.is_dir():
        yield Repair(Trouble(f"{folder} is not a folder", "move it away, or name another one"))
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Repair(Trouble(f"{folder} can't be written by this user", "run as its owner, or name another --data-dir"))
        return
    if sys.platform == "win32":
        return  # modes mean nothing there
    for path, mode in ((folder, 0o700), *((file, 0o600) for file in _files(folder) if _is_ours(file))):
        try:
            now = stat.S_IMODE(path.lstat().st_mode)
        except OSError:
            continue  # gone meanwhile
        if now & 0o077:
            yield Repair(
                Trouble(f"{path} can be read by others (mode {now:03o})", f"chmod {mode:03o} {path}", fixable=True),
                f"gave {path} the mode {mode:03o}",
                _chmod(path, mode),
            )


def _chmod(path: Path, mode: int) -> Callable[[], None]:
    return lambda: path.chmod(mode)


def _is_ours(file: Path) -> bool:
    name = file.name
    return (
        name.startswith(("monitor.db", "history-"))
        or name in (LOCK_NAME, ADDRESS_NAME)
        or ".db" in name
        or name.endswith((".zst", ".index", ".spool"))
    )


def _stale_address(folder: Path) -> Iterator[Repair]:
    file = folder / ADDRESS_NAME
    try:
        told = json.loads(file.read_text())
        pid = int(told["pid"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        pid = 0
    alive = False
    if pid > 0:
        try:
            os.kill(pid, 0)
            alive = True
        except PermissionError:
            alive = True
        except (OSError, OverflowError):
            alive = False
    if not alive:
        yield Repair(
            Trouble(
                f"{file} names a page of a process that is no more ({pid or 'unreadable'})",
                f"rm {file}",
                fixable=True,
            ),
            f"removed {file}",
            lambda: file.unlink(missing_ok=True),
        )


def _drafts(folder: Path, patterns: Sequence[str] = _DRAFTS) -> Iterator[Repair]:
    for pattern in patterns:
        for file in sorted(folder.glob(pattern)):
            with suppress(OSError):
                if time.time() - file.lstat().st_mtime < _FORGOTTEN_S:
                    continue
                yield Repair(
                    Trouble(f"{file} was left by a process that died", f"rm {file}", fixable=True),
                    f"removed {file}",
                    _unlink(file),
                )


def _unlink(file: Path) -> Callable[[], None]:
    return lambda: file.unlink(missing_ok=True)
