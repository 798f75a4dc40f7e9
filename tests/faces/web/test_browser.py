"""The pages in a real browser: what people do with them, and how it looks to all kinds of viewers."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from tests.conformance import node
from tests.faces.web import site as made
from tests.faces.web.conftest import Opener
from tests.faces.web.served import daemon, sample
from tests.faces.web.site import EVIL, LONG, LONG_ROUNDS, SAMPLE, TALK, Site
from tests.helpers import run, wait_for

pytestmark = pytest.mark.xdist_group("browser")

_PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
_DRAWN = ".plot canvas"


def drawn(page: Page) -> None:
    """Wait until the charts of the page are there."""
    expect(page.locator(_DRAWN).first).to_be_visible()


def listed(page: Page) -> list[str]:
    """The sessions in the table."""
    return page.locator("#sessions a.id").all_inner_texts()


# -- reading and drilling down ------------------------------------------------------------------------------------


def test_a_reader_goes_from_the_overview_to_a_session_and_into_a_round(site: Site, opened: Opener) -> None:
    page = opened(site.at("/", search=TALK))
    drawn(page)
    page.get_by_role("link", name=TALK).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(TALK)
    drawn(page)
    second = page.locator("article", has=page.locator(".number", has_text=re.compile("^2$")))
    expect(second.get_by_text("?? notes.txt")).to_be_visible()
    expect(second.get_by_text("END OF THE ANSWER")).to_have_count(0)
    second.get_by_role("link", name=re.compile("Show all")).click()
    expect(second.get_by_text("END OF THE ANSWER")).to_be_visible()
    expect(second.get_by_text("Which files changed today?")).to_have_count(0)
    second.get_by_role("link", name=re.compile("messages before")).click()
    expect(second.locator(".history").get_by_text("Which files changed today?")).to_be_visible()
    assert page.url == site.at("/session", id=TALK)


def test_figures_are_in_the_viewers_own_way_of_writing(site: Site, opened: Opener) -> None:
    page = opened(site.at("/session", id=LONG), locale="de-DE", timezone_id="Asia/Tokyo")
    rounds = page.locator("#summary .card", has_text="Rounds").locator(".big")
    expect(rounds).to_have_text("2.000")
    last = page.locator("#summary time").last
    # Round 2000 began 16 h 40 min after 08:00 UTC, which is the next morning in Tokyo.
    expect(last).to_have_text(re.compile("Feb.*21.*9:40:00"))


def test_a_session_of_two_thousand_rounds_is_read_from_the_newest_on(site: Site, opened: Opener) -> None:
    page = opened(site.at("/session", id=LONG))
    expect(page.locator("article")).to_have_count(50)
    drawn(page)
    page.locator("#older").scroll_into_view_if_needed()
    expect(page.locator("article").nth(99)).to_be_attached()
    numbers = [int(text) for text in page.locator("article .number").all_inner_texts()]
    assert numbers == list(range(LONG_ROUNDS, LONG_ROUNDS - len(numbers), -1))


def test_a_bar_of_the_chart_leads_to_its_round(site: Site, opened: Opener) -> None:
    page = opened(site.at("/session", id=TALK))
    drawn(page)
    article = page.locator("article", has=page.locator(".number", has_text=re.compile("^1$")))
    article.locator("summary").first.click()
    expect(article.locator("details.round")).not_to_have_attribute("open", "")
    over = page.locator("#plot-rounds .u-over")
    box = over.bounding_box()
    assert box is not None
    over.click(position={"x": box["width"] / 6, "y": box["height"] / 2})
    expect(article.locator("details.round")).to_have_attribute("open", "")


# -- filtering and paging -----------------------------------------------------------------------------------------


def test_filters_and_order_are_in_the_address_and_the_way_back_works(site: Site, opened: Opener) -> None:
    page = opened(site.base)
    drawn(page)
    everything = listed(page)
    page.evaluate("window.sameDocument = true")
    search = page.get_by_role("searchbox")
    search.press_sequentially("explicit:l")
    expect(page.locator("#sessions a.id")).to_have_text([LONG])
    expect(search).to_be_focused()
    expect(page).to_have_url(re.compile("search=explicit%3Al"))
    page.get_by_role("link", name="Clear").click()
    expect(page.locator("#sessions a.id")).to_have_count(len(everything))
    page.get_by_role("link", name="Rounds, sort by this").click()
    expect(page.locator("#sessions a.id").first).to_have_text(LONG)
    expect(page).to_have_url(re.compile("sort_by=rounds"))
    page.locator("#model").select_option("kimi-k2.5")
    expect(page.locator("#sessions a.id").first).not_to_have_text(LONG)
    expect(page).to_have_url(re.compile("sort_by=rounds.*model=kimi-k2.5"))
    page.go_back()
    expect(page.locator("#sessions a.id").first).to_have_text(LONG)
    assert page.evaluate("window.sameDocument") is True
    page.reload()
    expect(page.locator("#sessions a.id").first).to_have_text(LONG)


def test_pages_of_the_list_follow_each_other(site: Site, opened: Opener) -> None:
    page = opened(site.at("/", sort_by="created"))
    first = listed(page)
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("#sessions a.id").first).not_to_have_text(first[0])
    assert not set(first) & set(listed(page))
    page.get_by_role("link", name="First page").click()
    expect(page.locator("#sessions a.id").first).to_have_text(first[0])


def test_everything_is_there_without_scripts(site: Site, opened: Opener) -> None:
    page = opened(site.base, java_script_enabled=False)
    page.get_by_role("searchbox").fill("explicit:talk")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name=TALK).click()
    page.get_by_role("link", name=re.compile("Show all")).first.click()
    expect(page.get_by_text("END OF THE ANSWER").first).to_be_visible()


# -- live ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def growing() -> str:
    """A session of its own, so that tests do not see each other's rounds."""
    return f"agent:main:explicit:growing-{next(_NAMES)}"


