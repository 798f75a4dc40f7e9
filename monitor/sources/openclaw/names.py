"""Which session key a session id has: OpenClaw's transcripts know only the id, its indexes know both."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from monitor.session_keys import bounded
from monitor.sources.openclaw.values import Unreadable, decode, mapping, text
from monitor.sources.times import epoch_ms

#: The time in the name of a file that was put away at a reset, and the start of the session that followed, lie
#: this close together (2026.7.1: a millisecond).
_CLOSE_MS = 50
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d(?:\.\d+)?)Z")


class Naming(msgspec.Struct, frozen=True):
    """A session id, the key of its session, and what OpenClaw knows of that session besides."""

    session_id: str
    key: str
    #: The key of the session that started this one.
    parent: str | None = None
    channel: str | None = None


class PutAway(msgspec.Struct, frozen=True):
    """A transcript that was put away at a reset, and named nowhere."""

    session_id: str
    #: When it began, where it tells, and when it was put away.
    began: int | None
    ended: int


class Index(msgspec.Struct):
    """What an index of sessions says."""

    names: dict[str, Naming] = {}
    #: Name of a transcript's file -> key. After a reset in 2026.3 a file has the name of another session.
    files: dict[str, str] = {}
    #: When sessions began, and their keys.
    starts: list[tuple[int, str]] = []

    def add(self, naming: Naming) -> None:
        """Keep a naming; of two for one id the first holds."""
        self.names.setdefault(naming.session_id, naming)


def naming(session_id: object, key: object, parent: object = None, channel: object = None) -> Naming | None:
    """A naming of what stands in a record, or None where it names nothing."""
    id_, key_ = _name(session_id), _name(key)
    if id_ is None or key_ is None or id_ == key_:
        return None
    above = _name(parent)
    return Naming(id_, key_, above if above != key_ else None, text(channel))


def read_index(content: bytes) -> Index:
    """``sessions.json`` of releases up to 2026.7.1: session keys with their entries.

    Raises:
        Unreadable: it is no JSON object.
    """
    index = Index()
    for key, value in decode(content).items():
        entry = mapping(value)
        found = naming(entry.get("sessionId"), key, parent_of(entry), channel_of(entry))
        if found is None:
            continue
        index.add(found)
        file = entry.get("sessionFile")
        if isinstance(file, str):
            index.files[os.path.basename(file)] = found.key
        started = epoch_ms(entry.get("sessionStartedAt"))
        if started is not None:
            index.starts.append((started, found.key))
    return index


def parent_of(entry: Mapping[str, Any]) -> object:
    """The key of the session that started the one of an entry."""
    return entry.get("parentSessionKey") or entry.get("spawnedBy")


def channel_of(entry: Mapping[str, Any]) -> object:
    """The channel over which the session of an entry speaks."""
    return entry.get("channel") or entry.get("lastChannel")


def keys_of(put_away: Iterable[PutAway], starts: Iterable[tuple[int, str]]) -> dict[str, str]:
    """The keys of transcripts that were put away: of the session that began when each of them ended.

    A session that was reset twice is found from the newest to the oldest. Where two sessions began at
    the same time nothing is found, rather than the wrong one.
    """
    known = list(starts)
    found: dict[str, str] = {}
    for one in sorted(put_away, key=lambda p: -p.ended):
        near = sorted((abs(at - one.ended), key) for at, key in known if abs(at - one.ended) <= _CLOSE_MS)
        if not near or any(gap == near[0][0] and key != near[0][1] for gap, key in near[1:]):
            continue
        found[one.session_id] = near[0][1]
        if one.began is not None:
            known.append((one.began, near[0][1]))
    return found


def put_away_at(stamp: str) -> int | None:
    """The time in the name of an archived file, in milliseconds since 1970."""
    match = _STAMP.fullmatch(stamp)
    return None if match is None else epoch_ms(f"{match[1]}T{match[2]}:{match[3]}:{match[4]}Z")


def _name(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return bounded(value.encode("utf-8", "replace").decode())


__all__ = ["Index", "Naming", "PutAway", "Unreadable", "keys_of", "naming", "put_away_at", "read_index"]
