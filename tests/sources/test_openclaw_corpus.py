"""State folders that real releases of OpenClaw wrote, against what the provider really sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.rounds import NO_USAGE, Round
from monitor.sources.openclaw import StateFolder
from tests.openclaw import RELEASES, calls, once, real, truth

#: Requests that are in no transcript: the compaction call of each release, by its place among the requests.
UNRECORDED = {("2026.7.1", "compact"): {3}, ("2026.9.6", "compact"): {3}}
#: The release keeps no key for a deleted session.
NAMELESS = {("2026.7.1", "delete"): "54569877-0a00-4b36-a72a-b58f7d3bc8ca"}
CASES = [(release, case) for release in RELEASES for case in truth(release)]


def expected(release: str, case: str) -> list[tuple[str, int, int, int, int, str]]:
    """What the provider sent for the calls that have counts: model, input, output, cached, reasoning, response id."""
    return sorted(
        (
            request["model"],
            sent["prompt_tokens"],
            sent["completion_tokens"],
            (sent.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
            (sent.get("completion_tokens_details") or {}).get("reasoning_tokens", 0),
            request["response_id"],
        )
        for number, request in enumerate(truth(release)[case]["requests"])
        if (sent := request["usage_sent"]) is not None and number not in UNRECORDED.get((release, case), set())
    )


def told(rounds: list[Round]) -> list[tuple[Any, ...]]:
    """The same of calls that were read."""
    return sorted(
        (
            r.model,
            r.usage.input_tokens,
            r.usage.output_tokens,
            r.usage.cached_tokens,
            r.usage.reasoning_tokens or 0,
            r.response_id,
        )
        for r in rounds
        if r.usage.known
    )


def of_case(rounds: list[Round], release: str, case: str) -> list[Round]:
    """The calls of a case, those of its sub-agents among them."""
    key = truth(release)[case]["session_key"]
    names = {key, NAMELESS.get((release, case))}
    if case == "spawn":
        names |= {r.session_id for r in rounds if (r.session_id or "").startswith("agent:main:subagent:")}
    return [r for r in rounds if r.session_id in names]


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Each release in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Round]]:
    """The calls of each release, each once."""
    return {
        release: list(once(calls(StateFolder(real(release, tmp_path_factory.mktemp("state"))))).values())
        for release in RELEASES
    }


@pytest.mark.parametrize(("release_", "case"), CASES)
def test_every_call_of_a_case_has_the_counts_that_the_provider_sent(
    read: dict[str, list[Round]], release_: str, case: str
) -> None:
    assert told(of_case(read[release_], release_, case)) == expected(release_, case)


def test_nothing_is_counted_that_belongs_to_no_case(read: dict[str, list[Round]], release: str) -> None:
    assert told(read[release]) == sorted(one for case in truth(release) for one in expected(release, case))


def test_calls_without_counts_are_there_and_cost_nothing_that_is_known(
    read: dict[str, list[Round]], release: str
) -> None:
    for case, failed in (("error", True), ("error500", True), ("nousage", False), ("drop", release == "2026.9.6")):
        silent = [r for r in of_case(read[release], release, case) if not r.usage.known]
        assert len(silent) == 1, case
        assert silent[0].usage == NO_USAGE
        assert silent[0].reported is None
        assert silent[0].success is not failed, case


def test_the_cost_that_openclaw_worked_out_stays_exact(read: dict[str, list[Round]], release: str) -> None:
    # USD per million tokens as they were configured: (input, output, cached).
    prices = {"mock-a": (1_000, 2_000, 100), "mock-b": (10_000, 20_000, 1_000)}
    for r in read[release]:
        if not r.usage.known:
            continue
        input_, output, cached = prices[r.model or ""]
        fresh = (r.usage.input_tokens or 0) - (r.usage.cached_tokens or 0)
        nano = fresh * input_ + (r.usage.output_tokens or 0) * output + (r.usage.cached_tokens or 0) * cached
        assert r.reported is not None
        assert (r.reported.nano, r.reported.currency) == (nano, "USD")


def test_a_second_reading_finds_nothing_new(tmp_path: Path, release: str) -> None:
    folder = real(release, tmp_path)
    reader = StateFolder(folder)
    cursors = [cursor for found in reader.read() for cursor in found.cursors]
    assert calls(reader) == []
    assert calls(StateFolder(folder, cursors)) == []


def test_a_file_that_was_put_away_at_a_reset_is_named_by_the_session_that_followed(
    read: dict[str, list[Round]],
) -> None:
    (first, _) = sorted(of_case(read["2026.7.1"], "2026.7.1", "reset"), key=lambda r: r.started_at)
    assert first.session_aliases == ("693b2b50-5cc9-4ecd-8cc7-7e0becf475d1",)


def test_a_reset_is_seen_and_a_compaction_is_none(read: dict[str, list[Round]], release: str) -> None:
    for case in ("reset", "slashnew"):
        if (release, case) == ("2026.7.1", "slashnew"):
            continue  # that release writes nothing down at /new when the session is asked over the gateway
        assert len({r.opening for r in of_case(read[release], release, case)}) == 2, case
    assert len({r.opening for r in of_case(read[release], release, "compact")}) == 1


def test_what_was_said_is_kept_with_its_calls(read: dict[str, list[Round]], release: str) -> None:
    first, second = sorted(of_case(read[release], release, "tool"), key=lambda r: r.started_at)
    assert first.conversation is not None
    assert second.conversation is not None
    assert first.conversation.tool_calls is not None
    assert b"standin__echo" in first.conversation.tool_calls
    assert b"Use the tool" in (first.conversation.question or b"")
    assert second.conversation.base == first.conversation.end
    assert second.conversation.whole is not None
    assert second.conversation.whole()[: first.conversation.end.count] == first.conversation.messages
    assert b"TOOL-RESULT-ECHO" in (second.conversation.answer or b"")
