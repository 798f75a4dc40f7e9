"""The real server process, asked by the SDK's own client in both protocol eras."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent

from monitor.samples import DEMO, Expected, lines
from tests.faces.place import Place

pytestmark = pytest.mark.anyio
Mode = Literal["auto", "legacy"]
ERAS: tuple[Mode, ...] = ("auto", "legacy")
SESSION = "agent:main:main"


@asynccontextmanager
async def connected(place: Place, mode: Mode = "auto", *options: str) -> AsyncIterator[Client]:
    command, arguments = place.server(*options)
    async with Client(StdioServerParameters(command=command, args=arguments), mode=mode) as client:
        yield client


def text(result: CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def data(result: CallToolResult) -> Any:
    assert not result.is_error, text(result)
    return result.structured_content


@pytest.mark.parametrize("mode", ERAS)
async def test_an_agent_gets_the_right_figures_in_its_first_call(place: Place, mode: Mode) -> None:
    right = place.expected.sessions[SESSION]
    async with connected(place, mode) as client:
        result = await client.call_tool("get_session", {"session_id": SESSION})
        session = data(result)
        era = client.protocol_version
    assert era == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert session["session_id"] == SESSION
    assert session["messages_count"] == right.rounds
    assert session["total_input_tokens"] == right.input_tokens
    assert session["total_output_tokens"] == right.output_tokens
    assert session["failed_rounds"] == right.failed
    assert session["url"].endswith("/session?id=agent%3Amain%3Amain")
    assert session["cost"]["USD"] > 0
    assert "behind_bytes" not in session


async def test_a_price_file_that_is_broken_is_named_to_the_agent(place: Place) -> None:
    config = place.folder / "s.toml"
    config.write_text('[prices]\noverlay = "prices.toml"\n')
    (place.folder / "prices.toml").write_text('schema = 1\n[[price]]\nmatch = ["m"]\ncurrency = "USD"\ninput = "1"\n')
    async with connected(place, "auto", "--config", str(config)) as client:
        result = await client.call_tool("get_session", {"session_id": SESSION})
    assert result.is_error
    assert "prices.toml:2 (price 1): `per` must say" in text(result)


@pytest.mark.parametrize("mode", ERAS)
async def test_both_channels_carry_the_same_object(place: Place, mode: Mode) -> None:
    questions: list[tuple[str, dict[str, Any]]] = [
        ("get_session", {"session_id": SESSION}),
        ("get_session", {"session_id": SESSION, "response_format": "detailed"}),
        ("get_session", {}),
        ("list_sessions", {"sort_by": "cost", "limit": 5}),
        ("stats_by_model", {}),
        ("stats_by_date", {"timezone": "Asia/Kathmandu"}),
        ("spend_overview", {}),
        ("spend_overview", {"timezone": "Asia/Kathmandu"}),
        ("compare_models", {}),
        ("compare_models", {"session_id": SESSION}),
        ("compare_models", {"session_id": SESSION, "models": ["gpt-5-mini", "nobody's"]}),
        ("find_anomalies", {}),
        ("find_anomalies", {"days": 31, "limit": 3}),
        ("get_session", {"session_id": SESSION, "include_subagents": True}),
        ("reconcile", {}),
        ("reconcile", {"days": 366, "limit": 3}),
        ("session_url", {"session_id": SESSION}),
        ("source_health", {}),
    ]
    async with connected(place, mode) as client:
        for name, arguments in questions:
            result = await client.call_tool(name, arguments)
            assert json.loads(text(result)) == data(result), name
            assert "null" not in text(result).replace("nullable", ""), name
            assert ":[]" not in text(result), name


@pytest.mark.parametrize("mode", ERAS)
async def test_questions_of_the_last_days_count_every_round_of_a_log_of_just_now(place: Place, mode: Mode) -> None:
    expected = Expected()
    # Two hours' worth of talk in some minutes, two days ago and just now; the same at every hour of the day.
    quick = replace(DEMO, nights=False, pause=1, session_pause=1)
    with place.log.open("wb") as file:
        for hours, seed in ((50, 4), (2, 5)):
            recent = replace(quick, start=time.time_ns() // 1_000_000 - hours * 3_600_000)
            file.writelines(lines(recent, seed=seed, limit=200, expected=expected))
    days: dict[str, int] = {}
    for (_, _, quarter), cell in expected.cells.items():
        day = datetime.fromtimestamp(quarter / 1000, UTC).date().isoformat()
        days[day] = days.get(day, 0) + cell.rounds
    async with connected(place, mode) as client:
        overview = data(await client.call_tool("spend_overview", {"timezone": "UTC"}))
        today = datetime.fromisoformat(overview["as_of"]).date()
        compared = data(await client.call_tool("compare_models", {}))
        session = data(await client.call_tool("compare_models", {"session_id": SESSION, "models": ["gpt-5-mini"]}))
        unusual = data(await client.call_tool("find_anomalies", {"days": 5}))
        detailed = data(await client.call_tool("get_session", {"session_id": SESSION, "response_format": "detailed"}))
    assert overview["today"]["rounds"] == days.get(today.isoformat(), 0)
    assert overview["yesterday"]["rounds"] == days.get((today - timedelta(days=1)).isoformat(), 0)
    assert overview["this_month"]["rounds"] == sum(n for day, n in days.items() if day[:7] == today.isoformat()[:7])
    assert "No forecast" in overview["forecast"]["how"]
    assert compared["rounds"] == expected.total.rounds
    assert compared["rounds_compared"] == expected.total.rounds - expected.total.unmetered
    assert session["rounds"] == expected.sessions[SESSION].rounds
    [asked] = [row for row in session["rows"] if row["model"] == "gpt-5-mini"]
    assert asked["cost"]["USD"] > 0
    assert "its answers were not compared" in session["advice"]
    assert unusual["rounds"] == expected.total.rounds
    for row in unusual.get("rows", []):
        assert row["why"]
        assert row["url"].startswith("http://")
    assert detailed["trend"]["last_input"] > 0


async def test_text_only_leaves_the_structured_channel_out(place: Place) -> None:
    async with connected(place, "auto", "--text-only") as client:
        result = await client.call_tool("get_session", {"session_id": SESSION})
        tools = (await client.list_tools()).tools
    assert result.structured_content is None
    assert json.loads(text(result))["session_id"] == SESSION
    assert all(tool.output_schema is None for tool in tools)


async def test_every_tool_is_read_only_and_says_what_it_takes(place: Place) -> None:
    async with connected(place) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == [
        "get_session",
        "list_sessions",
        "stats_by_model",
        "stats_by_date",
        "get_round",
        "top_spenders",
        "spend_overview",
        "compare_models",
        "find_anomalies",
        "reconcile",
        "session_url",
        "source_health",
    ]
    for tool in tools:
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        assert tool.input_schema["additionalProperties"] is False
        assert tool.description is not None
        assert len(tool.description) < 2048


async def test_a_concise_session_is_a_small_answer(place: Place) -> None:
    async with connected(place) as client:
        listed = data(await client.call_tool("list_sessions", {"sort_by": "rounds", "limit": 3}))
        for row in listed["sessions"]:
            result = await client.call_tool("get_session", {"session_id": row["session_id"]})
            assert len(text(result)) < 1200


async def test_without_an_id_the_answer_says_where_the_own_id_stands(place: Place) -> None:
    async with connected(place) as client:
        answer = data(await client.call_tool("get_session", {}))
    assert "session_id" not in answer
    assert "Runtime:" in answer["note"]
    assert "session_status" in answer["note"]


async def test_an_unknown_session_is_an_error_that_names_the_nearest_ids(place: Place) -> None:
    async with connected(place) as client:
        result = await client.call_tool("get_session", {"session_id": "agent:main:mian"})
    assert result.is_error
    assert SESSION in text(result)
    assert "list_sessions" in text(result)


@pytest.mark.parametrize(
    ("name", "arguments", "hint"),
    [
        ("list_sessions", {"limitt": 3}, "limitt"),
        ("list_sessions", {"cursor": "made-up"}, "first page"),
        ("list_sessions", {"sort_by": "price"}, "cost"),
        ("stats_by_model", {"since": "last tuesday"}, "2026-02-01"),
        ("stats_by_date", {"timezone": "Mars/Olympus"}, "IANA"),
        ("stats_by_date", {"days": 0}, "days"),
        ("spend_overview", {"timezone": "Mars/Olympus"}, "IANA"),
        ("compare_models", {"session_id": "agent:main:mian"}, SESSION),
        ("compare_models", {"models": [str(n) for n in range(11)]}, "10 at most"),
        ("find_anomalies", {"days": 0}, "days"),
        ("find_anomalies", {"limit": 0}, "limit"),
    ],
)
async def test_a_wrong_argument_is_an_error_with_the_way_out(
    place: Place, name: str, arguments: dict[str, Any], hint: str
) -> None:
    async with connected(place) as client:
        result = await client.call_tool(name, arguments)
    assert result.is_error
    assert hint in text(result)


async def test_pages_of_sessions_hold_every_session_once(place: Place) -> None:
    ids: list[str] = []
    async with connected(place) as client:
        arguments: dict[str, Any] = {"limit": 4}
        while True:
            page = data(await client.call_tool("list_sessions", arguments))
            ids += [row["session_id"] for row in page["sessions"]]
            if "next_cursor" not in page:
                break
            arguments = {"limit": 4, "cursor": page["next_cursor"]}
    assert len(ids) == len(set(ids)) == page["total"]
    assert set(ids) == {name for name in place.expected.sessions if name is not None}


async def test_first_questions_are_not_shown_to_agents_unless_their_scope_is_open(place: Place) -> None:
    async with connected(place) as client:
        closed = data(await client.call_tool("list_sessions", {"limit": 100}))
    async with connected(place, "auto", "--content-scope", "agent:main:*") as client:
        opened = data(await client.call_tool("list_sessions", {"limit": 100}))
    assert not any("question" in row for row in closed["sessions"])
    shown = {row["session_id"] for row in opened["sessions"] if "question" in row}
    assert shown
    assert all(session_id.startswith("agent:main:") for session_id in shown)


async def test_what_was_just_written_is_in_the_next_answer(place: Place) -> None:
    whole = place.log.read_bytes()
    half = whole.index(b"\n", len(whole) // 2) + 1
    place.log.write_bytes(whole[:half])
    async with connected(place) as client:
        before = data(await client.call_tool("stats_by_model", {}))["totals"]["rounds"]
        with place.log.open("ab") as file:
            file.write(whole[half:])
        after = data(await client.call_tool("stats_by_model", {}))["totals"]["rounds"]
    assert before < after == place.expected.total.rounds


async def test_nothing_but_messages_is_written_to_standard_output(place: Place) -> None:
    command, arguments = place.server()
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    async with await anyio.open_process([command, *arguments], stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send(json.dumps(hello).encode() + b"\n")
        first = await process.stdout.receive()
        await process.stdin.aclose()
        rest = b"".join([piece async for piece in process.stdout])
        code = await process.wait()
    assert code == 0
    for line in (first + rest).splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_although_its_input_stays_open(place: Place, number: signal.Signals) -> None:
    command, arguments = place.server()
    async with await anyio.open_process([command, *arguments], stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send(
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
            b'"capabilities":{},"clientInfo":{"name":"t","version":"0"}}}\n'
        )
        await process.stdout.receive()
        os.kill(process.pid, number)
        with anyio.fail_after(20):
            code = await process.wait()
    assert code == (130 if number == signal.SIGINT else 0)


async def test_twelve_servers_at_once_on_one_data_directory_give_the_same_answer(place: Place) -> None:
    answers: list[Any] = []

    async def ask(mode: Mode) -> None:
        async with connected(place, mode) as client:
            with anyio.fail_after(60):
                while True:
                    # A server that only answers says so until the one that reads has caught up.
                    result = await client.call_tool("get_session", {"session_id": SESSION})
                    if "still being read" in text(result):
                        continue
                    session = data(result)
                    if "behind_bytes" not in session:
                        break
            answers.append(session)

    async with anyio.create_task_group() as tasks:
        for index in range(12):
            tasks.start_soon(ask, ERAS[index % 2])
    for answer in answers:
        answer.pop("as_of")
    assert len(answers) == 12
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["messages_count"] == place.expected.sessions[SESSION].rounds
