"""A whole state folder (``~/.openclaw``): all agents, all that they keep transcripts in, each call once."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import xxhash
import zstandard

from monitor.rounds import Round
from monitor.sources.openclaw.database import (
    KNOWN_SCHEMA,
    AgentDatabase,
    OtherSchema,
    change_counter,
    opened,
    side_file,
)
from monitor.sources.openclaw.files import (
    Look,
    TranscriptFile,
    first_line,
    folder_look,
    lines,
    look_at,
    mark_before,
    transcript_files,
)
from monitor.sources.openclaw.names import Index, Naming, PutAway, keys_of, read_index
from monitor.sources.openclaw.transcript import Call, Passed, Transcript
from monitor.sources.openclaw.values import Unreadable

DATABASE = Path("agent") / "openclaw-agent.sqlite"
INDEX = Path("sessions") / "sessions.json"
#: What is found is handed on after so many calls, or so many bytes of records.
_CALLS, _BYTES = 500, 8 << 20
#: Sessions of which it is remembered what was said; of others it is read again when they go on.
_REMEMBERED, _REMEMBERED_BYTES = 64, 32 << 20
#: Files of one agent that are watched; others are looked at every few seconds.
_WATCHED = 32
_GONE = -1


class Cursor(msgspec.Struct, frozen=True):
    """How far one transcript was read."""

    path: str
    #: In a database the session or the archive, else empty.
    part: str
    #: The number of the last event, or the offset behind the last record; _GONE for a session that was deleted.
    at: int
    #: What stands there, so that a place is known again.
    mark: bytes = b""
    device: int = 0
    inode: int = 0
    size: int = 0
    changed: int = 0


class Found(msgspec.Struct):
    """What a step of reading has found. All of it is kept together, or none."""

    calls: list[Round] = []
    passed: list[Passed] = []
    names: list[Naming] = []
    cursors: list[Cursor] = []
    size: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to hand this on."""
        return len(self.calls) >= _CALLS or self.size >= _BYTES

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.calls or self.passed or self.names or self.cursors)

    def add(self, other: Found) -> None:
        """Take in what came after."""
        self.calls += other.calls
        self.passed += other.passed
        self.names += other.names
        self.cursors += other.cursors
        self.size += other.size

    def take(self, entry: Call | Passed | None, naming: Naming | None, record: bytes | None) -> None:
        """Take in one record, under the key of its session where that is known."""
        self.size += len(record or b"")
        if isinstance(entry, Passed):
            self.passed.append(entry)
        elif entry is not None:
            self.calls.append(entry.round if naming is None else _named(entry.round, naming))


def _named(round_: Round, naming: Naming) -> Round:
    return msgspec.structs.replace(round_, session_id=naming.key, session_aliases=(naming.session_id,))


class Trouble(msgspec.Struct, frozen=True):
    """Something that can't be read, and the way out."""

    path: str
    what: str


class _Agent:
    """What is known of one agent's sessions."""

    def __init__(self) -> None:
        self.index = Index()
        self.database = Index()
        self.reset_keys: dict[str, str] = {}
        self.index_look: Look | None = None
        self.database_look: tuple[Look | None, Look | None, bytes] | None = None

    def key_of(self, session_id: str, file: str | None = None) -> Naming | None:
        """The naming of a session by its id, else by the file that it stands in."""
        known = self.database.names.get(session_id) or self.index.names.get(session_id)
        if known is not None:
            return known
        key = self.reset_keys.get(session_id) or (self.index.files.get(file) if file is not None else None)
        return None if key is None or key == session_id else Naming(session_id, key)


