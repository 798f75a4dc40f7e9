"""The decompressed content of a rotated file, piece by piece."""

from __future__ import annotations

import os
import zlib
from typing import Literal

import zstandard

from monitor.sources.tail.content import FINGERPRINT_MOST, WINDOW, has_fingerprint

#: Decompressed bytes that are asked for at a time.
PIECE = 1 << 18


class Stream:
    """The decompressed bytes of an open file, front to back, in bounded pieces.

    `end`, once `read` has returned nothing: "complete", "cut" (more should follow) or "corrupt".
    """

    def __init__(self, fd: int, codec: str) -> None:
        self._fd = fd
        self._codec = codec
        self._decode = _DECODERS[codec]()
        self._fed = False
        self._members = 0
        self._input = b""
        self._left = b""
        self.end: Literal["complete", "cut", "corrupt"] | None = None
        self.reason = ""
        #: Compressed bytes taken from the file.
        self.taken = 0
        #: Decompressed bytes handed out.
        self.position = 0
        #: Where the consumer stands, and the bytes before that.
        self.offset = 0
        self.before = b""

    def read(self, most: int) -> bytes:
        """The next bytes, `most` or fewer; none at the end."""
        if not self._left:
            self._left = self._next(most)
        data, self._left = self._left[:most], self._left[most:]
        self.position += len(data)
        return data

    def push_back(self, data: bytes) -> None:
        """`data`, the last that was read, comes again."""
        self._left = data + self._left
        self.position -= len(data)

    def peek_head(self) -> bytes:
        """As much of the beginning as a fingerprint needs."""
        head = b""
        while not has_fingerprint(head):
            piece = self.read(65536)
            if not piece:
                break
            head += piece
        self.push_back(head)
        return head[:FINGERPRINT_MOST]

    def skip_to(self, offset: int) -> bytes | None:
        """Go to `offset`; the up to `WINDOW` bytes before it, or None if the content is shorter.

        Only forward: from the beginning, or from where the last call stopped.
        """
        window = self.before
        while self.position < offset:
            piece = self.read(min(PIECE, offset - self.position))
            if not piece:
                return None
            window = (window + piece)[-WINDOW:]
        self.before = window
        return window

    def _next(self, most: int) -> bytes:
        while self.end is None:
            if not self._input:
                self._input = os.pread(self._fd, 65536, self.taken)
                self.taken += len(self._input)
                if not self._input and not self._fed:
                    self.end = "complete" if self._members else "cut"
                    return b""
            if not self._fed and self._members and not self._input.strip(b"\0"):
                self._input = b""  # padding behind the last member, as tape and some tools leave it
                continue
            at_end = not self._input
            self._fed = True
            try:
                data, self._input = self._decode(self._input, most)
            except (zlib.error, zstandard.ZstdError) as error:
                self.end, self.reason = "corrupt", str(error)
                return b""
            if self._decode.eof:
                self._members += 1
                self._decode = _DECODERS[self._codec]()
                self._fed = False
            elif at_end and not data:
                self.end = "cut"
            if data:
                return data
        return b""


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.eof = False

    def __call__(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        """(decompressed, input that is left)"""
        out = self._inner.decompress(data, most)
        self.eof = self._inner.eof
        return out, self._inner.unused_data if self.eof else self._inner.unconsumed_tail


class _Zstd:
    #: The decoder cannot bound its output, so its input is bounded: 1 KiB makes 32 MiB at the very worst.
    STEP = 1024

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self.eof = False

    def __call__(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        """(decompressed, input that is left)"""
        out: list[bytes] = []
        have = at = 0
        while at < len(data) and have < most and not self.eof:
            piece = self._inner.decompress(data[at : at + self.STEP])
            at += self.STEP
            out.append(piece)
            have += len(piece)
            self.eof = self._inner.eof
        return b"".join(out), (self._inner.unused_data if self.eof else b"") + data[at:]


_DECODERS: dict[str, type[_Gzip | _Zstd]] = {".gz": _Gzip, ".zst": _Zstd}


def codec_of(path: str) -> str:
    """``.gz`` or ``.zst``, or nothing for a plain file."""
    suffix = os.path.splitext(path)[1]
    return suffix if suffix in _DECODERS else ""