_NAMES = itertools.count()


def test_new_rounds_appear_while_what_is_read_stays_as_it_is(site: Site, opened: Opener, growing: str) -> None:
    site.append(*(made.record(growing, number) for number in range(1, 41)))
    page = opened(site.at("/session", id=growing))
    expect(page.locator("article")).to_have_count(40)
    drawn(page)
    expect(page.locator("#live")).to_have_text("Live")
    tenth = page.locator("article", has=page.locator(".number", has_text=re.compile("^10$")))
    tenth.locator("summary").first.click()
    expect(tenth.locator(".answer")).to_be_visible()
    tenth.scroll_into_view_if_needed()
    page.evaluate("window.sameDocument = true")
    before = tenth.bounding_box()
    site.append(made.record(growing, 41, question="What is new?", answer="This is."))
    expect(page.locator("article")).to_have_count(41)
    expect(page.locator("article .number").first).to_have_text("41")
    expect(tenth.locator(".answer")).to_be_visible()
    after = tenth.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) < 2
    expect(page.locator("#summary .card", has_text="Rounds").locator(".big")).to_have_text("41")
    assert page.evaluate("window.sameDocument") is True


def test_without_events_the_page_asks_again_after_thirty_seconds(site: Site, opened: Opener, growing: str) -> None:
    site.append(made.record(growing, 1))
    page = opened("about:blank")
    page.clock.install()
    page.route("**/api/live*", _away)
    page.goto(site.at("/session", id=growing))
    expect(page.locator("#live")).to_have_text("Every 30 s")
    site.append(made.record(growing, 2))
    assert site.get("/api/session", id=growing).json()["messages_count"] == 2
    page.clock.run_for(25_000)
    expect(page.locator("article")).to_have_count(1)
    page.clock.run_for(10_000)
    expect(page.locator("article")).to_have_count(2)


def _away(route: Route) -> None:
    # A status that ends the stream for good; a refused connection would be a complaint of the browser's.
    route.fulfill(status=204)


# -- links from elsewhere -----------------------------------------------------------------------------------------


def test_a_signed_link_opens_its_session_with_all_that_the_page_fetches(tmp_path: Path, opened: Opener) -> None:
    place = sample(tmp_path)
    with daemon(place, "--token", "auto", settings='[web]\nauth = "always"\n') as served:
        with served.client(served.token) as client:
            rounds = place.expected.sessions[SAMPLE].rounds
            session = f"/api/session?id={quote(SAMPLE, safe='')}"
            wait_for("it is read", lambda: client.get(session).json().get("messages_count") == rounds)
        link, _ = run("url", SAMPLE, *place.arguments())
        page = opened(served.base + urlsplit(link.strip())._replace(scheme="", netloc="").geturl())
        expect(page.get_by_role("heading", level=1)).to_have_text(SAMPLE)
        drawn(page)
        expect(page.locator("#live")).to_have_text("Live")
        page.locator("#older").scroll_into_view_if_needed()
        page.get_by_role("link", name=re.compile("messages before")).first.click()
        expect(page.locator("article .history").first).to_be_visible()


