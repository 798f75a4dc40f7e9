"""Every conversation reads back to the byte, whichever nodes wrote it and whatever they knew of each other."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.prices.money import Cost
from monitor.rounds import START, UNKNOWN_TIME, Conversation, Position, Round
from monitor.store.base import Content, PricedRound, StoreError
from monitor.store.clickhouse import history as history_module
from monitor.store.clickhouse.history import History, content
from monitor.store.clickhouse.rows import NAMES, Row, from_round, stored
from monitor.store.clickhouse.schema import PIECE, ROUND, SAID, statements
from tests.fleet.embedded import Embedded, Engine, shared
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
    expected,
    grown,
    js,
    message,
    session,
    without_place,
)

pytestmark = pytest.mark.xdist_group("chdb")

#: What a node is told: a round's key, its start, and what was said.
Entry = tuple[bytes, int, Conversation]

MAIN = "agent:main:main"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return shared()


class Talk:
    """Nodes that write conversations into one database, and whoever reads them."""

    def __init__(self, database: Embedded) -> None:
        self.database = database
        for statement in statements(database.database, None):
            database.execute(statement)
        self.node = History(database)
        self.rows: dict[bytes, Row] = {}

    def write(self, entries: Iterable[Entry], name: str = MAIN, node: History | None = None) -> None:
        """Let a node keep rounds of a session."""
        given = [(_row(k, at, conversation, name), conversation) for k, at, conversation in entries]
        rows = (node or self.node).write(given)
        assert [row._replace(chain="", said_key=b"") for row in rows] == [row for row, _ in given]
        if rows:
            self.database.insert(ROUND.name, ROUND.names, rows)
        self.rows.update((row.key, row) for row in rows)

    def read(self, keys: Sequence[bytes], *, new_only: bool = False) -> list[Content | None]:
        """What was said in rounds."""
        return content(self.database, [stored(self.rows[k], 1) for k in keys], new_only=new_only)

    def read_one(self, number: int, *, new_only: bool = False) -> Content | None:
        (found,) = self.read([key(number)], new_only=new_only)
        return found

    def count(self, table: str) -> int:
        ((count,),) = self.database.query(f"SELECT count() FROM {table} FINAL")
        return int(count)

    def written(self) -> int:
        """The bytes of all that was ever written of conversations, replaced rows included."""
        return sum(
            int(size or 0)
            for table in (PIECE, SAID)
            for (size,) in self.database.query(f"SELECT sum(length(z)) FROM {table.name}")
        )

    def everything(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows of both tables, without the time at which they were written."""
        return {
            table.name: self.database.query(
                f"SELECT {', '.join(table.names[:-1])} FROM {table.name} FINAL ORDER BY {', '.join(table.order)}",
                blobs=("id", "parent", "key", "piece", "z"),
            )
            for table in (PIECE, SAID)
        }


def _row(k: bytes, at: int, conversation: Conversation, name: str) -> Row:
    r = Round(key=k, source="higress", started_at=at, session_id=name or None, conversation=conversation)
    return from_round(PricedRound(r, Cost("none")), name, "list", keeps=True)


@pytest.fixture
def talk(engine: Engine) -> Iterator[Talk]:
    with engine.database() as database:
        yield Talk(database)


def entries(conversations: Iterable[Conversation], first: int = 0) -> list[Entry]:
    return [(key(first + i), JULY + i * 1000, conversation) for i, conversation in enumerate(conversations)]


def key(number: int) -> bytes:
    """Half of a key is enough to tell rounds apart."""
    return number.to_bytes(8, "big") * 2


def not_needed() -> Messages:
    raise AssertionError("the beginning is known and must not be parsed again")


