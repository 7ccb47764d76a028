"""What a person is shown of a job: one row for each thing that was done.

The rows and their names are those of the documented activity view. A call of the base skill has a row of its
own (`base_rows`); every other call is a `GeneralTool`.
"""

from __future__ import annotations

from typing import cast

import msgspec

from perstack.definition import BASE_SKILL

from .base_rows import (
    AppendTextFile,
    AttemptCompletion,
    BaseRow,
    ClearTodo,
    CreateDirectory,
    DeleteDirectory,
    DeleteFile,
    EditTextFile,
    Entry,
    Exec,
    FileInfo,
    GetFileInfo,
    Item,
    ListDirectory,
    MoveFile,
    ReadImageFile,
    ReadPdfFile,
    ReadTextFile,
    Todo,
    WriteTextFile,
    base_row,
)
from .messages import Call, Json, ResultPart, Text
from .row import DelegatedBy, Row
from .todo import TodoList

__all__ = [
    "Activity",
    "AppendTextFile",
    "AttemptCompletion",
    "ClearTodo",
    "Complete",
    "CreateDirectory",
    "Delegate",
    "DelegatedBy",
    "DelegationComplete",
    "DeleteDirectory",
    "DeleteFile",
    "EditTextFile",
    "Entry",
    "Error",
    "Exec",
    "FileInfo",
    "GeneralTool",
    "GetFileInfo",
    "InteractiveTool",
    "Item",
    "ListDirectory",
    "MoveFile",
    "Query",
    "ReadImageFile",
    "ReadPdfFile",
    "ReadTextFile",
    "Retry",
    "Row",
    "Todo",
    "WriteTextFile",
    "activity_of",
]


class Query(Row, frozen=True, kw_only=True):
    """What a run was told: at its start, and by a person later."""

    text: str


class Retry(Row, frozen=True, kw_only=True):
    """The model gave no usable reply and is asked again. error: short class of failure."""

    error: str
    message: str


class Complete(Row, frozen=True, kw_only=True):
    """A run gave its answer."""

    text: str


class Error(Row, frozen=True, kw_only=True):
    """A run ended without an answer, or the job was put down. is_retryable: it can be taken up again."""

    error: str | None = None
    error_name: str | None = None
    is_retryable: bool | None = None


class Delegate(Row, frozen=True, kw_only=True):
    """Another Expert was set to work."""

    delegate_expert_key: str
    query: str


class DelegationComplete(Row, frozen=True, kw_only=True):
    """All delegates of one reply are back. count: how many."""

    count: int


class InteractiveTool(Row, frozen=True, kw_only=True):
    """A person is asked."""

    skill_name: str
    tool_name: str
    args: dict[str, Json]


class GeneralTool(Row, frozen=True, kw_only=True):
    """Any other call. result: None if there was an error."""

    skill_name: str
    tool_name: str
    args: dict[str, Json]
    result: tuple[ResultPart, ...] | None = None
    error: str | None = None


Activity = (
    Query
    | Retry
    | Complete
    | Error
    | BaseRow
    | Delegate
    | DelegationComplete
    | InteractiveTool
    | GeneralTool
)


def activity_of(
    call: Call, parts: tuple[ResultPart, ...], is_error: bool, todos: TodoList
) -> Activity:
    """The row of one call and its result. todos: the list of its run after the call."""
    text = next((part.text for part in parts if isinstance(part, Text)), "")
    told = _told(text)
    error = _error(told, text, is_error)
    if call.skill.startswith(BASE_SKILL):
        row = base_row(call, told or {}, error, todos)
        if row is not None:
            return row
    return GeneralTool(
        skill_name=call.skill,
        tool_name=call.tool,
        args=call.args,
        result=None if error is not None else parts,
        error=error,
    )


def _told(text: str) -> dict[str, Json] | None:
    """What a result says: its JSON object, empty for other JSON, None for text that is no JSON."""
    try:
        told = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return cast(dict[str, Json], told) if isinstance(told, dict) else {}


def _error(told: dict[str, Json] | None, text: str, is_error: bool) -> str | None:
    """Why a call failed, None if it did not. "Error" alone says nothing, so the message beside it is told."""
    if told is not None and isinstance(name := told.get("error"), str):
        message = told.get("message")
        if not isinstance(message, str):
            return name
        return message if name == "Error" else f"{name}: {message}"
    if told is None and text.strip().lower().startswith(("error:", "error ")):
        return text
    return (text or "The call failed.") if is_error else None
