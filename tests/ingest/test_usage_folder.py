"""A folder of day files is followed like any source: each record once, and what is gone goes from every figure."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.answers import usage
from monitor.config import ConfigError, SourceSettings, load
from monitor.ingest import Ingester
from monitor.ingest.reset import reset_day
from monitor.ingest.usage_folder import UsageFolder
from monitor.prices.catalog import Catalog
from monitor.runtime import Runtime
from monitor.samples import SHORT, lines
from monitor.store.sqlite import SqliteStore

CATALOG = Catalog.load()
DAY = 86400
NOON = 1764158400.0  # 2025-11-26T12:00Z


def record(number: int, **more: Any) -> bytes:
    fields = {
        "id": f"id-{number}",
        "timestamp": NOON + number,
        "model": "qwen-plus",
        "input_tokens": 10 * number,
        "output_tokens": number,
        "session_id": f"session {number % 3}",
        "cost": number / 1000,
    }
    return json.dumps({**fields, **more}).encode() + b"\n"


class Place:
    """A folder of records with a store, and what was read of it so far."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "records"
        self.folder.mkdir(exist_ok=True)
        self.data = root / "data"

    @contextmanager
    def opened(self) -> Iterator[tuple[Ingester, SqliteStore]]:
        with closing(SqliteStore(self.data)) as store:
            source = UsageFolder(self.folder, store, CATALOG)
            try:
                yield Ingester([source], store), store
            finally:
                source.close()

    def path(self, day: int) -> Path:
        return self.folder / f"2025-11-{day}.jsonl"

    def append(self, day: int, *lines: bytes) -> None:
        with self.path(day).open("ab") as file:
            file.write(b"".join(lines))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def check(store: SqliteStore, lines: Iterable[bytes]) -> None:
    """The store says what the records say, summed by hand."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        read = json.loads(line)
        found[read["id"]] = read
    records = list(found.values())
    assert store.verify() == []
    slices = store.slices()
    assert sum(part.counts.rounds for part in slices) == len(records)
    assert sum(part.counts.input_tokens or 0 for part in slices) == sum(r["input_tokens"] for r in records)
    assert sum(part.counts.output_tokens or 0 for part in slices) == sum(r["output_tokens"] for r in records)
    assert sum(part.counts.nano or 0 for part in slices) == sum(round(r["cost"] * 10**9) for r in records)
    assert sum(part.counts.reported_nano or 0 for part in slices) == sum(round(r["cost"] * 10**9) for r in records)
    assert store.session_count() == len({r["session_id"] for r in records})
    for session in {r["session_id"] for r in records}:
        told = store.session(session)
        assert told is not None
        of_it = [r for r in records if r["session_id"] == session]
        assert sum(part.counts.rounds for part in told.slices) == len(of_it)
        assert told.created_at == round(min(r["timestamp"] for r in of_it) * 1000)
        assert told.updated_at == round(max(r["timestamp"] for r in of_it) * 1000)


def test_day_files_are_followed_and_new_ones_noticed(place: Place) -> None:
    with place.opened() as (ingester, store):
        assert ingester.once() == 0
        place.append(26, record(1), record(2))
        assert ingester.once() == 2
        place.append(26, record(3)[:20])
        assert ingester.once() == 0
        place.append(26, record(3)[20:], record(4))
        place.append(27, record(5, timestamp=NOON + DAY))
        assert ingester.once() == 3
        assert ingester.once() == 0
        check(store, [record(1), record(2), record(3), record(4), record(5, timestamp=NOON + DAY)])
    with place.opened() as (ingester, store):
        assert ingester.once() == 0
        place.append(27, record(6))
        assert ingester.once() == 1


def test_other_files_in_the_folder_are_left_alone(place: Place) -> None:
    place.append(26, record(1))
    for name in ("usage_report_20251126_120000.json", "notes.jsonl", "2025-11-25.jsonl.reset", "2025-11-24.txt"):
        (place.folder / name).write_bytes(record(9))
    (place.folder / ".monitor").mkdir()
    with place.opened() as (ingester, store):
        assert ingester.once() == 1
        check(store, [record(1)])


def test_a_packed_day_is_the_same_day(place: Place) -> None:
    place.append(26, record(1), record(2))
    with place.opened() as (ingester, store):
        assert ingester.once() == 2
        place.path(26).with_suffix(".jsonl.gz").write_bytes(gzip.compress(place.path(26).read_bytes()))
        assert ingester.once() == 0
        place.path(26).unlink()
        assert ingester.once() == 0
        check(store, [record(1), record(2)])
        place.path(26).with_suffix(".jsonl.gz").unlink()
        ingester.once()
        check(store, [])


def test_a_copy_of_a_record_counts_once_and_stays_while_one_is_there(place: Place) -> None:
    place.append(26, record(1), record(2))
    place.append(27, record(2), record(3))
    with place.opened() as (ingester, store):
        assert ingester.once() == 3
        place.path(26).unlink()
        ingester.once()
        check(store, [record(2), record(3)])
        place.path(27).unlink()
        ingester.once()
        check(store, [])


def test_equal_records_without_an_id_are_told_apart_by_their_place(place: Place) -> None:
    plain = b'{"model":"qwen-plus","input_tokens":5,"output_tokens":1,"timestamp":1764158400}\n'
    place.append(26, plain, plain)
    with place.opened() as (ingester, store):
        assert ingester.once() == 2
        place.append(26, plain)
        assert ingester.once() == 1
    shutil.copy(place.path(26), place.path(27))
    with place.opened() as (ingester, store):
        assert ingester.once() == 0
        place.path(26).unlink()
        ingester.once()
        assert sum(part.counts.rounds for part in store.slices()) == 3
        assert store.verify() == []


def test_a_day_that_is_gone_goes_from_every_figure_and_comes_back_with_its_file(place: Place) -> None:
    place.append(25, record(1, timestamp=NOON - DAY), record(2, timestamp=NOON - DAY))
    place.append(26, record(3), record(4))
    first, second = [record(n, timestamp=NOON - DAY) for n in (1, 2)], [record(3), record(4)]
    with place.opened() as (ingester, store):
        ingester.once()
        check(store, [*first, *second])
        place.path(25).rename(place.folder / "aside")
        ingester.once()
        check(store, second)
        (place.folder / "aside").rename(place.path(25))
        assert ingester.once() == 2
        check(store, [*first, *second])
    # Also while nobody looked.
    place.path(25).unlink()
    with place.opened() as (ingester, store):
        ingester.once()
        check(store, second)


def test_a_day_that_another_process_reset_comes_back_with_its_file(place: Place) -> None:
    place.append(26, record(1), record(2))
    with place.opened() as (ingester, store):
        ingester.once()
        followed = [SourceSettings(kind="usage", path=place.folder)]
        with closing(SqliteStore(place.data)) as other:
            (done,) = reset_day(other, followed, date(2025, 11, 26), ZoneInfo("UTC"))
        assert (done.rounds, done.sessions) == (2, ("session 1", "session 2"))
        check(store, [])
        ingester.once()
        (aside,) = done.aside
        aside.rename(place.path(26))
        assert ingester.once() == 2
        check(store, [record(1), record(2)])


def test_a_day_is_reset_while_another_process_adds_to_the_same_sessions(place: Place) -> None:
    place.append(25, record(1, timestamp=NOON - DAY))
    place.append(26, record(4))
    with place.opened() as (ingester, store):
        ingester.once()
        followed = [SourceSettings(kind="usage", path=place.folder)]
        with closing(SqliteStore(place.data)) as other:
            for day in (25, 26):
                reset_day(other, followed, date(2025, 11, day), ZoneInfo("UTC"))
        # Its session is no more, and must be made anew by whoever remembers it.
        place.append(27, record(7))
        ingester.once()
        check(store, [record(7)])


def test_a_file_that_holds_something_else_now_takes_back_what_it_held(place: Place) -> None:
    place.append(26, record(1), record(2))
    with place.opened() as (ingester, store):
        ingester.once()
        place.path(26).write_bytes(record(2) + record(7))
        ingester.once()
        check(store, [record(2), record(7)])
        fresh = place.folder / "fresh"
        fresh.write_bytes(record(8))
        fresh.replace(place.path(26))
        ingester.once()
        check(store, [record(8)])
        place.path(26).write_bytes(b"")
        ingester.once()
        place.append(26, record(9))
        ingester.once()
        check(store, [record(9)])


def test_a_folder_that_cannot_be_seen_takes_nothing_back(place: Place) -> None:
    place.append(26, record(1))
    with place.opened() as (ingester, store):
        ingester.once()
        place.folder.rename(place.folder.with_name("elsewhere"))
        ingester.once()
        check(store, [record(1)])
        place.folder.with_name("elsewhere").rename(place.folder)
        ingester.once()
        check(store, [record(1)])


def test_lines_that_are_no_records_are_counted_with_a_sample(place: Place) -> None:
    torn = record(2)[:30]
    place.append(26, record(1), torn + b"\n", b'{"model":"m","input_tokens":"many"}\n', b"starting\n", record(3))
    with place.opened() as (ingester, store):
        assert ingester.once() == 2
        assert {(s.source, s.reason): (s.count, s.sample) for s in store.skipped()} == {
            (str(place.folder), "malformed"): (2, b'{"model":"m","input_tokens":"many"}'),
            (str(place.folder), "foreign"): (1, b"starting"),
        }


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(10, 13), st.sampled_from("aaarxcw")), max_size=25), st.data())
def test_whatever_happens_to_the_files_the_figures_are_those_of_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str]], data: st.DataObject
) -> None:
    place = Place(tmp_path_factory.mktemp("usage"))
    number = 0
    source = None
    store = SqliteStore(place.data)
    try:
        for day, event in events:
            path = place.path(day)
            if event == "a":
                number += 1
                place.append(day, record(number))
            elif event == "r" and path.exists():
                path.unlink()
            elif event == "x" and path.exists():
                number += 1
                path.write_bytes(record(number) * 2)
            elif event == "c" and path.exists():
                shutil.copy(path, place.path(day + 10))
            if event == "w" or data.draw(st.booleans()):
                if source is None or data.draw(st.booleans()):
                    if source is not None:
                        source.close()
                    source = UsageFolder(place.folder, store, CATALOG)
                Ingester([source], store).once()
        last = source or UsageFolder(place.folder, store, CATALOG)
        Ingester([last], store).once()
        check(store, [line for path in place.folder.glob("*.jsonl") for line in path.read_bytes().splitlines()])
        last.close()
    finally:
        store.close()


# -- as configured --------------------------------------------------------------------------------


def config(folder: Path, text: str) -> Path:
    path = folder / "session-monitor.toml"
    path.write_text('timezone = "Asia/Shanghai"\n' + text)
    return path


def test_a_file_with_other_names_is_read_by_its_mapping(tmp_path: Path) -> None:
    log = tmp_path / "token-usage.jsonl"
    lines = [
        {"ts": (NOON + n) * 1000, "llm": "gpt-5.4", "usage": {"in": 100, "out": n, "cached": 40}, "usd": 0.25, "no": n}
        for n in range(5)
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings_file = config(
        tmp_path,
        f"""
        [[sources]]
        kind = "usage"
        path = "{log.name}"
        currency = "USD"
        input_includes_cache = false
        fields = {{ timestamp = "ts", model = "llm", input_tokens = "usage.in", output_tokens = "usage.out",
                    cached_tokens = "usage.cached", cost = "usd", id = "no" }}
        """.replace("\n                    ", " "),
    )
    runtime = Runtime(load(settings_file, data_dir=tmp_path / "data"))
    with runtime.ingesting() as ingester:
        assert ingester.once() == 5
        log.rename(tmp_path / "token-usage.jsonl.1")
        log.write_text(json.dumps({**lines[0], "no": 7}) + "\n")
        assert ingester.once() == 1
    (part,) = runtime.store.slices()
    assert (part.counts.rounds, part.counts.input_tokens, part.counts.cached_tokens) == (6, 6 * 140, 6 * 40)
    assert (part.counts.reported_nano, part.price.reported_currency) == (1_500_000_000, "USD")
    # Our own figure stands beside it: 100 x 2.5 + 40 x 0.25 + n x 15 millionths, and the last line has n = 0.
    assert part.counts.nano == sum(260_000 + 15_000 * n for n in (0, 1, 2, 3, 4, 0))
    runtime.close()
    # Without a configuration it is still read in this way.
    log.write_text(log.read_text() + json.dumps({**lines[0], "no": 8}) + "\n")
    again = Runtime(load(data_dir=tmp_path / "data"))
    with again.ingesting() as ingester:
        assert ingester.once() == 1
    again.close()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('kind = "usage"\npath = "x"\nfields = { tokens = "t" }', "'tokens' is no field of a usage record"),
        ('kind = "usage"\npath = "x"\nfields = { model = "." }', "model needs the name of a field"),
        ('kind = "usage"\npath = "x"\ncurrency = "yuan"', "three letters"),
        ('path = "x"\nfields = { model = "m" }', 'fields belongs to kind = "usage"'),
        ('kind = "other"\npath = "x"', "higress"),
    ],
)
def test_a_mapping_that_cannot_be_is_told(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load(config(tmp_path, f"[[sources]]\n{text}\n"))


def test_a_gateway_log_that_is_gone_takes_nothing_back(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"".join(islice(lines(SHORT, 1), 20)))
    runtime = Runtime(load(data_dir=tmp_path / "data"), log_paths=[log])
    with runtime.ingesting() as ingester:
        ingester.once()
        before = runtime.store.slices()
        assert before
        log.unlink()
        ingester.once()
    assert runtime.store.slices() == before
    assert runtime.store.origins() == []
    runtime.close()


def test_a_day_of_records_is_one_local_day_in_the_answers(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    # Noon in UTC is 20:00 in Shanghai; five hours later it is the next day there.
    (folder / "2025-11-26.jsonl").write_bytes(record(1) + record(2, timestamp=NOON + 5 * 3600))
    settings_file = config(tmp_path, '[[sources]]\nkind = "usage"\npath = "records"\n')
    runtime = Runtime(load(settings_file, data_dir=tmp_path / "data"))
    with runtime.ingesting() as ingester:
        ingester.once()
    found = {row.date: row.calls for row in usage.cost_trend(runtime.asking(fresh=False), days=3000).rows if row.calls}
    assert found == {"2025-11-26": 1, "2025-11-27": 1}
    runtime.close()
