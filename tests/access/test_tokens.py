"""Tokens: made once, kept as hashes, taken back, and over at their time."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monitor.access.tokens import FILE_NAME, Tokens
from monitor.config import ConfigError


def test_a_token_is_found_again_by_another_process_and_nowhere_written_down(tmp_path: Path) -> None:
    token, secret = Tokens(tmp_path).create(scope=["agent:main:*"], content=True, note="for a friend")
    found = Tokens(tmp_path).find(secret)
    assert found == token
    assert found.scope == ("agent:main:*",)
    for path in tmp_path.iterdir():
        assert secret.encode() not in path.read_bytes()
    assert hashlib.sha256(secret.encode()).hexdigest() in (tmp_path / FILE_NAME).read_text()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    Tokens(folder).create()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert {path.name for path in folder.iterdir()} == {FILE_NAME, "tokens.lock"}


def test_no_two_tokens_are_alike_and_each_is_long(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    secrets = {tokens.create()[1] for _ in range(20)}
    assert len(secrets) == 20
    # 256 random bits are 43 characters of base64.
    assert all(len(secret.removeprefix("asm_")) == 43 for secret in secrets)


@pytest.mark.parametrize("secret", ["", "x", "asm_", "\udcff", "a" * 100_000])
def test_what_was_never_made_opens_nothing(tmp_path: Path, secret: str) -> None:
    tokens = Tokens(tmp_path)
    assert tokens.find(secret) is None
    tokens.create()
    assert tokens.find(secret) is None


def test_a_revoked_token_opens_nothing_in_a_process_that_knew_it(tmp_path: Path) -> None:
    serving = Tokens(tmp_path)
    token, secret = serving.create()
    other, other_secret = serving.create()
    assert serving.find(secret) == token
    assert Tokens(tmp_path).revoke(token.id) is True
    assert serving.find(secret) is None
    assert serving.find(other_secret) == other
    assert Tokens(tmp_path).revoke(token.id) is False


def test_a_token_is_over_at_its_time(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    token, secret = tokens.create(lasts_s=0)
    assert tokens.find(secret) is None
    assert tokens.usable() == []
    assert tokens.all() == (token,)
    later, _ = tokens.create(lasts_s=3600)
    assert later.expires_at is not None
    assert not later.expired(later.expires_at - 1)
    assert later.expired(later.expires_at)


def test_tokens_that_are_made_at_once_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = [made[1] for made in pool.map(lambda _: Tokens(tmp_path).create(), range(16))]
    tokens = Tokens(tmp_path)
    assert len(tokens.all()) == 16
    assert all(tokens.find(secret) is not None for secret in secrets)


@pytest.mark.parametrize("text", ["", "[]", '{"tokens": [{"id": 3}]}', '{"more": 1}', "\x00"])
def test_a_damaged_file_lets_nobody_in_and_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match=FILE_NAME):
        Tokens(tmp_path).find("x")
    assert (tmp_path / FILE_NAME).read_text() == text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises((ConfigError, OSError), match="file"):
        Tokens(blocked).create()


def test_the_file_reads_as_what_is_known_of_each_token(tmp_path: Path) -> None:
    token, _ = Tokens(tmp_path).create(scope=["a*", "b"], lasts_s=60)
    [row] = json.loads((tmp_path / FILE_NAME).read_text())["tokens"]
    assert row["id"] == token.id
    assert row["scope"] == ["a*", "b"]
    assert row["expires_at"] - row["created_at"] == 60
    assert os.listdir(tmp_path).count(FILE_NAME) == 1
