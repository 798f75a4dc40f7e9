"""Small files that only their owner reads, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from monitor.config import ConfigError

_KEY_BYTES = 32


def write(path: Path, content: bytes) -> None:
    """Put `content` in the place of what stands there.

    Raises:
        ConfigError: the folder can't be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(temporary, content)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a --data-dir that can be written") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def key(path: Path) -> bytes:
    """The random key in `path`; made where there is none, once, however many processes ask.

    Raises:
        ConfigError: it can't be read or made, or is no key.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        pass
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(temporary, secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was first: its key is the one
            os.link(temporary, path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a --data-dir that can be written") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(found) != _KEY_BYTES:
        raise ConfigError(f"{path} is damaged: remove it; a new one is made, and links given out so far end")
    return found


def _create(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
