"""The events of one session, in order: which of them are model calls, and what each of those says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import xxhash

from monitor.rounds import UNKNOWN_TIME, Conversation, Round
from monitor.session_keys import bounded
from monitor.sources.openclaw.talk import Talk
from monitor.sources.openclaw.values import Unreadable, decode, encode, mapping, reported, text, usage
from monitor.sources.times import epoch_ms
from monitor.sources.usage import count

#: Why a record of a transcript is no round although it looks like one, or can't be read.
#:
#: - ``malformed``: no JSON object, or compressed and damaged.
#: - ``copied``: a call of the session that this one was forked from; it is counted there.
#: - ``own``: OpenClaw wrote it itself, such as a copy of what it sent to a channel; no model was called.
Reason = Literal["malformed", "copied", "own"]

_FAILED = frozenset(("error", "aborted"))
#: Models under which OpenClaw writes what no model said.
_OWN_MODELS = frozenset(("delivery-mirror", "gateway-injected"))
_LONGEST_CALL_MS = 3_600_000
_COUNTS = ("input", "output", "cacheRead", "cacheWrite", "reasoningTokens", "totalTokens")


class Call(msgspec.Struct, frozen=True):
    """A model call. Its `session_id` is OpenClaw's; which key that has is not in a transcript."""

    round: Round


class Passed(msgspec.Struct, frozen=True):
    """A record that is no round, and why."""

    reason: Reason
    record: bytes = b""


class Transcript:
    """One session as far as it was read. What is not in the record of a call is known from those before it."""

    def __init__(self, session_id: str, *, keep_content: bool, forked: bool = False) -> None:
        """`session_id` holds until a header says another one; `forked`: it is known to have begun as a copy."""
        self.session_id = session_id
        #: When the session began, by its header; None where that is not known.
        self.began: int | None = None
        self._forked = forked
        self._resets = 0
        self._turns = 0
        #: When what was said was last made shorter, until a call tells it.
        self._compacted: int | None = None
        self._talk = Talk() if keep_content else None

    @property
    def size(self) -> int:
        """Bytes of what is remembered of what was said."""
        return self._talk.size if self._talk is not None else 0

    def read(self, record: bytes) -> Call | Passed | None:
        """The next record: a call, why it is none, or None for what is no call in any case."""
        try:
            event = decode(record)
        except Unreadable:
            return Passed("malformed", record)
        try:
            return self._read(event)
        except (ValueError, TypeError, RecursionError, OverflowError):
            return Passed("malformed", record)

    def _read(self, event: dict[str, Any]) -> Call | Passed | None:
        kind = event.get("type")
        if kind == "session":
            self._header(event)
        elif kind == "reset":
            self._resets += 1
            self._turns = 0
            if self._talk is not None:
                self._talk.anew()
        elif kind == "compaction":
            self._compacted = epoch_ms(event.get("timestamp"))
            if self._talk is not None:
                self._talk.anew(event.get("summary"))
        elif kind == "message":
            message = mapping(event.get("message"))
            role = message.get("role")
            if role == "assistant":
                return self._answer(event, message)
            if role == "user":
                self._turns += 1
                if self._talk is not None:
                    self._talk.user(message)
            elif role == "toolResult" and self._talk is not None:
                self._talk.tool(message)
        return None

    def _header(self, event: dict[str, Any]) -> None:
        # A file may keep the name of a session that it no longer holds; its header is right.
        self.session_id = text(event.get("id")) or self.session_id
        self.began = epoch_ms(event.get("timestamp"))
        self._forked = self._forked or event.get("parentSession") is not None

    def _answer(self, event: Mapping[str, Any], message: Mapping[str, Any]) -> Call | Passed:
        written = epoch_ms(event.get("timestamp"))
        conversation = self._talk.answered(message) if self._talk is not None else None
        if message.get("provider") == "openclaw" and message.get("model") in _OWN_MODELS:
            return Passed("own")
        if self._forked and written is not None and self.began is not None and written < self.began:
            return Passed("copied")
        return Call(self._round(event, message, written, conversation))

    def _round(
        self,
        event: Mapping[str, Any],
        message: Mapping[str, Any],
        written: int | None,
        conversation: Conversation | None,
    ) -> Round:
        asked = epoch_ms(message.get("timestamp"))
        recorded = mapping(message.get("usage"))
        api, provider, stop = text(message.get("api")), text(message.get("provider")), text(message.get("stopReason"))
        counted = usage(recorded, api)
        success = stop not in _FAILED
        latency = written - asked if success and written is not None and asked is not None else None
        error = {
            name: text(value) if isinstance(value, str) else value
            for name in ("errorType", "errorMessage")
            if (value := message.get(name)) is not None
        }
        extra: dict[str, Any] = {
            "api": api,
            "stop_reason": stop,
            "run_id": text(mapping(message.get("__openclaw")).get("runId")),
            "openclaw_session_id": self.session_id,
            # The call that made it shorter is in no transcript; this is how others know of it.
            "compacted_at": self._compacted,
            "convention": counted.convention if counted.known else None,
            "raw": {name: recorded[name] for name in _COUNTS if name in recorded} or None,
            # May hold what was said, so it goes where content is not kept.
            "fields": error or None,
        }
        self._compacted = None
        return Round(
            key=self._key(event, message),
            source="openclaw",
            started_at=next((at for at in (asked, written) if at is not None), UNKNOWN_TIME),
            session_id=bounded(self.session_id),
            session_source="header",
            model=text(message.get("model")),
            usage=counted,
            success=success,
            status=count(message.get("errorCode")),
            latency_ms=latency if latency is not None and 0 <= latency < _LONGEST_CALL_MS else None,
            has_tool_calls=_has_tool_calls(message),
            turn=self._turns,
            opening=xxhash.xxh3_64_intdigest(f"{self.session_id}\0{self._resets}".encode()) >> 1,
            host=provider,
            response_id=text(message.get("responseId")),
            reported=reported(recorded, counted),
            conversation=conversation,
            extra=encode({name: value for name, value in extra.items() if value is not None}),
        )

    def _key(self, event: Mapping[str, Any], message: Mapping[str, Any]) -> bytes:
        """What only this call has, wherever its record stands."""
        id_ = event.get("id")
        name = id_ if isinstance(id_, str) and id_ else f"\0{encode([event.get('timestamp'), message]).decode()}"
        return xxhash.xxh3_128_digest(f"openclaw\0{self.session_id}\0{name}".encode("utf-8", "replace"))


def _has_tool_calls(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(mapping(part).get("type") == "toolCall" for part in content)
