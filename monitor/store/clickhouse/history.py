"""Conversations, each message once: a round keeps only what came after the longest prefix already seen.

A conversation is a chain of pieces, as in `monitor.store.history`; what a piece is called, where it is kept and what
stands in it follow from what was said alone. So two nodes that read the same log write the same rows, whatever they
know of each other, and a piece that was cut in two ways is good in either.

A chain is named by the month and the session of its rounds, so that it lies on one shard and goes with its month;
rounds without a session have the chain of their conversation's opening.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TypeAlias

from monitor.rounds import UNKNOWN_TIME, Conversation, Position
from monitor.store.clickhouse.connection import Database, literal
from monitor.store.clickhouse.pieces import AS_ITS_PLACE, BEGIN, Codec, Piece, first_of, opening
from monitor.store.clickhouse.recalling import content
from monitor.store.clickhouse.rows import Row
from monitor.store.clickhouse.schema import PIECE, SAID
from monitor.store.clickhouse.tables import write
from monitor.store.history.batch import leading_instructions
from monitor.store.history.memory import Remembered
from monitor.store.history.pieces import Said, find
from monitor.store.history.tables import month_of

__all__ = ["History", "content"]

#: A longer run of messages is cut into several pieces, so that an edit near its end repeats little.
PIECE_BYTES = 32_768
#: Pieces whose names are remembered, and openings of conversations without a session.
REMEMBERED = 200_000
#: What is remembered of a chain is looked up again after so long: what no round needs may be taken away, though not
#: before the chain has been left alone for longer than this (see `pruning.QUIET_S`).
TRUSTED_S = 300.0

Messages: TypeAlias = tuple[bytes, ...]


class _Chain:
    """The names of the pieces of a chain, and those that are to be written."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: set[bytes] = {BEGIN}
        self.looked_up = time.monotonic()


