"""One call of a model, timed: as a context manager or around a function, and recorded however it ends."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from monitor.sources.usage_log.tokens import NoUsage, counts_of, told_by

log = logging.getLogger("monitor.usage")

P = ParamSpec("P")
R = TypeVar("R")
#: Writes a record of these fields.
Write = Callable[[Mapping[str, Any]], object]


class TrackedCall:
    """A call that is under way. Leaving the block records it; an exception is recorded as a failure and goes on.

    For ``with`` and ``async with``. What a program knows of the call it may say at any time: `usage`, `set`, `fail`.
    """

    def __init__(self, write: Write, fields: Mapping[str, Any]) -> None:
        """`fields`: of the record, as far as they are known before the call."""
        self._write = write
        self._fields = {name: value for name, value in fields.items() if value is not None}
        self._began = 0.0
        self._failed = False

    def usage(self, answer: Any) -> None:
        """Take the token counts from an answer of OpenAI, Anthropic or Gemini, from its usage object, or from a dict.

        A whole answer tells its id and model as well, where they are not known yet.

        Raises:
            NoUsage: there are no token counts that are known.
        """
        self._fields.update(counts_of(answer))
        for name, value in told_by(answer).items():
            self._fields.setdefault(name, value)

    def set(self, **fields: Any) -> None:
        """Set fields of the record, such as ``response_id``, ``user_id`` or ``cost``."""
        self._fields.update(fields)

    def fail(self, status: int | None = None) -> None:
        """Say that the call failed although nothing was raised."""
        self._failed = True
        if status is not None:
            self._fields["status"] = status

    def __enter__(self) -> Self:
        self._fields.setdefault("timestamp", time.time())
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Record the call. What keeps the record from being written is logged, and never stops the program."""
        fields = dict(self._fields)
        fields.setdefault("duration_ms", round((time.perf_counter() - self._began) * 1000, 3))
        fields.setdefault("success", error is None and not self._failed)
        if error is not None and "status" not in fields:
            status = getattr(error, "status_code", None)
            if isinstance(status, int) and 100 <= status <= 599:
                fields["status"] = status
        try:
            self._write(fields)
        except (OSError, ValueError) as problem:
            log.warning("a call of %s could not be recorded: %s", fields.get("model"), problem)


def tracked(begin: Callable[[], TrackedCall], function: Callable[P, R]) -> Callable[P, R]:
    """`function` with each of its calls recorded; what it returns tells the tokens, where that has a usage.

    Coroutines and generators, plain and async, are timed until they end; of a stream the last piece with a usage
    counts.
    """
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def stream_async(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
            async with begin() as call:
                async for piece in cast("AsyncIterator[Any]", function(*args, **kwargs)):
                    _look(call, piece)
                    yield piece

        return cast("Callable[P, R]", stream_async)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wait(*args: P.args, **kwargs: P.kwargs) -> Any:
            async with begin() as call:
                answer = await cast("Awaitable[Any]", function(*args, **kwargs))
                _look(call, answer)
                return answer

        return cast("Callable[P, R]", wait)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            with begin() as call:
                for piece in cast("Iterator[Any]", function(*args, **kwargs)):
                    _look(call, piece)
                    yield piece

        return cast("Callable[P, R]", stream)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with begin() as call:
            answer = function(*args, **kwargs)
            _look(call, answer)
            return answer

    return run


def _look(call: TrackedCall, answer: Any) -> None:
    """Take what an answer tells of its usage; most pieces of a stream tell nothing."""
    try:
        call.usage(answer)
    except NoUsage:
        return
