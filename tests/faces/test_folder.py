"""Session documents in a folder: safe names, whole files, and only what has changed is written."""

from __future__ import annotations

import dataclasses
import json
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from monitor.faces.folder import SessionFolder, file_name
from monitor.faces.schemas import schema
from monitor.samples import DEMO, Expected, Writer, lines
from monitor.store.base import Batch
from monitor.store.sqlite import SqliteStore
from tests.answers.made import asking, made, said
from tests.faces.place import Place
from tests.helpers import end, run, start, wait_for

HOSTILE = (
    *("../escaped", "/etc/passwd", ".hidden", "..", ".", "a/b\\c", "nul\0byte", "x" * 60_000),
    *("-rf", "会话", "\ud800", " ", "%2E"),
)


def documents(folder: Path) -> dict[str, Any]:
    paths = [path for path in folder.iterdir() if not path.name.endswith(".part")]
    return {path.name: json.loads(path.read_text("utf-8")) for path in paths}


@given(st.text(min_size=1))
def test_no_name_leads_out_of_the_folder(session_id: str) -> None:
    name = file_name(session_id)
    assert Path(name).name == name
    assert not name.startswith((".", "-"))
    assert len(name.encode()) <= 255
    assert name.isascii()
    assert name.isprintable()


@given(st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True))
def test_different_ids_have_different_names(ids: list[str]) -> None:
    assert len({file_name(name) for name in ids}) == len(ids)


def test_an_ordinary_id_is_its_own_name() -> None:
    assert file_name("agent:main:discord:channel:123") == "agent:main:discord:channel:123.json"
    long = "x" * 60_000
    assert file_name(long) != file_name(long + "y")


def test_hostile_ids_stay_in_the_folder(tmp_path: Path) -> None:
    ids = [name.encode("utf-8", "replace").decode() for name in HOSTILE]
    ask = asking(tmp_path / "data", [made(n, session_id=name) for n, name in enumerate(ids)])
    folder = tmp_path / "out" / "documents"
    assert SessionFolder(folder).write_all(ask) == len(set(ids))
    assert {d["session_id"] for d in documents(folder).values()} == set(ids)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["documents"]
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_only_a_changed_session_is_written_again(tmp_path: Path) -> None:
    first = [made(1, session_id="a", conversation=said("hello", answer="hi")), made(2, session_id="b")]
    ask = asking(tmp_path / "data", first)
    folder = SessionFolder(tmp_path / "out")
    assert folder.write_all(ask) == 2
    before = {path.name: path.stat().st_ino for path in folder.path.iterdir()}
    assert folder.write_all(ask) == 0
    writer = SqliteStore(tmp_path / "data", price_version="v1")
    writer.add(Batch(rounds=[made(3, session_id="b")]))
    writer.close()
    assert folder.write_all(ask) == 1
    after = {path.name: path.stat().st_ino for path in folder.path.iterdir()}
    assert after["a.json"] == before["a.json"]
    assert after["b.json"] != before["b.json"]
    assert len(documents(folder.path)["b.json"]["rounds"]) == 2


def test_a_budget_that_others_use_changes_no_document(tmp_path: Path) -> None:
    config = tmp_path / "session-monitor.toml"
    config.write_text('[[budgets]]\nname = "team"\ntokens = 1_000_000_000\nperiod = "month"\n')
    log = tmp_path / "access.log"
    now = dataclasses.replace(DEMO, start=time.time_ns() // 1_000_000, nights=False, pause=1, session_pause=1)
    records = list(lines(now, seed=3, limit=60))
    log.write_bytes(b"".join(records[:-1]))
    words = ("--data-dir", str(tmp_path / "data"), "--log-path", str(log), "--config", str(config))
    run("export", "--sessions", str(tmp_path / "documents"), *words)
    (state,) = json.loads(run("budget", "--json", *words)[0])["budgets"]
    assert state["used"]["tokens"] > 0
    with log.open("ab") as file:
        file.write(records[-1])
    _, told = run("export", "--sessions", str(tmp_path / "documents"), *words)
    assert told.startswith(("0 of ", "1 of ")), told


def test_a_session_that_got_another_name_leaves_no_old_file(tmp_path: Path) -> None:
    ask = asking(tmp_path / "data", [made(1, session_id="agent:main:main", session_aliases=("0f8e7d6c",))])
    folder = SessionFolder(tmp_path / "out")
    (folder.path / "0f8e7d6c.json").write_text("{}")
    folder.write_all(ask)
    assert documents(folder.path).keys() == {"agent:main:main.json"}


def test_exported_documents_are_those_that_show_prints(place: Place) -> None:
    folder = place.folder / "documents"
    _, told = run("export", "--sessions", folder, *place.arguments())
    found = documents(folder)
    assert f"{len(found)} of {len(found)}" in told
    checked = Draft202012Validator(schema("show"))
    for name, totals in place.expected.sessions.items():
        if name is None:
            continue
        document = found[file_name(name)]
        assert list(checked.iter_errors(document)) == []
        assert document["messages_count"] >= totals.rounds
    one = json.loads(run("show", "agent:main:main", "--json", *place.arguments())[0])
    kept = found["agent:main:main.json"]
    for name in ("as_of", "note"):
        one.pop(name, None)
        kept.pop(name, None)
    assert kept == one
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    _, told = run("export", "--sessions", folder, *place.arguments())
    assert told.startswith("0 of ")


@pytest.mark.parametrize("command", [("ingest",), ("serve", "--http", "0")], ids=" ".join)
def test_an_output_folder_is_kept_current(place: Place, command: tuple[str, ...]) -> None:
    folder = place.folder / "documents"
    process = start(*command, *place.arguments("--output-dir", str(folder)))

    def rounds() -> int:
        return sum(len(d["rounds"]) for d in documents(folder).values()) if folder.is_dir() else 0

    def named() -> int:
        return sum(t.rounds for name, t in place.expected.sessions.items() if name is not None)

    try:
        wait_for("all documents", lambda: rounds() >= named())
        place.expected = Expected()
        text = list(lines(DEMO, seed=3, limit=500, expected=place.expected))
        before = rounds()
        with Writer(place.log) as writer:
            for line in text[400:]:
                writer.write(line)
        wait_for("the documents have grown", lambda: rounds() > before and rounds() >= named())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        end([process])


def test_one_pass_writes_the_documents_too(place: Place) -> None:
    _, told = run("ingest", "--once", *place.arguments("--output-dir", str(place.folder / "documents")))
    assert "new rounds" in told
    assert len(documents(place.folder / "documents")) >= len(place.expected.sessions) - 1


def test_a_folder_that_cannot_be_written_is_said(place: Place) -> None:
    (place.folder / "file").write_text("")
    _, told = run("ingest", "--once", *place.arguments("--output-dir", str(place.folder / "file" / "x")), code=2)
    assert "name a folder that can be written" in told
