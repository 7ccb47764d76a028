"""Gemini: what is streamed becomes a reply that can be sent back, what is asked goes to the right place."""

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
    Image,
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
from perstack.models.wires.google import GEMINI, NO_SIGNATURE, TOOL_NAME
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

FLASH = request("gemini-3.8-flash")


def chunk(*parts: dict[str, Any], finish: str = "", **fields: Any) -> Event:
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": parts}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-3.8-flash", **fields}


def counts(**tokens: int) -> dict[str, Any]:
    return {"usageMetadata": {f"{name}TokenCount": count for name, count in tokens.items()}}


def called(name: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {}} | more}


CALLS: list[Event] = [
    chunk({"text": "**Looking**", "thought": True}, **counts(prompt=90, cachedContent=64)),
    chunk({"text": " at two files.", "thought": True}),
    chunk({"text": "Let me "}, **counts(prompt=90, candidates=3, thoughts=20)),
    chunk({"text": "look."}),
    chunk(
        called("read_file", id="a1", args={"path": "a.txt"}) | {"thoughtSignature": "c2ln"},
        called("list_files", id="a2"),
    ),
    chunk({"text": ""}, finish="STOP", **counts(prompt=90, candidates=30, thoughts=20, total=140)),
]
CALLED = ExpertMessage(
    thoughts=(Thought(text="**Looking** at two files."),),
    texts=(Text(text="Let me look."),),
    calls=(
        Call(id="a1", tool="read_file", args={"path": "a.txt"}, signature="c2ln"),
        Call(id="a2", tool="list_files"),
    ),
    model="google/gemini-3.8-flash",
)


def test_thoughts_words_and_calls_arrive_in_order():
    reply, deltas = decoded(GEMINI, [sse(CALLS)], FLASH)
    assert deltas == [
        Delta("thought", "**Looking**"),
        Delta("thought", " at two files."),
        Delta("text", "Let me "),
        Delta("text", "look."),
    ]
    assert reply.message == CALLED
    assert reply.finish == "calls"


def test_thoughts_are_counted_with_the_output_and_the_cache_with_the_input():
    assert reply_of(GEMINI, CALLS).usage == Usage(
        input_tokens=90, output_tokens=50, reasoning_tokens=20, cached_input_tokens=64
    )


def test_where_the_bytes_are_cut_does_not_matter():
    assert same_in_bytes(GEMINI, sse(CALLS))
    assert same_in_bytes(GEMINI, sse(CALLS).replace(b"\n", b"\r\n"))


def test_a_reply_is_there_with_its_reason_and_not_before():
    assert complete_after(GEMINI, CALLS) == len(CALLS)


def test_a_signature_stays_with_its_part():
    events = [
        chunk({"text": "Al"}),
        chunk({"text": "pha."}),
        chunk({"text": "", "thoughtSignature": "c2ln"}, finish="STOP"),
    ]
    reply = reply_of(GEMINI, events, FLASH)
    assert reply.message.texts == (Text(text="Alpha."), Text(text="", signature="c2ln"))
    assert parts_of(sent(said("hi"), reply.message, said("go")), 1) == [
        {"text": "Alpha."},
        {"text": "", "thoughtSignature": "c2ln"},
    ]


def test_a_signature_alone_is_kept_too():
    reply = reply_of(
        GEMINI, [chunk({"text": "A"}), chunk({"thoughtSignature": "x"}, finish="STOP")]
    )
    assert reply.message.texts == (Text(text="A"), Text(text="", signature="x"))


def test_calls_without_ids_get_ids_of_their_own():
    reply = reply_of(GEMINI, [chunk(called("f"), called("f"), finish="STOP")])
    assert [call.id for call in reply.message.calls] == ["call_1_1", "call_1_2"]


def test_calls_without_arguments_or_name():
    nameless = {"functionCall": {"id": "b"}}
    reply = reply_of(GEMINI, [chunk({"functionCall": {"name": "f"}}, nameless, finish="STOP")])
    first, second = reply.message.calls
    assert (first.args, first.fault) == ({}, "")
    assert second.fault == "The call names no tool."


