"""Tells subscribers when a session has grown, at most once a second."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import current_token
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated

from monitor.faces.mcp.resources import session_uri
from monitor.faces.mcp.sdk import CountingBus, LegacySubscriptions
from monitor.runtime import Runtime
from monitor.store.base import Added

#: How often a process that only reads looks. Subscribers hear of a session once in this time at the most.
_PAUSE_S = 1.0


class Notices:
    """From the store to the bus: the ids of sessions that grew, under every address that names them."""

    def __init__(self, runtime: Runtime, bus: CountingBus, legacy: LegacySubscriptions) -> None:
        self._runtime = runtime
        self._bus = bus
        self._legacy = legacy
        self._mark: int | None = None
        self._sessions = 0
        self._grown = anyio.Event()
        self._wanted = anyio.Event()
        bus.on_first = self._begin

    def _begin(self) -> None:
        """Somebody listens: what happens from now on is news."""
        self._mark, _ = self._runtime.store.grown_since(None)
        self._sessions = self._runtime.store.session_count()
        self._wanted.set()

    async def run(self) -> None:
        """Pass on what happens until cancelled; without listeners nothing is looked at."""
        token = current_token()

        def tell(_: Added) -> None:
            if self._bus.has_listeners:
                anyio.from_thread.run_sync(self._grown.set, token=token)

        self._runtime.listen(tell)
        while True:
            if not self._bus.has_listeners:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            # The ingesting process is told; another one has to look.
            with anyio.move_on_after(_PAUSE_S):
                await self._grown.wait()
            self._grown = anyio.Event()
            await self._publish()
            await anyio.sleep(_PAUSE_S)

    async def _publish(self) -> None:
        store = self._runtime.store
        self._mark, grown = await anyio.to_thread.run_sync(store.grown_since, self._mark)
        for session_id in grown:
            for uri in _addresses(session_id):
                await self._bus.publish(ResourceUpdated(uri=uri))
        if grown:
            for uri in ("stats://models", "stats://daily", "monitor://budgets"):
                await self._bus.publish(ResourceUpdated(uri=uri))
            count = await anyio.to_thread.run_sync(store.session_count)
            if count != self._sessions:
                self._sessions = count
                await self._bus.publish(ResourcesListChanged())
        await self._legacy.flush()


def _addresses(session_id: str) -> Iterable[str]:
    """How clients may have written the address: the id encoded, or raw where nothing needs encoding."""
    return dict.fromkeys((session_uri(session_id), f"session://{session_id}"))
