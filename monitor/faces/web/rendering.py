"""Templates with the words of the viewer's language, links that keep a path prefix, and figures as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
import xxhash
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from monitor import __version__
from monitor.answers.base import NO_MODEL, Asking
from monitor.faces.web import conversation, figures
from monitor.faces.web.words import LANGUAGES, negotiated

_HERE = Path(__file__).parent
_COOKIE = "lang"
_YEAR_S = 31_536_000


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=figures.number,
        compact=figures.compact,
        money=figures.money,
        rate=figures.rate,
        share=figures.share,
        change=figures.change,
        duration=figures.duration,
        size=figures.size,
        text=figures.text,
        text_only=lambda value: figures.text(value).striptags(),
        key=lambda value: xxhash.xxh3_64_hexdigest(str(value).encode("utf-8", "surrogatepass")),
        tojson_text=lambda value: json.dumps(value, ensure_ascii=False),
    )
    environment.globals.update(
        version=__version__,
        no_model=NO_MODEL,
        folded_chars=conversation.FOLDED_CHARS,
        most_chars=conversation.MOST_CHARS,
        most_blocks=conversation.MOST_BLOCKS,
        system=conversation.system,
        preview=conversation.preview,
    )
    return environment


class Pages:
    """Turns answers into pages."""

    def __init__(self) -> None:
        self._templates = _environment()

    def page(
        self, request: Request, name: str, ask: Asking | None, *, status: int = 200, **values: object
    ) -> HTMLResponse:
        """The template `name` with `values`, in the language that the request asks for."""
        language = language_of(request)

        def t(key: str, **given: object) -> Markup:
            # A key that is not there is a fault of ours, and the tests look for all of them.
            return Markup(LANGUAGES[language][key]).format(**given)  # noqa: S704 - our own words

        def when(time: str | None, *, day: bool = False) -> Markup:
            assert ask is not None, "only answers have times"
            return figures.moment(time, ask.zone, day=day)

        html = self._templates.get_template(name).render(
            t=t,
            has_words=LANGUAGES[language].__contains__,
            when=when,
            link=lambda path, **query: link(request, path, **query),
            static=lambda name: link(request, f"/static/{name}", v=_static_version()),
            here=lambda **query: here(request, **query),
            language=language,
            languages=tuple(LANGUAGES),
            ask=ask,
            path=_path(request),
            **values,
        )
        response = HTMLResponse(html, status_code=status, headers={"vary": "accept-language, cookie"})
        if request.query_params.get(_COOKIE) in LANGUAGES:
            response.set_cookie(
                _COOKIE, language, max_age=_YEAR_S, path=_prefix(request) + "/", samesite="strict", httponly=True
            )
        return response


@cache
def _static_version() -> str:
    """Names what is in our files, so that a browser may keep them for as long as they are the same."""
    digest = xxhash.xxh3_64()
    for path in sorted((_HERE / "static").rglob("*")):
        if path.suffix in (".css", ".js", ".svg"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def language_of(request: Request) -> str:
    """The language that was picked, now or before, else the one that the browser likes."""
    for picked in (request.query_params.get(_COOKIE), request.cookies.get(_COOKIE)):
        if picked in LANGUAGES:
            assert picked is not None
            return picked
    return negotiated(request.headers.get("accept-language", ""))


def _prefix(request: Request) -> str:
    """The path under which a reverse proxy shows us, without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _path(request: Request) -> str:
    """The path of this page without that prefix, whether the proxy passed it on or not."""
    prefix, path = _prefix(request), str(request.scope["path"])
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def link(request: Request, path: str, **query: object) -> str:
    """An address of ours; what is None is left out of the query."""
    return _prefix(request) + path + _query(query)


def here(request: Request, **query: object) -> str:
    """The address of this page with some of its query changed; None takes a part away."""
    kept = {name: value for name, value in request.query_params.items() if name not in query and name != _COOKIE}
    return link(request, _path(request), **{**kept, **query})


def _query(query: Mapping[str, Any]) -> str:
    given = {name: str(value) for name, value in query.items() if value is not None and value != ""}
    return f"?{urlencode(given, quote_via=quote, safe='')}" if given else ""
