"""What a tool's server asks a person during a call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.job import (
    Acting,
    Answer,
    AskAnswered,
    Asked,
    Event,
    Job,
    Resumed,
    ToolCalled,
    Use,
    apply,
    fold,
    timeline,
    wanted,
)
from perstack.job.activity import GeneralTool, InteractiveTool

from .driver import (
    CANCEL,
    AskingServers,
    Log,
    begin,
    call,
    check_same_end,
    drive,
    names,
    opening,
    outcomes,
    run_with_answers,
    says,
)
from .driver import World as Scripted

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
seeds = st.integers(0, 10**6)


@given(seed=seeds, crashes=st.lists(st.integers(2, 60), max_size=6).map(sorted))
def test_a_crash_anywhere_does_not_change_how_any_run_ends(seed: int, crashes: list[int]):
    check_same_end(seed, crashes)


@given(seed=seeds, crashes=st.lists(st.integers(2, 60), max_size=6).map(sorted))
def test_a_tool_that_may_not_repeat_is_used_once_for_each_answer_it_got(
    seed: int, crashes: list[int]
):
    world = AskingServers(seed)
    _, log = run_with_answers(world, crashes)
    repeatable = {
        (event.run, before.runs[event.run].step, call_id): flight.call.repeatable
        for before, event in zip(_states(log.events), log.events, strict=False)
        if isinstance(event, ToolCalled)
        for call_id, flight in _flights(before, event.run).items()
    }
    assert all(times == 1 or repeatable[use[:3]] for use, times in world.uses.items())


def test_a_crash_at_each_place_of_a_job_with_questions_leads_to_the_same_end():
    seed = next(
        n
        for n in range(100)
        if names(run_with_answers(AskingServers(n))[1].events).count("Asked") > 2
    )
    _, calm = run_with_answers(AskingServers(seed))
    for place in range(2, len(calm.events) + 1):
        _, log = run_with_answers(AskingServers(seed), [place])
        assert outcomes(log.events) == outcomes(calm.events)


def test_a_question_parks_the_job_and_its_answer_has_the_call_made_again():
    log, world = Log(), Scripted({("", 1): says("", call("a", "delete", path="x"))})
    begun = [*opening(), *_replied(world), ToolCalled(run="root", call="a")]
    asked = Asked(run="root", call="a", message="Sure?", schema=SCHEMA)
    job = begin(log, [*begun, asked])
    assert wanted(job) == ()
    ((run, question),) = job.questions
    assert (run.id, question.id, question.tool, question.skill) == ("root", "a", "delete", "files")
    assert question.args == {"message": "Sure?", "requestedSchema": SCHEMA}
    assert wanted(apply(job, Resumed())) == ()

    job = apply(job, log.append(AskAnswered(run="root", call="a", content={"ok": True})))
    assert job.questions == ()
    job = apply(job, log.append(ToolCalled(run="root", call="a")))
    (use,) = wanted(job)
    assert isinstance(use, Use)
    assert use.answers == (Answer(message="Sure?", content={"ok": True}),)
    assert use.call.args == {"path": "x"}

    job = drive(job, log, world)
    assert job.done is not None
    shown = timeline(log.events)
    rows = [row for row in shown if isinstance(row, InteractiveTool | GeneralTool)]
    assert [type(row) for row in rows] == [InteractiveTool, GeneralTool]
    assert isinstance(rows[0], InteractiveTool)
    assert rows[0].args["message"] == "Sure?"
    assert len({row.id for row in shown}) == len(shown)


def test_a_question_is_not_in_doubt_but_a_call_made_again_after_it_is():
    world = Scripted({("", 1): says("", call("a"))})
    called = ToolCalled(run="root", call="a")
    asked = Asked(run="root", call="a", message="Sure?", schema=SCHEMA)
    answered = AskAnswered(run="root", call="a")
    before = [*opening(), *_replied(world), called, asked]
    job = fold([*before, Resumed(), answered, Resumed()])
    assert [type(getattr(want, "event", None)) for want in wanted(job)] == [ToolCalled]
    job = fold([*before, answered, called, Resumed()])
    assert "unknown" in str(wanted(job))


def test_a_job_with_a_question_can_be_cancelled():
    world = Scripted({("", 1): says("", call("a"))})
    asked = Asked(run="root", call="a", message="Sure?", schema=SCHEMA)
    log = Log()
    job = begin(
        log, [*opening(), *_replied(world), ToolCalled(run="root", call="a"), asked, CANCEL]
    )
    job = drive(job, log, world)
    assert job.done is not None
    assert job.done.outcome == "cancelled"
    assert job.questions == ()


def test_what_a_server_asks_comes_before_what_the_model_asks():
    calls = (call("q", "ask", "ask"), call("a"))
    world = Scripted({("", 1): says("", *calls)})
    asked = Asked(run="root", call="a", message="Sure?", schema=SCHEMA)
    job = fold([*opening(), *_replied(world), ToolCalled(run="root", call="a"), asked])
    assert [question.id for _, question in job.questions] == ["a", "q"]


def _replied(world: Scripted) -> list[Event]:
    """The first reply of `world`."""
    log = Log()
    job = begin(log, opening())
    (wish,) = wanted(job)
    assert not isinstance(wish, Use)
    return [world.answer(wish)]  # pyright: ignore[reportArgumentType]  # a new job asks the model


def _states(events: list[Event]) -> list[Job]:
    states = [Job()]
    for event in events:
        states.append(apply(states[-1], event))
    return states


def _flights(job: Job, run: str):
    phase = job.runs[run].phase
    assert isinstance(phase, Acting)
    return phase.flights
