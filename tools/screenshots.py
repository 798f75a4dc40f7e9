"""Makes the pictures of the pages that the documentation shows.

``python -m tools.screenshots`` runs the demo in a folder of its own, opens its pages in Chromium and writes
``docs/images/*.png``.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, sync_playwright

from monitor.faces.serving import first_free_port

_TARGET = Path(__file__).parents[1] / "docs" / "images"
_LARGEST = 200_000
_SESSION = f"/session?id={quote('agent:main:discord:channel:1480012345678905678', safe='')}"
_BUDGETS = """
[[budgets]]
name = "whole team"
limit = "3.00"
currency = "USD"
period = "day"

[[budgets]]
name = "consumers"
tokens = 8_000_000
period = "month"
per = "consumer"
"""
_DESK: dict[str, Any] = {"viewport": {"width": 1240, "height": 860}, "locale": "en-US"}
_PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 780},
    "device_scale_factor": 1.5,
    "is_mobile": True,
    "locale": "en-US",
}


@dataclass(frozen=True)
class Picture:
    """A page as one viewer sees it."""

    name: str
    path: str
    viewer: dict[str, Any] = field(default_factory=lambda: _DESK)
    #: What is scrolled to the top of the picture.
    at: str | None = None


PICTURES = (
    Picture("overview", "/"),
    Picture("overview-dark", "/", {**_DESK, "color_scheme": "dark"}),
    Picture("overview-zh", "/", {**_DESK, "locale": "zh-CN"}),
    Picture("overview-phone", "/", _PHONE),
    Picture("session", _SESSION),
    Picture("session-rounds", _SESSION, at="#rounds-title"),
    Picture("session-phone", _SESSION, _PHONE, at=".charts"),
    Picture("models", "/models"),
    Picture("budgets", "/budgets"),
)


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """The address of the demo, once it answers."""
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        (Path(folder) / "session-monitor.toml").write_text(_BUDGETS)
        port = first_free_port(8870)
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor.faces.cli", "demo", "--data-dir", "data", "--port", str(port)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            base = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while not _answers(f"{base}/healthz"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the demo does not start: try  session-monitor demo")
                time.sleep(0.2)
            yield base
        finally:
            process.terminate()
            process.wait(timeout=20)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def take(browser: Browser, base: str, picture: Picture) -> int:
    """Write one picture; the size of its file."""
    context = browser.new_context(**picture.viewer, timezone_id="UTC")
    page = context.new_page()
    page.goto(base + picture.path)
    if page.locator(".plot").count():
        page.locator(".plot canvas").first.wait_for()
    if picture.at is not None:
        page.locator(picture.at).first.evaluate("element => scrollTo(0, element.getBoundingClientRect().top - 16)")
    path = _TARGET / f"{picture.name}.png"
    page.screenshot(path=path, animations="disabled")
    context.close()
    return path.stat().st_size


def main() -> int:
    """Take all pictures; 1 where one of them is too large for a repository."""
    _TARGET.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("Chromium is not installed; on Debian: apt-get install chromium fonts-noto-cjk", file=sys.stderr)
        return 2
    too_large = []
    with demo() as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for picture in PICTURES:
            size = take(browser, base, picture)
            print(f"{picture.name}.png  {size // 1000} KB")
            if size > _LARGEST:
                too_large.append(picture.name)
        browser.close()
    if too_large:
        print(f"larger than {_LARGEST // 1000} KB: {', '.join(too_large)}", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
