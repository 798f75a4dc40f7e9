"""The sample logs are the same for the same seed, shaped like real ones, and hold what `Expected` says."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from monitor import samples
from monitor.samples import PROFILES, Client, Expected, Profile, Writer, lines
from monitor.samples import __main__ as command_line

OUTER = [
    "ai_log",
    "authority",
    "bytes_received",
    "bytes_sent",
    "downstream_local_address",
    "downstream_remote_address",
    "duration",
    "istio_policy_status",
    "method",
    "path",
    "protocol",
    "request_id",
    "requested_server_name",
    "response_code",
    "response_flags",
    "route_name",
    "start_time",
    "trace_id",
    "upstream_cluster",
    "upstream_host",
    "upstream_local_address",
    "upstream_service_time",
    "upstream_transport_failure_reason",
    "user_agent",
    "x_forwarded_for",
    "response_code_details",
]

NAMES = [
    "rounds",
    "failed",
    "unmetered",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
]

GO_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}

# Enough of every failure and every model in a short time.
BUSY = replace(samples.DEMO, failure_share=0.3, unmetered_share=0.1, foreign_share=0.02, nights=False)
BUSY_LITE = replace(BUSY, mode="lite")
BUSY_BARE = replace(BUSY, mode="bare")


def go_json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escape in GO_HTML.items():
        text = text.replace(character, escape)
    return text


def records(data: Iterable[bytes]) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """The access log lines of `data`: the outer object, and the inner one where there is one."""
    found = []
    for line in data:
        try:
            outer = json.loads(line)
        except ValueError:
            continue
        if "ai_log" in outer:
            found.append((outer, None if outer["ai_log"] == "-" else json.loads(outer["ai_log"])))
    return found


def rounds(data: Iterable[bytes]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(outer, inner) for outer, inner in records(data) if inner is not None]


def read_plainly(data: list[bytes]) -> dict[str, Any]:
    """What is in a log, read without any haste: the judge of `Expected`."""
    total: Counter[str] = Counter()
    sessions: dict[str | None, Counter[str]] = {}
    models: dict[str | None, Counter[str]] = {}
    cells: dict[tuple[str | None, str, int], Counter[str]] = {}
    found = records(data)
    for outer, log in found:
        if log is None:
            continue
        one = Counter({"rounds": 1})
        well = 200 <= int(outer["response_code"]) < 400 and outer["response_flags"] == "-"
        one["failed"] = not well
        if "input_token" not in log:
            one["unmetered"] = 1
        else:
            inside, outside = (
                (json.loads(d) if isinstance(d, str) else d) or {}
                for d in (log["input_token_details"], log["output_token_details"])
            )
            one["input_tokens"], one["output_tokens"] = log["input_token"], log["output_token"]
            if outer["path"].endswith("/messages"):
                one["cached_tokens"] = inside.get("cache_read_input_tokens", 0)
                one["cache_write_tokens"] = inside.get("cache_creation_input_tokens", 0)
                one["input_tokens"] += one["cached_tokens"] + one["cache_write_tokens"]
            elif "enerateContent" in outer["path"]:
                one["cached_tokens"] = inside.get("cached_content_token_count", 0)
                one["reasoning_tokens"] = outside.get("thoughts_token_count", 0)
                one["output_tokens"] += one["reasoning_tokens"]
            else:
                one["cached_tokens"] = inside.get("cached_tokens", 0)
                one["reasoning_tokens"] = outside.get("reasoning_tokens", 0)
            assert log["total_token"] == one["input_tokens"] + one["output_tokens"]
            assert one["cached_tokens"] + one["cache_write_tokens"] <= one["input_tokens"]
            assert one["reasoning_tokens"] <= one["output_tokens"]
        started = round(datetime.fromisoformat(outer["start_time"]).timestamp() * 1000)
        host = outer["upstream_cluster"].split("|")[-1]
        total += one
        model = log.get("model")
        sessions.setdefault(log.get("session_id"), Counter()).update(one)
        models.setdefault(model, Counter()).update(one)
        cells.setdefault((model, host, started // 900_000 * 900_000), Counter()).update(one)
    return {
        "lines": len(data),
        "bytes": sum(map(len, data)),
        "non_ai": sum(log is None for _, log in found),
        "foreign": len(data) - len(found),
        "total": {n: total[n] for n in NAMES},
        "sessions": {k: {n: c[n] for n in NAMES} for k, c in sessions.items()},
        "models": {k: {n: c[n] for n in NAMES} for k, c in models.items()},
        "cells": {k: {n: c[n] for n in NAMES} for k, c in cells.items()},
    }


def as_plain(expected: Expected) -> dict[str, Any]:
    return {
        "lines": expected.lines,
        "bytes": expected.bytes,
        "non_ai": expected.non_ai,
        "foreign": expected.foreign,
        "total": expected.total.as_json(),
        "sessions": {k: t.as_json() for k, t in expected.sessions.items()},
        "models": {k: t.as_json() for k, t in expected.models.items()},
        "cells": {k: t.as_json() for k, t in expected.cells.items()},
    }


MANY = pytest.mark.parametrize(
    "profile",
    [*PROFILES.values(), BUSY, BUSY_LITE, BUSY_BARE],
    ids=[*PROFILES, "busy", "busy-lite", "busy-bare"],
)


@MANY
def test_the_same_seed_gives_the_same_lines(profile: Profile) -> None:
    first = list(lines(profile, 7, 150))
    assert first == list(lines(profile, 7, 150))
    assert first == list(lines(profile, 7, 300))[:150]
    assert first != list(lines(profile, 8, 150))


@MANY
def test_lines_are_written_as_go_and_envoy_write_them(profile: Profile) -> None:
    for line in lines(profile, 3, 400):
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        if not line.startswith(b'{"ai_log"'):
            continue
        outer = json.loads(line)
        assert list(outer) == OUTER
        assert all(isinstance(v, str) and v for v in outer.values())
        # Nothing but ai_log is escaped, so that this is the line byte by byte.
        assert json.dumps({**outer, "ai_log": "@"}, separators=(",", ":")).replace(
            '"@"', go_json(outer["ai_log"]), 1
        ) == line.decode().removesuffix("\n")
        if outer["ai_log"] != "-":
            log = json.loads(outer["ai_log"])
            assert list(log) == sorted(log)
            assert go_json(log) == outer["ai_log"]


@MANY
def test_the_keys_are_those_of_the_mode(profile: Profile) -> None:
    always = {"api", "chat_round"}
    conversation = {"messages", "question", "system"}
    said = {"answer", "reasoning", "tool_calls"}
    attributes = {"cached_tokens", "reasoning_tokens", "input_token_details", "output_token_details"}
    usage = {"model", "input_token", "output_token", "total_token"}
    for outer, log in rounds(lines(profile, 5, 600)):
        keys = set(log)
        assert always <= keys
        assert (conversation <= keys) == (profile.mode == "full")
        assert (usage <= keys) == ("input_token" in keys)
        if "llm_service_duration" in keys:
            assert "response_type" in keys
            assert (attributes <= keys) == (profile.mode != "bare")
            assert (said <= keys) == (profile.mode == "full")
            details = dict if profile.mode == "bare" else (str, type(None))
            for name in ("input_token_details", "output_token_details"):
                assert name not in keys or isinstance(log[name], details)
        else:
            assert outer["response_flags"] != "-"
            assert not said & keys
            if usage <= keys:
                assert isinstance(log["input_token_details"], dict)
            else:
                assert keys <= {*always, *conversation, "session_id", "consumer"}
        if profile.mode == "bare":
            assert not {"cached_tokens", "reasoning_tokens"} & keys
        assert ("llm_first_token_duration" in keys) == (log.get("response_type") == "stream")


@MANY
def test_expected_is_what_a_plain_reading_finds(profile: Profile) -> None:
    expected = Expected()
    data = list(lines(profile, 11, 1200, expected))
    assert as_plain(expected) == read_plainly(data)
    assert expected.total.failed > 0
    assert expected.total.unmetered > 0
    assert expected.non_ai > 0


def test_expected_covers_exactly_what_was_yielded() -> None:
    expected = Expected()
    taken = []
    for line in lines(samples.LITE, 1, None, expected):
        taken.append(line)
        assert (expected.lines, expected.bytes) == (len(taken), sum(map(len, taken)))
        if len(taken) == 50:
            break
    assert as_plain(expected) == read_plainly(taken)
    assert list(lines(samples.LITE, 1, 0)) == []


def test_expected_as_json_keeps_what_the_log_does_not_say_apart() -> None:
    expected = Expected()
    list(lines(BUSY, 1, None, expected))
    found = json.loads(json.dumps(expected.as_json()))
    assert found["sessions"][0]["session_id"] is None
    assert found["models"][0]["model"] is None
    for rows in ("sessions", "models", "cells"):
        for name, value in found["total"].items():
            assert sum(row[name] for row in found[rows]) == value
    assert sum(t.rounds for t in expected.headerless.values()) == expected.sessions[None].rounds


@pytest.mark.parametrize(
    ("profile", "smallest", "largest", "count"),
    [
        (samples.SHORT, 1_900, 2_500, 2000),
        (samples.LITE, 1_100, 1_500, 2000),
        (samples.BARE, 1_100, 1_500, 2000),
        (samples.MEDIUM, 19_000, 26_000, 2000),
        (samples.LONG, 165_000, 215_000, 880),
        (samples.DEMO, 5_000, 15_000, 10_000),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else "",
)
def test_lines_are_as_long_as_the_profile_says(profile: Profile, smallest: int, largest: int, count: int) -> None:
    sizes = [len(line) for line in lines(profile, 7, count)]
    assert smallest < sum(sizes) / len(sizes) < largest


def test_a_log_can_end_at_a_moment() -> None:
    """What began before the moment is in it, as in the log that goes on."""
    end = samples.DEMO.start + 3 * 86_400_000
    began = [
        datetime.fromisoformat(outer["start_time"]).timestamp() * 1000 for outer, _ in rounds(lines(samples.DEMO, 4))
    ]
    cut = rounds(lines(samples.DEMO, 4, until=end))
    assert len(cut) == next(number for number, at in enumerate(began) if at >= end)
    assert 0 < len(cut) < len(began)


@pytest.mark.parametrize("model", samples.MODELS)
def test_each_request_repeats_the_conversation_so_far(model: str) -> None:
    profile = Profile(
        name="one",
        turns=30,
        sessions=1,
        total_sessions=1,
        tool_turn_share=0.5,
        failure_share=0.1,
        models=((model, 1.0),),
    )
    found = rounds(lines(profile, 2))
    assert len(found) >= 20
    if model.startswith("gemini"):
        assert all(log["messages"] is None and log.get("answer") is None for _, log in found)
        return
    for (outer, log), (_, following) in pairwise(found):
        messages, more = log["messages"], following["messages"]
        assert more[: len(messages)] == messages
        assert log["question"] == messages[-1]["content"]
        assert log["chat_round"] == sum(m["role"] == "user" for m in messages)
        if outer["response_code"] != "200" or outer["response_flags"] != "-":
            assert more == messages
            continue
        assert len(more) > len(messages)
        reply = more[len(messages)]
        assert reply["role"] == "assistant"
        if model.startswith("claude"):
            assert reply["content"][0]["text"] == log["answer"]
            uses = [b for b in reply["content"] if b["type"] == "tool_use"]
            if log["response_type"] == "stream" and uses:
                # The plugin's own mistake: the arguments start with an empty object.
                logged = [json.loads(c["function"]["arguments"].removeprefix("{}")) for c in log["tool_calls"]]
                assert logged == [b["input"] for b in uses]
            else:
                assert log["tool_calls"] is None
        else:
            assert reply["content"] == log["answer"]
            assert json.dumps(reply.get("tool_calls"), sort_keys=True) == json.dumps(
                log["tool_calls"] and [{k: v for k, v in c.items() if k != "index"} for c in log["tool_calls"]],
                sort_keys=True,
            )
            for call in log["tool_calls"] or ():
                json.loads(call["function"]["arguments"])
                assert any(m.get("tool_call_id") == call["id"] for m in more[len(messages) :])


def test_openclaw_names_its_session_in_its_first_message_even_if_it_sends_no_header() -> None:
    profile = Profile(
        name="silent",
        turns=4,
        sessions=3,
        sessionless_share=1,
        clients=(Client("agent:main:explicit:{uuid}"),),
    )
    expected = Expected()
    named: Counter[str] = Counter()
    for _, log in rounds(lines(profile, 1, 60, expected)):
        assert "session_id" not in log
        first = next(m for m in log["messages"] if m["role"] == "user")["content"]
        match = re.search(r"\n\nRuntime: agent=main \| session=(\S+) \| sessionId=[0-9a-f-]{36} \| host=", first)
        assert match is not None
        named[match[1]] += 1
    assert named == {k: t.rounds for k, t in expected.headerless.items()}
    assert expected.sessions.keys() == {None}


def test_the_demo_has_a_bit_of_everything() -> None:
    data = list(lines(samples.DEMO, 1))
    found = rounds(data)
    models = {log.get("model") for _, log in found}
    assert models == {*samples.MODELS, None}
    keys = {log.get("session_id") for _, log in found}
    for start in ("agent:main:main", "agent:main:discord:channel:", "agent:research:telegram:group:"):
        assert any(k and k.startswith(start) for k in keys)
    for start in ("agent:main:cron:", "agent:main:subagent:"):
        assert any(k and k.startswith(start) for k in keys)
    assert None in keys
    assert any(log.get("tool_calls") for _, log in found)
    assert any(log.get("reasoning") for _, log in found)
    starts = [datetime.fromisoformat(outer["start_time"]) for outer, _ in found]
    assert 7 <= (max(starts) - min(starts)).days <= 21
    late = {k: (c, n) for k, c, n in _cached_share(found)}
    assert late["last"][0] / late["last"][1] > late["first"][0] / late["first"][1]


def _cached_share(found: list[tuple[dict[str, Any], dict[str, Any]]]) -> Iterable[tuple[str, int, int]]:
    """Cached and input tokens in the first and in later requests of OpenAI's contexts."""
    for name, wanted in (("first", range(2)), ("last", range(3, 99))):
        logs = [log for _, log in found if log.get("cached_tokens") is not None and log["chat_round"] in wanted]
        yield name, sum(g["cached_tokens"] for g in logs), sum(g["input_token"] for g in logs)


