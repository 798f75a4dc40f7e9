"""How far each content was read that was met so far, found by its beginning."""

from __future__ import annotations

from collections.abc import Set

from monitor.sources.tail.chunks import FileState
from monitor.sources.tail.content import FINGERPRINT_LEAST, WINDOW, digest, fingerprint_size

#: Histories of files that are gone: kept for copies that come back, but not without end.
REMEMBERED = 4096


class History:
    """What is known of one content, whatever files hold it."""

    __slots__ = (
        "fingerprint",
        "fingerprint_size",
        "head",
        "head_size",
        "id",
        "offset",
        "state",
        "tail",
    )

    def __init__(self, identity: bytes, fingerprint: bytes, fingerprint_size: int) -> None:
        self.id = identity
        self.fingerprint = fingerprint
        self.fingerprint_size = fingerprint_size
        self.offset = 0
        self.tail = digest(b"")
        #: Digest of the very first bytes, which are compared before each read.
        self.head = b""
        self.head_size = 0
        #: As last handed out, or as known from the start.
        self.state: FileState | None = None

    def note_head(self, head: bytes) -> None:
        """`head` is the beginning of the content, at least as much of it as the fingerprint covers."""
        self.head_size = min(self.fingerprint_size, WINDOW)
        self.head = digest(head[: self.head_size])


class Histories:
    """All contents that were met."""

    def __init__(self) -> None:
        self._all: dict[bytes, History] = {}
        self._by_fingerprint: dict[tuple[int, bytes], list[History]] = {}
        #: Sizes of fingerprints that cover less than they should, because the file was short.
        self._short: dict[int, int] = {}

    def remember(self, state: FileState) -> History:
        """Take up a content again as it was left."""
        history = History(state.id, state.fingerprint, state.fingerprint_size)
        history.offset, history.tail, history.state = state.offset, state.tail, state
        self._drop(state.id)
        self._add(history)
        return history

    def begin(self, head: bytes) -> History:
        """A new history for a content that starts with `head`, its fingerprinted bytes."""
        fingerprint = digest(head)
        ordinal = 0
        while (identity := digest(fingerprint + ordinal.to_bytes(8, "big"))) in self._all:
            ordinal += 1
        history = History(identity, fingerprint, len(head))
        self._add(history)
        return history

    def alike(self, head: bytes) -> list[History]:
        """Histories whose beginning `head` has, the furthest read first."""
        sizes = {size for size in self._short if size <= len(head)}
        sizes.add(fingerprint_size(head))
        found: list[History] = []
        for size in sizes:
            found += self._by_fingerprint.get((size, digest(head[:size])), ())
        return sorted(found, key=lambda history: -history.offset)

    def extend(self, history: History, head: bytes) -> None:
        """The file has grown: let the fingerprint cover as much as it should."""
        size = fingerprint_size(head)
        if size <= history.fingerprint_size:
            return
        self._unlink(history)
        history.fingerprint, history.fingerprint_size = digest(head[:size]), size
        history.note_head(head)
        self._link(history)

    def states(self) -> list[FileState]:
        """The last state of each content."""
        return [history.state for history in self._all.values() if history.state is not None]

    def prune(self, used: Set[History]) -> None:
        """Of too many, forget the oldest that no present file has."""
        if len(self._all) <= REMEMBERED + len(used):
            return
        spare = [history for history in self._all.values() if history not in used]
        for history in spare[: len(self._all) - REMEMBERED]:
            self._drop(history.id)

    def _add(self, history: History) -> None:
        self._all[history.id] = history
        self._link(history)

    def _drop(self, identity: bytes) -> None:
        history = self._all.pop(identity, None)
        if history is not None:
            self._unlink(history)

    def _link(self, history: History) -> None:
        size = history.fingerprint_size
        self._by_fingerprint.setdefault((size, history.fingerprint), []).append(history)
        if size < FINGERPRINT_LEAST:
            self._short[size] = self._short.get(size, 0) + 1

    def _unlink(self, history: History) -> None:
        size = history.fingerprint_size
        same = self._by_fingerprint[size, history.fingerprint]
        same.remove(history)
        if not same:
            del self._by_fingerprint[size, history.fingerprint]
        if size < FINGERPRINT_LEAST:
            self._short[size] -= 1
            if not self._short[size]:
                del self._short[size]
