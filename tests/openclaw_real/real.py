"""The real OpenClaw from npm, in a home of its own, talking to nothing but this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from monitor.setup.machine import program
from tests.conformance import node
from tests.helpers import wait_for
from tests.openclaw_real.provider import Provider

MODEL = "test-model-a"
#: Dollars per million tokens: input, output, cached. OpenClaw and we are told the same.
PRICES = ("1.237", "4.019", "0.131")
_TOKEN = "for-loopback-only"
_READY = "[gateway] ready"

#: With comments and odd spacing, as people write it; `skill install` has to leave that alone.
_CONFIG = """\
// written by hand
{
  gateway: { mode: 'local', port: %(port)d, bind: "loopback", auth: { mode: "token", token: "%(token)s" }, },
  logging: { file: "%(folder)s/openclaw.log" },
  update: { checkOnStart: false }, // asks nobody for a newer release
  models: {
    catalogRefresh: { enabled: false }, // nor for lists of models
    providers: {
      "%(provider)s": {
        baseUrl: "%(url)s",
        apiKey: "none-is-needed",
        api: "openai-completions",
        models: [
          {
            id: "%(model)s", name: "A", input: ["text"], contextWindow: 200000, maxTokens: 8000,
            cost: { input: %(input)s, output: %(output)s, cacheRead: %(cached)s, cacheWrite: 0 },
          },
        ],
      },
    },
  },
  agents: {
    defaults: {
      model: { primary: "%(provider)s/%(model)s" },
      workspace: "%(folder)s/workspace", skipBootstrap: true,
      heartbeat: { every: "0m" }, // no calls but those that a test makes
    },
  },
  plugins: { slots: { memory: "none" } },
}
"""
_OURS = """\
[[sources]]
kind = "higress"
path = "{log}"
[[sources]]
kind = "openclaw"
path = "{state}"
[prices]
overlay = "prices.toml"
"""
_OVERLAY = """\
schema = 1
[[price]]
match = ["{model}"]
currency = "USD"
per = 1_000_000
input = "{input}"
output = "{output}"
cached = "{cached}"
"""


class OpenClaw:
    """One installation with its state, and its gateway while `running`."""

    def __init__(self, folder: Path, provider: Provider, *, name: str = "higress") -> None:
        self.home = folder / "home"
        self.state = self.home / ".openclaw"
        self.config = self.state / "openclaw.json"
        self.state.mkdir(parents=True)
        self.ours = folder / "session-monitor.toml"
        self.data = folder / "data"
        self._folder = folder
        self._proxy = provider.url.removesuffix("/v1")
        self._port = _free_port()
        self._program = node.installed(node.OPENCLAW)
        prices = dict(zip(("input", "output", "cached"), PRICES, strict=True))
        values = {"port": self._port, "token": _TOKEN, "provider": name, "url": provider.url}
        self.config.write_text(_CONFIG % {**values, **prices, "model": MODEL, "folder": folder})
        self.ours.write_text(_OURS.format(log=provider.log, state=self.state))
        (folder / "prices.toml").write_text(_OVERLAY.format(model=MODEL, **prices))

    @property
    def environment(self) -> dict[str, str]:
        """What its processes get: nothing of ours but where programs are."""
        return {
            "HOME": str(self.home),
            "PATH": os.pathsep.join(
                (str(node.program().parent), str(self._program.parents[1] / ".bin"), "/usr/bin", "/bin")
            ),
            "TMPDIR": str(self._folder),
            "DO_NOT_TRACK": "1",
            "OPENCLAW_NO_AUTO_UPDATE": "1",
            "OPENCLAW_SKIP_CHANNELS": "1",
            "NO_COLOR": "1",
            "NODE_USE_ENV_PROXY": "1",
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), self._proxy),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
        }

    def run(self, *arguments: str, seconds: float = 180) -> str:
        """What a command prints."""
        done = subprocess.run(
            [node.program(), self._program, *arguments],
            cwd=self._folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"openclaw {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def monitor(self, *arguments: str, seconds: float = 120) -> tuple[str, str]:
        """What `session-monitor` says where this OpenClaw is at home: on standard output, and on standard error."""
        done = subprocess.run(
            [*program(), *arguments, "--config", str(self.ours), "--data-dir", str(self.data)],
            cwd=self._folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    @contextmanager
    def running(self) -> Iterator[None]:
        """Its gateway runs inside this."""
        said = self._folder / "gateway.log"
        with said.open("ab") as out:
            process = subprocess.Popen(
                [node.program(), self._program, "gateway", "run", "--port", str(self._port), "--bind", "loopback"],
                cwd=self._folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_for(
                "the gateway is ready", lambda: process.poll() is not None or _READY in said.read_text(), seconds=180
            )
            assert process.poll() is None, said.read_text()[-4000:]
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def call(self, method: str, **parameters: Any) -> Any:
        """What the gateway answers."""
        final = ["--expect-final"] if method == "agent" else []
        words = ["gateway", "call", method, *final, "--params", json.dumps(parameters), "--json", "--timeout", "120000"]
        words += ["--token", _TOKEN, "--url", f"ws://127.0.0.1:{self._port}"]
        return json.loads(self.run(*words))

    def turn(self, key: str, message: str) -> str:
        """What the agent answers in session `key`."""
        answer = self.call("agent", message=message, sessionKey=key, idempotencyKey=str(uuid.uuid4()))
        assert answer["status"] == "ok", answer
        return _texts(answer["result"])


def _texts(result: dict[str, Any]) -> str:
    return "\n".join(part.get("text") or "" for part in result["payloads"])


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
