"""How OpenClaw's requests come to name their session: what is set at its end of the way, and what can't be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from monitor import skillfiles
from monitor.config import ConfigError
from monitor.setup import openclaw_release, settings, skill_files
from monitor.setup.clients import NAME
from monitor.setup.files import Change, read
from monitor.setup.json_syntax import Dialect
from monitor.setup.json_text import value_at
from monitor.setup.machine import Machine
from monitor.setup.openclaw_release import Release
from monitor.setup.settings import Record, Setting, Step
from monitor.setup.skill_files import SkillChanges

#: What can be asked for: OpenClaw's own header, our plugin, whichever fits the release, or neither.
WAYS = ("auto", "affinity", "plugin", "none")
#: The header of each way.
HEADERS = {"affinity": "x-session-affinity", "plugin": "x-openclaw-session-key"}
SETTING = "compat.sendSessionAffinityHeaders"

#: Releases before it refuse a configuration that holds the setting, and so do not start any more.
_ALLOWED: Release = (2026, 8, 1)
#: Releases before it take the setting and send nothing.
_SENT: Release = (2026, 9, 5)
#: Releases before it do not ask a plugin about a provider that it does not bring along.
_ASKS_PLUGINS: Release = (2026, 6, 1)
#: The only protocol in which the setting has OpenClaw send the header; the one that it speaks where none is named.
_PROTOCOL = "openai-completions"
#: Where Higress listens, in its container and with docker compose.
_PORT = 8080
_RECORD = ".session-monitor-settings"
_MANIFEST = "openclaw.plugin.json"
_JSON5 = Dialect.JSON5


@dataclass(frozen=True)
class Wish:
    """What the user wants of it."""

    way: str = "auto"
    #: Providers of the configuration that are Higress; none leaves it to us.
    providers: Sequence[str] = ()


@dataclass
class Naming:
    """What is done for it, beside what else is changed in the configuration."""

    #: The configuration with the settings, or without them.
    text: str
    #: What goes on from here on; None where nothing does.
    way: str | None = None
    #: The memory of what was set.
    record: Change | None = None
    plugin: SkillChanges | None = None
    notes: list[str] = field(default_factory=list)
    settings: Record = field(default_factory=lambda: Record("none"))

    @property
    def changes(self) -> list[Change]:
        """Files beside the configuration."""
        found = [*(self.plugin.changes if self.plugin else ()), *([self.record] if self.record else ())]
        return [change for change in found if change.before != change.after]


class _NotPossible(Exception):
    """Why sessions can't be named in this way; the rest of the setup goes on."""


class There:
    """Has the requests of one OpenClaw name their session."""

    def __init__(self, machine: Machine, wish: Wish, path: Path, state: Path) -> None:
        self._machine = machine
        self._wish = wish
        self._path = path
        self._state = state
        #: What is done, once `edit` has seen the configuration.
        self.naming: Naming | None = None

    def edit(self, text: str) -> str:
        """The configuration with what is needed in it.

        Raises:
            ConfigError: what the user asked for in so many words can't be done.
            TextProblem: the configuration is broken.
        """
        self.naming = self._named(text)
        return self.naming.text

    def _named(self, text: str) -> Naming:
        wish = self._wish
        old = settings.recorded(_record(self._path))
        if wish.way == "none":
            return Naming(text, old.way if old else None)
        config = value_at(text, (), _JSON5)
        config = config if isinstance(config, dict) else {}
        release = openclaw_release.installed(self._machine, config)
        notes: list[str] = []
        reasons: list[str] = []
        try:
            providers = _higress(config, wish.providers, old, notes)
            for way in _ways(release, wish, old, _all_speak_it(config, providers), notes):
                try:
                    return self._done(text, way, old, config, providers, release, notes)
                except _NotPossible as reason:
                    reasons.append(str(reason))
        except _NotPossible as reason:
            reasons.append(str(reason))
        if wish.way != "auto" or wish.providers:
            raise ConfigError(f"{'; '.join(reasons)}; nothing was changed")
        notes.append(f"Sessions get no names from here: {'; '.join(reasons)}.")
        return Naming(text, old.way if old else None, notes=notes)

    def _done(
        self,
        text: str,
        way: str,
        old: Record | None,
        config: Mapping[str, Any],
        providers: Sequence[str],
        release: Release | None,
        notes: list[str],
    ) -> Naming:
        path = self._path
        naming = Naming(text, way, notes=list(notes))
        if old is not None and old.way != way:
            naming = _without(path, self._state, text, old, naming.notes)
            naming.way = way
        elif old is not None:
            naming.settings = msgspec.structs.replace(old, settings=list(old.settings))
        if way == "affinity":
            _affinity(naming, config, providers, release)
        else:
            _plugin(naming, config, providers, self._state, release)
        naming.settings.way, naming.settings.providers = way, sorted(providers)
        there = read(_record(path))
        if naming.settings.settings or there is not None:
            wanted = settings.written(naming.settings) if naming.settings.settings else None
            naming.record = Change(_record(path), there, wanted, backup=False)
        return naming


