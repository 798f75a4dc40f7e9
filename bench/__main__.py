"""Measures everything and prints one table: goal, ratio, met or not, and the figures behind it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bench import asking, fleet, reading, recording, serving, waiting
from bench.measure import FULL, QUICK, Row, Sizes

PARTS: dict[str, Callable[[Sizes], Iterator[Row]]] = {
    "ingest": reading.speed,
    "session": reading.long_session,
    "stored": reading.stored,
    "answers": asking.answers,
    "spawn": asking.spawn,
    "told": waiting.told,
    "idle": waiting.idle,
    "memory": reading.memory,
    "served": serving.served,
    "record": recording.recording,
    "witnesses": recording.witnesses,
    "fleet": fleet.fleet,
}
#: Only where they are named: they start a cluster, which is fetched first.
_ASKED_FOR = {"fleet"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; a missed goal is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that all runs, not how fast")
    parser.add_argument("--large", action="store_true", help="ask stores of 10 M and 1 M rounds (many minutes)")
    parser.add_argument("--json", action="store_true", dest="json_", help="print JSON")
    given = parser.parse_args(arguments)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if not sys.platform.startswith("linux"):
        parser.error("other processes' CPU time and memory are read as Linux tells them")
    sizes = QUICK if given.quick else FULL
    if given.large:
        sizes = replace(sizes, name=f"{sizes.name}, large", small_store=1_000_000, large_store=10_000_000)
    began = time.perf_counter()
    rows = []
    for name, part in PARTS.items():
        if name in given.parts or (not given.parts and name not in _ASKED_FOR):
            print(f"… {name}", file=sys.stderr, flush=True)
            for row in part(sizes):
                rows.append(row)
                print(f"  {row.name}: {_number(row.measured)}{_unit(row)}", file=sys.stderr, flush=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    seconds = round(time.perf_counter() - began)
    if given.json_:
        print(json.dumps({"sizes": sizes.name, "machine": machine, "rows": [row.as_json() for row in rows]}, indent=1))
    else:
        print(table(rows))
        print(f"\n{sizes.name} sizes, {machine}, {seconds} s")
    return 0


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | goal | measured | | figures |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        bound = "≥" if row.better == "more" else "≤"
        met = "met" if row.met else "missed"
        lines.append(
            f"| {row.name} | {bound} {_number(row.goal)}{_unit(row)} | {_number(row.measured)}{_unit(row)} | {met} | "
            f"{row.figures} |"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.3g}"


def _unit(row: Row) -> str:
    return row.unit if row.unit in ("x", "") else f" {row.unit}"


if __name__ == "__main__":
    sys.exit(main())
