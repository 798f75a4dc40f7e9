"""Container runtimes wrap records and cut long ones: they come out whole, wherever the file was cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sources.wrap import Record, Unwrapper

TIME = "2026-02-01T09:30:15.123456789Z"


def docker(text: str, *, stream: str = "stdout", last: bool = True) -> bytes:
    line = {"log": text + ("\n" if last else ""), "stream": stream, "time": TIME}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def cri(text: str, *, stream: str = "stdout", last: bool = True) -> bytes:
    return f"{TIME} {stream} {'F' if last else 'P'} {text}".encode()


def texts(records: Sequence[Record]) -> list[bytes]:
    return [record.text for record in records]


def unwrapped(*lines: bytes) -> list[Record]:
    return list(Unwrapper().records(lines, 0))


@pytest.mark.parametrize("wrap", [docker, cri])
def test_a_wrapped_record_is_what_the_program_wrote(wrap: object) -> None:
    assert callable(wrap)
    record = '{"ai_log":"{\\"question\\":\\"qué 🦞 \\\\n\\"}","path":"/a b"}'
    line = wrap(record)
    assert unwrapped(line) == [Record(record.encode(), len(line) + 1)]


def test_a_file_that_was_written_directly_passes_as_it_is() -> None:
    lines = [b'{"ai_log":"-"}', b"", b"2026-02-01T09:44:30Z\tinfo\txdsproxy", b"2026 stdout F", b"\xff\xfe", b"[1]"]
    assert texts(unwrapped(*lines)) == lines


def test_every_record_says_where_its_last_line_ended() -> None:
    lines = [b"{}", cri("one", last=False), b"", cri("two")]
    ends = [sum(len(line) + 1 for line in lines[: n + 1]) for n in range(len(lines))]
    assert [r.end for r in Unwrapper().records(lines, 1000)] == [1000 + ends[0], 1000 + ends[2], 1000 + ends[3]]


@pytest.mark.parametrize("wrap", [docker, cri])
def test_pieces_are_joined(wrap: object) -> None:
    assert callable(wrap)
    lines = [wrap("{abc ", last=False), wrap(" def", last=False), wrap("}")]
    assert texts(unwrapped(*lines)) == [b"{abc  def}"]


def test_streams_that_are_mixed_are_told_apart() -> None:
    lines = [
        cri("out-1 ", last=False),
        cri("err-1 ", stream="stderr", last=False),
        cri("out-2"),
        cri("whole", stream="stdout"),
        cri("err-2", stream="stderr"),
    ]
    assert texts(unwrapped(*lines)) == [b"out-1 out-2", b"whole", b"err-1 err-2"]


def test_line_ends_of_the_program_are_no_part_of_its_record() -> None:
    assert texts(unwrapped(docker("a\r"), cri("b\r"), docker(""), cri(""))) == [b"a", b"b", b"", b""]


def test_a_tag_behind_the_cri_flag_is_let_pass() -> None:
    assert texts(unwrapped(f"{TIME} stdout F:tag text".encode())) == [b"text"]
    assert texts(unwrapped(b"2026-02-01T17:30:15.1+08:00 stdout F text")) == [b"text"]


def test_json_that_only_looks_like_dockers_passes_as_it_is() -> None:
    lines = [
        b'{"log":7}',
        b'{"log":"cut',
        b'{"log":"\xff"}',
        b'{"log":"\\ud800"}',
        b'{"log":"x","stream":[]}',
    ]
    assert texts(unwrapped(*lines)) == lines


def test_a_wrapper_needs_no_usable_time() -> None:
    assert unwrapped(b'{"log":"x\\n","stream":"stdout","time":"soon"}')[0].text == b"x"
    assert unwrapped(b'{"log":"x\\n"}')[0] == Record(b"x", 14)


def test_nothing_is_held_when_every_record_is_complete() -> None:
    unwrapper = Unwrapper()
    assert unwrapper.held is None
    list(unwrapper.records([cri("a", last=False), cri("b")], 0))
    assert unwrapper.held is None


def test_the_oldest_unfinished_record_holds_the_place() -> None:
    unwrapper = Unwrapper()
    first, second = cri("a", last=False), cri("b", stream="stderr", last=False)
    list(unwrapper.records([first], 100))
    assert unwrapper.held == 100
    list(unwrapper.records([second, cri("more", last=False)], 100 + len(first) + 1))
    assert unwrapper.held == 100
    list(unwrapper.records([cri("end")], 1000))
    assert unwrapper.held == 100 + len(first) + 1
    list(unwrapper.records([cri("end", stream="stderr")], 2000))
    assert unwrapper.held is None


def test_a_record_whose_end_never_comes_is_given_out_before_it_fills_the_memory() -> None:
    unwrapper = Unwrapper(max_held_bytes=10_000)
    piece = cri("x" * 1000, last=False)
    records = list(unwrapper.records([piece] * 12, 0))
    # Nine pieces fit; the tenth goes beyond, and the next record begins behind it.
    assert [len(record.text) for record in records] == [10_000]
    assert records[0].end == 10 * (len(piece) + 1)
    assert unwrapper.held == records[0].end


def test_empty_pieces_without_end_do_not_fill_the_memory_either() -> None:
    unwrapper = Unwrapper(max_held_bytes=10_000)
    records = list(unwrapper.records([cri("", last=False)] * 1000, 0))
    assert len(records) == 6
    assert set(texts(records)) == {b""}


# --- Any file, any cut -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """Lines of one file and the records in the order in which they are complete."""

    lines: list[bytes]
    records: list[bytes]


@st.composite
def files(draw: st.DrawFn) -> Written:
    """Two streams, each with records that are cut into pieces, interleaved in any way."""
    wrap = draw(st.sampled_from([docker, cri]))
    alphabet = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
    text = st.text(alphabet, max_size=12)
    lines: list[bytes] = []
    records: list[bytes] = []
    unfinished = {"stdout": "", "stderr": ""}
    for _ in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(["stdout", "stderr", "stdout", "direct"]))
        piece = draw(text)
        if kind == "direct":
            line = b"[direct] " + piece.encode()
            lines.append(line)
            records.append(line)
            continue
        last = draw(st.booleans())
        lines.append(wrap(piece, stream=kind, last=last))
        unfinished[kind] += piece
        if last:
            records.append(unfinished[kind].encode())
            unfinished[kind] = ""
    return Written(lines, records)


@settings(deadline=None)
@given(files(), st.data())
def test_however_a_file_is_cut_into_chunks_the_records_are_the_same(file: Written, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(file.lines)), max_size=5)) | {0, len(file.lines)})
    unwrapper = Unwrapper()
    records: list[Record] = []
    offset = 0
    for begin, end in pairwise(cuts):
        chunk = file.lines[begin:end]
        records += unwrapper.records(chunk, offset)
        offset += sum(len(line) + 1 for line in chunk)
    assert texts(records) == file.records
    assert records == list(Unwrapper().records(file.lines, 0))


@settings(deadline=None)
@given(files(), st.data())
def test_a_restart_at_the_held_place_loses_nothing(file: Written, data: st.DataObject) -> None:
    offsets = [0]
    for line in file.lines:
        offsets.append(offsets[-1] + len(line) + 1)
    stop = data.draw(st.integers(0, len(file.lines)))
    before = Unwrapper()
    seen = list(before.records(file.lines[:stop], 0))
    resume = before.held if before.held is not None else offsets[stop]
    # The held place is the start of a line: reading can begin there.
    assert resume in offsets
    again = list(Unwrapper().records(file.lines[offsets.index(resume) :], resume))
    whole = list(Unwrapper().records(file.lines, 0))
    # What was complete before the held place is not read again ...
    assert [r for r in whole if r.end <= resume] == [r for r in seen if r.end <= resume]
    # ... and whatever was not is, whole and at its place; only what lay before it may be missing.
    missing = [r for r in whole if r not in seen]
    assert [r for r in again if r in missing] == missing


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80).filter(lambda line: b"\n" not in line), max_size=10))
def test_no_bytes_make_it_raise(lines: list[bytes]) -> None:
    prefixed = [prefix + line for line in lines for prefix in (b"", b'{"log":"', f"{TIME} stdout P ".encode())]
    for record in Unwrapper().records(prefixed, 0):
        assert isinstance(record.text, bytes)
