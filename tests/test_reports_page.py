"""What docs/reports.md tells people to put into cron and systemd works there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faces.conftest import place  # noqa: F401 - a fixture
from tests.faces.place import Place
from tests.helpers import environment
from tests.terminal import COMMAND

PAGE = (Path(__file__).parent.parent / "docs" / "reports.md").read_text("utf-8")


def block(language: str, containing: str = "") -> str:
    found = [
        text
        for text in re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if containing in text
    ]
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def home(place: Place) -> Path:  # noqa: F811
    """A home with an installation where the page has it, which has read a log before."""
    folder = place.folder / "home of someone"
    (folder / "session-monitor" / "bin").mkdir(parents=True)
    (folder / "session-monitor" / "bin" / "session-monitor").symlink_to(COMMAND)
    variables = {**environment(), "HOME": str(folder)}
    variables.pop("XDG_STATE_HOME", None)
    subprocess.run([COMMAND, "ingest", "--once", "--log-path", place.log], env=variables, check=True)
    return folder


def test_the_line_for_cron_writes_a_report(home: Path) -> None:
    fields = block("cron").strip().split(maxsplit=5)
    assert all(re.fullmatch(r"\*|\d+", field) for field in fields[:5])
    command = fields[5]
    # What cron does: everything from an unescaped % on is input, and there is hardly any environment.
    assert "%" not in command
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": str(home), "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "LOGNAME": "someone"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (report,) = (home / "reports").iterdir()
    assert report.name.endswith(".html")
    assert str(report) in done.stderr
    assert done.stdout == ""


def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    bin_ = Path(sys.executable).parent
    service = block("ini", "ExecStart=").replace("%h/session-monitor/bin", str(bin_))
    timer = block("ini", "OnCalendar=")
    names = re.findall(r"systemd/user/([\w.-]+)`", PAGE)
    assert names == ["session-monitor-report.service", "session-monitor-report.timer"]
    for name, text in zip(names, (service, timer), strict=True):
        (tmp_path / name).write_text(text)
    assert f"enable --now {names[1]}" in PAGE
    assert "ExecStart" in service
    if shutil.which("systemd-analyze") is None:
        return  # the checks above are what is left without systemd
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_LOG_LEVEL": "warning"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "session-monitor-report" not in done.stderr


def test_the_command_of_the_unit_writes_a_report(home: Path) -> None:
    service = block("ini", "ExecStart=")
    steps = [line.partition("=")[2] for line in service.splitlines() if line.startswith("ExecStart")]
    for step in steps:
        words = [word.replace("%h", str(home)) for word in step.split()]
        subprocess.run(words, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, check=True, capture_output=True)
    assert [path.suffix for path in (home / "reports").iterdir()] == [".html"]


def test_the_python_on_the_page_writes_a_report(home: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block("python")],
        cwd=tmp_path,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "report.html\n"
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
