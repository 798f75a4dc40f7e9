"""The commands as they are installed: answers, exit codes, and no traceback for anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faces.place import Place
from tests.helpers import run

SESSION = "agent:main:main"


def ask(place: Place, *words: str) -> Any:
    out, _ = run(words[0], "--data-dir", place.data, *words[1:], "--json")
    return json.loads(out)


@pytest.fixture(autouse=True)
def _read(place: Place) -> None:
    _, said = run("ingest", "--once", *place.arguments())
    assert f"{place.expected.total.rounds} new rounds" in said


def test_a_second_pass_finds_nothing_new(place: Place) -> None:
    _, said = run("ingest", "--once", *place.arguments())
    assert "0 new rounds" in said


def test_list_and_show_and_stats_agree_with_the_log(place: Place) -> None:
    right = place.expected.sessions[SESSION]
    listed = ask(place, "list", "--limit", "100")
    row = next(row for row in listed["sessions"] if row["session_id"] == SESSION)
    shown = ask(place, "show", SESSION)
    assert row["messages_count"] == shown["messages_count"] == len(shown["rounds"]) == right.rounds
    assert shown["total_input_tokens"] == right.input_tokens
    assert sum(r["output_tokens"] or 0 for r in shown["rounds"]) == right.output_tokens
    by_model = ask(place, "stats-model")
    by_date = ask(place, "stats-date", "--timezone", "Asia/Shanghai")
    assert by_model["totals"]["rounds"] == sum(row["rounds"] for row in by_date["rows"]) == place.expected.total.rounds
    assert by_model["totals"]["cost"] == pytest.approx(by_date["totals"]["cost"])


def test_show_gives_every_round_with_its_messages_complete(place: Place) -> None:
    shown = ask(place, "show", SESSION)
    told = [r for r in shown["rounds"] if isinstance(r.get("messages"), list) and r["messages"]]
    assert told
    for r in told:
        if r["messages"][-1].get("role") == "user":
            assert r["messages"][-1]["content"] == r["question"]
    newest = ask(place, "show", SESSION, "--rounds", "2", "--no-content")["rounds"]
    assert [r["round_id"] for r in newest] == [r["round_id"] for r in shown["rounds"][-2:]]
    assert all("messages" not in r for r in newest)


def test_the_document_of_a_session_has_every_field_of_its_structure(place: Place) -> None:
    name = next(n for n, t in place.expected.sessions.items() if n is not None and not t.reasoning_tokens)
    document = ask(place, "show", name)
    assert {"session_id", "created_at", "updated_at", "messages_count", "model", "rounds"} < document.keys()
    assert document["total_reasoning_tokens"] in (None, 0)
    known = [r["reasoning_tokens"] for r in document["rounds"] if r["reasoning_tokens"] is not None]
    # No round told it: unknown, not zero.
    assert (document["total_reasoning_tokens"] is None) == (not known)
    for r in document["rounds"]:
        assert {"messages", "question", "answer", "reasoning", "tool_calls", "has_tool_calls"} < r.keys()
        assert {"input_token_details", "output_token_details", "reasoning_tokens", "cached_tokens"} < r.keys()


def test_only_the_messages_that_a_round_added_are_shown_when_asked(place: Place) -> None:
    full, new = ask(place, "show", SESSION)["rounds"], ask(place, "show", SESSION, "--messages", "new")["rounds"]
    for whole, part in zip(full, new, strict=True):
        assert whole["messages"][part.get("messages_from", 0) :] == part["messages"]
    assert sum(len(r["messages"]) for r in new) < sum(len(r["messages"]) for r in full)


def test_a_part_of_an_id_is_enough_where_it_is_the_only_one(place: Place) -> None:
    assert ask(place, "show", "main:main", "--no-content")["session_id"] == SESSION
    _, said = run("show", "--data-dir", place.data, "agent:", code=3)
    assert "several sessions" in said


def test_an_unknown_session_ends_with_3_and_names_near_ones(place: Place) -> None:
    _, said = run("show", "--data-dir", place.data, "agent:main:mian", code=3)
    assert "session-monitor list" in said
    assert SESSION in said


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (("list", "--sort-by", "price"), 2, "cost"),
        (("stats-model", "--since", "whenever"), 2, "2026-02-01"),
        (("stats-date", "--timezone", "Mars/Olympus"), 2, "IANA"),
        (("list", "--config", "/nowhere.toml"), 2, "/nowhere.toml"),
        (("ingest", "--once", "--log-path", "/nowhere/access.log"), 4, "/nowhere/access.log"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(place: Place, words: tuple[str, ...], code: int, hint: str) -> None:
    options = [] if words == ("frobnicate",) else ["--data-dir", str(place.data)]
    out, said = run(words[0], *options, *words[1:], code=code)
    assert hint in said
    assert "Traceback" not in said
    assert out == ""


def test_a_setting_that_does_not_exist_is_named(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "session-monitor.toml"
    config.write_text('[privacy]\ncontnet = "none"\n')
    _, said = run("list", "--data-dir", place.data, "--config", config, code=2)
    assert "privacy.contnet" in said
    assert str(config) in said


def test_the_sources_of_a_data_directory_are_remembered(place: Place) -> None:
    with place.log.open("ab") as file:
        file.write(b"\n")
    _, said = run("ingest", "--once", "--data-dir", place.data)
    assert "0 new rounds" in said
    health = json.loads(run("doctor", "--data-dir", place.data, "--json")[0])
    assert [source["path"] for source in health["sources"]] == [str(place.log)]


def test_a_path_outside_the_allowed_ones_is_refused(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[privacy]\nallowed_paths = ["/var/log/proxy/*"]\n')
    _, said = run("ingest", "--once", *place.arguments("--config", str(config)), code=2)
    assert "allowed_paths" in said


def test_log_text_cannot_steer_the_terminal(place: Place) -> None:
    line = place.log.read_bytes().splitlines()[0]
    start, end = line.index(b'\\"session_id\\":\\"') + 17, line.index(b'\\"', line.index(b'\\"session_id\\":\\"') + 17)
    with place.log.open("ab") as file:
        file.write(line[:start] + b"\\\\u001b[2Jwiped\\\\u202e" + line[end:] + b"\n")
    run("ingest", "--once", *place.arguments())
    out, _ = run("list", "--data-dir", place.data, "--search", "wiped")
    assert "\x1b[2J" not in out
    assert "\u202e" not in out
    assert "wiped" in out


def test_doctor_says_when_the_log_is_missing(tmp_path: Path) -> None:
    out, _ = run("doctor", "--data-dir", tmp_path / "data", "--log-path", tmp_path / "absent.log", code=1)
    assert "does not exist yet" in out


def test_the_demo_answers_once_as_an_agent_would(tmp_path: Path) -> None:
    out, _ = run("demo", "--once", "--data-dir", tmp_path / "demo")
    assert "This conversation has cost" in out
    assert "/session?id=" in out


def test_the_demo_has_a_yesterday_to_look_at(tmp_path: Path) -> None:
    run("demo", "--once", "--data-dir", tmp_path / "demo")
    out, _ = run("overview", "--json", "--data-dir", tmp_path / "demo")
    found = json.loads(out)
    assert 0 < found["yesterday"]["rounds"] < found["average_per_day"]["rounds"] * 14


def test_a_log_that_was_rotated_since_is_read_before_an_answer(place: Place) -> None:
    line = place.log.read_bytes().splitlines()[0].replace(b'"request_id":"', b'"request_id":"new')
    with place.log.open("ab") as file:
        file.write(line + b"\n")
    place.log.rename(f"{place.log}.1")
    place.log.touch()
    assert ask(place, "doctor")["rounds"] == place.expected.total.rounds + 1


def test_a_directory_in_place_of_a_log_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "folder.log").mkdir()
    config = tmp_path / "session-monitor.toml"
    config.write_text('[[sources]]\nkind = "higress"\npath = "folder.log"\n')
    out, _ = run("doctor", "--data-dir", tmp_path / "other", "--config", config, code=1)
    assert "not a regular file" in out


def test_a_folder_without_records_that_was_meant_as_a_log_is_told(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "20260201T093015Z-1a2b3c4d.zst").write_bytes(b"")
    _, said = run("ingest", "--once", "--data-dir", tmp_path / "data", "--log-path", backup)
    assert f"{backup}: no usage records" in said
    assert "named by its file" in said
    (backup / "2026-11-25.jsonl").touch()
    _, said = run("ingest", "--once", "--data-dir", tmp_path / "data", "--log-path", backup)
    assert "no usage records" not in said


def test_standard_input_belongs_to_mcp_where_that_is_served(tmp_path: Path) -> None:
    _, said = run("serve", "--data-dir", tmp_path / "data", "--log-path", "-", code=2)
    assert "--log-path -" in said


def test_ids_in_an_error_or_in_json_cannot_steer_the_terminal(place: Place) -> None:
    line = place.log.read_bytes().splitlines()[0]
    start = line.index(b'\\"session_id\\":\\"') + 17
    end = line.index(b'\\"', start)
    with place.log.open("ab") as file:
        for name in (b"one", b"two"):
            file.write(line[:start] + b"wiped\\\\u001b[2J" + "\x9b".encode() + name + line[end:] + b"\n")
    _, said = run("show", "wiped", *place.arguments(), code=3)
    out, _ = run("list", "--search", "wiped", "--json", *place.arguments())
    assert "part of several" in said
    assert not {"\x1b", "\x9b"} & {*said, *out}
    assert len(json.loads(out)["sessions"]) == 2
