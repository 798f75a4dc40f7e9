"""A provider behind a gateway, on loopback: it streams what it was scripted to say, and logs calls as Higress does.

It is both ends at once: the model that OpenClaw talks to, and the gateway whose access log is read. So it knows what
was sent, and every figure can be held against that.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from monitor.samples.wire import go_text, time_text

#: The headers in which ai-statistics looks for a session by itself, in its order.
DEFAULT_HEADERS = ("x-openclaw-session-key", "x-clawdbot-session-key", "x-moltbot-session-key", "x-agent-session")
#: A message with this in it makes the model ask for its own spend, by the tool of our server.
SPEND = "What has this conversation cost so far?"
_RUNTIME = re.compile(r"^Runtime: .*\bsession=(\S+)", re.MULTILINE)
_TOOL = "session-monitor__get_session"


@dataclass(frozen=True)
class Sent:
    """One call: what came in the headers, and the counts that went back."""

    number: int
    model: str
    headers: dict[str, str]
    #: What the log names as its session.
    session_id: str | None
    prompt: int
    completion: int
    cached: int
    response_id: str
    #: Whether it offered tools; a compaction does not.
    tools: bool
    body: dict[str, Any] = field(repr=False, compare=False)
    #: What the model said.
    said: dict[str, Any] = field(repr=False, compare=False)


class Provider:
    """Serves ``/v1/chat/completions`` on a free port until it is closed.

    It can be named as the proxy for all other addresses, too: who asks for one is noted, and gets nothing.
    """

    def __init__(self, log: Path, *, session_id_header: str | None = None) -> None:
        self.log = log
        self.session_id_header = session_id_header
        self.sent: list[Sent] = []
        #: What somebody wanted from elsewhere.
        self.outside: list[str] = []
        self._lock = threading.Lock()
        log.touch()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                if not self.path.startswith("/v1/"):
                    self._refuse()
                    return
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = provider._answered(body, headers)
                self.send_response(200)
                self.send_header("content-type", "text/event-stream" if body.get("stream") else "application/json")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def _refuse(self) -> None:
                provider.outside.append(self.requestline)
                self.send_error(403)

            do_CONNECT = do_GET = do_HEAD = _refuse

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What a client has as its base address."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Provider:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answered(self, body: dict[str, Any], headers: dict[str, str]) -> bytes:
        """The whole answer. Its line is in the log before the client has the answer, so nothing can overtake it."""
        begun = time.time_ns() // 1_000_000
        with self._lock:
            number = len(self.sent) + 1
            sent = Sent(
                number=number,
                model=body["model"],
                headers=headers,
                session_id=self._session(headers),
                # No two calls have the same counts, nor do any two of them add up to those of a third.
                prompt=20_000 + 3**number % 9_973 * 7,
                completion=100 + 5**number % 97,
                cached=1_000 + 7**number % 8_191,
                response_id=f"chatcmpl-{number}-{uuid.uuid4().hex[:8]}",
                tools=bool(body.get("tools")),
                body=body,
                said=_said(body),
            )
            self.sent.append(sent)
            with self.log.open("ab") as file:
                file.write(_line(sent, begun, time.time_ns() // 1_000_000))
        return _reply(sent)

    def _session(self, headers: dict[str, str]) -> str | None:
        names = ([self.session_id_header] if self.session_id_header else []) + list(DEFAULT_HEADERS)
        return next((headers[name] for name in names if headers.get(name)), None)


def session_key(messages: list[dict[str, Any]]) -> str | None:
    """The session that OpenClaw's own line in the conversation names."""
    for message in messages:
        if found := _RUNTIME.search(text_of(message)):
            return found[1]
    return None


def text_of(message: dict[str, Any]) -> str:
    """What a message says."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def _said(body: dict[str, Any]) -> dict[str, Any]:
    """What the model says next: it asks for the spend when told to, and repeats what it was told by the tool."""
    messages = body["messages"]
    if not body.get("tools"):
        return {"role": "assistant", "content": "They spoke of this and that."}
    # OpenClaw may put messages of its own behind the user's.
    spoken = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    new = messages[spoken + 1 :]
    for message in new:
        if message["role"] == "tool":
            return {"role": "assistant", "content": f"The tool says: {text_of(message)}"}
    if not any(SPEND in text_of(message) for message in new):
        return {"role": "assistant", "content": "Well said."}
    offered = {tool["function"]["name"] for tool in body["tools"]}
    arguments: dict[str, Any] = {"session_id": session_key(messages)}
    # Releases with tool search hide the tools of servers behind one that calls them by id.
    name = _TOOL if _TOOL in offered else "tool_call"
    if name not in offered:
        return {"role": "assistant", "content": f"There is no such tool among {sorted(offered)}."}
    if name != _TOOL:
        arguments = {"id": _TOOL, "args": arguments}
    call = {"id": f"call_{uuid.uuid4().hex[:12]}", "type": "function"}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"index": 0, **call, "function": {"name": name, "arguments": json.dumps(arguments)}}],
    }


def _reply(sent: Sent) -> bytes:
    said = sent.said
    reason = "tool_calls" if "tool_calls" in said else "stop"
    usage = {
        "prompt_tokens": sent.prompt,
        "completion_tokens": sent.completion,
        "total_tokens": sent.prompt + sent.completion,
        "prompt_tokens_details": {"cached_tokens": sent.cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    head = {"id": sent.response_id, "created": int(time.time()), "model": sent.model}
    if not sent.body.get("stream"):
        whole = {"index": 0, "message": said, "finish_reason": reason}
        return json.dumps({**head, "object": "chat.completion", "choices": [whole], "usage": usage}).encode()
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": said, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {"choices": [], "usage": usage},
    ]
    lines = [f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
    return ("".join(lines) + "data: [DONE]\n\n").encode()


def _line(sent: Sent, begun: int, ended: int) -> bytes:
    """The call as ai-statistics and Envoy log it: no content, the response's id as an attribute."""
    took = max(ended - begun, 1)
    values: dict[str, Any] = {
        "api": "-",
        "cached_tokens": sent.cached,
        "chat_id": sent.response_id,
        "chat_round": 1,
        "input_token": sent.prompt,
        "input_token_details": json.dumps({"cached_tokens": sent.cached}, separators=(",", ":")),
        "llm_first_token_duration": took,
        "llm_service_duration": took,
        "model": sent.model,
        "output_token": sent.completion,
        "output_token_details": json.dumps({"reasoning_tokens": 0}, separators=(",", ":")),
        "reasoning_tokens": 0,
        "response_type": "stream" if sent.body.get("stream") else "normal",
        "total_token": sent.prompt + sent.completion,
    }
    if sent.session_id is not None:
        values["session_id"] = sent.session_id
    inner = go_text(json.dumps(dict(sorted(values.items())), separators=(",", ":"), ensure_ascii=False))
    outer = {
        "authority": "127.0.0.1",
        "duration": str(took),
        "method": "POST",
        "path": "/v1/chat/completions",
        "protocol": "HTTP/1.1",
        "request_id": str(uuid.uuid4()),
        "response_code": "200",
        "response_flags": "-",
        "route_name": "ai-route-test",
        "start_time": time_text(begun),
        "trace_id": "-",
        "upstream_cluster": "outbound|443||llm-test.internal.dns",
        "response_code_details": "via_upstream",
    }
    return f'{{"ai_log":"{inner}",{json.dumps(outer, separators=(",", ":"))[1:]}\n'.encode()
