"""How jobs go, story by story."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from perstack.definition import Limits
from perstack.job import (
    CANCELLED_CALL,
    CUT_CALL,
    GO_ON,
    OUTCOME_UNKNOWN,
    Acting,
    Concluding,
    Done,
    Failure,
    Generate,
    IllegalEvent,
    Job,
    Record,
    Replied,
    ReplyFailed,
    Resumed,
    Rewound,
    RunFinished,
    RunStarted,
    Stop,
    Stopped,
    Text,
    Todo,
    ToolCalled,
    ToolReturned,
    Use,
    UserSpoke,
    apply,
    fold,
    wanted,
)

from .driver import (
    CANCEL,
    FAILED_PRICE,
    HELPER,
    PRICE,
    Crash,
    Log,
    World,
    begin,
    call,
    delegate,
    done,
    drive,
    names,
    opening,
    outcomes,
    run,
    says,
)


def ended(job: Job) -> tuple[str, str]:
    assert job.done is not None
    return job.done.outcome, job.done.text


def results(log: Log) -> dict[str, str]:
    """The text of each result, by call id."""
    return {
        event.call: "".join(part.text for part in event.parts if isinstance(part, Text))
        for event in log.events
        if isinstance(event, ToolReturned)
    }


def history(job: Job) -> list[str]:
    """The texts of the root's history."""
    assert job.root_run is not None
    return [message.text for message in job.root_run.history]


# Replies and tools ----------------------------------------------------------------------------------------


def test_a_reply_without_calls_is_the_answer():
    job, log = run(World({("", 1): says("Hello")}))
    assert ended(job) == ("completed", "Hello")
    assert names(log.events) == ["JobStarted", "RunStarted", "Replied", "RunFinished"]


def test_results_join_the_history_in_the_order_of_the_calls():
    world = World({("", 1): says("", call("a", "first"), call("b", "second"))})
    job, log = run(world, pick=lambda count: count - 1)
    returned = [event.call for event in log.events if isinstance(event, ToolReturned)]
    assert returned == ["b", "a"]
    assert history(job) == ["Go", "", "first ok", "second ok", "done"]


def test_the_intent_is_on_stable_storage_before_a_deed_that_may_not_be_repeated():
    safe, unsafe = replace(call("safe"), repeatable=True), call("unsafe")
    job = fold([*opening(), Replied(run="root", message=says("", safe, unsafe), usage=PRICE)])
    assert wanted(job) == (
        Record(event=ToolCalled(run="root", call="safe"), about="safe"),
        Record(event=ToolCalled(run="root", call="unsafe"), about="unsafe", sync=True),
    )


def test_a_call_that_cannot_be_made_is_answered_by_why():
    odd = replace(call("x", "nosuch"), fault="There is no tool nosuch.")
    job, log = run(World({("", 1): says("", odd, call("y"))}))
    assert results(log) == {"x": "There is no tool nosuch.", "y": "read ok"}
    assert ended(job) == ("completed", "done")
    assert "ToolCalled" in names(log.events)
    assert not any(isinstance(e, ToolCalled) and e.call == "x" for e in log.events)


def test_turns_come_one_after_another():
    calls = (done(), call("q", "ask", "ask"), delegate("d"), call("t"))
    job, log = run(World({("", 1): says("", *calls), ("/1.3", 1): says("seen")}))
    assert list(results(log)) == ["t", "d"]
    assert [call.id for _, call in job.questions] == ["q"]
    assert wanted(job) == ()


# Todos and the claim to be done ---------------------------------------------------------------------------


def test_the_claim_to_be_done_with_words_is_the_answer():
    job, log = run(World({("", 1): says("All done.", done())}))
    assert ended(job) == ("completed", "All done.")
    assert names(log.events)[2:] == ["Replied", "ToolReturned", "RunFinished"]


def test_the_claim_to_be_done_without_words_asks_for_a_closing_reply():
    world = World({("", 1): says("", done())})
    job, _ = run(world)
    assert ended(job) == ("completed", "closing words")
    assert [(wish.step, wish.concluding) for wish in world.asked] == [(1, False), (1, True)]
    assert job.steps == 1


