"""A session as one JSON document: the structure that the first session monitor for Higress wrote, and more.

Its fields are always there, empty ones too, because programs read them. What the log does not say is
null or empty, never zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from monitor.answers.base import Asking
from monitor.answers.rounds import each_round
from monitor.answers.sessions import RoundRow, Session

_SESSION_FIELDS = (
    "session_id",
    "created_at",
    "updated_at",
    "messages_count",
    "total_input_tokens",
    "total_output_tokens",
    "total_reasoning_tokens",
    "total_cached_tokens",
    "model",
)
_ROUND_FIELDS: dict[str, Any] = {
    "round": None,
    "timestamp": None,
    "input_tokens": None,
    "output_tokens": None,
    "reasoning_tokens": None,
    "cached_tokens": None,
    "model": None,
    "has_tool_calls": False,
    "response_type": None,
    "messages": [],
    "question": "",
    "answer": "",
    "reasoning": "",
    "tool_calls": [],
    "input_token_details": {},
    "output_token_details": {},
}


def head(session: Session) -> dict[str, Any]:
    """The document without its rounds."""
    known = session.small()
    for name in ("rounds", "rounds_cursor"):
        known.pop(name, None)
    return {**dict.fromkeys(_SESSION_FIELDS), **known}


def rounds(
    ask: Asking, session_id: str, *, newest: int | None = None, content: bool = True, new_only: bool = False
) -> Iterator[dict[str, Any]]:
    """The document's rounds, oldest first, one at a time: a session may have any number."""
    for row in each_round(ask, session_id, content=content, new_only=new_only, newest=newest):
        yield _round(row, content)


def _round(row: RoundRow, content: bool) -> dict[str, Any]:
    empty = _ROUND_FIELDS
    if not content:
        said = ("messages", "question", "answer", "reasoning", "tool_calls")
        empty = {name: value for name, value in empty.items() if name not in said}
    return {**empty, **row.small()}


def document_schema() -> dict[str, Any]:
    """The JSON Schema of a document: a session's, with the fields that are always there; rounds hold what they say."""
    schema = Session.model_json_schema()
    schema["title"] = "SessionDocument"
    schema["required"] = [*_SESSION_FIELDS, "rounds"]
    for name in ("rounds_cursor", "more_models"):
        schema["properties"].pop(name)
    row = schema["$defs"]["RoundRow"]
    said = ("messages", "question", "answer", "reasoning", "tool_calls")
    row["required"] = sorted({*row["required"], *_ROUND_FIELDS} - {*said})
    return schema
