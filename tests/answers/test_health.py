"""The examination finds what is wrong, says what to do, and leaves alone what is in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from monitor.answers.health import Diagnosis, Place, SourceStanding, Standing, Trouble, diagnosis, source_health
from monitor.answers.health.times import gaps
from monitor.store.base import Batch, PricedRound, SourceSeen
from monitor.store.sqlite import SqliteStore
from tests.answers.made import NOON, UNPRICED, asking, made

LOG = SourceStanding("/var/log/proxy/access.log", "higress", exists=True, size=10, pending_bytes=0)
FINE = Place("/data", 1000, 10**12, checked="quick check", versions={"program": "1"})
DAY = 86_400_000
#: A week after the rounds that are made here.
LATER = NOON + 7 * DAY


def examined(
    folder: Path,
    rounds: list[PricedRound],
    *,
    standing: Standing | None = None,
    place: Place = FINE,
    now: int = LATER,
    seen: SourceSeen | None = None,
) -> Diagnosis:
    ask = asking(folder, rounds)
    if seen is not None:
        store = SqliteStore(folder)
        store.add(Batch(seen=[seen]))
        store.close()
    return diagnosis(ask, standing or Standing((LOG,), ingesting=True), place, now_ms=now)


def problems(answer: Diagnosis) -> list[str]:
    assert all(finding.do for finding in answer.findings)
    assert answer.ok == all(finding.severity == "hint" for finding in answer.findings)
    return [f"{finding.about}: {finding.what}" for finding in answer.findings if finding.severity == "problem"]


def test_what_is_in_order_needs_nothing(tmp_path: Path) -> None:
    answer = examined(tmp_path, [made(n) for n in range(5)])
    assert problems(answer) == []
    assert answer.findings == []
    assert answer.named_by_header == 1


def test_each_trouble_of_the_place_is_told_with_its_remedy(tmp_path: Path) -> None:
    place = msgspec.structs.replace(
        FINE,
        free_bytes=1000,
        troubles=(Trouble("the door is open", "close it", fixable=True),),
        broken=("row 7 is missing",),
    )
    answer = examined(tmp_path, [made(1)], place=place)
    told = problems(answer)
    assert "/data: the door is open" in told
    assert "the database: row 7 is missing" in told
    assert any("1,000 bytes are free" in what for what in told)
    assert [f.about for f in answer.findings if f.fixable] == ["/data"]


def test_records_of_calls_need_no_sessions_and_no_gateway(tmp_path: Path) -> None:
    records = SourceStanding("/srv/records", "usage", exists=True, size=10, pending_bytes=0)
    rounds = [made(1, session_id=None, session_source=None)]
    answer = examined(tmp_path, rounds, standing=Standing((records,), ingesting=False))
    assert problems(answer) == []
    assert not any("Higress" in f.what + f.do for f in answer.findings if f.about == "sessions")
    assert [f.what for f in answer.findings if f.about == "ingestion"] == ["no process reads the logs now"]
    health = source_health(asking(tmp_path, rounds), Standing((records,), ingesting=True))
    assert not any("session_id_header" in text for text in health.advice)


def test_an_unpriced_model_and_rounds_without_any_session_need_doing(tmp_path: Path) -> None:
    answer = examined(tmp_path, [made(1, UNPRICED, session_id=None, session_source=None, model="mine")])
    told = problems(answer)
    assert any("no price is known for mine" in what for what in told)
    assert any("no round names a session" in what for what in told)
    assert any("session_id_header" in f.do and "skill install --client openclaw" in f.do for f in answer.findings)


def test_some_rounds_without_a_session_are_only_mentioned(tmp_path: Path) -> None:
    answer = examined(tmp_path, [made(1), made(2, session_id=None, session_source=None)])
    assert problems(answer) == []
    assert any("1 of 2 rounds" in finding.what for finding in answer.findings)


def test_sessions_that_only_the_conversation_names_point_to_the_header(tmp_path: Path) -> None:
    answer = examined(tmp_path, [made(1, session_source="inferred")])
    assert answer.named_by_text == 1
    assert any("session_id_header" in finding.do for finding in answer.findings)


def test_rounds_from_the_future_show_a_wrong_clock(tmp_path: Path) -> None:
    answer = examined(tmp_path, [made(0), made(1440)], now=NOON + DAY // 2)
    assert any("1 rounds start in the future" in what for what in problems(answer))
    # A clock need not be right to the second.
    assert problems(examined(tmp_path / "b", [made(1)], now=NOON)) == []


def test_a_file_that_was_gone_before_it_was_read_is_a_problem_for_a_week(tmp_path: Path) -> None:
    seen = SourceSeen("/var/log/proxy/access.log", missed_path="/var/log/proxy/access.log", missed_at=NOON)
    recent = examined(tmp_path, [made(1)], seen=seen, now=NOON + DAY)
    assert any("rotated away" in what for what in problems(recent))
    assert any("service install" in finding.do for finding in recent.findings)
    old = examined(tmp_path / "b", [made(1)], seen=seen, now=NOON + 30 * DAY)
    assert problems(old) == []
    assert any("rotated away" in finding.what for finding in old.findings)


def test_the_same_file_is_missed_once_however_often_it_is_looked_for(tmp_path: Path) -> None:
    seen = SourceSeen("a.log", missed_path="a.log", missed_at=NOON)
    store = SqliteStore(tmp_path)
    for one in (seen, seen, msgspec.structs.replace(seen, missed_at=NOON + DAY), SourceSeen("a.log", "cri")):
        store.add(Batch(seen=[one]))
    (followed,) = store.feeds()
    assert (followed.missed, followed.missed_at, followed.format) == (2, NOON + DAY, "cri")
    store.close()


def test_a_missing_log_and_none_at_all_are_problems(tmp_path: Path) -> None:
    absent = msgspec.structs.replace(LOG, exists=False)
    assert any("does not exist yet" in w for w in problems(examined(tmp_path, [], standing=Standing((absent,), True))))
    nothing = examined(tmp_path / "b", [], standing=Standing((), False))
    assert any("no log is followed" in what for what in problems(nothing))


def test_the_report_for_agents_stays_short(tmp_path: Path) -> None:
    ask = asking(tmp_path, [made(n) for n in range(5)])
    short = source_health(ask, Standing((LOG,), ingesting=True)).small()
    assert set(short) <= {"ok", "ingesting", "rounds", "sessions", "sources", "as_of"}
    assert set(short["sources"][0]) <= {"path", "kind", "exists", "size_bytes"}


# -- gaps -----------------------------------------------------------------------------------------


def hours(days: int, busy: range, rounds: int = 20) -> dict[str, int]:
    """So many rounds in each busy hour of some days."""
    first = datetime(2026, 11, 2, tzinfo=UTC)
    return {f"{first + timedelta(days=day, hours=hour):%Y-%m-%dT%H}": rounds for day in range(days) for hour in busy}


def test_nights_are_no_gaps() -> None:
    assert gaps(hours(10, range(8, 20))) == []
    assert gaps({}) == []


def test_hours_that_are_missing_on_a_busy_day_are_one_gap() -> None:
    counts = hours(10, range(8, 20))
    del counts["2026-11-07T11"], counts["2026-11-07T12"]
    (gap,) = gaps(counts)
    assert (gap.begin, gap.hours) == (datetime(2026, 11, 7, 11, tzinfo=UTC), 2)


def test_where_little_happens_nothing_can_be_told() -> None:
    few = hours(10, range(8, 20), rounds=2)
    del few["2026-11-07T11"]
    assert gaps(few) == []
    short = hours(3, range(8, 20))
    del short["2026-11-03T11"]
    assert gaps(short) == []
