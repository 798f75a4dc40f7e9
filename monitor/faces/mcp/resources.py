"""What an agent can read by address: sessions, their transcripts, statistics, prices, the monitor's own state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources.templates import ResourceSecurity
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    ListResourcesResult,
    PaginatedRequestParams,
    PromptReference,
    Resource,
    ResourceTemplateReference,
)

from monitor.answers import budgets, health, prices, sessions, stats, transcripts
from monitor.answers.base import Asking
from monitor.answers.errors import BadQuestion, NotFound
from monitor.faces.mcp import sdk
from monitor.runtime import Runtime
from monitor.store.base import StoreError

#: How many sessions `resources/list` names; the template covers the others.
LISTED_SESSIONS = 50
_MOST_COMPLETIONS = 100
_JSON = "application/json"
#: A session id is data, never a path: it may begin with a slash or hold dots.
_ANY_ID = ResourceSecurity(exempt_params={"session_id"})

_FIXED = (
    ("stats://models", "Spending by model", "Tokens and cost per model, all time."),
    ("stats://daily", "Spending by day", "Tokens and cost per day, the last 30 days."),
    ("prices://models", "Prices", "The price of every model in the log, with its source."),
    ("monitor://budgets", "Budgets", "How much of each budget is used, and who was told."),
    ("monitor://status", "State of the monitor", "Lag, skipped lines, what is missing and what to do."),
)


def session_uri(session_id: str) -> str:
    """The address of a session."""
    return f"session://{quote(session_id, safe='')}"


def register(server: MCPServer[Any], runtime: Runtime) -> None:
    """Add resources, templates, completion and the list of the newest sessions."""

    async def read(question: Callable[[Asking], str]) -> str:
        return await anyio.to_thread.run_sync(_answered, runtime, question)

    @server.resource(
        "session://{session_id}",
        name="session",
        title="A session",
        description="What a conversation cost, with its newest rounds. The id percent-encoded.",
        mime_type=_JSON,
        security=_ANY_ID,
    )
    async def session(session_id: str) -> str:
        return await read(
            lambda ask: _compact(
                sessions.get_session(ask, session_id, detailed=True, content_scope=runtime.content_scope()).small()
            )
        )

    @server.resource(
        "session://{session_id}/transcript",
        name="transcript",
        title="A session's transcript",
        description="What was said, as Markdown. Only sessions that the server's --content-scope opens.",
        mime_type="text/markdown",
        security=_ANY_ID,
    )
    async def transcript(session_id: str) -> str:
        return await read(lambda ask: transcripts.transcript(ask, session_id, content_scope=runtime.content_scope()))

    @server.resource(_FIXED[0][0], name="models", title=_FIXED[0][1], description=_FIXED[0][2], mime_type=_JSON)
    async def models() -> str:
        return await read(lambda ask: _compact(stats.stats_by_model(ask).small()))

    @server.resource(_FIXED[1][0], name="daily", title=_FIXED[1][1], description=_FIXED[1][2], mime_type=_JSON)
    async def daily() -> str:
        return await read(lambda ask: _compact(stats.stats_by_date(ask, days=30).small()))

    @server.resource(_FIXED[2][0], name="prices", title=_FIXED[2][1], description=_FIXED[2][2], mime_type=_JSON)
    async def price_list() -> str:
        return await read(lambda ask: _compact(prices.prices_in_use(ask, runtime.catalog()).small()))

    @server.resource(_FIXED[3][0], name="budgets", title=_FIXED[3][1], description=_FIXED[3][2], mime_type=_JSON)
    async def budget_states() -> str:
        return await read(lambda ask: _compact(budgets.budgets(ask).small()))

    @server.resource(_FIXED[4][0], name="status", title=_FIXED[4][1], description=_FIXED[4][2], mime_type=_JSON)
    async def status() -> str:
        return await read(lambda ask: _compact(health.source_health(ask, runtime.standing()).small()))

    async def listed(_: Any, __: PaginatedRequestParams | None) -> ListResourcesResult:
        fixed = [Resource(uri=uri, name=uri, title=t, description=d, mime_type=_JSON) for uri, t, d in _FIXED]
        newest = await anyio.to_thread.run_sync(_newest, runtime)
        found = [Resource(uri=session_uri(name), name=name, mime_type=_JSON) for name in newest]
        skills = await server.list_resources()
        return ListResourcesResult(resources=[*fixed, *(r for r in skills if r.uri.startswith("skill:")), *found])

    sdk.replace_resource_list(server, listed)

    async def complete(
        ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, _: CompletionContext | None
    ) -> Completion | None:
        if argument.name != "session_id":
            return None
        found = await anyio.to_thread.run_sync(runtime.view.names_with, argument.value, _MOST_COMPLETIONS + 1)
        if isinstance(ref, ResourceTemplateReference):
            found = [quote(name, safe="") for name in found]
        return Completion(values=found[:_MOST_COMPLETIONS], has_more=len(found) > _MOST_COMPLETIONS)

    sdk.complete_with(server, complete)


def _answered(runtime: Runtime, question: Callable[[Asking], str]) -> str:
    try:
        return question(runtime.asking())
    except NotFound as error:
        raise ResourceNotFoundError(str(error)) from error
    except (BadQuestion, StoreError) as error:
        raise ResourceError(str(error)) from error


def _newest(runtime: Runtime) -> list[str]:
    return runtime.view.names_with("", LISTED_SESSIONS)


def _compact(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
