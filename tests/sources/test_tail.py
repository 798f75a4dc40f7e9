"""One rotating file is followed: every byte once, whatever is done to the names."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import zstandard

from monitor.sources.tail import Chunk, FileState, Tail, live_size


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """Reads like the ingester: keeps the lines and commits the state after each chunk."""

    def __init__(self, path: Path, **options: int) -> None:
        self.path = path
        self.options = options
        self.clock = Clock()
        self.committed: dict[bytes, FileState] = {}
        self.lines: list[bytes] = []
        self.tail = self._open()

    def _open(self) -> Tail:
        return Tail(self.path, known=self.committed.values(), clock=self.clock, **self.options)

    def take(self, chunk: Chunk) -> None:
        self.lines += chunk.lines
        self.committed[chunk.state.id] = chunk.state

    def read(self) -> list[bytes]:
        """One pass; the lines that it gave."""
        before = len(self.lines)
        for chunk in self.tail.read():
            self.take(chunk)
        return self.lines[before:]

    def restart(self) -> None:
        """As after kill -9: only what was committed is known."""
        self.tail.close()
        self.tail = self._open()

    def open_files(self) -> int:
        """How many files this process holds open below the log's directory."""
        root = os.path.realpath(self.path.parent)
        count = 0
        for fd in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):
                count += _path_of(int(fd)).startswith(root)
        return count


def _path_of(fd: int) -> str:
    if sys.platform == "darwin":
        import fcntl

        return fcntl.fcntl(fd, 50, b"\0" * 1024).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{fd}")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def readers() -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def make(path: Path, **options: int) -> Reader:
        made.append(Reader(path, **options))
        return made[-1]

    yield make
    for reader in made:
        reader.tail.close()


Readers = Callable[..., Reader]


def numbered(first: int, last: int, width: int = 60) -> list[bytes]:
    return [f"line {n:06d} ".encode().ljust(width, b".") for n in range(first, last)]


def text(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def copytruncate(path: Path, copy: Path) -> None:
    shutil.copyfile(path, copy)
    os.truncate(path, 0)


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """The paths that `os.<name>` is called with from now on."""
    paths: list[str] = []
    real = getattr(os, name)

    def call(path: str, *rest: object) -> object:
        paths.append(path)
        return real(path, *rest)

    monkeypatch.setattr(os, name, call)
    return paths


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
each_codec = pytest.mark.parametrize("codec", PACKERS)


# -- lines


def test_lines_come_once_and_in_order(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 5)))
    assert reader.read() == numbered(0, 5)
    assert reader.read() == []
    append(log, text(numbered(5, 9)))
    assert reader.read() == numbered(5, 9)


def test_a_torn_line_waits_for_its_rest_even_inside_a_character(log: Path, readers: Readers) -> None:
    reader = readers(log)
    line = "费用 ¥ done\r".encode()
    append(log, b"whole\n")
    given = reader.read()
    for byte in line:
        append(log, bytes([byte]))
        given += reader.read()
    append(log, b"\n")
    given += reader.read()
    assert given == [b"whole", line]


def test_a_torn_line_is_not_pending_once_it_was_seen(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, b"whole\nto")
    assert reader.tail.pending_bytes() == 8
    reader.read()
    assert reader.tail.pending_bytes() == 0
    append(log, b"rn\n")
    assert reader.tail.pending_bytes() == len(b"torn\n")
    assert reader.read() == [b"torn"]
    assert reader.tail.pending_bytes() == 0


def test_a_torn_end_may_be_cut_off_and_written_anew(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, b"whole\ntorn")
    assert reader.read() == [b"whole"]
    os.truncate(log, len(b"whole\n"))
    append(log, b"new\n")  # as long as what was there
    assert reader.read() == [b"new"]


def test_empty_lines_are_lines(log: Path, readers: Readers) -> None:
    append(log, b"\n\na\n\n")
    assert readers(log).read() == [b"", b"", b"a", b""]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 61, 200, 5000])
