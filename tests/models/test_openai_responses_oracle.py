"""Our Responses requests held against pydantic-ai's, over models, thinking, tools and conversations.

A difference that is not listed here means that the world moved, or that we did.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import anyio
import pytest
from openai import AsyncOpenAI
from openai.types.responses import response_create_params
from pydantic import TypeAdapter
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from perstack.models.known.openai import DEFAULT, MODELS
from perstack.models.wires.openai_responses import RESPONSES
from perstack.models.wires.wire import Pieces, Traits

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
COMPARED = (
    "gpt-6.1-sol",
    "gpt-6.1-terra",
    "gpt-5.6-luna",
    "gpt-5.4",
    "gpt-5.2-pro",
    "gpt-5.1",
    "gpt-5",
    "o3",
    "gpt-4.1",
)


def _choice(body: dict[str, Any]) -> None:
    if body.get("tool_choice") == "auto":
        del body["tool_choice"]


def _context(body: dict[str, Any]) -> None:
    reasoning = body.get("reasoning", {})
    reasoning.pop("context", None)
    if reasoning == {}:
        body.pop("reasoning", None)


def _minimal(body: dict[str, Any]) -> None:
    if (
        body["model"] in ("gpt-5.1", "gpt-5.4")
        and body.get("reasoning", {}).get("effort") == "minimal"
    ):
        body["reasoning"]["effort"] = "low"


def _error(body: dict[str, Any]) -> None:
    for item in body["input"]:
        if item.get("output") == '{"error":"no such file"}':
            item["output"] = "Error: no such file"


def _filename(body: dict[str, Any]) -> None:
    for item in body["input"]:
        for part in item.get("content", ()) if isinstance(item.get("content"), list) else ():
            if part.get("filename") == "filename.pdf":
                part["filename"] = "file.pdf"


def _tags(body: dict[str, Any]) -> None:
    body["input"] = [
        item for item in body["input"] if not str(item.get("content", "")).startswith("<think>")
    ]


DIFFERENCES = (
    Difference("thoughts a model cannot take back are left out, not told as text", _tags),
    Difference("auto is what a request without tool_choice gets", _choice),
    Difference("which turns' thoughts are read is left to OpenAI's default", _context),
    Difference("OpenAI documents no minimal for these models; low comes next", _minimal),
    Difference("a failed call says so in words, not in JSON", _error),
    Difference("any file name does", _filename),
)


async def _grid() -> Grid:
    grid = Grid()
    rows = {row.model: row for row in MODELS}
    with capturing() as captured:
        async with AsyncOpenAI(base_url=f"{captured.url}/v1", api_key="k", max_retries=0) as client:
            provider = OpenAIProvider(openai_client=client)
            for name in COMPARED:
                model, row = OpenAIResponsesModel(name, provider=provider), rows[name]
                talks = histories(f"openai/{name}")
                for level in LEVELS:
                    settings: dict[str, Any] = {"openai_store": False}
                    if level != "none":
                        settings["thinking"] = level
                        if row.reasoning == "effort":
                            settings["openai_reasoning_summary"] = "auto"
                    else:
                        settings["thinking"] = False
                    for label, talk, tools in spread(talks):
                        said = theirs(talk, str(client.base_url), system="openai")
                        await ask(model, said, settings, tools)
                        ours = RESPONSES.encode(request(name, talk, tools, level), row, Pieces())
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


def test_the_sdks_own_types_accept_our_requests():
    accept = TypeAdapter(response_create_params.ResponseCreateParamsStreaming).validate_python
    for row in MODELS:
        for talk in histories(f"openai/{row.model}").values():
            body = RESPONSES.encode(request(row.model, talk, TOOLS, "high"), row, Pieces())
            accept(json.loads(body))


def test_the_default_model_is_alive():
    row = next(row for row in MODELS if row.model == DEFAULT)
    assert row.ends is None or row.ends > date(2027, 11, 1)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.model)
def test_a_model_is_told_not_to_think_or_as_little_as_it_can(row: Traits):
    talk = histories("openai/x")["question"]
    body = json.loads(RESPONSES.encode(request(row.model, talk, (), "none"), row, Pieces()))
    least = row.efforts[0] if row.always_thinks else "none"
    assert body.get("reasoning") == ({"effort": least} if row.reasoning == "effort" else None)
