"""What was unusually dear, slow or failing, and the slowest calls.

python examples/anomalies.py --days 1 --min-ms 5000
"""

from __future__ import annotations

import argparse
import sys

from monitor import get_usage_monitor


def main() -> int:
    """List what is unusual; exits with 1 where there is anything, for a job that watches."""
    parser = argparse.ArgumentParser(description="List unusual and slow calls.")
    parser.add_argument("folder", nargs="?", default="records/ai_usage")
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--min-ms", type=int, default=5000)
    arguments = parser.parse_args()
    monitor = get_usage_monitor(arguments.folder)
    found = monitor.get_anomalies(days=arguments.days)
    for anomaly in found:
        print(f"{anomaly.severity}: {anomaly.kind}: {anomaly.why}")
    slow = monitor.get_slow_calls(min_ms=arguments.min_ms, days=arguments.days)
    for call in slow[:5]:
        print(f"slow: {call.duration_ms:,} ms: {call.model}, {call.function or 'no function'}")
    if not found and not slow:
        print("Nothing is unusual.")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
