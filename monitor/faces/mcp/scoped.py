"""MCP over HTTP answers each request for whoever sent it: for the sessions that their token opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

from mcp.server import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from monitor.answers.scope import ASKED_BY, Scope

_SESSION = "session://"


def ask_by_request(server: MCPServer[Any]) -> None:
    """Let every request be asked by the one whom the door of the web server let in with it.

    A connection lives on from request to request and in tasks of its own, so what the door has set
    in its own task does not reach a tool by itself.
    """

    async def scoped(ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        request = ctx.request
        # Fails for a request that came past the door: nothing is shown to whom nobody has looked at.
        scope: Scope | None = request.scope["monitor.asker"].scope
        if scope is not None:
            for uri in _subscribed(ctx):
                name = unquote(uri.removeprefix(_SESSION).removesuffix("/transcript"))
                if not (uri.startswith(_SESSION) and scope.opens(name)):
                    raise MCPError(INVALID_PARAMS, f"Your token does not open {uri[:200]}: it opens {scope.said}")
        mark = ASKED_BY.set(scope)
        try:
            return await call_next(ctx)
        finally:
            ASKED_BY.reset(mark)

    server.middleware.append(scoped)


def _subscribed(ctx: Any) -> Iterable[str]:
    """The addresses that a request wants to hear of."""
    params = ctx.params or {}
    if ctx.method == "resources/subscribe":
        return [str(params.get("uri", ""))]
    if ctx.method == "subscriptions/listen":
        wanted = params.get("notifications")
        uris = wanted.get("resourceSubscriptions") if isinstance(wanted, dict) else None
        return [str(uri) for uri in uris] if isinstance(uris, list) else []
    return []
