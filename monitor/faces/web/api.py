"""The HTTP API: the answers that agents get, as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from monitor.answers import budgets, comparison, health, links, overview, rounds, sessions, spenders, stats, summary
from monitor.answers.anomalies.base import Anomalies
from monitor.answers.anomalies.find import find_anomalies as anomalies_of
from monitor.answers.base import Asking
from monitor.answers.periods import instant
from monitor.answers.reconcile import Reconciliation
from monitor.answers.reconcile import reconcile as reconciled
from monitor.faces.web import parameters as p
from monitor.faces.web.asked import answered, as_json, streamed
from monitor.faces.web.auth import asker
from monitor.faces.web.problems import PROBLEMS
from monitor.runtime import Runtime

_PAGE_ROUNDS = 50


def router(runtime: Runtime) -> APIRouter:
    """Sessions, rounds and spending."""
    api = APIRouter(prefix="/api", tags=["Sessions and spending"], responses=PROBLEMS)

    @api.get("/sessions", response_model=sessions.SessionList)
    async def list_sessions(request: Request, asked: Annotated[p.SessionsAsked, Query()]) -> Response:
        """Sessions with tokens and cost, one page at a time. Follow `next_cursor` for more."""
        return await as_json(runtime, request, lambda ask: sessions.list_sessions(ask, **asked.model_dump()))

    @api.get("/session", response_model=sessions.Session)
    async def get_session(request: Request, asked: Annotated[p.SessionAsked, Query()]) -> Response:
        """What one session cost; with `rounds=true` with its rounds and what was said in them."""
        if asked.rounds:
            return await answered(runtime, lambda ask: _with_rounds(ask, asked))
        return await as_json(
            runtime,
            request,
            lambda ask: sessions.get_session(
                ask,
                asked.id,
                since=asked.since,
                detailed=asked.response_format == "detailed",
                cursor=asked.cursor,
                most_models=sessions.CONCISE_MODELS if asked.response_format == "concise" else None,
                include_subagents=asked.include_subagents,
            ),
        )

    @api.get("/round", response_model=rounds.OneRound)
    async def get_round(request: Request, asked: Annotated[p.RoundAsked, Query()]) -> Response:
        """One model request, and what was said in it as far as that is asked for."""
        return await as_json(
            runtime,
            request,
            lambda ask: rounds.get_round(ask, asked.id, asked.round, asked.round_id, include=asked.include),
        )

    @api.get("/session_url", response_model=links.SessionLink)
    async def session_url(request: Request, asked: Annotated[p.LinkAsked, Query()]) -> Response:
        """The link to a session's page; where a token is in use it opens that session alone, and is over at a time."""
        return await as_json(
            runtime, request, lambda ask: links.session_url(ask, asked.id, reachable=runtime.page_is_served)
        )

    @api.get("/stats", response_model=summary.Summary)
    async def all_stats(request: Request, _: Annotated[p.NothingAsked, Query()]) -> Response:
        """Totals of all time, by model and by day."""
        return await as_json(runtime, request, summary.summary)

    @api.get("/models", response_model=stats.ModelStats)
    async def stats_by_model(request: Request, asked: Annotated[p.ModelsAsked, Query()]) -> Response:
        """Tokens and cost by model; all time where no period is given."""
        return await as_json(runtime, request, lambda ask: stats.stats_by_model(ask, **asked.model_dump()))

    @api.get("/dates", response_model=stats.DateStats)
    async def stats_by_date(request: Request, asked: Annotated[p.DatesAsked, Query()]) -> Response:
        """Tokens and cost by hour, day or month; all time where no period is given."""
        return await as_json(runtime, request, lambda ask: stats.stats_by_date(ask, **asked.model_dump()))

    @api.get("/top", response_model=spenders.TopSpenders)
    async def top_spenders(request: Request, asked: Annotated[p.TopAsked, Query()]) -> Response:
        """Who spent the most: sessions, consumers, functions, routes or agents."""
        return await as_json(
            runtime,
            request,
            lambda ask: spenders.top_spenders(ask, asked.dimension, days=asked.days, limit=asked.limit),
        )

    @api.get("/overview", response_model=overview.SpendOverview)
    async def spend_overview(request: Request, asked: Annotated[p.OverviewAsked, Query()]) -> Response:
        """Today, yesterday, this month, how they changed, and what the month will come to."""
        return await as_json(runtime, request, lambda ask: overview.spend_overview(ask, asked.timezone))

    @api.get("/reconcile", response_model=Reconciliation)
    async def reconcile(request: Request, asked: Annotated[p.ReconcileAsked, Query()]) -> Response:
        """The gateway's log against OpenClaw's transcripts: what only one of them saw, and why."""
        return await as_json(runtime, request, lambda ask: reconciled(ask, days=asked.days, limit=asked.limit))

    @api.get("/anomalies", response_model=Anomalies)
    async def find_anomalies(request: Request, asked: Annotated[p.AnomaliesAsked, Query()]) -> Response:
        """Unusually dear, slow or failing rounds and sessions, each with why and what is usual."""
        return await as_json(
            runtime, request, lambda ask: anomalies_of(ask, runtime.catalog, asked.days, limit=asked.limit)
        )

    @api.get("/compare", response_model=comparison.Comparison)
    async def compare_models(request: Request, asked: Annotated[p.CompareAsked, Query()]) -> Response:
        """What the same tokens would have cost on other models at today's list prices."""
        return await as_json(
            runtime,
            request,
            lambda ask: comparison.compare_models(ask, runtime.catalog(), asked.id, asked.models or None),
        )

    @api.get("/budgets", response_model=budgets.Budgets)
    async def all_budgets(request: Request, _: Annotated[p.NothingAsked, Query()]) -> Response:
        """How much of each budget is used, and who was told."""
        return await as_json(runtime, request, budgets.budgets)

    @api.get("/sources", response_model=health.SourceHealth)
    async def source_health(request: Request, _: Annotated[p.NothingAsked, Query()]) -> Response:
        """Whether the logs are read completely: lag, skipped lines with reasons, and what to do."""
        return await as_json(runtime, request, lambda ask: health.source_health(ask, runtime.standing()))

    return api