class StateFolder:
    """Reads a state folder again and again; each time gives what came since.

    Not thread-safe. What it remembers between two readings can be lost at any time: only `cursors` count.
    """

    def __init__(self, root: Path, cursors: Iterable[Cursor] = (), *, keep_content: bool = True) -> None:
        self.root = root
        self._keep_content = keep_content
        self._cursors = {(cursor.path, cursor.part): cursor for cursor in cursors}
        self._agents: dict[Path, _Agent] = {}
        self._open: OrderedDict[tuple[str, str], tuple[int, Transcript]] = OrderedDict()
        self._named: set[Naming] = set()
        self._headers: dict[tuple[str, int, int], PutAway | None] = {}
        self._troubles: list[Trouble] = []
        self._notes: list[Trouble] = []

    # -- what is there ----------------------------------------------------------------------------

    def agents(self) -> list[Path]:
        """The folders of the agents."""
        try:
            return sorted(path for path in (self.root / "agents").iterdir() if path.is_dir())
        except OSError:
            return []

    def paths(self) -> list[Path]:
        """All files that are read."""
        found = []
        for agent in self.agents():
            database = agent / DATABASE
            found += [database, side_file(database), agent / INDEX]
            found += [file.path for file in transcript_files(agent)]
        return found

    def look(self) -> tuple[int, bytes]:
        """How many bytes there are to read, and a digest that changes whenever something comes."""
        total, digest = folder_look(self.paths())
        counters = b"".join(change_counter(agent / DATABASE) for agent in self.agents())
        return total, xxhash.xxh3_64_digest(digest + counters)

    def watched(self) -> list[Path]:
        """Files that tell when something comes: the databases, the indexes, and the transcripts used last."""
        found = [self.root / "agents"]
        for agent in self.agents():
            live = [file for file in transcript_files(agent) if file.is_live]
            live.sort(key=lambda file: -file.look.changed)
            found += [agent / DATABASE, agent / INDEX, *(file.path for file in live[:_WATCHED])]
        return found

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What could not be read in the last reading."""
        return tuple(self._troubles)

    @property
    def notes(self) -> tuple[Trouble, ...]:
        """What is worth knowing, and no fault."""
        return tuple(self._notes)

    # -- reading ----------------------------------------------------------------------------------

    def read(self) -> Iterator[Found]:
        """What came since the last time, in steps."""
        self._troubles, self._notes = [], []
        step = Found()
        for agent in self.agents():
            for part in self._read_agent(agent, self._agents.setdefault(agent, _Agent())):
                step.add(part)
                if step.is_full:
                    yield step
                    step = Found()
        if not step.is_empty:
            yield step

    def _read_agent(self, agent: Path, known: _Agent) -> Iterator[Found]:
        database, files = agent / DATABASE, transcript_files(agent)
        look = look_at(database), look_at(side_file(database)), change_counter(database)
        self._read_index(agent / INDEX, known)
        self._find_reset_keys(known, files)
        if look[0] is not None and known.database_look != look:
            try:
                with opened(database) as db:
                    if db.schema > KNOWN_SCHEMA:
                        self._notes.append(Trouble(str(database), _newer(db.schema)))
                    known.database = db.index()
                    yield self._names(known)
                    yield from self._read_database(db, known)
                known.database_look = look
            except OtherSchema as error:
                self._troubles.append(Trouble(str(database), str(error)))
            except sqlite3.Error as error:
                self._troubles.append(Trouble(str(database), f"can't be read just now: {error}; it is tried again"))
        yield self._names(known)
        for file in files:
            try:
                yield from self._read_file(file, known)
            except (OSError, zstandard.ZstdError) as error:
                self._troubles.append(Trouble(str(file.path), f"can't be read: {error}; it is tried again"))

    # -- a database -------------------------------------------------------------------------------

    def _read_database(self, db: AgentDatabase, known: _Agent) -> Iterator[Found]:
        path = str(db.path)
        last = db.last_events()
        forks = db.forks()
        for session_id, seq in last.items():
            cursor = self._cursors.get((path, session_id))
            if cursor is None or cursor.at != seq or db.mark_of(session_id, seq) != cursor.mark:
                yield from self._read_session(db, known, session_id, forked=session_id in forks)
        archives = db.archives()
        for name, (session_id, size) in archives.items():
            cursor = self._cursors.get((path, name))
            if cursor is None or cursor.size != size:
                yield self._read_archive(db, known, name, session_id, size)
        for cursor in list(self._cursors.values()):
            if cursor.path == path and cursor.at != _GONE and not (cursor.part in last or cursor.part in archives):
                # Deleted in OpenClaw: what it cost stays counted, and its id may be given to another session.
                self._open.pop((path, cursor.part), None)
                yield self._moved(Found(), Cursor(path, cursor.part, _GONE))

    def _read_session(self, db: AgentDatabase, known: _Agent, session_id: str, *, forked: bool) -> Iterator[Found]:
        place = str(db.path), session_id
        cursor = self._cursors.get(place)
        read_to = cursor.at if cursor is not None else _GONE
        if cursor is not None and read_to != _GONE and db.mark_of(session_id, read_to) != cursor.mark:
            read_to = _GONE  # another session, or rewritten: all of it is new until its calls turn out to be known
            self._open.pop(place, None)
        at, transcript = self._open.pop(place, (_GONE, None))
        if transcript is None or at > read_to:
            at, transcript = _GONE, Transcript(session_id, keep_content=self._keep_content, forked=forked)
        found = Found()
        for event in db.events(session_id, at):
            entry = transcript.read(event.text) if event.text is not None else Passed("malformed")
            if event.seq <= read_to:
                continue
            found.take(entry, known.key_of(session_id), event.text)
            at = event.seq
            if found.is_full:
                self._remember(place, at, transcript)
                yield self._moved(found, Cursor(*place, at, event.mark))
                found = Found()
            last = event
        if at > read_to or read_to == _GONE:
            self._remember(place, at, transcript)
            if at != _GONE:
                yield self._moved(found, Cursor(*place, at, last.mark))

    def _read_archive(self, db: AgentDatabase, known: _Agent, name: str, session_id: str, size: int) -> Found:
        found = Found()
        transcript = Transcript(session_id, keep_content=self._keep_content)
        try:
            records = db.archive(name)
        except zstandard.ZstdError:
            records = []
            found.passed.append(Passed("malformed"))
        for record in records:
            found.take(transcript.read(record), known.key_of(transcript.session_id), record)
        return self._moved(found, Cursor(str(db.path), name, len(records), size=size))

    # -- a file -----------------------------------------------------------------------------------

    def _read_file(self, file: TranscriptFile, known: _Agent) -> Iterator[Found]:
        place = str(file.path), ""
        look = file.look
        cursor = self._cursors.get(place)
        if cursor is not None and (cursor.device, cursor.inode, cursor.size, cursor.changed) == (
            look.device,
            look.inode,
            look.size,
            look.changed,
        ):
            return
        read_to = 0
        if cursor is not None and not file.packed and cursor.at <= look.size:
            if mark_before(file.path, cursor.at) == cursor.mark:
                read_to = cursor.at
        at, transcript = self._open.pop(place, (0, None))
        if transcript is None or at != read_to:
            at, transcript = 0, Transcript(file.session_id, keep_content=self._keep_content)
        found = Found()
        for line in lines(file, at):
            entry = transcript.read(line.text)
            at = line.end
            if at <= read_to:
                continue
            found.take(entry, known.key_of(transcript.session_id, file.path.name), line.text)
            if found.is_full and not file.packed:
                yield self._moved(found, Cursor(*place, at, mark_before(file.path, at)))
                found = Found()
            elif found.is_full:
                # How far a packed file was read is only known at its end: what comes again is known by then.
                yield found
                found = Found()
        if file.is_live:
            self._remember(place, at, transcript)
        mark = b"" if file.packed else mark_before(file.path, at)
        yield self._moved(found, Cursor(*place, at, mark, look.device, look.inode, look.size, look.changed))

    # -- names ------------------------------------------------------------------------------------

    def _read_index(self, path: Path, known: _Agent) -> None:
        look = look_at(path)
        if look is None or look == known.index_look:
            return
        try:
            index = read_index(path.read_bytes())
        except (OSError, Unreadable):
            return  # it is written anew in place: the next look finds it whole
        # Sessions that were reset have left the index, and keep the names that they had.
        for naming in known.index.names.values():
            index.add(naming)
        known.index, known.index_look = index, look

    def _find_reset_keys(self, known: _Agent, files: list[TranscriptFile]) -> None:
        put_away = [
            one
            for file in files
            if file.reset_at is not None and (one := self._put_away(file, file.reset_at)) is not None
        ]
        known.reset_keys = keys_of(put_away, known.index.starts) if put_away else {}

    def _put_away(self, file: TranscriptFile, ended: int) -> PutAway | None:
        place = str(file.path), file.look.inode, file.look.size
        if place not in self._headers:
            line = first_line(file)
            transcript = Transcript(file.session_id, keep_content=False)
            if line is not None:
                transcript.read(line)
            self._headers[place] = PutAway(transcript.session_id, transcript.began, ended)
        return self._headers[place]

    def _names(self, known: _Agent) -> Found:
        """The namings that were not given out yet."""
        every = [
            *known.database.names.values(),
            *known.index.names.values(),
            *(Naming(session_id, key) for session_id, key in known.reset_keys.items()),
        ]
        new = [naming for naming in dict.fromkeys(every) if naming not in self._named]
        self._named.update(new)
        return Found(names=new)

    # -- places -----------------------------------------------------------------------------------

    def _moved(self, found: Found, cursor: Cursor) -> Found:
        self._cursors[cursor.path, cursor.part] = cursor
        found.cursors.append(cursor)
        return found

    def _remember(self, place: tuple[str, str], at: int, transcript: Transcript) -> None:
        self._open[place] = at, transcript
        self._open.move_to_end(place)
        size = sum(one.size for _, one in self._open.values())
        while len(self._open) > 1 and (len(self._open) > _REMEMBERED or size > _REMEMBERED_BYTES):
            _, (_, forgotten) = self._open.popitem(last=False)
            size -= forgotten.size


def _newer(schema: int) -> str:
    return (
        f"has schema {schema}, newer than the newest that this program knows ({KNOWN_SCHEMA}); what is needed is where "
        "it was, so it is read on. Update this program, and look at `session-monitor reconcile`"
    )
