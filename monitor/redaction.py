"""Secrets in what was said are masked before anything is kept: ``privacy.content = "redacted"``.

The table knows the published forms of keys and tokens, and what stands where a password stands. Texts are JSON as
they were logged, at any depth of escaping, so a pattern never takes a quote, a backslash or a part of an escape:
what was valid JSON stays so. What is masked does not match again, so masking twice is masking once; the same text
becomes the same text, so that beginnings of conversations are recognised as before.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

import msgspec

from monitor.rounds import Conversation, Position, Round

#: Positions of conversations whose masked counterpart is remembered: two a round.
_REMEMBERED = 50_000
#: Secrets that follow each other with nothing in between.
_ADJOINING = 8

#: Where a secret may begin: not inside a word, and not behind a backslash, whose escape it would tear. A letter that
#: belongs to an escape (the n of a line feed) is no word.
_EDGE = r"(?:(?<![A-Za-z0-9_\\-])|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"
#: A line feed at any depth of escaping, or as it is.
_BREAK = r"(?:\\+[nr]|[\r\n])"
#: A word that begins somewhere before the place where one looks.
_VALUE = r"(?P<s>(?!\[masked:)(?=[^\s\"'\\,;{}()<>]{0,200}[0-9])[^\s\"'\\,;{}()<>]{8,200})"
#: Where the name of a value is quoted the value must be, or it might be a number of the JSON around it.
_IS = r"[A-Za-z0-9_]{0,20}(?:\\*[\"']\s{0,4}[:=]\s{0,4}\\*[\"']|\s{0,4}[:=]\s{0,4}(?:\\*[\"'])?)"


def _token(kind: str, pattern: str, *anchors: str) -> tuple[str, tuple[str, ...], str]:
    """A token that begins with one of `anchors`, which `pattern` begins with."""
    return kind, anchors, _EDGE + pattern


def _named(*names: str) -> tuple[str, tuple[str, ...], str]:
    """A value that stands behind a name with one of these parts in it."""
    return "password", names, rf"(?:{'|'.join(names)}){_IS}{_VALUE}"


#: Kind, texts at which it is looked for, and the pattern that must match there; its group ``s``, where there is one,
#: is the secret. Sources: the vendors' documentation of their keys as of 2026; RFC 6750 (bearer), RFC 7519 (JWT),
#: RFC 7468 (PEM), RFC 3986 3.2.1 (a password in a URL).
_RULES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "private-key",
        ("-----BEGIN ",),
        rf"-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
        rf"(?:(?:[A-Za-z0-9+/=:,. ]|-(?!----)|{_BREAK})*-----END [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
        rf"|(?:[A-Za-z0-9+/=]|{_BREAK})*)",
    ),
    # scheme://user:password@host
    ("url-password", ("://",), r"://[^\s/:@\"'\\?#]{0,200}:(?P<s>(?!\[masked:)[^\s/@\"'\\]{1,200})(?=@)"),
    (
        "bearer-token",
        ("earer ", "EARER ", "asic ", "ASIC "),
        r"(?:earer|EARER|asic|ASIC) (?P<s>[A-Za-z0-9._~+/-]{16,4096}=*)",
    ),
    _token("jwt", r"eyJ[A-Za-z0-9_-]{8,8192}\.eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{5,8192}", "eyJ"),
    # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek, Moonshot, DashScope and others that took the form.
    _token("api-key", r"sk-[A-Za-z0-9_-]{20,512}", "sk-"),
    # Groq, xAI, Perplexity, Hugging Face, Replicate.
    _token("api-key", r"(?:gsk_|xai-|pplx-)[A-Za-z0-9]{40,120}", "gsk_", "xai-", "pplx-"),
    _token("api-key", r"(?:hf|r8)_[A-Za-z0-9]{30,60}", "hf_", "r8_"),
    # Zhipu: id.secret
    ("api-key", (".",), r"(?<=(?=[0-9]{0,31}[a-f])[0-9a-f]{32})\.(?P<s>[A-Za-z0-9]{16})(?![A-Za-z0-9])"),
    _token("google-key", r"AIza[A-Za-z0-9_-]{35}", "AIza"),
    _token("google-key", r"(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{20,2048}", "ya29.", "GOCSPX-"),
    _token("aws-key", r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Z0-9])", "AKIA", "ASIA", "ABIA", "ACCA"),
    # Alibaba Cloud, Tencent Cloud.
    _token("cloud-key", r"(?:LTAI[A-Za-z0-9]{12,26}|AKID[A-Za-z0-9]{28,40})", "LTAI", "AKID"),
    _token("github-token", r"gh[pousr]_[A-Za-z0-9]{36,255}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _token("github-token", r"github_pat_[A-Za-z0-9_]{22,255}", "github_pat_"),
    _token("gitlab-token", r"gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{20,255}", "glpat-", "gldt-", "glrt-", "glptt-"),
    _token("slack-token", r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,255}", "xox", "xapp-"),
    ("webhook", ("hooks.slack.com/services/",), r"hooks\.slack\.com/services/(?P<s>[A-Za-z0-9_/-]{20,255})"),
    ("webhook", ("/api/webhooks/",), r"/api/webhooks/(?P<s>[A-Za-z0-9_/-]{20,255})"),
    ("telegram-token", (":AA",), r"(?<=[0-9]{8}):(?P<s>AA[A-Za-z0-9_-]{33})"),
    _token("stripe-key", r"[srp]k_(?:live|test)_[A-Za-z0-9]{10,255}", "sk_", "rk_", "pk_"),
    _token("stripe-key", r"whsec_[A-Za-z0-9]{20,255}", "whsec_"),
    _token("package-token", r"(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,1024})", "npm_", "pypi-"),
    _token("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}", "SG."),
    _token("digitalocean-token", r"do[por]_v1_[a-f0-9]{64}", "dop_v1_", "doo_v1_", "dor_v1_"),
    _named("assword", "ASSWORD", "asswd", "ASSWD"),
    _named("pwd", "PWD"),
    _named("ecret", "ECRET"),
    _named(
        "api_key", "apikey", "apiKey", "ApiKey", "API_KEY", "APIKEY", "api-key", "Api-Key", "access_key", "AccessKey"
    ),
    _named("accessKey", "ACCESS_KEY", "private_key", "privateKey", "PRIVATE_KEY"),
    _named("auth_token", "authToken", "AUTH_TOKEN", "access_token", "accessToken", "ACCESS_TOKEN", "refresh_token"),
)


class _Rule(msgspec.Struct, frozen=True):
    put: bytes
    anchors: tuple[bytes, ...]
    match: Callable[[bytes, int], re.Match[bytes] | None]
    group: int


def _compiled() -> tuple[_Rule, ...]:
    rules = []
    for kind, anchors, pattern in _RULES:
        compiled = re.compile(pattern.encode())
        group = compiled.groupindex.get("s", 0)
        rules.append(_Rule(f"[masked:{kind}]".encode(), tuple(a.encode() for a in anchors), compiled.match, group))
    return tuple(rules)


_TABLE = _compiled()


def mask(text: bytes) -> bytes:
    """The text with ``[masked:KIND]`` in the place of each secret."""
    # What is masked may have been in the way of something behind it; nobody writes more of them without a space.
    for _ in range(_ADJOINING):
        found = _secrets(text)
        masked = _without(text, found) if found else text
        if masked == text:
            break
        text = masked
    return text


def _without(text: bytes, found: list[tuple[int, int, bytes]]) -> bytes:
    found.sort()
    parts: list[bytes] = []
    end = 0
    for begin, behind, put in found:
        if begin >= end:
            parts += (text[end:begin], put)
        # What overlaps is masked together.
        end = max(end, behind)
    parts.append(text[end:])
    return b"".join(parts)


def _secrets(text: bytes) -> list[tuple[int, int, bytes]]:
    """Begin and end of each secret, and what is put there."""
    found = []
    for rule in _TABLE:
        for anchor in rule.anchors:
            at = text.find(anchor)
            while at >= 0:
                match = rule.match(text, at)
                if match is not None:
                    found.append((*match.span(rule.group), rule.put))
                at = text.find(anchor, at + len(anchor))
    return found


@lru_cache(maxsize=4096)
def mask_name(name: str) -> str:
    """A name that tells things apart, such as a session's: a secret in it stays one of its own."""
    text = name.encode("utf-8", "surrogatepass")
    masked = mask(text)
    if masked == text:
        return name
    digest = hashlib.blake2b(text, digest_size=4, person=b"masked name").hexdigest()
    return f"{masked.decode('utf-8', 'replace')}:{digest}"


