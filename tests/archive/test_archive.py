"""Lines go into segments and come back, each counted once, whatever is killed, repeated or taken out on the way."""

from __future__ import annotations

import json
import os
import signal
import stat
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.archive import ArchiveError, Spool, collect, purge, segments, segments_of
from monitor.archive.segments import lines_of
from monitor.samples import DEMO, Expected, lines
from monitor.session_keys import name_digest
from monitor.store.sqlite import SqliteStore
from tests.helpers import check_totals, end, run, script, totals, wrapped

MARKER = b"xylophone-7f3a"


def ingested(data: Path, *logs: Path) -> None:
    for log in logs:
        run("ingest", "--once", "--data-dir", data, "--log-path", log)


def rounds_in(data: Path) -> int:
    with closing(SqliteStore(data, read_only=True)) as store:
        assert store.verify() == []
        return totals(store.slices()).rounds


def unpacked(path: Path) -> bytes:
    """What a segment unfolds to, by zstd itself."""
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


def line(number: int, session: str = "a", *, request: bool = True, said: str = "something") -> bytes:
    body = {
        "input_token": 10,
        "messages": [{"role": "user", "content": said}],
        "model": "gpt-5.4",
        "output_token": 5,
        "session_id": session,
    }
    outer = {"ai_log": json.dumps(body), "start_time": f"2026-02-01T10:00:{number % 60:02d}.000Z"}
    if request:
        outer["request_id"] = f"request-{number}"
    return json.dumps(outer).encode() + b"\n"


# -- what the logs hold now -----------------------------------------------------------------------


def test_a_segment_holds_the_lines_as_they_stood_and_counts_once(tmp_path: Path) -> None:
    expected = Expected()
    log, folder = tmp_path / "access.log", tmp_path / "archive"
    log.write_bytes(b"".join(lines(DEMO, 31, 500, expected)))
    planned = collect(log, folder, dry_run=True)
    assert not folder.exists()
    done = collect(log, folder)
    assert (done.lines, done.bytes) == (planned.lines, planned.bytes)
    assert done.bytes == log.stat().st_size
    (segment,) = done.segments
    assert unpacked(segment.path) == log.read_bytes()
    assert segment.path.stat().st_size < done.bytes / 10
    assert segment.index.rounds == expected.total.rounds
    assert segments(folder) == [segment]
    modes = {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    data, fresh = tmp_path / "data", tmp_path / "fresh"
    ingested(data, log, segment.path)
    ingested(fresh, segment.path)
    for place in (data, fresh):
        with closing(SqliteStore(place, read_only=True)) as store:
            check_totals(store, expected, DEMO)


def test_each_line_is_archived_once_however_the_log_grows_and_rotates(tmp_path: Path) -> None:
    log, folder = tmp_path / "access.log", tmp_path / "archive"
    written = [line(n) for n in range(90)]
    log.write_bytes(b"".join(written[:30]) + written[30][:20])
    assert collect(log, folder).lines == 30
    log.write_bytes(b"".join(written[:50]))
    assert collect(log, folder).lines == 20
    assert collect(log, folder).segments == ()
    log.rename(tmp_path / "access.log.1")
    with (tmp_path / "access.log.1").open("ab") as rotated:
        rotated.writelines(written[50:60])
    log.write_bytes(b"".join(written[60:]))
    assert collect(log, folder, segment_bytes=1).lines == 40
    held = b"".join(unpacked(segment.path) for segment in segments(folder))
    assert sorted(held.splitlines(keepends=True)) == sorted(written)


@pytest.mark.parametrize("kind", ["docker", "cri"])
def test_records_in_pieces_stay_together(tmp_path: Path, kind: str) -> None:
    log, folder = tmp_path / "0.log", tmp_path / "archive"
    records = [line(n, said="x" * 1000) for n in range(20)]
    text = wrapped(records, "docker" if kind == "docker" else "cri", piece=300)
    cut = text.index(b"\n", len(text) // 2) + 1
    log.write_bytes(text[:cut])
    collect(log, folder)
    log.write_bytes(text)
    collect(log, folder)
    assert b"".join(unpacked(segment.path) for segment in segments(folder)).count(b"\n") == text.count(b"\n")
    for segment in segments(folder):
        ingested(tmp_path / "data", segment.path)
    assert rounds_in(tmp_path / "data") == 20


def test_equal_lines_that_are_two_calls_stay_two_in_whatever_segment_they_end_up(tmp_path: Path) -> None:
    log, folder = tmp_path / "access.log", tmp_path / "archive"
    same = line(1, request=False)
    log.write_bytes(same * 2)
    collect(log, folder)
    log.write_bytes(same * 2 + line(2) + same)
    collect(log, folder)
    found = segments(folder)
    assert len(found) == 2
    for order in (found, found[::-1]):
        data = tmp_path / f"data-{order[0].path.name}"
        ingested(data, *[segment.path for segment in order])
        assert rounds_in(data) == 4
        ingested(data, log)
        assert rounds_in(data) == 4


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line(1))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArchiveError, match="file"):
        collect(log, tmp_path / "file")


