"""How long rounds took of which a copied data directory had sums alone: counted by steps, an entry a directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Set

import msgspec

from monitor.store.base import Latency
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import ask

_KIND = "steps"
#: By so many marks an entry's directory is known again.
_MARKS = 64

Steps = Mapping[tuple[Latency, str], tuple[int, ...]]


class _Entry(msgspec.Struct):
    """The counts by kind and model (empty for none), and marks of the directory that they come from."""

    marks: list[bytes]
    steps: list[tuple[Latency, str, tuple[int, ...]]]


def told(db: Database) -> Iterator[tuple[Latency, str, tuple[int, ...]]]:
    """The counts of all directories: kind, model, and a number a step."""
    for (value,) in ask(db, f"SELECT value FROM state FINAL WHERE kind = '{_KIND}' AND gone = 0", ("value",)):
        yield from msgspec.msgpack.decode(value, type=_Entry).steps


def note(state: State, marks: Set[bytes], steps: Steps) -> None:
    """Write down the counts of a directory in place of those that it had before.

    `marks` are what tells it apart; there may be more of them the next time, and never fewer.
    """
    there = {id_: msgspec.msgpack.decode(value, type=_Entry) for _, id_, value in state.some(_KIND)}
    some = sorted(marks)[:_MARKS]
    id_ = next(
        (id_ for id_, entry in there.items() if not marks.isdisjoint(entry.marks)),
        hashlib.blake2b(b"".join(some), digest_size=16).digest(),
    )
    before = there.get(id_)
    entry = _Entry(before.marks if before is not None else some, [(*key, steps[key]) for key in sorted(steps)])
    if entry != before:
        state.put(_KIND, id_, msgspec.msgpack.encode(entry))
