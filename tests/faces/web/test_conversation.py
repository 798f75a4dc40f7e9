"""What was said becomes blocks, in all the forms that clients and providers use."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.answers.sessions import RoundRow
from monitor.faces.web.conversation import Block, messages, preview, said, system


def row(**given: Any) -> RoundRow:
    return RoundRow(round_id="00", round=1, success=True, **given)


@pytest.mark.parametrize(
    ("message", "blocks"),
    [
        ({"role": "user", "content": "Hi"}, [Block("user", "Hi")]),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, [Block("user", "Hi")]),
        ({"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, [Block("user", "Hi")]),
        ({"role": "assistant", "content": None}, [Block("assistant", "")]),
        (
            {"role": "assistant", "reasoning_content": "Hm", "content": "Hi"},
            [Block("assistant", "Hm"), Block("assistant", "Hi")],
        ),
        ({"role": "critic", "content": "No"}, [Block("message", "No", "critic")]),
        ({"role": ["odd"], "content": "No"}, [Block("message", "No", "['odd']")]),
        ("no message", [Block("message", "no message")]),
        ({"role": "tool", "content": "Done"}, [Block("tool", "Done")]),
        (
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "Done"}]}]},
            [Block("tool", "Done")],
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "name": "sql", "input": {"query": "SELECT 1"}}]},
            [Block("assistant", "query: SELECT 1", "sql", is_call=True)],
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "exec", "arguments": '{"c":"a\\nb","n":2}'}}]},
            [Block("assistant", "c:\na\nb\nn: 2", "exec", is_call=True)],
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "exec", "arguments": '{}{"city"'}}]},
            [Block("assistant", '{}{"city"', "exec", is_call=True)],
        ),
        ({"role": "assistant", "tool_calls": ["cut"]}, [Block("assistant", "cut", is_call=True)]),
        ({"role": "user", "content": [{"type": "image_url"}]}, [Block("user", '{\n  "type": "image_url"\n}')]),
    ],
)
def test_a_message_is_read_in_any_form(message: Any, blocks: list[Block]) -> None:
    assert messages([message]) == blocks


def test_a_round_tells_its_messages_then_reasoning_answer_and_calls() -> None:
    call = {"function": {"name": "read", "arguments": '{"path":"a.py"}'}}
    found = said(
        row(messages=[{"role": "user", "content": "Read it"}], reasoning="Hm", answer="Yes", tool_calls=[call])
    )
    assert found == [
        Block("user", "Read it"),
        Block("reasoning", "Hm"),
        Block("answer", "Yes"),
        Block("answer", "path: a.py", "read", is_call=True),
    ]


def test_the_question_stands_in_where_no_messages_are_logged() -> None:
    assert said(row(question="Why?", messages=[{"role": "user", "content": "Why?"}])) == [Block("user", "Why?")]
    assert said(row(question="Why?")) == [Block("question", "Why?")]
    assert said(row(question="Why?", messages='[{"role":"us')) == [Block("cut", '[{"role":"us')]
    assert said(row()) == []


def test_a_system_prompt_beside_the_messages_is_read_too() -> None:
    assert system(row(system=[{"type": "text", "text": "Be brief"}])) == [Block("system", "Be brief")]
    assert system(row(system="Be brief")) == [Block("system", "Be brief")]
    assert system(row()) == []


@pytest.mark.parametrize(
    ("blocks", "line"),
    [
        ([Block("assistant", "Before"), Block("user", "Now\n\nRuntime: x"), Block("answer", "Yes")], "Now Runtime: x"),
        ([Block("tool", "Done"), Block("answer", "path: a", "read", is_call=True)], "read  path: a"),
        ([Block("tool", "Done"), Block("answer", "Yes")], "Yes"),
        ([Block("tool", "Done")], "Done"),
        ([], ""),
    ],
)
def test_a_round_is_told_from_others_by_one_line(blocks: list[Block], line: str) -> None:
    assert preview(blocks) == line


def test_a_long_line_is_cut() -> None:
    assert preview([Block("user", "word " * 1_000)]) == ("word " * 32)
