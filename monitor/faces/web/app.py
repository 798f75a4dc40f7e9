"""Puts pages and API together behind the checks that every request passes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import anyio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from monitor import __version__
from monitor.access.tokens import AUTO, Tokens
from monitor.faces.web import api, auth, live, metrics, pages, records, usage_api
from monitor.faces.web.docs import routes as docs_routes
from monitor.faces.web.guard import Guard, House, house
from monitor.faces.web.problems import problem
from monitor.runtime import Runtime

_HERE = Path(__file__).parent
_DESCRIPTION = (
    "What AI agent conversations behind a Higress gateway cost, from its access log: the answers that agents get over "
    "MCP. Times are RFC 3339 in UTC. Money is an object of currency to number, exact to 1e-9. Input tokens hold cache "
    "reads and writes, output tokens hold reasoning. What is absent is unknown, never zero."
)


def build(
    runtime: Runtime,
    *,
    at: House | None = None,
    extra_routes: Sequence[BaseRoute] = (),
    lifespan: Callable[[], contextlib.AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The ASGI application. `at`: under which names it answers and whether it asks for a token; by the settings."""
    at = at or house(runtime.settings.web)
    credentials = auth.Credentials(Tokens(runtime.folder), runtime.signer, _given(runtime))
    growth = live.Growth(runtime)

    @contextlib.asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(growth.run)
            async with contextlib.AsyncExitStack() as stack:
                if lifespan is not None:
                    await stack.enter_async_context(lifespan())
                yield
            tasks.cancel_scope.cancel()

    app = FastAPI(
        title="Agent Session Monitor",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        routes=[
            *pages.routes(runtime),
            *auth.routes(at, credentials),
            *docs_routes(),
            Route("/static/ai_usage_monitor.html", _to_overview),
            Mount("/static", GZipMiddleware(StaticFiles(directory=_HERE / "static"), compresslevel=6)),
            *extra_routes,
        ],
        middleware=[Middleware(Guard, house=at), Middleware(auth.Door, house=at, credentials=credentials)],
        exception_handlers={HTTPException: _problem, RequestValidationError: _bad_query},
        lifespan=running,
    )
    for part in (
        api.router(runtime),
        live.router(runtime, growth),
        usage_api.router(runtime, "/api/usage", described=True),
        usage_api.router(runtime, "/api/ai_usage", described=False),
        records.router(runtime, "/api/usage", described=True),
        records.router(runtime, "/api/ai_usage", described=False),
        api.health_router(runtime),
        metrics.router(runtime),
    ):
        app.include_router(part)
    app.state.before_shutdown = growth.close
    return app


def _given(runtime: Runtime) -> str | None:
    """The token of the settings, where there is one that is a token."""
    token = runtime.settings.web.token
    value = None if token is None else token.get_secret_value()
    return None if value == AUTO else value


async def _to_overview(request: Request) -> Response:
    """The address of the first usage monitor's page."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/", 307)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(sorted({*(error.headers or {}).get("Allow", "").split(", "), "HEAD", "OPTIONS"} - {""}))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": allowed})
        return problem(request.scope, 405, f"This can be asked for with {allowed}.", {"allow": allowed})
    detail = error.detail
    if error.status_code == 404 and detail == "Not Found":
        detail = "There is no such page; /api/docs describes what can be asked for."
    return problem(request.scope, error.status_code, detail, error.headers)


async def _bad_query(request: Request, error: Exception) -> Response:
    """Every parameter that can't be used, with what would do. The body's own faults are told by 422."""
    assert isinstance(error, RequestValidationError)
    said, in_body = [], False
    for fault in error.errors()[:5]:
        place, *names = fault["loc"]
        in_body = in_body or place == "body"
        name = ".".join(str(part) for part in names)[:100]
        if fault["type"] == "extra_forbidden":
            said.append(f"{name}: there is no such parameter; /api/docs describes those that there are")
        else:
            said.append(f"{name}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return problem(request.scope, 422 if in_body else 400, "; ".join(said))
