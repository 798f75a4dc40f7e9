"""`serve --remote`: MCP on standard input and output for a client here, answered by a server elsewhere.

Messages pass as they are, in both protocol eras: the SDK's transports read and write them, and nothing
here knows what they ask.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
from mcp.client.streamable_http import streamable_http_client
from mcp.server.stdio import stdio_server
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse
from mcp_types import PROTOCOL_VERSION_META_KEY

from monitor.config import ConfigError
from monitor.faces.mcp.line import Line, say


def address(text: str) -> str:
    """The address of a server's MCP, as somebody wrote it; ``/mcp`` may be left out.

    Raises:
        ConfigError: it is none.
    """
    parts = urlsplit(text if text.isascii() else "")
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or any(char.isspace() for char in text):
        raise ConfigError("--remote: name the server's address, such as http://gateway.example.com:8888/mcp")
    if parts.query or parts.fragment:
        raise ConfigError(
            "--remote: the address ends in /mcp and has no query; a token goes into SESSION_MONITOR_REMOTE_TOKEN or "
            "--token-file"
        )
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith("/mcp") else f"{path}/mcp").geturl()


def serve_remote(url: str, token: str | None) -> None:
    """Pass on what a client says on standard input, and what the server at `url` answers, until the client ends.

    Raises:
        ConfigError: `token` is no token.
    """
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token or not token):
        raise ConfigError("the token for --remote has characters that no token has: copy it again")
    # Of what the transport meets with, the line tells in words; its own log is for its developers.
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)
    try:
        anyio.run(_serve, url, token)
    except* BrokenPipeError:
        pass  # the client has gone without a word


async def _serve(url: str, token: str | None) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal)
        async with Line(url, token) as line, stdio_server() as (from_client, to_client):
            # After stdio_server took the real standard output, whatever else prints goes to standard error.
            with contextlib.redirect_stdout(sys.stderr):
                async with streamable_http_client(url, http_client=line, max_sse_event_size=None) as there:
                    from_server, to_server = there
                    eras = _Eras(url)
                    async with to_client, anyio.create_task_group() as passing:
                        passing.start_soon(_pass, from_server, to_client.send, eras.seen)
                        passing.start_soon(line.refusal)
                        await _pass(from_client, to_server.send, eras.stamped)
                        passing.cancel_scope.cancel()
        tasks.cancel_scope.cancel()


async def _pass(
    source: Any, give: Callable[[SessionMessage], Any], made: Callable[[JSONRPCMessage], SessionMessage]
) -> None:
    async for received in source:
        if isinstance(received, Exception):
            say(f"a message was not understood: {type(received).__name__}")
            continue
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await give(made(received.message))


class _Eras:
    """What HTTP wants to know of a message beside the message: its protocol's version and what it asks."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._agreed: str | None = None

    def seen(self, message: JSONRPCMessage) -> SessionMessage:
        """A message of the server; one that ends a handshake names the version that counts from then on."""
        if isinstance(message, JSONRPCError) and message.error.message.startswith("SSE stream"):
            # The transport's own word for an answer that broke off.
            message.error.message = f"{self._url} went away before it had answered: ask again."
        if isinstance(message, JSONRPCResponse):
            version = message.result.get("protocolVersion")
            if isinstance(version, str) and "serverInfo" in message.result:
                self._agreed = version
        return SessionMessage(message)

    def stamped(self, message: JSONRPCMessage) -> SessionMessage:
        """A message of the client, with its headers."""
        params = getattr(message, "params", None) or {}
        version = (params.get("_meta") or {}).get(PROTOCOL_VERSION_META_KEY)
        if isinstance(message, JSONRPCRequest) and isinstance(version, str):
            headers = {MCP_PROTOCOL_VERSION_HEADER: version, MCP_METHOD_HEADER: message.method}
            name = params.get(NAME_BEARING_METHODS.get(message.method, ""))
            if isinstance(name, str):
                headers[MCP_NAME_HEADER] = encode_header_value(name)
        elif self._agreed is not None:
            headers = {MCP_PROTOCOL_VERSION_HEADER: self._agreed}
        else:
            return SessionMessage(message)
        return SessionMessage(message, ClientMessageMetadata(headers=headers))


async def _until_signal() -> None:
    """End on SIGINT and SIGTERM: the SDK's reader thread would hold the process until its input closes."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            os._exit(130 if number == signal.SIGINT else 0)