def test_todos_left_open_send_the_expert_back_to_work():
    todo = call("a", "todo", "todo", newTodos=["one", "two"], completedTodos=[0])
    world = World({("", 1): says("", todo), ("", 2): says("Done!", done("z")), ("", 3): says("no")})
    job, log = run(world)
    assert ended(job) == ("completed", "no")
    assert results(log)["z"] == '{"remainingTodos":[{"id":1,"title":"two","completed":false}]}'
    assert job.root_run is not None
    assert job.root_run.todos.items == (
        Todo(id=0, title="one", completed=True),
        Todo(id=1, title="two"),
    )


def test_the_todo_list_belongs_to_its_run():
    world = World(
        {
            ("", 1): says("", call("a", "todo", "todo", newTodos=["mine"]), delegate("d")),
            ("/1.2", 1): says("child is done", done()),
        }
    )
    _, log = run(world)
    assert outcomes(log.events)["/1.2"] == [("completed", "child is done")]


@pytest.mark.parametrize(
    "args",
    [
        {"newTodos": "write it"},
        {"newTodos": [1]},
        {"newTodos": {"a": 1}},
        {"completedTodos": 0},
        {"completedTodos": [[0]]},
        {"completedTodos": [True]},
        {"completedTodos": ["0"]},
    ],
)
def test_odd_arguments_of_todo_are_told_to_the_model(args: dict[str, Any]):
    job, log = run(World({("", 1): says("", call("a", "todo", "todo", **args))}))
    returned = next(event for event in log.events if isinstance(event, ToolReturned))
    assert returned.is_error
    assert ended(job) == ("completed", "done")


def test_todo_arguments_may_be_null():
    todo = call("a", "todo", "todo", newTodos=None, completedTodos=None)
    _, log = run(World({("", 1): says("", todo)}))
    assert results(log) == {"a": '{"todos":[]}'}


# Delegates ------------------------------------------------------------------------------------------------


def test_a_delegate_is_a_call_whose_answer_is_another_run():
    world = World({("", 1): says("", delegate("d", "Find it")), ("/1.1", 1): says("Found")})
    job, log = run(world)
    child = next(e for e in log.events if isinstance(e, RunStarted) and e.by)
    assert (child.expert, child.query) == ("scout", "Find it")
    assert "Look." in child.instruction
    assert results(log) == {"d": "Found"}
    assert history(job) == ["Go", "", "Found", "done"]
    assert job.spent == {"lead": PRICE + PRICE, "scout": PRICE}


def test_a_delegate_named_by_a_range_is_the_one_the_lock_says():
    helper = replace(delegate("d"), tool="helper", skill="@team/helper@1")
    job, log = run(World({("", 1): says("", helper)}))
    child = next(e for e in log.events if isinstance(e, RunStarted) and e.by)
    assert "Help." in child.instruction
    assert job.lock.key_of(child.expert) == HELPER


def test_delegates_work_side_by_side_and_nested():
    world = World(
        {
            ("", 1): says("", delegate("a"), delegate("b")),
            ("/1.1", 1): says("", delegate("c")),
            ("/1.1/1.1", 1): says("deep"),
            ("/1.1", 2): says("a is done"),
            ("/1.2", 1): says("b is done"),
        }
    )
    job, log = run(world)
    assert outcomes(log.events) == {
        "/1.1/1.1": [("completed", "deep")],
        "/1.1": [("completed", "a is done")],
        "/1.2": [("completed", "b is done")],
        "": [("completed", "done")],
    }
    assert max(len(wanted(fold(log.events[:n]))) for n in range(len(log.events))) == 2
    assert list(job.runs) == ["root"]


def test_a_child_leaves_the_state_with_its_answer_and_not_before():
    world = World({("", 1): says("", delegate("a"), delegate("b"))})
    _, log = run(world)
    sizes = [
        (type(event).__name__, len(fold(log.events[: event.seq]).runs)) for event in log.events
    ]
    assert [size for name, size in sizes if name == "RunStarted"] == [1, 2, 3]
    assert [size for name, size in sizes if name == "ToolReturned"] == [2, 1]


def test_a_child_that_fails_is_told_to_its_parent_which_goes_on():
    world = World(
        {("", 1): says("", delegate("d")), ("/1.1", 1): Failure(name="Denied", message="No")}
    )
    job, log = run(world)
    assert results(log) == {"d": "Delegation failed: No"}
    returned = next(event for event in log.events if isinstance(event, ToolReturned))
    assert returned.is_error
    assert ended(job) == ("completed", "done")


