"""How texts, times and ids stand in the log: as Go's JSON encoder and Envoy write them."""

from __future__ import annotations

import functools
import json
import random
from datetime import UTC, datetime

_GO_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def go_text(text: str) -> str:
    """The body of a JSON string as Go's encoder writes it, which is what ``ai_log`` is made with."""
    return json.dumps(text, ensure_ascii=False)[1:-1].translate(_GO_HTML)


def wire(text: str) -> str:
    """The body of a string inside ``ai_log`` as it stands in the file: escaped twice."""
    return go_text(go_text(text))


# In the file, a quote of ai_log's own JSON and one of a JSON text inside it.
QUOTE = '\\"'
INNER_QUOTE = '\\\\\\"'
NEWLINE = "\\\\n"


@functools.lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M")


def time_text(ms: int) -> str:
    """A time as Envoy writes it."""
    return f"{_minute(ms // 60_000)}:{ms // 1000 % 60:02d}.{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=256)
def arguments_text(text: str, protocol: str) -> str:
    """A tool's arguments as a JSON text in a string, or (Anthropic's ``input``) as an object."""
    return go_text(text.translate(_GO_HTML)) if protocol == "object" else wire(text)


def uuid_text(r: random.Random) -> str:
    """A random UUID, version 4."""
    h = f"{r.getrandbits(128):032x}"
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[ord(h[16]) & 3]}{h[17:20]}-{h[20:]}"


def seeded(seed: int | str) -> random.Random:
    """A source of the same random numbers each time."""
    return random.Random(seed)  # noqa: S311 - the same for the same seed is what is wanted
