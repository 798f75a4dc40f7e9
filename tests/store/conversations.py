"""Conversations for tests: random ones with edits, branches and compaction, and long ones that only go on."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from monitor.rounds import START, Conversation, Position
from monitor.store.base import Content

JULY = 1_782_900_000_000
AUGUST = JULY + 35 * 86_400_000
HOUR = 3_600_000

Messages = tuple[bytes, ...]


def js(value: object) -> bytes:
    """JSON as the gateway's language writes it: compact, keys in order, markup escaped."""
    return msgspec.json.encode(value, order="sorted").replace(b"<", b"\\u003c").replace(b">", b"\\u003e")


def message(role: str, content: object, **more: object) -> bytes:
    return js({"role": role, "content": content, **more})


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def complete(messages: Messages, system: bytes | None = None, **said: bytes | None) -> Conversation:
    """A conversation whose source recognised nothing."""
    end = Position.start(system).after(messages)
    return Conversation(messages, end, START, None, system, **said)  # type: ignore[arg-type]


def after(base: Position, everything: Messages, system: bytes | None = None, **said: bytes | None) -> Conversation:
    """A conversation whose source had seen it up to `base`."""
    new = everything[base.count :]
    return Conversation(new, base.after(new), base, lambda: everything, system, **said)  # type: ignore[arg-type]


def expected(conversation: Conversation, everything: Messages) -> Content:
    return Content(
        everything if conversation.truncated is None else None,
        0,
        conversation.system,
        conversation.truncated,
        conversation.question,
        conversation.answer,
        conversation.reasoning,
        conversation.tool_calls,
    )


def without_place(content: Content | None) -> Content:
    assert content is not None
    return msgspec.structs.replace(content, new_from=0)


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["<b>安安静静</b>", "🦊 and \u2028", "", "an answer that is long enough to be referred to " * 3]),
)
TOOL_CALLS = st.builds(
    lambda name, arguments: [{"id": f"call_{name}_abcdefghijklmnop", "function": {"arguments": arguments}}],
    st.text(max_size=8),
    TEXTS,
)


class Step(msgspec.Struct):
    """One round of a random tree of conversations."""

    parent: int
    keep: float
    new: list[bytes]
    answered: bool
    system: bytes | None
    answer: bytes | None
    tool_calls: bytes | None
    cut: bool
    august: bool
    passing: int
    knows_base: bool
    batch_ends: bool


STEPS = st.builds(
    Step,
    parent=st.integers(0, 30),
    keep=st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.0]),
    new=st.lists(
        st.builds(message, st.sampled_from(["user", "tool", "system", "assistant"]), TEXTS)
        | st.sampled_from([b"null", b'"not an object"', b'{"role":["system"]}', message("user", "x" * 300)]),
        max_size=4,
    ),
    answered=st.booleans(),
    system=st.sampled_from([None, None, js("You are an agent."), js([{"type": "text", "text": "你好"}])]),
    answer=st.none() | st.builds(js, TEXTS) | st.just(b"null"),
    tool_calls=st.none() | st.builds(js, TOOL_CALLS),
    cut=st.sampled_from([False] * 7 + [True]),
    august=st.sampled_from([False] * 4 + [True]),
    passing=st.sampled_from([0] * 5 + [1, 2]),
    knows_base=st.booleans(),
    batch_ends=st.booleans(),
)


class Told(NamedTuple):
    """One round of a tree of conversations, and what is to be read back."""

    key: bytes
    at: int
    conversation: Conversation
    content: Content
    batch_ends: bool


def grown(steps: Sequence[Step]) -> list[Told]:
    """The rounds that some steps lead to; `new_from` of their contents is left at 0."""
    told: list[tuple[Messages, bytes | None, bytes | None, bytes | None]] = []
    rounds: list[Told] = []
    for number, step in enumerate(steps):
        before: Messages = ()
        system = step.system
        if told:
            old, system, answer, calls = told[step.parent % len(told)]
            before = old[: int(len(old) * step.keep)]
            if step.answered and step.keep == 1 and (answer or calls):
                reply = b'{"content":' + (answer or b"null") + b',"tool_calls":' + (calls or b"null") + b"}"
                before = (*before, reply)
        everything = (*before, *step.new)
        question = None
        if everything:
            with_content = json.loads(everything[-1])
            if isinstance(with_content, dict) and isinstance(with_content.get("content"), str):
                question = js(with_content["content"])
        told.append((everything, system, step.answer, step.tool_calls))
        said = {"question": question, "answer": step.answer, "tool_calls": step.tool_calls}
        if step.cut:
            everything = ()
            conversation = complete((), system, truncated=js("[map[content:… [truncated] …"), **said)
        elif step.knows_base and before:
            conversation = after(Position.start(system).after(before), everything, system, **said)
        else:
            conversation = complete(everything, system, **said)
        conversation = msgspec.structs.replace(conversation, passing=min(step.passing, len(conversation.messages)))
        at = (AUGUST if step.august else JULY) + number * 1000
        rounds.append(Told(key(number), at, conversation, expected(conversation, everything), step.batch_ends))
    return rounds


def session(turns: int, seed: int = 0) -> list[tuple[Messages, dict[str, bytes]]]:
    """Each turn's complete messages, and what was said. Random words, so that only sharing saves space."""
    luck = random.Random(seed)
    messages: Messages = (message("system", luck.randbytes(2000).hex()),)
    turns_: list[tuple[Messages, dict[str, bytes]]] = []
    for _ in range(turns):
        question, answer = luck.randbytes(200).hex(), luck.randbytes(500).hex()
        messages = (*messages, message("user", question))
        turns_.append((messages, {"question": js(question), "answer": js(answer)}))
        messages = (*messages, message("assistant", answer))
    return turns_


def chained(turns: list[tuple[Messages, dict[str, bytes]]]) -> list[Conversation]:
    conversations = [complete(turns[0][0], None, **turns[0][1])]
    for (before, _), (everything, said) in pairwise(turns):
        conversations.append(after(START.after(before), everything, None, **said))
    return conversations
