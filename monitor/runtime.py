"""Opens the store, the lock and ingestion: once per process, whatever faces it shows."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from monitor import __version__
from monitor.answers.base import Asking
from monitor.answers.health import SourceStanding, Standing
from monitor.config import DEFAULT_LOGS, ConfigError, Settings, SourceSettings, check_allowed
from monitor.store.base import Added
from monitor.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from filelock import FileLock

    from monitor.ingest import Ingester, LogSource, StreamSource
    from monitor.prices.catalog import Catalog

log = logging.getLogger("monitor.runtime")

STDIN = Path("-")
LOCK_NAME = "ingest.lock"
ADDRESS_NAME = "web.json"
#: How often a process that only answers looks whether it can take over.
_TAKE_OVER_S = 2.0
#: How long an answer waits for the log: in the ingesting process, and for another process to ingest.
_DRAIN_S = 2.0
_WAIT_FOR_OTHER_S = 0.5


class Runtime:
    """One process's share: it answers from the store, and ingests while it holds the data directory's lock."""

    def __init__(
        self,
        settings: Settings,
        *,
        log_paths: Sequence[Path] = (),
        max_rotate: int | None = None,
        refresh_interval: float | None = None,
    ) -> None:
        self._refresh_interval = refresh_interval
        self.settings = settings
        self.folder = settings.data_dir.expanduser().absolute()
        self._log_paths = tuple(log_paths)
        self._max_rotate = max_rotate
        self.store = SqliteStore(self.folder, read_only=True)
        self._ingester: Ingester | None = None
        self._writer: SqliteStore | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._settled = threading.Event()
        self._listeners: list[Callable[[Added], None]] = []
        self._address: str | None = None
        self._catalog: Catalog | None = None
        self._start_failure: str | None = None

    # -- what is followed -------------------------------------------------------------------------

    def sources(self) -> list[SourceSettings]:
        """Those of the command line, else of the configuration, else those followed before, else the usual places.

        Raises:
            ConfigError: a path that may not be read.
        """
        found = [SourceSettings(path=path) for path in self._log_paths] or list(self.settings.sources)
        if not found:
            found = [SourceSettings(path=Path(name)) for name in self.store.sources()]
        if not found:
            found = [SourceSettings(path=path) for path in DEFAULT_LOGS if path.exists()]
        allowed = self.settings.privacy.allowed_paths
        return [
            source.model_copy(
                update={
                    "path": source.path if source.path == STDIN else check_allowed(source.path, allowed),
                    "max_rotate": source.max_rotate if self._max_rotate is None else self._max_rotate,
                }
            )
            for source in found
        ]

    # -- ingestion --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def ingesting(self) -> Iterator[Ingester]:
        """Hold the lock and be ready to ingest; for commands that do nothing else.

        Raises:
            filelock.Timeout: another process ingests into this data directory.
            StoreError, ConfigError: the store or the settings can't be used.
        """
        self._make_folder()
        with self._lock():
            try:
                yield self._open_ingester()
            finally:
                self._close_ingester()

    def start(self, *, on_lock: Callable[[], None] | None = None) -> None:
        """Ingest in the background as soon as the lock is free. Returns at once.

        `on_lock` runs in the background thread when this process becomes the ingesting one.
        """
        self._make_folder()
        self._thread = threading.Thread(target=self._background, args=(on_lock,), name="ingest", daemon=True)
        self._thread.start()

    def _lock(self) -> FileLock:
        from filelock import FileLock  # noqa: PLC0415 - a server lists its tools before it needs one

        return FileLock(self.folder / LOCK_NAME, timeout=0, mode=0o600)

    def _background(self, on_lock: Callable[[], None] | None) -> None:
        lock = self._lock()
        while not self._stop.is_set():
            try:
                lock.acquire()
            except TimeoutError:
                self._settled.set()
                self._stop.wait(_TAKE_OVER_S)
                continue
            except OSError as error:
                log.warning("can't lock %s: %s", self.folder, error)
                self._settled.set()
                self._stop.wait(_TAKE_OVER_S)
                continue
            try:
                ingester = self._open_ingester()
                self._start_failure = None
                self._settled.set()
                if on_lock is not None:
                    on_lock()
                ingester.run()
            except Exception as error:
                log.error("ingestion can't start: %s", error)
                self._start_failure = f"ingestion can't start: {error}"
                self._settled.set()
                self._stop.wait(_TAKE_OVER_S)
            finally:
                self._close_ingester()
                lock.release()

    @property
    def settled(self) -> bool:
        """Whether it is decided if this process ingests."""
        return self._settled.is_set()

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until it is decided whether this process ingests; a first question would else find nothing read."""
        self._settled.wait(timeout)

    def catalog(self) -> Catalog:
        """The price lists as they are configured; loaded when they are first asked for."""
        if self._catalog is None:
            from monitor.prices.catalog import Catalog  # noqa: PLC0415 - price lists take time to load

            prices = self.settings.prices
            overlays = [prices.overlay] if prices.overlay is not None else []
            self._catalog = Catalog.load(overlays, region=prices.region)
        return self._catalog

    def _open_ingester(self) -> Ingester:
        from monitor.ingest import Ingester, LogSource, StreamSource  # noqa: PLC0415 - only one process reads logs

        catalog = self.catalog()
        keep_content = self.settings.privacy.content == "full"
        writer = SqliteStore(self.folder, keep_content=keep_content, price_version=catalog.version)
        self._writer = writer
        sources: list[LogSource | StreamSource] = [
            StreamSource(sys.stdin.fileno(), catalog, keep_content=keep_content)
            if source.path == STDIN
            else LogSource(source.path, writer, catalog, max_rotate=source.max_rotate, keep_content=keep_content)
            for source in self.sources()
        ]
        self._ingester = Ingester(sources, writer, on_added=self._tell, refresh_interval=self._refresh_interval)
        return self._ingester

    def _close_ingester(self) -> None:
        self._ingester = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.withdraw_address()

    def _tell(self, added: Added) -> None:
        for listener in self._listeners:
            listener(added)

    def listen(self, listener: Callable[[Added], None]) -> None:
        """Call `listener` in the ingesting thread whenever sessions have grown."""
        self._listeners.append(listener)

    @property
    def is_ingesting(self) -> bool:
        """Whether this process is the one that reads the logs."""
        return self._ingester is not None

    def standing(self) -> Standing:
        """How the sources stand, as far as this process can tell."""
        ingester = self._ingester
        known = {state.source: state for state in ingester.states} if ingester is not None else {}
        sources = []
        for source in self.sources():
            try:
                size: int | None = source.path.stat().st_size
            except OSError:
                size = None
            state = known.get(str(source.path))
            pending = state.pending_bytes if state is not None else self._unread(self._live_sizes([str(source.path)]))
            problems = tuple(f"{p.path}: {p.what}" for p in state.problems) if state is not None else ()
            sources.append(
                SourceStanding(str(source.path), source.kind, size is not None, size or 0, pending, problems)
            )
        return Standing(
            tuple(sources),
            ingesting=self.ingester_alive(),
            failure=ingester.failure if ingester is not None else None,
            problems=(
                *((self._start_failure,) if self._start_failure is not None else ()),
                *(self._catalog.warnings if self._catalog is not None else ()),
            ),
            version=__version__,
        )

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--data-dir {self.folder}: {error.strerror}: name a folder that can be written"
            ) from None

    # -- freshness --------------------------------------------------------------------------------

    def asking(self, *, fresh: bool = True, wait: bool = True) -> Asking:
        """What answers need, after the log has been read as far as it goes just now.

        Without `wait` it comes at once, and `behind_bytes` says whether there was something to wait for.
        """
        as_of, behind = self._fresh(wait) if fresh else (self.store.as_of(), None)
        return Asking(self.store, as_of, behind, self.base_url, self.settings.zone)

    def _fresh(self, wait: bool) -> tuple[int | None, int | None]:
        ingester = self._ingester
        if ingester is not None:
            as_of, behind = ingester.catch_up(_DRAIN_S if wait else 0.0)
            return (as_of if as_of is not None else self.store.as_of()), behind
        deadline = time.monotonic() + (_WAIT_FOR_OTHER_S if wait else 0.0)
        asked = time.time_ns() // 1_000_000
        wanted = self._live_sizes()
        while True:
            behind = self._unread(wanted)
            if behind == 0:
                # What was there when the question came has been read, whenever that happened.
                return (asked if wanted else self.store.as_of()), None
            if time.monotonic() >= deadline or not self.ingester_alive():
                return self.store.as_of(), behind
            time.sleep(0.02)

    def _live_sizes(self, names: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
        sizes = {}
        for name in names or self.store.sources() or [str(source.path) for source in self.sources()]:
            with contextlib.suppress(OSError):
                found = os.stat(name)
                sizes[name] = (found.st_ino, found.st_size)
        return sizes

    def _unread(self, wanted: dict[str, tuple[int, int]]) -> int:
        """Bytes of the live files that nobody has read yet."""
        from monitor.sources.tail import FileState  # noqa: PLC0415 - only a process that does not ingest asks this

        unread = 0
        for name, (inode, size) in wanted.items():
            states = [msgspec.msgpack.decode(c.position, type=FileState) for c in self.store.checkpoints(name)]
            seen = max((state.size for state in states if state.inode == inode and state.size <= size), default=0)
            unread += size - seen
        return unread

    def unread_bytes(self) -> int:
        """Bytes of the live logs that no process has read yet."""
        return self._unread(self._live_sizes([str(source.path) for source in self.sources() if source.path != STDIN]))

    def ingester_alive(self) -> bool:
        """Whether some process holds the lock just now."""
        if self._ingester is not None:
            return True
        try:
            with self._lock():
                return False
        except OSError:  # filelock's Timeout is one
            return True

    # -- links ------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """What links begin with: as configured, else the address of the process that serves the page."""
        return self.settings.web.base_url or self.published_address() or "http://localhost:8888"

    def publish_address(self, url: str) -> None:
        """Tell other processes where this one serves the page."""
        self._make_folder()
        self._address = url
        path = self.folder / ADDRESS_NAME
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        temporary.chmod(0o600)
        temporary.replace(path)

    def withdraw_address(self) -> None:
        """Stop telling it."""
        if self._address is not None:
            self._address = None
            with contextlib.suppress(OSError):
                (self.folder / ADDRESS_NAME).unlink()

    def published_address(self) -> str | None:
        """Where the page is served, or None where nobody serves it."""
        if self._address is not None:
            return self._address
        try:
            told = json.loads((self.folder / ADDRESS_NAME).read_text())
            os.kill(int(told["pid"]), 0)
            return str(told["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def page_is_served(self) -> bool:
        """Whether some process serves the page that links lead to."""
        return self.published_address() is not None

    def close(self) -> None:
        """Stop ingesting and let go of everything."""
        self._stop.set()
        ingester = self._ingester
        if ingester is not None:
            ingester.stop()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self.store.close()