@pytest.mark.parametrize(
    ("events", "finish"),
    [
        ([chunk({"text": "a"}, finish="STOP")], "stop"),
        ([chunk({"text": "a"}, finish="MAX_TOKENS")], "length"),
        ([chunk({"text": "a"}, finish="CONTINUATION")], "length"),
        ([chunk(finish="SAFETY")], "refusal"),
        ([chunk(finish="PROHIBITED_CONTENT")], "refusal"),
        ([{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}], "refusal"),
        ([chunk(called("f"), finish="STOP")], "calls"),
        ([chunk({"text": "a"}, finish="SOMETHING_NEW")], "stop"),
    ],
)
def test_reasons_to_end(events: list[Event], finish: str):
    assert reply_of(GEMINI, events).finish == finish


def failure(
    status: str, code: int, message: str = "it went wrong", *details: Any
) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message, "details": details}}


@pytest.mark.parametrize(
    ("broken", "name", "retryable"),
    [
        (chunk(finish="MALFORMED_FUNCTION_CALL"), "BadReply", True),
        (chunk(finish="UNEXPECTED_TOOL_CALL"), "BadReply", True),
        (chunk(finish="OTHER"), "BadReply", True),
        (chunk(finish="LANGUAGE"), "BadReply", False),
        (failure("UNAVAILABLE", 503, "The model is overloaded."), "Overloaded", True),
        (failure("INTERNAL", 500), "ServerError", True),
        (failure("INVALID_ARGUMENT", 400), "BadRequest", False),
        ({"error": {"status": "RESOURCE_EXHAUSTED"}}, "RateLimited", True),
        ("{", "StreamBroken", True),
    ],
)
def test_what_breaks_a_stream(broken: Event, name: str, retryable: bool):
    error = error_of(GEMINI, [chunk({"text": "Hel"}), broken])
    assert (error.name, error.retryable) == (name, retryable)
    assert str(error)


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14.5s"}
DAILY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


@pytest.mark.parametrize(
    ("status", "body", "name", "retryable", "wait"),
    [
        (429, failure("RESOURCE_EXHAUSTED", 429, "slow", RETRY), "RateLimited", True, 14.5),
        (429, failure("RESOURCE_EXHAUSTED", 429, "slow", DAILY, RETRY), "PaymentRequired", False, None),
        (503, failure("UNAVAILABLE", 503), "Overloaded", True, None),
        (400, failure("INVALID_ARGUMENT", 400, "API key not valid.", BAD_KEY), "Unauthorized", False, None),
        (400, failure("INVALID_ARGUMENT", 400, "The input token count (9) exceeds the maximum number of tokens"),
         "ContextTooLong", False, None),
        (400, failure("FAILED_PRECONDITION", 400, "Please enable billing"), "PaymentRequired", False, None),
        (403, failure("PERMISSION_DENIED", 403), "Forbidden", False, None),
        (404, failure("NOT_FOUND", 404), "NotFound", False, None),
        (500, [failure("INTERNAL", 500)], "ServerError", True, None),
    ],
)  # fmt: skip
def test_what_refusals_mean(status: int, body: Any, name: str, retryable: bool, wait: float | None):
    error = GEMINI.failure(status, json.dumps(body).encode())
    assert (error.name, error.retryable, error.retry_after_s) == (name, retryable, wait)