@pytest.mark.parametrize(
    "args", [{}, {"query": ""}, {"query": "  "}, {"query": 5}, {"query": None}]
)
def test_a_delegate_without_a_query_is_not_set_to_work(args: dict[str, Any]):
    job, log = run(World({("", 1): says("", replace(delegate("d"), args=args))}))
    assert results(log)["d"].startswith("Delegation failed: `query`")
    assert names(log.events).count("RunStarted") == 1
    assert ended(job) == ("completed", "done")


def test_a_delegate_nobody_locked_is_not_set_to_work():
    job, log = run(World({("", 1): says("", replace(delegate("d"), skill="stranger"))}))
    assert "stranger" in results(log)["d"]
    assert ended(job) == ("completed", "done")


def test_delegates_go_no_deeper_than_the_limit():
    world = World({("", 1): says("", delegate("d")), ("/1.1", 1): says("", delegate("e"))})
    job, log = run(world, Limits(max_depth=1))
    assert results(log) == {
        "e": "Delegation failed: the depth limit of 1 is reached.",
        "d": "done",
    }
    assert ended(job) == ("completed", "done")


# People ---------------------------------------------------------------------------------------------------


def test_a_job_with_a_question_waits_for_a_person():
    world = World(
        {("", 1): says("", call("q", "askUser", "ask"), call("t")), ("", 2): says("Thanks")}
    )
    job, log = run(world)
    assert wanted(job) == ()
    assert job.done is None
    assert [(run.id, asked.id) for run, asked in job.questions] == [("root", "q")]
    answer = ToolReturned(run="root", call="q", parts=(Text(text="Blue"),))
    job = drive(apply(job, log.append(answer)), log, world)
    assert ended(job) == ("completed", "Thanks")
    assert history(job) == ["Go", "", "Blue", "read ok", "Thanks"]


def test_an_answer_may_come_before_its_turn():
    ask = says("", call("q", "askUser", "ask"), call("t"))
    early = ToolReturned(run="root", call="q", parts=(Text(text="Blue"),))
    log = Log()
    job = begin(log, [*opening(), Replied(run="root", message=ask, usage=PRICE), early])
    assert job.questions == ()
    assert ended(drive(job, log, World())) == ("completed", "done")


def test_a_question_that_cannot_be_asked_is_none():
    odd = replace(call("q", "askUser", "ask"), fault="question is missing")
    job, log = run(World({("", 1): says("", odd)}))
    assert results(log) == {"q": "question is missing"}
    assert ended(job) == ("completed", "done")


def test_words_to_a_finished_job_take_it_up_again():
    world = World({("", 1): says("Hello"), ("", 2): says("Bye")})
    job, _ = run(world, None, UserSpoke(text="And now?"))
    assert ended(job) == ("completed", "Bye")
    assert history(job) == ["Go", "Hello", "And now?", "Bye"]
    assert job.steps == 2


def test_words_while_the_model_thinks_are_heard_with_the_next_request():
    job = fold([*opening(), UserSpoke(text="Be brief")])
    (wish,) = wanted(job)
    assert isinstance(wish, Generate)
    assert [message.text for message in wish.history] == ["Go", "Be brief"]
    assert wish.key != wanted(fold(opening()))[0].key


def test_words_while_calls_are_open_come_after_their_results_and_the_work_goes_on():
    log = Log()
    asked = Replied(run="root", message=says("So far.", call("t"), done()), usage=PRICE)
    job = begin(log, [*opening(), asked, UserSpoke(text="One more thing")])
    job = drive(job, log, World({("", 2): says("Fine")}))
    assert history(job) == ["Go", "So far.", "read ok", "{}", "One more thing", "Fine"]
    assert ended(job) == ("completed", "Fine")


def test_words_before_the_closing_reply_send_the_expert_back_to_work():
    log = Log()
    asked = Replied(run="root", message=says("", done()), usage=PRICE)
    ends = ToolReturned(run="root", call="done", parts=(Text(text="{}"),), ends=True)
    job = begin(log, [*opening(), asked, ends])
    assert job.root_run is not None
    assert isinstance(job.root_run.phase, Concluding)
    job = apply(job, log.append(UserSpoke(text="Wait")))
    (wish,) = wanted(job)
    assert isinstance(wish, Generate)
    assert (wish.step, wish.concluding) == (2, False)


