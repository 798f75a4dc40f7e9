"""A small store whose every round is written down in the test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from monitor.answers.base import Asking
from monitor.prices.money import Cost
from monitor.rounds import Conversation, Position, Round, Usage
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore

#: 2026-02-01T09:30:00Z
NOON = 1_769_938_200_000
USD = Cost("priced", 1_500_000, "USD", "list A")
CNY = Cost("priced", 20_000_000, "CNY", "list B")
FREE = Cost("free", 0, "CNY", "list B")
UNPRICED = Cost("unpriced")
NOTHING = Cost("none")


def made(number: int, cost: Cost = USD, **fields: Any) -> PricedRound:
    """Round `number`, a minute after the one before; 100 tokens in and 10 out unless said otherwise."""
    given: dict[str, Any] = {
        "key": number.to_bytes(16, "big"),
        "source": "higress",
        "started_at": NOON + number * 60_000,
        "session_id": "agent:main:main",
        "session_source": "header",
        "model": "gpt-5.4",
        "usage": Usage(100, 10),
        "status": 200,
        "latency_ms": 1000,
    }
    return PricedRound(Round(**{**given, **fields}), cost)


def said(*texts: str, answer: str | None = None) -> Conversation:
    """A conversation of user messages with an answer."""
    messages = tuple(msgspec.json.encode({"content": text, "role": "user"}) for text in texts)
    return Conversation(
        messages,
        Position.start().after(messages),
        question=msgspec.json.encode(texts[-1]) if texts else None,
        answer=None if answer is None else msgspec.json.encode(answer),
    )


def asking(folder: Path, rounds: Iterable[PricedRound], **more: Any) -> Asking:
    """A question about a store that holds `rounds`."""
    store = SqliteStore(folder, price_version="v1")
    store.add(Batch(rounds=list(rounds)))
    return Asking(store, as_of=NOON + 86_400_000, **more)
