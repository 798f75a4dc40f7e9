"""At which hours of the day the calls come.

python examples/hourly_peak.py --days 7
"""

from __future__ import annotations

import argparse

from monitor import get_usage_monitor

WIDTH = 40


def main() -> None:
    """Draw the hours of the day, and name the busiest."""
    parser = argparse.ArgumentParser(description="Show at which hours the calls come.")
    parser.add_argument("folder", nargs="?", default="records/ai_usage")
    parser.add_argument("--days", type=int, default=1)
    arguments = parser.parse_args()
    hours = get_usage_monitor(arguments.folder).get_hourly(days=arguments.days)
    most = max(hour.calls for hour in hours)
    if not most:
        print("There are no records yet.")
        return
    for hour in hours:
        bar = "#" * round(WIDTH * hour.calls / most)
        print(f"{hour.hour:02d}:00  {hour.calls:>6}  {bar}")
    peak = max(hours, key=lambda hour: hour.calls)
    total = sum(hour.calls for hour in hours)
    print(f"\nThe peak is {peak.hour:02d}:00 to {peak.hour:02d}:59 with {peak.calls} of {total} calls.")


if __name__ == "__main__":
    main()
