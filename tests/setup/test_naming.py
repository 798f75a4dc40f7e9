"""What is set so that OpenClaw's requests name their session: by release, by provider, and back again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor import skillfiles
from monitor.config import ConfigError
from monitor.setup import plan, skill_files
from monitor.setup.clients import CLIENTS
from monitor.setup.json_syntax import Dialect
from monitor.setup.json_text import value_at
from monitor.setup.machine import Machine, OurCommand
from monitor.setup.naming import Wish
from monitor.setup.plan import ClientPlan

COMMAND = OurCommand(["/opt/session-monitor"], [], Path("/data"), [])
CONFIG = """// mine
{
  meta: { lastTouchedVersion: "2026.9.6" },
  models: {
    providers: {
      higress: {
        baseUrl: "http://127.0.0.1:8080/v1", // all-in-one
        api: "openai-completions",
        models: [
          { id: "qwen3.5-plus" },
          { id: "glm-5", compat: { supportsTools: true } },
        ],
      },
      other: { baseUrl: "https://api.example.com/v1", models: [{ id: "m" }] },
    },
  },
}
"""


@dataclass
class Place:
    """An OpenClaw of which only the files are there."""

    home: Path

    @property
    def state(self) -> Path:
        return self.home / ".openclaw"

    @property
    def config(self) -> Path:
        return self.state / "openclaw.json"

    @property
    def machine(self) -> Machine:
        return Machine("linux", self.home, {"PATH": str(self.home / "bin")})

    def install(self, way: str = "auto", *providers: str) -> ClientPlan:
        [one] = plan.install(self.machine, [CLIENTS["openclaw"]], COMMAND, None, Wish(way, providers))
        one.carry_out()
        return one

    def uninstall(self) -> ClientPlan:
        [one] = plan.uninstall(self.machine, [CLIENTS["openclaw"]])
        one.carry_out()
        return one

    def edit(self, before: str, after: str) -> None:
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))

    def value(self, *path: str | int) -> object:
        found: object = value_at(self.config.read_text(), path, Dialect.JSON5)
        return found

    def sends(self, model: int, provider: str = "higress") -> object:
        return self.value("models", "providers", provider, "models", model, "compat", "sendSessionAffinityHeaders")

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.home)): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(skill_files, "packaged", lambda: {"SKILL.md": b"a skill\n"})
    here = Place(tmp_path / "home")
    here.state.mkdir(parents=True)
    here.config.write_text(CONFIG)
    return here


def said(one: ClientPlan) -> str:
    return "\n".join(one.notes)


# -- the setting of each model ----------------------------------------------------------------------


def test_every_model_behind_higress_gets_the_setting_and_no_other(place: Place) -> None:
    one = place.install()
    assert one.naming is not None
    assert one.naming.way == "affinity"
    assert (place.sends(0), place.sends(1), place.sends(0, "other")) == (True, True, None)
    assert "2 of 2 models of higress" in said(one)
    text = place.config.read_text()
    assert '{ id: "qwen3.5-plus", compat: {sendSessionAffinityHeaders: true} },' in text
    assert '{ id: "glm-5", compat: { supportsTools: true, sendSessionAffinityHeaders: true } },' in text
    assert "// all-in-one" in text


def test_a_second_time_changes_nothing_and_uninstall_leaves_no_trace(place: Place) -> None:
    before = place.files()
    place.install()
    after = place.files()
    assert place.install().changes == []
    assert place.files() == after
    place.uninstall()
    assert place.files() == before
    assert place.uninstall().changes == []


def test_uninstall_takes_out_the_settings_and_leaves_what_was_edited_around_them(place: Place) -> None:
    place.install()
    place.edit('{ id: "glm-5"', '{ id: "new" },\n          { id: "glm-5"')
    place.edit('baseUrl: "http://127.0.0.1:8080/v1"', 'baseUrl: "http://127.0.0.1:8081/v1"')
    place.uninstall()
    assert place.config.read_text() == CONFIG.replace(
        '{ id: "glm-5"', '{ id: "new" },\n          { id: "glm-5"'
    ).replace("8080", "8081")


def test_it_is_undone_without_any_backup(place: Place) -> None:
    place.install()
    for backup in place.state.glob("*backup*"):
        backup.unlink()
    place.uninstall()
    assert place.config.read_text() == CONFIG
    assert [path.name for path in place.state.iterdir() if path.is_file()].count("openclaw.json") == 1
    assert not list(place.state.glob("*session-monitor-settings"))


def test_what_the_user_had_set_before_is_there_again_afterwards(place: Place) -> None:
    place.edit('{ id: "qwen3.5-plus" }', '{ id: "qwen3.5-plus", compat: { sendSessionAffinityHeaders: false } }')
    place.edit("supportsTools: true", "sendSessionAffinityHeaders: true")
    before = place.config.read_text()
    assert "1 of 2 models" in said(place.install())
    assert (place.sends(0), place.sends(1)) == (True, True)
    place.edit("// mine", "// mine, edited since")
    place.uninstall()
    assert place.config.read_text() == before.replace("// mine", "// mine, edited since")


def test_what_the_user_changed_since_stays(place: Place) -> None:
    place.install()
    place.edit(
        '{ id: "qwen3.5-plus", compat: {sendSessionAffinityHeaders: true} }',
        '{ id: "qwen3.5-plus", compat: {sendSessionAffinityHeaders: false} }',
    )
    one = place.uninstall()
    assert (place.sends(0), place.sends(1)) == (False, None)
    assert "models.providers.higress.models[qwen3.5-plus].compat.sendSessionAffinityHeaders was changed" in said(one)


def test_a_model_that_came_since_gets_it_the_next_time(place: Place) -> None:
    place.install()
    place.edit('{ id: "glm-5"', '{ id: "new" }, { id: "glm-5"')
    assert "1 of 3 models" in said(place.install())
    assert [place.sends(number) for number in range(3)] == [True, True, True]
    place.uninstall()
    assert place.config.read_text() == CONFIG.replace('{ id: "glm-5"', '{ id: "new" }, { id: "glm-5"')


def test_where_the_user_has_set_all_nothing_of_it_is_ours(place: Place) -> None:
    place.config.write_text(
        '{models: {providers: {higress: {models: [{id: "a", compat: {sendSessionAffinityHeaders: true}}]}}}}'
    )
    one = place.install()
    assert one.naming is not None
    assert one.naming.way == "affinity"
    place.edit("{models", "{logging: {}, models")
    place.uninstall()
    assert place.sends(0) is True


@pytest.mark.parametrize("protocol", ["openai-responses", "anthropic-messages"])
def test_a_model_in_another_protocol_is_named(place: Place, protocol: str) -> None:
    place.edit('{ id: "glm-5", ', f'{{ id: "glm-5", api: "{protocol}", ')
    one = place.install("affinity")
    assert (place.sends(0), place.sends(1)) == (True, None)
    assert f"higress/glm-5 speaks {protocol}" in said(one)
    place.uninstall()
    one = place.install()  # the plugin can do all of them
    assert one.naming is not None
    assert one.naming.way == "plugin"
    assert place.sends(0) is None


# -- which provider ---------------------------------------------------------------------------------


def provider(name: str, address: str) -> str:
    return json.dumps({"models": {"providers": {name: {"baseUrl": address, "models": [{"id": "m"}]}}}})


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("my-higress", "http://10.0.0.5/v1"),
        ("gw", "https://higress.example.com/v1"),
        ("gw", "http://localhost:8080/v1"),
    ],
)
def test_higress_is_known_by_its_name_or_its_port(place: Place, name: str, address: str) -> None:
    place.config.write_text(provider(name, address))
    place.install()
    assert place.sends(0, name) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "no models.providers"),
        ("{models: {providers: []}}", "no models.providers"),
        (provider("gw", "http://10.0.0.5/v1"), r"--provider. There are: gw (http://10.0.0.5/v1)"),
        (provider("gw", "http://[broken"), "--provider"),
        (
            '{models: {providers: {a: {baseUrl: "http://h:8080/v1"}, b: {baseUrl: "http://i:8080/v1"}}}}',
            "a (http://h:8080/v1); b (http://i:8080/v1)",
        ),
        ("{plugins: {enabled: false}, models: {providers: {higress: {}}}}", "higress lists no model that speaks"),
        (
            "{plugins: {deny: ['session-monitor']}, models: {providers: {higress: {models: [7, {id: 7}]}}}}",
            "plugins.deny",
        ),
    ],
)
def test_where_it_is_not_clear_the_rest_is_set_up_and_it_is_said(place: Place, text: str, why: str) -> None:
    place.config.write_text(text)
    one = place.install()
    assert one.naming is not None
    assert one.naming.way is None
    assert why in said(one)
    assert place.value("mcp", "servers", "session-monitor") is not None
    assert not list(place.state.glob("*session-monitor-settings"))


def test_the_user_can_name_the_provider_and_it_is_remembered(place: Place) -> None:
    place.install("auto", "other")
    assert (place.sends(0, "other"), place.sends(0)) == (True, None)
    assert place.install().changes == []
    place.edit("      other: {", "      renamed: {")
    place.install()
    assert place.sends(0) is True


def test_a_provider_without_a_list_of_models_gets_the_plugin(place: Place) -> None:
    place.config.write_text("{models: {providers: {higress: {}}}}")
    one = place.install()
    assert one.naming is not None
    assert one.naming.way == "plugin"


def test_where_the_plugin_can_not_run_the_setting_does_what_it_can(place: Place) -> None:
    place.edit('{ id: "glm-5", ', '{ id: "glm-5", api: "anthropic-messages", ')
    place.edit("// mine\n{", "// mine\n{ plugins: { enabled: false },")
    one = place.install()
    assert one.naming is not None
    assert one.naming.way == "affinity"
    assert (place.sends(0), place.sends(1)) == (True, None)


def test_a_provider_that_is_not_there_is_an_error_and_nothing_is_written(place: Place) -> None:
    before = place.files()
    with pytest.raises(ConfigError, match=r"--provider gone: .*higress \(http://127.0.0.1:8080/v1\); other"):
        place.install("auto", "gone")
    assert place.files() == before


# -- which way --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "way", "why"),
    [
        ("2026.9.5", "affinity", ""),
        ("2027.1.1", "affinity", ""),
        ("2026.9.4", "plugin", "does not send"),
        ("2026.7.1", "plugin", "does not send"),
        ("2026.6.1", "plugin", "does not send"),
        ("2026.5.7", None, "2026.6.1 is the first"),
        ("unknown", "affinity", "not known which release"),
    ],
)
def test_the_release_decides(place: Place, version: str, way: str | None, why: str) -> None:
    place.edit("2026.9.6", version)
    one = place.install()
    assert one.naming is not None
    assert one.naming.way == way
    assert why in said(one)
    assert (place.sends(0) is True) == (way == "affinity")
    assert (place.state / "extensions" / "session-monitor" / "index.js").exists() == (way == "plugin")


def test_a_setting_that_would_keep_openclaw_from_starting_is_refused(place: Place) -> None:
    place.edit("2026.9.6", "2026.7.1")
    before = place.files()
    with pytest.raises(ConfigError, match=r"OpenClaw 2026\.7\.1 refuses .*--naming plugin"):
        place.install("affinity")
    assert place.files() == before


def test_none_sets_nothing(place: Place) -> None:
    one = place.install("none")
    assert one.naming is not None
    assert one.naming.way is None
    assert place.sends(0) is None
    assert place.value("plugins") is None


# -- our plugin -------------------------------------------------------------------------------------


def test_the_plugin_lies_where_openclaw_looks_with_the_providers_in_it(place: Place) -> None:
    place.install("plugin", "higress", "other")
    folder = place.state / "extensions" / "session-monitor"
    manifest = json.loads((folder / "openclaw.plugin.json").read_text())
    assert manifest["id"] == "session-monitor"
    assert manifest["providers"] == ["higress", "other"]
    assert (folder / "index.js").read_bytes() == skillfiles.plugin()["index.js"]
    assert place.value("plugins", "entries", "session-monitor") == {
        "enabled": True,
        "config": {"providers": ["higress", "other"]},
    }


@pytest.mark.parametrize(
    "plugins",
    [
        "",
        '  plugins: { allow: ["browser"] },\n',
        '  plugins: {\n    allow: [\n      "browser", // needed\n    ],\n    entries: { browser: {} },\n  },\n',
        "  plugins: { entries: {} },\n",
        "  plugins: { allow: [] },\n",
    ],
)
def test_the_plugin_goes_as_it_came(place: Place, plugins: str) -> None:
    place.config.write_text(CONFIG.replace("  models: {\n    providers", plugins + "  models: {\n    providers"))
    before = place.files()
    place.install("plugin")
    allow = value_at(place.config.read_text(), ("plugins", "allow"), Dialect.JSON5)
    assert allow in (None, [], ["browser", "session-monitor"])
    after = place.files()
    assert place.install("plugin").changes == []
    assert place.install().changes == []
    assert place.files() == after
    place.uninstall()
    assert place.files() == before


def test_the_plugin_goes_also_when_the_file_was_edited_since(place: Place) -> None:
    place.edit("  models: {\n    prov", '  plugins: { allow: ["browser"] },\n  models: {\n    prov')
    before = place.config.read_text()
    place.install("plugin")
    place.edit("// mine", "// mine, edited")
    place.uninstall()
    assert place.config.read_text() == before.replace("// mine", "// mine, edited")
    assert not (place.state / "extensions" / "session-monitor").exists()


@pytest.mark.parametrize(("first", "second"), [("affinity", "plugin"), ("plugin", "affinity")])
def test_one_way_takes_the_place_of_the_other(place: Place, first: str, second: str) -> None:
    before = place.files()
    place.install(second)
    wanted = place.config.read_text()
    place.uninstall()
    place.install(first)
    place.install(second)
    assert place.config.read_text() == wanted
    assert (place.state / "extensions" / "session-monitor").exists() == (second == "plugin")
    place.uninstall()
    left = {name: data for name, data in place.files().items() if "backup" not in name}
    assert left == before


@pytest.mark.parametrize(
    ("plugins", "why"),
    [
        ("plugins: { enabled: false },", "plugins.enabled is false"),
        ('plugins: { deny: ["session-monitor"] },', "plugins.deny"),
    ],
)
def test_a_plugin_that_would_not_run_is_not_put_there(place: Place, plugins: str, why: str) -> None:
    place.edit("// mine\n{", "// mine\n{" + plugins)
    before = place.files()
    with pytest.raises(ConfigError, match=why):
        place.install("plugin")
    assert place.files() == before


def test_beside_the_plugin_that_brings_the_provider_ours_is_no_use(place: Place) -> None:
    other = place.state / "extensions" / "higress-gateway"
    other.mkdir(parents=True)
    (other / "openclaw.plugin.json").write_text('{"id": "higress-gateway", "providers": ["higress"]}')
    broken = place.state / "extensions" / "broken"
    broken.mkdir()
    (broken / "openclaw.plugin.json").write_text("{")
    with pytest.raises(ConfigError, match=r"provider higress belongs to the plugin in .*--naming affinity"):
        place.install("plugin")
    place.install()
    assert place.sends(0) is True


def test_a_plugin_file_that_the_user_changed_stays(place: Place) -> None:
    place.install("plugin")
    file = place.state / "extensions" / "session-monitor" / "index.js"
    file.write_text("// mine\n")
    one = place.uninstall()
    assert file.read_text() == "// mine\n"
    assert "index.js was changed since" in said(one)
    assert os.listdir(file.parent) == ["index.js"]


def test_an_installation_without_the_plugin_says_so_and_can_still_take_it_away(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.install("plugin")
    monkeypatch.setattr(skillfiles, "__file__", str(tmp_path / "monitor" / "skillfiles.py"))
    with pytest.raises(ConfigError, match="install agent-session-monitor again"):
        place.install("plugin")
    place.uninstall()
    assert not (place.state / "extensions" / "session-monitor").exists()
