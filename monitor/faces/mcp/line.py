"""The line to a session-monitor elsewhere: HTTP whose failures are words, and sessions that outlive a restart."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import JSONRPCNotification
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, SERVER_INFO_META_KEY
from mcp_types.version import LATEST_MODERN_VERSION

from monitor.faces.cells import visible

NAME = "session-monitor"
#: A server that is started again is back after some seconds; requests wait for it this long.
_PATIENCE_S = (0.25, 0.5, 1.0, 2.0)
#: Notices are waited for as long as the client is there, with pauses of at most this many seconds.
_LONGEST_PAUSE_S = 15.0
#: A server says something every 15 s, if only that it is at work.
_TIMEOUT = httpx2.Timeout(10.0, read=60.0)
_WHO_S = 20.0
_LONGEST_REASON = 300
_JSON, _EVENTS = "application/json", "text/event-stream"


class _Said:
    """What was said on standard error of the line: what is wrong with it once, however often it is met with."""

    def __init__(self) -> None:
        self._wrong: str | None = None

    def wrong(self, words: str) -> None:
        """Something is wrong."""
        if words != self._wrong:
            self._wrong = words
            say(words)

    def well(self, words: str) -> None:
        """Nothing is; that is said only where something was."""
        if self._wrong is not None:
            self._wrong = None
            say(words)


class _Wire(httpx2.AsyncClient):
    """HTTP to one address. What goes wrong comes back as an answer in words, which the SDK passes on."""

    def __init__(self, url: str, token: str | None, said: _Said) -> None:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        super().__init__(headers=headers, timeout=_TIMEOUT)
        self._url = url
        self._has_token = token is not None
        self._said = said

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """The answer of the server, or one that says why there is none."""
        pauses = iter(_PATIENCE_S if request.method == "POST" else ())
        while True:
            try:
                response = await super().send(request, **how)
                if not _streams(response):
                    await response.aread()
                break
            except httpx2.HTTPError as error:
                # Everything that is asked here only reads, so that asking again does no harm.
                pause = next(pauses, None)
                if pause is None or not isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError):
                    return self._told(request, 503, f"{self._url} does not answer ({_reason(error)}). {_AWAY}")
            await anyio.sleep(pause)
        wrong = self._wrong(request, response)
        if wrong is not None:
            await response.aclose()
            return self._told(request, response.status_code if response.status_code >= 400 else 502, wrong)
        if response.is_success:
            self._said.well(f"{self._url} answers again")
        return response

    def _wrong(self, request: httpx2.Request, response: httpx2.Response) -> str | None:
        """Why an answer is none of an MCP server; None for one that is."""
        status, kind = response.status_code, _kind(response)
        if status == 401 or (status == 403 and self._has_token):
            if not self._has_token:
                return f"{self._url} asks for a token: {_TOKEN}."
            return f"{self._url} does not take this token: `session-monitor token list` there shows which it takes."
        if response.is_success and (status == 202 or kind in (_JSON, _EVENTS) or request.method != "POST"):
            return None
        if response.has_redirect_location or (request.headers.get(MCP_SESSION_ID) is not None and status == 404):
            return None
        if kind == _JSON and b'"jsonrpc"' in response.content:
            return None  # an MCP server's own error
        if response.is_success or status in (404, 405):
            return f"{self._url} is not the address of a session-monitor (status {status}): it ends in /mcp."
        return f"{self._url} answers with status {status}: {_detail(response)}"

    def _told(self, request: httpx2.Request, status: int, words: str) -> httpx2.Response:
        """`words`, once on standard error, and as an answer."""
        self._said.wrong(words)
        # The SDK puts the id of the request in.
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": CONNECTION_CLOSED, "message": words}}
        return httpx2.Response(status, json=error, request=request)


class Line(_Wire):
    """The line to a session-monitor: nothing else is asked, and a session goes on when the server comes back."""

    def __init__(self, url: str, token: str | None) -> None:
        super().__init__(url, token, _Said())
        self._first = _Wire(url, token, self._said)
        self._asking = anyio.Lock()
        self._is_ours = False
        self._foreign: str | None = None
        #: Of a session of the handshake era: how it began, its id at the server now, and what it subscribed to.
        self._hello: bytes | None = None
        self._session: str | None = None
        self._subscribed: dict[str, bytes] = {}
        self._renewing = anyio.Lock()
        self._begun = anyio.Event()
        self._listened = False

    async def aclose(self) -> None:
        """Let go of all connections."""
        await self._first.aclose()
        await super().aclose()

    async def refusal(self) -> str | None:
        """Why the server is not asked; asks it who it is, until it has said so once."""
        async with self._asking:
            if not self._is_ours and self._foreign is None:
                info, why = await self._who()
                if why is not None:
                    return why
                if info.get("name") == NAME:
                    self._is_ours = True
                    say(f"asking {NAME} {visible(str(info.get('version', '')), keep='')[:40]} at {self._url}")
                else:
                    name = visible(str(info.get("name", "another MCP server")), keep="")[:100]
                    self._foreign = f"{self._url} is {name}, not a session-monitor: its address ends in /mcp."
            return self._foreign

    async def _who(self) -> tuple[dict[str, Any], str | None]:
        transport = streamable_http_client(self._url, http_client=self._first)
        async with Client(transport, mode=LATEST_MODERN_VERSION, read_timeout_seconds=_WHO_S) as client:
            try:
                told = await client.session.send_discover(LATEST_MODERN_VERSION)
            except MCPError as error:
                if error.error.code == CONNECTION_CLOSED:
                    return {}, error.error.message  # the wire's words
                if error.error.code == REQUEST_TIMEOUT:
                    return {}, f"{self._url} does not say who it is. {_AWAY}"
                return {}, None  # an MCP server, and one that has no such question
        found = (told.get("_meta") or {}).get(SERVER_INFO_META_KEY)
        return (found if isinstance(found, dict) else {}), None

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """As the wire's, in the session as the server knows it now."""
        known = request.headers.get(MCP_SESSION_ID)
        if known is not None and self._session is not None:
            request.headers[MCP_SESSION_ID] = self._session
        if request.method == "DELETE":
            return await super().send(request, **how)
        if request.method == "GET":
            return await self._notices(request, how)
        why = await self.refusal()
        if why is not None:
            return self._told(request, 503, why)
        response = await super().send(request, **how)
        if known is not None and response.status_code == 404:
            await response.aclose()
            if not await self._renewed(request):
                return self._told(request, 503, f"{self._url} has forgotten this session: start the client again.")
            response = await super().send(request, **how)
        if response.is_success:
            self._remember(request, response)
        return response

    async def _notices(self, request: httpx2.Request, how: dict[str, Any]) -> httpx2.Response:
        """The stream of what the server tells by itself; however long the server is away, it is waited for."""
        pause = 1.0
        while True:
            response = await super().send(request, **how)
            if response.is_success:
                # What changed while nobody listened was told to nobody: all that is subscribed to may have.
                plain = self._listened and "content-encoding" not in response.headers
                missed = [_updated(uri) for uri in self._subscribed] if plain else []
                self._listened = True
                # The SDK asks again after a stream that ended, and gives up after one that broke.
                response.stream = _Unbroken(response.stream, missed)
                return response
            if response.status_code == 405:
                return response
            await response.aclose()
            if not (response.status_code == 404 and await self._renewed(request)):
                with anyio.move_on_after(pause):
                    await self._begun.wait()
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _remember(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """What the session would have to be made from again."""
        method, uri = _asked(request)
        if method == "initialize" and response.headers.get(MCP_SESSION_ID):
            self._hello, self._session = request.content, response.headers[MCP_SESSION_ID]
            self._subscribed.clear()
            self._listened = False
        elif method == "resources/subscribe":
            self._subscribed[uri] = request.content
        elif method == "resources/unsubscribe":
            self._subscribed.pop(uri, None)

    async def _renewed(self, refused: httpx2.Request) -> bool:
        """Begin the session anew at a server that does not know it, and put its new id into `refused`."""
        async with self._renewing:
            if self._session == refused.headers.get(MCP_SESSION_ID):
                if self._hello is None or not await self._begin_again(self._hello):
                    return False
            assert self._session is not None
            refused.headers[MCP_SESSION_ID] = self._session
            return True

    async def _begin_again(self, hello: bytes) -> bool:
        headers = {"accept": f"{_JSON}, {_EVENTS}", "content-type": _JSON}
        begun = await super().send(self.build_request("POST", self._url, content=hello, headers=headers))
        session = begun.headers.get(MCP_SESSION_ID)
        if not begun.is_success or session is None:
            return False
        headers[MCP_SESSION_ID] = session
        ready = b'{"jsonrpc": "2.0", "method": "notifications/initialized"}'
        for message in (ready, *self._subscribed.values()):
            done = await super().send(self.build_request("POST", self._url, content=message, headers=headers))
            if not done.is_success:
                return False
        self._session = session
        self._begun.set()
        self._begun = anyio.Event()
        return True


class _Unbroken(httpx2.AsyncByteStream):
    """A stream of events that ends where it breaks, after events of ours."""

    def __init__(self, stream: Any, first: Sequence[bytes]) -> None:
        self._stream = stream
        self._first = first

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._first:
            yield event
        with contextlib.suppress(httpx2.HTTPError):
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._stream.aclose()


_AWAY = "Is `session-monitor serve --http` running there, and can it be reached from here?"
_TOKEN = "give it in SESSION_MONITOR_REMOTE_TOKEN, or in a file with --token-file"  # noqa: S105 - how, not which


def _kind(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _streams(response: httpx2.Response) -> bool:
    return response.is_success and _kind(response) == _EVENTS


def _asked(request: httpx2.Request) -> tuple[str, str]:
    """The method of a message of ours, and the address that it names."""
    try:
        message = json.loads(request.content)
        return message.get("method", ""), (message.get("params") or {}).get("uri", "")
    except (ValueError, AttributeError):
        return "", ""


def _updated(uri: str) -> bytes:
    """The event that says that a resource has changed."""
    notice = JSONRPCNotification(jsonrpc="2.0", method="notifications/resources/updated", params={"uri": uri})
    return f"event: message\ndata: {notice.model_dump_json(exclude_unset=True)}\n\n".encode()


def _reason(error: Exception) -> str:
    """Why a connection failed, from whoever knows it best."""
    while isinstance(cause := error.__cause__ or error.__context__, Exception):
        error = cause
    if isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    said = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        # asyncio puts the address, which is known, in the place of the reason.
        said = os.strerror(error.errno)
    return visible(said, keep="")[:_LONGEST_REASON]


def _detail(response: httpx2.Response) -> str:
    """What a problem says of itself."""
    detail = response.text if _kind(response) == "text/plain" else response.reason_phrase
    with contextlib.suppress(ValueError, LookupError, TypeError):
        detail = str(response.json()["detail"])
    return visible(detail, keep="")[:_LONGEST_REASON]


def say(words: str) -> None:
    """Tell on standard error."""
    sys.stderr.write(f"session-monitor: {words}\n")
    sys.stderr.flush()
