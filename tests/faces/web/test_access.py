"""Who is let in, and to what: a daemon that listens on all addresses, and people who should not get in."""

from __future__ import annotations

import contextlib
import html
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ResourceTemplateReference

from monitor.access.links import Signer, link
from tests.faces.place import Place
from tests.faces.web.served import MAIN, Served, daemon, sample, wait_until_read
from tests.helpers import run, wait_for

OTHER = "agent:main:discord:channel:1"
PROTECTED = (
    "/", "/session?id=x", "/api/sessions", f"/api/session?id={MAIN}", f"/api/session?id={MAIN}&rounds=true",
    "/api/stats", "/api/models", "/api/live", "/api/openapi.json", "/api/docs", "/metrics", "/api/usage/stats/daily",
    "/mcp", "/api/round?id=x&round=1", "/api/session_url?id=x",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return sample(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Served]:
    with daemon(place, "--token", "auto", http="0.0.0.0:0") as found:
        wait_until_read(found, place, found.token)
        yield found


@pytest.fixture
def stranger(served: Served) -> Iterator[httpx2.Client]:
    with served.client() as found:
        yield found


@pytest.fixture
def owner(served: Served) -> Iterator[httpx2.Client]:
    with served.client(served.token) as found:
        yield found


def other_session(place: Place) -> str:
    return next(name for name in sorted(filter(None, place.expected.sessions)) if name != MAIN)


def new_token(place: Place, *options: str) -> str:
    out, _ = run("token", "create", "--data-dir", place.data, *options)
    return out.strip()


def open_link(owner: httpx2.Client, session: str) -> str:
    url = owner.get("/api/session_url", params={"id": session}).json()["url"]
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


# -- without a token ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PROTECTED)
def test_nothing_is_shown_to_a_stranger(stranger: httpx2.Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert MAIN not in answer.text.replace(path, "").replace(quote(MAIN), "")
    if path.startswith("/api/") and path != "/api/docs":
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_other_method_lets_a_stranger_in(stranger: httpx2.Client, method: str) -> None:
    for path in ("/api/sessions", "/mcp", "/api/usage/records"):
        assert stranger.request(method, path).status_code in (400, 401)


def test_a_stranger_learns_only_whether_the_server_lives(stranger: httpx2.Client, owner: httpx2.Client) -> None:
    assert stranger.get("/healthz").json() == {"ok": True}
    assert owner.get("/healthz").json().keys() == {"ok", "ingesting", "as_of", "behind_bytes"}


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", "bearer \x7f", "Bearer " + "a" * 9000]
)
def test_a_wrong_token_is_told_so(stranger: httpx2.Client, authorization: str) -> None:
    answer = stranger.get("/api/sessions", headers={"authorization": authorization})
    assert answer.status_code == 401
    assert "token list" in answer.json()["detail"]


def test_the_token_is_printed_once_and_written_nowhere(served: Served, place: Place, owner: httpx2.Client) -> None:
    assert len(re.findall(r"^token ", served.stderr, re.M)) == 1
    for path in place.data.rglob("*"):
        if path.is_file():
            assert served.token.encode() not in path.read_bytes()
            assert path.stat().st_mode & 0o077 == 0, path
    assert owner.get("/api/nothing").status_code == 404
    assert served.token not in owner.get("/metrics").text + owner.get("/api/sources").text


def test_a_second_start_takes_the_token_that_is_there(served: Served, place: Place) -> None:
    with daemon(place, "--no-ingest", http="0.0.0.0:0") as again, again.client(served.token) as client:
        assert client.get("/api/sessions").status_code == 200
        assert "token asm_" not in again.stderr


# -- logging in -----------------------------------------------------------------------------------


def test_a_first_visit_with_the_token_logs_in_and_takes_it_out_of_the_address(
    stranger: httpx2.Client, served: Served
) -> None:
    first = stranger.get("/", params={"token": served.token, "sort_by": "cost"})
    assert first.status_code == 303
    assert first.headers["location"] == "/?sort_by=cost"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "secure" not in cookie.lower()
    assert served.token not in cookie
    assert stranger.get("/").status_code == 200
    assert stranger.get("/api/sessions").status_code == 200
    assert stranger.post("/logout").status_code == 303
    assert stranger.get("/").status_code == 401


def test_a_form_logs_in_and_leads_on(stranger: httpx2.Client, served: Served) -> None:
    page = stranger.get("/session?id=agent%3Amain%3Amain")
    assert page.status_code == 401
    assert 'name="next" value="/session?id=agent%3Amain%3Amain"' in page.text
    form = {"token": f" {served.token} ", "next": "/session?id=agent%3Amain%3Amain"}
    done = stranger.post("/login", data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/session?id=agent%3Amain%3Amain")
    assert stranger.get(done.headers["location"]).status_code == 200


def test_a_form_with_a_wrong_token_does_not_log_in(stranger: httpx2.Client) -> None:
    done = stranger.post("/login", data={"token": "wrong<script>", "next": "/"})
    assert done.status_code == 401
    assert "set-cookie" not in done.headers
    assert "wrong<script>" not in done.text
    assert stranger.post("/login", content=b"x" * 5000).status_code == 413


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/a\r\nset-cookie: x=1",
        "x",
    ],
)
def test_logging_in_leads_to_no_other_site(stranger: httpx2.Client, served: Served, target: str) -> None:
    done = stranger.post("/login", data={"token": served.token, "next": target})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert done.headers.get_list("set-cookie") == [done.headers["set-cookie"]]


