"""Which sessions a view shows: a session key becomes patterns of ids."""

from __future__ import annotations

import re

from monitor.answers.base import Asking

_GLOB = re.compile(r"[*?\[]")


def key_patterns(ask: Asking, key: str) -> tuple[str, ...]:
    """Globs of the ids that `key` means: itself a glob, else another name of a session, else how ids begin."""
    if _GLOB.search(key):
        return (key,)
    record = ask.store.session(key)
    if record is not None and record.session_id is not None:
        return (_exactly(record.session_id),)
    return (f"{_exactly(key)}*",)


def _exactly(text: str) -> str:
    return _GLOB.sub(lambda char: f"[{char[0]}]", text)
