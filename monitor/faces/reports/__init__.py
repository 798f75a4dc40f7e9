"""The FinOps report as a file: JSON, CSV, or one HTML page with charts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from monitor.answers.errors import BadQuestion
from monitor.answers.report import FinOpsReport
from monitor.config import ConfigError
from monitor.faces.files import write_whole
from monitor.faces.jsontext import json_text
from monitor.faces.words import Language

Format = Literal["json", "csv", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)


def rendered(report: FinOpsReport, format_: Format, *, language: Language = "en") -> str:
    """The text of a report's file."""
    if format_ == "json":
        return json_text(report.small(), indent=2) + "\n"
    if format_ == "csv":
        from monitor.faces.reports.sheet import sheet  # noqa: PLC0415 - one form is asked for at a time

        return sheet(report)
    from monitor.faces.reports.page import page  # noqa: PLC0415

    return page(report, language)


def write_report(report: FinOpsReport, path: Path, format_: Format | None = None, *, language: Language = "en") -> Path:
    """Write a report, whole or not at all, for its owner alone; gives the file.

    In a folder it is named ``usage_report_YYYYMMDD_HHMMSS`` with the suffix of its format. Without `format_` the
    suffix of `path` tells it, and a folder gets JSON.

    Raises:
        BadQuestion: the suffix is none of a report.
        ConfigError: the file can't be written.
    """
    path = path.expanduser()
    if path.is_dir():
        format_ = format_ or "json"
        created = datetime.fromisoformat(report.created_at)
        path /= f"usage_report_{created:%Y%m%d_%H%M%S}.{format_}"
    chosen = format_ or format_of(path)
    try:
        write_whole(path, [rendered(report, chosen, language=language)])
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a file that can be written") from None
    return path


def format_of(path: Path) -> Format:
    """The format that a file's suffix names.

    Raises:
        BadQuestion: it names none.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix == "htm":
        return "html"
    for format_ in FORMATS:
        if suffix == format_:
            return format_
    raise BadQuestion(f"{path.name}: a report is .json, .csv or .html; name such a file, or say --format")
