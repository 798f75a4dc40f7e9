"""A browser at the door: the description of the API, the form, and a link that a user gets from an agent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.faces.web.conftest import Opener
from tests.faces.web.served import MAIN, daemon, sample, wait_until_read
from tests.faces.web.site import Site

pytestmark = pytest.mark.xdist_group("browser")


def test_the_description_is_shown_and_tried_under_the_strict_policy(site: Site, opened: Opener) -> None:
    page = opened(site.at("/api/docs"))
    expect(page.get_by_role("heading", name=re.compile("Agent Session Monitor"))).to_be_visible()
    stats = page.locator("#operations-Sessions_and_spending-all_stats_api_stats_get")
    stats.locator(".opblock-summary-control").click()
    stats.get_by_role("button", name="Try it out").click()
    stats.get_by_role("button", name="Execute").click()
    expect(stats.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


def test_a_token_is_typed_in_and_a_link_opens_one_session(tmp_path: Path, opened: Opener) -> None:
    place = sample(tmp_path)
    with daemon(place, "--token", "auto", http="0.0.0.0:0") as served:
        wait_until_read(served, place, served.token)
        with served.client(served.token) as client:
            link = client.get("/api/session_url", params={"id": MAIN}).json()["url"]
        user = opened(link.replace("localhost", "127.0.0.1"))
        assert user.url == f"{served.base}/session?id=agent%3Amain%3Amain"
        expect(user.get_by_role("heading", level=1)).to_have_text(MAIN)
        user.reload()
        expect(user.get_by_role("heading", level=1)).to_have_text(MAIN)
        expect(user.locator("#live")).to_have_text("Live")
        user.goto(f"{served.base}/")
        user.get_by_label(re.compile("Token")).fill(served.token)
        user.get_by_role("button", name=re.compile("Log in")).click()
        expect(user.locator("#sessions a.id").first).to_be_visible()
        assert "token" not in user.url
    # What the browser says of the answers that ask for a token is meant.
    opened.complaints[:] = [said for said in opened.complaints if "401" not in said]
