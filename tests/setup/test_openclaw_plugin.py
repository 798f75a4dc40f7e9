"""Our plugin for OpenClaw, loaded by Node as OpenClaw loads it: the right header, or none, and never an error.

That a real OpenClaw sends it is shown in tests/openclaw_real.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import node

PLUGIN = Path(__file__).parents[2] / "skill" / "openclaw-plugin"

_HOST = """
import { readFileSync } from "node:fs";
import plugin from %(plugin)s;
const { version, api, heard, asked } = JSON.parse(readFileSync(0, "utf8"));
const handlers = [];
let provider;
plugin.register({
  runtime: { version },
  pluginConfig: { providers: ["higress"] },
  on: (name, handler) => handlers.push(handler),
  registerProvider: (given) => { provider = given; },
});
for (const [key, id] of heard) for (const handler of handlers) handler({}, { sessionKey: key, sessionId: id });
const calls = [];
const stream = (model, context, options) => { calls.push(options.headers); return "stream"; };
const wrapped = provider.wrapStreamFn({ streamFn: stream, model: { api } });
const answers = [];
for (const id of asked) {
  answers.push({
    asked: provider.resolveTransportTurnState({ sessionId: id }).headers,
    wrapped: wrapped ? await wrapped({}, {}, { sessionId: id, headers: { "x-other": "1" } }) && calls.at(-1) : null,
  });
}
console.log(JSON.stringify({ aliases: provider.hookAliases, answers }));
"""


def run(version: str, heard: list[tuple[str, str]], asked: list[str], api: str = "openai-completions") -> Any:
    """What the plugin adds to a request of each session in `asked`, after it heard of those in `heard`."""
    code = _HOST % {"plugin": json.dumps((PLUGIN / "index.js").as_uri())}
    given = json.dumps({"version": version, "api": api, "heard": heard, "asked": asked})
    done = subprocess.run(
        [node.program(), "--input-type=module", "-e", code],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


KEY, ID = "agent:main:discord:channel:123", "ad64c1bf-b788-4b53-a84a-a15cfd65020f"


def test_a_session_that_was_heard_of_is_named_by_its_key_in_every_generation() -> None:
    found = run("2026.9.6", [(KEY, ID)], [ID, f"{ID}:0", f"{ID}:12"])
    assert found["aliases"] == ["higress"]
    assert [answer["asked"] for answer in found["answers"]] == [{"x-openclaw-session-key": KEY}] * 3


@pytest.mark.parametrize(
    ("heard", "name"),
    [
        ([], ID),
        ([("agent:main:群组", ID)], ID),
        ([("agent:main:a b", ID)], ID),
        ([("agent:main:a\r\nx-evil: 1", ID)], ID),
        ([("old", ID), ("new", ID)], "new"),
    ],
)
def test_a_key_that_is_unknown_or_no_text_for_a_header_leaves_the_id(heard: list[tuple[str, str]], name: str) -> None:
    [answer] = run("2026.9.6", heard, [f"{ID}:1"])["answers"]
    assert answer["asked"] == {"x-openclaw-session-key": name}


def test_without_a_session_there_is_no_header() -> None:
    [answer] = run("2026.9.6", [(KEY, ID)], [""])["answers"]
    assert answer["asked"] == {}


@pytest.mark.parametrize(
    ("version", "api", "wraps"),
    [
        ("2026.9.6", "openai-completions", False),
        ("2026.9.4", "openai-responses", False),
        ("2027.1.0", "openai-completions", False),
        ("2026.10.1", "openai-completions", False),
        ("2026.9.6", "anthropic-messages", True),
        ("2026.9.3", "openai-completions", True),
        ("2026.7.1", "openai-completions", True),
        ("", "openai-completions", True),
    ],
)
def test_a_call_is_wrapped_only_where_openclaw_does_not_ask_for_headers(version: str, api: str, wraps: bool) -> None:
    [answer] = run(version, [(KEY, ID)], [ID], api)["answers"]
    assert answer["wrapped"] == ({"x-other": "1", "x-openclaw-session-key": KEY} if wraps else None)


def test_it_remembers_no_more_than_ten_thousand_sessions() -> None:
    script = [(f"key-{number}", f"id-{number}") for number in range(10_001)]
    first, last = run("2026.9.6", script, ["id-0", "id-10000"])["answers"]
    assert first["asked"] == {"x-openclaw-session-key": "id-0"}
    assert last["asked"] == {"x-openclaw-session-key": "key-10000"}


def test_the_manifest_and_the_package_agree() -> None:
    manifest = json.loads((PLUGIN / "openclaw.plugin.json").read_text())
    package = json.loads((PLUGIN / "package.json").read_text())
    assert manifest["version"] == package["version"]
    [entry] = package["openclaw"]["extensions"]
    assert (PLUGIN / entry).is_file()
