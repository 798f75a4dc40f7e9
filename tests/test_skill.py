"""The agent skill is valid, says what is so, and every question in it is answered."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urljoin

import pytest
from mcp import Client
from mcp.server.extension import Extension
from mcp.shared.exceptions import MCPError
from mcp.types import Request, RequestParams, Result, TextResourceContents
from strictyaml.ruamel import safe_load  # type: ignore[import-untyped]

from monitor import skillfiles
from monitor.answers.anomalies.base import Anomalies
from monitor.answers.budgets import SessionBudget
from monitor.answers.comparison import Comparison
from monitor.answers.health import SourceHealth
from monitor.answers.links import SessionLink
from monitor.answers.overview import SpendOverview
from monitor.answers.sessions import Session
from monitor.config import load
from monitor.faces.mcp import skills
from monitor.faces.mcp.server import build
from monitor.runtime import Runtime
from monitor.samples import DEMO, Expected, lines

_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
#: What OpenClaw's own check of a skill takes; the Agent Skills specification knows `compatibility` besides.
OPENCLAW_KEYS = {"name", "description", "license", "allowed-tools", "metadata"}
#: Names in the skill that are others': OpenClaw's tools, and a setting.
FOREIGN = {"session_status", "tool_call", "base_url"}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime over a sample log that has been read."""
    folder = tmp_path_factory.mktemp("skill")
    log = folder / "access.log"
    with log.open("wb") as file:
        file.writelines(lines(DEMO, seed=3, limit=400, expected=Expected()))
    runtime = Runtime(load(None, data_dir=folder / "data"), log_paths=[log])
    with runtime.ingesting() as ingester:
        ingester.once()
    yield runtime
    runtime.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def split(document: bytes) -> tuple[str, str]:
    """The fields and the text of a SKILL.md, each as it stands there."""
    _, fields, text = document.decode().split("---\n", 2)
    return fields, text


# -- the files ------------------------------------------------------------------------------------


def test_the_validator_of_agent_skills_accepts_it(tmp_path: Path) -> None:
    folder = tmp_path / skillfiles.NAME
    for path, content in skillfiles.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    validator = Path(sys.executable).with_name("agentskills")
    done = subprocess.run([validator, "validate", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_fields_are_those_that_every_client_accepts() -> None:
    fields = skills.frontmatter(skillfiles.files()["SKILL.md"])
    assert set(fields) <= OPENCLAW_KEYS
    assert fields["name"] == skillfiles.NAME
    assert len(fields["description"]) <= 1024
    assert not re.search("[<>]", fields["description"])


def test_its_text_is_short_enough_to_be_read_whole() -> None:
    assert len(split(skillfiles.files()["SKILL.md"])[1].splitlines()) < 500


@pytest.mark.parametrize("path", skillfiles.files())
def test_every_link_leads_to_a_file_of_the_skill(path: str) -> None:
    files = skillfiles.files()
    for target in _LINK.findall(files[path].decode()):
        assert urljoin(path, target) in files, f"{path}: {target}"


# -- the reader of its fields ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        split(skillfiles.files()["SKILL.md"])[0],
        "name: a\ndescription: Reports cost, spend - and (much) more; it's no. 1 for 7 % of C# users\n",
        'name: a\ndescription: "Quoted: with a colon, \\u00e9, a \\" and # no comment"\n',
        'name: a\nmetadata: {"openclaw": {"emoji": "x", "requires": {"bins": ["y"]}, "always": true}, "v": "1.0"}\n',
        'name: a\nallowed-tools: ["Read", "Bash(git:*)"]\n',
    ],
)
def test_fields_are_read_as_a_yaml_reader_reads_them(fields: str) -> None:
    assert skills.frontmatter(f"---\n{fields}---\n# Text\n".encode()) == safe_load(fields)


@pytest.mark.parametrize(
    "fields",
    [
        "name: yes\n",
        "name: Null\n",
        "version: 1.0\n",
        "since: 2026-02-01\n",
        "name: a: b\n",
        "name: a:\n",
        "name: a # why\n",
        "name: 'a'\n",
        "name: |\n  a\n",
        "name:\n",
        "name: a\nname: b\n",
        "metadata:\n  a: b\n",
        "name: *a\n",
        "name: {a: b}\n",
        'name: "a" b\n',
        "- a\n",
    ],
)
def test_fields_that_readers_could_differ_about_are_refused(fields: str) -> None:
    with pytest.raises(ValueError, match=r"^SKILL\.md: "):
        skills.frontmatter(f"---\n{fields}---\n# Text\n".encode())


@pytest.mark.parametrize("document", ["", "# Text\n", "---\nname: a\n", "\ufeff---\nname: a\n---\n"])
def test_a_document_without_fields_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="does not begin with fields"):
        skills.frontmatter(document.encode())


# -- over MCP -------------------------------------------------------------------------------------


class _Asked(RequestParams):
    uri: str | None = None
    cursor: str | None = None


class _Ask(Request[_Asked, str]):
    method: str
    params: _Asked


class _Told(Result, extra="allow"):
    pass


async def ask(client: Client, method: str, **params: Any) -> dict[str, Any]:
    told = await client.session.send_request(_Ask(method=method, params=_Asked(**params)), _Told)
    return told.model_dump(mode="json", by_alias=True)


