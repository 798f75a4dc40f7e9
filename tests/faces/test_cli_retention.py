"""`prune` as a user runs it: shown first, then done, and never more than was said."""

from __future__ import annotations

import json
import shutil
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest
import zstandard

from monitor.samples import DEMO
from monitor.store.sqlite import SqliteStore
from tests.faces.place import Place
from tests.helpers import check_totals, run, totals

_FRAME = b"\x28\xb5\x2f\xfd"
MARKER = "xylophone-7f3a"


@pytest.fixture
def stored(place: Place) -> Place:
    run("ingest", "--once", *place.arguments())
    return place


def everything(folder: Path) -> bytes:
    """All bytes of all files of a data directory, and what every compressed frame in them unfolds to."""
    raw = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    found = [raw]
    at = raw.find(_FRAME)
    while at >= 0:
        # Frames that a page boundary tears can't be read; what was said before is in whole ones as well.
        with suppress(zstandard.ZstdError):
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(raw[at : at + 1_000_000]))
        at = raw.find(_FRAME, at + 1)
    return b"".join(found)


def test_pruning_is_shown_first_and_changes_nothing_until_it_is_meant(stored: Place) -> None:
    before = json.loads(run("stats-model", *stored.arguments("--json"))[0])
    plan = json.loads(run("prune", *stored.arguments("--older-than", "0", "--json"))[0])
    assert plan["rounds"] == stored.expected.total.rounds
    assert "done" not in plan
    out, errors = run("prune", *stored.arguments("--older-than", "0"))
    assert f"{stored.expected.total.rounds:,} rounds would go" in out
    assert "--yes" in errors
    with closing(SqliteStore(stored.data, read_only=True)) as store:
        check_totals(store, stored.expected, DEMO)
        assert store.rounds("agent:main:main").rounds
    done = json.loads(run("prune", *stored.arguments("--older-than", "0", "--yes", "--json"))[0])
    assert done["done"]
    assert done["rounds"] == stored.expected.total.rounds
    assert done["freed_bytes"] > 0
    after = json.loads(run("stats-model", *stored.arguments("--json"))[0])
    assert (after["rows"], after["totals"]) == (before["rows"], before["totals"])
    with closing(SqliteStore(stored.data, read_only=True)) as store:
        check_totals(store, stored.expected, DEMO)
        assert not store.rounds("agent:main:main").rounds


def test_a_log_that_is_read_again_after_pruning_counts_nothing_twice(stored: Place) -> None:
    run("prune", *stored.arguments("--older-than", "0", "--yes"))
    copy = stored.folder / "restored.log"
    shutil.copy(stored.log, copy)
    _, errors = run("ingest", "--once", "--data-dir", stored.data, "--log-path", copy)
    assert "0 new rounds" in errors
    with closing(SqliteStore(stored.data, read_only=True)) as store:
        check_totals(store, stored.expected, DEMO)


def test_a_session_says_how_many_of_its_rounds_are_pruned(stored: Place) -> None:
    rounds = stored.expected.sessions["agent:main:main"].rounds
    run("prune", *stored.arguments("--older-than", "0", "--yes"))
    session = json.loads(run("show", *stored.arguments("agent:main:main", "--json"))[0])
    assert session["messages_count"] == rounds
    assert session["pruned_rounds"] == rounds
    assert session["rounds"] == []


def test_conversations_can_go_alone(stored: Place) -> None:
    run("prune", *stored.arguments("--older-than", "0", "--content-only", "--yes"))
    session = json.loads(run("show", *stored.arguments("agent:main:main", "--json"))[0])
    assert len(session["rounds"]) == stored.expected.sessions["agent:main:main"].rounds
    assert not any(r.get("messages") or r.get("answer") for r in session["rounds"])
    with closing(SqliteStore(stored.data, read_only=True)) as store:
        check_totals(store, stored.expected, DEMO)


