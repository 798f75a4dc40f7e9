"""Usage records against bare writes of the same lines, and what calls cost that two sources saw."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.measure import Row, Sizes, cpu_seconds, ratio, scratch, side_by_side
from monitor import UsageMonitor
from monitor.prices.money import Cost
from monitor.rounds import Round, Usage
from monitor.store.base import Batch, PricedRound
from monitor.store.sqlite import SqliteStore

_BATCH = 400
_BEGIN = 1_769_938_200_000
_PRICE = Cost("priced", 1_225_000, "USD", "bench")


def recording(sizes: Sizes) -> Iterator[Row]:
    """A program records calls; the same lines are written by themselves."""
    count = sizes.short_lines
    with scratch("recording") as folder:
        monitor = UsageMonitor(folder / "records", timezone="UTC")
        _record(monitor, 10)  # the price lists are loaded now
        (path,) = (folder / "records").glob("*.jsonl")
        line = path.read_bytes().splitlines(keepends=True)[0]
        ours, bare = side_by_side(
            sizes.repeats,
            lambda: cpu_seconds(lambda: _record(monitor, count)),
            lambda: cpu_seconds(lambda: _write(folder / "bare", line, count)),
        )
        monitor.close()
    yield Row(
        "a usage record against a bare write of its line",
        25.0,
        "less",
        ratio(ours, bare),
        "x",
        f"{1e6 * median(ours) / count:.1f} us a record, {count / median(ours):,.0f} a second; "
        f"bare {1e6 * median(bare) / count:.2f} us ({len(line)} bytes)",
    )


def _record(monitor: UsageMonitor, count: int) -> None:
    for _ in range(count):
        monitor.record_usage(
            model="qwen-plus",
            function="live_analysis",
            input_tokens=1000,
            output_tokens=500,
            duration_ms=1234.5,
            success=True,
            user_id="user_123",
            session_id="session_abc",
        )


def _write(path: Path, line: bytes, count: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(count):
        os.write(descriptor, line)
    os.close(descriptor)


def witnesses(sizes: Sizes) -> Iterator[Row]:
    """Rounds of a gateway's log beside another source: one that saw other calls, and one that saw the same."""
    count = sizes.short_lines
    with scratch("witnesses") as folder:
        numbers = iter(range(10_000))

        def took(of_others: bool | None) -> float:
            store = SqliteStore(folder / f"data{next(numbers)}")
            if of_others is not None:
                _add(store, [_round("openclaw", n, 10**6 if of_others else 0) for n in range(count)])
            rounds = [_round("higress", n, 0) for n in range(count)]
            seconds = cpu_seconds(lambda: _add(store, rounds))
            store.close()
            return seconds

        alone, beside, same = side_by_side(
            sizes.repeats, lambda: took(None), lambda: took(of_others=True), lambda: took(of_others=False)
        )
    us = 1e6 / count
    figures = f"{us * median(alone):.0f} us a round where it is the only source"
    yield Row(
        "rounds beside a source that saw other calls",
        1.25,
        "less",
        ratio(beside, alone),
        "x",
        f"{us * median(beside):.0f} us a round; {figures}",
    )
    yield Row(
        "rounds that another source had seen before",
        10.0,
        "less",
        ratio(same, alone),
        "x",
        f"{us * median(same):.0f} us a round; {figures}",
    )


def _add(store: SqliteStore, rounds: list[PricedRound]) -> None:
    for start in range(0, len(rounds), _BATCH):
        store.add(Batch(rounds=rounds[start : start + _BATCH]))


def _round(kind: str, number: int, apart: int) -> PricedRound:
    return PricedRound(
        Round(
            key=hashlib.blake2b(f"{kind} {number}".encode(), digest_size=16).digest(),
            source=kind,
            started_at=_BEGIN + 997 * number + (kind == "openclaw") * 300,
            session_id=f"agent:main:bench:{number % 50}",
            session_source="header",
            model="gpt-5.4",
            usage=Usage(1000 + number % 100, 100, 10, 500),
            latency_ms=1500,
            status=200,
            consumer="platform" if kind == "higress" else None,
            response_id=f"chatcmpl-{number + apart:024d}",
        ),
        _PRICE,
    )
