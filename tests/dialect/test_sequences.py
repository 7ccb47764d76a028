"""The sequences of events and step numbers that readers of the stream know."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perstack.definition import Limits
from perstack.job import CancelRequested, Failure, Resumed, Stopped
from tests.job.driver import World, call, delegate, done, run, says

from .teller import (
    INTERRUPTED,
    RESUMED,
    WORDS,
    answer,
    ask,
    go_on,
    only,
    rewind,
    short,
    stream,
    until_stopped,
)

TODO = call("t", "todo", "todo", newTodos=["one"])
LATER = Failure(name="Overloaded", message="later", retryable=True)
REFUSED = Failure(name="Unauthorized", message="no", status=401)

CANONICAL = {
    "text only": (
        {("", 1): says("hi")},
        "startRun/1 startGeneration/1 completeRun/1",
    ),
    "tool step": (
        {("", 1): says("", call("a"), call("b"))},
        "startRun/1 startGeneration/1 callTools/1 resolveToolResults/1 finishToolCall/1 continueToNextStep/1 "
        "startGeneration/2 completeRun/2",
    ),
    "completion": (
        {("", 1): says("", done())},
        "startRun/1 startGeneration/1 callTools/1 attemptCompletion/1 completeRun/1",
    ),
    "completion with text": (
        {("", 1): says("so it is", done())},
        "startRun/1 startGeneration/1 callTools/1 completeRun/1",
    ),
    "open todos": (
        {("", 1): says("", TODO), ("", 2): says("", done())},
        "startRun/1 startGeneration/1 callTools/1 resolveToolResults/1 finishToolCall/1 continueToNextStep/1 "
        "startGeneration/2 callTools/2 resolveToolResults/2 finishToolCall/2 continueToNextStep/2 "
        "startGeneration/3 completeRun/3",
    ),
    "retry": (
        {("", 1): (LATER, says("hi"))},
        "startRun/1 startGeneration/1 retry/1 continueToNextStep/1 startGeneration/2 completeRun/2",
    ),
    "single delegate": (
        {("", 1): says("", delegate("d"))},
        "startRun/1 startGeneration/1 callTools/1 callDelegate/1 stopRunByDelegate/1 "
        "startRun/2:scout startGeneration/2:scout completeRun/2:scout "
        "startRun/3 finishAllToolCalls/3 continueToNextStep/3 startGeneration/4 completeRun/4",
    ),
    "chain of delegates": (
        {("", 1): says("", delegate("d")), ("/1.1", 1): says("", delegate("e", "Look closer"))},
        "startRun/1 startGeneration/1 callTools/1 callDelegate/1 stopRunByDelegate/1 "
        "startRun/2:scout startGeneration/2:scout callTools/2:scout callDelegate/2:scout "
        "stopRunByDelegate/2:scout startRun/3:scout startGeneration/3:scout completeRun/3:scout "
        "startRun/4:scout finishAllToolCalls/4:scout continueToNextStep/4:scout startGeneration/5:scout "
        "completeRun/5:scout "
        "startRun/6 finishAllToolCalls/6 continueToNextStep/6 startGeneration/7 completeRun/7",
    ),
    "parallel delegates": (
        {
            ("", 1): says("", delegate("d"), delegate("e")),
            ("/1.1", 1): says("", call("t")),
        },
        "startRun/1 startGeneration/1 callTools/1 callDelegate/1 stopRunByDelegate/1 "
        "startRun/2:scout startGeneration/2:scout startRun/2:scout startGeneration/2:scout "
        "callTools/2:scout completeRun/2:scout resolveToolResults/2:scout finishToolCall/2:scout "
        "continueToNextStep/2:scout startGeneration/3:scout completeRun/3:scout "
        "startRun/4 finishAllToolCalls/4 continueToNextStep/4 startGeneration/5 completeRun/5",
    ),
    "mixed": (
        {("", 1): says("", call("a"), delegate("d"), ask("q"))},
        "startRun/1 startGeneration/1 callTools/1 callDelegate/1 stopRunByDelegate/1 "
        "startRun/2:scout startGeneration/2:scout completeRun/2:scout "
        "startRun/3 resumeToolCalls/3 callInteractiveTool/3 stopRunByInteractiveTool/3",
    ),
    "interactive": (
        {("", 1): says("", ask("q"))},
        "startRun/1 startGeneration/1 callTools/1 callInteractiveTool/1 stopRunByInteractiveTool/1",
    ),
}


@pytest.mark.parametrize("name", CANONICAL)
@pytest.mark.parametrize("full", [False, True])
def test_a_canonical_sequence_is_told_from_the_facts(name: str, full: bool):
    script, expected = CANONICAL[name]
    _, log = run(World(script))
    assert short(stream(log.events, full=full)) == expected.split()


def test_every_segment_begins_with_the_runtime():
    _, log = run(World({("", 1): says("", delegate("d"))}))
    told = stream(log.events)
    starts = [n for n, event in enumerate(told) if event["type"] == "startRun"]
    assert len(starts) == 3
    for n in starts:
        assert told[n - 1]["type"] == "initializeRuntime"
        assert told[n - 1]["runId"] == told[n]["runId"]
    assert len({told[n]["runId"] for n in starts}) == 3


def test_an_answer_lets_the_run_go_on_as_another_segment():
    world = World({("", 1): says("", ask("q"))})
    _, log = run(world)
    before = len(stream(log.events))
    go_on(log, world, RESUMED, answer("q"))
    told = stream(log.events)[before:]
    expected = (
        "startRun/2 finishAllToolCalls/2 continueToNextStep/2 startGeneration/3 completeRun/3"
    )
    assert short(told) == expected.split()
    assert only(told, "startRun")["initialCheckpoint"]["status"] == "stoppedByInteractiveTool"


def test_one_answer_of_two_lets_the_run_stop_for_the_other():
    world = World({("", 1): says("", ask("q"), ask("r", "askAgain"))})
    _, log = run(world)
    before = len(stream(log.events))
    go_on(log, world, answer("q"))
    told = stream(log.events)[before:]
    assert short(told) == (
        "startRun/2 resumeToolCalls/2 callInteractiveTool/2 stopRunByInteractiveTool/2".split()
    )
    assert only(told, "callInteractiveTool")["toolCall"]["id"] == "r"
    go_on(log, world, answer("r"))
    assert short(stream(log.events))[-5:] == (
        "startRun/3 finishAllToolCalls/3 continueToNextStep/3 startGeneration/4 completeRun/4".split()
    )


def test_a_claim_to_be_done_beside_other_calls_is_told_after_their_results():
    _, log = run(World({("", 1): says("", delegate("d"), done())}))
    assert short(stream(log.events))[-4:] == (
        "startRun/3 resumeToolCalls/3 attemptCompletion/3 completeRun/3".split()
    )


def test_the_limit_is_told_in_place_of_the_next_step():
    world = World({("", step): says("", call("a")) for step in range(1, 9)})
    _, log = run(world, Limits(max_steps=2))
    told = short(stream(log.events))
    assert told[-3:] == (
        "resolveToolResults/2 finishToolCall/2 stopRunByExceededMaxSteps/2".split()
    )
    go_on(log, world, Resumed(limits=Limits(max_steps=3)), WORDS)
    assert short(stream(log.events))[len(told) :] == (
        "startRun/3 startGeneration/3 callTools/3 resolveToolResults/3 finishToolCall/3 "
        "stopRunByExceededMaxSteps/3".split()
    )


def test_the_limit_may_come_after_a_cut_reply():
    world = World({("", 1): says("half")}, cut=[("", 1)])
    _, log = run(world, Limits(max_steps=1))
    assert short(stream(log.events)) == (
        "startRun/1 startGeneration/1 retry/1 stopRunByExceededMaxSteps/1".split()
    )


def test_delegates_held_by_the_limit_stop_one_by_one():
    world = World({("", 1): says("", delegate("d"), delegate("e"))})
    _, log = run(world, Limits(max_steps=1))
    told = stream(log.events)
    assert short(told)[-4:] == (
        "startRun/2:scout startRun/2:scout "
        "stopRunByExceededMaxSteps/2:scout stopRunByExceededMaxSteps/2:scout".split()
    )


def test_a_reply_that_was_cut_is_told_as_a_retry():
    _, log = run(World({("", 1): says("half of "), ("", 2): says("it")}, cut=[("", 1)]))
    told = stream(log.events, full=True)
    assert short(told) == (
        "startRun/1 startGeneration/1 retry/1 continueToNextStep/1 startGeneration/2 completeRun/2".split()
    )
    retry = only(told, "retry")
    assert "OutputLimit" in retry["reason"]
    assert [message["type"] for message in retry["newMessages"]] == ["expertMessage", "userMessage"]
    assert retry["usage"]["outputTokens"] > 0
    assert only(told, "completeRun")["text"] == "half of it"


def test_calls_of_a_reply_that_was_cut_are_told_with_their_results():
    _, log = run(World({("", 1): says("", call("a"), call("b"))}, cut=[("", 1)]))
    retry = only(stream(log.events, full=True), "retry")
    assert [made["id"] for made in retry["toolCalls"]] == ["a", "b"]
    assert [result["id"] for result in retry["toolResults"]] == ["a", "b"]
    assert [message["type"] for message in retry["newMessages"]] == ["expertMessage", "toolMessage"]


def test_a_failure_that_is_not_retried_ends_the_run():
    _, log = run(World({("", 1): REFUSED}))
    told = stream(log.events)
    assert short(told) == "startRun/1 startGeneration/1 stopRunByError/1".split()
    assert only(told, "stopRunByError")["error"] == {
        "name": "Unauthorized",
        "message": "no",
        "statusCode": 401,
        "isRetryable": False,
    }


def test_the_last_of_many_failures_is_not_told_as_a_retry():
    _, log = run(World({("", 1): LATER}), Limits(max_retries=2))
    told = stream(log.events)
    assert short(told) == (
        "startRun/1 startGeneration/1 retry/1 continueToNextStep/1 startGeneration/2 retry/2 "
        "continueToNextStep/2 startGeneration/3 stopRunByError/3".split()
    )
    assert only(told, "stopRunByError")["error"]["isRetryable"] is True


def test_the_failure_of_a_delegate_is_told_to_its_parent():
    world = World({("", 1): says("", delegate("d")), ("/1.1", 1): REFUSED})
    _, log = run(world)
    told = stream(log.events, full=True)
    assert short(told)[5:] == (
        "startRun/2:scout startGeneration/2:scout stopRunByError/2:scout "
        "startRun/3 finishAllToolCalls/3 continueToNextStep/3 startGeneration/4 completeRun/4".split()
    )
    message = only(told, "finishAllToolCalls")["newMessages"][0]
    assert message["contents"][0]["isError"] is True


def test_a_call_that_cannot_be_made_is_told_like_a_tool_call():
    odd = replace(call("a"), fault="There is no such tool.", skill="", tool="")
    _, log = run(World({("", 1): says("", odd)}))
    told = stream(log.events)
    assert short(told)[2:5] == "callTools/1 resolveToolResults/1 finishToolCall/1".split()
    (result,) = only(told, "resolveToolResults")["toolResults"]
    assert result["result"][0]["text"] == "There is no such tool."
    assert only(told, "finishToolCall")["newMessages"][0]["contents"][0]["isError"] is True


def test_a_delegate_that_cannot_be_called_does_not_keep_the_others_back():
    odd = replace(delegate("x"), fault="`query` is missing.")
    _, log = run(World({("", 1): says("", odd, delegate("d"), ask("q"))}))
    told = stream(log.events)
    assert short(told)[2:5] == "callTools/1 callDelegate/1 stopRunByDelegate/1".split()
    stop = only(told, "stopRunByDelegate")["checkpoint"]
    assert [target["toolCallId"] for target in stop["delegateTo"]] == ["d"]
    assert [result["id"] for result in stop["partialToolResults"]] == ["x"]
    assert [waiting["id"] for waiting in stop["pendingToolCalls"]] == ["q"]
    assert short(told)[-1] == "stopRunByInteractiveTool/3"


def test_a_cancelled_job_is_told_to_its_end():
    world = World({("", 1): says("", delegate("d")), ("/1.1", 1): says("", call("t"))})
    log = until_stopped(world, 6)
    go_on(log, world, CancelRequested())
    told = stream(log.events)
    assert short(told)[5:] == (
        "startRun/2:scout startGeneration/2:scout callTools/2:scout stopRunByError/2:scout "
        "startRun/3 stopRunByError/3".split()
    )
    assert told[-1]["error"] == {"name": "Cancelled", "message": "cancelled", "isRetryable": False}


def test_an_interrupted_step_is_told_as_stopped_and_goes_on_in_another_segment():
    world = World({("", 1): says("", call("a"))})
    log = until_stopped(world, 4, stop=INTERRUPTED)
    told = stream(log.events)
    assert short(told) == "startRun/1 startGeneration/1 callTools/1 stopRunByError/1".split()
    assert told[-1]["error"] == {"name": "Interrupted", "message": "SIGINT", "isRetryable": True}
    go_on(log, world, RESUMED)
    assert short(stream(log.events))[4:] == (
        "startRun/2 resumeToolCalls/2 resolveToolResults/2 finishToolCall/2 continueToNextStep/2 "
        "startGeneration/3 completeRun/3".split()
    )


def test_a_lost_process_leaves_its_step_to_the_next():
    world = World({("", 1): says("", call("a"))})
    log = until_stopped(world, 4)
    go_on(log, world, RESUMED)
    assert short(stream(log.events)) == (
        "startRun/1 startGeneration/1 callTools/1 "
        "startRun/1 resumeToolCalls/1 resolveToolResults/1 finishToolCall/1 continueToNextStep/1 "
        "startGeneration/2 completeRun/2".split()
    )


def test_a_lost_answer_is_told_when_it_is_found_in_the_log():
    world = World({("", 1): says("hi")})
    log = until_stopped(world, 3)
    go_on(log, world, RESUMED)
    assert short(stream(log.events)) == (
        "startRun/1 startGeneration/1 startRun/1 startGeneration/1 completeRun/1".split()
    )


def test_a_bug_between_delegates_is_the_last_word_of_the_root():
    world = World({("", 1): says("", delegate("d"))})
    log = until_stopped(world, 3, stop=Stopped(reason="bug", what="ValueError: x"))
    told = stream(log.events)
    assert short(told)[-2:] == "startRun/2 stopRunByError/2".split()
    go_on(log, world, RESUMED)
    assert short(stream(log.events))[len(short(told)) :] == (
        "startRun/3 resumeToolCalls/3 callDelegate/3 stopRunByDelegate/3 "
        "startRun/4:scout startGeneration/4:scout completeRun/4:scout "
        "startRun/5 finishAllToolCalls/5 continueToNextStep/5 startGeneration/6 completeRun/6".split()
    )


def test_words_to_a_finished_job_begin_a_segment():
    world = World({("", 1): says("hi"), ("", 2): says("short")})
    _, log = run(world)
    go_on(log, world, RESUMED, WORDS)
    told = stream(log.events, full=True)
    assert short(told)[3:] == "startRun/2 startGeneration/2 completeRun/2".split()
    start = told[-3]
    assert start["initialCheckpoint"]["status"] == "completed"
    assert start["inputMessages"][0]["contents"][0]["text"] == WORDS.text
    assert told[-4]["query"] == WORDS.text


def test_words_to_a_stopped_job_begin_one_segment_and_not_two():
    world = World({("", 1): says("", call("a"))})
    log = until_stopped(world, 5, stop=INTERRUPTED)
    go_on(log, world, RESUMED, WORDS)
    assert short(stream(log.events, full=True))[6:] == (
        "startGeneration/2 stopRunByError/2 startRun/3 startGeneration/3 completeRun/3".split()
    )


def test_words_said_while_tools_run_begin_a_segment_after_their_step():
    world = World({("", 1): says("", call("a"))})
    log = until_stopped(world, 4)
    go_on(log, world, WORDS)
    told = stream(log.events, full=True)
    assert short(told)[2:] == (
        "callTools/1 resolveToolResults/1 finishToolCall/1 continueToNextStep/1 "
        "startRun/2 startGeneration/2 completeRun/2".split()
    )


def test_words_said_while_a_delegate_works_begin_a_segment_after_its_return():
    world = World({("", 1): says("", delegate("d"))})
    log = until_stopped(world, 4)
    go_on(log, world, WORDS)
    assert short(stream(log.events, full=True))[8:] == (
        "startRun/3 finishAllToolCalls/3 continueToNextStep/3 "
        "startRun/4 startGeneration/4 completeRun/4".split()
    )


def test_a_rewound_job_goes_on_from_that_place_with_new_ids():
    world = World({("", 1): says("", call("a")), ("", 2): says("one")})
    _, log = run(world)
    job = rewind(log, to=5)
    world.script = {("", 2): says("two")}
    go_on(log, world)
    told = stream(log.events, full=True)
    assert job.done is None
    assert short(told)[7:] == ("completeRun/2 startRun/2 startGeneration/2 completeRun/2".split())
    one, two = (event["checkpoint"]["messages"][-1] for event in told if "text" in event)
    assert one["contents"][0]["text"] == "one"
    assert two["contents"][0]["text"] == "two"
    assert one["id"] != two["id"]
