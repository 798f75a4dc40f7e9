"""The usage endpoints, for programs that count calls and compute with plain numbers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from monitor.answers import pricing, usage
from monitor.answers.anomalies.base import Anomalies
from monitor.answers.anomalies.find import find_anomalies as anomalies_of
from monitor.answers.base import Asking
from monitor.answers.usage_report import UsageReport, report_name, usage_report
from monitor.faces.files import write_whole
from monitor.faces.web import parameters as p
from monitor.faces.web.asked import answered, as_json, text
from monitor.faces.web.problems import PROBLEMS
from monitor.prices.catalog import Catalog
from monitor.prices.model_pricing import shared
from monitor.runtime import Runtime

#: Below the data directory.
REPORTS = "reports"


class Exported(UsageReport):
    """A report, and where it was written."""

    file: str = Field(description="Below the data directory.")


def router(runtime: Runtime, prefix: str, *, described: bool) -> APIRouter:
    """The endpoints under `prefix`; `described`: whether the description of the API names them."""
    api = APIRouter(prefix=prefix, tags=["Usage"], responses=PROBLEMS, include_in_schema=described)
    currency = runtime.settings.usage.currency
    own_lists = runtime.settings.prices.overlays

    def catalog() -> Catalog:
        # The usage list applies where nobody names another.
        return runtime.catalog() if own_lists else shared().catalog

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

    @api.get("/models/pricing", response_model=pricing.Pricing)
    async def models_pricing(request: Request, _: Annotated[p.NothingAsked, Query()]) -> Response:
        """The price of every known model per 1,000 tokens, with its source."""
        return await as_json(runtime, request, lambda ask: pricing.pricing(ask, catalog()))

    @api.post("/export_report", response_model=Exported)
    async def export_report(request: Request, asked: Annotated[p.WeekAsked, Query()]) -> Response:
        """Write the report over some days into the data directory, and give it."""

        def made(ask: Asking) -> Response:
            report = usage_report(ask, runtime.catalog, asked.days, currency=currency).small()
            name = report_name(datetime.now(ask.zone))
            folder = runtime.folder / REPORTS
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_whole(folder / name, [json.dumps(report, ensure_ascii=False, indent=2), "\n"])
            except OSError as error:
                raise HTTPException(503, f"The report can't be written: {error.strerror}.") from None
            return Response(text({"file": f"{REPORTS}/{name}", **report}), media_type="application/json")

        return await answered(runtime, made)

    return api
