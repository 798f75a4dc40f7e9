"""A server of the bare SDK: what an answer costs when there is nothing behind it.

Without an argument it has one tool that says what it was told. With a file of ready answers it has
our three most asked tools, with our schemas, and each returns its object from memory.
"""

import sys
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent


def _echo(server: MCPServer[Any]) -> None:
    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        return text


def _from_memory(server: MCPServer[Any], file: str) -> None:
    import json

    from monitor.answers.sessions import Session, SessionList
    from monitor.answers.stats import ModelStats

    with open(file, encoding="utf-8") as answers:
        ready: dict[str, Any] = json.load(answers)
    texts = {name: json.dumps(answer, ensure_ascii=False, separators=(",", ":")) for name, answer in ready.items()}

    def result(name: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(text=texts[name])], structured_content=ready[name])

    @server.tool()
    async def get_session(session_id: str | None = None) -> Annotated[CallToolResult, Session]:
        """One session."""
        return result("get_session")

    @server.tool()
    async def list_sessions() -> Annotated[CallToolResult, SessionList]:
        """Some sessions."""
        return result("list_sessions")

    @server.tool()
    async def stats_by_model() -> Annotated[CallToolResult, ModelStats]:
        """All models."""
        return result("stats_by_model")


def main() -> None:
    """Serve on standard input and output."""
    server: MCPServer[Any] = MCPServer("bare", log_level="WARNING")
    if len(sys.argv) > 1:
        _from_memory(server, sys.argv[1])
    else:
        _echo(server)
    server.run("stdio")


if __name__ == "__main__":
    main()
