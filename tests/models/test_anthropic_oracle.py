"""Our requests to Anthropic against those of another implementation: pydantic-ai, on its own SDK.

Both get the same conversation; what pydantic-ai sends is caught by a server on this machine. A difference means
that the API has moved, or that we are wrong.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest
from anthropic import AsyncAnthropic
from anyio.abc import ByteStream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.providers.anthropic import AnthropicProvider

from perstack.definition import Reasoning
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
    UserMessage,
    said,
)
from perstack.models import Request, ToolSpec, traits_of
from perstack.models.wires.anthropic import ANTHROPIC
from perstack.models.wires.wire import Pieces

from .anthropic_streams import SPEAKS, sse
from .oracle_history import content_of, offered
from .serving import Heard, Server, answer, serving

pytestmark = [
    pytest.mark.anyio,
    # Their SDK warns of some of the models asked for here. We know; see `known/anthropic.py`.
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),
]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SYSTEM = "You are an Expert."
MODELS = [
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-opus-5-5",
    "claude-sonnet-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5-2",
    "claude-opus-4-20250514",
    "claude-sonnet-4-20250514",
]
LEVELS: list[Reasoning] = ["none", "minimal", "low", "medium", "high"]
TOOLSETS: list[tuple[ToolSpec, ...]] = [
    (),
    (
        ToolSpec(
            name="readTextFile",
            description="Reads a file.",
            schema={
                "type": "object",
                "properties": {"path": {"type": "string"}},
                "required": ["path"],
                "additionalProperties": False,
            },
        ),
        ToolSpec(name="todo", description="Keeps todos.", schema={"type": "object"}),
    ),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the SDK's; our encoding is pure


def conversations(model: str) -> list[list[Message]]:
    """Kinds of history. Each grows, reply by reply, as in a run."""
    name = f"anthropic/{model}"
    calls = ExpertMessage(
        thoughts=(
            Thought(text="Let me see.", signature="c2ln"),
            Thought(signature="d2l0aGhlbGQ=", redacted=True),
        ),
        texts=(Text(text="Reading."),),
        calls=(
            Call(id="toolu_1", tool="readTextFile", args={"path": "a"}),
            Call(id="toolu_2", tool="todo"),
        ),
        model=name,
    )
    results: list[Message] = [
        ToolMessage(call="toolu_1", tool="readTextFile", parts=(Text(text="héllo ✓"),)),
        ToolMessage(call="toolu_2", tool="todo", parts=(Text(text="no"),), is_error=True),
    ]
    png, pdf = base64.b64encode(b"png").decode(), base64.b64encode(b"pdf").decode()
    files = (
        Image(data=png, mime_type="image/png"),
        File(data=pdf, mime_type="application/pdf"),
    )
    return [
        [said("Hi")],
        [said("Hi"), ExpertMessage(texts=(Text(text="Hello"),), model=name), said("a"), said("b")],
        [UserMessage(parts=(Text(text="Look"), *files))],
        [said("go"), calls, *results],
        [said("go"), calls, *results, said("and then?")],
        [
            said("go"),
            ExpertMessage(calls=(Call(id="toolu_1", tool="readTextFile"),), model=name),
            ToolMessage(call="toolu_1", tool="readTextFile", parts=(Text(text="see"), *files)),
        ],
    ]


def our_body(
    model: str, messages: Sequence[Message], tools: tuple[ToolSpec, ...], reasoning: Reasoning
) -> dict[str, Any]:
    """The last of the requests in which the conversation grew, reply by reply."""
    pieces, traits, body = Pieces(), traits_of("anthropic", model), b""
    history = History()
    for message in (*messages, None):
        if message is None or isinstance(message, ExpertMessage):
            request = Request(
                model=model,
                instruction=SYSTEM,
                history=history,
                tools=tools,
                reasoning=reasoning,
            )
            body = ANTHROPIC.encode(request, traits, pieces)
        if message is not None:
            history = history.plus(message)
    return msgspec.json.decode(body)


async def their_body(
    server: Server,
    asked: AnthropicModel,
    messages: Sequence[Message],
    tools: tuple[ToolSpec, ...],
    reasoning: Reasoning,
) -> dict[str, Any]:
    budgets = {"minimal": 1024, "low": 2048, "medium": 5000, "high": 10_000}
    settings = AnthropicModelSettings(
        anthropic_cache_instructions=True,
        anthropic_cache_tool_definitions=True,
        anthropic_cache_messages=True,
    )
    settings["thinking"] = False if reasoning == "none" else cast("Any", reasoning)
    if reasoning != "none" and traits_of("anthropic", asked.model_name).reasoning == "budget":
        # Its scale of named levels is another than the one of our specification.
        budget = budgets[cast("str", reasoning)]
        settings["anthropic_thinking"] = {"type": "enabled", "budget_tokens": budget}
    async with asked.request_stream(translated(messages), settings, offered(tools)) as stream:
        async for _ in stream:
            pass
    return msgspec.json.decode(server.heard[-1].body)


def translated(messages: Sequence[Message]) -> list[ModelMessage]:
    """A history in pydantic-ai's words."""
    out: list[ModelMessage] = []
    asked: list[ModelRequestPart] = []
    for message in messages:
        match message:
            case UserMessage():
                asked.append(UserPromptPart([content_of(p) for p in message.parts], timestamp=NOW))
            case ToolMessage():
                asked.append(
                    ToolReturnPart(
                        message.tool,
                        [content_of(part) for part in message.parts],
                        message.call,
                        outcome="failed" if message.is_error else "success",
                    )
                )
            case ExpertMessage():
                out.append(ModelRequest(parts=asked, instructions=SYSTEM))
                asked = []
                out.append(ModelResponse(parts=parts_of(message), provider_name="anthropic"))
    out.append(ModelRequest(parts=asked, instructions=SYSTEM))
    return out


