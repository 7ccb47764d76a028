"""Activities of the base skill: a row of its own for each of its tools.

Each is made of the arguments of the call and of what its result says. A row that does not have what it could show
(a result that is no JSON, arguments of another type) shows less; it never fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar

import msgspec

from perstack._value import Value

from . import todo
from .messages import Call, Json
from .row import Row

T = TypeVar("T")


class Entry(Value, frozen=True, kw_only=True):
    """One entry of a todo list."""

    id: int
    title: str
    completed: bool


class AttemptCompletion(Row, frozen=True, kw_only=True):
    remaining_todos: tuple[Entry, ...] | None = None
    error: str | None = None


class Todo(Row, frozen=True, kw_only=True):
    """todos: the whole list after the call."""

    todos: tuple[Entry, ...]
    new_todos: tuple[str, ...] | None = None
    completed_todos: tuple[int | float, ...] | None = None
    error: str | None = None


class ClearTodo(Row, frozen=True, kw_only=True):
    error: str | None = None


class _Seen(Row, frozen=True, kw_only=True):
    path: str
    mime_type: str | None = None
    size: int | None = None
    error: str | None = None


class ReadImageFile(_Seen, frozen=True, kw_only=True):
    pass


class ReadPdfFile(_Seen, frozen=True, kw_only=True):
    pass


class ReadTextFile(Row, frozen=True, kw_only=True):
    """first, last: the lines asked for, `from` and `to` on the wire."""

    path: str
    content: str | None = None
    first: int | None = msgspec.field(default=None, name="from")
    last: int | None = msgspec.field(default=None, name="to")
    error: str | None = None


class EditTextFile(Row, frozen=True, kw_only=True):
    path: str
    new_text: str
    old_text: str
    error: str | None = None


class _Written(Row, frozen=True, kw_only=True):
    path: str
    text: str
    error: str | None = None


class AppendTextFile(_Written, frozen=True, kw_only=True):
    pass


class WriteTextFile(_Written, frozen=True, kw_only=True):
    pass


class DeleteFile(Row, frozen=True, kw_only=True):
    path: str
    error: str | None = None


class CreateDirectory(Row, frozen=True, kw_only=True):
    path: str
    error: str | None = None


class DeleteDirectory(Row, frozen=True, kw_only=True):
    path: str
    recursive: bool | None = None
    error: str | None = None


class MoveFile(Row, frozen=True, kw_only=True):
    source: str
    destination: str
    error: str | None = None


class FileInfo(Value, frozen=True, kw_only=True):
    """size: bytes. created, modified, accessed: ISO 8601. extension, mime_type: None for a directory."""

    exists: bool
    name: str
    directory: str
    extension: str | None
    type: Literal["file", "directory"]
    mime_type: str | None
    size: int
    size_formatted: str
    created: str
    modified: str
    accessed: str


class GetFileInfo(Row, frozen=True, kw_only=True):
    path: str
    info: FileInfo | None = None
    error: str | None = None


class Item(Value, frozen=True, kw_only=True):
    """One entry of a directory. size: bytes. modified: ISO 8601."""

    name: str
    path: str
    type: Literal["file", "directory"]
    size: int
    modified: str


class ListDirectory(Row, frozen=True, kw_only=True):
    path: str
    items: tuple[Item, ...] | None = None
    error: str | None = None


class Exec(Row, frozen=True, kw_only=True):
    command: str
    args: tuple[str, ...]
    cwd: str
    output: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    error: str | None = None


BaseRow = (
    AttemptCompletion
    | Todo
    | ClearTodo
    | ReadImageFile
    | ReadPdfFile
    | ReadTextFile
    | EditTextFile
    | AppendTextFile
    | WriteTextFile
    | DeleteFile
    | CreateDirectory
    | DeleteDirectory
    | MoveFile
    | GetFileInfo
    | ListDirectory
    | Exec
)


def base_row(
    call: Call, told: dict[str, Json], error: str | None, todos: todo.TodoList
) -> BaseRow | None:
    """The row of a base tool, None if it has none of its own.

    told: the JSON object the result is, {} if it is none. error: why the call failed, None if it did not.
    todos: the list of its run after the call.
    """
    args = call.args
    path = _text(args, "path")
    match call.tool:
        case "attemptCompletion":
            left = _entries(todos.open) if todos.open and error is None else None
            return AttemptCompletion(remaining_todos=left, error=error)
        case "todo":
            return Todo(
                todos=_entries(todos.items),
                new_todos=_as(args.get("newTodos"), tuple[str, ...]),
                completed_todos=_as(args.get("completedTodos"), tuple[int | float, ...]),
                error=error,
            )
        case "clearTodo":
            return ClearTodo(error=error)
        case "readImageFile" | "readPdfFile":
            kind = ReadImageFile if call.tool == "readImageFile" else ReadPdfFile
            mime_type, size = _as(told.get("mimeType"), str), _as(told.get("size"), int)
            return kind(path=path, mime_type=mime_type, size=size, error=error)
        case "readTextFile":
            first, last = (_as(told.get(name), int) for name in ("from", "to"))
            content = _as(told.get("content"), str)
            return ReadTextFile(path=path, content=content, first=first, last=last, error=error)
        case "editTextFile":
            new, old = _text(args, "newText"), _text(args, "oldText")
            return EditTextFile(path=path, new_text=new, old_text=old, error=error)
        case "appendTextFile" | "writeTextFile":
            kind = AppendTextFile if call.tool == "appendTextFile" else WriteTextFile
            return kind(path=path, text=_text(args, "text"), error=error)
        case "deleteFile" | "createDirectory":
            kind = DeleteFile if call.tool == "deleteFile" else CreateDirectory
            return kind(path=path, error=error)
        case "deleteDirectory":
            recursive = _as(args.get("recursive"), bool)
            return DeleteDirectory(path=path, recursive=recursive, error=error)
        case "moveFile":
            source, destination = _text(args, "source"), _text(args, "destination")
            return MoveFile(source=source, destination=destination, error=error)
        case "getFileInfo":
            info = _as(told, FileInfo) if error is None else None
            return GetFileInfo(path=path, info=info, error=error)
        case "listDirectory":
            items = _as(told.get("items"), tuple[Item, ...])
            return ListDirectory(path=path, items=items, error=error)
        case "exec":
            return Exec(
                command=_text(args, "command"),
                args=_as(args.get("args"), tuple[str, ...]) or (),
                cwd=_text(args, "cwd"),
                output=_as(told.get("output"), str),
                stdout=_as(told.get("stdout"), str),
                stderr=_as(told.get("stderr"), str),
                error=error,
            )
        case _:
            return None


def _entries(items: Iterable[todo.Todo]) -> tuple[Entry, ...]:
    return tuple(Entry(id=i.id, title=i.title, completed=i.completed) for i in items)


def _text(args: dict[str, Json], name: str) -> str:
    value = args.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _as(value: Json, kind: type[T]) -> T | None:
    """`value` if it is of that shape, else None."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None
