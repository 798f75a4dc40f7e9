"""What keeps bytes from being read: where, why, and the way out, in words."""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal

import msgspec

ProblemKind = Literal["missing", "unreadable", "not_a_file", "corrupt", "incomplete", "line_too_long"]


class Problem(msgspec.Struct, frozen=True):
    """One thing that keeps bytes from being read."""

    path: str
    kind: ProblemKind
    reason: str
    remedy: str
    count: int = 1


def in_the_way(path: str | os.PathLike[str]) -> Problem | None:
    """What keeps the file of this name from being read, as far as a look tells without opening it."""
    path = os.fspath(path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return unreadable(path, error)
    if not stat.S_ISREG(found.st_mode):
        return not_a_file(path)
    if not os.access(path, os.R_OK):
        return unreadable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return None


def missing(path: str) -> Problem:
    """There is neither the configured file nor a rotated one."""
    return Problem(
        path,
        "missing",
        "the file does not exist (yet)",
        "nothing to do if the gateway has not logged yet; otherwise check the configured path",
    )


def not_a_file(path: str) -> Problem:
    """A directory, a FIFO or a device has the name of a log."""
    return Problem(
        path,
        "not_a_file",
        "this is not a regular file",
        "name a log file here, or move this out of the way",
    )


def unreadable(path: str, error: OSError) -> Problem:
    """The system refuses to list, open or read it."""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = (
            "let the user that runs the monitor read it (group or ACL: read on the file, read and search "
            "on each directory above it), and see that rotation keeps it so"
        )
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = "raise the limit of open files (ulimit -n) for the monitor"
    else:
        remedy = "the file is tried again on every pass; look at the disk or the mount if this stays"
    return Problem(path, "unreadable", f"cannot be read: {error.strerror or error}", remedy)


def corrupt(path: str, reason: str) -> Problem:
    """A compressed file cannot be decompressed beyond some point."""
    return Problem(
        path,
        "corrupt",
        f"the compressed data is damaged: {reason}; what came before the damage was read",
        "restore this file from a backup, or remove it",
    )


def incomplete(path: str) -> Problem:
    """A compressed file was abandoned half-written."""
    return Problem(
        path,
        "incomplete",
        "the compressed data ends too early, and nobody is writing it any more",
        "compress the original again if it is still there, or remove this file",
    )


def too_long(path: str, count: int, limit: int) -> Problem:
    """Lines were skipped."""
    return Problem(
        path,
        "line_too_long",
        f"{count} line(s) longer than {limit} bytes were skipped",
        "no record is that long: look at what writes to this file, or raise the limit",
        count,
    )
