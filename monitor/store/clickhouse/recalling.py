"""Conversations read back, for a whole page of rounds at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple, TypeVar

import msgspec

from monitor.rounds import START, Position
from monitor.store.base import Content, StoredRound, StoreError
from monitor.store.clickhouse.connection import Database, literal
from monitor.store.clickhouse.pieces import AS_ITS_PLACE, BEGIN, Codec, Piece
from monitor.store.clickhouse.rows import COUNTS, round_key
from monitor.store.clickhouse.schema import PIECE, ROUND, SAID
from monitor.store.history.pieces import Said

#: What is asked for by name in one question.
_AT_ONCE = 1000

_T = TypeVar("_T")


class Place(NamedTuple):
    """Where a round's conversation ends: what it said itself, the piece, and how many messages were there before."""

    piece: bytes
    new_from: int
    said: Said


class Link(msgspec.Struct, frozen=True, gc=False):
    """A piece without its texts: the one before it, and how many messages there are up to its end."""

    parent: bytes
    count: int


def content(connection: Database, rounds: Iterable[StoredRound], *, new_only: bool) -> list[Content | None]:
    """What was said in each of `rounds`; None where it is not kept.

    With `new_only`, `messages` are only those from `new_from` on. Raises StoreError rather than give a history that
    does not match its digest.
    """
    wanted = list(rounds)
    places = _said_keys(connection, [one for one in wanted if one.has_content])
    keys = [places.get((one.round.session_id or "", one.round.key)) for one in wanted]
    by_chain: dict[str, set[bytes]] = {}
    for found in keys:
        if found is not None:
            by_chain.setdefault(found[0], set()).add(found[1])
    chains = {name: Chain(connection, name, sorted(said), new_only=new_only) for name, said in by_chain.items()}
    return [None if found is None else chains[found[0]].content(found[1]) for found in keys]


def in_steps(items: Sequence[_T], size: int = _AT_ONCE) -> Iterator[tuple[_T, ...]]:
    """`items` in parts that one question can name."""
    for start in range(0, len(items), size):
        yield tuple(items[start : start + size])


def _said_keys(connection: Database, rounds: Sequence[StoredRound]) -> dict[tuple[str, bytes], tuple[str, bytes]]:
    """The chain and the key under which there is what was said, by session and key of a round."""
    rids: dict[str, list[int]] = {}
    for one in rounds:
        rid = int.from_bytes(one.round.key[:8], "big", signed=True)
        rids.setdefault(one.round.session_id or "", []).append(rid)
    found: dict[tuple[str, bytes], tuple[str, bytes]] = {}
    for session, theirs in rids.items():
        for some in in_steps(theirs):
            rows = connection.query(
                f"SELECT rid, key, chain, said_key FROM {ROUND.name} FINAL WHERE session = {literal(session)} "
                f"AND rid IN {literal(some)} AND state = {COUNTS} AND chain != ''",
                blobs=("key", "said_key"),
            )
            for rid, key, chain, said_key in rows:
                found[session, round_key(rid, key)] = chain, said_key
    return found


