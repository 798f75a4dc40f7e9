"""Two meters compared: over the corpus of real releases, and case by case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor.answers.base import Asking
from monitor.answers.reconcile import Reconciliation, reconcile
from monitor.answers.reconcile.causes import CAUSES
from monitor.ingest import Ingester, LogSource, Source
from monitor.ingest.transcripts import TranscriptSource
from monitor.prices.catalog import Catalog
from monitor.store.sqlite import SqliteStore
from tests.helpers import run
from tests.openclaw import BEGIN, RELEASES, Database, answered, gateway_log, header, logged, real, truth

CATALOG = Catalog.load()
ID, KEY = "0cd86b8b-12c3-43d1-a1a6-910f3a42ea60", "agent:main:main"
DAYS = 366
MINUTE = 60_000


class Meters:
    """An OpenClaw and a gateway before its provider."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.openclaw = Database(folder / "state")
        self.openclaw.name(ID, KEY)
        self.openclaw.write(ID, header(ID))
        self.log = folder / "access.log"
        self.log.write_bytes(b"")

    def wrote(self, *events: dict[str, Any]) -> None:
        self.openclaw.write(ID, *events)

    def saw(self, *lines: bytes) -> None:
        with self.log.open("ab") as file:
            file.writelines(lines)

    def compared(self) -> Reconciliation:
        with closing(SqliteStore(self.folder / "data", price_version=CATALOG.version)) as store:
            sources: list[Source] = [
                TranscriptSource(self.folder / "state", store, CATALOG),
                LogSource(self.log, store, CATALOG),
            ]
            Ingester(sources, store).once()
            assert store.verify() == []
            return reconcile(Asking(store), days=DAYS)


@pytest.fixture
def meters(tmp_path: Path) -> Iterator[Meters]:
    made = Meters(tmp_path)
    yield made
    made.openclaw.close()


def findings(answer: Reconciliation) -> list[tuple[str, str, int]]:
    return sorted((f.kind, f.cause, f.rounds) for row in answer.rows for f in row.findings)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("named", [True, False])
def test_the_difference_of_a_compaction_is_exactly_that_call(tmp_path: Path, release: str, named: bool) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    log.write_bytes(gateway_log(release, affinity=named))
    folder = real(release, tmp_path)
    run("ingest", "--once", "--data-dir", data, "--log-path", log, "--log-path", folder)
    answer = json.loads(run("reconcile", "--days", str(DAYS), "--json", "--data-dir", data)[0])
    requests = truth(release)["compact"]["requests"]
    sent = requests[3]["usage_sent"]
    (row,) = [row for row in answer["rows"] if row.get("session_id") == "agent:main:fx-compact"]
    (finding,) = row["findings"]
    assert (finding["kind"], finding["cause"], finding["rounds"]) == ("gateway_only", "compaction", 1)
    assert (finding["input_tokens"], finding["output_tokens"]) == (sent["prompt_tokens"], sent["completion_tokens"])
    assert finding.get("session_guessed", False) is not named
    assert row["gateway"]["input_tokens"] - row["transcripts"]["input_tokens"] == sent["prompt_tokens"]
    assert row["gateway"]["input_tokens"] == sum(r["usage_sent"]["prompt_tokens"] for r in requests)
    assert answer["gateway"]["input_tokens"] - answer["transcripts"]["input_tokens"] == sent["prompt_tokens"]
    assert answer["gateway"]["output_tokens"] - answer["transcripts"]["output_tokens"] == sent["completion_tokens"]
    (round_id,) = finding["round_ids"]
    shown = run("show", "agent:main:fx-compact", "--json", "--data-dir", data)[0] if named else round_id
    assert round_id in shown


@pytest.mark.parametrize("release", RELEASES)
def test_retries_are_told_as_such_and_every_difference_has_a_cause(tmp_path: Path, release: str) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    log.write_bytes(gateway_log(release, affinity=False))
    folder = real(release, tmp_path)
    run("ingest", "--once", "--data-dir", data, "--log-path", log, "--log-path", folder)
    answer = json.loads(run("reconcile", "--days", str(DAYS), "--json", "--data-dir", data)[0])
    told = {(row.get("session_id"), f["cause"]): f["rounds"] for row in answer["rows"] for f in row["findings"]}
    tries = {case: len(truth(release)[case]["requests"]) for case in ("error500", "drop")}
    right = {
        ("agent:main:fx-compact", "compaction"): 1,
        **{(f"agent:main:fx-{case}", "retry"): n - 1 for case, n in tries.items() if n > 1},
    }
    assert told == right
    assert set(answer["causes"]) == {cause for _, cause in right}
    assert answer["joined"]["response_id"] == 24
    assert answer["joined"]["time"] == 4


def test_calls_that_both_saw_are_no_difference(meters: Meters) -> None:
    meters.wrote(answered("a1"), answered("a2", BEGIN + 1000, input_=80, cached=20))
    meters.saw(logged("chatcmpl-a1"), logged("chatcmpl-a2", BEGIN + 1010, cached=20))
    answer = meters.compared()
    assert (answer.joined.response_id, answer.rows, answer.gateway_only, answer.transcript_only) == (2, [], None, None)
    assert answer.gateway.input_tokens == answer.transcripts.input_tokens == 200


def test_without_an_id_calls_are_joined_by_model_time_and_counts_and_marked(meters: Meters) -> None:
    meters.wrote(answered("a1", responseId=None), answered("a2", BEGIN + 1000, responseId=None))
    meters.saw(
        logged("chatcmpl-x", BEGIN + 20, model="moonshot/kimi-k2.6"),
        logged("chatcmpl-y", BEGIN + 1020),
        logged("chatcmpl-z", BEGIN + 30 * MINUTE),
    )
    answer = meters.compared()
    assert (answer.joined.response_id, answer.joined.counts) == (0, 2)
    assert findings(answer) == [("gateway_only", "no_session", 1)]


