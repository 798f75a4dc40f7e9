"""Who may see some sessions sees all of those, nothing of others, and is told so."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.answers import rounds, sessions, spenders, stats, summary, transcripts, usage
from monitor.answers.anomalies.find import find_anomalies
from monitor.answers.base import Asking
from monitor.answers.budgets import budgets
from monitor.answers.comparison import compare_models
from monitor.answers.errors import NotFound
from monitor.answers.overview import spend_overview
from monitor.answers.scope import NotOpen, Scope, ScopedStore, exactly
from monitor.prices.catalog import Catalog
from monitor.store.base import Store
from monitor.store.sqlite import DATABASE
from tests.answers.made import asking, made, said

MINE, ALSO_MINE, OTHER = "agent:main:main", "agent:main:discord:channel:1", "agent:secret:main"


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Asking]:
    """Three sessions, one of which is nobody's business, and rounds without a session."""
    extra = msgspec.json.encode({"fields": {"note": "hidden words"}, "path": "/v1?key=hidden", "kept": 1})
    given = asking(
        tmp_path,
        [
            made(1, session_id=MINE, conversation=said("hello", answer="good day"), extra=extra),
            made(2, session_id=MINE),
            made(3, session_id=ALSO_MINE, conversation=said("other words")),
            made(4, session_id=OTHER, consumer="mallory", conversation=said("my password is hunter2")),
            made(5, session_id=None, consumer="mallory"),
        ],
    )
    with closing(given.store):
        yield given


def scoped(whole: Asking, *patterns: str, content: bool = False) -> Asking:
    scope = Scope(patterns, content=content)
    return msgspec.structs.replace(whole, store=ScopedStore(whole.store, scope), scope=scope)


def test_lists_totals_and_pages_hold_open_sessions_only(whole: Asking) -> None:
    ask = scoped(whole, "agent:main:*")
    found, cursor = [], None
    while True:
        page = sessions.list_sessions(ask, limit=1, cursor=cursor)
        assert page.total == 2
        assert page.no_session == []
        found += [row.session_id for row in page.sessions]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(found) == sorted([MINE, ALSO_MINE])
    assert sessions.list_sessions(ask, search="secret").total == 0
    assert sessions.list_sessions(ask, consumer="mallory").total == 0


def test_an_open_session_is_compared_without_a_word_of_the_models_of_others(tmp_path: Path) -> None:
    rounds = [made(1, session_id=MINE), made(2, session_id=OTHER, model="claude-opus-4-6")]
    with closing(asking(tmp_path, rounds).store) as store:
        ask = scoped(Asking(store), MINE)
        catalog = Catalog.load()
        models = [row.model for row in compare_models(ask, catalog, MINE).rows]
        assert "gpt-5.4" in models
        assert "claude-opus-4-6" not in models
        with pytest.raises(NotFound):
            compare_models(ask, catalog, OTHER)
        for question in (lambda: compare_models(ask, catalog), lambda: find_anomalies(ask, lambda: catalog)):
            with pytest.raises(NotOpen):
                question()


def test_an_open_session_is_told_as_it_is(whole: Asking) -> None:
    mine = sessions.get_session(scoped(whole, MINE), MINE, detailed=True)
    right = sessions.get_session(whole, MINE, detailed=True, content_scope=())
    assert mine == right


@pytest.mark.parametrize("name", [OTHER, "agent:secret", "nobody"])
def test_another_session_is_not_there_and_no_hint_names_it(whole: Asking, name: str) -> None:
    ask = scoped(whole, "agent:main:*")
    with pytest.raises(NotFound) as error:
        sessions.get_session(ask, name)
    assert "agent:secret:main" not in str(error.value).replace(repr(name), "")
    assert rounds_of(ask, name) == []
    with pytest.raises(NotFound):
        rounds.get_round(ask, name, 1)
    assert ask.store.turns(name) == []
    assert ask.store.calls(session=name, limit=10) == []
    assert ask.store.similar(name, 10) == [
        near for near in ask.store.similar(name, 10) if near.startswith("agent:main")
    ]


def rounds_of(ask: Asking, name: str) -> list[Any]:
    return list(ask.store.rounds(name).rounds)


