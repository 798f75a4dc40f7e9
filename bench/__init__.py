"""Benchmarks: ratios of things that were measured side by side in one run, so that any machine will do."""
