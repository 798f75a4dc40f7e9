"""A real OpenClaw asks for its own spend in mid-conversation, and is told what the provider sent, to the last unit."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import run
from tests.openclaw_real.provider import SPEND, Provider, Sent, session_key
from tests.openclaw_real.real import MODEL, PRICES, OpenClaw

ONE, TWO = "agent:main:one", "agent:main:two"


@dataclass
class Talk:
    """Two conversations of one OpenClaw, one of them compacted on the way."""

    openclaw: OpenClaw
    sent: Sequence[Sent]
    #: What the agent was told each time it asked.
    first: dict[str, Any]
    other: dict[str, Any]
    compacted: dict[str, Any]
    #: The configuration before `skill install` and after the last turn.
    before: bytes
    after: bytes
    #: Addresses elsewhere that were wanted.
    outside: Sequence[str]

    def calls(self, key: str) -> list[Sent]:
        """The calls of a conversation, its compaction included, in order."""
        ids = {bare(sent.session_id) for sent in self.sent if session_key(sent.body["messages"]) == key}
        return [sent for sent in self.sent if bare(sent.session_id) in ids]

    def up_to(self, key: str, asked: int) -> list[Sent]:
        """The calls of a conversation up to the one that asked for the spend, the first or a later one."""
        calls = self.calls(key)
        last = [place for place, sent in enumerate(calls) if _asks(sent)][asked]
        return calls[: last + 1]


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Talk:
    folder = tmp_path_factory.mktemp("openclaw")
    with Provider(folder / "access.log", session_id_header="x-session-affinity") as provider:
        openclaw = OpenClaw(folder, provider)
        before = openclaw.config.read_bytes()
        openclaw.monitor("skill", "install", "--yes", "--client", "openclaw")
        with openclaw.running():
            openclaw.turn(ONE, "Good morning")
            first = told(openclaw.turn(ONE, SPEND))
            other = told(openclaw.turn(TWO, SPEND))
            openclaw.call("sessions.compact", key=ONE)
            compacted = told(openclaw.turn(ONE, SPEND))
        after = openclaw.config.read_bytes()
    return Talk(openclaw, provider.sent, first, other, compacted, before, after, provider.outside)


def told(said: str) -> dict[str, Any]:
    """The answer of our tool, from what the agent repeats of it: JSON in JSON, in a frame that OpenClaw puts around."""
    start = said.index("{", said.index("The tool says:"))
    frame, _ = json.JSONDecoder().raw_decode(said, start)
    [text] = [part["text"] for part in frame["result"]["content"]]
    answer: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return answer


def bare(session_id: str | None) -> str:
    assert session_id is not None
    return re.sub(r":\d+$", "", session_id)


def _asks(sent: Sent) -> bool:
    return sent.said.get("tool_calls") is not None


def cost(calls: Sequence[Sent]) -> Decimal:
    """What the calls cost by the price list, in dollars."""
    whole, out, kept = map(Decimal, PRICES)
    parts = ((sent.prompt - sent.cached) * whole + sent.completion * out + sent.cached * kept for sent in calls)
    return sum(parts, Decimal()) / 1_000_000


def check(answer: dict[str, Any], key: str, calls: Sequence[Sent]) -> None:
    """The answer holds exactly these calls."""
    assert answer["session_id"] == key
    assert answer["messages_count"] == len(calls)
    assert answer["total_input_tokens"] == sum(sent.prompt for sent in calls)
    assert answer["total_output_tokens"] == sum(sent.completion for sent in calls)
    assert answer["total_cached_tokens"] == sum(sent.cached for sent in calls)
    assert answer["cost"] == {"USD": cost(calls)}
    assert answer["failed_rounds"] == 0
    assert [row["model"] for row in answer["models"]] == [MODEL]


def test_the_agent_is_told_what_the_provider_sent_to_the_token_and_the_nano_unit(talk: Talk) -> None:
    calls = talk.up_to(ONE, 0)
    assert len(calls) == 2
    check(talk.first, ONE, calls)


def test_another_conversation_is_told_its_own_even_in_its_first_turn(talk: Talk) -> None:
    calls = talk.up_to(TWO, 0)
    assert len(calls) == 1
    check(talk.other, TWO, calls)


def test_after_a_compaction_the_figure_holds_that_call_and_the_session_is_still_the_same(talk: Talk) -> None:
    calls = talk.up_to(ONE, 1)
    assert [sent.tools for sent in calls] == [True, True, True, False, True]
    check(talk.compacted, ONE, calls)
    assert {bare(name) for name in talk.compacted["aliases"]} == {bare(calls[0].session_id)}


def test_both_meters_saw_it_and_each_call_counts_once(talk: Talk) -> None:
    assert talk.compacted["sources"] == ["higress", "openclaw"]
    rows = json.loads(talk.openclaw.monitor("list", "--json")[0], parse_float=Decimal)["sessions"]
    assert {row["session_id"]: (row["messages_count"], row["cost"]) for row in rows} == {
        key: (len(talk.calls(key)), {"USD": cost(talk.calls(key))}) for key in (ONE, TWO)
    }


def test_every_request_names_its_session_in_openclaws_header(talk: Talk) -> None:
    assert all(sent.headers["x-session-affinity"] == sent.session_id for sent in talk.sent)
    ids = [sent.session_id for sent in talk.calls(ONE)]
    whose = bare(ids[0])
    assert ids == [f"{whose}:0"] * 3 + [whose] + [f"{whose}:1"] * 2


def test_the_meters_differ_by_the_compaction_and_by_nothing_else(talk: Talk) -> None:
    answer = json.loads(talk.openclaw.monitor("reconcile", "--json")[0], parse_float=Decimal)
    [compaction] = [sent for sent in talk.sent if not sent.tools]
    only = {"rounds": 1, "input_tokens": compaction.prompt, "output_tokens": compaction.completion}
    assert answer["gateway_only"] == {**only, "cost": {"USD": cost([compaction])}}
    assert answer["joined"] == {"response_id": len(talk.sent) - 1}
    assert not {"transcript_only", "counts_differ", "cost_differs"} & answer.keys()
    [row] = answer["rows"]
    assert row["session_id"] == ONE
    assert [(finding["kind"], finding["cause"]) for finding in row["findings"]] == [("gateway_only", "compaction")]


def test_openclaws_records_alone_hold_all_but_the_compaction(talk: Talk, tmp_path: Path) -> None:
    said, _ = run(
        "list", "--json", "--log-path", talk.openclaw.state, "--data-dir", tmp_path, "--config", talk.openclaw.ours
    )
    rows = {row["session_id"]: row for row in json.loads(said, parse_float=Decimal)["sessions"]}
    assert rows.keys() == {ONE, TWO}
    for key, row in rows.items():
        calls = [sent for sent in talk.calls(key) if sent.tools]
        assert row["messages_count"] == len(calls)
        assert row["total_input_tokens"] == sum(sent.prompt for sent in calls)
        assert row["total_output_tokens"] == sum(sent.completion for sent in calls)
        assert row["total_cached_tokens"] == sum(sent.cached for sent in calls)
        assert row["cost"] == {"USD": cost(calls)}


def test_nothing_was_wanted_from_elsewhere(talk: Talk) -> None:
    assert talk.outside == []


def test_openclaw_takes_the_configuration_as_we_wrote_it_and_uninstall_gives_back_the_users(talk: Talk) -> None:
    assert json.loads(talk.openclaw.run("config", "validate", "--json"))["valid"] is True
    assert b"// asks nobody for a newer release" in talk.after
    talk.openclaw.monitor("skill", "uninstall", "--yes", "--client", "openclaw")
    assert talk.openclaw.config.read_bytes() == talk.before
