"""A node of a fleet whose store nobody answers for: real commands, and what they say."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from monitor.ingest.losses import Losses, statuses
from monitor.ingest.spool import folder_of
from monitor.rounds import UNKNOWN_TIME
from monitor.runtime import node
from monitor.samples import SHORT, lines
from monitor.sources.tail import FileState
from tests.helpers import end, run, start, wait_for


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of a node with one log; at the port of its store nobody listens."""
    path = tmp_path / "session-monitor.toml"
    path.write_text(
        f"data_dir = {json.dumps(str(tmp_path / 'data'))}\n"
        'store = "clickhouse://default@127.0.0.1:1/nowhere"\n'
        '[fleet]\nnode = "one"\n'
        f"[[sources]]\npath = {json.dumps(str(tmp_path / 'access.log'))}\n"
    )
    return path


def kept(folder: Path) -> int:
    return sum(status.bytes for status in statuses(folder / "data"))


def test_ingest_begins_and_keeps_lines_while_the_store_is_away(tmp_path: Path, config: Path) -> None:
    log = tmp_path / "access.log"
    records = list(lines(SHORT, 1, 30))
    log.write_bytes(b"".join(records[:20]))
    process = start("ingest", "--config", config, stderr=tmp_path / "said")
    try:
        wait_for("lines are kept", lambda: kept(tmp_path) == sum(map(len, records[:20])))
        with log.open("ab") as file:
            file.write(b"".join(records[20:]))
        wait_for("those that came later too", lambda: kept(tmp_path) == sum(map(len, records)))
        _, said = run("doctor", "--config", config, code=1)
        assert f"{log}: lines wait on this node since" in said
        assert "Traceback" not in said
    finally:
        end([process])
    assert "the logs are followed meanwhile" in (tmp_path / "said").read_text()


def test_one_pass_keeps_what_it_can_not_store_and_fails(tmp_path: Path, config: Path) -> None:
    records = list(lines(SHORT, 2, 10))
    (tmp_path / "access.log").write_bytes(b"".join(records))
    for _ in range(2):  # the second one keeps nothing twice
        _, said = run("ingest", "--once", "--config", config, code=1)
        assert "can't be reached" in said
        assert kept(tmp_path) == sum(map(len, records))


def test_lost_lines_are_told_by_file_and_offset_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = FileState(b"f" * 16, "/var/log/access.log.5", b"", 0, 5000, b"", 5000, 1, 2, UNKNOWN_TIME)
    losses = Losses(folder_of(tmp_path, "/var/log/access.log"), "/var/log/access.log")
    losses.lines(state, 1000, 12)
    (problem,), notes = node.told(tmp_path)
    assert problem.startswith("/var/log/access.log.5: 12 lines (bytes 1,000 to 5,000) are in no figure")
    assert notes == ()
    # After a week it is no more than worth knowing.
    later = time.time_ns() + 8 * 86_400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    problems, (note,) = node.told(tmp_path)
    assert (problems, note) == ((), problem)
