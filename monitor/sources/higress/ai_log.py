"""What stands in ``ai_log``: its keys, known and learned, of whatever type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from monitor.sources.higress.syntax import FIELD_NAME, NULL, decode_any, decode_fields, decode_text


class AiLog(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``ai_log`` with the keys that Higress' own plugins write; see docs/sources.md for each."""

    api: str | None = None
    session_id: str | None = None
    chat_round: int | float | str | None = None
    messages: msgspec.Raw = msgspec.Raw()
    question: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    answer: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    tool_calls: msgspec.Raw = msgspec.Raw()
    response_type: str | None = None
    chat_id: str | None = None
    model: str | None = None
    request_model: str | None = None
    input_token: int | float | str | None = None
    output_token: int | float | str | None = None
    total_token: int | float | str | None = None
    reasoning_tokens: int | float | str | None = None
    cached_tokens: int | float | str | None = None
    input_token_details: msgspec.Raw = msgspec.Raw()
    output_token_details: msgspec.Raw = msgspec.Raw()
    llm_first_token_duration: int | float | str | None = None
    llm_service_duration: int | float | str | None = None
    consumer: str | None = None
    function: str | None = None
    user_id: str | None = None
    api_type: str | None = None
    cache_status: str | None = None
    token_ratelimit_status: str | None = None
    fallback_from: str | None = None


_KNOWN = frozenset(AiLog.__struct_fields__)
COUNTS = ("input_token", "output_token", "total_token", "cached_tokens", "reasoning_tokens")
_TEXTS = frozenset(
    ("api", "session_id", "response_type", "chat_id", "model", "request_model", "consumer", "function")
    + ("user_id", "api_type", "cache_status", "token_ratelimit_status", "fallback_from")
)
_RAWS = frozenset(
    ("messages", "question", "system", "answer", "reasoning", "tool_calls")
    + ("input_token_details", "output_token_details")
)
_LEARNED_LIMIT = 64
_NO_DETAILS: tuple[Mapping[str, Any], bytes] = ({}, b"")


class AiLogDecoder:
    """Decodes ``ai_log``, and learns the attributes that a deployment adds."""

    def __init__(self) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AiLog)
        self._learned: dict[str, None] = {}

    def decode(self, text: str) -> tuple[AiLog, dict[str, msgspec.Raw]]:
        """The known keys, and the others as they stand."""
        try:
            log: AiLog = self._decoder.decode(text)
        except msgspec.ValidationError:
            fields = decode_fields(text)  # raises where it is not an object
            unknown = [name for name in fields if name not in _KNOWN and name not in self._learned]
            if (
                unknown
                and all(map(FIELD_NAME.fullmatch, unknown))
                and len(self._learned) + len(unknown) <= _LEARNED_LIMIT
            ):
                self._learn(unknown)
            return _lenient(fields), {name: raw for name, raw in fields.items() if name not in _KNOWN}
        if not self._learned:
            return log, {}
        extra = {}
        for index, name in enumerate(self._learned):
            raw = getattr(log, f"extra_{index}")
            if bytes(raw):
                extra[name] = raw
        return log, extra

    def _learn(self, names: list[str]) -> None:
        """Keep a deployment's own attributes on the fast path."""
        learned = {**self._learned, **dict.fromkeys(names)}
        fields: list[tuple[str, type, Any]] = [
            (f"extra_{index}", msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw()))
            for index, name in enumerate(learned)
        ]
        shape = msgspec.defstruct("LearnedAiLog", fields, bases=(AiLog,), forbid_unknown_fields=True, gc=False)
        self._decoder, self._learned = msgspec.json.Decoder(shape), learned


def _lenient(fields: dict[str, msgspec.Raw]) -> AiLog:
    """The known keys where one of them has a type that Higress does not write."""
    values: dict[str, Any] = {}
    for name, raw in fields.items():
        if name in _RAWS:
            values[name] = raw
        elif name in _KNOWN:
            try:
                value = decode_any(raw)
            except msgspec.MsgspecError:  # a number beyond all bounds
                continue
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                values[name] = str(value) if name in _TEXTS else value
    return AiLog(**values)


def is_round(log: AiLog, unknown: Mapping[str, msgspec.Raw], method: object) -> bool:
    """A request to a model; ``GET /v1/models`` on an AI route has an ``ai_log``, too, and is none."""
    if log.chat_round is not None or log.model or log.chat_id:
        return True
    if log.input_token is not None or log.output_token is not None or bytes(log.messages) or bytes(log.question):
        return True
    if method in ("GET", "HEAD", "OPTIONS"):
        return False
    return bool(log.cache_status or log.token_ratelimit_status) or any(n.startswith("safecheck_") for n in unknown)


def details_of(raw: msgspec.Raw) -> tuple[Mapping[str, Any], bytes]:
    """Token details - an object, or an object as a JSON string, or nothing - with their JSON."""
    text = bytes(raw)
    if text in (b"", NULL, b"{}", b'""'):
        return _NO_DETAILS
    try:
        if text.startswith(b'"'):
            text = decode_text(text).encode()
        value = decode_any(text)
    except ValueError:
        return _NO_DETAILS
    return (value, text) if isinstance(value, dict) and value else _NO_DETAILS
