"""A file is known by its content: a fingerprint of its beginning, a digest of the bytes before an offset."""

from __future__ import annotations

import os
from collections.abc import Sequence

import xxhash

#: A fingerprint goes on over further lines until it covers this much: short first lines are often alike.
FINGERPRINT_LEAST = 256
#: A longer first line counts by its beginning only, so that recognising a file stays cheap.
FINGERPRINT_MOST = 1 << 20
#: Bytes before an offset that must be the ones that were read.
WINDOW = 1024


def digest(data: bytes) -> bytes:
    """xxh3-128."""
    return xxhash.xxh3_128_digest(data)


def has_fingerprint(head: bytes) -> bool:
    """Whether `head`, the beginning of a file, is enough for a whole fingerprint."""
    return len(head) >= FINGERPRINT_MOST or head.find(b"\n", FINGERPRINT_LEAST - 1) >= 0


def fingerprint_size(head: bytes) -> int:
    """How many bytes of `head` the fingerprint covers; 0 while there is no complete line."""
    end = head.find(b"\n", FINGERPRINT_LEAST - 1)
    if 0 <= end < FINGERPRINT_MOST:
        return end + 1
    if len(head) >= FINGERPRINT_MOST:
        return FINGERPRINT_MOST
    return head.rfind(b"\n", 0, FINGERPRINT_LEAST) + 1


def read_head(fd: int) -> bytes:
    """As much of the beginning of a file as a fingerprint needs."""
    size = 4096
    while True:
        head = os.pread(fd, size, 0)
        if len(head) < size or has_fingerprint(head):
            return head
        size = min(size * 4, FINGERPRINT_MOST)


def window_at(fd: int, offset: int) -> bytes:
    """The up to `WINDOW` bytes before `offset`."""
    start = max(0, offset - WINDOW)
    return os.pread(fd, offset - start, start)


def window_behind(before: bytes, lines: Sequence[bytes]) -> bytes:
    """The window at the end of `lines`, which follow the window `before`."""
    window = b""
    for line in reversed(lines):
        window = line[-WINDOW:] + b"\n" + window
        if len(window) >= WINDOW:
            return window[-WINDOW:]
    return (before + window)[-WINDOW:]
