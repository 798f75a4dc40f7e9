"""Every conversation reads back to the byte, whatever else was written, killed or damaged meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.rounds import START, UNKNOWN_TIME, Conversation, Position
from monitor.store.history import Content, Entry, History, HistoryError
from monitor.store.history import batch as batch_module
from monitor.store.history import month as month_module
from monitor.store.history import pieces as pieces_module
from tests.store.conversations import (
    AUGUST,
    HOUR,
    JULY,
    STEPS,
    Messages,
    Step,
    after,
    chained,
    complete,
    grown,
    js,
    key,
    message,
    session,
    without_place,
)


def not_needed() -> Messages:
    raise AssertionError("the beginning is known and must not be parsed again")


def rows(folder: Path, table: str, month: str = "202607") -> int:
    db = sqlite3.connect(folder / f"history-{month}.db")
    try:
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    finally:
        db.close()
    assert isinstance(count, int)
    return count


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(folder: Path) -> Iterator[History]:
    with History(folder) as store:
        yield store


# Reading back


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=25), st.booleans())
def test_every_round_of_any_tree_of_conversations_reads_back_to_the_byte(steps: list[Step], reopen: bool) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_module, "PIECE_BYTES", 300)  # many pieces without much text
        folder = Path(name)
        wanted = grown(steps)
        batch: list[Entry] = []
        store = History(folder)
        for one in wanted:
            batch.append((one.key, one.at, one.conversation))
            if one.batch_ends:
                store.write(batch)
                batch = []
                if reopen:
                    store.close()
                    store = History(folder)
        store.write(batch)
        in_place = [store.read(k, at) for k, at, *_ in wanted]
        store.close()
        with History(folder, read_only=True) as reader:
            walked = list(reader.walk([(k, at) for k, at, *_ in wanted]))
            assert walked == in_place
            for (k, at, _, content, _), found in zip(wanted, walked, strict=True):
                assert without_place(found) == content
                added = reader.added(k, at)
                assert found is not None
                assert added is not None
                if found.messages is not None:
                    assert added.messages == found.messages[found.new_from :]
                assert (added.question, added.answer) == (content.question, content.answer)
        sizes = {path.name: rows(folder, "piece", path.name[8:14]) for path in folder.glob("*.db")}
        with History(folder) as again:
            for k, at, _, content, _ in wanted:
                conversation = complete(
                    content.messages or (),
                    content.system,
                    truncated=content.truncated,
                    question=content.question,
                    answer=content.answer,
                )
                again.write([(k, at, conversation)])
            assert list(again.walk([(k, at) for k, at, *_ in wanted])) == in_place
        assert sizes == {path.name: rows(folder, "piece", path.name[8:14]) for path in folder.glob("*.db")}


def test_a_round_that_was_never_written_is_none_and_makes_no_file(folder: Path, store: History) -> None:
    assert store.read(key(1), JULY) is None
    assert store.added(key(1), JULY) is None
    assert list(store.walk([(key(1), JULY)])) == [None]
    assert store.months() == []
    assert not folder.exists()
    store.write([(key(1), JULY, complete((message("user", "hi"),)))])
    assert store.read(key(2), JULY) is None
    assert store.read(key(1), JULY + HOUR) is None


def test_no_messages_and_nothing_said_reads_back_as_that(store: History) -> None:
    nothing = complete(())
    store.write([(key(1), JULY, nothing), (key(2), JULY, complete((), question=b"null", answer=b'""'))])
    assert store.read(key(1), JULY) == Content((), 0)
    assert store.read(key(2), JULY) == Content((), 0, question=b"null", answer=b'""')


def test_a_cut_history_has_no_messages_but_its_text(store: History) -> None:
    cut = js("[map[content:hello [truncated] role:user]]")
    store.write([(key(1), JULY, complete((), js("system"), truncated=cut, question=js("hello")))])
    assert store.read(key(1), JULY) == Content(None, 0, js("system"), cut, js("hello"))


def test_a_message_of_many_megabytes_reads_back(store: History) -> None:
    text = random.Random(3).randbytes(4_000_000).hex()
    messages = message("system", "s"), message("user", text), message("user", "and?")
    store.write([(key(1), JULY, complete(messages, question=js("and?")))])
    assert store.read(key(1), JULY) == Content(messages, 0, question=js("and?"))


@pytest.mark.parametrize("at", [UNKNOWN_TIME, -5, 10**17])
def test_a_round_without_a_usable_time_is_kept_in_the_first_month(store: History, at: int) -> None:
    store.write([(key(1), at, complete((message("user", "hi"),)))])
    assert store.months() == ["197001"]
    assert without_place(store.read(key(1), at)).messages == (message("user", "hi"),)


def test_a_conversation_that_goes_on_in_the_next_month_is_complete_in_both(folder: Path) -> None:
    first = (message("system", "s"), message("user", "one"))
    second = (*first, message("assistant", "1"), message("user", "two"))
    base = START.after(first)
    with History(folder) as store:
        store.write([(key(1), JULY, complete(first)), (key(2), AUGUST, after(base, second))])
        assert store.months() == ["202607", "202608"]
    with History(folder) as store:
        store.drop("202607")
        assert store.months() == ["202608"]
        assert store.read(key(1), JULY) is None
        assert store.read(key(2), AUGUST) == Content(second, 2)
        added = store.added(key(2), AUGUST)
        assert added is not None
        assert added.messages == second[2:]
    assert [path.name for path in folder.iterdir()] == ["history-202608.db"]


# What is stored


def entries(conversations: list[Conversation], first: int = 0) -> list[Entry]:
    return [(key(first + i), JULY + i * 1000, conversation) for i, conversation in enumerate(conversations)]


def stored_bytes(folder: Path) -> int:
    db = sqlite3.connect(folder / "history-202607.db")
    try:
        (pieces,) = db.execute("SELECT sum(length(z)) FROM piece").fetchone()
        (own,) = db.execute("SELECT ifnull(sum(length(z)), 0) FROM said").fetchone()
    finally:
        db.close()
    return int(pieces + own)


@pytest.mark.parametrize("one_by_one", [True, False], ids=["live", "batch"])
def test_each_text_is_stored_once(folder: Path, store: History, one_by_one: bool) -> None:
    turns = session(40)
    batch = entries(chained(turns))
    for part in [[entry] for entry in batch] if one_by_one else [batch]:
        store.write(part)
    # The system prompt, then per turn a question and an answer; hexadecimal digits take half a byte or more.
    assert stored_bytes(folder) < 1.35 * (2000 + 40 * (200 + 500))
    assert rows(folder, "piece") == 41
    for (messages, said), (number, at, _) in zip(turns, batch, strict=True):
        content = store.read(number, at)
        assert content is not None
        assert content.messages == messages
        assert (content.question, content.answer) == (said["question"], said["answer"])


def test_a_known_beginning_is_neither_asked_for_nor_stored_again(folder: Path, store: History) -> None:
    (first, _), (second, _), (third, _) = session(3)
    store.write([(key(1), JULY, complete(first))])
    new = second[len(first) :]
    base = START.after(first)
    store.write([(key(2), JULY, Conversation(new, base.after(new), base, not_needed))])
    store.close()  # what is remembered is gone, the file is not
    new, base = third[len(second) :], START.after(second)
    store.write([(key(3), JULY, Conversation(new, base.after(new), base, not_needed))])
    assert store.read(key(3), JULY) == Content(third, len(second))
    assert rows(folder, "piece") == 4


def test_an_unknown_beginning_is_asked_for(store: History) -> None:
    messages = session(5)[-1][0]
    store.write([(key(1), JULY, after(START.after(messages[:6]), messages))])
    assert store.read(key(1), JULY) == Content(messages, 6)
    with pytest.raises(ValueError, match="whole"):
        store.write([(key(2), JULY, Conversation((), START, Position(3, b"never seen before...")))])
    assert store.read(key(2), JULY) is None


def test_sessions_share_their_system_prompt(folder: Path, store: History) -> None:
    prompt = message("system", random.Random(1).randbytes(5000).hex())
    rules = message("developer", "Be brief.")
    for number in range(20):
        messages = (prompt, rules, message("user", f"question {number}"))
        store.write([(key(number), JULY, complete(messages))])
        assert store.read(key(number), JULY) == Content(messages, 0)
    beside = js(random.Random(2).randbytes(5000).hex())
    one: Messages
    for number in range(20, 40):
        one = (message("user", f"question {number}"),)
        store.write([(key(number), JULY, complete(one, beside))])
        assert store.read(key(number), JULY) == Content(one, 0, beside)
    assert rows(folder, "piece") == 1 + 20 + 1 + 20
    assert stored_bytes(folder) < 2 * 5000 * 1.1 + 40 * 120


def test_system_prompts_beside_equal_messages_are_told_apart(store: History) -> None:
    messages = (message("user", "hi"),)
    for number, system in enumerate([None, js("one"), js("two"), messages[0]]):
        store.write([(key(number), JULY, complete(messages, system))])
    found = [store.read(key(number), JULY) for number in range(4)]
    assert [without_place(content).system for content in found] == [None, js("one"), js("two"), messages[0]]


def test_an_edit_late_in_a_long_history_repeats_little(folder: Path, store: History) -> None:
    luck = random.Random(9)
    messages = tuple(message("user", luck.randbytes(4000).hex()) for _ in range(50))
    store.write([(key(1), JULY, complete(messages))])
    before = stored_bytes(folder)
    edited = (*messages[:-1], message("user", "something else"))
    store.write([(key(2), JULY, complete(edited))])
    assert stored_bytes(folder) - before < 2 * batch_module.PIECE_BYTES
    assert without_place(store.read(key(1), JULY)).messages == messages
    assert without_place(store.read(key(2), JULY)).messages == edited


@pytest.mark.parametrize("remembered", [True, False])
def test_long_continuations_that_differ_late_share_what_they_can(
    folder: Path, store: History, remembered: bool
) -> None:
    luck = random.Random(9)
    first = (message("user", "go"),)
    long = tuple(message("tool", luck.randbytes(10_000).hex()) for _ in range(5))
    store.write([(key(1), JULY, complete(first))])
    ends = [message("user", "one"), message("user", "two"), message("user", "three")]
    for number, end in enumerate(ends, 2):
        store.write([(key(number), JULY, after(START.after(first), (*first, *long, end)))])
        if not remembered:
            store.close()
    for number, end in enumerate(ends, 2):
        assert store.read(key(number), JULY) == Content((*first, *long, end), 1)
    store.close()
    assert stored_bytes(folder) < 1.5 * 50_000 + 40_000


def test_an_answer_that_is_repeated_before_long_results_is_stored_once(folder: Path, store: History) -> None:
    luck = random.Random(9)
    first = (message("user", "go"),)
    answer = luck.randbytes(5000).hex()
    long = tuple(message("tool", luck.randbytes(10_000).hex()) for _ in range(5))
    everything = (*first, message("assistant", answer), *long)
    store.write([(key(1), JULY, complete(first, answer=js(answer)))])
    store.write([(key(2), JULY, after(START.after(first), everything))])
    assert store.read(key(2), JULY) == Content(everything, 1)
    assert texts(folder).count(answer.encode()) == 1


PARTS = st.lists(st.sampled_from(["a" * 30, "b" * 30, "a" * 30 + "b" * 30, '","', "c"]), max_size=6).map(
    lambda parts: "".join(parts).encode()
)


@given(PARTS, PARTS | st.none(), PARTS | st.none(), PARTS | st.none())
def test_what_is_taken_out_of_a_message_can_be_put_back(
    text: bytes, answer: bytes | None, reasoning: bytes | None, calls: bytes | None
) -> None:
    said = pieces_module.Said(answer, reasoning, calls)
    rest, holes = pieces_module.without(text, said)
    assert len(rest) + sum(length for _, _, length in holes) == len(text)
    assert pieces_module.filled(rest, holes, said.source()) == text


def test_a_retry_keeps_its_own_answer_and_shows_what_was_asked(folder: Path, store: History) -> None:
    (first, _), (second, _) = session(2)
    store.write([(key(1), JULY, complete(first, answer=js("no")))])
    store.write([(key(2), JULY, after(START.after(first), second, answer=js("first answer")))])
    store.write([(key(3), JULY, after(START.after(first), second, answer=js("second answer")))])
    store.write([(key(4), JULY, complete(second, answer=None))])
    assert rows(folder, "piece") == 3
    for number, answer in (2, js("first answer")), (3, js("second answer")), (4, None):
        assert store.read(key(number), JULY) == Content(second, len(first), answer=answer)
        assert store.added(key(number), JULY) == Content(second[len(first) :], len(first), answer=answer)


def test_writing_again_changes_nothing(folder: Path, store: History) -> None:
    batch = entries(chained(session(12))) + entries([complete((), answer=js("alone"))], first=500)
    store.write(batch)
    found = [store.read(k, at) for k, at, _ in batch]

    def counts() -> list[int]:
        return [rows(folder, table) for table in ("piece", "said", "round")]

    before = counts()
    other = complete((message("user", "another text under a known key"),))
    store.write([*batch, *batch])
    store.write([(k, at, other) for k, at, _ in batch[:2]])
    with History(folder) as second:
        second.write(batch[3:])
    assert counts() == before
    assert [store.read(k, at) for k, at, _ in batch] == found


def test_two_writers_of_one_folder_do_not_get_in_each_others_way(folder: Path) -> None:
    conversations = chained(session(30))
    with History(folder) as one, History(folder) as two:
        for i, entry in enumerate(entries(conversations)):
            (one, two)[i % 2].write([entry])
            if i % 3 == 0:
                (two, one)[i % 2].write([entry])
        for (messages, _), (k, at, _) in zip(session(30), entries(conversations), strict=True):
            assert without_place(two.read(k, at)).messages == messages
    assert rows(folder, "piece") == 31


def test_forgetting_costs_no_text(folder: Path, store: History) -> None:
    conversations = chained(session(10))
    for entry in entries(conversations):
        store.write([entry])
        store.forget()
    assert rows(folder, "piece") == 11
    assert without_place(store.read(key(9), JULY + 9000)).messages == session(10)[9][0]


def test_walking_a_long_session_decompresses_each_piece_once(
    folder: Path, store: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = session(300)
    batch = entries(chained(turns))
    store.write(batch)
    with History(folder, read_only=True) as reader:
        reader.read(*batch[0][:2])
        file = reader._files["202607"]
        calls: list[int] = []
        real = file._decompress

        def counted(z: bytes) -> bytes:
            calls.append(len(z))
            return real(z)

        monkeypatch.setattr(file, "_decompress", counted)
        walked = list(reader.walk([entry[:2] for entry in batch]))
        assert [without_place(content).messages for content in walked] == [messages for messages, _ in turns]
        assert len(calls) < 310
        reader.forget()
        calls.clear()
        reader.added(*batch[-1][:2])
        assert len(calls) <= 2


def test_threads_may_share_a_history(store: History) -> None:
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for i in range(30):
                messages = (message("user", f"{thread} {i}"),)
                store.write([(key(thread * 100 + i), JULY, complete(messages))])
                assert without_place(store.read(key(thread * 100 + i), JULY)).messages == messages
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_more_months_than_files_may_be_open(store: History) -> None:
    times = [JULY + i * 31 * 86_400_000 for i in range(12)]
    for _ in range(2):
        store.write([(key(i), at, complete((message("user", str(i)),))) for i, at in enumerate(times)])
    assert len(store.months()) == 12
    for i, at in enumerate(times):
        assert without_place(store.read(key(i), at)).messages == (message("user", str(i)),)


# Erasing


def frames(folder: Path) -> list[bytes]:
    db = sqlite3.connect(folder / "history-202607.db")
    try:
        return [z for (z,) in db.execute("SELECT z FROM piece UNION ALL SELECT z FROM said")]
    finally:
        db.close()


def texts(folder: Path) -> bytes:
    """Everything that is kept, decompressed."""
    return b"".join(map(zstandard.ZstdDecompressor().decompress, frames(folder)))


def raw(folder: Path) -> bytes:
    """Everything that is on the disk, whether it is still in use or not."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_erasing_a_session_removes_its_text_and_nothing_else(folder: Path, store: History) -> None:
    one, two = session(6, seed=1), session(6, seed=2)
    secret = [said["answer"] for _, said in one]
    store.write(entries(chained(one), first=0))
    kept_by_one = frames(folder)
    assert all(frame in raw(folder) for frame in kept_by_one if len(frame) < 3000)
    store.write(entries(chained(two), first=100))
    store.erase([(key(i), JULY + i * 1000) for i in range(6)])
    assert [store.read(key(i), JULY + i * 1000) for i in range(6)] == [None] * 6
    for i, (messages, _) in enumerate(two):
        assert without_place(store.read(key(100 + i), JULY + i * 1000)).messages == messages
    for text in [*secret, *(text for text in one[-1][0])]:
        assert text[40:80] not in texts(folder)
    assert not any(frame[20:100] in raw(folder) for frame in kept_by_one)
    store.write(entries(chained(one), first=200))
    assert without_place(store.read(key(205), JULY + 5000)).messages == one[-1][0]


