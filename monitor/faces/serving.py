"""One process, all faces that run on: MCP over stdio or HTTP, the page, the API, and ingestion behind them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import current_token
from mcp.server.stdio import stdio_server

from monitor.access.tokens import AUTO, Tokens
from monitor.config import LOOPBACK, ConfigError
from monitor.faces.mcp import scoped
from monitor.faces.mcp.sdk import run_on
from monitor.faces.mcp.server import with_notices
from monitor.runtime import Runtime

log = logging.getLogger("monitor.serving")

DEFAULT_PORT = 8888
_SHORT_TOKEN = 16
#: Streams of pages and agents among them; one more is told to come back.
_MOST_CONNECTIONS = 1024
#: Of the request line and the headers together.
_MOST_HEADER_BYTES = 64 * 1024
#: A client that lists no tools still gets its log read after this long.
_START_ANYWAY_S = 1.5


def serve_stdio(runtime: Runtime, *, web: bool = True, ingest: bool = True, text_only: bool = False) -> None:
    """Serve MCP on standard input and output until the client closes it."""
    anyio.run(_stdio, runtime, web, ingest, text_only)


def serve_http(runtime: Runtime, host: str, port: int, *, ingest: bool = True, text_only: bool = False) -> None:
    """Serve MCP at ``/mcp``, the page and the API until stopped.

    Raises:
        ConfigError: a token is needed and there is none, or the address is taken.
    """
    new_token = _see_to_token(runtime, host)
    anyio.run(_http, runtime, host, port, ingest, text_only, new_token)


def _see_to_token(runtime: Runtime, host: str) -> str | None:
    """Make sure that somebody can get in where a token is needed; gives the token where one was made just now.

    Raises:
        ConfigError: there is none, and none was asked for.
    """
    web = runtime.settings.web
    tokens = Tokens(runtime.folder)
    wanted = None if web.token is None else web.token.get_secret_value()
    if wanted is not None and wanted != AUTO:
        if len(wanted) < _SHORT_TOKEN:
            log.warning("the token is short enough to be guessed: `--token auto` makes a better one")
        return None
    opens_all = any(token.scope is None for token in tokens.usable())
    if wanted == AUTO and not opens_all:
        return tokens.create(note="serve --token auto")[1]
    off_loopback = host not in LOOPBACK
    if (off_loopback or web.needs_token) and not tokens.usable():
        setting = "base_url" if web.auth != "always" else 'auth = "always"'
        why = f"--http {host}" if off_loopback else f"[web] {setting}"
        raise ConfigError(
            f"{why}: sessions are private, so a token is needed there and there is none: add `--token auto` (makes one "
            "and prints it once) or `--token TOKEN`, or make one with `session-monitor token create`"
        )
    return None


async def _stdio(runtime: Runtime, web: bool, ingest: bool, text_only: bool) -> None:
    server, notices = with_notices(runtime, text_only=text_only)
    handshake_done = anyio.Event()

    async def notice(ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        # The client waits for its first list of tools; reading logs before it is out would make it wait longer.
        if ctx.method == "tools/call" and ingest:
            handshake_done.set()
            if not runtime.settled:
                await anyio.to_thread.run_sync(runtime.settle)
        result = await call_next(ctx)
        if ctx.method == "tools/list":
            handshake_done.set()
        return result

    server.middleware.append(notice)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal, runtime)
        tasks.start_soon(notices.run)
        page = _Page(runtime) if web else None
        if ingest:
            tasks.start_soon(_start_ingesting, runtime, handshake_done, page)
        async with stdio_server() as (reader, writer):
            # After stdio_server took the real standard output, whatever else prints goes to standard error.
            with contextlib.redirect_stdout(sys.stderr):
                await run_on(server, reader, writer)
        if page is not None:
            await page.close()
        runtime.close()
        tasks.cancel_scope.cancel()


async def _start_ingesting(runtime: Runtime, handshake_done: anyio.Event, page: _Page | None) -> None:
    with anyio.move_on_after(_START_ANYWAY_S):
        await handshake_done.wait()
    holds_lock = anyio.Event()
    token = current_token()
    runtime.start(on_lock=lambda: anyio.from_thread.run_sync(holds_lock.set, token=token))
    if page is not None:
        await holds_lock.wait()
        await page.serve()


class _Page:
    """The page and the API of the process that ingests, on the first free port."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._server: Any = None
        self._closed = anyio.Event()

    async def serve(self) -> None:
        """Serve until `close`; a process that finds no port goes on without a page."""
        from monitor.faces.mcp.sdk import EmbeddedServer  # noqa: PLC0415
        from monitor.faces.web import app  # noqa: PLC0415 - only the ingesting process serves the page

        try:
            listener = _free_port(DEFAULT_PORT)
        except OSError as error:
            log.warning("the page is not served: %s", error)
            return
        guarded = self._runtime.settings.web.needs_token
        self._runtime.publish_address(f"http://localhost:{listener.getsockname()[1]}", guarded=guarded)
        web = app.build(self._runtime)
        self._server = EmbeddedServer(_uvicorn_config(web), web.state.before_shutdown)
        try:
            await self._server.serve(sockets=[listener])
        finally:
            self._closed.set()

    async def close(self) -> None:
        """Finish what is being answered and stop."""
        if self._server is not None:
            self._server.should_exit = True
            with anyio.move_on_after(3):
                await self._closed.wait()


