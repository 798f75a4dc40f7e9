"""The reader: one record becomes a round, or a reason why it is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import xxhash

from monitor.rounds import Conversation, Position, Round, SessionSource
from monitor.session_keys import bounded, generation, is_passing
from monitor.sources import usage as token_usage
from monitor.sources.higress.ai_log import COUNTS, AiLog, AiLogDecoder, details_of, is_round
from monitor.sources.higress.fields import (
    add_extra,
    host_of,
    is_plain,
    key_of_collected,
    label,
    milliseconds,
    model_of,
    started_at,
    succeeded,
)
from monitor.sources.higress.memory import Memory, Seen, guess_at
from monitor.sources.higress.openclaw import content_of, is_settled, named, opening_of, session_names
from monitor.sources.higress.outer import Around, OuterLines, around_of, pairs_of
from monitor.sources.higress.syntax import (
    END,
    HEAD,
    MESSAGES,
    USUAL_END,
    decode_fields,
    decode_raw_list,
    decode_text,
    encode,
    present,
)
from monitor.sources.reading import Reading, Skipped

_SKIP_FROM = 4096
_NO_CALLS = (None, b"[]", b'""')


class HigressReader:
    """Reads access-log records one by one. Not thread-safe; it only remembers in order to be faster."""

    kind = "higress"

    def __init__(self) -> None:
        self._outer = OuterLines()
        self._logs = AiLogDecoder()
        self._memory = Memory()
        # No line can contain this number on purpose: it differs in every process.
        self._marker = int.from_bytes(os.urandom(7)) | 1 << 56
        self._marker_text = str(self._marker).encode()

    def forget(self) -> None:
        """Drop what was remembered of conversations."""
        self._memory.forget()

    def read(self, record: bytes) -> Reading | Skipped:
        """One record without its line end and its container wrapper."""
        record = record.rstrip(b"\r\n")
        if not record or record.isspace():
            return Skipped("blank")
        try:
            return self._read(record)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return Skipped("malformed" if b'"ai_log"' in record else "foreign", record)

    def _read(self, record: bytes) -> Reading | Skipped:
        if record.startswith(HEAD):
            if len(record) > _SKIP_FROM:
                reading = self._read_on(record)
                if reading is not None:
                    return reading
            end = record.find(USUAL_END, len(HEAD)) + 1
            if end > 0:
                with suppress(ValueError):  # decoding proves that no other end came before
                    return self._from_body(record, end)
            # An escaped body can't contain this sequence: inside it every quote has its backslash.
            end = record.find(END, len(HEAD))
            if end > 0:
                if end - len(HEAD) <= 1:  # "-" or empty
                    return Skipped("non_ai")
                return self._from_body(record, end)
        outer = pairs_of(record).resolved()
        body = outer.get("ai_log")
        if isinstance(body, Mapping):
            body = encode(body).decode()
        elif not isinstance(body, str):
            if "ai_log" in outer:
                return Skipped("non_ai") if body is None else Skipped("malformed", record)
            inner = next((outer[k] for k in ("content", "message", "log") if isinstance(outer.get(k), str)), None)
            if inner is not None and inner.lstrip().startswith("{"):
                return self._read(inner.strip().encode())
            return Skipped("foreign", record)
        if body in ("-", ""):
            return Skipped("non_ai")
        if body.startswith('{\\"'):
            body = decode_text(f'"{body}"')
        return self._build(record, body, None, None, around_of(outer))

    def _from_body(self, record: bytes, end: int) -> Reading | Skipped:
        """Parse ``ai_log`` (escaped, before `end`) and what is around it."""
        text = decode_text(record[len(HEAD) - 1 : end + 1])
        around = self._outer.around(record, end)
        if text.startswith('{\\"'):
            # accessLogEncoding: JSON escapes what was escaped already.
            text = decode_text(f'"{text}"')
        where = None
        if end > _SKIP_FROM:
            at = record.find(MESSAGES, len(HEAD), end) + len(MESSAGES)
            if at >= len(MESSAGES):
                where = guess_at(record, at), at, end
        return self._build(record, text, None, where, around)

    def _read_on(self, record: bytes) -> Reading | Skipped | None:
        """Read a record of which the first messages are known from an earlier one without parsing these again.

        None where nothing is known, and wherever anything is not as it should be.
        """
        at = record.find(MESSAGES, len(HEAD)) + len(MESSAGES)
        if at < len(MESSAGES):
            return None
        guess = guess_at(record, at)
        known = self._memory.recognise(guess, memoryview(record)[at:])
        # The known part lay inside a body; neither it nor what is before it may hold the end of this one.
        if known is None or record.find(END, len(HEAD), at) > 0:
            return None
        behind = at + known.size
        end = record.find(END, behind)
        if end < 0:
            return None
        short = b"".join((record[len(HEAD) - 1 : at], self._marker_text, record[behind : end + 1]))
        try:
            around = self._outer.around(record, end)
            return self._build(record, decode_text(short), known, (guess, at, end), around)
        except ValueError:
            return None

    # -- the round --------------------------------------------------------------------------------

    def _build(
        self,
        record: bytes,
        text: str,
        known: Seen | None,
        where: tuple[bytes, int, int] | None,
        around: Around,
    ) -> Reading | Skipped:
        log, unknown = self._logs.decode(text)
        outer = around.line
        if not is_round(log, unknown, outer.method):
            return Skipped("non_ai")
        conversation, names, opening = self._conversation(record, log, known, where)
        session_id: str | None = None
        source: SessionSource | None = None
        aliases: tuple[str, ...] = ()
        if log.session_id:
            source = "header"
            session_id, aliases = named(log.session_id, names)
            resets = generation(log.session_id)
            if resets is not None:
                opening = resets  # OpenClaw counts them itself, whatever was said first
        elif names:
            session_id, source, aliases = bounded(names[0]), "inferred", tuple(map(bounded, names[1:]))

        in_details, in_text = details_of(log.input_token_details)
        out_details, out_text = details_of(log.output_token_details)
        count = token_usage.count
        logged = log.input_token, log.output_token, log.total_token, log.cached_tokens, log.reasoning_tokens
        counts = count(logged[0]), count(logged[1]), count(logged[2]), count(logged[3]), count(logged[4])
        usage = token_usage.normalise(*counts, in_details, out_details, log.chat_id)
        status = count(outer.response_code)
        flags = label(outer.response_flags)
        request_id = label(outer.request_id)
        response_id = label(log.chat_id)
        collected = around.collected
        unique = bool(request_id or response_id or (collected and collected.get("__file_offset__")))

        extra: dict[str, Any] = {}
        if in_text:
            extra["input_token_details"] = msgspec.Raw(in_text)
        if out_text:
            extra["output_token_details"] = msgspec.Raw(out_text)
        if usage.convention != "openai":
            extra["convention"] = usage.convention
        if usage.convention != "openai" or not is_plain(logged, counts):
            extra["raw"] = {name: value for name, value in zip(COUNTS, logged, strict=True) if value is not None}
        add_extra(extra, log, unknown, outer, around.others, flags)
        round_ = Round(
            key=xxhash.xxh3_128_digest(record) if collected is None else key_of_collected(collected, unique),
            source="higress",
            started_at=started_at(outer, collected),
            session_id=session_id,
            session_source=source,
            session_aliases=aliases,
            model=model_of(log),
            usage=usage,
            success=succeeded(status, flags, usage.known or log.model is not None),
            status=status,
            latency_ms=milliseconds(log.llm_service_duration, outer.duration),
            ttft_ms=milliseconds(log.llm_first_token_duration),
            response_type=label(log.response_type),
            has_tool_calls=conversation is not None and conversation.tool_calls not in _NO_CALLS,
            turn=token_usage.count(log.chat_round),
            opening=opening,
            consumer=label(log.consumer),
            route=label(outer.route_name),
            function=label(log.function),
            user_id=label(log.user_id),
            host=host_of(outer),
            request_id=request_id,
            response_id=response_id,
            conversation=conversation,
            extra=encode(extra) if extra else None,
        )
        return Reading(round_, unique)

    def _conversation(
        self, record: bytes, log: AiLog, known: Seen | None, where: tuple[bytes, int, int] | None
    ) -> tuple[Conversation | None, tuple[str, ...], int | None]:
        """What was said, the session names that OpenClaw wrote into it, and what stands for its beginning."""
        raw = bytes(log.messages)
        question, system, answer = present(log.question), present(log.system), present(log.answer)
        reasoning, tool_calls = present(log.reasoning), present(log.tool_calls)
        if not raw and not (question or system or answer or reasoning or tool_calls):
            return None, (), None
        base = start = Position.start(system)
        messages: tuple[bytes, ...] = ()
        truncated: bytes | None = None
        names: tuple[str, ...] = ()
        opening: int | None = None
        passing = 0
        settled = known is not None
        whole: Callable[[], tuple[bytes, ...]] | None = None
        end = base
        if raw[:1] == b"[":
            listed = [bytes(message) for message in decode_raw_list(raw)]
            if known is not None:
                # The number proves that the array that was cut is the array that was read.
                if not listed or listed[0] != self._marker_text or known.start != start.digest:
                    raise ValueError("another array was cut")
                messages, base, names = tuple(listed[1:]), known.position, known.names
                opening = known.opening
                whole = _Whole(record)
                new = raw[1 + len(self._marker_text) : -1]
            else:
                messages = tuple(listed)
                opening = opening_of(messages)
                if b"Runtime: " in raw or (system is not None and b"Runtime: " in system):
                    names = session_names(messages, system)
                settled = where is not None and is_settled(messages)
                new = raw[1:-1]
            end = stays = base.after(messages)
            if messages and is_passing(messages[-1]):
                passing = 1
                stays = base.after(messages[:-1])
                new = new.removesuffix(messages[-1]).removesuffix(b",")
                if question is not None and len(messages) > 1 and is_passing(question):
                    question = content_of(messages[-2])
            if where is not None and settled:
                self._memory.remember(record, where, known, new, start, stays, names, opening)
        elif known is not None:
            raise ValueError("another array was cut")
        elif raw[:1] == b'"':
            truncated = raw
        conversation = Conversation(
            messages, end, base, whole, system, truncated, question, answer, reasoning, tool_calls, passing
        )
        return conversation, names, opening


class _Whole:
    """All messages of a record, parsed when somebody needs them."""

    __slots__ = ("_record",)

    def __init__(self, record: bytes) -> None:
        self._record = record

    def __call__(self) -> tuple[bytes, ...]:
        end = self._record.find(b'","', len(HEAD))
        fields = decode_fields(decode_text(self._record[len(HEAD) - 1 : end + 1]))
        return tuple(bytes(message) for message in decode_raw_list(fields["messages"]))
