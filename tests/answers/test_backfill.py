"""What the log lost is counted from transcripts, once, marked, and only when somebody says so."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from monitor.samples import Expected
from tests.faces.place import Place
from tests.faces.web.served import daemon
from tests.helpers import end, run, start, wait_for
from tests.openclaw import Database, answered, header, logged

ID, KEY = "0cd86b8b-12c3-43d1-a1a6-910f3a42ea60", "agent:main:main"
MINUTE = 60_000
#: Two days ago, so that no case depends on when it is run.
BEGIN = time.time_ns() // 1_000_000 // MINUTE * MINUTE - 2 * 86_400_000


class Lossy:
    """A gateway whose log lost an hour in its middle, and transcripts of a folder that nobody follows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "openclaw"
        self.log = folder / "access.log"
        openclaw = Database(self.state)
        openclaw.name(ID, KEY)
        #: By id: minute, input tokens.
        self.calls = {f"a{n}": (n * 20, 100 + n) for n in range(10)}
        self.lost = {name for name, (minute, _) in self.calls.items() if 60 <= minute <= 120}
        openclaw.write(
            ID,
            header(ID, BEGIN),
            *(answered(name, BEGIN + at * MINUTE, input_=n) for name, (at, n) in self.calls.items()),
        )
        openclaw.close()
        self.log.write_bytes(b"".join(self.line(name) for name in self.calls if name not in self.lost))

    def line(self, name: str, **more: Any) -> bytes:
        """The line that the gateway wrote of a call."""
        minute, tokens = self.calls[name]
        return logged(f"chatcmpl-{name}", BEGIN + minute * MINUTE, session=ID, input_=tokens, **more)

    def ask(self, *words: str, code: int = 0) -> Any:
        """What a command says in JSON."""
        return json.loads(self.said(*words, "--json", code=code)[0])

    def said(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What a command prints."""
        options = ("--data-dir", self.folder / "data", "--log-path", self.log)
        return run(*words, *options, code=code)

    def fill(self, *more: str, code: int = 0) -> Any:
        """What `backfill` says."""
        return self.ask("backfill", "--from", str(self.state), *more, code=code)

    @property
    def total(self) -> int:
        """All rounds that are counted."""
        rounds: int = self.ask("stats-model")["totals"]["rounds"]
        return rounds


@pytest.fixture
def lossy(tmp_path: Path) -> Lossy:
    return Lossy(tmp_path)


def test_it_is_shown_what_would_be_added_and_nothing_is(lossy: Lossy) -> None:
    found = lossy.fill()
    right = sum(lossy.calls[name][1] for name in lossy.lost)
    assert len(lossy.lost) == 4
    assert (found["rounds"], found["input_tokens"], found["done"]) == (4, right, False)
    assert found["counted_already"] == 6
    assert {day["cause"] for day in found["days"]} <= {"log_lost", "bypassed_or_lost"}
    assert sum(day["rounds"] for day in found["days"]) == 4
    assert lossy.total == 6
    out, said = lossy.said("backfill", "--from", str(lossy.state))
    assert f"4 rounds would be added: {right:,} input" in out
    assert "--apply" in out
    assert "6 calls of these transcripts are counted already" in said


def test_what_is_filled_in_is_marked_wherever_it_is_told(lossy: Lossy) -> None:
    assert lossy.fill("--apply")["done"] is True
    session = lossy.ask("show", ID)
    marks = [row.get("backfilled", False) for row in session["rounds"]]
    assert marks == [name in lossy.lost for name in lossy.calls]
    assert session["backfilled_rounds"] == 4
    assert session["total_input_tokens"] == sum(tokens for _, tokens in lossy.calls.values())
    assert session["session_id"] == KEY
    assert {row["source"] for row in session["rounds"] if row.get("backfilled")} == {"openclaw"}
    assert not any(row.get("messages") or row.get("answer") for row in session["rounds"] if row.get("backfilled"))
    compared = lossy.ask("reconcile", "--days", "30")
    assert compared["transcript_only"]["backfilled"] == compared["transcript_only"]["rounds"] == 4


def test_filling_in_twice_adds_nothing(lossy: Lossy) -> None:
    lossy.fill("--apply")
    again = lossy.fill("--apply")
    assert (again["rounds"], again["done"], again["counted_already"]) == (0, False, 10)
    assert lossy.total == 10


def test_a_line_that_turns_up_later_takes_the_place_of_what_was_filled_in(lossy: Lossy) -> None:
    lossy.fill("--apply")
    found = lossy.folder / "found.log"
    name = sorted(lossy.lost)[0]
    found.write_bytes(lossy.line(name, output=77))
    run("ingest", "--once", "--data-dir", lossy.folder / "data", "--log-path", found)
    assert lossy.total == 10
    (row,) = [r for r in lossy.ask("show", KEY)["rounds"] if r["response_id"] == f"chatcmpl-{name}"]
    # The gateway is believed, and its line is no filling.
    assert (row["source"], row["output_tokens"], "backfilled" in row) == ("higress", 77, False)
    assert lossy.ask("show", KEY)["backfilled_rounds"] == 3


def test_transcripts_that_are_followed_later_count_no_call_twice(lossy: Lossy) -> None:
    lossy.fill("--apply")
    run("ingest", "--once", "--data-dir", lossy.folder / "data", "--log-path", lossy.log, "--log-path", lossy.state)
    assert lossy.total == 10


def test_what_reads_the_log_meanwhile_goes_on(lossy: Lossy) -> None:
    reading = start("ingest", "--data-dir", lossy.folder / "data", "--log-path", lossy.log)
    try:
        wait_for("the log is read", lambda: (lossy.folder / "data").exists() and lossy.total == 6)
        assert lossy.fill("--apply")["rounds"] == 4
        assert reading.poll() is None
        with lossy.log.open("ab") as file:
            file.write(logged("chatcmpl-new", BEGIN + 300 * MINUTE, session=ID))
        wait_for("the new line is counted", lambda: lossy.total == 11)
    finally:
        end([reading])
    out, _ = run("doctor", "--deep", "--data-dir", lossy.folder / "data", code=None)
    assert "every sum was added up anew" in out
    assert "the database:" not in out


def test_filling_in_does_not_make_the_folder_a_source(lossy: Lossy) -> None:
    lossy.fill("--apply")
    known = json.loads(run("doctor", "--json", "--data-dir", lossy.folder / "data", code=None)[0])
    assert [source["path"] for source in known["sources"]] == [str(lossy.log)]


def test_a_folder_that_is_followed_has_nothing_to_fill_in(lossy: Lossy) -> None:
    found = lossy.fill("--log-path", str(lossy.state), "--apply")
    assert found["rounds"] == 0
    assert "A source reads this folder" in found["note"]
    assert lossy.ask("stats-model", "--log-path", str(lossy.state))["totals"]["rounds"] == 10


def test_only_the_period_that_is_asked_for_is_filled_in(lossy: Lossy) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((BEGIN + 70 * MINUTE) / 1000))
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((BEGIN + 101 * MINUTE) / 1000))
    assert lossy.fill("--since", at, "--until", until)["rounds"] == 2
    assert lossy.fill("--days", "1")["rounds"] == 0
    _, said = lossy.said("backfill", "--from", str(lossy.state), "--since", until, "--until", at, code=2)
    assert "before it begins" in said


def test_calls_past_the_gateway_are_added_only_when_asked_for(lossy: Lossy) -> None:
    openclaw = Database(lossy.folder / "other")
    openclaw.name("b-id", "agent:main:direct")
    openclaw.write(
        "b-id",
        header("b-id", BEGIN),
        answered("b1", BEGIN + MINUTE, model="direct-model"),
        answered("b2", BEGIN + 80 * MINUTE, responseId=None),
        answered("b3", BEGIN + 90 * MINUTE, usage={}, stopReason="error"),
    )
    openclaw.close()
    words = ("backfill", "--from", str(lossy.folder / "other"))
    found = lossy.ask(*words)
    assert (found["rounds"], found["past_gateway"], found["without_id"], found["without_counts"]) == (0, 1, 1, 1)
    more = lossy.ask(*words, "--past-gateway", "--apply")
    assert (more["rounds"], more["done"]) == (1, True)
    assert lossy.total == 7


def test_a_folder_that_is_none_of_openclaws_is_refused(lossy: Lossy, tmp_path: Path) -> None:
    _, said = lossy.said("backfill", "--from", str(tmp_path), code=2)
    assert "no state folder of OpenClaw" in said


def test_the_pages_say_what_was_filled_in(lossy: Lossy) -> None:
    lossy.fill("--apply")
    with daemon(Place(lossy.folder, lossy.log, lossy.folder / "data", Expected())) as served, served.client() as client:
        session = client.get("/session", params={"id": KEY}).text
        compared = client.get("/reconcile").text
    assert session.count(">filled in</span>") == 4
    assert "rounds were filled in from transcripts" in session
    assert "of the transcripts’ rounds were filled in" in compared
