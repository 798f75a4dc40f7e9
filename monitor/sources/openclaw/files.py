"""Transcripts in files: live ones of releases up to 2026.7.1, and archives of every release, packed or not."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import xxhash
import zstandard

from monitor.sources.openclaw.names import put_away_at

BLOCK = 1 << 20
#: A single record that is longer is not read: OpenClaw's own limit for one is 4 MiB.
MAX_RECORD = 64 << 20
_MARK = 64
#: Files that repeat what transcripts hold: the harness' own log of a run, and snapshots before a compaction.
_NO_TRANSCRIPT = re.compile(r".*\.(?:trajectory|checkpoint\.[^.]+)")
_ARCHIVE = re.compile(r"(?P<id>.+)\.jsonl\.(?P<why>reset|deleted)\.(?P<when>[0-9TZ.-]+?)(?:\.[0-9a-f]{32})?(?:\.zst)?")
_LIVE = re.compile(r"(?P<id>.+)\.jsonl(?:\.zst)?")
_IMPORTED = re.compile(r"(?:.*\.)?(?P<id>[^.]+)\.jsonl\.imported-\d+(?:\.zst)?")


class Look(msgspec.Struct, frozen=True):
    """What tells whether a file is another one or has other content than before."""

    device: int
    inode: int
    size: int
    changed: int


class TranscriptFile(msgspec.Struct, frozen=True):
    """One file with a transcript."""

    path: Path
    look: Look
    #: By its name; its header may say another one.
    session_id: str
    #: When it was put away at a reset; None where it was not.
    reset_at: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether OpenClaw may go on writing it."""
        return self.path.suffix == ".jsonl"

    @property
    def packed(self) -> bool:
        """Whether it is compressed."""
        return self.path.name.endswith(".zst")


class Line(msgspec.Struct, frozen=True):
    """One record and where it ends; in a packed file counted unpacked."""

    text: bytes
    end: int


def look_at(path: Path) -> Look | None:
    """A regular file as it is now; None where there is none.

    Links are not followed: OpenClaw makes none, and whoever can write here may lead one to a file of another kind.
    """
    try:
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Look(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def transcript_files(agent: Path) -> list[TranscriptFile]:
    """The files of one agent, the live ones first, then by name."""
    sessions, imported = agent / "sessions", agent / "session-sqlite-import-archive"
    found = []
    for folder, pattern in ((sessions, _LIVE), (sessions, _ARCHIVE), (sessions / "cold", _LIVE), (imported, _IMPORTED)):
        for path in _names(folder):
            match = pattern.fullmatch(path.name)
            if match is None or _NO_TRANSCRIPT.fullmatch(match["id"]) or ".jsonl." in match["id"]:
                continue
            look = look_at(path)
            if look is None:
                continue
            reset = put_away_at(match["when"]) if pattern is _ARCHIVE and match["why"] == "reset" else None
            found.append(TranscriptFile(path, look, match["id"], reset))
    return found


def _names(folder: Path) -> list[Path]:
    try:
        # OpenClaw gives its files plain names; what can't even be written down is not one of them.
        return sorted(path for path in folder.iterdir() if _is_text(path.name))
    except OSError:
        return []


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def lines(file: TranscriptFile, start: int = 0) -> Iterator[Line]:
    """The records from `start` on. A torn last one is left for later, unless it is complete but for its line end.

    Raises:
        OSError: the file can't be read.
        zstandard.ZstdError: it is damaged.
    """
    at, rest, skipping = start, b"", False
    for block in _blocks(file, start):
        *whole, rest = (rest + block).split(b"\n")
        for text in whole:
            at += len(text) + 1
            if text.strip() and not skipping:
                yield Line(text, at)
            skipping = False
        if len(rest) > MAX_RECORD:
            at += len(rest)
            rest, skipping = b"", True
    if not skipping and _is_whole(rest):
        yield Line(rest, at + len(rest))


def first_line(file: TranscriptFile) -> bytes | None:
    """The first record; None where there is none that can be read."""
    try:
        return next((line.text for line in lines(file)), None)
    except (OSError, zstandard.ZstdError):
        return None


def _blocks(file: TranscriptFile, start: int) -> Iterator[bytes]:
    with file.path.open("rb") as raw:
        if not file.packed:
            raw.seek(start)
            while block := raw.read(BLOCK):
                yield block
            return
        with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as reader:
            while block := reader.read(BLOCK):
                yield block


def _is_whole(text: bytes) -> bool:
    """Whether a line without its end is a whole object: no beginning of an object is one."""
    if not text.rstrip().endswith(b"}"):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def mark_before(path: Path, at: int) -> bytes:
    """A digest of the bytes before a place in a file, by which it is known again.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as raw:
        begin = max(0, at - _MARK)
        raw.seek(begin)
        return xxhash.xxh3_64_digest(raw.read(at - begin) + at.to_bytes(8, "big"))


def folder_look(paths: Iterable[Path]) -> tuple[int, bytes]:
    """How much these files hold together, and a digest that changes when one of them does."""
    total, digest = 0, xxhash.xxh3_64()
    for path in paths:
        look = look_at(path)
        if look is not None and look.size:
            total += look.size
            digest.update(os.fsencode(path) + msgspec.msgpack.encode(look))
    return total, digest.digest()
