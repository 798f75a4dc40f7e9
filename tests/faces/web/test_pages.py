"""The pages as a browser without scripts gets them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from markupsafe import escape
from starlette.requests import Request

from monitor.faces.web.rendering import here, link
from monitor.faces.web.words import LANGUAGES, negotiated
from monitor.samples import Expected
from tests.faces.place import Place
from tests.faces.web import site as made
from tests.faces.web.served import daemon
from tests.faces.web.site import EVIL, LONG, LONG_ROUNDS, MARKUP, SAMPLE, TALK, Site
from tests.helpers import wait_for
from tests.openclaw import Database, answered, header, logged
from tools import vendor

_TEMPLATES = Path("monitor/faces/web/templates")
#: The others are shown before it is known who asks, in both languages at once, or are somebody else's program.
_PAGE_TEMPLATES = [path for path in _TEMPLATES.iterdir() if path.name not in ("login.html", "api.html")]
_STATIC = Path("monitor/faces/web/static")
_PAGES = ("/", "/models", "/compare", "/anomalies", "/reconcile", "/sources", "/budgets")

pytestmark = pytest.mark.xdist_group("pages")


def rows(html: str) -> list[str]:
    """The sessions that a page lists."""
    listed = html.partition('id="sessions"')[2]
    return re.findall(r'<th scope="row"><a class="id" href="[^"]*">(.*?)</a>', listed)


# -- overview -----------------------------------------------------------------------------------------------------


def test_the_overview_holds_the_totals_of_the_log(site: Site) -> None:
    html = site.get("/").text
    stats = site.get("/api/stats").json()
    assert f'value="{stats["totals"]["rounds"]}"' in html
    assert f'value="{stats["totals"]["input_tokens"]}"' in html
    for currency, amount in stats["total_cost"].items():
        assert f'value="{amount}" data-as="money" data-currency="{currency}"' in html
    for model in ("gpt-5.4", "claude-sonnet-4-6"):
        assert model in html
    assert "ai-route-openai.internal" in html
    assert "platform" in html


def test_sessions_are_found_sorted_and_paged_by_address_alone(site: Site) -> None:
    assert rows(site.get("/", search="explicit:lo").text) == [LONG]
    assert rows(site.get("/", search="Which files changed").text) == [TALK]
    by_rounds = rows(site.get("/", sort_by="rounds").text)
    assert by_rounds[0] == LONG
    assert len(by_rounds) == 20
    first = site.get("/", sort_by="rounds").text
    more = re.search(r'<a data-swap href="([^"]*cursor=[^"]*)"', first)
    assert more is not None
    second = rows(site.get(more[1].replace("&amp;", "&").partition("#")[0]).text)
    assert second
    assert not set(second) & set(by_rounds)


def test_a_model_a_consumer_and_a_time_filter_sessions(site: Site) -> None:
    everything = site.get("/api/sessions", limit=100).json()["total"]
    html = site.get("/", model="gpt-5.4", consumer="research").text
    told = site.get("/api/sessions", limit=100, model="gpt-5.4", consumer="research").json()
    assert sorted(rows(html)) == sorted(row["session_id"] for row in told["sessions"])
    assert 0 < told["total"] < everything
    assert rows(site.get("/", since="2026-02-20", until="2026-02-21", search="explicit:").text)[0] == LONG
    assert "No session matches" in site.get("/", until="2025-01-01").text


def test_steps_of_time_can_be_picked(site: Site) -> None:
    assert re.search(r'<th scope="row">2026-02-20</th>', site.get("/").text)
    assert re.search(r'<th scope="row">2026-02</th>', site.get("/", bucket="month").text)
    assert "Nothing was counted in this period" in site.get("/", period="today").text


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ({"sort_by": "price"}, "cost"),
        ({"period": "decade"}, "30d"),
        ({"since": "whenever"}, "7d"),
        ({"cursor": "x"}, ""),
    ],
)
def test_a_wrong_question_gets_a_page_that_says_what_is_right(site: Site, query: dict[str, str], hint: str) -> None:
    answer = site.get("/", **query)
    assert answer.status_code == 400
    assert hint in answer.text
    assert "<nav" in answer.text


def test_the_overview_is_small_before_its_charts(site: Site) -> None:
    html = site.get("/").text
    files = re.findall(r'<(?:script|link)[^>]* (?:src|href)="(/static/[^"?]+)', html)
    loaded = {name for name in files if name.endswith((".css", ".js"))}
    assert "/static/app.js" in loaded
    loaded.add("/static/locale.js")  # which app.js imports
    total = len(html.encode()) + sum(len(site.get(name).content) for name in loaded)
    assert total < 100_000, f"{total} bytes of {sorted(loaded)} and HTML"


# -- session ------------------------------------------------------------------------------------------------------


def test_a_session_shows_its_figures_and_newest_rounds_first(site: Site) -> None:
    html = site.get("/session", id=SAMPLE).text
    right = site.expected.sessions[SAMPLE]
    assert f'value="{right.input_tokens}"' in html
    assert f'value="{right.output_tokens}"' in html
    numbers = [int(found) for found in re.findall(r'<span class="number">(\d+)</span>', html)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == right.rounds


def test_a_round_shows_what_it_added_first_and_the_rest_on_demand(site: Site) -> None:
    html = site.get("/session", id=TALK).text
    second = html[html.index('<span class="number">2</span>') : html.index('<span class="number">1</span>')]
    assert " M server.py\n?? notes.txt" in second
    assert "The second one is new." in second
    assert "Which files changed" not in second.partition('<div class="body">')[2]
    assert "END OF THE ANSWER" not in second
    assert "git status -s" in html
    whole = site.get("/session/round", id=TALK, round=2).text
    assert "END OF THE ANSWER" in whole
    assert "Which files changed today?" in whole.partition('class="history"')[2]


def test_a_failed_round_says_so(site: Site) -> None:
    html = site.get("/session", id=TALK).text
    assert "failed, 429" in html[: html.index('<span class="number">2</span>')]


def test_a_long_session_gives_a_page_of_rounds_and_the_way_to_older_ones(site: Site) -> None:
    answer = site.get("/session", id=LONG)
    assert len(answer.content) < 500_000
    numbers = [int(found) for found in re.findall(r'<span class="number">(\d+)</span>', answer.text)]
    assert numbers == list(range(LONG_ROUNDS, LONG_ROUNDS - 50, -1))
    older = re.search(r'<a data-older href="([^"]*)"', answer.text)
    assert older is not None
    page = site.get(older[1].replace("&amp;", "&")).text
    assert f'<span class="number">{LONG_ROUNDS - 50}</span>' in page
    series = site.get("/session/series", id=LONG).json()
    assert series["round"] == list(range(1, LONG_ROUNDS + 1))
    assert series["input"][:3] == [1_001, 1_002, 1_003]


def test_rounds_that_seem_to_add_a_whole_conversation_do_not_fill_the_page(site: Site) -> None:
    name = "agent:main:explicit:drifting"
    said = [{"role": "user", "content": f"Line {n}. " + "x" * 1_500} for n in range(60)]
    for number in range(1, 21):
        begin = {"role": "system", "content": f"It is {number} o'clock."}
        site.append(made.record(name, number, messages=[begin, *said, {"role": "user", "content": f"Ask {number}"}]))
    wait_for("it is read", lambda: site.get("/api/session", id=name).json().get("messages_count") == 20)
    html = site.get("/session", id=name).text
    assert len(html) < 700_000
    assert "Ask 20" in html
    assert "Answer 20" in html
    assert "Line 59. " in html
    assert "Line 0. " not in html
    assert "This round added" in html
    whole = site.get("/session/round", id=name, round=20).text
    assert "Line 0. " in whole


def test_an_unknown_session_is_a_page_with_the_closest_ids(site: Site) -> None:
    answer = site.get("/session", id="agent:main:explicit:tal")
    assert answer.status_code == 404
    assert site.at("/session", id=TALK).removeprefix(site.base) in answer.text
    assert site.get("/session").status_code == 404
    assert site.get("/session/round", id=TALK, round=99).status_code == 404
    assert site.get("/session/round", id=TALK, round="x").status_code == 400
    assert site.get("/session/round", round_id="x").status_code == 404
    assert site.get("/session/series", id="nobody").status_code == 404


def test_a_session_can_be_taken_away_as_markdown(site: Site) -> None:
    answer = site.get("/session.md", id=TALK)
    assert answer.headers["content-type"].startswith("text/markdown")
    assert answer.headers["content-disposition"] == 'attachment; filename="agent-main-explicit-talk.md"'
    assert "END OF THE ANSWER" in answer.text
    evil = site.get("/session.md", id=EVIL)
    assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]+\.md"', evil.headers["content-disposition"])


# -- the other pages ----------------------------------------------------------------------------------------------


def test_models_have_their_price_and_where_it_comes_from(site: Site) -> None:
    html = site.get("/models").text
    assert "genai-prices" in html
    assert "Models without a price" in html
    assert "match = [&#34;in-house-7b&#34;]" in html


def test_a_session_is_priced_on_other_models(site: Site) -> None:
    told = site.get("/api/compare", id=SAMPLE).json()
    html = site.get("/compare", id=SAMPLE).text
    assert len(told["rows"]) > 1
    for row in told["rows"]:
        assert row["model"] in html
        for currency, amount in row.get("cost", {}).items():
            assert f'value="{amount}" data-as="money" data-currency="{currency}"' in html
    assert site.get("/compare", id="nobody").status_code == 404


def test_what_is_unusual_says_why_and_leads_to_it(site: Site) -> None:
    told = site.get("/api/usage/anomalies", days=30).json()
    html = site.get("/anomalies", days=30).text
    assert "days: use one of" in site.get("/anomalies", days=31).text
    for row in told.get("rows", [])[:20]:
        assert str(escape(row["why"])) in html
    assert "data-live-part" not in html


def test_two_meters_are_compared_and_each_difference_leads_to_its_rounds(tmp_path: Path) -> None:
    log, state, key = tmp_path / "access.log", tmp_path / "openclaw", "agent:main:main"
    begin = time.time_ns() // 1_000_000 - 2 * 3_600_000
    openclaw = Database(state)
    openclaw.name("an-id", key)
    # The gateway saw the first, and another one that nobody wrote down; the second went past it.
    log.write_bytes(logged("chatcmpl-a1", begin, session="an-id") + logged("chatcmpl-x", begin + 500, session="an-id"))
    openclaw.write("an-id", header("an-id", begin), answered("a1", begin), answered("a2", begin + 1000, input_=70))
    with daemon(Place(tmp_path, log, tmp_path / "data", Expected()), "--log-path", str(state)) as served:
        site = Site(served.base, log, Expected())

        def told() -> Any:
            found = site.get("/api/reconcile").json()
            return found if found["gateway"]["rounds"] == found["transcripts"]["rounds"] == 2 else None

        answer = wait_for("both are read", told)
        html = site.get("/reconcile").text
        chinese = site.get("/reconcile", {"accept-language": "zh-CN"}, days=30).text
        assert site.get("/reconcile", days=8).status_code == 400
        rounds = [id_ for row in answer["rows"] for one in row["findings"] for id_ in one["round_ids"]]
        pages = [site.get("/session/round", round_id=id_).text for id_ in rounds]
    openclaw.close()
    assert [one["cause"] for row in answer["rows"] for one in row["findings"]] == ["unrecorded", "bypassed_or_lost"]
    for id_ in rounds:
        assert f'href="/session/round?round_id={id_}"' in html
    assert len(pages) == 2
    assert all(key in page for page in pages)
    assert f'href="/session?id={quote(key, safe="")}"' in html
    assert "Transcripts only" in html
    assert str(escape(answer["causes"]["unrecorded"])) in html
    assert 'aria-current="page">Reconcile' in html
    assert "仅会话记录" in chinese
    assert "OpenClaw 认识这个会话" in chinese
    assert 'aria-current="true">30' in chinese


def test_without_transcripts_the_meters_page_says_how_to_follow_them(site: Site) -> None:
    html = site.get("/reconcile", days=366).text
    assert "Only the gateway was read" in html


def test_sources_say_what_was_skipped_and_why(site: Site) -> None:
    site.append(b'{"ai_log": "{broken", "start_time": "2026-02-20T08:00:00Z", "response_code": "200"}\n')
    html = site.get("/sources").text
    assert str(site.log) in html
    assert "malformed" in html
    assert "{broken" in html.replace("&#34;", '"')
    assert "non_ai" in html


def test_budgets_without_any_say_how_to_make_one(site: Site) -> None:
    html = site.get("/budgets").text
    assert "[[budgets]]" in html
    assert "No budgets are configured" in html


def test_budgets_show_how_much_is_used(tmp_path: Path) -> None:
    log, expected = tmp_path / "access.log", Expected()
    made.write_log(log, expected)
    settings = (
        '[[budgets]]\nname = "all of it"\ntokens = 1000\nperiod = "session"\n'
        '[[budgets]]\nname = "today"\nlimit = "5"\ncurrency = "USD"\nperiod = "day"\n'
    )
    with made.serving(log, tmp_path / "data", rounds=expected.total.rounds, settings=settings) as base:
        site = Site(base, log, expected)
        html = site.get("/budgets").text
        assert "today" in html
        assert 'value="5" data-as="money" data-currency="USD"' in html
        assert 'id="budgets-title"' in site.get("/").text
        session = site.get("/session", id=SAMPLE).text
        assert "all of it" in session
        assert "exceeded" in session


def test_an_empty_log_says_what_to_do_next(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.touch()
    with made.serving(log, tmp_path / "data", rounds=0) as base:
        site = Site(base, log, Expected())
        assert "session-monitor serve --http 8888 --log-path" in site.get("/").text
        for path in (*_PAGES, "/session"):
            assert site.get(path).status_code in (200, 404)
        nameless = made.record("x", 1).replace(b'\\"session_id\\": \\"x\\", ', b"")
        site.append(nameless)
        html = site.get("/").text
        assert "No round names its session" in html
        assert "session_id_header" in html


# -- text of the log ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/session", "/session/round", "/models"])
def test_markup_in_every_field_of_a_log_is_shown_as_text(site: Site, path: str) -> None:
    pages = [site.get(path, **query).text for query in _evil_queries(path)]
    for html in pages:
        assert "<img src=x" not in html
        assert "<script>alert" not in html
        assert "49" not in re.findall(r"script&gt;(\d+)", html)
        assert made.REVERSE not in re.sub(r'(?:value|aria-label)="[^"]*"|<title>.*?</title>', "", html)
    assert any("U+202E" in html for html in pages)


def _evil_queries(path: str) -> list[dict[str, object]]:
    if path == "/":
        return [{"sort_by": "updated"}, {"search": MARKUP}, {"model": MARKUP}]
    if path == "/session":
        return [{"id": EVIL}, {"id": MARKUP}, {"id": "agent:main:explicit:parts"}]
    if path == "/session/round":
        return [{"id": EVIL, "round": 1}, {"id": EVIL, "round": 2}, {"id": "agent:main:explicit:parts", "round": 1}]
    return [{}]


# -- words --------------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_words() -> None:
    english, chinese = LANGUAGES["en"], LANGUAGES["zh"]
    assert english.keys() == chinese.keys()
    for key in english:
        assert set(re.findall(r"\{\w+\}", english[key])) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    texts = "".join(path.read_text() for path in _TEMPLATES.iterdir())
    used = set(re.findall(r'\bt\(["\']([\w.]+)["\'][,)]', texts))
    assert used <= LANGUAGES["en"].keys()
    # Some are put together from a beginning and the name of a thing.
    begun = tuple(re.findall(r'\b(?:t|has_words)\(["\']([\w.]+)["\'] ~', texts))
    listed = set(re.findall(r'"([a-z_.]+)"', texts))
    assert [key for key in LANGUAGES["en"] if key not in used | listed and not key.startswith(begun)] == []


def test_no_word_is_left_in_a_template() -> None:
    for path in _PAGE_TEMPLATES:
        text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(), flags=re.S)
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.S)
        text = re.sub(r"<[^>]*>|&\w+;", "", text, flags=re.S)
        assert not re.search(r"[A-Za-z\u4e00-\u9fff]{2,}", text.replace("English", "").replace("中文", "")), path


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("de, zh;q=0.3, en;q=0.2", "zh"),
        ("de", "en"),
        ("", "en"),
        ("zh;q=x, en;q=0.1", "en"),
    ],
)
def test_the_language_is_the_one_that_the_browser_likes_best(accept: str, language: str) -> None:
    assert negotiated(accept) == language


def test_a_picked_language_is_kept(site: Site) -> None:
    chinese = {"accept-language": "zh-CN"}
    assert "总览" in site.get("/", chinese).text
    picked = site.get("/", {"accept-language": "en"}, lang="zh")
    assert "总览" in picked.text
    assert "lang=zh" in picked.headers["set-cookie"]
    assert "httponly" in picked.headers["set-cookie"].lower()
    assert "总览" in site.get("/", {"cookie": "lang=zh"}).text
    assert "lang=xx" not in site.get("/", lang="xx").headers.get("set-cookie", "")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", _PAGES)
def test_every_page_is_there_in_every_language(site: Site, path: str, language: str) -> None:
    answer = site.get(path, lang=language)
    assert answer.status_code == 200
    assert f'lang="{"zh-CN" if language == "zh" else "en"}"' in answer.text


# -- links --------------------------------------------------------------------------------------------------------


def request(path: str, query: str = "", root_path: str = "") -> Request:
    scope = {"type": "http", "path": path, "query_string": query.encode(), "root_path": root_path, "headers": []}
    return Request(scope)


@pytest.mark.parametrize("path", ["/monitor/models", "/models"])
def test_links_keep_the_prefix_of_a_reverse_proxy_whether_it_passes_it_on_or_not(path: str) -> None:
    asked = request(path, "period=7d&lang=zh", "/monitor")
    assert link(asked, "/session", id="a/b c&d") == "/monitor/session?id=a%2Fb%20c%26d"
    assert here(asked, bucket="hour") == "/monitor/models?period=7d&bucket=hour"
    assert here(asked, period=None) == "/monitor/models"


def test_no_template_has_an_address_of_its_own() -> None:
    for path in _PAGE_TEMPLATES:
        for address in re.findall(r'(?:href|src|action)="([^"]*)"', path.read_text()):
            assert address.startswith(("{{ link(", "{{ here(", "{{ static(", "#")), f"{path}: {address}"


def test_vendored_libraries_are_those_of_the_command_with_their_licences() -> None:
    folder = _STATIC / "vendor"
    table = (folder / "README.md").read_text()
    for library in vendor.LIBRARIES:
        home = folder / library.package.removesuffix("-dist")
        assert f"| {library.package} | {library.version} |" in table
        assert {path.name for path in home.iterdir()} == {Path(name).name for name in library.files + library.licences}
    assert len(list(folder.iterdir())) == len(vendor.LIBRARIES) + 1
