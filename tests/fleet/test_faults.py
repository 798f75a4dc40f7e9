"""Whatever fails in a fleet, each line counts once and no answer is smaller in silence: real nodes, a real cluster."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from monitor.samples import Expected, Writer, lines
from monitor.sources.higress import HigressReader, Skipped
from tests.fleet.cluster import KEEPER, NAMES, Cluster
from tests.fleet.nodes import Fleet, fleet_on
from tests.helpers import check_totals, run, totals, wait_for
from tests.ingest.test_ingester import MIXED, TALKING


@pytest.fixture
def fleet(cluster: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    with fleet_on(cluster, tmp_path) as found:
        yield found


def put(writer: Writer, source: Iterator[bytes], count: int) -> None:
    for line in islice(source, count):
        writer.write(line)
    writer.flush()


def turn(writer: Writer) -> None:
    writer.rotate()
    writer.reopen()


def test_two_nodes_fill_one_store(fleet: Fleet) -> None:
    expected = Expected()
    source = lines(TALKING, 1, 400, expected)
    nodes = [fleet.node("one"), fleet.node("two")]
    with Writer(nodes[0].log) as one, Writer(nodes[1].log) as two:
        for _ in range(5):
            put(one, source, 40)
            put(two, source, 40)
            turn(one)
        fleet.has(expected)
    check_totals(fleet.store, expected, TALKING)
    assert fleet.store.missing() == []


def test_a_replica_that_is_killed_is_not_noticed(fleet: Fleet) -> None:
    expected = Expected()
    source = lines(MIXED, 2, 400, expected)
    node = fleet.node("one")
    with Writer(node.log) as writer:
        put(writer, source, 100)
        fleet.has(expected)
        fleet.cluster.kill("s1r1")
        put(writer, source, 150)
        fleet.has(expected)
        check_totals(fleet.store, expected, MIXED)
        assert fleet.store.missing() == []
        fleet.cluster.mend()
        put(writer, source, 150)
        fleet.has(expected)
    check_totals(fleet.store, expected, MIXED)


def test_a_node_killed_at_any_moment_counts_nothing_twice(fleet: Fleet) -> None:
    expected = Expected()
    source = lines(TALKING, 3, 500, expected)
    chance = random.Random(3)
    node = fleet.node("one")
    with Writer(node.log, keep=30) as writer:
        for _ in range(8):
            before = fleet.rounds() or 0
            put(writer, source, 50)
            wait_for("it stores some of it", lambda before=before: (fleet.rounds() or 0) > before)  # type: ignore[misc]
            put(writer, source, 12)
            with suppress(subprocess.TimeoutExpired):
                node.wait(chance.random() / 2)
            node.kill()
            if chance.random() < 0.5:
                turn(writer)
            node.start()
        put(writer, source, 500)
        fleet.has(expected)
    check_totals(fleet.store, expected, TALKING)


def test_with_a_shard_away_answers_say_so_and_writes_wait(fleet: Fleet) -> None:
    expected = Expected()
    source = lines(MIXED, 4, 300, expected)
    node = fleet.node("one")
    with Writer(node.log, keep=1) as writer:
        put(writer, source, 150)
        fleet.has(expected)
        whole = totals(fleet.store.slices())
        assert whole == expected.total
        fleet.cluster.kill(*fleet.cluster.shard(2))
        assert totals(fleet.store.slices()).rounds < whole.rounds
        (part,) = fleet.store.missing()
        assert part.startswith("shard 2 (")
        told = json.loads(run("stats-model", "--json", "--config", fleet.reader())[0])
        assert told["missing"] == [part]
        for _ in range(2):
            put(writer, source, 50)
            node.has_kept(expected.bytes)
            turn(writer)
        put(writer, source, 50)
        # What is there of the node's own: what waits here, and since when.
        _, said = run("doctor", "--config", node.config, code=None)
        assert f"{node.log}: lines wait on this node since" in said
        fleet.cluster.mend()
        fleet.has(expected)
    fleet.settled()
    check_totals(fleet.store, expected, MIXED)
    wait_for("nothing is missing any more", lambda: not fleet.missing())
    assert "all that has waited here is in it" in node.said.read_text()


def test_without_zookeeper_reads_go_on_and_writes_wait(fleet: Fleet) -> None:
    expected = Expected()
    source = lines(MIXED, 5, 300, expected)
    node = fleet.node("one")
    with Writer(node.log, keep=1) as writer:
        put(writer, source, 150)
        fleet.has(expected)
        whole = totals(fleet.store.slices())
        fleet.cluster.kill(KEEPER)
        for _ in range(2):
            put(writer, source, 50)
            node.has_kept(expected.bytes)
            turn(writer)
            assert totals(fleet.store.slices()) == whole
            assert fleet.store.missing() == []
        put(writer, source, 50)
        fleet.cluster.mend()
        fleet.has(expected)
    fleet.settled()
    check_totals(fleet.store, expected, MIXED)


def test_a_node_follows_its_log_while_the_whole_cluster_is_away_and_after_a_start_too(fleet: Fleet) -> None:
    expected = Expected()
    source = lines(TALKING, 6, 300, expected)
    node = fleet.node("one")
    with Writer(node.log, keep=1) as writer:
        put(writer, source, 60)
        fleet.has(expected)
        fleet.cluster.kill(*NAMES)
        for number in range(4):
            put(writer, source, 50)
            node.has_kept(expected.bytes)
            turn(writer)
            turn(writer)
            if number == 1:
                node.kill()
                node.start()
        put(writer, source, 40)
        fleet.cluster.mend()
        fleet.has(expected)
    fleet.settled()
    check_totals(fleet.store, expected, TALKING)


def test_a_log_that_comes_again_in_other_cuts_and_as_a_compressed_copy_counts_once(
    fleet: Fleet, tmp_path: Path
) -> None:
    expected = Expected()
    records = list(lines(TALKING, 7, 200, expected))
    first = fleet.node("one")
    with Writer(first.log) as writer:
        put(writer, iter(records), 200)
    fleet.has(expected)
    copies = tmp_path / "copies"
    copies.mkdir()
    log = copies / "access.log"
    (copies / "access.log.2.gz").write_bytes(gzip.compress(b"".join(records[:77])))
    (copies / "access.log.1").write_bytes(b"".join(records[77:150]))
    log.write_bytes(b"".join(records[150:]))
    fleet.node("two", log)
    wait_for("the other node has read it", lambda: fleet.reached("two") >= expected.bytes)
    check_totals(fleet.store, expected, TALKING)


def test_two_nodes_that_read_one_log_at_once_count_each_line_once(fleet: Fleet, tmp_path: Path) -> None:
    expected = Expected()
    source = lines(TALKING, 8, 300, expected)
    log = tmp_path / "shared.log"
    fleet.node("one", log)
    fleet.node("two", log)
    with Writer(log, keep=10) as writer:
        for _ in range(6):
            put(writer, source, 50)
            turn(writer)
        fleet.has(expected)
        for name in ("one", "two"):
            wait_for(f"{name} has read it", lambda name=name: fleet.reached(name) >= expected.bytes)  # type: ignore[misc]
    check_totals(fleet.store, expected, TALKING)


def test_two_witnesses_of_a_call_who_come_to_two_nodes_at_once_are_one(fleet: Fleet, tmp_path: Path) -> None:
    expected = Expected()
    records = list(lines(MIXED, 9, 200, expected))
    reader = HigressReader()
    told: list[bytes] = []
    for line in records:
        reading = reader.read(line.rstrip(b"\n"))
        if isinstance(reading, Skipped) or reading.round.response_id is None or not reading.round.usage.known:
            continue
        seen = reading.round
        told.append(
            json.dumps(
                {
                    "id": seen.key.hex(),
                    "timestamp": seen.started_at / 1000,
                    "model": seen.model,
                    "response_id": seen.response_id,
                    "session_id": seen.session_id,
                    "input_tokens": seen.usage.input_tokens,
                    "output_tokens": seen.usage.output_tokens,
                }
            ).encode()
            + b"\n"
        )
    assert len(told) > 80
    folder = tmp_path / "records"
    folder.mkdir()
    gateway = fleet.node("gateway")
    fleet.node("programs", folder, kind="usage")
    with Writer(gateway.log) as writer, (folder / "2026-02-01.jsonl").open("ab", buffering=0) as file:
        for at in range(0, 200, 40):
            share = len(told) * at // 200, len(told) * (at + 40) // 200
            put(writer, iter(records[at : at + 40]), 40)
            file.write(b"".join(told[share[0] : share[1]]))
        fleet.has(expected)
        wait_for("the other witness was heard", lambda: fleet.joined() == len(told))
    wait_for("each call counts once", lambda: totals(fleet.store.slices()) == expected.total)
    assert fleet.store.verify() == []
