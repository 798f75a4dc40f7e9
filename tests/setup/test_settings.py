"""Settings in somebody's file: found by id, made once, taken back only while they are still ours."""

from __future__ import annotations

from pathlib import Path

from monitor.setup import settings
from monitor.setup.json_syntax import Dialect
from monitor.setup.settings import Record, Setting, Step

TEXT = """{
  models: { providers: { higress: { models: [
    { id: "a", compat: { supportsTools: true } }, // kept
    { id: "b" },
    { id: "c", compat: { send: false } },
  ] } } },
}
"""


def path(model: str) -> list[Step]:
    return ["models", "providers", "higress", "models", {"id": model}, "compat", "send"]


def set_all(text: str) -> tuple[str, Record]:
    record = Record("affinity")
    for model in "abc":
        text, setting = settings.made(text, path(model), True, Dialect.JSON5)
        assert setting is not None
        record.settings.append(setting)
    return text, record


def test_a_setting_is_made_and_taken_back_to_the_byte() -> None:
    text, record = set_all(TEXT)
    assert '{ id: "a", compat: { supportsTools: true, send: true } }, // kept' in text
    assert '{ id: "b", compat: {send: true} }' in text
    assert '{ id: "c", compat: { send: true } }' in text
    undone = settings.undone(text, record, Dialect.JSON5)
    assert undone.text == TEXT
    assert undone.changed == []


def test_what_is_so_already_is_nobodys_setting() -> None:
    text, _ = set_all(TEXT)
    assert settings.made(text, path("a"), True, Dialect.JSON5) == (text, None)
    assert settings.made(text, path("d"), True, Dialect.JSON5) == (text, None)


def test_entries_that_moved_are_found_and_those_that_went_are_not_missed() -> None:
    text, record = set_all(TEXT)
    first, second = '    { id: "b", compat: {send: true} },\n', '    { id: "c", compat: { send: true } },\n'
    moved = text.replace(first, "").replace(second, second + '    { id: "d" },\n')
    assert settings.undone(moved, record, Dialect.JSON5).text == TEXT.replace('    { id: "b" },\n', "").replace(
        "send: false } },\n", 'send: false } },\n    { id: "d" },\n'
    )


def test_what_somebody_changed_since_stays_and_is_named() -> None:
    text, record = set_all(TEXT)
    changed = text.replace('{ id: "b", compat: {send: true} }', '{ id: "b", compat: {send: false} }')
    undone = settings.undone(changed, record, Dialect.JSON5)
    assert undone.text == TEXT.replace('{ id: "b" }', '{ id: "b", compat: {send: false} }')
    assert [settings.told(setting.path) for setting in undone.changed] == [
        "models.providers.higress.models[b].compat.send"
    ]


def test_an_object_that_is_none_any_more_is_left_alone() -> None:
    text, record = set_all(TEXT)
    broken = text.replace("compat: {send: true}", "compat: null")
    assert settings.undone(broken, record, Dialect.JSON5).text == TEXT.replace('"b" }', '"b", compat: null }')


def test_repeating_it_on_the_text_from_before_gives_the_same_text() -> None:
    text, record = set_all(TEXT)
    assert settings.again(TEXT, record, Dialect.JSON5) == text


def test_an_item_of_a_list_goes_and_the_others_stay() -> None:
    text, setting = settings.added('{allow: ["a"]}', ["allow"], "ours", Dialect.JSON5)
    assert setting is not None
    assert settings.added(text, ["allow"], "ours", Dialect.JSON5) == (text, None)
    since = text.replace('"ours"]', '"ours", "b"]')
    assert settings.undone(since, Record("plugin", [setting]), Dialect.JSON5).text == '{allow: ["a", "b"]}'


def test_a_record_survives_its_file_and_a_broken_one_is_none(tmp_path: Path) -> None:
    _, record = set_all(TEXT)
    file = tmp_path / "record"
    assert settings.recorded(file) is None
    file.write_bytes(settings.written(record))
    assert settings.recorded(file) == record
    file.write_text('{"way": "affinity", "settings": [{"path": 3}]}')
    assert settings.recorded(file) is None
    assert settings.written(Record("x", [Setting(["a"], 1, 0)])).endswith(b"}\n")
