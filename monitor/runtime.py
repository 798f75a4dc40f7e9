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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from monitor import __version__
from monitor.access import links
from monitor.access.links import Signer
from monitor.answers.base import Asking
from monitor.answers.budgets import failed_channels
from monitor.answers.health import SourceStanding, Standing
from monitor.answers.scope import ASKED_BY, Scope, ScopedStore
from monitor.budgets import BudgetBook, Exchange
from monitor.config import (
    ADDRESS_NAME,
    DEFAULT_LOGS,
    LOCK_NAME,
    ConfigError,
    Settings,
    SourceSettings,
    check_allowed,
    is_openclaw,
    openclaw_folders,
)
from monitor.store.base import Added, OlderStore, RepricedRounds, SessionQuery, Store, StoreError
from monitor.store.sqlite import DATABASE, SqliteStore

if TYPE_CHECKING:
    from filelock import FileLock

    from monitor.alerts import Teller
    from monitor.archive import Spool
    from monitor.ingest import Ingester, Source
    from monitor.ingest.retention import Retention
    from monitor.prices.catalog import Catalog
    from monitor.prices.live import LiveCatalog
    from monitor.prices.model_pricing import UsagePrices
    from monitor.sources.tail import FileState
    from monitor.sources.usage_log.writer import DayFiles

log = logging.getLogger("monitor.runtime")

STDIN = Path("-")
#: Usage records that were given to this program lie here, below the data directory.
OWN_RECORDS = "usage"
#: How often a process that only answers looks whether it can take over.
_TAKE_OVER_S = 2.0
#: How long an answer waits for the log: in the ingesting process, and for another process to ingest.
_DRAIN_S = 2.0
_WAIT_FOR_OTHER_S = 0.5


