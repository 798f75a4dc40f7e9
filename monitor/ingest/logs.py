"""Logs as sources: a file with its rotations, or standard input; records become priced rounds with checkpoints."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import xxhash

from monitor.ingest.pieces import ReadChunk
from monitor.ingest.source import Keeper, Occurrence, Reader, Signature, SourceProblem, SourceState, signature_of
from monitor.prices.catalog import Catalog
from monitor.prices.live import LiveCatalog
from monitor.rounds import Round, without_text
from monitor.sources.higress import HigressReader
from monitor.sources.reading import Reading, Skipped
from monitor.sources.tail import Chunk, FileState, Tail, codec_of
from monitor.sources.wrap import Record, Unwrapper, kind_of
from monitor.store.base import Batch, Checkpoint, PricedRound, SkippedLines, SourceSeen, Store

if TYPE_CHECKING:
    from monitor.ingest.intake import Intake

log = logging.getLogger("monitor.ingest")

#: What a sample is cut from: more, so that a secret in it is whole while it is looked for.
_LOOKED_AT_BYTES = 8192
_STREAM_BYTES = 8 << 20

_state_decoder = msgspec.msgpack.Decoder(FileState)


class _Source:
    """What sources of records have in common: a record becomes a priced round, or is counted as skipped."""

    def __init__(
        self, name: str, catalog: Catalog | LiveCatalog, keep_content: bool, reader: Reader | None = None
    ) -> None:
        self.name = name
        self._catalog = catalog
        self._keep_content = keep_content
        self._reader = reader if reader is not None else HigressReader()

    def _read(self, records: Iterable[Record]) -> Iterator[tuple[int, Reading | Skipped]]:
        """What each record says, with the offset behind it."""
        read = self._reader.read
        return ((record.end, read(record.text)) for record in records)

    def _batch(
        self, readings: Iterable[tuple[int, Reading | Skipped]], counts: Callable[[], dict[bytes, int]]
    ) -> tuple[Batch, list[Occurrence]]:
        """The rounds of records; `counts` gives how often records with nothing unique stood in their file so far."""
        rounds: list[PricedRound] = []
        skipped: dict[str, int] = {}
        samples: dict[str, bytes] = {}
        occurred: list[Occurrence] = []
        cost = self._catalog.cost
        for end, reading in readings:
            if isinstance(reading, Skipped):
                skipped[reading.reason] = skipped.get(reading.reason, 0) + 1
                if reading.record and self._keep_content:
                    samples[reading.reason] = reading.record[:_LOOKED_AT_BYTES]
                continue
            round_ = reading.round
            if not reading.unique:
                known = counts()
                n = known[round_.key] = known.get(round_.key, 0) + 1
                occurred.append((end, round_.key, n))
                round_ = _nth(round_, n)
            if not self._keep_content:
                round_ = without_text(round_)
            priced = reading.cost or cost(round_.model, round_.host, round_.started_at, round_.usage)
            rounds.append(PricedRound(round_, priced))
        lines = [SkippedLines(self.name, reason, n, samples.get(reason, b"")) for reason, n in skipped.items()]
        return Batch(rounds=rounds, skipped=lines), occurred


class StreamSource(_Source):
    """Standard input: read once, to its end. Nothing is resumed; records are known by their content."""

    watched: Sequence[Path] = ()

    def __init__(
        self,
        descriptor: int,
        catalog: Catalog | LiveCatalog,
        *,
        keep_content: bool = True,
        reader: Reader | None = None,
    ) -> None:
        super().__init__("-", catalog, keep_content, reader)
        self._stream = BufferedReader(FileIO(descriptor, closefd=False))
        self._unwrapper = Unwrapper()
        self._counts: dict[bytes, int] = {}

    def batches(self) -> Iterator[Batch]:
        """What comes in, a chunk a batch, until the stream ends."""
        offset, torn = 0, b""
        while data := self._stream.read1(_STREAM_BYTES):  # what is there, without waiting for more
            *lines, torn = (torn + data).split(b"\n")
            yield self._lines(lines, offset)
            offset += sum(map(len, lines)) + len(lines)
        if torn:
            # Nothing can follow any more: the last line is complete although no line end says so.
            yield self._lines([torn], offset)

    def signature(self) -> Signature | None:
        """Nobody can tell what a stream still holds."""
        return None

    def _lines(self, lines: list[bytes], offset: int) -> Batch:
        return self._batch(self._read(self._unwrapper.records(lines, offset)), lambda: self._counts)[0]

    def grown(self, seen: Signature | None) -> list[Checkpoint]:
        """Nothing to resume from."""
        return []

    def restart(self) -> None:
        """What was read from a stream can't be read again."""

    def close(self) -> None:
        """The stream belongs to the process."""

    def state(self) -> SourceState:
        """A stream that was read to its end."""
        return SourceState(self.name, exists=True, pending_bytes=0)


