"""Puts pages and API together behind the checks that every request passes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.faces.web import api, pages
from monitor.runtime import Runtime

_HERE = Path(__file__).parent
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
#: No script but ours runs and nothing is loaded from elsewhere: texts of a log can do nothing on these pages.
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def build(
    runtime: Runtime,
    *,
    hosts: Sequence[str] = LOOPBACK_HOSTS,
    extra_routes: Sequence[BaseRoute] = (),
    lifespan: Callable[[], contextlib.AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The ASGI application. Requests under any other host name than `hosts` are refused (DNS rebinding)."""

    @contextlib.asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        if lifespan is None:
            yield
        else:
            async with lifespan():
                yield

    return Starlette(
        routes=[
            *pages.routes(runtime),
            *api.routes(runtime),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
            *extra_routes,
        ],
        middleware=[Middleware(_Headers), Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: _problem},
        lifespan=running,
    )


class _Headers:
    """Adds the security headers to pages and API; MCP has its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        plain = scope["type"] != "http" or scope["path"].startswith("/mcp")
        await self._app(scope, receive, send if plain else with_headers)


async def _problem(request: Request, error: Exception) -> Response:
    """A problem in the form of RFC 9457, for people as plain text."""
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/api/"):
        return JSONResponse(
            {"type": "about:blank", "title": error.detail, "status": error.status_code},
            status_code=error.status_code,
            media_type="application/problem+json",
        )
    return Response(error.detail, status_code=error.status_code, media_type="text/plain")
