"""The cluster, asked over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.store.base import StoreAway
from monitor.store.clickhouse.connection import Connection, Database, connect
from monitor.store.clickhouse.problems import Refused
from tests.fleet.cluster import KEEPER, NAMES, Cluster, free_ports
from tests.fleet.configs import HOST, PASSWORDS
from tests.helpers import wait_for
from tests.store.conformance_database import DatabaseConformance

_REPLICATED = """CREATE TABLE kept ON CLUSTER fleet (a Int64)
  ENGINE = ReplicatedMergeTree('/clickhouse/{database}/{{shard}}/kept', '{{replica}}') ORDER BY a"""
_SPREAD = "CREATE TABLE kept_all ON CLUSTER fleet (a Int64) ENGINE = Distributed(fleet, {database}, kept, a)"


class TestCluster(DatabaseConformance):
    @pytest.fixture
    def database(self, database: Connection) -> Database:
        return database


@pytest.fixture
def kept(cluster: Cluster, database: Connection) -> Connection:
    """A table `kept` of the cluster, and `kept_all` over both shards, with the even and odd numbers below 10."""
    for sql in (_REPLICATED, _SPREAD):
        database.execute(sql.format(database=database.database))
    database.insert("kept_all", ["a"], [(number,) for number in range(10)], {"insert_distributed_sync": 1})
    asked = f"SELECT count() FROM {database.database}.kept"
    wait_for("all replicas have them", lambda: all(cluster.ask(name, asked) == "5" for name in NAMES))
    return database


def user(cluster: Cluster, name: str, password: str, folder: Path) -> Connection:
    """A connection of a user, with a password from a file."""
    (folder / "password").write_text(password + "\n")
    return connect(f"{cluster.url(user=name)}&password_file={folder / 'password'}")


def test_a_host_that_is_away_is_passed_over(cluster: Cluster, database: Connection) -> None:
    cluster.kill("s1r1")
    assert database.query("SELECT 1") == [(1,)]
    cluster.start("s1r1")
    cluster.kill("s1r2", "s2r1", "s2r2")
    assert database.query("SELECT 1") == [(1,)]


def test_without_any_host_the_store_is_away_and_each_is_named(cluster: Cluster) -> None:
    first, second = free_ports(2)
    with connect(f"clickhouse://{HOST}:{first},{HOST}:{second}/default") as nobody:
        with pytest.raises(StoreAway, match=f"{HOST}:{first}.*{HOST}:{second}") as away:
            nobody.query("SELECT 1")
        assert "store URL" in str(away.value)
        with pytest.raises(StoreAway):
            nobody.execute("SELECT 1")


def test_a_host_that_does_not_answer_in_time_is_passed_over_by_a_question(cluster: Cluster) -> None:
    with connect(cluster.url() + "&timeout=1") as connection:
        cluster.pause("s1r1")
        assert connection.query("SELECT 1") == [(1,)]


def test_what_may_have_been_done_is_not_done_again_elsewhere(cluster: Cluster, database: Connection) -> None:
    with connect(cluster.url(database.database) + "&timeout=1") as connection:
        cluster.pause("s1r1")
        with pytest.raises(StoreAway, match="does not answer"):
            connection.execute("CREATE TABLE once (a Int64) ENGINE = Memory")
        tables = "SELECT count() FROM system.tables WHERE database = currentDatabase()"
        assert connection.query(tables) == [(0,)]


def test_the_replicas_hold_what_was_inserted_and_a_killed_one_is_not_missed(cluster: Cluster, kept: Connection) -> None:
    cluster.kill("s1r1", "s2r2")
    assert kept.query("SELECT count(), sum(a) FROM kept_all") == [(10, 45)]


def test_a_shard_away_is_an_absence_and_no_smaller_number(cluster: Cluster, kept: Connection) -> None:
    cluster.kill(*cluster.shard(2))
    with pytest.raises(StoreAway) as away:
        kept.query("SELECT count() FROM kept_all")
    assert getattr(away.value, "code", None) == 279


def test_without_zookeeper_reads_go_on_and_writes_wait(cluster: Cluster, kept: Connection) -> None:
    cluster.kill(KEEPER)

    def refused() -> bool:
        try:
            kept.insert("kept", ["a"], [(99,)])
        except StoreAway:
            return True
        return False

    wait_for("an insert is refused", refused)
    assert kept.query("SELECT count() FROM kept_all WHERE a < 99") == [(10,)]
    cluster.start(KEEPER)
    wait_for("inserts are taken again", lambda: not refused())


def test_a_restarted_replica_catches_up(cluster: Cluster, kept: Connection) -> None:
    cluster.kill("s1r1")
    with connect(cluster.url(kept.database, nodes=["s1r2"])) as other:
        other.insert("kept", ["a"], [(100,), (102,)])
    cluster.start("s1r1")
    asked = f"SELECT count() FROM {kept.database}.kept WHERE a >= 100"
    wait_for("the replica has them", lambda: cluster.ask("s1r1", asked) == "2")


def test_a_wrong_password_is_told_without_showing_it(cluster: Cluster, tmp_path: Path) -> None:
    with user(cluster, "reader", "not-this-one", tmp_path) as stranger:
        with pytest.raises(Refused, match="SESSION_MONITOR_STORE_PASSWORD") as refused:
            stranger.query("SELECT 1")
        assert "not-this-one" not in f"{refused.value} {stranger} {stranger.address!r}"


def test_a_reader_can_ask_and_an_ingester_insert_and_neither_makes_tables(
    cluster: Cluster, kept: Connection, tmp_path: Path
) -> None:
    table = f"{kept.database}.kept"
    with user(cluster, "reader", PASSWORDS["reader"], tmp_path) as reader:
        assert reader.query("SELECT 1", {"max_threads": 1}) == [(1,)]
        with pytest.raises(Refused, match="'reader' may not"):
            reader.insert(table, ["a"], [(1,)])
        with pytest.raises(Refused, match="may not"):
            reader.execute(f"DROP TABLE {table}")
    with user(cluster, "ingester", PASSWORDS["ingester"], tmp_path) as ingester:
        ingester.insert(table, ["a"], [(7,)])
        with pytest.raises(Refused, match="may not"):
            ingester.execute(f"DROP TABLE {table}")


def test_the_engine_is_the_one_that_the_cluster_is_made_of(cluster: Cluster) -> None:
    for name in NAMES:
        with connect(cluster.url(nodes=[name])) as connection:
            assert connection.version() == (18, 16, 1)