def test_words_to_a_run_that_has_just_answered_are_not_lost():
    answered = Replied(run="root", message=says("Hello"), usage=PRICE)
    job = fold([*opening(), answered, Resumed(), UserSpoke(text="And?")])
    assert history(job) == ["Go", "Hello", "And?"]


# Failures -------------------------------------------------------------------------------------------------

BUSY = Failure(name="Overloaded", message="Busy", retryable=True)


def test_a_failure_that_may_pass_is_tried_again_within_its_budget():
    world = World({("", 1): [BUSY, BUSY, says("At last")]})
    job, _ = run(world, Limits(max_retries=2))
    assert ended(job) == ("completed", "At last")
    assert [(wish.attempt, wish.failure) for wish in world.asked] == [
        (0, None),
        (1, BUSY),
        (2, BUSY),
    ]
    assert job.steps == 1
    assert job.usage == FAILED_PRICE + FAILED_PRICE + PRICE


def test_a_failure_beyond_the_budget_ends_the_run():
    job, log = run(World({("", 1): BUSY}), Limits(max_retries=2))
    assert job.done == Done(outcome="failed", text="Busy (tried 3 times)", failure=BUSY)
    assert names(log.events).count("ReplyFailed") == 3


def test_a_failure_that_will_not_pass_ends_the_run_at_once():
    why = Failure(name="Unauthorized", message="Bad key", status=401)
    job, log = run(World({("", 1): why}))
    assert job.done == Done(outcome="failed", text="Bad key", failure=why)
    assert names(log.events).count("ReplyFailed") == 1


def test_a_closing_reply_has_a_budget_too():
    log = Log()
    asked = Replied(run="root", message=says("", done()), usage=PRICE)
    job = drive(begin(log, [*opening(Limits(max_retries=1)), asked]), log, _Mute())
    assert ended(job) == ("failed", "Busy (tried 2 times)")


class _Mute(World):
    def answer(self, command: Generate | Use):
        return super().answer(replace(command, concluding=False))

    def turn(self, wish: Generate):
        return BUSY


def test_a_job_that_is_taken_up_again_has_its_whole_budget():
    world = World({("", 1): BUSY})
    log = Log(crash_at=4)
    with pytest.raises(Crash):
        drive(begin(log, opening(Limits(max_retries=2))), log, world)
    log.crash_at = None
    job = drive(begin(log, [Resumed()]), log, world)
    assert ended(job) == ("failed", "Busy (tried 3 times)")
    assert [wish.attempt for wish in world.asked] == [0, 1, 2, 0, 1, 2]


# Replies that were cut off --------------------------------------------------------------------------------


def test_a_reply_that_was_cut_off_is_continued_and_answers_as_one():
    world = World(
        {("", 1): says("Hel"), ("", 2): says("lo"), ("", 3): says("!")}, [("", 1), ("", 2)]
    )
    job, _ = run(world)
    assert ended(job) == ("completed", "Hello!")
    assert history(job) == ["Go", "Hel", GO_ON, "lo", GO_ON, "!"]
    assert job.steps == 3


def test_calls_in_a_reply_that_was_cut_off_are_not_made():
    world = World({("", 1): says("Let me", call("a"), call("b")), ("", 2): says("Done")}, [("", 1)])
    job, log = run(world)
    assert history(job) == ["Go", "Let me", CUT_CALL, CUT_CALL, "Done"]
    assert ended(job) == ("completed", "Done")
    assert "ToolCalled" not in names(log.events)


def test_words_that_were_cut_off_do_not_leak_into_a_later_step():
    world = World(
        {("", 1): says("Let"), ("", 2): says(" me look", call("a")), ("", 3): says("Done")},
        [("", 1)],
    )
    job, _ = run(world)
    assert ended(job) == ("completed", "Done")


def test_words_that_were_cut_off_belong_to_the_claim_to_be_done():
    world = World({("", 1): says("All "), ("", 2): says("done", done())}, [("", 1)])
    job, _ = run(world)
    assert ended(job) == ("completed", "All done")


def test_a_cut_reply_with_nothing_in_it_leaves_no_message():
    job, _ = run(World({("", 1): says("")}, [("", 1)]))
    assert history(job) == ["Go", GO_ON, "done"]


