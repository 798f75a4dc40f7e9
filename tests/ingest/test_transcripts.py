"""OpenClaw's transcripts as a source: through the real reader, store and runtime."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.config import SourceSettings, load
from monitor.ingest import Ingester, LogSource
from monitor.ingest.transcripts import TranscriptSource
from monitor.prices.catalog import Catalog
from monitor.runtime import Runtime
from monitor.store.base import Batch
from monitor.store.sqlite import SqliteStore
from tests.helpers import run, totals, wait_for
from tests.openclaw import BEGIN, RELEASES, Database, answered, asked, gateway_log, header, logged, real, truth

CATALOG = Catalog.load()
ID, KEY = "0cd86b8b-12c3-43d1-a1a6-910f3a42ea60", "agent:main:telegram:direct:7"


class Reading:
    """A data directory, and the process that reads state folders and logs into it."""

    def __init__(self, data: Path, *folders: Path, logs: tuple[Path, ...] = (), keep_content: bool = True) -> None:
        self.store = SqliteStore(data, keep_content=keep_content, price_version=CATALOG.version)
        self.sources = [TranscriptSource(folder, self.store, CATALOG, keep_content=keep_content) for folder in folders]
        logged = [LogSource(log, self.store, CATALOG, keep_content=keep_content) for log in logs]
        self.ingester = Ingester([*self.sources, *logged], self.store)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


@pytest.mark.parametrize("release", RELEASES)
def test_the_store_says_what_the_provider_sent_whatever_is_read_twice(tmp_path: Path, release: str) -> None:
    folder = real(release, tmp_path)
    sent = [
        request["usage_sent"]
        for name, case in truth(release).items()
        for number, request in enumerate(case["requests"])
        if request["usage_sent"] is not None and (name, number) != ("compact", 3)
    ]
    for _ in range(2):
        with Reading(tmp_path / "data", folder) as reading:
            reading.ingester.once()
            sums = totals(reading.store.slices())
            assert (sums.input_tokens, sums.output_tokens, sums.cached_tokens) == (
                sum(s["prompt_tokens"] for s in sent),
                sum(s["completion_tokens"] for s in sent),
                sum(s.get("prompt_tokens_details", {}).get("cached_tokens", 0) for s in sent),
            )
            assert sums.rounds == len(sent) + sums.unmetered
            assert reading.store.verify() == []
        # Another process that has lost its memory of where it was finds nothing new either.
        db = sqlite3.connect(tmp_path / "data" / "monitor.db")
        db.execute("DELETE FROM checkpoint")
        db.commit()
        db.close()


def test_a_session_has_its_agent_channel_and_both_names(tmp_path: Path) -> None:
    gateway = Database(tmp_path / "state")
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), asked("u1", "how are you?"), answered("a1"))
    with Reading(tmp_path / "data", tmp_path / "state") as reading:
        reading.ingester.once()
        for name in (ID, KEY):
            session = reading.store.session(name)
            assert session is not None
            assert (session.session_id, session.aliases) == (KEY, (ID,))
            assert (session.agent, session.channel, session.question) == ("main", "telegram", "how are you?")
        (stored,) = reading.store.rounds(KEY).rounds
        assert stored.cost.nano is not None
    gateway.close()


def test_what_could_not_be_kept_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Database(tmp_path / "state")
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    with Reading(tmp_path / "data", tmp_path / "state") as reading:
        add = reading.store.add

        def full(batch: Batch) -> None:
            raise OSError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(reading.store, "add", full)
            with pytest.raises(OSError, match="full"):
                reading.ingester.once()
        assert reading.store.add == add
        assert reading.ingester.once() == 1
    gateway.close()


def test_where_content_is_not_kept_nothing_that_was_said_is_on_the_disk(tmp_path: Path) -> None:
    gateway = Database(tmp_path / "state")
    gateway.name(ID, KEY)
    failed = answered("a2", BEGIN + 1, stopReason="error", errorMessage="400 the word is SESAME", usage={})
    gateway.write(ID, header(ID), asked("u1", "SESAME"), answered("a1"), failed)
    gateway.db.execute("INSERT INTO transcript_events VALUES (?, 9, '{\"SESAME\"', 0, NULL)", (ID,))
    with Reading(tmp_path / "data", tmp_path / "state", keep_content=False) as reading:
        assert reading.ingester.once() == 2
    assert all(b"SESAME" not in file.read_bytes() for file in (tmp_path / "data").iterdir())
    gateway.close()


# -- with the gateway's log ------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["log", "transcripts"])
def test_the_gateways_name_of_a_session_leads_to_its_key_whichever_is_read_first(tmp_path: Path, first: str) -> None:
    gateway, log = Database(tmp_path / "state"), tmp_path / "access.log"
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    log.write_bytes(
        logged("chatcmpl-a1", session=f"{ID}:0")
        + logged("chatcmpl-retried", BEGIN + 100, session=f"{ID}:0")
        + logged("chatcmpl-compaction", BEGIN + 200, session=ID)
    )
    with Reading(tmp_path / "data", tmp_path / "state", logs=(log,)) as reading:
        log_first = reading.ingester.sources[::-1]
        for source in log_first if first == "log" else reading.ingester.sources:
            for batch in source.batches():
                reading.store.add(batch)
        session = reading.store.session(KEY)
        assert session is not None
        assert set(session.aliases) == {ID, f"{ID}:0"}
        assert (session.agent, session.channel, session.sources) == ("main", "telegram", ("higress", "openclaw"))
        assert reading.store.session(ID) == reading.store.session(f"{ID}:0") == session
        assert sum(part.counts.rounds for part in session.slices) == 3
        assert reading.store.session_count() == 1
        assert reading.store.verify() == []
    gateway.close()


@pytest.mark.parametrize("release", RELEASES)
def test_both_meters_together_count_every_request_of_the_corpus_once(tmp_path: Path, release: str) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(gateway_log(release))
    with Reading(tmp_path / "data", real(release, tmp_path), logs=(log,)) as reading:
        reading.ingester.once()
        requests = [request for case in truth(release).values() for request in case["requests"]]
        sums = totals(reading.store.slices())
        assert sums.input_tokens == sum((r["usage_sent"] or {}).get("prompt_tokens", 0) for r in requests)
        assert sums.output_tokens == sum((r["usage_sent"] or {}).get("completion_tokens", 0) for r in requests)
        for name, case in truth(release).items():
            session = reading.store.session(case["session_key"])
            if (release, name) == ("2026.7.1", "delete"):
                assert session is None
                continue
            assert session is not None
            below = reading.store.started_by(case["session_key"])
            of_case = [*session.slices, *(part for record in below for part in record.slices)]
            assert totals(of_case).input_tokens == case["totals"].get("prompt_tokens", 0), name
        assert reading.store.verify() == []


def test_a_session_with_its_sub_agents_costs_what_they_cost_together(tmp_path: Path) -> None:
    folder, data = real("2026.9.6", tmp_path), tmp_path / "data"
    run("ingest", "--once", "--data-dir", data, "--log-path", folder)
    told = json.loads(run("show", "agent:main:fx-spawn", "--subagents", "--json", "--data-dir", data)[0])
    assert told["total_input_tokens"] == 7430
    assert told["subagents"]["count"] == 1
    assert told["subagents"]["together"]["total_input_tokens"] == 8850
    shown = run("show", "agent:main:fx-spawn", "--subagents", "--no-content", "--data-dir", data)[0]
    assert "with 1 sub-agents: 4 rounds, 9,041 tokens" in shown
    (child,) = told["subagents"]["sessions"]
    assert json.loads(run("show", child, "--json", "--data-dir", data)[0])["parent_session"] == "agent:main:fx-spawn"


# -- the runtime ----------------------------------------------------------------------------------


@pytest.fixture
def runtimes() -> Iterator[list[Runtime]]:
    opened: list[Runtime] = []
    yield opened
    for runtime in opened:
        runtime.close()


def test_an_answer_is_fresh_in_the_process_that_reads_and_in_others(tmp_path: Path, runtimes: list[Runtime]) -> None:
    gateway = Database(tmp_path / "state")
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    runtimes += [Runtime(load(None, data_dir=tmp_path / "data"), log_paths=[tmp_path / "state"]) for _ in range(2)]
    reader, other = runtimes
    reader.start()
    wait_for("the first reads", lambda: reader.is_ingesting and reader.asking().as_of)
    for number in range(2, 6):
        gateway.write(ID, answered(f"a{number}", BEGIN + number))
        asking = reader.asking() if number % 2 else other.asking()
        if asking.behind_bytes is None:
            assert sum(part.counts.rounds for part in asking.store.slices()) == number
        else:
            wait_for("it is read", lambda: other.asking().behind_bytes is None)
    assert reader.store.verify() == []
    gateway.close()


def test_a_data_directory_knows_again_what_kind_of_source_it_follows(tmp_path: Path, runtimes: list[Runtime]) -> None:
    gateway = Database(tmp_path / "state")
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    gateway.close()
    run("ingest", "--once", "--data-dir", tmp_path / "data", "--log-path", tmp_path / "state")
    runtimes.append(Runtime(load(None, data_dir=tmp_path / "data")))
    assert runtimes[0].sources() == [SourceSettings(kind="openclaw", path=tmp_path / "state")]
    report = json.loads(run("doctor", "--data-dir", tmp_path / "data", "--json")[0])
    (source,) = report["sources"]
    assert (source["path"], source["kind"], source["exists"]) == (str(tmp_path / "state"), "openclaw", True)
    assert "pending_bytes" not in source
    assert report["rounds"] == 1


def test_several_homes_are_configured_by_kind_and_path(tmp_path: Path) -> None:
    for home in ("one", "two"):
        gateway = Database(tmp_path / home)
        gateway.name(f"{home}-session", f"agent:main:{home}")
        gateway.write(f"{home}-session", header(f"{home}-session"), answered("a1"))
        gateway.close()
    config = tmp_path / "session-monitor.toml"
    config.write_text("".join(f'[[sources]]\nkind = "openclaw"\npath = "{home}"\n' for home in ("one", "two")))
    run("ingest", "--once", "--config", config, "--data-dir", tmp_path / "data")
    listed = json.loads(run("list", "--json", "--config", config, "--data-dir", tmp_path / "data")[0])
    assert {row["session_id"] for row in listed["sessions"]} == {"agent:main:one", "agent:main:two"}


def test_what_can_not_be_read_is_told_by_doctor(tmp_path: Path) -> None:
    gateway = Database(tmp_path / "state")
    gateway.db.execute("ALTER TABLE transcript_events RENAME COLUMN event_json TO body")
    gateway.db.execute("PRAGMA user_version = 40")
    gateway.close()
    data = tmp_path / "data"
    _, said = run("ingest", "--once", "--data-dir", data, "--log-path", tmp_path / "state")
    assert "schema 40" in said
    assert "Traceback" not in said


def test_openclaws_usual_folder_is_followed_where_nothing_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtimes: list[Runtime]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OPENCLAW_STATE_DIR", raising=False)
    (tmp_path / ".openclaw" / "agents").mkdir(parents=True)
    (tmp_path / "elsewhere" / "agents").mkdir(parents=True)
    for expected in (tmp_path / ".openclaw", tmp_path / "elsewhere"):
        runtimes.append(Runtime(load(None, data_dir=tmp_path / "data")))
        found = [source for source in runtimes[-1].sources() if source.kind == "openclaw"]
        assert [source.path for source in found] == [expected]
        monkeypatch.setenv("OPENCLAW_STATE_DIR", str(tmp_path / "elsewhere"))