def test_the_size_of_chunks_does_not_change_what_is_read(log: Path, readers: Readers, chunk_bytes: int) -> None:
    lines = [*numbered(0, 40), b"x" * 3000, *numbered(41, 50), b""]
    append(log, text(lines) + b"torn")
    reader = readers(log, chunk_bytes=chunk_bytes)
    assert reader.read() == lines
    append(log, b"!\n")
    assert reader.read() == [b"torn!"]


def test_positions_say_where_each_line_stands(log: Path) -> None:
    append(log, text(numbered(0, 10)))
    content = log.read_bytes()
    with Tail(log, chunk_bytes=150) as tail:
        chunks = list(tail.read())
    assert [chunk.fresh for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    for chunk in chunks:
        at = chunk.start
        for line in chunk.lines:
            assert content[at : at + len(line)] == line
            at += len(line) + 1
        assert at == chunk.state.offset


def test_a_line_of_twelve_megabytes_is_a_line(log: Path, readers: Readers) -> None:
    big = b"m" * (12 << 20)
    append(log, b"small\n" + big)
    reader = readers(log)
    assert reader.read() == [b"small"]
    append(log, b"\nend\n")
    assert reader.read() == [big, b"end"]


@pytest.mark.parametrize("codec", ["", *PACKERS])
def test_a_line_over_the_limit_is_skipped_and_reported(log: Path, readers: Readers, codec: str) -> None:
    lines = [b"before", b"x" * 50_000, b"between", b"y" * 3000, b"after"]
    if codec:
        log.with_name(f"access.log.1{codec}").write_bytes(PACKERS[codec](text(lines)))
    append(log, b"live\n" if codec else text(lines))
    reader = readers(log, max_line=2000, chunk_bytes=1000)
    assert reader.read() == [b"before", b"between", b"after", *([b"live"] if codec else [])]
    (problem,) = reader.tail.problems()
    assert (problem.kind, problem.count) == ("line_too_long", 2)
    append(log, b"more\n")
    reader.restart()
    assert reader.read() == [b"more"]


def test_a_record_over_several_lines_can_be_committed_from_its_first_line(log: Path) -> None:
    lines = numbered(0, 30)
    append(log, text(lines))
    with Tail(log, chunk_bytes=500) as tail:
        chunks = list(tail.read())
    seen = 0
    for index, chunk in enumerate(chunks):
        for count in range(len(chunk.lines) + 1):
            known = [chunk.state_after(count)]
            with Tail(log, known=known) as again:
                assert [line for part in again.read() for line in part.lines] == lines[seen + count :], (
                    index,
                    count,
                )
        seen += len(chunk.lines)
    with pytest.raises(ValueError, match="no state after"):
        chunks[0].state_after(len(chunks[0].lines) + 1)


# -- rotation


def test_a_renamed_file_is_followed_until_it_is_quiet(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, b"1\n")
    reader.read()
    writer = log.open("ab", buffering=0)
    log.rename(log.with_name("access.log.1"))
    append(log, b"3\n")
    writer.write(b"2\n")
    assert reader.read() == [b"2", b"3"]
    reader.clock.now = 59
    writer.write(b"late\n")
    assert reader.read() == [b"late"]
    reader.clock.now = 118
    reader.read()
    assert reader.open_files() == 2 + 1  # the writer's own as well
    reader.clock.now = 120
    reader.read()
    assert reader.open_files() == 1 + 1
    writer.write(b"very late\n")
    writer.close()
    assert reader.read() == [b"very late"]


def test_rotation_during_a_long_backlog_loses_nothing(log: Path, readers: Readers) -> None:
    names = [log, *(log.with_name(f"access.log.{n}") for n in (1, 2))]

    def rotate() -> None:
        names[2].unlink(missing_ok=True)
        for old, new in ((1, 2), (0, 1)):
            if names[old].exists():
                names[old].rename(names[new])

    written = 0
    for _ in range(3):
        rotate()
        append(log, text(numbered(written, written + 20)))
        written += 20
    reader = readers(log, chunk_bytes=300)
    for step, chunk in enumerate(reader.tail.read()):
        reader.take(chunk)
        if step % 4 == 3 and written < 200:
            rotate()  # the oldest goes while it may still be unread
            append(log, text(numbered(written, written + 20)))
            written += 20
    reader.read()
    assert reader.lines == numbered(0, written)


def test_a_deleted_file_that_is_held_is_read_to_its_end(log: Path, readers: Readers) -> None:
    reader = readers(log, chunk_bytes=100)
    append(log, text(numbered(0, 50)))
    chunks = reader.tail.read()
    reader.take(next(chunks))
    log.unlink()
    for chunk in chunks:
        reader.take(chunk)
    assert reader.lines == numbered(0, 50)
    reader.clock.now = 61
    reader.read()
    assert reader.open_files() == 0


def test_a_new_file_on_the_old_inode_is_a_new_file(log: Path, readers: Readers) -> None:
    append(log, b"1\n2\n")
    reader = readers(log)
    reader.read()
    reader.tail.close()
    inode = log.stat().st_ino
    # The same inode number for certain: the old content goes, the new one takes its place.
    log.write_bytes(b"3\n4\n")
    assert log.stat().st_ino == inode
    reader.restart()
    assert reader.read() == [b"3", b"4"]


def test_truncation_is_noticed_when_the_file_grew_beyond_the_old_offset(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 10)))
    reader.read()
    log.write_bytes(text(numbered(10, 40)))
    assert reader.read() == numbered(10, 40)


