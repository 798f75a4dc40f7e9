"""What waits in a spool: lines of a log with their place, or where text may not be kept the rounds in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import msgspec

from monitor.ingest.source import Reader
from monitor.prices.money import Cost
from monitor.rounds import Conversation, Position, Round
from monitor.sources.reading import Reading, Reason, Skipped
from monitor.sources.tail import Chunk, FileState
from monitor.sources.wrap import Record, kind_of

#: Makes a round what may be kept of it.
Quiet = Callable[[Round], Round]


class ReadChunk(Chunk, frozen=True):
    """A chunk of which only the rounds are known: `readings` in place of lines, each with the offset behind it."""

    readings: tuple[tuple[int, Reading | Skipped], ...] = ()
    #: How its lines were wrapped, in a word.
    form: str = ""


class _Said(msgspec.Struct, array_like=True, frozen=True):
    """A conversation, all of it."""

    messages: tuple[bytes, ...]
    end: Position
    system: bytes | None
    truncated: bytes | None
    question: bytes | None
    answer: bytes | None
    reasoning: bytes | None
    tool_calls: bytes | None
    passing: int


class _Read(msgspec.Struct, array_like=True, frozen=True):
    """What a record gave."""

    end: int
    #: A `Round` without its conversation, as msgpack; empty where the record is none.
    round: bytes
    unique: bool = False
    cost: Cost | None = None
    said: _Said | None = None
    reason: Reason = "blank"


class Piece(msgspec.Struct, array_like=True, frozen=True):
    """A chunk as it is written down."""

    state: FileState
    start: int
    fresh: bool
    skipped: int
    before: bytes
    #: The lines, each with its line feed.
    text: bytes = b""
    readings: tuple[_Read, ...] | None = None
    form: str = ""

    @classmethod
    def of(cls, chunk: Chunk) -> Self:
        """What is written of a chunk."""
        piece = cls(chunk.state, chunk.start, chunk.fresh, chunk.skipped, chunk.before)
        if isinstance(chunk, ReadChunk):
            readings = tuple(_written(end, one) for end, one in chunk.readings)
            return msgspec.structs.replace(piece, readings=readings, form=chunk.form)
        return msgspec.structs.replace(piece, text=b"\n".join((*chunk.lines, b"")))

    @property
    def size(self) -> int:
        """About how many bytes of the log it stands for."""
        return self.state.offset - self.start

    def follows(self, other: Piece) -> bool:
        """Whether it goes on where `other` ends, in the same file."""
        return (
            self.state.id == other.state.id
            and self.start == other.state.offset
            and not self.fresh
            and not (self.skipped or other.skipped)
            and (self.readings is None) == (other.readings is None)
        )


def chunk_of(pieces: Sequence[Piece]) -> Chunk:
    """One chunk of pieces that follow each other."""
    first, last = pieces[0], pieces[-1]
    if first.readings is not None:
        readings = tuple(_read(one) for piece in pieces for one in piece.readings or ())
        return ReadChunk(
            last.state, [], first.start, first.fresh, first.skipped, first.before, readings=readings, form=last.form
        )
    lines = b"".join(piece.text for piece in pieces).split(b"\n")[:-1]
    return Chunk(last.state, lines, first.start, first.fresh, first.skipped, first.before)


def without_lines(chunk: Chunk, records: Sequence[Record], reader: Reader, quiet: Quiet) -> ReadChunk:
    """What may be kept of a chunk whose text may not be: the rounds of its records, each made `quiet`."""
    readings: list[tuple[int, Reading | Skipped]] = []
    for record in records:
        found = reader.read(record.text)
        if isinstance(found, Skipped):
            readings.append((record.end, Skipped(found.reason)))
        else:
            readings.append((record.end, Reading(quiet(found.round), found.unique, found.cost)))
    form = kind_of(chunk.lines[-1]) if chunk.lines else ""
    return ReadChunk(
        chunk.state,
        [],
        chunk.start,
        chunk.fresh,
        chunk.skipped,
        chunk.before,
        readings=tuple(readings),
        form=form,
    )


class _Kept(Round, frozen=True, kw_only=True):
    """A round as it is written: what was said stands beside it."""

    conversation: None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_round = msgspec.msgpack.Decoder(_Kept).decode
_FIELDS = tuple(name for name in Round.__struct_fields__ if name != "conversation")


def _written(end: int, found: Reading | Skipped) -> _Read:
    if isinstance(found, Skipped):
        return _Read(end, b"", reason=found.reason)
    round_ = found.round
    said = None if round_.conversation is None else _all_of(round_.conversation)
    kept = _encode(msgspec.structs.replace(round_, conversation=None))
    return _Read(end, kept, found.unique, found.cost, said)


def _read(kept: _Read) -> tuple[int, Reading | Skipped]:
    if not kept.round:
        return kept.end, Skipped(kept.reason)
    plain = _decode_round(kept.round)
    said = kept.said
    conversation = None
    if said is not None:
        conversation = Conversation(
            messages=said.messages,
            end=said.end,
            base=Position.start(said.system),
            system=said.system,
            truncated=said.truncated,
            question=said.question,
            answer=said.answer,
            reasoning=said.reasoning,
            tool_calls=said.tool_calls,
            passing=said.passing,
        )
    round_ = Round(**{name: getattr(plain, name) for name in _FIELDS}, conversation=conversation)
    return kept.end, Reading(round_, kept.unique, kept.cost)


def _all_of(c: Conversation) -> _Said:
    messages = c.whole() if c.base.count and c.whole is not None else c.messages
    return _Said(messages, c.end, c.system, c.truncated, c.question, c.answer, c.reasoning, c.tool_calls, c.passing)