class Redactor:
    """Masks rounds one by one. Only what is new in a round is looked at."""

    def __init__(self) -> None:
        self._known: OrderedDict[Position, Position] = OrderedDict()

    def round(self, r: Round) -> Round:
        """The round without secrets."""
        return msgspec.structs.replace(
            r,
            session_id=self._name(r.session_id),
            session_aliases=tuple(mask_name(alias) for alias in r.session_aliases),
            model=self._name(r.model),
            consumer=self._name(r.consumer),
            route=self._name(r.route),
            function=self._name(r.function),
            user_id=self._name(r.user_id),
            host=self._name(r.host),
            request_id=self._name(r.request_id),
            response_id=self._name(r.response_id),
            conversation=None if r.conversation is None else self._conversation(r.conversation),
            extra=_masked(r.extra),
        )

    def _name(self, name: str | None) -> str | None:
        return None if name is None else mask_name(name)

    def _conversation(self, c: Conversation) -> Conversation:
        system = _masked(c.system)
        base: Position | None = Position.start(system)
        messages = c.messages
        from_start = c.base
        if c.base.count:
            base = self._known.get(c.base)
            if base is None and c.whole is not None:
                # It was seen so long ago that it is forgotten here.
                messages, base, from_start = c.whole(), Position.start(system), Position.start(c.system)
        assert base is not None
        masked = tuple(map(mask, messages))
        end = base.after(masked)
        self._remember(c.end, end)
        if c.passing and len(messages) >= c.passing:
            stays = len(messages) - c.passing
            self._remember(from_start.after(messages[:stays]), base.after(masked[:stays]))
        return Conversation(
            messages=masked,
            end=end,
            base=base,
            whole=None if c.whole is None else _Whole(c.whole),
            system=system,
            truncated=_masked(c.truncated),
            question=_masked(c.question),
            answer=_masked(c.answer),
            reasoning=_masked(c.reasoning),
            tool_calls=_masked(c.tool_calls),
            passing=c.passing,
        )

    def _remember(self, logged: Position, kept: Position) -> None:
        self._known[logged] = kept
        self._known.move_to_end(logged)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


class _Whole:
    """All messages of a conversation, masked when somebody needs them."""

    def __init__(self, whole: Callable[[], tuple[bytes, ...]]) -> None:
        self._whole = whole

    def __call__(self) -> tuple[bytes, ...]:
        return tuple(map(mask, self._whole()))


def _masked(text: bytes | None) -> bytes | None:
    return None if text is None else mask(text)
