"""Asking ClickHouse over HTTP: one question, one typed answer, and errors that say which of two kinds they are.

The interface is small enough that an engine within the process can have it too; see `Database`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, Self

from monitor.store.base import StoreError
from monitor.store.clickhouse import address, values
from monitor.store.clickhouse.problems import ELSEWHERE, Unreachable, brief, problem
from monitor.store.clickhouse.values import Row, literal

if TYPE_CHECKING:
    import httpx2

__all__ = ["Connection", "Database", "Settings", "connect", "literal"]

Settings = Mapping[str, str | int]
NONE: Settings = MappingProxyType({})
_CONNECT_S = 5.0
#: What an engine takes for a question unless it is told of more.
_LONG_SQL = 200_000
_CHECK = "Check that it runs, and the host in the store URL"


class Database(Protocol):
    """What a store needs of ClickHouse, in whatever way it is reached."""

    @property
    def database(self) -> str:
        """The database that unqualified names are looked up in."""

    @property
    def cluster(self) -> str | None:
        """The name of the cluster; None where there is one engine alone."""

    def __str__(self) -> str:
        """Where it is, as people may read it: without a password."""

    def query(self, sql: str, settings: Settings = NONE, blobs: Collection[str] = ()) -> list[Row]:
        """The rows that answer `sql`; the String columns named in `blobs` come as bytes, others as str.

        Raises problems.Refused where something is wrong with the question, and StoreAway where it may be asked again.
        """

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], settings: Settings = NONE
    ) -> None:
        """Insert `rows` as one block; raises as `query` does. After StoreAway they may be there or not."""

    def execute(self, sql: str, settings: Settings = NONE) -> None:
        """Do what `sql` says; raises as `query` does."""

    def version(self) -> tuple[int, ...]:
        """The engine's version, such as (26, 9, 2, 1); raises as `query` does."""

    def close(self) -> None:
        """Let go of it."""


def connect(url: str) -> Connection:
    """A connection for a store URL; nothing is asked yet. Raises StoreError where the URL is wrong."""
    return Connection(address.parse(url))


#: Every host asks the replicas of a shard in the order of the cluster's configuration, and one that is behind last:
#: so that what one question has seen the next one sees as well, whoever is asked.
_ONE_ORDER = {
    "load_balancing": "in_order",
    "prefer_localhost_replica": "0",
    "max_replica_delay_for_distributed_queries": "2",
}


class Connection:
    """ClickHouse at one of the hosts of a store URL: the first that answers is asked, until it answers no more.

    May be used by several threads at once.
    """

    def __init__(self, place: address.Address) -> None:
        """Nothing is asked yet. Raises StoreError where the certificates of `ca_file` can't be read."""
        self.address = place
        self._client = _client(place)
        self._host = 0
        self._version: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return str(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def database(self) -> str:
        """The database of the store URL."""
        return self.address.database

    @property
    def cluster(self) -> str | None:
        """The cluster of the store URL."""
        return self.address.cluster

    def query(self, sql: str, settings: Settings = NONE, blobs: Collection[str] = ()) -> list[Row]:
        """See `Database`. A host that does not answer is passed over for the next."""
        given = {**settings, "default_format": "TabSeparatedWithNamesAndTypes"}
        if len(sql) > _LONG_SQL:
            given["max_query_size"] = 8 * len(sql)
        return values.rows(self._ask(given, sql.encode(), again=True), blobs)

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], settings: Settings = NONE
    ) -> None:
        """See `Database`. Where the answer is lost, the same block goes to the next host.

        So whatever is inserted must be the same twice as once; an engine knows a block that it has seen, and equal rows
        in a ReplacingMergeTree are one.
        """
        sql = f"INSERT INTO {table} ({', '.join(columns)}) FORMAT TabSeparatedWithNames"
        self._ask({**settings, "query": sql}, values.lines(columns, rows), again=True)

    def execute(self, sql: str, settings: Settings = NONE) -> None:
        """See `Database`. Another host is tried only where the first can't have heard of it."""
        self._ask(settings, sql.encode(), again=False)

    def version(self) -> tuple[int, ...]:
        """See `Database`; asked once."""
        if self._version is None:
            ((text,),) = self.query("SELECT version()")
            self._version = version_of(str(text))
        return self._version

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _ask(self, parameters: Settings, body: bytes, *, again: bool) -> bytes:
        """What the first host answers that can; `again` says whether what was sent may be sent to another."""
        first, failed = self._host, []
        for step in range(len(self.address.hosts)):
            number = (first + step) % len(self.address.hosts)
            try:
                answer = self._ask_one(self.address.hosts[number], parameters, body)
            except Unreachable as error:
                failed.append(error)
                if not (again or isinstance(error, _Unheard)) or not (error.code is None or error.code in ELSEWHERE):
                    break
            else:
                self._host = number
                return answer
        # The next question starts elsewhere: this host may be slow to fail.
        self._host = (first + 1) % len(self.address.hosts)
        if len(failed) == 1:
            raise failed[0]
        said = "; ".join(str(error).removesuffix(f". {_CHECK}") for error in failed)
        raise Unreachable(f"{said}. {_CHECK}", failed[-1].code)

    def _ask_one(self, host: str, parameters: Settings, body: bytes) -> bytes:
        import httpx2  # noqa: PLC0415 - only a fleet needs it

        scheme = "https" if self.address.secure else "http"
        # Without wait_end_of_query an error half-way stands in the middle of an answer that began well.
        given = {"database": self.address.database, "wait_end_of_query": "1", **parameters}
        if self.address.cluster is not None:
            given = {**_ONE_ORDER, **given}
        try:
            answer = self._client.post(f"{scheme}://{host}/", params=given, content=body)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise _Unheard(f"ClickHouse at {host} can't be reached: {_why(error)}. {_CHECK}") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise Unreachable(f"ClickHouse at {host} does not answer: {_why(error)}. {_CHECK}") from None
        if answer.status_code == 200:
            return answer.content
        said = answer.content.decode("utf-8", "replace")
        if "Code: " not in said:
            what = brief(said) or "nothing"
            raise Unreachable(f"{host} answers with HTTP {answer.status_code} and {what!r}: that is no ClickHouse")
        raise problem(host, self.address.user, said)


class _Unheard(Unreachable):
    """The host did not even take the question."""


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version such as 18.16.1 or 26.9.2.1."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _client(place: address.Address) -> httpx2.Client:
    import ssl  # noqa: PLC0415

    import httpx2  # noqa: PLC0415 - only a fleet needs it

    verify: ssl.SSLContext | bool = True
    if place.ca_file is not None:
        try:
            verify = ssl.create_default_context(cafile=place.ca_file)
        except OSError as error:
            raise StoreError(f"the certificates in ca_file={place.ca_file} can't be read: {error.strerror}") from None
    return httpx2.Client(
        auth=(place.user, place.password),
        timeout=httpx2.Timeout(place.timeout, connect=_CONNECT_S),
        verify=verify,
        trust_env=False,  # a database is not asked through the proxy of the web
    )


def _why(error: Exception) -> str:
    return brief(str(error)) or type(error).__name__
