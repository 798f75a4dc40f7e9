"""The course of a session, and the series that charts show."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.answers.errors import NotFound
from monitor.answers.sessions import get_session
from monitor.answers.trends import session_trend, thinned
from monitor.prices.money import Cost
from monitor.rounds import UNKNOWN_TIME, Usage
from monitor.store.base import PricedRound
from tests.answers.made import CNY, FREE, NOTHING, UNPRICED, asking, made, scattered

SESSION = "agent:main:main"


def taking(number: int, given: int, cached: int | None = None, **more: object) -> PricedRound:
    """A round that takes so much input, at a micro-dollar a token."""
    cost = Cost("priced", given * 1000, "USD", "list A")
    return made(number, cost, usage=Usage(given, 10, cached_tokens=cached), latency_ms=given // 10, **more)


def test_a_context_that_grows_is_told_with_its_step_cost_and_cache(tmp_path: Path) -> None:
    # 1000, 1500, … 20500: the cache takes nine tenths from the sixth round on.
    rounds = [taking(n, 1000 + 500 * n, (1000 + 500 * n) * 9 // 10 if n >= 5 else 0) for n in range(40)]
    trend = session_trend(asking(tmp_path, rounds), SESSION)
    assert (trend.rounds, trend.rounds_seen, trend.growth_per_round, trend.resets) == (40, None, 500, None)
    # The third of the first five and of the last five.
    assert (trend.first_input, trend.last_input) == (2000, 19_500)
    assert (trend.first_cost_per_round, trend.cost_per_round) == ({"USD": 0.002}, {"USD": 0.0195})
    assert (trend.first_cache_hit_rate, trend.cache_hit_rate) == (0, 0.9)
    assert (trend.first_latency_ms, trend.latency_ms) == (200, 1950)
    assert trend.said == (
        "The context has grown from 2,000 to 19,500 input tokens, typically by 500 a round. "
        "A round costs $0.0195 now, at first $0.002; 90% of its input comes from the cache."
    )


def test_a_compaction_is_no_step_down_of_the_growth(tmp_path: Path) -> None:
    sizes = [*range(1000, 11_000, 1000), *range(1000, 6000, 1000)]
    trend = session_trend(asking(tmp_path, [taking(n, size) for n, size in enumerate(sizes)]), SESSION)
    assert (trend.growth_per_round, trend.resets) == (1000, 1)
    assert "with 1 resets or compactions" in trend.said


def test_small_calls_on_the_side_do_not_hide_the_growth(tmp_path: Path) -> None:
    # After each round a call of 100 tokens that finds a title.
    rounds = [taking(n, 100 if n % 2 else 1000 + 100 * n) for n in range(41)]
    trend = session_trend(asking(tmp_path, rounds), SESSION)
    assert (trend.growth_per_round, trend.resets, trend.rounds) == (200, None, 41)
    assert len(trend.points) == 41


def test_a_context_that_shrinks_or_stays_is_said_to(tmp_path: Path) -> None:
    shrinks = session_trend(asking(tmp_path / "a", [taking(n, 9000 - 300 * n) for n in range(20)]), SESSION)
    assert shrinks.said.startswith("The context has shrunk from 8,400 to 3,900 input tokens.")
    stays = session_trend(asking(tmp_path / "b", [taking(n, 5000 + n) for n in range(20)]), SESSION)
    assert stays.said == "The context stays near 5,017 input tokens. A round costs $0.005 now."


def test_one_round_is_no_trend(tmp_path: Path) -> None:
    trend = session_trend(asking(tmp_path, [taking(1, 1000)]), SESSION)
    assert (trend.rounds, trend.growth_per_round, trend.last_input) == (1, None, 1000)
    assert "1 are too few" in trend.said
    assert [point.round for point in trend.points] == [1]


def test_rounds_without_counts_or_prices_have_no_figures(tmp_path: Path) -> None:
    nothing = [made(n, NOTHING, usage=Usage(), latency_ms=None, success=False) for n in range(3)]
    trend = session_trend(asking(tmp_path / "a", nothing), SESSION)
    assert trend.said == "No round of this session has known tokens."
    assert trend.small().keys() >= {"session_id", "rounds", "points", "url", "said"}
    assert "cost_per_round" not in trend.small()
    free = session_trend(asking(tmp_path / "b", [made(n, FREE) for n in range(12)]), SESSION)
    assert free.cost_per_round == {"CNY": 0}
    assert "costs" not in free.said
    missing = session_trend(asking(tmp_path / "c", [made(n, UNPRICED) for n in range(12)]), SESSION)
    assert missing.cost_per_round is None


def test_two_currencies_are_not_put_into_one_figure(tmp_path: Path) -> None:
    mixed = [made(n, CNY) if n % 2 else made(n) for n in range(12)]
    assert session_trend(asking(tmp_path / "a", mixed), SESSION).cost_per_round is None
    changed = [made(n, CNY) if n > 5 else made(n) for n in range(12)]
    trend = session_trend(asking(tmp_path / "b", changed), SESSION)
    assert (trend.first_cost_per_round, trend.cost_per_round) == ({"USD": 0.0015}, {"CNY": 0.02})
    assert "at first" not in trend.said


def test_a_series_is_thinned_and_numbered_as_the_session_numbers_its_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = [taking(n, 1000 + n) for n in range(50)] + [made(90, started_at=UNKNOWN_TIME)]
    ask = asking(tmp_path, rounds)
    trend = session_trend(ask, SESSION, points=5)
    numbers = [point.round for point in trend.points]
    assert (numbers[0], numbers[-1], len(numbers)) == (1, 51, 5)
    for point in trend.points:
        stored = ask.store.round(SESSION, point.round)
        assert stored is not None
        assert stored.round.usage.input_tokens == point.input_tokens
    assert trend.points[0].timestamp is None
    monkeypatch.setattr("monitor.answers.trends.MOST_ROUNDS", 10)
    newest = session_trend(ask, SESSION)
    assert (newest.rounds, newest.rounds_seen) == (51, 10)
    assert [point.round for point in newest.points] == list(range(42, 52))


@given(st.integers(0, 500), st.integers(2, 40))
def test_thinning_keeps_both_ends_and_even_steps(length: int, most: int) -> None:
    items = list(range(length))
    kept = thinned(items, most)
    assert len(kept) == min(length, most)
    assert kept == sorted(set(kept))
    if items:
        assert (kept[0], kept[-1]) == (0, length - 1)
        steps = [after - before for before, after in pairwise(kept)]
        assert not steps or max(steps) - min(steps) <= 1


def test_a_detailed_session_carries_its_course_and_a_concise_one_does_not(tmp_path: Path) -> None:
    ask = asking(tmp_path, [taking(n, 1000 + 500 * n) for n in range(40)])
    detailed = get_session(ask, SESSION, detailed=True)
    assert detailed.trend is not None
    assert detailed.trend.growth_per_round == 500
    assert get_session(ask, SESSION).trend is None
    older = get_session(ask, SESSION, detailed=True, cursor=detailed.rounds_cursor)
    assert older.trend is None
    since = get_session(ask, SESSION, detailed=True, since="2026-02-01T10:00:00Z")
    assert since.trend is not None
    assert since.trend.first_input == 17_000  # rounds 30 to 39 begin with 16 000 tokens, in steps of 500


@settings(max_examples=40, deadline=None)
@given(scattered(), st.integers(0, 12))
def test_any_session_has_a_course_in_the_order_of_its_rounds(rounds: list[PricedRound], points: int) -> None:
    with TemporaryDirectory() as folder:
        ask = asking(Path(folder), rounds)
        for name in {p.round.session_id for p in rounds} - {None}:
            mine = sorted((p for p in rounds if p.round.session_id == name), key=lambda p: p.round.started_at)
            trend = session_trend(ask, name or "", points)
            assert (trend.rounds, len(trend.points)) == (len(mine), min(points, len(mine)))
            assert trend.said
            for point in trend.points:
                assert point.latency_ms in {
                    p.round.latency_ms for p in mine if p.round.started_at == mine[point.round - 1].round.started_at
                }


def test_an_unknown_session_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="agent:main:main"):
        session_trend(asking(tmp_path, [made(1)]), "agent:main:mian")
