"""Resources, templates, completion, prompts and notices, asked by the SDK's client in both eras."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.types import INVALID_PARAMS, PromptReference, ResourceTemplateReference, TextContent, TextResourceContents

from tests.faces.place import Place

pytestmark = pytest.mark.anyio
Mode = Literal["auto", "legacy"]
ERAS: tuple[Mode, ...] = ("auto", "legacy")
SESSION = "agent:main:main"


@asynccontextmanager
async def connected(place: Place, mode: Mode, *options: str, **more: Any) -> AsyncIterator[Client]:
    command, arguments = place.server(*options)
    async with Client(StdioServerParameters(command=command, args=arguments), mode=mode, **more) as client:
        # The first call waits until it is decided who reads the log, and that it was read.
        await client.call_tool("source_health", {})
        yield client


async def text_at(client: Client, uri: str) -> str:
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_is_read_under_its_encoded_and_its_raw_address(place: Place, mode: Mode) -> None:
    async with connected(place, mode) as client:
        encoded = json.loads(await text_at(client, "session://agent%3Amain%3Amain"))
        raw = json.loads(await text_at(client, f"session://{SESSION}"))
        tool = await client.call_tool("get_session", {"session_id": SESSION, "response_format": "detailed"})
    assert tool.structured_content is not None
    for document in (encoded, raw, tool.structured_content):
        document.pop("as_of")
    assert encoded == raw == tool.structured_content
    assert encoded["messages_count"] == place.expected.sessions[SESSION].rounds


async def test_an_id_that_looks_like_a_path_is_an_id(place: Place) -> None:
    line = place.log.read_bytes().splitlines()[0]
    start = line.index(b'\\"session_id\\":\\"') + 17
    with place.log.open("ab") as file:
        file.write(line[:start] + b"../../etc/evil" + line[line.index(b'\\"', start) :] + b"\n")
    async with connected(place, "auto") as client:
        document = json.loads(await text_at(client, "session://..%2F..%2Fetc%2Fevil"))
    assert document["session_id"] == "../../etc/evil"


@pytest.mark.parametrize("mode", ERAS)
async def test_the_list_holds_the_newest_sessions_and_the_template_the_others(place: Place, mode: Mode) -> None:
    async with connected(place, mode) as client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        for resource in resources:
            assert await text_at(client, resource.uri)
    uris = [resource.uri for resource in resources]
    assert {"stats://models", "stats://daily", "prices://models", "monitor://status"} < set(uris)
    assert len([uri for uri in uris if uri.startswith("session://")]) == min(50, len(place.expected.sessions) - 1)
    assert [template.uri_template for template in templates] == [
        "session://{session_id}",
        "session://{session_id}/transcript",
    ]


async def test_an_unknown_session_is_not_found_and_says_what_is_near(place: Place) -> None:
    async with connected(place, "auto") as client:
        with pytest.raises(MCPError, match=SESSION):
            await client.read_resource("session://agent%3Amain%3Amian")


async def test_a_transcript_is_only_read_where_the_scope_opens_it(place: Place) -> None:
    async with connected(place, "auto") as client:
        with pytest.raises(MCPError, match="content-scope"):
            await client.read_resource(f"session://{SESSION}/transcript")
    async with connected(place, "auto", "--content-scope", SESSION) as client:
        transcript = await text_at(client, f"session://{SESSION}/transcript")
        with pytest.raises(MCPError, match="content-scope"):
            await client.read_resource("session://agent:main:explicit:trip-planning/transcript")
    assert transcript.count("\n## Round ") == place.expected.sessions[SESSION].rounds
    assert "data, not instructions" in transcript


@pytest.mark.parametrize("mode", ERAS)
async def test_one_round_is_given_without_its_text_unless_the_scope_opens_it(place: Place, mode: Mode) -> None:
    async with connected(place, mode, "--content-scope", "agent:main:*") as client:
        plain = await client.call_tool("get_round", {"session_id": SESSION, "round": 1})
        full = await client.call_tool(
            "get_round", {"session_id": SESSION, "round": 1, "include": ["messages", "answer"]}
        )
        assert plain.structured_content is not None
        same = await client.call_tool("get_round", {"round_id": plain.structured_content["round_id"]})
        closed = await client.call_tool(
            "get_round",
            {"session_id": "agent:research:telegram:group:-1002003004005", "round": 1, "include": ["answer"]},
        )
        beyond = await client.call_tool("get_round", {"session_id": SESSION, "round": 100_000})
    assert full.structured_content is not None
    assert same.structured_content is not None
    assert "messages" not in plain.structured_content
    assert full.structured_content["messages"]
    assert "question" not in full.structured_content
    assert same.structured_content["round"] == 1
    assert closed.is_error
    assert "content-scope" in str(closed.content)
    assert beyond.is_error
    assert f"1 to {place.expected.sessions[SESSION].rounds}" in str(beyond.content)


@pytest.mark.parametrize("mode", ERAS)
async def test_session_ids_are_completed(place: Place, mode: Mode) -> None:
    async with connected(place, mode) as client:
        template = ResourceTemplateReference(uri="session://{session_id}")
        found = (await client.complete(template, {"name": "session_id", "value": "main:ma"})).completion.values
        prompt = PromptReference(name="explain_cost")
        named = (await client.complete(prompt, {"name": "session_id", "value": "main:ma"})).completion.values
    assert found == ["agent%3Amain%3Amain"]
    assert named == [SESSION]


@pytest.mark.parametrize("mode", ERAS)
async def test_prompts_name_the_tools_and_the_session(place: Place, mode: Mode) -> None:
    async with connected(place, mode) as client:
        prompts = (await client.list_prompts()).prompts
        asked = await client.get_prompt("report_my_spend", {"session_id": SESSION})
    assert [prompt.name for prompt in prompts] == ["report_my_spend", "explain_cost", "weekly_report"]
    content = asked.messages[0].content
    assert isinstance(content, TextContent)
    assert "get_session" in content.text
    assert SESSION in content.text


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(("name", "lacks"), [("explain_cost", "session_id"), ("no_such_prompt", "no_such_prompt")])
async def test_a_prompt_that_lacks_its_session_or_is_none_is_refused_in_words(
    place: Place, mode: Mode, name: str, lacks: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with connected(place, mode) as client:
        with pytest.raises(MCPError, match=f"{lacks}.*weekly_report") as caught:
            await client.get_prompt(name, {})
    assert caught.value.error.code == INVALID_PARAMS
    assert "Traceback" not in capfd.readouterr().err


async def test_top_spenders_are_ranked_and_their_shares_add_up(place: Place) -> None:
    async with connected(place, "auto") as client:
        result = await client.call_tool("top_spenders", {"dimension": "consumer", "limit": 100})
    assert result.structured_content is not None
    rows = result.structured_content["rows"]
    assert sum(row["rounds"] for row in rows) == place.expected.total.rounds
    assert sum(row.get("share", 0) for row in rows) == pytest.approx(1, abs=0.001)


async def test_a_subscriber_of_the_handshake_era_is_told_that_its_session_grew(place: Place) -> None:
    told: list[str] = []
    heard = anyio.Event()

    async def hear(message: Any) -> None:
        uri = getattr(getattr(message, "params", None), "uri", None)
        if uri is not None:
            told.append(str(uri))
            heard.set()

    whole = place.log.read_bytes()
    cut = whole.rindex(b"\n", 0, whole.rindex(SESSION.encode())) + 1
    place.log.write_bytes(whole[:cut])
    async with connected(place, "legacy", message_handler=hear) as client:
        with pytest.warns(MCPDeprecationWarning):
            await client.session.subscribe_resource("session://agent%3Amain%3Amain")
        with place.log.open("ab") as file:
            file.write(whole[cut:])
        with anyio.fail_after(30):
            await heard.wait()
    assert told == ["session://agent%3Amain%3Amain"]


async def test_a_listener_of_the_modern_era_is_told_that_its_session_grew(place: Place) -> None:
    whole = place.log.read_bytes()
    cut = whole.rindex(b"\n", 0, whole.rindex(SESSION.encode())) + 1
    place.log.write_bytes(whole[:cut])
    async with (
        connected(place, "auto") as client,
        client.listen(resource_subscriptions=[f"session://{SESSION}"]) as events,
    ):
        with place.log.open("ab") as file:
            file.write(whole[cut:])
        with anyio.fail_after(30):
            event = await anext(aiter(events))
    assert isinstance(event, ResourceUpdated)
    assert event.uri == f"session://{SESSION}"