def test_a_round_of_another_session_is_not_found_by_its_id_either(whole: Asking) -> None:
    [other] = whole.store.rounds(OTHER).rounds
    [nameless] = whole.store.calls(limit=1)
    assert nameless.session_id is None
    ask = scoped(whole, "agent:main:*", content=True)
    for key in (other.round.key, nameless.key):
        assert rounds.get_round(whole, None, round_id=key.hex()).round_id == key.hex()
        with pytest.raises(NotFound):
            rounds.get_round(ask, None, round_id=key.hex())


def test_what_was_said_is_open_with_content_only(whole: Asking) -> None:
    figures, everything = scoped(whole, "agent:main:*"), scoped(whole, "agent:main:*", content=True)
    assert rounds.get_round(everything, MINE, 1, include=["answer"]).answer == "good day"
    assert "good day" in transcripts.transcript(everything, MINE)
    with pytest.raises(NotOpen, match="--content"):
        rounds.get_round(figures, MINE, 1, include=["answer"])
    with pytest.raises(NotOpen, match="--content"):
        transcripts.transcript(figures, MINE)
    assert [row.question for row in sessions.list_sessions(figures).sessions] == [None, None]
    assert {row.question for row in sessions.list_sessions(everything).sessions} == {"hello", "other words"}
    assert sessions.list_sessions(figures, search="hello").total == 0
    assert sessions.list_sessions(everything, search="hello").total == 1


def test_attributes_that_may_hold_what_was_said_stay_with_it(whole: Asking) -> None:
    shown = [row.small() for row in rounds.each_round(scoped(whole, MINE), MINE)]
    assert "hidden" not in str(shown)
    assert shown[0]["more"] == {"kept": 1}
    assert "hidden" in str([row.small() for row in rounds.each_round(scoped(whole, MINE, content=True), MINE)])


def test_content_of_rounds_that_came_from_elsewhere_is_not_given_out(whole: Asking) -> None:
    stolen = whole.store.rounds(OTHER).rounds
    with pytest.raises(NotOpen):
        list(scoped(whole, MINE, content=True).store.content(stolen))


@pytest.mark.parametrize(
    "question",
    [
        stats.stats_by_model,
        stats.stats_by_date,
        summary.summary,
        spenders.top_spenders,
        spend_overview,
        budgets,
        usage.daily,
        usage.monthly,
        usage.hourly,
        usage.cost_trend,
        usage.top_users,
        usage.slow,
        lambda ask: spenders.top_spenders(ask, "consumer"),
    ],
)
def test_sums_over_all_sessions_are_refused_with_the_reason(
    whole: Asking, question: Callable[[Asking], object]
) -> None:
    with pytest.raises(NotOpen, match=r"opens the sessions 'agent:main:\*' only") as error:
        question(scoped(whole, "agent:main:*"))
    assert "mallory" not in str(error.value)


def test_names_and_growth_are_told_of_open_sessions_only(whole: Asking) -> None:
    ask = scoped(whole, "agent:main:*")
    assert sorted(ask.store.names_with("")) == sorted([MINE, ALSO_MINE])
    assert ask.store.names_with("secret") == []
    assert ask.store.session_count() == 2
    assert sorted(ask.store.grown_since(0)[1]) == sorted([MINE, ALSO_MINE])
    assert ask.store.unnamed() == []


def test_every_question_of_a_store_has_been_thought_of() -> None:
    """What a store learns to answer must be looked at here before somebody with a scope can ask it."""
    asked = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    assert asked - {name for name, _ in inspect.getmembers(ScopedStore, inspect.isfunction)} == set()


def test_a_parent_session_is_named_only_where_it_is_open(tmp_path: Path) -> None:
    child = f"{MINE}:thread:7"
    whole = asking(tmp_path, [made(1, session_id=MINE), made(2, session_id=child)])
    with closing(whole.store):
        with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
            ids = "SELECT sid FROM session WHERE session_id = ?"
            db.execute(f"UPDATE session SET parent = ({ids}) WHERE sid = ({ids})", (MINE, child))
        assert sessions.get_session(whole, child).parent_session == MINE
        assert sessions.get_session(scoped(whole, exactly(child)), child).parent_session is None
        assert sessions.get_session(scoped(whole, "agent:main:*"), child).parent_session == MINE


@given(st.text(max_size=20), st.text(max_size=20))
def test_an_exact_pattern_matches_its_own_text_alone(text: str, other: str) -> None:
    scope = Scope((exactly(text),))
    assert scope.opens(text)
    assert scope.opens(other) == (other == text)


def test_rounds_without_a_session_are_never_open() -> None:
    assert not Scope(("*",)).opens(None)
