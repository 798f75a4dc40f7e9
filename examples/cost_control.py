"""Ask before each call whether today's money is spent, and record the call.

python examples/cost_control.py --limit 5 --calls 3
"""

from __future__ import annotations

import argparse
import sys

from monitor import UsageMonitor, get_usage_monitor

MODEL = "qwen-plus"


class Spent(Exception):
    """Today's money is spent."""


def call_model(question: str) -> dict[str, object]:
    """Stands in for the SDK that a program uses; the answer has the shape of OpenAI's."""
    return {
        "model": MODEL,
        "choices": [{"message": {"role": "assistant", "content": f"About {question}: it depends."}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
    }


def ask(monitor: UsageMonitor, question: str, limit: float) -> dict[str, object]:
    """One call, if there is money left for it."""
    spent = monitor.get_daily_summary().total_cost
    if spent >= limit:
        raise Spent(f"{spent:.4f} of {limit:g} {monitor.currency} are spent today")
    with monitor.track(model=MODEL, function="cost_control") as call:
        answer = call_model(question)
        call.usage(answer)
    return answer


def main() -> int:
    """Make some calls, and say what they cost; exits with 1 when the money is spent."""
    parser = argparse.ArgumentParser(description="Make some calls, within a daily limit.")
    parser.add_argument("folder", nargs="?", default="records/ai_usage")
    parser.add_argument("--limit", type=float, default=5.0, help="how much may be spent a day")
    parser.add_argument("--calls", type=int, default=3)
    arguments = parser.parse_args()
    monitor = get_usage_monitor(arguments.folder)
    for number in range(arguments.calls):
        try:
            ask(monitor, f"question {number + 1}", arguments.limit)
        except Spent as reason:
            print(f"call {number + 1} was not made: {reason}")
            return 1
    today = monitor.get_daily_summary()
    print(f"{today.total_calls} calls today, {today.total_tokens:,} tokens")
    print(f"{today.total_cost:.4f} of {arguments.limit:g} {today.currency} are spent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
