"""What the documents say is so: links, commands, settings, prices, and the tables of tools and commands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args
from urllib.parse import unquote

import anyio
import click
import pytest
from pydantic import BaseModel
from starlette.routing import Route

from monitor.answers.anomalies.base import Anomalies
from monitor.answers.comparison import Comparison
from monitor.answers.health import SourceHealth
from monitor.answers.links import SessionLink
from monitor.answers.overview import SpendOverview
from monitor.answers.reconcile import Reconciliation
from monitor.answers.rounds import OneRound
from monitor.answers.sessions import Session
from monitor.answers.spenders import TopSpenders
from monitor.answers.stats import ModelStats
from monitor.config import Settings, SourceSettings, load
from monitor.faces.cli.main import cli
from monitor.faces.mcp.server import build
from monitor.faces.web import app as web_app
from monitor.prices import overlay
from monitor.runtime import Runtime
from monitor.setup.clients import CLIENTS

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh.md")
PAGES = tuple(
    p.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "skill", "bench")
    for p in sorted((ROOT / folder).glob("*.md"))
)
NAME = "session-monitor"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_OURS = re.compile(rf"(?:^|[/\s]){NAME}\s")
_INLINE = re.compile(r"`([^`\n]+)`")
_REPOSITORY_PATH = re.compile(r"(?:monitor|tests|docs|bench)/[\w/.*-]*[\w*/]|server\.py")
#: What the pages fetch by themselves, and ways in and out.
_BEHIND_THE_PAGES = {
    "/login", "/logout", "/session/round", "/session/series", "/static/ai_usage_monitor.html", "/api/openapi.json",
}  # fmt: skip
#: Where a page tells people to make something, or names a place of another repository.
_PLACEHOLDERS = ("NAME",)


class Block(NamedTuple):
    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0][:60]}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def prose_of(page: str) -> str:
    return _FENCE.sub("", text_of(page))


def blocks(*languages: str) -> list[Block]:
    return [
        Block(page, language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE))
        for page in PAGES
        for indent, language, text in _FENCE.findall(text_of(page))
        if language in languages
    ]


def anchors(page: str) -> set[str]:
    """The names that headings get on the forges: lower case, without punctuation, dashes for spaces."""
    return {anchor_of(heading) for heading in _HEADING.findall(prose_of(page))}


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def calls(text: str) -> Iterator[list[str]]:
    """The arguments of every call of our command in a piece of shell."""
    for line in text.replace("\\\n", " ").splitlines():
        if not _OURS.search(line):
            continue
        words = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        words.whitespace_split = True
        parts: list[list[str]] = [[]]
        for word in words:
            if set(word) <= set("|&;"):
                parts.append([])
            else:
                parts[-1].append(word)
        for part in parts:
            while part and re.fullmatch(r"[A-Z_]+=.*", part[0]):
                del part[0]
            if "--" in part:  # a client's command that is given ours
                part = part[part.index("--") + 1 :]
            if part[:2] == ["uvx", "--from"]:
                part = part[3:]
            if part and part[0].rpartition("/")[2] == NAME:
                yield part[1:]


def parse(arguments: list[str]) -> None:
    """Parse a command line as the program does, and run nothing."""
    with cli.make_context(NAME, arguments[:1], resilient_parsing=True) as context:
        if arguments[0].startswith("-"):
            assert arguments[0] in {name for param in cli.get_params(context) for name in param.opts}, arguments
            return
        command: click.Command | None = cli
        while isinstance(command, click.Group) and arguments:
            name, *arguments = arguments
            command = command.get_command(context, name)
            assert command is not None, f"there is no command {name!r}"
            if isinstance(command, click.Group) and not arguments:
                return  # a group is spoken of as a whole
            if not isinstance(command, click.Group):
                command.make_context(name, arguments, parent=context).close()


def shell_calls() -> list[tuple[str, list[str]]]:
    found = [(str(b), arguments) for b in blocks("sh", "console", "shell") for arguments in calls(b.text)]
    for page in PAGES:
        for code in _INLINE.findall(prose_of(page)):
            if f"{NAME} " in code:
                found += [(f"{page}: {code}", arguments) for arguments in calls(code)]
    return found


def rows_below(page: str, *heads: str) -> dict[str, list[str]]:
    """The rows of the table whose first head is one of `heads`, by the code in their first cell."""
    rows: dict[str, list[str]] = {}
    inside = False
    for line in text_of(page).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            inside = False
        elif cells[0] in heads:
            inside = True
        elif inside and (name := _INLINE.match(cells[0])) is not None:
            rows[name[1]] = cells[1:]
    return rows


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The server's tools and the schemas of their arguments."""
    runtime = Runtime(Settings(data_dir=tmp_path / "data"))
    listed = anyio.run(build(runtime).list_tools)
    runtime.close()
    return {tool.name: tool.input_schema for tool in listed}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in _LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / unquote(path) if path else ROOT / page
        assert there.is_file(), f"{page}: {target}"
        if anchor:
            assert unquote(anchor) in anchors(str(there.resolve().relative_to(ROOT))), f"{page}: {target}"


