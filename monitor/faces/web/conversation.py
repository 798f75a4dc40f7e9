"""What was said in a round, in blocks that a person reads: who speaks, the text, a tool and its arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from monitor.answers.sessions import RoundRow

#: A block longer than this is folded until it is asked for; one longer than the second is never shown whole.
FOLDED_CHARS = 1_600
MOST_CHARS = 200_000
#: Where a client changes the beginning of its conversation, such as a time in the system prompt, every round seems
#: to add all of it: in a list of rounds so many of the last blocks are shown.
MOST_BLOCKS = 12
_PREVIEW_CHARS = 160
_KNOWN_ROLES = ("user", "system", "developer", "assistant", "tool")
#: How the parts of a message call a text.
_TEXTS = ("text", "input_text", "output_text", "thinking", "refusal")


class Block(msgspec.Struct, frozen=True):
    """One piece of a conversation. `role` is the key of its name in the catalog."""

    role: str
    text: str
    #: The name of a tool, or of a role that the catalog does not have.
    name: str | None = None
    is_call: bool = False

    @property
    def is_background(self) -> bool:
        """Whether it is no news: instructions, or what an earlier round answered and the client sends back."""
        return self.role in ("assistant", "system", "developer")


def said(row: RoundRow) -> list[Block]:
    """What a round added: its new messages, then reasoning, answer and tool calls."""
    blocks: list[Block] = []
    if isinstance(row.messages, list):
        blocks += messages(row.messages)
    elif row.messages is not None:
        blocks.append(Block("cut", _text(row.messages)))
    elif row.question is not None:
        blocks.append(Block("question", _text(row.question)))
    if row.reasoning:
        blocks.append(Block("reasoning", _text(row.reasoning)))
    if row.answer:
        blocks.append(Block("answer", _text(row.answer)))
    if isinstance(row.tool_calls, list):
        blocks += [_call("answer", call) for call in row.tool_calls]
    elif row.tool_calls:
        blocks.append(Block("answer", _text(row.tool_calls), is_call=True))
    return blocks


def preview(blocks: list[Block]) -> str:
    """One line that tells a round from others: what the user said, else which tool was called, else the answer."""
    order = (
        [b for b in blocks if b.role in ("user", "question")],
        [b for b in blocks if b.role == "answer" and b.is_call],
        [b for b in blocks if b.role == "answer"],
        blocks,
    )
    chosen = next((found[-1] for found in order if found), None)
    if chosen is None:
        return ""
    # What OpenClaw adds stands at the end, what a person wrote at the beginning.
    line = " ".join(chosen.text[: 4 * _PREVIEW_CHARS].split())[:_PREVIEW_CHARS]
    return f"{chosen.name}  {line}" if chosen.is_call and chosen.name else line


def system(row: RoundRow) -> list[Block]:
    """The system prompt that stands beside the messages, as in Anthropic's requests."""
    return list(_parts("system", None, row.system)) if row.system else []


def messages(logged: list[Any]) -> list[Block]:
    """Messages as blocks; whatever is no message is shown as it stands."""
    blocks: list[Block] = []
    for message in logged:
        if not isinstance(message, dict):
            blocks.append(Block("message", _text(message)))
            continue
        role = message.get("role")
        key, name = (role, None) if role in _KNOWN_ROLES else ("message", None if role is None else str(role))
        found = list(_parts(key, name, message.get("content")))
        thought = message.get("reasoning_content")
        if isinstance(thought, str) and thought:
            found.insert(0, Block(key, thought, name))
        calls = message.get("tool_calls")
        found += [_call(key, call) for call in calls] if isinstance(calls, list) else []
        blocks += found or [Block(key, "", name)]
    return blocks


def _parts(role: str, name: str | None, content: Any) -> Iterator[Block]:
    if content is None:
        return
    if isinstance(content, str):
        yield Block(role, content, name)
        return
    for part in content if isinstance(content, list) else [content]:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("tool_use", "function_call"):
            yield _call(role, part)
        elif kind == "tool_result":
            inner = part.get("content")
            yield from _parts("tool", None, inner) if inner is not None else [Block("tool", "")]
        else:
            texts = [part[field] for field in _TEXTS if isinstance(part, dict) and isinstance(part.get(field), str)]
            yield Block(role, texts[0] if len(texts) == 1 else _text(part), name)


def _call(role: str, call: Any) -> Block:
    """A tool call in any of the forms that clients and providers use; arguments are laid out where they are JSON."""
    function = call.get("function") if isinstance(call, dict) else None
    inner = function if isinstance(function, dict) else call
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        return Block(role, _text(call), is_call=True)
    given = inner.get("arguments", inner.get("input", ""))
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return Block(role, given, inner["name"], is_call=True)
    return Block(role, _arguments(given), inner["name"], is_call=True)


def _arguments(given: Any) -> str:
    """Named values a line each; a long text under its name, as it was meant to be read."""
    if not isinstance(given, dict) or not given:
        return _text(given)
    lines = []
    for name, value in given.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        lines.append(f"{name}:\n{shown}" if "\n" in shown else f"{name}: {shown}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
