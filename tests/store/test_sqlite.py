"""The embedded store does what every store must do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.store.sqlite import SqliteStore
from tests.store.conformance import VERSION, Open, StoreConformance
from tests.store.retention import RetentionConformance


class TestSqliteStore(StoreConformance):
    @contextmanager
    def place(self) -> Iterator[Open]:
        with tempfile.TemporaryDirectory() as folder:
            yield lambda book=None: SqliteStore(Path(folder), price_version=VERSION, budgets=book)


class TestSqliteRetention(RetentionConformance):
    @contextmanager
    def place(self) -> Iterator[Open]:
        with tempfile.TemporaryDirectory() as folder:
            yield lambda book=None: SqliteStore(Path(folder), price_version=VERSION, budgets=book)