@pytest.mark.parametrize("remembered", [True, False])
def test_a_shared_beginning_outlives_the_session_that_said_it_first(
    folder: Path, store: History, monkeypatch: pytest.MonkeyPatch, remembered: bool
) -> None:
    if not remembered:
        monkeypatch.setattr(month_module, "READ_BYTES", 1)
    turns = session(3)
    mine = js("an answer that only the erased session was given, word for word")
    store.write([(key(1), JULY, complete(turns[0][0], answer=mine))])
    branch = (*turns[0][0], js({"role": "assistant", "content": json.loads(mine)}), message("user", "go on"))
    store.write([(key(2), JULY, after(START.after(turns[0][0]), branch, answer=js("yes")))])
    store.write([(key(3), JULY, complete(turns[0][0], answer=js("another answer")))])
    with History(folder, read_only=True) as reader:
        assert without_place(reader.read(key(2), JULY)).messages == branch
        store.erase([(key(1), JULY)])
        # Another session quotes it, so it stays there, and stays readable.
        for either in store, reader:
            assert without_place(either.read(key(2), JULY)).messages == branch
            assert without_place(either.read(key(3), JULY)).answer == js("another answer")
        store.erase([(key(2), JULY)])
        assert b"only the erased session" not in texts(folder)
        assert without_place(reader.read(key(3), JULY)).messages == turns[0][0]


