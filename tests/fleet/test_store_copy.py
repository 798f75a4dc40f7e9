"""`store init` and `store copy` on a real cluster: afterwards the commands say what they said of the directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.faces.place import sampled
from tests.fleet.cluster import Cluster
from tests.helpers import run


def told(*arguments: str | Path) -> Any:
    """What a command says as JSON, but for the moment up to which all is read."""
    return without_moment(json.loads(run(*arguments, "--json")[0]))


def without_moment(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_moment(one) for name, one in value.items() if name != "as_of"}
    return [without_moment(one) for one in value] if isinstance(value, list) else value


def configured(folder: Path, cluster: Cluster) -> Path:
    """A configuration that names a database of its own on the cluster."""
    file = folder / "fleet.toml"
    file.write_text(f'store = "{cluster.url(f"test_{uuid4().hex}")}"\n')
    return file


def test_a_directory_moves_to_the_cluster_and_the_commands_say_the_same_of_it(cluster: Cluster, tmp_path: Path) -> None:
    place = sampled(tmp_path)
    run("ingest", "--once", *place.arguments())
    here = ("--data-dir", place.data)
    sessions = [record["session_id"] for record in told("list", *here)["sessions"]][:4]
    assert sessions
    questions: list[tuple[str | Path, ...]] = [
        ("list", *here),
        ("stats-model", *here),
        ("stats-date", *here),
        *(("show", session, *here) for session in sessions),
    ]
    before = [told(*question) for question in questions]

    fleet = ("--config", configured(tmp_path, cluster))
    out, _ = run("store", "init", *fleet)
    assert "round" in out
    out, _ = run("store", "copy", *here, *fleet)
    rounds = place.expected.total.rounds
    assert f"{rounds:,} rounds of" in out
    assert f"{rounds:,} of them new" in out
    assert [told(*question, *fleet) for question in questions] == before
    # Again, and as often as one likes.
    out, _ = run("store", "copy", *here, *fleet)
    assert ", 0 of them new" in out
    assert [told(*question, *fleet) for question in questions] == before


def test_a_directory_without_a_store_and_a_store_without_tables_say_the_way_out(
    cluster: Cluster, tmp_path: Path
) -> None:
    fleet = ("--config", configured(tmp_path, cluster))
    _, error = run("store", "copy", "--data-dir", tmp_path / "nothing", *fleet, code=3)
    assert "--data-dir" in error
    place = sampled(tmp_path)
    run("ingest", "--once", *place.arguments())
    _, error = run("store", "copy", "--data-dir", place.data, *fleet, code=1)
    assert "store init" in error
    assert "Traceback" not in error
