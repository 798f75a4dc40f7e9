"""What doctor tells users of OpenClaw: read off files in the shapes that releases write, and never written to."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor.answers.health import Hint
from monitor.setup.machine import Machine
from monitor.setup.openclaw_hints import hints
from tests.helpers import environment, run

#: What `openclaw models auth paste-token` of 2026.9.6 leaves in the shared state.
_STATE = "CREATE TABLE config_machine_state (state_key TEXT PRIMARY KEY, value_json TEXT, updated_at_ms INTEGER)"
_AGENT = "CREATE TABLE auth_profile_store (store_key TEXT PRIMARY KEY, store_json TEXT, updated_at INTEGER)"
SECRET = "sk-not-for-anybody-0123456789"


class Home:
    """A home folder with an OpenClaw in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / ".openclaw"
        (self.state / "agents" / "main" / "agent").mkdir(parents=True)

    def configured(self, text: str) -> None:
        (self.state / "openclaw.json").write_text(text)

    def told(self, *followed: Path, **environ: str) -> list[Hint]:
        return hints(Machine("linux", self.folder, environ), followed)

    def stored(self, provider: str, where: str) -> None:
        profiles = {f"{provider}:default": {"type": "api_key", "provider": provider, "key": SECRET}}
        store = json.dumps({"version": 1, "profiles": profiles})
        if where == "json":
            (self.state / "agents" / "main" / "agent" / "auth-profiles.json").write_text(store)
            return
        shared = where == "shared"
        path = self.state / ("state/openclaw.sqlite" if shared else "agents/main/agent/openclaw-agent.sqlite")
        path.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(_STATE if shared else _AGENT)
            table, key = ("config_machine_state", "authProfiles.store") if shared else ("auth_profile_store", "primary")
            db.execute(f"INSERT INTO {table} VALUES (?, ?, 0)", (key, store))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_machine_without_openclaw_is_told_nothing(tmp_path: Path) -> None:
    assert hints(Machine("linux", tmp_path, {}), ()) == []


def test_hooks_that_are_named_and_do_not_run_are_told_one_by_one(home: Home) -> None:
    home.configured(
        """{ // what I tried
          hooks: { internal: { entries: {
            'token-logger': {}, 'session-memory': {enabled: false}, 'command-logger': {enabled: true},
          } } }
        }"""
    )
    logger, memory = home.told()
    assert logger.about == str(home.state / "openclaw.json")
    assert "hooks.internal.entries.token-logger.enabled is not set" in logger.what
    assert "hooks.internal.entries.session-memory.enabled is false: the hook does not run" in memory.what
    assert "`openclaw hooks enable session-memory`" in memory.do


def test_hooks_that_are_off_altogether_are_told_once(home: Home) -> None:
    home.configured("{hooks: {internal: {enabled: false, entries: {a: {enabled: true}, b: {enabled: true}}}}}")
    (told,) = home.told()
    assert told.what == "hooks.internal.enabled is false, so no hook runs: a, b"


_PROVIDER = {"baseUrl": "https://gateway.example.com/v1", "api": "openai-completions", "models": [{"id": "m"}]}


def configuration(**more: Any) -> str:
    return json.dumps({"models": {"providers": {"higress": {**_PROVIDER, **more}}}})


def test_a_provider_without_a_credential_is_told_with_the_command_that_stores_one(home: Home) -> None:
    home.configured(configuration())
    (told,) = home.told()
    assert "provider higress has no apiKey and no auth profile" in told.what
    assert "`openclaw models auth paste-token --provider higress`" in told.do


@pytest.mark.parametrize("where", ["shared", "agent", "json"])
def test_a_stored_credential_is_found_wherever_a_release_keeps_it_and_never_shown(home: Home, where: str) -> None:
    home.configured(configuration())
    home.stored("somebody-else", where)
    (told,) = home.told()
    assert SECRET not in repr(told)
    other = Home(home.folder / "other")
    other.configured(configuration())
    other.stored("higress", where)
    assert other.told() == []


@pytest.mark.parametrize(
    "more",
    [
        {"apiKey": "${HIGRESS_KEY}"},
        {"auth": "aws-sdk"},
        {"authHeader": False},
        {"headers": {"Authorization": "Bearer x"}},
        {"baseUrl": "http://127.0.0.1:8080/v1"},
    ],
)
def test_a_provider_that_says_how_it_is_let_in_needs_no_profile(home: Home, more: dict[str, Any]) -> None:
    home.configured(configuration(**more))
    assert home.told() == []


def test_a_key_in_a_variable_is_enough(home: Home) -> None:
    home.configured(configuration())
    assert home.told(HIGRESS_API_KEY="x") == []
    (home.state / ".env").write_text("# keys\nexport HIGRESS_API_KEY=x\n")
    assert home.told() == []


def test_models_that_agents_use_need_a_credential_as_well(home: Home) -> None:
    agents = {
        "defaults": {"model": {"primary": "moonshot/kimi-k2.6", "fallbacks": ["ollama/qwen", "claude-cli/opus"]}},
        "entries": {"research": {"model": "openrouter/auto"}},
    }
    auth = {"profiles": {"openrouter:me": {"provider": "openrouter", "mode": "token"}}}
    home.configured(json.dumps({"agents": agents, "auth": auth}))
    moonshot, openrouter = home.told()
    assert "provider moonshot is used, and there is no auth profile for it" in moonshot.what
    assert "provider openrouter has an auth profile in the configuration, and no credential" in openrouter.what


def test_nothing_is_said_of_credentials_that_can_not_be_read(home: Home) -> None:
    home.configured(configuration())
    (home.state / "agents" / "main" / "agent" / "openclaw-agent.sqlite").write_bytes(b"no database at all" * 100)
    assert home.told() == []


def test_a_broken_configuration_is_told_with_its_place(home: Home) -> None:
    home.configured("{\n  models: {,}\n}")
    (told,) = home.told()
    assert "broken: line 2, column" in told.what


def test_transcripts_of_other_profiles_are_missed_until_they_are_followed(home: Home) -> None:
    other = home.folder / ".openclaw-work"
    (other / "agents").mkdir(parents=True)
    (home.folder / ".openclaw-backup").mkdir()
    (told,) = home.told()
    assert told.about == str(other)
    assert f'path = "{other}"' in told.do
    assert home.told(other) == []


def test_an_agent_that_keeps_its_transcripts_elsewhere_is_told(home: Home) -> None:
    away = home.folder / "far" / "away"
    away.mkdir(parents=True)
    (away / "openclaw-agent.sqlite").touch()
    home.configured(json.dumps({"agents": {"entries": {"main": {}, "far": {"agentDir": "~/far/away"}}}}))
    (told,) = home.told()
    assert told.about == "agent far"
    assert str(away) in told.what


def test_doctor_shows_hints_and_leaves_openclaw_as_it_was(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.configured(configuration())
    home.stored("somebody-else", "agent")
    files = {path: path.read_bytes() for path in home.state.rglob("*") if path.is_file()}
    for name in environment():
        if name.startswith(("OPENCLAW_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home.folder))
    out, _ = run("doctor", "--data-dir", home.folder / "data", "--log-path", home.state, code=None)
    assert f"- {home.state / 'openclaw.json'}: provider higress has no apiKey" in out
    assert SECRET not in out
    assert {path: path.read_bytes() for path in files} == files
