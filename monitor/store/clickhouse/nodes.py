"""Which nodes write, how far each has read, and which of them are silent."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from monitor.store.clickhouse.state import State

#: One that has said nothing for so long, though a node says every few seconds how far it has read, is not waited for,
#: and is named.
SILENT_MS = 600_000
#: One that has said nothing for so long is believed to be no more.
GONE_MS = 7 * 86_400_000
_REMEMBERED_S = 1.0


class Nodes:
    """What nodes last said of themselves."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._told: dict[str, int] = {}
        self._asked = 0.0

    def nodes(self) -> dict[str, int]:
        """Up to when each node has read its sources, ms since 1970."""
        return self._state.nodes()

    def as_of(self) -> int | None:
        """The instant up to which all that are not silent have read; where all are, what the last one had."""
        told = self._told = self.nodes()
        self._asked = time.monotonic()
        newest = max(told.values(), default=None)
        return None if newest is None else min(at for at in told.values() if at >= newest - SILENT_MS)

    def silent(self) -> list[str]:
        """In words, the nodes that others have read on without."""
        if time.monotonic() - self._asked > _REMEMBERED_S:
            self.as_of()
        newest = max(self._told.values(), default=0)
        return [
            f"node {name}: nothing since {datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
            for name, at in sorted(self._told.items())
            if newest - GONE_MS < at < newest - SILENT_MS
        ]
