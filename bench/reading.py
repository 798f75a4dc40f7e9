"""From a log into the store: speed, cost of long sessions, size on disk, memory."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import orjson

from bench.measure import (
    Peer,
    Row,
    Sizes,
    bare_server,
    cpu_seconds,
    environment,
    peak_memory_of,
    ratio,
    scratch,
    side_by_side,
)
from monitor import samples
from monitor.ingest import Ingester, LogSource
from monitor.prices.catalog import Catalog
from monitor.store.sqlite import SqliteStore

_SEED = 7
_AI = b'{"ai_log":"{'
_WORDS = (
    "the",
    "log",
    "says",
    "that",
    "route",
    "tool",
    "answer",
    "cache",
    "token",
    "price",
    "gateway",
    "wrote",
    "read",
)


def speed(sizes: Sizes) -> Iterator[Row]:
    """Ingestion with conversations against reading the same lines and decoding their two layers of JSON."""
    catalog = Catalog.load()
    for profile, count, size, goal in (
        (samples.LONG, sizes.long_lines, "190 KB", 4.0),
        (samples.MEDIUM, sizes.medium_lines, "22 KB", 0.6),
        (samples.SHORT, sizes.short_lines, "2 KB", 0.25),
    ):
        with scratch("speed") as folder:
            log = folder / "access.log"
            _write(log, samples.lines(profile, _SEED, count))
            turns = iter(range(1000))
            ours, bare = side_by_side(
                sizes.repeats,
                lambda log=log, folder=folder, turns=turns: cpu_seconds(  # type: ignore[misc]
                    lambda: _ingest(log, folder / f"data{next(turns)}", catalog)
                ),
                lambda log=log: cpu_seconds(lambda: _decode(log)),  # type: ignore[misc]
            )
            mb = log.stat().st_size / 1e6
            us = 1e6 / count
            yield Row(
                f"ingest, lines of {size}",
                goal,
                "more",
                ratio(bare, ours),
                "x",
                f"{mb / median(ours):.0f} MB/s, {us * median(ours):.0f} us a line; "
                f"orjson {mb / median(bare):.0f} MB/s, {us * median(bare):.0f} us ({mb:.0f} MB)",
            )


def _write(log: Path, lines: Iterator[bytes]) -> None:
    with log.open("wb") as file:
        file.writelines(lines)


def _ingest(log: Path, data: Path, catalog: Catalog) -> None:
    store = SqliteStore(data, price_version=catalog.version)
    source = LogSource(log, store, catalog)
    Ingester([source], store).once()
    source.close()
    store.close()


def _decode(log: Path) -> None:
    """The floor: every line and its `ai_log` as Python objects, and nothing done with them."""
    loads = orjson.loads
    with log.open("rb") as file:
        for line in file:
            if line.startswith(_AI):
                loads(loads(line)["ai_log"])


def long_session(sizes: Sizes) -> Iterator[Row]:
    """A session's thousandth round against tenth rounds, one round a batch, each with as much new text."""
    compared = sizes.rounds_compared
    old = _session_lines("agent:main:bench:old", sizes.round_bytes)
    young = [_session_lines(f"agent:main:bench:young-{n}", sizes.round_bytes) for n in range(compared)]
    catalog = Catalog.load()
    with scratch("session") as folder, (folder / "access.log").open("wb", buffering=0) as log:
        store = SqliteStore(folder / "data", price_version=catalog.version)
        source = LogSource(folder / "access.log", store, catalog)
        ingester = Ingester([source], store)

        def cost(line: bytes) -> float:
            log.write(line)
            before = time.process_time()
            ingester.once()
            return time.process_time() - before

        for _ in range(1000 - compared // 2):
            cost(next(old))
        for lines in young:
            for _ in range(9):
                cost(next(lines))
        late, early = [], []
        size = 0
        for lines in young:
            line = next(old)
            size = len(line)
            late.append(cost(line))
            early.append(cost(next(lines)))
        source.close()
        store.close()
    yield Row(
        "1000th round of a session against its 10th",
        1.1,
        "less",
        median(late) / median(early),
        "x",
        f"{1e3 * median(late):.2f} ms against {1e3 * median(early):.2f} ms a round of {sizes.round_bytes} new bytes, "
        f"a pass and a transaction each; the 1000th line has {size / 1000:.0f} KB",
    )


def _session_lines(session_id: str, size: int) -> Iterator[bytes]:
    """The rounds of one session without end: each says `size` bytes more and repeats all that was said before."""
    r = random.Random(session_id)
    said: list[bytes] = []
    number = 0
    while True:
        number += 1
        # What stands around the text takes some ninety bytes.
        text = " ".join(r.choices(_WORDS, k=size // 4))[: size - 90]
        role = "user" if number == 1 else "assistant"
        said.append(f'{{\\"content\\":\\"{number} {text}\\",\\"role\\":\\"{role}\\"}}'.encode())
        said.append(b'{\\"content\\":\\"Go on.\\",\\"role\\":\\"user\\"}')
        at = 1_769_938_200_000 + number * 1000
        yield (
            b'{"ai_log":"{\\"answer\\":\\"Yes.\\",\\"chat_id\\":\\"chatcmpl-%d\\",\\"input_token\\":100,'
            b'\\"messages\\":[%b],\\"model\\":\\"gpt-5.4\\",\\"output_token\\":10,\\"question\\":\\"Go on.\\",'
            b'\\"response_type\\":\\"stream\\",\\"session_id\\":\\"%b\\",\\"total_token\\":110}",'
            b'"authority":"gateway.example.com","duration":"900","method":"POST","path":"/v1/chat/completions",'
            b'"request_id":"%032x","response_code":"200","response_flags":"-","route_name":"ai-route",'
            b'"start_time":"%b","upstream_cluster":"outbound|443||llm-openai.internal.dns",'
            b'"response_code_details":"via_upstream"}\n'
        ) % (number, b",".join(said), session_id.encode(), r.getrandbits(128), _time(at))


def _time(ms: int) -> bytes:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d}Z".encode()


def stored(sizes: Sizes) -> Iterator[Row]:
    """What stays on disk of whole sessions of fifty rounds, conversations kept."""
    profile = replace(samples.MEDIUM, total_sessions=sizes.sessions_of_50)
    with scratch("stored") as folder:
        log, data = folder / "access.log", folder / "data"
        _write(log, samples.lines(profile, _SEED))
        _ingest(log, data, Catalog.load())
        for database in data.rglob("*.db"):
            db = sqlite3.connect(database)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
        parts = {path.name: path.stat().st_size for path in data.rglob("*") if path.is_file()}
        kept, size = sum(parts.values()), log.stat().st_size
        largest = ", ".join(f"{name} {n / 1e6:.2f} MB" for name, n in sorted(parts.items()) if n > kept / 20)
    yield Row(
        "stored bytes of the log, sessions of 50 rounds",
        1 / 50,
        "less",
        kept / size,
        "",
        f"1/{size / kept:.0f}: {size / 1e6:.1f} MB of log, {kept / 1e6:.2f} MB kept ({largest})",
    )


def memory(sizes: Sizes) -> Iterator[Row]:
    """The most memory that `ingest --once` ever has above a bare server."""
    with scratch("memory") as folder:
        log = folder / "access.log"
        with log.open("wb") as file:
            for profile in (samples.LONG, samples.MEDIUM):
                wanted = file.tell() + sizes.memory_mb * 500_000
                for line in samples.lines(profile, _SEED):
                    file.write(line)
                    if file.tell() >= wanted:
                        break
        size = log.stat().st_size
        command = [sys.executable, "-c", "from monitor.faces.cli.main import main; main()"]
        command += ["ingest", "--once", "--data-dir", str(folder / "data"), "--log-path", str(log)]
        ours = 0
        process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
        while process.poll() is None:
            ours = max(ours, peak_memory_of(process.pid) or 0)
            time.sleep(0.01)
        if process.returncode:
            raise RuntimeError(f"ingest ended with {process.returncode}")
        with Peer(bare_server(), folder) as bare:
            bare.hello()
            bare.ask("tools/list", {})
            floor = peak_memory_of(bare.pid) or 0
    yield Row(
        "memory of ingestion above a bare server",
        80,
        "less",
        (ours - floor) / 1e6,
        "MB",
        f"{ours / 1e6:.0f} MB at most while {size / 1e6:.0f} MB are read, bare server {floor / 1e6:.0f} MB",
    )
