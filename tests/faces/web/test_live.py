"""Live events: who listens hears of what has grown, and a server that stops lets go of its listeners."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from starlette.exceptions import HTTPException

from monitor.answers.scope import Scope
from monitor.faces.web import live
from tests.faces.place import Place
from tests.faces.web.served import MAIN, Served, daemon, sample, wait_until_read
from tests.helpers import wait_for


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return sample(tmp_path)


@pytest.fixture
def served(place: Place) -> Iterator[Served]:
    with daemon(place) as found:
        wait_until_read(found, place)
        yield found


class Listener:
    """Reads a stream in a thread of its own."""

    def __init__(self, served: Served, **query: str) -> None:
        self.text = ""
        self.headers: dict[str, str] = {}
        self.ended = threading.Event()
        self.failed: Exception | None = None
        self._served, self._query = served, query
        threading.Thread(target=self._read, daemon=True).start()
        wait_for("the stream begins", lambda: ": listening" in self.text or self.ended.is_set())

    def _read(self) -> None:
        try:
            with self._served.client() as client, client.stream("GET", "/api/live", params=self._query) as answer:
                self.headers = dict(answer.headers)
                for piece in answer.iter_text():
                    self.text += piece
        except httpx2.HTTPError as error:
            self.failed = error
        finally:
            self.ended.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in re.findall(r"^event: grown\ndata: (.*)\n\n", self.text, re.M)]

    @property
    def grown(self) -> set[str]:
        return {name for event in self.events for name in event["sessions"]}


def append(place: Place, session: str, number: int = 0) -> None:
    """One more round of a session, as a new request."""
    line = place.log.read_bytes().splitlines()[1]
    line = re.sub(rb'\\"session_id\\":\\"[^"\\]*\\"', b'\\\\"session_id\\\\":\\\\"' + session.encode() + b'\\\\"', line)
    line = line.replace(b'"request_id":"', b'"request_id":"' + f"{session}{number}".encode(), 1)
    with place.log.open("ab") as file:
        file.write(line + b"\n")


def test_a_listener_hears_of_every_session_that_grows(served: Served, place: Place) -> None:
    listener = Listener(served)
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert listener.headers["cache-control"] == "no-store"
    assert listener.events == []
    append(place, "agent:main:new")
    wait_for("the event comes", lambda: listener.grown == {"agent:main:new"})
    assert listener.events[0]["as_of"].endswith("Z")
    for number in range(20):
        append(place, f"agent:main:{number}")
    names = {f"agent:main:{number}" for number in range(20)}
    wait_for("all are told", lambda: names <= listener.grown)
    # What comes at once is told at once: a page looks again only so often.
    assert len(listener.events) < 10


def test_a_listener_to_one_session_hears_of_that_alone(served: Served, place: Place) -> None:
    everything, one = Listener(served), Listener(served, id=MAIN)
    append(place, "agent:main:other")
    wait_for("the other is told to whom it concerns", lambda: "agent:main:other" in everything.grown)
    append(place, MAIN)
    wait_for("the one is told", lambda: one.grown == {MAIN})
    assert len(one.events) == 1


def test_a_process_that_does_not_read_the_logs_tells_as_well(served: Served, place: Place) -> None:
    with daemon(place, "--no-ingest") as other:
        listener = Listener(other)
        append(place, "agent:main:new")
        wait_for("the event comes", lambda: listener.grown == {"agent:main:new"})


def test_streams_end_with_the_server_and_hold_it_up_no_longer(place: Place) -> None:
    with daemon(place) as served:
        wait_until_read(served, place)
        listeners = [Listener(served) for _ in range(5)]
        served.process.terminate()
        assert served.process.wait(timeout=20) == 0
        for listener in listeners:
            assert listener.ended.wait(10)
            assert listener.failed is None
        assert "Traceback" not in served.stderr


def test_a_name_from_a_log_cannot_end_its_event() -> None:
    hostile = ["x\n\nevent: forged\ndata: {}", "\r\rretry: 1", "\u2028id: 3", "\udc00"]

    async def heard() -> bytes:
        stream = live.Stream(None, None)
        lines = stream.lines()
        await anext(lines)
        stream.add(hostile, None)
        return await anext(lines)

    told = anyio.run(heard)
    event, data, *rest = told.split(b"\n")
    assert event == b"event: grown"
    assert json.loads(data.removeprefix(b"data: "))["sessions"] == hostile
    assert rest == [b"", b""]
    assert b"\r" not in told


def test_no_more_streams_are_open_than_a_server_bears(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 2)

    async def opened() -> None:
        growth = live.Growth(read)
        streams = []
        for _ in range(2):
            growth.check()
            streams.append(await growth.open(None, None))
        with pytest.raises(HTTPException) as error:
            growth.check()
        assert error.value.status_code == 503
        growth.leave(streams[0])
        growth.check()
        growth.close()
        with pytest.raises(HTTPException):
            growth.check()

    anyio.run(opened)


def test_a_quiet_stream_says_now_and_then_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEEP_ALIVE_S", 0.01)

    async def heard() -> list[bytes]:
        stream = live.Stream(None, None)
        lines = stream.lines()
        said = [await anext(lines) for _ in range(3)]
        stream.add(["a", "b"], None)
        said.append(await anext(lines))
        stream.end()
        return said + [line async for line in lines]

    first, *quiet, news = anyio.run(heard)
    assert first.startswith(b"retry: 3000\n: ")
    assert quiet == [b": nothing new\n\n"] * 2
    assert news == b'event: grown\ndata: {"sessions": ["a", "b"], "as_of": null}\n\n'


def test_a_listener_hears_of_open_sessions_only() -> None:
    async def heard() -> bytes:
        stream = live.Stream(None, Scope(("agent:main:*",)))
        lines = stream.lines()
        await anext(lines)
        stream.add(["agent:secret:main"], 0)
        stream.add(["agent:main:main", "other"], 1_769_938_200_000)
        return await anext(lines)

    told = anyio.run(heard)
    assert told == b'event: grown\ndata: {"sessions": ["agent:main:main"], "as_of": "2026-02-01T09:30:00Z"}\n\n'