def parts_of(message: ExpertMessage) -> list[ModelResponsePart]:
    return [
        *(
            ThinkingPart(
                thought.text,
                id="redacted_thinking" if thought.redacted else None,
                signature=thought.signature,
                provider_name="anthropic",
            )
            for thought in message.thoughts
        ),
        *(TextPart(text.text) for text in message.texts),
        *(ToolCallPart(call.tool, call.args, call.id) for call in message.calls),
    ]


def comparable(body: dict[str, Any], *, ours: bool) -> dict[str, Any]:
    """A body without the two things in which we mean to differ."""
    if ours:
        # We ask to be shown a summary of thoughts ...
        body.get("thinking", {}).pop("display", None)
        # ... and keep the mark of the request before, so that it is found over any distance.
        marks = [
            block
            for message in body["messages"]
            for block in message["content"]
            if "cache_control" in block
        ]
        for block in marks[:-1]:
            del block["cache_control"]
        body["tools"] = body.get("tools", [])
    else:
        body["tools"] = body.get("tools", [])
        body.pop("tool_choice", None)  # theirs is the API's default, spelled out
        # For some models it explains how it uses system messages
        body["system"] = body["system"][-1:]
    for mark in _marks(body):
        mark.pop("ttl", None)
    return body


def _marks(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        own = [inner["cache_control"]] if "cache_control" in inner else []
        return own + [mark for each in inner.values() for mark in _marks(each)]
    if isinstance(value, list):
        return [mark for each in cast("list[Any]", value) for mark in _marks(each)]
    return []


@pytest.mark.parametrize("model", MODELS)
async def test_our_requests_are_those_of_pydantic_ai(model: str):
    async def handle(stream: ByteStream, heard: Heard) -> None:
        await stream.send(answer(sse(SPEAKS)))

    async with (
        serving(handle) as server,
        AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0) as client,
    ):
        asked = AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))
        for number, messages in enumerate(conversations(model)):
            for reasoning in LEVELS:
                for tools in TOOLSETS:
                    theirs = await their_body(server, asked, messages, tools, reasoning)
                    ours = our_body(model, messages, tools, reasoning)
                    assert comparable(ours, ours=True) == comparable(theirs, ours=False), (
                        f"conversation {number}, thinking {reasoning}, {len(tools)} tools"
                    )
