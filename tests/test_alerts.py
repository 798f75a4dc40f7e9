"""Who is told of a budget: real messages to a real receiver, once, also when it was away."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitor import alerts
from monitor.alerts import RETRY_AFTER_S, MeterWatch, Teller, untold_silences
from monitor.budgets import BudgetBook
from monitor.config import AlertSettings, BudgetSettings
from monitor.prices.money import Cost
from monitor.rounds import Round, Usage
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore
from tests.answers.made import made
from tests.helpers import end, run, start, wait_for
from tests.openclaw import Database, answered, header, logged
from tests.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as found:
        yield found


def budget(**given: Any) -> BudgetSettings:
    return BudgetSettings.model_validate({"name": "team", "tokens": 100, "period": "month", **given})


@contextmanager
def telling(folder: Path, *settings: BudgetSettings) -> Iterator[tuple[SqliteStore, Callable[[int, int], None]]]:
    """A store whose budgets are told of, and a way to use tokens."""
    book = BudgetBook(tuple(one.budget() for one in settings))
    with closing(SqliteStore(folder, budgets=book)) as store:
        teller = Teller(store, settings, book, lambda name: f"http://localhost:8888/session?id={name}")
        teller.start()

        def spend(number: int, tokens: int) -> None:
            now = round(datetime.now(UTC).timestamp() * 1000)
            store.add(Batch(rounds=[made(number, Cost("unpriced"), started_at=now, usage=Usage(tokens, 0))]))
            teller.poke()

        yield store, spend
        teller.stop(timeout=30)


def states(store: SqliteStore) -> dict[str, tuple[str, str | None]]:
    return {d.channel: (d.state, d.error) for alert in store.alerts() for d in alert.deliveries}


def test_each_share_is_told_once_also_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    settings = budget(notify=[f"json://localhost:{receiver.port}/told"])
    with telling(tmp_path, settings) as (_, spend):
        spend(1, 80)
        wait_for("the first message", lambda: receiver.got)
        spend(2, 30)
        wait_for("the second message", lambda: len(receiver.got) == 2)
    with telling(tmp_path, settings) as (store, spend):
        spend(3, 500)
        wait_for("everything is sent", lambda: not store.due(1 << 60))
    assert [(path, body["title"], body["message"]) for path, body in receiver.got] == [
        ("/told", "Budget team is running out", "80 % of 100 tokens this month"),
        ("/told", "Budget team is used up", "110 % of 100 tokens this month"),
    ]
    assert [body["type"] for _, body in receiver.got] == ["warning", "failure"]


def test_what_waits_when_the_process_ends_is_sent_by_the_next(tmp_path: Path, receiver: Receiver) -> None:
    settings = budget(notify=[f"json://localhost:{receiver.port}/told"])
    book = BudgetBook((settings.budget(),))
    now = round(datetime.now(UTC).timestamp() * 1000)
    with closing(SqliteStore(tmp_path, budgets=book)) as store:
        store.add(Batch(rounds=[made(1, Cost("unpriced"), started_at=now, usage=Usage(90, 0))]))
    with telling(tmp_path, settings):
        wait_for("the message", lambda: receiver.got)
    assert len(receiver.got) == 1


def test_a_channel_that_is_away_is_tried_again(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "RETRY_AFTER_S", (0, 0, *RETRY_AFTER_S))
    receiver.refuse = 2
    with telling(tmp_path, budget(notify=[f"json://localhost:{receiver.port}/told"])) as (store, spend):
        spend(1, 90)
        wait_for("the message", lambda: receiver.got)
        wait_for("it is written down", lambda: states(store) == {"json": ("sent", None)})
    assert len(receiver.got) == 1


def test_a_channel_that_stays_away_has_failed_and_says_why_without_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(alerts, "RETRY_AFTER_S", (0,))
    addresses = ["json://user:verysecret@localhost:1/told", "nonsense://alsosecret"]
    with (
        contextlib.ExitStack() as ending,
        telling(tmp_path, budget(notify=addresses, on_exceeded={"webhook": "http://localhost:1/hiddenpath"})) as (
            store,
            spend,
        ),
    ):
        ending.callback(logging.getLogger().removeHandler, handler)
        spend(1, 100)
        wait_for("all have failed", lambda: {state for state, _ in states(store).values()} == {"failed"})
        found = states(store)
    assert set(found) == {"json", "nonsense", "webhook"}
    assert found["nonsense"][1] == "its address is none that Apprise understands"
    for text in (*(error or "" for _, error in found.values()), said.getvalue()):
        assert "verysecret" not in text
        assert "alsosecret" not in text
        assert "hiddenpath" not in text


def test_an_exceeded_budget_runs_a_command_and_calls_a_webhook_with_the_facts(
    tmp_path: Path, receiver: Receiver
) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())", str(told)]
    settings = BudgetSettings.model_validate(
        {
            "name": "each session",
            "tokens": 50,
            "period": "session",
            "on_exceeded": {"command": command, "webhook": f"http://127.0.0.1:{receiver.port}/cut-off"},
        }
    )
    with telling(tmp_path / "data", settings) as (store, spend):
        spend(1, 45)
        spend(2, 10)
        wait_for("both are done", lambda: set(states(store).values()) == {("sent", None)})
    facts = json.loads(told.read_text())
    assert receiver.got == [("/cut-off", facts)]
    assert facts["session"] == "agent:main:main"
    assert facts["url"] == "http://localhost:8888/session?id=agent:main:main"
    assert (facts["used"], facts["limit"], facts["exceeded"]) == ({"tokens": 55}, {"tokens": 50}, True)
    assert facts["text"] == "110 % of 50 tokens in this session"


def test_a_command_that_fails_says_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "RETRY_AFTER_S", ())
    command = [sys.executable, "-c", "import sys; sys.exit('no such consumer')"]
    with telling(tmp_path, budget(on_exceeded={"command": command})) as (store, spend):
        spend(1, 100)
        wait_for("it has failed", lambda: states(store).get("command", ("", ""))[0] == "failed")
        assert states(store)["command"][1] == f"{sys.executable} ended with 1: no such consumer"


def test_a_receiver_that_hangs_does_not_hold_up_what_is_read(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(alerts, "_notify", lambda *_: released.wait(60))
    with telling(tmp_path, budget(notify=[f"json://localhost:{receiver.port}/told"])) as (store, spend):
        spend(1, 90)
        for number in range(2, 30):
            spend(number, 1)
        assert sum(part.counts.rounds for part in store.slices()) == 29
        released.set()


def test_a_call_that_two_sources_saw_fires_nothing_by_being_counted_twice(tmp_path: Path) -> None:
    settings = budget(notify=["json://localhost:1/told"])
    now = round(datetime.now(UTC).timestamp() * 1000)
    seen = {"started_at": now, "response_id": "chatcmpl-1", "usage": Usage(60, 0)}
    with closing(SqliteStore(tmp_path, budgets=BudgetBook((settings.budget(),)))) as store:
        store.add(Batch(rounds=[made(1, Cost("unpriced"), **seen)]))
        store.add(Batch(rounds=[made(2, Cost("unpriced"), source="usage", **seen)]))
        assert sum(part.tokens for part in store.budget_sums("team")) == 60
        assert store.alerts() == []


# -- silent meters ---------------------------------------------------------------------------------


MINUTE = 60_000
NOW = 1_795_294_800_000


class Meters:
    """A store that two meters tell of calls, and who watches them."""

    def __init__(self, folder: Path, *notify: str, minutes: int = 30) -> None:
        self.folder = folder
        self.settings = AlertSettings.model_validate({"notify": list(notify), "silent_minutes": minutes})
        self.read = True
        self._number = 0

    def called(self, kind: str, *minutes: int) -> None:
        """`kind` tells of calls that began so many minutes after NOW."""
        rounds = []
        for at in minutes:
            self._number += 1
            key = self._number.to_bytes(16, "big")
            rounds.append(PricedRound(Round(key=key, source=kind, started_at=NOW + at * MINUTE), Cost("none")))
        with closing(SqliteStore(self.folder)) as store:
            store.add(Batch(rounds=rounds))

    def look(self, minute: int, *, kinds: tuple[str, ...] = ("higress", "openclaw")) -> None:
        """Look after so many minutes, as a process that has just been started."""
        with closing(SqliteStore(self.folder)) as store:
            MeterWatch(store, kinds, self.settings, self.folder, lambda: self.read).look(NOW + minute * MINUTE)


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(body["title"], body["type"]) for _, body in receiver.got]


def test_a_silence_is_told_once_also_after_a_restart_and_so_is_its_end(tmp_path: Path, receiver: Receiver) -> None:
    found = Meters(tmp_path, f"json://localhost:{receiver.port}/told")
    found.called("higress", 0)
    found.called("openclaw", 0, 5, 10, 15, 20, 25)
    found.look(26)
    assert told(receiver) == []
    found.called("openclaw", 31)
    found.look(32)
    found.look(37)
    found.called("openclaw", 60, 90)
    found.look(1000)
    assert told(receiver) == [("The gateway's log is silent", "failure")]
    assert "no call since 2026-11-21T21:00:00Z, while OpenClaw's transcripts had 6" in receiver.got[0][1]["message"]
    # A line of before that comes late ends nothing.
    found.called("higress", 3)
    found.look(1005)
    assert len(receiver.got) == 1
    found.called("higress", 1010)
    found.look(1011)
    found.look(1012)
    assert told(receiver)[1:] == [("The gateway's log is back", "success")]
    found.called("openclaw", *range(1020, 1100, 10))
    found.look(1100)
    assert told(receiver)[2:] == [("The gateway's log is silent", "failure")]


def test_transcripts_that_nobody_writes_any_more_are_told(tmp_path: Path, receiver: Receiver) -> None:
    found = Meters(tmp_path, f"json://localhost:{receiver.port}/told", minutes=60)
    found.called("openclaw", 0)
    found.called("higress", 0, 10, 20, 30, 40, 59)
    found.look(60)
    assert told(receiver) == []
    found.called("higress", 61)
    found.look(62)
    assert told(receiver) == [("OpenClaw's transcripts are silent", "failure")]


def test_a_channel_that_was_away_hears_of_a_silence_later(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.refuse = 1
    found = Meters(tmp_path, f"json://localhost:{receiver.port}/secret-of-the-channel")
    found.called("openclaw", *range(0, 60, 10))
    found.look(60)
    assert told(receiver) == []
    [words] = untold_silences(tmp_path)
    assert "silent meter: json could not be told" in words
    assert "secret-of-the-channel" not in words + caplog.text
    found.look(65)
    found.look(70)
    assert told(receiver) == [("The gateway's log is silent", "failure")]
    assert untold_silences(tmp_path) == []
    assert oct((tmp_path / "silences.json").stat().st_mode & 0o777) == "0o600"


def test_an_address_that_is_none_is_not_tried_again(tmp_path: Path) -> None:
    found = Meters(tmp_path, "nonsense://x")
    found.called("openclaw", *range(0, 60, 10))
    found.look(60)
    [words] = untold_silences(tmp_path)
    assert "none that Apprise understands" in words
    before = (tmp_path / "silences.json").read_bytes()
    found.look(65)
    assert (tmp_path / "silences.json").read_bytes() == before


def test_who_follows_one_meter_hears_of_no_silence(tmp_path: Path, receiver: Receiver) -> None:
    found = Meters(tmp_path, f"json://localhost:{receiver.port}/told")
    found.called("openclaw", *range(0, 60, 10))
    found.look(60, kinds=("openclaw", "usage"))
    assert told(receiver) == []


def test_a_log_that_waits_to_be_read_is_no_silence(tmp_path: Path, receiver: Receiver) -> None:
    found = Meters(tmp_path, f"json://localhost:{receiver.port}/told")
    found.read = False
    now = datetime.now(UTC).timestamp() * 1000
    found.called("openclaw", *(int((now - NOW) / MINUTE) - ago for ago in range(0, 60, 10)))
    with closing(SqliteStore(tmp_path)) as store:
        watch = MeterWatch(store, ("higress", "openclaw"), found.settings, tmp_path, lambda: found.read)
        watch.look_if_due()
        assert told(receiver) == []
        found.read = True
        watch.look_if_due()
        watch.look_if_due()
    assert told(receiver) == [("The gateway's log is silent", "failure")]


@pytest.mark.parametrize("follow", [True, False], ids=["daemon", "cron"])
def test_a_process_that_reads_tells_of_a_silent_meter(tmp_path: Path, receiver: Receiver, follow: bool) -> None:
    begin = round(datetime.now(UTC).timestamp() * 1000) - 3_600_000
    openclaw = Database(tmp_path / "state")
    openclaw.name("an-id", "agent:main:main")
    openclaw.write("an-id", header("an-id", begin), *(answered(f"a{n}", begin + n * 10 * MINUTE) for n in range(6)))
    openclaw.close()
    (tmp_path / "access.log").write_bytes(logged("chatcmpl-z", begin - MINUTE))
    config = tmp_path / "settings.toml"
    config.write_text(
        f'[alerts]\nnotify = ["json://localhost:{receiver.port}/told"]\n'
        f'[[sources]]\nkind = "openclaw"\npath = "{tmp_path / "state"}"\n'
        f'[[sources]]\nkind = "higress"\npath = "{tmp_path / "access.log"}"\n'
    )
    options = ("--config", config, "--data-dir", tmp_path / "data")
    if follow:
        process = start("ingest", *options)
        try:
            wait_for("the silence is told", lambda: receiver.got)
        finally:
            end([process])
    else:
        run("ingest", "--once", *options)
        run("ingest", "--once", *options)
    assert told(receiver) == [("The gateway's log is silent", "failure")]
    said, _ = run("doctor", *options, code=None)
    assert "! The gateway's log: no call since" in " ".join(said.split())
