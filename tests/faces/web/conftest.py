"""One served monitor a module of tests, and one browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from monitor.samples import Expected
from tests.faces.web import site as made
from tests.faces.web.site import Site

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


class Opener:
    """Pages of one browser, each in a context of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def __call__(self, address: str, **context: Any) -> Page:
        """The page at `address`; `context` says what kind of viewer it is."""
        made = self._browser.new_context(**{"locale": "en-US", "timezone_id": "UTC", **context})
        made.set_default_timeout(20_000)
        self._contexts.append(made)
        page = made.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))
        page.goto(address)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            context.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A monitor that has read samples, a conversation, a session of 2,000 rounds, and markup in every field."""
    folder = tmp_path_factory.mktemp("site")
    log, expected = folder / "access.log", Expected()
    long = [made.record(made.LONG, number) for number in range(1, made.LONG_ROUNDS + 1)]
    more = [*long, *made.conversation(), *made.hostile()]
    made.write_log(log, expected, more)
    with made.serving(log, folder / "data", rounds=expected.total.rounds + len(more)) as base:
        yield Site(base, log, expected)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium refuses to start with its sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Opens pages in contexts of their own, and holds against the test whatever the browser complained of."""
    opener = Opener(browser)
    yield opener
    opener.close()
    assert opener.complaints == []
