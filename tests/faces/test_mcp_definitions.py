"""What clients read before they ask: every definition as it is kept in a file, and how much of it there may be.

`UPDATE_SNAPSHOTS=write` in the environment writes the files anew; look at what has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import TextContent

from monitor.answers import sessions
from monitor.config import Settings, load
from monitor.faces.mcp.server import build
from monitor.runtime import Runtime
from monitor.samples import Expected, Profile, lines
from monitor.samples.profiles import Client as Speaker

pytestmark = pytest.mark.anyio

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("UPDATE_SNAPSHOTS") == "write"
KINDS = ("tools", "prompts", "resources", "resource_templates")

#: What `tools/list` may weigh; it stands in every conversation of every client. Measured: 25.5 KB, a third of it for
#: spend_overview, compare_models, find_anomalies and reconcile.
MOST_TOOL_BYTES = 25_600
#: Claude Code cuts descriptions and instructions here.
MOST_PROSE = 2048
MOST_CONCISE = 1200

LONG_ID = "agent:research:telegram:group:-1002003004005:thread:1480012345678901234"
#: One session that talks to everything: prices in two currencies, none at all, and failures.
WIDE = Profile(
    name="wide",
    mode="lite",
    turns=4,
    sessions=12,
    sessionless_share=0,
    failure_share=0.05,
    unmetered_share=0.05,
    consumers=("platform-engineering",),
    clients=(Speaker(LONG_ID),),
    models=(
        ("gpt-5.4", 1.0),
        ("gpt-5.4-mini", 1.0),
        ("claude-sonnet-4-6", 1.0),
        ("qwen3.5-plus", 1.0),
        ("glm-5", 1.0),
        ("deepseek-chat", 1.0),
        ("kimi-k2.5", 1.0),
        ("gemini-2.5-pro", 1.0),
        ("in-house-7b", 1.0),
        ("in-house/long-context-instruct-72b", 1.0),
    ),
)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Runtime]:
    runtime = Runtime(Settings(data_dir=tmp_path / "data"))
    yield runtime
    runtime.close()


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime that has read `WIDE`."""
    log = tmp_path / "access.log"
    with log.open("wb") as file:
        file.writelines(lines(WIDE, seed=1, limit=1500, expected=Expected()))
    runtime = Runtime(load(None, data_dir=tmp_path / "data"), log_paths=[log])
    with runtime.ingesting() as ingester:
        ingester.once()
    yield runtime
    runtime.close()


async def definitions(client: Client) -> dict[str, list[dict[str, Any]]]:
    """Everything that the server lists, as it goes over the wire."""
    listed = [
        *(await client.list_tools()).tools,
        *(await client.list_prompts()).prompts,
        *(await client.list_resources()).resources,
        *(await client.list_resource_templates()).resource_templates,
    ]
    kinds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for item in listed:
        kind = {"Tool": "tools", "Prompt": "prompts", "Resource": "resources"}.get(type(item).__name__)
        kinds[kind or "resource_templates"].append(item.model_dump(mode="json", by_alias=True, exclude_none=True))
    return kinds


@pytest.mark.parametrize("kind", KINDS)
async def test_definitions_are_those_that_were_looked_at(empty: Runtime, kind: str) -> None:
    async with Client(build(empty)) as client:
        found = (await definitions(client))[kind]
    file = SNAPSHOTS / f"{kind}.json"
    if WRITE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert found == json.loads(file.read_text("utf-8")), f"write {file.name} anew with UPDATE_SNAPSHOTS=write"


async def test_both_eras_list_the_same(empty: Runtime) -> None:
    async with Client(build(empty)) as modern, Client(build(empty), mode="legacy") as legacy:
        assert modern.protocol_version != legacy.protocol_version
        assert await definitions(modern) == await definitions(legacy)


async def test_the_list_of_tools_is_small(empty: Runtime) -> None:
    async with Client(build(empty)) as client:
        listed = (await definitions(client))["tools"]
    size = len(json.dumps({"tools": listed}, ensure_ascii=False, separators=(",", ":")).encode())
    assert size <= MOST_TOOL_BYTES


async def test_no_description_is_cut_by_a_client(empty: Runtime) -> None:
    async with Client(build(empty)) as client:
        instructions = client.instructions
        listed = await definitions(client)
    assert instructions
    assert len(instructions) < MOST_PROSE
    for kind in KINDS:
        for item in listed[kind]:
            assert len(item.get("description", "")) < MOST_PROSE, item["name"]
            assert item.get("description") or item["name"].endswith(".md"), f"{kind}: {item['name']} says nothing"


async def test_the_instructions_name_the_skill_that_is_served(empty: Runtime) -> None:
    async with Client(build(empty)) as client:
        assert client.instructions is not None
        [uri] = [word.rstrip(".") for word in client.instructions.split() if word.startswith("skill://")]
        assert (await client.read_resource(uri)).contents


async def test_every_answer_fits_the_schema_that_is_listed(wide: Runtime) -> None:
    """The client checks structured content against the schema, and raises where it does not fit."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_session", {"session_id": LONG_ID, "response_format": "detailed"}),
        ("list_sessions", {"limit": 100}),
        ("get_round", {"session_id": LONG_ID, "round": 1}),
        ("stats_by_model", {}),
        ("stats_by_date", {"bucket": "hour"}),
        ("top_spenders", {"dimension": "consumer"}),
        ("spend_overview", {"timezone": "Asia/Kolkata"}),
        ("compare_models", {"session_id": LONG_ID}),
        ("find_anomalies", {"days": 31}),
        ("reconcile", {"days": 366}),
        ("session_url", {"session_id": LONG_ID}),
        ("source_health", {}),
    ]
    async with Client(build(wide)) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {name for name, _ in calls}
        for name, arguments in calls:
            result = await client.call_tool(name, arguments)
            assert not result.is_error, result.content
            assert result.structured_content


async def test_a_concise_session_is_small_whatever_is_in_it(wide: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_RECENT_MS", 1 << 60)  # so that the note of a turn under way is there too
    async with Client(build(wide)) as client:
        short = await client.call_tool("get_session", {"session_id": LONG_ID})
        full = await client.call_tool("get_session", {"session_id": LONG_ID, "response_format": "detailed"})
    [content] = short.content
    assert isinstance(content, TextContent)
    few, many = short.structured_content, full.structured_content
    assert few is not None
    assert many is not None
    assert len(many["models"]) >= 10
    assert {"CNY", "USD"} == set(many["cost"])
    assert {"unpriced", "note", "failed_rounds", "unmetered_rounds"} <= set(few)
    assert len(content.text) < MOST_CONCISE
    assert len(few["models"]) + few["more_models"] == len(many["models"])
    for name in ("cost", "messages_count", "total_tokens", "unpriced"):
        assert few[name] == many[name]


async def test_a_concise_session_names_the_dearest_model_of_each_currency(wide: Runtime) -> None:
    async with Client(build(wide)) as client:
        short = await client.call_tool("get_session", {"session_id": LONG_ID})
        full = await client.call_tool("get_session", {"session_id": LONG_ID, "response_format": "detailed"})
    assert short.structured_content is not None
    assert full.structured_content is not None
    named = [share["model"] for share in short.structured_content["models"]]
    whole = full.structured_content["models"]
    for currency in ("USD", "CNY"):
        dearest = max(whole, key=lambda share: share.get("cost", {}).get(currency, -1))
        assert dearest["model"] in named
    assert named == [share["model"] for share in whole if share["model"] in named]
