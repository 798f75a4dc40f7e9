"""From Python: calls are recorded however they end, and every answer is what their records sum up to."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import monitor
from monitor import ModelPricing, UsageMonitor, get_usage_monitor
from monitor.config import ConfigError
from monitor.sources.usage_log.records import BadRecord
from monitor.sources.usage_log.tokens import NoUsage
from tests.helpers import environment, finished, script

ZONE = ZoneInfo("Asia/Shanghai")
#: Per thousand tokens in and out, in CNY: what the usage list says, written down here by hand.
PRICES = {"qwen-plus": (0.004, 0.012), "gpt-4o": (0.035, 0.105), "glm-4-flash": (0.0, 0.0)}


def today() -> date:
    return datetime.now(ZONE).date()


def at(days_ago: int, hour: int, minute: int = 0) -> float:
    day = today() - timedelta(days=days_ago)
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE).timestamp()


@pytest.fixture
def m(tmp_path: Path) -> Iterator[UsageMonitor]:
    made = UsageMonitor(tmp_path / "records", timezone="Asia/Shanghai")
    yield made
    made.close()


def written(m: UsageMonitor) -> list[dict[str, Any]]:
    """The records as they stand in the files."""
    paths = sorted(m.folder.glob("????-??-??.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def some_days(m: UsageMonitor) -> list[dict[str, Any]]:
    """Calls of four days by two users, some slow, some failed, one of a model without a price."""
    made = []
    for days_ago in (0, 1, 2, 3):
        for number in range(5 + days_ago):
            model = ("qwen-plus", "gpt-4o", "glm-4-flash", "never-heard-of")[number % 4]
            made.append(
                m.record_usage(
                    model=model,
                    function=("live_analysis", "summary")[number % 2],
                    input_tokens=1000 * (number + 1),
                    output_tokens=100 * (days_ago + 1),
                    duration_ms=1000.0 * number * (days_ago + 1),
                    success=number % 3 != 2,
                    user_id=("user_1", "user_2", None)[number % 3],
                    session_id=f"session_{days_ago}",
                    timestamp=at(days_ago, 3 * number % 24),
                )
            )
    return made


def sums(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    records = list(records)
    cost = sum(
        (r["input_tokens"] * PRICES[r["model"]][0] + r["output_tokens"] * PRICES[r["model"]][1]) / 1000
        for r in records
        if r["model"] in PRICES
    )
    return {
        "calls": len(records),
        "tokens": sum(r["input_tokens"] + r["output_tokens"] for r in records),
        "cost": pytest.approx(cost, abs=1e-9),
        "success_rate": pytest.approx(sum(r["success"] for r in records) / len(records), abs=1e-4) if records else None,
    }


def by(records: Iterable[dict[str, Any]], field: str) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for r in records:
        groups[r.get(field)].append(r)
    return groups


def of_day(records: Iterable[dict[str, Any]], days_ago: int) -> list[dict[str, Any]]:
    day = today() - timedelta(days=days_ago)
    return [r for r in records if datetime.fromtimestamp(r["timestamp"], ZONE).date() == day]


# -- every answer against plain sums --------------------------------------------------------------


def test_a_call_is_recorded_as_the_contract_says(m: UsageMonitor) -> None:
    before = time.time()
    record = m.record_usage(
        model="qwen-plus", function="live_analysis", input_tokens=1000, output_tokens=500, duration_ms=1234.5,
        success=True, user_id="user_123", session_id="session_abc",
    )  # fmt: skip
    assert written(m) == [record]
    assert before <= record["timestamp"] <= time.time()
    assert {**record, "id": "", "timestamp": 0} == {
        "id": "", "timestamp": 0, "user_id": "user_123", "session_id": "session_abc", "model": "qwen-plus",
        "function": "live_analysis", "input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500, "cost": 0.01,
        "currency": "CNY", "duration_ms": 1234.5, "success": True,
    }  # fmt: skip
    summary = m.get_daily_summary()
    assert (summary.total_calls, summary.total_tokens, summary.total_cost, summary.currency) == (1, 1500, 0.01, "CNY")
    assert summary.costs == {"CNY": 0.01}
    assert summary.success_rate == 1.0


def test_summaries_by_day_are_the_sums_of_the_records(m: UsageMonitor) -> None:
    records = some_days(m)
    for days_ago in range(5):
        summary = m.get_daily_summary(days_ago=days_ago)
        day = of_day(records, days_ago)
        right = sums(day)
        assert summary.date == (today() - timedelta(days=days_ago)).isoformat()
        assert summary.total_calls == right["calls"]
        assert summary.total_tokens == right["tokens"]
        assert summary.total_cost == right["cost"]
        assert summary.success_rate == right["success_rate"]
        for rows, field in ((summary.by_model, "model"), (summary.by_function, "function")):
            groups = by(day, field)
            assert set(rows.keys()) == set(groups)
            for name, row in rows.items():
                assert row["calls"] == len(groups[name])
                assert row["total_tokens"] == sums(groups[name])["tokens"]
                assert rows[name] is row
                if field != "model" or name in PRICES:
                    assert row["cost"] is None or row["cost"] == sums(groups[name])["cost"]
    assert m.get_daily_summary(0).by_model["never-heard-of"].cost is None


def test_the_month_and_its_days_are_the_sums_of_the_records(m: UsageMonitor) -> None:
    records = some_days(m)
    month = m.get_monthly_summary()
    of_month = [r for r in records if datetime.fromtimestamp(r["timestamp"], ZONE).date().month == today().month]
    right = sums(of_month)
    assert (month.total_calls, month.total_tokens) == (right["calls"], right["tokens"])
    assert month.total_cost == right["cost"]
    assert month.daily_average.calls == pytest.approx(len(of_month) / today().day, abs=0.01)
    trend = m.get_cost_trend(days=6)
    assert [row["date"] for row in trend] == [(today() - timedelta(days=n)).isoformat() for n in range(5, -1, -1)]
    for days_ago in range(6):
        row = trend[(today() - timedelta(days=days_ago)).isoformat()]
        assert row.calls == len(of_day(records, days_ago))


def test_users_hours_and_slow_calls_are_those_of_the_records(m: UsageMonitor) -> None:
    records = some_days(m)
    users = m.get_top_users(limit=5, days=7)
    groups = by(records, "user_id")
    assert {row["user_id"]: row["total_tokens"] for row in users} == {
        name or "(no user)": sums(group)["tokens"] for name, group in groups.items()
    }
    tokens = [row.total_tokens for row in users]
    assert tokens == sorted(tokens, reverse=True)
    costs = [row.cost or 0 for row in m.get_top_users(limit=2, days=7, by="cost")]
    assert len(costs) == 2
    assert costs == sorted(costs, reverse=True)
    hours: dict[int, int] = defaultdict(int)
    for r in records:
        hours[datetime.fromtimestamp(r["timestamp"], ZONE).hour] += 1
    assert {row["hour"]: row["calls"] for row in m.get_hourly(days=4) if row["calls"]} == hours
    slow = sorted((r["duration_ms"] for r in records if r["duration_ms"] >= 5000), reverse=True)
    assert [row["duration_ms"] for row in m.get_slow_calls(min_ms=5000)] == slow


def test_records_come_back_as_they_were_written(m: UsageMonitor) -> None:
    records = sorted(some_days(m), key=lambda r: r["timestamp"])
    found = m.get_records(days=4)
    names = ("user_id", "session_id", "model", "function", "input_tokens", "output_tokens", "total_tokens", "success")
    assert sorted(
        ([r.timestamp, r.cost, r.duration_ms, *(r[name] or "" for name in names)] for r in found), key=str
    ) == sorted(
        (
            [round(r["timestamp"], 3), r.get("cost"), round(r["duration_ms"]), *(r.get(name) or "" for name in names)]
            for r in records
        ),
        key=str,
    )
    assert len(m.get_records(days=1)) == len(of_day(records, 0))


def test_a_report_holds_every_part(m: UsageMonitor) -> None:
    records = some_days(m)
    path = m.export_report(days=7)
    assert path.parent == m.folder
    datetime.strptime(path.name, "usage_report_%Y%m%d_%H%M%S.json").replace(tzinfo=UTC)
    report = json.loads(path.read_text())
    assert report["summary"]["total_calls"] == len(records)
    assert report["summary"]["total_cost"] == sums(records)["cost"]
    assert sum(day["calls"] for day in report["daily"]) == len(records)
    assert sum(hour["calls"] for hour in report["hourly"]) == len(records)
    assert {user["user_id"] for user in report["top_users"]} == {"user_1", "user_2", "(no user)"}
    assert path.stat().st_mode & 0o777 == 0o600
    # Reading goes on beside it.
    assert m.get_daily_summary(0).total_calls == 5


def test_nothing_recorded_yet_is_answered_with_nothing(m: UsageMonitor) -> None:
    summary = m.get_daily_summary()
    assert (summary.total_calls, summary.total_cost, summary.costs, summary.by_model) == (0, 0, {}, [])
    assert m.get_records() == m.get_slow_calls() == m.get_anomalies() == m.get_top_users() == []


def test_a_given_cost_is_what_the_call_cost(m: UsageMonitor) -> None:
    m.record_usage(model="qwen-plus", input_tokens=1000, output_tokens=500, cost=3.5)
    m.record_usage(model="never-heard-of", cost=0.25, currency="USD")
    summary = m.get_daily_summary()
    assert summary.total_cost == 3.5
    assert summary.costs == {"CNY": 3.5, "USD": 0.25}


def test_other_price_lists_are_used_where_they_are_configured(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'schema = 1\n[[price]]\nmatch = ["qwen-plus"]\ncurrency = "USD"\nper = 1000\ninput = "1"\noutput = "2"\n'
    )
    config = tmp_path / "session-monitor.toml"
    config.write_text('[prices]\noverlay = "mine.toml"\n[usage]\ncurrency = "USD"\n')
    m = UsageMonitor(tmp_path / "records", config=config)
    assert m.record_usage(model="qwen-plus", input_tokens=1000, output_tokens=1000)["cost"] == 3.0
    assert (m.get_daily_summary().total_cost, m.get_daily_summary().currency) == (3.0, "USD")
    m.close()


def test_a_day_whose_file_is_removed_goes_from_every_answer(m: UsageMonitor) -> None:
    records = some_days(m)
    assert m.get_cost_trend(days=4)[2].calls == len(of_day(records, 1))
    (m.folder / f"{today() - timedelta(days=1)}.jsonl").unlink()
    left = [r for r in records if r not in of_day(records, 1)]
    assert m.get_daily_summary(days_ago=1).total_calls == 0
    assert sum(row["calls"] for row in m.get_cost_trend(days=4)) == len(left)
    assert len(m.get_records(days=4)) == len(left)
    assert {row["user_id"]: row["calls"] for row in m.get_top_users()} == {
        name or "(no user)": len(group) for name, group in by(left, "user_id").items()
    }


# -- one for a folder, many threads and processes -------------------------------------------------


def test_there_is_one_monitor_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = get_usage_monitor()
    assert first.folder == tmp_path / "records" / "ai_usage"
    assert get_usage_monitor("records/ai_usage") is first is get_usage_monitor()
    assert get_usage_monitor(tmp_path / "other") is not first
    assert not first.folder.exists()
    first.close()


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, monitor; print([m for m in sys.modules if m.startswith('monitor.') or m == 'pydantic'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "[]"
    assert callable(monitor.get_usage_monitor)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        monitor.nothing  # noqa: B018


def test_many_threads_record_and_ask_at_once(m: UsageMonitor) -> None:
    def work(thread: int) -> None:
        for number in range(100):
            m.record_usage(model="qwen-plus", input_tokens=1, output_tokens=1, user_id=f"user {thread}")
            if number % 40 == 0:
                m.get_daily_summary()

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["user_id"]: row["calls"] for row in m.get_top_users()} == {f"user {n}": 100 for n in range(6)}


def test_many_processes_record_and_ask_at_once(m: UsageMonitor) -> None:
    code = """
