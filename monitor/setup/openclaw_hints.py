"""What users of OpenClaw trip over, read off its own files: hooks that do not run, providers without a credential.

Everything is only read. Of credentials nothing but the name of their provider is taken.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monitor.answers.health import Hint
from monitor.config import LOOPBACK, ConfigError, is_openclaw
from monitor.setup.clients import CLIENTS
from monitor.setup.files import read, text_of
from monitor.setup.json_syntax import Dialect, TextProblem
from monitor.setup.json_text import value_at
from monitor.setup.machine import Machine

_OPENCLAW = CLIENTS["openclaw"]
#: Providers that are programs of this machine, or log in by themselves.
_WITHOUT_KEY = frozenset(("ollama", "lmstudio", "vllm", "sglang", "github-copilot", "amazon-bedrock", "google-vertex"))
_HEADERS = frozenset(("authorization", "x-api-key", "api-key"))
#: In each store of credentials the names of their providers, without the credentials.
_STORES = (
    (
        "agents/*/agent/openclaw-agent.sqlite",
        "SELECT DISTINCT json_extract(p.value, '$.provider') FROM auth_profile_store, "
        "json_each(store_json, '$.profiles') AS p",
    ),
    (
        "state/openclaw.sqlite",
        "SELECT DISTINCT json_extract(p.value, '$.provider') FROM config_machine_state, "
        "json_each(value_json, '$.profiles') AS p WHERE state_key = 'authProfiles.store'",
    ),
)
_BUSY_S = 1.0


def hints(machine: Machine, followed: Collection[Path]) -> list[Hint]:
    """What to tell whoever runs OpenClaw here; nothing where nobody does. `followed`: state folders that are read."""
    state = _OPENCLAW.folder(machine)
    found = list(_unread(state, followed))
    path = _OPENCLAW.config(machine)
    try:
        data = read(path)
        config = {} if data is None else value_at(text_of(path, data), (), Dialect.JSON5)
    except TextProblem as problem:
        reason = f"line {problem.line}, column {problem.column}: {problem.reason}"
        return [*found, Hint(str(path), f"OpenClaw's configuration is broken: {reason}", "`openclaw doctor` mends it")]
    except ConfigError as error:
        why = str(error).removeprefix(f"{path}: ").partition(";")[0]
        return [*found, Hint(str(path), f"OpenClaw's configuration can't be read: {why}", "let this user read it")]
    if not isinstance(config, dict):
        return found
    found += _elsewhere(config, state, machine)
    found += _hooks(config, path)
    found += _providers(config, path, state, machine)
    return found


def _unread(state: Path, followed: Collection[Path]) -> Iterator[Hint]:
    """State folders of other profiles (``openclaw --profile``); that of the default one is told of anyway."""
    read_already = {folder.absolute() for folder in followed}
    for folder in sorted(state.parent.glob(f"{state.name}-*")):
        if is_openclaw(folder) and folder.absolute() not in read_already:
            yield Hint(
                str(folder),
                "OpenClaw keeps transcripts of another profile there, and no source reads them",
                f'add [[sources]] with kind = "openclaw" and path = "{folder}", or name it with --log-path',
            )


def _elsewhere(config: Mapping[str, Any], state: Path, machine: Machine) -> Iterator[Hint]:
    """Agents whose transcripts are kept outside of the state folder, where no source looks."""
    for name, agent in _agents(config).items():
        given = agent.get("agentDir")
        if not isinstance(given, str) or not given or "${" in given:
            continue
        folder = machine.home / given[2:] if given.startswith("~/") else Path(given).absolute()
        if folder != state / "agents" / name / "agent" and (folder / "openclaw-agent.sqlite").exists():
            yield Hint(
                f"agent {name}",
                f"its agentDir is {folder}, and a source reads only what is below agents/ of a state folder",
                f"make {state / 'agents' / name / 'agent'} a link to it, or leave agentDir out",
            )


def _hooks(config: Mapping[str, Any], path: Path) -> Iterator[Hint]:
    internal = _dict(_dict(config.get("hooks")).get("internal"))
    entries = {name: _dict(entry) for name, entry in _dict(internal.get("entries")).items()}
    if entries and internal.get("enabled") is False:
        yield Hint(
            str(path),
            f"hooks.internal.enabled is false, so no hook runs: {_listed(entries)}",
            "set it to true, or leave it out",
        )
        return
    for name, entry in entries.items():
        if entry.get("enabled") is True:
            continue
        off = entry.get("enabled") is False
        what = "is false: the hook does not run" if off else "is not set: a hook of a workspace does not run without it"
        yield Hint(
            str(path),
            f"hooks.internal.entries.{name}.enabled {what}",
            f"`openclaw hooks enable {name}` if it is meant to run; then start the gateway again",
        )


def _providers(config: Mapping[str, Any], path: Path, state: Path, machine: Machine) -> Iterator[Hint]:
    configured = {name: _dict(entry) for name, entry in _dict(_dict(config.get("models")).get("providers")).items()}
    used = {model.partition("/")[0] for model in _models(config) if "/" in model}
    wanted = dict.fromkeys([*configured, *sorted(used)])
    if not wanted:
        return
    profiles = [_dict(profile) for profile in _dict(_dict(config.get("auth")).get("profiles")).values()]
    named = {str(profile.get("provider")) for profile in profiles}
    stored = _stored(state)
    if stored is None or any(agent.get("agentDir") for agent in _agents(config).values()):
        return  # credentials may be where nobody looked
    # Amazon's own credentials are in no store.
    stored |= {str(profile.get("provider")) for profile in profiles if profile.get("mode") == "aws-sdk"}
    variables = {*machine.environ, *_dict(config.get("env")), *_dict(_dict(config.get("env")).get("vars"))}
    variables |= _variables(state / ".env")
    for name in wanted:
        entry = configured.get(name, {})
        if name in stored or name.endswith("-cli") or name in _WITHOUT_KEY or _has_own(entry):
            continue
        begin = re.sub(r"[^A-Z0-9]+", "_", name.upper())
        if any(variable.startswith(begin) and variable.endswith(("KEY", "TOKEN")) for variable in variables):
            continue
        what = "has no apiKey and no auth profile" if entry else "is used, and there is no auth profile for it"
        if name in named:
            what = "has an auth profile in the configuration, and no credential of it is stored"
        yield Hint(
            str(path),
            f"provider {name} {what}: calls to it fail unless the gateway's environment has its key",
            f"`openclaw models auth paste-token --provider {name}`; `openclaw models status --check` shows what is "
            "missing",
        )


def _has_own(entry: Mapping[str, Any]) -> bool:
    """Whether a provider's entry says how it is let in, or that it needs not be."""
    if entry.get("apiKey") or entry.get("auth") or entry.get("authHeader") is False:
        return True
    if {str(name).lower() for name in _dict(entry.get("headers"))} & _HEADERS:
        return True
    try:
        return urlsplit(str(entry.get("baseUrl") or "")).hostname in LOOPBACK
    except ValueError:
        return False


