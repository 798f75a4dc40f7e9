"""A report as one HTML page: nothing is loaded from elsewhere and no script runs, so it can go by mail."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.answers.base import Money
from monitor.answers.groups import GroupRow
from monitor.answers.report import FinOpsReport
from monitor.faces.cells import amount_text
from monitor.faces.reports import charts
from monitor.faces.words import Language, Words

#: Longer tables are cut on the page; JSON and CSV hold them whole.
MOST_ROWS = 30


def page(report: FinOpsReport, language: Language = "en") -> str:
    """The text of the HTML file."""
    import jinja2  # noqa: PLC0415 - other forms need no templates

    say = Words(language)
    zone = ZoneInfo(report.timezone)
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        money=_money,
        count=lambda value: "–" if value is None else f"{value:,}",
        share=lambda value: "–" if value is None else f"{value:.1%}",
        change=lambda value: "–" if value is None else f"{value:+.1%}",
        when=lambda text: f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M}",
    )
    days = charts.days(report.by_date)
    hours = {row.hour: row for row in report.by_hour}
    day_hours = [(f"{hour:02d}:00", hours.get(hour)) for hour in range(24)]
    parts = {"cached": say("from the cache"), "input": say("other input"), "output": say("output")}
    sections = (
        (say("By model"), [(row.model, row) for row in report.by_model]),
        (say("By consumer"), _named(report.by_consumer, say)),
        (say("By function"), _named(report.by_function, say)),
        (say("By route"), _named(report.by_route, say)),
        (say("By agent"), _named(report.by_agent, say)),
        (say("By user"), _named(report.by_user, say)),
        (say("By upstream host"), _named(report.by_host, say)),
        (say("By date"), [(row.date or say("no time"), row) for row in reversed(report.by_date)]),
    )
    return templates.get_template("report.html").render(
        report=report,
        say=say,
        language="zh-CN" if language == "zh" else "en",
        # A section in which everything has the same empty name says nothing.
        sections=[(title, rows) for title, rows in sections if any(name != say("(none)") for name, _ in rows)],
        most_rows=MOST_ROWS,
        cost_charts=[(currency, charts.cost_chart(days, currency)) for currency in report.totals.cost or {}],
        token_chart=charts.token_chart(days, parts),
        hour_chart=charts.token_chart(day_hours, parts),
        parts=parts,
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _named(rows: list[GroupRow], say: Words) -> list[tuple[str, GroupRow]]:
    return [(row.name or say("(none)"), row) for row in rows]


def _money(cost: Money | None) -> str:
    if not cost:
        return "–"
    return " + ".join(f"{currency} {amount_text(amount)}" for currency, amount in cost.items())
