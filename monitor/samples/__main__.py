"""The command ``python -m monitor.samples``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from monitor.samples.expected import Expected
from monitor.samples.gateway import lines
from monitor.samples.profiles import PROFILES

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _size(text: str) -> int:
    digits = text.rstrip("BbKkMmGgIi ")
    unit = text[len(digits) :].strip().upper() or "B"
    try:
        return int(float(digits) * _UNITS[unit])
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"not a size: {text!r} (try 100MB or 2GiB)") from None


def _moment(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time: {text!r} (try 2026-02-01T09:30:00Z)") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a sample log to a file, and the totals that are in it to stdout as JSON."""
    parser = argparse.ArgumentParser(prog="python -m monitor.samples", description=main.__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="demo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bytes", type=_size, help="stop after the line that reaches this size, e.g. 100MB")
    parser.add_argument("--lines", type=int, help="stop after so many lines")
    parser.add_argument("--start", type=_moment, help="when the first session may begin (UTC)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    profile = PROFILES[options.profile]
    if options.start is not None:
        profile = replace(profile, start=options.start)
    if profile.total_sessions is None and options.bytes is None and options.lines is None:
        parser.error(f"profile {profile.name} never ends: give --bytes or --lines")
    expected = Expected()
    with options.output.open("wb", buffering=1 << 20) as file:
        if options.bytes != 0:
            for line in lines(profile, options.seed, options.lines, expected):
                file.write(line)
                if options.bytes is not None and expected.bytes >= options.bytes:
                    break
    json.dump(expected.as_json(), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
    sys.stderr.write(f"{expected.lines} lines, {expected.bytes} bytes in {options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