@pytest.mark.parametrize(
    "path", ["//evil.example/..", "/%0d%0aset-cookie:x=1", "/\\evil.example", "//evil.example/%2e%2e"]
)
def test_taking_the_token_out_of_an_address_leads_to_no_other_site(served: Served, path: str) -> None:
    answer = raw(served, f"GET {path}?token={served.token} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    head = answer.partition("\r\n\r\n")[0]
    for line in head.split("\r\n"):
        name, _, value = line.partition(": ")
        if name.lower() == "location":
            assert re.match(r"/(?![/\\])", value), value
        assert not value.startswith("x=1")


@pytest.mark.parametrize(
    "change", [lambda v: v[:-1] + "x", lambda v: v.replace(".", ".9", 1), lambda v: "", lambda v: "a.b"]
)
def test_a_changed_cookie_is_no_cookie(served: Served, change: Any) -> None:
    with served.client() as client:
        cookie = client.get("/", params={"token": served.token}).headers["set-cookie"]
        name, _, value = cookie.partition(";")[0].partition("=")
    for sent, status in ((value, 200), (change(value), 401)):
        assert httpx2.get(f"{served.base}/", headers={"cookie": f"{name}={sent}"}).status_code == status


def test_a_revoked_token_is_out_at_once_wherever_it_is_logged_in(served: Served, place: Place) -> None:
    out, _ = run("token", "create", "--data-dir", place.data, "--json")
    token, name = re.findall(r'"token": "(\S+)", "id": "(\S+)"', out)[0]
    with served.client() as browser, served.client(token) as program:
        browser.get("/", params={"token": token})
        assert browser.get("/api/stats").status_code == program.get("/api/stats").status_code == 200
        run("token", "revoke", name, "--data-dir", place.data)
        assert browser.get("/api/stats").status_code == program.get("/api/stats").status_code == 401


# -- links to one session -------------------------------------------------------------------------


def test_a_link_opens_its_session_with_its_answers_and_nothing_else(
    stranger: httpx2.Client, owner: httpx2.Client, place: Place
) -> None:
    path = open_link(owner, MAIN)
    first = stranger.get(path)
    assert (first.status_code, first.headers["location"]) == (303, "/session?id=agent%3Amain%3Amain")
    assert "HttpOnly" in first.headers["set-cookie"]
    page = stranger.get(first.headers["location"])
    assert page.status_code == 200
    assert MAIN in page.text
    for name in filter(None, place.expected.sessions):
        assert name == MAIN or name not in page.text
    assert stranger.get("/api/session", params={"id": MAIN, "rounds": "true"}).json()["rounds"][0]["question"]
    assert stranger.get("/api/round", params={"id": MAIN, "round": 1}).status_code == 200
    for closed in PROTECTED:
        if MAIN not in closed:
            assert stranger.get(closed).status_code == 401, closed
    other = other_session(place)
    assert stranger.get("/api/session", params={"id": other}).status_code == 401
    assert stranger.post("/mcp", params={"id": MAIN}, json={}).status_code == 401


def test_a_link_works_for_a_program_without_a_cookie(owner: httpx2.Client, served: Served) -> None:
    path = open_link(owner, MAIN).replace("/session?", "/api/session?")
    answer = httpx2.get(served.base + path)
    assert answer.status_code == 200
    assert answer.json()["session_id"] == MAIN


def test_a_link_of_one_session_does_not_open_another(
    stranger: httpx2.Client, owner: httpx2.Client, place: Place, served: Served
) -> None:
    other = other_session(place)
    said = parse_qs(urlsplit(open_link(owner, MAIN)).query)
    stolen = {"id": other, "expires": said["expires"][0], "key": said["key"][0]}
    page = stranger.get("/session", params=stolen)
    assert page.status_code == 403
    assert "set-cookie" not in page.headers
    answer = stranger.get("/api/session", params=stolen)
    assert answer.status_code == 403
    assert "session_url" in answer.json()["detail"]
    # Two ids in one query: what is shown is what was signed, or nothing.
    for query in (f"id={quote(other)}&id={quote(MAIN)}", f"id={quote(MAIN)}&id={quote(other)}"):
        both = httpx2.get(f"{served.base}/api/session?{query}&expires={said['expires'][0]}&key={said['key'][0]}")
        assert both.status_code == 403 or both.json()["session_id"] == MAIN
    # The cookie of one session, sent for another.
    stranger.get(open_link(owner, MAIN))
    assert stranger.get("/session", params={"id": other}).status_code == 401
    assert stranger.get("/api/live", params={"id": other}).status_code == 401


def test_a_link_that_is_over_or_changed_opens_nothing(stranger: httpx2.Client, place: Place) -> None:
    signer = Signer(place.data)
    over, end = link(signer, "", MAIN, until=1_700_000_000)
    assert end == 1_700_000_000
    assert stranger.get(over).status_code == 403
    good = link(signer, "", MAIN)[0]
    longer = re.sub(r"expires=(\d+)", lambda m: f"expires={int(m[1]) + 86400}", good)
    for bad in (longer, good[:-1], good + "x", good.replace("&expires", "&expired"), good.replace("key=c", "key=f")):
        assert stranger.get(bad).status_code in (401, 403), bad
        assert stranger.get("/session", params={"id": MAIN}).status_code == 401
    assert stranger.get(good).status_code == 303


def test_a_link_is_found_in_what_agents_and_programs_are_told(owner: httpx2.Client, stranger: httpx2.Client) -> None:
    url = urlsplit(owner.get("/api/session", params={"id": MAIN}).json()["url"])
    assert stranger.get(f"{url.path}?{url.query}").status_code == 303
    # A row of a list opens nothing by itself: whoever lists sessions for others gives no keys away.
    assert "key=" not in owner.get("/api/sessions").text


# -- tokens with a scope --------------------------------------------------------------------------


def test_a_scoped_token_sees_its_sessions_only(served: Served, place: Place) -> None:
    token = new_token(place, "--scope", "agent:main:*")
    right = {name for name in filter(None, place.expected.sessions) if name.startswith("agent:main:")}
    with served.client(token) as client:
        page = client.get("/api/sessions", params={"limit": 100}).json()
        assert {row["session_id"] for row in page["sessions"]} == right
        assert page["total"] == len(right)
        assert not any("question" in row for row in page["sessions"])
        outside = next(name for name in filter(None, place.expected.sessions) if name not in right)
        assert client.get("/api/session", params={"id": outside}).status_code == 404
        for path in ("/api/stats", "/api/models", "/api/top", "/api/overview", "/api/usage/top_users", "/api/sources"):
            answer = client.get(path)
            assert answer.status_code == 403, path
            assert "agent:main:*" in answer.json()["detail"]
        assert client.get("/metrics").status_code == 403
        assert client.get("/healthz").json() == {"ok": True}
        rounds = client.get("/api/session", params={"id": MAIN, "rounds": "true"}).json()["rounds"]
        assert len(rounds) == place.expected.sessions[MAIN].rounds
        assert not any({"messages", "question", "answer"} & row.keys() for row in rounds)
        asked = client.get("/api/round", params={"id": MAIN, "round": 1, "include": "answer"})
        assert asked.status_code == 403
        assert "--content" in asked.json()["detail"]


def test_a_scoped_token_with_content_sees_what_was_said(served: Served, place: Place) -> None:
    token = new_token(place, "--scope", MAIN, "--content", "--expires", "1h")
    with served.client(token) as client:
        assert client.get("/api/sessions").json()["total"] == 1
        assert client.get("/api/round", params={"id": MAIN, "round": 1, "include": "question"}).json()["question"]
        given = client.get("/api/session_url", params={"id": MAIN}).json()
    ends = {row["id"]: row for row in tokens(place)}
    mine = next(row for row in ends.values() if row.get("scope") == [MAIN])
    assert given["expires_at"] == mine["expires_at"]


def test_a_link_that_a_counters_only_token_asked_for_opens_no_content(served: Served, place: Place) -> None:
    token = new_token(place, "--scope", "agent:main:*")
    with served.client(token) as client:
        path = open_link(client, MAIN)
    answer = httpx2.get(served.base + path.replace("/session?", "/api/session?") + "&rounds=true").json()
    assert answer["rounds"]
    assert not any("question" in row for row in answer["rounds"])


def test_a_page_shows_figures_alone_to_whom_nothing_else_is_open(served: Served, place: Place) -> None:
    token = new_token(place, "--scope", MAIN)
    with served.client(served.token) as owner, served.client(token) as client:
        asked: dict[str, Any] = {"id": MAIN, "rounds": "true", "limit": 20}
        rows = [row for row in owner.get("/api/session", params=asked).json()["rounds"] if row.get("question")]
        question = rows[-1]["question"].splitlines()[0]
        assert len(question) > 10
        for path in (f"/session?id={MAIN}", f"/session/round?id={MAIN}&round={rows[-1]['round']}"):
            assert question in html.unescape(owner.get(path).text)
            page = client.get(path)
            assert page.status_code == 200
            assert question not in html.unescape(page.text)
            assert "opens figures only" in page.text
            assert "is kept for this round" not in page.text  # it is kept, for others
        assert client.get("/session.md", params={"id": MAIN}).status_code == 403
        for path in ("/", "/models", "/sources", "/budgets"):
            answer = client.get(path)
            assert answer.status_code == 403, path
            assert other_session(place) not in answer.text


def tokens(place: Place) -> list[dict[str, Any]]:
    import json

    found: list[dict[str, Any]] = json.loads(run("token", "list", "--data-dir", place.data, "--json")[0])["tokens"]
    return found


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_with_a_scoped_token_sees_its_sessions_only(served: Served, place: Place, mode: str) -> None:
    figures = new_token(place, "--scope", "agent:main:*")
    right = {name for name in filter(None, place.expected.sessions) if name.startswith("agent:main:")}
    outside = next(name for name in filter(None, place.expected.sessions) if name not in right)
    async with agent(served, figures, mode) as client:
        listed = (await client.call_tool("list_sessions", {"limit": 100})).structured_content
        assert listed is not None
        assert {row["session_id"] for row in listed["sessions"]} == right
        mine = await client.call_tool("get_session", {"session_id": MAIN})
        assert mine.structured_content is not None
        for tool, arguments in (
            ("get_session", {"session_id": outside}),
            ("get_round", {"session_id": outside, "round": 1}),
            ("session_url", {"session_id": outside}),
            ("stats_by_model", {}),
            ("stats_by_date", {"days": 7}),
            ("top_spenders", {}),
            ("source_health", {}),
            ("get_round", {"session_id": MAIN, "round": 1, "include": ["answer"]}),
        ):
            refused = await client.call_tool(tool, arguments)
            assert refused.is_error, tool
            said = str(refused.content)
            assert outside not in said.replace(f"session '{outside}'", "").replace(f"Session '{outside}'", ""), tool
        resources = (await client.list_resources()).resources
        assert {r.name for r in resources if r.uri.startswith("session:")} <= right
        reference = ResourceTemplateReference(uri="session://{session_id}")
        names = (await client.complete(reference, {"name": "session_id", "value": ""})).completion.values
        assert {name.replace("%3A", ":") for name in names} <= right
        for uri in (f"session://{quote(outside, safe='')}", "stats://models", "monitor://status", "prices://models"):
            with pytest.raises(Exception, match=r"(?i)session|token|not|unknown"):
                await client.read_resource(uri)
    async with agent(served, served.token, mode) as client:
        everything = (await client.call_tool("list_sessions", {"limit": 100})).structured_content
        assert everything is not None
        assert everything["total"] > len(right)
        assert not (await client.call_tool("stats_by_model", {})).is_error


@pytest.mark.anyio
async def test_an_agent_with_content_in_its_scope_reads_what_was_said(served: Served, place: Place) -> None:
    token = new_token(place, "--scope", MAIN, "--content")
    async with agent(served, token, "auto") as client:
        said = await client.call_tool("get_round", {"session_id": MAIN, "round": 1, "include": ["question"]})
        assert said.structured_content is not None
        assert said.structured_content["question"]
        transcript = await client.read_resource(f"session://{quote(MAIN, safe='')}/transcript")
        assert "Transcript" in str(transcript.contents[0])


@pytest.mark.anyio
async def test_an_agent_without_a_token_gets_nothing(served: Served) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - the SDK wraps it in groups
        async with agent(served, None, "auto") as client:
            await client.list_tools()


@contextlib.asynccontextmanager
async def agent(served: Served, token: str | None, mode: Any) -> AsyncIterator[Client]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{served.base}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


# -- requests that no page of ours sends ----------------------------------------------------------


def raw(served: Served, request: str) -> str:
    """What the server answers to bytes that no client would send."""
    host, port = served.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = b""
        # A server that has heard enough may close before it has read everything.
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    return answer.decode("latin-1")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example", "", "a b", "[::1"]
)
@pytest.mark.parametrize("path", ["/", "/api/sessions", "/mcp", "/static/style.css", "/metrics", "/healthz", "/login"])
def test_a_forged_host_is_refused_everywhere(served: Served, host: str, path: str) -> None:
    answer = raw(served, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400"), answer[:300]


def test_two_host_headers_or_none_are_refused(served: Served) -> None:
    for hosts in ("Host: 127.0.0.1\r\nHost: evil.example\r\n", ""):
        answer = raw(served, f"GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")
        assert answer.startswith("HTTP/1.1 400")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:9", "[::1]:8888", "10.1.2.3", "LOCALHOST", socket.gethostname()]
)
def test_the_names_and_addresses_of_this_machine_are_its_own(stranger: httpx2.Client, host: str) -> None:
    assert stranger.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-site"},
    ],
)
def test_another_site_changes_nothing(owner: httpx2.Client, headers: dict[str, str]) -> None:
    for path in ("/login", "/logout"):
        answer = owner.post(path, headers=headers)
        assert answer.status_code == 403, path
        assert "set-cookie" not in answer.headers


