"""Our conversations in pydantic-ai's words, and the grid both encode."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    BinaryContent,
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
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

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
from perstack.models.model import Request, ToolSpec

INSTRUCTION = "You are a careful helper."
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n not really").decode()
PDF = base64.b64encode(b"%PDF-1.7 not really").decode()

TOOLS = (
    ToolSpec(
        name="read_file",
        description="Read a file.",
        schema={
            "type": "object",
            "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["path"],
        },
    ),
    ToolSpec(name="list_files", description="", schema={"type": "object", "properties": {}}),
)


@dataclass(frozen=True)
class Difference:
    """Where we mean to differ. change: what the oracle sends → what we send instead."""

    reason: str
    change: Callable[[dict[str, Any]], object]


@dataclass
class Grid:
    """Which differences were met with, and which cases differ otherwise."""

    cases: int = 0
    met: set[str] = field(default_factory=set[str])
    wrong: dict[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])


def calls(author: str) -> ExpertMessage:
    """A reply with thoughts, words and two calls, as `author` ("provider/model") leaves it."""
    thought, text, first, second = "gAAA", "", "", ""
    if author.startswith("openai/"):
        text, first, second = "msg_1", "fc_1", "fc_2"
    if author.startswith("google/"):
        thought, first = "", base64.b64encode(b"first call").decode()
    return ExpertMessage(
        thoughts=(Thought(text="Two files.", id="rs_1", signature=thought),),
        texts=(Text(text="Let me look.", signature=text),),
        calls=(
            Call(id="call_a", tool="read_file", args={"path": "a.txt"}, signature=first),
            Call(id="call_b", tool="list_files", args={}, signature=second),
        ),
        model=author,
    )


def result(id: str, tool: str, *parts: Text | Image | File, error: bool = False) -> ToolMessage:
    return ToolMessage(call=id, tool=tool, parts=parts, is_error=error)


def histories(author: str) -> dict[str, tuple[Message, ...]]:
    """Conversations worth comparing. author: the "provider/model" that is spoken to."""
    ask = said("What is in here?")
    read = result("call_a", "read_file", Text(text="alpha"))
    listed = result("call_b", "list_files", Text(text="a.txt"))
    png, pdf = Image(data=PNG, mime_type="image/png"), File(data=PDF, mime_type="application/pdf")
    return {
        "question": (ask,),
        "image": (UserMessage(parts=(Text(text="See:"), png)),),
        "pdf": (UserMessage(parts=(Text(text="See:"), pdf)),),
        "calls": (ask, calls(author), read, listed),
        "calls of another": (ask, calls("anthropic/claude-sonnet-5"), read, listed),
        "failed call": (
            ask,
            calls(author),
            result("call_a", "read_file", Text(text="no such file"), error=True),
            listed,
        ),
        "image result": (
            ask,
            calls(author),
            result("call_a", "read_file", Text(text="alpha"), png),
            listed,
        ),
        "told and asked again": (
            ask,
            calls(author),
            read,
            listed,
            ExpertMessage(texts=(Text(text="Alpha."),), model=author),
            said("And?"),
        ),
    }


def spread(
    talks: Mapping[str, tuple[Message, ...]],
) -> Iterator[tuple[str, tuple[Message, ...], tuple[ToolSpec, ...]]]:
    """Each conversation with tools, and some without."""
    for label, talk in talks.items():
        yield label, talk, TOOLS
        if label in ("question", "calls"):
            yield label, talk, ()


def theirs(
    history: Iterable[Message],
    url: str,
    *,
    system: str = "",
    thinking_id: str | None = None,
) -> list[ModelMessage]:
    """`history` as pydantic-ai keeps it.

    system: the provider whose server state is theirs. thinking_id: where a chat model's thoughts came from.
    """
    told: list[ModelMessage] = []
    for results, run in groupby(history, lambda message: isinstance(message, ToolMessage)):
        if results:
            parts: list[ModelRequestPart] = [
                _returned(m) for m in run if isinstance(m, ToolMessage)
            ]
            told.append(ModelRequest(parts=parts, instructions=INSTRUCTION))
            continue
        for message in run:
            if isinstance(message, UserMessage):
                content = [content_of(part) for part in message.parts]
                only = content[0] if len(content) == 1 and isinstance(content[0], str) else content
                told.append(
                    ModelRequest(parts=[UserPromptPart(content=only)], instructions=INSTRUCTION)
                )
            elif isinstance(message, ExpertMessage):
                told.append(_response(message, url, system, thinking_id))
    return told


def _returned(message: ToolMessage) -> ToolReturnPart:
    content = [content_of(part) for part in message.parts]
    return ToolReturnPart(
        tool_name=message.tool,
        content=content[0] if len(content) == 1 else content,
        tool_call_id=message.call,
        outcome="failed" if message.is_error else "success",
    )


def content_of(part: Text | Image | File) -> str | BinaryContent:
    """One part of a message as pydantic-ai keeps it."""
    if isinstance(part, Text):
        return part.text
    return BinaryContent(data=base64.b64decode(part.data), media_type=part.mime_type)


def _response(
    message: ExpertMessage, url: str, system: str, thinking_id: str | None
) -> ModelResponse:
    provider, _, model = message.model.partition("/")
    own = provider == system

    def signed(signature: str) -> dict[str, Any] | None:
        return {"thought_signature": signature} if provider == "google" and signature else None

    parts: list[ModelResponsePart] = [
        ThinkingPart(
            content=thought.text,
            id=thinking_id or thought.id,
            signature=thought.signature or None,
            provider_name=provider,
        )
        for thought in message.thoughts
        if own  # thoughts of others: pydantic-ai puts them into the text, in tags; we leave them out
    ]
    item = provider == "openai"
    parts += [
        TextPart(
            content=text.text,
            id=text.signature if item and text.signature else None,
            provider_name=provider,
            provider_details=signed(text.signature),
        )
        for text in message.texts
    ]
    parts += [
        ToolCallPart(
            tool_name=call.tool,
            args=call.args,
            tool_call_id=call.id,
            id=call.signature if item and call.signature else None,
            provider_name=provider,
            provider_details=signed(call.signature),
        )
        for call in message.calls
    ]
    return ModelResponse(
        parts=parts,
        provider_name=provider,
        provider_url=url if own else None,
        model_name=model,
    )


def offered(tools: Iterable[ToolSpec]) -> ModelRequestParameters:
    """`tools` as pydantic-ai is told of them."""
    return ModelRequestParameters(
        function_tools=[
            ToolDefinition(
                name=tool.name,
                description=tool.description,
                parameters_json_schema=tool.schema,
                strict=False,
            )
            for tool in tools
        ]
    )


async def ask(
    model: Model,
    messages: list[ModelMessage],
    settings: Mapping[str, Any],
    tools: Iterable[ToolSpec],
) -> None:
    """Let the oracle send its request; the server refuses it."""
    try:
        async with model.request_stream(
            messages, ModelSettings(**settings), offered(tools)
        ) as stream:
            async for _ in stream:
                pass
    except ModelHTTPError:
        return
    raise AssertionError("the oracle was not refused")


def request(
    model: str, history: Iterable[Message], tools: tuple[ToolSpec, ...], reasoning: Any
) -> Request:
    return Request(
        model=model,
        instruction=INSTRUCTION,
        history=History(history),
        tools=tools,
        reasoning=reasoning,
    )


def same(value: Any) -> Any:
    """`value` with the arguments of calls read, so that spaces in them do not count."""
    if isinstance(value, list):
        return [same(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return {
        key: json.loads(item) if key == "arguments" and isinstance(item, str) else same(item)
        for key, item in cast("dict[str, Any]", value).items()
    }


def compare(
    grid: Grid,
    case: str,
    oracle: dict[str, Any],
    ours: dict[str, Any],
    differences: Iterable[Difference],
) -> None:
    """Note in `grid` what differs without a reason, and which reasons were needed."""
    for difference in differences:
        before = copy.deepcopy(oracle)
        difference.change(oracle)
        if oracle != before:
            grid.met.add(difference.reason)
    grid.cases += 1
    if same(oracle) != same(ours):
        grid.wrong[case] = (same(oracle), same(ours))
