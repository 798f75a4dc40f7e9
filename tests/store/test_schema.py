"""The database file: private, ours or left alone, and made once however many make it."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from monitor.prices.money import Cost
from monitor.rounds import START, Conversation, Round
from monitor.store.base import Batch, PricedRound, SessionQuery, StoreError
from monitor.store.schema import APPLICATION_ID, DAY_MS, EPOCH_MS, MIGRATIONS, QUARTER_MS, VERSION
from monitor.store.sqlite import DATABASE, SqliteStore
from tests.helpers import finished, script

SAID = (b'{"role":"user","content":"hello"}',)


def one_round(number: int = 0) -> PricedRound:
    r = Round(
        key=number.to_bytes(16, "big"),
        source="higress",
        started_at=1_769_938_200_000 + number,
        session_id="agent:main:main",
        conversation=Conversation(SAID, START.after(SAID)),
    )
    return PricedRound(r, Cost("none"))


def ask_everything(store: SqliteStore) -> None:
    store.session("agent:main:main")
    store.sessions(SessionQuery())
    store.rounds("agent:main:main")
    store.slices()
    store.slices(1, 2_000_000_000_000)
    store.buckets("day", "UTC")
    store.by("consumer")
    store.checkpoints("access.log")
    store.verify()


def folder_of(path: Path) -> dict[str, bytes]:
    return {found.name: found.read_bytes() for found in path.iterdir()}


# -- private --------------------------------------------------------------------------------------


def test_only_the_owner_can_read_what_is_kept(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "data"
        with closing(SqliteStore(folder)) as store, closing(SqliteStore(folder, read_only=True)) as reader:
            store.add(Batch(rounds=[one_round()]))
            reader.session_count()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(before)
    assert DATABASE in modes
    assert f"{DATABASE}-wal" in modes
    assert any(name.startswith("history-") for name in modes)
    assert set(modes.values()) == {0o600}, modes


# -- nothing there --------------------------------------------------------------------------------


def test_without_a_database_the_answers_are_empty_and_nothing_is_made(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "not" / "there"):
        with closing(SqliteStore(folder, read_only=True)) as store:
            ask_everything(store)
            assert store.session("agent:main:main") is None
            assert store.sessions(SessionQuery()).total == 0
            assert store.as_of() is None
            assert store.sources() == []
            assert store.content(store.rounds("agent:main:main").rounds) == []
            assert store.round(None, key=b"x" * 16) is None
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_just_being_made_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch(0o600)
    with closing(SqliteStore(tmp_path, read_only=True)) as store:
        ask_everything(store)
        assert store.session_count() == 0
        # What is made meanwhile is seen by the same reader.
        with closing(SqliteStore(tmp_path)) as writer:
            writer.add(Batch(rounds=[one_round()]))
        assert store.session_count() == 1


def test_a_store_for_questions_takes_nothing_in(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    with closing(SqliteStore(tmp_path, read_only=True)) as store, pytest.raises(StoreError, match=DATABASE):
        store.add(Batch(rounds=[one_round()]))


# -- not ours, or not whole -----------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"2026-02-01 this is no database\n" * 1000)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE note (text)")
        db.execute("INSERT INTO note VALUES ('of another program')")
        db.commit()


def foreign_by_its_mark(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 252006673")  # Fossil
        db.commit()


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.execute("CREATE TABLE round (new_column)")
        db.commit()


def newer_and_killed(path: Path) -> None:
    """A newer program was killed: what it wrote last is still beside the file."""
    code = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = WAL")
db.execute(f"PRAGMA application_id = {sys.argv[2]}")
db.execute(f"PRAGMA user_version = {sys.argv[3]}")
db.execute("CREATE TABLE round (new_column)")
db.commit()
os.kill(os.getpid(), 9)
"""
    process = script(code, path, str(APPLICATION_ID), str(VERSION + 1))
    process.communicate(timeout=60)
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


WAYS_OUT = {
    garbage: "(?i)move it away",
    foreign: "--data-dir",
    foreign_by_its_mark: "--data-dir",
    newer: "update agent-session-monitor",
    newer_and_killed: "update agent-session-monitor",
}


