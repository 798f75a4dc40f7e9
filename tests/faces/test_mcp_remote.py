"""`serve --remote`: a client here, a server there, and nothing lost between them in either protocol era."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from monitor.config import ConfigError
from monitor.faces.mcp import remote
from monitor.faces.mcp.sdk import EmbeddedServer, listening_socket
from tests.faces.place import ROOT, Place
from tests.faces.web.served import daemon, sample, wait_until_read
from tests.helpers import environment, run, wait_for

SESSION = "agent:main:main"
ERAS = ("auto", "legacy")
OWN_URI = "session://agent%3Amain%3Amain"


class Bridge:
    """The command between a client and a server, and what it says on standard error."""

    def __init__(self, folder: Path, url: str, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.file = folder / "said.txt"
        self._parameters = StdioServerParameters(
            command=sys.executable,
            args=[str(ROOT / "server.py"), "--remote", url, *options],
            env={**environment(), "XDG_STATE_HOME": str(folder / "state"), **(env or {})},
        )

    @contextlib.asynccontextmanager
    async def client(self, mode: str = "auto", **how: Any) -> AsyncIterator[Client]:
        """A client of it."""
        with self.file.open("w") as said:
            async with Client(stdio_client(self._parameters, errlog=said), mode=mode, **how) as client:
                yield client

    @property
    def said(self) -> str:
        """What was said until now."""
        return self.file.read_text()


async def failure(bridge: Bridge, mode: str = "auto") -> str:
    """What a client is told that does not get in."""
    said: list[str] = []
    try:
        async with bridge.client(mode) as client:
            await client.list_tools()
    except* MCPError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        said.append(str(error))
    [words] = said
    return words


def free_port() -> int:
    with contextlib.closing(listening_socket("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def served(server: MCPServer[Any]) -> Iterator[str]:
    """The address of an MCP server over HTTP that runs in this process."""
    listener = listening_socket("127.0.0.1", 0)
    config = uvicorn.Config(server.streamable_http_app(), log_config=None, timeout_graceful_shutdown=1)
    running = EmbeddedServer(config)
    thread = threading.Thread(target=lambda: anyio.run(lambda: running.serve(sockets=[listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        running.should_exit = True
        thread.join(20)


# -- what passes -----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_everything_that_a_server_has_is_the_same_across_the_bridge(tmp_path: Path, mode: str) -> None:
    place = sample(tmp_path)

    async def all_of(client: Client) -> dict[str, Any]:
        template = ResourceTemplateReference(uri="session://{session_id}")
        prompt = PromptReference(name="report_my_spend")
        found = {
            "server": client.server_info,
            "instructions": client.instructions,
            "capabilities": client.server_capabilities,
            "tools": await client.list_tools(),
            "resources": await client.list_resources(),
            "templates": await client.list_resource_templates(),
            "prompts": await client.list_prompts(),
            "prompt": await client.get_prompt("report_my_spend", {"session_id": SESSION}),
            "session": await client.call_tool("get_session", {"session_id": SESSION}),
            "read": await client.read_resource(OWN_URI),
            "names": await client.complete(template, {"name": "session_id", "value": "agent:"}),
            "no names": await client.complete(prompt, {"name": "session_id", "value": "nobody"}),
            "mistake": await client.call_tool("get_session", {"session": SESSION}),
        }
        with pytest.raises(MCPError) as unknown:
            await client.read_resource("session://nobody")
        return {**found, "unknown": unknown.value.error}

    with daemon(place) as there:
        wait_until_read(there, place)
        async with Client(f"{there.base}/mcp", mode=mode) as client:
            right = await all_of(client)
        bridge = Bridge(tmp_path, there.base)
        async with bridge.client(mode) as client:
            assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
            got = await all_of(client)
    assert got["session"].structured_content["messages_count"] == place.expected.sessions[SESSION].rounds
    assert got["mistake"].is_error
    assert {name: _timeless(value) for name, value in got.items()} == {n: _timeless(v) for n, v in right.items()}
    assert bridge.said.splitlines() == [f"session-monitor: asking session-monitor 0.1.0 at {there.base}/mcp"]
    assert not (tmp_path / "state").exists()


def _timeless(value: Any) -> Any:
    """An answer without what is another at each asking."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return {n: _timeless(v) for n, v in value.items() if n not in ("as_of", "text")}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_progress_comes_through_and_a_call_that_is_given_up_ends_there(tmp_path: Path, mode: str) -> None:
    server: MCPServer[Any] = MCPServer("session-monitor")
    began, ended = threading.Event(), threading.Event()

    @server.tool()
    async def count(ctx: Context[Any]) -> str:
        """Counts."""
        for number in (1, 2, 3):
            await ctx.report_progress(number, 3, f"step {number}")
        return "counted"

    @server.tool()
    async def wait() -> str:
        """Waits until it is given up."""
        began.set()
        try:
            await anyio.sleep(120)
        finally:
            ended.set()
        return "waited"

    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    with served(server) as url:
        async with Bridge(tmp_path, url).client(mode) as client:
            result = await client.call_tool("count", {}, progress_callback=hear)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "wait", {})
                await anyio.to_thread.run_sync(began.wait, 30)
                tasks.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(ended.wait, 30)
            assert not (await client.call_tool("count", {})).is_error
    assert not result.is_error
    assert heard == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


