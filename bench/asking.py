"""Answers over stdio: against a server that has them ready, against a smaller store, and from the first spawn."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from statistics import median

from bench import big_store
from bench.measure import Peer, Row, Sizes, bare_server, cpu_of, our_server, ratio, scratch

_QUESTIONS: tuple[tuple[str, dict[str, str]], ...] = (
    ("get_session", {"session_id": big_store.ASKED}),
    ("list_sessions", {}),
    ("stats_by_model", {}),
)


def answers(sizes: Sizes) -> Iterator[Row]:
    """Three tools over a large store: against an echo of the same objects, and against a small store."""
    with scratch("asking") as folder:
        large, small = folder / "large", folder / "small"
        big_store.build(large, sizes.large_store)
        big_store.build(small, sizes.small_store)
        ready = folder / "ready.json"
        with Peer(our_server(large), folder) as ours, Peer(our_server(small), folder) as less:
            ours.hello()
            less.hello()
            found = {tool: ours.call(tool, given)["structuredContent"] for tool, given in _QUESTIONS}
            ready.write_text(json.dumps(found))
            against_echo: list[Row] = []
            with Peer(bare_server(ready), folder) as echo:
                echo.hello()
                peers = {"ours": ours, "less": less, "echo": echo}
                for tool, given in _QUESTIONS:
                    cpu, wall = _blocks(peers, tool, given, sizes)
                    size = len(json.dumps(found[tool]))
                    against_echo.append(
                        Row(
                            f"{tool} at {_count(sizes.large_store)} rounds against echo",
                            1.5,
                            "less",
                            ratio(cpu["ours"], cpu["echo"]),
                            "x",
                            f"CPU {_ms(cpu['ours'])} against {_ms(cpu['echo'])} ms a call of {size} bytes; "
                            f"until answered {_ms(wall['ours'])} against {_ms(wall['echo'])} ms",
                        )
                    )
                    yield Row(
                        f"{tool} at {_count(sizes.large_store)} rounds against {_count(sizes.small_store)}",
                        1.2,
                        "less",
                        ratio(cpu["ours"], cpu["less"]),
                        "x",
                        f"CPU {_ms(cpu['ours'])} against {_ms(cpu['less'])} ms a call",
                    )
            yield from against_echo


def _blocks(
    peers: dict[str, Peer], tool: str, given: dict[str, str], sizes: Sizes
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """CPU seconds of the servers and seconds until the answer, a call, block by block in turns."""
    cpu: dict[str, list[float]] = {name: [] for name in peers}
    wall: dict[str, list[float]] = {name: [] for name in peers}
    for block in range(sizes.blocks + 1):
        for name, peer in peers.items():
            began, used = time.perf_counter(), cpu_of(peer.pid)
            for _ in range(sizes.calls):
                peer.call(tool, given)
            if block:  # the first one warms up
                cpu[name].append((cpu_of(peer.pid) - used) / sizes.calls)
                wall[name].append((time.perf_counter() - began) / sizes.calls)
    return cpu, wall


def spawn(sizes: Sizes) -> Iterator[Row]:
    """From the start of a process to its list of tools."""
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    used: dict[str, list[float]] = {"ours": [], "bare": []}
    with scratch("spawn") as folder:
        for turn in range(sizes.spawns + 1):
            for name, command in (("ours", our_server(folder / "data")), ("bare", bare_server())):
                began = time.perf_counter()
                with Peer(command, folder) as peer:
                    peer.hello()
                    peer.ask("tools/list", {})
                    took, cpu = time.perf_counter() - began, cpu_of(peer.pid)
                if turn:
                    times[name].append(took)
                    used[name].append(cpu)
    yield Row(
        "spawn to tools/list against a bare server",
        1.2,
        "less",
        ratio(times["ours"], times["bare"]),
        "x",
        f"{_ms(times['ours'])} against {_ms(times['bare'])} ms, CPU {_ms(used['ours'])} against {_ms(used['bare'])} ms",
    )


def _ms(seconds: list[float]) -> str:
    return f"{1e3 * median(seconds):.2f}"


def _count(rounds: int) -> str:
    return f"{rounds // 1_000_000} M" if rounds >= 1_000_000 else f"{rounds // 1000} k"
