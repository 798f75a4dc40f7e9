"""`doctor` as a user runs it: finds, says what to do, puts right what is safe, and ends with 1 only when it must."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor.samples import DEMO, Expected, lines
from monitor.store.sqlite import SqliteStore
from tests.helpers import check_totals, run


def line(number: int, model: str = "gpt-5.4", session: str | None = "a") -> bytes:
    body = {"input_token": 10, "model": model, "output_token": 5} | ({"session_id": session} if session else {})
    outer = {
        "ai_log": json.dumps(body),
        "request_id": f"request-{number}",
        "start_time": f"2026-02-01T10:00:{number % 60:02d}.000Z",
    }
    return json.dumps(outer).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "access.log"
    file.write_bytes(b"".join(line(n) for n in range(5)))
    return file


def arguments(log: Path, *more: str) -> list[str]:
    return ["--data-dir", str(log.parent / "data"), "--log-path", str(log), *more]


def findings(log: Path, *more: str, code: int = 1) -> dict[str, dict[str, Any]]:
    answer = json.loads(run("doctor", *arguments(log, "--json", *more), code=code)[0])
    assert all(finding["do"] for finding in answer.get("findings", []))
    return {finding["what"]: finding for finding in answer.get("findings", []) if finding["severity"] == "problem"}


def test_a_set_up_that_is_in_order_ends_with_0(log: Path) -> None:
    out, _ = run("doctor", *arguments(log))
    assert "Nothing needs doing." in out
    assert "plain, 5 rounds" in out
    assert "1 sessions by a header" in out
    assert sqlite3.sqlite_version in out
    assert "built-in" in out
    assert "every sum was added up anew" in run("doctor", *arguments(log, "--deep"))[0]


def test_each_thing_that_needs_doing_ends_with_1(log: Path) -> None:
    with log.open("ab") as file:
        file.write(line(9, "my-own-model") + line(10)[:-60] + b"\n")
    found = findings(log)
    assert any("no price is known for my-own-model" in what for what in found)
    assert any("1 lines were skipped: malformed" in what for what in found)
    out, _ = run("doctor", *arguments(log), code=1)
    assert "such as: {" in out


def test_a_log_without_session_ids_tells_which_settings_are_missing(log: Path) -> None:
    log.write_bytes(b"".join(line(n, session=None) for n in range(3)))
    (finding,) = findings(log).values()
    assert finding["what"] == "no round names a session"
    assert "session_id_header" in finding["do"]
    assert "skill install --client openclaw" in finding["do"]


def test_modes_and_leftovers_are_put_right_and_shown_before(log: Path) -> None:
    run("doctor", *arguments(log))
    data = log.parent / "data"
    data.chmod(0o755)
    (data / "monitor.db").chmod(0o644)
    (data / "web.json").write_text('{"url": "http://localhost:1", "pid": 999999999}')
    (data / "web.json").chmod(0o600)
    assert len(findings(log)) == 3
    _, said = run("doctor", *arguments(log, "--fix", "--dry-run"), code=1)
    assert said.count("would be done") == 3
    assert stat.S_IMODE(data.stat().st_mode) == 0o755
    out, said = run("doctor", *arguments(log, "--fix"))
    assert said.count("gave ") == 2
    assert "removed" in said
    assert "Nothing needs doing." in out
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert not (data / "web.json").exists()


def test_a_folder_of_archives_that_is_missing_is_made(log: Path) -> None:
    config = log.parent / "session-monitor.toml"
    config.write_text('[retention]\narchive = "lines"\n')
    run("ingest", "--once", *arguments(log))
    _, said = run("doctor", *arguments(log, "--config", str(config), "--fix"))
    assert "made " in said
    assert stat.S_IMODE((log.parent / "lines").stat().st_mode) == 0o700


def test_rotated_files_that_were_never_looked_at_are_read_by_fix(tmp_path: Path) -> None:
    log, expected = tmp_path / "access.log", Expected()
    written = list(lines(DEMO, 41, 200, expected))
    log.write_bytes(b"".join(written[150:]))
    (tmp_path / "access.log.150").write_bytes(b"".join(written[:150]))
    before = json.loads(run("doctor", *arguments(log, "--json"), code=None)[0])["rounds"]
    assert before < expected.total.rounds
    _, said = run("doctor", *arguments(log, "--fix"), code=None)
    assert f"read {expected.total.rounds - before:,} rounds" in said
    with closing(SqliteStore(tmp_path / "data", read_only=True)) as store:
        check_totals(store, expected, DEMO)


def test_a_file_that_was_rotated_away_unread_is_told(log: Path) -> None:
    run("ingest", "--once", *arguments(log))
    # Rotated away and deleted while nobody looked: what it gained meanwhile is lost.
    log.unlink()
    log.write_bytes(b"".join(line(n) for n in range(30, 40)))
    assert any("rotated away" in what for what in findings(log))
    # Once is once, however often one asks.
    (what,) = [what for what in findings(log) if "rotated away" in what]
    assert "(seen 1 times)" in what


def test_a_file_that_was_rotated_and_is_still_there_is_no_loss(log: Path) -> None:
    run("ingest", "--once", *arguments(log))
    log.rename(log.with_name("access.log.1"))
    log.write_bytes(b"".join(line(n) for n in range(30, 40)))
    assert findings(log, code=0) == {}


def test_a_damaged_database_is_found(log: Path) -> None:
    run("ingest", "--once", *arguments(log))
    with closing(sqlite3.connect(log.parent / "data" / "monitor.db")) as db:
        db.execute("UPDATE total SET input = input + 1")
        db.commit()
    assert findings(log, code=0) == {}
    assert any("total" in what for what in findings(log, "--deep"))


def test_options_that_go_together_are_named(log: Path) -> None:
    assert "--fix" in run("doctor", *arguments(log, "--dry-run"), code=2)[1]
