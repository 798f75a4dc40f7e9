"""What OpenClaw puts into requests besides what was said: session names, its own context, time stamps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.rounds import Conversation, Round
from monitor.sources.higress import HigressReader, Reading
from monitor.store.history import History
from monitor.store.previews import preview

ID = "07bbe1cf-5a1e-4c0b-9d3f-000a11cf9919"
KEY = "agent:main:aff"
CONTEXT = {"content": "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nheartbeat {n}\n<<<END>>>", "role": "user"}


def go(value: object) -> str:
    """JSON as Go writes it, escaped once as a string's body."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return json.dumps(text, ensure_ascii=False)


def line(messages: list[Any], number: int = 0, **more: Any) -> bytes:
    log = {"chat_round": 1, "messages": messages, "model": "m", "input_token": 9, "output_token": 1, **more}
    log["question"] = messages[-1]["content"] if messages else None
    rest = f'"request_id":"r{number}","response_code":"200","start_time":"2026-02-01T09:30:15.{number:03d}Z"'
    return f'{{"ai_log":{go(log)},{rest}}}'.encode()


def read(record: bytes, reader: HigressReader | None = None) -> Round:
    reading = (reader or HigressReader()).read(record)
    assert isinstance(reading, Reading)
    return reading.round


def said(text: str, role: str = "user") -> dict[str, str]:
    return {"content": text, "role": role}


RUNTIME = f"[Sun 2026-11-22 00:17 UTC] hello\n\nRuntime: agent=main | session={KEY} | sessionId={ID} | host=h"


@pytest.mark.parametrize("header", [ID, f"{ID}:0", f"{ID}:12"])
def test_the_session_key_names_the_session_where_header_and_runtime_line_agree(header: str) -> None:
    r = read(line([said(RUNTIME)], session_id=header))
    assert (r.session_id, r.session_source) == (KEY, "header")
    assert set(r.session_aliases) == {ID, header}


def test_a_header_that_says_something_else_wins_over_the_runtime_line() -> None:
    r = read(line([said(RUNTIME)], session_id="agent:main:other"))
    assert (r.session_id, r.session_aliases) == ("agent:main:other", ())


def test_without_messages_the_count_of_resets_is_no_part_of_the_id() -> None:
    r = read(line([], session_id=f"{ID}:3"))
    assert (r.session_id, r.session_aliases) == (ID, (f"{ID}:3",))
    assert read(line([], session_id="team:3")).session_id == "team:3"


def test_the_question_is_what_the_user_asked_and_not_openclaws_own_context() -> None:
    r = read(line([said("be kind", "system"), said(RUNTIME), CONTEXT]))
    assert r.conversation is not None
    assert r.conversation.question == json.dumps(RUNTIME).encode()
    assert len(r.conversation.messages) == 3  # all of them are kept, exactly as logged
    assert preview(r.conversation.question) == "hello"


def grown(rounds: int) -> list[bytes]:
    """A conversation in which every request ends with a context message that the next one does not have."""
    messages = [said("x" * 5000, "system"), said(RUNTIME)]
    records = []
    for n in range(rounds):
        context = {**CONTEXT, "content": CONTEXT["content"].replace("{n}", str(n))}
        records.append(line([*messages, context], n))
        messages += [said(f"answer {n} " * 20, "assistant"), said(f"question {n} " * 20)]
    return records


def test_the_beginning_is_recognised_although_the_end_is_another_each_time() -> None:
    reader = HigressReader()
    rounds = [read(record, reader) for record in grown(6)]
    assert [r.conversation.base.count for r in rounds if r.conversation] == [0, 2, 4, 6, 8, 10]
    for r, record in zip(rounds, grown(6), strict=True):
        alone = read(record)
        assert r.conversation is not None
        assert alone.conversation is not None
        assert r.conversation.end == alone.conversation.end
        assert r.opening == alone.opening


def entries(records: list[bytes], reader: HigressReader | None) -> list[tuple[bytes, int, Conversation]]:
    found = []
    for record in records:
        r = read(record, reader)
        assert r.conversation is not None
        found.append((r.key, r.started_at, r.conversation))
    return found


@pytest.mark.parametrize("remembering", [True, False])
def test_each_message_is_kept_once_although_the_last_one_passes(tmp_path: Path, remembering: bool) -> None:
    sizes = []
    for count in (50, 100):
        folder = tmp_path / str(count)
        folder.mkdir()
        history = History(folder)
        records = grown(count)
        kept = entries(records, HigressReader() if remembering else None)
        for start in range(0, count, 7):
            history.write(kept[start : start + 7])
        for (key, started_at, _), record in zip(kept, records, strict=True):
            content = history.read(key, started_at)
            assert content is not None
            logged = json.loads(json.loads(record)["ai_log"])["messages"]
            assert [json.loads(message) for message in content.messages or ()] == logged
        history.close()
        sizes.append(sum(path.stat().st_size for path in folder.iterdir()))
    assert sizes[1] < 2.5 * sizes[0]


def test_a_reset_is_seen_by_openclaws_own_count_although_the_user_says_the_same_again() -> None:
    before, same = (read(line([said(RUNTIME)], n, session_id=f"{ID}:0")) for n in range(2))
    after = read(line([said(RUNTIME)], 2, session_id=f"{ID}:1"))
    assert before.opening == same.opening != after.opening
    assert read(line([], 3, session_id=f"{ID}:1")).opening == after.opening  # also without messages in the log


def test_another_first_message_is_another_beginning() -> None:
    one, same = read(line([said("hi"), CONTEXT])), read(line([said("hi"), said("ok", "assistant"), said("more")]))
    other = read(line([said("hello"), CONTEXT]))
    assert one.opening is not None
    assert one.opening == same.opening != other.opening
    assert read(line([])).opening is None