def _with_rounds(ask: Asking, asked: p.SessionAsked) -> Response:
    """A session with its rounds: all of them while they are read, or one page."""
    content, new_only = asked.messages != "none" and ask.content_is_open, asked.messages == "new"
    session = sessions.get_session(ask, asked.id, since=asked.since)
    head = session.small()
    since = None if session.since is None else instant(session.since, ask.zone)
    if asked.limit is None and asked.cursor is None:
        rows: Iterator[dict[str, Any]] = (
            row.small() for row in rounds.each_round(ask, asked.id, content=content, new_only=new_only, since=since)
        )
        return streamed(head, "rounds", rows)
    page = rounds.rounds_of(
        ask,
        asked.id,
        limit=asked.limit or _PAGE_ROUNDS,
        before=asked.cursor,
        content=content,
        new_only=new_only,
        since=since,
    )
    cursor = {} if page.rounds_cursor is None else {"rounds_cursor": page.rounds_cursor}
    return streamed({**head, **cursor}, "rounds", (row.small() for row in page.rounds))


def health_router(runtime: Runtime) -> APIRouter:
    """Whether the server lives."""
    api = APIRouter(tags=["The monitor itself"])

    @api.get("/healthz")
    async def healthz(request: Request) -> Response:
        """Liveness, and how far the log is read. Without a token it says only whether all is well."""
        who = asker(request.scope)
        if not who.is_owner:
            return JSONResponse({"ok": await answered(runtime, lambda _: runtime.is_well)})
        answer = await answered(runtime, lambda ask: health.source_health(ask, runtime.standing()))
        return JSONResponse(
            {
                "ok": answer.ok,
                "ingesting": answer.ingesting,
                "as_of": answer.as_of,
                "behind_bytes": answer.behind_bytes or 0,
            }
        )

    return api