def test_the_two_readmes_lead_to_each_other() -> None:
    assert "README.zh.md" in _LINK.findall(text_of("README.md").split("\n## ")[0])
    assert "README.md" in _LINK.findall(text_of("README.zh.md").split("\n## ")[0])


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/sources.md"])
def test_every_file_of_ours_that_is_named_is_there(page: str) -> None:
    for code in _INLINE.findall(prose_of(page)):
        if _REPOSITORY_PATH.fullmatch(code) and not any(word in code for word in _PLACEHOLDERS):
            found = list(ROOT.glob(code))
            # An empty folder is not in a fresh checkout.
            assert any(p.is_file() or any(f.suffix != ".pyc" for f in p.rglob("*.*")) for p in found), f"{page}: {code}"


def test_the_picture_of_the_house_names_every_module() -> None:
    picture = next(b.text for b in blocks("text") if b.page == "CONTRIBUTING.md")
    for module in (ROOT / "monitor").rglob("*.py"):
        if module.name not in ("__init__.py", "__main__.py"):
            assert re.search(rf"(?<![\w]){re.escape(module.name)}", picture), f"{module.relative_to(ROOT)} is missing"
            assert module.parent.name in picture, f"{module.parent.relative_to(ROOT)} is missing"
    for name in re.findall(r"[\w/]+\.py", picture):
        assert next((ROOT / "monitor").rglob(name), None) or (ROOT / name).is_file(), f"{name} is not there"


@pytest.mark.parametrize(("where", "arguments"), [pytest.param(*call, id=call[0]) for call in shell_calls()])
def test_every_command_line_is_understood(where: str, arguments: list[str]) -> None:
    try:
        parse(arguments)
    except click.ClickException as error:
        pytest.fail(f"{where}: {error.format_message()}")


def test_the_readmes_show_command_lines() -> None:
    for page in READMES:
        assert sum(where.startswith(page) for where, _ in shell_calls()) >= 6


@pytest.mark.parametrize("page", READMES)
def test_the_program_that_a_readme_shows_runs(page: str, tmp_path: Path) -> None:
    (block,) = (b for b in blocks("python") if b.page == page)
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    # Worked out from the shipped list: 1,000 tokens at 0.004 and 500 at 0.012 yuan per thousand.
    assert float(done.stdout) == 0.01
    assert list((tmp_path / "records" / "ai_usage").glob("*.jsonl"))


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_every_json_block_is_json_and_starts_a_command_that_exists(block: Block) -> None:
    document = json.loads(block.text)
    servers = document.get("mcpServers") or document.get("servers") or document.get("mcp", {}).get("servers", {})
    for server in servers.values():
        if "command" in server:
            assert server["command"].rpartition("/")[2] == NAME
            parse(server["args"])


@pytest.mark.parametrize("page", READMES)
def test_every_client_has_its_line_and_its_json(page: str) -> None:
    """By hand one writes an entry where `skill install` writes it."""
    lines = [arguments for where, arguments in shell_calls() if where.startswith(f"{page}:")]
    shown = [json.loads(b.text) for b in blocks("json") if b.page == page]
    for client in CLIENTS.values():
        assert ["skill", "install", "--client", client.name] in lines, client.name
        entries = [found for document in shown if (found := inside(document, client.path)) is not None]
        assert entries, f"{page}: no JSON for {client.title}"


