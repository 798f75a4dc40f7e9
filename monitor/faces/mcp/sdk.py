"""The places where the MCP SDK's insides have to be touched, and nothing else.

Written against mcp 2.3, to which the dependency is pinned; tests/faces/test_mcp_sdk.py fails when a
later version moves them.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn
from mcp.server import MCPServer, NotificationOptions
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.types import (
    Completion,
    EmptyResult,
    ListResourcesResult,
    PaginatedRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)
from pydantic import ValidationError


def be_strict(server: MCPServer[Any], brief: Collection[str] = ()) -> None:
    """Refuse arguments that a tool does not have, and take what no reader needs out of the definitions.

    The SDK ignores unknown arguments, so that a misspelt filter would answer another question. And
    ``tools/list`` stands in every conversation: pydantic repeats each property's name as its title,
    and says of each optional argument that it may be null. `brief`: the parts of answers whose fields
    are not listed, because another answer lists them.
    """
    for tool in server._tool_manager.list_tools():
        old = tool.fn_metadata
        old.arg_model.model_config["extra"] = "forbid"
        old.arg_model.model_rebuild(force=True)
        tool.description = " ".join(tool.description.split())
        tool.parameters = _optional(_without_titles(old.arg_model.model_json_schema(by_alias=True)))
        schema = None if old.output_schema is None else _referenced(_small(_without_titles(old.output_schema), brief))
        tool.fn_metadata = _Arguments(
            arg_model=old.arg_model,
            output_schema=schema,
            output_model=old.output_model,
            wrap_output=old.wrap_output,
        )


class _Refused(dict[str, Any]):
    """Stands for arguments that were not accepted, on their way to where the tool would be called."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class _Arguments(FuncMetadata):
    """A tool's arguments, whose errors say what the tool takes."""

    def validate_arguments(self, arguments_to_validate: dict[str, Any]) -> dict[str, Any]:
        try:
            return super().validate_arguments(arguments_to_validate)
        except ValidationError as error:
            known = ", ".join(self.arg_model.model_fields) or "none"
            said = []
            for problem in error.errors(include_url=False, include_context=False)[:5]:
                name = ".".join(str(part) for part in problem["loc"])
                if problem["type"] == "extra_forbidden":
                    said.append(f"There is no argument {name!r}; the arguments are: {known}.")
                else:
                    said.append(f"{name}: {problem['msg']}.")
            return _Refused(" ".join(said))

    async def call_fn(
        self,
        fn: Callable[..., Any],
        fn_is_async: bool,
        arguments: dict[str, Any],
        arguments_to_pass_directly: dict[str, Any] | None = None,
    ) -> Any:
        # The SDK passes the text of a ToolError on only from here.
        if isinstance(arguments, _Refused):
            raise ToolError(arguments.reason)
        return await super().call_fn(fn, fn_is_async, arguments, arguments_to_pass_directly)


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A property may itself be called "title": its value is then a schema, not a text.
    return {n: _without_titles(v) for n, v in schema.items() if not (n == "title" and isinstance(v, str))}


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema without the choice of null beside one other."""
    choices = schema.get("anyOf")
    real = [choice for choice in choices if choice != {"type": "null"}] if isinstance(choices, list) else []
    if len(real) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **real[0]}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of arguments in which what may be null may simply be left out. Null is taken all the same."""
    fields = {}
    for name, field in schema.get("properties", {}).items():
        given = _not_null(field)
        if given is not field and given.get("default", ...) is None:
            del given["default"]
        fields[name] = given
    return {**schema, "properties": fields}


