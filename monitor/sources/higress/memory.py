"""What was seen of conversations: their first messages, so that these need not be parsed again."""

from __future__ import annotations

import os
from collections import OrderedDict
from operator import attrgetter

import msgspec
import xxhash

from monitor.rounds import Position

#: Beginnings of conversations that are remembered for one guess, and guesses.
_SEEN_EACH = 32
_SEEN_GUESSES = 4096
_TAIL = 64
_SESSION = b'\\"session_id\\":\\"'

_size_of = attrgetter("size")


class Seen(msgspec.Struct, gc=False):
    """The beginning of a conversation as it stood, escaped, in an earlier line."""

    size: int
    hash: int
    #: Its last bytes, which tell most others apart without hashing them.
    tail: bytes
    #: Digest before the first message: a system prompt that stands beside the messages is part of it.
    start: bytes
    position: Position
    names: tuple[str, ...]
    opening: int | None


class Memory:
    """Beginnings of conversations by a guess at which one it is; those used last are kept."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, list[Seen]] = OrderedDict()
        # Clients control the text, so they must not know what it is hashed with.
        self._seed = int.from_bytes(os.urandom(8))

    def forget(self) -> None:
        """Drop everything."""
        self._seen.clear()

    def recognise(self, guess: bytes, region: memoryview) -> Seen | None:
        """The longest known beginning of `region`, the escaped text from the first message on."""
        candidates = self._seen.get(guess)
        if not candidates:
            return None
        for seen in candidates:
            size = seen.size
            if (
                size < len(region)
                and region[size - len(seen.tail) : size] == seen.tail
                and xxhash.xxh3_64_intdigest(region[:size], self._seed) == seen.hash
            ):
                self._seen.move_to_end(guess)
                return seen
        return None

    def remember(
        self,
        record: bytes,
        where: tuple[bytes, int, int],
        known: Seen | None,
        new: bytes,
        start: Position,
        position: Position,
        names: tuple[str, ...],
        opening: int | None,
    ) -> None:
        """Remember where the messages end in the escaped line, if that can be proved.

        `new` is the unescaped text behind the known part; only if escaping it gives the very bytes
        of the line is the end of the array where we think it is.
        """
        guess, at, end = where
        begin = at + (known.size if known else 0)
        escaped = new.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        if not record.startswith(escaped, begin, end):
            return
        size = begin + len(escaped) - at
        prefix = memoryview(record)[at : at + size]
        hashed = xxhash.xxh3_64_intdigest(prefix, self._seed)
        seen = Seen(size, hashed, bytes(prefix[-_TAIL:]), start.digest, position, names, opening)
        candidates = self._seen.setdefault(guess, [])
        if known is not None:
            candidates.remove(known)
        # Longest first: the most is skipped. Of equal length, the latest first.
        candidates.insert(0, seen)
        candidates.sort(key=_size_of, reverse=True)
        del candidates[_SEEN_EACH:]
        if len(self._seen) > _SEEN_GUESSES:
            self._seen.popitem(last=False)


def guess_at(record: bytes, at: int) -> bytes:
    """A key under which this conversation was probably seen; a wrong one costs time, nothing else."""
    found = record.rfind(_SESSION, max(at, len(record) - 16384))
    if found > 0:
        found += len(_SESSION)
        return record[found : min(found + 400, record.find(b'\\"', found) % len(record))]
    return xxhash.xxh3_64_digest(record[at : at + 512])