def test_truncation_is_noticed_when_the_file_has_the_old_size_again(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 10)))
    reader.read()
    log.write_bytes(text(numbered(10, 20)))
    assert reader.read() == numbered(10, 20)


def test_truncation_is_noticed_by_the_end_alone_when_the_first_lines_are_the_same(log: Path, readers: Readers) -> None:
    reader = readers(log)
    same = numbered(0, 20, width=100)
    append(log, text(same + numbered(20, 30)))
    reader.read()
    log.write_bytes(text(same + numbered(50, 70)))
    assert reader.read() == same + numbered(50, 70)


def test_copytruncate_gives_the_rest_of_the_copy_and_then_the_new_lines(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 10)))
    reader.read()
    append(log, text(numbered(10, 20)))
    copytruncate(log, log.with_name("access.log.1"))
    append(log, text(numbered(20, 50)))
    assert reader.read() == numbered(10, 50)


def test_a_copy_that_is_still_being_made_is_not_read_again(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 30)))
    reader.read()
    content = log.read_bytes()
    copy = log.with_name("access.log.1")
    for size in (100, 700, 1234, len(content)):
        copy.write_bytes(content[:size])
        assert reader.read() == []
    append(log, text(numbered(30, 31)))  # after the copy was made: it never gets there
    assert reader.read() == numbered(30, 31)
    os.truncate(log, 0)
    assert reader.read() == []
    append(log, text(numbered(31, 33)))
    assert reader.read() == numbered(31, 33)


def test_files_with_the_same_first_lines_are_kept_apart(log: Path, readers: Readers) -> None:
    head = [b"# the same header in every file".ljust(300, b"-")]
    older = log.with_name("access.log.1")
    older.write_bytes(text(head + numbered(0, 10)))
    append(log, text(head + numbered(10, 30)))
    reader = readers(log)
    assert reader.read() == head + numbered(0, 10) + head + numbered(10, 30)
    first, second = reader.committed.values()
    assert first.fingerprint == second.fingerprint
    assert first.id != second.id
    append(older, text(numbered(50, 51)))
    append(log, text(numbered(30, 31)))
    assert reader.read() == numbered(50, 51) + numbered(30, 31)
    reader.restart()
    append(log, text(numbered(31, 32)))
    assert reader.read() == numbered(31, 32)


def test_a_file_with_a_known_beginning_but_another_end_is_read_from_its_start(log: Path, readers: Readers) -> None:
    append(log, text(numbered(0, 50)))
    reader = readers(log)
    reader.read()
    log.write_bytes(text(numbered(0, 20)))
    reader.restart()
    assert reader.read() == numbered(0, 20)


