"""What Anthropic is asked: marks, turns, thoughts, thinking."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perstack.definition import ProviderAccess, Reasoning
from perstack.job import (
    Call,
    ExpertMessage,
    File,
    History,
    Image,
    Text,
    Thought,
    ToolMessage,
    UserMessage,
    said,
)
from perstack.models import Request, ToolSpec, traits_of
from perstack.models.history import GO_ON, NO_RESULT
from perstack.models.wires.anthropic import ANTHROPIC
from perstack.models.wires.wire import Pieces

MODEL = "claude-sonnet-4-6"
TOOLS = (
    ToolSpec(name="read", description="Reads.", schema={"type": "object"}),
    ToolSpec(name="write", description="Writes.", schema={"type": "object"}),
)
MARK = {"type": "ephemeral"}


def body_of(
    history: History,
    *,
    pieces: Pieces | None = None,
    model: str = MODEL,
    instruction: str = "Be brief.",
    tools: tuple[ToolSpec, ...] = TOOLS,
    reasoning: Reasoning = "none",
    concluding: bool = False,
) -> dict[str, Any]:
    request = Request(
        model=model,
        instruction=instruction,
        history=history,
        tools=tools,
        reasoning=reasoning,
        concluding=concluding,
    )
    encoded = ANTHROPIC.encode(request, traits_of("anthropic", model), pieces or Pieces())
    return msgspec.json.decode(encoded)


def calls(*ids: str, thought: str = "", model: str = MODEL) -> ExpertMessage:
    return ExpertMessage(
        thoughts=(Thought(text=thought, signature=f"sig-{thought}"),) if thought else (),
        calls=tuple(Call(id=id, tool="read", args={"n": id}) for id in ids),
        model=f"anthropic/{model}",
    )


def result(id: str, text: str = "ok", *, is_error: bool = False) -> ToolMessage:
    return ToolMessage(call=id, tool="read", parts=(Text(text=text),), is_error=is_error)


def says(text: str, model: str = MODEL) -> ExpertMessage:
    return ExpertMessage(texts=(Text(text=text),), model=f"anthropic/{model}")


def marked(body: dict[str, Any]) -> list[str]:
    """Where the cache marks are."""
    places = [
        f"tool {n}" for n, tool in enumerate(body.get("tools", [])) if "cache_control" in tool
    ]
    places += ["system" for part in body.get("system", []) if "cache_control" in part]
    for n, message in enumerate(body["messages"]):
        places += [
            f"message {n} block {b}"
            for b, block in enumerate(message["content"])
            if "cache_control" in block
        ]
    return places


def shape(body: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [
        (message["role"], [block["type"] for block in message["content"]])
        for message in body["messages"]
    ]


def test_a_first_request_in_full():
    assert body_of(History([said("Hi")])) == {
        "model": "claude-sonnet-4-6",
        "max_tokens": 128_000,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
        "tools": [
            {"name": "read", "description": "Reads.", "input_schema": {"type": "object"}},
            {
                "name": "write",
                "description": "Writes.",
                "input_schema": {"type": "object"},
                "cache_control": MARK,
            },
        ],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hi", "cache_control": MARK}],
            }
        ],
    }


def test_marks_roll_with_the_conversation_and_never_exceed_four():
    pieces = Pieces()
    history = History([said("go")])
    seen: list[list[str]] = []
    for step in range(4):
        seen.append(marked(body_of(history, pieces=pieces)))
        history = history.plus(
            calls(f"c{step}", f"d{step}"), result(f"c{step}"), result(f"d{step}")
        )
    assert seen == [
        ["tool 1", "system", "message 0 block 0"],
        ["tool 1", "system", "message 0 block 0", "message 2 block 1"],
        ["tool 1", "system", "message 2 block 1", "message 4 block 1"],
        ["tool 1", "system", "message 4 block 1", "message 6 block 1"],
    ]


def test_a_growing_conversation_is_encoded_the_same_in_steps_and_at_once():
    pieces = Pieces()
    history = History([said("go")])
    for step in range(5):
        stepwise = body_of(history, pieces=pieces)
        assert stepwise == body_of(history)
        history = history.plus(
            calls(f"c{step}"), result(f"c{step}"), said("and?"), says("well"), said("so")
        )


def test_a_branch_is_encoded_as_itself():
    pieces = Pieces()
    trunk = History([said("go"), says("where?")])
    left, right = trunk.plus(said("left")), trunk.plus(said("right"))
    for history in (left, right, left, trunk.plus(said("up"))):
        assert body_of(history, pieces=pieces) == body_of(history)


def test_what_one_role_says_in_a_row_is_one_turn():
    history = History([said("a"), said("b"), calls("x", "y"), result("x"), result("y"), said("c")])
    assert shape(body_of(history)) == [
        ("user", ["text", "text"]),
        ("assistant", ["tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result", "text"]),
    ]


def test_calls_without_a_result_get_one_that_says_so():
    body = body_of(History([said("a"), calls("x", "y"), result("y")]))
    results = body["messages"][-1]["content"]
    assert [(one["tool_use_id"], one["is_error"]) for one in results] == [("y", False), ("x", True)]
    assert results[1]["content"][0]["text"] == NO_RESULT


def test_a_result_that_arrives_later_takes_the_place_of_the_missing_one():
    pieces = Pieces()
    history = History([said("a"), calls("x")])
    body_of(history, pieces=pieces)
    body = body_of(history.plus(result("x", "late")), pieces=pieces)
    assert body["messages"][-1]["content"][0]["content"][0]["text"] == "late"


def test_results_nobody_asked_for_and_empty_messages_are_not_sent():
    history = History(
        [
            said("a"),
            result("ghost"),
            said(" \n"),
            ExpertMessage(thoughts=(Thought(text="hm", signature="s"),)),
            says("b"),
            said("c"),
        ]
    )
    assert shape(body_of(history)) == [
        ("user", ["text"]),
        ("assistant", ["text"]),
        ("user", ["text"]),
    ]


def test_the_model_never_has_the_last_word():
    body = body_of(History([said("a"), says("cut o")]))
    assert body["messages"][-1]["content"][0]["text"] == GO_ON


def test_files_and_failed_results_are_sent_as_blocks():
    history = History(
        [
            UserMessage(
                parts=(
                    Text(text="look"),
                    Image(data="aQ==", mime_type="image/png"),
                    File(data="cA==", mime_type="application/pdf"),
                    File(data="aGk=", mime_type="text/markdown"),
                    Image(data="aQ==", mime_type="image/tiff"),
                )
            ),
            calls("x", "y"),
            ToolMessage(
                call="x",
                tool="read",
                parts=(Image(data="aQ==", mime_type="image/jpeg"), Text(text="")),
            ),
            ToolMessage(call="y", tool="read", parts=(Text(text=" "),), is_error=True),
        ]
    )
    first, _, last = body_of(history)["messages"]
    assert first["content"][1:4] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aQ=="}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "cA=="},
        },
        {"type": "text", "text": "hi"},
    ]
    assert "image/tiff" in first["content"][4]["text"]
    assert last["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "x",
            "content": [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/jpeg", "data": "aQ=="},
                }
            ],
            "is_error": False,
        },
        {
            "type": "tool_result",
            "tool_use_id": "y",
            "content": "",
            "is_error": True,
            "cache_control": MARK,
        },
    ]


def test_thoughts_go_back_untouched_and_in_their_places():
    message = ExpertMessage(
        thoughts=(
            Thought(text="one", signature="s1", id="0"),
            Thought(signature="data", redacted=True, id="2"),
        ),
        texts=(Text(text="words"),),
        calls=(Call(id="x", tool="read"),),
        model="anthropic/claude-opus-4-5",
    )
    body = body_of(History([said("a"), message, result("x")]), model="claude-opus-4-5")
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "one", "signature": "s1"},
        {"type": "text", "text": "words"},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "tool_use", "id": "x", "name": "read", "input": {}},
    ]


@pytest.mark.parametrize(
    "message",
    [
        ExpertMessage(
            thoughts=(Thought(text="t", signature="s"),),
            texts=(Text(text="b"),),
            model="openai/gpt-5",
        ),
        ExpertMessage(
            thoughts=(Thought(text="t"),), texts=(Text(text="b"),), model="anthropic/claude-x"
        ),
    ],
    ids=["of another provider", "without a proof"],
)
def test_thoughts_that_would_be_refused_are_left_out(message: ExpertMessage):
    body = body_of(History([said("a"), message, said("c")]))
    assert body["messages"][1]["content"] == [{"type": "text", "text": "b"}]


BINDS = "claude-sonnet-5-5"


def thoughts_in(body: dict[str, Any]) -> list[str]:
    return [
        block["thinking"]
        for message in body["messages"]
        for block in message["content"]
        if block["type"] == "thinking"
    ]


def test_bound_thoughts_are_sent_while_nothing_before_them_changes():
    pieces = Pieces()
    history = History([said("a")])
    for thought in ("one", "two", "three"):
        body_of(history, pieces=pieces, model=BINDS, reasoning="low")
        history = history.plus(calls(thought, thought=thought, model=BINDS), result(thought))
    last = body_of(history, pieces=pieces, model=BINDS, reasoning="low")
    assert thoughts_in(last) == ["one", "two", "three"]


@pytest.mark.parametrize(
    "change",
    [{"instruction": "Now it is Tuesday."}, {"tools": TOOLS[:1]}, {"reasoning": "high"}],
    ids=["instruction", "tools", "reasoning"],
)
def test_bound_thoughts_are_left_out_once_something_before_them_changed(change: dict[str, Any]):
    pieces = Pieces()
    usual: dict[str, Any] = {"pieces": pieces, "model": BINDS, "reasoning": "low"}
    history = History([said("a")])
    body_of(history, **usual)
    history = history.plus(calls("x", thought="one", model=BINDS), result("x"))
    assert thoughts_in(body_of(history, **usual)) == ["one"]
    assert thoughts_in(body_of(history, **(usual | change))) == []
    history = history.plus(calls("y", thought="two", model=BINDS), result("y"))
    assert thoughts_in(body_of(history, **(usual | change))) == ["two"]


def test_bound_thoughts_of_an_earlier_process_are_left_out():
    history = History([said("a"), calls("x", thought="one", model=BINDS), result("x")])
    assert thoughts_in(body_of(history, model=BINDS, reasoning="low")) == []


def test_a_closing_request_that_shows_its_tools_forbids_to_call_them():
    assert body_of(History([said("a")]), concluding=True)["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in body_of(History([said("a")]), concluding=True, tools=())
    assert "tools" not in body_of(History([said("a")]), tools=())


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking", "effort"),
    [
        ("claude-sonnet-4-5", "none", None, None),
        ("claude-sonnet-4-5", 0, None, None),
        ("claude-sonnet-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-sonnet-4-5", "medium", {"type": "enabled", "budget_tokens": 5000}, None),
        ("claude-sonnet-4-5", 3000, {"type": "enabled", "budget_tokens": 3000}, None),
        ("claude-sonnet-4-5", 10, {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-sonnet-4-5", 900_000, {"type": "enabled", "budget_tokens": 59_904}, None),
        ("claude-opus-4-5", "high", {"type": "enabled", "budget_tokens": 10000}, "high"),
        ("claude-opus-4-6", "minimal", {"type": "adaptive", "display": "summarized"}, "low"),
        ("claude-sonnet-4-6", 4000, {"type": "adaptive", "display": "summarized"}, "medium"),
        ("claude-sonnet-5", "none", {"type": "disabled"}, None),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-opus-5-5", "none", {"type": "adaptive"}, "low"),
        ("claude-haiku-5-5", "high", {"type": "adaptive", "display": "summarized"}, "high"),
        ("claude-3-5-haiku-latest", "high", None, None),
        ("claude-next-9", "low", {"type": "adaptive", "display": "summarized"}, "low"),
    ],
)
def test_each_model_is_told_to_think_in_its_own_way(
    model: str, reasoning: Reasoning, thinking: dict[str, Any] | None, effort: str | None
):
    body = body_of(History([said("a")]), model=model, reasoning=reasoning)
    assert body.get("thinking") == thinking
    assert body.get("output_config") == ({"effort": effort} if effort else None)
    assert thinking is None or body["max_tokens"] > thinking.get("budget_tokens", 0)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (None, "https://api.anthropic.com/v1/messages"),
        ("https://host", "https://host/v1/messages"),
        ("https://host/v1/", "https://host/v1/messages"),
        ("http://127.0.0.1:80/a/v2beta", "http://127.0.0.1:80/a/v2beta/messages"),
    ],
)
def test_the_base_url_may_name_the_version_or_not(base_url: str | None, url: str):
    access = ProviderAccess(provider="anthropic", base_url=base_url)
    request = Request(model=MODEL, instruction="", history=History())
    assert ANTHROPIC.url(access, request) == url


def test_the_users_own_headers_come_last():
    access = ProviderAccess(
        provider="anthropic", api_key="k", headers={"X-Api-Key": "other", "anthropic-beta": "b"}
    )
    assert ANTHROPIC.headers(access) == {
        "anthropic-version": "2026-10-21",
        "X-Api-Key": "other",
        "anthropic-beta": "b",
    }
