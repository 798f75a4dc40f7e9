"""Sessions with the gateway, their requests, and how each of these can end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from monitor.samples.profiles import Client, Model
from monitor.samples.texts import Exchange, Language

#: How far a request got: answered in full; answered with an error; never answered in full, so that only
#: what the request said is logged; cut off after the chunk that held the usage.
Phase = Literal["done", "error", "request", "cut"]

_RESET = "upstream_reset_before_response_started{remote_connection_failure,delayed_connect_error:_111}"
#: Status, response flags, details, how far it got.
Outcome = tuple[str, str, str, Phase]
FAILURES: tuple[Outcome, ...] = (
    ("429", "-", "via_upstream", "error"),
    ("429", "-", "via_upstream", "error"),
    ("500", "-", "via_upstream", "error"),
    ("400", "-", "via_upstream", "error"),
    ("503", "UH", "no_healthy_upstream", "error"),
    ("503", "UF,URX", _RESET, "error"),
    ("504", "UT", "response_timeout", "error"),
    ("0", "DC", "downstream_remote_disconnect", "request"),
    ("200", "DC", "downstream_remote_disconnect", "request"),
    ("200", "UC", "upstream_reset_after_response_started{connection_termination}", "request"),
    ("200", "DC", "downstream_remote_disconnect", "cut"),
)
WELL: Outcome = ("200", "-", "via_upstream", "done")


@dataclass(slots=True)
class Session:
    key: str | None
    #: The key that its client has for it, even if it does not send it.
    name: str | None
    conversation: str
    client: Client
    model: Model
    language: Language
    number: str
    consumer: str
    route: str
    left: int
    system: str
    #: Whether what is said is logged.
    spoken: bool
    #: Which exchange comes first.
    topic: int
    #: The logged form of the key.
    logged_key: str
    #: The logged form of ``messages``, without its brackets; it only ever grows at its end.
    history: bytearray = field(default_factory=bytearray)
    users: int = 0
    asked: int = 0
    exchange: Exchange | None = None
    #: The logged value of the last message's content.
    question: str = "null"
    #: Tokens in the context, and those of them that the provider has seen.
    context: int = 0
    seen: int = 0


@dataclass(slots=True)
class Turn:
    """One request on its way and how it will end."""

    session: Session
    start: int
    service: int
    first: int
    stream: bool
    outcome: Outcome
    metered: bool
    output: int
    thinking: int
    chat_id: str
    #: An id for each tool that the answer calls, and the tools.
    call_ids: tuple[str, ...]
    calls: tuple[tuple[str, str, str], ...]
