"""A container runtime's log line becomes the record that the program wrote.

Docker's json-file driver writes ``{"log":"…\\n","stream":"stdout","time":"…"}``, CRI runtimes (containerd,
CRI-O) write ``2026-02-01T09:30:15.123456789Z stdout F …``. Both cut what is longer than 16 KB into
several lines: docker's pieces but the last have no line end, CRI marks them with ``P``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

#: A record whose last piece never comes is given out as it is at this size.
MAX_HELD_BYTES = 256 * 1024 * 1024
#: What a piece takes in memory besides its text.
_PIECE_BYTES = 64

_CRI = re.compile(rb"(\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::[^ ]*)? ")


class _DockerLine(msgspec.Struct, gc=False):
    log: str
    stream: str = "stdout"


_docker = msgspec.json.Decoder(_DockerLine)


_EDGE = 2048


def kind_of(line: bytes) -> str:
    """What wrote this line down, in a word: ``docker``, ``cri``, ``sls``, ``plain``, or nothing that is known here."""
    if line.startswith(b'{"log":"'):
        return "docker"
    if _CRI.match(line):
        return "cri"
    if line.startswith(b"{"):
        # A collector's own fields stand at an edge; a line may have megabytes between.
        edges = line[:_EDGE] + line[-_EDGE:]
        return "sls" if b'"__time__"' in edges or b'"__topic__"' in edges else "plain"
    return ""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record and where it lay: the bytes from the start of its first line to behind its last."""

    text: bytes
    end: int


class _Open(msgspec.Struct):
    """A record of which not all pieces have come."""

    begin: int
    pieces: list[bytes] = []
    size: int = 0


class Unwrapper:
    """Puts the records of one file together. Pieces wait for their end, each stream for itself."""

    def __init__(self, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_held = max_held_bytes
        self._open: dict[str, _Open] = {}

    @property
    def held(self) -> int | None:
        """Where the oldest unfinished record begins: reading must resume there after a restart."""
        return min((unfinished.begin for unfinished in self._open.values()), default=None)

    def records(self, lines: Sequence[bytes], start: int) -> Iterator[Record]:
        """The records that `lines` complete; `start` is the offset of the first line in its file."""
        end = start
        for line in lines:
            begin, end = end, end + len(line) + 1
            first = line[:1]
            if first == b"{":
                if line.startswith(b'{"log":"'):
                    try:
                        wrapped = _docker.decode(line)
                    except ValueError:  # of another shape, or not UTF-8
                        yield Record(line, end)
                        continue
                    text = wrapped.log.encode()
                    yield from self._piece(wrapped.stream, text.rstrip(b"\r\n"), text.endswith(b"\n"), begin, end)
                else:
                    yield Record(line, end)
            elif first.isdigit() and (match := _CRI.match(line)) is not None:
                yield from self._piece(
                    match[2].decode(),
                    line[match.end() :].rstrip(b"\r"),
                    match[3] == b"F",
                    begin,
                    end,
                )
            else:
                yield Record(line, end)

    def _piece(self, stream: str, text: bytes, last: bool, begin: int, end: int) -> Iterator[Record]:
        unfinished = self._open.get(stream)
        if not last:
            if unfinished is None:
                unfinished = self._open[stream] = _Open(begin)
            unfinished.pieces.append(text)
            unfinished.size += len(text) + _PIECE_BYTES
            if unfinished.size <= self._max_held:
                return
            text = b""
        if unfinished is not None:
            del self._open[stream]
            text = b"".join((*unfinished.pieces, text))
        yield Record(text, end)
