"""Every text that a face says has its Chinese, with the same values in it, and no text is there for nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.faces.words import CHINESE, Words, language_of

FACES = Path(__file__).parents[2] / "monitor" / "faces"
_IN_TEMPLATE = re.compile(r'say\("([^"]+)"')
_VALUE = re.compile(r"\{(\w+)[^}]*\}")


def said() -> Iterator[str]:
    """The texts in calls of `say`, and the heads of columns."""
    for path in FACES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else None
            argument = node.args[1] if name == "Column" and len(node.args) > 1 else node.args[0]
            if name in ("say", "Column") and isinstance(argument, ast.Constant):
                yield str(argument.value)
    for path in FACES.rglob("*.html"):
        yield from _IN_TEMPLATE.findall(path.read_text("utf-8"))


def test_every_text_has_its_chinese() -> None:
    assert sorted(set(said()) - CHINESE.keys()) == []


def test_no_chinese_is_there_for_nothing() -> None:
    # Some words are the names of what can be counted by, and of how two sources can differ.
    answers = FACES.parent / "answers"
    modules = [*FACES.rglob("*.py"), answers / "groups.py", *(answers / "reconcile").glob("*.py")]
    written = "\n".join(path.read_text("utf-8") for path in modules if path.name != "words.py")
    written += "\n".join(path.read_text("utf-8") for path in FACES.rglob("*.html"))
    assert [text for text in CHINESE if f'"{text}"' not in written and f"'{text}'" not in written] == []


@pytest.mark.parametrize("text", CHINESE)
def test_a_translation_takes_the_same_values(text: str) -> None:
    assert sorted(_VALUE.findall(text)) == sorted(_VALUE.findall(CHINESE[text]))


def test_the_environment_tells_the_language() -> None:
    assert language_of({}) == "en"
    assert language_of({"LANG": "zh_CN.UTF-8"}) == "zh"
    assert language_of({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}) == "en"
    assert language_of({"SESSION_MONITOR_LANG": "zh", "LC_ALL": "de_DE.UTF-8"}) == "zh"


def test_a_text_without_a_translation_stays_english() -> None:
    assert Words("zh")("{n} widgets", n=3) == "3 widgets"