def test_a_page_instead_of_an_error_is_told_in_a_few_words():
    error = GEMINI.failure(404, b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>")
    assert (str(error), error.name) == ("Error 404 (Not Found)!!1", "NotFound")


def sent(*messages: Message, model: str = "gemini-3.8-flash", **more: Any) -> dict[str, Any]:
    asked = Request(model=model, instruction="", history=History(messages), **more)
    return json.loads(GEMINI.encode(asked, traits_of("google", model), Pieces()))


def parts_of(body: dict[str, Any], place: int) -> list[dict[str, Any]]:
    return body["contents"][place]["parts"]


def test_what_another_provider_signed_is_not_sent():
    foreign = ExpertMessage(
        thoughts=CALLED.thoughts,
        texts=(Text(text="Hi.", signature="msg_1"), Text(text="", signature="x")),
        calls=(Call(id="c", tool="f", signature="fc_1"),),
        model="google-vertex/gemini-3.8-flash",
    )
    result = ToolMessage(call="c", tool="f", parts=(Text(text="ok"),))
    assert parts_of(sent(said("hi"), foreign, result), 1) == [
        {"text": "Hi."},
        {"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": NO_SIGNATURE},
    ]


SHOWN = (
    ToolMessage(
        call="a1",
        tool="read_file",
        parts=(
            Image(data="AAAA", mime_type="image/png"),
            Image(data="BBBB", mime_type="image/gif"),
        ),
    ),
    ToolMessage(call="a2", tool="list_files", parts=(Text(text="none"),), is_error=True),
)


def test_results_of_one_turn_are_one_content_and_files_go_where_the_model_takes_them():
    body = sent(said("hi"), CALLED, *SHOWN)
    first, second = parts_of(body, 2)
    assert first["functionResponse"]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    ]
    assert second["functionResponse"]["response"] == {"error": "none"}
    assert parts_of(body, 3) == [
        {"text": "Shown by read_file (call a1):"},
        {"inlineData": {"mimeType": "image/gif", "data": "BBBB"}},
    ]
    older = sent(said("hi"), CALLED, *SHOWN, model="gemini-2.5-flash")
    assert "parts" not in parts_of(older, 2)[0]["functionResponse"]
    assert len(parts_of(older, 3)) == 3


def test_files_that_are_text_are_told_as_text():
    parts = (
        File(data="YSxi", mime_type="text/csv"),
        File(data="AAAA", mime_type="application/zip"),
        File(data="JVBERi0=", mime_type="application/pdf"),
    )
    assert parts_of(sent(UserMessage(parts=parts)), 0) == [
        {"text": "a,b"},
        {"text": "[application/zip: cannot be shown to this model]"},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
    ]


def test_the_first_word_is_a_users():
    body = sent(CALLED, *SHOWN)
    assert [content["role"] for content in body["contents"][:2]] == ["user", "model"]


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking"),
    [
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", 0, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", 777, {"thinkingBudget": 777, "includeThoughts": True}),
        ("gemini-3.8-flash", "none", {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3.6-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.6-flash", 4000, {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-5-xenon", "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-5-xenon", "none", None),
    ],
)
def test_a_budget_is_said_as_the_model_wants_it(model: str, reasoning: Any, thinking: Any):
    body = sent(said("hi"), model=model, reasoning=reasoning)
    assert body.get("generationConfig", {}).get("thinkingConfig") == thinking


def test_a_concluding_request_keeps_its_tools_but_forbids_them():
    tools = (ToolSpec(name="done", description="", schema={"type": "object"}),)
    body = sent(said("hi"), tools=tools, concluding=True)
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    assert body["tools"]


def test_a_tool_gets_its_own_name_back():
    asked = request("gemini-3.8-flash", "1 & 2")
    told = json.loads(GEMINI.encode(asked, traits_of("google", asked.model), Pieces()))
    name = told["tools"][0]["functionDeclarations"][0]["name"]
    assert TOOL_NAME.fullmatch(name)
    reply = reply_of(GEMINI, [chunk(called(name), finish="STOP")], asked)
    assert reply.message.calls[0].tool == "1 & 2"


@pytest.mark.parametrize(
    ("base", "model", "url"),
    [
        (None, "g", "https://generativelanguage.googleapis.com/v1beta/models/g"),
        ("https://x.example/", "g", "https://x.example/v1beta/models/g"),
        ("https://x.example/v1", "g", "https://x.example/v1/models/g"),
        (None, "tunedModels/a", "https://generativelanguage.googleapis.com/v1beta/tunedModels/a"),
    ],
)
def test_addresses(base: str | None, model: str, url: str):
    access = ProviderAccess(provider="google", api_key="k", base_url=base, headers={"X-A": "b"})
    assert GEMINI.url(access, request(model)) == f"{url}:streamGenerateContent?alt=sse"
    assert GEMINI.headers(access) == {"x-goog-api-key": "k", "X-A": "b"}


def test_a_conversation_is_sent_the_same_as_it_grows():
    row = traits_of("google", "gemini-3.8-flash")
    pieces, history = Pieces(), History([said("hi")])
    for _ in range(3):
        history = history.plus(CALLED, *SHOWN)
        asked = Request(model="gemini-3.8-flash", instruction="Be.", history=history)
        assert GEMINI.encode(asked, row, pieces) == GEMINI.encode(asked, row, Pieces())
