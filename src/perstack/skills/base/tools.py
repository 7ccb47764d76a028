"""The base skill's tools as data: names, descriptions, schemas, and a check of arguments against them.

Nothing here touches the world, so the tools can be shown and pinned without opening anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import msgspec

from perstack.errors import ToolError
from perstack.job import Json

from ..skill import Tool


def _text(description: str) -> dict[str, Json]:
    return {"type": "string", "description": description}


def _tool(
    name: str,
    title: str,
    description: str,
    properties: dict[str, Json] | None = None,
    *,
    optional: tuple[str, ...] = (),
    reads_only: bool = False,
    may_repeat: bool = False,
) -> Tool:
    properties = properties or {}
    required = [key for key in properties if key not in optional]
    schema: dict[str, Json] = {"type": "object", "properties": properties}
    return Tool(
        name=name,
        title=title,
        description=description,
        schema=schema | {"required": required} if required else schema,
        reads_only=reads_only,
        may_repeat=may_repeat,
    )


_FILE = _text("The file, absolute or relative to the workspace.")
_DIRECTORY = _text("The directory, absolute or relative to the workspace.")

_TOOLS = (
    _tool(
        "attemptCompletion",
        "Attempt completion",
        "Say that the task is done. If entries of the todo list are still open, they are returned and the task "
        "goes on: finish or drop them first.",
    ),
    _tool(
        "todo",
        "todo",
        "Keep a list of what is to be done: add entries, mark entries as completed, or both in one call. "
        "Returns the whole list. Without arguments it only shows it.",
        {
            "newTodos": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Titles of entries to add. Each gets the next free id, counting from 0.",
            },
            "completedTodos": {
                "type": "array",
                "items": {"type": "number"},
                "description": "Ids of entries that are completed, new ones included.",
            },
        },
        optional=("newTodos", "completedTodos"),
    ),
    _tool("clearTodo", "clearTodo", "Empty the todo list; ids start at 0 again."),
    _tool(
        "exec",
        "Execute Command",
        "Run one program and wait until it ends. There is no shell: no pipes, globs or redirections, "
        "and each argument is passed as it is (run `sh` with `-c` for more). Only basic variables of the "
        "environment are passed, and standard input is empty. Processes it leaves running are ended.",
        {
            "command": _text("The program: a name looked up in PATH, or a path."),
            "args": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Its arguments, one string each.",
            },
            "env": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "More environment variables. Some, such as PATH or LD_PRELOAD, are not taken.",
            },
            "cwd": _text("The directory to run in, inside the workspace."),
            "stdout": {
                "type": "boolean",
                "description": "Whether to return what it writes to stdout.",
            },
            "stderr": {
                "type": "boolean",
                "description": "Whether to return what it writes to stderr.",
            },
            "timeout": {
                "type": "number",
                "minimum": 0,
                "default": 60000,
                "description": "Milliseconds after which it is ended, 60000 if not given; 0 for no limit.",
            },
        },
        optional=("timeout",),
    ),
    _tool(
        "getFileInfo",
        "Get file info",
        "Metadata of a file or directory: type, media type, size, times and permissions.",
        {"path": _text("The file or directory, absolute or relative to the workspace.")},
        reads_only=True,
    ),
    _tool(
        "healthCheck",
        "Perstack Runtime Health Check",
        "How the runtime is doing: workspace, uptime, memory and process id.",
        reads_only=True,
    ),
    _tool(
        "readTextFile",
        "Read text file",
        "Read a text file (UTF-8, up to 10 MB), whole or a window of its lines.",
        {
            "path": _FILE,
            "from": {
                "type": "number",
                "description": "First line to return, counting from 0. Default: 0.",
            },
            "to": {
                "type": "number",
                "description": "Line to stop before. Default: the number of lines.",
            },
        },
        optional=("from", "to"),
        reads_only=True,
    ),
    _tool(
        "readImageFile",
        "Read image file",
        "Look at an image: PNG, JPEG, GIF or WebP, up to 15 MB. The content must be what the name says.",
        {"path": _FILE},
        reads_only=True,
    ),
    _tool(
        "readPdfFile",
        "Read PDF file",
        "Look at a PDF document, up to 30 MB.",
        {"path": _FILE},
        reads_only=True,
    ),
    _tool(
        "writeTextFile",
        "writeTextFile",
        "Create a text file, or replace all of an existing one. The directory must exist.",
        {"path": _FILE, "text": _text("The whole new content.")},
        may_repeat=True,
    ),
    _tool(
        "appendTextFile",
        "Append text file",
        "Add text at the end of an existing file, exactly as given: no line break is added.",
        {"path": _FILE, "text": _text("What to add, line breaks included.")},
    ),
    _tool(
        "editTextFile",
        "Edit text file",
        "Replace the first place where a text stands in a file. The text is taken literally and must be found "
        "exactly, except that line endings may differ.",
        {
            "path": _FILE,
            "newText": _text("What to put there; may be empty."),
            "oldText": _text("What stands there now; not empty, and long enough to be found once."),
        },
    ),
    _tool(
        "moveFile",
        "Move file",
        "Rename or move a file or directory. Nothing is overwritten, and the new place's directory must exist.",
        {
            "source": _text("What to move, absolute or relative to the workspace."),
            "destination": _text("Its new path, which must not exist yet."),
        },
    ),
    _tool("deleteFile", "Delete file", "Delete a file. This cannot be undone.", {"path": _FILE}),
    _tool(
        "listDirectory",
        "List directory",
        "The entries of one directory, hidden ones included, with type, size and time.",
        {"path": _DIRECTORY},
        reads_only=True,
    ),
    _tool(
        "createDirectory",
        "Create directory",
        "Create one directory. The directory it stands in must exist.",
        {"path": _DIRECTORY},
    ),
    _tool(
        "deleteDirectory",
        "Delete directory",
        "Delete a directory. This cannot be undone.",
        {
            "path": _DIRECTORY,
            "recursive": {
                "type": "boolean",
                "description": "Also delete all that is in it. Default: false, and then it must be empty.",
            },
        },
        optional=("recursive",),
    ),
)

_SCHEMAS = {tool.name: tool.schema for tool in _TOOLS}


def base_tools() -> tuple[Tool, ...]:
    """All 17 tools, in the order they are listed."""
    return _TOOLS


def checked(tool: str, args: dict[str, Json]) -> dict[str, Json]:
    """`args` of a call of `tool`, without what its schema does not know; whole numbers are ints.

    Raises ToolError for a tool that does not exist, and for arguments that are not what its schema says, naming
    each fault.
    """
    schema = _SCHEMAS.get(tool)
    if schema is None:
        raise ToolError(f"Tool {tool} not found")
    faults = [{"path": list(path), "message": what} for path, what in _faults(schema, args)]
    if faults:
        told = msgspec.json.encode(faults).decode()
        raise ToolError(f"Input validation error: Invalid arguments for tool {tool}: {told}")
    return {key: _whole(args[key]) for key in schema["properties"] if key in args}


_Path = tuple[str | int, ...]

_NAMES = ((bool, "boolean"), (int, "number"), (float, "number"), (str, "string"), (list, "array"))


def _faults(schema: dict[str, Json], value: Json, path: _Path = ()) -> Iterator[tuple[_Path, str]]:
    """What is wrong with `value`, for the few words of JSON Schema the tools above use."""
    wanted, given = schema["type"], _kind(value)
    if given != wanted:
        yield path, f"expected {wanted}, received {given}"
        return
    match wanted:
        case "object":
            members = cast("dict[str, Json]", value)
            for key in schema.get("required", ()):
                if key not in members:
                    yield (*path, key), "required"
            known = schema.get("properties", {})
            for key, member in members.items():
                inner = known.get(key, schema.get("additionalProperties"))
                if inner is not None:
                    yield from _faults(inner, member, (*path, key))
        case "array":
            for place, item in enumerate(cast("list[Json]", value)):
                yield from _faults(schema["items"], item, (*path, place))
        case "number":
            if not math.isfinite(value):
                yield path, "expected a finite number"
            elif value < schema.get("minimum", -math.inf):
                yield path, f"expected at least {schema['minimum']}"
        case "string":
            try:
                cast("str", value).encode()
            except UnicodeEncodeError:
                # Half of a surrogate pair: no file or program could be given it
                yield path, "expected valid Unicode"
        case _:
            return


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "object")


def _whole(value: Json) -> Json:
    """JSON has one kind of number: 3.0 is 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
