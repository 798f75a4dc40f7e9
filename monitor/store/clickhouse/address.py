"""Where a ClickHouse store is: what a store URL says, and the password, which it never says."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from monitor.store.base import StoreError

PASSWORD_VARIABLE = "SESSION_MONITOR_STORE_PASSWORD"  # noqa: S105 - the name of a variable
EXAMPLE = "clickhouse://user@host:8123/database?cluster=fleet"
_OPTIONS = ("ca_file", "cluster", "password_file", "secure", "timeout")
#: Databases and clusters stand in SQL and in paths of ZooKeeper as they are.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Address:
    """A store URL, taken apart. Printing it shows no password."""

    #: host:port of each node that may be asked.
    hosts: tuple[str, ...]
    user: str
    database: str
    cluster: str | None
    secure: bool
    #: Seconds that a question may take.
    timeout: int
    #: Who signed the servers' certificates, where the system does not know them.
    ca_file: str | None
    password: str = field(repr=False)

    def __str__(self) -> str:
        options = [("cluster", self.cluster), ("secure", "1" if self.secure else None), ("ca_file", self.ca_file)]
        said = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options if value)
        place = f"clickhouse://{quote(self.user, safe='')}@{','.join(self.hosts)}/{self.database}"
        return f"{place}?{said}" if said else place


def parse(url: str, environment: Mapping[str, str] = os.environ) -> Address:
    """What `url` says, with the password from the environment or from its `password_file`.

    Raises StoreError that says what is wrong with the URL; the message never has a password in it.
    """
    parts = urlsplit(url)
    if parts.scheme != "clickhouse":
        raise StoreError(f"a store URL looks like {EXAMPLE}")
    who, at, hosts = parts.netloc.rpartition("@")
    user, colon, _ = who.partition(":")
    if colon:
        raise StoreError(
            f"the store URL has a password in it, which others could read: take it out, and set {PASSWORD_VARIABLE}"
            " or add ?password_file=FILE"
        )
    if parts.fragment:
        raise StoreError(f"the store URL has a '#', which means nothing there; it looks like {EXAMPLE}")
    options = _options(parts.query)
    secure = _flag("secure", options.get("secure", "0"))
    return Address(
        hosts=tuple(_host(host, secure) for host in hosts.split(",")),
        user=unquote(user) if at and user else "default",
        database=_name("database", unquote(parts.path.removeprefix("/")) or "default"),
        cluster=_name("cluster", options["cluster"]) if "cluster" in options else None,
        secure=secure,
        timeout=_seconds(options.get("timeout", str(_TIMEOUT_S))),
        ca_file=options.get("ca_file"),
        password=_password(options.get("password_file"), environment),
    )


def _options(query: str) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    for name in found:
        if name not in _OPTIONS:
            advice = f" Set {PASSWORD_VARIABLE} or password_file=FILE." if "pass" in name.lower() else ""
            known = ", ".join(_OPTIONS)
            raise StoreError(f"the store URL has an unknown option {name[:40]!r}; the options are {known}.{advice}")
    return found


def _host(text: str, secure: bool) -> str:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found[2] or 1) < 65_536:
        raise StoreError(f"{text[:80]!r} in the store URL is no host or host:port; the URL looks like {EXAMPLE}")
    return f"{found[1]}:{found[2] or (8443 if secure else 8123)}"


def _name(what: str, text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise StoreError(f"the {what} {text[:80]!r} in the store URL may only have letters, digits and underscores")
    return text


def _flag(name: str, text: str) -> bool:
    if text not in {"0", "1"}:
        raise StoreError(f"{name}={text[:40]!r} in the store URL: it is {name}=1 or {name}=0")
    return text == "1"


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) == 0:
        raise StoreError(f"timeout={text[:40]!r} in the store URL: it is a number of seconds, such as timeout=60")
    return int(text)


def _password(file: str | None, environment: Mapping[str, str]) -> str:
    if file is None:
        return environment.get(PASSWORD_VARIABLE, "")
    try:
        return Path(file).expanduser().read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StoreError(f"the store's password_file {file} can't be read: {why}") from None