def test_a_cookie_opens_no_mcp(stranger: httpx2.Client, served: Served) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    stranger.get("/", params={"token": served.token})
    assert stranger.get("/api/sessions").status_code == 200
    assert stranger.post("/mcp", json=call, headers={"origin": "http://localhost:3000"}).status_code == 401


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_another_site_gets_no_mcp(owner: httpx2.Client, headers: dict[str, str]) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"accept": "application/json, text/event-stream"}
    assert owner.post("/mcp", json=call, headers={**accept, **headers}).status_code == 403


def test_another_site_may_lead_here_and_not_embed_or_read_us(owner: httpx2.Client) -> None:
    link_ = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert owner.get("/", headers=link_).status_code == 200
    for mode in ("no-cors", "cors"):
        answer = owner.get("/api/sessions", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": mode})
        assert answer.status_code == 403
    page = owner.get("/")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/", "/api/sessions", "/nothing", "/login", "/static/style.css", "/healthz", "/api/nothing"]
)
def test_every_answer_carries_the_headers_that_keep_a_page_safe(owner: httpx2.Client, path: str) -> None:
    headers = owner.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/vendor/../../app.py",
        "/static/\x00",
        "/static/%00",
        "/../../../../etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_files_that_are_served(served: Served, path: str) -> None:
    ask = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {served.token}\r\nConnection: close\r\n\r\n"
    answer = raw(served, ask)
    assert re.match(r"HTTP/1\.1 (400|404)", answer), answer[:200]
    assert "root:" not in answer
    assert "Starlette" not in answer


