"""Session documents kept in a folder: one JSON file a session, rewritten only when its session has changed."""

from __future__ import annotations

import hashlib
import itertools
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec

from monitor.answers import documents
from monitor.answers.base import Asking
from monitor.answers.errors import NotFound
from monitor.answers.sessions import get_session
from monitor.config import ConfigError
from monitor.faces.files import write_whole
from monitor.faces.jsontext import pieces
from monitor.runtime import Runtime
from monitor.store.base import SessionQuery, StoreError

log = logging.getLogger("monitor.folder")

#: File systems take names of 255 bytes.
_LONGEST = 200
_PAGE = 100
_LOOK_EVERY_S = 1.0


def file_name(session_id: str) -> str:
    """The name of a session's file: its id where that is safe, with anything else percent-encoded.

    Different ids have different names. No name leads out of the folder, begins with a dot, or is too long.
    """
    name = quote(session_id.encode("utf-8", "surrogatepass"), safe=":@=+,~")
    if name.startswith((".", "-", "~")) or not name:
        name = f"%{ord(name[0]):02X}{name[1:]}" if name else "%"
    if len(name) > _LONGEST:
        digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        name = f"{name[: _LONGEST - 40]}%_{digest}"
    return f"{name}.json"


class SessionFolder:
    """A folder with one document a session.

    Raises:
        ConfigError: the folder can't be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}: name a folder that can be written") from None

    def write_all(self, ask: Asking, on_session: Callable[[int], None] | None = None) -> int:
        """Write the documents that are missing or out of date; gives how many were written."""
        written = seen = 0
        cursor = None
        while True:
            page = ask.store.sessions(SessionQuery(sort_by="created", limit=_PAGE, cursor=cursor))
            for record in page.sessions:
                written += self.write(ask, record.session_id or "")
                seen += 1
                if on_session is not None:
                    on_session(seen)
            cursor = page.next_cursor
            if cursor is None:
                return written

    def write(self, ask: Asking, session_id: str) -> bool:
        """Write the document of one session, whole or not at all, unless it stands there already."""
        # A document says what a session is, not when somebody looked.
        timeless = msgspec.structs.replace(ask, as_of=None, behind_bytes=None)
        head = documents.head(get_session(timeless, session_id))
        head.pop("budget", None)  # what others used of it today is nothing of this session
        path = self.path / file_name(session_id)
        text = pieces(head, documents.rounds(timeless, session_id))
        beginning = next(text)
        if _begins_with(path, beginning.encode()):
            return False
        write_whole(path, itertools.chain([beginning], text))
        for other in head.get("aliases", ()):
            (self.path / file_name(other)).unlink(missing_ok=True)
        return True

    def follow(self, runtime: Runtime) -> Callable[[], None]:
        """Keep the documents current in the background, whichever process ingests; gives what ends that."""
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(runtime, stop), name="documents", daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join(timeout=60)

        return end

    def _follow(self, runtime: Runtime, stop: threading.Event) -> None:
        mark: int | None = None
        stale: list[str] = []
        while True:
            ending = stop.is_set()
            began = time.monotonic()
            try:
                now, grown = runtime.store.grown_since(mark)
                ask = runtime.asking(fresh=False)
                if mark is None:
                    self.write_all(ask)
                stale = list(dict.fromkeys((*stale, *grown)))
                while stale:
                    self.write(ask, stale[0])
                    del stale[0]
                mark = now
            except NotFound:
                del stale[0]  # it has become another name of a session
            except (OSError, StoreError) as error:
                log.warning("session documents can't be written to %s, trying again: %s", self.path, error)
            if ending:
                return
            # A busy session is written again and again: that must not take the time that counting needs.
            stop.wait(max(_LOOK_EVERY_S, 4 * (time.monotonic() - began)))


def _begins_with(path: Path, beginning: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:
        return False
