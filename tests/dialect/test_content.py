"""What events, checkpoints and steps say, beyond their names."""

from __future__ import annotations

from msgspec.structs import replace

from perstack.definition import Limits
from perstack.dialect import checkpoint_of, tell, voice_of
from perstack.job import Failure, ModelChoice, Resumed, Stopped, Usage, fold
from tests.job.driver import PRICE, World, call, delegate, done, opening, run, says

from .teller import (
    WINDOW,
    Wire,
    all_of,
    answer,
    ask,
    go_on,
    lines,
    only,
    stream,
    until_stopped,
    voice,
)

LATER = Failure(name="Overloaded", message="later", retryable=True)
TOKENS = PRICE.input_tokens + PRICE.output_tokens


def usage(times: int) -> Wire:
    return {
        "inputTokens": PRICE.input_tokens * times,
        "outputTokens": PRICE.output_tokens * times,
        "reasoningTokens": PRICE.reasoning_tokens * times,
        "totalTokens": TOKENS * times,
        "cachedInputTokens": PRICE.cached_input_tokens * times,
    }


def test_a_job_says_first_what_it_runs_with():
    _, log = run(World(), Limits(max_steps=7, max_retries=2, timeout_s=1.5))
    told = stream(log.events)[0]
    assert {name: told[name] for name in told if name not in ("id", "timestamp")} == {
        "type": "initializeRuntime",
        "jobId": "job",
        "runId": "root",
        "runtimeVersion": "0.1.0",
        "runtime": "local",
        "expertName": "lead",
        "experts": list(fold(log.events).lock.experts),
        "model": "claude-sonnet-4-5",
        "maxSteps": 7,
        "maxRetries": 2,
        "timeout": 1500,
        "query": "Go",
    }


def test_a_run_starts_with_its_instruction_and_the_query():
    _, log = run(World())
    start = only(stream(log.events, full=True), "startRun")
    assert [message["type"] for message in start["inputMessages"]] == [
        "instructionMessage",
        "userMessage",
    ]
    assert start["inputMessages"][0]["cache"] is True
    assert start["inputMessages"][0]["contents"][0]["text"] == "Lead."
    assert start["inputMessages"][1]["contents"][0]["text"] == "Go"
    assert start["initialCheckpoint"]["messages"] == []
    assert start["initialCheckpoint"]["status"] == "init"
    assert start["initialCheckpoint"]["contextWindowUsage"] == 0
    assert "retryCount" not in start["initialCheckpoint"]


def test_timestamps_are_whole_milliseconds():
    _, log = run(World())
    timestamps = [event["timestamp"] for event in stream(log.events)]
    assert timestamps == [1_002_000, 1_002_000, 1_002_000, 1_004_000]


def test_a_reply_is_told_as_thinking_text_and_calls_in_the_order_of_their_kinds():
    calls = (ask("q"), delegate("d"), call("a"), done("z"))
    _, log = run(World({("", 1): says("Let me see.", *calls, thought="Hm.")}))
    event = only(stream(log.events), "callTools")
    kinds = [part["type"] for part in event["newMessage"]["contents"]]
    assert kinds == ["thinkingPart", "textPart", *["toolCallPart"] * 4]
    parts = event["newMessage"]["contents"][2:]
    assert [part["toolCallId"] for part in parts] == ["a", "z", "d", "q"]
    assert [(made["id"], made["skillName"]) for made in event["toolCalls"]] == [
        ("a", "files"),
        ("z", "@perstack/base"),
        ("d", "scout"),
        ("q", "person"),
    ]


def test_a_step_holds_what_is_new_in_it():
    world = World({("", 1): says("", call("a"), call("b")), ("", 2): says("", call("c"))})
    _, log = run(world)
    one, two = all_of(stream(log.events), "continueToNextStep")
    for event, ids in ((one, ["a", "b"]), (two, ["c"])):
        step = event["step"]
        assert [message["type"] for message in step["newMessages"]] == [
            "expertMessage",
            "toolMessage",
        ]
        assert [made["id"] for made in step["toolCalls"]] == ids
        assert [result["id"] for result in step["toolResults"]] == ids
        assert step["usage"] == usage(1)
        assert step["startedAt"] < step["finishedAt"] == event["timestamp"]
    assert [message["type"] for message in one["step"]["inputMessages"]] == [
        "instructionMessage",
        "userMessage",
    ]
    assert two["step"]["inputMessages"] == []


def test_results_are_told_in_the_order_of_the_calls_whichever_came_first():
    world = World({("", 1): says("", call("a"), call("b"))})
    _, log = run(world, pick=lambda count: count - 1)
    event = only(stream(log.events), "resolveToolResults")
    assert [result["result"][0]["text"] for result in event["toolResults"]] == [
        "read ok",
        "read ok",
    ]
    assert [result["id"] for result in event["toolResults"]] == ["a", "b"]


