"""The API on a loopback daemon: the answers that agents get, paging, ETags, problems, its own description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import validate

from tests.faces.place import Place
from tests.faces.web.served import MAIN, Served, daemon, sample, wait_until_read
from tests.helpers import finished, script


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return sample(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Served]:
    with daemon(place) as found:
        wait_until_read(found, place)
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    with served.client() as found:
        yield found


def get(client: httpx2.Client, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


# -- answers --------------------------------------------------------------------------------------


def test_every_page_of_sessions_together_holds_each_session_once(client: httpx2.Client, place: Place) -> None:
    found: list[str] = []
    query: dict[str, Any] = {"limit": 3, "sort_by": "cost"}
    while True:
        page = get(client, "/api/sessions", **query)
        found += [row["session_id"] for row in page["sessions"]]
        if "next_cursor" not in page:
            break
        query["cursor"] = page["next_cursor"]
    right = {name for name in place.expected.sessions if name is not None}
    assert sorted(found) == sorted(right)
    assert page["total"] == len(right)


def test_a_session_comes_with_its_rounds_streamed_or_by_page(client: httpx2.Client, place: Place) -> None:
    right = place.expected.sessions[MAIN]
    whole = get(client, "/api/session", id=MAIN, rounds="true")
    assert whole["total_input_tokens"] == right.input_tokens
    assert sum(row["input_tokens"] for row in whole["rounds"] if "input_tokens" in row) == right.input_tokens
    numbers = list(range(1, right.rounds + 1))
    assert [row["round"] for row in whole["rounds"]] == numbers
    pages, query = [], {"id": MAIN, "rounds": "true", "limit": 9}
    while True:
        page = get(client, "/api/session", **query)
        pages.append(page["rounds"])
        if "rounds_cursor" not in page:
            break
        query["cursor"] = page["rounds_cursor"]
    assert [row for rows in reversed(pages) for row in rows] == whole["rounds"]


def test_messages_are_complete_or_new_or_left_out(client: httpx2.Client) -> None:
    full, new, none = (
        get(client, "/api/session", id=MAIN, rounds="true", messages=how)["rounds"] for how in ("full", "new", "none")
    )
    before: list[Any] = []
    for whole, added in zip(full, new, strict=True):
        if "messages" in whole:
            skipped = added.get("messages_from", 0)
            assert whole["messages"][skipped:] == added["messages"]
            before.append(skipped)
    assert max(before) > 0
    assert not any({"messages", "question", "answer"} & row.keys() for row in none)


def test_a_session_from_a_moment_on_has_the_rounds_from_there(client: httpx2.Client) -> None:
    rows = get(client, "/api/session", id=MAIN, rounds="true", messages="none")["rounds"]
    since = rows[10]["timestamp"]
    later = get(client, "/api/session", id=MAIN, rounds="true", messages="none", since=since)
    assert later["rounds"] == rows[10:]
    assert later["messages_count"] == len(rows) - 10


def test_one_round_by_number_or_id_with_what_is_asked_for(client: httpx2.Client) -> None:
    second = get(client, "/api/round", id=MAIN, round=2, include=["question", "answer"])
    assert second["round"] == 2
    assert "question" in second
    assert "messages" not in second
    same = get(client, "/api/round", round_id=second["round_id"])
    assert same["round_id"] == second["round_id"]
    assert "question" not in same


def test_all_sums_agree_with_the_log_and_with_each_other(client: httpx2.Client, place: Place) -> None:
    stats = get(client, "/api/stats")
    total = place.expected.total
    assert stats["total_sessions"] == len([name for name in place.expected.sessions if name is not None])
    assert stats["totals"]["input_tokens"] == total.input_tokens
    assert sum(row["rounds"] for row in stats["by_model"]) == total.rounds
    assert sum(row["rounds"] for row in stats["by_date"]) == total.rounds
    cost: dict[str, Decimal] = {}
    for row in stats["by_model"]:
        for currency, value in row.get("cost", {}).items():
            cost[currency] = cost.get(currency, Decimal(0)) + Decimal(repr(value))
    assert {c: Decimal(repr(v)) for c, v in stats["total_cost"].items()} == cost
    assert get(client, "/api/models")["rows"] == stats["by_model"]
    assert get(client, "/api/dates")["rows"] == stats["by_date"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/overview", {"timezone": "Asia/Shanghai"}),
        ("/api/top", {"dimension": "consumer", "limit": 3}),
        ("/api/dates", {"bucket": "month", "days": 3000}),
        ("/api/models", {"since": "2026-01-01", "until": "2026-03-01"}),
        ("/api/sources", {}),
        ("/api/budgets", {}),
        ("/api/anomalies", {"days": 31}),
        ("/api/reconcile", {"days": 31}),
        ("/api/compare", {"id": MAIN, "models": ["gpt-5.4-mini", "deepseek-chat"]}),
        ("/api/usage/anomalies", {"days": 7}),
        ("/api/session_url", {"id": MAIN}),
        ("/api/usage/stats/daily", {"days_ago": 1}),
        ("/api/usage/stats/monthly", {}),
        ("/api/usage/cost_trend", {"days": 3}),
        ("/api/usage/top_users", {"limit": 2, "days": 3000}),
        ("/api/usage/hourly", {"days": 3000}),
        ("/api/usage/slow", {"min_ms": 1, "days": 3000}),
        ("/api/usage/models/pricing", {}),
    ],
)
def test_every_answer_says_up_to_when_the_log_was_read(client: httpx2.Client, path: str, query: dict[str, Any]) -> None:
    assert get(client, path, **query)["as_of"].endswith("Z")


def test_the_older_address_of_the_usage_endpoints_gives_the_same(client: httpx2.Client) -> None:
    for path in (
        "stats/daily",
        "stats/monthly",
        "cost_trend",
        "top_users",
        "hourly",
        "slow",
        "anomalies",
        "models/pricing",
    ):
        new, old = (get(client, f"/api/{prefix}/{path}") for prefix in ("usage", "ai_usage"))
        new.pop("as_of"), old.pop("as_of")
        assert new == old
    moved = client.get("/static/ai_usage_monitor.html")
    assert (moved.status_code, moved.headers["location"]) == (307, "/")


def test_a_link_on_loopback_needs_no_signature(client: httpx2.Client, served: Served) -> None:
    link = get(client, "/api/session_url", id=MAIN)
    assert link["url"].endswith("/session?id=agent%3Amain%3Amain")
    assert link["reachable"] is True
    assert "expires_at" not in link


# -- ETags ----------------------------------------------------------------------------------------


def test_what_a_client_has_already_is_not_sent_again_until_something_is_new(
    client: httpx2.Client, place: Place
) -> None:
    paths = ("/api/sessions", f"/api/session?id={MAIN}", "/api/models")
    tags = {}
    for path in paths:
        first = client.get(path)
        tags[path] = first.headers["etag"]
        again = client.get(path, headers={"if-none-match": f'"other", {tags[path]}'})
        # The minute is part of the tag, and may just have passed.
        if again.status_code != 304:
            tags[path] = again.headers["etag"]
            again = client.get(path, headers={"if-none-match": tags[path]})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tags[path]
        assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200
    assert len(set(tags.values())) == len(paths)
    assert client.get("/api/sessions?limit=5").headers["etag"] != tags["/api/sessions"]
    line = place.log.read_bytes().splitlines()[1]
    with place.log.open("ab") as file:
        file.write(line.replace(b'"request_id":"', b'"request_id":"new', 1) + b"\n")
    place.expected.total.rounds += 1
    for path in paths:
        assert client.get(path, headers={"if-none-match": tags[path]}).status_code == 200


# -- problems -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "hint"),
    [
        ("GET", "/api/session?id=nobody", 404, "nobody"),
        ("GET", "/api/nothing", 404, "/api/docs"),
        ("GET", "/api/session", 400, "id: field required"),
        ("GET", "/api/session?id=", 400, "id: string should have at least 1 character"),
        ("GET", f"/api/session?id={'x' * 3000}", 400, "2048"),
        ("GET", "/api/sessions?limit=101", 400, "100"),
        ("GET", "/api/sessions?limit=many", 400, "limit"),
        ("GET", "/api/sessions?sortby=cost", 400, "sortby: there is no such parameter"),
        ("GET", "/api/sessions?cursor=x", 400, "first page"),
        ("GET", "/api/sessions?until=whenever", 400, "2026-02-01"),
        ("GET", "/api/overview?timezone=Mars/Base", 400, "Asia/Shanghai"),
        ("GET", "/api/round", 400, "round_id"),
        ("GET", "/api/round?id=agent:main:main&round=100000", 404, "rounds 1 to"),
        ("GET", "/api/usage/stats/daily?days_ago=-1", 400, "days_ago"),
        ("POST", "/api/sessions", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/session?id=x", 405, "GET, HEAD, OPTIONS"),
        ("GET", f"/api/sessions?search={'x' * 9000}", 414, "8192"),
    ],
)
def test_a_wrong_question_is_a_problem_that_names_the_way_out(
    client: httpx2.Client, method: str, path: str, status: int, hint: str
) -> None:
    answer = client.request(method, path)
    problem = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    assert problem["instance"] == path.partition("?")[0]
    assert hint in problem["detail"]
    assert "Traceback" not in answer.text


def test_a_store_that_cannot_be_read_is_a_problem_and_no_traceback(place: Place) -> None:
    """The store's file is gone bad under a running server."""
    folder = place.folder / "bad"
    folder.mkdir()
    broken = sample(folder, limit=50)
    with daemon(broken, "--no-ingest") as served:
        (broken.data).mkdir(exist_ok=True)
        (broken.data / "monitor.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
        with served.client() as client:
            answer = client.get("/api/sessions")
        assert answer.status_code == 503
        assert "monitor.db" in answer.json()["detail"]
        assert "Traceback" not in answer.text + served.stderr


# -- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/sessions", f"/session?id={MAIN}", "/static/style.css", "/metrics"])
def test_head_gives_the_headers_of_get_and_no_body(client: httpx2.Client, path: str) -> None:
    get_, head = client.get(path), client.head(path)
    assert head.status_code == get_.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get_.headers["content-type"]


def test_options_say_what_can_be_asked_and_open_nothing_to_other_sites(client: httpx2.Client) -> None:
    preflight = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    answer = client.options("/api/sessions", headers=preflight)
    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert not [name for name in answer.headers if name.startswith("access-control")]


# -- the description ------------------------------------------------------------------------------


def test_the_description_is_valid_and_holds_every_endpoint(client: httpx2.Client) -> None:
    document = get(client, "/api/openapi.json")
    validate(document)
    named = {
        "/api/sessions", "/api/session", "/api/round", "/api/stats", "/api/models", "/api/dates", "/api/top",
        "/api/overview", "/api/anomalies", "/api/compare", "/api/budgets", "/api/sources", "/api/live",
        "/api/usage/stats/daily", "/api/usage/stats/monthly", "/api/usage/cost_trend",
        "/api/usage/top_users", "/api/usage/hourly", "/api/usage/slow", "/api/usage/anomalies",
        "/api/usage/models/pricing", "/healthz", "/metrics",
    }  # fmt: skip
    assert named <= document["paths"].keys()
    assert not [path for path in document["paths"] if "ai_usage" in path]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            assert "default" in operation["responses"] or path in ("/healthz", "/metrics"), path
            assert "422" not in operation["responses"] or path in ("/healthz", "/metrics"), path
    for path in ("/api/usage/records", "/api/usage/export_report"):
        assert list(document["paths"][path]) == ["post"]


def test_answers_are_what_the_description_says_they_are(client: httpx2.Client) -> None:
    """The fields of an answer are those of its schema, all the way down."""
    document = get(client, "/api/openapi.json")
    for path in ("/api/sessions", "/api/stats", "/api/top", "/api/sources", "/api/usage/stats/monthly"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        check(document, schema, get(client, path), path)


def check(document: Any, schema: Any, value: Any, where: str) -> None:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            schema = choice if "$ref" not in choice else document["components"]["schemas"][choice["$ref"][21:]]
    if isinstance(value, dict) and "properties" in schema:
        assert value.keys() <= schema["properties"].keys(), where
        assert set(schema.get("required", ())) <= value.keys(), where
        for name, member in value.items():
            check(document, schema["properties"][name], member, f"{where}.{name}")
    elif isinstance(value, list) and "items" in schema:
        for member in value:
            check(document, schema["items"], member, f"{where}[]")


def test_a_server_for_one_conversation_does_not_load_what_only_the_page_needs() -> None:
    """Such servers are started for each conversation, and most of them never serve a page."""
    code = "import monitor.faces.serving, monitor.faces.cli.serve, sys; print(*sorted(sys.modules))"
    process = script(code)
    [loaded] = finished([process])
    assert "monitor.faces.mcp.tools" in loaded.split()
    assert not {"fastapi", "prometheus_client", "jinja2", "monitor.faces.web.app"} & set(loaded.split())


def test_the_page_of_the_description_loads_its_own_files_only(client: httpx2.Client) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("<!doctype html>", "")
    for path in ("vendor/swagger-ui/swagger-ui.css", "vendor/swagger-ui/swagger-ui-bundle.js", "api.js"):
        assert f"../static/{path}" in page.text
        assert client.get(f"/static/{path}").status_code == 200
    assert client.get("/static/vendor/swagger-ui/LICENSE").status_code == 200


def test_half_a_character_from_a_log_is_written_as_an_escape() -> None:
    from monitor.faces.web.asked import text

    assert json.loads(text({"a": "\ud83d"})) == {"a": "\ud83d"}
    assert text({"a": "ü"}) == '{"a":"ü"}'.encode()
