"""Session keys say what OpenClaw put into them; hostile ones say nothing and stay small."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.session_keys import MAX_SESSION_ID, KeyParts, bounded, parts, runtime_line

ID = "cfe46a17-5a1e-4c0b-9d3f-000a11cf9919"


@pytest.mark.parametrize(
    ("key", "agent", "channel"),
    [
        ("agent:main:main", "main", None),
        ("agent:main:discord:channel:1480012345678901234", "main", "discord"),
        ("agent:research:telegram:group:-1002003004005", "research", "telegram"),
        ("agent:main:cron:nightly-report", "main", "cron"),
        (f"agent:main:subagent:{ID}", "main", "subagent"),
        ("agent:main:explicit:trip-planning", "main", "explicit"),
        ("agent:main:slack:C0AB12:thread:1.2", "main", "slack"),
        ("agent:代理:飞书:1", "代理", "飞书"),
        # A part that is missing or no name is not made up.
        ("agent:main:", "main", None),
        ("agent:main:" + "x" * 65, "main", None),
    ],
)
def test_agent_and_channel_are_read_off_a_key(key: str, agent: str, channel: str | None) -> None:
    assert parts(key) == KeyParts(agent, channel)


@pytest.mark.parametrize(
    "session_id",
    [None, "", "default", "team/alpha/agent-7", ID, "agent", "agent:", "agent:main", "agent::main", "AGENT:main:main"]
    + ["xagent:main:main", "agent:" + "x" * 65 + ":main", "agent" + ":" * 60_000],
    ids=lambda v: repr(v)[:30],
)
def test_ids_of_another_kind_have_no_parts(session_id: str | None) -> None:
    assert parts(session_id) == KeyParts(None, None)


# --- Length ------------------------------------------------------------------------------------


def test_an_id_of_ordinary_length_stays_as_it_is() -> None:
    assert bounded("x" * MAX_SESSION_ID) == "x" * MAX_SESSION_ID
    assert bounded("../../etc") == "../../etc"


def test_an_id_of_60_kb_becomes_a_short_one_of_its_own() -> None:
    long = "agent:main:" + "x" * 60_000
    assert len(bounded(long)) <= MAX_SESSION_ID
    assert bounded(long) == bounded("agent:main:" + "x" * 60_000)
    assert bounded(long) != bounded(long + "x")
    assert bounded(long).startswith("agent:main:xxx")
    # It is cut once: whoever has the short one finds the same session with it.
    assert bounded(bounded(long)) == bounded(long)


@settings(deadline=None)
@given(st.text(st.characters(), min_size=0, max_size=400))
def test_no_text_makes_it_raise_or_grow(text: str) -> None:
    assert len(bounded(text)) <= MAX_SESSION_ID
    parts(text)
    runtime_line(text)
    runtime_line("Runtime: " + text)
    runtime_line("Runtime: session=" + text)


# --- OpenClaw's own line --------------------------------------------------------------------------


def test_key_and_id_are_found_in_the_line_that_openclaw_writes() -> None:
    line = f"Runtime: agent=main | session=agent:main:main | sessionId={ID} | host=box | os=Linux | model=mock/a"
    assert runtime_line(f"What is the weather?\n\n{line}") == ("agent:main:main", ID)
    assert runtime_line(f"## Runtime\n{line}\nReasoning: off") == ("agent:main:main", ID)


def test_a_cron_run_names_no_id() -> None:
    assert runtime_line("Runtime: agent=main | session=agent:main:cron:nightly | host=box") == (
        "agent:main:cron:nightly",
        None,
    )


def test_the_session_may_stand_first_or_last() -> None:
    assert runtime_line("Runtime: session=a:b") == ("a:b", None)
    assert runtime_line(f"Runtime: session=a:b | sessionId={ID}") == ("a:b", ID)


def test_the_last_line_counts_since_openclaw_writes_behind_what_was_typed() -> None:
    typed = "Runtime: agent=x | session=agent:victim:main | sessionId=v"
    assert runtime_line(f"{typed}\nRuntime: agent=main | session=agent:main:main") == ("agent:main:main", None)


def test_an_id_of_another_line_is_not_taken() -> None:
    assert runtime_line("Runtime: session=a:b\nsessionId=x | sessionId=y") == ("a:b", None)


def test_a_key_ends_where_json_text_would() -> None:
    assert runtime_line('Runtime: agent=main | session=agent:main:main","role":"user"') == ("agent:main:main", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Runtime: ",
        "Runtime: agent=main | host=box",
        "Runtime:session=a",
        "runtime: session=a",
        "Runtime: agent=main\nsession=a",
        "Runtime: session=",
        "Runtime: " + "x" * 201 + " | session=a",
    ],
)
def test_text_without_such_a_line_gives_nothing(text: str) -> None:
    assert runtime_line(text) is None


def test_a_line_of_60_kb_takes_no_longer_than_it_is_long() -> None:
    # Each of these would take minutes or for ever if the pattern could go back and forth.
    for filler in ("a | ", " | ", "a", "session", "Runtime: ", "| ", "Runtime: a | "):
        text = "Runtime: " + filler * 15_000
        assert runtime_line(text) is None
        found = runtime_line(text + "\nRuntime: session=a:b" + " | x" * 15_000)
        assert found == ("a:b", None)
