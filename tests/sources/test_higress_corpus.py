"""Lines as they stand in Higress access logs, and what a right reader makes of each."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.rounds import UNKNOWN_TIME, Position, Round
from monitor.sources.higress import HigressReader, Reading, Skipped

CORPUS = Path(__file__).parent.parent / "corpus"
LINES = (CORPUS / "higress.jsonl").read_bytes().split(b"\n")
EXPECTED: dict[int, dict[str, Any]] = {
    answer["line"]: answer for answer in json.loads((CORPUS / "higress.expected.json").read_text("utf-8"))["lines"]
}
PARTIAL = 43
ROUNDS = [number for number, answer in EXPECTED.items() if answer["is_ai_round"]]
OTHERS = [number for number, answer in EXPECTED.items() if not answer["is_ai_round"] and number != PARTIAL]


def read(number: int) -> Reading | Skipped:
    return HigressReader().read(LINES[number - 1])


def round_of(number: int) -> Round:
    reading = read(number)
    assert isinstance(reading, Reading), reading
    return reading.round


def extra_of(number: int) -> dict[str, Any]:
    extra = round_of(number).extra
    if extra is None:
        return {}
    value = json.loads(extra)
    assert isinstance(value, dict)
    return value


def epoch_ms(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


def assert_answers(round_: Round, answer: dict[str, Any]) -> None:
    """All that the expected answer says, and our inclusive counts where it gives them."""
    ours = answer.get("normalized", {})
    usage = round_.usage
    assert round_.session_id == answer["session_id"]
    assert round_.model == answer["model"]
    assert usage.input_tokens == ours.get("prompt_tokens_total", answer["input_tokens"])
    assert usage.output_tokens == ours.get("completion_tokens_total", answer["output_tokens"])
    # What the log does not say stays unknown: None, not 0, and nothing is guessed from a text's length.
    assert usage.reasoning_tokens == answer["reasoning_tokens"]
    # Where cached tokens are debatable (line 6), the expected file prefers what was read from the cache:
    # writes cost more than other input and are kept beside it.
    assert usage.cached_tokens == answer["cached_tokens"]
    assert usage.cache_write_tokens == answer.get("cache_creation_tokens")
    assert round_.started_at == epoch_ms(answer["timestamp"])
    # The first accepted value: a 200 that was cut off (line 18, DC) did not succeed; a record without a
    # response code (lines 30 and 31) did, since it has counts; an attempt that fell back (41) did not.
    assert round_.success is answer["success"]
    # `llm_service_duration` is preferred to the outer `duration`, which holds the gateway's own work.
    assert round_.latency_ms == answer["latency_ms"]
    assert round_.ttft_ms == answer.get("ttft_ms")
    for name, value in (
        ("status", round_.status),
        ("request_id", round_.request_id),
        ("response_type", round_.response_type),
    ):
        if name in answer:
            assert value == answer[name], name


def test_the_corpus_and_its_answers_belong_together() -> None:
    assert list(EXPECTED) == list(range(1, len(LINES) + 1))
    assert len(ROUNDS) == 34
    assert len(OTHERS) == 8


@pytest.mark.parametrize("number", ROUNDS, ids=lambda n: f"{n}-{EXPECTED[n]['category']}")
def test_every_round_is_read_as_expected(number: int) -> None:
    assert_answers(round_of(number), EXPECTED[number])


@pytest.mark.parametrize("number", OTHERS, ids=lambda n: f"{n}-{EXPECTED[n]['category']}")
def test_every_other_line_is_skipped_for_the_right_reason(number: int) -> None:
    # Line 10 is debatable: GET /v1/models has an ai_log, but nobody asked a model anything.
    skipped = read(number)
    assert isinstance(skipped, Skipped)
    assert skipped.reason == EXPECTED[number]["kind"]


def test_a_skipped_line_is_handed_over_only_where_somebody_should_look_at_it() -> None:
    assert read(36) == Skipped("malformed", LINES[35])
    assert read(37) == Skipped("malformed", LINES[36])
    assert read(34) == Skipped("foreign", LINES[33])
    assert read(13) == Skipped("non_ai")
    assert read(33) == Skipped("blank")


def test_one_reader_for_all_lines_answers_like_a_fresh_one_for_each() -> None:
    reader = HigressReader()
    for _ in range(2):
        for number, line in enumerate(LINES, 1):
            assert reader.read(line) == read(number), number


def test_a_line_says_the_same_with_any_line_end() -> None:
    assert round_of(1) == HigressReader().read(LINES[0] + b"\r\n").round  # type: ignore[union-attr]
    assert LINES[38].endswith(b"\r")
    assert round_of(39) == HigressReader().read(LINES[38].rstrip(b"\r")).round  # type: ignore[union-attr]


def test_a_repeated_line_is_the_same_round() -> None:
    # Debatable only in how often it is counted: the key is equal, so a store counts it once.
    first, second = read(1), read(40)
    assert isinstance(first, Reading)
    assert first == second
    assert first.unique


def test_attempts_of_one_request_are_two_rounds() -> None:
    first, second = round_of(41), round_of(42)
    assert first.request_id == second.request_id
    assert first.started_at == second.started_at
    assert first.key != second.key
    assert (first.success, second.success) == (False, True)
    # What was not answered used nothing that we know of; the model is the second attempt's alone.
    assert not first.usage.known
    assert first.model is None


def test_all_keys_but_the_repeated_one_differ() -> None:
    keys = [round_of(number).key for number in ROUNDS if number != 40]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {16}


def test_the_unfinished_last_line_gives_its_round_once_it_is_complete() -> None:
    answer = EXPECTED[PARTIAL]
    # Read too early it is malformed, never a round: whoever follows the file waits for the line end.
    early = HigressReader().read(LINES[PARTIAL - 1])
    assert isinstance(early, Skipped)
    assert early.reason == "malformed"
    late = HigressReader().read(LINES[PARTIAL - 1] + bytes.fromhex(answer["append_to_complete_hex"]))
    assert isinstance(late, Reading)
    assert_answers(late.round, answer["expected_after_completion"])
    assert late.round.conversation is not None
    assert [json.loads(m) for m in late.round.conversation.messages] == [{"content": "最后一行 🦞", "role": "user"}]


# --- Token counts ------------------------------------------------------------------------------

CONVENTIONS = {
    6: ("anthropic", False),
    # A native Claude stream whose last usage block had no cache fields: they were charged and are lost.
    7: ("openai", True),
    8: ("gemini", False),
    # Bedrock: how much of the 9000 was written, at the dearer price, nobody can say.
    9: ("exclusive_cache", True),
}


@pytest.mark.parametrize("number", ROUNDS)
def test_the_convention_is_read_off_the_record(number: int) -> None:
    usage = round_of(number).usage
    assert (usage.convention, usage.lower_bound) == CONVENTIONS.get(number, ("openai", False))


def test_anthropics_cache_counts_come_on_top_and_stay_apart() -> None:
    usage = round_of(6).usage
    assert usage.input_tokens == 14 + 24000 + 1800
    assert (usage.cached_tokens, usage.cache_write_tokens) == (24000, 1800)
    assert usage.cache_write_1h_tokens is None


@pytest.mark.parametrize(
    ("number", "raw"),
    [
        (6, {"input_token": 14, "output_token": 220, "total_token": 26034}),
        (8, {"input_token": 1000, "output_token": 77, "total_token": 1327}),
        (9, {"input_token": 12, "output_token": 90, "total_token": 102, "cached_tokens": 9000}),
    ],
)
def test_counts_that_were_rewritten_are_kept_as_they_stood(number: int, raw: dict[str, int]) -> None:
    extra = extra_of(number)
    assert extra["raw"] == raw
    assert extra["convention"] == round_of(number).usage.convention


def test_counts_that_mean_what_they_say_are_not_kept_twice() -> None:
    assert "raw" not in extra_of(1)


def test_zero_and_unknown_are_two_things() -> None:
    assert round_of(2).usage.cached_tokens == 0
    assert round_of(2).usage.reasoning_tokens is None
    assert not round_of(11).usage.known
    assert round_of(11).usage.total_tokens is None


def test_reasoning_text_without_a_count_is_not_estimated() -> None:
    round_ = round_of(5)
    assert round_.conversation is not None
    assert round_.conversation.reasoning is not None
    assert round_.usage.reasoning_tokens is None


# --- What has no field of its own ----------------------------------------------------------------


def test_details_are_kept_whether_they_were_an_object_or_a_string() -> None:
    assert extra_of(1)["input_token_details"] == {"audio_tokens": 0, "cached_tokens": 1024}
    assert extra_of(1)["output_token_details"] == {"accepted_prediction_tokens": 0, "reasoning_tokens": 128}
    assert extra_of(4)["input_token_details"] == {"audio_tokens": 0, "cached_tokens": 2048}
    assert extra_of(6)["input_token_details"] == {
        "cache_creation_input_tokens": 1800,
        "cache_read_input_tokens": 24000,
    }
    assert extra_of(31)["input_token_details"] == {"cached_tokens": 900}
    assert extra_of(31)["output_token_details"] == {"reasoning_tokens": 40}


def test_attributes_of_a_deployment_are_kept_with_their_values() -> None:
    round_ = round_of(12)
    assert round_.consumer == "alice"
    extra = extra_of(12)
    assert extra["request_model"] == "higress/auto"
    assert extra["fields"] == {"missing": "", "missingbody": None}


def test_flags_and_details_of_a_failure_are_kept() -> None:
    assert extra_of(17)["response_flags"] == "DC"
    assert extra_of(16)["response_flags"] == "UH"
    assert "response_flags" not in extra_of(15)
    assert extra_of(41)["response_code_details"] == "internal_redirect"


def test_path_and_api_are_kept_where_they_say_something() -> None:
    assert extra_of(6)["path"] == "/v1/messages"
    assert "path" not in extra_of(1)
    assert extra_of(30)["api"] == "Qwen3-rerank@higress"
    assert "api" not in extra_of(1)


def test_a_collectors_own_fields_are_not_kept() -> None:
    for number in (30, 31, 32):
        assert not any(name.startswith("__") for name in extra_of(number).get("fields", {}))


def test_where_a_round_went_is_known() -> None:
    round_ = round_of(42)
    assert round_.host == "llm-aliyun.internal.dns"
    assert round_.route == "ai-route-openai.internal-fallback"
    assert round_.response_id == "chatcmpl-Cx1"
    assert round_of(30).host is None


# --- Sessions, conversations, hostile headers ------------------------------------------------------


def test_a_round_without_a_session_id_is_in_no_session() -> None:
    round_ = round_of(29)
    assert (round_.session_id, round_.session_source) == (None, None)
    # Line 23 is debatable for tools that call "no session" default: here it is a session like any other.
    assert (round_of(23).session_id, round_of(23).session_source) == ("default", "header")


def test_a_forged_header_changes_nothing() -> None:
    # Debatable for readers that drop such a line: the round happened and was paid for, and ai_log, the
    # first field, is properly escaped.
    round_ = round_of(38)
    assert (round_.session_id, round_.model, round_.status) == ("S-brk", "glm-5", 200)
    assert round_.success
    assert b"victim" not in msgspec.json.encode(extra_of(38))


def test_messages_are_the_texts_that_were_logged() -> None:
    conversation = round_of(3).conversation
    assert conversation is not None
    assert conversation.messages == (b'{"content":"What is the weather in Oslo and in Bergen?","role":"user"}',)
    assert conversation.end == Position.start().after(conversation.messages)
    assert conversation.answer is None
    assert conversation.tool_calls is not None
    assert [call["function"]["name"] for call in json.loads(conversation.tool_calls)] == ["get_weather"] * 2
    assert round_of(3).has_tool_calls


def test_messages_that_the_gateway_cut_are_kept_as_the_string_that_they_became() -> None:
    conversation = round_of(28).conversation
    assert conversation is not None
    assert conversation.messages == ()
    assert conversation.truncated is not None
    text = json.loads(conversation.truncated)
    assert text.startswith("[map[content:")
    assert " [truncated] " in text


def test_characters_of_all_scripts_survive() -> None:
    conversation = round_of(25).conversation
    assert conversation is not None
    assert conversation.answer is not None
    assert json.loads(conversation.answer) == "مُبرمِجة 👩‍💻 プログラマー"
    controls = round_of(26).conversation
    assert controls is not None
    assert json.loads(controls.messages[0])["content"].startswith("line1\nline2\r\n\ttab \0nul \x1b[31mred\x7f \u2028")


def test_a_history_with_tool_calls_and_empty_contents_keeps_every_message() -> None:
    conversation = round_of(27).conversation
    assert conversation is not None
    assert [json.loads(m)["role"] for m in conversation.messages] == ["user", "assistant", "tool"]


def test_a_round_without_messages_has_no_conversation() -> None:
    assert round_of(1).conversation is None
    assert not round_of(1).has_tool_calls


def test_a_time_comes_from_the_record_but_never_from_the_clock() -> None:
    assert round_of(32).started_at == 1_769_938_940_000
    unknown = HigressReader().read(b'{"ai_log":"{\\"model\\":\\"glm-5\\",\\"input_token\\":1}"}')
    assert isinstance(unknown, Reading)
    assert unknown.round.started_at == UNKNOWN_TIME
