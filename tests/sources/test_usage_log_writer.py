"""Records are appended whole, whoever else appends, and a torn line spoils nothing but itself."""

from __future__ import annotations

import json
import os
import stat
import threading
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sources.usage_log.writer import DayFiles
from tests.helpers import finished, script

UTC = ZoneInfo("UTC")
NOON = 1764158400.0  # 2025-11-26T12:00Z


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_line_goes_into_the_file_of_its_day(tmp_path: Path) -> None:
    files = DayFiles(tmp_path / "not" / "yet", UTC)
    assert not (tmp_path / "not").exists()
    files.append(b'{"n":1}\n', NOON)
    files.append(b'{"n":2}\n{"n":3}\n', NOON)
    files.append(b'{"n":4}\n', NOON - 86400)
    folder = tmp_path / "not" / "yet"
    assert [path.name for path in sorted(folder.iterdir())] == ["2025-11-25.jsonl", "2025-11-26.jsonl"]
    assert lines_of(folder / "2025-11-26.jsonl") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert lines_of(folder / "2025-11-25.jsonl") == [{"n": 4}]
    files.close()
    files.append(b'{"n":5}\n', NOON)
    assert len(lines_of(folder / "2025-11-26.jsonl")) == 4
    files.close()


def test_only_the_owner_can_read_records(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = DayFiles(tmp_path / "records", UTC)
        files.append(b"{}\n", NOON)
        files.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "records").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "records" / "2025-11-26.jsonl").stat().st_mode) == 0o600


@given(
    st.floats(1_500_000_000, 1_900_000_000),
    st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_the_day_is_that_of_the_zone(at: float, zone: str) -> None:
    files = DayFiles("/nowhere", ZoneInfo(zone))
    day = datetime.fromtimestamp(at, ZoneInfo(zone)).date().isoformat()
    # Also from what is remembered of days nearby.
    for moment in (at, at + 1, at - 1, at):
        files.path(moment)
    assert files.path(at) == Path(f"/nowhere/{day}.jsonl")


def test_midnight_in_the_zone_parts_the_files(tmp_path: Path) -> None:
    midnight = datetime(2025, 11, 26, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()
    files = DayFiles(tmp_path, ZoneInfo("Asia/Shanghai"))
    for offset in (-0.001, 0.0, 86399.999, 86400.0):
        files.append(json.dumps({"offset": offset}).encode() + b"\n", midnight + offset)
    files.close()
    found = {path.name: [record["offset"] for record in lines_of(path)] for path in tmp_path.iterdir()}
    assert found == {
        "2025-11-25.jsonl": [-0.001],
        "2025-11-26.jsonl": [0.0, 86399.999],
        "2025-11-27.jsonl": [86400.0],
    }


@pytest.mark.parametrize("torn", [b'{"model": "qw', b"{", b'{"n":0}\n{"model'])
def test_after_a_torn_line_the_next_one_begins_on_its_own(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "2025-11-26.jsonl"
    files = DayFiles(tmp_path, UTC)
    path.write_bytes(torn)
    files.append(b'{"n":1}\n', NOON)
    with path.open("ab") as other:  # another process dies while this one has the file open
        other.write(torn)
    files.append(b'{"n":2}\n', NOON)
    files.close()
    assert path.read_bytes() == torn + b'\n{"n":1}\n' + torn + b'\n{"n":2}\n'


def test_a_file_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    files = DayFiles(tmp_path, UTC)
    path = tmp_path / "2025-11-26.jsonl"
    files.append(b'{"n":1}\n', NOON)
    path.rename(tmp_path / "aside")
    files.append(b'{"n":2}\n', NOON)
    path.unlink()
    files.append(b'{"n":3}\n', NOON)
    path.unlink()
    path.write_bytes(b'{"n":4}\n')
    files.append(b'{"n":5}\n', NOON)
    files.close()
    assert lines_of(tmp_path / "aside") == [{"n": 1}]
    assert lines_of(path) == [{"n": 4}, {"n": 5}]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("in the way")
    with pytest.raises(OSError, match="records"):
        DayFiles(tmp_path / "records", UTC).append(b"{}\n", NOON)


def test_many_threads_append_whole_lines(tmp_path: Path) -> None:
    files = DayFiles(tmp_path, UTC)
    text = "x" * 3000

    def append(thread: int) -> None:
        for number in range(200):
            day = 86400 * (number % 6)  # more days than stay open
            files.append(json.dumps({"thread": thread, "n": number, "text": text}).encode() + b"\n", NOON + day)

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files.close()
    found = [(r["thread"], r["n"]) for path in tmp_path.iterdir() for r in lines_of(path)]
    assert sorted(found) == [(thread, number) for thread in range(8) for number in range(200)]


def test_many_processes_append_whole_lines_to_one_file(tmp_path: Path) -> None:
    code = """
import json, os, sys
from zoneinfo import ZoneInfo
from monitor.sources.usage_log.writer import DayFiles
files = DayFiles(sys.argv[1], ZoneInfo("UTC"))
files.append(b'{"process":-1}\\n', 1764158400.0)
pid = os.fork()  # parent and child share the open file
for number in range(500):
    text = "y" * (number % 7000)
    files.append(json.dumps({"process": os.getpid(), "n": number, "text": text}).encode() + b"\\n", 1764158400.0)
if pid:
    os.waitpid(pid, 0)
"""
    finished([script(code, tmp_path) for _ in range(3)])
    assert b"\n\n" not in (tmp_path / "2025-11-26.jsonl").read_bytes()
    found = lines_of(tmp_path / "2025-11-26.jsonl")
    by_process: dict[object, list[object]] = {}
    for record in found:
        by_process.setdefault(record["process"], []).append(record.get("n"))
    assert len(by_process.pop(-1)) == 3
    assert len(by_process) == 6
    assert all(numbers == list(range(500)) for numbers in by_process.values())
