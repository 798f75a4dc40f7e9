"""What the beginning of a conversation tells: OpenClaw's names of its session, and what its user said first."""

from __future__ import annotations

import xxhash

from monitor.session_keys import affinity, bounded, is_passing, runtime_line
from monitor.sources.higress.syntax import decode_fields, present

#: Messages among which the first one of the user must be, for a session name to be looked for.
_BEGINNING = 4


def session_names(messages: tuple[bytes, ...], system: bytes | None) -> tuple[str, ...]:
    """Session key and session id from OpenClaw's own line, where the conversation begins with one.

    It stands in the system prompt (2026.7) or at the end of the first user message (2026.9). The
    system prompt comes first, since users don't write it; behind the first user message nothing is
    looked at, since anybody may have written it.
    """
    texts = [system] if system else []
    for message in messages[:_BEGINNING]:
        texts.append(message)
        if _is_users(message):
            break
    for text in texts:
        if b"Runtime: " in text:
            found = runtime_line(text.decode("utf-8", "replace").replace("\\n", "\n"))
            if found is not None:
                key, session_id = found
                return (key,) if session_id is None else (key, session_id)
    return ()


def named(header: str, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The session of a header, and its other names.

    Where OpenClaw's header and its own line name the same session id, the session key is the better
    name: it stays the same over resets.
    """
    session_id = affinity(header)
    if len(names) > 1 and names[1] in (header, session_id):
        return bounded(names[0]), tuple(dict.fromkeys((bounded(names[1]), bounded(header))))
    if session_id is not None:
        return session_id, (header,)
    return bounded(header), ()


def opening_of(messages: tuple[bytes, ...]) -> int | None:
    """A number for what a user said first; looked for as far as `is_settled` says that nothing changes it."""
    for message in messages[:_BEGINNING]:
        if _is_users(message) and not is_passing(message):
            return xxhash.xxh3_64_intdigest(message) >> 1  # SQLite's integers have a sign
    return None


def content_of(message: bytes) -> bytes | None:
    """The content of a message as it was logged."""
    fields = decode_fields(message)
    return present(fields["content"]) if "content" in fields else None


def is_settled(messages: tuple[bytes, ...]) -> bool:
    """Whether messages that follow can't change what `session_names` finds."""
    return len(messages) >= _BEGINNING or any(_is_users(m) and not is_passing(m) for m in messages)


def _is_users(message: bytes) -> bool:
    return b'"role":"user"' in message or b'"role": "user"' in message
