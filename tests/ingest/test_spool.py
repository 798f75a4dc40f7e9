"""While the store is away a fleet's node follows its logs and keeps their lines: real files, a real store."""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Literal

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.ingest import Ingester, LogSource
from monitor.ingest.follower import Follower
from monitor.ingest.intake import Intake
from monitor.ingest.losses import Status, statuses
from monitor.ingest.pieces import Quiet
from monitor.ingest.spool import Room, Spool, folder_of
from monitor.prices.catalog import Catalog
from monitor.redaction import Redactor
from monitor.rounds import without_text
from monitor.samples import SHORT, Expected, Profile, Writer, lines
from monitor.sources.higress import HigressReader
from monitor.sources.tail import Chunk, Tail
from monitor.store.base import Added, Batch, Checkpoint, StoreAway
from monitor.store.sqlite import SqliteStore
from tests.helpers import check_totals, end, script, totals, wait_for, wrapped
from tests.ingest.test_ingester import MIXED, TALKING, nothing_unique, record

Wrapper = Literal["plain", "docker", "cri"]

CATALOG = Catalog.load()
PLENTY = 1 << 30


class Reachable(SqliteStore):
    """A real store that can't be reached when it is told so, or takes a batch and does not answer."""

    away = False
    answers = True
    blocked: threading.Event | None = None

    def _reach(self) -> None:
        if self.away:
            raise StoreAway("nobody answers")

    def add(self, batch: Batch) -> Added:
        if self.blocked is not None:
            self.blocked.wait(60)
        self._reach()
        added = super().add(batch)
        if not self.answers:
            raise StoreAway("the answer was lost")
        return added

    def checkpoints(self, source: str) -> list[Checkpoint]:
        self._reach()
        return super().checkpoints(source)

    def occurrences(self, file: bytes) -> Mapping[bytes, int]:
        self._reach()
        return super().occurrences(file)


