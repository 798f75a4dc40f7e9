"""Today's ClickHouse engine within the process, once for all tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.embedded import Embedded, Engine, shared


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine; `engine.database()` makes an empty database. Tests with it belong to the xdist group "chdb"."""
    return shared()


@pytest.fixture
def embedded(engine: Engine) -> Iterator[Embedded]:
    """An empty database of the engine."""
    with engine.database() as database:
        yield database