def test_two_ids_that_differ_are_two_calls(meters: Meters) -> None:
    meters.wrote(answered("a1"))
    meters.saw(logged("chatcmpl-other"))
    answer = meters.compared()
    assert answer.joined.response_id == 0
    assert findings(answer) == [("gateway_only", "no_session", 1), ("transcript_only", "bypassed_or_lost", 1)]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (logged("chatcmpl-z", BEGIN + 500, session="agent:other:main"), "other_program"),
        (logged("chatcmpl-z", BEGIN + 500, session=ID), "unrecorded"),
        (logged("chatcmpl-z", BEGIN + 10 * MINUTE, session=ID, status=500), "retry"),
    ],
)
def test_what_only_the_gateway_saw_has_a_cause(meters: Meters, line: bytes, cause: str) -> None:
    meters.wrote(answered("a1"))
    meters.saw(logged("chatcmpl-a1"), line)
    assert findings(meters.compared()) == [("gateway_only", cause, 1)]


def test_a_call_that_was_summed_up_for_is_a_compaction_and_one_after_the_next_call_is_not(meters: Meters) -> None:
    compaction = {"type": "compaction", "id": "c1", "timestamp": "2026-11-21T21:05:00.000Z", "summary": "so far"}
    meters.wrote(answered("a1"), compaction, answered("a2", BEGIN + 6 * MINUTE))
    meters.saw(
        logged("chatcmpl-a1", session=ID),
        logged("chatcmpl-c", BEGIN + 4 * MINUTE, session=ID, input_=9000),
        logged("chatcmpl-a2", BEGIN + 6 * MINUTE, session=ID),
        logged("chatcmpl-t", BEGIN + 7 * MINUTE, session=ID),
    )
    assert findings(meters.compared()) == [("gateway_only", "compaction", 1), ("gateway_only", "unrecorded", 1)]


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], "no_gateway"),
        ([logged("chatcmpl-b", model="glm-5", session=KEY)], "bypassed"),
        ([logged("chatcmpl-b", BEGIN - 60 * MINUTE, session=KEY)], "log_lost"),
        ([logged("chatcmpl-b", BEGIN - 5 * MINUTE, session=KEY)], "bypassed_or_lost"),
    ],
)
def test_what_only_the_transcript_has_has_a_cause(meters: Meters, lines: list[bytes], cause: str) -> None:
    meters.wrote(answered("a1"))
    meters.saw(*lines)
    assert ("transcript_only", cause, 1) in findings(meters.compared())


def test_counts_that_differ_are_told_with_the_difference(meters: Meters) -> None:
    twice = {"input": 1000, "output": 900, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 1900}
    meters.wrote(answered("a1", usage=twice), answered("a2", BEGIN + 1000), answered("a3", BEGIN + 2000, usage={}))
    meters.saw(
        logged("chatcmpl-a1", input_=1000, output=500),
        logged("chatcmpl-a2", BEGIN + 1000, input_=107),
        logged("chatcmpl-a3", BEGIN + 2000, input_=50, output=5),
    )
    answer = meters.compared()
    (row,) = answer.rows
    told = {f.cause: (f.input_tokens, f.output_tokens) for f in row.findings if f.kind == "counts_differ"}
    assert told == {
        "upper_bound": (0, -400),
        "counted_otherwise": (7, 0),
        "transcript_lost_counts": (50, 5),
    }


def test_a_cost_of_another_price_is_told_in_the_same_currency(meters: Meters) -> None:
    usage = {"input": 100, "output": 10, "reasoningTokens": 0, "cost": {"total": 1.5}}
    meters.wrote(answered("a1", usage=usage, model="gpt-5.4", provider="openai"))
    meters.saw(logged("chatcmpl-a1", model="gpt-5.4"))
    answer = meters.compared()
    (row,) = answer.rows
    (finding,) = row.findings
    # 100 tokens at USD 2.50 and 10 at USD 15 a million against the 1.5 that OpenClaw has configured.
    assert (finding.cause, finding.cost) == ("other_price", {"USD": -1.4996})
    assert (answer.gateway.cost, answer.transcripts.reported_cost) == ({"USD": 0.0004}, {"USD": 1.5})


def test_one_meter_alone_says_what_is_missing(meters: Meters) -> None:
    assert meters.compared().note == "No call was seen in this time, by either meter."
    meters.saw(logged("chatcmpl-a1"))
    answer = meters.compared()
    assert 'kind = "openclaw"' in (answer.note or "")
    assert findings(answer) == [("gateway_only", "no_transcripts", 1)]


def test_every_cause_is_explained() -> None:
    import inspect

    from monitor.answers.reconcile import causes

    source = inspect.getsource(causes.Findings) + inspect.getsource(causes._why_other_counts)
    assert all(f'"{cause}"' in source for cause in CAUSES)


def test_the_table_names_sessions_causes_and_both_meters(tmp_path: Path) -> None:
    log, data = tmp_path / "access.log", tmp_path / "data"
    log.write_bytes(gateway_log("2026.9.6"))
    folder = real("2026.9.6", tmp_path)
    run("ingest", "--once", "--data-dir", data, "--log-path", log, "--log-path", folder)
    shown = run("reconcile", "--days", str(DAYS), "--data-dir", data)[0]
    for text in ("agent:main:fx-compact", "compaction", "15,000", "seen by both: 24 by response id"):
        assert text in shown
