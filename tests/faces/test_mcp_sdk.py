"""Each place where the SDK's insides are touched still does what it is touched for."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Annotated, Any

import anyio
import pytest
import uvicorn
from mcp import Client
from mcp.server import MCPServer
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.types import (
    CallToolResult,
    Completion,
    ListResourcesResult,
    PromptReference,
    Resource,
    ResourceTemplateReference,
    TextContent,
)
from pydantic import BaseModel, Field

from monitor.faces.mcp import sdk

pytestmark = pytest.mark.anyio


class Song(BaseModel):
    """A part of an answer."""

    title: str
    length: int | None = None


class Shelf(BaseModel):
    """An answer."""

    songs: list[Song] = []
    newest: Song | None = Field(default=None, description="The last that came.")
    owner: str | None = None


class Sleeve(BaseModel):
    """A part that has a part."""

    song: Song


class Record(BaseModel):
    """Another answer."""

    sleeve: Sleeve | None = None


def a_server(*brief: str) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("test")

    @server.tool()
    async def find(
        title: Annotated[str | None, Field(description="What it is called.")] = None,
        limit: Annotated[int, Field(ge=1)] = 20,
    ) -> Annotated[CallToolResult, Shelf]:
        """Find songs
        on the shelf."""
        data = {"owner": f"{title} {limit}"}
        return CallToolResult(content=[TextContent(text=str(data))], structured_content=data)

    sdk.be_strict(server, brief)
    return server


async def said(server: MCPServer[Any], arguments: dict[str, Any]) -> tuple[bool, str]:
    async with Client(server) as client:
        result = await client.call_tool("find", arguments)
    [content] = result.content
    assert isinstance(content, TextContent)
    return result.is_error, content.text


async def test_an_argument_that_there_is_not_is_refused_and_the_others_are_named() -> None:
    failed, text = await said(a_server(), {"titel": "x"})
    assert failed
    assert text.endswith("There is no argument 'titel'; the arguments are: title, limit.")


async def test_a_wrong_value_is_refused_with_the_reason_and_without_the_value() -> None:
    failed, text = await said(a_server(), {"limit": "secret-7"})
    assert failed
    assert "limit: Input should be a valid integer" in text
    assert "secret-7" not in text
    assert "pydantic" not in text


async def test_null_is_taken_for_an_argument_that_may_be_left_out() -> None:
    assert await said(a_server(), {"title": None}) == await said(a_server(), {})
    assert not (await said(a_server(), {}))[0]


async def test_arguments_are_published_without_titles_nulls_and_openness() -> None:
    async with Client(a_server()) as client:
        [tool] = (await client.list_tools()).tools
    assert tool.description == "Find songs on the shelf."
    assert tool.input_schema == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "title": {"type": "string", "description": "What it is called."},
            "limit": {"type": "integer", "minimum": 1, "default": 20},
        },
    }


async def test_answers_are_published_without_titles_nulls_defaults_and_prose() -> None:
    async with Client(a_server()) as client:
        [tool] = (await client.list_tools()).tools
    assert tool.output_schema == {
        "type": "object",
        "$defs": {
            "Song": {
                "type": "object",
                "properties": {"title": {"type": "string"}, "length": {"type": "integer"}},
                "required": ["title"],
            }
        },
        "properties": {
            "songs": {"type": "array", "items": {"$ref": "#/$defs/Song"}},
            "newest": {"$ref": "#/$defs/Song"},
            "owner": {"type": "string"},
        },
    }


async def test_definitions_that_only_a_brief_part_needs_are_left_out() -> None:
    server: MCPServer[Any] = MCPServer("test")

    @server.tool()
    async def play() -> Annotated[CallToolResult, Record]:
        """Play a record."""
        return CallToolResult(content=[], structured_content={})

    sdk.be_strict(server, ["Sleeve"])
    async with Client(server) as client:
        [tool] = (await client.list_tools()).tools
    assert tool.output_schema == {"type": "object", "properties": {"sleeve": {"type": "object"}}}


async def test_a_part_that_another_answer_spells_out_is_published_in_brief() -> None:
    async with Client(a_server("Song")) as client:
        [tool] = (await client.list_tools()).tools
    assert tool.output_schema == {
        "type": "object",
        "$defs": {},
        "properties": {
            "songs": {"type": "array", "items": {"type": "object"}},
            "newest": {"type": "object"},
            "owner": {"type": "string"},
        },
    }


async def test_the_list_of_resources_is_made_anew_each_time() -> None:
    server = a_server()
    count = 0

    async def listed(_: Any, __: Any) -> ListResourcesResult:
        nonlocal count
        count += 1
        return ListResourcesResult(resources=[Resource(uri=f"test://{count}", name=str(count))])

    sdk.replace_resource_list(server, listed)
    for mode in ("auto", "legacy"):
        async with Client(server, mode=mode) as client:
            first = (await client.list_resources(cache_mode="refresh")).resources
            second = (await client.list_resources(cache_mode="refresh")).resources
        assert int(second[0].name) == int(first[0].name) + 1


async def test_arguments_of_prompts_and_templates_are_completed() -> None:
    server = a_server()

    async def complete(ref: PromptReference | ResourceTemplateReference, argument: Any, _: Any) -> Completion:
        return Completion(values=[f"{type(ref).__name__} {argument.name}={argument.value}"])

    sdk.complete_with(server, complete)
    async with Client(server) as client:
        prompt = await client.complete(PromptReference(name="p"), {"name": "a", "value": "x"})
        template = await client.complete(ResourceTemplateReference(uri="t://{a}"), {"name": "a", "value": "y"})
    assert prompt.completion.values == ["PromptReference a=x"]
    assert template.completion.values == ["ResourceTemplateReference a=y"]


class Subscribers:
    """A server that clients of the handshake era subscribe to, and what one of them heard."""

    def __init__(self) -> None:
        self.bus = sdk.CountingBus()
        self.server: MCPServer[Any] = MCPServer("test", subscriptions=self.bus)
        self.legacy = sdk.LegacySubscriptions(self.server, self.bus)
        self.heard: list[str] = []
        self._something = anyio.Event()

    async def hear(self, message: Any) -> None:
        uri = getattr(getattr(message, "params", None), "uri", None)
        if uri is not None:
            self.heard.append(str(uri))
            self._something.set()

    def client(self) -> Client:
        return Client(self.server, mode="legacy", message_handler=self.hear)

    async def publish(self, *uris: str) -> None:
        for uri in uris:
            await self.bus.publish(ResourceUpdated(uri=uri))
        await self.legacy.flush()

    async def something(self) -> None:
        with anyio.fail_after(20):
            await self._something.wait()


async def test_a_client_of_the_handshake_era_sees_that_it_can_subscribe() -> None:
    async with Subscribers().client() as client:
        resources = client.server_capabilities.resources
    assert resources is not None
    assert resources.subscribe
    assert resources.list_changed


async def test_a_subscriber_hears_what_it_subscribed_to_until_it_unsubscribes() -> None:
    here = Subscribers()
    async with here.client() as client:
        for uri in ("test://a", "test://b"):
            with pytest.warns(MCPDeprecationWarning):
                await client.session.subscribe_resource(uri)
        with pytest.warns(MCPDeprecationWarning):
            await client.session.unsubscribe_resource("test://a")
        await here.publish("test://a", "test://other", "test://b")
        await here.something()
    assert here.heard == ["test://b"]


async def test_what_a_connection_subscribed_ends_with_it() -> None:
    here = Subscribers()
    listening = []
    async with here.client() as client:
        listening.append(here.bus.has_listeners)
        with pytest.warns(MCPDeprecationWarning):
            await client.session.subscribe_resource("test://a")
        listening.append(here.bus.has_listeners)
    listening.append(here.bus.has_listeners)
    assert listening == [False, True, False]
    await here.publish("test://a")
    assert here.heard == []


async def test_the_bus_says_when_the_first_listener_comes_and_whether_there_is_one() -> None:
    bus = sdk.CountingBus()
    firsts: list[bool] = []
    bus.on_first = lambda: firsts.append(bus.has_listeners)
    leave = [bus.subscribe(lambda _: None) for _ in range(2)]
    assert firsts == [True]
    for one in leave:
        assert bus.has_listeners
        one()
    assert not bus.has_listeners


async def test_a_listener_of_the_modern_era_is_counted() -> None:
    bus = sdk.CountingBus()
    server: MCPServer[Any] = MCPServer("test", subscriptions=bus)
    sent = ResourceUpdated(uri="test://a")
    async with Client(server) as client, client.listen(resource_subscriptions=["test://a"]) as events:
        assert bus.has_listeners
        await bus.publish(sent)
        with anyio.fail_after(20):
            assert await anext(aiter(events)) == sent


async def test_answers_leave_the_listening_socket_without_delay() -> None:
    delays: list[int] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        delays.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = sdk.listening_socket("127.0.0.1", 0)
    async with await asyncio.start_server(serve, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert delays == [1]


async def test_the_embedded_server_leaves_signals_to_the_process() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
        server.should_exit = True
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    listener = sdk.listening_socket("127.0.0.1", 0)
    address = listener.getsockname()
    server = sdk.EmbeddedServer(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        async with await anyio.connect_tcp(*address) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join([piece async for piece in stream])
    assert b" 204 " in answer
    assert seen == handlers
