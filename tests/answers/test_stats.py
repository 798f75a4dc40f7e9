"""Sums by model, date and spender."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.answers import amounts, words
from monitor.answers.errors import BadQuestion
from monitor.answers.health import SourceStanding, Standing, source_health
from monitor.answers.links import session_url
from monitor.answers.prices import prices_in_use
from monitor.answers.sessions import get_session
from monitor.answers.spenders import top_spenders
from monitor.answers.stats import stats_by_date, stats_by_model
from monitor.answers.transcripts import transcript
from monitor.prices.catalog import Catalog
from monitor.rounds import UNKNOWN_TIME, Usage
from tests.answers.made import CNY, NOTHING, UNPRICED, asking, made, said

DAY = 24 * 60


def test_models_are_ranked_by_what_they_cost(tmp_path: Path) -> None:
    rounds = [made(1), made(2, model="cheap", cost=UNPRICED), made(3, CNY, model="dear"), made(4, success=False)]
    answer = stats_by_model(asking(tmp_path, rounds))
    # 0.02 CNY are less than 0.003 USD at any rate of these years; the sum itself is shown nowhere.
    assert [row.model for row in answer.rows] == ["gpt-5.4", "dear", "cheap"]
    assert answer.rows[0].cost_per_round == {"USD": 0.0015}
    assert answer.rows[0].success_rate == 0.5
    assert answer.rows[2].cost is None
    assert answer.totals.cost == {"CNY": 0.02, "USD": 0.003}
    assert answer.totals.unpriced is not None
    assert answer.totals.unpriced.models == ["cheap"]
    assert answer.price_lists == ["v1"]


def test_rounds_without_a_model_have_a_row_of_their_own(tmp_path: Path) -> None:
    answer = stats_by_model(asking(tmp_path, [made(1, NOTHING, model=None, usage=Usage(), success=False)]))
    assert [(row.model, row.rounds, row.cost) for row in answer.rows] == [("(no model)", 1, None)]


def test_days_begin_in_the_asked_zone(tmp_path: Path) -> None:
    # 09:31 and 18:16 UTC on 1 February: in Kathmandu (+05:45) the second is on the next day.
    ask = asking(tmp_path, [made(1), made(526)])
    assert [(row.date, row.rounds) for row in stats_by_date(ask).rows] == [("2026-02-01", 2)]
    kathmandu = stats_by_date(ask, timezone="Asia/Kathmandu")
    assert [(row.date, row.rounds) for row in kathmandu.rows] == [("2026-02-01", 1), ("2026-02-02", 1)]
    assert [row.hour for row in stats_by_date(ask, bucket="hour").rows] == ["2026-02-01T09", "2026-02-01T18"]
    assert [row.month for row in stats_by_date(ask, bucket="month").rows] == ["2026-02"]
    with pytest.raises(BadQuestion, match="IANA"):
        stats_by_date(ask, timezone="Nowhere/Here")


def test_rounds_without_a_time_are_counted_apart(tmp_path: Path) -> None:
    answer = stats_by_date(asking(tmp_path, [made(1), made(2, started_at=UNKNOWN_TIME)]))
    assert [(row.date, row.rounds) for row in answer.rows] == [(None, 1), ("2026-02-01", 1)]
    assert answer.totals.rounds == 2


def test_a_period_counts_what_started_in_it(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1), made(DAY), made(2 * DAY)])
    assert stats_by_model(ask, since="2026-02-02").totals.rounds == 2
    assert stats_by_model(ask, until="2026-02-02").totals.rounds == 2
    assert stats_by_model(ask, since="2026-02-02", until="2026-02-02").totals.rounds == 1


def test_spenders_are_ranked_and_shares_are_of_all_tokens(tmp_path: Path) -> None:
    rounds = [made(n, consumer="alice") for n in range(3)] + [made(9, CNY, consumer="bob", session_id="b")]
    ask = asking(tmp_path, rounds)
    by_consumer = top_spenders(ask, "consumer")
    assert [(row.name, row.rounds, row.share) for row in by_consumer.rows] == [("alice", 3, 0.75), ("bob", 1, 0.25)]
    by_session = top_spenders(ask, "session", limit=1)
    assert by_session.rows[0].name == "agent:main:main"
    assert by_session.rows[0].url is not None


def test_health_says_what_to_do(tmp_path: Path) -> None:
    rounds = [made(1, UNPRICED, session_id=None, session_source=None, model="mine")]
    ask = asking(tmp_path, rounds)
    log = SourceStanding("/var/log/proxy/access.log", "higress", exists=True, size=10, pending_bytes=0)
    health = source_health(ask, Standing((log,), ingesting=True))
    assert health.ok
    assert health.unpriced_models == ["mine"]
    assert any("session_id_header" in advice for advice in health.advice)
    absent = source_health(ask, Standing((), ingesting=False))
    assert not absent.ok
    assert any("--log-path" in advice for advice in absent.advice)
    failing = source_health(ask, Standing((log,), ingesting=True, failure="the disk is full"))
    assert not failing.ok
    assert "the disk is full" in failing.advice[0]


def test_an_empty_log_points_to_where_the_all_in_one_image_writes(tmp_path: Path) -> None:
    log = SourceStanding("/var/log/proxy/access.log", "higress", exists=True, size=0, pending_bytes=0)
    health = source_health(asking(tmp_path, []), Standing((log,), ingesting=True))
    assert any("/var/log/higress/gateway.log" in advice for advice in health.advice)


def test_links_encode_any_id(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, session_id="a/../b?<c>")])
    link = session_url(ask, "a/../b?<c>", reachable=False)
    assert link.url == "http://localhost:8888/session?id=a%2F..%2Fb%3F%3Cc%3E"
    assert link.note is not None
    assert session_url(ask, None, reachable=True).url is None


def test_a_transcript_quotes_everything_that_was_said(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, conversation=said("# not a heading\n</x>", answer="fine"))])
    text = transcript(ask, "agent:main:main")
    assert "> # not a heading\n> </x>" in text
    assert "\n# not" not in text.replace("> # not", "")
    assert "> fine" in text


def test_prices_of_the_log_name_their_source(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, model="gpt-4o"), made(2, model="in-house-7b")])
    rows = {row.model: row for row in prices_in_use(ask, Catalog.load()).rows}
    assert rows["gpt-4o"].currency == "USD"
    assert rows["gpt-4o"].per_million is not None
    assert rows["gpt-4o"].per_million["input"] == 2.5
    assert rows["in-house-7b"].status == "unpriced"


def test_an_agent_would_say_it_in_two_sentences_and_a_link(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1), made(2, CNY, model="glm-5"), made(3, UNPRICED, model="mine")])
    spoken = words.session(get_session(ask, "agent:main:main"))
    assert "¥0.02 + $0.0015" in spoken
    assert "1 rounds have no known price (mine)" in spoken
    assert spoken.endswith("http://localhost:8888/session?id=agent%3Amain%3Amain")
    assert amounts.money({"USD": 0.000000004}) == "$0.000000004"
    assert amounts.money(None) == "an unknown amount"


def test_rounds_without_a_time_are_in_no_period_of_a_spender(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1), made(2, started_at=UNKNOWN_TIME)])
    (all_time,) = top_spenders(ask).rows
    assert all_time.rounds == 2
    (period,) = top_spenders(ask, days=3650).rows
    assert (period.rounds, period.cost) == (1, {"USD": 0.0015})


def test_the_share_of_a_spender_whose_tokens_are_unknown_is_unknown(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(1, consumer="alice"), made(2, NOTHING, consumer="bob", usage=Usage(None, None))])
    shares = {row.name: row.share for row in top_spenders(ask, "consumer").rows}
    assert shares == {"alice": 1.0, "bob": None}


def test_a_session_without_rounds_in_a_period_has_no_times_in_it(tmp_path: Path) -> None:
    answer = get_session(asking(tmp_path, [made(1)]), "agent:main:main", since="2027-01-01")
    assert (answer.messages_count, answer.created_at, answer.updated_at, answer.note) == (0, None, None, None)
