"""The protocol's own conformance suites and the Inspector, against the daemon and the stdio server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from monitor.samples import DEMO, Expected, lines
from tests.conformance import node
from tests.faces.place import Place
from tests.helpers import wait_for

HERE = Path(__file__).parent
SESSION = "agent:main:main"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("conformance")
    expected = Expected()
    log = folder / "access.log"
    with log.open("wb") as file:
        file.writelines(lines(DEMO, seed=3, limit=200, expected=expected))
    return Place(folder, log, folder / "data", expected)


@pytest.fixture(scope="module")
def url(sample: Place) -> Iterator[str]:
    """The MCP endpoint of a daemon that has read the sample log, with what the suites ask for by name."""
    command = [sys.executable, str(HERE / "served.py"), *sample.arguments("--http", "0")]
    with (sample.folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        said = sample.folder / "stderr"
        found = wait_for("the daemon says where it is", lambda: re.search(r"http://\S+/mcp", said.read_text()))
        stats = found[0].replace("/mcp", "/api/stats")
        wait_for(
            "the log is read",
            lambda: httpx2.get(stats).json()["totals"].get("rounds") == sample.expected.total.rounds,
        )
        yield found[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.parametrize(
    ("package", "options", "baseline", "scored"),
    [
        pytest.param(node.CONFORMANCE, ["--suite", "all"], "2025-11-25", 26, id="2025-11-25, released suite"),
        pytest.param(
            node.CONFORMANCE_NEXT, ["--requirements", "2025-11-25"], "2025-11-25", 60, id="2025-11-25, next suite"
        ),
        pytest.param(
            node.CONFORMANCE_NEXT, ["--requirements", "2026-07-28"], "2026-07-28", 133, id="2026-07-28, next suite"
        ),
    ],
)
def test_a_suite_fails_nowhere_but_where_the_baseline_says(
    url: str, tmp_path: Path, package: str, options: list[str], baseline: str, scored: int
) -> None:
    """The suite itself fails on an entry of the baseline that has come to pass."""
    expected = HERE / f"expected-failures.{baseline}.yml"
    done = node.run(package, "server", "--url", url, *options, "--expected-failures", expected, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    total = re.search(r"Total: (\d+) passed", done.stdout)
    assert total is not None, done.stdout[-2000:]
    assert int(total[1]) >= scored


@pytest.mark.parametrize(("scenario", "checks"), [("enumeration", 32), ("manifest", 6), ("directory", 7)])
def test_the_skill_is_served_as_the_extension_says(url: str, tmp_path: Path, scenario: str, checks: int) -> None:
    name = f"sep-2640-skills-{scenario}"
    done = node.run(node.CONFORMANCE_NEXT, "server", "--url", url, "--scenario", name, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"Passed: {checks}/{checks}, 0 failed, 0 warnings" in done.stdout


def inspect(sample: Place, era: str, *arguments: str) -> str:
    server, options = sample.server()
    done = node.run(node.INSPECTOR, "--cli", server, *options, "--protocol-era", era, *arguments, folder=sample.folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_finds_every_schema_portable(sample: Place, era: str) -> None:
    listed = json.loads(inspect(sample, era, "--method", "tools/list", "--strict", "--format", "json"))
    assert "get_session" in json.dumps(listed)


def test_the_inspector_gets_the_right_figures_from_a_tool_and_from_a_resource(sample: Place) -> None:
    question = json.dumps({"session_id": SESSION, "response_format": "detailed"})
    call = ("--tool-name", "get_session", "--tool-args-json", question, "--format", "json")
    # The Inspector's answer is an envelope around the result.
    called = _found(json.loads(inspect(sample, "modern", "--method", "tools/call", *call)), "structuredContent")
    address = f"session://{SESSION.replace(':', '%3A')}"
    output = inspect(sample, "legacy", "--method", "resources/read", "--uri", address, "--format", "json")
    [content] = _found(json.loads(output), "contents")
    read = json.loads(content["text"])
    for document in (called, read):
        assert document["messages_count"] == sample.expected.sessions[SESSION].rounds
        document.pop("as_of")
    assert called == read


def test_the_inspector_verifies_every_file_of_the_skill(sample: Place) -> None:
    said = inspect(sample, "modern", "--method", "skills/list", "--verify", "--require-digests")
    assert '"outcome":"verified"' in said


def _found(document: Any, name: str) -> Any:
    """The value under `name`, however deep it lies."""
    if isinstance(document, dict):
        if name in document:
            return document[name]
        document = list(document.values())
    if isinstance(document, list):
        for item in document:
            if (value := _found(item, name)) is not None:
                return value
    return None
