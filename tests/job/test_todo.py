"""A todo list, by values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from perstack.job import Todo, TodoList, Usage, todo_answer, todos_after


def test_todo_adds_first_and_completes_then():
    todos = todos_after(TodoList(), "todo", {"newTodos": ["a", "b"], "completedTodos": [1]})
    assert todos.items == (Todo(id=0, title="a"), Todo(id=1, title="b", completed=True))
    assert todos.open == (Todo(id=0, title="a"),)


def test_ids_nobody_has_are_ignored_and_what_is_done_stays_done():
    todos = todos_after(TodoList(), "todo", {"newTodos": ["a"], "completedTodos": [0, 7, -1]})
    assert todos_after(todos, "todo", {}) == todos
    assert todos_after(todos, "todo", {"completedTodos": [0]}) == todos


def test_an_id_written_as_a_float_is_that_id():
    todos = todos_after(TodoList(), "todo", {"newTodos": ["a"], "completedTodos": [0.0]})
    assert todos.open == ()


def test_clearing_empties_the_list_and_counts_from_zero_again():
    todos = todos_after(TodoList(), "todo", {"newTodos": ["a", "b"]})
    assert todos_after(todos, "clearTodo", {}) == TodoList()


def test_other_tools_and_odd_arguments_change_nothing():
    todos = todos_after(TodoList(), "todo", {"newTodos": ["a"]})
    assert todos_after(todos, "attemptCompletion", {}) == todos
    assert todos_after(todos, "todo", {"newTodos": ["b", 1]}) == todos


@given(rounds=st.lists(st.lists(st.text(max_size=2), max_size=3), max_size=5))
def test_ids_count_up_without_gaps(rounds: list[list[str]]):
    todos = TodoList()
    for titles in rounds:
        todos = todos_after(todos, "todo", {"newTodos": titles})
    assert [item.id for item in todos.items] == list(range(todos.next_id))
    assert [item.title for item in todos.items] == [title for titles in rounds for title in titles]


def test_what_the_model_is_told():
    todos = todos_after(TodoList(), "todo", {"newTodos": ["a", "b"], "completedTodos": [0]})
    assert todo_answer(todos, "todo") == snapshot(
        '{"todos":[{"id":0,"title":"a","completed":true},{"id":1,"title":"b","completed":false}]}'
    )
    assert todo_answer(todos, "attemptCompletion") == snapshot(
        '{"remainingTodos":[{"id":1,"title":"b","completed":false}]}'
    )
    assert todo_answer(TodoList(), "clearTodo") == snapshot('{"todos":[]}')
    assert todo_answer(TodoList(), "attemptCompletion") == snapshot("{}")


def test_total_tokens_count_neither_the_cached_nor_the_reasoning_ones_twice():
    usage = Usage(input_tokens=10, output_tokens=5, reasoning_tokens=4, cached_input_tokens=9)
    assert usage.total_tokens == 15
