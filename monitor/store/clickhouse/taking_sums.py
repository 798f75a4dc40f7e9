"""What a data directory had pruned comes into a fleet's store: digests, rows that stand for rounds, steps of times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args

from monitor.store.base import LATENCY_STEPS_MS, Latency
from monitor.store.clickhouse import gone, standing, steps
from monitor.store.clickhouse.connection import Database
from monitor.store.clickhouse.directory import Cell, Directory, Told
from monitor.store.clickhouse.naming import NOTHING, Names, quiet
from monitor.store.clickhouse.rows import COUNTS, FORGOTTEN, KNOWN, NAMES, PRUNED, SHARE, Row
from monitor.store.clickhouse.schema import ORIGIN, WITNESS
from monitor.store.clickhouse.state import State
from monitor.store.clickhouse.tables import BLOBS, among, ask, cut, now, write, write_rounds
from monitor.store.gone import round_digest, split
from monitor.store.rows import ms_of, round_id, started_at
from monitor.store.schema import DAY_MS, QUARTER_MS

_PAGE = 5000
_MARK = 8


class Pruned:
    """Takes what was pruned, step by step."""

    def __init__(self, db: Database, directory: Directory, state: State, names: Names) -> None:
        self._db = db
        self._directory = directory
        self._state = state
        self._names = names
        #: What is left of keys, by quarters of an hour, and what tells the directory apart in each.
        self._digests = dict(directory.digests())

    def _mark(self, quarter: int) -> bytes:
        # What was pruned first stays first, whatever is pruned later.
        return self._digests.get(quarter, b"")[:_MARK].ljust(_MARK, b"\0")

    # -- what must not count again ----------------------------------------------------------------

    def note_gone(self) -> None:
        """Write down what was counted and is stored no longer, and what was taken back out for good."""
        entries = [(at, self._mark(at), digests) for at, digests in self._digests.items() if at >= 0]
        for at, found in self._for_good().items():
            entries.append((at, min(found), b"".join(sorted(found))))
        gone.note(self._db, entries)

    def _for_good(self) -> dict[int, set[bytes]]:
        found: dict[int, set[bytes]] = {}
        for rid, key in self._directory.db.execute("SELECT rid, key FROM gap WHERE key != x''"):
            at = ms_of(rid)
            if at >= 0:
                found.setdefault(at - at % QUARTER_MS, set()).add(round_digest(key))
        return found

    def note_records(self) -> None:
        """Records of usage that are stored no longer are known by their keys, whatever time they come with."""
        rows = self._directory.db.execute(
            "SELECT e.key, e.rid, n.value FROM record AS e LEFT JOIN origin AS o ON o.rid = e.rid "
            "LEFT JOIN name AS n ON n.id = o.file WHERE NOT EXISTS (SELECT 1 FROM round WHERE rid = e.rid) "
            "AND NOT EXISTS (SELECT 1 FROM witness WHERE rid = e.rid)"
        )
        while some := rows.fetchmany(_PAGE):
            known: list[Row] = []
            origins = []
            for key, bumped, file in some:
                at = started_at(bumped)
                rid = round_id(at, key)
                known.append(_known(key, rid, at))
                origins.append((key, file or "", "", rid, at, file is not None, 1))
            write_rounds(self._db, known)
            write(self._db, ORIGIN, origins)

    # -- what stays in the sums -------------------------------------------------------------------

    def take(self, progress: Callable[[int], None]) -> int:
        """Write the rows that stand for rounds; gives how many of them are new."""
        new = done = 0
        for page in _pages(self._directory.cells()):
            homes = self._names.canonical(told.session for told, _ in page if told.kind == 0)
            rows = [
                row
                for told, cells in page
                for row in standing.rows(
                    told, cells, homes[told.session] if told.kind == 0 else "", self._mark(cells[0].quarter)
                )
            ]
            new += self._write(rows)
            done += len(rows)
            progress(done)
        return new

    def _write(self, rows: Sequence[Row]) -> int:
        there: dict[bytes, Row] = {}
        first, last = min(row.at for row in rows), max(row.at for row in rows)
        for some in cut(sorted({row.session for row in rows})):
            for values in ask(
                self._db,
                f"SELECT {NAMES} FROM round FINAL WHERE session IN {among(some)} AND at >= {first} AND at <= {last} "
                f"AND bitAnd(flags, {SHARE}) != 0",
                BLOBS,
            ):
                row = Row(*values)
                if row.state != FORGOTTEN:
                    there[row.key] = row
        wanted: list[Row] = []
        version = now()
        for row in rows:
            before = there.get(row.key)
            if before is None:
                wanted.append(row)
            elif before.state == PRUNED and before.ver < row.ver:
                # There are more of them by now, and they lie elsewhere.
                wanted.append(row)
                if before.rid != row.rid:
                    wanted.append(quiet(before, version, FORGOTTEN))
        write_rounds(self._db, wanted)
        return sum(row.key not in there for row in rows)

    def note_steps(self) -> None:
        """Write down how long the rounds took that these rows stand for."""
        kinds: tuple[Latency, ...] = get_args(Latency)
        found: dict[tuple[Latency, str], list[int]] = {}
        for kind, model, step, number in self._directory.db.execute(
            "SELECT p.kind, n.value, p.step, p.rounds FROM pruned_latency AS p JOIN name AS n ON n.id = p.model"
        ):
            found.setdefault((kinds[kind], model), [0] * (len(LATENCY_STEPS_MS) + 1))[step] += number
        marks = {at.to_bytes(8, "big") + self._mark(at) for at in self._digests if at >= 0}
        if found and marks:
            steps.note(self._state, marks, {key: tuple(counts) for key, counts in found.items()})

    # -- what both have ---------------------------------------------------------------------------

    def quiet_known(self) -> int:
        """Let rounds that the fleet's store has one by one, and that are in these sums, count no longer; how many."""
        digests = {at: split(found) for at, found in self._digests.items()}
        for at, found in self._for_good().items():
            digests[at] = digests.get(at, set()) | found
        if not digests:
            return 0
        between = f"at >= {max(0, min(digests))} AND at < {max(digests) + QUARTER_MS}"
        one_by_one = f"state IN ({COUNTS}, {PRUNED}) AND bitAnd(flags, {SHARE}) = 0"
        days = ask(
            self._db,
            f"SELECT DISTINCT intDiv(at, {DAY_MS}) AS day FROM round FINAL WHERE {between} AND {one_by_one} "
            "ORDER BY day",
        )
        wanted = {at // DAY_MS for at in digests}
        number = 0
        for (day,) in days:
            if day not in wanted:
                continue
            places = [
                (session, rid, key)
                for session, rid, key, at in ask(
                    self._db,
                    f"SELECT session, rid, key, at - modulo(at, {QUARTER_MS}) FROM round FINAL "
                    f"WHERE at >= {day * DAY_MS} AND at < {(day + 1) * DAY_MS} AND {one_by_one}",
                    ("key",),
                )
                if round_digest(key) in digests.get(at, ())
            ]
            for some in cut(places):
                self._quiet(some)
            number += len(places)
        return number

    def _quiet(self, places: Sequence[tuple[str, int, bytes]]) -> None:
        rows = [
            Row(*values)
            for values in ask(
                self._db, f"SELECT {NAMES} FROM round FINAL WHERE (session, rid, key) IN {among(places)}", BLOBS
            )
        ]
        version = now()
        going = {(row.rid, row.key) for row in rows}
        own = WITNESS.names.index("state")
        ids = {row.response_id for row in rows if row.response_id}
        for some in cut(sorted(ids)):
            behind = ask(
                self._db,
                f"SELECT {', '.join(WITNESS.names)} FROM witness FINAL WHERE response_id IN {among(some)} "
                f"AND state = {COUNTS}",
                BLOBS,
            )
            write(
                self._db,
                WITNESS,
                [
                    (*values[:own], KNOWN, *values[own + 1 : -1], version)
                    for values in behind
                    if (values[-3], values[-2]) in going
                ],
            )
        write_rounds(self._db, [quiet(row, version) for row in rows])


def _pages(groups: Iterable[tuple[Told, list[Cell]]]) -> Iterator[list[tuple[Told, list[Cell]]]]:
    page: list[tuple[Told, list[Cell]]] = []
    size = 0
    for told, cells in groups:
        page.append((told, cells))
        size += sum(cell.sums["rounds"] for cell in cells)
        if size >= _PAGE:
            yield page
            page, size = [], 0
    if page:
        yield page


def _known(key: bytes, rid: int, at: int) -> Row:
    """The row of a record that is known, without a session."""
    values: dict[str, Any] = dict.fromkeys(Row._fields, "") | dict.fromkeys(NOTHING)
    values |= {"chain": "", "said_key": b"", "status": None, "turn": None, "opening": None, "response_id": None}
    values |= {"rid": rid, "key": key, "state": KNOWN, "at": at, "flags": 0, "sources": 0, "ver": 1}
    return Row(**values)