def test_headers_of_any_size_and_queries_of_any_length_are_refused_in_words(
    served: Served, owner: httpx2.Client
) -> None:
    huge = "x" * 200_000
    answer = raw(served, f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: {huge}\r\n\r\n")
    assert answer[:10] in ("", "HTTP/1.1 4")
    assert owner.get(f"/api/sessions?search={'x' * 10_000}").status_code == 414
    assert owner.get("/api/session", params={"id": "x" * 2049}).status_code == 400
    assert owner.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "name", ["a\r\nset-cookie: x=1", "\x00", "\x1b[2J", "<script>alert(1)</script>", "\u202e", "a/../b", "%", "+ &=#"]
)
def test_an_id_is_only_ever_text(owner: httpx2.Client, name: str) -> None:
    for path in ("/session", "/api/session", "/api/live", "/api/session_url"):
        if path == "/api/live":
            with owner.stream("GET", path, params={"id": name}) as answer:
                assert answer.status_code == 200
                assert "x" not in answer.cookies
            continue
        answer = owner.get(path, params={"id": name})
        assert answer.status_code in (404, 200)
        assert "x" not in answer.cookies
        assert answer.headers["content-type"].partition(";")[0] != "text/html" or "<script>alert" not in answer.text


# -- when a token is needed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("http", "settings"),
    [
        ("0.0.0.0:0", ""),
        ("[::]:0", ""),
        ("0", '[web]\nauth = "always"'),
        ("0", '[web]\nbase_url = "https://example.org/monitor"'),
        ("0.0.0.0:0", '[web]\nauth = "proxy"'),
    ],
)
def test_where_others_can_come_in_nothing_is_served_without_a_token(place: Place, http: str, settings: str) -> None:
    config = place.folder / "no-token.toml"
    config.write_text(settings)
    empty = place.folder / "empty"
    _, errors = run("serve", "--data-dir", empty, "--log-path", place.log, "--config", config, "--http", http, code=2)
    assert "--token auto" in errors
    assert "Traceback" not in errors


