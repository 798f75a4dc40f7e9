"""The configuration files of the test cluster: two shards of two replicas and one ZooKeeper, all on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
#: The name of the cluster, as in `?cluster=fleet`.
CLUSTER = "fleet"
#: Who can ask: `default` may do all and has no password. 18.16 knows no grants: its ingester can read as well.
PASSWORDS = {"default": "", "ingester": "only-inserts-7", "reader": "only-reads-7"}


@dataclass(frozen=True)
class Place:
    """One ClickHouse node: where it stands in the cluster, and its ports."""

    name: str
    shard: int
    replica: int
    http: int
    tcp: int
    between: int


def zookeeper(folder: Path, port: int) -> str:
    """`zoo.cfg`. The data are gone with the folder, so nobody waits for the disk."""
    return f"""\
tickTime=1000
dataDir={folder}
clientPort={port}
clientPortAddress={HOST}
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=stat,ruok
forceSync=no
"""


#: What ZooKeeper says, through log4j.
LOG4J = """\
log4j.rootLogger=WARN, CONSOLE
log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender
log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout
log4j.appender.CONSOLE.layout.ConversionPattern=%d{ISO8601} %p %m%n
"""


def server(folder: Path, here: Place, places: Sequence[Place], keeper: int, timezone: str) -> str:
    """`config.xml` of one node. Caches and pools are small: four nodes share a machine with the tests."""
    return f"""\
<?xml version="1.0"?>
<yandex>
  <logger><level>information</level><log>{folder}/server.log</log><errorlog>{folder}/errors.log</errorlog>
    <size>20M</size><count>1</count></logger>
  <listen_host>{HOST}</listen_host>
  <http_port>{here.http}</http_port>
  <tcp_port>{here.tcp}</tcp_port>
  <interserver_http_host>{HOST}</interserver_http_host>
  <interserver_http_port>{here.between}</interserver_http_port>
  <path>{folder}/data/</path>
  <tmp_path>{folder}/data/tmp/</tmp_path>
  <user_files_path>{folder}/data/user_files/</user_files_path>
  <format_schema_path>{folder}/data/format_schemas/</format_schema_path>
  <users_config>{folder}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>{timezone}</timezone>
  <keep_alive_timeout>10</keep_alive_timeout>
  <max_concurrent_queries>100</max_concurrent_queries>
  <uncompressed_cache_size>8388608</uncompressed_cache_size>
  <mark_cache_size>67108864</mark_cache_size>
  <mlock_executable>false</mlock_executable>
  <remote_servers><{CLUSTER}>{_shards(places)}</{CLUSTER}></remote_servers>
  <zookeeper><node><host>{HOST}</host><port>{keeper}</port></node><session_timeout_ms>5000</session_timeout_ms>
    <operation_timeout_ms>5000</operation_timeout_ms></zookeeper>
  <macros><shard>{here.shard}</shard><replica>{here.name}</replica></macros>
  <distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
</yandex>
"""


def _shards(places: Sequence[Place]) -> str:
    text = ""
    for shard in sorted({place.shard for place in places}):
        nodes = (place for place in places if place.shard == shard)
        replicas = "".join(f"<replica><host>{HOST}</host><port>{node.tcp}</port></replica>" for node in nodes)
        text += f"<shard><internal_replication>true</internal_replication>{replicas}</shard>"
    return text


def users(passwords: Mapping[str, str] = PASSWORDS) -> str:
    """`users.xml`. A reader may change settings of its questions (readonly 2), and nothing else."""
    return f"""\
<?xml version="1.0"?>
<yandex>
  <profiles>
    <default><max_threads>2</max_threads><background_pool_size>4</background_pool_size>
      <background_schedule_pool_size>4</background_schedule_pool_size>
      <max_memory_usage>4000000000</max_memory_usage><load_balancing>random</load_balancing></default>
    <reading><readonly>2</readonly><max_threads>2</max_threads></reading>
    <inserting><allow_ddl>0</allow_ddl><max_threads>2</max_threads></inserting>
  </profiles>
  <users>
    {_user("default", passwords["default"], "default")}
    {_user("ingester", passwords["ingester"], "inserting")}
    {_user("reader", passwords["reader"], "reading")}
  </users>
  <quotas><default><interval><duration>3600</duration><queries>0</queries><errors>0</errors>
    <result_rows>0</result_rows><read_rows>0</read_rows><execution_time>0</execution_time></interval></default></quotas>
</yandex>
"""


def _user(name: str, password: str, profile: str) -> str:
    return (
        f"<{name}><password>{password}</password><networks><ip>{HOST}</ip></networks>"
        f"<profile>{profile}</profile><quota>default</quota></{name}>"
    )
