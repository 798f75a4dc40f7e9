"""What a write adds to one month: of each round only what comes after the longest part that is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from monitor.rounds import Conversation, Position
from monitor.store.history.memory import Remembered
from monitor.store.history.pieces import NOTHING, Packer, Payload, Said, find, without
from monitor.store.history.tables import row_proof, second_of

#: A longer run of messages is cut into several pieces, so that an edit near its end repeats little.
PIECE_BYTES = 32_768

#: A round's key, its start in milliseconds, and what was said.
Entry = tuple[bytes, int, Conversation]


class Known(msgspec.Struct, frozen=True, gc=False):
    """A piece that can be built on. `said` is None where it is not at hand."""

    seq: int
    start: int
    said: Said | None = None


class Batch:
    """The rounds of one transaction on one file, collected and then inserted."""

    def __init__(self, db: sqlite3.Connection, pack: Packer, known: Remembered[bytes, Known], *, careful: bool) -> None:
        """`known`: pieces that were written before. `careful`: some rounds or pieces may be there already."""
        self._db = db
        self._pack = pack
        self._known = known
        self._careful = careful
        self._pieces: list[tuple[object, ...]] = []
        self._own: list[tuple[object, ...]] = []
        self._rounds: list[tuple[object, ...]] = []
        self._next_piece: int = db.execute("SELECT ifnull(max(seq), 0) + 1 FROM piece").fetchone()[0]
        self._next_own: int = db.execute("SELECT ifnull(max(seq), 0) + 1 FROM said").fetchone()[0]

    def write(self, entries: Sequence[Entry]) -> bool:
        """Returns whether a round was there already. Raises IntegrityError for that, unless careful."""
        seen: set[tuple[int, bytes]] = set()
        again = False
        for key, started_at, conversation in entries:
            second = second_of(started_at)
            if self._careful:
                if (second, key) in seen or self._db.execute(
                    "SELECT 1 FROM round WHERE second = ? AND key = ?", (second, key)
                ).fetchone():
                    again = True
                    continue
                seen.add((second, key))
            self._add(key, second, conversation)
        self._db.executemany("INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?)", self._pieces)
        self._db.executemany("INSERT INTO said VALUES (?, ?)", self._own)
        self._db.executemany("INSERT INTO round VALUES (?, ?, ?, ?, ?, ?)", self._rounds)
        return again

    def _add(self, key: bytes, second: int, conversation: Conversation) -> None:
        base, messages = conversation.base, conversation.messages
        question: bytes | tuple[int, int] | None = conversation.question
        if messages and conversation.question is not None:
            offset = find(messages[-1], conversation.question)
            if offset >= 0:
                question = offset, len(conversation.question)
        said = Said(
            conversation.answer,
            conversation.reasoning,
            conversation.tool_calls,
            question,
            conversation.truncated,
        )
        mine = False  # whether the piece where this round ends is its own, and carries what it said
        parent = self._find(base.digest) if base.count else None
        place: Known | None
        if parent is not None:
            start = base.count
            if not messages:
                place = parent
            else:
                place = self._known_end(conversation.end.digest)
                if place is None:
                    mine = True
                    place = self._store_new(base, parent, messages, conversation.end, start, said, conversation.passing)
        else:
            if base.count:
                if conversation.whole is None:
                    raise ValueError(f"round {key.hex()}: a conversation with a base needs `whole`")
                messages = conversation.whole()
            place, start, mine = self._from_the_start(conversation.system, messages, said, conversation.passing)
            if base.count:
                start = base.count
        if place is None:
            self._end(second, key, None, self._say(said), None)
            return
        own = None if mine else self._say(said)
        # A round that brought nothing new added what the first round in its place did.
        added = None if start == place.start or start >= base.count + len(messages) else start
        self._end(second, key, place.seq, own, added)

    def _end(self, second: int, key: bytes, piece: int | None, own: int | None, start: int | None) -> None:
        self._rounds.append((second, key, piece, own, start, row_proof(key, piece, own, start)))

    def _from_the_start(
        self, system: bytes | None, messages: tuple[bytes, ...], said: Said, passing: int
    ) -> tuple[Known | None, int, bool]:
        """Store a conversation that is given completely behind the longest part of it that is known.

        Returns the piece where it ends, how many messages were there before, and whether the piece is new.
        """
        begin = Position.start(system)
        trail = begin.trail(messages)
        leading = leading_instructions(messages)
        depth, parent = self._deepest(begin, trail, leading)
        if parent is None and system is not None:
            parent = self._keep(begin, None, [system], start=0)
        if depth == len(messages):
            return parent, depth, False
        start = 0 if depth <= leading else depth
        at = trail[depth - 1] if depth else begin
        if depth < leading < len(messages):
            # What leads is likely to lead other conversations too.
            end = trail[leading - 1]
            parent = self._store(at, parent, messages[depth:leading], end, start=start)
            at, depth = end, leading
        return self._store_new(at, parent, messages[depth:], trail[-1], start, said, passing), start, True

    def _deepest(self, begin: Position, trail: list[Position], leading: int) -> tuple[int, Known | None]:
        """How much of a conversation is known, in messages, and the piece that ends there."""
        if not self._careful:
            for at in reversed(trail[leading:]):
                if (known := self._known.get(at.digest)) is not None:
                    return at.count, known
        places = [at for at in (begin, *trail) if at.digest]
        while places:
            part, places = places[-250:], places[:-250]
            found = {at.digest: self._known.get(at.digest) for at in part}
            marks = ",".join("?" * len(part))
            for id_, seq, start in self._db.execute(
                f"SELECT id, seq, start FROM piece WHERE id IN ({marks})",
                [at.digest for at in part],
            ):
                found[id_] = found[id_] or Known(seq, start)
            for at in reversed(part):
                if (known := found[at.digest]) is not None:
                    return at.count, known
        return 0, None

    def _known_end(self, digest: bytes) -> Known | None:
        """The piece that ends there, if it is there. Unless careful, a guess that the database checks."""
        return self._find(digest) if self._careful else self._known.get(digest)

    def _find(self, digest: bytes) -> Known | None:
        known = self._known.get(digest)
        if known is None:
            row = self._db.execute("SELECT seq, start FROM piece WHERE id = ?", (digest,)).fetchone()
            if row is not None:
                known = Known(*row)
                self._known.put(digest, known, 300)
        return known

    def _store_new(
        self,
        at: Position,
        parent: Known | None,
        messages: Sequence[bytes],
        end: Position,
        start: int,
        said: Said,
        passing: int,
    ) -> Known:
        """Store what a round added, cut before the messages that the next round will not have."""
        if 0 < passing < len(messages):
            staying, messages = messages[:-passing], messages[-passing:]
            before, at = at, at.after(staying)
            parent = self._known_end(at.digest) or self._store(before, parent, staying, at, start=start)
        return self._store(at, parent, messages, end, start=start, said=said)

    def _store(
        self,
        at: Position,
        parent: Known | None,
        messages: Sequence[bytes],
        end: Position,
        *,
        start: int,
        said: Said | None = None,
    ) -> Known:
        """Store `messages`, which lead from `at` to `end`, as one piece or, if they are long, as several."""
        holes: Sequence[tuple[int, int, int]] = ()
        texts = messages
        if parent is not None and parent.said is not None:
            rest, holes = without(messages[0], parent.said)
            if holes:
                texts = [rest, *messages[1:]]
        if len(messages) > 1 and sum(map(len, messages)) > PIECE_BYTES:
            size, first = 0, 0
            for i, message in enumerate(messages):
                if size and size + len(message) > PIECE_BYTES:
                    at = at.after(messages[first:i])
                    # Another conversation may have been cut here too, and have gone on differently.
                    parent = self._known_end(at.digest) or self._keep(
                        at, parent, texts[first:i], start=start, holes=holes
                    )
                    size, first, holes = 0, i, ()
                size += len(message)
            texts = texts[first:]
        return self._keep(end, parent, texts, start=start, said=said, holes=holes)

    def _keep(
        self,
        end: Position,
        parent: Known | None,
        texts: Sequence[bytes],
        *,
        start: int,
        said: Said | None = None,
        holes: Sequence[tuple[int, int, int]] = (),
    ) -> Known:
        seq = self._next_piece
        self._next_piece += 1
        z, size = self._pack(Payload(texts, said, holes))
        self._pieces.append((seq, end.digest, parent.seq if parent else None, end.count, start, z))
        known = Known(seq, start, said)
        self._known.put(end.digest, known, 400 if said is None else 400 + size)
        return known

    def _say(self, said: Said) -> int:
        if said == NOTHING:
            return 0
        seq = self._next_own
        self._next_own += 1
        self._own.append((seq, self._pack(said)[0]))
        return seq


class _Role(msgspec.Struct):
    role: str = ""


_role: Callable[[bytes], _Role] = msgspec.json.Decoder(_Role).decode


def leading_instructions(messages: Sequence[bytes]) -> int:
    """How many messages at the beginning are instructions of whoever built the agent."""
    for i, message in enumerate(messages):
        try:
            if _role(message).role not in {"system", "developer"}:
                return i
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return i
    return len(messages)
