"""What a log costs: its length, and not its length times what came before.

Calls are counted, not time, so the numbers are the same on every machine.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from perstack.definition import Limits
from perstack.job import (
    Event,
    Job,
    Replied,
    RunFinished,
    RunStarted,
    Text,
    ToolCalled,
    ToolReturned,
    Usage,
    apply,
    decode_events,
    fold,
    timeline,
    wanted,
)
from perstack.job.events import CalledBy

from .driver import Log, call, delegate, opening, says

OK = (Text(text="ok"),)


def long_log(steps: int) -> list[Event]:
    """A run that uses one tool at each step: three events for each."""
    events: list[Event] = [*opening(Limits(max_steps=steps + 1))]
    for step in range(steps):
        id = f"c{step}"
        events.append(Replied(run="root", message=says("", call(id)), usage=Usage(input_tokens=1)))
        events.append(ToolCalled(run="root", call=id))
        events.append(ToolReturned(run="root", call=id, parts=OK))
    return events


def busy_log(children: int) -> list[Event]:
    """A run that lets one delegate after another answer it: five events for each."""
    events: list[Event] = [*opening(Limits(max_steps=2 * children + 1))]
    for step in range(children):
        id, child = f"d{step}", f"child{step}"
        by = CalledBy(run="root", call=id)
        events.append(Replied(run="root", message=says("", delegate(id)), usage=Usage()))
        events.append(RunStarted(run=child, expert="scout", query="q", instruction="i", by=by))
        events.append(Replied(run=child, message=says("seen"), usage=Usage()))
        events.append(RunFinished(run=child, outcome="completed", text="seen"))
        events.append(ToolReturned(run="root", call=id, parts=OK))
    return events


def step_through(events: list[Event]) -> Job:
    """As the loop does: fold each event, and ask after each what is wanted."""
    job = Job()
    for event in events:
        job = apply(job, event)
        wanted(job)
    return job


def calls_made(work: Any, *args: Any) -> int:
    """How many functions, ours and the interpreter's, `work` calls."""
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work(*args)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(("make", "per"), [(long_log, 3), (busy_log, 5)])
@pytest.mark.parametrize("work", [fold, step_through, timeline])
def test_ten_times_the_log_costs_ten_times_the_calls(make: Any, per: int, work: Any):
    short, long = make(1_000 // per), make(10_000 // per)
    assert calls_made(work, long) <= 10.5 * calls_made(work, short)


def test_no_message_of_a_long_log_is_copied():
    job = fold(long_log(100)[:2])
    assert job.root_run is not None
    first = job.root_run.history
    for event in long_log(100)[2:]:
        job = apply(job, event)
        assert job.root_run is not None
        assert job.root_run.history.grew_from(first)


def test_what_ended_leaves_the_state():
    assert max(len(fold(busy_log(50)[:n]).runs) for n in range(252)) == 2


def test_reading_a_log_costs_its_length():
    def lines(count: int) -> list[bytes]:
        log = Log()
        for event in long_log(count):
            log.append(event)
        return [line[:-1] for line in log.lines]

    assert calls_made(decode_events, lines(1_000)) <= 10.5 * calls_made(decode_events, lines(100))
