"""Settings: from the command line, else the environment, else ``session-monitor.toml``, else defaults."""

from __future__ import annotations

import fnmatch
import os
import re
import tomllib
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from monitor.budgets import WHOLE, Budget, BudgetDimension, Limit, Period
from monitor.usage_fields import MAPPED, FieldNames

#: Looked for in the working directory when no --config is given.
FILE_NAME = "session-monitor.toml"
ENV_PREFIX = "SESSION_MONITOR_"
#: Variables of ours that are no settings.
_NO_SETTINGS = ("debug", "lang", "store_password", "remote_token")
#: Files of the data directory besides those of the store.
LOCK_NAME = "ingest.lock"
ADDRESS_NAME = "web.json"

#: Where Higress writes its access log: docker compose (seen from the host's compose folder), the all-in-one
#: image with and without its O11Y suite, and the folder that its installer makes beside itself.
DEFAULT_LOGS = (
    Path("/var/log/proxy/access.log"),
    Path("/var/log/higress/gateway.log"),
    Path("compose/volumes/gateway/log/access.log"),
    Path("higress-install/logs/access.log"),
)


def openclaw_folders() -> list[Path]:
    """Where OpenClaw keeps its state: ``OPENCLAW_STATE_DIR``, else ``~/.openclaw``; none where there is nothing."""
    named = os.environ.get("OPENCLAW_STATE_DIR")
    folder = Path(named).expanduser() if named else Path.home() / ".openclaw"
    return [folder] if is_openclaw(folder) else []


def is_openclaw(folder: Path) -> bool:
    """Whether a folder is OpenClaw's state: it has a folder of agents."""
    return (folder.expanduser() / "agents").is_dir()


