"""Many clients at once, while the log grows: every page is served, and every round is counted once."""

from __future__ import annotations

from pathlib import Path

from bench.serving import PATHS, load


def test_many_clients_are_served_while_the_log_grows_and_no_round_is_lost(tmp_path: Path) -> None:
    found = load(tmp_path, clients=64, requests=len(PATHS))
    assert found.failed == []
    assert len(found.seconds) == 56 * len(PATHS)
    assert found.events > 0
    assert found.written > 1_000
    assert found.counted == found.written