class History:
    """Writes conversations. Any thread may call it; calls wait for each other."""

    def __init__(self, connection: Database) -> None:
        """Asks nothing yet."""
        self._connection = connection
        self._codec = Codec()
        self._chains: Remembered[str, _Chain] = Remembered(REMEMBERED)
        self._openings: Remembered[bytes, bytes] = Remembered(REMEMBERED)
        self._lock = threading.Lock()

    def write(self, entries: Sequence[tuple[Row, Conversation]]) -> list[Row]:
        """Keep what was said in rounds; gives their rows with the place where it stands.

        Written again, a conversation changes nothing. Raises StoreError; what was written then is found again by
        its content.
        """
        if not entries:
            return []
        with self._lock:
            named = [self._named(row, conversation) for row, conversation in entries]
            chains = self._look_up(dict.fromkeys(name for name, _ in named))
            ver = time.time_ns()
            pieces: list[tuple[object, ...]] = []
            said: list[tuple[object, ...]] = []
            rows: list[Row] = []
            for (row, conversation), (name, messages) in zip(entries, named, strict=True):
                growing = _Growing(chains[name], self._codec, ver)
                end, new_from, last = growing.add(row.key, conversation, messages)
                pieces += growing.rows
                z = self._codec.pack(_said(conversation, last))
                at = row.at if month_of(row.at) == name[:6] else UNKNOWN_TIME
                said.append((name, row.key, end, new_from, at, z, 0, ver))
                rows.append(row._replace(chain=name, said_key=row.key))
            try:
                # A round that says where it ends comes after the pieces that lead there.
                write(self._connection, PIECE, pieces)
                write(self._connection, SAID, said)
            except BaseException:
                self._forget()
                raise
            for name, chain in chains.items():
                self._chains.put(name, chain, len(chain.known))
            return rows

    def forget(self) -> None:
        """Drop what is remembered of what is there."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._chains.clear()
        self._openings.clear()

    # -- chains -----------------------------------------------------------------------------------

    def _named(self, row: Row, conversation: Conversation) -> tuple[str, Messages | None]:
        """The chain of a round, and all messages of its conversation where they were needed to name it."""
        when = month_of(row.at)
        if row.session:
            return f"{when}:{row.session}", None
        base = conversation.base
        if base.count and (known := self._openings.get(base.digest)) is not None:
            self._openings.put(conversation.end.digest, known, 1)
            return f"{when}:~{known.hex()}", None
        messages = everything(row.key, conversation)
        digest, settled = opening(conversation.system, messages)
        if settled:
            self._openings.put(conversation.end.digest, digest, 1)
        return f"{when}:~{(digest or row.key).hex()}", messages

    def _look_up(self, names: Iterable[str]) -> dict[str, _Chain]:
        """What there is of chains, as far as it is remembered and else from the table."""
        chains: dict[str, _Chain] = {}
        asked: list[str] = []
        oldest = time.monotonic() - TRUSTED_S
        for name in names:
            chain = self._chains.get(name)
            if chain is None or chain.looked_up < oldest:
                chain = _Chain(name)
                asked.append(name)
            chains[name] = chain
        for start in range(0, len(asked), 500):
            some = literal(tuple(asked[start : start + 500]))
            for name, id_ in self._connection.query(
                f"SELECT chain, id FROM {PIECE.name} FINAL WHERE chain IN {some} AND count >= 0", blobs=("id",)
            ):
                chains[name].known.add(id_)
        return chains


class _Growing:
    """A round on its way into a chain: the rows of ``piece`` that it adds."""

    def __init__(self, chain: _Chain, codec: Codec, ver: int) -> None:
        self._chain = chain
        self._codec = codec
        self._at = first_of(chain.name[:6])
        self._ver = ver
        self.rows: list[tuple[object, ...]] = []

    def add(self, key: bytes, conversation: Conversation, messages: Messages | None) -> tuple[bytes, int, bytes | None]:
        """The piece where a round ends, how many messages were there before, and the last message.

        `messages` are all of them, where they are at hand. What is not known of them goes to `rows`.
        """
        base, known = conversation.base, self._chain.known
        if base.count and base.digest in known:
            messages = conversation.messages
            at, new, start = base, messages, base.count
            cuts = {len(new) - conversation.passing}
        else:
            messages = everything(key, conversation) if messages is None else messages
            begin = Position.start(conversation.system)
            at = next((place for place in reversed(begin.trail(messages)) if place.digest in known), begin)
            new, leading = messages[at.count :], leading_instructions(messages)
            if not at.count and begin.digest not in known:
                self._keep(begin, BEGIN, Piece(system=conversation.system))
            # What leads is likely to lead other conversations too.
            cuts = {leading - at.count, len(new) - conversation.passing}
            start = base.count or (at.count if not new or at.count > leading else 0)
        # The same as when it is written again, and all of it is known.
        as_its_place = not base.count or start >= at.count + len(new)
        for part in _parts(new, cuts):
            before, at = at, at.after(part)
            # Another conversation may have been cut here too, and have gone on differently.
            if at.digest not in known:
                self._keep(at, before.digest, Piece(part, None, start))
        return at.digest, AS_ITS_PLACE if as_its_place else start, messages[-1] if messages else None

    def _keep(self, end: Position, parent: bytes, piece: Piece) -> None:
        z = self._codec.pack(piece)
        self.rows.append((self._chain.name, end.digest, parent, end.count, self._at, z, self._ver))
        self._chain.known.add(end.digest)


def everything(key: bytes, conversation: Conversation) -> Messages:
    """All messages of a conversation, from the start."""
    if not conversation.base.count:
        return conversation.messages
    if conversation.whole is None:
        raise ValueError(f"round {key.hex()}: a conversation with a base needs `whole`")
    return conversation.whole()


def _parts(messages: Messages, cuts: Set[int]) -> Iterator[Messages]:
    """`messages` cut at some places, and where they are long."""
    first = size = 0
    for i, message in enumerate(messages):
        if i > first and (i in cuts or size + len(message) > PIECE_BYTES):
            yield messages[first:i]
            first, size = i, 0
        size += len(message)
    if messages:
        yield messages[first:]


def _said(conversation: Conversation, last: bytes | None) -> Said:
    """What a round said besides its messages; the question by its place where it stands in the last of them."""
    question: bytes | tuple[int, int] | None = conversation.question
    if last is not None and conversation.question is not None:
        offset = find(last, conversation.question)
        if offset >= 0:
            question = offset, len(conversation.question)
    return Said(conversation.answer, conversation.reasoning, conversation.tool_calls, question, conversation.truncated)
