"""A model's name as a gateway logs it, and the names under which a price list may know it."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import msgspec

from monitor.prices import providers

#: How a name was found in a list, from the surest to the boldest.
#:
#: - ``exact``: as it was logged.
#: - ``alias``: an alias of the user's names it.
#: - ``normalised``: other case, quotes or spaces; a host's prefix, `@` or dots written differently.
#: - ``revision_dropped``: without Bedrock's region, vendor and revision (``us.anthropic.…-v1:0``).
#: - ``latest_dropped``: without ``-latest``.
#: - ``date_stripped``: without the date of a snapshot, which may have had a price of its own.
Rule = Literal["exact", "alias", "normalised", "revision_dropped", "latest_dropped", "date_stripped"]

#: Longer texts are not names. Clients choose them, so they must not fill a cache.
MAX_NAME = 256

_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_DATE = re.compile(f"-(?:20[0-9]{{2}}-{_MONTH}-{_DAY}|20[0-9]{{2}}{_MONTH}{_DAY}|2[0-9]{_MONTH}{_DAY}|{_MONTH}{_DAY})$")
_BEDROCK = re.compile(
    r"^(?:(?:us|us-gov|eu|ap|apac|jp|au|ca|in|sa|global)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|nvidia|openai|qwen|writer|zai)\."
)
_REVISION = re.compile(r"-v[0-9]+(?::[0-9]+)?$")
_CONTEXT_MARK = re.compile(r"\[[0-9]+[km]\]$")
_SPLIT = re.compile(r"[-._/:@]+")

#: What a logged name may hold beyond the name in the list and still be the same model. Everything
#: else (distill, embed, rerank, audio, image, tts, realtime, vl, coder, ft, a size, a version) is
#: another model, so what is not listed here is refused.
_DECORATION = re.compile(
    r"(?:-(?:20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6}|[0-9]{2}-20[0-9]{2}|[0-9]{2}-[0-9]{2}|[0-9]{4}|[0-9]{6}|00[0-9]"
    r"|v[0-9]+(?:-[0-9])?|preview|exp|experimental|latest|beta|default"
    r"|us|eu|ap|apac|jp|au|global|anthropic|amazon|meta|mistral))*"
)


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One name to look for, and the rule that led to it."""

    name: str
    rule: Rule


class Name(msgspec.Struct, frozen=True, gc=False):
    """A logged name, taken apart."""

    #: Provider or family that a prefix names (``azure/…``), or that the form gives away (Bedrock).
    host: str | None
    #: Whoever made the model, where the prefix says no more than that (``Qwen/…``): no price follows.
    author: str | None
    #: Names to look for, surest first. None of them is a part of the logged name cut out of its middle.
    candidates: tuple[Candidate, ...]


def clean(text: str) -> str:
    """The form in which names are compared: NFKC, lower case, no quotes, ``-`` for spaces."""
    folded = unicodedata.normalize("NFKC", text).strip().strip("\"'`“”‘’").strip()
    return "-".join(folded.lower().split())


def parse(model: str) -> Name:
    """Take a logged model name apart. Any text will do; what is no name has no match anywhere."""
    whole = clean(model)
    host, author, rest = _split_prefix(whole)
    found: dict[str, Rule] = {}

    def add(name: str, rule: Rule) -> None:
        if name:
            found.setdefault(name, rule)

    add(whole, "exact" if whole == model else "normalised")
    add(rest, "normalised")
    if author is not None:
        add(whole.rpartition("/")[2], "normalised")
    for name in list(found):
        add(_CONTEXT_MARK.sub("", name), "normalised")
        at, _, version = name.partition("@")
        if version:
            add(at if version in ("default", "latest") else f"{at}-{version}", "normalised")
    for name in list(found):
        if "claude" in name:
            add(re.sub(r"(?<=[0-9])\.(?=[0-9])", "-", name), "normalised")
    if host == "aws":
        for name in list(found):
            add(_REVISION.sub("", name), "revision_dropped")
            add(_REVISION.sub("", _BEDROCK.sub("", name)), "revision_dropped")
    for name in list(found):
        add(name.removesuffix("-latest"), "latest_dropped")
    # Last, because a dated snapshot may have its own price.
    for name in list(found):
        add(_DATE.sub("", name), "date_stripped")
    return Name(host, author, tuple(Candidate(name, rule) for name, rule in found.items()))


def _split_prefix(whole: str) -> tuple[str | None, str | None, str]:
    """Host, author and the name without what named the host."""
    if whole.startswith("accounts/fireworks/"):
        return "fireworks", None, whole
    prefix, slash, rest = whole.partition("/")
    if not slash:
        return ("aws" if _BEDROCK.match(whole) else None), None, whole
    host = providers.of_prefix(prefix, rest)
    if host is None:
        return None, prefix, whole
    return host, None, rest


def dated(name: str) -> bool:
    """Whether `name` ends with the date of a snapshot."""
    return _DATE.search(name.replace("@", "-")) is not None


def same_model(name: str, listed: str) -> bool:
    """Whether `name` is `listed` with nothing but decoration: a date, a revision, a region, ``preview``.

    >>> same_model("gemini-2.5-pro-preview-06-05", "gemini-2.5-pro")
    True
    >>> same_model("deepseek-r1-distill-qwen-32b", "deepseek-r1")
    False
    """
    rest = iter(_SPLIT.split(listed.lower().strip("-._/:@")))
    wanted = next(rest, None)
    extra = []
    for token in _SPLIT.split(name.lower().strip("-._/:@")):
        if token == wanted:
            wanted = next(rest, None)
        else:
            extra.append(token)
    return wanted is None and _DECORATION.fullmatch("".join(f"-{token}" for token in extra)) is not None
