"""Who asks: the owner, somebody with a token, or somebody with a link to one session."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote_plus

import anyio.to_thread
import jinja2
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.access.links import Signer, opened
from monitor.access.tokens import Token, Tokens, digest
from monitor.answers import scope as scopes
from monitor.faces.web.guard import House
from monitor.faces.web.problems import for_program, problem, route_path

#: How long a browser stays logged in.
_LOGIN_S = 30 * 86400
_MOST_LINK_COOKIES = 20
_LONGEST_FORM = 4096
#: The id under which the token of the settings goes; ids of the file are hexadecimal.
_GIVEN = "given"
#: What anybody may fetch: the style of the login page, and whether the server lives.
_OPEN_TO_ALL = ("/static/", "/healthz", "/login")
_SIGNED_PARAMETERS = ("expires", "key")
_OPENING = (*_SIGNED_PARAMETERS, "token")
_CHALLENGE = {"www-authenticate": 'Bearer realm="session-monitor"'}
_HERE = Path(__file__).parent

UNNAMED = "A token is needed here: send it as `Authorization: Bearer TOKEN` (`session-monitor token create` makes one)."
UNKNOWN = "This token is not known here, or its time is over: `session-monitor token list` shows which are."
LINK_OVER = "This link is over or was changed: ask for a new one (session_url, or `session-monitor url`)."


@dataclass(frozen=True)
class Asker:
    """Who asks, as far as that decides what is shown."""

    how: Literal["open", "token", "link", "nobody"]
    #: None: everything is shown.
    scope: scopes.Scope | None = None

    @property
    def is_owner(self) -> bool:
        """Whether everything is open."""
        return self.scope is None


def asker(scope: Scope) -> Asker:
    """Who sent a request that has passed the door."""
    found: Asker = scope["monitor.asker"]
    return found


class Credentials:
    """Knows tokens, cookies and links."""

    def __init__(self, tokens: Tokens, signer: Signer, given: str | None) -> None:
        self._tokens = tokens
        self.signer = signer
        self._given = None if given is None else Token(id=_GIVEN, digest=digest(given), created_at=0)

    def token(self, secret: str) -> Token | None:
        """The token that `secret` is."""
        if self._given is not None and hmac.compare_digest(self._given.digest, digest(secret)):
            return self._given
        return self._tokens.find(secret)

    @property
    def cookie_name(self) -> str:
        """Of this data directory alone: two monitors on one host share their cookies."""
        return f"asm_{self.signer.sign('cookie name')[:8]}"

    def cookie(self, token: Token) -> tuple[str, int]:
        """The value that logs a browser in, and for how many seconds. It does not hold the token."""
        now = int(time.time())
        end = min(now + _LOGIN_S, token.expires_at or now + _LOGIN_S)
        return f"{token.id}.{end}.{self.signer.sign('cookie', token.id, token.digest, str(end))}", end - now

    def logged_in(self, value: str) -> Token | None:
        """The token that a browser logged in with, unless it was revoked since."""
        token_id, _, rest = value.partition(".")
        end, _, signature = rest.partition(".")
        if not re.fullmatch(r"[0-9]{1,12}", end) or int(end) <= time.time():
            return None
        known = [self._given] if self._given is not None else []
        for token in (*known, *self._tokens.usable()):
            if token.id == token_id:
                signed = self.signer.signed(signature, "cookie", token.id, token.digest, end)
                return token if signed else None
        return None

    def link_cookie_name(self, session_id: str) -> str:
        """The cookie that remembers a link to a session."""
        return f"{self.cookie_name}_{hashlib.sha256(session_id.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"

    def link(self, session_id: str, expires: str, key: str) -> Asker | None:
        """Who comes by a link; None for one that is over or that nobody signed."""
        opens = opened(self.signer, session_id, expires, key)
        if opens is None:
            return None
        scope = scopes.Scope((scopes.exactly(session_id),), content=opens == "c", until=int(expires))
        return Asker("link", scope)


def _asker_of(token: Token) -> Asker:
    if token.scope is None:
        return Asker("token")
    return Asker("token", scopes.Scope(token.scope, token.content, token.expires_at))


class Door:
    """Lets in who may see something, and says to everything behind it what that is."""

    def __init__(self, app: ASGIApp, house: House, credentials: Credentials) -> None:
        self._app = app
        self._house = house
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = self._who(scope)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        who, scope = found
        scope["monitor.asker"] = who
        mark = scopes.ASKED_BY.set(who.scope)
        try:
            await self._app(scope, receive, send)
        finally:
            scopes.ASKED_BY.reset(mark)

    def _who(self, scope: Scope) -> Response | tuple[Asker, Scope]:
        """Who asks, with the request without what opened the door; or what is answered instead."""
        path = route_path(scope)
        headers = Headers(scope=scope)
        given = _query(scope)
        authorization = headers.get("authorization")
        if authorization is not None:
            kind, _, secret = authorization.partition(" ")
            token = self._credentials.token(secret.strip()) if kind.lower() == "bearer" else None
            if token is None:
                return problem(scope, 401, UNKNOWN, _CHALLENGE)
            return _asker_of(token), _without(scope)
        reading = scope["method"] == "GET"
        if "token" in given and reading and not for_program(scope):
            return self._log_in(scope, given["token"])
        cookies = _cookies(headers)
        # Agents send their token; a browser that is logged in must not ask as one for a page of somebody else's.
        cookie = "" if path.startswith("/mcp") else cookies.get(self._credentials.cookie_name, "")
        token = self._credentials.logged_in(cookie)
        if token is not None:
            return self._clean(scope, _asker_of(token))
        if not self._house.needs_token:
            return self._clean(scope, Asker("open"))
        if reading and not path.startswith("/mcp"):
            by_link = self._by_link(scope, given, cookies)
            if by_link is not None:
                return by_link
        if path.startswith(_OPEN_TO_ALL):
            return Asker("nobody", scopes.Scope(())), _without(scope)
        if for_program(scope):
            return problem(scope, 401, UNNAMED, _CHALLENGE)
        return login_page(scope, _here(scope), 401)

    def _by_link(
        self, scope: Scope, given: Mapping[str, str], cookies: Mapping[str, str]
    ) -> Response | tuple[Asker, Scope] | None:
        """Who comes by a link to a session, or came by one before."""
        name = given.get("id")
        if not name:
            return None
        credentials = self._credentials
        if "key" in given:
            who = credentials.link(name, given.get("expires", ""), given["key"])
            if who is None:
                if for_program(scope):
                    return problem(scope, 403, LINK_OVER)
                return login_page(scope, _here(scope), 403, LINK_OVER)
            if for_program(scope):
                return who, _without(scope)
            answer: Response = RedirectResponse(_here(scope), 303)
            self._remember_link(scope, answer, name, given["expires"], given["key"], cookies)
            return answer
        expires, _, key = cookies.get(credentials.link_cookie_name(name), "").partition(".")
        who = credentials.link(name, expires, key)
        return None if who is None else (who, _without(scope))

    def _remember_link(
        self, scope: Scope, answer: Response, name: str, expires: str, key: str, cookies: Mapping[str, str]
    ) -> None:
        own = self._credentials.link_cookie_name(name)
        others = sorted(
            (other for other in cookies if other.startswith(f"{self._credentials.cookie_name}_") and other != own),
            key=lambda other: cookies[other],
        )
        for other in others[: max(0, len(others) - _MOST_LINK_COOKIES + 1)]:
            answer.delete_cookie(other, path=_cookie_path(scope))
        self._set(scope, answer, own, f"{expires}.{key}", int(expires) - int(time.time()))

    def _set(self, scope: Scope, answer: Response, name: str, value: str, lasts_s: int) -> None:
        # Lax and not Strict: a link in a chat must find its reader logged in. Nothing that is read changes anything.
        answer.set_cookie(
            name,
            value,
            max_age=lasts_s,
            path=_cookie_path(scope),
            secure=self._house.public is not None and self._house.public.scheme == "https",
            httponly=True,
            samesite="lax",
        )

    def _log_in(self, scope: Scope, secret: str) -> Response:
        """A first visit with the token in the address: it goes into a cookie, and out of the address."""
        token = self._credentials.token(secret)
        if token is None:
            if not self._house.needs_token:
                return RedirectResponse(_here(scope), 303)
            return login_page(scope, _here(scope), 401, UNKNOWN)
        answer = RedirectResponse(_here(scope), 303)
        self.log_in(scope, answer, token)
        return answer

    def log_in(self, scope: Scope, answer: Response, token: Token) -> None:
        """Put the cookie that logs a browser in on `answer`."""
        value, lasts_s = self._credentials.cookie(token)
        self._set(scope, answer, self._credentials.cookie_name, value, lasts_s)

    def _clean(self, scope: Scope, who: Asker) -> Response | tuple[Asker, Scope]:
        """Somebody who is in anyway: what a link has to open doors is not kept in the address."""
        if any(name in _query(scope) for name in _SIGNED_PARAMETERS):
            if scope["method"] == "GET" and not for_program(scope):
                return RedirectResponse(_here(scope), 303)
            return who, _without(scope)
        return who, scope


def routes(house: House, credentials: Credentials) -> list[BaseRoute]:
    """Log in with a form, and out."""
    door = Door(_nothing, house, credentials)

    async def show(request: Request) -> Response:
        return login_page(request.scope, _local(request.query_params.get("next", "")) or _root(request.scope), 200)

    async def log_in(request: Request) -> Response:
        body = await limited_body(request, _LONGEST_FORM)
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        target = _local(form.get("next", "")) or _root(request.scope)
        token = await anyio.to_thread.run_sync(credentials.token, form.get("token", "").strip())
        if token is None:
            return login_page(request.scope, target, 401, UNKNOWN)
        answer = RedirectResponse(target, 303)
        door.log_in(request.scope, answer, token)
        return answer

    async def log_out(request: Request) -> Response:
        answer = RedirectResponse(f"{request.scope.get('root_path', '')}/login", 303)
        for name in request.cookies:
            if name.startswith(credentials.cookie_name):
                answer.delete_cookie(name, path=_cookie_path(request.scope))
        return answer

    return [
        Route("/login", show, methods=["GET"]),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
    ]


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing is behind a door that only sets cookies."""


