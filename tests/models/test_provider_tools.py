"""Tools that run at the provider: what is asked for, and that what they leave in a reply goes back as it came."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from anthropic.types import MessageParam, RawMessageStreamEvent, ToolUnionParam
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseInputItemParam, ToolParam
from pydantic import TypeAdapter

from perstack.definition import Expert, ProviderAccess, ProviderName, provider_faults
from perstack.job import (
    Call,
    ExpertMessage,
    History,
    Message,
    ProviderPart,
    Text,
    ToolMessage,
    UserMessage,
    said,
)
from perstack.models import (
    ProviderTools,
    Reply,
    Request,
    ToolSpec,
    provider_tools_refusal,
    traits_of,
)
from perstack.models.wires.anthropic import ANTHROPIC
from perstack.models.wires.google import GEMINI
from perstack.models.wires.openai_responses import RESPONSES
from perstack.models.wires.wire import Pieces, Wire

from . import streams
from .anthropic_streams import block, call, ended, sse, started, text, thinking

READ = ToolSpec(name="read", description="Reads.", schema={"type": "object"})
SEARCH = ProviderTools(
    names=("webSearch",), options={"webSearch": {"maxUses": 3, "allowedDomains": ["a.com"]}}
)
WIRES: dict[str, tuple[Wire, str]] = {
    "anthropic": (ANTHROPIC, "claude-sonnet-4-6"),
    "openai": (RESPONSES, "gpt-5.5"),
    "google": (GEMINI, "gemini-3.8-flash"),
}


def request(provider: str, provided: ProviderTools, *more: Message, **changes: Any) -> Request:
    return Request(
        model=WIRES[provider][1],
        instruction="Be brief.",
        history=History([said("hi"), *more]),
        tools=changes.pop("tools", (READ,)),
        provided=provided,
        **changes,
    )


def body_of(asked: Request, provider: ProviderName) -> dict[str, Any]:
    traits = traits_of(provider, asked.model)
    return msgspec.json.decode(WIRES[provider][0].encode(asked, traits, Pieces()))


def headers_of(provided: ProviderTools, **own: str) -> dict[str, str]:
    access = ProviderAccess(provider="anthropic", api_key="k", headers=own)
    return ANTHROPIC.request_headers(access, request("anthropic", provided))


# What is asked for ------------------------------------------------------------------------------


ASKED_FOR: list[tuple[ProviderName, ProviderTools, list[dict[str, Any]]]] = [
    (
        "anthropic",
        SEARCH,
        [
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "max_uses": 3,
                "allowed_domains": ["a.com"],
            }
        ],
    ),
    (
        "anthropic",
        ProviderTools(names=("webFetch", "codeExecution"), options={"webFetch": {"maxUses": 2}}),
        [
            {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 2},
            {"type": "code_execution_20250522", "name": "code_execution"},
        ],
    ),
    (
        "openai",
        ProviderTools(
            names=("webSearch", "fileSearch", "codeInterpreter", "imageGeneration"),
            options={
                "webSearch": {"allowedDomains": ["a.com"]},
                "fileSearch": {"vectorStoreIds": ["vs_1"], "maxNumResults": 5},
            },
        ),
        [
            {"type": "web_search", "filters": {"allowed_domains": ["a.com"]}},
            {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 5},
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "image_generation"},
        ],
    ),
    (
        "google",
        ProviderTools(
            names=("googleSearch", "codeExecution", "urlContext", "fileSearch", "googleMaps"),
            options={"fileSearch": {"vectorStoreIds": ["fileSearchStores/s"], "maxNumResults": 4}},
        ),
        [
            {"googleSearch": {}},
            {"codeExecution": {}},
            {"urlContext": {}},
            {"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/s"], "topK": 4}},
            {"googleMaps": {}},
        ],
    ),
]


@pytest.mark.parametrize(("provider", "provided", "tools"), ASKED_FOR)
def test_each_tool_is_asked_for_in_the_providers_own_words(
    provider: ProviderName, provided: ProviderTools, tools: list[dict[str, Any]]
):
    body = body_of(request(provider, provided), provider)
    own = body_of(request(provider, ProviderTools()), provider)["tools"]
    assert [tool for tool in body["tools"] if tool not in own] == tools
    assert [tool for tool in body["tools"] if tool in own] == own
    alone = body_of(request(provider, provided, tools=()), provider)
    assert alone["tools"] == tools
    adapter: TypeAdapter[Any]
    if provider == "google":
        from google.genai.types import Tool

        adapter = TypeAdapter(Tool)
    else:
        adapter = TypeAdapter(ToolUnionParam if provider == "anthropic" else ToolParam)
    for tool in tools:
        adapter.validate_python(tool)


def test_betas_are_named_beside_those_of_the_user():
    assert headers_of(SEARCH) == {}
    code = ProviderTools(names=("codeExecution",))
    assert headers_of(code) == {"anthropic-beta": "code-execution-2025-05-22"}
    assert headers_of(code, **{"Anthropic-Beta": "mine-1, mine-2"}) == {
        "anthropic-beta": "mine-1,mine-2,code-execution-2025-05-22"
    }


def test_skills_come_with_a_container_a_beta_and_the_code_execution_that_knows_them():
    provided = ProviderTools(names=("codeExecution",), skills=("pdf", "xlsx"))
    body = body_of(request("anthropic", provided), "anthropic")
    assert body["container"] == {
        "skills": [
            {"type": "anthropic", "skill_id": "pdf", "version": "latest"},
            {"type": "anthropic", "skill_id": "xlsx", "version": "latest"},
        ]
    }
    assert body["tools"][0] == {"type": "code_execution_20250825", "name": "code_execution"}
    assert headers_of(provided) == {"anthropic-beta": "skills-2025-10-02"}


def test_a_tool_of_ours_gets_another_name_where_anthropic_has_one_of_that_name():
    ours = ToolSpec(name="web_search", description="", schema={"type": "object"})
    body = body_of(request("anthropic", SEARCH, tools=(ours,)), "anthropic")
    theirs, renamed = (tool["name"] for tool in body["tools"])
    assert theirs == "web_search"
    assert renamed not in ("web_search", "")
    reply, _ = streams.decoded(
        ANTHROPIC,
        [sse([started(), *call(0, "t", renamed, "{}"), *ended("tool_use")])],
        request("anthropic", SEARCH, tools=(ours,)),
    )
    assert reply.message.calls[0].tool == "web_search"
    plain = body_of(request("anthropic", ProviderTools(), tools=(ours,)), "anthropic")
    assert plain["tools"][0]["name"] == "web_search"


def test_google_is_told_to_show_what_it_does_where_there_are_functions_too():
    provided = ProviderTools(names=("googleSearch",))
    assert body_of(request("google", provided), "google")["toolConfig"] == {
        "includeServerSideToolInvocations": True
    }
    assert "toolConfig" not in body_of(request("google", provided, tools=()), "google")


def test_openai_is_told_to_leave_nothing_out_of_what_its_tools_did():
    provided = ProviderTools(names=("webSearch", "codeInterpreter"))
    assert body_of(request("openai", provided), "openai")["include"][-2:] == [
        "web_search_call.action.sources",
        "code_interpreter_call.outputs",
    ]


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_a_closing_reply_uses_none_of_them(provider: ProviderName):
    body = body_of(request(provider, SEARCH, tools=(), concluding=True), provider)
    assert body["tool_choice"] in ("none", {"type": "none"})


def test_where_the_wire_knows_no_such_tools_that_is_said():
    gateway = ProviderAccess(provider="openai", base_url="https://gateway.example/v1")
    assert "Chat Completions" in provider_tools_refusal(gateway, "gpt-5.5")
    named = ProviderAccess(
        provider="openai", base_url="https://g.example", settings={"name": "x.responses"}
    )
    assert provider_tools_refusal(named, "gpt-5.5") == ""
    google = ProviderAccess(provider="google")
    assert "gemini-2.5-pro" in provider_tools_refusal(google, "gemini-2.5-pro")
    assert provider_tools_refusal(google, "gemini-3.8-flash") == ""
    expert = Expert(key="x", name="x", instruction="go", provider_tools=("webSearch",))
    assert [fault.what for fault in provider_faults("ollama", expert)] == [
        'provider "ollama" has no tool "webSearch"; it has: none'
    ]


# What comes back --------------------------------------------------------------------------------

USED: dict[str, Any] = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {},
}
FOUND: dict[str, Any] = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "title": "A",
            "url": "https://a.com",
            "encrypted_content": "x" * 40,
            "page_age": None,
        }
    ],
}
CITED: dict[str, Any] = {
    "type": "web_search_result_location",
    "cited_text": "so it is",
    "encrypted_index": "idx",
    "title": "A",
    "url": "https://a.com",
}
ANTHROPIC_EVENTS = [
    started(),
    *thinking(0, "Let me look."),
    *text(1, "I search."),
    *block(
        2,
        USED,
        {"type": "input_json_delta", "partial_json": '{"que'},
        {"type": "input_json_delta", "partial_json": 'ry": "news"}'},
    ),
    *block(3, FOUND),
    *thinking(4, "Good.", signature="sig2"),
    *block(
        5,
        {"type": "text", "text": "", "citations": []},
        {"type": "text_delta", "text": "It is so."},
        {"type": "citations_delta", "citation": CITED},
    ),
    *call(6, "toolu_1", "read", '{"path": "a"}'),
    *ended("tool_use"),
]
ANTHROPIC_BLOCKS = [
    {"type": "thinking", "thinking": "Let me look.", "signature": "sig"},
    {"type": "text", "text": "I search."},
    USED | {"input": {"query": "news"}},
    FOUND,
    {"type": "thinking", "thinking": "Good.", "signature": "sig2"},
    {"type": "text", "text": "It is so.", "citations": [CITED]},
    {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}},
]
WENT: dict[str, Any] = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {
        "type": "search",
        "query": "news",
        "sources": [{"type": "url", "url": "https://a.com"}],
    },
}


def reasoning(id: str) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "id": id,
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": f"sealed-{id}",
    }


NOTED = {
    "type": "url_citation",
    "start_index": 0,
    "end_index": 2,
    "title": "A",
    "url": "https://a.com",
}
OPENAI_ITEMS: list[dict[str, Any]] = [
    reasoning("rs_1"),
    WENT,
    reasoning("rs_2"),
    {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "status": "completed",
        "content": [{"type": "output_text", "text": "It is so.", "annotations": [NOTED]}],
    },
    {
        "type": "function_call",
        "call_id": "call_1",
        "name": "read",
        "arguments": '{"path":"a"}',
        "id": "fc_1",
    },
]
OPENAI_EVENTS: list[dict[str, Any]] = [
    event
    for place, item in enumerate(OPENAI_ITEMS)
    for event in (
        {
            "type": "response.output_item.added",
            "output_index": place,
            "item": item | ({"status": "in_progress"} if "status" in item else {}),
        },
        {"type": "response.output_item.done", "output_index": place, "item": item},
    )
] + [{"type": "response.completed", "response": {"status": "completed", "output": OPENAI_ITEMS}}]
GOOGLE_PARTS: list[dict[str, Any]] = [
    {"text": "Hm.", "thought": True, "thoughtSignature": "czE="},
    {
        "toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "g1", "args": {"query": "news"}},
        "thoughtSignature": "czI=",
    },
    {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "g1", "response": {"found": "A"}}},
    {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
    {"text": "It is so."},
    {
        "functionCall": {"id": "f1", "name": "read", "args": {"path": "a"}},
        "thoughtSignature": "czM=",
    },
]
GROUNDS = {"groundingChunks": [{"web": {"uri": "https://a.com", "title": "A"}}]}
GOOGLE_EVENTS: list[dict[str, Any]] = [
    {"candidates": [{"content": {"role": "model", "parts": [part]}}]} for part in GOOGLE_PARTS
] + [{"candidates": [{"finishReason": "STOP", "groundingMetadata": GROUNDS}]}]

ANSWERS: dict[str, bytes] = {
    "anthropic": sse(ANTHROPIC_EVENTS),
    "openai": streams.sse(OPENAI_EVENTS),
    "google": streams.sse(GOOGLE_EVENTS),
}
SENT_BACK: dict[str, list[Any]] = {
    "anthropic": ANTHROPIC_BLOCKS,
    "openai": OPENAI_ITEMS,
    "google": GOOGLE_PARTS,
}
OWN: dict[str, ProviderTools] = {
    "anthropic": SEARCH,
    "openai": ProviderTools(names=("webSearch",)),
    "google": ProviderTools(names=("googleSearch", "codeExecution")),
}
PROVIDERS = ["anthropic", "openai", "google"]


def reply_of(provider: str, pieces: list[bytes]) -> Reply:
    return streams.decoded(WIRES[provider][0], pieces, request(provider, OWN[provider]))[0]


def sent_back(provider: ProviderName, message: ExpertMessage, *more: Message) -> list[Any]:
    """What of `message` is in the next request."""
    results = tuple(
        ToolMessage(call=call.id, tool=call.tool, parts=(Text(text="ok"),))
        for call in message.calls
    )
    body = body_of(
        request(provider, OWN[provider], message, *results, *more, reasoning="low"), provider
    )
    match provider:
        case "anthropic":
            return body["messages"][1]["content"]
        case "openai":
            return body["input"][1:-1]
        case _:
            return body["contents"][1]["parts"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_reply_goes_back_exactly_as_it_came(provider: ProviderName):
    reply = reply_of(provider, [ANSWERS[provider]])
    assert sent_back(provider, reply.message) == SENT_BACK[provider]
    assert [call.tool for call in reply.message.calls] == ["read"]
    assert reply.finish == "calls"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_goes_back_the_same_after_the_log_was_written_and_read(provider: ProviderName):
    reply = reply_of(provider, [ANSWERS[provider]])
    read = msgspec.json.decode(msgspec.json.encode(reply.message), type=ExpertMessage)
    assert read == reply.message
    assert sent_back(provider, read) == SENT_BACK[provider]


@pytest.mark.parametrize("provider", PROVIDERS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_it_does_not_matter_where_the_bytes_are_cut(provider: str, data: st.DataObject):
    whole = ANSWERS[provider]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=40)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert reply_of(provider, pieces) == reply_of(provider, [whole])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_another_provider_is_sent_only_words_and_calls(provider: str):
    reply = reply_of(provider, [ANSWERS[provider]])
    other: ProviderName = "openai" if provider != "openai" else "anthropic"
    told = msgspec.json.encode(sent_back(other, reply.message)).decode()
    assert "It is so." in told
    for word in ("srvtoolu", "web_search", "ws_1", "citations", "toolCall", "executableCode"):
        assert word not in told


def test_the_official_sdks_types_accept_what_is_sent_back():
    TypeAdapter(MessageParam).validate_python({"role": "assistant", "content": ANTHROPIC_BLOCKS})
    for event in ANTHROPIC_EVENTS:
        if event["type"] != "message_start":
            TypeAdapter(RawMessageStreamEvent).validate_python(event)
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)
    for item in OPENAI_ITEMS:
        adapter.validate_python(item)
    from google.genai.types import Content

    Content.model_validate({"role": "model", "parts": GOOGLE_PARTS})


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        ("anthropic", [("web_search", "news", "A https://a.com")]),
        ("openai", [("web_search", "news", "https://a.com")]),
        (
            "google",
            [
                ("google_search_web", "news", '{"found":"A"}'),
                ("code_execution", "print(1)", "1"),
            ],
        ),
    ],
)
def test_each_deed_is_told_once(provider: str, told: list[tuple[str, str, str]]):
    parts = reply_of(provider, [ANSWERS[provider]]).message.provided
    assert [(part.tool, part.asked, part.gave) for part in parts if part.tool] == told
    assert not any(part.failed for part in parts)


def test_sources_of_an_answer_are_kept():
    for provider in PROVIDERS:
        (cited,) = reply_of(provider, [ANSWERS[provider]]).message.texts[-1].citations
        assert cited["url"] == "https://a.com"


def test_a_failed_search_is_told_as_one():
    result: dict[str, Any] = {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
    }
    events = [started(), *block(0, USED), *block(1, result), *text(2, "no"), *ended("end_turn")]
    first, _ = reply_of("anthropic", [sse(events)]).message.provided
    assert (first.gave, first.failed) == ("max_uses_exceeded", True)


# Pauses, limits, containers ---------------------------------------------------------------------


def test_a_paused_reply_is_the_last_word_that_is_sent_and_its_rest_joins_it():
    events = [started(), *text(0, "I search."), *block(1, USED), *ended("pause_turn")]
    paused = reply_of("anthropic", [sse(events)])
    assert (paused.finish, paused.message.paused) == ("pause", True)
    body = body_of(request("anthropic", SEARCH, paused.message), "anthropic")
    assert body["messages"][-1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "I search."}, USED],
    }
    rest = reply_of(
        "anthropic", [sse([started(), *block(0, FOUND), *text(1, "So."), *ended("end_turn")])]
    )
    assert rest.message.provided[0].gave == "A https://a.com"
    body = body_of(
        request("anthropic", SEARCH, paused.message, rest.message, said("and?")), "anthropic"
    )
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [part["type"] for part in body["messages"][1]["content"]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]


def test_a_search_without_a_word_is_sent_to_who_made_it_and_to_nobody_else():
    events = [started(), *block(0, USED), *ended("pause_turn")]
    message = reply_of("anthropic", [sse(events)]).message
    assert body_of(request("anthropic", SEARCH, message), "anthropic")["messages"][-1][
        "content"
    ] == [USED]
    assert body_of(request("openai", OWN["openai"], message), "openai")["input"] == [
        {"role": "user", "content": "hi"}
    ]


def test_what_the_output_limit_cut_off_is_left_out():
    half = block(1, USED, {"type": "input_json_delta", "partial_json": '{"que'})
    cut = reply_of("anthropic", [sse([started(), *text(0, "Hm"), *half, *ended("max_tokens")])])
    assert (cut.finish, cut.message.provided) == ("length", ())
    items = [event for event in OPENAI_EVENTS[:3] if event["type"].endswith("added")]
    closing: dict[str, Any] = {
        "type": "response.incomplete",
        "response": {
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [],
        },
    }
    cut = reply_of("openai", [streams.sse([*items, closing])])
    assert (cut.finish, cut.message.provided) == ("length", ())


def test_the_container_of_a_conversation_is_used_again_until_it_is_over():
    code = ProviderTools(names=("codeExecution",))
    container = {"id": "cont_1", "expires_at": "2026-11-21T08:00:00Z"}
    events = [started(), *text(0, "Done."), *ended("end_turn", container=container)]
    message = reply_of("anthropic", [sse(events)]).message
    more: tuple[Message, ...] = (message, UserMessage(parts=(Text(text="and?"),)))
    begins = 1795248000.0 - 60  # a minute before it is over
    body = body_of(request("anthropic", code, *more, at=begins), "anthropic")
    assert body["container"] == "cont_1"
    assert body["messages"][1]["content"] == [{"type": "text", "text": "Done."}]
    late = body_of(request("anthropic", code, *more, at=begins + 61), "anthropic")
    assert "container" not in late


def test_calls_that_were_taken_away_are_not_sent_back():
    message = ExpertMessage(
        texts=(Text(text="Done."),),
        model="anthropic/claude-sonnet-4-6",
        provided=(ProviderPart(data=USED), ProviderPart(data=FOUND)),
        order="ppwc",
    )
    body = body_of(request("anthropic", SEARCH, message, said("and?")), "anthropic")
    assert [part["type"] for part in body["messages"][1]["content"]] == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert [type(part) for part in message.parts] == [ProviderPart, ProviderPart, Text]
    assert Call not in {type(part) for part in message.parts}