def test_of_several_matching_states_the_furthest_is_used(log: Path) -> None:
    append(log, text(numbered(0, 20)))
    with Tail(log, chunk_bytes=400) as tail:
        states = [chunk.state for chunk in tail.read()]
    known = [msgspec.structs.replace(state, id=bytes([n]) * 16) for n, state in enumerate(states)]
    append(log, text(numbered(20, 21)))
    with Tail(log, known=reversed(known)) as tail:
        (chunk,) = tail.read()
    assert chunk.lines == numbered(20, 21)
    assert chunk.state.id == known[-1].id
    assert not chunk.fresh


# -- names


RELATIVES = [
    "access.log.2",
    "access.log.100",
    "access.log.001",
    "access.1.log",
    "access.log-20261121",
    "access.log-20261121-1732200000",
    "access.log-2026-11-21",
    "access.log.2026-11-21",
    "access.log-1732200000",
    "access.log-2026112114",
    "access.log.20261121-123456",
    "access-20261121.log",
    "access-2026-11-21.log",
    "access_2026-11-21_14-05.log",
    "access-2026-11-21.3.log",
]
STRANGERS = [
    "access.log.101",
    "access.log.bak",
    "access.log.1.tmp",
    "access.log~",
    "access.logs",
    "access.log-old",
    "access.log-99999999",
    "accessXlog.1",
    "my-access.log.1",
    "access-log.1",
    "access.log.1.gz.part",
    "other.log",
]


