"""What is published beside the package agrees with it: the registry's entry and the bundle for Claude Desktop."""

from __future__ import annotations

import json
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from monitor import __version__, skillfiles
from monitor.faces.mcp import skills
from tests.conformance import node
from tests.faces.place import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / name).read_text("utf-8"))
    return found


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, unpacked."""
    folder = tmp_path_factory.mktemp("bundle")
    packed = folder / "session-monitor.mcpb"
    done = node.run(node.MCPB, "pack", ROOT, packed, folder=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_every_document_has_the_version_of_the_package() -> None:
    entry = document("server.json")
    versions = {PROJECT["project"]["version"], entry["version"], document("manifest.json")["version"]}
    versions |= {package["version"] for package in entry["packages"]}
    assert versions == {__version__}


def test_the_registry_entry_names_this_package_and_its_command() -> None:
    entry = document("server.json")
    [package] = entry["packages"]
    owner, _, name = entry["name"].partition("/")
    assert owner == "io.github.agent-session-monitor"
    assert name == package["identifier"] == PROJECT["project"]["name"]
    assert len(entry["description"]) <= 100
    # `uvx NAME` runs the command of that very name.
    assert package["identifier"] in PROJECT["project"]["scripts"]


def test_the_readme_proves_to_the_registry_whose_package_it_is() -> None:
    assert f"mcp-name: {document('server.json')['name']}" in (ROOT / "README.md").read_text("utf-8")


def test_the_manifest_of_the_bundle_is_valid(tmp_path: Path) -> None:
    done = node.run(node.MCPB, "validate", ROOT / "manifest.json", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_bundle_holds_what_it_is_installed_with_and_no_more(bundle: Path) -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    for needed in ("pyproject.toml", PROJECT["project"]["readme"], *wheel["packages"], *wheel["force-include"]):
        assert (bundle / needed).exists(), needed
    assert (bundle / document("manifest.json")["server"]["entry_point"]).is_file()
    for path in skillfiles.files():
        assert (bundle / path).read_bytes() == (ROOT / path).read_bytes()
    top = {path.name for path in bundle.iterdir()}
    assert not top & {"tests", "bench", "docs", ".git", ".venv", ".cache"}
    assert not list(bundle.rglob("*.pyc"))


@pytest.mark.anyio
async def test_the_unpacked_bundle_serves_the_tools_of_its_manifest_and_the_skill(bundle: Path, tmp_path: Path) -> None:
    arguments = [str(bundle / "server.py"), "--data-dir", str(tmp_path / "data"), "--no-web", "--no-ingest"]
    command = StdioServerParameters(command=sys.executable, args=arguments, cwd=tmp_path)
    async with Client(command) as client:
        served = [tool.name for tool in (await client.list_tools()).tools]
        assert (await client.read_resource(skills.URI)).contents
    assert served == [tool["name"] for tool in document("manifest.json")["tools"]]