def test_lines_come_in_the_order_of_completion() -> None:
    found = rounds(lines(samples.SHORT, 4, 500))
    starts = [datetime.fromisoformat(outer["start_time"]).timestamp() * 1000 for outer, _ in found]
    ends = [s + int(outer["duration"]) for s, (outer, _) in zip(starts, found, strict=True)]
    assert any(later < earlier for earlier, later in pairwise(starts))
    # Envoy's own few milliseconds are in `duration`, too.
    assert all(later > earlier - 10 for earlier, later in pairwise(ends))


def test_ids_are_unique_and_addresses_are_nobodys() -> None:
    data = list(lines(BUSY, 6))
    found = records(data)
    ids = [outer["request_id"] for outer, _ in found]
    assert len(set(ids)) == len(ids)
    version4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(version4.fullmatch(i) for i in ids)
    chats = [log["chat_id"] for _, log in found if log and "chat_id" in log]
    assert len(set(chats)) == len(chats)
    nobodys = [ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "127.0.0.0/8")]
    addresses = set(re.findall(rb"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", b"".join(data)))
    assert addresses
    for address in addresses:
        assert any(ip_address(address.decode()) in network for network in nobodys)


# --- Writer ---


def some_lines(count: int) -> list[bytes]:
    return list(lines(samples.MEDIUM, 9, count))


