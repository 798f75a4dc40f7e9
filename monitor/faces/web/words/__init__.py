"""The words of the pages: one small catalog a language, and which language a request gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from monitor.faces.web.words.en import WORDS as EN
from monitor.faces.web.words.zh import WORDS as ZH

#: By language tag, in the order in which they are offered.
LANGUAGES: Final[Mapping[str, Mapping[str, str]]] = {"en": EN, "zh": ZH}
DEFAULT: Final = "en"


def negotiated(accept: str) -> str:
    """The offered language that an ``Accept-Language`` header likes best."""
    best, weight = DEFAULT, 0.0
    for part in accept[:400].split(","):
        tag, _, given = part.partition(";")
        language = tag.strip().lower().split("-")[0]
        try:
            wish = float(given.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if language in LANGUAGES and wish > weight:
            best, weight = language, wish
    return best
