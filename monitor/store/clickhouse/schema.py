"""The tables: what each holds, how it is sharded, and how it is made, with a cluster or without.

Every table is a ReplacingMergeTree: a row that is written again under the same sorting key takes the place of the
one with the smaller ``ver``, on whichever replica and in whichever order they come. Nothing is ever added up in
place. Only types and functions that ClickHouse has had since 2018 are used, so that one text runs everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

#: The version of these tables; a newer one is refused, an older one is told to run ``store migrate``.
VERSION = 1


class Table(msgspec.Struct, frozen=True):
    """One table. `shard` says by what its rows are spread, in SQL."""

    name: str
    columns: tuple[tuple[str, str], ...]
    order: tuple[str, ...]
    shard: str
    #: What is dropped as a whole; without it the table is one piece.
    partition: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(name for name, _ in self.columns)


def _columns(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, kind) for name, kind in (line.split(None, 1) for line in text.strip().splitlines()))


#: What is kept of a round. An absent text is empty, an unknown number NULL.
ROUND_COLUMNS = _columns("""
session String
rid Int64
key String
state UInt8
moved String
at Int64
consumer String
source String
route String
function String
user_id String
agent String
host String
model String
price_status String
currency String
price_source String
price_version String
reported_currency String
input Nullable(Int64)
output Nullable(Int64)
reasoning Nullable(Int64)
cached Nullable(Int64)
cache_write Nullable(Int64)
cache_write_1h Nullable(Int64)
nano Nullable(Int64)
reported Nullable(Int64)
latency Nullable(Int64)
ttft Nullable(Int64)
status Nullable(Int64)
turn Nullable(Int64)
opening Nullable(Int64)
flags UInt32
sources UInt8
request_id Nullable(String)
response_id Nullable(String)
extra Nullable(String)
question Nullable(String)
chain String
said_key String
ver UInt64
""")

#: Rows of the month of ``at`` are dropped together.
_MONTH = "toYYYYMM(toDate(intDiv(at, 86400000)))"

ROUND = Table(
    "round",
    ROUND_COLUMNS,
    ("session", "rid", "key"),
    # Rounds that name no session have nothing that keeps them together.
    "cityHash64(session, if(session = '', key, ''))",
    _MONTH,
)
#: What each source said of a call that several saw; ``session`` is the one that it named, or empty.
WITNESS = Table(
    "witness",
    (
        *(("response_id", "String") if column[0] == "response_id" else column for column in ROUND_COLUMNS[:-1]),
        ("counted_rid", "Int64"),
        ("counted_key", "String"),
        ("ver", "UInt64"),
    ),
    ("response_id", "rid", "key"),
    "cityHash64(response_id)",
)
#: Other names of sessions. ``said``: it stood in a request; else OpenClaw's own records tell it.
NAME = Table(
    "name",
    _columns("""
name String
session String
said UInt8
gone UInt8
ver UInt64
"""),
    ("name",),
    "cityHash64(name)",
)
#: Which session started which.
KIN = Table(
    "kin",
    _columns("""
session String
parent Nullable(String)
channel Nullable(String)
ver UInt64
"""),
    ("session",),
    "cityHash64(session)",
)
#: Which record stands in which file, where files can be taken back out; ``session, rid, at`` are the round's place.
ORIGIN = Table(
    "origin",
    _columns("""
key String
file String
session String
rid Int64
at Int64
there UInt8
ver UInt64
"""),
    ("key", "file"),
    "cityHash64(key)",
)
#: Conversations, each message once: see `monitor.store.clickhouse.history`.
PIECE = Table(
    "piece",
    _columns("""
chain String
id String
parent String
count Int64
at Int64
z String
ver UInt64
"""),
    ("chain", "id"),
    "cityHash64(chain)",
    _MONTH,
)
SAID = Table(
    "said",
    _columns("""
chain String
key String
piece String
new_from Int64
at Int64
z String
gone UInt8
ver UInt64
"""),
    ("chain", "key"),
    "cityHash64(chain)",
    _MONTH,
)
#: When each session grew last, on a clock that only goes forward.
GROWN = Table(
    "grown",
    _columns("""
session String
ver UInt64
"""),
    ("session",),
    "cityHash64(session)",
)
#: Small things that have a name: checkpoints, skipped lines, budgets, alerts. ``owner`` is the node whose they are.
STATE = Table(
    "state",
    _columns("""
owner String
kind String
id String
value String
gone UInt8
ver UInt64
"""),
    ("kind", "owner", "id"),
    "cityHash64(owner)",
)

#: Sums of the rounds of a day (UTC), as they were worked out anew at ``ver``: with ``facets`` 0 by quarter of an hour,
#: model and price, the other columns empty; with 1 of the whole day by everything.
CELL = Table(
    "cell",
    _columns("""
day Int64
facets UInt8
at Int64
source String
consumer String
route String
function String
user_id String
agent String
host String
model String
price_status String
currency String
price_source String
price_version String
reported_currency String
c_rounds Int64
c_failed Int64
c_unmetered Int64
c_lower_bound Int64
c_input Nullable(Int64)
c_output Nullable(Int64)
c_reasoning Nullable(Int64)
c_cached Nullable(Int64)
c_cache_write Nullable(Int64)
c_nano Nullable(Int64)
c_latency Nullable(Int64)
c_latency_rounds Int64
c_ttft Nullable(Int64)
c_ttft_rounds Int64
c_reported Nullable(Int64)
ver UInt64
"""),
    ("day", "facets", "at", "source", "consumer", "route", "function", "user_id", "agent", "host", "model",
     "price_status", "currency", "price_source", "price_version", "reported_currency"),
    "cityHash64(day)",
    "toYYYYMM(toDate(intDiv(day, 86400000)))",
)  # fmt: skip
#: Until when a day's rounds may still change (``what`` is 0), and when its sums were worked out (1).
DAY = Table(
    "day",
    _columns("""
day Int64
what UInt8
ver UInt64
"""),
    ("day", "what"),
    "cityHash64(day)",
)

TABLES = (ROUND, WITNESS, NAME, KIN, ORIGIN, PIECE, SAID, GROWN, STATE, CELL, DAY)


def statements(database: str, cluster: str | None) -> Iterator[str]:
    """What makes all tables that are not there yet, one statement each."""
    on = f" ON CLUSTER {cluster}" if cluster else ""
    for table in TABLES:
        columns = ", ".join(f"{name} {kind}" for name, kind in table.columns)
        partition = f" PARTITION BY {table.partition}" if table.partition else ""
        order = f" ORDER BY ({', '.join(table.order)})"
        if cluster is None:
            engine = "ReplacingMergeTree(ver)"
            yield f"CREATE TABLE IF NOT EXISTS {database}.{table.name} ({columns}) ENGINE = {engine}{partition}{order}"
            continue
        place = f"/clickhouse/tables/{{shard}}/{database}/{table.name}"
        engine = f"ReplicatedReplacingMergeTree('{place}', '{{replica}}', ver)"
        yield (
            f"CREATE TABLE IF NOT EXISTS {database}.{local(table.name)}{on} ({columns}) "
            f"ENGINE = {engine}{partition}{order}"
        )
        yield (
            f"CREATE TABLE IF NOT EXISTS {database}.{table.name}{on} AS {database}.{local(table.name)} "
            f"ENGINE = Distributed({cluster}, {database}, {local(table.name)}, {table.shard})"
        )


def local(table: str) -> str:
    """The name of a table's part on one shard."""
    return f"{table}_local"
