"""What goes wrong is told as a problem (RFC 9457) to programs, and in words to people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """Why there is no answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


#: What the description of the API says of all that can go wrong.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Why there is no answer, and the way out.",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}
_FOR_PROGRAMS = ("/api/", "/mcp", "/metrics", "/healthz")


def route_path(scope: Scope) -> str:
    """The path that is asked for, without the one under which a proxy shows the page."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def for_program(scope: Scope) -> bool:
    """Whether a request is one that programs make."""
    path = route_path(scope)
    return path.startswith(_FOR_PROGRAMS) and path != "/api/docs"


def problem(scope: Scope, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The answer to a request that can't be answered; `detail` says why, and the way out."""
    if not for_program(scope):
        return PlainTextResponse(detail, status, headers)
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Problem"
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": scope["path"]}
    return JSONResponse({**body, **more}, status, headers, MEDIA_TYPE)
