"""Processes that are killed, race each other or find the disk full: what was written is what is told in the end."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from monitor.samples import DEMO, MEDIUM, Expected, Profile, Writer, lines
from monitor.store.base import Slice
from monitor.store.sqlite import SqliteStore
from tests.helpers import check_totals, end, finished, run, script, start, totals, wait_for
from tests.store.conformance import snapshot

TEAM = replace(
    DEMO, name="team", total_sessions=None, turns=6, sessions=6, system_prompt_bytes=600, tool_result_lines=3,
    sessionless_share=0.1, models=tuple((name, weight) for name, weight in DEMO.models if "gemini" not in name),
)  # fmt: skip
KILLS = 40


def rounds_in(folder: Path) -> int:
    with closing(SqliteStore(folder, read_only=True)) as store:
        return totals(store.slices()).rounds


def check(folder: Path, expected: Expected, profile: Profile = TEAM) -> None:
    with closing(SqliteStore(folder, read_only=True)) as store:
        check_totals(store, expected, profile)


# -- what was said, straight from the log ---------------------------------------------------------


class _Outer(msgspec.Struct):
    ai_log: str = "-"
    request_id: str = "-"


class _Said(msgspec.Struct):
    messages: list[msgspec.Raw] | None = None
    question: msgspec.Raw = msgspec.Raw(b"null")
    answer: msgspec.Raw = msgspec.Raw(b"null")


def said_in(written: Sequence[bytes]) -> dict[str, _Said]:
    found = {}
    for line in written:
        if line.startswith(b'{"ai_log":"{'):
            outer = msgspec.json.decode(line, type=_Outer)
            found[outer.request_id] = msgspec.json.decode(outer.ai_log, type=_Said)
    return found


def check_conversations(folder: Path, written: Sequence[bytes]) -> None:
    """Every round of every session reads back as it was logged, to the byte."""
    logged = said_in(written)
    compared = 0
    with closing(SqliteStore(folder, read_only=True)) as store:
        for name in store.names_with("", 10_000):
            stored = store.rounds(name).rounds
            for one, content in zip(stored, store.content(stored), strict=True):
                said = logged[one.round.request_id or ""]
                messages = None if said.messages is None else tuple(bytes(raw) for raw in said.messages)
                if messages:
                    assert content is not None
                    assert content.messages == messages
                    assert content.answer == (None if bytes(said.answer) == b"null" else bytes(said.answer))
                    compared += 1
    assert compared > len(logged) / 2


# -- killed ---------------------------------------------------------------------------------------


def test_a_reader_that_is_killed_again_and_again_counts_everything_once(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    chance = random.Random(20260201)
    expected = Expected()
    coming = lines(TEAM, 7, None, expected)
    written: list[bytes] = []
    killed_at_work = 0
    with Writer(log, keep=99) as writer:
        for kill in range(KILLS):
            process = start("ingest", "--data-dir", data, "--log-path", log)
            before = rounds_in(data)
            if kill % 2:
                # From the moment on at which it keeps something, so that not all of them die while they start.
                while rounds_in(data) == before:
                    assert process.poll() is None
                    _write(coming, writer, written, chance)
            for _ in range(chance.randrange(60)):
                _write(coming, writer, written, chance)
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed_at_work += rounds_in(data) > before
    assert killed_at_work > KILLS / 4
    run("ingest", "--once", "--data-dir", data, "--log-path", log)
    check(data, expected)
    check_conversations(data, written)
    fresh = tmp_path / "fresh"
    run("ingest", "--once", "--data-dir", fresh, "--log-path", log)
    with closing(SqliteStore(data, read_only=True)) as one, closing(SqliteStore(fresh, read_only=True)) as other:
        # Tokens, cost in nano-units, rounds with their numbers, roll-ups by hour and by every dimension.
        assert snapshot(one) == snapshot(other)
        assert nano(one.slices()) == nano(other.slices()) > 0


def nano(slices: Sequence[Slice]) -> int:
    return sum(part.counts.nano or 0 for part in slices)


def _write(coming: Iterator[bytes], writer: Writer, written: list[bytes], chance: random.Random) -> None:
    """One more line, as the gateway writes it: whole pieces and torn ones, and now and then a rotation."""
    line = next(coming)
    written.append(line)
    writer.write(line)
    time.sleep(0.003)  # no gateway is faster for long
    if chance.random() < 0.2:
        writer.flush(slices=1)
    if chance.random() < 0.01:
        writer.flush()
        writer.rotate()
        writer.reopen()


# -- several at once ------------------------------------------------------------------------------


@contextmanager
def ingesters(count: int, data: Path, log: Path, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are started at once on one data directory; each says in a file when it reads."""
    processes = [
        start("ingest", "--data-dir", data, "--log-path", log, stderr=folder / f"said{number}")
        for number in range(count)
    ]
    try:
        yield processes
    finally:
        end(processes)


