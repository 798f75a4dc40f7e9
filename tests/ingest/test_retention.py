"""What is too old goes by itself, a little at a time, and a failure keeps nobody from reading."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import pytest

from monitor.config import load
from monitor.ingest.retention import DAY_MS, Retention, bounds, in_words
from monitor.runtime import Runtime
from monitor.samples import DEMO, Expected, lines
from monitor.store.base import Bounds, Pruned
from monitor.store.sqlite import SqliteStore
from tests.answers.made import NOON, asking, made, said
from tests.helpers import check_totals, run, totals, wait_for


def rounds_in(store: SqliteStore) -> int:
    return len(store.rounds("agent:main:main").rounds)


class Clock:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __call__(self) -> float:
        return self.ms / 1000


def test_days_become_moments_and_none_keeps_for_ever() -> None:
    assert bounds(10 * DAY_MS, 0, 0) == Bounds()
    assert bounds(10 * DAY_MS, 3, 1) == Bounds(7 * DAY_MS, 9 * DAY_MS)


def test_what_is_too_old_goes_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asking(tmp_path, [made(n * 1440, conversation=said(f"day {n}")) for n in range(4)])
    clock = Clock(NOON + 4 * DAY_MS + 900_000)
    with closing(SqliteStore(tmp_path)) as store, caplog.at_level(logging.INFO, "monitor.ingest.retention"):
        retention = Retention(store, 3, 2, clock=clock)
        while retention.step():
            assert store.verify() == []
        assert rounds_in(store) == 2
        assert [s.has_content for s in store.rounds("agent:main:main").rounds] == [False, True]
        assert totals(store.slices()).rounds == 4
        assert "2 rounds went" in caplog.text
        assert "1 conversations" in caplog.text
        clock.ms += DAY_MS // 2
        assert not retention.step()
        clock.ms += DAY_MS // 2
        while retention.step():
            pass
        assert rounds_in(store) == 1
        # Processes that read once and end do it no more often, however many there are.
        Retention(store, 1, 1).once_a_day()
        assert rounds_in(store) == 1


def test_trouble_is_told_and_tried_again_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asking(tmp_path, [made(0)])
    clock = Clock(NOON + 9 * DAY_MS)
    with closing(SqliteStore(tmp_path)) as store:
        retention = Retention(SqliteStore(tmp_path, read_only=True), 1, 0, clock=clock)
        assert not retention.step()
        assert "next try in an hour" in caplog.text
        assert not retention.step()
        assert rounds_in(store) == 1


def test_words_for_the_log_say_what_went() -> None:
    told = in_words(Pruned(1200, 30, ("202601",), freed_bytes=5_000, not_given_back="no room"))
    assert told == (
        "retention: 1,200 rounds went (their counts stay), 30 conversations, the files of 202601; "
        "5,000 bytes are free again; no room"
    )


def test_the_process_that_reads_prunes_between_its_passes(tmp_path: Path) -> None:
    expected = Expected()
    log, data = tmp_path / "access.log", tmp_path / "data"
    log.write_bytes(b"".join(lines(DEMO, seed=8, limit=500, expected=expected)))
    config = tmp_path / "session-monitor.toml"
    config.write_text('[[sources]]\npath = "access.log"\n[retention]\nrounds_days = 1\n')
    runtime = Runtime(load(config, data_dir=data))
    runtime.start()
    try:
        wait_for("everything is read", lambda: totals(runtime.store.slices()) == expected.total)
        wait_for("it was looked for what is too old", runtime.store.pruned_at)
        check_totals(runtime.store, expected, DEMO)
        (seen,) = runtime.store.feeds()
        assert seen.rounds == expected.total.rounds
        assert not runtime.store.rounds("agent:main:main").rounds
    finally:
        runtime.close()


def test_a_process_that_reads_once_prunes_as_well(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    log.write_bytes(b"".join(lines(DEMO, seed=8, limit=200)))
    config = tmp_path / "session-monitor.toml"
    config.write_text("[retention]\ncontent_days = 1\n")
    run("ingest", "--once", "--data-dir", data, "--log-path", log, "--config", config)
    with closing(SqliteStore(data, read_only=True)) as store:
        stored = store.rounds("agent:main:main").rounds
        assert stored
        assert not any(one.has_content for one in stored)
