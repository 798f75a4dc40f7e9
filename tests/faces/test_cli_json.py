"""What is printed as JSON is what its published schema says."""

from __future__ import annotations

import json
import re
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator

from monitor.faces.cli.main import cli
from monitor.faces.schemas import NAMES, schema
from tests.faces.place import Place, sampled
from tests.helpers import run
from tests.openclaw import CORPUS

PRINTED = {
    "list": ("list", "--limit", "100"),
    "show": ("show", "agent:main:main"),
    "stats-model": ("stats-model",),
    "stats-date": ("stats-date", "--bucket", "hour"),
    "stats-by": ("stats-by", "session"),
    "overview": ("overview",),
    "compare": ("compare", "agent:main:main"),
    "anomalies": ("anomalies", "--days", "31"),
    "reconcile": ("reconcile", "--days", "30"),
    "backfill": ("backfill", "--from", str(CORPUS / "2026.7.1" / ".openclaw"), "--days", "366"),
    "watch": ("watch", "--count", "1", "--budget", "1000"),
    "export": ("export", "-", "--days", "3000"),
    "url": ("url", "agent:main:main"),
    "doctor": ("doctor",),
    "budget": ("budget",),
    "prune": ("prune", "--older-than", "1"),
    "prune-session": ("prune", "--session", "agent:main:main"),
    "archive": ("archive", "--to", "segments-that-are-not-written"),
    "prices": ("prices",),
    "prices-model": ("prices", "gpt-4o"),
    "prices-missing": ("prices", "missing"),
    "prices-apply": ("prices", "apply"),
    "prices-update": ("prices", "update", "--remove"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A log that has been read; nothing here changes it."""
    made = sampled(tmp_path_factory.mktemp("read"))
    run("ingest", "--once", *made.arguments())
    return made


def printed(place: Place, *words: str) -> Any:
    more = () if words[0] == "export" else ("--json",)
    return json.loads(run(*words, *place.arguments(*more))[0])


def test_every_schema_has_an_answer_that_it_is_held_against() -> None:
    assert PRINTED.keys() == set(NAMES)


def test_every_answer_of_a_command_has_a_schema() -> None:
    """Receipts of what was changed, and states of the machine, are no answers about the figures."""
    with click.Context(cli) as context:
        commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    printing = {name for name, c in commands.items() if c and any("--json" in p.opts for p in c.params)}
    assert printing - {"record", "reset"} <= set(NAMES)


@pytest.mark.parametrize("name", PRINTED)
def test_json_is_what_the_schema_says(place: Place, name: str) -> None:
    published = schema(name)
    assert re.fullmatch(rf"urn:agent-session-monitor:{name}:\d+", published["$id"])
    Draft202012Validator.check_schema(published)
    checked = Draft202012Validator(published)
    answer = printed(place, *PRINTED[name])
    assert list(checked.iter_errors(answer)) == []
    # A schema that takes anything would say nothing.
    assert list(checked.iter_errors({**answer, "surprise": 1}))


@pytest.mark.parametrize("words", [("--no-content",), ("--rounds", "2"), ("--messages", "new")])
def test_parts_of_a_document_are_what_the_schema_says(place: Place, words: tuple[str, ...]) -> None:
    document = printed(place, "show", "agent:main:main", *words)
    assert list(Draft202012Validator(schema("show")).iter_errors(document)) == []


def test_without_a_name_the_schemas_are_listed() -> None:
    assert run("schema")[0].split() == list(NAMES)
    assert json.loads(run("schema", "list")[0]) == schema("list")
    run("schema", "nothing", code=2)
