"""The real logrotate, with the settings that Higress ships and the ones that operators add."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.sources.tail import FileState, Tail

#: Writes like Envoy: appends to what it has open, and opens anew when it handles SIGUSR1.
#: Lines on its input tell it when, so that nothing here depends on time.
WRITER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
fd = os.open(sys.argv[1], flags, 0o644)
print("ready", flush=True)
for order in sys.stdin:
    if order == "reopen\\n":
        signal.sigwait([signal.SIGUSR1])
        os.close(fd)
        fd = os.open(sys.argv[1], flags, 0o644)
    else:
        os.write(fd, bytes.fromhex(order))
    print("done", flush=True)
"""

HIGRESS = """
    rotate 5
    create 644 {uid} {gid}
    nocompress
    notifempty
    minsize 100M
    postrotate
        kill -USR1 {pid}
    endscript
"""


class Gateway:
    """A log, its writer and its rotation."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "logs" / "access.log"
        self.log.parent.mkdir(mode=0o755)
        self._conf = directory / "logrotate.conf"
        self._state = directory / "logrotate.state"
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, self.log], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer("ready")
        self.written: list[bytes] = []

    def _answer(self, expected: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == expected + "\n"

    def _order(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        self._answer("done")

    def write(self, count: int, *, torn: bytes = b"") -> None:
        """`count` new lines, and the beginning of another."""
        first = len(self.written)
        lines = [f"request {n} ".encode().ljust(120, b".") for n in range(first, first + count)]
        self.written += lines
        self._order((b"".join(line + b"\n" for line in lines) + torn).hex())

    def write_rest(self, torn: bytes, rest: bytes) -> None:
        self.written.append(torn + rest)
        self._order((rest + b"\n").hex())

    def reopen(self) -> None:
        self._order("reopen")

    def configure(self, settings: str) -> None:
        filled = settings.format(uid=os.getuid(), gid=os.getgid(), pid=self._process.pid)
        self._conf.write_text(f"{self.log} {{\n{filled}\n}}\n")
        self._conf.chmod(0o644)

    def rotate(self) -> None:
        program = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            pytest.fail("logrotate is missing: apt-get install logrotate (macOS: brew install logrotate)")
        done = subprocess.run(
            [program, "--force", "--state", self._state, self._conf],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def names(self) -> set[str]:
        return {path.name for path in self.log.parent.iterdir()}

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]


class Reader:
    def __init__(self, log: Path) -> None:
        self.log = log
        self.committed: dict[bytes, FileState] = {}
        self.lines: list[bytes] = []
        self.tail = Tail(log, chunk_bytes=1000)

    def read(self) -> None:
        for chunk in self.tail.read():
            self.lines += chunk.lines
            self.committed[chunk.state.id] = chunk.state

    def restart(self) -> None:
        self.tail.close()
        self.tail = Tail(self.log, known=self.committed.values(), chunk_bytes=1000)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path)
    yield made
    made.close()


@pytest.fixture
def reader(gateway: Gateway) -> Iterator[Reader]:
    made = Reader(gateway.log)
    yield made
    made.tail.close()


def test_nothing_is_lost_when_higress_rotates_and_envoy_still_writes_to_the_old_file(
    gateway: Gateway, reader: Reader
) -> None:
    gateway.configure(HIGRESS)
    for round_ in range(12):
        gateway.write(20)
        if round_ % 3:
            reader.read()
        gateway.write(5, torn=b"torn ")
        gateway.rotate()
        reader.read()
        gateway.write_rest(b"torn ", b"and finished in the renamed file")
        gateway.write(5)
        if round_ % 4 == 3:
            reader.restart()
        gateway.reopen()
        gateway.write(5)
        reader.read()
    assert gateway.names() == {"access.log", *(f"access.log.{n}" for n in range(1, 6))}
    assert reader.lines == gateway.written


def test_a_monitor_that_was_down_for_five_rotations_catches_up(gateway: Gateway, reader: Reader) -> None:
    gateway.configure(HIGRESS)
    gateway.write(10)
    reader.read()
    for _ in range(5):
        gateway.write(10)
        gateway.rotate()
        gateway.reopen()
    gateway.write(10)
    reader.restart()
    reader.read()
    assert reader.lines == gateway.written


def test_files_that_logrotate_deletes_during_a_long_read_are_read_to_their_end(
    gateway: Gateway, reader: Reader
) -> None:
    gateway.configure(HIGRESS)
    for _ in range(5):
        gateway.write(40)
        gateway.rotate()
        gateway.reopen()
    gateway.write(40)
    for step, chunk in enumerate(reader.tail.read()):
        reader.lines += chunk.lines
        if step < 7:  # every file that was there when the pass began is deleted meanwhile
            gateway.rotate()
            gateway.reopen()
            gateway.write(1)
    reader.read()
    assert reader.lines == gateway.written


@pytest.mark.parametrize("kept", ["", "compress", "compress\n delaycompress"])
def test_copytruncate_by_logrotate(gateway: Gateway, reader: Reader, kept: str) -> None:
    gateway.configure(f"rotate 20\n copytruncate\n {kept}")
    for round_ in range(8):
        gateway.write(30)
        if round_ % 2:
            reader.read()
        gateway.write(7)
        gateway.rotate()
        if round_ % 3 == 2:
            reader.restart()
        gateway.write(round_ * 10)  # sometimes beyond the old size
    reader.read()
    assert reader.lines == gateway.written
    assert ("access.log.2.gz" in gateway.names()) == bool(kept)


@pytest.mark.parametrize("command", ["gzip", "zstd"])
@pytest.mark.parametrize("delay", ["", "delaycompress"])
def test_compression_by_logrotate(gateway: Gateway, reader: Reader, command: str, delay: str) -> None:
    extension = {"gzip": ".gz", "zstd": ".zst"}[command]
    program = shutil.which(command)
    if program is None:
        pytest.fail(f"{command} is missing: apt-get install gzip zstd")
    gateway.configure(
        f"rotate 20\n create\n compress\n {delay}\n compresscmd {program}\n compressext {extension}\n"
        " postrotate\n kill -USR1 {pid}\n endscript"
    )
    for round_ in range(6):
        gateway.write(30)
        if round_ % 2:
            reader.read()
        gateway.write(7)
        gateway.rotate()
        if round_ % 3 == 2:
            reader.restart()
        gateway.reopen()
    gateway.write(3)
    reader.read()
    assert reader.lines == gateway.written
    assert f"access.log.3{extension}" in gateway.names()
    reader.restart()
    reader.read()
    assert reader.lines == gateway.written


@pytest.mark.parametrize("compress", ["", "compress", "compress\n extension .log"])
@pytest.mark.parametrize("form", ["-%Y%m%d-%s", "-%Y-%m-%d-%s", ".%Y-%m-%d_%s", "-%s"])
def test_dates_as_names_by_logrotate(gateway: Gateway, reader: Reader, compress: str, form: str) -> None:
    gateway.configure(
        f"rotate 20\n create\n dateext\n dateformat {form}\n {compress}\n postrotate\n kill -USR1 {{pid}}\n endscript"
    )
    gateway.write(30)
    reader.read()
    gateway.write(10)
    gateway.rotate()
    gateway.write(0 if compress else 5)
    gateway.reopen()
    gateway.write(10)
    reader.restart()
    reader.read()
    assert len(gateway.names()) == 2
    assert reader.lines == gateway.written
