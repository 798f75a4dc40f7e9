"""A data directory is copied into a fleet's store: every round once, whatever is there already and whatever comes in.

Nothing is remembered of a copy. It looks for each round where a node would find it, so that it may be interrupted at
any time and run again; the checkpoints come last, as with a batch. The directory is only read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from monitor.config import LOCK_NAME
from monitor.store.base import StoreError
from monitor.store.clickhouse import setup
from monitor.store.clickhouse.belongings import Belongings
from monitor.store.clickhouse.budgets import Budgets
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.directory import Directory
from monitor.store.clickhouse.joining import Joiner
from monitor.store.clickhouse.naming import Names
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.taking import Taker
from monitor.store.clickhouse.taking_sums import Pruned
from monitor.store.clickhouse.writing import Writer
from monitor.store.schema import explaining
from monitor.store.sqlite import DATABASE


class Copied(NamedTuple):
    """What a copy did."""

    #: Rounds that count in the directory, and those of them that were not in the store.
    rounds: int
    new: int
    #: Where they are now.
    into: str
    #: What is not as it was, in words.
    notes: tuple[str, ...]


class Copy:
    """One copy of a data directory into the store behind a connection.

    Args:
        folder: The data directory.
        db: The connection.
        node: Whose checkpoints the copied ones become; by default this machine's.

    Raises:
        StoreError: the directory is being written to, or it or the store can't be used.
    """

    def __init__(self, folder: Path, db: Database, node: str | None = None) -> None:
        if setup.version(db) is None:
            raise StoreError(f"{db} has no tables of this program yet: make them with  session-monitor store init")
        setup.refuse_newer(db)
        self._db = db
        self._node = node or socket.gethostname()
        self._path = folder / DATABASE
        self._lock = _hold(folder)
        with explaining(self._path):
            self._directory = Directory(folder)
            self._measure()

    def _measure(self) -> None:
        one_by_one = self._directory.number("SELECT count(*) FROM round")
        summed = self._directory.number("SELECT sum(rounds) FROM pruned")
        self._counting = one_by_one + summed
        #: Records that are looked at, those among them that stand behind others.
        self.total = self._counting + self._directory.number(
            "SELECT count(*) FROM witness AS w WHERE NOT EXISTS (SELECT 1 FROM round AS r WHERE r.rid = w.rid)"
        )

    def run(self, progress: Callable[[int], None] = lambda _: None) -> Copied:
        """Do it, once; `progress` is told how many of `total` are done.

        Raises:
            StoreError: the directory or the store can't be used. What was copied until then is found the next time.
        """
        try:
            with explaining(self._path), self._directory:
                new, notes = self._copy(progress)
        finally:
            if self._lock is not None:
                os.close(self._lock)
        return Copied(self._counting, new, str(self._db), tuple(notes))

    def _copy(self, progress: Callable[[int], None]) -> tuple[int, list[str]]:
        db, directory = self._db, self._directory
        state, names = State(db, self._node), Names(db)
        joiner = Joiner(db, names)
        writer = Writer(db, state, names, joiner, Budgets(db, state, None), None, "")
        belongings = Belongings(db, directory, state, names)
        writer.note_grown(belongings.before_rounds())
        taker = Taker(db, directory, state, writer, names, joiner)
        new = done = 0
        for table, joined in (("round", False), ("witness", True)):
            for page in directory.pages(table):
                new += taker.take(page, joined=joined)
                done += len(page)
                progress(done)
        pruned = Pruned(db, directory, state, names)
        pruned.note_records()
        pruned.note_gone()
        new += pruned.take(lambda more: progress(done + more))
        pruned.note_steps()
        replaced = pruned.quiet_known()
        belongings.after_rounds()
        writer.settle()
        notes = []
        summed = directory.number("SELECT sum(rounds) FROM pruned")
        if summed:
            notes.append(
                f"{summed:,} rounds were stored here no longer: each has an equal share of the sums of its quarter of "
                "an hour. All sums are exact; what one of them took is not known"
            )
        if replaced:
            notes.append(
                f"{replaced:,} rounds that were pruned here stood in the store one by one: they are in its sums with "
                "the others that were pruned"
            )
        return new, notes


def _hold(folder: Path) -> int | None:
    """Keep others from ingesting into a folder while it is copied; None where nobody ever did.

    Raises:
        StoreError: some process does so now.
    """
    import fcntl  # noqa: PLC0415 - no other part of the store needs it

    try:
        held = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise StoreError(
            f"{folder}: another process ingests into it just now. Stop it (session-monitor ingest, or serve), then "
            "copy; start it again with the fleet's store, and it goes on where the directory ends"
        ) from None
    except OSError:
        # A file system without locks: whoever else writes there could not tell either.
        os.close(held)
        return None
    return held
