"""Small things that have a name, each the last that was written: checkpoints, skipped lines, feeds, settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from monitor.store.base import Batch, Checkpoint, Feed, SkippedLines
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.schema import STATE
from monitor.store.clickhouse.tables import among, ask, now, write
from monitor.store.clickhouse.values import literal

#: (kind, id, value); None for a value takes it away.
Entry = tuple[str, bytes, bytes | None]

_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode
_skipped = msgspec.msgpack.Decoder(SkippedLines).decode
_feed = msgspec.msgpack.Decoder(Feed).decode


class State:
    """The table ``state`` as one node sees it. Without an owner a thing is everybody's."""

    def __init__(self, db: Database, node: str) -> None:
        self._db = db
        self.node = node

    # -- anything ---------------------------------------------------------------------------------

    def get(self, kind: str, id_: bytes = b"", owner: str = "") -> bytes | None:
        """One thing, or None where there is none."""
        found = self.some(kind, f"owner = {literal(owner)} AND id = {literal(id_)}")
        return found[0][2] if found else None

    def put(self, kind: str, id_: bytes, value: bytes | None, owner: str = "") -> None:
        """Write one thing down; None takes it away."""
        self.write([(kind, id_, value)], owner)

    def write(self, entries: Iterable[Entry], owner: str = "") -> None:
        """Write several things of one owner down, in one step."""
        version = now()
        write(
            self._db,
            STATE,
            [(owner, kind, id_, value or b"", value is None, version) for kind, id_, value in entries],
        )

    def some(self, kind: str, where: str = "1") -> list[tuple[str, bytes, bytes]]:
        """(owner, id, value) of all things of a kind that meet a condition."""
        return ask(
            self._db,
            f"SELECT owner, id, value FROM state FINAL WHERE kind = {literal(kind)} AND gone = 0 AND {where} "
            "ORDER BY owner, id",
            ("id", "value"),
        )

    @property
    def _mine(self) -> str:
        return f"owner = {literal(self.node)}"

    # -- what batches bring -----------------------------------------------------------------------

    def of_batch(self, batch: Batch, new: Sequence[int]) -> list[Entry]:
        """What a batch says besides its rounds; `new` are the starts of the rounds that it brought first."""
        entries: list[Entry] = []
        for file in batch.restarted:
            entries += [("occurrence", place(file, key), None) for key in self.occurrences(file)]
        # Of two entries in one block the last one holds only if it alone is there.
        kept: dict[tuple[str, bytes], bytes | None] = {entry[:2]: entry[2] for entry in entries}
        for (file, key), n in batch.occurrences.items():
            kept["occurrence", place(file, key)] = b"%d" % n
        for checkpoint in batch.checkpoints:
            kept["checkpoint", checkpoint.id] = msgspec.msgpack.encode(checkpoint)
        if batch.skipped:
            there = {(s.source, s.reason): s for s in self._skipped(self._mine)}
            for s in batch.skipped:
                before = there.get((s.source, s.reason), SkippedLines(s.source, s.reason, 0))
                both = SkippedLines(s.source, s.reason, before.count + s.count, s.sample or before.sample)
                there[s.source, s.reason] = both
                kept["skipped", f"{s.source}\0{s.reason}".encode()] = msgspec.msgpack.encode(both)
        if batch.seen:
            feeds = {f.source: f for f in self._feeds(self._mine)}
            for seen in batch.seen:
                before_it = feeds.get(seen.source, Feed(seen.source, "", 0, 0))
                missed = seen.missed_path is not None and before_it.missed_at != seen.missed_at
                feed = Feed(
                    seen.source,
                    seen.format or before_it.format,
                    before_it.rounds + len(new),
                    max(before_it.last_at, *new, 0),
                    before_it.missed + missed,
                    before_it.missed_at if seen.missed_at is None else seen.missed_at,
                    before_it.missed_path if seen.missed_path is None else seen.missed_path,
                )
                feeds[seen.source] = feed
                kept["feed", seen.source.encode()] = msgspec.msgpack.encode(feed)
        if batch.as_of is not None:
            kept["as_of", b""] = b"%d" % batch.as_of
        return [(kind, id_, value) for (kind, id_), value in kept.items()]

    def checkpoints(self, source: str) -> list[Checkpoint]:
        """How far this node read the files of a source."""
        found = (_checkpoint(value) for _, _, value in self.some("checkpoint", self._mine))
        return [checkpoint for checkpoint in found if checkpoint.source == source]

    def sources(self) -> list[str]:
        """The sources that any node ever read."""
        return sorted({_checkpoint(value).source for _, _, value in self.some("checkpoint")})

    def occurrences(self, file: bytes) -> dict[bytes, int]:
        """How often this node read the records of a file that hold nothing unique."""
        prefix = place(file, b"")
        size = len(prefix)
        start = f"{self._mine} AND substring(id, 1, {size}) = {literal(prefix)}"
        return {id_[size:]: int(value) for _, id_, value in self.some("occurrence", start)}

    def skipped(self) -> list[SkippedLines]:
        """Lines that were no rounds, of all nodes."""
        found: dict[tuple[str, str], SkippedLines] = {}
        for s in self._skipped():
            before = found.get((s.source, s.reason), SkippedLines(s.source, s.reason, 0))
            found[s.source, s.reason] = SkippedLines(
                s.source, s.reason, before.count + s.count, s.sample or before.sample
            )
        return [found[key] for key in sorted(found)]

    def feeds(self) -> list[Feed]:
        """What is known of the sources of all nodes; where several nodes have one of the same name, each by itself."""
        told = [(owner, _feed(value)) for owner, _, value in self.some("feed")]
        names = [feed.source for _, feed in told]
        found = [
            feed if names.count(feed.source) == 1 else msgspec.structs.replace(feed, source=f"{feed.source} ({owner})")
            for owner, feed in told
        ]
        return sorted(found, key=lambda feed: feed.source)

    def _skipped(self, where: str = "1") -> list[SkippedLines]:
        return [_skipped(value) for _, _, value in self.some("skipped", where)]

    def _feeds(self, where: str) -> list[Feed]:
        return [_feed(value) for _, _, value in self.some("feed", where)]

    def nodes(self) -> dict[str, int]:
        """Up to when each node has read its sources."""
        return {owner: int(value) for owner, _, value in self.some("as_of")}

    def follow(self, source: str, kind: str, settings: bytes) -> None:
        """Remember how this node reads a source."""
        self.put("followed", source.encode(), msgspec.msgpack.encode((kind, settings)), self.node)

    def followed(self) -> dict[str, tuple[str, bytes]]:
        """How this node reads its sources."""
        return {
            id_.decode(): msgspec.msgpack.decode(value, type=tuple[str, bytes])
            for _, id_, value in self.some("followed", self._mine)
        }

    def silenced(self) -> frozenset[bytes]:
        """The digests of the names of sessions that were purged."""
        return frozenset(id_ for _, id_, _ in self.some("silenced"))

    def kinds(self) -> set[str]:
        """The kinds of sources that ever told of a round."""
        return {id_.decode() for _, id_, _ in self.some("kind")}

    def forget(self, kind: str, ids: Sequence[bytes]) -> None:
        """Take things of this node away."""
        if not ids:
            return
        found = self.some(kind, f"{self._mine} AND id IN {among(ids)}")
        self.write([(kind, id_, None) for _, id_, _ in found], self.node)

    def forget_files(self, files: Sequence[bytes]) -> None:
        """Forget how far this node read some files, and what it noted of their records."""
        self.forget("checkpoint", files)
        for file in files:
            self.forget("occurrence", [place(file, key) for key in self.occurrences(file)])


def place(file: bytes, key: bytes) -> bytes:
    """Where the occurrences of a record in a file stand."""
    return len(file).to_bytes(2, "big") + file + key
