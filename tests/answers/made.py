"""A small store whose every round is written down in the test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

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


def scattered(*, days: int = 9, most: int = 25) -> st.SearchStrategy[list[PricedRound]]:
    """Rounds of the days around `NOON`, at several prices and at none."""
    usages = st.builds(Usage, st.none() | st.integers(0, 9000), st.none() | st.integers(0, 900))
    prices = st.one_of(
        st.builds(lambda nano: Cost("priced", nano, "USD", "list A"), st.integers(1, 10**12)),
        st.builds(lambda nano: Cost("priced", nano, "CNY", "list B"), st.integers(1, 10**12)),
        st.sampled_from([FREE, UNPRICED, NOTHING]),
    )
    fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {
            "cost": prices,
            "usage": usages,
            "started_at": st.integers(-days * 86_400_000, days * 86_400_000).map(lambda off: NOON + off),
            "model": st.sampled_from(["gpt-5.4", "qwen-plus", "<b>m</b>", None]),
            "function": st.sampled_from(["live", "'; --", None]),
            "user_id": st.sampled_from(["u1", "u2", "\x1b[2J", None]),
            "session_id": st.sampled_from(["agent:main:main", "b/../c", None]),
            "success": st.booleans(),
            "latency_ms": st.none() | st.integers(0, 90_000),
        }
    )
    return st.lists(fields, max_size=most).map(lambda rows: [made(number, **row) for number, row in enumerate(rows)])
