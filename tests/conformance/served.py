"""The daemon plus what the conformance suites ask for by name: a script that takes the options of `serve`."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.utilities.types import Audio, Image
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    ClientCapabilities,
    EmbeddedResource,
    ImageContent,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
    TextContent,
    TextResourceContents,
)

from monitor.faces import serving
from monitor.faces.cli.main import main
from monitor.faces.mcp import sdk
from monitor.faces.mcp.notices import Notices
from monitor.faces.mcp.server import with_notices
from monitor.runtime import Runtime

#: One red pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
#: A header and no samples.
WAV = base64.b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=")


def register(server: MCPServer[Any]) -> None:
    """Add the tools, resources and prompts of the suite, and treat them as the product treats its own."""
    _tools(server)
    _resources(server)
    _prompts(server)
    sdk.be_strict(server)


def _tools(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    async def test_simple_text() -> str:
        """Gives a text."""
        return "This is a simple text response for testing."

    @server.tool(structured_output=False)
    async def test_image_content() -> Image:
        """Gives an image."""
        return Image(data=PNG, format="png")

    @server.tool(structured_output=False)
    async def test_audio_content() -> Audio:
        """Gives a sound."""
        return Audio(data=WAV, format="wav")

    @server.tool(structured_output=False)
    async def test_embedded_resource() -> EmbeddedResource:
        """Gives a resource."""
        return _embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")

    @server.tool(structured_output=False)
    async def test_multiple_content_types() -> CallToolResult:
        """Gives a text, an image and a resource."""
        return CallToolResult(
            content=[
                TextContent(text="Multiple content types test:"),
                Image(data=PNG, format="png").to_image_content(),
                _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
            ]
        )

    @server.tool(structured_output=False)
    async def test_error_handling() -> str:
        """Fails."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    async def test_tool_with_progress(ctx: Context[Any]) -> str:
        """Reports progress."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
        return "done"

    @server.tool(structured_output=False)
    async def test_missing_capability(ctx: Context[Any]) -> str:
        """Needs a client that samples."""
        has = ctx.session.client_capabilities
        if has is None or has.sampling is None:
            needed = MissingRequiredClientCapabilityErrorData(
                required_capabilities=ClientCapabilities(sampling=SamplingCapability())
            )
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                "this tool needs sampling",
                needed.model_dump(mode="json", by_alias=True, exclude_none=True),
            )
        return "done"

    @server.tool(structured_output=False)
    async def test_trigger_tool_change(ctx: Context[Any]) -> str:
        """Says that the tools have changed."""
        await ctx.notify_tools_changed()
        return "done"

    @server.tool(structured_output=False)
    async def test_trigger_prompt_change(ctx: Context[Any]) -> str:
        """Says that the prompts have changed."""
        await ctx.notify_prompts_changed()
        return "done"


def _resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    async def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    async def static_binary() -> bytes:
        return PNG

    @server.resource("test://template/{id}/data", mime_type="application/json")
    async def template(id: str) -> str:  # noqa: A002
        return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


def _prompts(server: MCPServer[Any]) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Says a text."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Says its arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """Says a resource."""
        return [
            UserMessage(_embedded(resourceUri, "text/plain", "Embedded resource content for testing.")),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """Says an image."""
        image = ImageContent(data=base64.b64encode(PNG).decode(), mime_type="image/png")
        return [UserMessage(image), UserMessage("Please analyze the image above.")]


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def _with_fixtures(runtime: Runtime, *, text_only: bool = False) -> tuple[MCPServer[Any], Notices]:
    server, notices = with_notices(runtime, text_only=text_only)
    register(server)
    return server, notices


if __name__ == "__main__":
    with patch.object(serving, "with_notices", _with_fixtures):
        main(["serve", *sys.argv[1:]])
