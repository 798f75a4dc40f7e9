"""The places where the MCP SDK's insides have to be touched, and nothing else.

Written against mcp 2.3, to which the dependency is pinned; tests/faces/test_mcp_sdk.py fails when a
later version moves them.
"""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from mcp.server import MCPServer


def be_strict(server: MCPServer[Any]) -> None:
    """Refuse arguments that a tool does not have, and take what no reader needs out of the schemas.

    The SDK ignores unknown arguments, so that a misspelt filter would answer another question; and
    pydantic repeats every property's name as its title, a sixth of the bytes of ``tools/list``.
    """
    for tool in server._tool_manager.list_tools():
        metadata = tool.fn_metadata
        metadata.arg_model.model_config["extra"] = "forbid"
        metadata.arg_model.model_rebuild(force=True)
        tool.parameters = _without_titles(metadata.arg_model.model_json_schema(by_alias=True))
        if metadata.output_schema is not None:
            metadata.output_schema = _never_null(_without_titles(metadata.output_schema))


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A property may itself be called "title": its value is then a schema, not a text.
    return {n: _without_titles(v) for n, v in schema.items() if not (n == "title" and isinstance(v, str))}


def _never_null(schema: Any) -> Any:
    """A schema of answers that leave out what they don't know: no null, and no default to fill in."""
    if isinstance(schema, list):
        return [_never_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    choices = schema.get("anyOf")
    if isinstance(choices, list):
        real = [choice for choice in choices if choice != {"type": "null"}]
        if len(real) == 1:
            schema = {**{name: value for name, value in schema.items() if name != "anyOf"}, **real[0]}
    return {
        name: {n: _never_null(v) for n, v in value.items()} if name in ("properties", "$defs") else _never_null(value)
        for name, value in schema.items()
        if name != "default" and (name, value) != ("additionalProperties", False)
    }


class EmbeddedServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

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
