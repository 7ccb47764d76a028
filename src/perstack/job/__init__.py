"""What happened in a job, and what follows from it."""

from __future__ import annotations

from .messages import (
    Call,
    CallKind,
    ExpertMessage,
    File,
    History,
    Image,
    Json,
    Message,
    ResultPart,
    Text,
    Thought,
    ToolMessage,
    Usage,
    UserMessage,
    UserPart,
    joined,
    said,
)
from .todo import Todo, TodoList, todo_answer, todos_after

__all__ = [
    "Call",
    "CallKind",
    "ExpertMessage",
    "File",
    "History",
    "Image",
    "Json",
    "Message",
    "ResultPart",
    "Text",
    "Thought",
    "Todo",
    "TodoList",
    "ToolMessage",
    "Usage",
    "UserMessage",
    "UserPart",
    "joined",
    "said",
    "todo_answer",
    "todos_after",
]
