"""Single rounds that cost or took far more than such rounds usually do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from monitor.answers.anomalies.base import Finding, paid, took, worth_a_word
from monitor.answers.anomalies.usual import Baseline, Peers
from monitor.store.base import Call

#: Nobody minds waiting this long.
_PATIENCE_MS = 2000
#: A long answer takes long: a slow call also takes this many times as long for each token that it says.
_PACE = 2.0
#: Tokens that every answer is taken to have besides its own, so that short ones don't look slow for their length.
_OVERHEAD_TOKENS = 50


def dear(looked_at: Sequence[Call], peers: Peers) -> Iterator[Finding]:
    """Rounds that cost far more than usual for their model, function and hour."""
    usual_cost = Baseline(lambda call: call.nano, peers)
    for call in looked_at:
        if call.nano is None or call.currency is None:
            continue
        usual = usual_cost.usual(call)
        if usual is None or not usual.exceeded_by(call.nano):
            continue
        currency = call.currency
        extra = {currency: call.nano - round(usual.median)}
        if not worth_a_word(extra):
            continue
        said = usual.said(lambda nano, currency=currency: paid(nano, currency))  # type: ignore[misc]
        yield Finding(
            kind="dear_rounds",
            call=call,
            value=call.nano / 1e9,
            usual=round(usual.median) / 1e9,
            unit=currency,
            times=call.nano / usual.median,
            why=f"{paid(call.nano, currency)}, {said}; {_tokens(call)}",
            extra=extra,
        )


def slow(looked_at: Sequence[Call], peers: Peers) -> Iterator[Finding]:
    """Calls that took far longer than usual, more than the length of their answer explains."""
    usual_time = Baseline(lambda call: call.latency_ms if call.success else None, peers)
    usual_pace = Baseline(lambda call: _pace(call) if call.success else None, peers)
    for call in looked_at:
        if call.latency_ms is None or call.latency_ms < _PATIENCE_MS:
            continue
        usual = usual_time.usual(call)
        if usual is None or not usual.exceeded_by(call.latency_ms) or call.latency_ms < usual.median + _PATIENCE_MS:
            continue
        pace, of_others = _pace(call), usual_pace.usual(call)
        if pace is not None and of_others is not None and pace < _PACE * of_others.median:
            continue
        answer = f" for {call.output_tokens:,} output tokens" if call.output_tokens else ""
        failed = "" if call.success else " and failed"
        yield Finding(
            kind="slow_calls",
            call=call,
            value=call.latency_ms,
            usual=round(usual.median),
            unit="ms",
            times=call.latency_ms / usual.median,
            why=f"It took {took(call.latency_ms)}{answer}{failed}, {usual.said(took)}",
        )


def grouped(findings: Iterable[Finding], like: str) -> Iterator[Finding]:
    """One finding for each session: its worst round, with what all of them cost; `like` says how they are alike."""
    groups: dict[tuple[str | None, ...], list[Finding]] = {}
    for found in findings:
        call = found.call
        # Without a session those of one consumer and model belong together.
        key: tuple[str | None, ...]
        key = (call.session_id,) if call.session_id is not None else (None, call.consumer, call.model)
        groups.setdefault(key, []).append(found)
    for key, alike in groups.items():
        worst = max(alike, key=lambda found: (found.spend, found.times))
        extra: dict[str, int] = {}
        for found in alike:
            for currency, nano in found.extra.items():
                extra[currency] = extra.get(currency, 0) + nano
        worst.group = key
        if len(alike) > 1:
            worst.rounds = len(alike)
            worst.extra = extra
            whose = "this session" if key[0] is not None else "this consumer and model that name no session"
            worst.why += f". {len(alike):,} rounds of {whose} are {like}"
        yield worst


def _pace(call: Call) -> float | None:
    if call.latency_ms is None or call.output_tokens is None:
        return None
    return call.latency_ms / (call.output_tokens + _OVERHEAD_TOKENS)


def _tokens(call: Call) -> str:
    cached = "" if call.cached_tokens is None else " (none of them cached)"
    if call.cached_tokens:
        cached = f" ({call.cached_tokens:,} of them cached)"
    return f"it took {call.input_tokens or 0:,} input tokens{cached} and {call.output_tokens or 0:,} output tokens"
