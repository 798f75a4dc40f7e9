"""What is stored of a conversation, and how a message leaves out what the round before said."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import zstandard

#: A text that is shorter than this is repeated: a reference to it would save nothing.
WORTH_A_REFERENCE = 24


class Said(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True, gc=False):
    """The texts of a round besides its messages."""

    answer: bytes | None = None
    reasoning: bytes | None = None
    tool_calls: bytes | None = None
    #: Offset and length within the last message, where the question stands in it.
    question: bytes | tuple[int, int] | None = None
    truncated: bytes | None = None

    def source(self) -> bytes:
        """What the messages of a following piece may refer to."""
        return b"".join((self.answer or b"", self.reasoning or b"", self.tool_calls or b""))


class Payload(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True, gc=False):
    """A piece as it is stored. `holes` belong to the first message: see `without`."""

    messages: Sequence[bytes]
    said: Said | None = None
    holes: Sequence[tuple[int, int, int]] = ()


NOTHING = Said()


class Packer:
    """Makes a stored value to bytes: msgpack in one zstd frame."""

    def __init__(self) -> None:
        self._compress = zstandard.ZstdCompressor(level=3, write_checksum=True).compress
        self._encode = msgspec.msgpack.Encoder().encode

    def __call__(self, value: Payload | Said) -> tuple[bytes, int]:
        """A value as it is stored, and the size that it had before it was compressed."""
        text = self._encode(value)
        return self._compress(text), len(text)


def find(text: bytes, part: bytes) -> int:
    """`text.find(part)`, without its costly preparation where the beginning of `part` finds the place."""
    offset = text.find(part[:16])
    return offset if offset < 0 or text.startswith(part, offset) else text.find(part, offset)


def without(message: bytes, said: Said) -> tuple[bytes, list[tuple[int, int, int]]]:
    """Take out of a message what the round before said.

    Returns what is left, and for each hole its offset in the message, the offset of the text in
    ``said.source()``, and its length in bytes. `filled` undoes it.
    """
    found: list[tuple[int, int, int]] = []
    begin = 0
    for text in (said.answer, said.reasoning, said.tool_calls):
        if not text:
            continue
        if len(text) >= WORTH_A_REFERENCE:
            offset = find(message, text)
            if offset >= 0:
                found.append((offset, begin, len(text)))
            elif text is said.tool_calls:
                # Clients send calls back with other fields. Between strings, which cannot hold
                # the separator themselves, the rest is mostly alike.
                at = begin
                for part in text.split(b'","'):
                    if len(part) >= WORTH_A_REFERENCE and (offset := find(message, part)) >= 0:
                        found.append((offset, at, len(part)))
                    at += len(part) + 3
        begin += len(text)
    if not found:
        return message, found
    found.sort()
    rest: list[bytes] = []
    holes: list[tuple[int, int, int]] = []
    end = 0
    for offset, at, length in found:
        if offset >= end:
            rest.append(message[end:offset])
            holes.append((offset, at, length))
            end = offset + length
    rest.append(message[end:])
    return b"".join(rest), holes


def filled(rest: bytes, holes: Sequence[tuple[int, int, int]], source: bytes) -> bytes:
    """The message that `without` took apart."""
    parts: list[bytes] = []
    used = length_so_far = 0
    for offset, at, length in holes:
        take = offset - length_so_far
        parts.append(rest[used : used + take])
        parts.append(source[at : at + length])
        used += take
        length_so_far = offset + length
    parts.append(rest[used:])
    return b"".join(parts)