class _Endless(World):
    """Its closing reply never comes to an end."""

    def is_cut(self, wish: Generate) -> bool:
        return wish.concluding


def test_a_closing_reply_that_never_ends_meets_the_step_limit():
    world = _Endless({("", 1): says("", done())})
    job, _ = run(world, Limits(max_steps=4))
    assert job.stopped == Stop(reason="limit", what="maxSteps 4")
    assert job.steps == 4


def test_a_closing_reply_that_was_cut_off_is_continued():
    log = Log()
    asked = Replied(run="root", message=says("", done()), usage=PRICE)
    ends = ToolReturned(run="root", call="done", parts=(Text(text="{}"),), ends=True)
    half = Replied(run="root", message=says("half and "), usage=PRICE, cut=True)
    job = drive(begin(log, [*opening(), asked, ends, half]), log, World())
    assert ended(job) == ("completed", "half and closing words")
    assert job.steps == 2


# Limits ---------------------------------------------------------------------------------------------------


def test_a_job_stops_at_its_step_limit_and_goes_on_with_a_higher_one():
    world = World({("", n): says("", call(f"c{n}")) for n in range(1, 5)})
    job, log = run(world, Limits(max_steps=3))
    assert job.steps == 3
    assert log.events[-1] == Stopped(
        seq=len(log.events), at=log.events[-1].at, reason="limit", what="maxSteps 3", run="root"
    )
    job = drive(apply(job, log.append(Resumed(limits=Limits(max_steps=5)))), log, world)
    assert ended(job) == ("completed", "done")
    assert job.steps == 5


def test_children_and_parents_share_one_step_limit():
    world = World({("", 1): says("", *(delegate(f"d{n}") for n in range(5)))})
    job, log = run(world, Limits(max_steps=3), pick=lambda count: count - 1)
    assert job.steps == 3
    assert job.stopped is not None
    assert list(outcomes(log.events)) == ["/1.2", "/1.1"]


def test_a_request_in_flight_keeps_its_step_while_it_is_tried_again():
    three = says("", delegate("a"), delegate("b"), delegate("c"))
    job = fold([*opening(Limits(max_steps=3)), Replied(run="root", message=three, usage=PRICE)])
    while isinstance(wanted(job)[0], Record):
        record = wanted(job)[0]
        assert isinstance(record, Record)
        job = apply(job, record.event)
    first, second = wanted(job)
    assert isinstance(first, Generate)
    job = apply(job, ReplyFailed(run=first.run, failure=BUSY))
    again, still = wanted(job)
    assert isinstance(again, Generate)
    assert (again.run, again.attempt) == (first.run, 1)
    assert still == second


# Cancel, stop, crash --------------------------------------------------------------------------------------


def test_a_cancel_ends_every_run_children_first():
    world = World(
        {("", 1): says("", delegate("a"), delegate("b")), ("/1.1", 1): says("", delegate("c"))}
    )
    log = Log(crash_at=7)
    with pytest.raises(Crash):
        drive(begin(log, opening()), log, world)
    log.crash_at = None
    job = apply(fold(log.events), log.append(CANCEL))
    assert len(job.runs) == 4
    job = drive(job, log, world)
    assert list(outcomes(log.events)) == ["/1.1/1.1", "/1.2", "/1.1", ""]
    assert ended(job) == ("cancelled", "cancelled")
    assert list(job.runs) == ["root"]
    assert history(job) == ["Go", "", CANCELLED_CALL, CANCELLED_CALL]


def test_a_run_that_ends_takes_the_runs_below_it_along():
    log = Log()
    asked = Replied(run="root", message=says("", delegate("a")), usage=PRICE)
    job = drive(
        begin(log, [*opening(), asked]),
        log,
        World({("/1.1", 1): says("", call("q", "ask", "ask"))}),
    )
    assert len(job.runs) == 2
    job = apply(job, log.append(RunFinished(run="root", outcome="failed", text="Gone")))
    assert list(job.runs) == ["root"]
    assert wanted(apply(job, Resumed())) == ()


def test_words_said_before_a_cancel_are_still_there_when_the_job_goes_on():
    log = Log()
    asked = Replied(run="root", message=says("", call("t")), usage=PRICE)
    job = begin(log, [*opening(), asked, UserSpoke(text="Hurry"), CANCEL])
    job = drive(job, log, World())
    job = drive(apply(job, log.append(UserSpoke(text="Go on"))), log, World())
    assert history(job) == ["Go", "", CANCELLED_CALL, "Hurry", "Go on", "done"]
    assert ended(job) == ("completed", "done")


