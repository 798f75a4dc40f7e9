"""What every request passes first, whoever asks: host, origin, size; and what every answer carries."""

from __future__ import annotations

import ipaddress
import logging
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.config import LOOPBACK, WebSettings
from monitor.faces.web.problems import problem, route_path

log = logging.getLogger("monitor.web")

#: Session ids are shorter than 256 characters, which are at most 9 bytes each once they are encoded.
LONGEST_QUERY = 8192
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
_READING = ("GET", "HEAD", "OPTIONS")

#: Only our own script runs and nothing is loaded from elsewhere: texts of a log can do nothing on these pages.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": a browser would then name no origin with a form of ours, as if another site had sent it.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class House:
    """Under which names the page answers, and whether it asks for a token."""

    #: Lower case, without a port; IPv6 without brackets.
    hosts: frozenset[str] = frozenset(LOOPBACK)
    #: Listening on all addresses: any of them may be the one that is asked.
    any_address: bool = False
    public: SplitResult | None = None
    needs_token: bool = False

    @property
    def prefix(self) -> str:
        """The path under which a reverse proxy shows the page: "" or ``/monitor``."""
        return "" if self.public is None else self.public.path

    def answers_to(self, host: str) -> bool:
        """Whether a Host header names this page, so that no foreign name can be pointed at it (DNS rebinding)."""
        name = _name(host)
        if name is None:
            return False
        if name in self.hosts:
            return True
        if not self.any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_own(self, origin: str, host: str) -> bool:
        """Whether a page of ours sent a request: its origin is what was asked, or what links begin with."""
        parts = urlsplit(origin) if origin.isascii() else None
        if parts is None or parts.scheme not in ("http", "https"):
            return False
        public = self.public
        if public is not None and (parts.scheme, parts.netloc.lower()) == (public.scheme, public.netloc.lower()):
            return True
        return parts.netloc.lower() == host.lower()


def house(web: WebSettings, listening: str = "127.0.0.1") -> House:
    """What the settings say, for a page that listens on an address."""
    hosts = {*LOOPBACK, *web.hosts}
    if web.base_url is not None:
        hosts.add(urlsplit(web.base_url).hostname or "")
    off_loopback = listening not in LOOPBACK
    if listening in _ANY_ADDRESS:
        own = socket.gethostname().lower()
        hosts |= {own, f"{own}.local"}
    elif off_loopback:
        hosts.add(listening.lower())
    return House(
        hosts=frozenset(hosts),
        any_address=listening in _ANY_ADDRESS,
        public=None if web.base_url is None else urlsplit(web.base_url),
        needs_token=off_loopback or web.needs_token,
    )


def _name(host: str) -> str | None:
    """The name in a Host header; None where it is none."""
    if not host or any(char in host for char in "/?#@\\ ,") or not host.isascii():
        return None
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


class Guard:
    """Refuses what no page of ours and no program would send, and puts security headers on every answer."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app = app
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        scope = _placed(scope, self._house.prefix)
        answer = _Answer(scope, send)
        if scope["method"] == "HEAD" and not _is_mcp(scope):
            # The answer of GET without its body, for every route alike.
            scope = {**scope, "method": "GET", "head": True}
        refusal = self._refusal(scope)
        if refusal is not None:
            await problem(scope, *refusal)(scope, receive, answer.send)
            return
        if scope["path"] == self._house.prefix != "":
            await RedirectResponse(f"{self._house.prefix}/")(scope, receive, answer.send)
            return
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            return
        except Exception as error:
            # Nothing of an error's insides reaches a client; whoever runs the server gets one line.
            log.error("%s %s: %s: %s", scope["method"], route_path(scope)[:200], type(error).__name__, error)
            if answer.begun:
                return  # the connection is closed, so that nobody takes the answer for a whole one
            await problem(scope, 500, "This went wrong in the server; its log says more.")(scope, receive, answer.send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and reason for which a request goes no further."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._house.answers_to(hosts[0]):
            return 400, (
                "This name is not one of this page's: ask for it by the address that it printed, or name the host "
                "in [web] hosts or base_url."
            )
        if len(scope["query_string"]) > LONGEST_QUERY:
            return 414, f"The query is longer than {LONGEST_QUERY} bytes."
        site = headers.get("sec-fetch-site", "none")
        origin = headers.get("origin")
        if site == "cross-site" and not (headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"):
            return 403, "This was sent by a page of another site."
        if _is_mcp(scope):
            own = origin is None or self._house.is_own(origin, hosts[0]) or _name(urlsplit(origin).netloc) in LOOPBACK
            return None if own else (403, "This was sent by a page of another site.")
        if scope["method"] not in _READING:
            if site not in ("none", "same-origin") or (origin is not None and not self._house.is_own(origin, hosts[0])):
                return 403, "This was sent by a page of another site."
        return None


class _Answer:
    """Sends an answer with what every answer carries."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._mcp = _is_mcp(scope)
        self._no_body = scope["method"] == "HEAD"
        path = route_path(scope)
        self._cache = "no-store"
        if path.startswith("/static/"):
            self._cache = "public, max-age=31536000, immutable" if b"v=" in scope["query_string"] else "no-cache"
        self.begun = False

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self.begun = True
            if not self._mcp:
                there = {name.lower() for name, _ in message.get("headers", ())}
                headers = {**_HEADERS, "cache-control": self._cache}
                more = [
                    (name.encode(), value.encode()) for name, value in headers.items() if name.encode() not in there
                ]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
        elif message["type"] == "http.response.body" and self._no_body:
            message = {**message, "body": b""}
        await self._send(message)


def _is_mcp(scope: Scope) -> bool:
    path = route_path(scope)
    return path == "/mcp" or path.startswith("/mcp/")


def _placed(scope: Scope, prefix: str) -> Scope:
    """The request below the path under which a proxy shows the page, whether the proxy takes that off or not."""
    if not prefix:
        return scope
    path, raw = scope["path"], scope.get("raw_path") or b""
    if path != prefix and not path.startswith(f"{prefix}/"):
        path, raw = prefix + path, prefix.encode() + raw
    return {**scope, "path": path, "raw_path": raw, "root_path": prefix}