def _cut(place: Place) -> Callable[[], None]:
    """Take the last line of the own session and what follows out of the log; what puts it back."""
    whole = place.log.read_bytes()
    cut = whole.rindex(b"\n", 0, whole.rindex(SESSION.encode())) + 1
    place.log.write_bytes(whole[:cut])

    def put_back() -> None:
        with place.log.open("ab") as file:
            file.write(whole[cut:])

    return put_back


@pytest.mark.anyio
async def test_a_listener_hears_through_the_bridge_that_its_session_grew(tmp_path: Path) -> None:
    place = sample(tmp_path)
    grow = _cut(place)
    with daemon(place) as there:
        async with (
            Bridge(tmp_path, there.base).client() as client,
            client.listen(resource_subscriptions=[f"session://{SESSION}"]) as events,
        ):
            grow()
            with anyio.fail_after(60):
                event = await anext(aiter(events))
    assert event == ResourceUpdated(uri=f"session://{SESSION}")


# -- a server that goes and comes back -------------------------------------------------------------


@pytest.mark.anyio
async def test_a_session_and_what_it_subscribed_to_outlive_a_restart_of_the_server(tmp_path: Path) -> None:
    place = sample(tmp_path)
    grow = _cut(place)
    told: list[str] = []
    heard = anyio.Event()

    async def hear(message: Any) -> None:
        uri = getattr(getattr(message, "params", None), "uri", None)
        if uri is not None:
            told.append(str(uri))
            heard.set()

    port = str(free_port())
    bridge = Bridge(tmp_path, f"http://127.0.0.1:{port}")
    with contextlib.ExitStack() as first:
        first.enter_context(daemon(place, http=port))
        async with bridge.client("legacy", message_handler=hear) as client:
            with pytest.warns(MCPDeprecationWarning):
                await client.session.subscribe_resource(OWN_URI)
            before = await client.call_tool("get_session", {"session_id": SESSION})
            await anyio.to_thread.run_sync(first.close)
            with pytest.raises(MCPError, match="does not answer"):
                await client.call_tool("get_session", {"session_id": SESSION})
            with daemon(place, http=port):
                again = await client.call_tool("get_session", {"session_id": SESSION})
                grow()
                with anyio.fail_after(60):
                    await heard.wait()
                after = await client.call_tool("get_session", {"session_id": SESSION})
    rounds = [one.structured_content["messages_count"] for one in (before, again, after) if one.structured_content]
    assert rounds == [rounds[0], rounds[0], place.expected.sessions[SESSION].rounds]
    assert set(told) == {OWN_URI}
    assert "answers again" in bridge.said
    assert "Traceback" not in bridge.said


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_a_restart_that_takes_a_moment_is_not_noticed(tmp_path: Path, mode: str) -> None:
    place = sample(tmp_path)
    port = str(free_port())
    bridge = Bridge(tmp_path, f"http://127.0.0.1:{port}")
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(contextlib.ExitStack())
        first.enter_context(daemon(place, http=port))
        async with bridge.client(mode) as client:
            assert not (await client.call_tool("stats_by_model", {})).is_error
            await anyio.to_thread.run_sync(first.close)
            await anyio.to_thread.run_sync(lambda: servers.enter_context(daemon(place, http=port)))
            assert not (await client.call_tool("stats_by_model", {})).is_error


@pytest.mark.anyio
async def test_a_client_that_began_before_the_server_is_answered_once_it_runs(tmp_path: Path) -> None:
    place = sample(tmp_path)
    port = str(free_port())
    bridge = Bridge(tmp_path, f"http://127.0.0.1:{port}")
    async with bridge.client("2026-07-28") as client:
        with pytest.raises(MCPError, match=f"127.0.0.1:{port}/mcp does not answer .Connection refused."):
            await client.list_tools()
        with daemon(place, http=port):
            assert len((await client.list_tools()).tools) == 12
    assert bridge.said.count("does not answer") == 1
    assert "answers again" in bridge.said
    assert "Traceback" not in bridge.said


