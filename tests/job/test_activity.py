"""A call and its result → a row, by the documented rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from inline_snapshot import snapshot
from msgspec.structs import replace

from perstack.job import Activity, Call, Image, ResultPart, Text, TodoList, todos_after
from perstack.job.activity import activity_of

TODOS = todos_after(TodoList(), "todo", {"newTodos": ["a", "b"], "completedTodos": [0]})


TYPES = [str(kind.__struct_config__.tag) for kind in Activity.__args__]


def row(
    tool: str,
    args: dict[str, Any] | None = None,
    told: Any = None,
    *,
    skill: str = "@perstack/base",
    is_error: bool = False,
    todos: TodoList = TODOS,
) -> dict[str, Any]:
    """The row as it is written, without what every row has. told: the result, as text or as JSON."""
    text = told if isinstance(told, str) else msgspec.json.encode(told or {}).decode()
    call = Call(id="c", tool=tool, args=args or {}, skill=skill)
    return plain(activity_of(call, (Text(text=text),), is_error, todos))


def plain(found: Activity) -> dict[str, Any]:
    return msgspec.to_builtins(replace(found, id="", expert_key="", run_id=""))


def test_what_was_thought_of_and_done():
    assert row("attemptCompletion") == snapshot(
        {
            "type": "attemptCompletion",
            "remainingTodos": ({"id": 1, "title": "b", "completed": False},),
        }
    )
    assert row("attemptCompletion", todos=TodoList()) == snapshot({"type": "attemptCompletion"})
    assert row("todo", {"newTodos": ["a", "b"], "completedTodos": [0]}) == snapshot(
        {
            "type": "todo",
            "todos": (
                {"id": 0, "title": "a", "completed": True},
                {"id": 1, "title": "b", "completed": False},
            ),
            "newTodos": ("a", "b"),
            "completedTodos": (0,),
        }
    )
    assert row("todo") == snapshot(
        {
            "type": "todo",
            "todos": (
                {"id": 0, "title": "a", "completed": True},
                {"id": 1, "title": "b", "completed": False},
            ),
        }
    )
    assert row("clearTodo") == snapshot({"type": "clearTodo"})


def test_what_was_read():
    told = {"path": "/w/a.png", "mimeType": "image/png", "size": 7}
    assert row("readImageFile", {"path": "a.png"}, told) == snapshot(
        {"type": "readImageFile", "path": "a.png", "mimeType": "image/png", "size": 7}
    )
    assert row("readPdfFile", {"path": "a.pdf"}, {"mimeType": "application/pdf"}) == snapshot(
        {"type": "readPdfFile", "path": "a.pdf", "mimeType": "application/pdf"}
    )
    text = {"path": "a.txt", "content": "one\ntwo", "from": 0, "to": 2}
    assert row("readTextFile", {"path": "a.txt", "from": 0}, text) == snapshot(
        {
            "type": "readTextFile",
            "path": "a.txt",
            "content": """\
one
two\
""",
            "from": 0,
            "to": 2,
        }
    )
    info = {
        "exists": True,
        "path": "/w/a",
        "absolutePath": "/w/a",
        "name": "a",
        "directory": "/w",
        "extension": None,
        "type": "directory",
        "mimeType": None,
        "size": 4096,
        "sizeFormatted": "4.00 KB",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "accessed": "2026-01-01T00:00:00.000Z",
        "permissions": {"readable": True, "writable": True, "executable": True},
    }
    assert row("getFileInfo", {"path": "a"}, info) == snapshot(
        {
            "type": "getFileInfo",
            "path": "a",
            "info": {
                "exists": True,
                "name": "a",
                "directory": "/w",
                "extension": None,
                "type": "directory",
                "mimeType": None,
                "size": 4096,
                "sizeFormatted": "4.00 KB",
                "created": "2026-01-01T00:00:00.000Z",
                "modified": "2026-01-01T00:00:00.000Z",
                "accessed": "2026-01-01T00:00:00.000Z",
            },
        }
    )
    item = {"name": "b", "path": "b", "type": "file", "size": 3, "modified": "2026-01-01"}
    assert row("listDirectory", {"path": "."}, {"path": "/w", "items": [item]}) == snapshot(
        {
            "type": "listDirectory",
            "path": ".",
            "items": (
                {"name": "b", "path": "b", "type": "file", "size": 3, "modified": "2026-01-01"},
            ),
        }
    )


def test_what_was_written():
    assert row("writeTextFile", {"path": "a", "text": "x"}) == snapshot(
        {"type": "writeTextFile", "path": "a", "text": "x"}
    )
    assert row("appendTextFile", {"path": "a", "text": "x"}) == snapshot(
        {"type": "appendTextFile", "path": "a", "text": "x"}
    )
    assert row("editTextFile", {"path": "a", "newText": "n", "oldText": "o"}) == snapshot(
        {"type": "editTextFile", "path": "a", "newText": "n", "oldText": "o"}
    )
    assert row("moveFile", {"source": "a", "destination": "b"}) == snapshot(
        {"type": "moveFile", "source": "a", "destination": "b"}
    )
    assert row("deleteFile", {"path": "a"}) == snapshot({"type": "deleteFile", "path": "a"})
    assert row("createDirectory", {"path": "a"}) == snapshot(
        {"type": "createDirectory", "path": "a"}
    )
    assert row("deleteDirectory", {"path": "a", "recursive": True}) == snapshot(
        {"type": "deleteDirectory", "path": "a", "recursive": True}
    )


def test_what_was_run():
    args: dict[str, Any] = {
        "command": "ls",
        "args": ["-l"],
        "cwd": "/w",
        "env": {},
        "stdout": True,
        "stderr": True,
    }
    assert row("exec", args, {"output": "a\n"}) == snapshot(
        {"type": "exec", "command": "ls", "args": ("-l",), "cwd": "/w", "output": "a\n"}
    )
    failed = {"error": "Command failed: ls -l\nno", "stdout": "some", "stderr": "no"}
    assert row("exec", args, failed, is_error=True) == snapshot(
        {
            "type": "exec",
            "command": "ls",
            "args": ("-l",),
            "cwd": "/w",
            "stdout": "some",
            "stderr": "no",
            "error": """\
