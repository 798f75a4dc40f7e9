"""A log, a data directory, and real clients of the faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.config import load
from monitor.runtime import Runtime
from tests.faces.place import Place, sampled


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return sampled(tmp_path)


@pytest.fixture
def read(place: Place) -> Iterator[Runtime]:
    """A runtime over a log that has been read."""
    runtime = Runtime(load(None, data_dir=place.data), log_paths=[place.log])
    with runtime.ingesting() as ingester:
        ingester.once()
    yield runtime
    runtime.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
