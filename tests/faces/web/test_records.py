"""Programs send usage records and get reports over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from monitor.runtime import OWN_RECORDS
from tests.faces.place import Place
from tests.faces.web.served import Served, daemon, sample, wait_until_read
from tests.helpers import run, wait_for

RECORD = {
    "model": "qwen-plus",
    "function": "live_analysis",
    "input_tokens": 1000,
    "output_tokens": 500,
    "duration_ms": 1234.5,
    "user_id": "user_123",
    "session_id": "session_abc",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return sample(tmp_path_factory.mktemp("records"), limit=50)


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Served]:
    with daemon(place) as found:
        wait_until_read(found, place)
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    with served.client() as found:
        yield found


def written(place: Place) -> list[dict[str, Any]]:
    found = []
    for path in sorted((place.data / OWN_RECORDS).glob("*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return found


def test_a_record_is_written_down_and_counted_once(client: httpx2.Client, place: Place) -> None:
    before = client.get("/api/usage/stats/daily").json()["total_calls"]
    answer = client.post("/api/usage/records", json=RECORD)
    assert answer.status_code == 201
    assert answer.json()["written"] == 1
    [record] = [record for record in written(place) if record["id"] in answer.json()["ids"]]
    assert record.items() >= RECORD.items()
    # The usage list has CNY 0.004 and 0.012 per 1,000 tokens: 1000 * 0.004 / 1000 + 500 * 0.012 / 1000.
    assert (record["cost"], record["currency"]) == (0.01, "CNY")
    wait_for("it is counted", lambda: client.get("/api/usage/stats/daily").json()["total_calls"] == before + 1)
    again = client.post("/api/ai_usage/records", json={**RECORD, "id": record["id"], "timestamp": record["timestamp"]})
    assert again.status_code == 201
    session = client.get("/api/session", params={"id": "session_abc"}).json()
    assert session["messages_count"] == 1
    assert session["total_tokens"] == 1500
    assert [row["function"] for row in client.get("/api/usage/stats/daily").json()["by_function"]] == ["live_analysis"]


def test_many_records_come_as_a_list_or_as_lines(client: httpx2.Client, place: Place) -> None:
    rows = [{**RECORD, "id": f"many-{n}", "timestamp": time.time(), "session_id": "many"} for n in range(30)]
    assert client.post("/api/usage/records", json=rows[:15]).json()["written"] == 15
    lines = "\n".join(json.dumps(row) for row in rows[15:]) + "\n\n"
    kind = {"content-type": "application/x-ndjson; charset=utf-8"}
    assert client.post("/api/usage/records", content=lines.encode(), headers=kind).json()["written"] == 15
    assert {f"many-{n}" for n in range(30)} <= {record["id"] for record in written(place)}
    wait_for(
        "all are counted",
        lambda: client.get("/api/session", params={"id": "many"}).json().get("messages_count") == 30,
    )


@pytest.mark.parametrize(
    ("body", "kind", "status", "hint"),
    [
        (b"{", "application/json", 400, "The body is no JSON"),
        (b'{"model": NaN}', "application/json", 400, "no JSON"),
        (b'{"model": "m"}\n{', "application/x-ndjson", 400, "Line 2 is no JSON"),
        (b"[" * 100_000, "application/json", 400, "no JSON"),
        (b"\xff\xfe", "application/json", 400, "no JSON"),
        (b"{}", "application/json", 422, "model is missing"),
        (b"[3]", "application/json", 422, "JSON object"),
        (b'{"model": "m", "tokens": 1}', "application/json", 422, "'tokens' is no field"),
        (b'[{"model": "m"}, {"model": "m", "input_tokens": -1}]', "application/json", 422, "Record 2"),
        (b'{"model": "m", "cost": 1e400}', "application/json", 400, "out of range"),
        (b'{"model": "m", "timestamp": "yesterday"}', "application/json", 422, "timestamp"),
        (json.dumps([{"model": "m"}] * 10_001).encode(), "application/json", 422, "10000"),
        (b'{"model": "m"}', "text/plain", 415, "application/json"),
        (b"model=m", "application/x-www-form-urlencoded", 415, "application/json"),
        (b'{"model": "m"}', "", 415, "application/json"),
        (b" " * (4 << 20) + b'{"model": "m"}', "application/json", 413, "4,194,304"),
    ],
)
def test_what_is_not_right_is_refused_and_nothing_of_it_is_written(
    client: httpx2.Client, place: Place, body: bytes, kind: str, status: int, hint: str
) -> None:
    before = written(place)
    answer = client.post("/api/usage/records", content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert hint in answer.json()["detail"]
    assert written(place) == before


def test_another_site_writes_nothing(client: httpx2.Client, place: Place) -> None:
    before = written(place)
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert client.post("/api/usage/records", json=RECORD, headers=headers).status_code == 403
        assert client.post("/api/usage/export_report", headers=headers).status_code == 403
    assert written(place) == before


def test_a_report_is_written_and_given(client: httpx2.Client, place: Place) -> None:
    client.post("/api/usage/records", json={**RECORD, "id": "for the report"})
    wait_for("it is counted", lambda: client.get("/api/usage/stats/daily").json()["total_calls"])
    answer = client.post("/api/usage/export_report", params={"days": 3})
    assert answer.status_code == 200
    report = answer.json()
    path: Path = place.data / report.pop("file")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.name.startswith("usage_report_")
    assert json.loads(path.read_text()) == report
    assert report["days"] == 3
    assert report["summary"]["total_calls"] == client.get("/api/usage/stats/daily").json()["total_calls"]
    assert client.post("/api/ai_usage/export_report").json()["days"] == 7
    assert client.post("/api/usage/export_report", params={"days": 0}).status_code == 400


def test_prices_are_those_of_the_usage_list_and_of_what_the_log_has(client: httpx2.Client, place: Place) -> None:
    found = client.get("/api/usage/models/pricing").json()
    plus = found["models"]["qwen-plus"]
    assert (plus["input"], plus["output"], plus["currency"]) == (0.004, 0.012, "CNY")
    assert plus["display_name"] == "Qwen Plus"
    assert plus["source"]
    used = {name for name in place.expected.models if name is not None}
    assert used <= found["models"].keys() | set(found.get("unpriced", []))
    assert all(found["models"][name].get("in_use") for name in used & found["models"].keys())
    assert len(found["models"]) > 100


def test_a_scoped_token_writes_nothing(tmp_path: Path) -> None:
    place = sample(tmp_path, limit=20)
    out, _ = run("token", "create", "--data-dir", place.data, "--scope", "*", "--content")
    with daemon(place) as served, served.client(out.strip()) as client:
        assert client.post("/api/usage/records", json=RECORD).status_code == 403
        assert client.post("/api/usage/export_report").status_code == 403
    assert written(place) == []
    assert not (place.data / "reports").exists()
