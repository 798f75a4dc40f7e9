"""A log, whatever happens to it, is counted once: through real files, the real reader and the real store."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.ingest import Ingester, LogSource
from monitor.prices.catalog import Catalog
from monitor.samples import DEMO, LITE, MEDIUM, SHORT, Expected, Profile, Writer, lines
from monitor.store.base import Added, Batch
from monitor.store.sqlite import SqliteStore
from tests.helpers import check_totals, totals, wait_for, wrapped

Wrapper = Literal["plain", "docker", "cri"]

CATALOG = Catalog.load()
#: Everything that the profiles know of, in few lines.
MIXED = replace(
    LITE, turns=4, sessions=5, sessionless_share=0.2, non_ai_share=0.15, foreign_share=0.05, failure_share=0.1,
    unmetered_share=0.1, consumers=("platform", "travel-desk"), models=DEMO.models,
)  # fmt: skip
#: With what was said; Gemini's own requests are logged without it, so who asked is told by the header alone.
TALKING = replace(
    MIXED, name="talking", mode="full", system_prompt_bytes=300, tool_result_lines=2,
    models=tuple((name, weight) for name, weight in DEMO.models if "gemini" not in name),
)  # fmt: skip


class Reading:
    """A data directory, and the process that reads logs into it; `restart` is what its end and its next start do."""

    def __init__(self, folder: Path, *paths: Path, keep_content: bool = True) -> None:
        self.folder = folder
        self.paths = paths
        self.keep_content = keep_content
        self.told: list[Added] = []
        self._open()

    def _open(self) -> None:
        self.store = SqliteStore(self.folder, keep_content=self.keep_content, price_version=CATALOG.version)
        self.sources = [LogSource(path, self.store, CATALOG, keep_content=self.keep_content) for path in self.paths]
        self.ingester = Ingester(self.sources, self.store, on_added=self.told.append)

    def once(self) -> int:
        return self.ingester.once()

    def restart(self) -> None:
        self.close()
        self._open()

    def follow(self, *paths: Path) -> None:
        self.paths += paths
        self.restart()

    def close(self) -> None:
        for source in self.sources:
            source.close()
        self.store.close()


@contextmanager
def reading(folder: Path, *paths: Path, keep_content: bool = True) -> Iterator[Reading]:
    found = Reading(folder / "data", *paths, keep_content=keep_content)
    try:
        yield found
    finally:
        found.close()


def sample(profile: Profile, count: int, seed: int = 1) -> tuple[list[bytes], Expected]:
    expected = Expected()
    return list(lines(profile, seed, count, expected)), expected


def record(**changes: Any) -> bytes:
    """One access-log line; a field of the line or of its ``ai_log`` can be given, or left out by None."""
    line = next(one for one in lines(SHORT, 1, 50) if b'\\"session_id\\"' in one)
    outer = json.loads(line)
    inner = json.loads(outer["ai_log"])
    for name, value in changes.items():
        holder = outer if name in outer else inner
        if value is None:
            holder.pop(name, None)
        else:
            holder[name] = value
    outer["ai_log"] = json.dumps(inner, separators=(",", ":"))
    return json.dumps(outer, separators=(",", ":")).encode() + b"\n"


def nothing_unique(**changes: Any) -> bytes:
    return record(request_id=None, chat_id=None, **changes)


# -- a log that grows and moves -------------------------------------------------------------------


@pytest.mark.parametrize("profile", [SHORT, MEDIUM, LITE, MIXED, TALKING, DEMO], ids=lambda p: str(p.name))
def test_a_growing_log_is_counted_as_it_was_written(profile: Profile, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    with reading(tmp_path, log) as reader, Writer(log) as writer:
        found = 0
        for number, line in enumerate(lines(profile, 3, 150, expected)):
            writer.write(line)
            if number % 20 == 0:
                writer.flush(slices=1)
                found += reader.once()
            if number % 50 == 49:
                reader.restart()
        writer.flush()
        found += reader.once()
        assert found == expected.total.rounds
        check_totals(reader.store, expected, profile)
        assert reader.once() == 0
        assert sum(added.rounds for added in reader.told) == found


def test_what_was_read_is_not_read_again_after_a_restart(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    records, expected = sample(MIXED, 60)
    log.write_bytes(b"".join(records))
    with reading(tmp_path, log) as reader:
        assert reader.once() == expected.total.rounds
        reader.restart()
        reader.once()
        # Not even skipped lines: they are counted each time that they are read.
        skipped = {line.reason: line.count for line in reader.store.skipped()}
        assert skipped["non_ai"] == expected.non_ai
        assert [line for batch in reader.sources[0].batches() for line in batch.rounds] == []


def test_a_torn_last_line_waits_for_its_rest(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    records, expected = sample(replace(SHORT, non_ai_share=0, foreign_share=0), 3)
    whole, last = b"".join(records[:2]), records[2]
    for cut in (1, len(last) // 2, len(last) - 1):
        log.write_bytes(whole + last[:cut])
        with reading(tmp_path / str(cut), log) as reader:
            assert reader.once() == 2
            assert reader.once() == 0
            reader.restart()
            assert reader.once() == 0
            with log.open("ab") as file:
                file.write(last[cut:])
            assert reader.once() == 1
            check_totals(reader.store, expected, SHORT)
            assert list(reader.store.skipped()) == []


def test_lines_are_followed_through_rotations(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    expected = Expected()
    with reading(tmp_path, log) as reader, Writer(log) as writer:
        for number, line in enumerate(lines(TALKING, 5, 120, expected)):
            writer.write(line)
            if number % 30 == 10:
                writer.flush(slices=1)
                writer.rotate()
            if number % 30 == 15:
                writer.flush(slices=1)
                writer.reopen()
            if number % 40 == 20:
                reader.once()
            if number % 60 == 59:
                reader.restart()
        writer.flush()
        reader.once()
        check_totals(reader.store, expected, TALKING)


def gzipped(records: Sequence[bytes], path: Path) -> Path:
    path = path.with_name(f"{path.name}.gz")
    path.write_bytes(gzip.compress(b"".join(records)))
    return path


def plain(records: Sequence[bytes], path: Path) -> Path:
    path.write_bytes(b"".join(records))
    return path


def docker(records: Sequence[bytes], path: Path) -> Path:
    path.write_bytes(wrapped(records, "docker", 1000))
    return path


def cri(records: Sequence[bytes], path: Path) -> Path:
    path.write_bytes(wrapped(records, "cri", 1000))
    return path


def with_carriage_returns(records: Sequence[bytes], path: Path) -> Path:
    path.write_bytes(b"".join(line[:-1] + b"\r\n" for line in records))
    return path


def half_of_it(records: Sequence[bytes], path: Path) -> Path:
    path.write_bytes(b"".join(records[len(records) // 2 :]))
    return path


def in_another_order(records: Sequence[bytes], path: Path) -> Path:
    path.write_bytes(b"".join(reversed(records)))
    return path


@pytest.mark.parametrize(
    "copy",
    [plain, gzipped, docker, cri, with_carriage_returns, half_of_it, in_another_order],
    ids=lambda copy: str(copy.__name__),
)
def test_a_copy_of_the_log_elsewhere_adds_nothing(
    copy: Callable[[Sequence[bytes], Path], Path], tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    records, expected = sample(TALKING, 100)
    log.write_bytes(b"".join(records))
    (tmp_path / "elsewhere").mkdir()
    with reading(tmp_path, log) as reader:
        assert reader.once() == expected.total.rounds
        other = copy(records, tmp_path / "elsewhere" / "gateway.log")
        reader.follow(other)
        assert reader.once() == 0
        skipped = sum(line.count for line in reader.store.skipped() if line.source == str(other))
        if copy is not half_of_it:
            assert skipped == expected.non_ai + expected.foreign  # every line was understood
        check_totals(reader.store, expected, TALKING)


def test_an_older_log_that_is_restored_over_the_live_one_adds_nothing(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    records, expected = sample(TALKING, 100)
    with reading(tmp_path, log) as reader:
        for step, part in enumerate((records[:40], records, records[:60], records[:10], records[50:], records)):
            if step % 2:
                log.unlink()
            log.write_bytes(b"".join(part))
            reader.once()
            if step == 3:
                reader.restart()
        check_totals(reader.store, expected, TALKING)


# -- records with nothing unique ------------------------------------------------------------------


def test_the_same_record_twice_in_a_file_is_two_rounds_where_nothing_tells_them_apart(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    same = nothing_unique()
    log.write_bytes(same)
    with reading(tmp_path, log) as reader:
        assert reader.once() == 1
        with log.open("ab") as file:
            file.write(same + same)
        assert reader.once() == 2
        reader.restart()
        with log.open("ab") as file:
            file.write(same)
        assert reader.once() == 1
        reader.restart()
        assert reader.once() == 0
        assert totals(reader.store.slices()).rounds == 4
        assert reader.store.verify() == []


def test_a_copy_of_such_records_adds_none_and_a_longer_one_adds_the_rest(tmp_path: Path) -> None:
    log, copy, longer = (tmp_path / name for name in ("access.log", "copy.log", "longer.log"))
    same, other = nothing_unique(), nothing_unique(session_id="another")
    log.write_bytes(same + other + same)
    with reading(tmp_path, log) as reader:
        assert reader.once() == 3
        log.rename(tmp_path / "access.log.1")
        log.write_bytes(b"")
        assert reader.once() == 0
        copy.write_bytes(same + other + same)
        longer.write_bytes(wrapped([same, same, other, same], "cri", 500))
        reader.follow(copy)
        assert reader.once() == 0
        reader.follow(longer)
        assert reader.once() == 1
        assert reader.store.verify() == []


def test_the_same_record_with_an_id_of_its_own_is_one_round_however_often_it_stands_there(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(record() * 3)
    with reading(tmp_path, log) as reader:
        assert reader.once() == 1
        with log.open("ab") as file:
            file.write(record())
        assert reader.once() == 0


def test_such_records_are_not_counted_again_while_another_one_is_unfinished(tmp_path: Path) -> None:
    """A long record of one stream is being written in pieces while the other stream writes whole ones."""
    log = tmp_path / "container.log"
    when = b"2026-02-03T04:05:06.789Z"
    long, same = record(), nothing_unique()
    log.write_bytes(when + b" stdout F " + record(request_id="first"))
    with reading(tmp_path, log) as reader:
        assert reader.once() == 1
        with log.open("ab") as file:
            file.write(when + b" stdout P " + long[:500] + b"\n" + (when + b" stderr F " + same) * 2)
        assert reader.once() == 2
        reader.restart()
        assert reader.once() == 0
        with log.open("ab") as file:
            file.write(when + b" stderr F " + same)
        assert reader.once() == 1
        reader.restart()
        with log.open("ab") as file:
            file.write(when + b" stdout F " + long[500:])
        assert reader.once() == 1
        reader.restart()
        with log.open("ab") as file:
            file.write(when + b" stderr F " + same)
        assert reader.once() == 1
        assert totals(reader.store.slices()).rounds == 6


# -- lines that are no rounds ---------------------------------------------------------------------


def test_lines_that_are_no_rounds_are_counted_by_reason_with_one_of_each(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    damaged = record()[:300] + b"\n"
    foreign = b"2026-02-01T09:30:00.000001Z\tinfo\txdsproxy connected\n"
    log.write_bytes(
        record(ai_log_="") + damaged * 2 + b"\n" * 3 + foreign + b'{"ai_log":"-","method":"GET"}\n' + b"\xff\xfe\x00\n"
    )
    with reading(tmp_path, log) as reader:
        assert reader.once() == 1
        found = {line.reason: line for line in reader.store.skipped()}
        assert {reason: line.count for reason, line in found.items()} == {
            "malformed": 2, "blank": 3, "foreign": 2, "non_ai": 1,
        }  # fmt: skip
        assert found["malformed"].sample == damaged.strip()[:400]
        assert found["foreign"].sample in (foreign.strip(), b"\xff\xfe\x00")
        assert {line.source for line in found.values()} == {str(log)}


def test_no_line_keeps_the_next_ones_from_being_read(tmp_path: Path) -> None:
    """Clients choose much of what stands in a line; whatever it is, it is kept or skipped."""
    hostile: list[dict[str, Any]] = [
        {"session_id": "a\x00b"},
        {"session_id": "x" * 70_000},
        {"session_id": "\ud800"},
        {"session_id": "../../etc/passwd"},
        {"consumer": "\udfff"},
        {"model": "m" * 10_000},
        {"model": "\x00"},
        {"request_id": "\ud83d"},
        {"route_name": "\u2028\x1b[2J"},
        {"input_token": 1 << 70},
        {"input_token": -5, "output_token": "NaN"},
        {"input_token": 1e300, "total_token": float("inf")},
        {"cached_tokens": 10**9, "input_token": 5},
        {"input_token": 10**10, "output_token": 10**10},
        {"duration": "9" * 40, "llm_service_duration": 1 << 80},
        {"response_code": str(1 << 70)},
        {"start_time": "9999-12-31T23:59:59Z"},
        {"start_time": "0001-01-01T00:00:00+14:00"},
        {"start_time": "1e400"},
        {"start_time": ""},
        {"messages": [1, None, {"role": ["user"]}]},
        {"messages": "[{"},
        {"question": {"a": "\ud800"}},
        {"answer": 5, "tool_calls": "x"},
        {"an_unknown_field": {"deep": [[[[]]]]}},
    ]
    log = tmp_path / "access.log"
    log.write_bytes(
        b"".join(
            record(**{"request_id": f"r{number}", **changes}) + record(request_id=f"good{number}")
            for number, changes in enumerate(hostile)
        )
    )
    with reading(tmp_path, log) as reader:
        found = reader.once()
        kept = {stored.round.request_id for name in _names(reader) for stored in reader.store.rounds(name).rounds}
        assert {f"good{number}" for number in range(len(hostile))} <= kept
        skipped = {line.reason: line.count for line in reader.store.skipped()}
        assert found + sum(skipped.values()) == 2 * len(hostile)
        assert reader.store.verify() == []
        for name in _names(reader):
            list(reader.store.content(reader.store.rounds(name).rounds))


def _names(reader: Reading) -> list[str]:
    return reader.store.names_with("", 1000)


# -- what is not to be kept -----------------------------------------------------------------------

CANARY = "canary-3141592653"


def test_without_content_no_text_is_kept_anywhere(tmp_path: Path) -> None:
    said = [{"role": "system", "content": CANARY}, {"role": "user", "content": [{"type": "text", "text": CANARY}]}]
    texts: dict[str, Any] = {
        "messages": said,
        "question": CANARY,
        "system": CANARY,
        "answer": CANARY,
        "reasoning": CANARY,
        "tool_calls": [{"function": {"arguments": CANARY}}],
        "a_new_field": {"prompt": CANARY},
    }
    whole = record(**texts)
    log = tmp_path / "access.log"
    log.write_bytes(
        whole
        + record(**{**texts, "request_id": "cut", "messages": json.dumps(said)[:-9]})
        + whole[: whole.rindex(CANARY.encode()) + 40] + b"\n"
        + b"2026-02-01 info of another program " + CANARY.encode() + b"\n"
    )  # fmt: skip
    with reading(tmp_path, log, keep_content=False) as reader:
        assert reader.once() == 2
        reader.restart()
        reader.once()
        assert totals(reader.store.slices()).rounds == 2
        assert {line.reason for line in reader.store.skipped()} == {"malformed", "foreign"}
        (name,) = _names(reader)
        assert set(reader.store.content(reader.store.rounds(name).rounds)) == {None}
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert CANARY.encode() not in path.read_bytes(), path.name


def test_with_content_the_same_texts_read_back(tmp_path: Path) -> None:
    """The counterpart: otherwise the canary might be missing because nobody reads it."""
    log = tmp_path / "access.log"
    log.write_bytes(record(messages=[{"role": "user", "content": CANARY}], question=CANARY, answer=CANARY))
    with reading(tmp_path, log) as reader:
        assert reader.once() == 1
        (name,) = _names(reader)
        (content,) = reader.store.content(reader.store.rounds(name).rounds)
        assert content is not None
        assert content.messages == (json.dumps({"role": "user", "content": CANARY}, separators=(",", ":")).encode(),)
        assert content.answer == json.dumps(CANARY).encode()


# -- when something fails -------------------------------------------------------------------------


class Flaky(SqliteStore):
    """A store that fails where a test says so, as one does on a full disk."""

    failing = False

    def add(self, batch: Batch) -> Added:
        if self.failing:
            raise OSError(28, "No space left on device")
        return super().add(batch)


def test_what_could_not_be_kept_is_read_again(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    records, expected = sample(TALKING, 90)
    same = nothing_unique()
    log.write_bytes(b"".join(records[:30]) + same)
    with closing(Flaky(tmp_path / "data", price_version=CATALOG.version)) as store:
        ingester = Ingester([LogSource(log, store, CATALOG)], store)
        ingester.once()
        with log.open("ab") as file:
            file.write(b"".join(records[30:]) + same)
        store.failing = True
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                ingester.once()
        store.failing = False
        ingester.once()
        assert totals(store.slices()).rounds == expected.total.rounds + 2
        assert store.verify() == []


def test_how_far_a_torn_line_was_seen_is_kept_once_it_can_be(tmp_path: Path) -> None:
    """Whoever asks in another process compares the size of the file with what is kept."""
    log = tmp_path / "access.log"
    log.write_bytes(record())
    with closing(Flaky(tmp_path / "data")) as store:
        ingester = Ingester([LogSource(log, store, CATALOG)], store)
        ingester.once()
        with log.open("ab") as file:
            file.write(b'{"ai_log":"{')
        store.failing = True
        with pytest.raises(OSError, match="No space"):
            ingester.once()
        store.failing = False
        ingester.once()
        (checkpoint,) = store.checkpoints(str(log))
        assert checkpoint.size == log.stat().st_size
        assert checkpoint.offset < checkpoint.size


def test_a_listener_that_fails_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    records, expected = sample(TALKING, 50)
    log.write_bytes(b"".join(records))

    def listener(_: Added) -> None:
        raise RuntimeError("the page has gone")

    with closing(SqliteStore(tmp_path / "data")) as store:
        ingester = Ingester([LogSource(log, store, CATALOG)], store, on_added=listener)
        with pytest.raises(RuntimeError):
            ingester.once()
        quiet = Ingester([LogSource(log, store, CATALOG)], store)
        quiet.once()
        check_totals(store, expected, TALKING)


def test_a_missing_log_is_no_failure_and_is_read_when_it_appears(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "access.log"
    with reading(tmp_path, log) as reader:
        assert reader.once() == 0
        (state,) = reader.ingester.states
        assert not state.exists
        log.parent.mkdir()
        records, expected = sample(MIXED, 20)
        log.write_bytes(b"".join(records))
        assert reader.once() == expected.total.rounds
        (state,) = reader.ingester.states
        assert (state.exists, state.pending_bytes) == (True, 0)


def test_trouble_with_a_file_is_told_with_its_name_and_the_way_out(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(record())
    (tmp_path / "access.log.1.gz").write_bytes(b"\x1f\x8b\x08\x00 this was a gzip file once")
    with reading(tmp_path, log) as reader:
        assert reader.once() == 1
        (state,) = reader.ingester.states
        (problem,) = state.problems
        assert "access.log.1.gz" in problem.path
        assert problem.what


# -- following ------------------------------------------------------------------------------------


def test_who_asks_gets_what_was_in_the_log_when_the_question_came(tmp_path: Path) -> None:
    import threading

    log = tmp_path / "access.log"
    log.touch()
    expected = Expected()
    with reading(tmp_path, log) as reader, Writer(log) as writer:
        thread = threading.Thread(target=reader.ingester.run)
        thread.start()
        try:
            for number, line in enumerate(lines(MIXED, 2, 60, expected)):
                writer.write(line)
                if number % 3 == 0:
                    writer.flush()
                    as_of, behind = reader.ingester.catch_up(60)
                    assert as_of is not None
                    assert behind is None
                    assert totals(reader.store.slices()).rounds == expected.total.rounds
            writer.flush()
            wait_for("everything is read", lambda: totals(reader.store.slices()) == expected.total)
        finally:
            reader.ingester.stop()
            thread.join()
        check_totals(reader.store, expected, MIXED)


# -- anything at all ------------------------------------------------------------------------------

Event = tuple[str, int]


def events() -> st.SearchStrategy[list[Event]]:
    kinds = ["write", "write", "write", "tear", "rotate", "reopen", "copytruncate", "read", "read", "restart"]
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(1, 9)), min_size=5, max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    happening=events(),
    profile=st.sampled_from([MIXED, TALKING]),
    seed=st.integers(0, 1000),
    wrapper=st.sampled_from(["plain", "docker", "cri"]),
    other=st.sampled_from(["plain", "docker", "cri"]),
    cuts=st.lists(st.integers(0, 100), max_size=3),
)
def test_whatever_happens_to_a_log_its_totals_are_exact(
    tmp_path_factory: pytest.TempPathFactory,
    happening: list[Event],
    profile: Profile,
    seed: int,
    wrapper: Wrapper,
    other: Wrapper,
    cuts: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = folder / "access.log"
    expected = Expected()
    coming = lines(profile, seed, None, expected)
    written: list[bytes] = []
    try:
        with reading(folder, log) as reader, Writer(log, keep=99) as writer:
            renamed = False
            for what, number in happening:
                if what in ("write", "tear"):
                    some = [next(coming) for _ in range(number)]
                    written += some
                    for line in some:
                        writer.write(wrapped([line], wrapper, 700))
                    writer.flush(slices=1 if what == "tear" else None)
                elif what == "rotate" and not renamed:
                    # Envoy ends the line that it has begun in the old file; kubelet and docker do so as well.
                    writer.flush()
                    writer.rotate()
                    renamed = True
                elif what == "reopen" and renamed:
                    writer.reopen()
                    renamed = False
                elif what == "copytruncate" and not renamed:
                    writer.flush()
                    writer.copytruncate()
                elif what == "read":
                    reader.once()
                elif what == "restart":
                    reader.restart()
            writer.flush()
            reader.once()
            check_totals(reader.store, expected, profile)
            # The same records once more: cut into other files, in other wrappers, one part under another name.
            elsewhere = folder / "elsewhere"
            elsewhere.mkdir()
            edges = [0, *sorted(min(cut, len(written)) for cut in cuts), len(written)]
            paths = []
            for index, (begin, end) in enumerate(pairwise(edges)):
                path = elsewhere / f"part{index}.log"
                path.write_bytes(wrapped(written[begin:end], other, 5000))
                paths.append(path)
            reader.follow(*paths)
            assert reader.once() == 0
            check_totals(reader.store, expected, profile)
    finally:
        shutil.rmtree(folder)


def test_permissions_of_a_log_are_told_when_it_cannot_be_read(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.mkdir()
    with reading(tmp_path, log) as reader:
        assert reader.once() == 0
        (state,) = reader.ingester.states
        assert any(str(log) in problem.path for problem in state.problems)
    os.rmdir(log)


def test_a_log_that_cannot_be_opened_is_never_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, log = os.open, tmp_path / "access.log"

    def refused(path: Any, *more: Any, **named: Any) -> int:
        if os.fspath(path) == str(log):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *more, **named)

    log.write_bytes(record())
    with reading(tmp_path, log) as reader:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refused)
            assert reader.once() == 0
            as_of, behind = reader.ingester.catch_up(0.1)
            assert (as_of, behind) == (None, log.stat().st_size)
        assert reader.once() == 1
        as_of, behind = reader.ingester.catch_up(0.1)
        assert as_of is not None
        assert behind is None


def test_two_names_of_one_file_count_once_and_each_knows_how_far_it_was_read(tmp_path: Path) -> None:
    log, other = tmp_path / "access.log", tmp_path / "hard.log"
    log.write_bytes(record() + 3 * nothing_unique(model="other") + b"junk\n")
    other.hardlink_to(log)
    with reading(tmp_path, log, other) as reader:
        assert reader.once() == 4
        assert {len(reader.store.checkpoints(str(path))) for path in (log, other)} == {1}
        reader.restart()
        with log.open("ab") as file:
            file.write(nothing_unique(model="other"))
        assert reader.once() == 1
        assert {line.count for line in reader.store.skipped()} == {1}
