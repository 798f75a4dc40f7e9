"""Who ingests, how fresh answers are, and where links lead, with several runtimes on one data directory."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from monitor.config import ADDRESS_NAME, LOCK_NAME, ConfigError, load
from monitor.prices import updates
from monitor.prices.catalog import Catalog
from monitor.rounds import Usage
from monitor.runtime import Runtime
from monitor.samples import DEMO, lines
from monitor.store import schema
from monitor.store.base import StoreError
from monitor.store.sqlite import DATABASE
from tests.helpers import script, wait_for
from tests.prices.published import as_file, published


class Folder:
    def __init__(self, path: Path) -> None:
        self.log = path / "access.log"
        self.data = path / "data"
        self.records = list(lines(DEMO, seed=4, limit=60))
        self.opened: list[Runtime] = []

    def runtime(self) -> Runtime:
        self.opened.append(Runtime(load(None, data_dir=self.data), log_paths=[self.log]))
        return self.opened[-1]

    def write(self, records: list[bytes]) -> None:
        with self.log.open("ab") as file:
            file.writelines(records)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    for runtime in made.opened:
        runtime.close()


def served(runtime: Runtime) -> bool:
    return runtime.page_is_served


def rounds(runtime: Runtime) -> int:
    return sum(part.counts.rounds for part in runtime.store.slices())


@pytest.fixture
def older(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A data directory that the first version made, which had read a log up to its middle."""
    folder.write(folder.records[:30])
    with folder.runtime().ingesting() as ingester:
        ingester.once()
    with closing(sqlite3.connect(folder.data / DATABASE)) as db:
        read_up_to = db.execute('SELECT id, source, path, "offset", size, position FROM checkpoint').fetchall()
    folder.opened.pop().close()
    shutil.rmtree(folder.data)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        patch.setattr(schema, "VERSION", 1)
        with closing(schema.connect(folder.data / DATABASE, read_only=False)) as db:
            db.executemany("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", read_up_to)
    return folder


def test_after_an_upgrade_what_was_followed_is_read_on(older: Folder) -> None:
    older.write(older.records[30:])
    older.opened.append(runtime := Runtime(load(None, data_dir=older.data)))
    assert [source.path for source in runtime.sources()] == [older.log]
    with runtime.ingesting() as ingester:
        assert ingester.once() == sum(b'"ai_log":"{' in line for line in older.records[30:])


def test_while_the_older_version_still_runs_an_upgrade_says_so(older: Folder) -> None:
    with FileLock(older.data / LOCK_NAME), pytest.raises(StoreError, match="older version"):
        Runtime(load(None, data_dir=older.data)).sources()


def test_one_process_ingests_and_another_takes_over_when_it_is_gone(folder: Folder) -> None:
    folder.write(folder.records[:30])
    first, second = folder.runtime(), folder.runtime()
    first.start()
    wait_for("the first ingests", lambda: first.is_ingesting and rounds(first) > 0)
    second.start()
    second.settle()
    assert not second.is_ingesting
    assert second.ingester_alive()
    first.close()
    folder.write(folder.records[30:])
    wait_for("the second takes over", lambda: second.is_ingesting)
    wait_for("the second has read the rest", lambda: second.asking().behind_bytes is None)
    assert second.store.verify() == []


def test_nobody_else_can_ingest_while_one_does(folder: Folder) -> None:
    folder.write(folder.records)
    with folder.runtime().ingesting() as ingester:
        ingester.once()
        with pytest.raises(Timeout), folder.runtime().ingesting():
            pass


def test_an_answer_of_the_ingesting_process_holds_what_was_just_written(folder: Folder) -> None:
    folder.write(folder.records[:10])
    runtime = folder.runtime()
    runtime.start()
    wait_for("it ingests", lambda: runtime.is_ingesting)
    runtime.asking()
    before = rounds(runtime)
    folder.write(folder.records[10:])
    asking = runtime.asking()
    assert asking.behind_bytes is None
    assert rounds(runtime) > before


def test_a_process_that_only_answers_says_how_far_behind_it_is(folder: Folder) -> None:
    folder.write(folder.records[:10])
    with folder.runtime().ingesting() as ingester:
        ingester.once()
    reader = folder.runtime()
    assert reader.asking().behind_bytes is None
    folder.write(folder.records[10:11])
    behind = reader.asking()
    assert behind.behind_bytes == len(folder.records[10])
    assert behind.as_of is not None


