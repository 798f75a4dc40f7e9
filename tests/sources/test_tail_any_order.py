"""Whatever happens to a log, in whatever order: what was written is what is read."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import zstandard
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from monitor.sources.tail import FileState, Tail

KEEP = 5
QUIET = 60.0

SETTINGS = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class RenamedLog(RuleBasedStateMachine):
    """One writer that holds its file open, as Envoy does; rotation by rename; a reader that may be killed."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.log = self.directory / "access.log"
        self.writer = self.log.open("ab", buffering=0)
        self.reopened = True
        self.written: list[bytes] = []
        self.torn: bytes | None = None
        self.count = 0
        self.now = 0.0
        self.chunk_bytes = 1 << 20
        self.taken: list[bytes] = []
        self.committed: dict[bytes, FileState] = {}
        self.tail = self.open()

    def open(self) -> Tail:
        return Tail(
            self.log,
            known=self.committed.values(),
            chunk_bytes=self.chunk_bytes,
            quiet_seconds=QUIET,
            clock=lambda: self.now,
        )

    def teardown(self) -> None:
        try:
            self.finish_line()
            self.read()
            self.judge()
            assert self.tail.pending_bytes() == 0
            assert self.tail.problems() == []
        finally:
            self.tail.close()
            self.writer.close()
            shutil.rmtree(self.directory)

    def judge(self) -> None:
        assert self.taken == self.written

    @invariant()
    def nothing_comes_twice_or_out_of_order(self) -> None:
        assert self.taken == self.written[: len(self.taken)]

    # -- the writer

    def new_line(self, width: int) -> bytes:
        self.count += 1
        return f"{self.count}:".encode() + b"x" * width

    def finish_line(self) -> None:
        if self.torn is not None:
            self.writer.write(self.torn + b"\n")
            self.torn = None

    @rule(widths=st.lists(st.sampled_from([0, 3, 90, 300, 1500]), max_size=6))
    def write(self, widths: list[int]) -> None:
        self.finish_line()
        lines = [self.new_line(width) for width in widths]
        self.written += lines
        self.writer.write(b"".join(line + b"\n" for line in lines))

    @rule(width=st.sampled_from([0, 3, 90, 300, 1500]), cut=st.integers(0, 1600))
    def tear(self, width: int, cut: int) -> None:
        self.finish_line()
        line = self.new_line(width)
        self.written.append(line)
        self.writer.write(line[:cut])
        self.torn = line[cut:]

    # -- the rotation

    def rotated(self, number: int) -> list[Path]:
        return [
            path
            for codec in ("", ".gz", ".zst")
            if (path := self.log.with_name(f"access.log.{number}{codec}")).exists()
        ]

    @rule()
    def rename(self) -> None:
        if not self.reopened:
            return
        if self.rotated(KEEP):
            self.read()  # what is deleted unread is lost to anyone
        for path in self.rotated(KEEP):
            path.unlink()
        for number in range(KEEP - 1, 0, -1):
            for path in self.rotated(number):
                path.rename(str(path).replace(f".log.{number}", f".log.{number + 1}"))
        self.log.rename(self.log.with_name("access.log.1"))
        self.log.touch()
        self.reopened = False

    @rule()
    def reopen(self) -> None:
        self.finish_line()
        self.writer.close()
        self.writer = self.log.open("ab", buffering=0)
        self.reopened = True

    @rule(number=st.integers(1, KEEP), codec=st.sampled_from([".gz", ".zst"]), looks=st.integers(0, 2))
    def compress(self, number: int, codec: str, looks: int) -> None:
        plain = self.log.with_name(f"access.log.{number}")
        if not plain.exists() or (number == 1 and not self.reopened):
            return
        pack = gzip.compress if codec == ".gz" else zstandard.ZstdCompressor().compress
        packed = pack(plain.read_bytes())
        target = plain.with_name(plain.name + codec)
        if looks:
            target.write_bytes(packed[: len(packed) // 2])
            self.read()
        target.write_bytes(packed)
        if looks == 2:
            self.read()
        plain.unlink()

    @rule()
    def delete_oldest(self) -> None:
        self.read()
        for number in range(KEEP, 0, -1):
            if self.rotated(number) and (number > 1 or self.reopened):
                for path in self.rotated(number):
                    path.unlink()
                break

    # -- the reader

    @rule()
    def read(self) -> None:
        for chunk in self.tail.read():
            self.taken += chunk.lines
            self.committed[chunk.state.id] = chunk.state

    @rule(chunks=st.integers(0, 4), chunk_bytes=st.sampled_from([1, 50, 400, 1 << 20]))
    def kill(self, chunks: int, chunk_bytes: int) -> None:
        for index, chunk in enumerate(self.tail.read()):
            if index == chunks:
                break  # handed out, and lost before it was committed
            self.taken += chunk.lines
            self.committed[chunk.state.id] = chunk.state
        self.tail.close()
        self.chunk_bytes = chunk_bytes
        self.tail = self.open()

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds


class AnyLog(RenamedLog):
    """With copytruncate and copies too, where only the content can say what was read."""

    def judge(self) -> None:
        assert set(self.taken) == set(self.written)

    @invariant()
    def nothing_comes_twice_or_out_of_order(self) -> None:
        """Lines may come again here, but none that nobody wrote."""
        assert set(self.taken) <= set(self.written)

    @rule(looks=st.booleans(), share=st.floats(0, 1))
    def copytruncate(self, looks: bool, share: float) -> None:
        if not self.reopened:
            return
        self.finish_line()
        self.read()
        for path in self.rotated(KEEP):
            path.unlink()
        for number in range(KEEP - 1, 0, -1):
            for path in self.rotated(number):
                path.rename(str(path).replace(f".log.{number}", f".log.{number + 1}"))
        self.write([90, 3])
        copy = self.log.with_name("access.log.1")
        content = self.log.read_bytes()
        if looks:
            copy.write_bytes(content[: int(len(content) * share)])
            self.read()
        copy.write_bytes(content)
        os.truncate(self.log, 0)

    @rule(number=st.integers(1, KEEP), codec=st.sampled_from(["", ".gz"]))
    def restore_backup(self, number: int, codec: str) -> None:
        name = self.log.with_name(f"access.log-20261121{codec}")
        source = self.log.with_name(f"access.log.{number}")
        if source.exists():
            data = source.read_bytes()
            name.write_bytes(gzip.compress(data) if codec else data)


def _case(machine: type[RuleBasedStateMachine]) -> Any:
    case = machine.TestCase
    case.settings = SETTINGS
    return case


TestEveryLineOfARenamedLogIsReadOnceAndInOrder = _case(RenamedLog)
TestEveryLineIsReadWhateverIsCopiedOrTruncated = _case(AnyLog)
