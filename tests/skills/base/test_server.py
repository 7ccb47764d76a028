"""The base skill as an MCP server: a real process, and the official client."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

import mcp_types as types
import msgspec
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from perstack.skills.base import base_tools

from .test_media import pdf, picture

pytestmark = pytest.mark.anyio

SERVE = (
    "import anyio, pathlib; from perstack.skills.base.server import serve_stdio; "
    "anyio.run(serve_stdio, pathlib.Path('.'))"
)


def silent() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


@asynccontextmanager
async def client(
    workspace: Path, mode: Literal["legacy", "auto"] = "legacy"
) -> AsyncGenerator[Client]:
    """A client of a server process that works in `workspace`."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", SERVE], cwd=workspace, env={"MY_API_KEY": "secret"}
    )
    with silent() as silence:
        transport = stdio_client(parameters, errlog=silence)
        async with Client(transport, mode=mode, read_timeout_seconds=60) as connected:
            yield connected


async def call(connected: Client, tool: str, **args: Any) -> tuple[str, bool]:
    result = await connected.call_tool(tool, args)
    assert isinstance(result, types.CallToolResult)
    content = result.content[0]
    assert isinstance(content, types.TextContent)
    return content.text, result.is_error


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_tools_are_listed_with_their_hints(
    tmp_path: Path, mode: Literal["legacy", "auto"]
):
    async with client(tmp_path, mode) as connected:
        listed = (await connected.list_tools()).tools
    assert [tool.name for tool in listed] == [tool.name for tool in base_tools()]
    for theirs, ours in zip(listed, base_tools(), strict=True):
        assert (theirs.title, theirs.description) == (ours.title, ours.description)
        assert theirs.input_schema.pop("$schema") == "http://json-schema.org/draft-07/schema#"
        assert theirs.input_schema == ours.schema
        assert theirs.annotations
        assert theirs.annotations.read_only_hint == ours.reads_only
        assert theirs.annotations.idempotent_hint == ours.repeatable


async def test_tools_answer_as_they_do_in_process(tmp_path: Path):
    (tmp_path / "perstack").mkdir()
    async with client(tmp_path) as connected:
        text, is_error = await call(connected, "writeTextFile", path="f.txt", text="hi")
        assert (msgspec.json.decode(text), is_error) == (
            {"path": str(tmp_path / "f.txt"), "text": "hi"},
            False,
        )
        assert (tmp_path / "f.txt").read_text(encoding="utf-8") == "hi"

        text, is_error = await call(connected, "readTextFile", path="/etc/passwd")
        told = msgspec.json.decode(text)
        assert (told["error"], is_error) == ("Error", True)
        assert told["message"].startswith("Access denied - path outside")

        usual: dict[str, Any] = {"args": [], "env": {}, "cwd": ".", "stdout": True, "stderr": True}
        text, is_error = await call(connected, "exec", command="env", **usual)
        assert not is_error
        assert "MY_API_KEY" not in text

        text, is_error = await call(connected, "exec", command="false", **usual)
        assert (msgspec.json.decode(text)["exitCode"], is_error) == (1, True)

        # one list for the whole process
        await call(connected, "todo", newTodos=["a"])
        text, _ = await call(connected, "attemptCompletion")
        assert msgspec.json.decode(text) == {
            "remainingTodos": [{"id": 0, "title": "a", "completed": False}]
        }


async def test_what_a_model_may_look_at_comes_with_the_result(tmp_path: Path):
    (tmp_path / "i.png").write_bytes(picture("image/png"))
    (tmp_path / "d.pdf").write_bytes(pdf())
    async with client(tmp_path) as connected:
        result = await connected.call_tool("readImageFile", {"path": "i.png"})
        assert isinstance(result, types.CallToolResult)
        _, image = result.content
        assert isinstance(image, types.ImageContent)
        assert image.mime_type == "image/png"
        assert base64.b64decode(image.data) == (tmp_path / "i.png").read_bytes()

        result = await connected.call_tool("readPdfFile", {"path": "d.pdf"})
        assert isinstance(result, types.CallToolResult)
        _, document = result.content
        assert isinstance(document, types.EmbeddedResource)
        assert isinstance(document.resource, types.BlobResourceContents)
        assert str(document.resource.uri) == (tmp_path / "d.pdf").as_uri()
        assert document.resource.mime_type == "application/pdf"
        assert base64.b64decode(document.resource.blob) == (tmp_path / "d.pdf").read_bytes()


async def test_what_cannot_be_called_is_said_as_others_say_it(tmp_path: Path):
    async with client(tmp_path) as connected:
        text, is_error = await call(connected, "readTextFile", path=3)
        assert is_error
        before = (
            "MCP error -32602: Input validation error: Invalid arguments for tool readTextFile: "
        )
        assert text.startswith(before)
        assert msgspec.json.decode(text[len(before) :]) == [
            {"path": ["path"], "message": "expected string, received number"}
        ]
        assert await call(connected, "think") == ("MCP error -32602: Tool think not found", True)
        assert await call(connected, "clearTodo") == ('{"todos":[]}', False)  # and it goes on
