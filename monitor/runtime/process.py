"""One process's share of a data directory: it answers, and ingests while it holds the lock."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from monitor import __version__
from monitor.access import links
from monitor.access.links import Signer
from monitor.answers.base import Asking
from monitor.answers.budgets import failed_channels
from monitor.answers.health import SourceStanding, Standing
from monitor.answers.scope import ASKED_BY, Scope, ScopedStore
from monitor.budgets import BudgetBook, Exchange
from monitor.config import (
    LOCK_NAME,
    ConfigError,
    Settings,
    SourceSettings,
    openclaw_folders,
)
from monitor.runtime.address import Addresses
from monitor.runtime.following import OWN_RECORDS, STDIN, Following, is_of_days, size_of
from monitor.runtime.stores import Stores
from monitor.runtime.unread import Unread
from monitor.store.base import Added, Batch, RepricedRounds, SessionQuery, Store, StoreAway

if TYPE_CHECKING:
    from filelock import FileLock

    from monitor.alerts import Teller
    from monitor.archive import Spool
    from monitor.ingest import Ingester
    from monitor.ingest.follower import Follower
    from monitor.ingest.retention import Retention
    from monitor.prices.catalog import Catalog
    from monitor.prices.live import LiveCatalog
    from monitor.prices.model_pricing import UsagePrices
    from monitor.runtime.stores import OpenStore
    from monitor.sources.usage_log.writer import DayFiles

log = logging.getLogger("monitor.runtime")

#: How often a process that only answers looks whether it can take over.
_TAKE_OVER_S = 2.0
#: How long an answer waits for the log: in the ingesting process, and for another process to ingest.
_DRAIN_S = 2.0
_WAIT_FOR_OTHER_S = 0.5
#: A fleet of which no node has said anything for so long is not read.
_SILENT_MS = 600_000
#: A node of a fleet says at least this often how far it has read.
_BEAT_S = 15.0


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
        self.stores = Stores(settings)
        self.store = self.stores.reading()
        self._following = Following(
            settings, self.store, self.stores, self._lock, log_paths=log_paths, max_rotate=max_rotate
        )
        self._unread = Unread(self.store, self._following)
        self._addresses = Addresses(self.folder)
        self._ingester: Ingester | None = None
        self._writer: OpenStore | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._settled = threading.Event()
        self._listeners: list[Callable[[Added], None]] = []
        self._live: LiveCatalog | None = None
        self._book: BudgetBook | None = None
        self._teller: Teller | None = None
        self._signer = Signer(self.folder)
        self._start_failure: str | None = None
        self._retention: Retention | None = None
        self._spools: list[Spool] = []
        self._follower: Follower | None = None
        self._beaten = 0.0

    # -- what is followed -------------------------------------------------------------------------

    def sources(self) -> list[SourceSettings]:
        """Those of the command line, else of the configuration, else those followed before, else the usual places.

        Raises:
            ConfigError: a path that may not be read.
        """
        return self._following.sources()

    def usage_folder(self) -> Path:
        """Where usage records go that are given to this program."""
        return self._following.usage_folder()

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
    def ingesting(self, *, wait: bool = False) -> Iterator[Ingester]:
        """Hold the lock and be ready to ingest; for commands that do nothing else.

        With `wait`, a fleet's store that is away is waited for; the logs are followed meanwhile.

        Raises:
            filelock.Timeout: another process ingests into this data directory.
            StoreError, ConfigError: the store or the settings can't be used.
        """
        self._make_folder()
        with self._lock():
            try:
                yield self._open_ingester(wait=wait)
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
                ingester = self._open_ingester(wait=True)
                self._start_failure = None
                self._settled.set()
                if (own := self._addresses.own) is not None:
                    self.publish_address(own.url, guarded=own.guarded)
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
        if not self.stores.exists:
            raise FileNotFoundError(self.folder)
        catalog = self.catalog()
        store = self.stores.writing(price_version=catalog.version)
        try:
            return store.reprice(catalog.cost, catalog.version, progress=progress)
        finally:
            store.close()

    @contextlib.contextmanager
    def writing(self, *, keep_content: bool = False) -> Iterator[OpenStore]:
        """The store, open for what is taken away from it, whoever ingests meanwhile.

        Raises:
            StoreError: the store can't be used.
            FileNotFoundError: nothing was stored yet.
        """
        if not self.stores.exists:
            raise FileNotFoundError(self.folder)
        store = self.stores.writing(keep_content=keep_content)
        try:
            yield store
        finally:
            store.close()

    @contextlib.contextmanager
    def adding(self) -> Iterator[OpenStore]:
        """The store, open for rounds that no source brings, without what was said in them.

        Beside another process that ingests: a store in a file takes turns. A fleet's is written by one process a node.

        Raises:
            filelock.Timeout: another process of this node writes into a fleet's store.
            StoreError: the store can't be used.
        """
        from filelock import Timeout  # noqa: PLC0415

        catalog = self.live_catalog()
        catalog.refresh()
        self._make_folder()
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._lock())
            except Timeout:
                if self.stores.is_fleet:
                    raise
            store = self.stores.writing(price_version=catalog.version, budgets=self.book())
            held.callback(store.close)
            yield store

    def _open_ingester(self, *, wait: bool) -> Ingester:
        """Be ready to ingest; a fleet's node follows its logs from now on, whether the store is there or not."""
        if self.stores.is_fleet:
            from monitor.runtime import node  # noqa: PLC0415 - only where there is a fleet

            self._follower = node.follower(self.settings, self.folder, self.sources())
            self._follower.start()
        while True:
            try:
                ingester = self._built_ingester()
                self._start_failure = None
                return ingester
            except StoreAway as error:
                if self._follower is None:
                    raise
                self._follower.failed(str(error))
                if not wait or self._stop.is_set():
                    raise
                self._close_writer()
                self._not_started(f"the store is away, and the logs are followed meanwhile: {error}")

    def _built_ingester(self) -> Ingester:
        from monitor.ingest import Ingester  # noqa: PLC0415 - only one process reads logs
        from monitor.redaction import Redactor  # noqa: PLC0415
        from monitor.runtime.opening import opened  # noqa: PLC0415

        catalog = self.live_catalog()
        catalog.refresh()
        content = self.settings.privacy.content
        keep_content = content != "none"
        writer = self.stores.writing(keep_content=keep_content, price_version=catalog.version, budgets=self.book())
        self._writer = writer

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
        intakes = self._follower.intakes if self._follower is not None else {}
        kept_by = partial(self._spool, writer)
        sources = [
            opened(source, writer, catalog, keep_content=keep_content, kept_by=kept_by, intake=intakes.get(source.path))
            for source in configured
        ]
        self._ingester = Ingester(
            sources,
            writer,
            on_added=self._tell,
            before_pass=before_pass,
            spare_time=self._spare_time,
            redactor=Redactor() if content == "redacted" else None,
            refresh_interval=self._refresh_interval,
        )
        self._begin_telling(writer, [source.kind for source in configured])
        return self._ingester

    def _begin_telling(self, writer: Store, kinds: Sequence[str]) -> None:
        """Begin to send what somebody is to be told of, where anybody is."""
        alerts = self.settings.alerts
        if not (self.settings.budgets or alerts.notify):
            return
        from monitor.alerts import MeterWatch, Teller  # noqa: PLC0415 - only where somebody is to be told

        watch = MeterWatch(writer, kinds, alerts, self.folder, self._has_read_all) if alerts.notify else None
        self._teller = Teller(writer, self.settings.budgets, self.book(), self.session_link, watch)
        self._teller.start()

    def _has_read_all(self) -> bool:
        """Whether this process has read all that its sources had when it last looked."""
        states = () if self._ingester is None else self._ingester.states
        return bool(states) and not any(state.pending_bytes for state in states)

    def _spool(self, store: Store, log: Path) -> Spool | None:
        folder = self.settings.retention.archive
        # A segment that is read again need not be archived again.
        if folder is None or log.parent == folder:
            return None
        from monitor.archive import Spool  # noqa: PLC0415 - only where lines are kept

        self._spools.append(Spool(folder, str(log), silenced=store.silenced))
        return self._spools[-1]

    def _spare_time(self) -> bool:
        """Do a little of what is less urgent than reading; whether there is more."""
        self._beat()
        sealed = [spool.seal_if_due() for spool in self._spools]
        return any(sealed) or (self._retention is not None and self._retention.step())

    def _beat(self) -> None:
        """Say in a fleet's store how far this node has read, also when its logs say nothing for a while."""
        ingester, writer = self._ingester, self._writer
        if not self.stores.is_fleet or ingester is None or writer is None:
            return
        moment = time.monotonic()
        if moment - self._beaten < _BEAT_S or ingester.as_of is None:
            return
        self._beaten = moment
        try:
            writer.add(Batch(as_of=ingester.as_of))
        except StoreAway as away:
            log.debug("the store is away: %s", away)

    def _close_ingester(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            self._follower = None
        self._close_writer()

    def _close_writer(self) -> None:
        if self._teller is not None:
            self._teller.stop()
            self._teller = None
        self._ingester = self._retention = None
        while self._spools:
            self._spools.pop().close()
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
            size = size_of(source)
            state = known.get(str(source.path))
            if state is not None:
                pending = state.pending_bytes + state.refused_bytes
                problems = tuple(f"{p.path}: {p.what}" for p in state.problems)
                notes += state.notes
            elif source.kind == "openclaw":
                pending, problems = self._unread.of_folder(source.path), ()
            else:
                pending = self._unread.of(self._unread.wanted([str(source.path)]))
                found = None if source.path == STDIN or is_of_days(source) else in_the_way(source.path)
                problems = (f"{found.path}: {found.reason}: {found.remedy}",) if found is not None else ()
            sources.append(
                SourceStanding(str(source.path), source.kind, size is not None, size or 0, pending, problems)
            )
        problems_here, notes_here = self.waiting_here()
        return Standing(
            tuple(sources),
            ingesting=self.ingester_alive() or self._others_read(),
            failure=ingester.failure if ingester is not None else None,
            problems=(
                *((self._start_failure,) if self._start_failure is not None else ()),
                *(self._live.catalog.warnings if self._live is not None else ()),
                *((self._live.problem,) if self._live is not None and self._live.problem is not None else ()),
                *failed_channels(self.store.alerts()),
                *self._untold_silences(),
                *problems_here,
            ),
            notes=(*notes, *notes_here, *self._unread_transcripts(), *self._stale_prices()),
            version=__version__,
        )

    def waiting_here(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is wrong with lines that wait on this node or are lost, and what is worth knowing; without the store."""
        if not self.stores.is_fleet:
            return (), ()
        from monitor.runtime import node  # noqa: PLC0415 - only where there is a fleet

        return node.told(self.folder)

    def _untold_silences(self) -> list[str]:
        if not self.settings.alerts.notify:
            return []
        from monitor.alerts import untold_silences  # noqa: PLC0415 - only where somebody is to be told

        return untold_silences(self.folder)

    def _others_read(self) -> bool:
        """Whether some node of the fleet has read its logs just now."""
        if not self.stores.is_fleet:
            return False
        newest = max(self.store.nodes().values(), default=0)
        return time.time_ns() // 1_000_000 - newest < _SILENT_MS

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
            if as_of is None or self.stores.is_fleet:
                # Of a fleet the node that has read the least says how far all have.
                known = [at for at in (as_of, self.store.as_of()) if at is not None]
                as_of = min(known, default=None)
            return as_of, behind
        deadline = time.monotonic() + (_WAIT_FOR_OTHER_S if wait else 0.0)
        asked = time.time_ns() // 1_000_000
        folders = self._unread.openclaw_folders()
        wanted = self._unread.wanted(without=folders)
        while True:
            behind = self._unread.of(wanted) + sum(map(self._unread.of_folder, folders))
            if behind == 0:
                # What was there when the question came has been read, whenever that happened.
                here = (folders or any(wanted.values())) and not self.stores.is_fleet
                return (asked if here else self.store.as_of()), None
            if time.monotonic() >= deadline or not self.ingester_alive():
                return self.store.as_of(), behind
            time.sleep(0.02)

    def unread_bytes(self) -> int:
        """Bytes of the logs that no process has read yet."""
        return self._unread.bytes()

    def has_logs(self) -> bool:
        """Whether there is anything to read, be it under a rotated name only."""
        return self._unread.has_logs()

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
        own = self._addresses.own
        if self.settings.web.needs_token or (own is not None and own.guarded):
            return True
        told = self._addresses.told() if own is None and self.settings.web.auth != "proxy" else None
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
        self._addresses.publish(url, guarded=guarded, first=self.is_ingesting)

    def withdraw_address(self) -> None:
        """Stop telling it."""
        self._addresses.withdraw()

    def published_address(self) -> str | None:
        """Where the page is served, or None where nobody serves it."""
        known = self._addresses.known
        return None if known is None else known.url

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
