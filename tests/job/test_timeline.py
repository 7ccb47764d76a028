"""Events → activities."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from msgspec.structs import replace

from perstack.definition import Limits
from perstack.job import (
    Activity,
    Event,
    Failure,
    IllegalEvent,
    Replied,
    Resumed,
    Rewound,
    Stopped,
    Text,
    Timeline,
    ToolReturned,
    Usage,
    UserSpoke,
    activity,
    fold,
    retell,
    tell,
    timeline,
)

from .driver import (
    CANCEL,
    PRICE,
    ROOMY,
    Log,
    RandomWorld,
    World,
    begin,
    call,
    delegate,
    done,
    drive,
    opening,
    run,
    says,
)

seeds = st.integers(0, 10**6)
orders = st.randoms(use_true_random=False)


def shown(events: list[Event]) -> list[str]:
    """Each activity as its type and the id it has, runs by their paths."""
    return [f"{_tag(row)} {row.id}" for row in timeline(events)]


def _tag(row: Activity) -> str:
    return str(row.__struct_config__.tag)


def test_a_job_from_its_query_to_its_answer():
    world = World(
        {
            ("", 1): says("", call("a", path="x"), thought="Let me look"),
            ("", 2): says("Here", thought="So"),
        }
    )
    _, log = run(world)
    told: list[dict[str, Any]] = [msgspec.to_builtins(row) for row in timeline(log.events)]
    assert told == snapshot(
        [
            {
                "type": "query",
                "id": "query-root",
                "expertKey": "lead",
                "runId": "root",
                "seq": 2,
                "at": 1002.0,
                "text": "Go",
            },
            {
                "type": "generalTool",
                "id": "action-a",
                "expertKey": "lead",
                "runId": "root",
                "previousActivityId": "query-root",
                "reasoning": "Let me look",
                "seq": 5,
                "at": 1005.0,
                "skillName": "files",
                "toolName": "read",
                "args": {"path": "x"},
                "result": ({"type": "text", "text": "read ok"},),
            },
            {
                "type": "complete",
                "id": "completion-root",
                "expertKey": "lead",
                "runId": "root",
                "previousActivityId": "action-a",
                "reasoning": "So",
                "seq": 7,
                "at": 1007.0,
                "text": "Here",
            },
        ]
    )


def test_delegates_show_when_they_start_and_when_the_last_is_back():
    world = World(
        {("", 1): says("", delegate("a"), delegate("b")), ("/1.2", 1): says("", call("t"))}
    )
    _, log = run(world)
    rows = timeline(log.events)
    runs = list(dict.fromkeys(row.run_id for row in rows))
    assert [(_tag(row), "root a b".split()[runs.index(row.run_id)]) for row in rows] == snapshot(
        [
            ("query", "root"),
            ("delegate", "root"),
            ("query", "a"),
            ("delegate", "root"),
            ("query", "b"),
            ("complete", "a"),
            ("generalTool", "b"),
            ("complete", "b"),
            ("delegationComplete", "root"),
            ("complete", "root"),
        ]
    )
    assert next(row.count for row in rows if isinstance(row, activity.DelegationComplete)) == 2
    child = next(row for row in rows if row.delegated_by)
    assert child.delegated_by == activity.DelegatedBy(expert_key="lead", run_id="root")
    assert child.expert_key == "scout"


def test_a_mixed_step_shows_its_results_its_delegates_and_its_question():
    mixed = says(
        "", call("q", "askUser", "ask", question="Which?"), delegate("d"), call("t"), thought="Hm"
    )
    world = World({("", 1): mixed})
    _, log = run(world)
    assert shown(log.events)[-1] == "interactiveTool action-q"
    answer = ToolReturned(run="root", call="q", parts=(Text(text="That"),))
    begin(log, [answer])
    rows = [(_tag(row), row.run_id == "root", row.reasoning) for row in timeline(log.events)]
    assert rows == snapshot(
        [
            ("query", True, None),
            ("generalTool", True, "Hm"),
            ("delegate", True, None),
            ("query", False, None),
            ("complete", False, None),
            ("delegationComplete", True, None),
            ("interactiveTool", True, None),
        ]
    )


def test_a_question_is_shown_once_even_if_it_is_answered_before_its_turn():
    ask = says("", call("q", "ask", "ask"), call("r", "ask", "ask"), call("t"))
    early = ToolReturned(run="root", call="q", parts=(Text(text="Blue"),))
    log = Log()
    begin(log, [*opening(), Replied(run="root", message=ask, usage=PRICE), early])
    assert shown(log.events)[1:] == ["interactiveTool action-q"]
    begin(log, [ToolReturned(run="root", call="t", parts=())])
    assert shown(log.events)[2:] == ["generalTool action-t", "interactiveTool action-r"]
    begin(log, [ToolReturned(run="root", call="r", parts=())])
    assert len(shown(log.events)) == 4


def test_a_question_that_cannot_be_asked_is_shown_as_a_call_that_failed():
    odd = replace(call("q", "ask", "ask"), fault="question is missing")
    _, log = run(World({("", 1): says("", odd)}))
    row = timeline(log.events)[1]
    assert isinstance(row, activity.GeneralTool)
    assert row.error == "question is missing"


def test_a_delegate_that_was_not_set_to_work_is_shown_as_a_call_that_failed():
    odd = replace(delegate("d"), args={})
    _, log = run(World({("", 1): says("", odd, delegate("e"))}))
    rows = [row for row in timeline(log.events) if row.run_id == "root"]
    assert [_tag(row) for row in rows] == snapshot(
        ["query", "generalTool", "delegate", "delegationComplete", "complete"]
    )
    assert isinstance(rows[1], activity.GeneralTool)
    assert rows[1].error == "Delegation failed: `query` must be a text that says what to do."
    _, log = run(World({("", 1): says("", odd)}))
    assert [_tag(row) for row in timeline(log.events)] == ["query", "generalTool", "complete"]


def test_todo_rows_carry_the_list_after_the_call():
    world = World(
        {
            ("", 1): says("", call("a", "todo", "todo", newTodos=["x", "y"])),
            ("", 2): says("", call("b", "todo", "todo", completedTodos=[0]), done("c")),
            ("", 3): says("", call("d", "clearTodo", "todo"), done("e")),
        }
    )
    _, log = run(world)
    rows = timeline(log.events)
    lists = [
        [(entry.title, entry.completed) for entry in row.todos]
        for row in rows
        if isinstance(row, activity.Todo)
    ]
    assert lists == [[("x", False), ("y", False)], [("x", True), ("y", False)]]
    left = [row.remaining_todos for row in rows if isinstance(row, activity.AttemptCompletion)]
    assert left == [(activity.Entry(id=1, title="y", completed=False),), None]


def test_reasoning_is_kept_for_each_run_and_shown_with_the_first_thing_that_came_of_it():
    world = World(
        {
            ("", 1): says("", delegate("a"), delegate("b"), thought="Send two"),
            ("/1.1", 1): says("A", thought="I am a"),
            ("/1.2", 1): says("B", thought="I am b"),
            ("", 2): says("Both", thought="Sum up"),
        }
    )
    _, log = run(world)
    told = [(_tag(row), row.reasoning) for row in timeline(log.events) if row.reasoning]
    assert told == snapshot(
        [
            ("delegate", "Send two"),
            ("complete", "I am a"),
            ("complete", "I am b"),
            ("complete", "Sum up"),
        ]
    )


def test_thoughts_of_a_cut_reply_are_not_lost():
    world = World(
        {("", 1): says("Hel", thought="First"), ("", 2): says("lo", thought="Second")}, [("", 1)]
    )
    _, log = run(world)
    retry, answer = timeline(log.events)[1:]
    assert isinstance(retry, activity.Retry)
    assert (retry.error, retry.reasoning) == ("OutputLimit", None)
    assert isinstance(answer, activity.Complete)
    assert (answer.text, answer.reasoning) == ("Hello", "First\n\nSecond")


def test_a_failure_is_a_retry_until_it_is_the_end():
    busy = Failure(name="Overloaded", message="Busy", retryable=True)
    _, log = run(World({("", 1): busy}), Limits(max_retries=1))
    told = [msgspec.to_builtins(replace(row, at=0.0)) for row in timeline(log.events)]
    assert told[1:] == snapshot(
        [
            {
                "type": "retry",
                "id": "retry-3",
                "expertKey": "lead",
                "runId": "root",
                "previousActivityId": "query-root",
                "seq": 3,
                "at": 0.0,
                "error": "Overloaded",
                "message": "Busy",
            },
            {
                "type": "error",
                "id": "error-5",
                "expertKey": "lead",
                "runId": "root",
                "previousActivityId": "retry-3",
                "seq": 5,
                "at": 0.0,
                "error": "Busy (tried 2 times)",
                "errorName": "Overloaded",
                "isRetryable": True,
            },
        ]
    )


def test_a_job_that_is_put_down_says_why():
    world = World({("", n): says("", call(f"c{n}")) for n in range(1, 5)})
    _, log = run(world, Limits(max_steps=1))
    row = timeline(log.events)[-1]
    assert isinstance(row, activity.Error)
    assert (row.error_name, row.error, row.is_retryable) == ("Limit", "maxSteps 1", True)
    bug = [*opening(), Stopped(reason="bug", what="KeyError: 'x'", run="elsewhere")]
    assert shown(list(bug)) == ["query query-root", "error error-3"]
    assert timeline([opening()[0], Stopped(reason="interrupted", what="SIGINT")]) == []


def test_a_cancelled_job_says_so():
    log = Log()
    asked = Replied(run="root", message=says("", delegate("d")), usage=Usage())
    job = begin(log, [*opening(), asked, CANCEL])
    drive(job, log, World())
    row = timeline(log.events)[-1]
    assert isinstance(row, activity.Error)
    assert (row.error_name, row.error) == ("Cancelled", "cancelled")


def test_a_run_that_is_spoken_to_again_answers_again():
    _, log = run(World({("", 1): says("One"), ("", 2): says("Two")}), None, UserSpoke(text="And?"))
    assert shown(log.events) == snapshot(
        [
            "query query-root",
            "complete completion-root",
            "query query-root-5",
            "complete completion-root-7",
        ]
    )


def test_what_a_rewind_left_behind_is_not_shown():
    _, log = run(World({("", 1): says("", call("a")), ("", 2): says("One")}))
    begin(log, [Rewound(to=2)])
    assert shown(log.events) == ["query query-root"]
    told, _ = retell(log.events[:-1])
    with pytest.raises(IllegalEvent):
        tell(told, log.events[-1])


@given(seed=seeds, order=orders)
def test_telling_event_by_event_tells_the_same(seed: int, order: Random):
    _, log = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    told, rows = Timeline(), list[Activity]()
    for event in log.events:
        told, new = tell(told, event)
        rows.extend(new)
        assert all((row.seq, row.at) == (event.seq, event.at) for row in new)
        assert told.threads.keys() <= told.job.runs.keys()
        assert len({row.id for row in new}) == len(new)
    assert rows == timeline(log.events)
    assert told.job == fold(log.events)


@given(seed=seeds, order=orders)
def test_each_run_has_a_chain_from_its_query_to_its_end(seed: int, order: Random):
    _, log = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    rows = timeline(log.events)
    for run_id in {row.run_id for row in rows}:
        own = [row for row in rows if row.run_id == run_id]
        assert own[0].previous_activity_id is None
        assert all(after.previous_activity_id == before.id for before, after in pairwise(own))
        assert isinstance(own[0], activity.Query)
        assert isinstance(own[-1], activity.Complete | activity.Error)


@given(seed=seeds, order=orders)
def test_each_call_that_came_back_is_shown_once(seed: int, order: Random):
    _, log = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    calls = sum(isinstance(event, ToolReturned) for event in log.events)
    others = (
        activity.Query
        | activity.Retry
        | activity.Complete
        | activity.Error
        | activity.DelegationComplete
    )
    assert sum(not isinstance(row, others) for row in timeline(log.events)) == calls


def test_being_taken_up_again_adds_nothing():
    assert shown([*opening(), Resumed()]) == ["query query-root"]