# -- reading back ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=25), st.booleans(), st.sampled_from([MAIN, ""]), st.randoms())
def test_every_round_of_any_tree_of_conversations_reads_back_to_the_byte(
    engine: Engine, steps: list[Step], two: bool, name: str, luck: random.Random
) -> None:
    with engine.database() as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_module, "PIECE_BYTES", 300)  # many pieces without much text
        talk = Talk(database)
        nodes = [talk.node, History(database)] if two else [talk.node]
        wanted = grown(steps)
        batch: list[Entry] = []
        for one in wanted:
            batch.append((one.key, one.at, one.conversation))
            if one.batch_ends:
                for node in luck.sample(nodes, luck.randint(1, len(nodes))):
                    talk.write(batch, name, node)
                batch = []
        talk.write(batch, name)
        keys = [one.key for one in wanted]
        found, added = talk.read(keys), talk.read(keys, new_only=True)
        for one, whole, new in zip(wanted, found, added, strict=True):
            assert without_place(whole) == one.content
            assert whole is not None
            assert new is not None
            assert new.new_from == whole.new_from
            if whole.messages is not None:
                assert new.messages == whole.messages[whole.new_from :]
            assert (new.question, new.answer) == (one.content.question, one.content.answer)
            assert new.system == (None if whole.new_from else whole.system)
            assert talk.read([one.key]) == [whole]
        # A node that comes late and knows the same from another log adds nothing.
        before = talk.count(PIECE.name)
        late = History(database)
        for one in wanted:
            said = one.content
            again = complete(
                said.messages or (), said.system, truncated=said.truncated, question=said.question, answer=said.answer
            )
            talk.write([(one.key, one.at, again)], name, late)
        assert talk.count(PIECE.name) == before
        for whole, again_read in zip(found, talk.read(keys), strict=True):
            assert without_place(again_read).messages == without_place(whole).messages


def test_nodes_that_read_the_same_log_write_the_same_rows(engine: Engine) -> None:
    turns = session(20)
    written = []
    for name in (MAIN, ""):
        for size in (1, 7, 20):
            with engine.database() as database:
                talk = Talk(database)
                batch = entries(chained(turns))
                for start in range(0, len(batch), size):
                    talk.write(batch[start : start + size], name, History(database) if size == 7 else None)
                written.append(talk.everything())
        assert written[-1] == written[-2] == written[-3]


def test_two_nodes_that_take_turns_do_not_get_in_each_others_way(talk: Talk) -> None:
    turns = session(30)
    nodes = talk.node, History(talk.database)
    batch = entries(chained(turns))
    for i, entry in enumerate(batch):
        talk.write([entry], node=nodes[i % 2])
        if i % 3 == 0:
            talk.write([entry], node=nodes[1 - i % 2])
    for (messages, _), found in zip(turns, talk.read([k for k, *_ in batch]), strict=True):
        assert without_place(found).messages == messages
    assert talk.count(PIECE.name) == 31


def test_a_round_of_which_nothing_was_kept_is_none(talk: Talk) -> None:
    talk.write(entries([complete((message("user", "hi"),))]))
    silent = _row(key(7), JULY, complete(()), MAIN)
    talk.rows[silent.key] = silent
    assert talk.read([key(7), key(0), key(7)])[::2] == [None, None]
    assert content(talk.database, [], new_only=False) == []


def test_no_messages_and_nothing_said_reads_back_as_that(talk: Talk) -> None:
    talk.write([(key(1), JULY, complete(())), (key(2), JULY, complete((), question=b"null", answer=b'""'))])
    for new_only in (False, True):
        assert talk.read([key(1), key(2)], new_only=new_only) == [
            Content((), 0),
            Content((), 0, question=b"null", answer=b'""'),
        ]


def test_a_cut_history_has_no_messages_but_its_text(talk: Talk) -> None:
    cut = js("[map[content:hello [truncated] role:user]]")
    talk.write([(key(1), JULY, complete((), js("system"), truncated=cut, question=js("hello")))])
    assert talk.read_one(1) == Content(None, 0, js("system"), cut, js("hello"))


def test_a_message_of_many_megabytes_reads_back(talk: Talk) -> None:
    text = random.Random(3).randbytes(4_000_000).hex()
    messages = message("system", "s"), message("user", text), message("user", "and?")
    talk.write([(key(1), JULY, complete(messages, question=js("and?")))])
    assert talk.read_one(1) == Content(messages, 0, question=js("and?"))


@pytest.mark.parametrize("name", ["100%_done\\'\"; DROP TABLE round", "会话 <b>一</b>\n\t\0", ""])
def test_hostile_names_and_bytes_are_nothing_but_text(talk: Talk, name: str) -> None:
    messages = (b'{"role":"user","content":"\\u0000 \t \' \\\\ \xe5\xb7\xb2"}', b"\xff\xfe not even JSON \0")
    talk.write([(key(0xFFFE5C27), JULY, complete(messages, answer=b"\\N\n\t\xf0\x9f"))], name)
    assert talk.read_one(0xFFFE5C27) == Content(messages, 0, answer=b"\\N\n\t\xf0\x9f")


@pytest.mark.parametrize("at", [UNKNOWN_TIME, -5])
def test_a_round_without_a_usable_time_is_kept_in_the_first_month(talk: Talk, at: int) -> None:
    talk.write([(key(1), at, complete((message("user", "hi"),)))])
    assert talk.rows[key(1)].chain == f"197001:{MAIN}"
    assert without_place(talk.read_one(1)).messages == (message("user", "hi"),)


