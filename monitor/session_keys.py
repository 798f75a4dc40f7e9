"""What OpenClaw's session key says about a session: its agent, its channel, the session it came from.

Shapes seen in OpenClaw 2026.9: ``agent:main:main``, ``agent:main:discord:channel:123``,
``agent:main:cron:<job>``, ``agent:main:subagent:<uuid>``, ``agent:main:explicit:<id>``.
Any client can send any text as a session id, so nothing here is taken on trust.
"""

from __future__ import annotations

import hashlib
import re

import msgspec
import xxhash

#: The longest session id that is kept as it is. A header may hold 60 KB (Envoy's ``maxRequestHeadersKb``).
MAX_SESSION_ID = 256
_KEPT = 96

# OpenClaw appends this line to the first user message, or (2026.7) to its system prompt. Fields are
# separated by " | "; a JSON text still carries it with its line ends escaped.
_RUNTIME = re.compile(r"Runtime: (?:[^\n|]{0,200} \| )*?session=(?P<key>[^\s|\"\\]{1,400})(?P<rest>[^\n\\\"]{0,600})")
_RUNTIME_ID = re.compile(r" \| sessionId=([^\s|]{1,200})")


_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_AFFINITY = re.compile(rf"({_UUID}):(\d{{1,9}})")
_MADE_ID = re.compile(_UUID)
#: What OpenClaw (2026.9) writes before a user's words: ``[Sun 2026-11-22 00:17 UTC] ``.
_STAMP = re.compile(r"^\[[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d [^\]\n]{1,12}\] ")

#: Marks a message that OpenClaw (2026.9) puts at the end of each request and takes out again before the next.
_PASSING = b"BEGIN_OPENCLAW_INTERNAL_CONTEXT"


def is_passing(message: bytes) -> bool:
    """Whether a message (JSON text) is OpenClaw's own context for one request, and nothing that was said."""
    return _PASSING in message[:200]


class KeyParts(msgspec.Struct, frozen=True, gc=False):
    """The parts of a session key; all None for an id of another kind."""

    agent: str | None = None
    channel: str | None = None


_NOTHING = KeyParts()


def parts(session_id: str | None) -> KeyParts:
    """Read agent and channel off a key such as ``agent:research:telegram:group:-100``."""
    if session_id is None or not session_id.startswith("agent:"):
        return _NOTHING
    pieces = session_id.split(":", 3)
    if len(pieces) < 3 or not pieces[1] or len(pieces[1]) > 64:
        return _NOTHING
    # With three parts the last one is only a name, such as "main".
    channel = pieces[2] if len(pieces) == 4 and len(pieces[2]) <= 64 else None
    return KeyParts(pieces[1], channel or None)


def affinity(header: str) -> str | None:
    """The session id in OpenClaw's ``x-session-affinity: <id>:<n>``; None for any other text.

    `n` counts resets and compactions, so it changes in the middle of a session. Only ids that
    OpenClaw makes (UUIDs) are taken apart: in others the end may belong to the id.
    """
    match = _AFFINITY.fullmatch(header)
    return match[1] if match else None


def generation(header: str) -> int | None:
    """The number of resets and compactions in ``x-session-affinity: <id>:<n>``; None for any other text."""
    match = _AFFINITY.fullmatch(header)
    return int(match[2]) if match else None


def is_made_id(session_id: str) -> bool:
    """Whether an id is one that OpenClaw makes: a UUID, which nobody can guess."""
    return _MADE_ID.fullmatch(session_id) is not None


def without_additions(text: str) -> str:
    """What a user wrote, without OpenClaw's time stamp before it and its line about the session behind it."""
    return _STAMP.sub("", text.split("\nRuntime: ", 1)[0]).rstrip()


def bounded(session_id: str) -> str:
    """A session id of any length as one that can be listed; the same input gives the same output."""
    if len(session_id) <= MAX_SESSION_ID:
        return session_id
    return f"{session_id[:_KEPT]}…{xxhash.xxh3_128_hexdigest(session_id.encode('utf-8', 'surrogatepass'))}"


def runtime_line(text: str) -> tuple[str, str | None] | None:
    """The session key and, where it is given, the session id of the last ``Runtime:`` line in `text`.

    The last one counts: OpenClaw writes its line behind what the user typed.
    """
    at = text.rfind("Runtime: ")
    if at < 0:
        return None
    match = _RUNTIME.match(text, at)
    if match is None:
        return None
    session = _RUNTIME_ID.search(match["rest"])
    return match["key"], session[1] if session else None


def name_digest(name: str) -> bytes:
    """What is kept of the name of a session where the name itself should not stand."""
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=20, person=b"silenced").digest()
