"""A run's todo list: part of its state, changed only by what the model asked for.

Nothing here touches the world, so a call of `todo`, `clearTodo` or `attemptCompletion` is answered by the fold
itself; the list belongs to its run, and is there again after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec
from msgspec.structs import replace

from perstack._value import Value

from .messages import Json


class Todo(Value, frozen=True):
    """One entry. id: counts from 0 within its run; never used again until the list is cleared."""

    id: int
    title: str
    completed: bool = False


class TodoList(Value, frozen=True):
    """All entries in the order they were added. next_id: the id the next one gets."""

    items: tuple[Todo, ...] = ()
    next_id: int = 0

    @property
    def open(self) -> tuple[Todo, ...]:
        return tuple(item for item in self.items if not item.completed)


def todo_fault(args: Mapping[str, Json]) -> str:
    """Why a call cannot be answered, for the model; empty if it can. Both arguments may be left out or null."""
    titles, done = args.get("newTodos"), args.get("completedTodos")
    if titles is not None and not _is_list_of(titles, str):
        return "newTodos must be a list of titles; nothing was changed."
    if done is not None and not _is_list_of(done, int, float):
        return "completedTodos must be a list of ids, which are numbers; nothing was changed."
    return ""


def _is_list_of(value: Json, *kinds: type) -> bool:
    return isinstance(value, list) and all(type(item) in kinds for item in cast(list[Json], value))


def todos_after(todos: TodoList, tool: str, args: Mapping[str, Json]) -> TodoList:
    """The list after one call. `todo` adds first and completes then; ids nobody has are ignored."""
    match tool:
        case "todo" if not todo_fault(args):
            titles: list[str] = list(args.get("newTodos") or ())
            done = set[float](args.get("completedTodos") or ())
            new = (Todo(id=n, title=title) for n, title in enumerate(titles, todos.next_id))
            items = tuple(
                replace(item, completed=True) if item.id in done else item
                for item in (*todos.items, *new)
            )
            return TodoList(items=items, next_id=todos.next_id + len(titles))
        case "clearTodo":
            return TodoList()
        case _:
            return todos


def todo_answer(todos: TodoList, tool: str) -> str:
    """The result text of one call, with `todos` as they are after it."""
    match tool:
        case "attemptCompletion":
            told = {"remainingTodos": _plain(todos.open)} if todos.open else {}
        case _:
            told = {"todos": _plain(todos.items)}
    return msgspec.json.encode(told).decode()


def _plain(items: tuple[Todo, ...]) -> list[dict[str, Json]]:
    return [{"id": item.id, "title": item.title, "completed": item.completed} for item in items]
