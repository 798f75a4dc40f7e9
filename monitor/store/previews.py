"""The beginning of a question, as a session is told apart by it."""

from __future__ import annotations

import msgspec

from monitor.session_keys import without_additions

_PREVIEW = 160


def preview(question: bytes | None) -> str | None:
    """The beginning of a question (JSON) as one line of text, or None where there is none."""
    if question is None:
        return None
    try:
        value = msgspec.json.decode(question) if len(question) < 4096 else _cut(question)
    except msgspec.MsgspecError:
        return None
    if isinstance(value, list):
        value = next((p.get("text") for p in value if isinstance(p, dict) and isinstance(p.get("text"), str)), None)
    if not isinstance(value, str):
        return None
    line = " ".join(without_additions(value)[: 4 * _PREVIEW].split())
    return line[:_PREVIEW] or None


def _cut(text: bytes) -> object:
    """The beginning of a long JSON string, cut where no escape is torn."""
    if text[:1] != b'"':
        return msgspec.json.decode(text)
    piece = text[: 8 * _PREVIEW]
    for shorter in range(12):
        try:
            return msgspec.json.decode(piece[: len(piece) - shorter] + b'"')
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return None