def test_a_token_of_ones_own_comes_from_the_environment_and_is_kept_out_of_sight(place: Place) -> None:
    secret = "my-own-very-long-token"
    with daemon(place, "--no-ingest", env={"SESSION_MONITOR_WEB__TOKEN": secret}) as served:
        with served.client() as stranger, served.client(secret) as owner:
            assert stranger.get("/api/sessions").status_code == 401
            assert owner.get("/api/sessions").status_code == 200
            assert secret not in owner.get("/api/sources").text
        assert secret not in served.stderr
    _, errors = run("serve", "--http", "0", "--token", "has spaces in it", "--data-dir", place.data, code=2)
    assert "--token" in errors
    assert "has spaces" not in errors


def test_loopback_needs_no_token_unless_it_is_asked_for_always(place: Place) -> None:
    with daemon(place, "--no-ingest") as served, served.client() as client:
        assert client.get("/api/sessions").status_code == 200
    with daemon(place, "--no-ingest", settings='[web]\nauth = "always"') as served, served.client() as client:
        assert client.get("/api/sessions").status_code == 401
        out, _ = run("url", MAIN, "--data-dir", place.data, "--no-ingest", code=None)
        assert out == "" or "key=" in out


# -- behind a reverse proxy -----------------------------------------------------------------------