# -- what is in the way ----------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_a_token_opens_and_a_wrong_one_is_told_without_showing_it(tmp_path: Path, mode: str) -> None:
    place = sample(tmp_path)
    (tmp_path / "token").write_text("a-wrong-token-0123456789\n")
    with daemon(place, "--token", "a-right-token-0123456789", settings='[web]\nauth = "always"\n') as there:
        wait_until_read(there, place, "a-right-token-0123456789")
        by_variable = Bridge(tmp_path, there.base, env={"SESSION_MONITOR_REMOTE_TOKEN": "a-right-token-0123456789"})
        async with by_variable.client(mode) as client:
            result = await client.call_tool("stats_by_model", {})
        wrong = Bridge(tmp_path, there.base, "--token-file", str(tmp_path / "token"))
        said = await failure(wrong, mode)
        without = await failure(Bridge(tmp_path, there.base), mode)
    assert result.structured_content is not None
    assert result.structured_content["totals"]["rounds"] == place.expected.total.rounds
    assert "does not take this token" in said
    assert "SESSION_MONITOR_REMOTE_TOKEN" in without
    assert "a-wrong-token" not in said + wrong.said
    assert "Traceback" not in wrong.said


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_another_mcp_server_is_named_and_not_asked(tmp_path: Path, mode: str) -> None:
    asked: list[str] = []
    server: MCPServer[Any] = MCPServer("weather\x1b[31m")

    @server.tool()
    async def get_session(session_id: str) -> str:
        """Is not ours."""
        asked.append(session_id)
        return "rain"

    with served(server) as url:
        bridge = Bridge(tmp_path, url)
        said = await failure(bridge, mode)
    assert "is weather\\x1b[31m, not a session-monitor" in said
    assert said in bridge.said
    assert not asked


class _Console(http.server.BaseHTTPRequestHandler):
    """A web page that takes anything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>Welcome</h1>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.anyio
async def test_a_web_page_is_no_server_of_ours(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Console) as page:
        thread = threading.Thread(target=page.serve_forever)
        thread.start()
        bridge = Bridge(tmp_path, f"http://127.0.0.1:{page.server_port}/console")
        said = await failure(bridge)
        page.shutdown()
        thread.join(20)
    assert f"127.0.0.1:{page.server_port}/console/mcp is not the address of a session-monitor (status 200)" in said
    assert "Traceback" not in bridge.said


@pytest.mark.anyio
async def test_a_name_that_the_server_does_not_go_by_is_told_in_its_words(tmp_path: Path) -> None:
    with daemon(sample(tmp_path)) as there:
        # As through a proxy, which the environment names, so that no such host is needed.
        bridge = Bridge(tmp_path, "http://gateway.invalid", env={"http_proxy": there.base, "no_proxy": ""})
        said = await failure(bridge)
    assert "gateway.invalid/mcp answers with status 400: This name is not one of this page's" in said


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("http://gateway:8888", "http://gateway:8888/mcp"),
        ("http://gateway:8888/", "http://gateway:8888/mcp"),
        ("https://spend.example.com/monitor/mcp", "https://spend.example.com/monitor/mcp"),
        ("https://spend.example.com/monitor", "https://spend.example.com/monitor/mcp"),
        ("http://[::1]:8888/mcp/", "http://[::1]:8888/mcp"),
    ],
)
def test_an_address_may_leave_out_its_end(text: str, right: str) -> None:
    assert remote.address(text) == right


@pytest.mark.parametrize(
    "text",
    ["gateway:8888", "ftp://gateway", "http://", "http://h:port", "http://me:secret@h", "http://h/?token=secret"],
)
def test_an_address_that_is_none_is_refused_without_repeating_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        remote.address(text)
    assert "--remote" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--log-path", "x.log"), "leave --log-path out"),
        (("--http", "8888"), "leave --http out"),
        (("--no-ingest",), "leave --no-ingest out"),
        (("--token", "has spaces in it"), "copy it again"),
        (("--token-file", "/nowhere/token"), "/nowhere/token: No such file"),
        (("--token-file", os.devnull), "it is empty"),
        (("--token-file", os.devnull, "--token", "x"), "give one of them"),
    ],
)
def test_options_that_make_no_sense_there_are_refused(options: tuple[str, ...], words: str) -> None:
    _, said = run("serve", "--remote", "http://127.0.0.1:9", *options, code=2)
    assert words in said
    assert "has spaces" not in said


def test_the_bridge_loads_no_store_and_no_prices() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, monitor.faces.mcp.remote; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = ("store", "prices", "runtime", "answers", "ingest", "sources")
    assert not [name for name in loaded if name.startswith(tuple(f"monitor.{one}" for one in heavy))]


def test_the_bridge_ends_with_its_client(tmp_path: Path) -> None:
    with daemon(sample(tmp_path)) as there:
        _, said = run("serve", "--remote", there.base)
    assert "Traceback" not in said
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "server.py"), "--remote", "http://127.0.0.1:9"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert process.stderr is not None
    assert "does not answer" in process.stderr.readline()
    process.terminate()
    assert wait_for("it ends", lambda: process.poll() is not None)
    assert process.returncode == 0
    assert process.stdin is not None
    process.stdin.close()
    assert process.stderr.read() == ""
    process.stderr.close()
