"""Record usage from a program and ask about it, without a gateway and without another process.

Records go to day files (`monitor.sources.usage_log`). A question reads what they have gained into a store beside
them, each record once, and gives the same answers as every other face.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

from monitor.config import ConfigError, Settings, SourceSettings, load
from monitor.faces.python.calls import TrackedCall, tracked
from monitor.prices.model_pricing import USAGE_LIST, UsagePrices, shared
from monitor.sources.usage_log.records import append_records, completed, line_of
from monitor.sources.usage_log.tokens import counts_of, told_by
from monitor.sources.usage_log.writer import DayFiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.answers.base import Asking
    from monitor.faces.python.rows import Row, Rows
    from monitor.runtime import Runtime

P = ParamSpec("P")
R = TypeVar("R")

#: The store of a folder's records, where no data directory is named.
STORE = ".monitor"
_WAIT_S = 60.0
_LOOK_S = 0.01
_MOST_RECORDS = 1_000_000


class UsageMonitor:
    """The usage records of one folder. Any number of threads and processes may use it at once."""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        timezone: str | None = None,
        config: Path | None = None,
        sync: bool = False,
    ) -> None:
        """Nothing is made before the first record.

        Args:
            folder: Where the day files are; by default the configured one, else ``records/ai_usage``.
            data_dir: Where the store is that answers; by default ``.monitor`` below `folder`.
            timezone: IANA name of the zone in which days begin, for files and for answers; else as configured.
            config: A ``session-monitor.toml``; by default the one in the working directory, where there is one.
            sync: Put each record on the disk before going on. It outlives a power failure then, and takes longer.

        Raises:
            ConfigError: a setting can't be used.
        """
        settings = load(config, timezone=timezone)
        self.folder = Path(folder if folder is not None else settings.usage.folder).expanduser().absolute()
        self._settings = self._own(settings, Path(data_dir) if data_dir is not None else self.folder / STORE)
        self.currency = settings.usage.currency
        self._files = DayFiles(self.folder, ZoneInfo(settings.zone), sync=sync)
        overlays = settings.prices.overlays
        self._prices = shared() if not overlays else UsagePrices(overlays)
        self._asking = threading.Lock()
        _all.add(self)

    def _own(self, settings: Settings, data_dir: Path) -> Settings:
        """The settings of the store that answers: this folder alone, priced as records are."""
        own = settings.model_copy(deep=True)
        own.data_dir = data_dir.expanduser().absolute()
        own.sources = [SourceSettings(kind="usage", path=self.folder)]
        own.privacy.allowed_paths = []
        own.prices.overlay = settings.prices.overlays or [USAGE_LIST]
        # Budgets are told of by whoever follows all sources.
        own.budgets = []
        return own

    # -- recording --------------------------------------------------------------------------------

    def record_usage(
        self,
        model: str,
        function: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        duration_ms: float | None = None,
        success: bool = True,
        user_id: str | None = None,
        session_id: str | None = None,
        *,
        cost: float | None = None,
        usage: Any = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Write down one call, and give the record as it was written.

        `cost` is worked out from the price lists where it is not given. `usage`: an answer of OpenAI, Anthropic or
        Gemini, or its usage object, for the counts that are not given. `more`: other fields of a record, such as
        ``response_id``, ``cached_tokens``, ``currency``, ``timestamp`` or ``id``. A count that is left out is unknown.

        Raises:
            BadRecord: a field is unknown or out of range.
            NoUsage: `usage` holds no token counts that are known.
            OSError: the folder can't be written.
        """
        record: dict[str, Any] = {
            "user_id": user_id,
            "session_id": session_id,
            "model": model,
            "function": function,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost": cost,
            "duration_ms": duration_ms,
            "success": success,
        }
        if more:
            record.update(more)
        if usage is not None:
            for name, value in {**counts_of(usage), **told_by(usage)}.items():
                if record.get(name) is None:
                    record[name] = value
        return self._write(record)

    def record_many(self, records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Write down many calls: all of them, or none where one is not right.

        Raises:
            BadRecord: names the record by its number.
            OSError: the folder can't be written.
        """
        return append_records(self._files, records, self._prices.of)

    def _write(self, record: Mapping[str, Any]) -> dict[str, Any]:
        whole = completed(record, self._prices.of)
        self._files.append(line_of(whole), whole["timestamp"])
        return whole

    def track(
        self,
        model: str | None = None,
        function: str | None = None,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        **more: Any,
    ) -> TrackedCall:
        """A call to be timed and recorded, for ``with`` and ``async with``; tell its tokens by ``call.usage(answer)``.

        A failure is recorded too, and the exception goes on.
        """
        known = {"model": model, "function": function, "user_id": user_id, "session_id": session_id, **more}
        return TrackedCall(self._write, known)

    def tracked(
        self, model: str | None = None, function: str | None = None, **more: Any
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator that times and records each call of a function, plain or async; its answer tells the tokens."""

        def decorate(wrapped: Callable[P, R]) -> Callable[P, R]:
            name = function or wrapped.__name__
            return tracked(lambda: self.track(model, name, **more), wrapped)

        return decorate

    # -- asking -----------------------------------------------------------------------------------

    @cached_property
    def _runtime(self) -> Runtime:
        from monitor.runtime import Runtime  # noqa: PLC0415 - who only records needs no store

        return Runtime(self._settings)

    def ingest(self) -> int:
        """Read what the files have gained; gives the number of new records. Every question does so by itself.

        Raises:
            ConfigError, StoreError: the store can't be used.
            TimeoutError: another process reads, and does not come to an end.
        """
        from filelock import Timeout  # noqa: PLC0415

        deadline = time.monotonic() + _WAIT_S
        with self._asking:
            while True:
                try:
                    with self._runtime.ingesting() as ingester:
                        return ingester.once()
                except Timeout:
                    # Whoever holds the lock reads the same files.
                    if self._runtime.store.followed() and not self._runtime.unread_bytes():
                        return 0
                    if time.monotonic() > deadline:
                        raise TimeoutError(
                            f"another process has been reading into {self._runtime.folder} for {_WAIT_S:.0f} s: "
                            "see whether it still works, or name another data_dir"
                        ) from None
                    time.sleep(_LOOK_S)

    def _ask(self) -> Asking:
        self.ingest()
        return self._runtime.asking(fresh=False)

    def get_daily_summary(self, days_ago: int = 0) -> Row:
        """One local day in total, by model and by function: ``.total_calls``, ``.total_cost``, ``.by_model``, …"""
        from monitor.answers import usage  # noqa: PLC0415
        from monitor.faces.python.rows import row_of  # noqa: PLC0415

        return row_of(usage.daily(self._ask(), days_ago, currency=self.currency))

    def get_monthly_summary(self) -> Row:
        """The local month so far, with its average day."""
        from monitor.answers import usage  # noqa: PLC0415
        from monitor.faces.python.rows import row_of  # noqa: PLC0415

        return row_of(usage.monthly(self._ask(), currency=self.currency))

    def get_cost_trend(self, days: int = 7) -> Rows:
        """One row for each of the last `days` local days, oldest first, with the change from the day before."""
        from monitor.answers import usage  # noqa: PLC0415
        from monitor.faces.python.rows import rows_of  # noqa: PLC0415

        return rows_of(usage.cost_trend(self._ask(), days, currency=self.currency).rows, "date")

    def get_top_users(self, limit: int = 10, days: int = 7, *, by: str = "tokens") -> Rows:
        """The users with the most tokens, or with `by="cost"` those with the highest cost."""
        from monitor.answers import usage  # noqa: PLC0415
        from monitor.faces.python.rows import rows_of  # noqa: PLC0415

        found = usage.top_users(self._ask(), limit, days, currency=self.currency)
        return rows_of(found.by_cost if by == "cost" else found.by_tokens, "user_id")

    def get_hourly(self, days: int = 1) -> Rows:
        """The 24 hours of the day over the last `days` local days."""
        from monitor.answers import usage  # noqa: PLC0415
        from monitor.faces.python.rows import rows_of  # noqa: PLC0415

        return rows_of(usage.hourly(self._ask(), days, currency=self.currency).rows, "hour")

    def get_slow_calls(self, min_ms: int = 5000, limit: int = 100, days: int = 7) -> Rows:
        """Calls that took at least `min_ms`, the slowest first."""
        from monitor.answers import usage  # noqa: PLC0415
        from monitor.faces.python.rows import rows_of  # noqa: PLC0415

        return rows_of(usage.slow(self._ask(), min_ms, limit, days=days, currency=self.currency).rows)

    def get_anomalies(self, days: int = 1, limit: int = 20) -> Rows:
        """What is unusually dear, slow or failing, each with why, the worst first."""
        from monitor.answers.anomalies.find import find_anomalies  # noqa: PLC0415
        from monitor.faces.python.rows import rows_of  # noqa: PLC0415

        return rows_of(find_anomalies(self._ask(), self._runtime.catalog, days, limit=limit).rows)

    def get_records(self, days: int = 1) -> Rows:
        """The calls of the last `days` local days, oldest first, under the names of a record."""
        from monitor.answers.periods import last_days  # noqa: PLC0415
        from monitor.faces.python.rows import Row, Rows  # noqa: PLC0415
        from monitor.prices.money import NANO  # noqa: PLC0415

        ask = self._ask()
        calls = ask.store.calls(since=last_days(days, ask.zone), limit=_MOST_RECORDS)
        return Rows(
            Row(
                id=call.key.hex(),
                timestamp=call.started_at / 1000,
                user_id=call.user_id,
                session_id=call.session_id,
                model=call.model,
                function=call.function,
                input_tokens=call.input_tokens,
                output_tokens=call.output_tokens,
                total_tokens=(
                    None
                    if call.input_tokens is None and call.output_tokens is None
                    else (call.input_tokens or 0) + (call.output_tokens or 0)
                ),
                cached_tokens=call.cached_tokens,
                reasoning_tokens=call.reasoning_tokens,
                cost=None if call.nano is None else call.nano / NANO,
                currency=call.currency,
                duration_ms=call.latency_ms,
                success=call.success,
            )
            for call in calls
        )

    def export_report(self, days: int = 7, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write the report over the last `days` local days, by default beside the records; gives its path.

        Raises:
            OSError: it can't be written.
        """
        from monitor.answers.usage_report import report_name, usage_report  # noqa: PLC0415

        ask = self._ask()
        report = usage_report(ask, self._runtime.catalog, days, currency=self.currency)
        target = Path(folder) if folder is not None else self.folder
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = target / report_name(datetime.now(ask.zone))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(report.small(), file, ensure_ascii=False, indent=2)
            file.write("\n")
        return path

    def renew(self) -> None:
        """After a fork: the child needs connections of its own, and must not even close those of its parent."""
        self._asking = threading.Lock()
        runtime = self.__dict__.pop("_runtime", None)
        if runtime is not None:
            _left_to_parent.append(runtime)

    def close(self) -> None:
        """Let go of the files; they are opened again when needed."""
        self._files.close()
        runtime = self.__dict__.pop("_runtime", None)
        if runtime is not None:
            runtime.close()


_all: weakref.WeakSet[UsageMonitor] = weakref.WeakSet()
_left_to_parent: list[Runtime] = []


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    for monitor in list(_all):
        monitor.renew()


os.register_at_fork(after_in_child=_after_fork)

_lock = threading.Lock()
_monitors: dict[Path, UsageMonitor] = {}


def get_usage_monitor(folder: str | os.PathLike[str] | None = None) -> UsageMonitor:
    """The monitor of a folder of usage records, one for each folder in a process.

    Without a folder it is the configured one, else ``records/ai_usage`` below the working directory.

    Raises:
        ConfigError: a setting can't be used.
    """
    with _lock:
        if folder is None:
            monitor = UsageMonitor()
            return _monitors.setdefault(monitor.folder, monitor)
        path = Path(folder).expanduser().absolute()
        if path not in _monitors:
            _monitors[path] = UsageMonitor(path)
        return _monitors[path]


__all__ = ["ConfigError", "UsageMonitor", "get_usage_monitor"]
