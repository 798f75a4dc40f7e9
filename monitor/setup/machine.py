"""Where things are on this machine: the home folder, the system, the variables, and our own command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.config import ENV_PREFIX, FILE_NAME, ConfigError, Settings

PROGRAM = "session-monitor"


@dataclass(frozen=True)
class Machine:
    """What decides where other programs keep their files."""

    system: str
    home: Path
    environ: Mapping[str, str]

    @classmethod
    def here(cls) -> Machine:
        """This machine and this user.

        Raises:
            ConfigError: nothing says where the home folder is.
        """
        try:
            home = Path.home()
        except RuntimeError:
            raise ConfigError("there is no home folder: set HOME to the folder that holds your settings") from None
        return cls(sys.platform, home, os.environ)

    @property
    def settings_folder(self) -> Path:
        """Where desktop programs keep their settings."""
        if self.system == "darwin":
            return self.home / "Library" / "Application Support"
        if self.system == "win32":
            return self.folder("APPDATA") or self.home / "AppData" / "Roaming"
        return self.folder("XDG_CONFIG_HOME") or self.home / ".config"

    def folder(self, variable: str, home: Path | None = None) -> Path | None:
        """The path that a variable holds, ``~`` and all."""
        value = self.environ.get(variable, "").strip()
        if not value:
            return None
        if value == "~" or value.startswith(("~/", "~\\")):
            return (home or self.home) / value[2:]
        return Path(value).absolute()


@dataclass(frozen=True)
class OurCommand:
    """How others start this program: an absolute path and what follows it."""

    program: Sequence[str]
    options: Sequence[str]
    data_dir: Path
    notes: Sequence[str]

    def line(self, *more: str) -> list[str]:
        """The whole command line of ``serve``."""
        return [*self.program, "serve", *more, *self.options]


def program() -> list[str]:
    """What starts this program from anywhere: its console script, else the interpreter with our entry."""
    name = PROGRAM + (".exe" if sys.platform == "win32" else "")
    running = Path(sys.argv[0])
    beside = Path(sys.executable).parent
    for script in (running, beside / name, beside / "Scripts" / name):
        if script.name == name and script.is_file():
            return [str(script.absolute())]
    return [sys.executable, "-c", "from monitor.faces.cli.main import main; main()"]


def our_command(
    machine: Machine,
    settings: Settings,
    *,
    data_dir: Path | None,
    config: Path | None,
    log_paths: Sequence[Path],
    usual_data_dir: Path | None = None,
) -> OurCommand:
    """The command with absolute paths: whoever starts it has another working directory and other variables.

    `usual_data_dir` is the one that needs no option.

    Raises:
        ConfigError: a path can't stand in a configuration file.
    """
    notes = []
    if config is None and Path(FILE_NAME).is_file():
        config = Path(FILE_NAME)
        notes.append(f"{config.absolute()} is passed on with --config, since it was found here.")
    usual = usual_data_dir or machine.home / ".local" / "state" / "agent-session-monitor"
    folder = settings.data_dir.expanduser().absolute()
    # A file that is passed on names its folder itself; a variable of this shell would not reach the program.
    named = data_dir is not None or any(
        machine.environ.get(name) for name in (f"{ENV_PREFIX}DATA_DIR", "XDG_STATE_HOME")
    )
    in_file = config is not None and not named and settings.data_dir.is_absolute()
    options: list[str] = []
    if config is not None:
        options += ["--config", str(config.expanduser().absolute())]
    if not in_file and (folder != usual or (config is not None and named)):
        options += ["--data-dir", str(folder)]
    for path in log_paths:
        if str(path) == "-":
            raise ConfigError("--log-path -: a program that others start has no standard input to read; name a file")
        whole = path.expanduser().absolute()
        if not whole.exists():
            notes.append(f"{whole} does not exist yet; it is followed as soon as it does.")
        options += ["--log-path", str(whole)]
    variables = sorted(
        name
        for name in machine.environ
        if name.startswith(ENV_PREFIX) and name not in (f"{ENV_PREFIX}DATA_DIR", f"{ENV_PREFIX}DEBUG")
    )
    if variables:
        notes.append(
            f"{', '.join(variables)} from this shell will not reach it; put such settings into a file, --config."
        )
    command = OurCommand(program(), options, folder, notes)
    for part in command.line():
        _writable(part)
    return command


def _writable(text: str) -> None:
    if any(char < " " or char == "\x7f" for char in text):
        raise ConfigError(f"{text!r} holds a line break or control character; use another path")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{text!r} is not UTF-8 and can't stand in a configuration file; use another path") from None
