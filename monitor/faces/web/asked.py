"""A request becomes a question; what can't be answered becomes a problem with its status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request

from monitor.answers.base import Asking, BadQuestion, NotFound
from monitor.runtime import Runtime
from monitor.store.base import StoreError, UnknownCursor

_T = TypeVar("_T")


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
    except (BadQuestion, UnknownCursor) as error:
        raise HTTPException(400, str(error)) from error
    except StoreError as error:
        raise HTTPException(503, str(error)) from error


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