def test_usage_adds_up_over_the_steps():
    _, log = run(World({("", 1): says("", call("a"))}))
    told = stream(log.events)
    assert only(told, "continueToNextStep")["checkpoint"]["usage"] == usage(1)
    end = only(told, "completeRun")
    assert end["checkpoint"]["usage"] == usage(2)
    assert end["usage"] == end["step"]["usage"] == usage(1)


def test_a_run_completed_by_the_words_of_its_call_has_no_closing_usage():
    _, log = run(World({("", 1): says("That is all.", done())}))
    end = only(stream(log.events), "completeRun")
    assert end["usage"] == usage(0)
    assert end["step"]["usage"] == usage(1)
    assert end["text"] == "That is all."


def test_a_single_delegate_counts_on_from_its_parent():
    _, log = run(World({("", 1): says("", delegate("d"))}))
    told = stream(log.events)
    parent, child, back = all_of(told, "startRun")
    assert parent["initialCheckpoint"]["usage"] == usage(0)
    assert child["initialCheckpoint"]["usage"] == usage(1)
    assert back["initialCheckpoint"]["usage"] == usage(2)
    assert all_of(told, "completeRun")[-1]["checkpoint"]["usage"] == usage(3)


def test_parallel_delegates_count_from_zero_and_their_parent_adds_them_up():
    _, log = run(World({("", 1): says("", delegate("d"), delegate("e"))}))
    told = stream(log.events)
    _, one, two, back = all_of(told, "startRun")
    assert one["initialCheckpoint"]["usage"] == two["initialCheckpoint"]["usage"] == usage(0)
    assert back["initialCheckpoint"]["usage"] == usage(3)
    assert all_of(told, "completeRun")[-1]["checkpoint"]["usage"] == usage(4)


def test_the_window_is_filled_by_the_last_request_alone():
    _, log = run(World({("", step): says("", call("a")) for step in range(1, 5)}))
    for event in all_of(stream(log.events), "continueToNextStep"):
        assert event["checkpoint"]["contextWindow"] == WINDOW
        assert event["checkpoint"]["contextWindowUsage"] == TOKENS / WINDOW


def test_the_window_is_that_of_the_model_in_use():
    world = World({("", 1): says("", call("a"))})
    log = until_stopped(world, 4)
    unknown = ModelChoice(provider="openai", model="unheard-of")
    go_on(log, world, Resumed(model=unknown))
    told = stream(log.events)
    assert all_of(told, "startRun")[0]["initialCheckpoint"]["contextWindow"] == WINDOW
    assert "contextWindow" not in all_of(told, "startRun")[1]["initialCheckpoint"]
    assert "contextWindowUsage" not in told[-1]["checkpoint"]


def test_a_delegate_knows_who_called_it():
    _, log = run(World({("", 1): says("", delegate("d", "Look around"))}))
    told = stream(log.events)
    stop = only(told, "stopRunByDelegate")
    child = all_of(told, "startRun")[1]
    assert child["initialCheckpoint"]["delegatedBy"] == {
        "expert": {"key": "lead", "name": "lead", "version": "1.0.0"},
        "toolCallId": "d",
        "toolName": "scout",
        "checkpointId": stop["checkpoint"]["id"],
        "runId": stop["runId"],
    }
    assert stop["checkpoint"]["delegateTo"] == [
        {
            "expert": {"key": "scout", "name": "scout", "version": "1.0.0"},
            "toolCallId": "d",
            "toolName": "scout",
            "query": "Look around",
        }
    ]
    assert stop["checkpoint"]["partialToolResults"] == []
    assert "pendingToolCalls" not in stop["checkpoint"]
    assert [made["id"] for made in stop["step"]["pendingToolCalls"]] == ["d"]


def test_a_parent_goes_on_with_the_answer_of_its_delegate():
    world = World({("", 1): says("", delegate("d")), ("/1.1", 1): says("All clear.")})
    _, log = run(world)
    told = stream(log.events, full=True)
    back = all_of(told, "initializeRuntime")[-1]
    assert back["interactiveToolCall"] == {
        "toolCallId": "d",
        "toolName": "scout",
        "skillName": "delegate/scout",
        "text": "All clear.",
    }
    start = all_of(told, "startRun")[-1]
    assert start["inputMessages"] == []
    assert start["initialCheckpoint"]["status"] == "stoppedByDelegate"
    (result,) = start["initialCheckpoint"]["partialToolResults"]
    assert (result["skillName"], result["result"][0]["text"]) == ("delegate/scout", "All clear.")


def test_mixed_calls_wait_in_the_checkpoint_with_the_results_so_far():
    _, log = run(World({("", 1): says("", call("a"), delegate("d"), ask("q"))}))
    told = stream(log.events)
    delegated = only(told, "stopRunByDelegate")["checkpoint"]
    assert [result["id"] for result in delegated["partialToolResults"]] == ["a"]
    assert [waiting["id"] for waiting in delegated["pendingToolCalls"]] == ["q"]
    stop = only(told, "stopRunByInteractiveTool")["checkpoint"]
    assert [result["id"] for result in stop["partialToolResults"]] == ["a", "d"]
    assert [waiting["id"] for waiting in stop["pendingToolCalls"]] == ["q"]


