"""The real command over logs that hold all that pages must cope with: samples, a long session, markup everywhere."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from monitor.samples import DEMO, Expected, lines
from tests.faces.place import Place
from tests.faces.web.served import daemon
from tests.helpers import wait_for

SAMPLE = "agent:main:main"
LONG = "agent:main:explicit:long"
LONG_ROUNDS = 2_000
TALK = "agent:main:explicit:talk"
MARKUP = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}'
#: Turns the text after it around where it is obeyed.
REVERSE = "\u202e"
EVIL = f"evil/{MARKUP}"


@dataclass(frozen=True)
class Site:
    """A served monitor."""

    base: str
    log: Path
    expected: Expected

    def at(self, path: str, **query: object) -> str:
        """An address of it."""
        given = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
        return f"{self.base}{path}{'?' if given else ''}{given}"

    def get(self, path: str, headers: dict[str, str] | None = None, /, **query: object) -> httpx2.Response:
        """What it answers."""
        return httpx2.get(self.at(path, **query), headers=headers)

    def append(self, *records: bytes) -> None:
        """The log grows."""
        with self.log.open("ab") as file:
            file.writelines(records)


def record(session: str, number: int, **given: Any) -> bytes:
    """A line of the log: round `number` of a session, with fields of the line or of its ``ai_log`` as given."""
    at = datetime(2026, 2, 20, 8, tzinfo=UTC) + timedelta(seconds=30 * number)
    log = {
        "session_id": session,
        "model": "gpt-5.4",
        "chat_id": f"chatcmpl-{quote(session, safe='')[:40]}-{number}",
        "input_token": 1_000 + number,
        "cached_tokens": 500,
        "output_token": 20,
        "total_token": 1_020 + number,
        "input_token_details": '{"cached_tokens":500}',
        "output_token_details": '{"reasoning_tokens":5}',
        "reasoning_tokens": 5,
        "llm_service_duration": 1_234,
        "llm_first_token_duration": 321,
        "response_type": "stream",
        "consumer": "platform",
        "question": f"Question {number}",
        "answer": f"Answer {number}",
    }
    outer = {
        "start_time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "method": "POST",
        "path": "/v1/chat/completions",
        "response_code": "200",
        "request_id": f"{quote(session, safe='')[:40]}-{number}",
        "route_name": "ai-route-openai.internal",
        "upstream_cluster": "outbound|443||llm-openai.internal.dns",
    }
    for name, value in given.items():
        (outer if name in outer else log)[name] = value
    text = json.dumps({**outer, "ai_log": json.dumps(log, ensure_ascii=False)}, ensure_ascii=False)
    return f"{text}\n".encode()


def talk(number: int, *messages: dict[str, Any], **given: Any) -> bytes:
    """A round of the talk, with the messages so far; the last of them is the question, as Higress logs it."""
    return record(TALK, number, messages=list(messages), question=messages[-1]["content"], **given)


def hostile() -> list[bytes]:
    """Markup, and text that turns around what follows, wherever a log can hold text."""
    text = f"{MARKUP}{REVERSE}txet"
    messages = [
        {"role": text, "content": text, "name": text},
        {
            "role": "user",
            "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": text}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": text, "function": {"name": text, "arguments": text}}],
        },
        {"role": "tool", "tool_call_id": text, "content": text},
    ]
    return [
        record(
            EVIL,
            1,
            **dict.fromkeys(
                ("model", "consumer", "question", "answer", "reasoning", "route_name", "custom", "path"), text
            ),
            messages=messages,
            tool_calls=[{"function": {"name": text, "arguments": json.dumps({text: text})}}],
        ),
        record(EVIL, 2, model=text, answer=[{"type": text}], reasoning={"a": text}, tool_calls=text, messages=text),
        record("agent:main:explicit:parts", 1, system=[{"type": "text", "text": text}], messages=messages, answer=text),
    ]


def conversation() -> list[bytes]:
    """Two turns with a tool and a very long answer, as a client sends them."""
    first = {"role": "user", "content": "Which files changed today?"}
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "exec", "arguments": '{"command":"git status -s"}'},
    }
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": " M server.py\n?? notes.txt"}
    answer = "Two files changed. " + "Here is why, at length. " * 400 + "END OF THE ANSWER"
    return [
        talk(1, first, answer=None, tool_calls=[call]),
        talk(2, first, asked, result, answer=answer, reasoning="The second one is new."),
        talk(3, first, asked, result, {"role": "assistant", "content": answer}, {"role": "user", "content": "Thanks."},
             answer="You are welcome.", response_code="429"),
    ]  # fmt: skip


@contextlib.contextmanager
def serving(log: Path, data: Path, *, rounds: int, settings: str | None = None) -> Iterator[str]:
    """The address of the command `serve --http`, once it has read `rounds` rounds."""
    with daemon(Place(log.parent, log, data, Expected()), settings=settings) as served:

        def read() -> bool:
            answer = httpx2.get(f"{served.base}/api/stats")
            return answer.status_code == 200 and answer.json()["totals"].get("rounds", 0) >= rounds

        wait_for("the log is read", read)
        yield served.base


def write_log(path: Path, expected: Expected, more: Sequence[bytes] = ()) -> None:
    """Samples, and `more`."""
    with path.open("wb") as file:
        file.writelines(lines(DEMO, seed=3, limit=1_200, expected=expected))
        file.writelines(more)