class Back:
    """Takes what `There` did back again."""

    def __init__(self, path: Path, state: Path) -> None:
        self._path = path
        self._state = state
        self._record = settings.recorded(_record(path)) or Record("none")
        #: What is done.
        self.naming = _without(path, state, "", self._record, [])

    def undo(self, text: str) -> str:
        """The configuration without our settings, as far as nobody has changed them since.

        Raises:
            TextProblem: the configuration is broken.
        """
        self.naming = _without(self._path, self._state, text, self._record, [])
        return self.naming.text

    def again(self, text: str) -> str:
        """A configuration from before with our settings in it.

        Raises:
            TextProblem: the configuration is broken.
        """
        return settings.again(text, self._record, _JSON5)


def _without(path: Path, state: Path, text: str, old: Record, notes: list[str]) -> Naming:
    undone = settings.undone(text, old, _JSON5)
    notes += [f"{settings.told(setting.path)} was changed since, so it stays." for setting in undone.changed]
    try:
        files = skillfiles.plugin()
    except FileNotFoundError:  # the receipt in its folder tells what is ours
        files = {}
    plugin = skill_files.removed(_extension(state), files)
    notes += plugin.notes
    return Naming(
        undone.text,
        record=Change(_record(path), read(_record(path)), None, backup=False),
        plugin=plugin,
        notes=notes,
    )


def _ways(
    release: Release | None, wish: Wish, old: Record | None, one_protocol: bool, notes: list[str]
) -> Sequence[str]:
    """The ways to try, in turn: as asked, else as before, else as the release and the models allow."""
    sends = release is None or release >= _SENT
    if wish.way != "auto":
        ways: Sequence[str] = (wish.way,)
    elif old is not None:
        ways = (old.way,)
    else:
        ways = ("affinity", "plugin") if sends and one_protocol else ("plugin", "affinity") if sends else ("plugin",)
    if release is not None and not sends:
        named_ = f"OpenClaw {openclaw_release.told(release)}"
        if ways == ("affinity",) and release < _ALLOWED:
            raise ConfigError(
                f"--naming affinity: {named_} refuses a configuration that holds {SETTING}; that takes 2026.9.5 or "
                "newer. Use --naming plugin, or update OpenClaw; nothing was changed"
            )
        if ways == ("affinity",):
            notes.append(f"{named_} takes {SETTING} and sends nothing; 2026.9.5 is the first that does.")
        elif wish.way == "auto" and old is None:
            notes.append(
                f"{named_} does not send {HEADERS['affinity']} (2026.9.5 is the first that does), "
                "so our plugin names sessions."
            )
    return ways


def _higress(config: Mapping[str, Any], asked: Sequence[str], old: Record | None, notes: list[str]) -> list[str]:
    """The providers that are Higress: those that were named, now or before, else those that look like it."""
    models = config.get("models")
    providers = models.get("providers") if isinstance(models, dict) else None
    known = {
        name: str(provider.get("baseUrl") or "no address")
        for name, provider in (providers.items() if isinstance(providers, dict) else ())
        if isinstance(provider, dict)
    }
    listed = "; ".join(f"{name} ({address})" for name, address in known.items())
    for name in asked:
        if name not in known:
            raise _NotPossible(f"--provider {name}: models.providers has no such entry; it has: {listed or 'none'}")
    if asked:
        return list(dict.fromkeys(asked))
    if old is not None and old.providers and all(name in known for name in old.providers):
        return old.providers
    by_name = [name for name, address in known.items() if "higress" in (name + _host(address)).lower()]
    if by_name:
        return by_name
    by_port = [name for name, address in known.items() if _port(address) == _PORT]
    if len(by_port) == 1:
        notes.append(f"Provider {by_port[0]} is taken for Higress, by its address {known[by_port[0]]}.")
        return by_port
    if not known:
        raise _NotPossible("the configuration has no models.providers, so OpenClaw does not use Higress yet")
    raise _NotPossible(f"it is not clear which provider is Higress: name it with --provider. There are: {listed}")


