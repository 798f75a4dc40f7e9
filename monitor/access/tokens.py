"""Tokens that open the page, the API and MCP over HTTP; only their hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from monitor.access import private
from monitor.config import ConfigError

if TYPE_CHECKING:
    from filelock import FileLock

FILE_NAME = "tokens.json"
_PREFIX = "asm_"
#: In the place of a token: one is made where there is none.
AUTO = "auto"


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a token: everything but the token."""

    id: str
    #: SHA-256 in hex. The token is random and long, so that no slower hash is needed.
    digest: str
    #: Glob patterns of the session ids that it opens; None: everything.
    scope: tuple[str, ...] | None = None
    #: Whether it opens what was said, and not only figures. One without a scope opens everything.
    content: bool = False
    #: Seconds since 1970.
    created_at: int
    expires_at: int | None = None
    note: str | None = None

    def expired(self, now: float | None = None) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= (time.time() if now is None else now)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[Token] = []


class Tokens:
    """The tokens of one data directory, as they stand in its file now."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._seen: tuple[int, int, int] | None = None
        self._known: tuple[Token, ...] = ()

    def all(self) -> tuple[Token, ...]:
        """All tokens, the oldest first; expired ones too.

        Raises:
            ConfigError: the file can't be read, or is not ours.
        """
        try:
            found = os.stat(self.path)
            seen = found.st_ino, found.st_size, found.st_mtime_ns
            if seen != self._seen:
                self._known = tuple(msgspec.json.decode(self.path.read_bytes(), type=_File).tokens)
                self._seen = seen
        except FileNotFoundError:
            self._known, self._seen = (), None
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{self.path} can't be read: {error}: remove it to revoke all tokens") from None
        return self._known

    def usable(self) -> list[Token]:
        """Those that are not expired."""
        return [token for token in self.all() if not token.expired()]

    def create(
        self,
        *,
        scope: Sequence[str] | None = None,
        content: bool = False,
        lasts_s: int | None = None,
        note: str | None = None,
    ) -> tuple[Token, str]:
        """A new token: what is kept of it, and the token itself, which nobody can read afterwards.

        Raises:
            ConfigError: the file can't be read or written.
        """
        secret = _PREFIX + secrets.token_urlsafe(32)
        now = int(time.time())
        token = Token(
            id=secrets.token_hex(4),
            digest=digest(secret),
            scope=None if scope is None else tuple(scope),
            content=content,
            created_at=now,
            expires_at=None if lasts_s is None else now + lasts_s,
            note=note,
        )
        with self._locked():
            self._write([*self.all(), token])
        return token, secret

    def revoke(self, token_id: str) -> bool:
        """Take a token back; whether there was one of this id.

        Raises:
            ConfigError: the file can't be read or written.
        """
        with self._locked():
            left = [token for token in self.all() if token.id != token_id]
            if len(left) == len(self.all()):
                return False
            self._write(left)
        return True

    def find(self, secret: str) -> Token | None:
        """The token that `secret` is, unless it is expired or unknown."""
        asked, found = digest(secret), None
        for token in self.all():
            # All of them are compared, so that the time taken tells nothing.
            if hmac.compare_digest(token.digest, asked):
                found = token
        return None if found is None or found.expired() else found

    def _locked(self) -> FileLock:
        from filelock import FileLock  # noqa: PLC0415 - only a command that changes tokens needs it

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(self.path.with_suffix(".lock"), timeout=10, mode=0o600)

    def _write(self, tokens: Sequence[Token]) -> None:
        text = msgspec.json.encode(_File(list(tokens)))
        private.write(self.path, msgspec.json.format(text, indent=2) + b"\n")


def digest(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