@pytest.mark.parametrize("codec", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", RELATIVES)
def test_rotated_names_belong_to_the_log(log: Path, readers: Readers, name: str, codec: str) -> None:
    data = text(numbered(0, 3))
    log.with_name(name + codec).write_bytes(PACKERS[codec](data) if codec else data)
    append(log, b"live\n")
    assert readers(log).read() == [*numbered(0, 3), b"live"]


@pytest.mark.parametrize("name", STRANGERS)
def test_other_names_do_not(log: Path, readers: Readers, name: str) -> None:
    log.with_name(name).write_bytes(b"not ours\n")
    append(log, b"live\n")
    assert readers(log).read() == [b"live"]


@pytest.mark.parametrize(
    "names",
    [
        ["access.log.10", "access.log.9.gz", "access.log.2", "access.log.1"],
        ["access.log-20251231.gz", "access.log-20260101", "access.log-20260102"],
        ["access.log-20260101", "access.log-20260101-1732200000", "access.log-20260101-1732200060"],
        ["access-2026-11-20.log.gz", "access-2026-11-21.1.log", "access-2026-11-21.2.log"],
    ],
)
def test_files_are_read_in_the_order_in_which_they_were_written(log: Path, readers: Readers, names: list[str]) -> None:
    everything = numbered(0, 10 * len(names) + 3)
    append(log, text(everything[10 * len(names) :]))
    for index, name in reversed(list(enumerate(names))):
        data = text(everything[10 * index : 10 * index + 10])
        log.with_name(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert readers(log).read() == everything


def test_after_a_change_of_style_the_older_style_is_read_first(log: Path, readers: Readers) -> None:
    for name, line, when in (("access.log.1", b"1\n", 1000), ("access.log-20261121", b"2\n", 2000)):
        log.with_name(name).write_bytes(line)
        os.utime(log.with_name(name), (when, when))
    append(log, b"3\n")
    assert readers(log).read() == [b"1", b"2", b"3"]
    os.utime(log.with_name("access.log.1"), (3000, 3000))
    assert readers(log).read() == [b"2", b"1", b"3"]


def test_ten_thousand_other_names_are_listed_once_while_nothing_moves(
    log: Path, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(10_000):
        log.with_name(f"unrelated-{n}").touch()
    append(log, text(numbered(0, 50)))
    os.utime(log.parent, (1000, 1000))  # nothing was renamed here for long
    listings = recorded(monkeypatch, "scandir")
    reader = readers(log, chunk_bytes=100)
    assert reader.read() == numbered(0, 50)
    reader.read()
    assert len(listings) == 1
    log.rename(log.with_name("access.log.1"))
    append(log, b"new\n")
    assert reader.read() == [b"new"]


def test_a_name_made_of_many_digits_costs_no_time(log: Path, readers: Readers) -> None:
    log.with_name("access.log-20261121" + "1" * 200 + "x").write_bytes(b"no\n")
    log.with_name("access.log-20261121" + "1-" * 100 + "_").write_bytes(b"no\n")
    append(log, b"live\n")
    assert readers(log).read() == [b"live"]


# -- places


def test_the_file_and_its_directory_may_appear_later(tmp_path: Path, readers: Readers) -> None:
    log = tmp_path / "proxy" / "logs" / "access.log"
    reader = readers(log)
    assert reader.read() == []
    assert [problem.kind for problem in reader.tail.problems()] == ["missing"]
    assert live_size(log) is None
    log.parent.mkdir(parents=True)
    assert reader.read() == []
    append(log, b"1\n")
    assert reader.read() == [b"1"]
    assert reader.tail.problems() == []
    size = reader.tail.live_size()
    assert size is not None
    assert (size.inode, size.size) == (log.stat().st_ino, 2)


def test_a_link_that_moves_is_followed_and_its_old_target_drained(tmp_path: Path, readers: Readers) -> None:
    targets = [tmp_path / "a" / "one.log", tmp_path / "b" / "two.log"]
    for target in targets:
        target.parent.mkdir()
    link = tmp_path / "access.log"
    append(targets[0], b"1\n")
    link.symlink_to(targets[0])
    reader = readers(link)
    assert reader.read() == [b"1"]
    append(targets[0], b"2\n")
    append(targets[1], b"4\n")
    link.unlink()
    link.symlink_to(targets[1])
    append(targets[0], b"3\n")
    assert reader.read() == [b"2", b"3", b"4"]
    reader.restart()
    append(targets[1], b"6\n")
    append(targets[0], b"5\n")  # a restart does not lose the old target either
    assert reader.read() == [b"5", b"6"]


def test_the_rotated_relatives_of_a_links_target_belong_to_it(tmp_path: Path, readers: Readers) -> None:
    target = tmp_path / "pods" / "0.log"
    target.parent.mkdir()
    link = tmp_path / "gateway.log"
    link.symlink_to(target)
    append(target, b"1\n")
    reader = readers(link)
    reader.read()
    append(target, b"2\n")
    reader.tail.close()
    target.rename(target.with_name("0.log.20261121-101500"))
    append(target, b"3\n")
    reader.restart()
    assert reader.read() == [b"2", b"3"]


def test_a_linked_directory_is_no_second_place(tmp_path: Path, readers: Readers) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "logs").symlink_to("real")
    append(tmp_path / "real" / "access.log.1", b"1\n")
    append(tmp_path / "real" / "access.log", b"2\n")
    assert readers(tmp_path / "logs" / "access.log").read() == [b"1", b"2"]


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read everything; be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_is_reported_and_the_others_are_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        log = Path(name, "access.log")
        older = Path(name, "access.log.1")
        append(older, b"secret\n")
        append(log, b"open\n")
        older.chmod(0)
        reader = Reader(log)
        with unprivileged():
            assert reader.read() == [b"open"]
            (problem,) = reader.tail.problems()
            assert problem.path == str(older)
            assert problem.kind == "unreadable"
            assert "ermission" in problem.reason
            assert problem.remedy
        older.chmod(0o644)
        with unprivileged():
            assert reader.read() == [b"secret"]
            assert reader.tail.problems() == []
        reader.tail.close()


def test_a_directory_that_cannot_be_listed_still_gives_its_live_file() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o711)
        log = Path(name, "access.log")
        append(log, b"live\n")
        reader = Reader(log)
        with unprivileged():
            if os.geteuid() != 65534:
                os.chmod(name, 0o311)
            assert reader.read() == [b"live"]
            for _ in range(2):
                assert [(p.path, p.kind) for p in reader.tail.problems()] == [(name, "unreadable")]
                reader.read()
        os.chmod(name, 0o755)
        reader.tail.close()


def test_what_is_no_file_is_reported_and_does_not_block(log: Path, readers: Readers) -> None:
    os.mkfifo(log)
    log.with_name("access.log.1").mkdir()
    append(log.with_name("access.log.2"), b"1\n")
    reader = readers(log)
    assert reader.read() == [b"1"]
    assert [problem.kind for problem in reader.tail.problems()] == ["not_a_file"] * 2


# -- compressed


@each_codec
def test_a_compressed_copy_of_what_was_read_is_not_read_again(log: Path, readers: Readers, codec: str) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 100)))
    reader.read()
    log.rename(log.with_name("access.log.1"))
    log.with_name(f"access.log.1{codec}").write_bytes(PACKERS[codec](text(numbered(0, 100))))
    append(log, b"new\n")
    assert reader.read() == [b"new"]
    log.with_name("access.log.1").unlink()
    reader.restart()
    assert reader.read() == []


