"""The HTTP API: the answers that agents get, as JSON."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from monitor.answers import health, sessions, stats
from monitor.answers.base import Asking
from monitor.answers.rounds import rounds_of
from monitor.faces.web.asked import answered, choice, session_id
from monitor.runtime import Runtime


def routes(runtime: Runtime) -> list[BaseRoute]:
    """The API."""
    api = _Api(runtime)
    return [
        Route("/api/sessions", api.api_sessions),
        Route("/api/session", api.api_session),
        Route("/api/stats", api.api_stats),
        Route("/healthz", api.healthz),
    ]


class _Api:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def api_sessions(self, request: Request) -> Response:
        """As `list_sessions`."""
        query = request.query_params
        limit = query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            raise HTTPException(400, "limit: use a number from 1 to 100")
        answer = await answered(
            self._runtime,
            lambda ask: sessions.list_sessions(
                ask,
                sort_by=choice(request, "sort_by", ("updated", "cost", "created", "tokens", "rounds")),  # type: ignore[arg-type]
                since=query.get("since"),
                until=query.get("until"),
                model=query.get("model"),
                consumer=query.get("consumer"),
                search=query.get("search"),
                limit=int(limit),
                cursor=query.get("cursor"),
            ),
        )
        return JSONResponse(answer.small())

    async def api_session(self, request: Request) -> Response:
        """As `get_session`; with ``rounds=true`` with all rounds and what was said."""
        name = session_id(request)
        answer = await answered(self._runtime, lambda ask: sessions.get_session(ask, name))
        data = answer.small()
        if request.query_params.get("rounds") in ("true", "1"):
            page = await answered(self._runtime, lambda ask: rounds_of(ask, name, content=True))
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

        return JSONResponse(await answered(self._runtime, question))

    async def healthz(self, _: Request) -> Response:
        """Liveness, and how far the log is read."""
        answer = await answered(self._runtime, lambda ask: health.source_health(ask, self._runtime.standing()))
        return JSONResponse(
            {
                "ok": answer.ok,
                "ingesting": answer.ingesting,
                "as_of": answer.as_of,
                "behind_bytes": answer.behind_bytes or 0,
            }
        )
