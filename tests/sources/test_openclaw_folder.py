"""State folders that are written to, changed and replaced while they are read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from monitor.rounds import UNKNOWN_TIME
from monitor.sources.openclaw import Call, Cursor, Found, Passed, StateFolder, Transcript
from tests.openclaw import (
    BEGIN,
    Database,
    answered,
    asked,
    calls,
    counts,
    header,
    index,
    jsonl,
    once,
    sessions,
)

ID, KEY = "0cd86b8b-12c3-43d1-a1a6-910f3a42ea60", "agent:main:main"
OTHER = "4f41f2d9-99dc-4faf-959c-3dda393cf18b"


def steps(reader: StateFolder) -> list[Found]:
    return list(reader.read())


def cursors(found: list[Found]) -> list[Cursor]:
    return [cursor for step in found for cursor in step.cursors]


# -- a database -----------------------------------------------------------------------------------


def test_what_comes_while_the_gateway_runs_is_read_once(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), asked("u1", "one"), answered("a1"))
    reader = StateFolder(tmp_path)
    assert [r.response_id for r in calls(reader)] == ["chatcmpl-a1"]
    gateway.write(ID, asked("u2", "two"), answered("a2", BEGIN + 1000), packed=True)
    assert [r.response_id for r in calls(reader)] == ["chatcmpl-a2"]
    assert calls(reader) == []
    gateway.close()


def test_a_young_database_has_everything_in_its_side_file(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.db.execute("PRAGMA wal_autocheckpoint = 0")
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    assert len(calls(StateFolder(tmp_path))) == 1
    gateway.close()


def test_reading_is_resumed_where_another_process_stopped(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), asked("u1", "one"), answered("a1"))
    known = cursors(steps(StateFolder(tmp_path)))
    gateway.write(ID, asked("u2", "two"), answered("a2", BEGIN + 1000))
    [call] = calls(StateFolder(tmp_path, known))
    assert (call.response_id, call.turn) == ("chatcmpl-a2", 2)
    assert call.conversation is not None
    assert call.conversation.whole is not None
    assert len(call.conversation.whole()) == 3
    gateway.close()


def test_what_is_read_holds_no_lock_that_the_gateway_waits_for(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.db.execute("PRAGMA busy_timeout = 0")
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), *(answered(f"a{n}", BEGIN + n) for n in range(1500)))
    reading = StateFolder(tmp_path).read()
    assert isinstance(reading, Generator)
    next(reading)
    gateway.write(ID, answered("later", BEGIN + 5000))
    busy, *_ = gateway.db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    assert busy == 0
    reading.close()
    gateway.close()


def test_a_deleted_session_stays_counted_and_its_id_can_be_used_again(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"), answered("a2", BEGIN + 1))
    reader = StateFolder(tmp_path)
    known = cursors(steps(reader))
    gateway.delete(ID)
    [gone] = cursors(steps(reader))
    assert (gone.part, gone.at) == (ID, -1)
    assert cursors(steps(reader)) == []
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID, BEGIN + 5), answered("b1", BEGIN + 6), answered("b2", BEGIN + 7))
    assert [r.response_id for r in calls(reader)] == ["chatcmpl-b1", "chatcmpl-b2"]
    # Who had not seen the deletion finds other events where it had read to.
    assert [r.response_id for r in calls(StateFolder(tmp_path, known))] == ["chatcmpl-b1", "chatcmpl-b2"]
    gateway.close()


def test_a_session_that_was_rewritten_is_read_anew_and_known_calls_have_their_keys(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    events = [header(ID), answered("a1"), answered("a2", BEGIN + 1)]
    gateway.write(ID, *events)
    reader = StateFolder(tmp_path)
    before = once(calls(reader))
    gateway.db.execute("DELETE FROM transcript_events")
    gateway.write(ID, events[0], events[2], answered("a3", BEGIN + 2))
    again = once(calls(reader))
    assert {r.response_id for r in again.values()} == {"chatcmpl-a2", "chatcmpl-a3"}
    assert len(before | again) == 3
    gateway.close()


def test_a_database_that_was_replaced_under_our_hands_is_read_as_it_is_now(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    gateway.close()
    reader = StateFolder(tmp_path)
    before = once(calls(reader))
    new = Database(tmp_path / "new")
    new.name(ID, KEY)
    new.name(OTHER, "agent:main:other")
    new.write(ID, header(ID), answered("a1"))
    new.write(OTHER, header(OTHER), answered("b1"))
    new.close()
    os.replace(new.path, gateway.path)
    assert len(before | once(calls(reader))) == 2


def test_a_fork_does_not_count_the_calls_that_it_copied(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    gateway.name(OTHER, "agent:main:fork", reason="fork")
    gateway.write(ID, header(ID), answered("a1"))
    gateway.write(OTHER, header(OTHER, BEGIN + 60_000), answered("a1"), answered("b1", BEGIN + 61_000))
    found = steps(StateFolder(tmp_path))
    rounds = [call for step in found for call in step.calls]
    assert sorted(r.response_id or "" for r in rounds) == ["chatcmpl-a1", "chatcmpl-b1"]
    assert [p.reason for step in found for p in step.passed] == ["copied"]
    gateway.close()


def test_a_newer_schema_is_read_where_it_can_be_and_said(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.db.execute("PRAGMA user_version = 31")
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    reader = StateFolder(tmp_path)
    assert len(calls(reader)) == 1
    assert "schema 31, newer than" in reader.notes[0].what
    assert reader.troubles == ()
    gateway.close()


def test_a_schema_that_keeps_events_elsewhere_is_refused_in_words_and_files_are_still_read(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.write(ID, header(ID), answered("a1"))
    gateway.db.execute("ALTER TABLE transcript_events RENAME COLUMN event_json TO event_body")
    gateway.db.execute("PRAGMA user_version = 31")
    (sessions(tmp_path) / f"{OTHER}.jsonl").write_bytes(jsonl(header(OTHER), answered("b1")))
    reader = StateFolder(tmp_path)
    assert [r.response_id for r in calls(reader)] == ["chatcmpl-b1"]
    assert "schema 31" in reader.troubles[0].what
    assert "update it" in reader.troubles[0].what
    gateway.close()


def test_an_older_schema_without_packed_events_is_read(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID), answered("a1"))
    gateway.db.execute("ALTER TABLE transcript_events DROP COLUMN event_zstd")
    gateway.db.execute("DROP TABLE session_transcript_archives")
    gateway.db.execute("PRAGMA user_version = 4")
    reader = StateFolder(tmp_path)
    assert [(r.session_id, r.response_id) for r in calls(reader)] == [(KEY, "chatcmpl-a1")]
    assert reader.notes == ()
    gateway.close()


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 and no more", os.urandom(5000)])
def test_a_file_that_is_no_database_is_a_trouble_and_no_end(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (sessions(tmp_path) / f"{ID}.jsonl").write_bytes(jsonl(header(ID), answered("a1")))
    reader = StateFolder(tmp_path)
    assert len(calls(reader)) == 1
    assert len(reader.troubles) == 1


def test_a_damaged_event_is_skipped_and_the_rest_is_read(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    gateway.write(ID, header(ID))
    for seq, values in enumerate(((None, b"no zstd"), ("{", None), (None, None)), 1):
        gateway.db.execute("INSERT INTO transcript_events VALUES (?, ?, ?, 0, ?)", (ID, seq, *values))
    gateway.write(ID, answered("a1"))
    [step] = steps(StateFolder(tmp_path))
    assert [p.reason for p in step.passed] == ["malformed"] * 3
    assert len(step.calls) == 1
    gateway.close()


def test_an_archive_in_the_database_and_its_file_are_one(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    content = zstandard.compress(jsonl(header(ID), answered("a1"), answered("a2", BEGIN + 1)))
    name = f"{ID}.jsonl.deleted.2026-11-21T21-08-27.224Z.{'8a' * 16}.zst"
    gateway.db.execute(
        "INSERT INTO session_transcript_archives VALUES (?, 'g', ?, 'deleted', 'zstd', ?, ?)", (ID, KEY, content, name)
    )
    (sessions(tmp_path) / name).write_bytes(content)
    found = once(calls(StateFolder(tmp_path)))
    assert counts(found.values()) == (2, 200, 20, 0)
    assert {r.session_id for r in found.values()} == {KEY}
    gateway.close()


# -- files ----------------------------------------------------------------------------------------


def test_a_torn_last_record_waits_for_its_rest(tmp_path: Path) -> None:
    file = sessions(tmp_path) / f"{ID}.jsonl"
    content = jsonl(header(ID), answered("a1"), answered("a2", BEGIN + 1))
    reader = StateFolder(tmp_path)
    for end in range(0, len(content), 97):
        file.write_bytes(content[:end])
        calls(reader)
    file.write_bytes(content)
    calls(reader)
    found = once(calls(StateFolder(tmp_path)))
    assert counts(found.values())[0] == 2


def test_each_call_is_given_once_however_a_file_grows(tmp_path: Path) -> None:
    file = sessions(tmp_path) / f"{ID}.jsonl"
    content = jsonl(header(ID), *(answered(f"a{n}", BEGIN + n) for n in range(5)))
    reader = StateFolder(tmp_path)
    given = []
    with file.open("ab", buffering=0) as writing:
        for begin in range(0, len(content), 101):
            writing.write(content[begin : begin + 101])
            given += calls(reader)
    assert [r.response_id for r in given] == [f"chatcmpl-a{n}" for n in range(5)]


def test_a_last_record_without_its_line_end_is_read_and_not_read_again(tmp_path: Path) -> None:
    file = sessions(tmp_path) / f"{ID}.jsonl"
    file.write_bytes(jsonl(header(ID), answered("a1")).rstrip(b"\n"))
    reader = StateFolder(tmp_path)
    assert len(calls(reader)) == 1
    with file.open("ab") as more:
        more.write(b"\n" + jsonl(answered("a2", BEGIN + 1)))
    assert [r.response_id for r in calls(reader)] == ["chatcmpl-a2"]


def test_a_call_counts_once_in_live_files_archives_and_imports(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    events = [header(ID), answered("a1"), answered("a2", BEGIN + 1)]
    gateway.write(ID, *events)
    folder = sessions(tmp_path)
    (folder / f"{ID}.jsonl").write_bytes(jsonl(*events))
    (folder / f"{ID}.jsonl.reset.2026-11-21T21-13-27.964Z").write_bytes(jsonl(*events))
    (folder / f"{ID}.jsonl.deleted.2026-11-21T21-13-27.964Z").write_bytes(jsonl(*events))
    imported = tmp_path / "agents" / "main" / "session-sqlite-import-archive"
    imported.mkdir()
    (imported / f"agent-main-main.{ID}.jsonl.imported-1795295607964").write_bytes(jsonl(*events))
    given = calls(StateFolder(tmp_path))
    assert len(given) == 10
    assert counts(once(given).values()) == (2, 200, 20, 0)
    gateway.close()


@pytest.mark.parametrize(
    "name",
    [
        f"{ID}.trajectory.jsonl",
        f"{ID}.checkpoint.{OTHER}.jsonl",
        f"{ID}.jsonl.bak.1795295607964",
        f"{ID}.trajectory-path.json",
        ".usage-cost-cache.json",
    ],
)
def test_files_that_repeat_transcripts_are_not_read(tmp_path: Path, name: str) -> None:
    (sessions(tmp_path) / name).write_bytes(jsonl(header(ID), answered("a1")))
    assert calls(StateFolder(tmp_path)) == []


def test_links_that_lead_elsewhere_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(jsonl(header(ID), answered("a1")))
    folder = sessions(tmp_path / "state")
    (folder / f"{ID}.jsonl").symlink_to(elsewhere)
    os.mkfifo(folder / f"{OTHER}.jsonl")
    [*found] = steps(StateFolder(tmp_path / "state"))
    assert found == []


def test_a_file_counts_for_the_session_of_its_header_and_is_named_by_the_index(tmp_path: Path) -> None:
    # 2026.3.28 after a reset: the name of the old session over the records of the new one.
    folder = sessions(tmp_path)
    (folder / f"{OTHER}.jsonl").write_bytes(jsonl(header(ID, version=3), answered("a1")))
    index(folder, {KEY: {"sessionId": OTHER, "sessionFile": f"/home/u/.openclaw/agents/main/sessions/{OTHER}.jsonl"}})
    [call] = calls(StateFolder(tmp_path))
    assert (call.session_id, call.session_aliases) == (KEY, (ID,))


def test_a_session_that_was_reset_twice_is_followed_back_to_its_first_file(tmp_path: Path) -> None:
    folder = sessions(tmp_path)
    first, second, third = (f"{n}0000000-0000-4000-8000-000000000000" for n in range(3))
    end, again = BEGIN + 60_000, BEGIN + 120_000
    (folder / f"{first}.jsonl.reset.2026-11-21T21-01-00.001Z").write_bytes(jsonl(header(first), answered("a1")))
    (folder / f"{second}.jsonl.reset.2026-11-21T21-02-00.001Z").write_bytes(
        jsonl(header(second, end), answered("a2", end))
    )
    (folder / f"{third}.jsonl").write_bytes(jsonl(header(third, again), answered("a3", again)))
    index(folder, {KEY: {"sessionId": third, "sessionStartedAt": again}})
    given = calls(StateFolder(tmp_path))
    assert {r.session_id for r in given} == {KEY}
    assert {name for r in given for name in r.session_aliases} == {first, second, third}


def test_two_sessions_that_began_at_one_instant_name_no_archive(tmp_path: Path) -> None:
    folder = sessions(tmp_path)
    (folder / f"{ID}.jsonl.reset.2026-11-21T21-01-00.001Z").write_bytes(jsonl(header(ID), answered("a1")))
    index(
        folder,
        {
            "agent:main:a": {"sessionId": "a", "sessionStartedAt": BEGIN + 60_000},
            "agent:main:b": {"sessionId": "b", "sessionStartedAt": BEGIN + 60_000},
        },
    )
    [call] = calls(StateFolder(tmp_path))
    assert call.session_id == ID


def test_agents_are_told_apart_and_homes_do_not_mix(tmp_path: Path) -> None:
    for home in ("one", "two"):
        for agent in ("main", "research"):
            gateway = Database(tmp_path / home, agent)
            session = f"{home}-{agent}"
            gateway.name(session, f"agent:{agent}:main")
            gateway.write(session, header(session), answered("a1"))
            gateway.close()
    one, two = (calls(StateFolder(tmp_path / home)) for home in ("one", "two"))
    assert {r.session_id for r in one} == {"agent:main:main", "agent:research:main"}
    assert len(once([*one, *two])) == 4


def test_names_are_given_with_parents_and_channels(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY, channel="telegram")
    gateway.name(OTHER, "agent:main:subagent:1", spawned_by=KEY)
    gateway.write(OTHER, header(OTHER))
    names = {n.session_id: (n.key, n.parent, n.channel) for step in steps(StateFolder(tmp_path)) for n in step.names}
    assert names == {ID: (KEY, None, "telegram"), OTHER: ("agent:main:subagent:1", KEY, None)}
    gateway.close()


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    reader = StateFolder(tmp_path / "none")
    assert (calls(reader), reader.look()[0], reader.troubles) == ([], 0, ())


def test_the_look_changes_with_every_event(tmp_path: Path) -> None:
    gateway = Database(tmp_path)
    gateway.name(ID, KEY)
    reader, looks = StateFolder(tmp_path), set()
    for n in range(5):
        gateway.write(ID, answered(f"a{n}", BEGIN + n))
        looks.add(reader.look())
    assert len(looks) == 5
    gateway.close()


# -- records --------------------------------------------------------------------------------------


def read(*events: dict[str, object]) -> list[Call | Passed | None]:
    transcript = Transcript(ID, keep_content=True)
    return [transcript.read(jsonl(event)) for event in events]


def test_output_of_a_release_that_counts_reasoning_twice_is_an_upper_bound() -> None:
    # 2026.1.30 and 2026.3.28 with 500 tokens of output of which 400 were reasoning.
    usage = {"input": 1000, "output": 900, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 1900}
    [call] = read(answered("a1", usage=usage))
    assert isinstance(call, Call)
    assert call.round.usage.convention == "openclaw_upper_bound"
    assert (call.round.usage.output_tokens, call.round.usage.reasoning_tokens) == (900, None)
    [native] = read(answered("a1", usage=usage, api="anthropic-messages"))
    assert isinstance(native, Call)
    assert native.round.usage.convention == "openclaw"


def test_cache_counts_come_on_top_of_input() -> None:
    usage = {"input": 10, "output": 5, "cacheRead": 1000, "cacheWrite": 200, "reasoningTokens": 2, "totalTokens": 1215}
    [call] = read(answered("a1", usage=usage))
    assert isinstance(call, Call)
    counted = call.round.usage
    assert (counted.input_tokens, counted.cached_tokens, counted.cache_write_tokens) == (1210, 1000, 200)


def test_what_openclaw_wrote_itself_is_no_call() -> None:
    [mirror] = read(answered("a1", provider="openclaw", model="delivery-mirror"))
    assert isinstance(mirror, Passed)
    assert mirror.reason == "own"


def test_an_interrupted_call_is_one_that_failed() -> None:
    [call] = read(answered("a1", stopReason="aborted", usage={"input": 0, "output": 0}))
    assert isinstance(call, Call)
    assert (call.round.success, call.round.usage.known) == (False, False)


def test_a_record_without_a_time_has_none() -> None:
    event = answered("a1", timestamp=None)
    event["timestamp"] = "soon"
    [call] = read(event)
    assert isinstance(call, Call)
    assert call.round.started_at == UNKNOWN_TIME


def test_nothing_of_what_was_said_is_held_where_content_is_not_kept() -> None:
    transcript = Transcript(ID, keep_content=False)
    transcript.read(jsonl(asked("u1", "a secret")))
    call = transcript.read(jsonl(answered("a1")))
    assert isinstance(call, Call)
    assert call.round.conversation is None


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = (
    *("type", "id", "timestamp", "message", "role", "content", "usage", "cost", "total", "input", "output"),
    *("cacheRead", "cacheWrite", "reasoningTokens", "model", "provider", "api", "stopReason", "responseId"),
)


@st.composite
def strange(draw: st.DrawFn) -> dict[str, object]:
    """A real record with some of its fields changed to anything."""
    event: dict[str, object] = draw(st.sampled_from([answered("a1"), asked("u1", "x"), header(ID), {"type": "reset"}]))
    for _ in range(draw(st.integers(0, 4))):
        place = event
        while isinstance(inner := place.get(draw(st.sampled_from(_FIELDS))), dict):
            place = inner
        place[draw(st.sampled_from(_FIELDS))] = draw(_values)
    return event


@given(st.lists(strange() | st.dictionaries(st.text(), _values), max_size=6), st.booleans())
def test_no_record_makes_it_raise(events: list[dict[str, object]], keep_content: bool) -> None:
    transcript = Transcript(ID, keep_content=keep_content)
    for event in events:
        entry = transcript.read(jsonl(event))
        if isinstance(entry, Call):
            assert len(entry.round.key) == 16
            assert "\ud800" not in (entry.round.model or "")


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(record: bytes) -> None:
    Transcript(ID, keep_content=True).read(record)


def test_the_corpus_was_written_by_a_schema_that_is_known() -> None:
    from monitor.sources.openclaw.database import KNOWN_SCHEMA
    from tests.openclaw import CORPUS

    path = CORPUS / "2026.9.6" / ".openclaw" / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    assert db.execute("PRAGMA user_version").fetchone() == (KNOWN_SCHEMA,)
    db.close()
