"""Sessions that go astray: far more work than their peers, contexts that only grow, one request again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from monitor.answers.anomalies.base import Finding, cost_of, paid, took
from monitor.answers.anomalies.usual import summed_up
from monitor.answers.course import without_asides
from monitor.store.base import Call

#: A session is held against this many others at least.
LEAST_PEERS = 8
#: Less than this in an hour is no runaway, however little the others do.
_ROUNDS, _TOKENS = 60, 2_000_000
_TIMES_PEERS = 5
_HOUR_MS = 3_600_000
#: A context that only grows: over so many rounds, to so many tokens and so many times what it was.
LEAST_GROWING, _LARGE, _TIMES_LARGER, _FALLS = 20, 100_000, 5, 0.8
#: Rounds that are alike: so many in a row, each soon after the one before, of nearly the same length.
LEAST_ALIKE, _SOON_MS, _SHORTEST = 6, 120_000, 200

Sessions = Mapping[str, Sequence[Call]]


def by_session(calls: Iterable[Call]) -> dict[str, list[Call]]:
    """The rounds of each session that has an id, in the order of their start."""
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.session_id is not None:
            found.setdefault(call.session_id, []).append(call)
    return found


def runaways(sessions: Sessions, earlier: Sessions) -> Iterator[Finding]:
    """Sessions with far more rounds or tokens in an hour than their peers; `earlier` ones are peers as well."""
    busiest = {name: _busiest_hour(calls) for name, calls in sessions.items()}
    others = [_busiest_hour(calls) for name, calls in earlier.items() if name not in sessions]
    for unit, least, size in (("rounds an hour", _ROUNDS, _rounds), ("tokens an hour", _TOKENS, _tokens)):
        sizes = {name: size(hour) for name, hour in busiest.items()}
        usual = summed_up([*sizes.values(), *map(size, others)], "a session", LEAST_PEERS)
        if usual is None:
            continue
        for name, value in sizes.items():
            if value < least or value < _TIMES_PEERS * usual.median or not usual.exceeded_by(value):
                continue
            hour = busiest[name]
            spent = {c: round(nano * (1 - usual.median / value)) for c, nano in cost_of(hour).items()}
            said = usual.said(lambda middle: f"{middle:,.0f}", "sessions")
            yield Finding(
                kind="runaway_session",
                call=hour[-1],
                value=value,
                usual=round(usual.median),
                unit=unit,
                times=value / usual.median,
                rounds=len(hour),
                why=f"{value:,} {unit} at its busiest, {said}",
                extra={c: nano for c, nano in spent.items() if nano > 0},
                grave=value >= 10 * _TIMES_PEERS * usual.median,
                group=(name,),
            )


def growing(sessions: Sessions) -> Iterator[Finding]:
    """Sessions whose context has only grown, and is large by now."""
    for name, calls in sessions.items():
        run: list[Call] = []
        for call in without_asides([call for call in calls if call.input_tokens]):
            if run and (call.input_tokens or 0) < _FALLS * (run[-1].input_tokens or 0):
                run = []
            run.append(call)
        first, last = (run[0].input_tokens or 0, run[-1].input_tokens or 0) if run else (0, 0)
        if len(run) < LEAST_GROWING or last < max(_LARGE, _TIMES_LARGER * first):
            continue
        now = run[-1]
        costs = f"; a round costs {paid(now.nano, now.currency)} now" if now.nano and now.currency else ""
        was = run[0]
        if costs and was.currency == now.currency and was.nano:
            costs += f", at first {paid(was.nano, was.currency or '')}"
        yield Finding(
            kind="growing_context",
            call=now,
            value=last,
            usual=first,
            unit="input tokens",
            times=last / first,
            rounds=len(run),
            why=f"Its input has grown from {first:,} to {last:,} tokens in {len(run):,} rounds without a compaction"
            + costs,
            group=(name,),
        )


def repeated(sessions: Sessions) -> Iterator[Finding]:
    """Sessions in which nearly the same request is made many times in a row."""
    for name, calls in sessions.items():
        runs: list[list[Call]] = [[calls[0]]]
        for before, call in pairwise(calls):
            if _alike(before, call):
                runs[-1].append(call)
            else:
                runs.append([call])
        for run in runs:
            if len(run) < LEAST_ALIKE:
                continue
            lasted, given = run[-1].started_at - run[0].started_at, run[-1].input_tokens or 0
            yield Finding(
                kind="repeated_rounds",
                call=run[-1],
                value=len(run),
                usual=1,
                unit="rounds alike",
                times=len(run),
                rounds=len(run),
                why=f"{len(run):,} rounds within {took(lasted)} take the same {given:,} input tokens; "
                "usual is that each takes more than the one before: it seems to ask the same again and again",
                extra={currency: nano for currency, nano in cost_of(run[1:]).items() if nano},
                group=(name,),
            )


def _alike(before: Call, after: Call) -> bool:
    given, then = after.input_tokens, before.input_tokens
    if not (before.success and after.success) or given is None or then is None or given < _SHORTEST:
        return False
    return (
        before.model == after.model
        and abs(given - then) <= max(2, given // 1000)
        and after.started_at - before.started_at <= _SOON_MS
    )


def _busiest_hour(calls: Sequence[Call]) -> Sequence[Call]:
    """The rounds of the hour in which a session has the most."""
    best: tuple[int, int] = (0, 0)
    begin = 0
    for end, call in enumerate(calls, 1):
        while calls[begin].started_at <= call.started_at - _HOUR_MS:
            begin += 1
        if end - begin > best[1] - best[0]:
            best = begin, end
    return calls[best[0] : best[1]]


def _rounds(calls: Sequence[Call]) -> int:
    return len(calls)


def _tokens(calls: Sequence[Call]) -> int:
    return sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in calls)