async def limited_body(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: 413 for one of more than `most` bytes; the rest is not read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"The body is longer than {most:,} bytes.")
    return bytes(body)


def login_page(scope: Scope, target: str, status: int, why: str | None = None) -> Response:
    """Asks for a token, and leads to `target` afterwards."""
    text = _templates().get_template("login.html").render(target=target, why=why, root=_root(scope))
    return HTMLResponse(text, status, _CHALLENGE if status == 401 else None)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _cookies(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in headers.getlist("cookie"):
        for part in line[:16384].split(";"):
            name, _, value = part.strip().partition("=")
            found.setdefault(name, value.strip('"'))
    return found


def _root(scope: Scope) -> str:
    return f"{scope.get('root_path', '')}/"


def _cookie_path(scope: Scope) -> str:
    return scope.get("root_path") or "/"


def _local(target: str) -> str | None:
    """A path on this page; None for what leads elsewhere."""
    return target if re.fullmatch(r"/(?![/\\])[!-\[\]-~]{0,8192}", target) else None


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def _without(scope: Scope) -> Scope:
    """The request without what opened the door; the rest of its query stays as it was written."""
    parts = scope["query_string"].split(b"&")
    kept = [part for part in parts if unquote_plus(part.partition(b"=")[0].decode("latin-1")) not in _OPENING]
    return {**scope, "query_string": b"&".join(kept)}


def _here(scope: Scope) -> str:
    """The address that was asked for, without what opened the door. It can lead nowhere else."""
    path = "/" + quote(scope["path"].lstrip("/\\"), safe="/")
    kept = quote(_without(scope)["query_string"].decode("latin-1"), safe="%&=+-._~/:@!$'()*,;?", encoding="latin-1")
    return f"{path}?{kept}" if kept else path
