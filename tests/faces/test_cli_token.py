"""`token`: made and printed once, listed without secrets, taken back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from monitor.access.tokens import Tokens
from tests.helpers import run


def test_a_token_is_printed_once_and_alone_on_standard_output(tmp_path: Path) -> None:
    out, errors = run("token", "create", "--data-dir", tmp_path, "--note", "for \x1b[2J me")
    secret = out.strip()
    found = Tokens(tmp_path).find(secret)
    assert found is not None
    assert found.scope is None
    assert found.id in errors
    assert "everything" in errors
    assert secret not in errors
    listed, _ = run("token", "list", "--data-dir", tmp_path)
    assert found.id in listed
    assert secret not in listed
    assert "\x1b" not in listed


def test_a_scoped_token_ends_at_its_time(tmp_path: Path) -> None:
    made = json.loads(
        run(
            "token", "create", "--data-dir", tmp_path, "--scope", "agent:main:*", "--scope", "b", "--content",
            "--expires", "2w", "--json",
        )[0]
    )  # fmt: skip
    found = Tokens(tmp_path).find(made["token"])
    assert found is not None
    assert (found.scope, found.content) == (("agent:main:*", "b"), True)
    assert found.expires_at is not None
    assert found.expires_at - found.created_at == 14 * 86400
    [row] = json.loads(run("token", "list", "--data-dir", tmp_path, "--json")[0])["tokens"]
    assert row == {name: value for name, value in made.items() if name != "token"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["expires_at"])


def test_a_token_is_taken_back_by_its_id(tmp_path: Path) -> None:
    secret = run("token", "create", "--data-dir", tmp_path)[0].strip()
    token = Tokens(tmp_path).find(secret)
    assert token is not None
    run("token", "revoke", token.id, "--data-dir", tmp_path)
    assert Tokens(tmp_path).find(secret) is None
    _, errors = run("token", "revoke", token.id, "--data-dir", tmp_path, code=3)
    assert "token list" in errors


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (("--content",), "--scope"),
        (("--scope", ""), "--scope"),
        (("--expires", "soon"), "30d"),
        (("--expires", "0d"), "30d"),
        (("--expires", "-1d"), "30d"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: tuple[str, ...], hint: str) -> None:
    _, errors = run("token", "create", "--data-dir", tmp_path, *options, code=2)
    assert hint in errors
    assert not (tmp_path / "tokens.json").exists()


def test_a_damaged_file_of_tokens_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{")
    for command in (("list",), ("create",), ("revoke", "x")):
        _, errors = run("token", *command, "--data-dir", tmp_path, code=2)
        assert "tokens.json" in errors
        assert "Traceback" not in errors