def _models(config: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    """The models that a provider lists, and the protocol that each speaks."""
    provider = config["models"]["providers"][name]
    listed = provider.get("models")
    return [
        (model["id"], str(model.get("api") or provider.get("api") or _PROTOCOL))
        for model in (listed if isinstance(listed, list) else ())
        if isinstance(model, dict) and isinstance(model.get("id"), str)
    ]


def _all_speak_it(config: Mapping[str, Any], providers: Sequence[str]) -> bool:
    """Whether the setting is enough for all that these providers serve."""
    listed = [_models(config, name) for name in providers]
    return all(models and all(protocol == _PROTOCOL for _, protocol in models) for models in listed)


def _affinity(naming: Naming, config: Mapping[str, Any], providers: Sequence[str], release: Release | None) -> None:
    """Have every model of the providers send the header."""
    done = told = 0
    for name in providers:
        models = _models(config, name)
        if not models:
            naming.notes.append(
                f"models.providers.{name} lists no models, and {SETTING} is set for each model: list them, "
                "or use --naming plugin."
            )
        for model, protocol in models:
            if protocol != _PROTOCOL:
                naming.notes.append(
                    f"{name}/{model} speaks {protocol}, in which OpenClaw sends no {HEADERS['affinity']}: "
                    "use --naming plugin."
                )
                continue
            setting: list[Step] = [
                "models",
                "providers",
                name,
                "models",
                {"id": model},
                "compat",
                "sendSessionAffinityHeaders",
            ]
            done += _set(naming, setting, True)
            told += 1
    if not told:
        raise _NotPossible(f"{', '.join(providers)} lists no model that speaks {_PROTOCOL}")
    if done:
        naming.notes.append(f"{done} of {told} models of {', '.join(providers)} get {SETTING}.")
    if done and release is None:
        naming.notes.append(
            f"It is not known which release of OpenClaw this is. {SETTING} needs 2026.9.5 or newer; a release before "
            "2026.8.1 refuses a configuration that holds it and does not start: use --naming plugin for those."
        )


def _plugin(
    naming: Naming, config: Mapping[str, Any], providers: Sequence[str], state: Path, release: Release | None
) -> None:
    """Put our plugin where OpenClaw looks, and let it run."""
    if release is not None and release < _ASKS_PLUGINS:
        raise _NotPossible(
            f"OpenClaw {openclaw_release.told(release)} can't be made to send them; 2026.6.1 is the first that can"
        )
    plugins = config.get("plugins")
    plugins = plugins if isinstance(plugins, dict) else {}
    if plugins.get("enabled") is False:
        raise _NotPossible("plugins.enabled is false, so OpenClaw loads no plugin")
    if NAME in (plugins.get("deny") or ()):
        raise _NotPossible(f"plugins.deny names {NAME}")
    for name, owner in _owned(state).items():
        if name in providers:
            raise _NotPossible(
                f"provider {name} belongs to the plugin in {owner}, and OpenClaw asks no other about it; "
                "--naming affinity works beside it"
            )
    try:
        files = skillfiles.plugin()
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from None
    manifest = {**json.loads(files[_MANIFEST]), "providers": sorted(providers)}
    files[_MANIFEST] = json.dumps(manifest, indent=2).encode() + b"\n"
    naming.plugin = skill_files.added(_extension(state), files)
    naming.notes += naming.plugin.notes
    entry = ("plugins", "entries", NAME)
    _set(naming, [*entry, "enabled"], True)
    _set(naming, [*entry, "config", "providers"], sorted(providers))
    if isinstance(plugins.get("allow"), list) and plugins["allow"]:
        naming.text, setting = settings.added(naming.text, ["plugins", "allow"], NAME, _JSON5)
        _remember(naming, setting)


def _set(naming: Naming, path: list[Step], value: Any) -> bool:
    naming.text, setting = settings.made(naming.text, path, value, _JSON5)
    return _remember(naming, setting)


def _remember(naming: Naming, setting: Setting | None) -> bool:
    if setting is None:
        return False
    naming.settings.settings.append(setting)
    return True


def _owned(state: Path) -> dict[str, Path]:
    """Providers that plugins in OpenClaw's folder bring along, and where each such plugin is."""
    found = {}
    for path in sorted((state / "extensions").glob(f"*/{_MANIFEST}")):
        if path.parent.name == NAME:
            continue
        try:
            manifest = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        names = manifest.get("providers") if isinstance(manifest, dict) else None
        for name in names if isinstance(names, list) else ():
            found[str(name)] = path.parent
    return found


def _extension(state: Path) -> Path:
    return state / "extensions" / NAME


def _record(path: Path) -> Path:
    return path.with_name(path.name + _RECORD)


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None
