"""Whatever happens to transcripts between two readings, each call that was there at one of them counts once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import zstandard
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from monitor.ingest import Ingester
from monitor.ingest.transcripts import TranscriptSource
from monitor.prices.catalog import Catalog
from monitor.store.sqlite import SqliteStore
from tests.helpers import totals
from tests.openclaw import BEGIN, Database, answered, asked, header, index, jsonl, sessions

CATALOG = Catalog.load()
IDS = [f"{n}0000000-0000-4000-8000-000000000000" for n in range(3)]
SESSION = st.sampled_from(IDS)


class Life(RuleBasedStateMachine):
    """An OpenClaw that is used, upgraded and cleaned up, and a monitor that reads now and then, and is restarted."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name)
        self.database = Database(self.root / "state")
        self.files = sessions(self.root / "state")
        #: What stands in which place: events by file name or by session of the database.
        self.in_files: dict[str, list[dict[str, Any]]] = {}
        self.in_database: dict[str, list[dict[str, Any]]] = {}
        self.counted: dict[tuple[str, str], int] = {}
        self.number = 0
        self.store: SqliteStore | None = None
        self._start()

    def _start(self) -> None:
        self.store = SqliteStore(self.root / "data", price_version=CATALOG.version)
        self.ingester = Ingester([TranscriptSource(self.root / "state", self.store, CATALOG)], self.store)

    def _events(self, session: str, begun: bool) -> list[dict[str, Any]]:
        self.number += 1
        at = BEGIN + self.number * 1000
        head = [] if begun else [header(session)]
        return [*head, asked(f"u{self.number}", "go on", at), answered(f"a{self.number}", at, input_=self.number)]

    @rule(session=SESSION, torn=st.booleans())
    def a_file_grows(self, session: str, torn: bool) -> None:
        name = f"{session}.jsonl"
        events = self.in_files.setdefault(name, [])
        new = self._events(session, bool(events))
        content = jsonl(*new)
        with (self.files / name).open("ab") as file:
            if torn:
                file.write(content[:-20])
                file.flush()
                self._read()
                file.write(content[-20:])
            else:
                file.write(content)
        events += new

    @rule(session=SESSION, packed=st.booleans())
    def the_database_grows(self, session: str, packed: bool) -> None:
        self.database.name(session, f"agent:main:{session[0]}")
        events = self.in_database.setdefault(session, [])
        new = self._events(session, bool(events))
        self.database.write(session, *new, packed=packed)
        events += new

    @rule(session=SESSION)
    def a_file_is_put_away(self, session: str) -> None:
        name = f"{session}.jsonl"
        if name in self.in_files:
            self.number += 1
            away = f"{name}.reset.2026-11-21T21-13-{self.number % 60:02}.{self.number // 60:03}Z"
            (self.files / name).rename(self.files / away)
            self.in_files[away] = self.in_files.pop(name)

    @rule(session=SESSION)
    def a_session_is_deleted(self, session: str) -> None:
        if events := self.in_database.pop(session, None):
            self.number += 1
            away = f"{session}.jsonl.deleted.2026-11-21T21-08-27.224Z.{self.number:032x}.zst"
            self.database.delete(session)
            (self.files / away).write_bytes(zstandard.compress(jsonl(*events)))
            self.in_files[away] = events

    @rule(session=SESSION)
    def a_session_is_imported(self, session: str) -> None:
        name = f"{session}.jsonl"
        if name in self.in_files and session not in self.in_database:
            events = self.in_files.pop(name)
            folder = self.root / "state" / "agents" / "main" / "session-sqlite-import-archive"
            folder.mkdir(exist_ok=True)
            self.number += 1
            (self.files / name).rename(folder / f"x.{name}.imported-{self.number}")
            self.in_files[f"imported {self.number}"] = events
            self.database.name(session, f"agent:main:{session[0]}")
            self.database.write(session, *events)
            self.in_database[session] = list(events)

    @rule(session=SESSION)
    def a_session_is_rewritten(self, session: str) -> None:
        if events := self.in_database.get(session):
            self.database.db.execute("DELETE FROM transcript_events WHERE session_id = ?", (session,))
            self.in_database[session] = [events[0], *events[3:]]
            self.database.write(session, *self.in_database[session])

    @rule(session=SESSION)
    def an_index_names_a_session(self, session: str) -> None:
        index(self.files, {f"agent:main:{session[0]}": {"sessionId": session}})

    @rule()
    def the_monitor_reads(self) -> None:
        self._read()

    @rule()
    def the_monitor_is_restarted(self) -> None:
        assert self.store is not None
        self.store.close()
        self._start()

    def _read(self) -> None:
        self.ingester.once()
        for events in (*self.in_files.values(), *self.in_database.values()):
            for event in events:
                session = events[0]["id"]
                if event["type"] == "message" and event["message"]["role"] == "assistant":
                    self.counted[session, event["id"]] = event["message"]["usage"]["input"]

    @invariant()
    def what_was_there_at_a_reading_is_counted_once(self) -> None:
        assert self.store is not None
        sums = totals(self.store.slices())
        assert (sums.rounds, sums.input_tokens) == (len(self.counted), sum(self.counted.values()))

    def teardown(self) -> None:
        assert self.store is not None
        try:
            self._read()
            self.what_was_there_at_a_reading_is_counted_once()
            assert self.store.verify() == []
        finally:
            self.store.close()
            self.database.close()
            self._folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
