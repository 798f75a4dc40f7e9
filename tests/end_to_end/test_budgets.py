"""Budgets and prices in the life of real processes: killed, started again, with new prices."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.budgets import Budget, BudgetBook, Limit
from monitor.samples import DEMO, Expected, lines
from monitor.store.sqlite import SqliteStore
from tests.helpers import end, run, start, totals, wait_for
from tests.receiver import Receiver
from tests.store.conformance import snapshot

TALK = replace(DEMO, name="talk", sessionless_share=0.1)
OVERLAY = """schema = 1
base_currency = "USD"
[fx]
CNY = { per_usd = "7.0", as_of = "2026-11-20" }
[[price]]
match = ["gpt-5.4", "qwen3.5-plus"]
currency = "EUR"
per = 1000
input = "0.5"
output = "1.25"
cached = "0.05"
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as found:
        yield found


def spent(folder: Path) -> int:
    with closing(SqliteStore(folder, read_only=True)) as store:
        found = totals(store.slices())
        return found.input_tokens + found.output_tokens


def test_an_alert_is_sent_once_although_the_process_is_killed_and_started_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    began = round((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000)
    # The first lines use between the half and the whole of the limit, the others the rest of it.
    expected = Expected()
    first: list[bytes] = []
    others: list[bytes] = []
    for record in lines(replace(TALK, start=began, total_sessions=None), seed=3, limit=120, expected=expected):
        used = expected.total.input_tokens + expected.total.output_tokens
        (first if used < 100_000 else others).append(record)
    config = tmp_path / "session-monitor.toml"
    log.touch()
    config.write_text(
        f"""
timezone = "UTC"
[[sources]]
path = "{log}"
[[budgets]]
name = "months"
tokens = 100_000
period = "month"
warn_at = [0.5, 1.0]
notify = ["json://localhost:{receiver.port}/told"]
"""
    )
    following = start("ingest", "--config", config, "--data-dir", data)
    try:
        log.write_bytes(b"".join(first))
        wait_for("the first message is taken, and that is written down", lambda: sent(data) == [0.5])
        following.send_signal(signal.SIGKILL)
        following.wait()
        following = start("ingest", "--config", config, "--data-dir", data)
        with log.open("ab") as file:
            file.writelines(others)
        wait_for("so is the second", lambda: sent(data) == [0.5, 1.0])
        following.send_signal(signal.SIGKILL)
        following.wait()
    finally:
        end([following])
    # One more reading by somebody else; a month may have ended meanwhile, which would begin another count.
    run("ingest", "--once", "--config", config, "--data-dir", data)
    assert [body["type"] for _, body in receiver.got] == ["warning", "failure"]
    out, _ = run("budget", "--json", "--config", config, "--data-dir", data, code=1)
    told = json.loads(out)
    assert told["exceeded"] == 1
    assert told["budgets"][0]["used"]["tokens"] == spent(data)
    assert {alert["share"] for alert in told["alerts"]} == {0.5, 1.0}
    assert all(alert["sent"] == ["json"] for alert in told["alerts"])


def sent(folder: Path) -> list[float]:
    """The shares that everybody was told of, the smallest first."""
    with closing(SqliteStore(folder, read_only=True)) as store:
        told = [a.share / 10**6 for a in store.alerts() if {d.state for d in a.deliveries} == {"sent"}]
    return sorted(told)


def _rounds(folder: Path) -> int:
    try:
        with closing(SqliteStore(folder, read_only=True)) as store:
            return totals(store.slices()).rounds
    except Exception:
        return 0


def test_prices_that_are_applied_to_the_past_give_what_a_fresh_reading_gives(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"".join(lines(TALK, seed=5, limit=400)))
    overlay, config = tmp_path / "prices.toml", tmp_path / "session-monitor.toml"
    config.write_text(f'timezone = "UTC"\n[[sources]]\npath = "{log}"\n')
    old, new = tmp_path / "old", tmp_path / "new"
    run("ingest", "--once", "--config", config, "--data-dir", old)
    with closing(SqliteStore(old, read_only=True)) as store:
        before = snapshot(store)
    overlay.write_text(OVERLAY)
    config.write_text(config.read_text() + f'[prices]\noverlay = "{overlay}"\n')
    out, _ = run("prices", "apply", "--json", "--config", config, "--data-dir", old)
    applied = json.loads(out)
    run("ingest", "--once", "--config", config, "--data-dir", new)
    with (
        closing(SqliteStore(old, read_only=True)) as repriced,
        closing(SqliteStore(new, read_only=True)) as fresh,
    ):
        assert repriced.verify() == []
        assert snapshot(repriced) == snapshot(fresh)
        assert snapshot(repriced) != before
        assert applied["rounds"] == totals(fresh.slices()).rounds
        eur = sum(part.counts.nano or 0 for part in fresh.slices() if part.price.currency == "EUR")
    assert applied["after"]["EUR"] == eur / 10**9
    assert "EUR" not in applied["before"]
    out, _ = run("prices", "apply", "--json", "--config", config, "--data-dir", old)
    assert json.loads(out)["changed"] == 0
    shutil.rmtree(new)


def test_a_running_process_takes_new_prices_without_being_started_anew(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    records = list(lines(TALK, seed=6, limit=200))
    log.write_bytes(b"".join(records[:100]))
    overlay, config = tmp_path / "prices.toml", tmp_path / "session-monitor.toml"
    overlay.write_text("schema = 1\n")
    config.write_text(f'[[sources]]\npath = "{log}"\n[prices]\noverlay = "{overlay}"\n')
    following = start("ingest", "--config", config, "--data-dir", data)

    def currencies() -> set[str | None]:
        with closing(SqliteStore(data, read_only=True)) as store:
            return {part.price.currency for part in store.slices()}

    try:
        wait_for("the first lines are read", lambda: _rounds(data) > 50)
        assert "EUR" not in currencies()
        overlay.write_text(OVERLAY)
        with log.open("ab") as file:
            file.writelines(records[100:])
        wait_for("new rounds have the new price", lambda: "EUR" in currencies())
        # A file with a mistake changes nothing, and nothing stops.
        overlay.write_text("schema = 2\n")
        run("ingest", "--once", "--config", config, "--data-dir", data, code=None)
        with log.open("ab") as file:
            file.writelines(lines(TALK, seed=7, limit=50))
        wait_for("reading goes on", lambda: _rounds(data) > 190)
    finally:
        end([following])


def test_a_new_budget_counts_what_was_there_before_it(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "access.log"
    log.write_bytes(b"".join(lines(TALK, seed=8, limit=200)))
    run("ingest", "--once", "--log-path", log, "--data-dir", data)
    book = BudgetBook((Budget("days", Limit(tokens=1), "day"),), "UTC")
    with closing(SqliteStore(data, budgets=book)) as store:
        counted: dict[int, int] = {}
        for part in store.budget_sums("days"):
            counted[part.at] = counted.get(part.at, 0) + part.tokens
        days = {
            round(datetime.fromisoformat(f"{bucket.label}T00:00+00:00").timestamp() * 1000): sum(
                (part.counts.input_tokens or 0) + (part.counts.output_tokens or 0) for part in bucket.slices
            )
            for bucket in store.buckets("day", "UTC")
            if bucket.label is not None
        }
    assert counted == days
