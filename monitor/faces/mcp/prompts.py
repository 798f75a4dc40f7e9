"""Prompts: questions that a user can pick from a menu."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from pydantic import Field

_SessionId = Annotated[str, Field(description="The session's id, e.g. agent:main:main.")]


async def _in_words(ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
    """A prompt that is none or lacks its session is the caller's mistake: told as such, not as a fault of ours."""
    try:
        return await call_next(ctx)
    except ValueError as error:
        if ctx.method != "prompts/get":
            raise
        raise MCPError(
            INVALID_PARAMS,
            f"{str(error)[:200]}. The prompts are report_my_spend and explain_cost, each with a session_id, and "
            "weekly_report.",
        ) from None


def register(server: MCPServer[Any]) -> None:
    """Add the prompts of the contract."""
    server.middleware.append(_in_words)

    @server.prompt(title="What has this conversation cost?")
    def report_my_spend(session_id: _SessionId) -> str:
        """Report what this conversation has cost so far, in two sentences with a link."""
        return (
            f"Call get_session with session_id {session_id!r} and tell me in two sentences what this conversation has "
            "cost so far: the cost in each currency as it is given, rounds, tokens and how many of them came from the "
            "cache, and the model. Say what has no known price or may not be counted yet. End with the url."
        )

    @server.prompt(title="Why did this session cost that?")
    def explain_cost(session_id: _SessionId) -> str:
        """Explain where a session's cost comes from and what would make it smaller."""
        return (
            f"Call get_session with session_id {session_id!r} and response_format detailed. Explain where the cost "
            "comes from: which models, how the input grows from round to round, how much of it is read from the cache, "
            "which rounds stand out or failed (trend tells its course). Name the three dearest rounds by number. Then "
            "call compare_models with the same session_id, and say in one or two sentences what would make the next "
            "rounds cheaper, and why; name what a cheaper model can't do."
        )

    @server.prompt(title="Report of the last seven days")
    def weekly_report() -> str:
        """Report the spending of the last seven days: by day, by model, and who spent the most."""
        return (
            "Call stats_by_date with days 7, stats_by_model with days 7, top_spenders with dimension session and days "
            "7, spend_overview, and find_anomalies with days 7. Report the total per currency, the dearest day, the "
            "share of each model, success rate, the three dearest sessions with their links, the forecast of the month "
            "with its range, and what was unusual. Keep currencies apart, and say what has no known price."
        )
