"""Where settings come from, and what is said when one can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.config import ConfigError, check_allowed, load


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def write(text: str, name: str = "session-monitor.toml") -> Path:
    path = Path(name).absolute()
    path.write_text(text)
    return path


def test_without_anything_the_data_lies_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load().data_dir == tmp_path / ".local/state/agent-session-monitor"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert load().data_dir == tmp_path / "state/agent-session-monitor"


def test_the_command_line_beats_the_environment_and_that_beats_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write('timezone = "Asia/Shanghai"\ndata_dir = "from-file"\n[privacy]\ncontent = "none"\n')
    assert load().zone == "Asia/Shanghai"
    monkeypatch.setenv("SESSION_MONITOR_TIMEZONE", "UTC")
    monkeypatch.setenv("SESSION_MONITOR_PRIVACY__CONTENT_SCOPE", '["agent:*"]')
    settings = load(data_dir=Path("given"))
    assert (settings.zone, settings.data_dir) == ("UTC", Path("given"))
    assert settings.privacy.content == "none"
    assert settings.privacy.content_scope == ["agent:*"]


def test_paths_in_a_file_are_meant_from_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    file = write('[[sources]]\npath = "access.log"\nmax_rotate = 5\n[prices]\noverlay = "p.toml"\n', "conf/m.toml")
    settings = load(file)
    assert settings.sources[0].path == tmp_path / "conf/access.log"
    assert settings.prices.overlays == [str(tmp_path / "conf/p.toml")]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[privacy]\ncontents = "none"\n', "privacy.contents: there is no such setting"),
        ('[privacy]\ncontent = "some"\n', "privacy.content"),
        ('timezone = "Mars/Olympus"\n', "IANA"),
        ('[web]\nbase_url = "spend.example.com"\n', "http://"),
        ('[[sources]]\nkind = "nginx"\npath = "x"\n', "sources.0.kind"),
        ("timezone = \n", "line 1"),
        ('[[budgets]]\nname = "a"\ntokens = 1000\nwarn_at = [80]\n', "0.8 is 80 %"),
    ],
)
def test_a_wrong_file_is_named_with_its_key_and_reason(text: str, hint: str) -> None:
    file = write(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert hint in str(caught.value)
    assert file.name in str(caught.value)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "gbk.toml"
    file.write_bytes("# 时区\n".encode("gbk"))
    with pytest.raises(ConfigError, match=f"{file}.*UTF-8"):
        load(file)


def test_a_misspelt_variable_is_not_silently_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_MONITOR_TIMEZNOE", "UTC")
    with pytest.raises(ConfigError, match="SESSION_MONITOR_TIMEZNOE"):
        load()


def test_a_configuration_that_is_named_must_be_there() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(Path("absent.toml"))


@pytest.mark.parametrize(
    ("allowed", "fine"), [([], True), (["{here}/*"], True), (["{here}/other/*"], False), (["/var/log/*"], False)]
)
def test_only_allowed_paths_are_read(tmp_path: Path, allowed: list[str], fine: bool) -> None:
    log = tmp_path / "access.log"
    log.touch()
    patterns = [pattern.format(here=tmp_path) for pattern in allowed]
    if fine:
        assert check_allowed(log, patterns) == log
    else:
        with pytest.raises(ConfigError, match="allowed_paths"):
            check_allowed(log, patterns)


def test_a_link_out_of_an_allowed_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "secret").write_text("x")
    link = tmp_path / "logs" / "access.log"
    link.symlink_to(tmp_path / "secret")
    arguments: Any = (link, [f"{tmp_path}/logs/*"])
    with pytest.raises(ConfigError, match="secret"):
        check_allowed(*arguments)