class LogSource(_Source):
    """One configured log: its files, its reader, and the checkpoints that go with its rounds."""

    def __init__(
        self,
        path: Path,
        store: Store,
        catalog: Catalog | LiveCatalog,
        *,
        max_rotate: int = 100,
        keep_content: bool = True,
        reader: Reader | None = None,
        name: str | None = None,
        origin: str | None = None,
        lines_kept_by: Keeper | None = None,
        intake: Intake | None = None,
    ) -> None:
        """`name`: of the source that this log belongs to, else the path. `origin`: see `Batch.origin`.

        `intake`: what follows the log also while the store is away; without one this does, and waits for the store.
        """
        super().__init__(name or str(path), catalog, keep_content, reader)
        self.path = path
        self._is_part = name is not None
        self._origin = origin
        self._store = store
        self._keeper = lines_kept_by
        self._max_rotate = max_rotate
        self._unwrappers: dict[bytes, Unwrapper] = {}
        self._occurrences: dict[bytes, dict[bytes, int]] = {}
        #: Occurrences behind the checkpoint of a file: kept once the checkpoint has passed them.
        self._later: dict[bytes, list[Occurrence]] = {}
        #: Of files with an unfinished record: the state before it.
        self._held: dict[bytes, FileState] = {}
        self._sizes: dict[bytes, int] = {}
        self._intake = intake
        self._tail: Tail | Intake | None = None
        self._looked_for_lost = False

    @property
    def tail(self) -> Tail | Intake:
        """The files, from where the store says that they were read to."""
        if self._tail is None:
            told = [c for c in self._store.checkpoints(self.name) if not self._is_part or c.path == str(self.path)]
            known = [_state_decoder.decode(c.position) for c in told]
            self._sizes = {state.id: c.size for state, c in zip(known, told, strict=True)}
            if self._intake is not None:
                self._intake.resume(known)
            self._tail = self._intake or Tail(self.path, max_rotate=self._max_rotate, known=known)
        return self._tail

    def restart(self) -> None:
        """Go back to what the store has: something that was read could not be kept."""
        if self._intake is not None:
            self._intake.rewind()
        elif self._tail is not None:
            self._tail.close()
        self._tail = None
        self._unwrappers.clear()
        self._held.clear()
        self._occurrences.clear()
        self._later.clear()
        self._reader.forget()

    def close(self) -> None:
        """Let go of the files."""
        if self._tail is not None and self._intake is None:  # an intake is closed by whoever opened it
            self._tail.close()
        self._tail = None

    def batches(self) -> Iterator[Batch]:
        """What the log has gained since the last time, a chunk a batch."""
        for chunk in self.tail.read():
            yield self.batch(chunk)
        if self._intake is not None:
            for one in self._intake.spool.losses.untold():
                # Also those must hear of it who ask from elsewhere.
                yield Batch(seen=[SourceSeen(self.name, missed_path=one.path, missed_at=one.at)])
                self._intake.spool.losses.tell(one)
        if not self._looked_for_lost:
            self._looked_for_lost = True
            lost = self.tail.vanished()
            if lost is not None:
                log.warning("%s was rotated away before it was read to its end: lines may be lost", lost.path)
                seen = SourceSeen(self.name, missed_path=lost.path, missed_at=lost.mtime_ns // 1_000_000)
                yield Batch(seen=[seen])

    def batch(self, chunk: Chunk) -> Batch:
        """The rounds of one chunk with the checkpoint behind it."""
        file = chunk.state.id
        if self._keeper is not None:
            self._keeper.keep(file, chunk.start, chunk.lines)
        if chunk.fresh:
            self._unwrappers[file] = Unwrapper()
            self._occurrences[file] = {}
            self._later.pop(file, None)
        unwrapper = self._unwrappers.setdefault(file, Unwrapper())
        ready = chunk if isinstance(chunk, ReadChunk) else None
        told = ready.readings if ready is not None else self._read(unwrapper.records(chunk.lines, chunk.start))
        kept_as = self._key(file)
        batch, occurred = self._batch(told, lambda: self._counts(file))
        state = self._taken(chunk, unwrapper.held)
        # Others are told what was read so far; that no more can be read for now, at the end of the pass (`grown`).
        read = state.size if state.done else min(state.offset, state.size)
        batch.checkpoints.append(self._checkpoint(state, read))
        batch.origin = self._origin
        if chunk.lines or (ready is not None and ready.readings):
            kind = ready.form if ready is not None else kind_of(chunk.lines[-1])
            form = kind, codec_of(state.path).removeprefix(".")
            batch.seen.append(SourceSeen(self.name, ", ".join(filter(None, form))))
        # What lies behind the checkpoint is read again after a restart, and must be numbered as it was.
        occurred = self._later.pop(file, []) + occurred
        batch.occurrences = {(kept_as, key): n for end, key, n in occurred if end <= state.offset}
        later = [one for one in occurred if one[0] > state.offset]
        if later:
            self._later[file] = later
        if chunk.fresh:
            batch.restarted.append(kept_as)
        return batch

    @property
    def watched(self) -> Sequence[Path]:
        """The live file."""
        return (self.path,)

    def signature(self) -> Signature | None:
        """Device, inode and size of the live file."""
        return signature_of(self.path)

    def _key(self, file: bytes) -> bytes:
        """What the store calls a file: two sources may lead to one, and each reads it for itself."""
        return xxhash.xxh3_128_digest(file + os.fsencode(self.name))

    def _taken(self, chunk: Chunk, held: int | None) -> FileState:
        """The state up to which whole records were taken; `held` is where an unfinished one begins."""
        file = chunk.state.id
        if held is None:
            self._held.pop(file, None)
            return chunk.state
        if held >= chunk.start or file not in self._held:
            count, at = 0, chunk.start
            while at < held:
                at += len(chunk.lines[count]) + 1
                count += 1
            self._held[file] = chunk.state_after(count)
        return self._held[file]

    def _checkpoint(self, state: FileState, seen: int) -> Checkpoint:
        self._sizes[state.id] = seen
        return Checkpoint(
            id=self._key(state.id),
            source=self.name,
            path=state.path,
            offset=state.offset,
            size=seen,
            position=msgspec.msgpack.encode(state),
        )

    def grown(self, seen: Signature | None) -> list[Checkpoint]:
        """Checkpoints of files that only gained a torn line, so that others can see that they were looked at.

        `seen` is what the live file was before the pass that has just looked at all of it.
        """
        checkpoints = []
        for read in self.tail.states():
            state = self._held.get(read.id, read)
            if seen is not None and seen[:2] == (state.device, state.inode) and seen[2] > state.size:
                state = msgspec.structs.replace(state, size=seen[2])
            if self._sizes.get(state.id) != state.size:
                checkpoints.append(self._checkpoint(state, state.size))
        return checkpoints

    def _counts(self, file: bytes) -> dict[bytes, int]:
        """How often records with nothing unique stood in `file` so far."""
        if file not in self._occurrences:
            self._occurrences[file] = dict(self._store.occurrences(self._key(file)))
        return self._occurrences[file]

    def state(self) -> SourceState:
        """How this source stands now."""
        try:
            os.stat(self.path)
            exists = True
        except OSError:
            exists = False
        found = self.tail.problems()
        problems = tuple(SourceProblem(self.name, p.path, f"{p.reason}: {p.remedy}") for p in found)
        live = os.fspath(self.path), os.path.realpath(self.path)
        refused = any(p.kind == "unreadable" and p.path in live for p in found)
        size = signature_of(self.path) if refused else None
        return SourceState(self.name, exists, self.tail.pending_bytes(), problems, size[2] if size is not None else 0)


def _nth(round_: Round, n: int) -> Round:
    if n == 1:
        return round_
    return msgspec.structs.replace(round_, key=xxhash.xxh3_128_digest(round_.key + n.to_bytes(8, "big")))