def test_a_conversation_that_goes_on_in_the_next_month_is_complete_in_both(talk: Talk) -> None:
    first = (message("system", "s"), message("user", "one"))
    second = (*first, message("assistant", "1"), message("user", "two"))
    talk.write([(key(1), JULY, complete(first)), (key(2), AUGUST, after(START.after(first), second))])
    for table in (PIECE, SAID):
        talk.database.execute(f"ALTER TABLE {table.name} DROP PARTITION 202607")
    assert talk.read_one(1) is None
    assert talk.read_one(2) == Content(second, 2)
    added = talk.read_one(2, new_only=True)
    assert added is not None
    assert added.messages == second[2:]


# -- what is stored -------------------------------------------------------------------------------


@pytest.mark.parametrize("one_by_one", [True, False], ids=["live", "batch"])
@pytest.mark.parametrize("name", [MAIN, ""], ids=["session", "unnamed"])
def test_each_message_is_stored_once(talk: Talk, one_by_one: bool, name: str) -> None:
    turns = session(40)
    batch = entries(chained(turns))
    for part in [[entry] for entry in batch] if one_by_one else [batch]:
        talk.write(part, name)
    # The system prompt, then per turn a question, an answer, and the answer as it comes back.
    assert talk.written() < 1.35 * (2000 + 40 * (200 + 500 + 500))
    assert talk.count(PIECE.name) == 41
    assert talk.count(SAID.name) == 40
    for (messages, said), found in zip(turns, talk.read([k for k, *_ in batch]), strict=True):
        assert found is not None
        assert found.messages == messages
        assert (found.question, found.answer) == (said["question"], said["answer"])


def test_the_thousandth_round_writes_as_much_as_the_tenth(talk: Talk) -> None:
    turns = session(1000)
    batch = entries(chained(turns))
    sizes = {}
    for first, last in ((0, 9), (9, 10), (10, 999), (999, 1000)):
        before = talk.written()
        talk.write(batch[first:last])
        sizes[last] = talk.written() - before
    assert sizes[1000] < 1.1 * sizes[10]
    (found,) = talk.read([key(999)])
    assert without_place(found).messages == turns[-1][0]
    # What is new in it is found without the rest.
    asked: list[str] = []
    real = talk.database.query
    with pytest.MonkeyPatch.context() as patch:

        def query(sql: str, **more: object) -> list[tuple[object, ...]]:
            answer = real(sql, **more)  # type: ignore[arg-type]
            if " z " in sql:
                asked.extend(sql for _ in answer)
            return answer

        patch.setattr(talk.database, "query", query)
        assert len(talk.read([key(i) for i in range(980, 1000)], new_only=True)) == 20
    assert len(asked) <= 2 * 20