class _Address(NamedTuple):
    """What a process tells of the page that it serves."""

    url: str
    pid: int
    #: A token is asked for there.
    guarded: bool


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
        self._live: LiveCatalog | None = None
        self._book: BudgetBook | None = None
        self._teller: Teller | None = None
        self._guarded = False
        self._signer = Signer(self.folder)
        self._start_failure: str | None = None
        self._retention: Retention | None = None
        self._spools: list[Spool] = []

    # -- what is followed -------------------------------------------------------------------------

    def sources(self) -> list[SourceSettings]:
        """Those of the command line, else of the configuration, else those followed before, else the usual places.

        Raises:
            ConfigError: a path that may not be read.
        """
        found = [_named(path) for path in self._log_paths] or list(self.settings.sources)
        if not found:
            found = self._remembered()
        if not found:
            found = [SourceSettings(path=path) for path in DEFAULT_LOGS if path.exists()]
            if self.settings.usage.folder.is_dir():
                found.append(SourceSettings(kind="usage", path=self.settings.usage.folder))
            found += [SourceSettings(kind="openclaw", path=path) for path in openclaw_folders()]
        own = self.folder / OWN_RECORDS
        if own.is_dir() and all(source.path != own for source in found):
            found.append(SourceSettings(kind="usage", path=own))
        allowed = self.settings.privacy.allowed_paths
        return [
            source.model_copy(
                update={
                    "path": source.path if source.path in (STDIN, own) else check_allowed(source.path, allowed),
                    "max_rotate": source.max_rotate if self._max_rotate is None else self._max_rotate,
                }
            )
            for source in found
        ]

    def _remembered(self) -> list[SourceSettings]:
        """The sources that the data directory already follows, read as they were."""
        try:
            how = self.store.followed()
        except OlderStore:
            # After an upgrade: what is followed stands in tables that have to be brought up to date first.
            self._bring_up_to_date()
            how = self.store.followed()
        found = []
        for name in self.store.sources():
            kind, settings = how.get(name, ("higress", b"{}"))
            try:
                found.append(SourceSettings(**{**json.loads(settings), "kind": kind, "path": Path(name)}))
            except ValueError:
                # Written by another version of this program.
                log.warning("%s is not followed: name it in the configuration", name)
        return found

    def _bring_up_to_date(self) -> None:
        """Give the tables of an older version what is new in them.

        Raises:
            StoreError: a process of the older version ingests, or the store can't be used.
        """
        try:
            with self._lock():
                SqliteStore(self.folder, keep_content=False).close()
        except TimeoutError:
            raise StoreError(
                f"{self.folder} is of an older version of this program, and a process of that version reads the logs: "
                "stop it (`session-monitor service status` tells whether it is the service), then start this one"
            ) from None

    def usage_folder(self) -> Path:
        """Where usage records go that are given to this program: the first folder of them that is followed.

        Without one they go into the data directory, which is followed from then on.
        """
        for source in self.sources():
            if is_of_days(source) and not source.fields:
                return source.path
        return self.folder / OWN_RECORDS

    def usage_files(self, folder: Path | None = None) -> DayFiles:
        """What appends usage records to `folder`, by default to `usage_folder`."""
        from monitor.sources.usage_log.writer import DayFiles  # noqa: PLC0415 - only where records come in

        return DayFiles(folder or self.usage_folder(), ZoneInfo(self.settings.zone))

    def usage_prices(self) -> UsagePrices:
        """What usage records cost: by the configured lists, else by the usage list."""
        from monitor.prices.model_pricing import UsagePrices, shared  # noqa: PLC0415

        overlays = self.settings.prices.overlays
        return UsagePrices(overlays, self.folder) if overlays else shared()

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
        self._thread = threading.Thread(target=self._background, args=(on_lock,), name="ingest", daemon=True)
        self._thread.start()

    def _lock(self) -> FileLock:
        from filelock import FileLock  # noqa: PLC0415 - a server lists its tools before it needs one

        return FileLock(self.folder / LOCK_NAME, timeout=0, mode=0o600)

    def _background(self, on_lock: Callable[[], None] | None) -> None:
        lock = self._lock()
        while not self._stop.is_set():
            try:
                self._make_folder()
                lock.acquire()
            except TimeoutError:
                self._start_failure = None
                self._settled.set()
                self._stop.wait(_TAKE_OVER_S)
                continue
            except (OSError, ConfigError) as error:
                self._not_started(f"can't lock {self.folder}: {error}")
                continue
            try:
                ingester = self._open_ingester()
                self._start_failure = None
                self._settled.set()
                if self._address is not None:
                    self.publish_address(self._address, guarded=self._guarded)
                if on_lock is not None:
                    on_lock()
                ingester.run()
            except Exception as error:
                self._not_started(f"ingestion can't start: {error}")
            finally:
                self._close_ingester()
                lock.release()

    def _not_started(self, why: str) -> None:
        """Say once why nothing is read, and wait for the next attempt."""
        if why != self._start_failure:
            log.error("%s", why)
        self._start_failure = why
        self._settled.set()
        self._stop.wait(_TAKE_OVER_S)

    @property
    def settled(self) -> bool:
        """Whether it is decided if this process ingests."""
        return self._settled.is_set()

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until it is decided whether this process ingests; a first question would else find nothing read."""
        self._settled.wait(timeout)

    def catalog(self) -> Catalog:
        """The price lists as they are configured; loaded when they are first asked for, and when they have changed."""
        live = self.live_catalog()
        if self._ingester is None:  # else ingestion looks, so that one pass has one list
            live.refresh()
        return live.catalog

    def live_catalog(self) -> LiveCatalog:
        """The same for whoever asks often."""
        if self._live is None:
            from monitor.prices.catalog import Catalog  # noqa: PLC0415 - price lists take time to load
            from monitor.prices.live import LiveCatalog  # noqa: PLC0415
            from monitor.prices.updates import FILE_NAME  # noqa: PLC0415

            overlays, region = self._overlays(), self.settings.prices.region
            self._live = LiveCatalog(
                lambda: Catalog.load(overlays, region=region, data_dir=self.folder),
                [*overlays, self.folder / FILE_NAME],
            )
        return self._live

    def _overlays(self) -> list[Path]:
        named = self.settings.prices.overlays
        if not named:
            return []
        from monitor.prices import lists  # noqa: PLC0415 - only where there is one

        return lists.paths(named)

    def book(self) -> BudgetBook:
        """The budgets and the rates of exchange as they are configured.

        Raises:
            PriceFileError: the overlay with the rates can't be used.
        """
        if self._book is None:
            exchange = Exchange("USD")
            for path in self._overlays():
                from monitor.prices import overlay  # noqa: PLC0415 - only where there is one

                file = overlay.load(path)
                rates = {c: (r.per_usd, r.as_of.isoformat()) for c, r in file.fx.items()}
                exchange = Exchange(file.base_currency or exchange.base, {**exchange.per_usd, **rates})
            budgets = tuple(budget.budget() for budget in self.settings.budgets)
            self._book = BudgetBook(budgets, self.settings.zone, exchange)
        return self._book

    def repriced(self, progress: Callable[[int], None] | None = None) -> RepricedRounds:
        """Apply the price lists of now to every round that is stored, whoever ingests meanwhile.

        Raises:
            StoreError, PriceFileError: the store or a price list can't be used.
            FileNotFoundError: nothing was stored yet.
        """
        if not (self.folder / DATABASE).exists():
            raise FileNotFoundError(self.folder)
        catalog = self.catalog()
        store = SqliteStore(self.folder, keep_content=False, price_version=catalog.version)
        try:
            return store.reprice(catalog.cost, catalog.version, progress=progress)
        finally:
            store.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[SqliteStore]:
        """The store, open for what is taken away from it, whoever ingests meanwhile.

        Raises:
            StoreError: the store can't be used.
            FileNotFoundError: nothing was stored yet.
        """
        if not (self.folder / DATABASE).exists():
            raise FileNotFoundError(self.folder)
        store = SqliteStore(self.folder, keep_content=False)
        try:
            yield store
        finally:
            store.close()

    def _open_ingester(self) -> Ingester:
        from monitor.ingest import Ingester  # noqa: PLC0415 - only one process reads logs
        from monitor.redaction import Redactor  # noqa: PLC0415

        catalog = self.live_catalog()
        catalog.refresh()
        content = self.settings.privacy.content
        keep_content = content != "none"
        writer = SqliteStore(self.folder, keep_content=keep_content, price_version=catalog.version, budgets=self.book())
        self._writer = writer
        if self.settings.budgets:
            from monitor.alerts import Teller  # noqa: PLC0415 - only where somebody is to be told

            self._teller = Teller(writer, self.settings.budgets, self.book(), self.session_link)
            self._teller.start()

        def before_pass() -> None:
            if catalog.refresh():
                writer.price_version = catalog.version

        keep = self.settings.retention
        if keep.rounds_days or keep.content_days:
            from monitor.ingest.retention import Retention  # noqa: PLC0415 - only where something is to go

            self._retention = Retention(writer, keep.rounds_days, keep.content_days)
        configured = self.sources()
        if all(source.path != self.folder / OWN_RECORDS for source in configured):
            # Somebody may send records later.
            configured.append(SourceSettings(kind="usage", path=self.folder / OWN_RECORDS))
        sources = [self._source(source, writer, catalog, keep_content) for source in configured]
        self._ingester = Ingester(
            sources,
            writer,
            on_added=self._tell,
            before_pass=before_pass,
            spare_time=self._spare_time,
            redactor=Redactor() if content == "redacted" else None,
            refresh_interval=self._refresh_interval,
        )
        return self._ingester

    def _source(
        self, settings: SourceSettings, writer: SqliteStore, catalog: LiveCatalog, keep_content: bool
    ) -> Source:
        from monitor.ingest import LogSource, StreamSource  # noqa: PLC0415 - only one process reads logs

        name = str(settings.path)
        reader = None
        if settings.kind == "openclaw":
            from monitor.ingest.transcripts import TranscriptSource  # noqa: PLC0415 - only where there are transcripts

            writer.follow(name, settings.kind, b"{}")
            return TranscriptSource(settings.path, writer, catalog, keep_content=keep_content)
        if settings.kind == "usage":
            from monitor.ingest.usage_folder import UsageFolder  # noqa: PLC0415
            from monitor.sources.usage_log.reader import UsageReader  # noqa: PLC0415

            own = settings.model_dump(mode="json", exclude={"kind", "path"}, exclude_defaults=True)
            writer.follow(name, settings.kind, json.dumps(own).encode())
            if is_of_days(settings):
                return UsageFolder(settings.path, writer, catalog, names=settings.names, keep_content=keep_content)
            reader = UsageReader(settings.names, name)
        if settings.path == STDIN:
            return StreamSource(sys.stdin.fileno(), catalog, keep_content=keep_content, reader=reader)
        return LogSource(
            settings.path,
            writer,
            catalog,
            max_rotate=settings.max_rotate,
            keep_content=keep_content,
            reader=reader,
            lines_kept_by=self._spool(settings.path, writer) if settings.kind == "higress" else None,
            origin=name if settings.kind == "usage" else None,
        )

    def _spool(self, log: Path, store: SqliteStore) -> Spool | None:
        """Where the lines of a log are kept as they are read; None where they are not."""
        folder = self.settings.retention.archive
        # A segment that is read again need not be archived again.
        if folder is None or log.parent == folder:
            return None
        from monitor.archive import Spool  # noqa: PLC0415 - only where lines are kept

        self._spools.append(Spool(folder, str(log), silenced=store.silenced))
        return self._spools[-1]

    def _spare_time(self) -> bool:
        """Do a little of what is less urgent than reading; whether there is more."""
        sealed = [spool.seal_if_due() for spool in self._spools]
        return any(sealed) or (self._retention is not None and self._retention.step())

    def _close_ingester(self) -> None:
        self._ingester = self._retention = None
        while self._spools:
            self._spools.pop().close()
        if self._teller is not None:
            self._teller.stop()
            self._teller = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def do_upkeep(self) -> None:
        """Archive and prune as the settings say, where it is time; for a process that ingests once and ends."""
        for spool in self._spools:
            spool.seal_if_due()
        if self._retention is not None:
            self._retention.once_a_day()

    def _tell(self, added: Added) -> None:
        if added.alerts and self._teller is not None:
            self._teller.poke()
        for listener in self._listeners:
            listener(added)

    def listen(self, listener: Callable[[Added], None]) -> None:
        """Call `listener` in the ingesting thread whenever sessions have grown."""
        self._listeners.append(listener)

    @property
    def is_ingesting(self) -> bool:
        """Whether this process is the one that reads the logs."""
        return self._ingester is not None

    @property
    def is_well(self) -> bool:
        """Whether some process reads the logs, and this one can keep what it reads."""
        ingester = self._ingester
        return self.ingester_alive() and (ingester is None or ingester.failure is None)

    def standing(self) -> Standing:
        """How the sources stand, as far as this process can tell."""
        ingester = self._ingester
        from monitor.sources.tail import in_the_way  # noqa: PLC0415

        known = {state.source: state for state in ingester.states} if ingester is not None else {}
        sources = []
        notes: tuple[str, ...] = ()
        for source in self.sources():
            size = _size(source)
            state = known.get(str(source.path))
            if state is not None:
                pending = state.pending_bytes + state.refused_bytes
                problems = tuple(f"{p.path}: {p.what}" for p in state.problems)
                notes += state.notes
            elif source.kind == "openclaw":
                pending, problems = self._unread_folder(source.path), ()
            else:
                pending = self._unread(self._wanted([str(source.path)]))
                found = None if source.path == STDIN or is_of_days(source) else in_the_way(source.path)
                problems = (f"{found.path}: {found.reason}: {found.remedy}",) if found is not None else ()
            sources.append(
                SourceStanding(str(source.path), source.kind, size is not None, size or 0, pending, problems)
            )
        return Standing(
            tuple(sources),
            ingesting=self.ingester_alive(),
            failure=ingester.failure if ingester is not None else None,
            problems=(
                *((self._start_failure,) if self._start_failure is not None else ()),
                *(self._live.catalog.warnings if self._live is not None else ()),
                *((self._live.problem,) if self._live is not None and self._live.problem is not None else ()),
                *failed_channels(self.store.alerts()),
            ),
            notes=(*notes, *self._unread_transcripts(), *self._stale_prices()),
            version=__version__,
        )

    def _unread_transcripts(self) -> list[str]:
        read = {source.path for source in self.sources() if source.kind == "openclaw"}
        return [
            f'OpenClaw keeps transcripts in {folder}, and no source reads them: add kind = "openclaw" with this path '
            "to the configuration, or name it with --log-path"
            for folder in openclaw_folders()
            if folder.absolute() not in read
        ]

    def _stale_prices(self) -> tuple[str, ...]:
        if self._live is None:
            return ()
        newest = self.store.sessions(SessionQuery(sort_by="updated", limit=1)).sessions
        stale = self._live.catalog.stale(newest[0].updated_at) if newest else None
        return () if stale is None else (stale,)

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
        scope = ASKED_BY.get()
        return Asking(
            self.view,
            as_of,
            behind,
            self.base_url,
            self.settings.zone,
            book=self.book() if scope is None else self.book().of_sessions,
            scope=scope,
            signed=partial(self._signed, scope=scope) if self.links_are_signed else None,
        )

    @property
    def view(self) -> Store:
        """The store as the asker may see it."""
        scope = ASKED_BY.get()
        return self.store if scope is None else ScopedStore(self.store, scope)

    def content_scope(self) -> tuple[str, ...]:
        """Patterns of the sessions whose content MCP clients may read: of the settings, or of the asker's token."""
        scope = ASKED_BY.get()
        if scope is None:
            return tuple(self.settings.privacy.content_scope)
        return scope.patterns if scope.content else ()

    def session_link(self, session_id: str) -> str:
        """The link to a session's page, for whoever gets it."""
        if self.links_are_signed:
            return self._signed(session_id, scope=None)[0]
        return Asking(self.store, base_url=self.base_url).url(session_id)

    def _fresh(self, wait: bool) -> tuple[int | None, int | None]:
        ingester = self._ingester
        if ingester is not None:
            as_of, behind = ingester.catch_up(_DRAIN_S if wait else 0.0)
            return (as_of if as_of is not None else self.store.as_of()), behind
        deadline = time.monotonic() + (_WAIT_FOR_OTHER_S if wait else 0.0)
        asked = time.time_ns() // 1_000_000
        folders = self._openclaw_folders()
        wanted = self._wanted(without=folders)
        while True:
            behind = self._unread(wanted) + sum(map(self._unread_folder, folders))
            if behind == 0:
                # What was there when the question came has been read, whenever that happened.
                return (asked if folders or any(wanted.values()) else self.store.as_of()), None
            if time.monotonic() >= deadline or not self.ingester_alive():
                return self.store.as_of(), behind
            time.sleep(0.02)

    def _states(self, name: str) -> list[FileState]:
        from monitor.sources.tail import FileState  # noqa: PLC0415 - only a process that does not ingest asks this

        return [
            msgspec.structs.replace(msgspec.msgpack.decode(c.position, type=FileState), size=c.size)
            for c in self.store.checkpoints(name)
        ]

    def _openclaw_folders(self) -> list[Path]:
        """The state folders among what is followed."""
        how = self.store.followed()
        names = self.store.sources()
        if not names:
            return [source.path for source in self.sources() if source.kind == "openclaw"]
        return [Path(name) for name in names if name in how and how[name][0] == "openclaw"]

    def _unread_folder(self, folder: Path) -> int:
        from monitor.ingest.transcripts import unread_bytes  # noqa: PLC0415 - only where there are transcripts

        return unread_bytes(folder, self.store.checkpoints(str(folder)))

    def _wanted(
        self, names: Sequence[str] = (), *, without: Sequence[Path] = ()
    ) -> dict[str, list[tuple[int, int, int]]]:
        """Device, inode and size of what has to be read: of each log the live file, and what it was before."""
        wanted = {}
        for name in names or self.store.sources() or [str(source.path) for source in self.sources()]:
            if Path(name) in without:
                continue
            files: list[tuple[int, int, int]] = []
            if os.path.isdir(name):
                wanted[name] = [
                    (found.st_dev, found.st_ino, found.st_size)
                    for _, found in _day_files(Path(name))
                    if found is not None
                ]
                continue
            with contextlib.suppress(OSError):
                found = os.stat(name)
                files.append((found.st_dev, found.st_ino, found.st_size))
            known = {(state.device, state.inode) for state in self._states(name)}
            if known and (not files or files[0][:2] not in known):
                # Rotated, and nobody has looked since: what was written before that has another name now.
                from monitor.sources.tail import same_log  # noqa: PLC0415

                there = [(found.st_dev, found.st_ino, found.st_size) for found in same_log(name)]
                files += [file for file in there if file[:2] in known]
            wanted[name] = files
        return wanted

    def _unread(self, wanted: dict[str, list[tuple[int, int, int]]]) -> int:
        """Bytes of these files that nobody has read yet."""
        unread = 0
        for name, files in wanted.items():
            states = self._states(name) if files else []
            for device, inode, size in files:
                sizes = (s.size for s in states if (s.device, s.inode) == (device, inode) and s.size <= size)
                unread += size - max(sizes, default=0)
        return unread

    def unread_bytes(self) -> int:
        """Bytes of the logs that no process has read yet."""
        sources = [source for source in self.sources() if source.path != STDIN]
        folders = [source.path for source in sources if source.kind == "openclaw"]
        logs = [str(source.path) for source in sources if source.path not in folders]
        return (self._unread(self._wanted(logs)) if logs else 0) + sum(map(self._unread_folder, folders))

    def has_logs(self) -> bool:
        """Whether there is anything to read, be it under a rotated name only."""
        from monitor.sources.tail import same_log  # noqa: PLC0415

        return any(
            source.path == STDIN
            or is_of_days(source)
            or (source.path.is_dir() if source.kind == "openclaw" else same_log(source.path, source.max_rotate))
            for source in self.sources()
        )

    def ingester_alive(self) -> bool:
        """Whether some process holds the lock just now. Nothing is made or changed by asking."""
        if self._ingester is not None:
            return True
        import fcntl  # noqa: PLC0415

        try:
            held = os.open(self.folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(held)
        return False

    # -- links ------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """What links begin with: as configured, else the address of the process that serves the page."""
        return self.settings.web.base_url or self.published_address() or "http://localhost:8888"

    @property
    def links_are_signed(self) -> bool:
        """Whether the page that links lead to asks for a token, so that a link must open its session by itself."""
        if self.settings.web.needs_token or self._guarded:
            return True
        told = self._told() if self._address is None and self.settings.web.auth != "proxy" else None
        return told is not None and told.guarded

    @property
    def signer(self) -> Signer:
        """Signs links and cookies."""
        return self._signer

    def _signed(self, session_id: str, *, scope: Scope | None) -> tuple[str, int]:
        content = scope is None or scope.content
        return links.link(
            self._signer, self.base_url, session_id, content=content, until=None if scope is None else scope.until
        )

    def publish_address(self, url: str, *, guarded: bool = False) -> None:
        """Tell other processes where this one serves the page. Of several the one that ingests is named.

        `guarded`: a token is asked for there.
        """
        self._make_folder()
        self._address, self._guarded = url, guarded
        told = self._told()
        if not self.is_ingesting and told is not None and (told.url, told.pid) != (url, os.getpid()):
            return
        path = self.folder / ADDRESS_NAME
        temporary = path.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_text(json.dumps({"url": url, "pid": os.getpid(), "guarded": guarded}))
            temporary.chmod(0o600)
            temporary.replace(path)
        except OSError as error:
            log.warning("other processes can't be told where the page is: %s", error)

    def withdraw_address(self) -> None:
        """Stop telling it."""
        if self._address is not None:
            told, self._address = self._told(), None
            if told is not None and told.pid == os.getpid():
                with contextlib.suppress(OSError):
                    (self.folder / ADDRESS_NAME).unlink()

    def _told(self) -> _Address | None:
        """The published address and the process that serves it, where that one lives."""
        try:
            told = json.loads((self.folder / ADDRESS_NAME).read_text())
            os.kill(int(told["pid"]), 0)
            return _Address(str(told["url"]), int(told["pid"]), bool(told.get("guarded")))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def published_address(self) -> str | None:
        """Where the page is served, or None where nobody serves it."""
        if self._address is not None:
            return self._address
        told = self._told()
        return None if told is None else told.url

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
        self.withdraw_address()
        self.store.close()


def is_of_days(source: SourceSettings) -> bool:
    """Whether a source is a folder with a file a day: it is there as one, or may become one."""
    path = source.path
    return source.kind == "usage" and (path.is_dir() or (path != STDIN and not path.suffix and not path.exists()))


def _named(path: Path) -> SourceSettings:
    """What is meant by a path on the command line: a folder has usage records, or is OpenClaw's; else it is a log."""
    if is_openclaw(path):
        return SourceSettings(kind="openclaw", path=path)
    return SourceSettings(kind="usage" if path.is_dir() and not path.suffix else "higress", path=path)


def _day_files(folder: Path) -> list[tuple[Path, os.stat_result | None]]:
    from monitor.sources.usage_log.folder import day_files  # noqa: PLC0415 - only where there are such files

    found: list[tuple[Path, os.stat_result | None]] = []
    with contextlib.suppress(OSError):
        for path in (path for paths in day_files(folder).values() for path in paths):
            try:
                found.append((path, path.stat()))
            except OSError:
                found.append((path, None))
    return found


def _size(source: SourceSettings) -> int | None:
    """Bytes of a log, or of all files of a folder that are read; None where it is not there."""
    path = source.path
    try:
        if source.kind == "openclaw":
            from monitor.ingest.transcripts import signature_of  # noqa: PLC0415 - only where there are transcripts

            signature = signature_of(path)
            return None if signature is None else signature[2]
        if path.is_dir():
            return sum(found.st_size for _, found in _day_files(path) if found is not None)
        return path.stat().st_size
    except OSError:
        return None
