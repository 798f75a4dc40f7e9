"""Twelve stdio servers on one data directory while the log grows, as OpenClaw starts them, with kills among them."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters

from monitor.samples import DEMO, Expected, Writer, lines

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
SERVERS = 12
ERAS: tuple[Literal["auto", "legacy"], ...] = ("auto", "legacy")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _server(folder: Path) -> StdioServerParameters:
    # The server writes its process id where the test finds it: a real client does not tell it.
    code = (
        "import os, sys; from pathlib import Path; from monitor.faces.cli.main import main; "
        "Path(sys.argv[1], f'pid-{os.getpid()}').touch(); main(sys.argv[2:])"
    )
    options = ["serve", "--no-web", "--data-dir", str(folder / "data"), "--log-path", str(folder / "access.log")]
    return StdioServerParameters(command=sys.executable, args=["-c", code, str(folder), *options], cwd=str(ROOT))


async def _rounds(client: Client) -> int | None:
    """What the server counts so far; None where it says that it is behind."""
    result = await client.call_tool("stats_by_model", {})
    assert not result.is_error, result.content
    answer: dict[str, Any] = result.structured_content or {}
    return None if "behind_bytes" in answer else int(answer["totals"]["rounds"])


async def test_whoever_is_killed_the_others_end_with_the_same_exact_totals(tmp_path: Path) -> None:
    expected = Expected()
    records = list(lines(DEMO, seed=21, limit=900, expected=expected))
    (tmp_path / "access.log").touch()
    written = anyio.Event()
    chance = random.Random(5)
    totals: list[int] = []

    async def write() -> None:
        with Writer(tmp_path / "access.log") as writer:
            for index, record in enumerate(records):
                writer.write(record)
                if index % 30 == 29:
                    writer.flush()
                    await anyio.sleep(0.05)
                if index == 400:
                    writer.rotate()
                if index == 430:
                    writer.reopen()
        written.set()

    async def converse(number: int) -> None:
        try:
            async with Client(_server(tmp_path), mode=ERAS[number % 2]) as client:
                while not written.is_set():
                    await _rounds(client)
                with anyio.fail_after(120):
                    while await _rounds(client) != expected.total.rounds:
                        await anyio.sleep(0.1)
                totals.append(expected.total.rounds)
        except Exception:
            # A killed server's client ends with an error; whether all others end well is what is tested.
            if number in killed:
                return
            raise

    killed: set[int] = set()

    async def kill_some() -> None:
        while len(list(tmp_path.glob("pid-*"))) < SERVERS:
            await anyio.sleep(0.1)
        pids = sorted(int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*"))
        killed.update(range(SERVERS))  # process ids do not tell whose client they belong to
        for pid in chance.sample(pids, 5):
            await anyio.sleep(0.3)
            os.kill(pid, signal.SIGKILL)

    with anyio.fail_after(240):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(kill_some)
            for number in range(SERVERS):
                tasks.start_soon(converse, number)
    assert len(totals) == SERVERS - 5