@each_codec
def test_a_compressed_file_gives_what_was_not_read_before_it_was_compressed(
    log: Path, readers: Readers, codec: str
) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 60)))
    reader.read()
    reader.tail.close()
    log.unlink()
    log.with_name(f"access.log.1{codec}").write_bytes(PACKERS[codec](text(numbered(0, 100))))
    append(log, b"new\n")
    reader.restart()
    assert reader.read() == [*numbered(60, 100), b"new"]


@each_codec
def test_a_compressed_file_can_be_left_and_resumed_anywhere(log: Path, readers: Readers, codec: str) -> None:
    lines = numbered(0, 400, width=300)
    half = len(lines) // 2
    # Two members one after the other: what appending to a compressed file makes.
    data = PACKERS[codec](text(lines[:half])) + PACKERS[codec](text(lines[half:]))
    log.with_name(f"access.log.1{codec}").write_bytes(data)
    reader = readers(log, chunk_bytes=20_000)
    while (chunk := next(reader.tail.read(), None)) is not None:
        reader.take(chunk)
        reader.restart()
    assert reader.lines == lines


@each_codec
def test_a_compressed_file_that_is_done_is_not_opened_again(
    log: Path, readers: Readers, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = log.with_name(f"access.log.1{codec}")
    packed.write_bytes(PACKERS[codec](text(numbered(0, 100))))
    reader = readers(log)
    reader.read()
    (state,) = reader.committed.values()
    assert state.done
    packed.rename(log.with_name(f"access.log.2{codec}"))
    opened = recorded(monkeypatch, "open")
    assert reader.read() == []
    reader.restart()
    assert reader.read() == []
    assert reader.tail.pending_bytes() == 0
    assert opened == []


@each_codec
def test_a_compressed_file_that_is_being_written_gives_what_is_there(log: Path, readers: Readers, codec: str) -> None:
    noise = random.Random(5)
    lines = [noise.randbytes(150).hex().encode() for _ in range(9000)]
    data = PACKERS[codec](text(lines))
    packed = log.with_name(f"access.log.1{codec}")
    reader = readers(log, chunk_bytes=100_000)
    for end in (0, 3, len(data) // 2, len(data) * 3 // 4, len(data) - 1):
        packed.write_bytes(data[:end])
        reader.read()
        assert reader.lines == lines[: len(reader.lines)]
    assert reader.lines  # each format gives blocks before its end
    assert reader.tail.problems() == []
    reader.clock.now = 61
    reader.read()
    assert [problem.kind for problem in reader.tail.problems()] == ["incomplete"]
    packed.write_bytes(data)
    reader.read()
    assert reader.lines == lines
    assert reader.tail.problems() == []


@each_codec
def test_a_partial_compressed_copy_of_what_was_read_waits_and_is_read_when_nobody_finishes_it(
    log: Path, readers: Readers, codec: str
) -> None:
    lines = [os.urandom(150).hex().encode() for _ in range(9000)]
    append(log, text(lines))
    reader = readers(log)
    reader.read()
    packed = PACKERS[codec](text(lines))
    log.with_name(f"access.log.1{codec}").write_bytes(packed[: len(packed) * 3 // 4])
    assert reader.read() == []
    reader.clock.now = 61
    again = reader.read()
    assert again
    assert again == lines[: len(again)]


@each_codec
def test_a_damaged_file_is_reported_and_the_others_are_read(log: Path, readers: Readers, codec: str) -> None:
    lines = [os.urandom(150).hex().encode() for _ in range(9000)]
    data = bytearray(PACKERS[codec](text(lines)))
    middle = len(data) * 3 // 4
    data[middle : middle + 2000] = bytes(2000)
    log.with_name(f"access.log.2{codec}").write_bytes(data)
    log.with_name(f"access.log.3{codec}").write_bytes(b"this was never compressed\n")
    append(log, b"live\n")
    reader = readers(log)
    given = reader.read()
    assert given[-1] == b"live"
    assert len(given) > 1
    assert {problem.kind for problem in reader.tail.problems()} == {"corrupt"}
    assert {Path(problem.path).name for problem in reader.tail.problems()} == {f"access.log.{n}{codec}" for n in (2, 3)}
    assert reader.read() == []


def test_a_compressed_file_with_padding_behind_it_is_whole(log: Path, readers: Readers) -> None:
    log.with_name("access.log.1.gz").write_bytes(gzip.compress(b"1\n") + bytes(512))
    reader = readers(log)
    assert reader.read() == [b"1"]
    assert reader.tail.problems() == []


def test_a_highly_compressed_file_is_streamed_in_bounded_memory(log: Path) -> None:
    line = b"a" * 999
    for codec in (".gz", ".zst"):
        log.with_name(f"access.log.1{codec}").write_bytes(PACKERS[codec](text([line] * 200_000)))
        code = (
            "import resource, sys\n"
            "from monitor.sources.tail import Tail\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "count = sum(len(chunk.lines) for chunk in Tail(sys.argv[1]).read())\n"
            "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        out = subprocess.run([sys.executable, "-c", code, log], capture_output=True, text=True, check=True)
        count, grown = map(int, out.stdout.split())
        assert count == 200_000
        assert grown / (1 if sys.platform == "linux" else 1024) < 64 * 1024  # KiB on Linux, bytes on macOS
        log.with_name(f"access.log.1{codec}").unlink()


# -- restarts and housekeeping


@pytest.mark.parametrize("chunks_before_the_kill", range(8))
def test_after_a_kill_reading_goes_on_behind_the_last_commit(
    log: Path, readers: Readers, chunks_before_the_kill: int
) -> None:
    log.with_name("access.log.2.gz").write_bytes(gzip.compress(text(numbered(0, 20))))
    append(log.with_name("access.log.1"), text(numbered(20, 40)))
    append(log, text(numbered(40, 60)))
    reader = readers(log, chunk_bytes=400)
    pass_ = reader.tail.read()
    for _ in range(chunks_before_the_kill):
        reader.take(next(pass_))
    next(pass_)  # handed out, never committed
    log.rename(log.with_name("access.log.0"))
    append(log, text(numbered(60, 70)))
    reader.restart()
    reader.read()
    assert reader.lines == numbered(0, 70)


def test_a_short_first_line_keeps_its_state_when_the_file_grows(log: Path, readers: Readers) -> None:
    reader = readers(log)
    given = []
    for n in range(30):
        append(log, text(numbered(n, n + 1)))
        if n % 2:
            reader.restart()
        given += reader.read()
    assert given == numbered(0, 30)
    (state,) = reader.committed.values()
    assert state.fingerprint_size == 5 * 61  # the first lines that make 256 bytes


def test_a_pass_ends_although_the_writer_does_not(log: Path, readers: Readers) -> None:
    reader = readers(log, chunk_bytes=100)
    append(log, text(numbered(0, 20)))
    written = 20
    for chunk in reader.tail.read():
        reader.take(chunk)
        append(log, text(numbered(written, written + 5)))
        written += 5
    assert written < 200
    reader.read()
    assert reader.lines == numbered(0, written)


def test_old_rotated_files_are_opened_once_and_closed(log: Path, readers: Readers) -> None:
    for n in range(1, 20):
        older = log.with_name(f"access.log.{n}")
        append(older, text(numbered(n, n + 1)))
        os.utime(older, (1000, 1000))
    append(log, b"live\n")
    reader = readers(log)
    reader.read()
    reader.read()
    assert reader.open_files() == 1
    append(log.with_name("access.log.7"), b"woken\n")
    assert reader.read() == [b"woken"]


def test_pending_counts_what_no_pass_has_taken(log: Path, readers: Readers) -> None:
    reader = readers(log, chunk_bytes=600)
    append(log.with_name("access.log.1"), text(numbered(0, 10)))
    append(log, text(numbered(10, 20)))
    assert reader.tail.pending_bytes() == 20 * 61
    pass_ = reader.tail.read()
    reader.take(next(pass_))
    assert reader.tail.pending_bytes() == 20 * 61 - len(text(reader.lines))
    for chunk in pass_:
        reader.take(chunk)
    assert reader.tail.pending_bytes() == 0
    append(log.with_name("access.log.1"), b"more\n")
    assert reader.tail.pending_bytes() == 5


def test_states_that_are_kept_survive_a_copy_that_comes_back(log: Path, readers: Readers) -> None:
    reader = readers(log)
    append(log, text(numbered(0, 100)))
    reader.read()
    backup = log.read_bytes()
    log.unlink()
    reader.clock.now = 61
    reader.read()
    assert reader.tail.states() == list(reader.committed.values())
    log.with_name("access.log.5").write_bytes(backup)
    log.with_name("access.log.6.gz").write_bytes(gzip.compress(backup))
    assert reader.read() == []


def test_another_beginning_makes_another_file_even_if_the_end_is_the_same(log: Path, readers: Readers) -> None:
    reader = readers(log)
    end = numbered(100, 130)
    append(log, text(numbered(0, 10) + end))
    reader.read()
    log.write_bytes(text(numbered(50, 60) + end) + b"more\n")
    assert reader.read() == [*numbered(50, 60), *end, b"more"]


def test_a_second_change_within_one_tick_of_the_clock_is_noticed(log: Path, readers: Readers) -> None:
    reader = readers(log)
    ahead = 4_000_000_000
    for first in (0, 10):
        log.write_bytes(text(numbered(first, first + 10)))
        os.utime(log, (ahead, ahead))
        assert reader.read() == numbered(first, first + 10)


def test_a_rename_within_one_tick_of_the_clock_is_noticed(log: Path, readers: Readers) -> None:
    reader = readers(log)
    ahead = 4_000_000_000
    for number in (3, 2, 1):
        append(log.with_name(f"access.log.{number}"), text(numbered(number, number + 1)))
        os.utime(log.parent, (ahead, ahead))
        assert reader.read() == numbered(number, number + 1)


def test_a_held_file_that_is_overwritten_with_a_new_one_does_not_hide_it(log: Path, readers: Readers) -> None:
    backup = log.with_name("access.log-20261121")
    backup.write_bytes(text(numbered(0, 4)))
    reader = readers(log)
    reader.read()
    new = log.with_name("access.log.1")
    new.write_bytes(text(numbered(10, 12)))
    backup.write_bytes(text(numbered(10, 12)))
    assert set(reader.read()) == set(numbered(10, 12))


def test_other_threads_may_ask_while_one_reads(log: Path, readers: Readers) -> None:
    for n in range(5, 0, -1):
        append(log.with_name(f"access.log.{n}"), text(numbered(500 - 100 * n, 600 - 100 * n)))
    append(log, text(numbered(500, 600)))
    reader = readers(log, chunk_bytes=300)
    done = threading.Event()
    asked: list[int] = []

    def ask() -> None:
        while not done.is_set():
            asked.append(reader.tail.pending_bytes())
            assert reader.tail.problems() == []
            reader.tail.states()

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        reader.read()
        done.set()
        asking.result()
    assert reader.lines == numbered(0, 600)
    assert reader.tail.pending_bytes() == 0
    assert all(0 <= pending <= 600 * 61 for pending in asked)
