"""What a person sees of a cluster of which a part is away."""

from __future__ import annotations

from pathlib import Path

from monitor.samples import Expected
from monitor.store.base import Batch
from monitor.store.clickhouse.connection import connect
from monitor.store.clickhouse.setup import create
from monitor.store.clickhouse.store import ClickHouseStore
from tests.faces.place import Place
from tests.faces.web.served import daemon
from tests.fleet.cluster import Cluster
from tests.store.conformance_names import alone

_SESSIONS = [f"session-{n}" for n in range(9)]


def test_a_page_says_above_its_figures_what_is_in_none_of_them(cluster: Cluster, tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "none.log", tmp_path / "data", Expected())
    with cluster.database() as db:
        create(db)
        url = cluster.url(db.database)
        store = ClickHouseStore(connect(url), node="here")
        store.add(Batch(rounds=[alone(n, _SESSIONS[n % 9]) for n in range(90)]))
        store.close()
        with daemon(place, "--no-ingest", env={"SESSION_MONITOR_STORE": url}) as served, served.client() as client:
            assert 'role="alert"' not in client.get("/").text
            cluster.kill(*cluster.shard(2))
            for address in ("/", "/models"):
                above, alert, figures = client.get(address).text.partition('role="alert"')
                assert alert
                assert "<h1" not in above
                assert "shard 2" in figures.partition("<h1")[0]
            # What is not found may be there all the same.
            answers = [client.get("/api/session", params={"id": name}) for name in _SESSIONS]
            assert {answer.status_code for answer in answers} == {200, 404}
            for answer in answers:
                if answer.status_code == 404:
                    assert "shard 2" in answer.json()["detail"]
                else:
                    assert "shard 2" in answer.json()["missing"][0]