def test_a_damaged_index_is_named_with_the_way_out(tmp_path: Path) -> None:
    log, folder = tmp_path / "access.log", tmp_path / "archive"
    log.write_bytes(line(1))
    (segment,) = collect(log, folder).segments
    segment.path.with_suffix(".index").write_bytes(b"nonsense")
    with pytest.raises(ArchiveError, match="Remove it"):
        segments(folder)


# -- as lines are read ----------------------------------------------------------------------------


def spool(folder: Path, **more: object) -> Spool:
    return Spool(folder, "access.log", **more)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5), st.sampled_from(["keep", "seal", "die"]))))
def test_a_spool_loses_nothing_and_knows_what_comes_again(steps: list[tuple[int, int, str]]) -> None:
    import tempfile

    # Some lines are equal, and are calls of their own all the same.
    written = [line(n // 2, request=n % 3 > 0).rstrip(b"\n") for n in range(18)]
    starts = [sum(len(text) + 1 for text in written[:n]) for n in range(18)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        at = 0
        spooled = spool(folder)
        for back, count, what in steps:
            # A reader goes on where it was, or again from some place before that.
            begin = max(0, at - back) if what == "die" else at
            if what == "die":
                spooled.close()
                with spooled.path.open("ab") as torn:
                    torn.write(b"\x50\x2a\x4d\x18torn")
                spooled = spool(folder)
            upto = min(len(written), begin + count)
            if begin < upto:
                spooled.keep(b"file", starts[begin], written[begin:upto])
                at = max(at, upto)
            if what == "seal":
                spooled.seal()
        spooled.seal()
        spooled.close()
        kept = [text for segment in segments(folder) for text in lines_of(segment.path)]
        # Each line is there, and in every segment as often as makes it the one that it was in its file.
        assert set(kept) == set(written[:at])
        unique = [text for text in written[:at] if b"request_id" in text]
        assert sorted(text for text in kept if b"request_id" in text) == sorted(unique)
        for text in set(kept) - set(unique):
            most = max(list(lines_of(segment.path)).count(text) for segment in segments(folder))
            assert most == written[:at].count(text)


def test_a_spool_is_sealed_when_it_is_large_or_old(tmp_path: Path) -> None:
    now = [1_000_000.0]
    spooled = spool(tmp_path, segment_bytes=1000, clock=lambda: now[0])
    assert not spooled.seal_if_due()
    spooled.keep(b"f", 0, [b"x" * 400])
    assert not spooled.seal_if_due()
    now[0] += 90_000
    assert spooled.seal_if_due()
    assert not spooled.seal_if_due()
    spooled.keep(b"f", 401, [b"y" * 1200])
    assert spooled.seal_if_due()
    assert [segment.index.lines for segment in segments(tmp_path)] == [1, 1]
    spooled.close()


def test_a_spool_can_be_read_with_zstd_as_it_is(tmp_path: Path) -> None:
    spooled = spool(tmp_path)
    spooled.keep(b"f", 0, [b"one", b"two"])
    spooled.keep(b"f", 8, [b"three"])
    assert stat.S_IMODE(spooled.path.stat().st_mode) == 0o600
    spooled.close()
    assert spooled.path.stat().st_size > 0
    assert rest_of(tmp_path) == [b"one", b"two", b"three"]


def rest_of(folder: Path) -> list[bytes]:
    """The lines that wait in the spools of a folder: closed and opened again, nothing of them is lost."""
    found = spool(folder)
    kept = [text for _, _, some in found._frames() for text in some]
    found.close()
    return kept


def settled(tmp_path: Path) -> Path:
    config = tmp_path / "session-monitor.toml"
    config.write_text('[retention]\narchive = "lines"\n')
    return config


def test_lines_are_kept_as_they_are_read_and_survive_the_reader_that_is_killed(tmp_path: Path) -> None:
    log, data, folder = tmp_path / "access.log", tmp_path / "data", tmp_path / "lines"
    config = settled(tmp_path)
    expected = Expected()
    written = list(lines(DEMO, 33, 300, expected))
    work = "from monitor.faces.cli.main import main; main()"
    for begin in range(0, 300, 60):
        with log.open("ab") as file:
            file.writelines(written[begin : begin + 60])
        reader = script(work, "ingest", "--data-dir", data, "--log-path", log, "--config", config)
        try:
            os.kill(reader.pid, signal.SIGKILL if begin % 120 else signal.SIGTERM)
            reader.wait()
        finally:
            end([reader])
    run("ingest", "--once", "--data-dir", data, "--log-path", log, "--config", config)
    spooled = Spool(folder, str(log))
    segment = spooled.seal()
    spooled.close()
    assert segment is not None
    assert unpacked(segment.path) == log.read_bytes()
    ingested(tmp_path / "fresh", segment.path)
    with closing(SqliteStore(tmp_path / "fresh", read_only=True)) as store:
        check_totals(store, expected, DEMO)


# -- one session ----------------------------------------------------------------------------------


def test_a_purged_session_has_no_line_left_in_any_segment(tmp_path: Path) -> None:
    log, folder = tmp_path / "access.log", tmp_path / "archive"
    written = [line(n, "private" if n % 3 == 0 else f"other-{n % 2}", said=f"{MARKER.decode()} {n}") for n in range(60)]
    public = [text for n, text in enumerate(written) if n % 3]
    # A damaged record is nobody's, and may be anybody's.
    log.touch()
    for part in (written[:20], written[20:40], [*written[40:], written[0][:-60] + b"\n", b"text of another program\n"]):
        with log.open("ab") as file:
            file.writelines(part)
        collect(log, folder)
    held = segments_of(folder, {name_digest("private")})
    assert len(held) > 2
    rewritten = purge(folder, {name_digest("private")})
    assert [s.path for s in rewritten] == [s.path for s in held]
    assert segments_of(folder, {name_digest("private")}) == []
    kept = b"".join(unpacked(segment.path) for segment in segments(folder))
    assert kept.count(b"private") == 0
    assert sorted(kept.splitlines(keepends=True)) == sorted([*public, b"text of another program\n"])
    assert purge(folder, {name_digest("private")}) == []


def test_a_segment_of_one_session_alone_goes_altogether(tmp_path: Path) -> None:
    log, folder = tmp_path / "access.log", tmp_path / "archive"
    log.write_bytes(line(1, "private"))
    collect(log, folder)
    purge(folder, {name_digest("private")})
    assert [file.name for file in folder.iterdir() if not file.name.startswith(".")] == []


def test_a_crash_between_a_new_segment_and_its_index_is_made_good_by_the_next_run(tmp_path: Path) -> None:
    log, folder = tmp_path / "access.log", tmp_path / "archive"
    log.write_bytes(line(1, "private") + line(2, "other"))
    (segment,) = collect(log, folder).segments
    index = segment.path.with_suffix(".index").read_bytes()
    purge(folder, {name_digest("private")})
    segment.path.with_suffix(".index").write_bytes(index)
    assert len(purge(folder, {name_digest("private")})) == 1
    assert unpacked(segment.path) == line(2, "other")
    assert segments(folder)[0].index.rounds == 1


# -- at the prompt --------------------------------------------------------------------------------


def test_the_command_shows_first_and_says_what_it_made(tmp_path: Path) -> None:
    log, data, folder = tmp_path / "access.log", tmp_path / "data", tmp_path / "archive"
    log.write_bytes(b"".join(line(n) for n in range(10)))
    arguments = ["--data-dir", str(data), "--log-path", str(log)]
    plan = json.loads(run("archive", *arguments, "--to", folder, "--json")[0])
    assert plan["lines"] == 10
    assert not folder.exists()
    assert "--to" in run("archive", *arguments, code=2)[1]
    done = json.loads(run("archive", *arguments, "--to", folder, "--yes", "--json")[0])
    assert done["done"]
    (name,) = done["segments"]
    assert (folder / name).stat().st_size == done["segment_bytes"]
    out, _ = run("archive", *arguments, "--to", folder, "--yes")
    assert "0 lines" in out


def test_purging_at_the_prompt_names_and_rewrites_the_segments(tmp_path: Path) -> None:
    log, data, folder = tmp_path / "access.log", tmp_path / "data", tmp_path / "lines"
    config = settled(tmp_path)
    log.write_bytes(line(1, "private", said=MARKER.decode()) + line(2, "other"))
    arguments = ["--data-dir", str(data), "--log-path", str(log), "--config", str(config)]
    run("archive", *arguments, "--yes")
    (segment,) = segments(folder)
    plan = json.loads(run("prune", *arguments, "--session", "private", "--json")[0])
    assert plan["segments"] == [str(segment.path)]
    assert unpacked(segment.path).count(MARKER) == 1
    done = json.loads(run("prune", *arguments, "--session", "private", "--yes", "--json")[0])
    assert done["segments"] == [str(segment.path)]
    assert unpacked(segment.path) == line(2, "other")
    # What was read and not sealed yet leaves it out when it is.
    assert any(".spool" in left for left in done["left_behind"])
    with closing(SqliteStore(data, read_only=True)) as store:
        spooled = Spool(folder, str(log), silenced=store.silenced)
        sealed = spooled.seal()
        spooled.close()
    assert sealed is not None
    assert MARKER not in unpacked(sealed.path)
    assert MARKER not in msgspec.msgpack.encode(sealed.index)


@pytest.mark.parametrize("content", ["none"])
def test_an_archive_of_lines_is_refused_where_nothing_said_may_be_kept(tmp_path: Path, content: str) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line(1))
    config = tmp_path / "session-monitor.toml"
    arguments = ["--data-dir", str(tmp_path / "data"), "--log-path", str(log), "--config", str(config)]
    config.write_text(f'[privacy]\ncontent = "{content}"\n')
    assert "privacy.content" in run("archive", *arguments, "--to", tmp_path / "a", "--yes", code=2)[1]
    config.write_text(f'[privacy]\ncontent = "{content}"\n[retention]\narchive = "a"\n')
    assert "retention.archive" in run("ingest", "--once", *arguments, code=2)[1]
    assert not (tmp_path / "a").exists()
