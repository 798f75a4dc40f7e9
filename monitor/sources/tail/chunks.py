"""What a tail hands out: lines, and the state that is true once they are taken."""

from __future__ import annotations

import msgspec

from monitor.sources.tail.content import digest, window_behind


class FileState(msgspec.Struct, frozen=True):
    """How far one file was read. Kept by the store, committed with what the lines became.

    `id`: 16 bytes, the same for as long as this content is followed, under whatever name.
    `offset`: bytes consumed of the (decompressed) content, always just behind a line end.
    `tail`: xxh3-128 of the up to 1024 bytes before `offset`.
    `fingerprint`: xxh3-128 of the first `fingerprint_size` bytes.
    `path`, `device`, `inode`, `mtime_ns` and `size` (bytes on disk) are from the last look.
    `done`: a compressed file, read to its end; need not be opened while those hints hold.
    """

    id: bytes
    path: str
    fingerprint: bytes
    fingerprint_size: int
    offset: int
    tail: bytes
    size: int
    device: int
    inode: int
    mtime_ns: int
    done: bool = False


class Chunk(msgspec.Struct, frozen=True):
    """Lines that follow each other in one file.

    `state` holds after all of them were taken. `lines` are complete and without the line feed (a
    carriage return stays). `start` is the offset of the first one; each next one starts
    ``len(line) + 1`` bytes later. `fresh`: this is the beginning of the file. `lines` is empty
    where only the state moved: a line over the limit was skipped (`skipped` bytes), or a compressed
    file turned out to be read already.
    """

    state: FileState
    lines: list[bytes]
    start: int
    fresh: bool
    skipped: int = 0
    #: Up to 1024 bytes before `start`.
    before: bytes = b""

    def state_after(self, count: int) -> FileState:
        """The state after the first `count` lines only, 0 <= count <= len(lines).

        For records that span lines: commit this while the rest of the record is pending, keep the
        pending lines, and go on with the next chunk. After a restart the lines behind come again.
        """
        if not 0 <= count <= len(self.lines):
            raise ValueError(f"a chunk of {len(self.lines)} lines has no state after {count}")
        if count == len(self.lines):
            return self.state
        taken = self.lines[:count]
        return msgspec.structs.replace(
            self.state,
            offset=self.start + sum(map(len, taken)) + count,
            tail=digest(window_behind(self.before, taken)),
            done=False,
        )
