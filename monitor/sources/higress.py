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
from typing import Any, Literal, TypeVar

import msgspec
import xxhash

from monitor.rounds import UNKNOWN_TIME, Conversation, Position, Round, SessionSource
from monitor.session_keys import bounded, runtime_line
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
_TEXTS = frozenset(
    ("api", "session_id", "response_type", "chat_id", "model", "request_model", "consumer", "function")
    + ("user_id", "api_type", "cache_status", "token_ratelimit_status", "fallback_from")
)
_RAWS = frozenset(
    ("messages", "question", "system", "answer", "reasoning", "tool_calls")
    + ("input_token_details", "output_token_details")
)
_NULL = b"null"
#: Outer fields of Higress' default format that nothing here needs: sizes, addresses, names of sockets.
_DROPPED = frozenset(
    ("ai_log", "bytes_received", "bytes_sent", "downstream_local_address", "downstream_remote_address")
    + ("istio_policy_status", "protocol", "requested_server_name", "upstream_local_address")
    + ("upstream_service_time", "upstream_transport_failure_reason", "x_forwarded_for")
)
_USED = frozenset(
    ("authority", "duration", "method", "path", "request_id", "response_code", "response_flags", "route_name")
    + ("start_time", "trace_id", "upstream_cluster", "upstream_host", "user_agent", "response_code_details")
    + ("timestamp", "time", "cluster_id")
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
_LEARNED_LIMIT = 64
_SKIP_FROM = 4096
_HEAD = b'{"ai_log":"'
_MESSAGES = b'\\"messages\\":['
_SESSION = b'\\"session_id\\":\\"'

_decode_text = msgspec.json.Decoder(str).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.decode
_encode = msgspec.json.encode
_T = TypeVar("_T")


class _Seen(msgspec.Struct, gc=False):
    """The beginning of a conversation as it stood, escaped, in an earlier line."""

    size: int
    hash: int
    position: Position
    names: tuple[str, ...]


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

    def forget(self) -> None:
        """Drop what was remembered of conversations."""
        self._seen.clear()

    def read(self, record: bytes, received_ms: int | None = None) -> Reading | Skipped:
        """One record without its line end and its container wrapper.

        `received_ms` is when a container runtime or collector took the line; it stands in for a
        request time only where the record has none.
        """
        record = record.rstrip(b"\r\n")
        if not record or record.isspace():
            return Skipped("blank")
        try:
            return self._read(record, received_ms)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return Skipped("malformed" if b'"ai_log"' in record else "foreign", record)

    # -- the outer line ---------------------------------------------------------------------------

    def _read(self, record: bytes, received_ms: int | None) -> Reading | Skipped:
        if record.startswith(_HEAD):
            # An escaped body can't contain this sequence: inside it every quote has its backslash.
            end = record.find(b'","', len(_HEAD))
            if end > 0:
                if end - len(_HEAD) <= 1:  # "-" or empty
                    return Skipped("non_ai")
                outer = self._fast_outer(record, end + 2)
                if outer is None:
                    outer = self._slow_outer(record)
                return self._from_body(record, len(_HEAD), end, outer, received_ms)
        outer = self._slow_outer(record)
        body = outer.get("ai_log")
        if not isinstance(body, str):
            if isinstance(body, Mapping):
                text = _encode(body).decode()
            elif body is None and "ai_log" in outer:
                return Skipped("non_ai")
            else:
                inner = next((outer[k] for k in ("content", "message", "log") if isinstance(outer.get(k), str)), None)
                if inner is not None and inner.lstrip().startswith("{"):
                    return self._read(inner.strip().encode(), received_ms)
                return Skipped("malformed" if "ai_log" in outer else "foreign", record)
        else:
            text = body
        if text in ("-", ""):
            return Skipped("non_ai")
        if text.startswith('{\\"'):
            # accessLogEncoding: JSON escapes what was escaped already.
            text = _decode_text(f'"{text}"')
        return self._build(record, text, None, None, outer, received_ms)

    def _fast_outer(self, record: bytes, at: int) -> Mapping[str, Any] | None:
        """The fields behind ``ai_log`` where they are exactly a known set of plain strings, else None.

        With n fields known to be there and 4n quotes, no field can stand twice and nothing can be
        smuggled in between.
        """
        rest = b"{" + record[at:]
        if b"\\" in rest:
            return None
        quotes = rest.count(b'"')
        for shape in self._outer:
            if shape.quotes == quotes:
                try:
                    return shape.decode(rest)
                except msgspec.MsgspecError:
                    continue
        return None

    def _slow_outer(self, record: bytes) -> Mapping[str, Any]:
        try:
            text = record.decode()
        except UnicodeDecodeError:
            # Header values may hold any byte from 0x80 up.
            text = record.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
        value = json.loads(text, object_pairs_hook=_Pairs, strict=False)
        if not isinstance(value, _Pairs):
            raise ValueError("not an object")
        if record.startswith(_HEAD) and not value.repeated and all(type(v) is str for _, v in value.items):
            names = tuple(name for name, _ in value.items[1:])
            if b"\\" not in record[record.find(b'","', len(_HEAD)) :] and len(self._outer) < 8:
                shape = _OuterShape(names)
                if all(shape.names != known.names for known in self._outer):
                    self._outer.append(shape)
        return value.resolved()

    # -- ai_log -----------------------------------------------------------------------------------

    def _from_body(
        self, record: bytes, start: int, end: int, outer: Mapping[str, Any], received_ms: int | None
    ) -> Reading | Skipped:
        """Parse ``ai_log`` (``record[start:end]``, escaped), skipping the part of ``messages`` that is known."""
        at = record.find(_MESSAGES, start, end) if end - start > _SKIP_FROM else -1
        if at > 0:
            at += len(_MESSAGES)
            guess = self._guess(record, at, end)
            known = self._recognise(guess, memoryview(record)[at:end])
            if known is not None:
                short = b"".join((b'"', record[start:at], self._marker_text, record[at + known.size : end], b'"'))
                try:
                    text = _decode_text(short)
                    reading = self._build(record, text, known, (guess, at, end), outer, received_ms)
                except (msgspec.MsgspecError, ValueError):
                    reading = None
                if reading is not None:
                    return reading
            text = _decode_text(record[start - 1 : end + 1])
            reading = self._build(record, text, None, (guess, at, end), outer, received_ms)
        else:
            text = _decode_text(record[start - 1 : end + 1])
            reading = self._build(record, text, None, None, outer, received_ms)
        return reading

    def _guess(self, record: bytes, at: int, end: int) -> bytes:
        """A key under which this conversation was probably seen; a wrong one costs time, nothing else."""
        near_end = max(at, end - 16384)
        found = record.rfind(_SESSION, near_end, end)
        if found > 0:
            found += len(_SESSION)
            return record[found : min(found + 400, record.find(b'\\"', found, end) % (end + 1))]
        return xxhash.xxh3_64_digest(record[at : at + 512])

    def _recognise(self, guess: bytes, region: memoryview) -> _Seen | None:
        candidates = self._seen.get(guess)
        if not candidates:
            return None
        for seen in candidates:
            if seen.size < len(region) and xxhash.xxh3_64_intdigest(region[: seen.size]) == seen.hash:
                self._seen.move_to_end(guess)
                return seen
        return None

    def _remember(
        self,
        record: bytes,
        where: tuple[bytes, int, int],
        known: _Seen | None,
        new: bytes,
        position: Position,
        names: tuple[str, ...],
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
        seen = _Seen(size, xxhash.xxh3_64_intdigest(memoryview(record)[at : at + size]), position, names)
        candidates = self._seen.setdefault(guess, [])
        if known in candidates:
            candidates.remove(known)
        candidates.append(seen)
        candidates.sort(key=lambda s: -s.size)
        del candidates[8:]
        if len(self._seen) > 4096:
            self._seen.popitem(last=False)

    def _decode_log(self, text: str) -> tuple[AiLog, dict[str, msgspec.Raw]]:
        """The known keys, and the others as they stand."""
        try:
            log: AiLog = self._log_decoder.decode(text)
        except msgspec.ValidationError:
            fields = _decode_fields(text)  # raises where it is not an object
            unknown = [name for name in fields if name not in _KNOWN and name not in self._learned]
            if unknown and len(self._learned) + len(unknown) <= _LEARNED_LIMIT:
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
        self._learned.update(dict.fromkeys(names))
        fields: list[tuple[str, type, Any]] = [
            (f"extra_{index}", msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw()))
            for index, name in enumerate(self._learned)
        ]
        shape = msgspec.defstruct("LearnedAiLog", fields, bases=(AiLog,), forbid_unknown_fields=True, gc=False)
        self._log_decoder = msgspec.json.Decoder(shape)

    # -- the round --------------------------------------------------------------------------------

    def _build(
        self,
        record: bytes,
        text: str,
        known: _Seen | None,
        where: tuple[bytes, int, int] | None,
        outer: Mapping[str, Any],
        received_ms: int | None,
    ) -> Reading | Skipped:
        log, unknown = self._decode_log(text)
        method = outer.get("method")
        if not _is_round(log, unknown, method):
            return Skipped("non_ai")
        conversation, names = self._conversation(record, log, known, where)
        session_id: str | None
        source: SessionSource | None
        aliases: tuple[str, ...]
        if log.session_id:
            session_id, source, aliases = bounded(log.session_id), "header", ()
        elif names:
            session_id, source, aliases = bounded(names[0]), "inferred", tuple(map(bounded, names[1:]))
        else:
            session_id, source, aliases = None, None, ()

        in_details, out_details = _details(log.input_token_details), _details(log.output_token_details)
        usage = token_usage.normalise(
            token_usage.count(log.input_token),
            token_usage.count(log.output_token),
            token_usage.count(log.total_token),
            token_usage.count(log.cached_tokens),
            token_usage.count(log.reasoning_tokens),
            in_details,
            out_details,
            log.chat_id,
        )
        status = token_usage.count(_present(outer.get("response_code")))
        flags = _present(outer.get("response_flags"))
        request_id = _present(outer.get("request_id"))
        started_at = _started_at(outer, received_ms)
        collected = any(name.startswith("__") for name in outer)
        unique = bool(request_id or log.chat_id or outer.get("__file_offset__"))
        round_ = Round(
            key=_key_of_collected(outer, unique) if collected else xxhash.xxh3_128_digest(record),
            source="higress",
            started_at=started_at,
            session_id=session_id,
            session_source=source,
            session_aliases=aliases,
            model=_model(log),
            usage=usage,
            success=_success(status, flags, usage.known or log.model is not None),
            status=status,
            latency_ms=_milliseconds(log.llm_service_duration, outer.get("duration")),
            ttft_ms=_milliseconds(log.llm_first_token_duration),
            response_type=log.response_type or None,
            has_tool_calls=bytes(log.tool_calls) not in (b"", _NULL, b"[]", b'""'),
            consumer=log.consumer or None,
            route=_present(outer.get("route_name")),
            function=log.function or None,
            user_id=log.user_id or None,
            host=_host(outer),
            request_id=request_id,
            response_id=log.chat_id or None,
            conversation=conversation,
            extra=_extra(log, unknown, outer, usage.convention, in_details, out_details, flags),
        )
        return Reading(round_, unique)

    def _conversation(
        self, record: bytes, log: AiLog, known: _Seen | None, where: tuple[bytes, int, int] | None
    ) -> tuple[Conversation | None, tuple[str, ...]]:
        """What was said, and the session names that OpenClaw wrote into it."""
        raw = bytes(log.messages)
        texts = [_text(log.question), _text(log.system), _text(log.answer), _text(log.reasoning), _text(log.tool_calls)]
        question, system, answer, reasoning, tool_calls = texts
        if not raw and not any(texts):
            return None, ()
        base = Position.start(system)
        messages: tuple[bytes, ...] = ()
        truncated: bytes | None = None
        names: tuple[str, ...] = ()
        whole: Callable[[], tuple[bytes, ...]] | None = None
        end = base
        if raw[:1] == b"[":
            listed = [bytes(message) for message in _decode_raw_list(raw)]
            if known is not None:
                # The number proves that the array that was cut is the array that was read.
                if not listed or listed[0] != self._marker_text or (known.position.count == 0 and system):
                    raise ValueError("another array was cut")
                messages, base, names = tuple(listed[1:]), known.position, known.names
                whole = _Whole(record)
                new = raw[1 + len(self._marker_text) : -1]
            else:
                messages = tuple(listed)
                names = _session_names(messages, system)
                new = raw[1:-1]
            end = base.after(messages)
            if where is not None and (listed or known):
                self._remember(record, where, known, new, end, names)
        elif known is not None:
            raise ValueError("another array was cut")
        elif raw[:1] == b'"':
            truncated = raw
        conversation = Conversation(
            messages, end, base, whole, system, truncated, question, answer, reasoning, tool_calls
        )
        return conversation, names


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
        fields = [(f"f{i}", str, msgspec.field(name=name)) for i, name in enumerate(names)]
        shape = msgspec.defstruct("OuterLine", fields, forbid_unknown_fields=True, gc=False)
        self._decoder = msgspec.json.Decoder(shape)
        self._wanted = [(name, f"f{i}") for i, name in enumerate(names) if name not in _DROPPED]

    def decode(self, rest: bytes) -> Mapping[str, Any]:
        line = self._decoder.decode(rest)
        return {name: getattr(line, field) for name, field in self._wanted}


class _Pairs:
    """The pairs of a JSON object in their order, repeated names included."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = [(name, value.resolved() if isinstance(value, _Pairs) else value) for name, value in items]

    @property
    def repeated(self) -> bool:
        return len({name for name, _ in self.items}) != len(self.items)

    def resolved(self) -> dict[str, Any]:
        """One value a name. Where names repeat, those that stand in the template's order are the real ones."""
        if not self.repeated:
            return dict(self.items)
        real: dict[str, Any] = {}
        place = 0
        for name, value in self.items:
            if name in _TEMPLATE[place:]:
                place = _TEMPLATE.index(name) + 1
                real[name] = value
            elif name not in real and name not in _TEMPLATE:
                real[name] = value
        return real


def _lenient(fields: dict[str, msgspec.Raw]) -> AiLog:
    """The known keys where one of them has a type that Higress does not write."""
    values: dict[str, Any] = {}
    for name, raw in fields.items():
        if name in _RAWS:
            values[name] = raw
        elif name in _KNOWN:
            value = _decode_any(raw)
            if name in _TEXTS:
                values[name] = value if isinstance(value, str) else None if value is None else bytes(raw).decode()
            elif isinstance(value, int | float | str) and not isinstance(value, bool):
                values[name] = value
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

    It stands at the end of the first user message (2026.9) or in the system prompt (2026.7); later
    messages are not looked at, since anybody may have written them.
    """
    texts = [system] if system else []
    for message in messages[:4]:
        texts.append(message)
        if b'"role":"user"' in message or b'"role": "user"' in message:
            break
    for text in reversed(texts):
        if b"Runtime: " in text:
            found = runtime_line(text.decode("utf-8", "replace").replace("\\n", "\n"))
            if found is not None:
                return found if found[1] is not None else found[:1]  # type: ignore[return-value]
    return ()


def _text(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text in (b"", _NULL) else text


def _details(raw: msgspec.Raw) -> dict[str, Any]:
    """Token details: an object, or an object as a JSON string, or nothing."""
    text = bytes(raw)
    if text in (b"", _NULL, b"{}", b'""'):
        return {}
    try:
        value = _decode_any(text)
        if isinstance(value, str):
            value = _decode_any(value)
    except msgspec.MsgspecError:
        return {}
    return value if isinstance(value, dict) else {}


def _present(value: Any) -> Any:
    return None if value in ("-", "", None) else value


def _model(log: AiLog) -> str | None:
    for name in (log.model, log.request_model):
        if name and name not in ("unknown", "UNKNOWN", "-"):
            return name
    return None


def _success(status: int | None, flags: str | None, answered: bool) -> bool:
    if flags is not None and not _FAILED_FLAGS.isdisjoint(str(flags).split(",")):
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


def _host(outer: Mapping[str, Any]) -> str | None:
    """``llm-openai.internal.dns`` from ``outbound|443||llm-openai.internal.dns``, else the upstream's address."""
    cluster = _present(outer.get("upstream_cluster"))
    if isinstance(cluster, str):
        name = cluster.rsplit("|", 1)[-1]
        if name:
            return name[:253]
    host = _present(outer.get("upstream_host"))
    return str(host)[:253] if host is not None else None


def _started_at(outer: Mapping[str, Any], received_ms: int | None) -> int:
    for name in ("start_time", "timestamp", "time", "__time__"):
        moment = epoch_ms(outer.get(name)) if name in outer else None
        if moment is not None:
            return moment
    return received_ms if received_ms is not None else UNKNOWN_TIME


def _key_of_collected(outer: Mapping[str, Any], unique: bool) -> bytes:
    """The key of a record that a collector wrote anew: its own fields, in a fixed order.

    A collector's fields differ between exports of one record; its offset counts only where
    nothing else tells two records apart.
    """
    own = {name: value for name, value in outer.items() if not name.startswith("__")}
    if unique and not _present(own.get("request_id")):
        own["__file_offset__"] = outer.get("__file_offset__")
    return xxhash.xxh3_128_digest(json.dumps(own, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))


def _extra(
    log: AiLog,
    unknown: Mapping[str, msgspec.Raw],
    outer: Mapping[str, Any],
    convention: str,
    in_details: Mapping[str, Any],
    out_details: Mapping[str, Any],
    flags: str | None,
) -> bytes | None:
    """What has no field of its own, as JSON: raw counts where they differ from ours, details, new fields."""
    extra: dict[str, Any] = {}
    if in_details:
        extra["input_token_details"] = in_details
    if out_details:
        extra["output_token_details"] = out_details
    if convention != "openai":
        extra["convention"] = convention
        extra["raw"] = {
            name: value
            for name in ("input_token", "output_token", "total_token", "cached_tokens", "reasoning_tokens")
            if (value := getattr(log, name)) is not None
        }
    if log.api and log.api != "-":
        extra["api"] = log.api
    for name in ("request_model", "api_type", "cache_status", "token_ratelimit_status", "fallback_from"):
        value = getattr(log, name)
        if value:
            extra[name] = value
    if flags:
        extra["response_flags"] = flags
    details = _present(outer.get("response_code_details"))
    if details and details != "via_upstream":
        extra["response_code_details"] = details
    for name in ("path", "trace_id"):
        value = _present(outer.get(name))
        if value and value != "/v1/chat/completions":
            extra[name] = value if isinstance(value, str) and len(value) <= 512 else str(value)[:512]
    fields: dict[str, Any] = {name: _decode_any(raw) for name, raw in unknown.items()}
    for name, value in outer.items():
        if name not in _USED and name not in _DROPPED and not name.startswith("__") and _present(value) is not None:
            fields[name] = value
    if fields:
        extra["fields"] = fields
    return _encode(extra) if extra else None
