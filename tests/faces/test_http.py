"""The daemon: MCP over streamable HTTP, the page and the API on one port, for loopback only."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from mcp import Client

from tests.faces.place import ROOT, Place
from tests.helpers import end, start, wait_for

SESSION = "agent:main:main"


def rounds_at(address: str) -> int:
    answer = httpx2.get(f"{address}/api/stats")
    assert answer.status_code == 200, answer.text
    rounds: int = answer.json()["totals"]["rounds"]
    return rounds


@pytest.fixture
def base(place: Place) -> Iterator[str]:
    """The address of a daemon that has read the sample log."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "server.py"), *place.arguments("--http", "0")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        match = re.search(r"http://\S+?:\d+", process.stderr.readline())
        assert match is not None
        address = match[0]
        wait_for("the log is read", lambda: rounds_at(address) == place.expected.total.rounds)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stderr is not None:
            process.stderr.close()


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_asks_over_http_in_both_eras(base: str, place: Place, mode: str) -> None:
    async with Client(f"{base}/mcp", mode=mode) as client:
        result = await client.call_tool("get_session", {"session_id": SESSION})
        link = await client.call_tool("session_url", {"session_id": SESSION})
    assert result.structured_content is not None
    assert result.structured_content["messages_count"] == place.expected.sessions[SESSION].rounds
    assert link.structured_content is not None
    assert link.structured_content["reachable"] is True
    page = httpx2.get(link.structured_content["url"])
    assert page.status_code == 200
    assert SESSION in page.text


def test_the_api_and_the_page_show_what_the_agent_is_told(base: str, place: Place) -> None:
    right = place.expected.sessions[SESSION]
    session = httpx2.get(f"{base}/api/session", params={"id": SESSION, "rounds": "true"}).json()
    assert session["total_input_tokens"] == right.input_tokens
    assert len(session["rounds"]) == right.rounds
    assert [row["round"] for row in session["rounds"]] == list(range(1, right.rounds + 1))
    page = httpx2.get(f"{base}/session", params={"id": SESSION}).text
    assert f"{right.input_tokens:,}" in page
    listed = httpx2.get(f"{base}/api/sessions", params={"limit": 100}).json()
    assert listed["total"] == len([name for name in place.expected.sessions if name is not None])
    assert SESSION in httpx2.get(base).text


@pytest.mark.parametrize("path", ["/", "/session?id=x", "/api/sessions", "/api/stats", "/healthz", "/static/style.css"])
def test_another_host_name_is_refused_everywhere(base: str, path: str) -> None:
    assert httpx2.get(f"{base}{path}", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_another_host_or_origin_gets_no_mcp(base: str, headers: dict[str, str]) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream"}
    assert httpx2.post(f"{base}/mcp", json=call, headers={**accept, **headers}).status_code in (400, 403, 421)


def test_pages_run_our_own_script_only_and_load_nothing_from_elsewhere(base: str) -> None:
    answer = httpx2.get(base)
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
    scripts = re.findall(r"<script\b[^>]*>[^<]*", answer.text)
    assert scripts
    assert all(re.fullmatch(r'<script src="/static/[^"]+"( \w+(="module")?)?>\s*', script) for script in scripts)
    assert not re.search(r"""\son\w+=|\sstyle=|javascript:""", answer.text)
    assert "http://" not in answer.text.replace(base, "")


@pytest.mark.parametrize(
    ("path", "status", "hint"),
    [
        ("/api/session?id=nobody", 404, "nobody"),
        ("/api/session", 400, "id"),
        ("/api/sessions?limit=0", 400, "limit: input should be greater than or equal to 1"),
        ("/api/sessions?sort_by=price", 400, "cost"),
        ("/api/sessions?cursor=x", 400, "first page"),
        ("/api/sessions?since=whenever", 400, "2026-02-01"),
    ],
)
def test_a_wrong_question_is_a_problem_with_the_way_out(base: str, path: str, status: int, hint: str) -> None:
    answer = httpx2.get(f"{base}{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert hint in answer.json()["detail"]


def test_markup_in_a_log_is_shown_as_text(place: Place, base: str) -> None:
    evil = "<script>alert(1)</script>/../x"
    line = place.log.read_bytes().splitlines()[0]
    forged = re.sub(rb'\\"session_id\\":\\"[^"\\]*\\"', b'\\\\"session_id\\\\":\\\\"' + evil.encode() + b'\\\\"', line)
    forged = forged.replace(b'"request_id":"', b'"request_id":"x', 1)
    with place.log.open("ab") as file:
        file.write(forged + b"\n")
    wait_for("the session is listed", lambda: httpx2.get(f"{base}/api/session", params={"id": evil}).status_code == 200)
    for page in (httpx2.get(base).text, httpx2.get(f"{base}/session", params={"id": evil}).text):
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


def test_an_address_off_loopback_is_refused_without_a_token(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "server.py"), *place.arguments("--http", "0.0.0.0:0")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--token auto" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_second_signal_ends_it_at_once_and_without_a_traceback(
    place: Place, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    said = tmp_path / "said.txt"
    process = start("serve", "--http", "0", *place.arguments(), stderr=said)
    try:
        wait_for("it says where it is", lambda: "MCP" in said.read_text())
        # An open stream keeps the first signal from being enough.
        port = int(re.search(r"127\.0\.0\.1:(\d+)/mcp", said.read_text())[1])  # type: ignore[index]
        with httpx2.stream("GET", f"http://127.0.0.1:{port}/api/live", timeout=30):

            def ended() -> bool:
                # Signals that come close together may be told as one.
                process.send_signal(number)
                return process.poll() is not None

            wait_for("it ends", ended)
        assert process.returncode == code
        assert "Traceback" not in said.read_text()
    finally:
        end([process])