def reading(folder: Path, count: int) -> list[int]:
    """The numbers of the processes that have said that they read."""
    return [n for n in range(count) if "following" in (folder / f"said{n}").read_text()]


@pytest.mark.parametrize("count", [2, 3])
def test_one_process_reads_and_when_it_is_killed_the_next_one_takes_over(count: int, tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    expected = Expected()
    coming = lines(TEAM, 11, None, expected)
    with Writer(log) as writer, ingesters(count, data, log, tmp_path) as processes:
        have_read: list[int] = []
        for turn in range(count):
            wait_for("one reads", lambda: len(reading(tmp_path, count)) > len(have_read))
            found = reading(tmp_path, count)
            assert len(found) == turn + 1, "two read at once"
            for _ in range(100):
                writer.write(next(coming))
            writer.flush()
            wait_for("all is counted", lambda: rounds_in(data) == expected.total.rounds)
            (reader,) = set(found) - set(have_read)
            have_read.append(reader)
            processes[reader].send_signal(signal.SIGKILL)
            processes[reader].wait()
    check(data, expected)


RACE = """
import sys
from pathlib import Path
from monitor.ingest import Ingester, LogSource
from monitor.prices.catalog import Catalog
from monitor.sources.tail import Tail
from monitor.store.sqlite import SqliteStore

catalog = Catalog.load()
store = SqliteStore(Path(sys.argv[1]), price_version=catalog.version)
source = LogSource(Path(sys.argv[2]), store, catalog)
# Small pieces, so that their transactions take turns.
source._tail = Tail(sys.argv[2], chunk_bytes=int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
print(Ingester([source], store).once())
store.close()
"""


def test_readers_without_a_lock_that_race_from_the_beginning_count_everything_once(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    expected = Expected()
    written = list(lines(TEAM, 13, 700, expected))
    log.write_bytes(b"".join(written[400:]))
    log.with_name("access.log.1").write_bytes(b"".join(written[:400]))
    # Two read the same log; the others read its lines elsewhere in another order, or one would always be first.
    backwards, inside_out = tmp_path / "backwards.log", tmp_path / "inside-out.log"
    backwards.write_bytes(b"".join(reversed(written)))
    inside_out.write_bytes(b"".join(written[500:] + written[:500]))
    processes = [
        script(RACE, data, path, str(size))
        for path, size in ((log, 20_000), (log, 50_000), (backwards, 20_000), (inside_out, 30_000))
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        found = [int(out) for out in finished(processes)]
    finally:
        end(processes)
    assert sum(found) == expected.total.rounds
    assert sum(count > 0 for count in found) > 1, "they did not race"
    check(data, expected)
    check_conversations(data, written)


ASK = """
import contextlib, io, json, os, sys
from monitor.faces.cli.main import cli

data, log, stop = sys.argv[1:]
rounds = asked = 0

def ask(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        cli.main([*arguments, "--json", "--data-dir", data, "--log-path", log], standalone_mode=False)
    return json.loads(out.getvalue())

def same(whole, parts, names=("rounds", "input_tokens", "output_tokens")):
    for name in names:
        told = whole.get("messages_count" if name == "rounds" and "messages_count" in whole else name)
        if told is None:
            told = whole.get("total_" + name)
        assert (told or 0) == sum(part.get(name) or 0 for part in parts), (name, whole)
    cost = {}
    for part in parts:
        for currency, value in (part.get("cost") or {}).items():
            cost[currency] = cost.get(currency, 0) + round(value * 10**9)
    assert {c: round(v * 10**9) for c, v in (whole.get("cost") or {}).items()} == cost, whole

while True:
    last = os.path.exists(stop)
    by_model = ask("stats-model")
    same(by_model["totals"], by_model["rows"])
    by_date = ask("stats-date", "--bucket", "hour", "--timezone", "Asia/Kathmandu")
    same(by_date["totals"], by_date["rows"])
    for row in by_date["rows"]:
        same(row, row["models"])
    for answer in (by_model, by_date):
        assert answer["totals"]["rounds"] >= rounds, "a count went back"
        rounds = answer["totals"]["rounds"]
    listed = ask("list", "--limit", "100")
    for row in listed["sessions"][:3]:
        shown = ask("show", row["session_id"])
        if "more_models" not in shown:
            same(shown, shown["models"], ("rounds",))
        assert shown["messages_count"] >= row["messages_count"]
        assert [r["round"] for r in shown["rounds"]] == list(range(1, len(shown["rounds"]) + 1))
        assert len(shown["rounds"]) >= shown["messages_count"]
    asked += 1
    if last:
        break
print(json.dumps([asked, rounds]))
"""


@contextmanager
def asking(data: Path, log: Path, stop: Path) -> Iterator[list[subprocess.Popen[str]]]:
    askers = [script(ASK, data, log, stop) for _ in range(4)]
    try:
        yield askers
    finally:
        end(askers)


def test_readers_get_consistent_answers_while_the_log_is_read(tmp_path: Path) -> None:
    log, data, stop = tmp_path / "access.log", tmp_path / "data", tmp_path / "stop"
    log.touch()
    expected = Expected()
    coming = lines(TEAM, 17, 800, expected)
    with Writer(log) as writer, ingesters(1, data, log, tmp_path), asking(data, log, stop) as askers:
        wait_for("the log is read", lambda: reading(tmp_path, 1))
        for number, line in enumerate(coming):
            writer.write(line)
            writer.flush()
            if number % 200 == 199:
                writer.rotate()
                writer.reopen()
            assert all(asker.poll() is None for asker in askers) or finished(askers)
            time.sleep(0.01)  # so that they ask while it grows
        wait_for("all is counted", lambda: rounds_in(data) == expected.total.rounds)
        stop.touch()
        for out in finished(askers):
            asked, rounds = msgspec.json.decode(out, type=tuple[int, int])
            assert asked > 1
            assert rounds == expected.total.rounds
    check(data, expected)


# -- once -----------------------------------------------------------------------------------------


def test_a_single_pass_waits_for_the_process_that_reads(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    expected = Expected()
    coming = lines(MEDIUM, 19, None, expected)
    with Writer(log) as writer, ingesters(1, data, log, tmp_path):
        wait_for("it reads", lambda: reading(tmp_path, 1))
        for _ in range(5):
            for _ in range(40):
                writer.write(next(coming))
            writer.flush()
            _, said = run("ingest", "--once", "--data-dir", data, "--log-path", log)
            assert "another process has read everything" in said
            assert rounds_in(data) == expected.total.rounds
    check(data, expected, MEDIUM)


def test_a_single_pass_does_not_wait_for_the_rest_of_a_torn_line(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    expected = Expected()
    coming = lines(TEAM, 37, None, expected)
    with ingesters(1, data, log, tmp_path):
        with log.open("ab") as file:
            file.write(b"".join(next(coming) for _ in range(20)) + b'{"ai_log":"{')
        wait_for("it reads", lambda: reading(tmp_path, 1))
        _, said = run("ingest", "--once", "--data-dir", data, "--log-path", log)
        assert "another process has read everything" in said
    check(data, expected)


def test_a_single_pass_reads_by_itself_when_the_process_that_reads_is_killed(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    expected = Expected()
    coming = lines(TEAM, 23, None, expected)
    with Writer(log) as writer, ingesters(1, data, log, tmp_path) as (reader,):
        wait_for("it reads", lambda: reading(tmp_path, 1))
        reader.send_signal(signal.SIGSTOP)
        for _ in range(50):
            writer.write(next(coming))
        writer.flush()
        once = start("ingest", "--once", "--data-dir", data, "--log-path", log, stderr=tmp_path / "once")
        with pytest.raises(subprocess.TimeoutExpired):
            once.wait(timeout=2)  # what it waits for can't happen
        assert rounds_in(data) == 0
        reader.kill()
        assert once.wait(timeout=60) == 0
        assert f"{expected.total.rounds} new rounds" in (tmp_path / "once").read_text()
    check(data, expected)


# -- no room --------------------------------------------------------------------------------------

SMALL = 24 << 20


def test_a_full_disk_is_told_keeps_nothing_half_and_is_caught_up_with(tmp_path: Path) -> None:
    _in_a_namespace("follow_on_a_small_disk", tmp_path)


def test_a_single_pass_on_a_full_disk_fails_and_the_next_one_reads_the_rest(tmp_path: Path) -> None:
    _in_a_namespace("pass_on_a_small_disk", tmp_path)


def _in_a_namespace(scenario: str, folder: Path) -> None:
    """Run a function of this module where it may mount a small disk; the mount goes with the process."""
    unshare = shutil.which("unshare")
    assert unshare is not None, "install util-linux: the test needs `unshare` to mount a small disk"
    options = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    can = subprocess.run([unshare, *options, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
    assert can.returncode == 0, (
        f"can't mount a small disk ({can.stderr.decode().strip()}): run the tests as root, or allow user "
        "namespaces with `sysctl -w kernel.unprivileged_userns_clone=1`"
    )
    code = f"import sys; from pathlib import Path; from {__name__} import {scenario}; {scenario}(Path(sys.argv[1]))"
    done = subprocess.run(
        [unshare, *options, sys.executable, "-c", code, folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _small_disk(folder: Path) -> tuple[Path, Path]:
    """A disk that is mounted, and the file that fills it but for a little."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", disk], check=True)
    return disk, disk / "ballast"


def _fill(ballast: Path, leave: int) -> None:
    free = shutil.disk_usage(ballast.parent).free
    try:
        ballast.write_bytes(b"\0" * max(0, free - leave))
    except OSError as error:
        # The ingester took some of the room meanwhile: the disk is as full as it can be.
        if error.errno != errno.ENOSPC:
            raise


def follow_on_a_small_disk(folder: Path) -> None:
    log = folder / "access.log"
    disk, ballast = _small_disk(folder)
    data = disk / "data"
    expected = Expected()
    coming = lines(TEAM, 29, None, expected)
    written: list[bytes] = []

    def write(count: int) -> None:
        for _ in range(count):
            written.append(next(coming))
            writer.write(written[-1])
        writer.flush()

    with Writer(log) as writer, ingesters(1, data, log, folder) as (process,):
        write(20)
        wait_for("the first lines are counted", lambda: rounds_in(data) == expected.total.rounds)
        for leave in (0, 40_000, 100_000):
            said = (folder / "said0").read_text().count("could not keep")
            full_at = expected.total.rounds
            _fill(ballast, leave)
            # More than there is room for, however well it is packed.
            while (folder / "said0").read_text().count("could not keep") == said:
                write(20)
                assert len(written) < 6000
                time.sleep(0.05)
            assert process.poll() is None
            with closing(SqliteStore(data, read_only=True)) as store:
                assert store.verify() == []
                assert full_at <= totals(store.slices()).rounds < expected.total.rounds
            ballast.unlink()
            wait_for("it has caught up", lambda: rounds_in(data) == expected.total.rounds, seconds=90)
    check(data, expected)
    check_conversations(data, written)


def pass_on_a_small_disk(folder: Path) -> None:
    log = folder / "access.log"
    disk, ballast = _small_disk(folder)
    data = disk / "data"
    expected = Expected()
    written = list(lines(TEAM, 31, 600, expected))
    log.write_bytes(b"".join(written))
    for leave in (0, 30_000, 150_000, 300_000):
        _fill(ballast, leave)
        _, said = run("ingest", "--once", "--data-dir", data, "--log-path", log, code=1)
        assert "full" in said or "No space" in said, said
        assert "Traceback" not in said
        assert str(data) in said, said
        ballast.unlink()
        with closing(SqliteStore(data, read_only=True)) as store:
            assert store.verify() == []
            assert totals(store.slices()).rounds == 0  # all of it is one batch
    run("ingest", "--once", "--data-dir", data, "--log-path", log)
    check(data, expected)
    check_conversations(data, written)