# Files


def test_all_files_are_private_even_with_a_careless_umask(folder: Path) -> None:
    old = os.umask(0)
    try:
        with History(folder) as store, History(folder, read_only=True) as reader:
            store.write([(key(1), JULY, complete((message("user", "hi"),)))])
            assert reader.read(key(1), JULY) is not None
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
            path = folder / "history-202607.db"
            assert modes == {path.name + end: 0o600 for end in ("", "-wal", "-shm")}
            store.close()
            path.chmod(0o644)
            store.write([(key(2), JULY, complete((message("user", "hi"),)))])
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def foreign(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE precious (x)")
    db.commit()
    db.close()


def newer(path: Path) -> None:
    with History(path.parent) as store:
        store.write([(key(1), JULY, complete((message("user", "hi"),)))])
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=2")
    db.close()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (foreign, "another program"),
        (newer, "version 2"),
        (lambda path: path.write_bytes(b""), "not a history file"),
        (lambda path: path.write_bytes(b"text " * 1000), "not a history file"),
    ],
    ids=["foreign", "newer", "empty", "text"],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(
    folder: Path, make: Callable[[Path], object], what: str, read_only: bool
) -> None:
    folder.mkdir()
    path = folder / "history-202607.db"
    make(path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with History(folder, read_only=read_only) as store:
        with pytest.raises(HistoryError, match=what) as caught:
            store.read(key(1), JULY)
        assert str(path) in str(caught.value)
        assert caught.value.path == path
        if not read_only:
            with pytest.raises(HistoryError, match=what):
                store.write([(key(1), JULY, complete(()))])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE piece SET z = zeroblob(length(z)) WHERE seq = 3",
        "UPDATE piece SET z = substr(z, 1, length(z) - 5) WHERE seq = 3",
        "UPDATE piece SET z = 'text' WHERE seq = 3",
        "UPDATE piece SET z = (SELECT z FROM piece WHERE seq = 2) WHERE seq = 3",
        "DELETE FROM piece WHERE seq = 3",
        "UPDATE piece SET parent = 2 WHERE seq = 4",
        "UPDATE piece SET parent = 5 WHERE seq = 4",
        "UPDATE piece SET parent = NULL WHERE seq = 4",
        "UPDATE round SET piece = 99 WHERE key = x'00000000000000000000000000000004'",
        "UPDATE round SET piece = 3 WHERE key = x'00000000000000000000000000000004'",
        "UPDATE round SET start = 1 WHERE key = x'00000000000000000000000000000004'",
        "UPDATE round SET said = 0 WHERE key = x'00000000000000000000000000000004'",
        "UPDATE round SET said = 99 WHERE key = x'00000000000000000000000000000004'",
        "UPDATE round SET piece = 'text' WHERE key = x'00000000000000000000000000000004'",
    ],
)
def test_damage_is_an_error_that_names_file_and_round_and_never_another_history(
    folder: Path, store: History, damage: str
) -> None:
    turns = session(6)
    store.write(entries(chained(turns)))
    store.close()
    db = sqlite3.connect(folder / "history-202607.db")
    assert db.execute(damage).rowcount == 1
    db.commit()
    db.close()
    with pytest.raises(HistoryError) as caught:
        store.read(key(4), JULY + 4000)
    assert "history-202607.db" in str(caught.value)
    assert key(4).hex() in str(caught.value)
    assert caught.value.key == key(4)
    # What does not depend on the damaged row is still there.
    assert without_place(store.read(key(0), JULY)).messages == turns[0][0]