@pytest.mark.anyio
async def test_what_is_read_over_mcp_is_byte_for_byte_what_the_entry_says(runtime: Runtime) -> None:
    files = skillfiles.files()
    async with Client(build(runtime)) as client:
        [entry] = (await ask(client, "skills/list"))["skills"]
        read = {}
        for file in entry["resources"]:
            [content] = (await client.read_resource(file["uri"])).contents
            assert isinstance(content, TextResourceContents)
            read[file["uri"].removeprefix(f"{skills.ROOT}/")] = content.text.encode()
            assert file["digest"] == f"sha256:{hashlib.sha256(content.text.encode()).hexdigest()}"
            assert file["size"] == len(content.text.encode())
        same = (await ask(client, "skills/get", uri=entry["uri"]))["skill"]
    assert read == files
    assert entry["frontmatter"] == safe_load(split(files["SKILL.md"])[0])
    assert same == entry


@pytest.mark.anyio
async def test_directories_lead_to_every_file(runtime: Runtime) -> None:
    found, open_ = set(), [skills.ROOT]
    async with Client(build(runtime)) as client:
        while open_:
            for child in (await ask(client, "resources/directory/read", uri=open_.pop()))["resources"]:
                if child["mimeType"] == "inode/directory":
                    open_.append(child["uri"])
                else:
                    found.add(child["uri"])
    assert found == {f"{skills.ROOT}/{path}" for path in skillfiles.files()}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "params", "hint"),
    [
        ("skills/get", {"uri": "skill://other/SKILL.md"}, skills.URI),
        ("skills/list", {"cursor": "x"}, "first page"),
        ("resources/directory/read", {"uri": skills.URI}, "skill://session-monitor/skill"),
        ("resources/directory/read", {"uri": skills.ROOT, "cursor": "x"}, "first page"),
    ],
)
async def test_a_wrong_question_about_the_skill_is_an_error_with_the_way_out(
    runtime: Runtime, method: str, params: dict[str, str], hint: str
) -> None:
    async with Client(build(runtime)) as client:
        with pytest.raises(MCPError, match=hint) as caught:
            await ask(client, method, **params)
    assert caught.value.code == -32602


@pytest.mark.parametrize("content", [None, b"# no fields\n"])
def test_a_server_whose_skill_is_damaged_answers_all_the_same(
    runtime: Runtime, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    def damaged() -> dict[str, bytes]:
        if content is None:
            raise FileNotFoundError("SKILL.md is missing")
        return {"SKILL.md": content}

    with patch.object(skillfiles, "files", damaged):
        found: list[Extension] = skills.extensions()
        assert build(runtime)
    assert found == []
    assert "SKILL.md" in caplog.text


def test_a_file_that_is_no_text_is_served_as_it_is() -> None:
    extension = skills.SkillsExtension({**skillfiles.files(), "skill/picture.png": b"\x89PNG\xff"})
    assert [binding.resource.mime_type for binding in extension.resources()][-1] == "image/png"


# -- what it says ---------------------------------------------------------------------------------


def questions() -> list[tuple[str, str, dict[str, Any]]]:
    """Question, tool and arguments of every row in skill/questions.md."""
    page = skillfiles.files()["skill/questions.md"].decode()
    rows = re.findall(r"^\| (.+?) \| `(\w+) (\{.*\})` \|$", page, re.MULTILINE)
    return [(question, name, json.loads(arguments)) for question, name, arguments in rows]


def test_there_are_questions_enough_and_none_twice() -> None:
    asked = [question for question, _, _ in questions()]
    assert len(asked) == len(set(asked)) >= 20


@pytest.mark.anyio
@pytest.mark.parametrize(("question", "name", "arguments"), [pytest.param(*q, id=q[0]) for q in questions()])
async def test_every_question_is_answered(
    runtime: Runtime, question: str, name: str, arguments: dict[str, Any]
) -> None:
    async with Client(build(runtime)) as client:
        result = await client.call_tool(name, arguments)
    assert not result.is_error, f"{question} {result.content}"
    assert result.structured_content


@pytest.mark.anyio
async def test_the_tools_and_arguments_that_it_names_exist(runtime: Runtime) -> None:
    async with Client(build(runtime)) as client:
        tools = {tool.name: tool.input_schema["properties"] for tool in (await client.list_tools()).tools}
    text = split(skillfiles.files()["SKILL.md"])[1]
    rows = re.findall(r"^\|[^|]+\| `(\w+)` \|(.*)\|$", text, re.MULTILINE)
    assert {name for name, _ in rows} == set(tools)
    for name, cell in rows:
        for argument in re.findall(r"`(\w+)[:`]", cell):
            assert argument in tools[name], f"{name} {argument}"
    known = {*tools, *FOREIGN, *(name for properties in tools.values() for name in properties)}
    for answer in (Session, SessionLink, SourceHealth, SpendOverview, Comparison, Anomalies, SessionBudget):
        known |= {*answer.model_fields}
    for code in _INLINE.findall(text):
        for word in re.findall(r"(?<![\w.-])[a-z]+(?:_[a-z]+)+", code.replace("__", " ")):
            assert word in known, f"{word} in `{code}`"


@pytest.mark.anyio
async def test_the_questions_use_every_tool(runtime: Runtime) -> None:
    async with Client(build(runtime)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert {name for _, name, _ in questions()} == tools
