"""What a session cost, with what is unknown left unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.answers import documents
from monitor.answers.errors import BadQuestion, NotFound
from monitor.answers.rounds import each_round, get_round, rounds_of
from monitor.answers.sessions import get_session, last_reset, list_sessions
from monitor.rounds import UNKNOWN_TIME, Usage
from tests.answers.made import CNY, FREE, NOON, NOTHING, UNPRICED, USD, asking, made, said

SESSION = "agent:main:main"


def test_costs_are_kept_apart_by_currency_and_exact(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1), made(2), made(3, CNY, model="glm-5"), made(4, FREE, model="glm-4-flash")])
    session = get_session(ask, SESSION)
    assert session.cost == {"CNY": 0.02, "USD": 0.003}
    assert session.unpriced is None
    assert {share.model: share.cost for share in session.models} == {
        "gpt-5.4": {"USD": 0.003},
        "glm-5": {"CNY": 0.02},
        "glm-4-flash": {"CNY": 0},
    }


def test_a_free_model_costs_zero_and_an_unpriced_one_costs_nothing_that_we_know(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, FREE, session_id="free"), made(2, UNPRICED, session_id="unknown", model="mine")])
    free, unknown = get_session(ask, "free").small(), get_session(ask, "unknown").small()
    assert free["cost"] == {"CNY": 0}
    assert "cost" not in unknown
    assert unknown["unpriced"] == {"rounds": 1, "tokens": 110, "models": ["mine"]}


def test_what_no_round_tells_is_absent_and_what_one_tells_is_summed(tmp_path: Path) -> None:
    rounds = [made(1), made(2, usage=Usage(50, 20, reasoning_tokens=5)), made(3, NOTHING, usage=Usage(), model=None)]
    small = get_session(asking(tmp_path, rounds), SESSION).small()
    assert small["total_input_tokens"] == 150
    assert small["total_reasoning_tokens"] == 5
    assert small["unmetered_rounds"] == 1
    assert "total_cached_tokens" not in small
    assert "lower_bound_rounds" not in small


def test_a_failed_round_counts_and_never_renames_the_model(tmp_path: Path) -> None:
    rounds = [made(1), made(2, NOTHING, usage=Usage(), model=None, success=False, status=503)]
    session = get_session(asking(tmp_path, rounds), SESSION)
    assert (session.messages_count, session.failed_rounds, session.model) == (2, 1, "gpt-5.4")


def test_rounds_without_a_session_are_listed_by_consumer_and_never_as_default(tmp_path: Path) -> None:
    rounds = [
        made(1, session_id=None, session_source=None, consumer="alice"),
        made(2, session_id=None, session_source=None, consumer="bob"),
        made(3, session_id=None, session_source=None),
        made(4, session_id="default"),
    ]
    listed = list_sessions(asking(tmp_path, rounds))
    assert [(row.session_id, row.messages_count) for row in listed.sessions] == [("default", 1)]
    assert listed.total == 1
    assert sorted((group.consumer or "", group.rounds) for group in listed.no_session) == [
        ("", 1),
        ("alice", 1),
        ("bob", 1),
    ]


def test_a_round_without_a_time_is_counted_and_has_none(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, started_at=UNKNOWN_TIME), made(2)])
    small = get_session(ask, SESSION, detailed=True).small()
    assert small["messages_count"] == 2
    assert small["created_at"] == "2026-02-01T09:32:00Z"
    assert "timestamp" not in small["rounds"][0]


def test_since_a_time_only_what_came_after_counts(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(n) for n in range(1, 6)])
    assert get_session(ask, SESSION, since="2026-02-01T09:33:00Z").messages_count == 3
    nothing = get_session(ask, SESSION, since="2026-02-02")
    assert nothing.messages_count == 0
    assert nothing.cost is None


@pytest.mark.parametrize(
    ("turns", "began"),
    [
        ([1, 2, 3], None),  # never began anew
        ([1, 2, 3, 1, 2], 3),  # /new
        ([1, 2, 3, 1, 4, 5], None),  # something small spoke in between
        ([2, 3, 3, 2, 3], 3),  # a short conversation, and another one
        ([3, 4, 2, 3], 2),  # a compaction leaves a summary
        ([5, 1], 1),  # just now
        ([], None),
    ],
)
def test_without_messages_in_the_log_the_number_of_turns_tells_a_reset(turns: list[int], began: int | None) -> None:
    assert last_reset([(at, turn, None) for at, turn in enumerate(turns)]) == began


@pytest.mark.parametrize(
    ("rounds", "began"),
    [
        ("A1 A2 A3", None),
        ("A1 A2 B1 B2", 2),  # another first message: /new, however few the turns
        ("A1 B1", 1),
        ("A1 A2 T1 A3", None),  # a title was looked for, and the conversation went on
        ("A1 T1 A1 A2", None),
        ("A1 A2 B1 T1 B2", 2),
        ("A1 A2 A3 A1", 3),  # the same first words again
        ("A1 A2 B1 A1 A2", 3),  # and after another conversation
    ],
)
def test_a_conversation_is_known_by_how_it_began(rounds: str, began: int | None) -> None:
    listed = [(at, int(text[1:]), ord(text[0])) for at, text in enumerate(rounds.split())]
    assert last_reset(listed) == began


def test_since_the_reset_counts_this_conversation_only(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(n, turn=turn) for n, turn in enumerate([1, 2, 3, 1, 2], start=1)])
    session = get_session(ask, SESSION, since="reset")
    assert session.messages_count == 2
    assert session.since == "2026-02-01T09:34:00Z"
    whole = asking(tmp_path / "b", [made(1, turn=1), made(2, turn=2)])
    assert "whole session" in (get_session(whole, SESSION, since="reset").note or "")


def test_a_session_that_just_spoke_may_have_a_turn_under_way(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1)])
    assert get_session(ask, SESSION).note is None
    recent = type(ask)(ask.store, as_of=NOON + 90_000)
    note = get_session(recent, SESSION).note
    assert note is not None
    assert "may not be counted yet" in note


def test_an_unknown_session_names_near_ones_and_says_when_the_log_is_still_being_read(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1)])
    with pytest.raises(NotFound, match="agent:main:main"):
        get_session(ask, "agent:main:mian")
    with pytest.raises(NotFound, match="still being read"):
        get_session(type(ask)(ask.store, behind_bytes=12), "nobody")


def test_first_questions_stay_hidden_and_unsearchable_outside_the_scope(tmp_path: Path) -> None:
    rounds = [
        made(1, session_id="mine", conversation=said("where is the blue folder")),
        made(2, session_id="yours", conversation=said("where is the red folder")),
    ]
    ask = asking(tmp_path, rounds)
    shown = {row.session_id: row.question for row in list_sessions(ask, questions_of=("mi*",)).sessions}
    assert shown == {"mine": "where is the blue folder", "yours": None}
    found = list_sessions(ask, search="folder", questions_of=("mi*",))
    assert [row.session_id for row in found.sessions] == ["mine"]
    assert found.total == 1
    assert list_sessions(ask, search="folder", questions_of=()).total == 0
    assert list_sessions(ask, search="folder").total == 2


def test_every_round_of_a_long_session_comes_once_and_in_order(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(n) for n in range(1, 460)])
    assert [row.round for row in each_round(ask, SESSION)] == list(range(1, 460))
    assert [row.round for row in each_round(ask, SESSION, newest=250)] == list(range(210, 460))
    page = rounds_of(ask, SESSION, limit=200)
    numbers: list[int] = []
    while True:
        numbers = [row.round for row in page.rounds] + numbers
        if page.rounds_cursor is None:
            break
        page = rounds_of(ask, SESSION, limit=200, before=page.rounds_cursor)
    assert numbers == list(range(1, 460))


def test_a_late_round_renumbers_those_after_it_and_keeps_their_ids(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1), made(3)])
    before = {row.round: row.round_id for row in rounds_of(ask, SESSION).rounds}
    asking(tmp_path, [made(2)])
    after = {row.round_id: row.round for row in rounds_of(ask, SESSION).rounds}
    assert (after[before[1]], after[before[2]]) == (1, 3)
    assert get_round(ask, None, round_id=before[2]).round == 3


def test_content_is_given_only_where_it_is_open(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, conversation=said("what is new?", answer="little"))])
    opened = get_round(ask, SESSION, 1, include=["answer"], content_scope=["agent:*"]).small()
    assert opened["answer"] == "little"
    assert "messages" not in opened
    with pytest.raises(BadQuestion, match="content-scope"):
        get_round(ask, SESSION, 1, include=["answer"], content_scope=["other:*"])
    with pytest.raises(NotFound, match="rounds 1 to 1"):
        get_round(ask, SESSION, 2)
    with pytest.raises(NotFound, match="round_id"):
        get_round(ask, None, round_id="zz")
    with pytest.raises(BadQuestion, match="which round"):
        get_round(ask, SESSION)
    other = asking(tmp_path, [made(7, session_id="other")])
    [row] = rounds_of(other, "other").rounds
    assert get_round(other, "other", round_id=row.round_id).round == 1
    with pytest.raises(NotFound, match="not one of session"):
        get_round(other, SESSION, round_id=row.round_id)


def test_attributes_that_we_do_not_know_are_content_too(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, USD, extra=b'{"fields":{"note":"secret"},"api":"x"}')])
    closed = get_session(ask, SESSION, detailed=True, content_scope=()).small()["rounds"][0]
    opened = get_session(ask, SESSION, detailed=True).small()["rounds"][0]
    assert closed["more"] == {"api": "x"}
    assert opened["more"]["fields"] == {"note": "secret"}


def test_the_document_has_its_fields_even_where_nothing_is_known(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, NOTHING, usage=Usage(), model=None)])
    head = documents.head(get_session(ask, SESSION))
    [only] = documents.rounds(ask, SESSION)
    assert head["total_cached_tokens"] is None
    assert head["model"] is None
    assert (only["messages"], only["question"], only["input_token_details"]) == ([], "", {})
    assert only["input_tokens"] is None