PROXY = '[web]\nbase_url = "https://example.org/monitor"\n'


@pytest.mark.parametrize("prefix", ["/monitor", ""])
@pytest.mark.parametrize("host", ["example.org", "127.0.0.1"])
def test_behind_a_proxy_with_a_path_everything_is_reached(place: Place, prefix: str, host: str) -> None:
    """Whether the proxy takes its path off or not, and whether it passes the host on or not."""
    with (
        daemon(place, "--no-ingest", "--token", "the-token-of-the-proxy", settings=PROXY) as served,
        httpx2.Client(base_url=served.base, headers={"host": host}) as client,
    ):
        first = client.get(f"{prefix}/", params={"token": "the-token-of-the-proxy"})
        assert (first.status_code, first.headers["location"]) == (303, "/monitor/")
        cookie = first.headers["set-cookie"]
        assert "Path=/monitor" in cookie
        assert "secure" in cookie.lower()
        sent = {"cookie": cookie.partition(";")[0]}
        assert client.get(f"{prefix}/", headers=sent).status_code == 200
        for path in ("/api/sessions", "/static/style.css", "/api/docs", f"/session?id={MAIN}", "/metrics"):
            assert client.get(prefix + path, headers=sent).status_code == 200, path
        given = client.get(f"{prefix}/api/session_url", params={"id": MAIN}, headers=sent).json()
        assert given["url"].startswith("https://example.org/monitor/session?id=")
        parts = urlsplit(given["url"])
        visited = client.get(f"{prefix}{parts.path.removeprefix('/monitor')}?{parts.query}")
        assert visited.headers["location"] == "/monitor/session?id=agent%3Amain%3Amain"
        document = client.get(f"{prefix}/api/openapi.json", headers=sent).json()
        assert document["servers"] == [{"url": "/monitor"}]
        own = {**sent, "origin": "https://example.org", "sec-fetch-site": "same-origin"}
        assert client.post(f"{prefix}/logout", headers=own).headers["location"] == "/monitor/login"
        assert client.post(f"{prefix}/logout", headers={**sent, "origin": "https://evil.org"}).status_code == 403
        old = client.get(f"{prefix}/static/ai_usage_monitor.html", headers=sent)
        assert old.headers["location"] == "/monitor/"
        if prefix:
            assert client.get("/monitor").headers["location"] == "/monitor/"


def test_the_login_that_is_printed_leads_through_the_proxy(place: Place) -> None:
    with daemon(
        place, "--no-ingest", "--token", "auto", "--data-dir", str(place.folder / "new"), settings=PROXY
    ) as served:
        assert f"Log in once with https://example.org/monitor/?token={served.token}\n" in served.stderr


def test_a_proxy_that_lets_in_the_right_ones_needs_no_token_of_ours(place: Place) -> None:
    settings = f'{PROXY}auth = "proxy"\n'
    with (
        daemon(place, "--no-ingest", settings=settings) as served,
        httpx2.Client(base_url=served.base, headers={"host": "example.org"}) as client,
    ):
        assert client.get("/api/sessions").status_code == 200
        assert client.get("/api/sessions", headers={"host": "evil.org"}).status_code == 400
        assert "key=" not in client.get("/api/session_url", params={"id": MAIN}).json()["url"]


def test_links_of_other_processes_are_signed_while_a_token_is_in_use(place: Place, served: Served) -> None:
    found = wait_for("the address is told", lambda: run("url", MAIN, "--data-dir", place.data)[0])
    parts = urlsplit(found.strip())
    answer = httpx2.get(f"{served.base}{parts.path}?{parts.query}")
    assert answer.status_code == 303
