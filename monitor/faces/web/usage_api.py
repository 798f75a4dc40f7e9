"""The usage endpoints, for programs that count calls and compute with plain numbers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from monitor.answers import prices, usage
from monitor.answers.anomalies.base import Anomalies
from monitor.answers.anomalies.find import find_anomalies as anomalies_of
from monitor.faces.web import parameters as p
from monitor.faces.web.asked import as_json
from monitor.faces.web.problems import PROBLEMS
from monitor.runtime import Runtime


def router(runtime: Runtime, prefix: str, *, described: bool) -> APIRouter:
    """The endpoints under `prefix`; `described`: whether the description of the API names them."""
    api = APIRouter(prefix=prefix, tags=["Usage"], responses=PROBLEMS, include_in_schema=described)
    currency = runtime.settings.usage.currency

    @api.get("/stats/daily", response_model=usage.DailyUsage)
    async def daily(request: Request, asked: Annotated[p.DailyAsked, Query()]) -> Response:
        """One day, by model and by function."""
        return await as_json(runtime, request, lambda ask: usage.daily(ask, asked.days_ago, currency=currency))

    @api.get("/stats/monthly", response_model=usage.MonthlyUsage)
    async def monthly(request: Request, _: Annotated[p.NothingAsked, Query()]) -> Response:
        """This month, with the daily average."""
        return await as_json(runtime, request, lambda ask: usage.monthly(ask, currency=currency))

    @api.get("/cost_trend", response_model=usage.CostTrend)
    async def cost_trend(request: Request, asked: Annotated[p.WeekAsked, Query()]) -> Response:
        """One row a day, with the change from the day before."""
        return await as_json(runtime, request, lambda ask: usage.cost_trend(ask, asked.days, currency=currency))

    @api.get("/top_users", response_model=usage.TopUsers)
    async def top_users(request: Request, asked: Annotated[p.UsersAsked, Query()]) -> Response:
        """Users, ranked by tokens and by cost."""
        return await as_json(
            runtime, request, lambda ask: usage.top_users(ask, asked.limit, asked.days, currency=currency)
        )

    @api.get("/hourly", response_model=usage.HourlyUsage)
    async def hourly(request: Request, asked: Annotated[p.DaysAsked, Query()]) -> Response:
        """The hours of the day, with the busiest."""
        return await as_json(runtime, request, lambda ask: usage.hourly(ask, asked.days, currency=currency))

    @api.get("/slow", response_model=usage.SlowCalls)
    async def slow(request: Request, asked: Annotated[p.SlowAsked, Query()]) -> Response:
        """Calls that took long, the slowest first."""
        return await as_json(
            runtime,
            request,
            lambda ask: usage.slow(ask, asked.min_ms, asked.limit, days=asked.days, currency=currency),
        )

    @api.get("/anomalies", response_model=Anomalies)
    async def anomalies(request: Request, asked: Annotated[p.AnomaliesAsked, Query()]) -> Response:
        """What is unusually dear, slow or failing."""
        return await as_json(
            runtime, request, lambda ask: anomalies_of(ask, runtime.catalog, asked.days, limit=asked.limit)
        )

    @api.get("/models/pricing", response_model=prices.Prices)
    async def pricing(request: Request, _: Annotated[p.NothingAsked, Query()]) -> Response:
        """The price of every model, with its source."""
        return await as_json(runtime, request, lambda ask: prices.prices_in_use(ask, runtime.catalog()))

    return api
