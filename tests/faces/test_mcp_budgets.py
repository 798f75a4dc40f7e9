"""An agent is told of its budget in mid-conversation, asked or subscribed, in both protocol eras."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import TextResourceContents

from monitor.samples import DEMO, Expected, lines

pytestmark = pytest.mark.anyio
Mode = Literal["auto", "legacy"]
SESSION = "agent:main:main"


@pytest.fixture
def spent(tmp_path: Path) -> tuple[Path, int]:
    """A configuration over a log of the last hour, and the tokens of one of its sessions."""
    began = round((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000)
    expected = Expected()
    log = tmp_path / "access.log"
    log.write_bytes(b"".join(lines(replace(DEMO, start=began, nights=False), seed=2, limit=150, expected=expected)))
    total = expected.sessions[SESSION].input_tokens + expected.sessions[SESSION].output_tokens
    config = tmp_path / "session-monitor.toml"
    config.write_text(
        f'timezone = "UTC"\n[[sources]]\npath = "{log}"\n'
        f'[[budgets]]\nname = "each"\nperiod = "session"\ntokens = {total * 2}\n'
        '[[budgets]]\nname = "never"\nperiod = "day"\ntokens = 1\nmatch = { consumer = "nobody" }\n'
    )
    return config, total


async def read(client: Client, uri: str) -> Any:
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return json.loads(content.text)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_hears_of_its_budget_with_its_figures(
    spent: tuple[Path, int], mode: Mode, tmp_path: Path
) -> None:
    config, total = spent
    arguments = ["serve", "--no-web", "--config", str(config), "--data-dir", str(tmp_path / "data")]
    server = StdioServerParameters(command=sys.executable, args=["-m", "monitor.faces.cli", *arguments])
    async with Client(server, mode=mode) as client:
        session = (await client.call_tool("get_session", {"session_id": SESSION})).structured_content
        assert session is not None
        assert session["budget"]["used"] == {"tokens": total}
        assert session["budget"]["share"] == 0.5
        assert session["budget"]["text"] == f"50 % of {total * 2:,} tokens in this session"
        told = await read(client, "monitor://budgets")
        assert {b["value"]: b["used"]["tokens"] for b in told["budgets"] if b["name"] == "each"}[SESSION] == total
        assert [b["used"] for b in told["budgets"] if b["name"] == "never"] == [{"tokens": 0}]


async def test_who_subscribes_to_budgets_is_told_when_they_move(spent: tuple[Path, int], tmp_path: Path) -> None:
    config, _ = spent
    arguments = ["serve", "--no-web", "--config", str(config), "--data-dir", str(tmp_path / "data")]
    server = StdioServerParameters(command=sys.executable, args=["-m", "monitor.faces.cli", *arguments])
    async with Client(server) as client:
        await client.call_tool("source_health", {})
        async with client.listen(resource_subscriptions=["monitor://budgets"]) as events:
            with (tmp_path / "access.log").open("ab") as log:
                log.writelines(lines(DEMO, seed=99, limit=20))
            with anyio.fail_after(60):
                async for event in events:
                    if getattr(event, "uri", "") == "monitor://budgets":
                        break
