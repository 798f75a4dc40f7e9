"""Failures that come together: bursts of a model, route or consumer, and sessions that try again and again."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

from monitor.answers.amounts import quoted
from monitor.answers.anomalies.base import Finding, clock, cost_of
from monitor.store.base import Call

#: So many failures make a burst; between two of them lie at most so many milliseconds, and most calls meanwhile fail.
LEAST_BURST, _GAP_MS, _SHARE = 5, 300_000, 0.5
#: A burst also has this many times the failures that are usual for its model.
_TIMES_USUAL = 3
#: So many failures in a row, each soon after the one before, are a retry loop; so many under one request id too.
LEAST_RETRIES, _RETRY_GAP_MS, LEAST_ATTEMPTS = 5, 120_000, 4
#: From here on it is grave.
_GRAVE = 20


def retry_loops(looked_at: Sequence[Call], zone: ZoneInfo) -> Iterator[Finding]:
    """Sessions, or requests without one, that fail many times in a row."""
    runs: dict[tuple[str | None, ...], list[Call]] = {}
    for call in looked_at:
        key = (call.session_id,) if call.session_id is not None else (None, call.request_id)
        if key == (None, None):
            continue
        run = runs.setdefault(key, [])
        if run and (call.success or call.started_at - run[-1].started_at > _RETRY_GAP_MS):
            yield from _loop(run, zone)
            run.clear()
        if not call.success:
            run.append(call)
    for run in runs.values():
        yield from _loop(run, zone)


def _loop(run: Sequence[Call], zone: ZoneInfo) -> Iterator[Finding]:
    if len(run) < LEAST_ATTEMPTS:
        return
    [(request, attempts)] = Counter(call.request_id for call in run).most_common(1)
    same = request is not None and attempts >= LEAST_ATTEMPTS and attempts == len(run)
    if len(run) < LEAST_RETRIES and not same:
        return
    models = sorted({quoted(call.model) for call in run if call.model is not None})
    what = f"{len(run):,} attempts of one request" if same else f"{len(run):,} calls in a row"
    yield Finding(
        kind="retry_loop",
        call=run[-1],
        value=len(run),
        usual=0,
        unit="failures in a row",
        times=len(run),
        rounds=len(run),
        why=f"{what}{' to ' + ', '.join(models[:3]) if models else ''} failed {_span(run, zone)}{_statuses(run)}; "
        "usual is that the next one succeeds",
        extra={currency: nano for currency, nano in cost_of(run).items() if nano},
        grave=len(run) >= _GRAVE,
        group=(run[0].session_id, None if run[0].session_id is not None else request),
    )


def bursts(looked_at: Sequence[Call], earlier: Sequence[Call], zone: ZoneInfo) -> Iterator[Finding]:
    """Minutes in which most calls of a model and route, or of a consumer, failed, and not just one session's."""
    usual = _failure_rates(earlier or looked_at)
    told: set[bytes] = set()
    for what, key_of in (("model", _model_and_route), ("consumer", _consumer)):
        groups: dict[tuple[str | None, ...], list[Call]] = {}
        for call in looked_at:
            if key_of(call) is not None and call.key not in told:
                groups.setdefault(key_of(call) or (), []).append(call)
        for key, calls in groups.items():
            for run in _clusters([call for call in calls if not call.success]):
                found = _burst(what, key, run, calls, usual, zone)
                if found is not None:
                    told.update(call.key for call in run)
                    yield found


def _start(call: Call) -> int:
    return call.started_at


def _model_and_route(call: Call) -> tuple[str | None, ...] | None:
    return None if call.model is None and call.route is None else (call.model, call.route)


def _consumer(call: Call) -> tuple[str | None, ...] | None:
    return None if call.consumer is None else (call.consumer,)


def _clusters(failures: Iterable[Call]) -> Iterator[list[Call]]:
    """Failures that follow each other closely."""
    run: list[Call] = []
    for call in failures:
        if run and call.started_at - run[-1].started_at > _GAP_MS:
            yield run
            run = []
        run.append(call)
    if run:
        yield run


def _burst(
    what: str,
    key: tuple[str | None, ...],
    run: Sequence[Call],
    calls: Sequence[Call],
    usual: dict[str | None, tuple[int, int]],
    zone: ZoneInfo,
) -> Finding | None:
    if len(run) < LEAST_BURST:
        return None
    sessions = Counter(call.session_id for call in run if call.session_id is not None)
    if sessions and sessions.most_common(1)[0][1] > 0.9 * len(run):
        return None  # that is a retry loop of this session
    begin = run[0].started_at
    first = bisect_left(calls, begin, key=_start)
    meanwhile = calls[first : bisect_right(calls, run[-1].started_at, key=_start)]
    share = len(run) / len(meanwhile)
    failed, of = usual.get(run[0].model, (0, 0)) if what == "model" else _all(usual)
    rate = failed / of if of else 0.0
    if share < max(_SHARE, min(1.0, _TIMES_USUAL * rate)):
        return None
    if what == "model" and _of_one_consumer(run, meanwhile):
        return None  # that is told of the consumer
    if what == "model":
        model, route = key
        name = "calls" if model is None else f"calls of {quoted(model)}"
        name += f" on route {quoted(route)}" if route is not None else ""
    else:
        name = f"calls of consumer {quoted(key[0] or '')}"
    compared = f"; usual: {rate:.1%} of {of:,} rounds fail" if of else ""
    whose = f", in {len(sessions):,} sessions" if len(sessions) > 1 else ""
    return Finding(
        kind="error_burst",
        call=run[0],
        value=round(share, 4),
        usual=round(rate, 4) if of else None,
        unit="share of calls that fail",
        times=float(len(run)),
        rounds=len(run),
        why=f"{len(run):,} of {len(meanwhile):,} {name} failed {_span(run, zone)}{_statuses(run)}{whose}{compared}",
        grave=len(run) >= _GRAVE,
        group=(what, *key, str(begin)),
    )


def _of_one_consumer(run: Sequence[Call], meanwhile: Sequence[Call]) -> bool:
    """Whether nearly all failures are of one consumer, while the calls of others succeed."""
    consumers = Counter(call.consumer for call in run)
    [(consumer, failed)] = consumers.most_common(1)
    others = [call for call in meanwhile if call.consumer != consumer]
    return consumer is not None and failed > 0.9 * len(run) and sum(call.success for call in others) > len(others) / 2


def _failure_rates(calls: Iterable[Call]) -> dict[str | None, tuple[int, int]]:
    """Failures and rounds of each model."""
    rates: dict[str | None, tuple[int, int]] = {}
    for call in calls:
        failed, of = rates.get(call.model, (0, 0))
        rates[call.model] = failed + (not call.success), of + 1
    return rates


def _all(rates: dict[str | None, tuple[int, int]]) -> tuple[int, int]:
    return sum(failed for failed, _ in rates.values()), sum(of for _, of in rates.values())


def _span(run: Sequence[Call], zone: ZoneInfo) -> str:
    begin, end = clock(run[0].started_at, zone), clock(run[-1].started_at, zone)
    return f"at {begin}" if begin == end else f"between {begin} and {end}"


def _statuses(run: Sequence[Call]) -> str:
    known = Counter(call.status for call in run if call.status is not None)
    return f" (most often with status {known.most_common(1)[0][0]})" if known else ""
