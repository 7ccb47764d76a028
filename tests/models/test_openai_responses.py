"""Responses: what is streamed becomes a reply that can be sent back, what is asked goes to the right place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perstack.definition import ProviderAccess
from perstack.job import (
    Call,
    ExpertMessage,
    File,
    History,
    Message,
    Text,
    Thought,
    ToolMessage,
    Usage,
    UserMessage,
    said,
)
from perstack.models.catalog import traits_of
from perstack.models.model import Delta, Request, ToolSpec
from perstack.models.wires.openai_responses import AZURE_RESPONSES, RESPONSES
from perstack.models.wires.wire import Pieces

from .streams import (
    Event,
    complete_after,
    decoded,
    error_of,
    reply_of,
    request,
    same_in_bytes,
    sse,
)

USAGE = {
    "input_tokens": 200,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens": 60,
    "output_tokens_details": {"reasoning_tokens": 40},
    "total_tokens": 260,
}
REASONING: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [
        {"type": "summary_text", "text": "**Looking**"},
        {"type": "summary_text", "text": "Two files."},
    ],
    "encrypted_content": "gAAA==",
}
MESSAGE: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "phase": "commentary",
    "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
}


def function(number: int, name: str, arguments: str, **more: str) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{number}",
        "name": name,
        "arguments": arguments,
        "status": "completed",
    } | more


def event(kind: str, **fields: Any) -> Event:
    return {"type": f"response.{kind}", "sequence_number": 1, **fields}


def delta(kind: str, place: int, text: str) -> Event:
    return event(f"{kind}.delta", output_index=place, item_id="x", delta=text)


def item(place: int, whole: dict[str, Any], *between: Event) -> list[Event]:
    empty: dict[str, Any] = whole | {
        "content": [],
        "summary": [],
        "arguments": "",
        "status": "in_progress",
    }
    return [
        event("output_item.added", output_index=place, item=empty),
        *between,
        event("output_item.done", output_index=place, item=whole),
    ]


def ended(kind: str = "completed", *output: dict[str, Any], **fields: Any) -> Event:
    response = {"id": "resp_1", "status": kind, "output": output, "usage": USAGE, **fields}
    return event(kind, response=response)


CALLS: list[Event] = [
    event("created", response={"id": "resp_1", "status": "in_progress"}),
    event("in_progress", response={"id": "resp_1", "status": "in_progress"}),
    *item(
        0,
        REASONING,
        event("reasoning_summary_part.added", output_index=0, summary_index=0),
        delta("reasoning_summary_text", 0, "**Look"),
        delta("reasoning_summary_text", 0, "ing**"),
        event("reasoning_summary_text.done", output_index=0, text="**Looking**"),
        event("reasoning_summary_part.added", output_index=0, summary_index=1),
        delta("reasoning_summary_text", 0, "Two files."),
    ),
    *item(
        1,
        MESSAGE,
        event("content_part.added", output_index=1, part={"type": "output_text", "text": ""}),
        delta("output_text", 1, "Let me "),
        delta("output_text", 1, "look."),
        event("output_text.done", output_index=1, text="Let me look."),
    ),
    event("output_item.added", output_index=2, item=function(1, "read_file", "")),
    event("output_item.added", output_index=3, item=function(2, "list_files", "")),
    delta("function_call_arguments", 2, '{"path":'),
    delta("function_call_arguments", 3, "{}"),
    delta("function_call_arguments", 2, '"a.txt"}'),
    event("function_call_arguments.done", output_index=2, arguments='{"path":"a.txt"}'),
    event("output_item.done", output_index=3, item=function(2, "list_files", "{}")),
    event("output_item.done", output_index=2, item=function(1, "read_file", '{"path":"a.txt"}')),
    ended(),
]
CALLED = ExpertMessage(
    thoughts=(
        Thought(text="**Looking**", id="rs_1", signature="gAAA=="),
        Thought(text="Two files.", id="rs_1"),
    ),
    texts=(Text(text="Let me look.", signature="msg_1 commentary"),),
    calls=(
        Call(id="call_1", tool="read_file", args={"path": "a.txt"}, signature="fc_1"),
        Call(id="call_2", tool="list_files", signature="fc_2"),
    ),
    model="openai/gpt-5",
)
GPT = request("gpt-5")


def test_thoughts_words_and_calls_arrive_in_order():
    reply, deltas = decoded(RESPONSES, [sse(CALLS, named=True)], GPT)
    assert deltas == [
        Delta("thought", "**Look"),
        Delta("thought", "ing**"),
        Delta("thought", "\n\n"),
        Delta("thought", "Two files."),
        Delta("text", "Let me "),
        Delta("text", "look."),
    ]
    assert reply.message == CALLED
    assert reply.finish == "calls"
    assert reply.usage == Usage(
        input_tokens=200, output_tokens=60, reasoning_tokens=40, cached_input_tokens=128
    )


def test_where_the_bytes_are_cut_does_not_matter():
    assert same_in_bytes(RESPONSES, sse(CALLS, named=True))


def test_a_reply_is_there_with_the_last_event_and_not_before():
    assert complete_after(RESPONSES, CALLS) == len(CALLS)


def test_what_only_the_closing_event_tells_is_heard():
    events = [ended("completed", REASONING, MESSAGE, function(1, "f", '{"n":1}'))]
    reply = reply_of(RESPONSES, events, GPT)
    assert reply.message.thoughts == CALLED.thoughts
    assert reply.message.texts == CALLED.texts
    assert reply.message.calls == (Call(id="call_1", tool="f", args={"n": 1}, signature="fc_1"),)


def test_an_item_that_was_cut_off_is_what_was_heard_of_it():
    events = [
        event("output_item.added", output_index=0, item=MESSAGE | {"content": []}),
        delta("output_text", 0, "Once upon"),
        event("output_item.added", output_index=1, item=function(1, "f", "")),
        delta("function_call_arguments", 1, '{"path": "a'),
        ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    ]
    reply = reply_of(RESPONSES, events)
    assert reply.finish == "length"
    assert reply.message.text == "Once upon"
    assert reply.message.calls[0].fault == "The arguments were cut off at the model's output limit."


@pytest.mark.parametrize(
    ("events", "finish"),
    [
        ([*item(0, MESSAGE), ended()], "stop"),
        ([ended("incomplete", incomplete_details={"reason": "max_output_tokens"})], "length"),
        ([ended("incomplete", incomplete_details={"reason": "content_filter"})], "refusal"),
        ([*item(0, function(1, "f", "")), ended()], "calls"),
    ],
)
def test_reasons_to_end(events: list[Event], finish: str):
    assert reply_of(RESPONSES, events).finish == finish


def test_a_refusal_is_told_in_its_own_words():
    refusal = MESSAGE | {"content": [{"type": "refusal", "refusal": "I will not."}]}
    reply, deltas = decoded(
        RESPONSES, [sse([*item(0, refusal, delta("refusal", 0, "I will not.")), ended()])]
    )
    assert deltas == [Delta("text", "I will not.")]
    assert (reply.finish, reply.message.text) == ("refusal", "I will not.")


def failed(code: str) -> Event:
    error = {"code": code, "message": "it went wrong"}
    return event("failed", response={"id": "resp_1", "status": "failed", "error": error})


@pytest.mark.parametrize(
    ("broken", "name", "retryable"),
    [
        (failed("server_error"), "ServerError", True),
        (failed("rate_limit_exceeded"), "RateLimited", True),
        (failed("invalid_prompt"), "BadRequest", False),
        (failed("insufficient_quota"), "PaymentRequired", False),
        (failed("misalignment_policy_violation"), "ContentFiltered", False),
        (failed("a_new_one"), "ServerError", True),
        (event("failed", response={"error": None}), "ServerError", True),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow"}, "RateLimited", True),
        ({"type": "error", "error": {"code": "invalid_api_key"}}, "Unauthorized", False),
        ("{", "StreamBroken", True),
    ],
)
def test_what_breaks_a_stream(broken: Event, name: str, retryable: bool):
    error = error_of(RESPONSES, [*CALLS[:4], broken])
    assert (error.name, error.retryable) == (name, retryable)
    assert str(error)


def test_events_and_items_of_the_future_are_passed_over():
    new = {"type": "hologram", "id": "h_1"}
    reply = reply_of(RESPONSES, [event("hologram.delta", delta="x"), *item(9, new), *CALLS], GPT)
    assert reply.message == CALLED


def sent(*messages: Message, model: str = "gpt-5", **more: Any) -> dict[str, Any]:
    asked = Request(model=model, instruction="Be.", history=History(messages), **more)
    return json.loads(RESPONSES.encode(asked, traits_of("openai", model), Pieces()))


RESULTS = (
    ToolMessage(call="call_1", tool="read_file", parts=(Text(text="alpha"),)),
    ToolMessage(call="call_2", tool="list_files", parts=(Text(text="a.txt"),)),
)


def test_what_was_received_is_sent_back_as_it_came():
    body = sent(said("hi"), CALLED, *RESULTS)
    assert body["input"][1:5] == [
        REASONING,
        MESSAGE,
        *(
            {key: value for key, value in call.items() if key != "status"}
            for call in (
                function(1, "read_file", '{"path":"a.txt"}'),
                function(2, "list_files", "{}"),
            )
        ),
    ]


def without_proof(message: ExpertMessage) -> ExpertMessage:
    return ExpertMessage(
        thoughts=(Thought(text="Two files.", id="rs_1"),),
        texts=message.texts,
        calls=message.calls,
        model=message.model,
    )


@pytest.mark.parametrize("case", ["no proof", "another provider", "a model that does not reason"])
def test_items_lose_their_ids_when_their_thoughts_cannot_go_along(case: str):
    message, model = CALLED, "gpt-5"
    if case == "no proof":
        message = without_proof(CALLED)
    elif case == "another provider":
        message = ExpertMessage(
            thoughts=CALLED.thoughts,
            texts=CALLED.texts,
            calls=CALLED.calls,
            model="azure-openai/gpt-5",
        )
    else:
        model = "gpt-4.1"
    items = sent(said("hi"), message, *RESULTS, model=model)["input"]
    assert [entry.get("id") for entry in items] == [None] * len(items)
    assert items[1] == {"role": "assistant", "content": "Let me look."}


def test_azure_reads_its_own_thoughts():
    message = ExpertMessage(
        thoughts=CALLED.thoughts, texts=CALLED.texts, model="azure-openai/gpt-5"
    )
    asked = Request(
        model="gpt-5", instruction="", history=History([said("hi"), message, said("go")])
    )
    body = json.loads(AZURE_RESPONSES.encode(asked, traits_of("openai", "gpt-5"), Pieces()))
    assert body["input"][1] == REASONING


@pytest.mark.parametrize(
    ("model", "reasoning", "effort"),
    [
        ("gpt-5", "minimal", "minimal"),
        ("gpt-5", 1000, "low"),
        ("gpt-5", 4000, "medium"),
        ("gpt-5", 10_000, "high"),
        ("gpt-5", 0, "minimal"),
        ("gpt-5.1", "none", "none"),
        ("gpt-5.1", 0, "none"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.2-pro", "low", "medium"),
        ("gpt-5-pro", "low", "high"),
        ("o3", "minimal", "low"),
        ("o3", "none", "low"),
        ("gpt-4.1", "high", None),
        ("gpt-5-2025-08-07", "high", "high"),
        ("gpt-7", "minimal", "low"),
        ("gpt-7", "none", None),
    ],
)
def test_a_budget_becomes_the_nearest_word_the_model_knows(
    model: str, reasoning: Any, effort: str | None
):
    assert (
        sent(said("hi"), model=model, reasoning=reasoning).get("reasoning", {}).get("effort")
        == effort
    )


def test_a_concluding_request_keeps_its_tools_but_forbids_them():
    tools = (ToolSpec(name="done", description="", schema={}),)
    body = sent(said("hi"), tools=tools, concluding=True)
    assert body["tool_choice"] == "none"
    assert body["tools"][0]["parameters"] == {"type": "object", "properties": {}}


def test_files_that_are_text_are_told_as_text():
    csv = File(data="YSxi", mime_type="text/csv")
    archive = File(data="AAAA", mime_type="application/zip")
    body = sent(UserMessage(parts=(csv, archive)))
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "a,b"},
        {"type": "input_text", "text": "[application/zip: cannot be shown to this model]"},
    ]


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (None, "https://api.openai.com/v1/responses"),
        ("https://api.openai.com", "https://api.openai.com/v1/responses"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/responses"),
    ],
)
def test_openais_address(base: str | None, url: str):
    access = ProviderAccess(provider="openai", base_url=base)
    assert RESPONSES.url(access, GPT) == url


@pytest.mark.parametrize(
    ("base", "settings", "url"),
    [
        (None, {"resourceName": "res"}, "https://res.openai.azure.com/openai/v1/responses"),
        ("https://x.example", {}, "https://x.example/openai/v1/responses"),
        ("https://x.example/openai/", {"apiVersion": "preview"},
         "https://x.example/openai/v1/responses?api-version=preview"),
        (None, {"resourceName": "res", "useDeploymentBasedUrls": True, "apiVersion": "2025-05-01"},
         "https://res.openai.azure.com/openai/deployments/gpt-5/responses?api-version=2025-05-01"),
    ],
)  # fmt: skip
def test_azures_address(base: str | None, settings: dict[str, Any], url: str):
    access = ProviderAccess(provider="azure-openai", api_key="k", base_url=base, settings=settings)
    assert AZURE_RESPONSES.url(access, GPT) == url
    assert AZURE_RESPONSES.headers(access) == {"api-key": "k"}
