"""Pruning and purging that are killed at any moment, or that meet a process that reads: everything adds up."""

from __future__ import annotations

import random
import shutil
import signal
from contextlib import closing
from pathlib import Path

import pytest

from monitor.samples import DEMO, Expected, lines
from monitor.store.base import Bounds
from monitor.store.sqlite import SqliteStore
from tests.helpers import check_totals, end, run, script, totals, wait_for

LIMIT = 900
KILLS = 12

#: Says a word for each statement, so that it can be killed at any of them.
WORK = """
import sys
from pathlib import Path
from monitor.store import pruning, purging
from monitor.store.base import Bounds
from monitor.store.sqlite import SqliteStore

pruning._STEP, pruning._LOOK, purging._STEP, pruning._PAGES = 40, 100, 3, 5
store = SqliteStore(Path(sys.argv[1]))
store._write_db.set_trace_callback(lambda statement: print("at work", flush=True))
if sys.argv[2] == "prune":
    for _ in store.pruning(Bounds(rounds_before=int(sys.argv[3]))):
        pass
else:
    store.purge("agent:main:main", counts_too=sys.argv[3] == "counts too")
print("done", flush=True)
store.close()
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Expected]:
    """A log, a data directory in which it was read, and what is in them."""
    folder = tmp_path_factory.mktemp("filled")
    expected = Expected()
    log, data = folder / "access.log", folder / "data"
    log.write_bytes(b"".join(lines(DEMO, 21, LIMIT, expected)))
    run("ingest", "--once", "--data-dir", data, "--log-path", log)
    return log, data, expected


def killed(work: list[str], data: Path, statements: int) -> bool:
    """Do `work` and kill it after so many statements; whether it was still at work."""
    process = script(WORK, data, *work)
    try:
        assert process.stdout is not None
        for _ in range(statements):
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            if line == "done\n":
                return False
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    finally:
        end([process])


def test_pruning_that_is_killed_again_and_again_loses_no_count(
    filled: tuple[Path, Path, Expected], tmp_path: Path
) -> None:
    log, data, expected = filled
    chance = random.Random(5)
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    with closing(SqliteStore(copy, read_only=True)) as store:
        starts = sorted(s.round.started_at for s in store.rounds("agent:main:main").rounds)
    before = str(starts[2 * len(starts) // 3])
    at_work = 0
    for _ in range(KILLS):
        at_work += killed(["prune", before], copy, chance.randrange(5, 120))
        with closing(SqliteStore(copy, read_only=True)) as store:
            check_totals(store, expected, DEMO)
    assert at_work >= 3
    assert not killed(["prune", before], copy, 1 << 20)
    # What was pruned when, nobody sees; and the log has nothing that is new.
    again = tmp_path / "again.log"
    shutil.copy(log, again)
    assert "0 new rounds" in run("ingest", "--once", "--data-dir", copy, "--log-path", again)[1]
    with closing(SqliteStore(copy)) as store:
        check_totals(store, expected, DEMO)
        assert store.prunable(Bounds(rounds_before=int(before))).rounds == 0
        stored = store.rounds("agent:main:main").rounds
        assert stored
        for one, content in zip(stored, store.content(stored), strict=True):
            assert (content is not None) == one.has_content


@pytest.mark.parametrize("counts", ["counts too", "counts stay"])
def test_purging_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    counts: str, filled: tuple[Path, Path, Expected], tmp_path: Path
) -> None:
    log, data, expected = filled
    chance = random.Random(6)
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    at_work = 0
    for _ in range(KILLS):
        at_work += killed(["purge", counts], copy, chance.randrange(3, 50))
        with closing(SqliteStore(copy, read_only=True)) as store:
            assert store.verify() == []
    assert at_work >= 3
    assert not killed(["purge", counts], copy, 1 << 20)
    rounds = expected.sessions["agent:main:main"].rounds if counts == "counts too" else 0
    again = tmp_path / "again.log"
    shutil.copy(log, again)
    assert "0 new rounds" in run("ingest", "--once", "--data-dir", copy, "--log-path", again)[1]
    with closing(SqliteStore(copy, read_only=True)) as store:
        assert store.verify() == []
        assert totals(store.slices()).rounds == expected.total.rounds - rounds
        stored = store.rounds("agent:main:main").rounds
        assert bool(stored) == (counts == "counts stay")
        assert not any(one.has_content for one in stored)


def test_a_process_that_reads_and_one_that_prunes_do_not_disturb_each_other(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    expected = Expected()
    written = list(lines(DEMO, 22, LIMIT, expected))
    log.write_bytes(b"".join(written[:300]))
    run("ingest", "--once", "--data-dir", data, "--log-path", log)
    reader = script("from monitor.faces.cli.main import main; main()", "ingest", "--data-dir", data, "--log-path", log)
    try:
        for begin in range(300, LIMIT, 50):
            with log.open("ab") as file:
                file.writelines(written[begin : begin + 50])
            run("prune", "--data-dir", data, "--log-path", log, "--older-than", "1", "--yes")
        with closing(SqliteStore(data, read_only=True)) as store:
            wait_for("everything is counted", lambda: totals(store.slices()) == expected.total)
            check_totals(store, expected, DEMO)
    finally:
        end([reader])
    run("prune", "--data-dir", data, "--log-path", log, "--older-than", "1", "--yes")
    with closing(SqliteStore(data, read_only=True)) as store:
        check_totals(store, expected, DEMO)
        assert not store.rounds("agent:main:main").rounds
