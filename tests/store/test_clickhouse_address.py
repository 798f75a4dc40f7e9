"""Store URLs: what they say, what they may not say, and what is never printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.store.base import StoreError
from monitor.store.clickhouse.address import PASSWORD_VARIABLE, parse


def test_a_url_says_host_user_database_and_cluster() -> None:
    found = parse("clickhouse://ada@example.org:8124/costs?cluster=fleet", {})
    assert (found.hosts, found.user, found.database) == (("example.org:8124",), "ada", "costs")
    assert (found.cluster, found.secure, found.password) == ("fleet", False, "")


def test_what_is_left_out_has_a_value() -> None:
    found = parse("clickhouse://example.org", {})
    assert (found.hosts, found.user, found.database) == (("example.org:8123",), "default", "default")
    assert found.cluster is None
    assert parse("clickhouse://example.org?secure=1", {}).hosts == ("example.org:8443",)


def test_several_hosts_may_be_asked() -> None:
    found = parse("clickhouse://a@one,two:9,10.0.0.3:81,[::1]:82,[::2]/db", {})
    assert found.hosts == ("one:8123", "two:9", "10.0.0.3:81", "[::1]:82", "[::2]:8123")


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://ada@example.org:8124/costs?cluster=fleet",
        "clickhouse://default@one:8443,two:8443/db?cluster=c&secure=1&ca_file=/etc/ca.pem",
        "clickhouse://a%40b@one:8123/db",
    ],
)
def test_it_is_printed_as_it_was_written(url: str) -> None:
    assert str(parse(url, {})) == url


def test_the_password_comes_from_the_environment_and_is_not_printed() -> None:
    found = parse("clickhouse://ada@example.org/db", {PASSWORD_VARIABLE: "s3cret"})
    assert found.password == "s3cret"
    assert "s3cret" not in f"{found} {found!r}"


def test_the_password_comes_from_a_file_and_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3 cret\n")
    found = parse(f"clickhouse://ada@example.org/db?password_file={file}", {PASSWORD_VARIABLE: "another"})
    assert found.password == "s3 cret"
    assert "s3 cret" not in f"{found} {found!r}"


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(StoreError, match=PASSWORD_VARIABLE) as refused:
        parse("clickhouse://ada:s3cret@example.org/db", {})
    assert "s3cret" not in str(refused.value)


def test_a_password_among_the_options_is_refused_and_not_repeated() -> None:
    with pytest.raises(StoreError, match="password_file=FILE") as refused:
        parse("clickhouse://ada@example.org/db?password=s3cret", {})
    assert "s3cret" not in str(refused.value)


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent can't be read: No such file"):
        parse(f"clickhouse://ada@example.org/db?password_file={tmp_path / 'absent'}", {})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.org/db", "looks like clickhouse://"),
        ("clickhouse:///db", "no host"),
        ("clickhouse://one,,two/db", "no host"),
        ("clickhouse://one:port/db", "'one:port'"),
        ("clickhouse://one:99999/db", "'one:99999'"),
        ("clickhouse://one:0/db", "'one:0'"),
        ("clickhouse://one/a-b", "database 'a-b'"),
        ("clickhouse://one/db/table", "database 'db/table'"),
        ("clickhouse://one/db?cluster=a'b", 'cluster "a\'b"'),
        ("clickhouse://one/db?clutser=fleet", "'clutser'; the options are ca_file, cluster"),
        ("clickhouse://one/db?secure=yes", "secure=1 or secure=0"),
        ("clickhouse://one/db?timeout=0", "number of seconds"),
        ("clickhouse://one/db?timeout=-1", "number of seconds"),
        ("clickhouse://one/db#x", "'#'"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, said: str) -> None:
    with pytest.raises(StoreError) as refused:
        parse(url, {})
    assert said in str(refused.value)