class ConfigError(Exception):
    """A setting can't be used; the message names the file or option and the way out."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SourceSettings(_Section):
    """One thing that is followed."""

    kind: Literal["higress", "usage", "openclaw"] = "higress"
    #: A log; for usage records also the folder with their day files, for OpenClaw its state folder.
    path: Path
    #: The original's meaning: how many rotated files are looked at.
    max_rotate: int = Field(default=100, ge=0, le=10_000)
    #: Of usage records with other names: ours to theirs, dots for objects inside objects.
    fields: dict[str, str] = {}
    #: Whether their counts of input hold what a cache served or took, and those of output the reasoning.
    input_includes_cache: bool = True
    output_includes_reasoning: bool = True
    #: The currency of costs that name none.
    currency: str = "CNY"

    @field_validator("fields")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        for name, theirs in value.items():
            if name not in MAPPED:
                raise ValueError(f"{name!r} is no field of a usage record: use {', '.join(MAPPED)}")
            if not theirs.strip("."):
                raise ValueError(f"{name} needs the name of a field of the file")
        return value

    @field_validator("currency")
    @classmethod
    def _code(cls, value: str) -> str:
        return _currency(value)

    @model_validator(mode="after")
    def _of_usage(self) -> SourceSettings:
        usage_only = {"fields", "input_includes_cache", "output_includes_reasoning", "currency"}
        given = sorted(usage_only & self.model_fields_set)
        if self.kind != "usage" and given:
            raise ValueError(f'{given[0]} belongs to kind = "usage"')
        return self

    @property
    def names(self) -> FieldNames:
        """How a file of usage records names its fields."""
        return FieldNames(
            tuple(sorted(self.fields.items())),
            self.input_includes_cache,
            self.output_includes_reasoning,
            self.currency,
        )


def _currency(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{3}", value):
        raise ValueError("a currency is three letters, such as CNY or USD")
    return value.upper()


class UsageSettings(_Section):
    """Usage records, and how usage is told to programs that compute with plain numbers."""

    #: Their `cost` and `total_cost` are sums in this currency; other currencies stand beside them.
    currency: str = "CNY"
    #: Where programs append their records when they name no folder.
    folder: Path = Path("records/ai_usage")

    @field_validator("currency")
    @classmethod
    def _code(cls, value: str) -> str:
        return _currency(value)


class PrivacySettings(_Section):
    """What is kept and who may read it."""

    #: full: as it was said; redacted: with secrets masked; none: only what is counted.
    content: Literal["full", "redacted", "none"] = "full"
    content_scope: list[str] = []
    allowed_paths: list[str] = []


#: Names of this machine that no other machine reaches it by.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RetentionSettings(_Section):
    """How long things are kept. What was counted stays in all sums."""

    #: Days after which rounds go; 0 keeps them for ever.
    rounds_days: int = Field(default=0, ge=0, le=36_500)
    #: The same for what was said in them.
    content_days: int = Field(default=0, ge=0, le=36_500)
    #: A folder in which the lines of the logs are kept as they are read.
    archive: Path | None = None


class WebSettings(_Section):
    """Where links lead, and who is let in."""

    base_url: str | None = None
    #: auto: a token where the page can be reached off loopback; always: on loopback too; proxy: what stands in front
    #: lets in only those who may see everything.
    auth: Literal["auto", "always", "proxy"] = "auto"
    #: Opens everything. ``auto``: one is made and told once, where there is none.
    token: SecretStr | None = None
    #: More names under which the page may be asked for, besides loopback, base_url's and the one listened on.
    hosts: list[str] = []

    @field_validator("base_url")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = _web_address(value)
        if url is None:
            raise ValueError("a link begins with http:// or https:// and a host name, and has no ? or #")
        return url

    @field_validator("token")
    @classmethod
    def _printable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]{1,512}", value.get_secret_value()):
            raise ValueError("a token is made of up to 512 letters, digits and signs without spaces")
        return value

    @field_validator("hosts")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", name):
                raise ValueError(f"{name[:60]!r} is no host name: leave out the protocol, the port and patterns")
        return [name.lower() for name in value]

    @property
    def public(self) -> SplitResult | None:
        """The parts of `base_url`, where that leads to this page from another machine."""
        if self.base_url is None:
            return None
        parts = urlsplit(self.base_url)
        return None if parts.hostname in LOOPBACK else parts

    @property
    def needs_token(self) -> bool:
        """Whether a token is asked for on loopback too."""
        if self.auth == "proxy":
            return False
        return self.auth == "always" or self.token is not None or self.public is not None


def _web_address(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        return None
    if not sound or parts.query or parts.fragment or parts.username or not re.fullmatch(r"[!-~]+", text):
        return None
    return text.rstrip("/")


class PriceSettings(_Section):
    """Which price lists apply."""

    #: A file, or a list that is shipped with the program by its name; or several, of which the last one wins.
    overlay: str | list[str] = []
    region: Literal["cn", "intl"] = "cn"

    @field_validator("overlay", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise ValueError('name a file, such as "prices.toml", or a shipped list, or several of them in brackets')
        return value

    @property
    def overlays(self) -> list[str]:
        """The overlays as a list: names of shipped lists, and paths."""
        return [self.overlay] if isinstance(self.overlay, str) else self.overlay


class ExceededSettings(_Section):
    """What happens when a budget is used up, besides telling."""

    #: A program with its arguments; the facts come on its standard input as JSON. No shell.
    command: list[str] = []
    #: The facts are posted there as JSON.
    webhook: SecretStr | None = None

    @field_validator("webhook")
    @classmethod
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("a webhook begins with http:// or https://")
        return value


def _by_kind(addresses: list[SecretStr]) -> dict[str, SecretStr]:
    """Addresses by names without secrets: ``discord``, ``slack``, ``discord 2``."""
    found: dict[str, SecretStr] = {}
    for url in addresses:
        kind = url.get_secret_value().partition(":")[0].lower() or "?"
        number = sum(name.partition(" ")[0] == kind for name in found) + 1
        found[kind if number == 1 else f"{kind} {number}"] = url
    return found


class AlertSettings(_Section):
    """Who is told of what is wrong with the meters themselves."""

    notify: list[SecretStr] = []
    #: A meter is silent when it has no call for so long while the other has some.
    silent_minutes: int = Field(default=30, ge=5, le=720)

    @property
    def channels(self) -> dict[str, SecretStr]:
        """The addresses to notify by names without secrets."""
        return _by_kind(self.notify)


#: Ten times a limit is passed by a mistake; more than that was meant as per cent.
_MOST_SHARE = 10


class BudgetSettings(_Section):
    """A limit for what rounds may cost or take, and who is told."""

    name: str = Field(min_length=1, max_length=100)
    limit: Decimal | None = Field(default=None, gt=0, max_digits=18, decimal_places=9)
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    tokens: int | None = Field(default=None, gt=0)
    period: Period = "day"
    #: Dimension to a glob, or to several of which one must fit.
    match: dict[BudgetDimension, str | list[str]] = {}
    per: BudgetDimension | None = None
    warn_at: list[Decimal] = [Decimal("0.8"), Decimal(1)]
    notify: list[SecretStr] = []
    on_exceeded: ExceededSettings = ExceededSettings()

    @field_validator("warn_at")
    @classmethod
    def _shares(cls, value: list[Decimal]) -> list[Decimal]:
        if not all(0 < share <= _MOST_SHARE for share in value):
            raise ValueError("shares of the limit, such as [0.8, 1.0]; 0.8 is 80 %")
        return value

    @model_validator(mode="after")
    def _one_limit(self) -> BudgetSettings:
        if (self.limit is None) == (self.tokens is None):
            raise ValueError(f'budget {self.name!r}: give `limit = "10.00"` with `currency`, or `tokens = 1_000_000`')
        if (self.limit is None) != (self.currency is None):
            raise ValueError(f'budget {self.name!r}: `limit` and `currency` go together, such as currency = "USD"')
        if self.per is not None and self.period == "session":
            raise ValueError(f"budget {self.name!r}: one of the period `session` is kept per session; leave `per` out")
        return self

    @property
    def channels(self) -> dict[str, SecretStr]:
        """The addresses to notify by names without secrets."""
        return _by_kind(self.notify)

    def budget(self) -> Budget:
        """The budget without its secrets."""
        exceeded = self.on_exceeded
        return Budget(
            name=self.name,
            limit=Limit(
                nano=None if self.limit is None else int(self.limit.scaleb(9)),
                currency=self.currency,
                tokens=self.tokens,
            ),
            period=self.period,
            match=tuple((d, (p,) if isinstance(p, str) else tuple(p)) for d, p in sorted(self.match.items())),
            per=self.per,
            warn_at=tuple(sorted({int(share * WHOLE) for share in self.warn_at})),
            channels=tuple(self.channels),
            exceeded_channels=(
                *(("command",) if exceeded.command else ()),
                *(("webhook",) if exceeded.webhook else ()),
            ),
        )


def default_data_dir() -> Path:
    """``$XDG_STATE_HOME/agent-session-monitor``, by default below ``~/.local/state``."""
    # The XDG base directories are what the documentation promises, on macOS as well.
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "agent-session-monitor"


class FleetSettings(_Section):
    """What a machine is among others that write into one store."""

    #: Its name, by which its checkpoints are told from those of others; by default the host's.
    node: str | None = Field(default=None, pattern=r"^[!-~]{1,200}$")
    #: Bytes of original lines that may wait here while the store is away.
    spool_bytes: int = Field(default=10 * 2**30, ge=0)


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", validate_default=False
    )
    _file: ClassVar[Path | None] = None

    data_dir: Path = Field(default_factory=default_data_dir)
    timezone: str = "local"
    sources: list[SourceSettings] = []
    privacy: PrivacySettings = PrivacySettings()
    web: WebSettings = WebSettings()
    prices: PriceSettings = PriceSettings()
    usage: UsageSettings = UsageSettings()
    retention: RetentionSettings = RetentionSettings()
    #: Where a fleet keeps its rounds: ``clickhouse://user@host:8123/db?cluster=fleet``. Unset: in the data directory.
    store: str | None = None
    fleet: FleetSettings = FleetSettings()
    budgets: list[BudgetSettings] = []
    alerts: AlertSettings = AlertSettings()

    @field_validator("budgets")
    @classmethod
    def _own_names(cls, value: list[BudgetSettings]) -> list[BudgetSettings]:
        names = [budget.name for budget in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two budgets are called {name!r}: give each a name of its own")
        return value

    @model_validator(mode="after")
    def _archives_hold_everything(self) -> Settings:
        if self.retention.archive is not None and self.privacy.content != "full":
            raise ValueError(
                "retention.archive keeps the original lines with everything that was said: leave it out, or set "
                'privacy.content = "full"'
            )
        return self

    @field_validator("timezone")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value == "local":
            return value
        try:
            ZoneInfo(value)
        except (LookupError, ValueError, OSError):
            raise ValueError("no such time zone: use an IANA name such as Asia/Shanghai, or 'local'") from None
        return value

    @cached_property
    def zone(self) -> str:
        """The IANA name of the zone in which days begin."""
        if self.timezone != "local":
            return self.timezone
        from tzlocal import get_localzone_name  # noqa: PLC0415 - only where it is needed

        return get_localzone_name() or "UTC"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line comes first, then the environment, then the file."""
        if cls._file is None:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, cls._file)


