"""A line of a Higress access log becomes a `Round`.

What is known of these lines, with its evidence, is in docs/sources.md. The rules that matter here:

- The outer line looks like JSON but is a template into which client headers are pasted unescaped. Only
  ``ai_log`` is escaped, and it comes first: the first one counts, whatever a header pretends.
- A number may be a number, a numeric string, null or absent; each means what it says.
- Nothing that a line contains makes this module raise.
"""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Any, Literal

import msgspec
import xxhash

from monitor.rounds import UNKNOWN_TIME, Conversation, Position, Round, SessionSource
from monitor.session_keys import affinity, bounded, is_passing, runtime_line
from monitor.sources import usage as token_usage
from monitor.sources.times import epoch_ms

#: Why a line is not a round. ``non_ai`` is traffic without a model and normal; the others are kept for `doctor`.
#:
#: - ``blank``: nothing on the line.
#: - ``foreign``: not an access-log record (pilot-agent's text in a shared file, a bare JSON value).
#: - ``malformed``: an access-log record that is damaged, or whose ``ai_log`` is not an object.
Reason = Literal["non_ai", "blank", "foreign", "malformed"]


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """A line that is not a round, and why."""

    reason: Reason
    #: The record as it was read; whoever keeps it shortens it.
    record: bytes = b""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A round, and whether its record has something that no other record can have.

    Two records that are equal to the byte and hold a request id, a response id or a collector's
    offset are one; without any of these they may be two calls, and their order tells them apart.
    """

    round: Round
    unique: bool


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
_COUNTS = ("input_token", "output_token", "total_token", "cached_tokens", "reasoning_tokens")
_TEXTS = frozenset(
    ("api", "session_id", "response_type", "chat_id", "model", "request_model", "consumer", "function")
    + ("user_id", "api_type", "cache_status", "token_ratelimit_status", "fallback_from")
)
_RAWS = frozenset(
    ("messages", "question", "system", "answer", "reasoning", "tool_calls")
    + ("input_token_details", "output_token_details")
)
_NULL = b"null"
_NO_CALLS = (None, b"[]", b'""')
#: Outer fields of Higress' default format that nothing here needs: sizes, addresses, names of sockets.
_DROPPED = frozenset(
    ("ai_log", "authority", "bytes_received", "bytes_sent", "downstream_local_address", "downstream_remote_address")
    + ("istio_policy_status", "protocol", "requested_server_name", "upstream_local_address")
    + ("upstream_service_time", "upstream_transport_failure_reason", "user_agent", "x_forwarded_for", "cluster_id")
)
#: The order in which Higress' template writes its fields (helm/core/templates/configmap.yaml).
_TEMPLATE = (
    ("ai_log", "authority", "bytes_received", "bytes_sent", "downstream_local_address")
    + ("downstream_remote_address", "duration", "istio_policy_status", "method", "path", "protocol")
    + ("request_id", "requested_server_name", "response_code", "response_flags", "route_name", "start_time")
    + ("trace_id", "upstream_cluster", "upstream_host", "upstream_local_address", "upstream_service_time")
    + ("upstream_transport_failure_reason", "user_agent", "x_forwarded_for", "response_code_details")
)
#: Response flags that say that the answer did not arrive whole (Envoy's stream_info/utility.h).
_FAILED_FLAGS = frozenset(
    ("DC", "UC", "UF", "UH", "UT", "UR", "URX", "LR", "SI", "DPE", "UPE", "UMSDR", "NR", "NC", "OM", "DT", "RL", "UAEX")
)
#: Names that can be fields of a msgspec struct.
_FIELD_NAME = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]{1,200}')
_LEARNED_LIMIT = 64
_OUTER_LIMIT = 8
_SKIP_FROM = 4096
#: Beginnings of conversations that are remembered for one guess, and guesses.
_SEEN_EACH = 32
_SEEN_GUESSES = 4096
_TAIL = 64
#: Messages among which the first one of the user must be, for a session name to be looked for.
_BEGINNING = 4
_HEAD = b'{"ai_log":"'
_END = b'","'
#: The same in Higress' own format; a longer sequence is found faster.
_USUAL_END = b'}","authority":"'
_MESSAGES = b'\\"messages\\":['
_SESSION = b'\\"session_id\\":\\"'

_decode_text = msgspec.json.Decoder(str).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.decode
_encode = msgspec.json.encode
_size_of = attrgetter("size")


class _Outer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The fields of the outer line that are used, as they stand there: mostly strings, but nothing is certain."""

    duration: Any = None
    method: Any = None
    path: Any = None
    request_id: Any = None
    response_code: Any = None
    response_code_details: Any = None
    response_flags: Any = None
    route_name: Any = None
    start_time: Any = None
    time: Any = None
    timestamp: Any = None
    trace_id: Any = None
    upstream_cluster: Any = None
    upstream_host: Any = None


