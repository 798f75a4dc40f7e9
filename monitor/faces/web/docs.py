"""The description of the API as a page to read and try, from files of our own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

_PAGE = Path(__file__).parent / "templates" / "api.html"


def routes() -> list[BaseRoute]:
    """``/api/docs``."""
    return [Route("/api/docs", _docs)]


async def _docs(_: Request) -> Response:
    return HTMLResponse(_text())


@cache
def _text() -> str:
    return _PAGE.read_text()
