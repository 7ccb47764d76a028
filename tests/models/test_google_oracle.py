"""Our Gemini requests held against pydantic-ai's, over models, thinking, tools and conversations."""

from __future__ import annotations

import json
from typing import Any, cast

import anyio
import httpx2
import pytest
from google.genai import types
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.profiles.google import GoogleJsonSchemaTransformer
from pydantic_ai.providers.google import GoogleProvider

from perstack.models.known.google import MODELS
from perstack.models.wires.google import GEMINI, plain_schema
from perstack.models.wires.wire import Pieces, Traits

from .oracle_capture import Captured, capturing
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
COMPARED = (
    "gemini-4-argon",
    "gemini-3.8-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
)
BUDGETS = {128: 1024, 2048: 2048, 8192: 5000, 24576: 10000}


def _spelling(body: dict[str, Any]) -> None:
    renamed = _camel(body)
    body.clear()
    body.update(renamed)


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return [_camel(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    return {
        # What is inside arguments and results is the tools' own.
        _camel_word(key): item if key in ("args", "response") else _camel(item)
        for key, item in fields.items()
    }


def _camel_word(word: str) -> str:
    first, *rest = word.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _role(body: dict[str, Any]) -> None:
    body["systemInstruction"].pop("role", None)


def _modalities(body: dict[str, Any]) -> None:
    config = body.get("generationConfig", {})
    if config.get("responseModalities") == ["TEXT"]:
        del config["responseModalities"]
    if config == {}:
        body.pop("generationConfig", None)


def _mode(body: dict[str, Any]) -> None:
    if body.get("toolConfig") == {"functionCallingConfig": {"mode": "AUTO"}}:
        del body["toolConfig"]


def _output(body: dict[str, Any]) -> None:
    for part in _parts(body):
        response = part.get("functionResponse", {}).get("response", {})
        if "return_value" in response:
            response["output"] = response.pop("return_value")


def _budget(body: dict[str, Any]) -> None:
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    if thinking.get("includeThoughts") and thinking.get("thinkingBudget") in BUDGETS:
        thinking["thinkingBudget"] = BUDGETS[thinking["thinkingBudget"]]


def _shown(body: dict[str, Any]) -> None:
    contents = body["contents"]
    for place, content in enumerate(contents):
        if "tool_result" not in str(content["parts"][0].get("text", "")):
            continue
        content["parts"] = [{"text": "Shown by read_file (call call_a):"}, content["parts"][1]]
        for part in contents[place - 1]["parts"]:
            response = part["functionResponse"]
            if isinstance(response["response"].get("output"), list):
                said = "alpha\n[1 file(s), shown in the next message]"
                response["response"] = {"output": said}


def _parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for content in body["contents"] for part in content["parts"]]


DIFFERENCES = (
    Difference("the SDK writes some names with an underscore; Google takes both", _spelling),
    Difference("an instruction has no role", _role),
    Difference("text is what these models answer with anyway", _modalities),
    Difference("AUTO is what a request without a mode gets", _mode),
    Difference("Google documents `output` for what a function gave", _output),
    Difference("our budgets are the tokens of reasoningBudget's levels", _budget),
    Difference("what a tool showed is announced in other words", _shown),
)


async def _grid() -> Grid:
    grid = Grid()
    with capturing() as captured:
        async with httpx2.AsyncClient(timeout=30) as http:
            provider = GoogleProvider(api_key="k", base_url=captured.url, http_client=http)
            for row in (row for row in MODELS if row.model in COMPARED):
                await _compare_all(grid, captured, provider, row)
            provider.client.close()
    return grid


async def _compare_all(
    grid: Grid, captured: Captured, provider: GoogleProvider, row: Traits
) -> None:
    model = GoogleModel(row.model, provider=provider)
    for level in LEVELS:
        settings = {"thinking": False if level == "none" else level}
        for label, talk, tools in spread(histories(f"google/{row.model}")):
            await ask(model, theirs(talk, provider.base_url, system="google"), settings, tools)
            ours = GEMINI.encode(request(row.model, talk, tools, level), row, Pieces())
            case = f"{row.model} · {level} · {len(tools)} tools · {label}"
            compare(grid, case, captured.bodies[-1], json.loads(ours), DIFFERENCES)


@pytest.fixture(scope="module")
def grid() -> Grid:
    return anyio.run(_grid)


def test_every_request_is_the_oracles_but_for_the_listed_differences(grid: Grid):
    assert dict(list(grid.wrong.items())[:2]) == {}
    assert grid.cases == len(COMPARED) * len(LEVELS) * len(list(spread(histories(""))))


def test_every_listed_difference_is_still_one(grid: Grid):
    assert grid.met == {difference.reason for difference in DIFFERENCES}


def test_the_sdks_own_types_accept_our_requests():
    for row in MODELS:
        for talk in histories(f"google/{row.model}").values():
            body = json.loads(GEMINI.encode(request(row.model, talk, TOOLS, "high"), row, Pieces()))
            for content in body["contents"]:
                types.Content.model_validate(content)
            types.Content.model_validate(body["systemInstruction"])
            for tool in body["tools"]:
                types.Tool.model_validate(tool)
            types.GenerationConfig.model_validate(body.get("generationConfig", {}))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"title": {"type": "string", "title": "T"}}},
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "kind": {"const": "a"},
                "when": {"type": "string", "format": "date-time", "description": "The day"},
                "count": {"type": "integer", "exclusiveMinimum": 0, "examples": [1]},
                "on": {"const": True},
                "url": {"type": "string", "format": "uri"},
            },
            "required": ["kind"],
        },
    ],
)
def test_a_tools_schema_is_said_in_words_gemini_knows(schema: dict[str, Any]):
    expected = GoogleJsonSchemaTransformer(json.loads(json.dumps(schema)), strict=False).walk()
    assert plain_schema(schema) == expected
