"""The base skill as an MCP server of its own, over stdin and stdout.

The same tools and the same answers as in process; only the envelope is MCP's. `mcp` takes a second to import,
so that happens when a server starts.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perstack.errors import ToolError
from perstack.job import File, Image, ResultPart, Text

from ..skill import Outcome, Skill, Tool
from .skill import NAME, open_base

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

_SCHEMA_DIALECT = "http://json-schema.org/draft-07/schema#"
_INVALID_PARAMS = -32602


async def serve_stdio(workspace: Path) -> None:
    """Serve the base skill over `workspace` until stdin ends. One todo list for the whole process."""
    from mcp.server.stdio import stdio_server

    async with open_base(workspace, os.environ) as skill:
        server = _server(skill)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())


def _server(skill: Skill) -> Server[dict[str, Any]]:
    import mcp_types as types
    from mcp.server.lowlevel import Server

    async def list_tools(
        _: ServerRequestContext[dict[str, Any]], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_listed(tool) for tool in skill.tools])

    async def call_tool(
        _: ServerRequestContext[dict[str, Any]], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        try:
            outcome = await skill.use(params.name, params.arguments or {})
        except ToolError as fault:
            text = f"MCP error {_INVALID_PARAMS}: {fault}"
            outcome = Outcome(parts=(Text(text=text),), is_error=True)
        return types.CallToolResult(content=_content(outcome.parts), is_error=outcome.is_error)

    return Server(
        NAME, version=version("perstack"), on_list_tools=list_tools, on_call_tool=call_tool
    )


def _listed(tool: Tool) -> types.Tool:
    import mcp_types as types

    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema={"$schema": _SCHEMA_DIALECT, **tool.schema},
        execution=types.ToolExecution(task_support="forbidden"),
        annotations=types.ToolAnnotations(
            title=tool.title, read_only_hint=tool.reads_only, idempotent_hint=tool.repeatable
        ),
    )


def _content(parts: tuple[ResultPart, ...]) -> list[types.ContentBlock]:
    import mcp_types as types

    content: list[types.ContentBlock] = []  # a file comes after the text that describes it
    described = ""
    for part in parts:
        match part:
            case Text(text=text):
                content.append(types.TextContent(type="text", text=text))
                described = text
            case Image(data=data, mime_type=mime_type):
                content.append(types.ImageContent(type="image", data=data, mime_type=mime_type))
            case File(data=data, mime_type=mime_type):
                uri = Path(msgspec.json.decode(described)["path"]).as_uri()
                blob = types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=data)
                content.append(types.EmbeddedResource(type="resource", resource=blob))
    return content
