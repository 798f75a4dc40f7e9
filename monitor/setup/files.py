"""Changes to files of the user's: shown first, backed up, written whole or not at all."""

from __future__ import annotations

import contextlib
import difflib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from monitor.config import ConfigError

BACKUP = ".session-monitor-backup"


@dataclass(frozen=True)
class Change:
    """What one file is now, and what it will be; None is no file."""

    path: Path
    before: bytes | None
    after: bytes | None
    #: Whether what was there is kept in a file beside it.
    backup: bool = True
    #: A backup that says nothing more once this is done.
    spent_backup: Path | None = None
    #: Permissions of a file that is new.
    mode: int = 0o600

    @property
    def diff(self) -> str:
        """The change as a unified diff."""
        if self.before == self.after:
            return ""
        try:
            before, after = ((side or b"").decode("utf-8") for side in (self.before, self.after))
        except UnicodeDecodeError:
            return f"Binary file {self.path} differs\n"
        lines = difflib.unified_diff(
            _lines(before),
            _lines(after),
            "/dev/null" if self.before is None else str(self.path),
            "/dev/null" if self.after is None else str(self.path),
        )
        return "".join(
            line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
            for line in (line if line.endswith("\n") or line[:1] in " +-" else line + "\n" for line in lines)
        )


def _lines(text: str) -> list[str]:
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def read(path: Path) -> bytes | None:
    """What the file holds, None when there is none.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error)}; nothing was changed") from None


def text_of(path: Path, data: bytes) -> str:
    """The file's text.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - start + 1
        raise ConfigError(f"{path}:{line}:{column}: this is not UTF-8; save it as UTF-8 and try again") from None


def backups(path: Path) -> list[Path]:
    """The file's backups, newest first."""
    with contextlib.suppress(OSError):
        found = [
            other
            for other in path.parent.iterdir()
            if other.name.startswith(path.name + BACKUP) and other.is_file() and not other.is_symlink()
        ]
        return sorted(found, key=lambda other: (other.stat().st_mtime_ns, other.name), reverse=True)
    return []


def write(change: Change) -> Path | None:
    """Make the change; gives the backup that was made.

    Raises:
        ConfigError: the file changed since it was read, or it can't be written.
    """
    path = change.path
    if change.before == change.after:
        return None
    if read(path) != change.before:
        raise ConfigError(f"{path} was changed by another program meanwhile; run this again to see what would be done")
    saved = None
    try:
        real = path.resolve()
        if change.before is not None and change.backup:
            saved = _save(path, real, change.before)
        if change.after is None:
            path.unlink()
        else:
            _replace(real, change.after, change.mode)
        if change.spent_backup is not None:
            change.spent_backup.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path} can't be written: {_reason(error)}") from None
    return saved


def _save(path: Path, real: Path, data: bytes) -> Path:
    """A copy beside the file, readable by nobody who can't read the file."""
    backup = path.with_name(path.name + BACKUP)
    if backup.exists():
        backup = path.with_name(f"{path.name}{BACKUP}-{time.strftime('%Y%m%d-%H%M%S')}")
    number = 1
    while os.path.lexists(backup):
        number += 1
        backup = backup.with_name(f"{backup.name.split('~')[0]}~{number}")
    with open(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    backup.chmod(real.stat().st_mode & 0o777)
    return backup


def _replace(real: Path, data: bytes, mode: int) -> None:
    real.parent.mkdir(parents=True, exist_ok=True)
    old = real.stat() if real.exists() else None
    handle, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(old.st_mode & 0o7777 if old else mode)
        if old is not None and hasattr(os, "chown"):
            with contextlib.suppress(PermissionError):
                os.chown(name, old.st_uid, old.st_gid)
        Path(name).replace(real)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
