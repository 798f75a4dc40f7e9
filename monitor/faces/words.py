"""What faces say to people, in English and Chinese: the English text is its own key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Words:
    """Texts in one language."""

    def __init__(self, language: Language = "en") -> None:
        self.language = language

    def __call__(self, text: str, **values: object) -> str:
        """`text` in this language with `values` put in; a text without a translation stays English."""
        if self.language == "zh":
            text = CHINESE.get(text, text)
        return text.format(**values) if values else text


def language_of(environment: Mapping[str, str]) -> Language:
    """The language that the environment asks for: SESSION_MONITOR_LANG, else what the locale says."""
    for name in ("SESSION_MONITOR_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


CHINESE: dict[str, str] = {}