def test_the_answer_of_a_person_is_told_with_its_skill():
    world = World({("", 1): says("", ask("q"))})
    _, log = run(world)
    go_on(log, world, answer("q", "blue"))
    told = stream(log.events)
    again = all_of(told, "initializeRuntime")[-1]
    assert again["interactiveToolCall"] == {
        "toolCallId": "q",
        "toolName": "askUser",
        "skillName": "person",
        "text": "blue",
    }
    (result,) = all_of(told, "startRun")[-1]["initialCheckpoint"]["partialToolResults"]
    assert result["result"][0]["text"] == "blue"


def test_failed_requests_are_counted_in_a_row_and_forgotten_after_one_that_works():
    world = World({("", 1): (LATER, LATER, says("", call("a")))})
    _, log = run(world)
    counts = [
        event["checkpoint"]["retryCount"]
        for event in stream(log.events)
        if event["type"] in ("continueToNextStep", "completeRun")
    ]
    assert counts == [1, 2, 0, 0]


def test_an_error_is_in_the_checkpoint_that_it_made():
    _, log = run(World({("", 1): Failure(name="Unauthorized", message="no", status=401)}))
    stop = only(stream(log.events), "stopRunByError")
    assert stop["checkpoint"]["error"] == stop["error"]


def test_a_limit_other_than_that_of_steps_is_an_error_with_its_name():
    log = until_stopped(World(), 2, stop=Stopped(reason="limit", what="maxTokens 100", run="root"))
    stop = only(stream(log.events), "stopRunByError")
    assert stop["error"] == {
        "name": "LimitReached",
        "message": "maxTokens 100",
        "isRetryable": True,
    }


def test_an_interrupted_step_keeps_its_open_calls_and_its_results():
    world = World({("", 1): says("", call("a"), call("b"))})
    stop = Stopped(reason="interrupted", what="SIGTERM")
    log = until_stopped(world, 6, stop=stop)
    told = only(stream(log.events), "stopRunByError")["checkpoint"]
    assert [result["id"] for result in told["partialToolResults"]] == ["a"]
    assert [waiting["id"] for waiting in told["pendingToolCalls"]] == ["b"]


def test_names_and_arguments_a_model_made_up_are_told_as_the_schemas_allow():
    odd = replace(call("a"), tool="t" * 400, skill="", fault="no", args={"": 1, "b": 2})
    _, log = run(World({("", 1): says("", odd)}))
    (made,) = only(stream(log.events), "callTools")["toolCalls"]
    assert made == {"id": "a", "skillName": "unknown", "toolName": "t" * 255, "args": {"b": 2}}


def test_a_checkpoint_of_another_vendors_runtime_says_so():
    start, root = opening()
    events = [replace(start, runtime="gemini", seq=1), replace(root, seq=2)]
    assert only(stream(events, ended=False), "startRun")["initialCheckpoint"]["metadata"] == {
        "runtime": "gemini"
    }


def test_a_run_as_it_stands_can_be_had_as_a_checkpoint():
    world = World({("", 1): says("", call("a"), ask("q"))})
    job, log = run(world)
    checkpoint = checkpoint_of(voice_of(log.events, voice()), job)
    assert checkpoint.status == "stoppedByInteractiveTool"
    assert checkpoint.messages is not None
    assert len(checkpoint.messages) == 3
    assert checkpoint.pending_tool_calls is not None
    assert [waiting.id for waiting in checkpoint.pending_tool_calls] == ["q"]


def test_every_compact_line_is_as_long_after_many_steps_as_after_few():
    def longest(steps: int) -> dict[str, int]:
        world = World({("", n): says("words", call("a"), thought="hm") for n in range(10, steps)})
        world.script = {
            **world.script,
            **{("", n): says("words", call("a"), thought="hm") for n in range(1, 10)},
        }
        _, log = run(world, Limits(max_steps=1_000))
        sizes: dict[str, int] = {}
        for event in tell(log.events):
            kind = type(event).__name__
            (line,) = lines([event])
            sizes[kind] = max(sizes.get(kind, 0), len(line))
        return sizes

    few, many = longest(20), longest(120)
    digits = 40  # numbers of tokens and steps have a few digits more
    assert all(many[kind] <= few[kind] + digits for kind in few)


def test_usage_that_a_failure_cost_is_counted():
    _, log = run(World({("", 1): (LATER, says("hi"))}))
    told = stream(log.events)
    assert only(told, "retry")["usage"]["inputTokens"] == 1
    total = only(told, "completeRun")["checkpoint"]["usage"]["inputTokens"]
    assert total == 1 + PRICE.input_tokens
    assert fold(log.events).usage == Usage(input_tokens=1) + PRICE
