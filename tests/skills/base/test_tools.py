"""The tools as data, and what is said of arguments they cannot take."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jsonschema
import msgspec
import pytest

from perstack.errors import ToolError
from perstack.skills.base import base_tools
from perstack.skills.base.tools import checked

EXEC: dict[str, Any] = {
    "command": "ls",
    "args": [],
    "env": {},
    "cwd": ".",
    "stdout": True,
    "stderr": True,
}


def test_there_are_seventeen_in_their_order():
    assert [tool.name for tool in base_tools()] == [
        "attemptCompletion",
        "todo",
        "clearTodo",
        "exec",
        "getFileInfo",
        "healthCheck",
        "readTextFile",
        "readImageFile",
        "readPdfFile",
        "writeTextFile",
        "appendTextFile",
        "editTextFile",
        "moveFile",
        "deleteFile",
        "listDirectory",
        "createDirectory",
        "deleteDirectory",
    ]


def test_what_only_reads_or_may_repeat_is_marked():
    assert {tool.name for tool in base_tools() if tool.reads_only} == {
        "getFileInfo",
        "healthCheck",
        "readTextFile",
        "readImageFile",
        "readPdfFile",
        "listDirectory",
    }
    assert [tool.name for tool in base_tools() if tool.may_repeat] == ["writeTextFile"]


@pytest.mark.parametrize("tool", base_tools(), ids=lambda tool: tool.name)
def test_each_tool_is_described_with_a_schema_that_is_one(tool: Any):
    jsonschema.Draft7Validator.check_schema(tool.schema)
    assert tool.title
    assert tool.description
    assert tool.schema["type"] == "object"
    assert all(member["description"] for member in tool.schema["properties"].values())
    assert tool.schema.get("required", ["x"])  # left out rather than empty


def test_showing_the_tools_imports_nothing_heavy():
    script = "import sys, perstack.skills.base as b; b.base_tools(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(ran.stdout.split()) & {
        "mcp",
        "mcp_types",
        "jsonschema",
        "pydantic",
        "PIL",
        "rich",
    }


def faults(tool: str, **args: Any) -> list[tuple[list[str | int], str]]:
    with pytest.raises(ToolError) as caught:
        checked(tool, args)
    before = f"Input validation error: Invalid arguments for tool {tool}: "
    text = str(caught.value)
    assert text.startswith(before)
    return [(fault["path"], fault["message"]) for fault in msgspec.json.decode(text[len(before) :])]


def test_all_faults_are_named_at_once():
    assert faults("editTextFile", path=1, newText=None) == [
        (["oldText"], "required"),
        (["path"], "expected string, received number"),
        (["newText"], "expected string, received null"),
    ]


def test_faults_deep_inside_have_their_place():
    args: dict[str, Any] = {
        **EXEC,
        "args": ["a", 1, True],
        "env": {"A": [], "B": {}},
        "timeout": -1,
    }
    assert faults("exec", **args) == [
        (["args", 1], "expected string, received number"),
        (["args", 2], "expected string, received boolean"),
        (["env", "A"], "expected string, received array"),
        (["env", "B"], "expected string, received object"),
        (["timeout"], "expected at least 0"),
    ]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), True, "3", None])
def test_a_number_is_a_finite_number(value: Any):
    assert [path for path, _ in faults("readTextFile", path="a", to=value)] == [["to"]]


def test_half_a_surrogate_pair_is_no_text():
    assert faults("writeTextFile", path="a", text="\ud83d") == [
        (["text"], "expected valid Unicode")
    ]


def test_arguments_are_taken_as_the_schema_says():
    given = {"path": "a", "from": 1.0, "to": 2, "unknown": [1]}
    assert checked("readTextFile", given) == {"path": "a", "from": 1, "to": 2}
    assert checked("exec", {**EXEC, "timeout": 0.5})["timeout"] == 0.5


def test_a_tool_that_does_not_exist_is_not_found():
    with pytest.raises(ToolError, match=r"^Tool think not found$"):
        checked("think", {})


ARGUMENTS: list[Any] = ["a", "", 1, 1.5, -1, True, None, [], ["a"], [1], {}, {"A": "b"}, {"A": 1}]


@pytest.mark.parametrize("tool", base_tools(), ids=lambda tool: tool.name)
def test_our_check_agrees_with_a_full_validator(tool: Any):
    oracle: Any = jsonschema.Draft7Validator(tool.schema)
    right: dict[str, Any] = {"string": "a", "array": [], "object": {}, "boolean": True, "number": 1}
    usual = {key: right[member["type"]] for key, member in tool.schema["properties"].items()}
    tried: list[dict[str, Any]] = [{}, usual]
    tried += [{**usual, key: value} for key in usual for value in ARGUMENTS]
    tried += [{other: usual[other] for other in usual if other != key} for key in usual]
    for args in tried:
        try:
            checked(tool.name, args)
            ours = True
        except ToolError:
            ours = False
        assert ours == oracle.is_valid(args), args
