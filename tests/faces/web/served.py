"""Real servers for the tests of the web: the command, and what it says on standard error."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2

from monitor.samples import DEMO, Expected, lines
from tests.faces.place import ROOT, Place
from tests.helpers import environment, wait_for

MAIN = "agent:main:main"


@dataclass
class Served:
    """A daemon on loopback, and how to ask it."""

    base: str
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def stderr(self) -> str:
        """What it has printed so far."""
        return "".join(self.said)

    @property
    def token(self) -> str:
        """The token that it made, which it prints once."""
        found = re.search(r"^token (\S+)$", self.stderr, re.MULTILINE)
        assert found is not None, self.stderr
        return found[1]

    def client(self, token: str | None = None, **headers: str) -> httpx2.Client:
        """A client that follows no redirects."""
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return httpx2.Client(base_url=self.base, headers=headers, timeout=30)


def sample(folder: Path, limit: int = 400) -> Place:
    """A folder with a sample log."""
    expected = Expected()
    log = folder / "access.log"
    with log.open("wb") as file:
        file.writelines(lines(DEMO, seed=3, limit=limit, expected=expected))
    return Place(folder, log, folder / "data", expected)


@contextlib.contextmanager
def daemon(
    place: Place, *options: str, http: str = "0", settings: str | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """`serve --http` over a place until the block ends."""
    arguments = place.arguments("--http", http, *options)
    if settings is not None:
        config = place.folder / "settings.toml"
        config.write_text(settings)
        arguments += ["--config", str(config)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "server.py"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), **(env or {})},
    )
    served = Served("", process)
    assert process.stderr is not None
    reader = threading.Thread(target=_listen, args=(process.stderr, served.said), daemon=True)
    reader.start()
    try:
        found = wait_for(
            "the server prints its address", lambda: re.search(r"^MCP +http://\S+:(\d+)/mcp$", served.stderr, re.M)
        )
        served.base = f"http://127.0.0.1:{found[1]}"
        wait_for("the server answers", lambda: _answers(served.base))
        yield served
    finally:
        process.terminate()
        process.wait(timeout=20)
        reader.join(timeout=5)
        process.stderr.close()


def wait_until_read(served: Served, place: Place, token: str | None = None) -> None:
    """Wait until the daemon has read the sample log."""
    with served.client(token) as client:
        right = place.expected.total.rounds
        wait_for("the log is read", lambda: client.get("/api/stats").json()["totals"]["rounds"] == right)


def _listen(stream: IO[str], said: list[str]) -> None:
    for line in stream:
        said.append(line)  # noqa: PERF402 - each as it comes


def _answers(base: str) -> bool:
    try:
        return httpx2.get(f"{base}/healthz").status_code == 200
    except httpx2.TransportError:
        return False