@pytest.mark.parametrize("make", WAYS_OUT, ids=lambda make: str(make.__name__))
@pytest.mark.parametrize("read_only", [False, True], ids=["writing", "reading"])
def test_what_is_not_ours_is_left_as_it_is(make: object, read_only: bool, tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    assert callable(make)
    make(path)
    before = {name: data for name, data in folder_of(tmp_path).items() if not name.endswith("-shm")}
    with pytest.raises(StoreError, match=WAYS_OUT[make]) as caught:
        SqliteStore(tmp_path, read_only=read_only).sessions(SessionQuery())
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before[DATABASE]
    after = {name: data for name, data in folder_of(tmp_path).items() if not name.endswith("-shm") and data}
    assert after == before


def damaged_database(folder: Path) -> Path:
    """A database of ours in which the inner pages were overwritten."""
    with closing(SqliteStore(folder, keep_content=False)) as store:
        store.add(Batch(rounds=[one_round(number) for number in range(2000)]))
    path = folder / DATABASE
    data = bytearray(path.read_bytes())
    assert len(data) > 40 * 4096
    data[4096:] = b"\xaa" * (len(data) - 4096)
    path.write_bytes(data)
    return path


def test_damage_inside_is_told_with_the_way_out_and_made_no_worse(tmp_path: Path) -> None:
    path = damaged_database(tmp_path)
    before = path.read_bytes()
    with closing(SqliteStore(tmp_path, read_only=True)) as store:
        for question in (
            lambda: store.session("agent:main:main"),
            lambda: store.sessions(SessionQuery()),
            store.slices,
            lambda: store.buckets("day", "UTC"),
        ):
            with pytest.raises(StoreError, match=r"(?i)move it away") as caught:
                question()
            assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_nothing_is_written_into_a_damaged_database(tmp_path: Path) -> None:
    path = damaged_database(tmp_path)
    before = path.read_bytes()

    def write() -> None:
        with closing(SqliteStore(tmp_path, keep_content=False)) as store:
            store.add(Batch(rounds=[one_round(5000)]))

    with pytest.raises(StoreError, match=r"(?i)move it away") as caught:
        write()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_truncated_database_is_told_as_damaged(tmp_path: Path) -> None:
    damaged_database(tmp_path)
    path = tmp_path / DATABASE
    path.unlink()
    with closing(SqliteStore(tmp_path, keep_content=False)) as store:
        store.add(Batch(rounds=[one_round(number) for number in range(2000)]))
    os.truncate(path, path.stat().st_size // 3 // 4096 * 4096)
    before = path.read_bytes()
    with closing(SqliteStore(tmp_path, read_only=True)) as store, pytest.raises(StoreError, match=r"(?i)move it away"):
        ask_everything(store)
    assert path.read_bytes() == before


NO_ROOM = """
import resource, sys
from pathlib import Path
from monitor.prices.money import Cost
from monitor.rounds import Round
from monitor.store.base import Batch, PricedRound, StoreError
from monitor.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]), keep_content=False)
rounds = [
    PricedRound(Round(key=n.to_bytes(16, "big"), source="higress", started_at=n + 1769938200000), Cost("none"))
    for n in range(5000)
]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    store.add(Batch(rounds=rounds))
except StoreError as error:
    print(error)
assert store.verify() == []
assert store.unnamed() == []
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.add(Batch(rounds=rounds)).rounds == 5000
assert store.verify() == []
"""


def test_without_room_nothing_is_kept_and_the_database_is_not_blamed(tmp_path: Path) -> None:
    (said,) = finished([script(NO_ROOM, tmp_path)])
    assert str(tmp_path / DATABASE) in said
    assert "has room" in said
    assert "ove it away" not in said


# -- made once ------------------------------------------------------------------------------------

OPEN_AT_ONCE = """
import sys
from contextlib import closing
from pathlib import Path
from monitor.prices.money import Cost
from monitor.rounds import Round
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore

folder, number = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
with closing(SqliteStore(folder)) as store:
    r = Round(key=number.to_bytes(16, "big"), source="higress", started_at=1_769_938_200_000, session_id="s")
    store.add(Batch(rounds=[PricedRound(r, Cost("none"))]))
"""


@pytest.mark.parametrize("attempt", range(3))
def test_processes_that_make_it_at_the_same_moment_make_it_once(attempt: int, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    processes = [script(OPEN_AT_ONCE, folder, str(number)) for number in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    finished(processes)
    with closing(SqliteStore(folder, read_only=True)) as store:
        assert len(store.rounds("s").rounds) == 4
        assert store.verify() == []
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_a_database_without_tables_is_filled_by_whoever_writes_first(tmp_path: Path) -> None:
    """A process was killed between making the file and making the tables."""
    (tmp_path / DATABASE).touch(0o600)
    with closing(SqliteStore(tmp_path)) as store:
        store.add(Batch(rounds=[one_round()]))
        assert store.session_count() == 1


# -- from an older schema -------------------------------------------------------------------------


def test_a_store_of_the_first_schema_keeps_every_figure(tmp_path: Path) -> None:
    """The tables as they were made then, with two rounds of which one is a lower bound."""
    path = tmp_path / DATABASE
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        MIGRATIONS[0](db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO name VALUES (1, 'higress'), (2, 'gpt-5.4')")
        db.execute("INSERT INTO facet VALUES (1, 1, 0, 0, 0, 0, 0, 0)")
        db.execute(
            "INSERT INTO price VALUES (1, 'priced', 'USD', 'list A', 'v1'), (2, 'partial', 'USD', 'list A', 'v1')"
        )
        db.execute(
            "INSERT INTO session VALUES (1, 0, 'agent:main:main', 0, 1769938200000, 1769938260000, 2, 240, 0.0, 2, 0, "
            "0, 0, 0, 0, NULL, NULL, NULL, 1, 1)"
        )
        db.execute("INSERT INTO session_name VALUES ('agent:main:main', 1)")
        db.execute("INSERT INTO meta VALUES ('sessions', 1), ('batches', 1)")
        for price, ms, flags in ((1, 1_769_938_200_000, 1), (2, 1_769_938_260_000, 3)):
            sums = (1, 0, 0, int(flags == 3), 100, 20, None, None, None, 5000, 900, 1, None, 0)
            marks = ", ".join("?" * len(sums))
            db.execute(
                "INSERT INTO round VALUES (?, ?, 1, 1, 2, ?, 100, 20, NULL, NULL, NULL, NULL, 5000, 900, NULL, 200, "
                "NULL, NULL, ?, NULL, NULL, NULL)",
                ((ms - EPOCH_MS) << 22, bytes([0, 0, 0, price] * 4), price, flags),
            )
            db.execute(f"INSERT INTO session_slice VALUES (1, 2, ?, {marks})", (price, *sums))
            db.execute(f"INSERT INTO quarter VALUES (?, 2, ?, {marks})", (ms - ms % QUARTER_MS, price, *sums))
            db.execute(f"INSERT INTO day VALUES (?, 1, 2, ?, {marks})", (ms - ms % DAY_MS, price, *sums))
            db.execute(f"INSERT INTO total VALUES (2, ?, {marks})", (price, *sums))
    with closing(SqliteStore(tmp_path, price_version="v2")) as store:
        assert store.verify() == []
        first, second = store.rounds("agent:main:main").rounds
        assert (first.cost.status, first.cost.nano, first.price_version) == ("priced", 5000, "v1")
        assert (second.cost.status, second.round.usage.lower_bound) == ("partial", True)
        store.add(Batch(rounds=[one_round()]))
        # Whether the log lost counts of the second round can't be told any more: it stays a lower bound.
        store.reprice(lambda *given: Cost("partial" if given[3].lower_bound else "priced", 7, "USD", "list B"), "v3")
        assert [stored.cost.status for stored in store.rounds("agent:main:main").rounds] == [
            "priced", "priced", "partial",
        ]  # fmt: skip
        assert store.verify() == []
