"""One cluster for all tests here, and an empty database on it for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monitor.store.clickhouse.connection import Connection
from tests.fleet.cluster import Cluster


@pytest.fixture(scope="session")
def started() -> Iterator[Cluster]:
    """The cluster, whatever the test before did to it: ask for `cluster` instead."""
    with Cluster.temporary() as cluster:
        yield cluster


@pytest.fixture
def cluster(started: Cluster) -> Iterator[Cluster]:
    """The cluster with all its nodes up; a test may do to them what it likes."""
    yield started
    started.mend()


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Connection]:
    """A connection to an empty database on all nodes of the cluster."""
    with cluster.database() as connection:
        yield connection
