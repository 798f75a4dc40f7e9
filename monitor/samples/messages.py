"""Messages as the gateway's plugin logs them, and how they add up to a session's history."""

from __future__ import annotations

import random
from collections.abc import Sequence

from monitor.samples.turns import Session, Turn
from monitor.samples.wire import NEWLINE, arguments_text, uuid_text, wire


def say_system(session: Session) -> None:
    """The system prompt, where it is one of the messages; the context holds it in any case."""
    if session.model.shape != "anthropic":
        session.history += f'{{\\"content\\":\\"{session.system}\\",\\"role\\":\\"system\\"}}'.encode()


def top_system(session: Session) -> str:
    """The system prompt, where it stands beside the messages."""
    if session.model.shape != "anthropic":
        return "null"
    cache = '\\"cache_control\\":{\\"type\\":\\"ephemeral\\"}'
    return f'[{{{cache},\\"text\\":\\"{session.system}\\",\\"type\\":\\"text\\"}}]'


def say_question(session: Session, question: str, r: random.Random) -> None:
    """The user asks; OpenClaw puts a line about the session behind the first question."""
    text = question.replace("@@", session.number)
    if session.users == 1 and session.name is not None and session.client.openclaw:
        text += NEWLINE * 2 + _runtime_line(session, session.name, r)
    session.question = f'\\"{text}\\"'
    _say(session, f'{{\\"content\\":{session.question},\\"role\\":\\"user\\"}}')


def say_answer(turn: Turn) -> None:
    """The answer as the client sends it back in its next request."""
    session = turn.session
    if session.model.shape == "anthropic":
        blocks = [f'{{\\"text\\":\\"{answer_text(turn)}\\",\\"type\\":\\"text\\"}}']
        for (name, arguments, _), call_id in zip(turn.calls, turn.call_ids, strict=True):
            blocks.append(
                f'{{\\"id\\":\\"{call_id}\\",\\"input\\":{arguments_text(arguments, "object")},'
                f'\\"name\\":\\"{name}\\",\\"type\\":\\"tool_use\\"}}'
            )
        message = f'{{\\"content\\":[{",".join(blocks)}],\\"role\\":\\"assistant\\"}}'
    elif turn.call_ids:
        message = f'{{\\"content\\":null,\\"role\\":\\"assistant\\",\\"tool_calls\\":{map_calls(turn)}}}'
    else:
        message = f'{{\\"content\\":\\"{answer_text(turn)}\\",\\"role\\":\\"assistant\\"}}'
    _say(session, message)


def say_results(turn: Turn, texts: Sequence[str]) -> None:
    """The tools answer, each with one of the texts, and the client sends that to the model."""
    session = turn.session
    if session.model.shape != "anthropic":
        for call_id, text in zip(turn.call_ids, texts, strict=True):
            session.question = f'\\"{text}\\"'
            _say(
                session,
                f'{{\\"content\\":{session.question},\\"role\\":\\"tool\\",\\"tool_call_id\\":\\"{call_id}\\"}}',
            )
        return
    blocks = ",".join(
        f'{{\\"content\\":\\"{text}\\",\\"tool_use_id\\":\\"{call_id}\\",\\"type\\":\\"tool_result\\"}}'
        for call_id, text in zip(turn.call_ids, texts, strict=True)
    )
    session.users += 1  # the plugin counts messages of role "user", and Claude's tool results are of it
    session.question = f"[{blocks}]"
    _say(session, f'{{\\"content\\":{session.question},\\"role\\":\\"user\\"}}')


def answer_text(turn: Turn) -> str:
    """What the model says, besides the tools that it calls."""
    session = turn.session
    assert session.exchange is not None
    if turn.call_ids:
        return "我先看一下。" if session.language == "zh" else "Let me have a look first."
    return session.exchange.answer.replace("@@", session.number)


def map_calls(turn: Turn) -> str:
    """Tool calls that went through a Go map: keys in alphabetical order."""
    calls = (
        f'{{\\"function\\":{{\\"arguments\\":\\"{arguments_text(arguments, "text")}\\",'
        f'\\"name\\":\\"{name}\\"}},\\"id\\":\\"{call_id}\\",\\"type\\":\\"function\\"}}'
        for (name, arguments, _), call_id in zip(turn.calls, turn.call_ids, strict=True)
    )
    return f"[{','.join(calls)}]"


def struct_calls(turn: Turn) -> str:
    """Tool calls that were put together from a stream: fields in the order of a Go struct, no index 0."""
    claude = turn.session.model.shape == "anthropic"
    calls = []
    for i, ((name, arguments, _), call_id) in enumerate(zip(turn.calls, turn.call_ids, strict=True)):
        # In Claude's streams a text comes first, and the plugin keeps the {} that starts the arguments.
        place = i + claude
        index = f'\\"index\\":{place},' if place else ""
        text = ("{}" if claude else "") + arguments_text(arguments, "text")
        calls.append(
            f'{{{index}\\"id\\":\\"{call_id}\\",\\"type\\":\\"function\\",'
            f'\\"function\\":{{\\"name\\":\\"{name}\\",\\"arguments\\":\\"{text}\\"}}}}'
        )
    return f"[{','.join(calls)}]"


def _runtime_line(session: Session, key: str, r: random.Random) -> str:
    agent, _, channel = key.removeprefix("agent:").partition(":")
    identity = "" if channel.startswith("cron:") else f" | sessionId={uuid_text(r)}"
    return wire(
        f"Runtime: agent={agent} | session={key}{identity} | host=devbox.example.com"
        f" | os=Linux 6.8.0 (x64) | node=v24.11.0 | model=higress/{session.model.name}"
        f" | default_model=higress/auto | shell=bash | channel={channel.partition(':')[0]}"
    )


def _say(session: Session, message: str) -> None:
    data = message.encode()
    if session.history:
        session.history += b","
    session.history += data
    session.context += len(data) // 4