def test_behind_a_path_of_a_proxy_nothing_is_asked_for_beside_it(tmp_path: Path, opened: Opener) -> None:
    place = sample(tmp_path)
    with daemon(place, settings='[web]\nbase_url = "http://localhost/monitor"\n') as served:
        wait_for("it is read", lambda: httpx2.get(f"{served.base}/monitor/api/stats").json()["total_sessions"])
        page = opened("about:blank")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        page.goto(f"{served.base}/monitor/")
        drawn(page)
        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("link", name="Overview").click()
        page.locator("#sessions a.id").first.click()
        drawn(page)
        expect(page.locator("#live")).to_have_text("Live")
        assert [path for path in asked if not path.startswith("/monitor/")] == []


# -- viewers ------------------------------------------------------------------------------------------------------


def test_a_chinese_reader_gets_chinese_and_can_change_it(site: Site, opened: Opener) -> None:
    page = opened(site.base, locale="zh-CN")
    expect(page.get_by_role("heading", level=1)).to_have_text("总览")
    expect(page.locator(".card").first).to_contain_text("费用")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


def test_colours_follow_the_system_and_can_be_picked(site: Site, opened: Opener) -> None:
    page = opened(site.base, color_scheme="dark")
    dark = "getComputedStyle(document.body).backgroundColor"
    assert _brightness(page.evaluate(dark)) < 60
    page.get_by_label("Colours").select_option("light")
    assert _brightness(page.evaluate(dark)) > 200
    page.reload()
    assert _brightness(page.evaluate(dark)) > 200


def _brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"\d+", colour)[:3])) / 3


@pytest.mark.parametrize(
    "path",
    ["/", "/models", "/compare", "/anomalies", "/reconcile", "/sources", "/budgets", "/session", "/session/round"],
)
def test_nothing_is_wider_than_a_small_phone(site: Site, opened: Opener, path: str) -> None:
    query: dict[str, object] = {"id": SAMPLE, "round": 5} if path.startswith("/session") else {}
    page = opened(site.at(path, **query), **_PHONE)
    if page.locator(".plot").count():
        drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_keyboard_reaches_what_the_mouse_does(site: Site, opened: Opener) -> None:
    page = opened(site.at("/session", id=TALK))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    first = page.locator("details.round").first
    expect(first).to_have_attribute("open", "")
    first.locator("> summary").focus()
    page.keyboard.press("Enter")
    expect(first).not_to_have_attribute("open", "")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


_VIEWERS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": _PHONE,
    "chinese": {"locale": "zh-CN"},
}


@pytest.mark.parametrize("viewer", _VIEWERS)
def test_axe_finds_nothing_that_keeps_people_out(site: Site, opened: Opener, viewer: str) -> None:
    found = {}
    axe = node.installed(node.AXE).read_text()
    places: list[tuple[str, dict[str, object]]] = [
        ("/", {}),
        ("/session", {"id": TALK}),
        ("/session/round", {"id": TALK, "round": 2}),
        ("/session", {"id": EVIL}),
        ("/models", {}),
        ("/compare", {"id": SAMPLE}),
        ("/anomalies", {"days": 30}),
        ("/reconcile", {"days": 366}),
        ("/sources", {}),
        ("/budgets", {}),
    ]
    page = opened("about:blank", **_VIEWERS[viewer])
    for path, query in places:
        page.goto(site.at(path, **query))
        if page.locator(".plot").count():
            drawn(page)
        page.evaluate("document.querySelectorAll('details').forEach((element, at) => { element.open = at < 12; })")
        page.evaluate(axe)
        report = json.loads(page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(JSON.stringify)"))
        for violation in report["violations"]:
            found[f"{path} {violation['id']}"] = [part["html"][:200] for part in violation["nodes"][:3]]
    assert found == {}


# -- text of the log ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/session", "/session/round", "/models"])
def test_markup_of_a_log_never_becomes_part_of_a_page(site: Site, opened: Opener, path: str) -> None:
    query: dict[str, object] = {"id": EVIL, "round": 1} if path.startswith("/session") else {}
    page = opened(site.at(path, **query))
    if page.locator(".plot").count():
        drawn(page)
    expect(page.get_by_text("onerror=alert(1)").first).to_be_attached()
    assert page.locator("img, iframe, object, script:not([src])").count() == 0
