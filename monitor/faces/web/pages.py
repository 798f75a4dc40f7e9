"""Pages over the same answers that agents get; nothing is worked out here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from monitor.answers import sessions, stats
from monitor.answers.base import Asking
from monitor.answers.rounds import rounds_of
from monitor.faces.web.asked import answered, choice, session_id
from monitor.runtime import Runtime

_HERE = Path(__file__).parent
_PAGE_ROUNDS = 100


def routes(runtime: Runtime) -> list[BaseRoute]:
    """The pages."""
    pages = _Pages(runtime)
    return [Route("/", pages.overview), Route("/session", pages.session)]


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

    def _page(self, name: str, **values: object) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(name).render(**values))

    async def overview(self, request: Request) -> Response:
        """Sessions, newest first, with the totals of all time."""
        sort_by = choice(request, "sort_by", ("updated", "cost", "created", "tokens", "rounds"))
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

        return await answered(self._runtime, question)

    async def session(self, request: Request) -> Response:
        """One session with its newest rounds."""
        name = session_id(request)
        before = request.query_params.get("before")

        def question(ask: Asking) -> HTMLResponse:
            session = sessions.get_session(ask, name, detailed=True)
            rounds = rounds_of(ask, name, limit=_PAGE_ROUNDS, before=before, content=True, new_only=True)
            return self._page("session.html", session=session, rounds=rounds, ask=ask, when=_times(ask))

        return await answered(self._runtime, question)


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