def test_any_flipped_byte_is_noticed_or_changes_nothing(folder: Path, store: History) -> None:
    turns = session(6)
    batch = entries(chained(turns))
    store.write(batch)
    store.close()
    path = folder / "history-202607.db"
    good = path.read_bytes()
    luck = random.Random(4)
    noticed = 0
    for _ in range(150):
        at = luck.randrange(100, len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << luck.randrange(8))]) + good[at + 1 :])
        with History(folder, read_only=True) as reader:
            for (messages, said), (k, when, _) in zip(turns, batch, strict=True):
                try:
                    content = reader.read(k, when)
                except HistoryError:
                    noticed += 1
                    continue
                if content is not None:  # its key may have been hit
                    assert content.messages == messages
                    assert content.answer == said["answer"]
    assert noticed


def test_a_month_dropped_by_another_process_is_gone_and_can_be_written_anew(folder: Path) -> None:
    turns = session(3)
    with History(folder) as store, History(folder, read_only=True) as reader, History(folder) as other:
        store.write(entries(chained(turns))[:2])
        assert reader.read(key(0), JULY) is not None
        other.drop("202607")
        assert reader.read(key(0), JULY) is None
        store.write(entries(chained(turns))[2:])
        assert without_place(reader.read(key(2), JULY + 2000)).messages == turns[2][0]
        with pytest.raises(ValueError, match="not a month"):
            other.drop("../../x")


