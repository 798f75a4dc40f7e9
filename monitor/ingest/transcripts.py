"""OpenClaw's transcripts as a source that is followed: what its state folder holds becomes batches for the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import xxhash

from monitor.ingest import Signature, SourceProblem, SourceState
from monitor.prices.catalog import Catalog
from monitor.prices.live import LiveCatalog
from monitor.rounds import Round
from monitor.sources.openclaw import Cursor, Found, Passed, StateFolder
from monitor.store.base import Batch, Checkpoint, PricedRound, SessionName, SkippedLines, Store

_SAMPLE_BYTES = 400
#: The part of a cursor that stands for the whole folder.
_WHOLE = "*"

_cursors = msgspec.msgpack.Decoder(Cursor)


class TranscriptSource:
    """One OpenClaw state folder: its reader, and the checkpoints that go with its rounds."""

    def __init__(
        self,
        path: Path,
        store: Store,
        catalog: Catalog | LiveCatalog,
        *,
        keep_content: bool = True,
    ) -> None:
        self.name = str(path)
        self.path = path
        self._store = store
        self._catalog = catalog
        self._keep_content = keep_content
        self._reader: StateFolder | None = None
        self._look: tuple[int, bytes] | None = None
        #: What the store was last told of the whole folder.
        self._told: bytes | None = None

    @property
    def reader(self) -> StateFolder:
        """The folder, from where the store says that it was read to."""
        if self._reader is None:
            known = {c.id: c.position for c in self._store.checkpoints(self.name)}
            self._told = known.pop(_id_of(self.name, self.name, _WHOLE), None)
            cursors = map(_cursors.decode, known.values())
            self._reader = StateFolder(self.path, cursors, keep_content=self._keep_content)
        return self._reader

    def restart(self) -> None:
        """Go back to what the store has."""
        self._reader = self._look = self._told = None

    def close(self) -> None:
        """Nothing is held open between two readings."""

    def batches(self) -> Iterator[Batch]:
        """What came since the last time."""
        self._look = self.reader.look()
        for found in self.reader.read():
            yield self._batch(found)

    def grown(self, seen: Signature | None) -> list[Checkpoint]:
        """That the folder was read as it stood when the pass began, where that is not known yet."""
        if self._look is None:
            return []
        size, digest = self._look
        cursor = Cursor(str(self.path), _WHOLE, size, digest)
        kept = self._checkpoint(cursor, size)
        if kept.position == self._told:
            return []
        self._told = kept.position
        return [kept]

    def state(self) -> SourceState:
        """How this source stands now."""
        reader = self.reader
        return SourceState(
            self.name,
            exists=self.path.is_dir(),
            pending_bytes=0,
            problems=tuple(SourceProblem(self.name, trouble.path, trouble.what) for trouble in reader.troubles),
            notes=tuple(f"{note.path} {note.what}" for note in reader.notes),
        )

    def signature(self) -> Signature | None:
        """What all files of the folder are like now."""
        return signature_of(self.path)

    @property
    def watched(self) -> Sequence[Path]:
        """What tells of changes."""
        return StateFolder(self.path).watched()

    # -- batches ----------------------------------------------------------------------------------

    def _batch(self, found: Found) -> Batch:
        return Batch(
            rounds=[self._priced(round_) for round_ in found.calls],
            skipped=self._skipped(found.passed),
            names=[SessionName(n.session_id, n.key, n.parent, n.channel) for n in found.names],
            checkpoints=[self._checkpoint(cursor, cursor.size or max(cursor.at, 0)) for cursor in found.cursors],
        )

    def _priced(self, round_: Round) -> PricedRound:
        if not self._keep_content and round_.extra is not None:
            extra = msgspec.json.decode(round_.extra)
            extra.pop("fields", None)
            round_ = msgspec.structs.replace(round_, extra=msgspec.json.encode(extra))
        cost = self._catalog.cost(round_.model, round_.host, round_.started_at, round_.usage)
        return PricedRound(round_, cost)

    def _skipped(self, passed: Sequence[Passed]) -> list[SkippedLines]:
        by_reason: dict[str, list[Passed]] = {}
        for one in passed:
            by_reason.setdefault(one.reason, []).append(one)
        return [
            SkippedLines(self.name, reason, len(some), some[-1].record[:_SAMPLE_BYTES] if self._keep_content else b"")
            for reason, some in by_reason.items()
        ]

    def _checkpoint(self, cursor: Cursor, size: int) -> Checkpoint:
        return Checkpoint(
            id=_id_of(self.name, cursor.path, cursor.part),
            source=self.name,
            path=cursor.path,
            offset=max(cursor.at, 0),
            size=size,
            position=msgspec.msgpack.encode(cursor),
        )


def _id_of(source: str, path: str, part: str) -> bytes:
    return xxhash.xxh3_128_digest(f"{source}\0{path}\0{part}".encode("utf-8", "surrogateescape"))


def signature_of(path: Path) -> Signature | None:
    """What is different whenever something in a state folder changes; None where there is no such folder."""
    folder = StateFolder(path)
    if not path.is_dir():
        return None
    size, digest = folder.look()
    return int.from_bytes(digest, "big"), 0, size


def unread_bytes(path: Path, checkpoints: Sequence[Checkpoint]) -> int:
    """How many bytes of a state folder nobody has read, as far as that can be told from outside; 1 where it can't."""
    if not path.is_dir():
        return 0
    size, digest = StateFolder(path).look()
    whole = _id_of(str(path), str(path), _WHOLE)
    for checkpoint in checkpoints:
        if checkpoint.id == whole:
            cursor = _cursors.decode(checkpoint.position)
            return 0 if cursor.mark == digest else max(1, size - cursor.at)
    return size
