"""Tells browsers that sessions have grown: server-sent events, at most one a second."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token
from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from monitor.answers import scope as scopes
from monitor.answers.base import rfc3339
from monitor.faces.web import parameters as p
from monitor.faces.web.asked import answered
from monitor.faces.web.auth import asker
from monitor.faces.web.problems import PROBLEMS
from monitor.runtime import Runtime
from monitor.store.base import Added

#: Listeners hear of growth once in this time at the most; a process that does not ingest looks this often.
PAUSE_S = 1.0
#: Proxies close connections on which nothing is said for long.
KEEP_ALIVE_S = 15.0
MOST_STREAMS = 200
#: More names than this at once are as good as none: the reader looks at everything anyway.
_MOST_NAMES = 500


class Growth:
    """Which sessions have grown; it looks while somebody listens, and no more than once a second."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._streams: set[Stream] = set()
        self._mark: int | None = None
        self._changed = anyio.Event()
        self._wanted = anyio.Event()
        self._token: EventLoopToken | None = None
        self.closed = False
        runtime.listen(self._tell)

    def _tell(self, _: Added) -> None:
        """In the ingesting thread: something is new."""
        if self._streams and self._token is not None and not self.closed:
            anyio.from_thread.run_sync(self._wake, token=self._token)

    def _wake(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Pass on what happens until cancelled; without listeners nothing is looked at."""
        self._token = current_token()
        while True:
            if not self._streams:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            # The ingesting process is told; another one has to look.
            with anyio.move_on_after(KEEP_ALIVE_S if self._runtime.is_ingesting else PAUSE_S):
                await self._changed.wait()
            self._changed = anyio.Event()
            await self._look()
            await anyio.sleep(PAUSE_S)

    async def _look(self) -> None:
        store = self._runtime.store
        self._mark, grown = await anyio.to_thread.run_sync(store.grown_since, self._mark)
        if grown:
            as_of = await anyio.to_thread.run_sync(store.as_of)
            for stream in self._streams:
                stream.add(grown, as_of)

    def check(self) -> None:
        """See whether one more can listen.

        Raises:
            HTTPException: too many do, or the server is about to end.
        """
        if self.closed or len(self._streams) >= MOST_STREAMS:
            raise HTTPException(503, "Too many pages are open that follow the log.", {"retry-after": "30"})

    async def open(self, session_id: str | None, scope: scopes.Scope | None) -> Stream:
        """Listen to one session, or to all that `scope` opens."""
        stream = Stream(session_id, scope)
        first = not self._streams
        self._streams.add(stream)
        if first:
            # Somebody listens: what happens from now on is news.
            self._mark, _ = await anyio.to_thread.run_sync(self._runtime.store.grown_since, None)
            self._wanted.set()
        if self.closed:
            stream.end()
        return stream

    def leave(self, stream: Stream) -> None:
        """Listen no longer."""
        self._streams.discard(stream)

    def close(self) -> None:
        """End all streams; the server stops."""
        self.closed = True
        for stream in self._streams:
            stream.end()


class Stream:
    """What one listener has not been told yet."""

    def __init__(self, session_id: str | None, scope: scopes.Scope | None) -> None:
        self._session_id = session_id
        self._scope = scope
        self._grown: dict[str, None] = {}
        self._as_of: int | None = None
        self._ended = False
        self._news = anyio.Event()

    def add(self, grown: Sequence[str], as_of: int | None) -> None:
        """These have grown."""
        self._as_of = as_of
        for name in grown:
            wanted = self._session_id is None or name == self._session_id
            if wanted and (self._scope is None or self._scope.opens(name)) and len(self._grown) < _MOST_NAMES:
                self._grown[name] = None
        if self._grown:
            self._news.set()

    def end(self) -> None:
        """Nothing comes any more."""
        self._ended = True
        self._news.set()

    async def lines(self) -> AsyncIterator[bytes]:
        """The events as they stand on the wire."""
        yield b"retry: 3000\n: listening\n\n"
        while not self._ended:
            with anyio.move_on_after(KEEP_ALIVE_S):
                await self._news.wait()
            self._news = anyio.Event()
            if self._grown:
                names, self._grown = list(self._grown), {}
                as_of = None if self._as_of is None else rfc3339(self._as_of)
                data = json.dumps({"sessions": names, "as_of": as_of})  # one line: JSON escapes line ends
                yield f"event: grown\ndata: {data}\n\n".encode()
            elif not self._ended:
                yield b": nothing new\n\n"


def router(runtime: Runtime, growth: Growth) -> APIRouter:
    """The stream of events."""
    api = APIRouter(prefix="/api", tags=["Live"], responses=PROBLEMS)

    @api.get("/live", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def live(request: Request, asked: Annotated[p.LiveAsked, Query()]) -> Response:
        """Server-sent events: `grown`, with the ids of sessions that have new rounds."""
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.scope.get("head"):
            return Response(headers=headers, media_type="text/event-stream")
        name = None
        if asked.id is not None:
            wanted = asked.id
            record = await answered(runtime, lambda ask: ask.store.session(wanted))
            # A session that is yet to come can be waited for under its own name.
            name = record.session_id if record is not None else wanted
        growth.check()

        async def events() -> AsyncIterator[bytes]:
            stream = await growth.open(name, asker(request.scope).scope)
            try:
                async for line in stream.lines():
                    yield line
            finally:
                growth.leave(stream)

        return StreamingResponse(events(), headers=headers, media_type="text/event-stream")

    return api
