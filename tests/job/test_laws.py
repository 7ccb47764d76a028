"""What holds for every job, whatever the model says and whatever order its world answers in."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perstack.definition import Limits
from perstack.job import (
    Acting,
    Concluding,
    Event,
    ExpertMessage,
    IllegalEvent,
    Job,
    Record,
    Replied,
    ReplyFailed,
    Resumed,
    Rewound,
    Run,
    Stopped,
    ToolMessage,
    Usage,
    apply,
    cut,
    decode_events,
    fold,
    lineage,
    wanted,
)

from .driver import (
    CANCEL,
    ROOMY,
    Log,
    RandomWorld,
    begin,
    drive,
    keyed,
    opening,
    outcomes,
    run,
    run_with_crashes,
)

seeds = st.integers(0, 10**6)
orders = st.randoms(use_true_random=False)
crash_places = st.lists(st.integers(2, 60), max_size=6).map(sorted)


@given(seed=seeds, order=orders)
def test_the_fold_of_each_prefix_is_the_state_that_was_held_there(seed: int, order: Random):
    log = Log()
    job = begin(log, opening(ROOMY))
    held = [job]
    drive(job, log, RandomWorld(seed, failing=True), pick=order.randrange, watch=held.append)
    for length, state in enumerate(held, 2):
        assert fold(log.events[:length]) == state


@given(seed=seeds, order=orders)
def test_a_job_comes_to_an_end_and_then_wants_nothing(seed: int, order: Random):
    job, _ = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    assert job.done is not None
    assert wanted(job) == ()
    assert list(job.runs) == [job.root]


@given(seed=seeds, order=orders)
def test_keys_are_unique_and_what_was_recorded_is_no_longer_wanted(seed: int, order: Random):
    _, log = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    for job in _states(log.events):
        for key, command in keyed(job).items():
            if isinstance(command, Record):
                assert key not in keyed(apply(job, command.event))


@given(seed=seeds, order=orders, max_steps=st.integers(1, 12))
def test_what_one_run_does_never_takes_back_what_another_waits_for(
    seed: int, order: Random, max_steps: int
):
    _, log = run(RandomWorld(seed, failing=True), Limits(max_steps=max_steps), pick=order.randrange)
    for (before, after), event in zip(pairwise(_states(log.events)), log.events, strict=True):
        if not isinstance(event, Stopped):
            others = {
                key
                for key, command in keyed(before).items()
                if not isinstance(command, Record) and command.run != getattr(event, "run", "")
            }
            assert others <= keyed(after).keys()


@given(seed=seeds, crashes=crash_places)
def test_a_crash_anywhere_does_not_change_how_any_run_ends(seed: int, crashes: list[int]):
    _, calm = run(RandomWorld(seed), ROOMY)
    world = RandomWorld(seed)
    job, log = run_with_crashes(world, crashes, ROOMY)
    assert wanted(job) == ()
    assert outcomes(log.events) == outcomes(calm.events)
    assert fold(log.events) == job


@given(seed=seeds, crashes=crash_places)
def test_a_tool_that_may_not_repeat_is_used_at_most_once(seed: int, crashes: list[int]):
    world = RandomWorld(seed)
    _, log = run_with_crashes(world, crashes, ROOMY)
    repeatable = {
        (event.run, before.runs[event.run].step, call.id): call.repeatable
        for before, event in zip(_states(log.events), log.events, strict=False)
        if isinstance(event, Replied)
        for call in event.message.calls
    }
    assert all(times == 1 for use, times in world.begun.items() if not repeatable[use])


def test_a_crash_at_each_place_of_one_log_leads_to_the_same_end():
    _, calm = run(RandomWorld(26), ROOMY)
    assert len(calm.events) > 40
    for place in range(2, len(calm.events) + 1):
        _, log = run_with_crashes(RandomWorld(26), [place], ROOMY)
        assert outcomes(log.events) == outcomes(calm.events)


@given(seed=seeds, order=orders, max_steps=st.integers(1, 12))
def test_the_step_limit_is_never_exceeded(seed: int, order: Random, max_steps: int):
    job, log = run(
        RandomWorld(seed, failing=True), Limits(max_steps=max_steps), pick=order.randrange
    )
    closing = sum(
        isinstance(event, Replied) and isinstance(before.runs[event.run].phase, Concluding)
        for before, event in zip(_states(log.events), log.events, strict=False)
    )
    assert job.steps <= max_steps
    assert job.steps == sum(isinstance(event, Replied) for event in log.events) - closing
    if job.stopped is not None:
        assert job.steps == max_steps
        assert job.stopped.reason == "limit"


@given(seed=seeds, order=orders)
def test_usage_is_the_sum_of_all_replies_and_of_what_each_expert_spent(seed: int, order: Random):
    job, log = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    told = [event.usage for event in log.events if isinstance(event, Replied | ReplyFailed)]
    assert job.usage == sum(told, Usage()) == sum(job.spent.values(), Usage())


@given(seed=seeds, order=orders)
def test_a_log_read_back_from_its_lines_folds_to_the_same_job(seed: int, order: Random):
    job, log = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    events, total = decode_events(line[:-1] for line in log.lines)
    assert list(events) == log.events
    assert total == log.total
    assert fold(events) == job


@given(seed=seeds, order=orders, data=st.data())
def test_a_rewound_job_is_the_job_as_it_stood_there_and_goes_on_to_an_end(
    seed: int, order: Random, data: st.DataObject
):
    world = RandomWorld(seed, failing=True)
    _, log = run(world, ROOMY, pick=order.randrange)
    for _ in range(2):  # the second time perhaps to a place the first had left behind
        to = data.draw(st.integers(1, len(log.events)))
        there = fold(cut(log.events, to))
        log.append(Rewound(to=to))
        job = fold(log.events)
        seq, at = len(log.events), log.events[-1].at
        assert job == replace(apply(there, Resumed()), seq=seq, at=at)
        job = drive(job, log, world, pick=order.randrange)
        assert wanted(job) == ()
        assert fold(log.events) == job


def test_a_log_can_be_rewound_to_each_of_its_events():
    _, log = run(RandomWorld(26), ROOMY)
    last = len(log.events) + 1
    for to in range(1, last):
        there = fold(log.events[:to])
        rewound = [*log.events, Rewound(seq=last, to=to)]
        assert lineage(rewound) == [*log.events[:to], rewound[-1]]
        assert fold(rewound) == replace(apply(there, Resumed()), seq=last)


@given(seed=seeds, order=orders, place=st.integers(2, 60))
def test_a_cancelled_job_ends_at_once_with_its_children_first(seed: int, order: Random, place: int):
    log = Log()
    world = RandomWorld(seed)
    states = [begin(log, opening(ROOMY))]
    drive(states[0], log, world, pick=order.randrange, watch=states.append)
    before = states[min(place, len(states) - 1)]
    if before.done is not None:
        with pytest.raises(IllegalEvent):
            apply(before, CANCEL)
        return
    rest = Log(list(log.events[: before.seq]))
    job = drive(apply(before, rest.append(CANCEL)), rest, world)
    assert job.done is not None
    assert job.done.outcome == "cancelled"
    assert list(job.runs) == [job.root]
    assert all(_is_whole(state) for state in _states(rest.events))


@given(seed=seeds, order=orders)
def test_each_call_in_a_history_is_followed_by_its_result(seed: int, order: Random):
    _, log = run(RandomWorld(seed, failing=True), ROOMY, pick=order.randrange)
    assert all(_is_whole(state) for state in _states(log.events))


@settings(max_examples=30)
@given(seed=seeds)
def test_no_event_may_be_told_twice(seed: int):
    _, log = run(RandomWorld(seed), ROOMY)
    for length, event in enumerate(log.events, 1):
        with pytest.raises(IllegalEvent):
            apply(fold(log.events[:length]), event)


def _states(events: list[Event]) -> list[Job]:
    """The job before the first event and after each."""
    states = [Job()]
    for event in events:
        states.append(apply(states[-1], event))
    return states


def _is_whole(job: Job) -> bool:
    """Whether each call in each history has its result, but for those that are open now."""
    return all(_is_whole_run(run) for run in job.runs.values())


def _is_whole_run(run: Run) -> bool:
    open_calls = list(run.phase.flights) if isinstance(run.phase, Acting) else []
    waiting: list[str] = []
    for message in run.history:
        match message:
            case ExpertMessage(calls=calls):
                if waiting:
                    return False
                waiting = [call.id for call in calls]
            case ToolMessage(call=id):
                if not waiting or waiting.pop(0) != id:
                    return False
            case _:
                if waiting:
                    return False
    return waiting == open_calls