class Chain:
    """What some rounds of one chain said."""

    def __init__(self, connection: Database, name: str, keys: Sequence[bytes], *, new_only: bool) -> None:
        """Asks for all that is needed at once."""
        self._connection = connection
        self._name = name
        self._new_only = new_only
        self._codec = Codec()
        self._places = self._read_said(keys)
        ends = {place.piece for place in self._places.values() if place.piece}
        self._links = links(connection, name) if ends else {}
        self._stored: dict[bytes, bytes] = {}
        self._pieces: dict[bytes, Piece] = {}
        if not new_only:
            self._read_pieces(upwards(ends, self._links))
        elif ends:
            # Where a round brought nothing new, its last piece knows what the first round in its place did.
            self._read_pieces(ends)
            needed: set[bytes] = set()
            for place in self._places.values():
                if place.piece in self._stored:
                    needed.update(self._since(place.piece, self._start(place)))
            self._read_pieces(needed - ends)
        self._whole: dict[bytes, tuple[bytes | None, tuple[bytes, ...]] | None] = {BEGIN: (None, ())}

    def content(self, key: bytes) -> Content | None:
        """What the round said under whose key it is kept; None where nothing, or not all of it, is there."""
        place = self._places.get(key)
        if place is None:
            return None
        end, start = place.piece, 0
        system: bytes | None = None
        messages: tuple[bytes, ...] = ()
        if end:
            if end not in self._stored:
                return None
            start = self._start(place)
            given = self._tail(end, start) if self._new_only else self._from_start(end)
            if given is None:
                return None
            system, messages = given
        said = place.said
        question = said.question
        if isinstance(question, tuple):
            texts = self._piece(end).messages if end else ()
            if not texts:
                raise StoreError(f"{self._where(key)}: the question is missing")
            question = texts[-1][question[0] : question[0] + question[1]]
        cut = said.truncated is not None and (not end or self._links[end].count == 0)
        return Content(
            None if cut else messages,
            start,
            system,
            said.truncated,
            question,
            said.answer,
            said.reasoning,
            said.tool_calls,
        )

    # -- from the tables --------------------------------------------------------------------------

    def _read_said(self, keys: Sequence[bytes]) -> dict[bytes, Place]:
        found: dict[bytes, Place] = {}
        for some in in_steps(keys):
            rows = self._connection.query(
                f"SELECT key, piece, new_from, z FROM {SAID.name} FINAL WHERE chain = {literal(self._name)} "
                f"AND key IN {literal(some)} AND gone = 0",
                blobs=("key", "piece", "z"),
            )
            for key, piece, new_from, z in rows:
                found[key] = Place(piece, new_from, self._codec.said(z, self._where(key)))
        return found

    def _read_pieces(self, ids: Iterable[bytes]) -> None:
        wanted = sorted(ids)
        for some in in_steps(wanted):
            # Nearly all of a chain is asked for as that.
            which = f"AND id IN {literal(some)} " if 2 * len(wanted) < len(self._links) else ""
            rows = self._connection.query(
                f"SELECT id, z FROM {PIECE.name} FINAL WHERE chain = {literal(self._name)} {which}AND count >= 0",
                blobs=("id", "z"),
            )
            for id_, z in rows:
                self._stored[id_] = z
            if not which:
                return

    # -- chains -----------------------------------------------------------------------------------

    def _where(self, key: bytes) -> str:
        return f"the conversation {self._name!r} at {key.hex()}"

    def _piece(self, id_: bytes) -> Piece:
        piece = self._pieces.get(id_)
        if piece is None:
            piece = self._pieces[id_] = self._codec.piece(self._stored[id_], self._where(id_))
        return piece

    def _start(self, place: Place) -> int:
        return self._piece(place.piece).start if place.new_from == AS_ITS_PLACE else place.new_from

    def _since(self, end: bytes, start: int) -> Iterator[bytes]:
        """The pieces that hold the messages from `start` on, and the system prompt where that is the beginning."""
        return takewhile(lambda at: self._links[at].count > start or not start, climb(end, self._links))

    def _texts(self, id_: bytes) -> Piece | None:
        """A piece, proved by its digest; None where it or what comes before it is not there."""
        if id_ not in self._stored:
            return None
        piece, link = self._piece(id_), self._links[id_]
        if link.count == 0:
            right = piece.system is not None and Position.start(piece.system).digest == id_
        else:
            before = self._links.get(link.parent)
            if link.parent and before is None:
                return None
            begin = Position(before.count, link.parent) if before is not None else START
            right = begin.after(piece.messages) == Position(link.count, id_)
        if not right:
            raise StoreError(f"{self._where(id_)} does not match its digest")
        return piece

    def _from_start(self, end: bytes) -> tuple[bytes | None, tuple[bytes, ...]] | None:
        """The system prompt and all messages up to the end of a piece; None where some of it is not there."""
        unread = list(takewhile(lambda at: at not in self._whole, climb(end, self._links)))
        known = self._whole.get(self._links[unread[-1]].parent if unread else end)
        for id_ in reversed(unread):
            piece = self._texts(id_) if known is not None else None
            if piece is None or known is None:
                known = None
            elif piece.system is not None:
                known = piece.system, ()
            else:
                known = known[0], (*known[1], *piece.messages)
            self._whole[id_] = known
        return known

    def _tail(self, end: bytes, start: int) -> tuple[bytes | None, tuple[bytes, ...]] | None:
        """The messages from `start` to the end of a piece, and the system prompt where that is the beginning."""
        parts: list[Sequence[bytes]] = []
        system: bytes | None = None
        for id_ in self._since(end, start):
            piece = self._texts(id_)
            if piece is None:
                return None
            if piece.system is not None:
                system = piece.system
            parts.append(piece.messages)
        messages = tuple(text for part in reversed(parts) for text in part)
        count = self._links[end].count - start
        if len(messages) < count:
            return None
        return system, messages[len(messages) - max(count, 0) :]


def links(connection: Database, chain: str) -> dict[bytes, Link]:
    """The pieces of a chain, without their texts."""
    rows = connection.query(
        f"SELECT id, parent, count FROM {PIECE.name} FINAL WHERE chain = {literal(chain)} AND count >= 0",
        blobs=("id", "parent"),
    )
    return {id_: Link(parent, count) for id_, parent, count in rows}


def climb(end: bytes, known: Mapping[bytes, Link]) -> Iterator[bytes]:
    """A piece and those before it, one after the other; comes to an end whatever is damaged."""
    at, count = end, None
    while (link := known.get(at)) is not None and (count is None or link.count < count):
        yield at
        at, count = link.parent, link.count


def upwards(ends: Iterable[bytes], known: Mapping[bytes, Link]) -> set[bytes]:
    """The pieces `ends` and all that come before them."""
    found: set[bytes] = set()
    for end in ends:
        found.update(takewhile(lambda at: at not in found, climb(end, known)))
    return found
