"""A store with any number of rounds, made without a log: what questions cost depends on what is kept only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from monitor.prices.money import Cost
from monitor.rounds import Round, Usage
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore

#: The session that is asked for: it has the same rounds in every store.
ASKED = "agent:main:discord:channel:1480012345678901234"
_ASKED_ROUNDS = 40
_BATCH = 20_000
START = 1_769_938_200_000
_SPAN_MS = 90 * 86_400_000
#: Sessions that speak at the same time, and rounds of a session on average.
_AT_ONCE = 200
_ROUNDS = 20
_MODELS = tuple((f"model-{n}", f"llm-{n % 5}.internal.dns", "USD" if n % 3 else "CNY") for n in range(12))
_CONSUMERS = tuple(f"team-{n}" for n in range(20))


def build(folder: Path, count: int) -> None:
    """Fill a store in `folder`: ninety days of `count` rounds, twelve models, twenty consumers."""
    store = SqliteStore(folder, keep_content=False, price_version="bench")
    try:
        batch: list[PricedRound] = []
        for priced in rounds(count):
            batch.append(priced)
            if len(batch) == _BATCH:
                store.add(Batch(rounds=batch))
                batch = []
        store.add(Batch(rounds=batch, as_of=START + _SPAN_MS))
    finally:
        store.close()


def rounds(count: int) -> Iterator[PricedRound]:
    """The rounds of a store, the oldest first."""
    r = random.Random(1)
    active = [_session(n) for n in range(_AT_ONCE)]
    sessions = _AT_ONCE
    asked_every = max(1, count // _ASKED_ROUNDS)
    for n in range(count):
        at = START + n * _SPAN_MS // count
        if n % asked_every == asked_every // 2:
            yield _round(r, at, ASKED, n // asked_every % 2, _CONSUMERS[0])
            continue
        slot = r.randrange(_AT_ONCE)
        if not n % _ROUNDS:
            active[slot] = _session(sessions)
            sessions += 1
        session_id, number = active[slot]
        model = number % 12 if r.random() < 0.97 else r.randrange(12)
        if number % 50 == 49:
            yield _round(r, at, None, model, _CONSUMERS[number % 3])
        else:
            yield _round(r, at, session_id, model, _CONSUMERS[number % 20])


def _session(number: int) -> tuple[str, int]:
    return f"agent:main:explicit:{number:08x}", number


def _round(r: random.Random, at: int, session_id: str | None, model: int, consumer: str) -> PricedRound:
    name, host, currency = _MODELS[model]
    given = r.randrange(500, 200_000)
    usage = Usage(given, r.randrange(10, 2000), cached_tokens=given // 2)
    round_ = Round(
        key=r.randbytes(16),
        source="higress",
        started_at=at,
        session_id=session_id,
        session_source="header" if session_id else None,
        model=name,
        usage=usage,
        success=r.random() > 0.02,
        status=200,
        latency_ms=r.randrange(300, 60_000),
        ttft_ms=r.randrange(100, 3000),
        response_type="stream",
        consumer=consumer,
        route=f"ai-route-{name}",
        host=host,
        response_id=f"chatcmpl-{r.getrandbits(96):024x}",
    )
    cost = Cost("priced", usage.input_tokens and usage.input_tokens * 1250, currency, f"{name}, from 2026-01-01")
    return PricedRound(round_, cost)