def test_a_reader_cannot_write(folder: Path) -> None:
    with History(folder, read_only=True) as reader:
        with pytest.raises(RuntimeError, match="reading only"):
            reader.write([(key(1), JULY, complete(()))])
        with pytest.raises(RuntimeError, match="reading only"):
            reader.drop("202607")
        with pytest.raises(RuntimeError, match="reading only"):
            reader.erase([(key(1), JULY)])
    assert not folder.exists()


# Other processes

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_history import JULY, chained, entries, session
from monitor.store.history import History

store = History(Path(sys.argv[1]))
batch = entries(chained(session(400)))
done = int(sys.argv[3])
while done < len(batch):
    store.write(batch[done:done + 3])
    done = min(done + 3, len(batch))
    print(done, flush=True)
"""


def start_writer(folder: Path, done: int) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(Path(__file__).parent), str(done)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def test_what_was_acknowledged_survives_kill_9(folder: Path) -> None:
    turns = session(400)
    luck = random.Random(7)
    done = 0
    for _ in range(5):
        # A little is written again, as an ingester does that had not noted how far it was.
        writer = start_writer(folder, max(done - 4, 0))
        assert writer.stdout is not None
        try:
            for _ in range(luck.randint(3, 20)):
                done = int(writer.stdout.readline())
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            rest = writer.stdout.read().split()
            writer.stdout.close()
            writer.wait()
        done = int(rest[-1]) if rest else done
        with History(folder, read_only=True) as reader:
            walked = reader.walk([(key(i), JULY + i * 1000) for i in range(done)])
            for (messages, said), content in zip(turns[:done], walked, strict=True):
                assert content is not None
                assert content.messages == messages
                assert content.answer == said["answer"]
    with History(folder) as store:
        store.write(entries(chained(turns)))
        assert without_place(store.read(key(399), JULY + 399_000)).messages == turns[-1][0]
    assert rows(folder, "piece") == 401


def test_readers_see_what_another_process_writes_meanwhile(folder: Path) -> None:
    turns = session(400)
    writer = start_writer(folder, 0)
    assert writer.stdout is not None
    with History(folder, read_only=True) as reader:
        seen = 0
        for line in writer.stdout:
            seen = int(line)
            i = seen - 1
            content = reader.read(key(i), JULY + i * 1000)
            assert without_place(content).messages == turns[i][0]
        assert seen == 400
    writer.stdout.close()
    assert writer.wait() == 0
