"""Programs that record usage are killed in the middle of it: what was recorded is there, once."""

from __future__ import annotations

import json
import random
import subprocess
from contextlib import closing
from pathlib import Path

from monitor.config import load
from monitor.runtime import Runtime
from tests.helpers import end, script, start, wait_for

_WRITER = """
import sys
from monitor import get_usage_monitor
m = get_usage_monitor(sys.argv[1])
number = 0
while True:
    number += 1
    record = m.record_usage(model="qwen-plus", input_tokens=number, output_tokens=1, user_id=sys.argv[2],
                            session_id="s" * (number % 400 + 1), function=sys.argv[3])
    print(record["id"], flush=True)  # only now the program counts on it
"""


def recorded(folder: Path) -> list[bytes]:
    return [line for path in folder.glob("*.jsonl") for line in path.read_bytes().split(b"\n")]


def killed_after(folder: Path, writers: list[subprocess.Popen[str]], lines: int) -> list[list[str]]:
    """Kill the writers once the files hold so many lines more; what each had been told by then."""
    before = len(recorded(folder))
    wait_for("records are written", lambda: len(recorded(folder)) >= before + lines)
    for writer in writers:
        writer.kill()
    told = [writer.communicate()[0].splitlines() for writer in writers]
    end(writers)
    return [[line for line in some if len(line) == 32] for some in told]


def test_what_was_recorded_outlives_a_kill_and_counts_once(tmp_path: Path) -> None:
    folder, data = tmp_path / "records", tmp_path / "data"
    rng = random.Random(7)
    folder.mkdir()
    ingester = start("ingest", "--log-path", folder, "--data-dir", data)
    promised: set[str] = set()
    killed = 0
    try:
        for run in range(4):
            writers = [script(_WRITER, folder, f"user {n}", f"run {run}") for n in range(3)]
            for some in killed_after(folder, writers, rng.randrange(50, 400)):
                promised |= set(some)
                killed += 1
            if run % 2:
                ingester.kill()
                ingester.wait()
                ingester = start("ingest", "--log-path", folder, "--data-dir", data)
    finally:
        end([ingester])
    lines = [line for line in recorded(folder) if line]
    whole, torn = {}, 0
    for line in lines:
        try:
            record = json.loads(line)
            whole[record["id"]] = record
        except ValueError:
            torn += 1
    assert torn <= killed
    assert len(whole) == len(lines) - torn
    assert promised <= whole.keys()
    runtime = Runtime(load(data_dir=data), log_paths=[folder])
    with closing(runtime):
        with runtime.ingesting() as reader:
            reader.once()
        assert runtime.store.verify() == []
        slices = runtime.store.slices()
        assert sum(part.counts.rounds for part in slices) == len(whole)
        assert sum(part.counts.input_tokens or 0 for part in slices) == sum(r["input_tokens"] for r in whole.values())
        users = {name: sum(p.counts.rounds for p in parts) for name, parts in runtime.store.by("user_id").items()}
        assert users == {
            user: sum(r["user_id"] == user for r in whole.values()) for user in {r["user_id"] for r in whole.values()}
        }
        assert sum(line.count for line in runtime.store.skipped() if line.reason == "malformed") == torn


def test_a_record_after_a_torn_one_begins_on_its_own_line(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    writer = script(_WRITER, folder, "user", "run")
    killed_after(folder, [writer], 20)
    (path,) = folder.glob("*.jsonl")
    torn = path.read_bytes()[:-40]  # as if the last write had not come to its end
    path.write_bytes(torn)
    whole = torn.count(b"\n")
    second = script(_WRITER, folder, "user", "again")
    (told,) = killed_after(folder, [second], 20)
    good, bad = [], 0
    for line in path.read_bytes().splitlines():
        try:
            good.append(json.loads(line)["id"])
        except ValueError:
            bad += 1
    assert bad in (1, 2)  # the one made here, and one more if the second was killed in the middle of a write
    assert len(good) >= whole + len(told)
    assert set(told) <= set(good)
