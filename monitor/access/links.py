"""Links that open one session: signed, and over at a time."""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from monitor.access import private

KEY_NAME = "links.key"
#: How long a link lasts. Its end lies on a whole hour, so that a session has the same link for an hour.
LASTS_S = 7 * 86400
_HOUR_S = 3600

#: What a link opens: figures with what was said, or figures only.
Opens = Literal["c", "f"]


class Signer:
    """Signs links and cookies with a key of the data directory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / KEY_NAME
        self._key: bytes | None = None

    def sign(self, purpose: str, *parts: str) -> str:
        """A signature over `parts` that holds for `purpose` alone.

        Raises:
            ConfigError: the key can't be read or made.
        """
        if self._key is None:
            self._key = private.key(self._path)
        said = "\0".join((purpose, *(f"{len(part)}:{part}" for part in parts)))
        mac = hmac.digest(self._key, said.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return urlsafe_b64encode(mac).decode().rstrip("=")

    def signed(self, signature: str, purpose: str, *parts: str) -> bool:
        """Whether `signature` is the one over `parts`."""
        return hmac.compare_digest(signature.encode("utf-8", "replace"), self.sign(purpose, *parts).encode())


def link(
    signer: Signer, base_url: str, session_id: str, *, content: bool = True, until: int | None = None
) -> tuple[str, int]:
    """The address of a session's page that opens it alone, and when it ends; not after `until`.

    Raises:
        ConfigError: the key can't be read or made.
    """
    end = (int(time.time()) + LASTS_S + _HOUR_S) // _HOUR_S * _HOUR_S
    if until is not None:
        end = min(end, until)
    opens: Opens = "c" if content else "f"
    key = opens + signer.sign("link", opens, str(end), session_id)
    return f"{base_url}/session?id={quote(session_id, safe='')}&expires={end}&key={key}", end


def opened(signer: Signer, session_id: str, expires: str, key: str, now: float | None = None) -> Opens | None:
    """What a link opens; None for one that is over, or that nobody signed."""
    opens, signature = key[:1], key[1:]
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
        return None
    if not signer.signed(signature, "link", opens, expires, session_id):
        return None
    if int(expires) <= (time.time() if now is None else now):
        return None
    return "c" if opens == "c" else "f"