def _small(schema: Any, brief: Collection[str]) -> Any:
    """A schema of answers that leave out what they don't know: no null, no default to fill in, no prose."""
    if isinstance(schema, list):
        return [_small(item, brief) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = _not_null(schema)
    if str(schema.get("$ref", "")).rpartition("/")[2] in brief:
        return {"type": "object"}
    return {
        name: {n: _small(v, brief) for n, v in value.items() if name == "properties" or n not in brief}
        if name in ("properties", "$defs")
        else _small(value, brief)
        for name, value in schema.items()
        if name != "default"
        and (name, value) != ("additionalProperties", False)
        and not (name == "description" and isinstance(value, str))
    }


def _referenced(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema without the definitions that nothing refers to any more."""
    definitions: dict[str, Any] = schema.get("$defs", {})
    kept = {name: value for name, value in definitions.items() if f"'#/$defs/{name}'" in str(schema)}
    if len(kept) == len(definitions):
        return schema
    rest = {name: value for name, value in schema.items() if name != "$defs"}
    return _referenced({"$defs": kept, **rest} if kept else rest)


def replace_resource_list(server: MCPServer[Any], listed: Callable[..., Awaitable[ListResourcesResult]]) -> None:
    """Answer ``resources/list`` with something that changes; the decorators know fixed resources only."""
    server._lowlevel_server.add_request_handler("resources/list", PaginatedRequestParams, listed)


def complete_with(server: MCPServer[Any], complete: Callable[..., Awaitable[Completion | None]]) -> None:
    """Set the completion handler; the SDK's decorator for it has no types."""
    decorator: Callable[[object], object] = server.completion()  # type: ignore[no-untyped-call]
    decorator(complete)


class LegacySubscriptions:
    """``resources/subscribe`` of the handshake era, fed from the same bus as ``subscriptions/listen``.

    The SDK serves the modern method only. What a connection subscribed ends with the connection.
    """

    def __init__(self, server: MCPServer[Any], bus: CountingBus) -> None:
        low = server._lowlevel_server
        self._uris: dict[int, set[str]] = {}
        self._sessions: dict[int, Any] = {}
        self._bus = bus
        self._unsubscribe: Callable[[], None] | None = None
        self._pending: set[tuple[int, str]] = set()
        self._list_changed = False
        low.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._drop)
        low.create_initialization_options = partial(  # type: ignore[method-assign]
            low.create_initialization_options, NotificationOptions(resources_changed=True)
        )

    async def _subscribe(self, ctx: Any, params: SubscribeRequestParams) -> EmptyResult:
        connection = ctx.session._connection
        if id(connection) not in self._uris:
            self._uris[id(connection)] = set()
            self._sessions[id(connection)] = ctx.session
            connection.exit_stack.callback(self._forget, id(connection))
        self._uris[id(connection)].add(str(params.uri))
        if self._unsubscribe is None:
            self._unsubscribe = self._bus.subscribe(self._deliver)
        return EmptyResult()

    async def _drop(self, ctx: Any, params: UnsubscribeRequestParams) -> EmptyResult:
        self._uris.get(id(ctx.session._connection), set()).discard(str(params.uri))
        return EmptyResult()

    def _forget(self, connection: int) -> None:
        self._uris.pop(connection, None)
        self._sessions.pop(connection, None)
        if not self._uris and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _deliver(self, event: ServerEvent) -> None:
        if isinstance(event, ResourcesListChanged):
            self._list_changed = True
        if isinstance(event, ResourceUpdated):
            self._pending.update((c, event.uri) for c, uris in self._uris.items() if event.uri in uris)

    async def flush(self) -> None:
        """Send what the bus delivered; its listeners are not asynchronous and can't."""
        pending, self._pending = self._pending, set()
        if self._list_changed:
            self._list_changed = False
            for session in list(self._sessions.values()):
                with suppress(Exception):  # as below
                    await session.send_resource_list_changed()
        for connection, uri in pending:
            session = self._sessions.get(connection)
            if session is not None:
                with suppress(Exception):  # a client that went away meanwhile ends with its connection
                    await session.send_resource_updated(uri)


class CountingBus(InMemorySubscriptionBus):
    """The bus between the log and subscribers; it knows whether anybody listens."""

    def __init__(self) -> None:
        super().__init__()
        #: Called when the first of the listeners comes.
        self.on_first: Callable[[], None] | None = None

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register `listener`; what it returns ends the subscription."""
        first = not self.has_listeners
        unsubscribe = super().subscribe(listener)
        if first and self.on_first is not None:
            self.on_first()
        return unsubscribe

    @property
    def has_listeners(self) -> bool:
        """Whether anybody would hear an event."""
        return bool(self._listeners)


async def run_on(server: MCPServer[Any], reader: Any, writer: Any) -> None:
    """Serve one connection; the SDK's own `run` would take standard input and output by itself."""
    low = server._lowlevel_server
    await low.run(reader, writer, low.create_initialization_options())


class EmbeddedServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    def __init__(self, config: uvicorn.Config, before_shutdown: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._before_shutdown = before_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what would never end by itself, then wait for what is being answered."""
        self._before_shutdown()
        await super().shutdown(sockets)

    def capture_signals(self) -> Any:
        """Leave signals alone."""
        from contextlib import nullcontext  # noqa: PLC0415

        return nullcontext()


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket to serve HTTP on.

    It names its protocol, because asyncio sets TCP_NODELAY only then; without it every answer waits
    some 40 ms for Nagle's algorithm and the client's delayed acknowledgement.

    Raises:
        OSError: the address is taken or can't be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
