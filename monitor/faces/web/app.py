"""Pages and API over the same answers that agents get; nothing is worked out here."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.answers import health, sessions, stats
from monitor.answers.base import Asking, BadQuestion, NotFound
from monitor.answers.rounds import rounds_of
from monitor.runtime import Runtime
from monitor.store.base import StoreError, UnknownCursor

_HERE = Path(__file__).parent
_T = TypeVar("_T")
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_PAGE_ROUNDS = 100
#: No script runs and nothing is loaded from elsewhere: texts of a log can do nothing on these pages.
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
        b"form-action 'self'; frame-ancestors 'none'",
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
    pages = _Pages(runtime)

    @contextlib.asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        if lifespan is None:
            yield
        else:
            async with lifespan():
                yield

    return Starlette(
        routes=[
            Route("/", pages.overview),
            Route("/session", pages.session),
            Route("/api/sessions", pages.api_sessions),
            Route("/api/session", pages.api_session),
            Route("/api/stats", pages.api_stats),
            Route("/healthz", pages.healthz),
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


class _Pages:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(money=_money, number=_number)

    async def _ask(self, question: Callable[[Asking], _T]) -> _T:
        def asked() -> _T:
            return question(self._runtime.asking())

        try:
            return await anyio.to_thread.run_sync(asked)
        except NotFound as error:
            raise HTTPException(404, str(error)) from error
        except (BadQuestion, UnknownCursor) as error:
            raise HTTPException(400, str(error)) from error
        except StoreError as error:
            raise HTTPException(503, str(error)) from error

    def _page(self, name: str, **values: object) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(name).render(**values))

    async def overview(self, request: Request) -> Response:
        """Sessions, newest first, with the totals of all time."""
        sort_by = _choice(request, "sort_by", ("updated", "cost", "created", "tokens", "rounds"))
        cursor = request.query_params.get("cursor")
        search = request.query_params.get("search") or None

        def question(ask: Asking) -> HTMLResponse:
            page = sessions.list_sessions(ask, sort_by=sort_by, search=search, cursor=cursor)  # type: ignore[arg-type]
            models = stats.stats_by_model(ask)
            return self._page(
                "overview.html",
                page=page,
                models=models,
                sort_by=sort_by,
                search=search or "",
                ask=ask,
                when=_times(ask),
            )

        return await self._ask(question)

    async def session(self, request: Request) -> Response:
        """One session with its newest rounds."""
        session_id = _session_id(request)
        before = request.query_params.get("before")

        def question(ask: Asking) -> HTMLResponse:
            session = sessions.get_session(ask, session_id, detailed=True)
            rounds = rounds_of(ask, session_id, limit=_PAGE_ROUNDS, before=before, content=True, new_only=True)
            return self._page("session.html", session=session, rounds=rounds, ask=ask, when=_times(ask))

        return await self._ask(question)

    async def api_sessions(self, request: Request) -> Response:
        """As `list_sessions`."""
        query = request.query_params
        limit = query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            raise HTTPException(400, "limit: use a number from 1 to 100")
        answer = await self._ask(
            lambda ask: sessions.list_sessions(
                ask,
                sort_by=_choice(request, "sort_by", ("updated", "cost", "created", "tokens", "rounds")),  # type: ignore[arg-type]
                since=query.get("since"),
                until=query.get("until"),
                model=query.get("model"),
                consumer=query.get("consumer"),
                search=query.get("search"),
                limit=int(limit),
                cursor=query.get("cursor"),
            )
        )
        return JSONResponse(answer.small())

    async def api_session(self, request: Request) -> Response:
        """As `get_session`; with ``rounds=true`` with all rounds and what was said."""
        session_id = _session_id(request)
        answer = await self._ask(lambda ask: sessions.get_session(ask, session_id))
        data = answer.small()
        if request.query_params.get("rounds") in ("true", "1"):
            page = await self._ask(lambda ask: rounds_of(ask, session_id, content=True))
            data["rounds"] = [row.small() for row in page.rounds]
        return JSONResponse(data)

    async def api_stats(self, _: Request) -> Response:
        """Totals of all time with a row a model and a row a day."""

        def question(ask: Asking) -> dict[str, object]:
            models, dates = stats.stats_by_model(ask).small(), stats.stats_by_date(ask).small()
            return {
                "total_sessions": models["totals"].get("sessions", 0),
                "total_cost": models["totals"].get("cost", {}),
                "totals": models["totals"],
                "by_model": models["rows"],
                "by_date": dates["rows"],
                "as_of": models.get("as_of"),
            }

        return JSONResponse(await self._ask(question))

    async def healthz(self, _: Request) -> Response:
        """Liveness, and how far the log is read."""
        answer = await self._ask(lambda ask: health.source_health(ask, self._runtime.standing()))
        return JSONResponse(
            {
                "ok": answer.ok,
                "ingesting": answer.ingesting,
                "as_of": answer.as_of,
                "behind_bytes": answer.behind_bytes or 0,
            }
        )


def _session_id(request: Request) -> str:
    session_id = request.query_params.get("id")
    if not session_id:
        raise HTTPException(400, "id: name a session, as in /session?id=agent%3Amain%3Amain")
    return session_id


def _choice(request: Request, name: str, choices: Sequence[str]) -> str:
    value = request.query_params.get(name, choices[0])
    if value not in choices:
        raise HTTPException(400, f"{name}: use one of {', '.join(choices)}")
    return value


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


def _times(ask: Asking) -> Callable[[str | None], str]:
    """Shows times in the zone of the settings, to the second."""

    def when(time: str | None) -> str:
        return "–" if time is None else f"{datetime.fromisoformat(time).astimezone(ask.zone):%Y-%m-%d %H:%M:%S}"

    return when


def _money(cost: dict[str, float] | None) -> str:
    if cost is None:
        return "–"
    return " + ".join(f"{currency} {value:,.6f}".rstrip("0").rstrip(".") for currency, value in cost.items())


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
