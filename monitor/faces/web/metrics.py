"""Prometheus: what the store holds, in counters that never go back, with bounded sets of labels."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from monitor import __version__
from monitor.access import private
from monitor.answers.base import Asking, added
from monitor.answers.scope import NotOpen
from monitor.config import ConfigError
from monitor.faces.web.asked import answered
from monitor.faces.web.auth import asker
from monitor.prices.money import NANO
from monitor.runtime import Runtime
from monitor.store.base import LATENCY_STEPS_MS, Counts, Latency, Slice, spend

log = logging.getLogger("monitor.web.metrics")

#: How many models and how many consumers have a label of their own; the rest is `other`.
MOST_LABELS = 50
OTHER, UNNAMED = "other", "none"
LABELS_NAME = "metric-labels.json"
_LONGEST_LABEL = 128

#: Kind of tokens -> the count that holds it. Input holds cached and cache_write, output holds reasoning.
_KINDS: Mapping[str, Callable[[Counts], int | None]] = {
    "input": lambda counts: counts.input_tokens,
    "output": lambda counts: counts.output_tokens,
    "reasoning": lambda counts: counts.reasoning_tokens,
    "cached": lambda counts: counts.cached_tokens,
    "cache_write": lambda counts: counts.cache_write_tokens,
}


_HISTOGRAMS: Mapping[Latency, tuple[str, str]] = {
    "latency": ("latency", "Time until an answer was whole"),
    "ttft": ("first_token", "Time until the first token of an answer"),
}


class Labels:
    """Which names have a label of their own. One that has it keeps it, so that no counter goes back.

    The first time the dearest get one; later every new name while there is room. It is kept beside the
    store, since the counters of two runs have to agree.
    """

    def __init__(self, path: Path, most: int = MOST_LABELS) -> None:
        self._path = path
        self._most = most
        self._known: dict[str, list[str]] | None = None
        self._lock = threading.Lock()

    def choose(self, kind: str, dearest_first: Sequence[str]) -> frozenset[str]:
        """The names of this kind that have a label of their own."""
        with self._lock:
            known = self._load().setdefault(kind, [])
            there = set(known)
            new = [name for name in dict.fromkeys(dearest_first) if name not in there][: self._most - len(known)]
            if new:
                known += new
                try:
                    private.write(self._path, json.dumps(self._known, ensure_ascii=False, indent=1).encode())
                except (ConfigError, UnicodeEncodeError) as error:
                    log.warning("labels of metrics are not kept: %s", error)
            return frozenset(known)

    def _load(self) -> dict[str, list[str]]:
        if self._known is None:
            self._known = {}
            try:
                found = json.loads(self._path.read_bytes())
                self._known = {str(kind): [str(name) for name in names] for kind, names in found.items()}
            except FileNotFoundError:
                pass
            except (OSError, ValueError, AttributeError, TypeError) as error:
                log.warning("%s can't be read, labels are chosen anew: %s", self._path, error)
        return self._known


def label(name: str | None) -> str:
    """A name from a log as the value of a label: one line of bounded length without anything that is not text."""
    if not name:
        return UNNAMED
    clean = "".join(char if char.isprintable() else "\ufffd" for char in name[: 4 * _LONGEST_LABEL])
    return clean if len(clean) <= _LONGEST_LABEL else clean[: _LONGEST_LABEL - 1] + "…"


class StoreCollector(Collector):
    """Reads everything from the store when it is asked."""

    def __init__(self, ask: Asking, labels: Labels, *, is_well: bool) -> None:
        self._is_well = is_well
        self._ask = ask
        self._labels = labels
        self._shown_models: frozenset[str] = frozenset()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        ask = self._ask
        models: dict[str, list[Slice]] = {}
        for part in ask.store.slices():
            models.setdefault(label(part.model), []).append(part)
        consumers: dict[str, list[Slice]] = {}
        for name, slices in ask.store.by("consumer").items():
            consumers.setdefault(label(name), []).extend(slices)
        yield from self._spent("model", "", models)
        yield from self._spent("consumer", "consumer_", consumers)
        yield from self._latencies()
        yield GaugeMetricFamily("session_monitor_sessions", "Sessions that were seen.", ask.store.session_count())
        yield from self._ingest()
        yield InfoMetricFamily("session_monitor_build", "The program.", {"version": __version__})

    def _spent(self, kind: str, prefix: str, groups: dict[str, list[Slice]]) -> Iterator[Metric]:
        """Counters over the values of one label."""
        shown = self._labels.choose(kind, sorted(groups, key=lambda name: (-spend(groups[name]), name)))
        if kind == "model":
            self._shown_models = shown
        rows: dict[str, list[Slice]] = {}
        for name, slices in groups.items():
            rows.setdefault(name if name in shown else OTHER, []).extend(slices)

        def family(name: str, said: str, *labels: str) -> CounterMetricFamily:
            return CounterMetricFamily(f"session_monitor_{prefix}{name}", f"{said}, by {kind}.", labels=(kind, *labels))

        rounds = family("rounds", "Model requests")
        failed = family("failed_rounds", "Model requests that failed")
        unpriced = family("unpriced_rounds", "Model requests with tokens and no known price")
        tokens = family(
            "tokens", "Tokens (input holds cached and cache_write, output holds reasoning; don't add kinds up)", "kind"
        )
        cost = family("cost", "Spending in units of the currency", "currency")
        for name, slices in sorted(rows.items()):
            counts = added(part.counts for part in slices)
            rounds.add_metric([name], counts.rounds)
            failed.add_metric([name], counts.failed)
            unpriced.add_metric([name], sum(p.counts.rounds for p in slices if p.price.status == "unpriced"))
            for token_kind, of in _KINDS.items():
                if (count := of(counts)) is not None:
                    tokens.add_metric([name, token_kind], count)
            for currency, nano in sorted(_by_currency(slices).items()):
                cost.add_metric([name, currency], nano / NANO)
        yield from (rounds, failed, unpriced, tokens, cost)

    def _latencies(self) -> Iterator[Metric]:
        """Histograms by model; a model without a label of its own counts as the rest."""
        store = self._ask.store
        sums: dict[tuple[Latency, str], float] = {}
        for part in store.slices():
            name = self._model(part.model)
            times = {"latency": part.counts.latency_total_ms, "ttft": part.counts.ttft_total_ms}
            for kind in _HISTOGRAMS:
                sums[kind, name] = sums.get((kind, name), 0) + (times[kind] or 0) / 1000
        steps: dict[tuple[Latency, str], list[int]] = {}
        for (kind, model), counts in store.latency_steps().items():
            row = steps.setdefault((kind, self._model(model)), [0] * len(counts))
            row[:] = (there + more for there, more in zip(row, counts, strict=True))
        bounds = (*(str(ms / 1000) for ms in LATENCY_STEPS_MS), "+Inf")
        for kind, (name, said) in _HISTOGRAMS.items():
            family = HistogramMetricFamily(f"session_monitor_{name}_seconds", f"{said}, by model.", labels=("model",))
            for (of, model), row in sorted(steps.items()):
                if of == kind:
                    family.add_metric([model], list(zip(bounds, accumulate(row), strict=True)), sums[kind, model])
            yield family

    def _model(self, model: str | None) -> str:
        name = label(model)
        return name if name in self._shown_models else OTHER

    def _ingest(self) -> Iterator[Metric]:
        """How far the logs are read, and what was no round."""
        ask = self._ask
        skipped = CounterMetricFamily(
            "session_monitor_skipped_lines", "Lines of logs that are no rounds, by reason.", labels=("source", "reason")
        )
        for line in ask.store.skipped():
            skipped.add_metric([label(line.source), line.reason], line.count)
        yield skipped
        if ask.as_of is not None:
            lag = max(0.0, time.time() - ask.as_of / 1000)
            yield GaugeMetricFamily(
                "session_monitor_ingest_lag_seconds", "Age of the instant up to which the logs are read.", lag
            )
        yield GaugeMetricFamily(
            "session_monitor_ingest_lag_bytes", "Bytes of the logs that are not read yet.", ask.behind_bytes or 0
        )
        yield GaugeMetricFamily(
            "session_monitor_up_to_date", "1 where some process reads the logs and keeps them.", self._is_well
        )


def _by_currency(slices: Iterable[Slice]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for part in slices:
        if part.counts.nano is not None and part.price.currency is not None:
            sums[part.price.currency] = sums.get(part.price.currency, 0) + part.counts.nano
    return sums


def router(runtime: Runtime) -> APIRouter:
    """``/metrics``, for those who may see everything."""
    api = APIRouter(tags=["The monitor itself"])
    labels = Labels(runtime.folder / LABELS_NAME)

    @api.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Everything for Prometheus, in its text format."""
        if not asker(request.scope).is_owner:
            raise HTTPException(403, str(NotOpen("Metrics tell of all sessions: use a token without a scope.")))
        encode, media_type = choose_encoder(request.headers.get("accept", ""))

        def told(ask: Asking) -> Response:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(StoreCollector(ask, labels, is_well=runtime.is_well))
            return Response(encode(registry), headers={"content-type": media_type})

        return await answered(runtime, told)

    return api
