"""How a chain of pieces is named, and what stands in a piece."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import zstandard

from monitor.rounds import UNKNOWN_TIME, Position
from monitor.store.base import StoreError
from monitor.store.history.batch import leading_instructions
from monitor.store.history.pieces import Said
from monitor.store.history.tables import month_of

#: The month of rounds without a usable time.
UNDATED = month_of(UNKNOWN_TIME)
#: What comes before the first piece of a chain.
BEGIN = b""
#: A round that brought no messages added what the first round to end in its place did.
AS_ITS_PLACE = -1


class Piece(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True, gc=False):
    """The messages between two positions; or the system prompt alone that stood beside the messages."""

    messages: Sequence[bytes] = ()
    system: bytes | None = None
    #: How many messages lie before those that the first round to end here added.
    start: int = 0


class Codec:
    """Makes what is said to bytes and back: msgpack in one zstd frame."""

    def __init__(self) -> None:
        self._compress = zstandard.ZstdCompressor(level=3, write_checksum=True).compress
        self._encode = msgspec.msgpack.Encoder().encode
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._piece = msgspec.msgpack.Decoder(Piece).decode
        self._said = msgspec.msgpack.Decoder(Said).decode

    def pack(self, value: Piece | Said) -> bytes:
        """What is stored of a value."""
        return self._compress(self._encode(value))

    def piece(self, z: bytes, where: str) -> Piece:
        """A piece; raises StoreError where it is damaged."""
        try:
            return self._piece(self._decompress(z))
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise StoreError(f"{where} is damaged: {error}") from error

    def said(self, z: bytes, where: str) -> Said:
        """What was said besides the messages; raises StoreError where it is damaged."""
        try:
            return self._said(self._decompress(z))
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise StoreError(f"{where} is damaged: {error}") from error


def first_of(month_: str) -> int:
    """Where a month begins, ms since 1970: the time that its pieces have, whoever writes them."""
    return int(datetime(int(month_[:4]), int(month_[4:]), 1, tzinfo=UTC).timestamp()) * 1000


def opening(system: bytes | None, messages: Sequence[bytes]) -> tuple[bytes, bool]:
    """What tells a conversation apart that belongs to no session: the digest behind the first thing that was said.

    `messages` are all of them. Also whether anything was said besides the instructions of whoever built the agent:
    as long as nothing was, they may lead to conversations with other openings.
    """
    leading = leading_instructions(messages)
    return Position.start(system).after(messages[: leading + 1]).digest, len(messages) > leading