class Node:
    """A node with one log, and a store elsewhere, which outlives it."""

    def __init__(
        self,
        folder: Path,
        log: Path,
        *,
        limit: int = PLENTY,
        quiet: Quiet | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self.folder, self.log, self.limit = folder / "node", log, limit
        self.quiet, self.redactor = quiet, redactor
        self.store = Reachable(folder / "store", price_version=CATALOG.version)
        self.room = Room(limit)
        self.begin()

    def begin(self) -> None:
        self.room = Room(self.limit)
        spool = Spool(folder_of(self.folder, str(self.log)), str(self.log), self.room)
        reader = HigressReader() if self.quiet is not None else None
        self.intake = Intake(self.log, spool, quiet=self.quiet, reader=reader)
        self.follower = Follower({self.log: self.intake})
        source = LogSource(self.log, self.store, CATALOG, intake=self.intake)
        self.ingester = Ingester([source], self.store, follower=self.follower)

    def end(self) -> None:
        """In order."""
        self.ingester.sources[0].close()
        self.follower.stop()

    def crash(self) -> None:
        """Kill -9: what it had in memory is gone, its files are let go of, nothing else is done."""
        if self.intake._tail is not None:
            self.intake._tail.close()

    def once(self) -> int | None:
        """A pass; None where the store took nothing."""
        try:
            return self.ingester.once()
        except StoreAway:
            return None

    @property
    def status(self) -> Status:
        (found,) = statuses(self.folder)
        return found

    @property
    def spooled(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())


@contextmanager
def node(folder: Path, log: Path, *, limit: int = PLENTY, quiet: Quiet | None = None) -> Iterator[Node]:
    found = Node(folder, log, limit=limit, quiet=quiet)
    try:
        yield found
    finally:
        found.end()
        found.store.close()


def put(writer: Writer, records: list[bytes]) -> None:
    for line in records:
        writer.write(line)
    writer.flush()


# -- away and back --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "docker", "cri"])
@pytest.mark.parametrize("profile", [SHORT, MIXED, TALKING], ids=lambda p: str(p.name))
def test_lines_of_files_that_were_deleted_while_the_store_was_away_are_counted(
    profile: Profile, kind: Wrapper, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    records = list(lines(profile, 3, 200, expected))
    with node(tmp_path, log) as n, Writer(log, keep=2) as writer:
        put(writer, [wrapped(records[:20], kind, 900)])
        assert n.once() is not None
        n.store.away = True
        for at in range(20, 180, 20):
            put(writer, [wrapped(records[at : at + 20], kind, 900)])
            assert n.once() is None
            n.follower.follow()
            writer.rotate()
            writer.reopen()
        assert n.status.since is not None
        put(writer, [wrapped(records[180:], kind, 900)])
        n.store.away = False
        assert n.once()
        check_totals(n.store, expected, profile)
        after = n.status
        assert (after.since, after.lost) == (None, [])
        assert list(n.intake.spool.folder.glob("*.zst")) == []
        assert n.room.used == 0
        assert n.once() == 0


def test_a_node_starts_while_the_store_is_away_and_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    records = list(lines(MIXED, 5, 120, expected))
    with node(tmp_path, log) as n, Writer(log, keep=1) as writer:
        put(writer, records[:40])
        assert n.once()
        n.end()
        n.store.away = True
        n.begin()
        for at in (40, 80):
            put(writer, records[at : at + 40])
            n.follower.follow()
            writer.rotate()
            writer.reopen()
        # What was read before has not come to wait again.
        assert n.status.bytes == sum(map(len, records[40:]))
        n.store.away = False
        assert n.once()
        check_totals(n.store, expected, MIXED)


def test_a_node_that_knows_nothing_starts_while_the_store_is_away(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    records = list(lines(MIXED, 6, 80, expected))
    with node(tmp_path, log) as n, Writer(log) as writer:
        put(writer, records[:40])
        assert n.once()
        n.end()
        shutil.rmtree(n.folder)
        n.store.away = True
        n.begin()
        put(writer, records[40:])
        n.follower.follow()
        n.store.away = False
        n.once()
        check_totals(n.store, expected, MIXED)
        # Not even skipped lines: the store says what it has of the file.
        assert sum(s.count for s in n.store.skipped()) == expected.non_ai + expected.foreign


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 12)),
        st.tuples(st.just("slice"), st.just(0)),
        st.tuples(st.sampled_from(["once", "follow", "away", "back", "mute", "crash", "end"]), st.just(0)),
        st.tuples(st.sampled_from(["rotate", "reopen", "copytruncate"]), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


@pytest.mark.parametrize("kind", ["plain", "cri"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, seed=st.integers(0, 1000))
def test_whatever_happens_in_whatever_order_each_line_counts_once(
    actions: list[tuple[str, int]], seed: int, kind: Wrapper, tmp_path: Path
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    log = folder / "access.log"
    expected = Expected()
    source = lines(TALKING, seed, None, expected)
    with node(folder, log) as n, Writer(log, keep=30) as writer:
        for what, number in actions:
            match what:
                case "write":
                    for _ in range(number):
                        writer.write(wrapped([next(source)], kind, 700))
                case "slice":
                    writer.flush(slices=1)
                case "once":
                    n.once()
                case "follow":
                    n.follower.follow()
                case "away":
                    n.store.away = True
                case "back":
                    n.store.away, n.store.answers = False, True
                case "mute":
                    n.store.answers = False
                case "crash":
                    n.crash()
                    n.begin()
                case "end":
                    n.end()
                    n.begin()
                case "rotate":
                    writer.rotate()
                case "reopen":
                    writer.reopen()
                case "copytruncate":
                    writer.reopen()  # else a line would be cut in two by it
                    writer.copytruncate()
        writer.reopen()
        n.store.away, n.store.answers = False, True
        n.once()
        assert n.store.verify() == []
        assert totals(n.store.slices()) == expected.total
        assert {s.reason: s.count for s in n.store.skipped() if s.reason == "malformed"} == {}


def test_records_with_nothing_unique_keep_their_numbers(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    same = nothing_unique()
    with node(tmp_path, log) as n, Writer(log, keep=1) as writer:
        put(writer, [same] * 3)
        assert n.once() == 3
        n.store.answers = False  # it takes them, and the answer is lost
        put(writer, [same] * 2)
        assert n.once() is None
        n.store.away = True
        put(writer, [same] * 4)
        n.follower.follow()
        n.crash()
        n.begin()
        n.follower.follow()
        writer.rotate()
        writer.reopen()
        n.store.away, n.store.answers = False, True
        put(writer, [same] * 5)
        n.once()
        # Nine in the first file, five in the second, of which each stands for one of the first.
        assert totals(n.store.slices()).rounds == 9


# -- what stays and what goes ---------------------------------------------------------------------


def test_a_batch_that_was_stored_without_an_answer_counts_once(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    records = list(lines(MIXED, 7, 100, expected))
    with node(tmp_path, log) as n, Writer(log) as writer:
        for at in range(0, 100, 20):
            put(writer, records[at : at + 20])
            n.store.answers = False
            assert n.once() is None
            n.store.answers = True
            assert n.once() == 0
        check_totals(n.store, expected, MIXED)
        assert sum(s.count for s in n.store.skipped()) == expected.non_ai + expected.foreign


def test_while_the_store_takes_lines_nothing_of_them_is_written_here(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    records = list(lines(TALKING, 8, 60))
    with node(tmp_path, log) as n, Writer(log) as writer:
        put(writer, records)
        assert n.once()
        n.end()
        assert b"zst" not in b" ".join(os.fsencode(path) for path in n.folder.rglob("*"))
        assert b"ai_log" not in n.spooled
        n.begin()


def test_following_goes_on_while_the_store_neither_takes_nor_refuses(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    records = list(lines(MIXED, 9, 90, expected))
    with node(tmp_path, log) as n, Writer(log, keep=1) as writer:
        put(writer, records[:30])
        n.store.blocked = threading.Event()
        passing = threading.Thread(target=n.once)
        passing.start()
        wait_for("a batch is on its way", lambda: n.intake._head is not None)
        n.follower.follow()
        for at in (30, 60):
            writer.rotate()
            writer.reopen()
            put(writer, records[at : at + 30])
            n.follower.follow()
            writer.rotate()
            writer.reopen()
        n.store.blocked.set()
        passing.join(60)
        n.once()
        check_totals(n.store, expected, MIXED)
        assert n.room.used == 0


def test_the_thread_takes_over_once_the_store_hangs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    records = list(lines(MIXED, 10, 60, expected))
    with node(tmp_path, log) as n, Writer(log) as writer:
        n.follower.look_s, n.follower.stuck_s = 0.05, 0.1
        put(writer, records[:30])
        n.store.blocked = threading.Event()
        n.follower.start()
        running = threading.Thread(target=n.ingester.run)
        running.start()
        try:
            wait_for("lines wait on the disk", lambda: statuses(n.folder))
            put(writer, records[30:])
            size = sum(map(len, records))
            wait_for("those that came later too", lambda: n.status.bytes == size)
            n.store.blocked.set()
            wait_for("all is stored", lambda: n.status.since is None)
            wait_for("it is said", lambda: "all that has waited here is in it" in caplog.text)
            assert "lines are kept on this node's disk until the store takes them: it takes long" in caplog.text
        finally:
            n.ingester.stop()
            running.join(60)
        check_totals(n.store, expected, MIXED)


def test_with_the_limit_reached_it_is_told_which_lines_were_lost(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    records = list(lines(SHORT, 11, 400))
    limit = 20_000
    with node(tmp_path, log, limit=limit) as n, Writer(log, keep=2) as writer:
        n.store.away = True
        for at in range(0, 400, 20):
            put(writer, records[at : at + 20])
            n.follower.follow()
            if at < 300:
                writer.rotate()
                writer.reopen()
        lost = n.status
        assert lost.lost_lines > 0
        assert n.room.used <= limit
        assert any("reached its limit" in problem.reason for problem in n.intake.problems())
        # What has a name still is read once there is room.
        n.store.away = False
        n.once()
        got = totals(n.store.slices()).rounds + sum(s.count for s in n.store.skipped())
        assert got == 400 - lost.lost_lines
        assert n.intake.problems() == []
        assert sum(one.lines for one in n.status.lost) == lost.lost_lines
        assert sum(one.end - one.start for one in n.status.lost) == lost.lost_bytes
        # It is told for good.
        n.end()
        n.begin()
        assert n.status.lost_lines == lost.lost_lines


def test_a_full_disk_is_like_a_reached_limit_and_ends_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    records = list(lines(MIXED, 12, 80, expected))
    with node(tmp_path, log) as n, Writer(log) as writer:
        n.store.away = True
        put(writer, records[:20])
        n.follower.follow()

        def full(fd: int, data: bytes) -> None:
            os.write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("monitor.ingest.spool.write_all", full)
            patch.setattr("monitor.ingest.durable.write_all", full)
            put(writer, records[20:40])
            n.follower.follow()
            assert any("No space left" in problem.reason for problem in n.intake.problems())
            assert n.once() is None
        put(writer, records[40:60])
        n.follower.follow()  # there is room again
        n.crash()
        n.begin()
        put(writer, records[60:])
        n.store.away = False
        n.once()
        check_totals(n.store, expected, MIXED)


@pytest.mark.parametrize("content", ["none", "redacted"])
def test_what_may_not_be_kept_is_not_in_the_spool(content: str, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    secret = b"sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    said = f"the parrot has ceased to be {secret.decode()}"
    expected = Expected()
    records = list(lines(TALKING, 13, 60, expected))
    records.append(record(messages=[{"role": "user", "content": said}], question=said, request_id="mine"))
    quiet = without_text if content == "none" else Redactor().round
    with node(tmp_path, log, quiet=quiet) as n, Writer(log, keep=1) as writer:
        n.store.away = True
        for at in range(0, 61, 20):
            put(writer, records[at : at + 20])
            n.follower.follow()
            writer.rotate()
            writer.reopen()
        waiting = b"".join(
            zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
            for path in n.folder.rglob("*.zst")
        )
        assert len(waiting) > 1000
        assert secret not in waiting
        assert (b"the parrot" in waiting) == (content == "redacted")
        assert b"ai_log" not in waiting
        n.store.away = False
        n.once()
        assert totals(n.store.slices()).rounds == expected.total.rounds + 1
        assert totals(n.store.slices()).input_tokens >= expected.total.input_tokens
        assert secret not in b"".join(path.read_bytes() for path in (tmp_path / "store").iterdir() if path.is_file())


def test_what_is_kept_is_its_owners_alone(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with node(tmp_path, log) as n, Writer(log) as writer:
        n.store.away = True
        put(writer, list(lines(SHORT, 14, 20)))
        n.follower.follow()
        files = [path for path in n.folder.rglob("*") if path.is_file()]
        assert len(files) >= 3
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE(n.intake.spool.folder.stat().st_mode) == 0o700
        assert n.once() is None


# -- the queue on the disk ------------------------------------------------------------------------


def chunks(folder: Path, count: int) -> list[Chunk]:
    log = folder / "some.log"
    found = []
    with Tail(log) as tail:
        for number in range(count):
            with log.open("ab") as file:
                file.write(b"".join(b"line %d of %d, which is as long as lines are\n" % (n, number) for n in range(9)))
            found += list(tail.read())
    return found


def taken(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while (chunk := spool.next()) is not None:
        found += chunk.lines
        spool.done()
    return found


def test_pieces_come_out_as_they_went_in(tmp_path: Path) -> None:
    given = chunks(tmp_path, 5)
    with closing(Spool(tmp_path / "spool", "some.log", Room(PLENTY))) as spool:
        assert all(spool.append(chunk) for chunk in given[:3])
        first = spool.next()
        assert first is not None
        # Pieces of a file that follow each other are one step.
        assert first.lines == [line for chunk in given[:3] for line in chunk.lines]
        assert (first.state, first.start, first.fresh) == (given[2].state, 0, True)
        assert spool.append(given[3])
        assert spool.next() == first
        spool.done()
        assert spool.append(given[4])
    with closing(Spool(tmp_path / "spool", "some.log", Room(PLENTY))) as spool:
        assert taken(spool) == [line for chunk in given[3:] for line in chunk.lines]
        assert spool.is_empty


def test_a_torn_end_takes_nothing_with_it(tmp_path: Path) -> None:
    given = chunks(tmp_path, 6)
    with closing(Spool(tmp_path / "spool", "some.log", Room(PLENTY))) as spool:
        sizes = []
        for chunk in given:
            spool.append(chunk)
            sizes.append(spool.bytes)
    (segment,) = (tmp_path / "spool").glob("*.zst")
    whole = segment.read_bytes()
    for cut in range(0, len(whole), 7):
        segment.write_bytes(whole[:cut])
        durable = sum(size <= cut for size in sizes)
        with closing(Spool(tmp_path / "spool", "some.log", Room(PLENTY))) as spool:
            found = taken(spool) if cut else []
        assert found == [line for chunk in given[:durable] for line in chunk.lines]
        shutil.rmtree(tmp_path / "spool")
        (tmp_path / "spool").mkdir()


def test_a_damaged_segment_is_told_and_the_next_one_read(tmp_path: Path) -> None:
    given = chunks(tmp_path, 6)
    for some in (given[:3], given[3:]):
        with closing(Spool(tmp_path / "spool", "some.log", Room(PLENTY))) as spool:
            for chunk in some:
                spool.append(chunk)
    first, _ = sorted((tmp_path / "spool").glob("*.zst"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 0xFF
    first.write_bytes(data)
    with closing(Spool(tmp_path / "spool", "some.log", Room(PLENTY))) as spool:
        found = taken(spool)
        assert found[-27:] == [line for chunk in given[3:] for line in chunk.lines]
        (lost,) = spool.losses.status.lost
        assert (lost.path, lost.damaged) == (str(first), True)


def test_room_is_given_back_a_segment_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.ingest.spool._SEGMENT_BYTES", 500)
    monkeypatch.setattr("monitor.ingest.spool._STEP_BYTES", 500)
    room = Room(PLENTY)
    with closing(Spool(tmp_path / "spool", "some.log", room)) as spool:
        for chunk in chunks(tmp_path, 12):
            spool.append(chunk)
        used = [room.used]
        while spool.next() is not None:
            spool.done()
            used.append(room.used)
        assert used[0] == max(used)
        assert room.used == 0
        assert len(set(used)) > 4


# -- a real process -------------------------------------------------------------------------------

_NODE = """
import sys
from pathlib import Path
from tests.ingest.test_spool import Node
from monitor.store.base import StoreAway
import random
folder, log, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
node = Node(folder, log)
while True:
    node.store.away = chance.random() < 0.6
    node.store.answers = chance.random() < 0.7
    node.once()
    node.follower.follow()
    print("passed", flush=True)
"""


def test_killed_at_any_point_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    source = lines(TALKING, 15, 900, expected)
    chance = random.Random(15)
    with Writer(log, keep=40) as writer:
        for number in range(12):
            put(writer, list(islice(source, 40)))
            process = script(_NODE, tmp_path, log, str(number))
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 4)):
                assert process.stdout.readline() == "passed\n"
                put(writer, list(islice(source, 15)))
                if chance.random() < 0.5:
                    writer.rotate()
                    writer.reopen()
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.random() / 20)
            end([process])
        put(writer, list(source))
        with node(tmp_path, log) as n:
            assert n.once() is not None
            check_totals(n.store, expected, TALKING)