def test_a_write_is_two_inserts_whatever_it_holds(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    inserts: list[str] = []
    real = talk.database.insert

    def insert(table: str, *more: Any) -> None:
        inserts.append(table)
        real(table, *more)

    monkeypatch.setattr(talk.database, "insert", insert)
    given = []
    for number in range(30):
        for k, at, conversation in entries(chained(session(5, seed=number)), first=100 * number):
            given.append((_row(k, at, conversation, f"session {number % 20}"), conversation))
    talk.node.write(given)
    talk.node.write([])
    assert inserts == [PIECE.name, SAID.name]


def test_a_known_beginning_is_neither_asked_for_nor_stored_again(talk: Talk) -> None:
    (first, _), (second, _), (third, _) = session(3)
    talk.write([(key(1), JULY, complete(first))])
    new, base = second[len(first) :], START.after(first)
    talk.write([(key(2), JULY, Conversation(new, base.after(new), base, not_needed))])
    # Another node finds it in the table.
    new, base = third[len(second) :], START.after(second)
    talk.write([(key(3), JULY, Conversation(new, base.after(new), base, not_needed))], node=History(talk.database))
    assert talk.read_one(3) == Content(third, len(second))
    assert talk.count(PIECE.name) == 4


def test_an_unknown_beginning_is_asked_for(talk: Talk) -> None:
    messages = session(5)[-1][0]
    for number, name in enumerate((MAIN, "", "another")):
        talk.write([(key(number), JULY, after(START.after(messages[:6]), messages))], name)
        assert talk.read_one(number) == Content(messages, 6)
    with pytest.raises(ValueError, match="whole"):
        talk.write([(key(9), JULY, Conversation((), START, Position(3, b"never seen before...")))])


def test_what_a_failed_write_would_have_left_is_not_relied_on(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = entries(chained(session(4)))
    talk.write(batch[:1])
    with monkeypatch.context() as patch:

        def insert(*_: object) -> None:
            raise StoreError("the disk is full")

        patch.setattr(talk.database, "insert", insert)
        with pytest.raises(StoreError, match="full"):
            talk.write(batch[1:3])
    talk.write(batch[3:])
    turns = session(4)
    assert talk.read_one(3) == Content(turns[3][0], len(turns[2][0]), **turns[3][1])


def test_what_is_remembered_of_a_chain_is_looked_up_again_in_time(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = entries(chained(session(3)))
    talk.write(batch[:2])
    talk.database.execute(f"TRUNCATE TABLE {PIECE.name}")
    monkeypatch.setattr(history_module, "TRUSTED_S", -1.0)
    talk.write(batch[2:])
    assert without_place(talk.read_one(2)).messages == session(3)[2][0]


@pytest.mark.parametrize("remembered", [True, False])
def test_little_memory_costs_no_text(talk: Talk, monkeypatch: pytest.MonkeyPatch, remembered: bool) -> None:
    monkeypatch.setattr(history_module, "REMEMBERED", 3 if remembered else 0)
    node = History(talk.database)
    for number in range(3):
        for entry in entries(chained(session(10, seed=number)), first=100 * number):
            talk.write([entry], f"session {number}", node)
            if not remembered:
                node.forget()
    assert talk.count(PIECE.name) == 3 * 11
    assert without_place(talk.read_one(209)).messages == session(10, seed=2)[9][0]


def test_instructions_are_stored_once_in_a_session(talk: Talk) -> None:
    prompt = message("system", random.Random(1).randbytes(5000).hex())
    rules = message("developer", "Be brief.")
    for number in range(20):
        messages = (prompt, rules, message("user", f"question {number}"))
        talk.write([(key(number), JULY, complete(messages))])
        assert talk.read_one(number) == Content(messages, 0)
    beside = js(random.Random(2).randbytes(5000).hex())
    one: Messages
    for number in range(20, 40):
        one = (message("user", f"question {number}"),)
        talk.write([(key(number), JULY, complete(one, beside))])
        assert talk.read_one(number) == Content(one, 0, beside)
    assert talk.count(PIECE.name) == 1 + 20 + 1 + 20


def test_system_prompts_beside_equal_messages_are_told_apart(talk: Talk) -> None:
    messages = (message("user", "hi"),)
    for name in (MAIN, ""):
        for number, system in enumerate([None, js("one"), js("two"), messages[0]]):
            talk.write([(key(number), JULY, complete(messages, system))], name)
        found = [talk.read_one(number) for number in range(4)]
        assert [without_place(one).system for one in found] == [None, js("one"), js("two"), messages[0]]


def test_unnamed_conversations_with_other_openings_have_chains_of_their_own(talk: Talk) -> None:
    prompt = message("system", "the same for all")
    for number in range(4):
        asked = (prompt, message("user", f"question {number}"))
        more = (*asked, message("assistant", "yes"), message("user", "and?"))
        talk.write([(key(10 * number), JULY, complete((prompt,))), (key(10 * number + 1), JULY, complete(asked))], "")
        talk.write([(key(10 * number + 2), JULY + HOUR, after(START.after(asked), more))], "")
        mine = [talk.rows[key(10 * number + n)].chain for n in (1, 2)]
        assert mine[0] == mine[1]
    assert len({row.chain for row in talk.rows.values()}) == 5
    assert talk.read_one(32) == Content(more, 2)


def test_an_edit_late_in_a_long_history_repeats_little(talk: Talk) -> None:
    luck = random.Random(9)
    messages = tuple(message("user", luck.randbytes(4000).hex()) for _ in range(50))
    talk.write([(key(1), JULY, complete(messages))])
    before = talk.written()
    edited = (*messages[:-1], message("user", "something else"))
    talk.write([(key(2), JULY, complete(edited))])
    assert talk.written() - before < 2 * history_module.PIECE_BYTES
    assert without_place(talk.read_one(1)).messages == messages
    assert without_place(talk.read_one(2)).messages == edited


@pytest.mark.parametrize("remembered", [True, False])
def test_long_continuations_that_differ_late_share_what_they_can(talk: Talk, remembered: bool) -> None:
    luck = random.Random(9)
    first = (message("user", "go"),)
    long = tuple(message("tool", luck.randbytes(10_000).hex()) for _ in range(5))
    talk.write([(key(1), JULY, complete(first))])
    ends = [message("user", "one"), message("user", "two"), message("user", "three")]
    for number, end in enumerate(ends, 2):
        talk.write([(key(number), JULY, after(START.after(first), (*first, *long, end)))])
        if not remembered:
            talk.node.forget()
    for number, end in enumerate(ends, 2):
        assert talk.read_one(number) == Content((*first, *long, end), 1)
    assert talk.written() < 1.5 * 50_000 + 40_000


def test_messages_that_only_one_request_has_are_not_in_the_way_of_the_next(talk: Talk) -> None:
    luck = random.Random(9)
    history = [message("user", luck.randbytes(400).hex())]
    sizes = []
    for number in range(20):
        reminder = message("system", luck.randbytes(100).hex())
        everything = (*history, reminder)
        conversation = msgspec.structs.replace(complete(everything), passing=1)
        before = talk.written()
        talk.write([(key(number), JULY + number, conversation)])
        sizes.append(talk.written() - before)
        assert without_place(talk.read_one(number)).messages == everything
        history += [message("assistant", luck.randbytes(400).hex()), message("user", luck.randbytes(400).hex())]
    assert sizes[19] < 1.3 * sizes[1]


def test_a_retry_keeps_its_own_answer_and_shows_what_was_asked(talk: Talk) -> None:
    (first, _), (second, _) = session(2)
    talk.write([(key(1), JULY, complete(first, answer=js("no")))])
    talk.write([(key(2), JULY, after(START.after(first), second, answer=js("first answer")))])
    talk.write([(key(3), JULY, after(START.after(first), second, answer=js("second answer")))])
    talk.write([(key(4), JULY, complete(second, answer=None))])
    assert talk.count(PIECE.name) == 3
    for number, answer in (2, js("first answer")), (3, js("second answer")), (4, None):
        assert talk.read_one(number) == Content(second, len(first), answer=answer)
        assert talk.read_one(number, new_only=True) == Content(second[len(first) :], len(first), answer=answer)


def test_writing_again_changes_nothing(talk: Talk) -> None:
    batch = entries(chained(session(12))) + entries([complete((), answer=js("alone"))], first=500)
    talk.write(batch)
    before = talk.everything()
    talk.write([*batch, *batch])
    talk.write(batch[3:], node=History(talk.database))
    assert talk.everything() == before


# -- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "piece: z = unhex(repeat('00', 60))",
        "piece: z = substring(z, 1, length(z) - 5)",
        "piece: z = 'text'",
        "piece: z = OTHER",
        "piece: count = 99",
        "said: z = 'text'",
        "said: z = ''",
    ],
)
def test_damage_is_an_error_that_names_the_conversation_and_never_another_history(talk: Talk, damage: str) -> None:
    turns = session(6)
    talk.write(entries(chained(turns)))
    table, change = damage.split(": ")
    name, value = change.split(" = ", 1)
    at = START.after(turns[3][0]).digest
    which = f"id = unhex('{at.hex()}')" if table == "piece" else f"key = unhex('{key(3).hex()}')"
    if value == "OTHER":
        ((other,),) = talk.database.query(
            f"SELECT hex(z) FROM piece WHERE id = unhex('{START.after(turns[2][0]).digest.hex()}')"
        )
        value = f"unhex('{other}')"
    columns = {"piece": PIECE, "said": SAID}[table].names
    values = ", ".join(value if c == name else "ver + 1" if c == "ver" else c for c in columns)
    talk.database.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE {which}")
    for new_only in (False, True):
        with pytest.raises(StoreError, match=MAIN):
            talk.read_one(3, new_only=new_only)
        # What does not depend on the damaged row is still there.
        assert without_place(talk.read_one(0, new_only=new_only)).messages == turns[0][0]


def test_what_is_gone_in_the_middle_is_none_and_never_half_a_history(talk: Talk) -> None:
    turns = session(6)
    talk.write(entries(chained(turns)))
    gone = START.after(turns[3][0]).digest.hex()
    talk.database.execute(f"ALTER TABLE piece DELETE WHERE id = unhex('{gone}') SETTINGS mutations_sync = 1")
    assert [without_place(one).messages for one in talk.read([key(n) for n in range(3)])] == [
        messages for messages, _ in turns[:3]
    ]
    assert talk.read([key(3), key(4), key(5)]) == [None] * 3
    assert talk.read([key(3)], new_only=True) == [None]


def test_a_table_of_rounds_has_what_this_test_writes() -> None:
    assert NAMES.split(", ") == list(ROUND.names)
    assert expected(complete((b"1",)), (b"1",)).messages == (b"1",)
