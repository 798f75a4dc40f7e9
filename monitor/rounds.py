"""One model request with its answer: the one fact that every source yields.

A `Round` is immutable and says only what its source said. It holds no price: what a round
cost is worked out from it by `monitor.prices`, at the round's own date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

#: How the token counts of a record related to each other before they were normalised.
#:
#: - ``openai``: input holds cache reads, output holds reasoning (OpenAI, Qwen, DeepSeek, Zhipu, Kimi).
#: - ``anthropic``: cache reads and writes came on top of input (native ``/v1/messages``).
#: - ``messages``: Anthropic's field names over inclusive counts (an OpenAI upstream behind ``/v1/messages``).
#: - ``gemini``: reasoning ("thoughts") came on top of output (native ``generateContent``).
#: - ``exclusive_reasoning``: reasoning came on top of output under OpenAI's names (xAI chat).
#: - ``inferred_reasoning``: reasoning is only visible as the part of the total that is neither input nor output.
#: - ``exclusive_cache``: cache counts came on top of input under OpenAI's names (Bedrock behind ai-proxy).
#: - ``openclaw``: a transcript's counts; cache reads and writes came on top of input.
#: - ``openclaw_upper_bound``: the same from a release that added reasoning to output although it was in it, and
#:   kept no count of it: output can be too high by what was reasoned.
Convention = Literal[
    "openai",
    "anthropic",
    "messages",
    "gemini",
    "exclusive_reasoning",
    "inferred_reasoning",
    "exclusive_cache",
    "openclaw",
    "openclaw_upper_bound",
]

SessionSource = Literal["header", "inferred"]

#: Start time of a round whose record has no usable time: fixed, so that every reading places it alike.
UNKNOWN_TIME = 0

#: Counts above this are damage, not usage (a thousand times the largest context window on sale).
MAX_PLAUSIBLE_TOKENS = 10**10


#: What `Round.extra` has where a round was filled in from a transcript for a line that is lost.
BACKFILLED = "backfilled"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts of one round, inclusive: parts are never larger than what holds them.

    `input_tokens` holds `cached_tokens` and `cache_write_tokens`; `output_tokens` holds
    `reasoning_tokens`. None means that the source did not say; it is not zero.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    #: The part of `cache_write_tokens` that was written for an hour (Anthropic's 1h cache).
    cache_write_1h_tokens: int | None = None
    convention: Convention = "openai"
    #: The record is known to have lost something that costs money, so a cost can only be a lower bound.
    lower_bound: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError where a part is negative or larger than the whole."""
        write = self.cache_write_tokens or 0
        for whole, part, what in (
            (self.input_tokens, (self.cached_tokens or 0) + write, "cache tokens exceed input tokens"),
            (self.output_tokens, self.reasoning_tokens or 0, "reasoning tokens exceed output tokens"),
            (write, self.cache_write_1h_tokens or 0, "1h cache writes exceed cache writes"),
        ):
            if part < 0 or (whole is not None and not part <= whole <= MAX_PLAUSIBLE_TOKENS):
                raise ValueError(f"{what}: {part} of {whole}")

    @property
    def known(self) -> bool:
        """Whether the source counted this round at all."""
        return self.input_tokens is not None or self.output_tokens is not None

    @property
    def total_tokens(self) -> int | None:
        """Input and output together, or None where neither was counted."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)


NO_USAGE = Usage()


class ReportedCost(msgspec.Struct, frozen=True, gc=False):
    """What the source itself says that a round cost; kept beside our own figure.

    Only in our own usage records it is that figure: they are written with it (`monitor.prices.money.stated`).
    """

    #: Nano-units (1e-9) of the currency unit.
    nano: int
    #: ISO 4217, such as ``USD``.
    currency: str


class Position(msgspec.Struct, frozen=True, gc=False):
    """A place in a conversation: how many messages lie before it, and a digest that only they have.

    The digest folds message after message, so that it does not depend on how a conversation was
    cut into pieces. It is cryptographic, because clients control the text.
    """

    count: int
    digest: bytes

    @staticmethod
    def start(system: bytes | None = None) -> Position:
        """Before the first message; `system` is a system prompt that was logged beside the messages."""
        return START if system is None else Position(0, _digest(b"system", system))

    def after(self, messages: Sequence[bytes]) -> Position:
        """The position behind `messages`, which are JSON texts."""
        digest = self.digest
        for message in messages:
            digest = _digest(digest, message)
        return Position(self.count + len(messages), digest)

    def trail(self, messages: Sequence[bytes]) -> list[Position]:
        """The position behind each of `messages` in turn."""
        at, trail = self, []
        for message in messages:
            at = Position(at.count + 1, _digest(at.digest, message))
            trail.append(at)
        return trail


def _digest(parent: bytes, text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=20, salt=b"conversation", key=parent).digest()


START = Position(0, b"")


class Conversation(msgspec.Struct, frozen=True):
    """What was said in a round. Every text is JSON as it was logged, UTF-8.

    `messages` are only those after `base`; a reader that recognised the beginning does not parse
    it again. `whole` gives all of them, from the start.
    """

    messages: tuple[bytes, ...]
    end: Position
    base: Position = START
    whole: Callable[[], tuple[bytes, ...]] | None = None
    #: A system prompt that stood beside the messages (Anthropic's top-level ``system``).
    system: bytes | None = None
    #: ``messages`` as a JSON string, where the gateway cut them and they are no longer JSON.
    truncated: bytes | None = None
    question: bytes | None = None
    answer: bytes | None = None
    reasoning: bytes | None = None
    tool_calls: bytes | None = None
    #: How many of the last messages only this request has: the next one puts others in their place.
    passing: int = 0


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One model request with its answer. Times are milliseconds since 1970 in UTC, durations milliseconds."""

    #: 16 bytes that only this round has; the same however often and wherever its record is read.
    key: bytes
    #: Kind of source: ``higress``, ``openclaw`` or ``usage``.
    source: str
    #: Start of the request, or UNKNOWN_TIME.
    started_at: int
    session_id: str | None = None
    session_source: SessionSource | None = None
    #: Other names of the same session, such as OpenClaw's session id beside its session key.
    session_aliases: tuple[str, ...] = ()
    model: str | None = None
    usage: Usage = NO_USAGE
    success: bool = True
    #: HTTP status; 0 when no response was started.
    status: int | None = None
    latency_ms: int | None = None
    ttft_ms: int | None = None
    #: ``normal`` or ``stream``.
    response_type: str | None = None
    has_tool_calls: bool = False
    #: How many user messages the request held (Higress' ``chat_round``); it drops when a conversation starts anew.
    turn: int | None = None
    #: A number that stands for the first thing the user said: another one, and the conversation began anew.
    opening: int | None = None
    consumer: str | None = None
    route: str | None = None
    function: str | None = None
    user_id: str | None = None
    #: Who served the model: the gateway's name for its upstream, or the upstream's host name.
    host: str | None = None
    request_id: str | None = None
    response_id: str | None = None
    #: A cost that stands in the record (OpenClaw's transcripts, usage records).
    reported: ReportedCost | None = None
    conversation: Conversation | None = None
    #: What the source said besides, as a JSON object: raw counts, details, fields that are new to us.
    extra: bytes | None = None


def without_text(round_: Round) -> Round:
    """Only what is counted: no conversation, and no attribute that may hold a part of one."""
    return msgspec.structs.replace(round_, conversation=None, extra=extra_without_text(round_.extra))


def extra_without_text(extra: bytes | None) -> bytes | None:
    """What a source said besides, without the fields that clients fill."""
    if extra is None:
        return None
    known = msgspec.json.decode(extra)
    for name in ("fields", "path"):
        known.pop(name, None)
    return msgspec.json.encode(known) if known else None
