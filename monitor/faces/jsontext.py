"""Answers as JSON text: in pieces where they are long, and without characters that steer a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_C1 = re.compile("[\x7f-\x9f]")


def json_text(data: Any, *, indent: int | None = None) -> str:
    """Data as JSON that can't steer a terminal: JSON itself leaves DEL and the C1 control characters as they are."""
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    return _C1.sub(lambda char: f"\\u{ord(char[0]):04x}", text)


def pieces(head: Mapping[str, Any], rounds: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A session's document, its rounds one at a time: a session may have any number."""
    text = json_text(head, indent=2)
    yield text[: text.rindex("\n}")] + ',\n  "rounds": ['
    for index, one in enumerate(rounds):
        yield (",\n    " if index else "\n    ") + json_text(one)
    yield "\n  ]\n}\n"
