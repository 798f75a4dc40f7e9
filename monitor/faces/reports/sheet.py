"""A report as one CSV file: the first column names the section, so that a spreadsheet can filter by it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from monitor.answers.base import Money
from monitor.answers.groups import GroupRow
from monitor.answers.report import FinOpsReport, HourRow
from monitor.answers.stats import DateRow, Figures, ModelRow
from monitor.faces.cells import decimal, safe, visible

_COUNTS = (
    "sessions",
    "rounds",
    "failed_rounds",
    "unmetered_rounds",
    "lower_bound_rounds",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "total_tokens",
    "success_rate",
    "avg_latency_ms",
)
_SECTIONS = (
    "by_model",
    "by_date",
    "by_hour",
    "by_consumer",
    "by_function",
    "by_route",
    "by_agent",
    "by_user",
    "by_host",
    "by_source",
    "by_session",
)


def sheet(report: FinOpsReport) -> str:
    """The text of the CSV file."""
    rows: list[tuple[str, str, Figures]] = [("totals", "", report.totals)]
    if report.before is not None:
        rows.append(("before", f"{report.before.since} {report.before.until}", report.before.totals))
    for section in _SECTIONS:
        rows += [(section, _name(row), row) for row in getattr(report, section)]
    currencies = sorted({currency for _, _, row in rows for currency in row.cost or {}})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["section", "name", "value", *_COUNTS, *(f"cost_{currency}" for currency in currencies)])
    blank = [""] * (len(_COUNTS) + len(currencies))
    for section, name, value in _facts(report):
        writer.writerow([section, name, value, *blank])
    for section, name, row in rows:
        writer.writerow([section, safe(visible(name)), "", *_counts(row), *_amounts(row.cost, currencies)])
    for failed in report.failures.newest:
        said = f"{failed.status if failed.status is not None else ''} {failed.model or ''}".strip()
        where = f"{failed.timestamp or ''} {failed.session_id or ''} #{failed.round}".strip()
        writer.writerow(["failures", safe(visible(where)), safe(visible(said)), *blank])
    return out.getvalue()


def _facts(report: FinOpsReport) -> Iterator[tuple[str, str, str]]:
    """What is one value: ours, not the log's, so that a change of -0.1 stays a number."""
    for name in ("schema_version", "created_at", "as_of", "behind_bytes", "timezone", "since", "until"):
        if (value := getattr(report, name)) is not None:
            yield "about", name, str(value)
    for name, value in report.priced.small().items():
        for one in value if isinstance(value, list) else [value]:
            yield "priced", name, str(one)
    if report.before is not None:
        for name, value in report.before.change.small().items():
            if isinstance(value, dict):
                for currency, change in value.items():
                    yield "change", f"{name}_{currency}", str(change)
            else:
                yield "change", name, str(value)
    yield "forecast", "month", report.forecast.month
    for name in ("cost", "low", "high"):
        for currency, amount in (getattr(report.forecast, name) or {}).items():
            yield "forecast", f"{name}_{currency}", decimal(amount)
    yield "forecast", "how", report.forecast.how
    if report.failures.rate is not None:
        yield "failures", "rate", str(report.failures.rate)


def _name(row: Figures) -> str:
    match row:
        case ModelRow():
            return row.model
        case DateRow():
            return row.date or ""
        case HourRow():
            return f"{row.hour:02d}"
        case GroupRow():
            return row.name or ""
        case _:
            return ""


def _counts(row: Figures) -> list[str]:
    return ["" if (value := getattr(row, name)) is None else str(value) for name in _COUNTS]


def _amounts(cost: Money | None, currencies: Sequence[str]) -> list[str]:
    return [decimal((cost or {}).get(currency)) for currency in currencies]