def load(config: Path | None = None, **given: Any) -> Settings:
    """The settings, `given` ones first.

    Raises:
        ConfigError: names the file or variable, the key and the way out.
    """
    file = config
    if file is None and Path(FILE_NAME).is_file():
        file = Path(FILE_NAME)
    elif file is not None and not file.is_file():
        raise ConfigError(f"{file}: there is no such file; leave --config out to use defaults")
    for name in os.environ:
        setting = name.removeprefix(ENV_PREFIX).split("__")[0].lower()
        if name.startswith(ENV_PREFIX) and setting not in (*Settings.model_fields, *_NO_SETTINGS):
            raise ConfigError(f"{name} in the environment: there is no such setting")
    bound = type("Settings", (Settings,), {"_file": file, "__module__": __name__})
    try:
        settings: Settings = bound(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f"{file} (or {ENV_PREFIX}… in the environment)" if file else f"{ENV_PREFIX}… in the environment"
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            reason = "there is no such setting"
        raise ConfigError(f"{where}: {key}: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: it is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{ENV_PREFIX}… in the environment: {error}") from None
    if file is not None:
        _relative_to(settings, file.parent)
    return settings


def with_token(settings: Settings, token: str) -> Settings:
    """The settings with a token from the command line.

    Raises:
        ConfigError: it is none.
    """
    try:
        web = WebSettings.model_validate({**settings.web.model_dump(), "token": token})
    except ValidationError as error:
        raise ConfigError(f"--token: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    return settings.model_copy(update={"web": web})


def _relative_to(settings: Settings, folder: Path) -> None:
    """Paths in a file are meant from where the file lies."""
    for source in settings.sources:
        source.path = folder / source.path.expanduser()
    settings.usage.folder = folder / settings.usage.folder.expanduser()
    settings.prices.overlay = [
        # A name without folder and suffix is a list that is shipped with the program.
        name if name == Path(name).name and not Path(name).suffix else str(folder.absolute() / Path(name).expanduser())
        for name in settings.prices.overlays
    ]
    if settings.retention.archive is not None:
        settings.retention.archive = folder / settings.retention.archive.expanduser()


def check_allowed(path: Path, allowed: list[str]) -> Path:
    """The absolute path, if it may be read.

    Raises:
        ConfigError: `allowed` is set and no pattern of it matches.
    """
    # A link may lead out of an allowed folder, so what counts is where it leads.
    resolved = path.expanduser().absolute()
    real = resolved.resolve()
    if allowed and not any(fnmatch.fnmatchcase(str(real), str(Path(p).expanduser())) for p in allowed):
        raise ConfigError(f"{real} may not be read: no pattern of privacy.allowed_paths matches it")
    return resolved
