"""What is wrong with a data directory is seen, and put right by what is said."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.setup.data_dir import Repair, ingesting_process, place, repairs
from monitor.store.sqlite import SqliteStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    SqliteStore(made).close()
    made.chmod(0o700)
    return made


def run(found: list[Repair]) -> None:
    for repair in found:
        assert repair.trouble.fixable == (repair.run is not None)
        assert repair.trouble.do
        if repair.run is not None:
            assert repair.done
            repair.run()


def test_a_private_folder_needs_nothing(folder: Path) -> None:
    assert repairs(folder) == []


def test_missing_folders_are_made_private(tmp_path: Path) -> None:
    data, archive = tmp_path / "a" / "data", tmp_path / "archive"
    found = repairs(data, archive)
    assert [r.trouble.fixable for r in found] == [True, True]
    assert not data.exists()
    run(found)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert repairs(data, archive) == []


def test_what_others_can_read_is_closed(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "monitor.db").chmod(0o644)
    (folder / "notes.txt").write_text("not ours")
    (folder / "notes.txt").chmod(0o644)
    found = repairs(folder)
    assert [r.trouble.what.count("can be read by others") for r in found] == [1, 1]
    run(found)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "monitor.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "notes.txt").stat().st_mode) == 0o644
    assert repairs(folder) == []


def test_the_address_of_a_page_that_nobody_serves_is_removed(folder: Path) -> None:
    file = folder / "web.json"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for text in (json.dumps({"url": "http://localhost:1", "pid": gone.pid}), "not JSON", '{"pid": -1}', "[]"):
        file.write_text(text)
        file.chmod(0o600)
        found = repairs(folder)
        assert len(found) == 1
        run(found)
        assert not file.exists()
    file.write_text(json.dumps({"url": "http://localhost:1", "pid": os.getpid()}))
    file.chmod(0o600)
    assert repairs(folder) == []


def test_what_a_process_left_half_made_is_removed_once_it_is_old(folder: Path) -> None:
    draft = folder / "history-202601.db.0123456789abcdef.new"
    draft.write_bytes(b"")
    draft.chmod(0o600)
    assert repairs(folder) == []
    os.utime(draft, (0, 0))
    run(repairs(folder))
    assert not draft.exists()


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("mine")
    (found,) = repairs(file)
    assert not found.trouble.fixable
    assert file.read_text() == "mine"


def test_the_process_that_holds_the_lock_is_named(folder: Path) -> None:
    assert ingesting_process(folder) is None
    with (folder / "ingest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only Linux tells.
        assert ingesting_process(folder) == (os.getpid() if Path("/proc/locks").exists() else None)
    assert ingesting_process(folder) is None


def test_the_place_tells_sizes_and_troubles(folder: Path, tmp_path: Path) -> None:
    found = place(folder, repairs(folder), checked="quick check", broken=["x"], versions={"program": "1"})
    assert found.bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert found.free_bytes
    assert (found.troubles, found.broken) == ((), ("x",))
    # A folder that is yet to be made lies on a disk as well.
    assert place(tmp_path / "a" / "b", [], checked="", broken=[], versions={}).free_bytes
