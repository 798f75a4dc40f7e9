"""A container runtime's log line becomes the record that the program wrote.

Docker's json-file driver writes ``{"log":"…\\n","stream":"stdout","time":"…"}``, CRI runtimes (containerd,
CRI-O) write ``2026-02-01T09:30:15.123456789Z stdout F …``. Both cut what is longer than 16 KB into
several lines: docker's pieces but the last have no line end, CRI marks them with ``P``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from monitor.sources.times import epoch_ms

_CRI = re.compile(rb"(\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::[^ ]*)? ")


class _DockerLine(msgspec.Struct, gc=False):
    log: str
    stream: str = "stdout"
    time: str | None = None


_docker = msgspec.json.Decoder(_DockerLine)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record and where it lay: the bytes from the start of its first line to behind its last."""

    text: bytes
    end: int
    #: When the runtime took the line, milliseconds since 1970; None for a file that was written directly.
    received_ms: int | None = None


class Unwrapper:
    """Puts the records of one file together. Pieces wait for their end, each stream for itself."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, list[bytes]]] = {}

    @property
    def held(self) -> int | None:
        """Where the oldest unfinished record begins: reading must resume there after a restart."""
        return min((start for start, _ in self._open.values()), default=None)

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
                    except msgspec.MsgspecError:
                        yield Record(line, end)
                        continue
                    text = wrapped.log.encode()
                    yield from self._piece(
                        wrapped.stream, text.rstrip(b"\r\n"), text.endswith(b"\n"), begin, end, wrapped.time
                    )
                else:
                    yield Record(line, end)
            elif first.isdigit() and (match := _CRI.match(line)) is not None:
                yield from self._piece(
                    match[2].decode(),
                    line[match.end() :].rstrip(b"\r"),
                    match[3] == b"F",
                    begin,
                    end,
                    match[1].decode(),
                )
            else:
                yield Record(line, end)

    def _piece(
        self, stream: str, text: bytes, last: bool, begin: int, end: int, received: str | None
    ) -> Iterator[Record]:
        if not last:
            self._open.setdefault(stream, (begin, []))[1].append(text)
            return
        if stream in self._open:
            _, pieces = self._open.pop(stream)
            text = b"".join((*pieces, text))
        yield Record(text, end, epoch_ms(received))
