"""Newer lists of genai-prices, fetched when a user asks for it and never otherwise, kept in the data directory."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

FILE_NAME = "genai-prices.json"
#: The published file has 3 MB. Whatever is much larger is something else.
MAX_BYTES = 32 * 1024 * 1024
#: For a step of the transfer, and for all of it.
_TIMEOUT_S = 20.0
_DEADLINE_S = 300.0
#: Without these, or with far fewer models than are installed, a file is cut or is another one.
_MUST_HAVE = ("openai", "anthropic", "google")


class UpdateError(Exception):
    """Newer lists can't be had; the message says why and what to do. Those in use stay in use."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of the kept file; the lists as they were published are the rest."""

    #: When they were fetched, RFC 3339 in UTC.
    fetched: str
    #: The address or file that they are from.
    origin: str
    sha256: str
    #: The version of the library that read them without complaint.
    library: str
    models: int

    @property
    def day(self) -> date:
        """The UTC day on which they were fetched."""
        return datetime.fromisoformat(self.fetched).date()

    @property
    def label(self) -> str:
        """How the lists are called in versions and sources."""
        return f"genai-prices {self.day} {self.sha256[:8]}"


@lru_cache(maxsize=1)
def library_version() -> str:
    """The version of the installed library."""
    from importlib.metadata import version  # noqa: PLC0415 - slow, and this module is imported by servers

    return version("genai-prices")


def published_address() -> str:
    """Where the library itself says that its lists are published."""
    from genai_prices.update_prices import DEFAULT_UPDATE_URL  # noqa: PLC0415 - brings the whole library

    return DEFAULT_UPDATE_URL


def fetch(url: str) -> bytes:
    """What stands at `url`.

    Raises:
        UpdateError: it can't be reached, or is too large.
    """
    import httpx2  # noqa: PLC0415 - nothing else needs it

    try:
        with httpx2.stream("GET", url, timeout=_TIMEOUT_S, follow_redirects=True) as response:
            response.raise_for_status()
            content = bytearray()
            deadline = time.monotonic() + _DEADLINE_S
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > deadline:
                    raise UpdateError(f"{url}: sends too slowly; the prices in use stay as they are")
                if len(content) > MAX_BYTES:
                    raise UpdateError(f"{url}: is larger than {MAX_BYTES:,} bytes, so it is not the price list")
            return bytes(content)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        why = str(error) or type(error).__name__
        raise UpdateError(
            f"{url}: {why}. The prices in use stay as they are; on a machine without a network, "
            "download that file elsewhere and give it to `session-monitor prices update --file FILE`"
        ) from None


def read(path: Path) -> bytes:
    """The content of a downloaded file.

    Raises:
        UpdateError: it can't be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UpdateError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise UpdateError(f"{path}: is larger than {MAX_BYTES:,} bytes, so it is not the price list")
    return content


def keep(folder: Path, content: bytes, origin: str) -> Kept:
    """Check `content` and keep it in the data directory `folder`, in place of what was there.

    Raises:
        UpdateError: it is no price list, or can't be written.
    """
    from monitor.prices import bundled  # noqa: PLC0415 - brings the whole library

    try:
        counts = bundled.published(content).priced_models()
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        why = str(error).partition("\n")[0][:200]
        raise UpdateError(f"{origin}: is no price list that genai-prices {library_version()} can read: {why}") from None
    models, known = sum(counts.values()), sum(bundled.installed().priced_models().values())
    if not all(counts.get(name) for name in _MUST_HAVE) or models < known / 2:
        raise UpdateError(
            f"{origin}: has prices of {models} models, the installed list has {known}: it is cut, or another file"
        )
    kept = Kept(
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        origin=origin,
        sha256=hashlib.sha256(content).hexdigest(),
        library=library_version(),
        models=models,
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A new file beside it, so that whoever reads sees the old one or the new one, whole. Made with mode 0600.
        handle, name = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(kept) + b"\n" + content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, folder / FILE_NAME)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise UpdateError(f"{folder / FILE_NAME}: cannot be written: {error.strerror or error}") from None
    return kept


def remove(folder: Path) -> bool:
    """Go back to the installed lists; whether there was anything to remove.

    Raises:
        UpdateError: the kept file can't be removed.
    """
    try:
        (folder / FILE_NAME).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UpdateError(f"{folder / FILE_NAME}: cannot be removed: {error.strerror or error}") from None
    return True


def kept_in(folder: Path) -> tuple[Kept, bytes] | str | None:
    """What is kept in `folder` and its content, in words why that can't be used, or None where nothing is kept.

    Whatever comes back can be used without another check: it is byte for byte what `keep` checked, with the
    same version of the library.
    """
    path = folder / FILE_NAME
    again = "run `session-monitor prices update` again, or `prices update --remove`"
    try:
        head, _, content = path.read_bytes().partition(b"\n")
        kept = msgspec.json.decode(head, type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        return f"{path}: cannot be used, the installed price list is: {error}; {again}"
    if hashlib.sha256(content).hexdigest() != kept.sha256:
        return f"{path}: was damaged, the installed price list is used; {again}"
    if kept.library != library_version():
        return (
            f"{path}: was made for genai-prices {kept.library} and {library_version()} is installed now, "
            f"whose own price list is used; {again}"
        )
    return kept, content
