"""What Anthropic streams becomes deltas and one reply, or the right error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.errors import ModelError
from perstack.job import Call, ExpertMessage, History, Text, Thought, Usage, said
from perstack.models import Delta, Reply, Request, ToolSpec
from perstack.models.wires.anthropic import ANTHROPIC
from perstack.models.wires.wire import Pieces, Traits

from . import streams
from .anthropic_streams import (
    CALLS,
    PING,
    SPEAKS,
    Event,
    block,
    call,
    ended,
    sse,
    started,
    text,
    thinking,
)

REQUEST = Request(model="claude-sonnet-5-5", instruction="", history=History([said("hi")]))


def decoded(pieces: list[bytes], request: Request = REQUEST) -> tuple[Reply, list[Delta]]:
    return streams.decoded(ANTHROPIC, pieces, request)


def reply_of(*events: Event) -> Reply:
    return decoded([sse(events)])[0]


def test_words_arrive_as_deltas_and_as_one_reply():
    reply, deltas = decoded([sse(SPEAKS)])
    assert deltas == [Delta("text", "Hello"), Delta("text", ", "), Delta("text", "wörld ✓")]
    assert reply == Reply(
        message=ExpertMessage(
            texts=(Text(text="Hello, wörld ✓"),), model="anthropic/claude-sonnet-5-5"
        ),
        usage=Usage(input_tokens=130, output_tokens=42, cached_input_tokens=100),
        finish="stop",
    )


def test_parallel_calls_come_with_their_thoughts_words_and_arguments():
    reply, deltas = decoded([sse(CALLS)])
    assert deltas == [
        Delta("thought", "Two "),
        Delta("thought", "files."),
        Delta("text", "Reading both."),
    ]
    assert reply == Reply(
        message=ExpertMessage(
            thoughts=(Thought(text="Two files.", signature="sig"),),
            texts=(Text(text="Reading both."),),
            calls=(
                Call(id="toolu_a", tool="readTextFile", args={"path": "a.txt"}),
                Call(id="toolu_b", tool="readTextFile", args={"path": "b.txt"}),
                Call(id="toolu_c", tool="todo"),
            ),
            model="anthropic/claude-sonnet-5-5",
        ),
        usage=Usage(input_tokens=10, output_tokens=42, reasoning_tokens=7),
        finish="calls",
    )


@pytest.mark.parametrize("events", [SPEAKS, CALLS], ids=["speaks", "calls"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_does_not_matter_where_the_bytes_are_cut(events: list[Event], data: st.DataObject):
    whole = sse(events)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=40)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert decoded(pieces) == decoded([whole])


def test_a_cut_at_each_single_byte_changes_nothing():
    whole = sse(CALLS)
    expected = decoded([whole])
    for cut in range(1, len(whole)):
        assert decoded([whole[:cut], whole[cut:]]) == expected


@pytest.mark.parametrize("kept", range(len(CALLS)))
def test_a_stream_that_ends_early_is_broken_wherever_it_ends(kept: int):
    with pytest.raises(ModelError) as raised:
        decoded([sse(CALLS[:kept])])
    assert (raised.value.name, raised.value.retryable) == ("StreamBroken", True)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("something_new", "stop"),
    ],
)
def test_each_stop_reason_has_its_finish(reason: str, finish: str):
    assert reply_of(started(), *text(0, "x"), *ended(reason)).finish == finish


def test_a_stop_reason_yet_unknown_with_calls_asks_for_them():
    assert reply_of(started(), *call(0, "t", "todo", "{}"), *ended("new")).finish == "calls"


def test_withheld_thoughts_are_kept_as_they_are():
    reply = reply_of(
        started(),
        *block(0, {"type": "redacted_thinking", "data": "b64=="}),
        *text(1, "ok"),
        *ended("end_turn"),
    )
    assert reply.message.thoughts == (Thought(signature="b64==", redacted=True),)


def test_a_thought_without_words_keeps_its_signature():
    reply = reply_of(started(), *thinking(0), *text(1, "ok"), *ended("end_turn"))
    assert reply.message.thoughts == (Thought(signature="sig"),)


def test_thoughts_between_other_blocks_remember_their_places():
    reply = reply_of(
        started(),
        *thinking(0, "a", signature="s0"),
        *text(1, "words"),
        *thinking(2, "b", signature="s2"),
        *call(3, "t", "todo", "{}"),
        *ended("tool_use"),
    )
    assert [(thought.text, thought.id) for thought in reply.message.thoughts] == [
        ("a", "0"),
        ("b", "2"),
    ]


def test_a_refusal_says_why_if_the_model_says_nothing():
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    reply = reply_of(started(), *ended("refusal", stop_details=details))
    assert (reply.message.text, reply.finish) == ("Not this.", "refusal")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [('{"a": 1', True), ("[1]", True), ("7", True), ("", False), ("{}", False), ("null", False)],
)
def test_arguments_that_are_no_object_are_a_fault_of_the_call(arguments: str, fault: bool):
    reply = reply_of(started(), *call(0, "t", "todo", arguments), *ended("tool_use"))
    (made,) = reply.message.calls
    assert (bool(made.fault), made.args) == (fault, {})


def test_arguments_cut_off_at_the_limit_say_so():
    reply = reply_of(started(), *call(0, "t", "todo", '{"a": "lon'), *ended("max_tokens"))
    assert "cut off" in reply.message.calls[0].fault
    assert reply.finish == "length"


def test_arguments_given_all_at_once_are_taken():
    begun = {"type": "tool_use", "id": "t", "name": "todo", "input": {"a": 1}}
    reply = reply_of(started(), *block(0, begun), *ended("tool_use"))
    assert reply.message.calls[0].args == {"a": 1}


def test_a_tool_renamed_for_the_provider_comes_back_under_its_own_name():
    tool = ToolSpec(name="files.read", description="", schema={"type": "object"})
    request = Request(model="m", instruction="", history=History([said("hi")]), tools=(tool,))

    body = msgspec.json.decode(ANTHROPIC.encode(request, Traits(model="m"), Pieces()))
    sent = body["tools"][0]["name"]
    assert sent != "files.read"
    reply, _ = decoded([sse([started(), *call(0, "t", sent, "{}"), *ended("tool_use")])], request)
    assert reply.message.calls[0].tool == "files.read"


@pytest.mark.parametrize(
    ("error", "name", "retryable"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "Overloaded", True),
        ({"type": "api_error", "message": "Internal"}, "ServerError", True),
        ({"type": "rate_limit_error", "message": "Slow down"}, "RateLimited", True),
        ({"type": "invalid_request_error", "message": "No"}, "BadRequest", False),
        ({"type": "quite_new_error", "message": "?"}, "ServerError", True),
    ],
)
def test_an_error_in_mid_stream_is_the_reply_failing(
    error: dict[str, Any], name: str, retryable: bool
):
    told: Event = {"type": "error", "error": error}
    with pytest.raises(ModelError) as raised:
        reply_of(started(), *text(0, "half an ans"), told)
    assert (raised.value.name, raised.value.retryable) == (name, retryable)
    assert str(raised.value) == error["message"]


def test_an_event_that_is_no_json_breaks_the_stream():
    with pytest.raises(ModelError) as raised:
        decoded([sse([started()]) + b"event: ping\ndata: {not json\n\n"])
    assert (raised.value.name, raised.value.retryable) == ("StreamBroken", True)


def test_events_and_blocks_yet_unknown_are_passed_over():
    reply = reply_of(
        started(),
        {"type": "weather", "index": 0},
        *block(0, {"type": "server_tool_use", "id": "s", "name": "web_search"}),
        *block(1, {"type": "text", "text": ""}, {"type": "citations_delta", "citation": {}}),
        *text(2, "ok"),
        PING,
        *ended("end_turn"),
    )
    assert reply.message.text == "ok"


@pytest.mark.parametrize(
    ("status", "body", "name", "retryable"),
    [
        (400, {"type": "invalid_request_error", "message": "bad"}, "BadRequest", False),
        (400, {"type": "invalid_request_error", "message": "prompt is too long: 3 > 2"}, "ContextTooLong", False),
        (401, {"type": "authentication_error", "message": "invalid x-api-key"}, "Unauthorized", False),
        (403, {"type": "permission_error", "message": "no"}, "Forbidden", False),
        (404, {"type": "not_found_error", "message": "model: x"}, "NotFound", False),
        (413, {"type": "request_too_large", "message": "big"}, "RequestTooLarge", False),
        (429, {"type": "rate_limit_error", "message": "slow"}, "RateLimited", True),
        (500, {"type": "api_error", "message": "oops"}, "ServerError", True),
        (529, {"type": "overloaded_error", "message": "busy"}, "Overloaded", True),
    ],
)  # fmt: skip
def test_error_answers_say_what_the_provider_said(
    status: int, body: dict[str, str], name: str, retryable: bool
):

    error = ANTHROPIC.failure(status, msgspec.json.encode({"type": "error", "error": body}))
    assert (error.name, error.retryable, error.status) == (name, retryable, status)
    assert str(error) == body["message"]


def test_an_error_page_of_a_proxy_is_told_in_short():
    error = ANTHROPIC.failure(502, b"<html><h1>Bad gateway</h1>\n" + b"<p>x" * 5000)
    assert (error.name, error.retryable) == ("ServerError", True)
    assert str(error).startswith("Bad gateway x")
    assert len(str(error)) <= 300