import os, sys
from monitor import get_usage_monitor
m = get_usage_monitor(sys.argv[1])
for number in range(60):
    m.record_usage(model="qwen-plus", input_tokens=10, output_tokens=1, user_id=sys.argv[2])
    if number % 20 == 0:
        own = {row["user_id"]: row["calls"] for row in m.get_top_users()}[sys.argv[2]]
        assert own == number + 1, (own, number)
"""
    finished([script(code, m.folder, f"user {n}") for n in range(4)])
    assert {row["user_id"]: row["calls"] for row in m.get_top_users()} == {f"user {n}": 60 for n in range(4)}


def test_a_forked_process_records_and_asks_beside_its_parent(m: UsageMonitor) -> None:
    code = """
import os, sys
from monitor import get_usage_monitor
m = get_usage_monitor(sys.argv[1])
m.record_usage(model="qwen-plus", input_tokens=1, output_tokens=1, user_id="parent")
assert m.get_daily_summary().total_calls == 1
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        for _ in range(20):
            m.record_usage(model="qwen-plus", input_tokens=1, output_tokens=1, user_id=f"child {number}")
            calls = {row["user_id"]: row["calls"] for row in m.get_top_users()}
        os._exit(calls[f"child {number}"] != 20)
    children.append(pid)
assert m.get_daily_summary().total_calls >= 1
assert all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in children)
assert m.get_daily_summary().total_calls == 61
"""
    finished([script(code, m.folder)])
    assert m.get_daily_summary().total_calls == 61


# -- calls that are timed -------------------------------------------------------------------------

ANSWER = {
    "id": "chatcmpl-1",
    "model": "gpt-4o",
    "usage": {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 60}},
}


def test_a_tracked_call_is_timed_and_its_answer_counted(m: UsageMonitor) -> None:
    with m.track(function="chat", user_id="u") as call:
        call.usage(ANSWER)
        call.set(session_id="s")
    (record,) = written(m)
    assert (record["model"], record["response_id"], record["function"]) == ("gpt-4o", "chatcmpl-1", "chat")
    assert (record["input_tokens"], record["output_tokens"], record["cached_tokens"]) == (100, 20, 60)
    assert (record["user_id"], record["session_id"], record["success"]) == ("u", "s", True)
    assert 0 <= record["duration_ms"] < 60_000


class RateLimited(Exception):
    status_code = 429


def test_a_call_that_fails_is_recorded_and_its_exception_goes_on(m: UsageMonitor) -> None:
    with pytest.raises(RateLimited), m.track(model="gpt-4o", function="chat"):
        raise RateLimited
    with m.track(model="gpt-4o") as call:
        call.fail(status=503)
    with pytest.raises(KeyboardInterrupt), m.track(model="gpt-4o"):
        raise KeyboardInterrupt
    assert [(r["success"], r.get("status")) for r in written(m)] == [(False, 429), (False, 503), (False, None)]
    assert "input_tokens" not in written(m)[0]
    assert m.get_daily_summary().success_rate == 0.0


def test_async_calls_are_timed_as_well(m: UsageMonitor) -> None:
    @m.tracked(model="gpt-4o")
    async def ask(fails: bool) -> dict[str, Any]:
        """Ask something."""
        await asyncio.sleep(0)
        if fails:
            raise RateLimited
        return ANSWER

    async def go() -> None:
        async with m.track(model="gpt-4o", function="block") as call:
            await asyncio.sleep(0)
            call.usage(ANSWER["usage"])
        found = await asyncio.gather(ask(False), ask(True), ask(False), return_exceptions=True)
        assert found[0] == ANSWER
        assert isinstance(found[1], RateLimited)

    asyncio.run(go())
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask something.")
    found = [(r["function"], r["success"], r.get("input_tokens")) for r in written(m)]
    assert sorted(found, key=str) == [
        ("ask", False, None),
        ("ask", True, 100),
        ("ask", True, 100),
        ("block", True, 100),
    ]


def test_a_cancelled_call_is_a_failed_one(m: UsageMonitor) -> None:
    async def go() -> None:
        began = asyncio.Event()

        @m.tracked(model="gpt-4o")
        async def ask() -> None:
            began.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(ask())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert [r["success"] for r in written(m)] == [False]


def test_functions_and_streams_are_decorated(m: UsageMonitor) -> None:
    @m.tracked(model="gpt-4o", function="named", user_id="u")
    def ask(question: str, *, loud: bool = False) -> SimpleNamespace:
        return SimpleNamespace(text=question.upper() if loud else question, usage=SimpleNamespace(**ANSWER["usage"]))  # type: ignore[arg-type]

    @m.tracked(model="gpt-4o")
    def stream() -> Iterator[dict[str, Any]]:
        yield {"delta": "a", "usage": None}
        yield {"delta": "b", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}

    @m.tracked(model="gpt-4o")
    async def stream_async() -> AsyncIterator[dict[str, Any]]:
        yield {"delta": "a"}
        yield {"usage": {"input_tokens": 8, "output_tokens": 3}}

    @m.tracked(model="gpt-4o")
    def breaks() -> Iterator[int]:
        yield 1
        raise RateLimited

    async def go() -> list[Any]:
        return [piece async for piece in stream_async()]

    assert ask("hello", loud=True).text == "HELLO"
    assert [piece.get("delta") for piece in stream()] == ["a", "b"]
    assert len(asyncio.run(go())) == 2
    with pytest.raises(RateLimited):
        list(breaks())
    assert [(r["function"], r.get("input_tokens"), r["success"]) for r in written(m)] == [
        ("named", 100, True),
        ("stream", 7, True),
        ("stream_async", 8, True),
        ("breaks", None, False),
    ]


def test_an_sdk_object_may_be_given_with_the_record(m: UsageMonitor) -> None:
    record = m.record_usage("claude-sonnet-4-6", usage={"input_tokens": 10, "output_tokens": 5,
                                                        "cache_read_input_tokens": 90})  # fmt: skip
    assert (record["input_tokens"], record["cached_tokens"], record["total_tokens"]) == (100, 90, 105)
    assert m.record_usage("mine", usage=ANSWER)["response_id"] == "chatcmpl-1"
    with pytest.raises(NoUsage):
        m.record_usage("gpt-4o", usage="none")


def test_many_records_are_written_or_none(m: UsageMonitor) -> None:
    with pytest.raises(BadRecord, match="record 2"):
        m.record_many([{"model": "a"}, {"model": ""}])
    assert not m.folder.exists()
    assert len(m.record_many([{"model": "a"}, {"model": "b"}])) == 2
    assert len(written(m)) == 2


def test_a_record_that_is_not_right_is_refused(m: UsageMonitor) -> None:
    with pytest.raises(BadRecord, match="input_tokens"):
        m.record_usage(model="qwen-plus", input_tokens=-1)
    with pytest.raises(BadRecord, match="no field"):
        m.record_usage(model="qwen-plus", tokens=5)


def test_a_full_or_forbidden_folder_stops_no_call(m: UsageMonitor, caplog: pytest.LogCaptureFixture) -> None:
    m.folder.parent.mkdir(exist_ok=True)
    m.folder.write_text("in the way")
    with m.track(model="gpt-4o") as call:
        call.usage(ANSWER)
    assert "could not be recorded" in caplog.text
    with pytest.raises(OSError, match="records"):
        m.record_usage(model="gpt-4o")


def test_synced_records_are_records(tmp_path: Path) -> None:
    m = UsageMonitor(tmp_path / "records", sync=True)
    m.record_usage(model="qwen-plus", input_tokens=1, output_tokens=1)
    assert m.get_daily_summary().total_calls == 1
    m.close()


def test_a_zone_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="time zone"):
        UsageMonitor(tmp_path, timezone="Mars/Olympus")


def test_the_store_can_be_elsewhere(tmp_path: Path) -> None:
    m = UsageMonitor(tmp_path / "records", data_dir=tmp_path / "data")
    m.record_usage(model="qwen-plus", input_tokens=1, output_tokens=1)
    assert m.get_daily_summary().total_calls == 1
    assert (tmp_path / "data").is_dir()
    assert sorted(os.listdir(m.folder)) == [f"{datetime.now(m._files.zone).date()}.jsonl"]
    m.close()


# -- prices ---------------------------------------------------------------------------------------


def test_prices_are_those_of_the_usage_list() -> None:
    for model, (into, out) in PRICES.items():
        found = ModelPricing.get_pricing(model)
        assert found is not None
        assert (found["input"], found["output"], found["currency"]) == (into, out, "CNY")
        assert ModelPricing.calculate_cost(model, 1000, 500) == pytest.approx(into + out / 2, abs=1e-9)
    assert ModelPricing.calculate_cost("qwen-plus", 1000, 500) == 0.01
    named = ModelPricing.get_pricing("qwen-plus")
    assert named is not None
    assert named["display_name"] == "Qwen Plus"
    assert "qwen-plus" in named["source"]
    assert "qwen-plus" in ModelPricing.list_models()


def test_models_outside_of_the_usage_list_have_their_own_price_or_none() -> None:
    found = ModelPricing.get_pricing("gpt-5.4")
    assert found is not None
    assert (found["input"], found["output"], found["cached"], found["currency"]) == (0.0025, 0.015, 0.00025, "USD")
    assert ModelPricing.calculate_cost("gpt-5.4", 1000, 500, cached_tokens=400) == pytest.approx(0.0091, abs=1e-9)
    assert ModelPricing.get_pricing("never-heard-of") is None
    assert ModelPricing.calculate_cost("never-heard-of", 1000, 500) is None