def _models(config: Mapping[str, Any]) -> Iterator[str]:
    """The models that agents are told to use."""
    defaults = _dict(_dict(config.get("agents")).get("defaults"))
    for agent in (defaults, *_agents(config).values()):
        model = agent.get("model")
        if isinstance(model, str):
            yield model
        elif isinstance(model, dict):
            fallbacks = model.get("fallbacks")
            named = [model.get("primary"), *(fallbacks if isinstance(fallbacks, list) else ())]
            yield from (one for one in named if isinstance(one, str))


def _agents(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    agents = _dict(config.get("agents"))
    older = agents.get("list")
    found = {str(a.get("id")): a for a in older if isinstance(a, dict)} if isinstance(older, list) else {}
    return {**found, **{name: _dict(entry) for name, entry in _dict(agents.get("entries")).items()}}


def _stored(state: Path) -> set[str] | None:
    """Providers of all stored credentials; None where a store can't be read."""
    found: set[str] = set()
    for pattern, query in _STORES:
        for path in state.glob(pattern):
            try:
                found |= _in_database(path, query)
            except sqlite3.DatabaseError:
                return None
    for path in state.glob("agents/*/agent/auth-profiles.json"):
        try:
            profiles = _dict(_dict(json.loads(path.read_bytes())).get("profiles"))
        except (OSError, ValueError):
            return None
        found |= {str(_dict(profile).get("provider")) for profile in profiles.values()}
    return found


def _in_database(path: Path, query: str) -> set[str]:
    """The providers in one store; a release that has no such table keeps its credentials elsewhere."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as db:
        try:
            return {str(row[0]) for row in db.execute(query)}
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return set()
            raise


def _variables(path: Path) -> set[str]:
    """Names that a file of variables sets."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return set()
    return set(re.findall(r"(?m)^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*\S", text))


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:5]) + (" and others" if len(names) > 5 else "")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