def test_what_a_long_first_reading_has_not_come_to_is_told_as_unread(folder: Folder) -> None:
    size = sum(map(len, folder.records))
    for _ in range((30 << 20) // size + 1):
        folder.write(folder.records)
    whole = folder.log.stat().st_size
    reader = folder.runtime()
    told: list[int] = []
    with folder.runtime().ingesting() as ingester:
        ingester.once(lambda: told.append(reader.unread_bytes()))
        # A piece is some megabytes: there are several, and each leaves less.
        assert whole > told[0] > told[1] > told[-1] == 0
        assert reader.asking(wait=False).behind_bytes is None


def test_an_empty_folder_answers_nothing_and_stays_empty(folder: Folder) -> None:
    runtime = folder.runtime()
    assert runtime.asking().as_of is None
    assert rounds(runtime) == 0
    assert not folder.data.exists()


def test_links_lead_to_whoever_serves_the_page(folder: Folder) -> None:
    server, other = folder.runtime(), folder.runtime()
    assert other.base_url == "http://localhost:8888"
    assert not served(other)
    server.publish_address("http://localhost:8899")
    assert other.base_url == "http://localhost:8899"
    assert served(other)
    assert (folder.data / ADDRESS_NAME).stat().st_mode & 0o777 == 0o600
    server.withdraw_address()
    assert not served(other)


def test_an_address_of_a_process_that_is_gone_is_not_believed(folder: Folder) -> None:
    folder.data.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = ended.pid
    (folder.data / ADDRESS_NAME).write_text(json.dumps({"url": "http://localhost:1", "pid": gone}))
    assert not served(folder.runtime())
    (folder.data / ADDRESS_NAME).write_text("not json")
    assert not served(folder.runtime())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    runtime = Runtime(load(None, data_dir=tmp_path / "file" / "data"))
    with pytest.raises(ConfigError, match="--data-dir"), runtime.ingesting():
        pass


def test_what_was_written_before_a_rotation_is_not_taken_for_read(folder: Folder) -> None:
    folder.write(folder.records[:10])
    with folder.runtime().ingesting() as ingester:
        ingester.once()
    folder.write(folder.records[10:20])
    folder.log.rename(f"{folder.log}.1")
    for _ in range(2):
        assert folder.runtime().asking(wait=False).behind_bytes == sum(map(len, folder.records[10:20]))
        folder.log.touch()  # at first there is no new file, then an empty one
    with folder.runtime().ingesting() as ingester:
        ingester.once()
    assert folder.runtime().asking(wait=False).behind_bytes is None


def test_of_two_pages_the_one_of_the_ingesting_process_is_told_and_stays(folder: Folder) -> None:
    code = """
import json, os, sys, time
with open(sys.argv[1], "w") as file:
    json.dump({"url": "http://localhost:8899", "pid": os.getpid()}, file)
print("told", flush=True)
sys.stdin.read()
"""
    folder.data.mkdir()
    with script(code, folder.data / ADDRESS_NAME) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "told\n"
        second, reader = folder.runtime(), folder.runtime()
        second.publish_address("http://localhost:9000")
        assert reader.base_url == "http://localhost:8899"
        assert second.base_url == "http://localhost:9000"
        second.close()
        assert reader.base_url == "http://localhost:8899"
        third = folder.runtime()
        third.publish_address("http://localhost:9001")
        third.start()
        wait_for("the ingesting one is told", lambda: reader.base_url == "http://localhost:9001")
        other.stdin.close()


def test_a_page_is_still_told_after_ingestion_failed_and_went_on(folder: Folder) -> None:
    folder.data.mkdir()
    database = folder.data / "monitor.db"
    database.write_bytes(b"something else" * 100)
    runtime, reader = folder.runtime(), folder.runtime()
    runtime.publish_address("http://localhost:9000")
    runtime.start()
    wait_for("it failed", lambda: runtime.settled)
    assert not runtime.is_ingesting
    database.unlink()
    wait_for("it ingests", lambda: runtime.is_ingesting)
    assert reader.base_url == "http://localhost:9000"


def test_a_folder_that_cannot_be_made_is_a_problem_and_no_end_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    runtime = Runtime(load(None, data_dir=tmp_path / "file" / "data"))
    runtime.start()
    wait_for("it failed", lambda: runtime.settled)
    assert any("--data-dir" in problem for problem in runtime.standing().problems)
    assert not runtime.ingester_alive()
    runtime.close()


def test_a_running_process_takes_over_newer_lists_and_goes_back_from_them(folder: Folder) -> None:
    runtime = folder.runtime()
    installed = runtime.catalog().version
    updates.keep(folder.data, as_file(published(gpt_4o=Decimal(7))), "a file")
    assert runtime.catalog().version != installed
    assert runtime.catalog().cost("gpt-4o", None, 1_769_938_200_000, Usage(1000, 0)).nano == 7_000_000
    updates.remove(folder.data)
    assert runtime.catalog().version == installed


def test_old_prices_are_a_note_and_no_fault(folder: Folder) -> None:
    old = datetime.fromisoformat(f"{Catalog.load().checked}T00:00:00+00:00") + timedelta(days=100)
    line = json.loads(folder.records[0])
    stamp = old.isoformat().replace("+00:00", ".000Z")
    folder.write([json.dumps({**line, "start_time": stamp}).encode() + b"\n"])
    runtime = folder.runtime()
    with runtime.ingesting() as ingester:
        ingester.once()
    (note,) = runtime.standing().notes
    assert f"the newest round is of {old.date()}" in note
    assert runtime.standing().problems == ()