async def _http(runtime: Runtime, host: str, port: int, ingest: bool, text_only: bool, new_token: str | None) -> None:
    from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415

    from monitor.faces.mcp.sdk import EmbeddedServer, listening_socket  # noqa: PLC0415
    from monitor.faces.web import app, guard  # noqa: PLC0415

    try:
        listener = listening_socket(host, port)
    except OSError as error:
        other = runtime.published_address()
        hint = "name another port, or stop what uses it"
        if other is not None and other.endswith(f":{port}"):
            hint = (
                "a session-monitor that an agent started serves the page there. Name another port; or end the "
                "agent's sessions once, start this one first, and let agents use it (`skill install --http`)"
            )
        raise ConfigError(f"--http {host}:{port}: {error.strerror}: {hint}") from None
    server, notices = with_notices(runtime, text_only=text_only)
    scoped.ask_by_request(server)
    at = guard.house(runtime.settings.web, host)
    inner = server.streamable_http_app(
        transport_security=TransportSecuritySettings(
            # The guard in front of all routes has seen to host and origin, with the names that the settings add.
            enable_dns_rebinding_protection=False
        )
    )

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    whole = app.build(runtime, at=at, extra_routes=inner.routes, lifespan=lifespan)
    port = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    reached = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else shown  # noqa: S104 - compared with
    runtime.publish_address(f"http://{reached}:{port}", guarded=at.needs_token)
    if ingest:
        runtime.start()
    sys.stderr.write(f"page  http://{shown}:{port}/\nMCP   http://{shown}:{port}/mcp\n")
    if new_token is not None:
        # Behind a proxy the cookie is made for its address: only a login there lasts.
        web = runtime.settings.web
        entry = (web.base_url or "").rstrip("/") if web.public is not None else f"http://{reached}:{port}"
        sys.stderr.write(f"token {new_token}\nIt is not shown again. Log in once with {entry}/?token={new_token}\n")
    sys.stderr.flush()
    serving = EmbeddedServer(_uvicorn_config(whole), whole.state.before_shutdown)
    interrupted = False

    async def until_signal() -> None:
        nonlocal interrupted
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                interrupted = number == signal.SIGINT
                if serving.should_exit:
                    # The second time at once. What is being added is a transaction, so nothing is left half done.
                    runtime.withdraw_address()
                    os._exit(130 if interrupted else 0)
                serving.should_exit = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_signal)
        tasks.start_soon(notices.run)
        await serving.serve(sockets=[listener])
        tasks.cancel_scope.cancel()
    runtime.close()
    if interrupted:
        raise KeyboardInterrupt


def _uvicorn_config(app: Any) -> Any:
    import uvicorn  # noqa: PLC0415

    # uvicorn's access log would go to standard output, which belongs to MCP.
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        http="h11",
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        proxy_headers=False,
        server_header=False,
    )


def first_free_port(first: int) -> int:
    """A port on loopback that nothing listens on just now."""
    with contextlib.closing(_free_port(first)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _free_port(first: int) -> socket.socket:
    from monitor.faces.mcp.sdk import listening_socket  # noqa: PLC0415

    for port in (*range(first, first + 20), 0):
        try:
            return listening_socket("127.0.0.1", port)
        except OSError:
            continue
    raise OSError("no free port on 127.0.0.1")


async def _until_signal(runtime: Runtime) -> None:
    """End on SIGINT and SIGTERM: the SDK's reader thread would hold the process until its input closes."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            # What is being added is a transaction; leaving it undone is as good as a clean end.
            runtime.withdraw_address()
            os._exit(130 if number == signal.SIGINT else 0)
