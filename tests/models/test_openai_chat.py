"""Chat Completions: what is streamed becomes a reply, what is asked goes to the right place."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from perstack.definition import ProviderAccess
from perstack.job import Call, ExpertMessage, History, Text, Thought, ToolMessage, Usage, said
from perstack.models.catalog import default_model, ending, traits_of
from perstack.models.model import Delta, Request, ToolSpec
from perstack.models.wires.openai_chat import CHAT
from perstack.models.wires.wire import Pieces, Traits

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


def chunk(finish: str | None = None, **delta: Any) -> Event:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_763_000_000,
        "model": "deepseek-flash",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}],
    }


def fragment(index: int | None, arguments: str = "", **head: str) -> Event:
    function = {"arguments": arguments} | ({"name": head["name"]} if "name" in head else {})
    call: dict[str, Any] = {"function": function}
    if index is not None:
        call["index"] = index
    if "id" in head:
        call |= {"id": head["id"], "type": "function"}
    return chunk(tool_calls=[call])


def counted(**usage: Any) -> Event:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage}


USAGE = counted(
    prompt_tokens=120,
    completion_tokens=30,
    total_tokens=150,
    prompt_tokens_details={"cached_tokens": 64},
    completion_tokens_details={"reasoning_tokens": 11},
)
SPEAKS: list[Event] = [
    chunk(role="assistant", content=""),
    chunk(content="Héllo"),
    chunk(content=", 世界"),
    chunk(finish="stop"),
    USAGE,
    "[DONE]",
]
CALLS: list[Event] = [
    chunk(role="assistant", content=None, reasoning_content="Both"),
    chunk(reasoning_content=" files."),
    chunk(content="Let me look."),
    fragment(0, id="call_1", name="read_file"),
    fragment(1, id="call_2", name="list_files"),
    fragment(0, '{"path":'),
    fragment(1, "{}"),
    fragment(0, '"a.txt"}'),
    chunk(finish="tool_calls"),
    USAGE,
    "[DONE]",
]


def test_words_arrive_as_deltas_and_as_one_reply():
    reply, deltas = decoded(CHAT, [sse(SPEAKS)])
    assert deltas == [Delta("text", "Héllo"), Delta("text", ", 世界")]
    assert reply.message == ExpertMessage(texts=(Text(text="Héllo, 世界"),))
    assert reply.usage == Usage(
        input_tokens=120, output_tokens=30, reasoning_tokens=11, cached_input_tokens=64
    )
    assert reply.finish == "stop"


def test_calls_whose_fragments_mix_are_told_apart():
    reply, deltas = decoded(CHAT, [sse(CALLS)])
    assert deltas == [
        Delta("thought", "Both"),
        Delta("thought", " files."),
        Delta("text", "Let me look."),
    ]
    assert reply.message == ExpertMessage(
        thoughts=(Thought(text="Both files."),),
        texts=(Text(text="Let me look."),),
        calls=(
            Call(id="call_1", tool="read_file", args={"path": "a.txt"}),
            Call(id="call_2", tool="list_files"),
        ),
    )
    assert reply.finish == "calls"


@pytest.mark.parametrize("events", [SPEAKS, CALLS], ids=["words", "calls"])
def test_where_the_bytes_are_cut_does_not_matter(events: list[Event]):
    assert same_in_bytes(CHAT, sse(events))
    assert same_in_bytes(CHAT, sse(events).replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("events", [SPEAKS, CALLS], ids=["words", "calls"])
def test_a_reply_is_there_with_its_reason_and_not_before(events: list[Event]):
    assert complete_after(CHAT, events) == len(events) - 2


def test_a_server_that_gives_no_reason_ends_with_done():
    events = [chunk(content="Hi"), "[DONE]"]
    assert complete_after(CHAT, events) == 2
    assert reply_of(CHAT, events).finish == "stop"


def test_ollamas_thoughts_have_another_name():
    reply = reply_of(CHAT, [chunk(reasoning="Hm."), chunk(content="4"), chunk(finish="stop")])
    assert reply.message.thoughts == (Thought(text="Hm."),)


def test_deepseek_counts_what_was_cached_its_own_way():
    usage = counted(prompt_tokens=10, completion_tokens=2, prompt_cache_hit_tokens=8)
    assert reply_of(CHAT, [chunk(finish="stop"), usage]).usage == Usage(
        input_tokens=10, output_tokens=2, cached_input_tokens=8
    )


def test_calls_without_ids_get_ids_of_their_own():
    reply = reply_of(
        CHAT, [fragment(0, "{}", name="a"), fragment(1, "{}", name="b"), chunk(finish="stop")]
    )
    assert [call.id for call in reply.message.calls] == ["call_1_1", "call_1_2"]
    assert reply.finish == "calls"


def test_equal_ids_are_made_to_differ():
    reply = reply_of(
        CHAT,
        [
            fragment(0, "{}", id="x", name="a"),
            fragment(1, "{}", id="x", name="b"),
            fragment(2, "{}", id="x_1_2", name="c"),
            chunk(finish="tool_calls"),
        ],
    )
    ids = [call.id for call in reply.message.calls]
    assert ids[0] == "x"
    assert len(set(ids)) == 3


def test_whole_calls_at_one_index_are_several():
    by_id = [fragment(0, '{"n":1}', id="a", name="f"), fragment(0, '{"n":2}', id="b", name="f")]
    by_name = [fragment(0, '{"n":1}', name="f"), fragment(0, '{"n":2}', name="f")]
    without_index = [fragment(None, f'{{"n":{n}}}', id=f"c{n}", name="f") for n in (1, 2)]
    for events in (by_id, by_name, without_index):
        reply = reply_of(CHAT, [*events, chunk(finish="tool_calls")])
        assert [call.args for call in reply.message.calls] == [{"n": 1}, {"n": 2}]


def test_a_server_that_repeats_id_and_name_means_one_call():
    reply = reply_of(
        CHAT,
        [
            fragment(0, '{"n":', id="a", name="f"),
            fragment(0, "1}", id="a", name="f"),
            chunk(finish="tool_calls"),
        ],
    )
    assert reply.message.calls == (Call(id="a", tool="f", args={"n": 1}),)


@pytest.mark.parametrize("arguments", ["", "  ", "{}", "null", '"{}"'])
def test_no_arguments_are_none(arguments: str):
    reply = reply_of(CHAT, [fragment(0, arguments, id="a", name="f"), chunk(finish="tool_calls")])
    assert reply.message.calls == (Call(id="a", tool="f"),)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ('{"path": "a', "The arguments are not valid JSON"),
        ("[1]", "The arguments are not a JSON object"),
        ("path=a", "The arguments are not valid JSON"),
    ],
)
def test_arguments_that_do_not_parse_are_the_calls_fault(arguments: str, fault: str):
    (call,) = reply_of(
        CHAT, [fragment(0, arguments, id="a", name="f"), chunk(finish="tool_calls")]
    ).message.calls
    assert call.args == {}
    assert call.fault.startswith(fault)
    assert arguments in call.fault


def test_arguments_cut_off_by_the_limit_are_said_to_be():
    reply = reply_of(CHAT, [fragment(0, '{"a', id="a", name="f"), chunk(finish="length")])
    assert reply.finish == "length"
    assert reply.message.calls[0].fault == "The arguments were cut off at the model's output limit."


def test_a_call_without_a_name_is_a_fault():
    reply = reply_of(CHAT, [fragment(0, "{}", id="a"), chunk(finish="tool_calls")])
    assert reply.message.calls[0].fault == "The call names no tool."


def test_a_tool_gets_its_own_name_back():
    asked = request("m", "fs.read")
    body = json.loads(CHAT.encode(asked, Traits(model="m"), Pieces()))
    told = body["tools"][0]["function"]["name"]
    assert "." not in told
    reply = reply_of(CHAT, [fragment(0, "{}", id="a", name=told), chunk(finish="stop")], asked)
    assert reply.message.calls[0].tool == "fs.read"


@pytest.mark.parametrize(
    ("events", "finish"),
    [
        ([chunk(content="a"), chunk(finish="length")], "length"),
        ([chunk(content="a"), chunk(finish="content_filter")], "refusal"),
        ([chunk(refusal="I will not."), chunk(finish="stop")], "refusal"),
        ([fragment(0, "{}", id="a", name="f"), chunk(finish="stop")], "calls"),
        ([chunk(finish="tool_calls")], "stop"),
    ],
)
def test_reasons_to_end(events: list[Event], finish: str):
    assert reply_of(CHAT, events).finish == finish


@pytest.mark.parametrize(
    ("event", "name", "retryable"),
    [
        ({"error": {"message": "try later", "code": "rate_limit_exceeded"}}, "RateLimited", True),
        (
            {"error": {"message": "no money", "code": "insufficient_quota"}},
            "PaymentRequired",
            False,
        ),
        ({"error": {"message": "Provider returned error", "code": 502}}, "ServerError", True),
        ({"error": {"message": "bad", "code": 400}}, "BadRequest", False),
        ({"error": "something broke"}, "ServerError", True),
        (chunk(finish="insufficient_system_resource"), "ServerError", True),
        ("{not json", "StreamBroken", True),
        ("[1,2]", "StreamBroken", True),
    ],
)
def test_what_breaks_a_stream(event: Event, name: str, retryable: bool):
    error = error_of(CHAT, [chunk(content="Hel"), event])
    assert (error.name, error.retryable) == (name, retryable)


ODD: list[Event] = [
    {"choices": None},
    {"choices": [None]},
    {"choices": [{"delta": None, "content_filter_results": {}}]},
    {"choices": [{"delta": {"content": 5, "tool_calls": "x"}}], "usage": "none"},
]


@pytest.mark.parametrize("event", ODD)
def test_odd_chunks_do_no_harm(event: Event):
    assert reply_of(CHAT, [event, *SPEAKS]) == reply_of(CHAT, SPEAKS)


def refused(message: str, code: str = "", kind: str = "") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code or None, "param": None}}


@pytest.mark.parametrize(
    ("status", "body", "name", "wait"),
    [
        (429, refused("Please try again in 1m2.5s.", "rate_limit_exceeded"), "RateLimited", 62.5),
        (429, refused("Please try again in 20ms.", kind="tokens"), "RateLimited", 0.02),
        (503, refused("busy", "server_is_overloaded"), "Overloaded", None),
        (500, {"error": "llama runner process has terminated"}, "ServerError", None),
        (408, {}, "Timeout", None),
    ],
)
def test_refusals_that_may_pass(status: int, body: dict[str, Any], name: str, wait: float | None):
    error = CHAT.failure(status, json.dumps(body).encode())
    assert (error.name, error.retryable, error.retry_after_s) == (name, True, wait)
    assert str(error)


@pytest.mark.parametrize(
    ("status", "body", "name"),
    [
        (429, refused("You exceeded your current quota", "insufficient_quota"), "PaymentRequired"),
        (429, refused("Out of quota", kind="insufficient_quota"), "PaymentRequired"),
        (402, refused("Insufficient Balance", kind="unknown_error"), "PaymentRequired"),
        (401, refused("Incorrect API key", "invalid_api_key"), "Unauthorized"),
        (403, refused("Country not supported"), "Forbidden"),
        (400, refused("too long", "context_length_exceeded"), "ContextTooLong"),
        (400, refused("This model's maximum context length is 8192 tokens."), "ContextTooLong"),
        (404, refused("model 'x' not found", kind="not_found_error"), "NotFound"),
        (404, refused("no", "model_not_found", "invalid_request_error"), "NotFound"),
        (404, refused("no such url", kind="invalid_request_error"), "NotFound"),
        (400, refused("flagged", "content_filter"), "ContentFiltered"),
        (422, {"detail": "field required"}, "BadRequest"),
    ],
)
def test_refusals_that_will_not_pass(status: int, body: dict[str, Any], name: str):
    error = CHAT.failure(status, json.dumps(body).encode())
    assert (error.name, error.retryable) == (name, False)
    assert str(error)


def test_a_page_instead_of_an_error_is_told_in_a_few_words():
    error = CHAT.failure(502, b"<html><head><title>502 Bad Gateway</title></head></html>")
    assert (str(error), error.name, error.status) == ("502 Bad Gateway", "ServerError", 502)
    assert str(CHAT.failure(500, b"")) == "the provider answered with HTTP 500"


def access(provider: Any, base_url: str | None = None, **settings: Any) -> ProviderAccess:
    return ProviderAccess(provider=provider, api_key="k", base_url=base_url, settings=settings)


@pytest.mark.parametrize(
    ("provider", "base", "url"),
    [
        ("deepseek", None, "https://api.deepseek.com/chat/completions"),
        ("deepseek", "https://api.deepseek.com/v1/", "https://api.deepseek.com/v1/chat/completions"),
        ("ollama", None, "http://localhost:11434/v1/chat/completions"),
        ("ollama", "http://gpu:11434/", "http://gpu:11434/v1/chat/completions"),
        ("ollama", "http://gpu:11434/v1", "http://gpu:11434/v1/chat/completions"),
        ("ollama", "http://gpu:11434/api", "http://gpu:11434/v1/chat/completions"),
        ("openai", "https://gate.example", "https://gate.example/v1/chat/completions"),
        ("openai", "https://gate.example/x/v2beta", "https://gate.example/x/v2beta/chat/completions"),
    ],
)  # fmt: skip
def test_addresses(provider: Any, base: str | None, url: str):
    assert CHAT.url(access(provider, base), request()) == url


def test_headers_say_who_asks_and_the_users_own_win():
    keyless = ProviderAccess(provider="ollama", headers={"X-Team": "a"})
    assert CHAT.headers(keyless) == {"X-Team": "a"}
    told = CHAT.headers(
        ProviderAccess(
            provider="openai",
            api_key="k",
            headers={"Authorization": "Basic x"},
            settings={"organization": "org-1", "project": "p-1"},
        )
    )
    assert told == {
        "Authorization": "Basic x",
        "openai-organization": "org-1",
        "openai-project": "p-1",
    }


def test_a_concluding_request_has_no_tools():
    asked = Request(
        model="m",
        instruction="",
        history=History(
            [
                said("hi"),
                ExpertMessage(calls=(Call(id="a", tool="done"),)),
                ToolMessage(call="a", tool="done", parts=()),
            ]
        ),
        tools=(ToolSpec(name="done", description="", schema={}),),
        concluding=True,
    )
    body = json.loads(CHAT.encode(asked, Traits(model="m"), Pieces()))
    assert "tools" not in body
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]


def test_a_conversation_is_sent_the_same_as_it_grows():
    row = traits_of("deepseek", "deepseek-flash")
    pieces, history = Pieces(), History([said("hi")])
    for turn in range(3):
        history = history.plus(
            ExpertMessage(
                thoughts=(Thought(text="Hm."),),
                calls=(Call(id=f"c{turn}", tool="f"),),
                model="deepseek/deepseek-flash",
            ),
            ToolMessage(call=f"c{turn}", tool="f", parts=(Text(text="ok"),)),
        )
        asked = Request(model="deepseek-flash", instruction="Be.", history=history)
        assert CHAT.encode(asked, row, pieces) == CHAT.encode(asked, row, Pieces())


@pytest.mark.parametrize(
    ("provider", "model", "field"),
    [
        ("deepseek", "deepseek-flash", "reasoning_content"),
        ("deepseek", "deepseek-v9", "reasoning_content"),
        ("ollama", "gpt-oss:20b", "reasoning"),
        ("ollama", "somebody/thinker:7b", "reasoning"),
        ("ollama", "gemma3:4b", None),
        ("openai", "gpt-5", None),
    ],
)
def test_thoughts_go_back_to_who_wrote_them(provider: Any, model: str, field: str | None):
    own = ExpertMessage(
        thoughts=(Thought(text="Hm."),), texts=(Text(text="4"),), model=f"{provider}/{model}"
    )
    foreign = ExpertMessage(
        thoughts=(Thought(text="Ho."),), texts=(Text(text="5"),), model="anthropic/claude"
    )
    history = History([said("hi"), own, said("and?"), foreign, said("so?")])
    asked = Request(model=model, instruction="", history=history)
    messages = json.loads(CHAT.encode(asked, traits_of(provider, model), Pieces()))["messages"]
    thoughts = {"reasoning", "reasoning_content"}
    assert {name: messages[1][name] for name in thoughts & messages[1].keys()} == (
        {field: "Hm."} if field else {}
    )
    assert not thoughts & messages[3].keys()


def test_a_wish_is_told_even_to_a_model_that_is_not_listed():
    asked = Request(model="x", instruction="", history=History([said("hi")]), reasoning="minimal")
    body = json.loads(CHAT.encode(asked, traits_of("ollama", "x"), Pieces()))
    assert body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("provider", "models"),
    [
        ("google", "gemini-3-pro-preview gemini-2.5-pro gemini-2.5-flash gemini-2.5-flash-lite"),
        ("openai", "gpt-5 gpt-5-mini gpt-5-nano gpt-5-chat-latest o4-mini o3 o3-mini gpt-4.1"),
        ("deepseek", "deepseek-chat deepseek-reasoner"),
        ("ollama", "gpt-oss:20b gpt-oss:120b gemma3:1b gemma3:4b gemma3:12b gemma3:27b"),
    ],
)
def test_every_model_that_was_ever_listed_has_a_window(provider: Any, models: str):
    assert all(traits_of(provider, model).context_window for model in models.split())
    assert ending(provider, default_model(provider), date(2027, 1, 1)) is None