def _line(number: int, session: str, *words: str) -> bytes:
    """An access-log line of a request in which `words` were said, the last of them the question."""
    messages = [{"role": "system", "content": "You are helpful, and so on and on and on."}]
    messages += [{"role": "user", "content": word} for word in words]
    body = {
        "answer": f"{words[-1]} indeed, said the answer at some length",
        "chat_round": len(words),
        "input_token": 10,
        "messages": messages,
        "model": "gpt-5.4",
        "output_token": 5,
        "question": words[-1],
        "session_id": session,
        "some_new_field": words[-1],
    }
    outer = {
        "ai_log": msgspec.json.encode(body).decode(),
        "path": f"/v1/{words[-1]}/completions",
        "request_id": f"request-{session}-{number}",
        "response_code": "200",
        "response_flags": "-",
        "start_time": f"2026-11-2{number % 5}T10:00:00.000Z",
    }
    return msgspec.json.encode(outer) + b"\n"


@pytest.mark.parametrize("counts_too", [False, True])
def test_after_purging_a_session_no_file_holds_a_word_of_it(tmp_path: Path, counts_too: bool) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    arguments = ["--data-dir", str(data), "--log-path", str(log)]
    lines = []
    for turn in range(1, 40):
        words = [f"{MARKER} number {n}" for n in range(turn)]
        lines.append(_line(turn, "private", *words))
        lines.append(_line(turn, f"public-{turn}", *[f"harmless {n}" for n in range(turn)]))
    # A damaged line of the session, which is kept as a sample.
    lines.insert(20, lines[10][:-300] + b"\n")
    log.write_bytes(b"".join(lines))
    run("ingest", "--once", *arguments)
    assert MARKER in run("show", *arguments, "private")[0]
    # Written several times, so that pages were split, moved and used again.
    run("prune", *arguments, "--older-than", "36500", "--yes")
    plan = json.loads(run("prune", *arguments, "--session", "privat", "--json")[0])
    assert (plan["session_id"], plan["rounds"], plan["conversations"]) == ("private", 39, 39)
    assert plan["shared_pieces"] > 0
    more = ["--counts-too"] if counts_too else []
    log.unlink()
    assert MARKER.encode() in everything(data)
    done = json.loads(run("prune", *arguments, "--session", "private", "--yes", "--json", *more)[0])
    assert done["done"]
    assert "left_behind" not in done
    held = everything(data)
    assert MARKER.encode() not in held
    with closing(SqliteStore(data, read_only=True)) as store:
        assert store.verify() == []
        assert totals(store.slices()).rounds == (39 if counts_too else 78)
        for number in range(1, 40):
            (content,) = store.content(store.rounds(f"public-{number}").rounds)
            assert content is not None
            assert content.answer is not None
    # The log comes back: nothing of it does.
    log.write_bytes(b"".join(lines))
    run("ingest", "--once", *arguments)
    assert MARKER.encode() not in everything(data)
    with closing(SqliteStore(data, read_only=True)) as store:
        assert totals(store.slices()).rounds == (39 if counts_too else 78)


def test_what_makes_no_sense_is_refused_with_the_way_out(place: Place, tmp_path: Path) -> None:
    assert "--older-than" in run("prune", *place.arguments(), code=2)[1]
    assert "--session" in run("prune", *place.arguments("--older-than", "3", "--counts-too"), code=2)[1]
    assert "--content-only" in run("prune", *place.arguments("--session", "x", "--content-only"), code=2)[1]
    run("ingest", "--once", *place.arguments())
    assert "No session" in run("prune", *place.arguments("--session", "never seen"), code=3)[1]
    assert "several sessions" in run("prune", *place.arguments("--session", "agent:"), code=3)[1]
    nothing = run("prune", "--data-dir", tmp_path / "none", "--older-than", "3", "--config", _quiet(tmp_path), code=3)
    assert "nothing is stored" in nothing[1]


def _quiet(folder: Path) -> Path:
    """A configuration with a log that does not exist."""
    file = folder / "quiet.toml"
    file.write_text('[[sources]]\npath = "absent.log"\n')
    return file