def inside(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def test_the_answers_shown_have_the_fields_of_their_kind() -> None:
    """Every field of an example for agents is one that the answer has."""
    kinds = (
        Session, OneRound, TopSpenders, ModelStats, SessionLink, SourceHealth, SpendOverview, Comparison, Anomalies,
        Reconciliation,
    )  # fmt: skip
    examples = [json.loads(b.text) for b in blocks("json") if b.page == "docs/agents.md"]
    shown = set()
    for example in examples:
        fitting = [kind for kind in kinds if example.keys() <= kind.model_fields.keys()]
        assert fitting, f"no answer has all of {sorted(example)}"
        shown |= {*fitting[:1]} if len(fitting) == 1 else set()
        for kind in fitting:
            if not any(field.is_required() and name not in example for name, field in kind.model_fields.items()):
                kind.model_validate(example)
    assert shown == {*kinds}


def test_the_registry_finds_its_name_in_the_readme() -> None:
    name = json.loads(text_of("server.json"))["name"]
    assert f"<!-- mcp-name: {name} -->" in text_of("README.md").splitlines()


def test_the_two_readmes_have_the_same_parts() -> None:
    english, chinese = (text_of(page) for page in READMES)
    for pattern in (r"^#+(?= )", r"^```(\w*)$", r"^(?:- |\d\. )", r"^\| [^-]"):
        count = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        assert count[0] == count[1], pattern
    # A picture of a page may show it in the reader's language.
    links = [
        {t.replace("-zh.png", ".png") for t in _LINK.findall(text) if not t.startswith("README")}
        for text in (english, chinese)
    ]
    assert links[0] == links[1]


def test_the_readme_is_short_enough_to_be_read() -> None:
    for page in READMES:
        assert len(text_of(page).splitlines()) <= 280


@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_contents_lists_all_its_parts(page: str) -> None:
    line = next((line for line in text_of(page).splitlines() if line.startswith("Contents: ")), None)
    if line is not None:
        named = [target.removeprefix("#") for target in _LINK.findall(line)]
        parts = re.findall(r"^## +(.+?) *$", prose_of(page), re.MULTILINE)
        assert named == [anchor_of(part) for part in parts]


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_every_toml_block_is_taken_by_its_loader(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text(block.text, "utf-8")
    if "schema = 1" in block.text:
        assert overlay.load(file).rows
    else:
        load(file)


@pytest.mark.parametrize("page", READMES)
def test_every_setting_is_shown(page: str, tmp_path: Path) -> None:
    text = next(b.text for b in blocks("toml") if b.page == page)
    (tmp_path / "s.toml").write_text(text, "utf-8")
    settings = load(tmp_path / "s.toml")
    _all_shown(Settings, settings)
    assert {source.kind for source in settings.sources} == {*get_args(SourceSettings.model_fields["kind"].annotation)}


def _all_shown(kind: type[BaseModel], *shown: BaseModel) -> None:
    """Every setting of this kind stands in one of its examples, and so does every setting below it."""
    assert {name for one in shown for name in one.model_fields_set} == set(kind.model_fields), kind.__name__
    for name in kind.model_fields:
        below: dict[type[BaseModel], list[BaseModel]] = {}
        for value in (getattr(one, name) for one in shown):
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, BaseModel):
                    below.setdefault(type(part), []).append(part)
        for part_kind, parts in below.items():
            _all_shown(part_kind, *parts)


@pytest.mark.parametrize("page", READMES)
def test_the_addresses_shown_are_those_that_are_served(page: str, tmp_path: Path) -> None:
    runtime = Runtime(Settings(data_dir=tmp_path / "data"))
    app = web_app.build(runtime, extra_routes=[Route("/mcp", endpoint=str)])
    runtime.close()
    known = {route.path for route in app.routes if isinstance(route, Route)} | {*app.openapi()["paths"]}  # type: ignore[attr-defined]
    table = re.search(r"\n\| (?:address|地址) \|.*?\n\n", text_of(page), re.DOTALL)
    assert table is not None
    shown = {code.partition("?")[0] for code in _INLINE.findall(table[0]) if code.startswith("/")}
    assert shown - {"/api/ai_usage/"} == known - _BEHIND_THE_PAGES


@pytest.mark.parametrize("page", READMES)
def test_the_table_of_tools_is_what_the_server_has(page: str, tools: dict[str, dict[str, Any]]) -> None:
    rows = rows_below(page, "tool", "工具")
    shown = {name: _INLINE.findall(cells[0]) for name, cells in rows.items()}
    assert shown == {name: list(schema.get("properties", {})) for name, schema in tools.items()}


@pytest.mark.parametrize("page", READMES)
def test_the_resources_and_prompts_are_those_of_the_server(page: str, tmp_path: Path) -> None:
    runtime = Runtime(Settings(data_dir=tmp_path / "data"))
    server = build(runtime)
    known = {str(resource.uri) for resource in anyio.run(server.list_resources)}
    known |= {template.uri_template for template in anyio.run(server.list_resource_templates)}
    prompts = {prompt.name for prompt in anyio.run(server.list_prompts)}
    runtime.close()
    line = next(line for line in text_of(page).splitlines() if line.startswith(("Resources: ", "资源：")))
    shown = set(_INLINE.findall(line))
    assert {code for code in shown if "://" in code} == {uri for uri in known if not uri.startswith("skill:")}
    assert {code for code in shown if "_" in code and "://" not in code} == prompts | {"content_scope"}


@pytest.mark.parametrize("page", READMES)
def test_the_table_of_commands_is_what_the_program_has(page: str) -> None:
    rows = rows_below(page, "command", "命令")
    rows = {name: cells for name, cells in rows.items() if not name.startswith("make ")}
    with cli.make_context(NAME, [], resilient_parsing=True) as context:
        assert list(rows) == cli.list_commands(context)
        for name, cells in rows.items():
            command = cli.get_command(context, name)
            assert command is not None
            parts = [command]
            if isinstance(command, click.Group):
                parts = list(command.commands.values())
                assert set(command.commands) <= set(_INLINE.findall(cells[0])), f"{page}: parts of {name}"
            known = {option for part in parts for param in part.params for option in param.opts}
            named = set(re.findall(r"--[a-z-]+", cells[0]))
            assert named <= known, f"{page}: {name} has no {sorted(named - known)}"


@pytest.mark.parametrize("page", READMES)
def test_the_commands_with_a_star_print_json(page: str) -> None:
    starred = set(re.findall(r"^\| `([a-z-]+)` \* \|", text_of(page), re.MULTILINE))
    with cli.make_context(NAME, [], resilient_parsing=True) as context:
        commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    assert starred == {n for n, c in commands.items() if c and any("--json" in p.opts for p in c.params)}
