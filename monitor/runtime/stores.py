"""Which store the settings name, and how it is opened: the data directory's own, or a fleet's."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.budgets import BudgetBook
from monitor.config import Settings
from monitor.store.sqlite import DATABASE, SqliteStore

if TYPE_CHECKING:
    from monitor.store.clickhouse.store import ClickHouseStore

    OpenStore = SqliteStore | ClickHouseStore


class Stores:
    """Opens the store of some settings."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.store
        self._node = settings.fleet.node
        self._folder: Path = settings.data_dir.expanduser().absolute()

    @property
    def is_fleet(self) -> bool:
        """Whether other machines write into the same store."""
        return self._url is not None

    @property
    def exists(self) -> bool:
        """Whether anything was stored yet. A fleet's store is there, or asking it says what is missing."""
        return self.is_fleet or (self._folder / DATABASE).exists()

    def versions(self) -> dict[str, str]:
        """The versions of the tables and of the engine under them."""
        if self._url is None:
            from monitor.store.schema import VERSION  # noqa: PLC0415 - only who is asked for it needs it

            return {"schema": str(VERSION), "sqlite": sqlite3.sqlite_version}
        from monitor.store.clickhouse import setup  # noqa: PLC0415 - only where there is a fleet
        from monitor.store.clickhouse.connection import connect  # noqa: PLC0415

        with connect(self._url) as db:
            engine = ".".join(map(str, db.version()))
            return {"store": str(db), "tables": str(setup.version(db) or "none"), "clickhouse": engine}

    def reading(self) -> OpenStore:
        """The store, for questions only.

        Raises:
            StoreError: its address is wrong.
        """
        if self._url is None:
            return SqliteStore(self._folder, read_only=True)
        return self._fleet(read_only=True)

    def writing(
        self, *, keep_content: bool = False, price_version: str = "", budgets: BudgetBook | None = None
    ) -> OpenStore:
        """The store, open for what is added to it or taken away.

        Raises:
            StoreError: it can't be used.
        """
        if self._url is None:
            return SqliteStore(self._folder, keep_content=keep_content, price_version=price_version, budgets=budgets)
        return self._fleet(keep_content=keep_content, price_version=price_version, budgets=budgets)

    def _fleet(
        self,
        *,
        read_only: bool = False,
        keep_content: bool = False,
        price_version: str = "",
        budgets: BudgetBook | None = None,
    ) -> ClickHouseStore:
        from monitor.store.clickhouse.connection import connect  # noqa: PLC0415 - only where there is a fleet
        from monitor.store.clickhouse.store import ClickHouseStore  # noqa: PLC0415

        assert self._url is not None
        connection = connect(self._url)
        try:
            return ClickHouseStore(
                connection,
                node=self._node,
                read_only=read_only,
                keep_content=keep_content,
                price_version=price_version,
                budgets=budgets,
            )
        except BaseException:
            connection.close()
            raise
