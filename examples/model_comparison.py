"""What each model costs, how fast it is and how often it fails.

python examples/model_comparison.py --days 30
"""

from __future__ import annotations

import argparse
from collections import defaultdict

from monitor import ModelPricing, get_usage_monitor


def main() -> None:
    """Compare the models of the last days, and price the same tokens on two others."""
    parser = argparse.ArgumentParser(description="Compare models by what they cost and how they work.")
    parser.add_argument("folder", nargs="?", default="records/ai_usage")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--others", nargs="*", default=["qwen-turbo", "gpt-4o-mini"], help="models to price as well")
    arguments = parser.parse_args()
    calls = defaultdict(list)
    for record in get_usage_monitor(arguments.folder).get_records(days=arguments.days):
        calls[record.model].append(record)
    if not calls:
        print("There are no records yet.")
        return
    print(f"{'model':<24}{'calls':>7}{'ok':>8}{'tokens':>12}{'avg ms':>9}  cost a call")
    for model, records in sorted(calls.items()):
        tokens = sum(record.total_tokens or 0 for record in records)
        took = [record.duration_ms for record in records if record.duration_ms is not None]
        good = sum(record.success for record in records) / len(records)
        priced = [record for record in records if record.cost is not None]
        mean = sum(record.cost for record in priced) / len(priced) if priced else None
        each = f"{mean:.6f} {priced[0].currency}" if mean is not None else "no price"
        speed = f"{sum(took) / len(took):.0f}" if took else "-"
        print(f"{model:<24}{len(records):>7}{good:>8.1%}{tokens:>12,}{speed:>9}  {each}")
    into = sum(record.input_tokens or 0 for records in calls.values() for record in records)
    out = sum(record.output_tokens or 0 for records in calls.values() for record in records)
    print(f"\nThe same {into:,} and {out:,} tokens on other models:")
    for model in arguments.others:
        pricing = ModelPricing.get_pricing(model)
        cost = ModelPricing.calculate_cost(model, into, out)
        print(f"{model:<24}" + (f"{cost:.4f} {pricing['currency']}" if pricing and cost is not None else "no price"))


if __name__ == "__main__":
    main()
