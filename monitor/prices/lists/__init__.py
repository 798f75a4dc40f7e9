"""Price lists that are shipped and used by nobody who does not name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from monitor.prices.overlay import PriceFileError

_FOLDER = Path(__file__).parent


def shipped() -> list[str]:
    """The names of all shipped lists."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def is_name(text: str) -> bool:
    """Whether `text` names a shipped list and no file: it has no folder and no suffix."""
    path = PurePath(text)
    return text == path.name and not path.suffix


def find(name: str) -> Path:
    """The file of a shipped list.

    Raises:
        PriceFileError: there is no such list.
    """
    if name not in shipped():
        raise PriceFileError(
            f"{name!r} is no shipped price list (there is {', '.join(shipped())}); "
            f"a file of your own is named with its folder or suffix, such as ./{name} or {name}.toml"
        )
    return _FOLDER / f"{name}.toml"


def paths(overlays: Sequence[Path | str]) -> list[Path]:
    """The files of what a configuration names: shipped lists by their names, and files.

    Raises:
        PriceFileError: a name is that of no shipped list.
    """
    return [find(it) if isinstance(it, str) and is_name(it) else Path(it).expanduser() for it in overlays]


def usage_cny_path() -> Path:
    """The list of the AI usage monitor: qwen, gpt, deepseek, doubao and glm in CNY per thousand tokens."""
    return find("usage-cny")