def test_a_stopped_job_wants_nothing_until_it_is_resumed():
    job = fold([*opening(), Stopped(reason="interrupted", what="SIGTERM")])
    assert wanted(job) == ()
    assert job.stopped == Stop(reason="interrupted", what="SIGTERM")
    assert wanted(apply(job, Resumed())) == wanted(fold(opening()))


def test_a_call_that_was_interrupted_comes_back_as_outcome_unknown():
    log = Log(crash_at=4)
    world = World({("", 1): says("", call("t"), replace(call("s"), repeatable=True))})
    with pytest.raises(Crash):
        drive(begin(log, opening()), log, world)
    log.crash_at = 5
    with pytest.raises(Crash):
        drive(fold(log.events), log, world)
    log.crash_at = None
    job = drive(begin(log, [Resumed()]), log, world)
    assert results(log) == {"t": OUTCOME_UNKNOWN, "s": "read ok"}
    assert ended(job) == ("completed", "done")


def test_resuming_may_change_limits_and_model():
    job = fold(opening())
    other = replace(job.model, model="claude-haiku-4-5")
    after = apply(job, Resumed(limits=Limits(max_steps=7), model=other))
    assert (after.limits.max_steps, after.model) == (7, other)
    assert apply(after, Resumed()).limits.max_steps == 7


def test_a_job_can_be_taken_up_before_its_root_run_began():
    job = fold([opening()[0], Resumed()])
    assert wanted(job) == ()
    assert wanted(apply(job, opening()[1]))


# Rewinding ------------------------------------------------------------------------------------------------


def test_a_rewind_into_a_delegate_takes_its_work_up_there():
    world = World(
        {
            ("", 1): says("", delegate("d")),
            ("/1.1", 1): says("", replace(call("t"), repeatable=True)),
            ("/1.1", 2): says("first"),
        }
    )
    job, log = run(world)
    to = next(event.seq for event in log.events if isinstance(event, ToolCalled))
    log.append(Rewound(to=to))
    job = fold(log.events)
    child = next(run for run in job.runs.values() if run.by)
    assert isinstance(child.phase, Acting)
    assert child.phase.flights["t"].in_doubt
    job = drive(job, log, World({("/1.1", 2): says("second")}))
    assert results(log)["d"] == "second"
    assert ended(job) == ("completed", "done")


def test_a_delegate_that_begins_anew_after_a_rewind_is_another_run():
    world = World({("", 1): says("", delegate("d"))})
    _, log = run(world)
    log.append(Rewound(to=3))
    drive(fold(log.events), log, world)
    children = [event.run for event in log.events if isinstance(event, RunStarted) and event.by]
    assert len(set(children)) == 2


def test_a_rewind_may_go_to_a_place_that_an_earlier_rewind_left_behind():
    world = World({("", 1): says("", call("a")), ("", 2): says("one")})
    job, log = run(world)
    first_end = len(log.events)
    log.append(Rewound(to=2))
    drive(fold(log.events), log, World({("", 1): says("other")}))
    log.append(Rewound(to=first_end))
    job = fold(log.events)
    assert ended(job) == ("completed", "one")


def test_a_rewind_to_what_is_not_there_is_refused():
    _, log = run()
    last = len(log.events)
    for to in (0, last + 1, last + 2):
        with pytest.raises(IllegalEvent):
            fold([*log.events, Rewound(seq=last + 1, to=to)])


def test_a_fold_may_begin_anywhere():
    _, log = run(World({("", 1): says("", call("a"))}))
    for place in range(1, len(log.events)):
        assert fold(log.events[place:], fold(log.events[:place])) == fold(log.events)


def test_a_rewind_cannot_go_back_beyond_where_a_fold_began():
    _, log = run(World({("", 1): says("", call("a"))}))
    half = fold(log.events[:4])
    last = len(log.events)
    assert fold([*log.events[4:], Rewound(seq=last + 1, to=4)], half).seq == last + 1
    with pytest.raises(IllegalEvent):
        fold([*log.events[4:], Rewound(seq=last + 1, to=3)], half)
