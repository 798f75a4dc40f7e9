"""Today's ClickHouse engine within this process (chdb), with the interface that the store asks for."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self
from uuid import uuid4

from monitor.store.clickhouse import values
from monitor.store.clickhouse.connection import NONE, Settings, version_of
from monitor.store.clickhouse.problems import problem
from monitor.store.clickhouse.values import Row


class Engine:
    """The engine and its files; a process can have only one at a time."""

    def __init__(self) -> None:
        """An engine with nothing in it, in a temporary folder."""
        from chdb.session import Session  # half a gigabyte, for those who use it

        self._folder = tempfile.TemporaryDirectory(prefix="session-monitor-chdb-")
        self._session = Session(str(Path(self._folder.name) / "data"))
        self._current = ""
        self.ask("SET max_query_size = 100000000")

    @contextmanager
    def database(self) -> Iterator[Embedded]:
        """An empty database; it goes at the end."""
        name = f"test_{uuid4().hex}"
        self.ask(f"CREATE DATABASE {name}")
        try:
            yield Embedded(self, name)
        finally:
            self.use("default")
            self.ask(f"DROP DATABASE {name}")

    def use(self, name: str) -> None:
        """Names without a database are of this one, from now on."""
        if name != self._current:
            self.ask(f"USE {name}")
            self._current = name

    def ask(self, sql: str, format: str = "Null") -> bytes:  # noqa: A002 - as in SQL
        """What the engine answers in a format; raises Refused or StoreAway."""
        try:
            answer = self._session.query(sql, format)
        except RuntimeError as error:
            # What the question had answered before it failed would stand at the beginning of the next answer.
            self._session.query("SELECT 1", "Null")
            raise problem("chdb", "default", str(error)) from None
        return bytes(answer.bytes() or b"")

    def put(self, sql: str, data: bytes) -> None:
        """Insert `data`; raises Refused or StoreAway."""
        try:
            with self._session.send_insert(sql, "TabSeparatedWithNames") as stream:
                stream.append(data)
                stream.finish()
        except RuntimeError as error:
            raise problem("chdb", "default", str(error)) from None

    def close(self) -> None:
        """End it and delete its files."""
        self._session.close()
        self._folder.cleanup()


class Embedded:
    """One database of the engine within the process; see `monitor.store.clickhouse.connection.Database`."""

    cluster: str | None = None

    def __init__(self, engine: Engine, name: str) -> None:
        """As `Engine.database` gives it."""
        self._engine = engine
        self.database = name

    def __str__(self) -> str:
        return f"chdb/{self.database}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, sql: str, settings: Settings = NONE, blobs: Collection[str] = ()) -> list[Row]:
        """See `Database`."""
        self._engine.use(self.database)
        return values.rows(self._engine.ask(f"{sql}{_settings(settings)}", "TabSeparatedWithNamesAndTypes"), blobs)

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], settings: Settings = NONE
    ) -> None:
        """See `Database`."""
        self._engine.use(self.database)
        sql = f"INSERT INTO {table} ({', '.join(columns)}){_settings(settings)}"
        self._engine.put(sql, values.lines(columns, rows))

    def execute(self, sql: str, settings: Settings = NONE) -> None:
        """See `Database`."""
        self._engine.use(self.database)
        self._engine.ask(f"{sql}{_settings(settings)}")

    def version(self) -> tuple[int, ...]:
        """See `Database`."""
        ((text,),) = self.query("SELECT version()")
        return version_of(str(text))

    def close(self) -> None:
        """The engine goes on for others."""


def _settings(given: Settings) -> str:
    said = ", ".join(f"{name} = {values.literal(value)}" for name, value in given.items())
    return f" SETTINGS {said}" if said else ""


@cache
def shared() -> Engine:
    """The one engine of this process, for all tests."""
    engine = Engine()
    atexit.register(engine.close)
    return engine
