"""Metrics: the figures of the log, in a form that Prometheus reads, with bounded labels that never go back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from monitor.answers.base import Asking, amount
from monitor.faces.web.metrics import OTHER, Labels, StoreCollector, label
from monitor.prices.money import Cost
from monitor.rounds import Usage
from monitor.store.base import LATENCY_STEPS_MS, Batch, PricedRound, SkippedLines
from monitor.store.sqlite import SqliteStore
from tests.answers.made import CNY, NOON, UNPRICED, USD, made
from tests.faces.place import ROOT, Place
from tests.faces.web.served import Served, daemon, sample, wait_until_read

DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return sample(tmp_path_factory.mktemp("metrics"))


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Served]:
    with daemon(place) as found:
        wait_until_read(found, place)
        yield found


def scraped(served: Served) -> dict[str, Metric]:
    answer = httpx2.get(f"{served.base}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def total(family: Metric, suffix: str = "_total", **labels: str) -> float:
    samples = [s for s in family.samples if s.name == family.name + suffix and labels.items() <= s.labels.items()]
    return sum(s.value for s in samples)


# -- over a real log ------------------------------------------------------------------------------


def test_counters_are_those_of_the_log(served: Served, place: Place) -> None:
    found, right = scraped(served), place.expected.total
    for prefix in ("", "consumer_"):
        assert total(found[f"session_monitor_{prefix}rounds"]) == right.rounds
        assert total(found[f"session_monitor_{prefix}failed_rounds"]) == right.failed
        tokens = found[f"session_monitor_{prefix}tokens"]
        assert total(tokens, kind="input") == right.input_tokens
        assert total(tokens, kind="output") == right.output_tokens
        assert total(tokens, kind="reasoning") == right.reasoning_tokens
        assert total(tokens, kind="cached") == right.cached_tokens
        assert total(tokens, kind="cache_write") == right.cache_write_tokens
    for model, sums in place.expected.models.items():
        assert total(found["session_monitor_rounds"], model=model or "none") == sums.rounds
    sessions = len([name for name in place.expected.sessions if name is not None])
    assert total(found["session_monitor_sessions"], "") == sessions


def test_costs_are_those_that_agents_are_told(served: Served) -> None:
    cost = httpx2.get(f"{served.base}/api/stats").json()["total_cost"]
    found = scraped(served)
    for name in ("session_monitor_cost", "session_monitor_consumer_cost"):
        for currency, value in cost.items():
            assert total(found[name], currency=currency) == pytest.approx(value, abs=1e-9)


def test_the_monitor_tells_of_itself(served: Served, place: Place) -> None:
    found = scraped(served)
    assert total(found["session_monitor_up_to_date"], "") == 1
    assert total(found["session_monitor_ingest_lag_bytes"], "") == 0
    assert 0 <= total(found["session_monitor_ingest_lag_seconds"], "") < 60
    assert total(found["session_monitor_build_info"], "") == 1
    told = httpx2.get(f"{served.base}/api/sources").json()["sources"][0]
    assert total(found["session_monitor_skipped_lines"]) == sum(told.get("skipped", {}).values())


def test_histograms_hold_every_round_that_has_a_time(served: Served) -> None:
    latency = scraped(served)["session_monitor_latency_seconds"]
    models = {s.labels["model"] for s in latency.samples}
    for model in models:
        buckets = [s for s in latency.samples if s.name.endswith("_bucket") and s.labels["model"] == model]
        counts = [s.value for s in buckets]
        assert counts == sorted(counts)
        assert [float(s.labels["le"]) for s in buckets] == [*(ms / 1000 for ms in LATENCY_STEPS_MS), float("inf")]
        assert counts[-1] == total(latency, "_count", model=model)
        assert total(latency, "_sum", model=model) > 0
    assert total(latency, "_count") > 0


def test_openmetrics_are_given_to_who_asks_for_them(served: Served) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx2.get(f"{served.base}/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


# -- labels ---------------------------------------------------------------------------------------


def collected(folder: Path, rounds: list[PricedRound], labels: Labels) -> dict[tuple[str, tuple[str, ...]], float]:
    """Samples by name and label values, of a store to which `rounds` are added."""
    with closing(SqliteStore(folder, price_version="v1")) as store:
        store.add(Batch(rounds=rounds, skipped=[SkippedLines("/a.log", "malformed", 1)]))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StoreCollector(Asking(store, as_of=NOON), labels, is_well=False))
        return {
            (s.name, tuple(value for name, value in sorted(s.labels.items()))): s.value
            for family in registry.collect()
            for s in family.samples
        }


def test_the_dearest_have_labels_of_their_own_and_the_rest_is_one(tmp_path: Path) -> None:
    prices = {f"model-{n}": Cost("priced", n * 1_000_000_000, "USD", "list") for n in range(1, 8)}
    rounds = [made(n, cost, model=name) for n, (name, cost) in enumerate(prices.items())]
    found = collected(tmp_path, rounds, Labels(tmp_path / "labels.json", most=3))
    cost = {names[1]: value for (name, names), value in found.items() if name == "session_monitor_cost_total"}
    assert cost == {"model-7": 7, "model-6": 6, "model-5": 5, OTHER: 1 + 2 + 3 + 4}
    latency = {names[0] for (name, names) in found if name == "session_monitor_latency_seconds_count"}
    assert latency == cost.keys()


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5 * 10**9)), min_size=1, max_size=6),
        min_size=2,
        max_size=4,
    )
)
def test_no_counter_ever_goes_back_whoever_becomes_the_dearest(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[int, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    before: dict[Any, float] = {}
    number = 0
    for step in steps:
        rounds = []
        for model, nano in step:
            number += 1
            cost = Cost("priced", nano, "USD", "list")
            rounds.append(made(number, cost, model=f"m{model}", consumer=f"c{model % 4}"))
        # Each time as after a restart: what has a label is read from the file.
        now = collected(folder, rounds, Labels(folder / "labels.json", most=2))
        for name, value in before.items():
            if name[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert now.get(name, 0) >= value, name
        before = now


def test_labels_that_cannot_be_read_are_chosen_anew(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    for text in ("[]", "no json", '{"model": 3}'):
        path.write_text(text)
        assert Labels(path, most=2).choose("model", ["a", "b", "c"]) == {"a", "b"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert Labels(path, most=3).choose("model", ["x", "y"]) == {"a", "b", "x"}


@given(st.text(max_size=2000))
def test_a_name_becomes_one_line_of_bounded_length(name: str) -> None:
    clean = label(name)
    assert 0 < len(clean) <= 128
    assert clean.isprintable()


def test_hostile_names_stay_inside_their_labels(tmp_path: Path) -> None:
    hostile = ['"} 1\nforged_metric 5', "back\\slash", "\x1b[2J", "a" * 5000, "\u202eevil", "", "é漢字"]
    rounds = [made(n, USD, model=name, consumer=name) for n, name in enumerate(hostile)]
    with closing(SqliteStore(tmp_path, price_version="v1")) as store:
        store.add(Batch(rounds=rounds))
    from prometheus_client.exposition import generate_latest

    with closing(SqliteStore(tmp_path, read_only=True)) as store:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StoreCollector(Asking(store), Labels(tmp_path / "labels.json"), is_well=True))
        text = generate_latest(registry).decode()
    families = {family.name for family in text_string_to_metric_families(text)}
    assert all(name.startswith("session_monitor_") for name in families)
    assert "\x1b" not in text
    assert not re.search(r"^forged_metric", text, re.M)


def test_rounds_without_a_price_are_counted_and_cost_nothing(tmp_path: Path) -> None:
    rounds = [made(1, UNPRICED, model="new"), made(2, CNY, model="old", usage=Usage(None, None), success=False)]
    found = collected(tmp_path, rounds, Labels(tmp_path / "labels.json"))
    assert found["session_monitor_unpriced_rounds_total", ("new",)] == 1
    assert found["session_monitor_unpriced_rounds_total", ("old",)] == 0
    assert found["session_monitor_failed_rounds_total", ("old",)] == 1
    assert found["session_monitor_cost_total", ("CNY", "old")] == amount(20_000_000)
    assert not [names for name, names in found if name == "session_monitor_cost_total" and "new" in names]
    assert not [names for name, names in found if name == "session_monitor_tokens_total" and "old" in names]


# -- the dashboard --------------------------------------------------------------------------------


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if name in ("expr", "query", "definition") and isinstance(member, str):
                yield member
            else:
                yield from expressions(member)
    elif isinstance(value, list):
        for member in value:
            yield from expressions(member)


def test_the_dashboard_uses_metrics_that_exist_and_shows_all_that_matter(served: Served) -> None:
    used = set()
    for text in expressions(json.loads(DASHBOARD.read_text())):
        used |= set(re.findall(r"\bsession_monitor_\w+", text))
    exported = {s.name for family in scraped(served).values() for s in family.samples}
    assert used - exported == set()
    shown = {name for name in exported if not name.endswith(("_created", "_count", "_sum", "_info"))}
    assert shown - used == set()


def test_the_dashboard_fits_any_prometheus_and_each_panel_has_its_place() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["id"] is None
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    assert all(panel["title"] for panel in dashboard["panels"])
    assert Decimal(dashboard["schemaVersion"]) >= 36
