"""A request becomes a question, its answer JSON; what can't be answered becomes a problem with its status."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from monitor import __version__
from monitor.answers.base import Answer, Asking
from monitor.answers.errors import BadQuestion, NotFound
from monitor.answers.scope import NotOpen
from monitor.config import ConfigError
from monitor.runtime import Runtime
from monitor.store.base import StoreError, UnknownCursor

_T = TypeVar("_T")
_MINUTE_MS = 60_000


async def answered(runtime: Runtime, question: Callable[[Asking], _T]) -> _T:
    """What `question` gives, asked in a thread.

    Raises:
        HTTPException: with the status that says why there is no answer.
    """

    def asked() -> _T:
        return question(runtime.asking())

    try:
        return await anyio.to_thread.run_sync(asked)
    except NotFound as error:
        raise HTTPException(404, str(error)) from error
    except NotOpen as error:
        raise HTTPException(403, str(error)) from error
    except (BadQuestion, UnknownCursor) as error:
        raise HTTPException(400, str(error)) from error
    except (StoreError, ConfigError) as error:
        raise HTTPException(503, str(error)) from error


async def as_json(runtime: Runtime, request: Request, question: Callable[[Asking], Answer]) -> Response:
    """The answer as JSON, or 304 where the client has it already.

    Raises:
        HTTPException: with the status that says why there is no answer.
    """

    def told(ask: Asking) -> Response:
        headers = {"etag": tag(ask, request), "cache-control": "no-cache, private"}
        if _has(request, headers["etag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(text(question(ask).small()), headers=headers, media_type="application/json")

    return await answered(runtime, told)


def tag(ask: Asking, request: Request) -> str:
    """Names what a question would be answered: by what is stored, who asks what, and the minute.

    It is weak: the figures are the same, only `as_of` may have moved on. The minute is in it because
    periods such as today or 7d move with the clock.
    """
    mark, _ = ask.store.grown_since(None)
    minute = None if ask.as_of is None else ask.as_of // _MINUTE_MS
    parts = (__version__, mark, minute, ask.behind_bytes is None, ask.scope, ask.base_url, str(request.url.path))
    said = repr((*parts, request.scope["query_string"]))
    return f'W/"{hashlib.sha256(said.encode()).hexdigest()[:24]}"'


def _has(request: Request, own: str) -> bool:
    known = [one.strip() for line in request.headers.getlist("if-none-match") for one in line.split(",")]
    return "*" in known or own in known or own.removeprefix("W/") in known


def text(data: Any) -> bytes:
    """Data as JSON. Half a character, which a log can hold and UTF-8 can't, is written as an escape."""
    try:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(data, separators=(",", ":")).encode()


def streamed(head: dict[str, Any], name: str, rows: Iterator[dict[str, Any]]) -> Response:
    """A JSON object whose last member is a list of any length, sent while it is read."""

    def pieces() -> Iterator[bytes]:
        begin = text(head)[:-1]
        yield begin + (b"," if head else b"") + text(name) + b":["
        for number, row in enumerate(rows):
            yield (b"," if number else b"") + text(row)
        yield b"]}"

    return StreamingResponse(pieces(), media_type="application/json")


def session_id(request: Request) -> str:
    """The session that is asked for."""
    name = request.query_params.get("id")
    if not name:
        raise HTTPException(400, "id: name a session, as in /session?id=agent%3Amain%3Amain")
    return name


def choice(request: Request, name: str, choices: Sequence[str]) -> str:
    """One of `choices`, the first where none is named."""
    value = request.query_params.get(name, choices[0])
    if value not in choices:
        raise HTTPException(400, f"{name}: use one of {', '.join(choices)}")
    return value
