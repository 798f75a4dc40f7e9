"""The agent skill over MCP: its files as resources, and the entry that a client verifies them against (SEP-2640)."""

from __future__ import annotations

import hashlib
import json
import logging
import mimetypes
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mcp.server.extension import Extension, MethodBinding, ResourceBinding
from mcp.server.mcpserver.resources import BinaryResource, Resource, TextResource
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, PaginatedRequestParams, RequestParams

from monitor import skillfiles

log = logging.getLogger("monitor.mcp")

#: The skill's directory; its files are below.
ROOT = f"skill://{skillfiles.NAME}"
#: The address of the skill.
URI = f"{ROOT}/SKILL.md"

_DIRECTORY = "inode/directory"
_MARKDOWN = "text/markdown"
#: The files change with the installed version only.
_CACHED = {"ttlMs": 300_000, "cacheScope": "public"}

_FIELD = re.compile(r"([a-z][a-z-]*): +(\S.*?) *")
#: Plain YAML scalars that any reader takes as the text that stands there.
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z](?:(?!: |:$| #)[^\t])*", re.IGNORECASE)


class _Get(RequestParams):
    uri: str


class _ReadDirectory(PaginatedRequestParams):
    uri: str


def extensions() -> list[Extension]:
    """The skill, or nothing where its files are not as they were shipped; the tools answer all the same."""
    try:
        return [SkillsExtension(skillfiles.files())]
    except (OSError, ValueError) as error:
        log.warning("the agent skill is not served over MCP: %s", error)
        return []


def frontmatter(document: bytes) -> dict[str, Any]:
    """The fields before a skill's text, as a YAML reader gives them.

    A field stands on one line: a plain text, or whatever JSON writes (a quoted text, an object), of
    which YAML reads the same. Other YAML is refused, since what clients compare must be exact.

    Raises:
        ValueError: the document does not begin with such fields; the message has the line.
    """
    first, *lines = document.decode().split("\n")
    if first != "---" or "---" not in lines:
        raise ValueError("SKILL.md does not begin with fields between two lines of ---")
    fields: dict[str, Any] = {}
    for line in lines[: lines.index("---")]:
        match = _FIELD.fullmatch(line)
        if match is None or match[1] in fields:
            raise ValueError(f"SKILL.md: not a field of its own on one line: {line!r}")
        name, value = match.groups()
        if value[0] in '"{[':
            try:
                fields[name] = json.loads(value)
            except json.JSONDecodeError as error:
                raise ValueError(f"SKILL.md: {error.msg}: {line!r}") from None
        elif _PLAIN.fullmatch(value):
            fields[name] = value
        else:
            raise ValueError(f"SKILL.md: put the value in double quotes: {line!r}")
    return fields


class SkillsExtension(Extension):
    """``skills/list``, ``skills/get``, ``resources/directory/read`` and one resource a file, of one skill."""

    identifier = "io.modelcontextprotocol/skills"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        fields = frontmatter(files["SKILL.md"])
        self._resources = {f"{ROOT}/{path}": _resource(path, content, fields) for path, content in files.items()}
        self._entry = {
            "uri": URI,
            "frontmatter": fields,
            "resources": [
                {
                    "uri": f"{ROOT}/{path}",
                    "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
                    "size": len(content),
                }
                for path, content in files.items()
            ],
        }
        self._directories: dict[str, dict[str, dict[str, str]]] = {ROOT: {}}
        for uri, resource in self._resources.items():
            child = {"uri": uri, "name": str(resource.name), "mimeType": resource.mime_type}
            if resource.description:
                child["description"] = resource.description
            while uri != ROOT:
                parent = uri.rpartition("/")[0]
                self._directories.setdefault(parent, {})[uri] = child
                uri = parent
                child = {"uri": uri, "name": uri.rpartition("/")[2], "mimeType": _DIRECTORY}

    def settings(self) -> dict[str, Any]:
        """Directories can be read too."""
        return {"directoryRead": True}

    def resources(self) -> Sequence[ResourceBinding]:
        """One resource a file, SKILL.md first."""
        return [ResourceBinding(resource) for resource in self._resources.values()]

    def methods(self) -> Sequence[MethodBinding]:
        """The three methods of the extension."""
        return [
            MethodBinding("skills/list", PaginatedRequestParams, self._list),
            MethodBinding("skills/get", _Get, self._get),
            MethodBinding("resources/directory/read", _ReadDirectory, self._read_directory),
        ]

    async def _list(self, _: Any, params: PaginatedRequestParams) -> dict[str, Any]:
        _refuse_cursor(params)
        return {"skills": [self._entry], **_CACHED}

    async def _get(self, _: Any, params: _Get) -> dict[str, Any]:
        if params.uri != URI:
            raise MCPError(INVALID_PARAMS, f"No skill is served at {params.uri[:200]}; the one here is {URI}")
        return {"skill": self._entry, **_CACHED}

    async def _read_directory(self, _: Any, params: _ReadDirectory) -> dict[str, Any]:
        _refuse_cursor(params)
        children = self._directories.get(params.uri)
        if children is None:
            known = ", ".join(self._directories)
            raise MCPError(INVALID_PARAMS, f"{params.uri[:200]} is not a directory; there are: {known}")
        return {"resources": list(children.values())}


def _refuse_cursor(params: PaginatedRequestParams) -> None:
    if params.cursor is not None:
        raise MCPError(INVALID_PARAMS, "Unknown cursor: everything is on the first page")


def _resource(path: str, content: bytes, fields: Mapping[str, Any]) -> Resource:
    """A file as a resource whose text is exactly the file's bytes."""
    common: dict[str, Any] = {
        "uri": f"{ROOT}/{path}",
        "name": path.rpartition("/")[2],
        "mime_type": _MARKDOWN if path.endswith(".md") else mimetypes.guess_type(path)[0] or "application/octet-stream",
    }
    if path == "SKILL.md":
        common |= {"name": fields["name"], "description": fields["description"]}
    try:
        return TextResource(text=content.decode(), **common)
    except UnicodeDecodeError:
        return BinaryResource(data=content, **common)
