"""Each client's own configuration file: our entry goes in, and comes out as if it had never been there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from monitor.config import ConfigError
from monitor.setup import entry
from monitor.setup.clients import CLIENTS, Client
from monitor.setup.files import BACKUP, write
from monitor.setup.json_text import value_at
from monitor.setup.machine import OurCommand

FIXTURES = Path(__file__).parent / "fixtures"
COMMAND = OurCommand(
    ["/opt/session monitor/bin/session-monitor"], ["--log-path", "/var/log/proxy/access.log"], Path("/data"), []
)
URL = "http://127.0.0.1:8888/mcp"
every_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())


def fixture(client: Client, when: str) -> bytes:
    [path] = FIXTURES.glob(f"{client.name}.{when}.*")
    return path.read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def install(client: Client, file: Path, url: str | None = None) -> Path | None:
    return write(entry.added(client, file, client.entry(COMMAND, url)))


def uninstall(client: Client, file: Path) -> Path | None:
    return write(entry.removed(client, file))


@every_client
def test_the_entry_stands_in_the_users_file_as_by_the_users_hand(client: Client, file: Path) -> None:
    file.write_bytes(fixture(client, "before"))
    install(client, file)
    assert file.read_bytes() == fixture(client, "after")


@every_client
def test_taking_it_out_gives_back_every_byte_and_leaves_no_backup(client: Client, file: Path) -> None:
    file.write_bytes(fixture(client, "before"))
    saved = install(client, file)
    assert saved is not None
    assert saved.read_bytes() == fixture(client, "before")
    uninstall(client, file)
    assert file.read_bytes() == fixture(client, "before")
    assert os.listdir(file.parent) == [file.name]


@every_client
@pytest.mark.parametrize(
    "start", ["{}", "{\n}\n", "{ }", "", "\ufeff{}", '{"mcpServers": {}, "servers": {\n}, "mcp": {}}']
)
def test_objects_that_were_empty_are_as_they_were(client: Client, file: Path, start: str) -> None:
    file.write_bytes(start.encode())
    install(client, file)
    uninstall(client, file)
    assert file.read_bytes() == start.encode()


@every_client
def test_a_second_time_changes_nothing(client: Client, file: Path) -> None:
    file.write_bytes(fixture(client, "after"))
    stamp = file.stat().st_mtime_ns
    assert install(client, file) is None
    assert file.stat().st_mtime_ns == stamp
    assert os.listdir(file.parent) == [file.name]


@every_client
def test_a_file_that_was_not_there_is_not_there_afterwards(client: Client, file: Path) -> None:
    assert install(client, file) is None
    assert file.stat().st_mode & 0o777 == 0o600
    there = value_at(file.read_text(), client.path, client.dialect)
    assert there["args"] == ["serve", *client.options, "--log-path", "/var/log/proxy/access.log"]
    uninstall(client, file)
    assert os.listdir(file.parent) == []


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("openclaw", {"transport": "streamable-http", "url": URL}),
        ("claude-code", {"type": "http", "url": URL}),
        ("cursor", {"url": URL}),
        ("vscode", {"type": "http", "url": URL}),
    ],
)
def test_an_address_is_said_in_the_clients_words(name: str, wanted: dict[str, str], file: Path) -> None:
    client = CLIENTS[name]
    file.write_bytes(fixture(client, "after"))
    install(client, file, URL)
    assert value_at(file.read_text(), client.path, client.dialect) == wanted
    install(client, file)
    assert file.read_bytes() == fixture(client, "after")
    write(entry.removed(client, file))
    assert value_at(file.read_text(), client.path, client.dialect) is None


def test_claude_desktop_is_told_to_start_a_program_instead() -> None:
    with pytest.raises(ConfigError, match="leave --http out"):
        CLIENTS["claude-desktop"].entry(None, URL)


def test_what_the_user_added_to_our_entry_stays(file: Path) -> None:
    client = CLIENTS["openclaw"]
    file.write_text(
        "{mcp: {servers: {\n  'session-monitor': {\n    command: '/old', // moved\n    args: [],\n"
        "    env: {HOME: '/srv'},\n  },\n}}}"
    )
    install(client, file)
    assert "// moved" in file.read_text()
    assert value_at(file.read_text(), client.path, client.dialect) == {
        "command": "/opt/session monitor/bin/session-monitor",
        "args": ["serve", "--text-only", "--log-path", "/var/log/proxy/access.log"],
        "env": {"HOME": "/srv"},
    }
    install(client, file, URL)
    there = value_at(file.read_text(), client.path, client.dialect)
    assert there == {"env": {"HOME": "/srv"}, "transport": "streamable-http", "url": URL}


def test_changes_that_another_program_made_meanwhile_stay(file: Path) -> None:
    client = CLIENTS["claude-code"]
    file.write_bytes(fixture(client, "before"))
    install(client, file)
    seen = json.loads(file.read_text())
    seen["numStartups"] = 43
    file.write_text(json.dumps(seen, indent=2))
    saved = uninstall(client, file)
    assert saved is not None
    del seen["mcpServers"]
    assert file.read_text() == json.dumps(seen, indent=2)


def test_an_object_that_the_user_had_stays_even_when_it_is_empty_again(file: Path) -> None:
    client = CLIENTS["claude-code"]
    file.write_text('{"mcpServers": {}, "n": 1}')
    install(client, file)
    file.write_text(file.read_text().replace('"n": 1', '"n": 2'))
    uninstall(client, file)
    assert file.read_text() == '{"mcpServers": {}, "n": 2}'


def test_every_earlier_state_has_a_backup_of_its_own(file: Path) -> None:
    client = CLIENTS["openclaw"]
    file.write_bytes(fixture(client, "before"))
    file.chmod(0o640)
    saved = [install(client, file), install(client, file, URL), install(client, file), install(client, file, URL)]
    assert len(set(saved)) == 4
    assert saved[0] == file.with_name(file.name + BACKUP)
    assert all(path is not None and path.stat().st_mode & 0o777 == 0o640 for path in saved)
    assert file.stat().st_mode & 0o777 == 0o640
    uninstall(client, file)
    assert file.read_bytes() == fixture(client, "before")


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    client = CLIENTS["openclaw"]
    real = tmp_path / "dotfiles" / "openclaw.json"
    real.parent.mkdir()
    real.write_bytes(fixture(client, "before"))
    file.symlink_to("dotfiles/openclaw.json")
    install(client, file)
    assert file.is_symlink()
    assert real.read_bytes() == fixture(client, "after")
    uninstall(client, file)
    assert file.is_symlink()
    assert real.read_bytes() == fixture(client, "before")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{\n  "a": 1,\n}', r"config\.json:2:9: a comma before }.*Claude Code reads JSON\)"),
        (b'{"mcpServers": []}', r"config\.json:1:16: mcpServers should be an object"),
        (b'{"a":\n "\xff"}', r"config\.json:2:3: this is not UTF-8"),
        (b"[]", r"config\.json:1:1: the whole text should be an object"),
    ],
)
def test_a_broken_file_is_named_with_its_place_and_left_alone(file: Path, content: bytes, said: str) -> None:
    client = CLIENTS["claude-code"]
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        install(client, file)
    with pytest.raises(ConfigError):
        uninstall(client, file)
    assert file.read_bytes() == content
    assert os.listdir(file.parent) == [file.name]


def test_a_folder_in_the_files_place_is_named(file: Path) -> None:
    file.mkdir()
    with pytest.raises(ConfigError, match=r"config\.json: Is a directory"):
        install(CLIENTS["cursor"], file)


def test_a_file_that_changes_between_look_and_write_is_left_alone(file: Path) -> None:
    client = CLIENTS["cursor"]
    file.write_text("{}")
    change = entry.added(client, file, client.entry(COMMAND, None))
    file.write_text('{"theirs": 1}')
    with pytest.raises(ConfigError, match="meanwhile"):
        write(change)
    assert file.read_text() == '{"theirs": 1}'
    assert os.listdir(file.parent) == [file.name]


def test_a_path_that_a_client_would_expand_is_refused() -> None:
    command = OurCommand(["/opt/session-monitor"], ["--log-path", "/logs/${HOME}/a.log"], Path("/data"), [])
    with pytest.raises(ConfigError, match="OpenClaw would replace"):
        CLIENTS["openclaw"].entry(command, None)


def test_the_diff_is_one_that_patch_understands(file: Path) -> None:
    client = CLIENTS["claude-desktop"]
    file.write_bytes(fixture(client, "before"))
    lines = entry.added(client, file, client.entry(COMMAND, None)).diff.split("\n")
    assert lines[:2] == [f"--- {file}", f"+++ {file}"]
    assert [line for line in lines if line.startswith("-")][1:] == []
    assert lines[-2] == "\\ No newline at end of file"
    assert all(line.endswith("\r") for line in lines if line[:1] == "+" and line[1:2] == " ")