def test_writer_shows_torn_lines_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    data = some_lines(6)
    with Writer(path) as writer:
        for line in data[:3]:
            writer.write(line)
        assert path.read_bytes() == b""
        assert writer.flush(slices=1) == Writer.SLICE
        torn = path.read_bytes()
        assert len(torn) == Writer.SLICE
        assert not torn.endswith(b"\n")
        assert b"".join(data).startswith(torn)
        # What comes in the middle of a flush stays behind it.
        writer.write(data[3])
        writer.flush()
        assert writer.unwritten == 0
        for line in data[4:]:
            writer.write(line)
    assert path.read_bytes() == b"".join(data)


def test_writer_tears_characters_too(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Writer(path) as writer:
        writer.write(("{{" + "网" * Writer.SLICE + "}}\n").encode())
        writer.flush(slices=1)
        with pytest.raises(UnicodeDecodeError):
            path.read_text(encoding="utf-8")


def test_writer_flushes_when_its_buffer_is_full(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writer = Writer(path)
    record = b"x" * 9_999 + b"\n"
    for _ in range(6):
        writer.write(record)
    assert path.stat().st_size == 0
    writer.write(record)
    assert path.stat().st_size == 70_000
    writer.close()
    writer.close()


def test_writer_keeps_to_the_renamed_file_until_it_reopens(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writer = Writer(path)
    writer.write(b"one\n")
    writer.flush()
    old = writer.rotate()
    assert old == tmp_path / "access.log.1"
    assert path.read_bytes() == b""
    writer.write(b"two\n")
    writer.flush()
    assert old.read_bytes() == b"one\ntwo\n"
    big = b"z" * 20_000 + b"\n"
    writer.write(big)
    writer.flush(slices=1)
    writer.write(b"three\n")
    writer.reopen()
    # A flush that had begun ends where it began; what was still buffered goes to the new file.
    assert old.read_bytes() == b"one\ntwo\n" + big
    assert path.read_bytes() == b"three\n"
    writer.close()


def test_writer_keeps_as_many_old_files_as_logrotate(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Writer(path) as writer:
        for number in range(8):
            writer.write(b"%d\n" % number)
            writer.flush()
            writer.rotate()
            writer.reopen()
    held = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert held == {"access.log": b"", **{f"access.log.{n}": b"%d\n" % (8 - n) for n in range(1, 6)}}


def test_writer_copies_and_truncates(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Writer(path) as writer:
        writer.write(b"one\n")
        writer.flush()
        inode = path.stat().st_ino
        copy = writer.copytruncate()
        assert copy.read_bytes() == b"one\n"
        assert path.read_bytes() == b""
        writer.write(b"two\n")
    assert path.read_bytes() == b"two\n"  # appended at the new end, without a hole
    assert path.stat().st_ino == inode


# --- Command line ---


def test_command_line_writes_lines_and_says_what_is_in_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "access.log"
    arguments = ["--profile", "medium", "--seed", "7", "--bytes", "2MB", "-o", str(file)]
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    data = io.BytesIO(file.read_bytes()).readlines()
    plain = read_plainly(data)
    assert 2_000_000 <= file.stat().st_size == found["bytes"] < 2_100_000
    assert found["total"] == plain["total"]
    assert {r.pop("session_id"): r for r in found["sessions"]} == plain["sessions"]
    assert f"{len(data)} lines" in printed.err
    assert data == list(lines(samples.MEDIUM, 7, len(data)))


def test_command_line_begins_when_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "access.log"
    command_line.main(["--profile", "lite", "--lines", "5", "--start", "2026-03-04T05:00:00Z", "-o", str(file)])
    assert json.loads(capsys.readouterr().out)["lines"] == 5
    assert b'"start_time":"2026-03-04T05:0' in file.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [["--profile", "lite"], ["--bytes", "many"], ["--start", "tomorrow"], ["--profile", "none"]],
)
def test_command_line_refuses_what_it_cannot_do(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command_line.main([*arguments, "-o", str(tmp_path / "access.log")])
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "access.log").exists()


@pytest.mark.parametrize(
    ("text", "size"), [("10", 10), ("1.5KB", 1500), ("100MB", 10**8), ("2GiB", 2**31), ("3 kib", 3072)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert command_line._size(text) == size
