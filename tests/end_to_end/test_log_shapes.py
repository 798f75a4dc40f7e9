"""The same rounds in every shape in which a gateway's log arrives, read by the installed command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.samples import SHORT, Expected, lines
from tests.helpers import environment, run


def sample() -> tuple[list[bytes], Expected]:
    expected = Expected()
    return [line.rstrip(b"\n") for line in lines(SHORT, seed=9, limit=120, expected=expected)], expected


def totals(data: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("stats-model", "--data-dir", data, "--json")[0])["totals"]
    return answer


def plain(line: bytes) -> list[bytes]:
    return [line]


def crlf(line: bytes) -> list[bytes]:
    return [line + b"\r"]


def docker(line: bytes) -> list[bytes]:
    text = line.decode() + "\n"
    pieces = [text[at : at + 16_000] for at in range(0, len(text), 16_000)]
    return [
        json.dumps({"log": p, "stream": "stdout", "time": "2026-02-01T09:00:00.123456789Z"}).encode() for p in pieces
    ]


def cri(line: bytes) -> list[bytes]:
    pieces = [line[at : at + 1000] for at in range(0, len(line), 1000)] or [b""]
    marks = [b"P"] * (len(pieces) - 1) + [b"F"]
    return [b"2026-02-01T09:00:00.123456789Z stdout " + m + b" " + p for m, p in zip(marks, pieces, strict=True)]


def collected(line: bytes) -> list[bytes]:
    """A collector that keeps the line whole under a name of its own (iLogtail's simple mode)."""
    return [json.dumps({"__time__": "1769938940", "__source__": "10.0.0.1", "content": line.decode()}).encode()]


def parsed(line: bytes) -> list[bytes]:
    """A collector that took the line apart and wrote it anew, numbers as texts (SLS)."""
    try:
        fields = json.loads(line)
    except ValueError:
        return [line]
    return [json.dumps({"__topic__": "", "__time__": "1769938940", **fields, "__tag__:x": "y"}).encode()]


def escaped_twice(line: bytes) -> list[bytes]:
    """``accessLogEncoding: JSON``: Envoy escapes what ai-statistics had escaped already."""
    try:
        fields = json.loads(line)
    except ValueError:
        return [line]
    match = re.match(rb'\{"ai_log":"((?:[^"\\]|\\.)*)"', line)
    assert match is not None
    body = match[1].decode()
    return [json.dumps({**fields, "ai_log": body if body != "-" else None}, ensure_ascii=False).encode()]


def own_time_format(line: bytes) -> list[bytes]:
    """``%START_TIME(%s.%3f)%``: seconds since 1970."""
    from datetime import datetime

    def seconds(match: re.Match[bytes]) -> bytes:
        return b'"start_time":"%.3f"' % datetime.fromisoformat(match[1].decode()).timestamp()

    return [re.sub(rb'"start_time":"([^"]+)"', seconds, line)]


@pytest.mark.parametrize(
    "shape",
    [plain, crlf, docker, cri, collected, parsed, escaped_twice, own_time_format],
    ids=lambda shape: shape.__name__,
)
def test_every_shape_of_the_log_gives_the_same_totals(tmp_path: Path, shape: Callable[[bytes], list[bytes]]) -> None:
    records, expected = sample()
    log = tmp_path / "access.log"
    log.write_bytes(b"".join(piece + b"\n" for record in records for piece in shape(record)))
    run("ingest", "--once", "--data-dir", tmp_path / "data", "--log-path", log)
    found = totals(tmp_path / "data")
    right = expected.total
    assert found["rounds"] == right.rounds
    assert found.get("failed_rounds", 0) == right.failed
    assert found["input_tokens"] == right.input_tokens
    assert found["output_tokens"] == right.output_tokens


def test_standard_input_is_a_log_like_any_other(tmp_path: Path) -> None:
    records, expected = sample()
    for new in (expected.total.rounds, 0):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "monitor.faces.cli",
                "ingest",
                "--data-dir",
                str(tmp_path / "data"),
                "--log-path",
                "-",
            ],
            input=b"\n".join(records),
            capture_output=True,
            env=environment(),
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"{new} new rounds" in done.stderr.decode()
    assert totals(tmp_path / "data")["input_tokens"] == expected.total.input_tokens


def test_lines_of_ten_megabytes_take_memory_for_a_few_of_them_only(tmp_path: Path) -> None:
    record = next(line for line in sample()[0] if b'\\"messages\\":[{' in line)
    head, tail = record.split(b'\\"messages\\":[', 1)
    filler = b"a line of a very long tool result, " * 29_000

    def peak(count: int) -> int:
        """Kilobytes at the most that the command held while it read `count` such lines."""
        log = tmp_path / f"{count}.log"
        with log.open("wb") as file:
            for number in range(count):
                long = b"".join(
                    b'{\\"content\\":\\"%d.%d %s\\",\\"role\\":\\"user\\"},' % (number, part, filler)
                    for part in range(10)
                )
                file.write(
                    head
                    + b'\\"messages\\":['
                    + long
                    + tail.replace(b'request_id":"', b'request_id":"%d' % number)
                    + b"\n"
                )
        code = (
            "import resource, sys; from monitor.faces.cli.main import cli; "
            "cli.main(sys.argv[1:], standalone_mode=False); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                "ingest",
                "--once",
                "--data-dir",
                str(tmp_path / str(count)),
                "--log-path",
                str(log),
            ],
            capture_output=True,
            env=environment(),
            text=True,
            timeout=300,
            check=True,
        )
        assert f"{count} new rounds" in done.stderr
        log.unlink()
        return int(done.stdout) // (1024 if sys.platform == "darwin" else 1)

    assert peak(20) < peak(4) + 60_000
