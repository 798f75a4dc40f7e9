"""What was said, in the form that gateways log: OpenClaw's messages become those of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from monitor.rounds import Conversation, Position
from monitor.sources.openclaw.values import encode, mapping


class Said(msgspec.Struct, frozen=True):
    """What an assistant message holds, each part as JSON; None where there is none."""

    answer: bytes | None = None
    reasoning: bytes | None = None
    tool_calls: bytes | None = None


class Talk:
    """The messages that the next call of a session has before it, as they came one by one."""

    def __init__(self) -> None:
        #: Bytes that are remembered.
        self.size = 0
        self._messages: list[bytes] = []
        self._base = Position.start()
        self._new: list[bytes] = []
        self._question: bytes | None = None

    def anew(self, summary: object = None) -> None:
        """What was said before is not sent any more; after a compaction a summary stands for it."""
        self._messages, self._new, self._base, self.size = [], [], Position.start(), 0
        if isinstance(summary, str) and summary:
            self._add({"role": "user", "content": summary})

    def user(self, message: Mapping[str, Any]) -> None:
        """The user said something."""
        content = message.get("content")
        self._question = encode(content)
        self._add({"role": "user", "content": content})

    def tool(self, message: Mapping[str, Any]) -> None:
        """A tool gave a result."""
        self._add({"role": "tool", "tool_call_id": message.get("toolCallId"), "content": message.get("content")})

    def answered(self, message: Mapping[str, Any]) -> Conversation:
        """The call that an assistant message answers; what it said belongs to the next one."""
        said = said_in(message)
        end = self._base.after(self._new)
        whole = _First(self._messages, len(self._messages))
        conversation = Conversation(
            messages=tuple(self._new),
            end=end,
            base=self._base,
            whole=whole if self._base.count else None,
            question=self._question,
            answer=said.answer,
            reasoning=said.reasoning,
            tool_calls=said.tool_calls,
        )
        self._base, self._new = end, []
        answer = {"role": "assistant", "content": msgspec.Raw(said.answer) if said.answer is not None else None}
        if said.tool_calls is not None:
            answer["tool_calls"] = msgspec.Raw(said.tool_calls)
        self._add(answer)
        return conversation

    def _add(self, message: dict[str, Any]) -> None:
        text = encode(message)
        self.size += len(text)
        self._messages.append(text)
        self._new.append(text)


class _First:
    """The first messages of a list that grows."""

    __slots__ = ("_count", "_messages")

    def __init__(self, messages: list[bytes], count: int) -> None:
        self._messages = messages
        self._count = count

    def __call__(self) -> tuple[bytes, ...]:
        return tuple(self._messages[: self._count])


def said_in(message: Mapping[str, Any]) -> Said:
    """Text, thoughts and tool calls of an assistant message."""
    content = message.get("content")
    if isinstance(content, str):
        return Said(encode(content) if content else None)
    texts, thoughts, calls = [], [], []
    for part in content if isinstance(content, list) else ():
        part = mapping(part)
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") == "thinking" and isinstance(part.get("thinking"), str):
            thoughts.append(part["thinking"])
        elif part.get("type") == "toolCall":
            arguments = encode(part.get("arguments")).decode()
            calls.append(
                {
                    "id": part.get("id"),
                    "type": "function",
                    "function": {"name": part.get("name"), "arguments": arguments},
                }
            )
    return Said(
        encode("\n".join(texts)) if texts else None,
        encode("\n".join(thoughts)) if any(thoughts) else None,
        encode(calls) if calls else None,
    )
