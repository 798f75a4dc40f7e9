"""All that is unusual in some days, the worst first, without a flood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from monitor.answers.anomalies import cache, failures, rounds, sessions
from monitor.answers.anomalies.base import SEVERITIES, Anomalies, Anomaly, Finding, worth_a_word
from monitor.answers.anomalies.usual import LEAST, Peers
from monitor.answers.base import Asking, added, rfc3339, shown
from monitor.answers.errors import BadQuestion
from monitor.answers.periods import last_days
from monitor.store.base import Call

if TYPE_CHECKING:
    from monitor.prices.catalog import Catalog

#: Of a period with more rounds the newest are looked at.
MOST_ROUNDS = 100_000
#: What is usual is told by the first rounds of every hour of the four weeks before.
BASELINE_DAYS, BASELINE_EACH = 28, 30
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
MOST_ROWS = 100


def find_anomalies(
    ask: Asking,
    catalog: Callable[[], Catalog],
    days: int = 1,
    *,
    limit: int = 20,
    now: datetime | None = None,
) -> Anomalies:
    """The unusual rounds and sessions of the last `days` local days, today included.

    `catalog` is called only where something has to be priced anew.

    Raises:
        BadQuestion: `days` or `limit` is out of range.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise BadQuestion(f"limit is {limit}: use 1 to {MOST_ROWS}")
    begin = last_days(days, ask.zone, now=now)
    looked_at = ask.store.calls(since=begin, limit=MOST_ROUNDS)
    in_period = added(part.counts for part in ask.store.slices(begin)).rounds
    # From a whole hour on: a sample and the hours of the day, by which rounds are compared, begin together.
    back = (begin - BASELINE_DAYS * _DAY_MS) // _HOUR_MS * _HOUR_MS
    earlier = ask.store.sampled_calls(back, begin, _HOUR_MS, BASELINE_EACH)
    found = sorted(_found(ask, looked_at, earlier, catalog), key=_order)
    note = None
    if len(looked_at) + len(earlier) < LEAST:
        note = f"Fewer than {LEAST} rounds are known: what is usual can't be told yet."
    elif len(earlier) < LEAST:
        note = "Hardly any earlier rounds are known: the rounds of these days are compared with each other."
    return Anomalies(
        since=rfc3339(begin),
        rounds=len(looked_at),
        left_out=in_period - len(looked_at) or None,
        compared_with=len(earlier),
        rows=[_written(ask, finding) for finding in found[:limit]],
        more=len(found) - limit if len(found) > limit else None,
        note=note,
        **ask.freshness,
    )


def _found(
    ask: Asking, looked_at: Sequence[Call], earlier: Sequence[Call], catalog: Callable[[], Catalog]
) -> Iterator[Finding]:
    now = sessions.by_session(looked_at)
    peers = Peers(earlier, looked_at)
    missed = list(cache.misses(now, catalog))
    # A round that is dear because of a cache miss is told as that.
    because_of_it = {found.call.key for found in missed if found.extra}
    dear = (found for found in rounds.dear(looked_at, peers) if found.call.key not in because_of_it)
    yield from rounds.grouped(dear, "as dear")
    yield from rounds.grouped(rounds.slow(looked_at, peers), "as slow")
    yield from failures.bursts(looked_at, earlier, ask.zone)
    yield from _worst_of_each(failures.retry_loops(looked_at, ask.zone))
    yield from sessions.runaways(now, _complete_sessions(earlier))
    yield from sessions.growing(now)
    yield from _worst_of_each(sessions.repeated(now))
    for found in rounds.grouped(missed, "such misses"):
        if not found.extra or worth_a_word(found.extra):
            yield found


def _complete_sessions(earlier: Sequence[Call]) -> sessions.Sessions:
    """The sessions of the hours of which the sample holds every round."""
    hours: dict[int, int] = {}
    for call in earlier:
        hours[call.started_at // _HOUR_MS] = hours.get(call.started_at // _HOUR_MS, 0) + 1
    return sessions.by_session(call for call in earlier if hours[call.started_at // _HOUR_MS] < BASELINE_EACH)


def _worst_of_each(findings: Iterator[Finding]) -> Iterator[Finding]:
    """One finding for each session, with how many more there are."""
    groups: dict[tuple[str | None, ...], list[Finding]] = {}
    for found in findings:
        groups.setdefault(found.group, []).append(found)
    for alike in groups.values():
        worst = max(alike, key=lambda found: (found.spend, found.times))
        if len(alike) > 1:
            worst.why += f". It happened {len(alike):,} times in this session"
        yield worst


def _order(finding: Finding) -> tuple[int, float, float, bytes]:
    return SEVERITIES.index(finding.severity), -finding.spend, -finding.times, finding.call.key


def _written(ask: Asking, finding: Finding) -> Anomaly:
    call = finding.call
    stored = ask.store.round(None, key=call.key)
    return Anomaly(
        kind=finding.kind,
        severity=finding.severity,
        session_id=call.session_id,
        round=None if stored is None or call.session_id is None else stored.number,
        round_id=call.key.hex(),
        model=call.model,
        when=rfc3339(call.started_at),
        value=finding.value,
        usual=finding.usual,
        unit=finding.unit,
        rounds=finding.rounds if finding.rounds > 1 else None,
        why=f"{finding.why}.",
        cost=shown(finding.extra),
        url=f"{ask.base_url}/" if call.session_id is None else ask.url(call.session_id),
    )
