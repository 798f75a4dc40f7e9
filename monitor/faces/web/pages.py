"""The pages, from the overview to the budgets. Each shows answers; nothing is worked out here."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, get_args

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from monitor.answers import budgets, comparison, health, overview, prices, sessions, spenders, stats, transcripts
from monitor.answers.anomalies.find import find_anomalies
from monitor.answers.base import Asking
from monitor.answers.errors import NotFound
from monitor.answers.reconcile import reconcile
from monitor.answers.rounds import INCLUDABLE, get_round, rounds_of
from monitor.faces.web import conversation
from monitor.faces.web.asked import answered, choice
from monitor.faces.web.rendering import Pages
from monitor.runtime import Runtime
from monitor.store.base import Grain, SortBy

#: What the overview can look back on, in local days.
PERIODS: dict[str, int | None] = {"all": None, "today": 1, "7d": 7, "30d": 30, "365d": 365}
_SORTS: tuple[SortBy, ...] = get_args(SortBy)
_DIMENSIONS: tuple[spenders.SpenderDimension, ...] = ("consumer", "function", "route")
#: The finest step of each period whose columns can still be told apart.
_STEPS: dict[str, tuple[Grain, ...]] = {
    "today": ("hour",),
    "7d": ("day", "hour"),
    "30d": ("day",),
    "365d": ("month", "day"),
    "all": ("day", "month"),
}
#: With more months than that, all time is shown by month; and never more columns than the other.
_FEW_MONTHS = 2
_MOST_STEPS = 366
_TABLE_ROWS = 8
#: What is unusual is looked for in so many days.
_LOOK_BACK = (1, 7, 30)
_MOST_ANOMALIES = 50
#: Meters are compared over so many days; the first unless another is picked.
_COMPARED = (7, 1, 30, 366)
_MOST_DIFFERENCES = 100
_MOST_CHOICES = 200
_PAGE_SESSIONS = 20
_PAGE_ROUNDS = 50
#: A chart of more rounds shows the newest: there are no more points on a screen.
_MOST_COLUMNS = 4_000
_LONGEST_NUMBER = 10

_Handler = Callable[[Request], Awaitable[Response]]


def routes(runtime: Runtime) -> list[BaseRoute]:
    """What a browser asks for, but for the API and the files."""
    site = _Site(runtime)
    handlers: dict[str, _Handler] = {
        "/": site.overview,
        "/session": site.session,
        "/session.md": site.transcript,
        "/session/round": site.round,
        "/session/series": site.series,
        "/models": site.models,
        "/compare": site.compare,
        "/anomalies": site.anomalies,
        "/reconcile": site.reconcile,
        "/sources": site.sources,
        "/budgets": site.budgets,
    }
    return [Route(path, site.guarded(handler)) for path, handler in handlers.items()]


class _OverTime(NamedTuple):
    bucket: Grain
    answer: stats.DateStats


def _over_time(ask: Asking, period: str, bucket: str | None) -> _OverTime:
    """Sums by the step that was picked, else by one whose columns can be told apart."""
    days = PERIODS[period]
    steps = next((step for step in _STEPS[period] if step == bucket), None)
    if steps is None and days is None:
        # Months first: where there are many, the days of all time need not be summed as well.
        months = stats.stats_by_date(ask, bucket="month", sessions=False)
        if len(months.rows) > _FEW_MONTHS:
            return _OverTime("month", months)
    steps = steps or _STEPS[period][0]
    return _OverTime(steps, stats.stats_by_date(ask, days=days, bucket=steps, sessions=False))


class _Site:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pages = Pages()

    async def _answer(self, question: Callable[[Asking], Response]) -> Response:
        return await answered(self._runtime, question)

    def guarded(self, handler: _Handler) -> _Handler:
        """The handler, with what can go wrong shown as a page."""

        async def shown(request: Request) -> Response:
            try:
                return await handler(request)
            except HTTPException as error:
                return self._problem(request, error.status_code, error.detail)

        return shown

    def _problem(self, request: Request, status: int, message: str) -> Response:
        return self._pages.page(request, "problem.html", None, status=status, problem=status, message=message)

    # -- overview ---------------------------------------------------------------------------------

    async def overview(self, request: Request) -> Response:
        """Where the money went: totals, over time, by model and by who asked; and the sessions."""
        query = request.query_params
        period = choice(request, "period", tuple(PERIODS))
        days = PERIODS[period]
        bucket = query.get("bucket")
        sort_by: SortBy = choice(request, "sort_by", ("updated", *_SORTS))  # type: ignore[assignment]
        filters = {name: query.get(name) or None for name in ("search", "model", "consumer", "since", "until")}

        def question(ask: Asking) -> Response:
            found = sessions.list_sessions(
                ask,
                sort_by=sort_by,
                search=filters["search"],
                model=filters["model"],
                consumer=filters["consumer"],
                since=filters["since"],
                until=filters["until"],
                limit=_PAGE_SESSIONS,
                cursor=query.get("cursor") or None,
            )
            dates = _over_time(ask, period, bucket)
            return self._pages.page(
                request,
                "overview.html",
                ask,
                period=period,
                periods=tuple(PERIODS),
                bucket=dates.bucket,
                buckets=_STEPS[period],
                models=stats.stats_by_model(ask, days=days, sessions=False),
                dates=dates.answer,
                most_steps=_MOST_STEPS,
                spend=overview.spend_overview(ask),
                budgets=budgets.budget_states(ask) if ask.book.budgets else [],
                by={name: spenders.top_spenders(ask, name, days=days, limit=_MOST_CHOICES) for name in _DIMENSIONS},
                table_rows=_TABLE_ROWS,
                found=found,
                filters=filters,
                filtered=any(filters.values()),
                sort_by=sort_by,
            )

        return await self._answer(question)

    # -- one session ------------------------------------------------------------------------------

    async def session(self, request: Request) -> Response:
        """One session: what it cost, how its context grew, and its newest rounds."""
        session_id = request.query_params.get("id")
        before = request.query_params.get("before") or None

        def question(ask: Asking) -> Response:
            if not session_id:
                return self._no_session(request, ask, None)
            try:
                session = sessions.get_session(ask, session_id, detailed=True)
            except NotFound:
                return self._no_session(request, ask, session_id)
            rounds = rounds_of(
                ask, session_id, limit=_PAGE_ROUNDS, before=before, content=ask.content_is_open, new_only=True
            )
            return self._pages.page(
                request, "session.html", ask, session=session, rounds=rounds, before=before, said=conversation.said
            )

        return await self._answer(question)

    def _no_session(self, request: Request, ask: Asking, session_id: str | None) -> Response:
        similar = ask.store.similar(session_id[:400]) if session_id else []
        recent = sessions.list_sessions(ask, limit=8)
        return self._pages.page(
            request, "no_session.html", ask, status=404, asked=session_id, similar=similar, recent=recent
        )

    async def round(self, request: Request) -> Response:
        """One round with everything that was said before it: by its own id, or by its session and number."""
        session_id = request.query_params.get("id") or None
        round_id = request.query_params.get("round_id") or None
        number = request.query_params.get("round", "")
        numbered = session_id is not None and number.isdecimal() and len(number) < _LONGEST_NUMBER
        if round_id is None and not numbered:
            raise HTTPException(400, "round: name a session and a number, as in ?id=agent%3Amain%3Amain&round=1")
        which = {"number": int(number)} if round_id is None else {"round_id": round_id}

        def question(ask: Asking) -> Response:
            said = INCLUDABLE if ask.content_is_open else ()
            whole = get_round(ask, session_id, **which, include=said)
            new = get_round(ask, session_id, **which, include=said, new_only=True)
            before = whole.messages[: new.messages_from] if isinstance(whole.messages, list) else []
            return self._pages.page(
                request,
                "round.html",
                ask,
                session=None if new.session_id is None else sessions.get_session(ask, new.session_id),
                r=new,
                said=conversation.said,
                history=conversation.messages(before) if new.messages_from else [],
            )

        return await self._answer(question)

    async def series(self, request: Request) -> Response:
        """The figures of a session's rounds by column, for its charts."""
        session_id = request.query_params.get("id") or ""

        def question(ask: Asking) -> Response:
            rows = rounds_of(ask, session_id, limit=_MOST_COLUMNS).rounds
            currencies = sorted({currency for row in rows for currency in row.cost or {}})
            return JSONResponse(
                {
                    "round": [row.round for row in rows],
                    "input": [row.input_tokens for row in rows],
                    "cached": [row.cached_tokens for row in rows],
                    "output": [row.output_tokens for row in rows],
                    "reasoning": [row.reasoning_tokens for row in rows],
                    "cost": {name: [(row.cost or {}).get(name) for row in rows] for name in currencies},
                    "ids": [row.round_id for row in rows],
                }
            )

        return await self._answer(question)

    async def transcript(self, request: Request) -> Response:
        """The conversation as Markdown, to keep."""
        session_id = request.query_params.get("id") or ""

        def question(ask: Asking) -> Response:
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", session_id).strip("-.")[:100] or "session"
            return Response(
                # A lone surrogate, which JSON may hold, is no text that can be written.
                transcripts.transcript(ask, session_id).encode("utf-8", "replace"),
                media_type="text/markdown; charset=utf-8",
                headers={"content-disposition": f'attachment; filename="{name}.md"'},
            )

        return await self._answer(question)

    # -- models, sources, budgets -----------------------------------------------------------------

    async def models(self, request: Request) -> Response:
        """What each model cost, by which price, and which have none."""
        days = PERIODS[choice(request, "period", tuple(PERIODS))]

        def question(ask: Asking) -> Response:
            return self._pages.page(
                request,
                "models.html",
                ask,
                period=request.query_params.get("period", "all"),
                periods=tuple(PERIODS),
                models=stats.stats_by_model(ask, days=days),
                prices=prices.prices_in_use(ask, self._runtime.catalog()),
                missing=prices.missing_prices(ask),
            )

        return await self._answer(question)

    async def compare(self, request: Request) -> Response:
        """What the same tokens would have cost on other models."""
        session_id = request.query_params.get("id") or None

        def question(ask: Asking) -> Response:
            found = comparison.compare_models(ask, self._runtime.catalog(), session_id)
            return self._pages.page(request, "compare.html", ask, found=found)

        return await self._answer(question)

    async def anomalies(self, request: Request) -> Response:
        """What is unusual, each next to what is usual."""
        days = int(choice(request, "days", tuple(map(str, _LOOK_BACK))))

        def question(ask: Asking) -> Response:
            found = find_anomalies(ask, self._runtime.catalog, days, limit=_MOST_ANOMALIES)
            return self._pages.page(request, "anomalies.html", ask, days=days, choices=_LOOK_BACK, found=found)

        return await self._answer(question)

    async def reconcile(self, request: Request) -> Response:
        """What the gateway saw against what OpenClaw wrote down, and why they differ."""
        days = int(choice(request, "days", tuple(map(str, _COMPARED))))

        def question(ask: Asking) -> Response:
            found = reconcile(ask, days=days, limit=_MOST_DIFFERENCES)
            return self._pages.page(request, "reconcile.html", ask, days=days, choices=sorted(_COMPARED), found=found)

        return await self._answer(question)

    async def sources(self, request: Request) -> Response:
        """What is read, how far, what was skipped and why, and what to do."""

        def question(ask: Asking) -> Response:
            report = health.source_health(ask, self._runtime.standing(), samples=True)
            return self._pages.page(request, "sources.html", ask, report=report)

        return await self._answer(question)

    async def budgets(self, request: Request) -> Response:
        """How much of each budget is used."""

        def question(ask: Asking) -> Response:
            report = budgets.budgets(ask)
            return self._pages.page(request, "budgets.html", ask, configured=bool(ask.book.budgets), report=report)

        return await self._answer(question)