_USED = frozenset(_Outer.__struct_fields__)


class _Around(msgspec.Struct, frozen=True, gc=False):
    """What stands around ``ai_log``: the fields that are used and those that are new to us."""

    line: _Outer
    others: Mapping[str, Any]
    #: All fields, where a collector wrote the record anew.
    collected: Mapping[str, Any] | None = None


class _Seen(msgspec.Struct, gc=False):
    """The beginning of a conversation as it stood, escaped, in an earlier line."""

    size: int
    hash: int
    #: Its last bytes, which tell most others apart without hashing them.
    tail: bytes
    #: Digest before the first message: a system prompt that stands beside the messages is part of it.
    start: bytes
    position: Position
    names: tuple[str, ...]
    opening: int | None


class HigressReader:
    """Reads access-log records one by one. Not thread-safe; it only remembers in order to be faster."""

    kind = "higress"

    def __init__(self) -> None:
        self._log_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AiLog)
        self._learned: dict[str, None] = {}
        self._outer: list[_OuterShape] = []
        self._seen: OrderedDict[bytes, list[_Seen]] = OrderedDict()
        # No line can contain this number on purpose: it differs in every process.
        self._marker = int.from_bytes(os.urandom(7)) | 1 << 56
        self._marker_text = str(self._marker).encode()
        # Clients control the text, so they must not know what it is hashed with.
        self._seed = int.from_bytes(os.urandom(8))

    def forget(self) -> None:
        """Drop what was remembered of conversations."""
        self._seen.clear()

    def read(self, record: bytes) -> Reading | Skipped:
        """One record without its line end and its container wrapper."""
        record = record.rstrip(b"\r\n")
        if not record or record.isspace():
            return Skipped("blank")
        try:
            return self._read(record)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return Skipped("malformed" if b'"ai_log"' in record else "foreign", record)

    # -- the outer line ---------------------------------------------------------------------------

    def _read(self, record: bytes) -> Reading | Skipped:
        if record.startswith(_HEAD):
            if len(record) > _SKIP_FROM:
                reading = self._read_on(record)
                if reading is not None:
                    return reading
            end = record.find(_USUAL_END, len(_HEAD)) + 1
            if end > 0:
                with suppress(ValueError):  # decoding proves that no other end came before
                    return self._from_body(record, end)
            # An escaped body can't contain this sequence: inside it every quote has its backslash.
            end = record.find(_END, len(_HEAD))
            if end > 0:
                if end - len(_HEAD) <= 1:  # "-" or empty
                    return Skipped("non_ai")
                return self._from_body(record, end)
        outer = _pairs(record).resolved()
        body = outer.get("ai_log")
        if isinstance(body, Mapping):
            body = _encode(body).decode()
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
            body = _decode_text(f'"{body}"')
        return self._build(record, body, None, None, _around(outer))

    def _around(self, record: bytes, end: int) -> _Around:
        rest = b"{" + record[end + 2 :]
        return self._fast_outer(rest) or self._slow_outer(rest, record, end)

    def _fast_outer(self, rest: bytes) -> _Around | None:
        """The fields behind ``ai_log`` where they are exactly a known set of plain strings, else None.

        With n fields known to be there and 4n quotes, no field can stand twice and nothing can be
        smuggled in between.
        """
        if b"\\" in rest:
            return None
        quotes = rest.count(b'"')
        for shape in self._outer:
            if shape.quotes == quotes:
                try:
                    return shape.decode(rest)
                except ValueError:  # other names, or bytes that are not UTF-8
                    continue
        return None

    def _slow_outer(self, rest: bytes, record: bytes, end: int) -> _Around:
        try:
            pairs = _pairs(rest)
        except ValueError:
            return _around(_salvaged(rest))
        pairs.items.insert(0, ("ai_log", ""))
        outer = pairs.resolved()
        if any(name.startswith("__") for name in outer):
            outer["ai_log"] = _decode_text(record[len(_HEAD) - 1 : end + 1])
        around = _around(outer)
        if (
            around.collected is None
            and len(outer) == len(pairs.items)
            and b"\\" not in rest
            and all(type(value) is str and _FIELD_NAME.fullmatch(name) for name, value in outer.items())
        ):
            names = tuple(outer)[1:]
            self._outer = [shape for shape in self._outer if shape.names != names]
            # A client can make up as many shapes as it likes; the latest ones are tried first.
            self._outer.insert(0, _OuterShape(names))
            del self._outer[_OUTER_LIMIT:]
        return around

    # -- ai_log -----------------------------------------------------------------------------------

    def _from_body(self, record: bytes, end: int) -> Reading | Skipped:
        """Parse ``ai_log`` (escaped, before `end`) and what is around it."""
        text = _decode_text(record[len(_HEAD) - 1 : end + 1])
        around = self._around(record, end)
        if text.startswith('{\\"'):
            # accessLogEncoding: JSON escapes what was escaped already.
            text = _decode_text(f'"{text}"')
        where = None
        if end > _SKIP_FROM:
            at = record.find(_MESSAGES, len(_HEAD), end) + len(_MESSAGES)
            if at >= len(_MESSAGES):
                where = self._guess(record, at), at, end
        return self._build(record, text, None, where, around)

    def _read_on(self, record: bytes) -> Reading | Skipped | None:
        """Read a record of which the first messages are known from an earlier one without parsing these again.

        None where nothing is known, and wherever anything is not as it should be.
        """
        at = record.find(_MESSAGES, len(_HEAD)) + len(_MESSAGES)
        if at < len(_MESSAGES):
            return None
        guess = self._guess(record, at)
        known = self._recognise(guess, memoryview(record)[at:])
        # The known part lay inside a body; neither it nor what is before it may hold the end of this one.
        if known is None or record.find(_END, len(_HEAD), at) > 0:
            return None
        behind = at + known.size
        end = record.find(_END, behind)
        if end < 0:
            return None
        short = b"".join((record[len(_HEAD) - 1 : at], self._marker_text, record[behind : end + 1]))
        try:
            around = self._around(record, end)
            return self._build(record, _decode_text(short), known, (guess, at, end), around)
        except ValueError:
            return None

    def _guess(self, record: bytes, at: int) -> bytes:
        """A key under which this conversation was probably seen; a wrong one costs time, nothing else."""
        found = record.rfind(_SESSION, max(at, len(record) - 16384))
        if found > 0:
            found += len(_SESSION)
            return record[found : min(found + 400, record.find(b'\\"', found) % len(record))]
        return xxhash.xxh3_64_digest(record[at : at + 512])

    def _recognise(self, guess: bytes, region: memoryview) -> _Seen | None:
        candidates = self._seen.get(guess)
        if not candidates:
            return None
        for seen in candidates:
            size = seen.size
            if (
                size < len(region)
                and region[size - len(seen.tail) : size] == seen.tail
                and xxhash.xxh3_64_intdigest(region[:size], self._seed) == seen.hash
            ):
                self._seen.move_to_end(guess)
                return seen
        return None

    def _remember(
        self,
        record: bytes,
        where: tuple[bytes, int, int],
        known: _Seen | None,
        new: bytes,
        start: Position,
        position: Position,
        names: tuple[str, ...],
        opening: int | None,
    ) -> None:
        """Remember where the messages end in the escaped line, if that can be proved.

        `new` is the unescaped text behind the known part; only if escaping it gives the very bytes
        of the line is the end of the array where we think it is.
        """
        guess, at, end = where
        begin = at + (known.size if known else 0)
        escaped = new.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        if not record.startswith(escaped, begin, end):
            return
        size = begin + len(escaped) - at
        prefix = memoryview(record)[at : at + size]
        hashed = xxhash.xxh3_64_intdigest(prefix, self._seed)
        seen = _Seen(size, hashed, bytes(prefix[-_TAIL:]), start.digest, position, names, opening)
        candidates = self._seen.setdefault(guess, [])
        if known is not None:
            candidates.remove(known)
        # Longest first: the most is skipped. Of equal length, the latest first.
        candidates.insert(0, seen)
        candidates.sort(key=_size_of, reverse=True)
        del candidates[_SEEN_EACH:]
        if len(self._seen) > _SEEN_GUESSES:
            self._seen.popitem(last=False)

    def _decode_log(self, text: str) -> tuple[AiLog, dict[str, msgspec.Raw]]:
        """The known keys, and the others as they stand."""
        try:
            log: AiLog = self._log_decoder.decode(text)
        except msgspec.ValidationError:
            fields = _decode_fields(text)  # raises where it is not an object
            unknown = [name for name in fields if name not in _KNOWN and name not in self._learned]
            if (
                unknown
                and all(map(_FIELD_NAME.fullmatch, unknown))
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
        self._log_decoder, self._learned = msgspec.json.Decoder(shape), learned

    # -- the round --------------------------------------------------------------------------------

    def _build(
        self,
        record: bytes,
        text: str,
        known: _Seen | None,
        where: tuple[bytes, int, int] | None,
        around: _Around,
    ) -> Reading | Skipped:
        log, unknown = self._decode_log(text)
        outer = around.line
        if not _is_round(log, unknown, outer.method):
            return Skipped("non_ai")
        conversation, names, opening = self._conversation(record, log, known, where)
        session_id: str | None = None
        source: SessionSource | None = None
        aliases: tuple[str, ...] = ()
        if log.session_id:
            source = "header"
            session_id, aliases = _named(log.session_id, names)
        elif names:
            session_id, source, aliases = bounded(names[0]), "inferred", tuple(map(bounded, names[1:]))

        in_details, in_text = _details(log.input_token_details)
        out_details, out_text = _details(log.output_token_details)
        count = token_usage.count
        logged = log.input_token, log.output_token, log.total_token, log.cached_tokens, log.reasoning_tokens
        counts = count(logged[0]), count(logged[1]), count(logged[2]), count(logged[3]), count(logged[4])
        usage = token_usage.normalise(*counts, in_details, out_details, log.chat_id)
        status = count(outer.response_code)
        flags = _label(outer.response_flags)
        request_id = _label(outer.request_id)
        response_id = _label(log.chat_id)
        collected = around.collected
        unique = bool(request_id or response_id or (collected and collected.get("__file_offset__")))

        extra: dict[str, Any] = {}
        if in_text:
            extra["input_token_details"] = msgspec.Raw(in_text)
        if out_text:
            extra["output_token_details"] = msgspec.Raw(out_text)
        if usage.convention != "openai":
            extra["convention"] = usage.convention
        if usage.convention != "openai" or not _plain(logged, counts):
            extra["raw"] = {name: value for name, value in zip(_COUNTS, logged, strict=True) if value is not None}
        _add_extra(extra, log, unknown, outer, around.others, flags)
        round_ = Round(
            key=xxhash.xxh3_128_digest(record) if collected is None else _key_of_collected(collected, unique),
            source="higress",
            started_at=_started_at(outer, collected),
            session_id=session_id,
            session_source=source,
            session_aliases=aliases,
            model=_model(log),
            usage=usage,
            success=_success(status, flags, usage.known or log.model is not None),
            status=status,
            latency_ms=_milliseconds(log.llm_service_duration, outer.duration),
            ttft_ms=_milliseconds(log.llm_first_token_duration),
            response_type=_label(log.response_type),
            has_tool_calls=conversation is not None and conversation.tool_calls not in _NO_CALLS,
            turn=token_usage.count(log.chat_round),
            opening=opening,
            consumer=_label(log.consumer),
            route=_label(outer.route_name),
            function=_label(log.function),
            user_id=_label(log.user_id),
            host=_host(outer),
            request_id=request_id,
            response_id=response_id,
            conversation=conversation,
            extra=_encode(extra) if extra else None,
        )
        return Reading(round_, unique)

    def _conversation(
        self, record: bytes, log: AiLog, known: _Seen | None, where: tuple[bytes, int, int] | None
    ) -> tuple[Conversation | None, tuple[str, ...], int | None]:
        """What was said, the session names that OpenClaw wrote into it, and what stands for its beginning."""
        raw = bytes(log.messages)
        question, system, answer = _text(log.question), _text(log.system), _text(log.answer)
        reasoning, tool_calls = _text(log.reasoning), _text(log.tool_calls)
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
            listed = [bytes(message) for message in _decode_raw_list(raw)]
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
                opening = _opening(messages)
                if b"Runtime: " in raw or (system is not None and b"Runtime: " in system):
                    names = _session_names(messages, system)
                settled = where is not None and _settled(messages)
                new = raw[1:-1]
            end = stays = base.after(messages)
            if messages and is_passing(messages[-1]):
                passing = 1
                stays = base.after(messages[:-1])
                new = new.removesuffix(messages[-1]).removesuffix(b",")
                if question is not None and len(messages) > 1 and is_passing(question):
                    question = _content(messages[-2])
            if where is not None and settled:
                self._remember(record, where, known, new, start, stays, names, opening)
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
        end = self._record.find(b'","', len(_HEAD))
        fields = _decode_fields(_decode_text(self._record[len(_HEAD) - 1 : end + 1]))
        return tuple(bytes(message) for message in _decode_raw_list(fields["messages"]))


class _OuterShape:
    """A decoder for lines with exactly these fields, all strings."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.quotes = 4 * len(names)
        fields = [
            (name if name in _USED else f"f{index}", str, msgspec.field(name=name)) for index, name in enumerate(names)
        ]
        shape = msgspec.defstruct(
            "OuterLine", fields, bases=(_Outer,), kw_only=True, forbid_unknown_fields=True, gc=False
        )
        self._decode: Callable[[bytes], _Outer] = msgspec.json.Decoder(shape).decode  # type: ignore[assignment]
        self._others = [
            (name, f"f{index}") for index, name in enumerate(names) if name not in _USED and name not in _DROPPED
        ]

    def decode(self, rest: bytes) -> _Around:
        line = self._decode(rest)
        return _Around(line, {name: getattr(line, field) for name, field in self._others} if self._others else {})


def _pairs(text: bytes) -> _Pairs:
    """A JSON object with its pairs in order. Raw control characters are let pass: headers may hold a tab."""
    # Header values may also hold any byte from 0x80 up.
    value = json.loads(
        text.decode("utf-8", "replace"), object_pairs_hook=_Pairs, parse_constant=_no_number, strict=False
    )
    if not isinstance(value, _Pairs):
        raise ValueError("not an object")
    return value


def _no_number(_: str) -> None:
    """NaN and the infinities are not JSON, but Python reads them."""


def _clean(value: Any) -> Any:
    """The value without lone surrogates, which can be neither stored nor shown."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value.resolved() if isinstance(value, _Pairs) else value


def _salvaged(rest: bytes) -> dict[str, Any]:
    """The fields of a line whose header values broke it, found by their names in the template's order.

    A quote in a header must not hide a call that was paid for. Values are taken up to the next
    field, literally, since nothing in them was escaped.
    """
    found: dict[str, Any] = {}
    at = 0
    for name in _TEMPLATE[1:]:
        begin = rest.find(b'"%s":"' % name.encode(), at)
        if begin < 0:
            continue
        begin += len(name) + 4
        at = rest.find(b'","', begin)
        if at < 0:
            at = rest.rfind(b'"', begin)
            if at < 0:
                break
        found[name] = rest[begin:at].decode("utf-8", "replace")
    if not rest.endswith(b'"}') or not {"response_code", "start_time"} <= found.keys():
        raise ValueError("damaged, not only by headers")
    return found


def _around(outer: Mapping[str, Any]) -> _Around:
    line = _Outer(**{name: value for name, value in outer.items() if name in _USED})
    others = {
        name: value
        for name, value in outer.items()
        if name not in _USED and name not in _DROPPED and not name.startswith("__")
    }
    return _Around(line, others, outer if any(name.startswith("__") for name in outer) else None)


class _Pairs:
    """The pairs of a JSON object in their order, repeated names included."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = [(_clean(name), _clean(value)) for name, value in items]

    def resolved(self) -> dict[str, Any]:
        """One value a name. Where names repeat, those that stand in the template's order are the real ones."""
        plain = dict(self.items)
        if len(plain) == len(self.items):
            return plain
        real: dict[str, Any] = {}
        place = 0
        for name, value in self.items:
            if name in _TEMPLATE[place:]:
                place = _TEMPLATE.index(name) + 1
                real[name] = value
            elif name not in _TEMPLATE:
                real.setdefault(name, value)
        for name, value in self.items:  # another order of the fields
            real.setdefault(name, value)
        return real


def _lenient(fields: dict[str, msgspec.Raw]) -> AiLog:
    """The known keys where one of them has a type that Higress does not write."""
    values: dict[str, Any] = {}
    for name, raw in fields.items():
        if name in _RAWS:
            values[name] = raw
        elif name in _KNOWN:
            try:
                value = _decode_any(raw)
            except msgspec.MsgspecError:  # a number beyond all bounds
                continue
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                values[name] = str(value) if name in _TEXTS else value
    return AiLog(**values)


def _is_round(log: AiLog, unknown: Mapping[str, msgspec.Raw], method: object) -> bool:
    """A request to a model; ``GET /v1/models`` on an AI route has an ``ai_log``, too, and is none."""
    if log.chat_round is not None or log.model or log.chat_id:
        return True
    if log.input_token is not None or log.output_token is not None or bytes(log.messages) or bytes(log.question):
        return True
    if method in ("GET", "HEAD", "OPTIONS"):
        return False
    return bool(log.cache_status or log.token_ratelimit_status) or any(n.startswith("safecheck_") for n in unknown)


def _session_names(messages: tuple[bytes, ...], system: bytes | None) -> tuple[str, ...]:
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


def _named(header: str, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
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


def _opening(messages: tuple[bytes, ...]) -> int | None:
    """A number for what a user said first; looked for as far as `_settled` says that nothing changes it."""
    for message in messages[:_BEGINNING]:
        if _is_users(message) and not is_passing(message):
            return xxhash.xxh3_64_intdigest(message) >> 1  # SQLite's integers have a sign
    return None


def _content(message: bytes) -> bytes | None:
    """The content of a message as it was logged."""
    fields = _decode_fields(message)
    return _text(fields["content"]) if "content" in fields else None


def _settled(messages: tuple[bytes, ...]) -> bool:
    """Whether messages that follow can't change what `_session_names` finds."""
    return len(messages) >= _BEGINNING or any(_is_users(m) and not is_passing(m) for m in messages)


def _is_users(message: bytes) -> bool:
    return b'"role":"user"' in message or b'"role": "user"' in message


def _text(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text in (b"", _NULL) else text


_NO_DETAILS: tuple[Mapping[str, Any], bytes] = ({}, b"")


def _details(raw: msgspec.Raw) -> tuple[Mapping[str, Any], bytes]:
    """Token details - an object, or an object as a JSON string, or nothing - with their JSON."""
    text = bytes(raw)
    if text in (b"", _NULL, b"{}", b'""'):
        return _NO_DETAILS
    try:
        if text.startswith(b'"'):
            text = _decode_text(text).encode()
        value = _decode_any(text)
    except ValueError:
        return _NO_DETAILS
    return (value, text) if isinstance(value, dict) and value else _NO_DETAILS


def _plain(logged: tuple[int | float | str | None, ...], counts: tuple[int | None, ...]) -> bool:
    """Whether the counts say all that was logged: none was dropped as damage, and the total is their sum."""
    if logged != counts and any(c is None and v is not None for v, c in zip(logged, counts, strict=True)):
        return False
    return counts[2] is None or counts[2] == (counts[0] or 0) + (counts[1] or 0)


def _label(value: Any) -> str | None:
    """A name or an identifier of bounded length; None for what is missing or can't be one."""
    if type(value) is not str:
        return str(value) if type(value) in (int, float) and abs(value) < 10**18 else None
    if value in ("-", ""):
        return None
    return value if len(value) <= 256 else bounded(value)


def _model(log: AiLog) -> str | None:
    for name in (log.model, log.request_model):
        if name and name not in ("unknown", "UNKNOWN", "-"):
            return bounded(name)
    return None


def _success(status: int | None, flags: str | None, answered: bool) -> bool:
    if flags is not None and not _FAILED_FLAGS.isdisjoint(flags.split(",")):
        return False
    return answered if status is None else 200 <= status < 400


def _milliseconds(*values: object) -> int | None:
    for value in values:
        if isinstance(value, str):
            value = value.strip()
            if not re.fullmatch(r"\d{1,10}(\.\d{1,9})?", value):
                continue
            value = float(value)
        if isinstance(value, int | float) and 0 <= value < 10**10:
            return round(value)
    return None


def _host(outer: _Outer) -> str | None:
    """``llm-openai.internal.dns`` from ``outbound|443||llm-openai.internal.dns``, else the upstream's address."""
    cluster = _label(outer.upstream_cluster)
    if cluster is not None:
        name = cluster.rpartition("|")[2]
        if name:
            return name
    return _label(outer.upstream_host)


def _started_at(outer: _Outer, collected: Mapping[str, Any] | None) -> int:
    for value in (outer.start_time, outer.timestamp, outer.time, collected and collected.get("__time__")):
        if value is not None and (moment := epoch_ms(value)) is not None:
            return moment
    # When a container runtime took the line is no help: it differs between copies of one record.
    return UNKNOWN_TIME


def _key_of_collected(outer: Mapping[str, Any], unique: bool) -> bytes:
    """The key of a record that a collector wrote anew: its own fields, in a fixed order.

    A collector's fields differ between exports of one record; its offset counts only where
    nothing else tells two records apart.
    """
    own = {name: value for name, value in outer.items() if not name.startswith("__")}
    if unique and not _label(own.get("request_id")):
        own["__file_offset__"] = outer.get("__file_offset__")
    return xxhash.xxh3_128_digest(json.dumps(own, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))


def _add_extra(
    extra: dict[str, Any],
    log: AiLog,
    unknown: Mapping[str, msgspec.Raw],
    outer: _Outer,
    others: Mapping[str, Any],
    flags: str | None,
) -> None:
    """Add what has no field of its own."""
    if log.api and log.api != "-":
        extra["api"] = log.api
    if log.request_model:
        extra["request_model"] = log.request_model
    if log.api_type:
        extra["api_type"] = log.api_type
    if log.cache_status:
        extra["cache_status"] = log.cache_status
    if log.token_ratelimit_status:
        extra["token_ratelimit_status"] = log.token_ratelimit_status
    if log.fallback_from:
        extra["fallback_from"] = log.fallback_from
    if flags:
        extra["response_flags"] = flags
    if outer.response_code_details != "via_upstream" and (details := _short(outer.response_code_details)):
        extra["response_code_details"] = details
    if outer.path != "/v1/chat/completions" and (path := _short(outer.path)):
        extra["path"] = path.partition("?")[0]  # what follows may hold keys, or what was asked
    if outer.trace_id != "-" and (trace := _short(outer.trace_id)):
        extra["trace_id"] = trace
    fields: dict[str, Any] = dict(unknown)
    for name, value in others.items():
        if value not in ("-", "", None):
            fields[name] = value
    if fields:
        extra["fields"] = fields


def _short(value: Any) -> str | None:
    return None if value in ("-", "", None) else str(value)[:512]