Command failed: ls -l
no\
""",
        }
    )


def test_every_other_call_is_a_general_tool():
    assert row("healthCheck", {}, {"status": "ok"}) == snapshot(
        {
            "type": "generalTool",
            "skillName": "@perstack/base",
            "toolName": "healthCheck",
            "args": {},
            "result": ({"type": "text", "text": '{"status":"ok"}'},),
        }
    )
    assert row("readTextFile", {"path": "a"}, "text", skill="files") == snapshot(
        {
            "type": "generalTool",
            "skillName": "files",
            "toolName": "readTextFile",
            "args": {"path": "a"},
            "result": ({"type": "text", "text": "text"},),
        }
    )
    call = Call(id="c", tool="shot", skill="camera")
    parts: tuple[ResultPart, ...] = (Image(data="AA==", mime_type="image/png"),)
    assert plain(activity_of(call, parts, False, TodoList())) == snapshot(
        {
            "type": "generalTool",
            "skillName": "camera",
            "toolName": "shot",
            "args": {},
            "result": ({"type": "image", "data": "AA==", "mimeType": "image/png"},),
        }
    )


def test_a_pinned_base_skill_is_the_base_skill():
    assert row("deleteFile", {"path": "a"}, skill="@perstack/base@0.0.34")["type"] == "deleteFile"


@pytest.mark.parametrize(
    ("told", "is_error", "error"),
    [
        ({"error": "NotFound"}, False, "NotFound"),
        ({"error": "Error", "message": "No such file."}, False, "No such file."),
        ({"error": "TypeError", "message": "No."}, True, "TypeError: No."),
        ({"error": 5}, False, None),
        ("Error: it broke", False, "Error: it broke"),
        ("  ERROR it broke", False, "  ERROR it broke"),
        ("Errors are rare", False, None),
        ('"Error: in JSON"', False, None),
        ("[1]", True, "[1]"),
        ("It broke", True, "It broke"),
        ("", True, "The call failed."),
        ("", False, None),
    ],
)
@pytest.mark.parametrize("skill", ["@perstack/base", "files"])
def test_what_counts_as_an_error(told: Any, is_error: bool, error: str | None, skill: str):
    found = row("deleteFile", {"path": "a"}, told, is_error=is_error, skill=skill)
    assert found.get("error") == error
    assert skill == "@perstack/base" or ("result" in found) == (error is None)


@pytest.mark.parametrize("tool", TYPES)
def test_odd_arguments_and_results_never_fail(tool: str):
    names = "path text newText oldText source destination command args cwd newTodos completedTodos recursive"
    results = "content from to items output stdout stderr size mimeType type error message"
    for odd in (5, None, [1], {"a": 1}, "x"):
        args: dict[str, Any] = dict.fromkeys(names.split(), odd)
        assert row(tool, args, dict.fromkeys(results.split(), odd))
        assert row(tool, args, "no JSON")


def test_arguments_of_another_type_are_shown_as_text():
    assert row("deleteFile", {"path": 5})["path"] == "5"
    assert row("writeTextFile", {"path": None, "text": {"a": 1}})["text"] == '{"a":1}'
    assert row("exec", {"command": "ls", "args": "-l"})["args"] == ()


def test_every_row_is_written_and_read_back():
    decoder = msgspec.json.Decoder(Activity)
    found = activity_of(Call(id="c", tool="todo", skill="@perstack/base"), (), False, TODOS)
    assert decoder.decode(msgspec.json.encode(found)) == found


def test_the_types_are_the_documented_ones():
    assert TYPES == snapshot(
        [
            "query",
            "retry",
            "complete",
            "error",
            "attemptCompletion",
            "todo",
            "clearTodo",
            "readImageFile",
            "readPdfFile",
            "readTextFile",
            "editTextFile",
            "appendTextFile",
            "writeTextFile",
            "deleteFile",
            "createDirectory",
            "deleteDirectory",
            "moveFile",
            "getFileInfo",
            "listDirectory",
            "exec",
            "delegate",
            "delegationComplete",
            "interactiveTool",
            "generalTool",
        ]
    )
