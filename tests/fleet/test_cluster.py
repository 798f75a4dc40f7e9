"""The cluster itself: it comes, it leaves nothing behind, and nodes can be handled one by one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.fleet.cluster import KEEPER, NAMES, Cluster, free_ports, processes
from tests.fleet.configs import HOST
from tests.helpers import wait_for

_STARTS = """
from tests.fleet.cluster import Cluster
with Cluster.temporary() as cluster:
    print(cluster.folder, flush=True)
    input()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_process_that_started_it_is_gone(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        running = [pid for pid in processes(folder).values() if pid is not None]
        assert len(running) == len(NAMES) + 1
        process.send_signal(how)
    wait_for("its files are gone", lambda: not folder.exists())
    commands = [Path(f"/proc/{pid}/cmdline") for pid in running]
    assert not [path for path in commands if path.exists() and bytes(folder) in path.read_bytes()]


def test_each_node_knows_its_place(cluster: Cluster) -> None:
    for name in NAMES:
        asked = "SELECT groupArray(concat(macro, '=', substitution)) FROM system.macros"
        assert cluster.ask(name, asked) == f"['replica={name}','shard={name[1]}']"
        assert cluster.ask(name, "SELECT count() FROM system.clusters WHERE cluster = 'fleet'") == "4"


def test_a_node_comes_and_goes_by_name(cluster: Cluster) -> None:
    for end in (cluster.kill, cluster.stop):
        end("s2r1")
        assert not cluster.runs("s2r1")
        with pytest.raises(httpx2.ConnectError):
            cluster.ask("s2r1", "SELECT 1")
        cluster.start("s2r1")
        assert cluster.ask("s2r1", "SELECT 1") == "1"


def test_zookeeper_comes_back_with_what_it_knew(cluster: Cluster) -> None:
    with cluster.database() as database:
        cluster.kill(KEEPER)
        cluster.start(KEEPER)
        cluster.mend()
        cluster.ask("s1r1", f"CREATE TABLE {database.database}.x ON CLUSTER fleet (a Int8) ENGINE = Memory")
        for name in NAMES:
            assert cluster.ask(name, f"EXISTS TABLE {database.database}.x") == "1"


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(13)
    assert len({*ports}) == 13
    for port in ports:
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"http://{HOST}:{port}/")
