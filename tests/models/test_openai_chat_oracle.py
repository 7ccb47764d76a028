"""Our Chat Completions requests held against pydantic-ai's, at OpenAI-like gateways, DeepSeek and Ollama."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from openai import AsyncOpenAI
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.deepseek import DeepSeekProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider

from perstack.models.catalog import traits_of
from perstack.models.wires.openai_chat import CHAT
from perstack.models.wires.wire import Pieces

from .oracle_capture import capturing
from .oracle_history import (
    TOOLS,
    Difference,
    Grid,
    ask,
    compare,
    histories,
    request,
    spread,
    theirs,
)

LEVELS = ("none", "minimal", "low", "medium", "high")
COMPARED: tuple[tuple[Any, str], ...] = (
    ("openai", "gpt-5.6-terra"),
    ("openai", "gpt-4.1"),
    ("deepseek", "deepseek-flash"),
    ("deepseek", "deepseek-v4-pro"),
    ("ollama", "gpt-oss:20b"),
    ("ollama", "qwen3:8b"),
    ("ollama", "gemma3:4b"),
)
FIELDS = {"deepseek": "reasoning_content", "ollama": "reasoning"}


def _choice(body: dict[str, Any]) -> None:
    if body.get("tool_choice") == "auto":
        del body["tool_choice"]


def _switch(body: dict[str, Any]) -> None:
    if not body["model"].startswith("deepseek"):
        return
    effort = body.pop("reasoning_effort", None)
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif effort:
        body["thinking"] = {"type": "enabled"}
        body["reasoning_effort"] = {"minimal": "low", "medium": "high"}.get(effort, effort)


def _always_the_field(body: dict[str, Any]) -> None:
    for message in body["messages"]:
        if body["model"].startswith("deepseek") and message.get("tool_calls"):
            message.setdefault("reasoning_content", "")


def _own_thoughts(body: dict[str, Any]) -> None:
    for message in body["messages"]:
        if body["model"].startswith("gpt-") and ":" not in body["model"]:
            message.pop("reasoning_content", None)
        if body["model"].startswith("gemma3"):
            message.pop("reasoning", None)


def _pdf(body: dict[str, Any]) -> None:
    for message in body["messages"]:
        if isinstance(message["content"], list):
            for place, part in enumerate(message["content"]):
                if part["type"] == "file":
                    note = "[application/pdf: cannot be shown to this model]"
                    message["content"][place] = {"type": "text", "text": note}


def _error(body: dict[str, Any]) -> None:
    for message in body["messages"]:
        if message["content"] == '{"error":"no such file"}':
            message["content"] = "Error: no such file"


def _shown(body: dict[str, Any]) -> None:
    for message in body["messages"]:
        if message["role"] == "tool" and "See file" in message["content"]:
            message["content"] = "alpha\n[1 image(s), shown in the next message]"
        if isinstance(message["content"], list) and "tool_result" in str(message["content"][0]):
            image = message["content"][1]
            caption = {"type": "text", "text": "Shown by read_file (call call_a):"}
            message["content"] = [caption, image]


DIFFERENCES = (
    Difference("auto is what a request without tool_choice gets", _choice),
    Difference(
        "DeepSeek documents `thinking` as its switch, and low, high and max as efforts", _switch
    ),
    Difference(
        "DeepSeek refuses calls without the field; ours go out the same whether this request thinks or not",
        _always_the_field,
    ),
    Difference("thoughts go back only where the API asks for them", _own_thoughts),
    Difference("these APIs take no files; a note says there was one", _pdf),
    Difference("a failed call says so in words, not in JSON", _error),
    Difference("what a tool showed is announced in other words", _shown),
)


def _provider(name: str, client: AsyncOpenAI) -> Any:
    kinds: dict[str, Any] = {
        "openai": OpenAIProvider,
        "deepseek": DeepSeekProvider,
        "ollama": OllamaProvider,
    }
    return kinds[name](openai_client=client)


async def _grid() -> Grid:
    grid = Grid()
    with capturing() as captured:
        async with AsyncOpenAI(base_url=f"{captured.url}/v1", api_key="k", max_retries=0) as client:
            for provider, name in COMPARED:
                model = OpenAIChatModel(name, provider=_provider(provider, client))
                row = traits_of(provider, name)
                talks = histories(f"{provider}/{name}")
                for level in LEVELS:
                    settings: dict[str, Any] = {}
                    if provider == "ollama" and row.reasoning == "effort":
                        # pydantic-ai does not know which of Ollama's models think; the word is ours.
                        known = level if level in row.efforts else "low"
                        settings["openai_reasoning_effort"] = known
                    elif provider != "ollama":
                        settings["thinking"] = False if level == "none" else level
                    for label, talk, tools in spread(talks):
                        said = theirs(
                            talk,
                            str(client.base_url),
                            system=provider,
                            thinking_id=FIELDS.get(provider, "reasoning_content"),
                        )
                        await ask(model, said, settings, tools)
                        ours = CHAT.encode(request(name, talk, tools, level), row, Pieces())
                        case = f"{name} · {level} · {len(tools)} tools · {label}"
                        compare(grid, case, captured.bodies[-1], json.loads(ours), DIFFERENCES)
    return grid


@pytest.fixture(scope="module")
def grid() -> Grid:
    return anyio.run(_grid)


def test_every_request_is_the_oracles_but_for_the_listed_differences(grid: Grid):
    assert dict(list(grid.wrong.items())[:2]) == {}
    assert grid.cases == len(COMPARED) * len(LEVELS) * len(list(spread(histories(""))))


def test_every_listed_difference_is_still_one(grid: Grid):
    assert grid.met == {difference.reason for difference in DIFFERENCES}


@pytest.mark.parametrize("author", ["openai/gpt-5.6-terra", "ollama/gpt-oss:20b"])
def test_the_sdks_own_types_accept_our_requests(author: str):
    accept = TypeAdapter(completion_create_params.CompletionCreateParamsStreaming).validate_python
    provider: Any
    provider, _, name = author.partition("/")
    for talk in histories(author).values():
        body = CHAT.encode(request(name, talk, TOOLS, "high"), traits_of(provider, name), Pieces())
        accept(json.loads(body))
