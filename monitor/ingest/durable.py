"""Files that are whole after a crash, readable by their owner alone."""

from __future__ import annotations

import os
from pathlib import Path


def put(path: Path, data: bytes, *, durably: bool = True) -> None:
    """Write a file: it has the old content or the new one, `durably` also after a loss of power. Raises OSError."""
    draft = path.with_suffix(".new")
    fd = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
        if durably:
            os.fsync(fd)
    finally:
        os.close(fd)
    draft.replace(path)
    if durably:
        sync_folder(path.parent)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it. Raises OSError; then a part may be written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(folder: Path) -> None:
    """See that the names in a folder outlast a loss of power. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
