"""Gemini's own tools: how they are asked for, and what their parts say to people.

Beside functions of ours they need Gemini 3 or later, and a request that asks for what they did to be shown. What
was shown must come back, so such parts are kept as they came.
"""

from __future__ import annotations

import re

from perstack.job import Json, ProviderPart

from ..model import ProviderTools
from .loose import obj, objs, text
from .telling import in_short, told

_TOO_OLD = re.compile(r"(?:.*/)?gemini-[12](?:\.|-|$)")

PROVIDED = ("toolCall", "toolResponse", "executableCode", "codeExecutionResult", "inlineData")
"""The members that make a part one of the provider's own tools."""

_ASKED_BY = {"toolResponse": "toolCall", "codeExecutionResult": "executableCode"}

_SIMPLE = {
    "googleSearch": "googleSearch",
    "codeExecution": "codeExecution",
    "urlContext": "urlContext",
    "googleMaps": "googleMaps",
}


def takes_own_tools(model: str) -> bool:
    """Whether a model uses Google's tools beside functions."""
    return not _TOO_OLD.match(model)


def tools_of(provided: ProviderTools) -> list[dict[str, Json]]:
    """The members of `tools` for the provider's own."""
    return [_tool(name, provided.of(name)) for name in dict.fromkeys(provided.names)]


def _tool(name: str, options: dict[str, Json]) -> dict[str, Json]:
    if name != "fileSearch":
        return {_SIMPLE[name]: {}}  # others were refused: `provider_faults`
    most = options.get("maxNumResults")
    stores: dict[str, Json] = {"fileSearchStoreNames": options.get("vectorStoreIds")}
    return {"fileSearch": stores | ({"topK": most} if most else {})}


def part_of(part: dict[str, Json]) -> ProviderPart | None:
    """A part of one of the provider's tools, None if it is another."""
    member = next((name for name in PROVIDED if name in part), None)
    if member is None:
        return None
    value = obj(part[member])
    match member:
        case "executableCode":
            return ProviderPart(data=part, tool="code_execution", asked=told(value))
        case "codeExecutionResult":
            failed = value.get("outcome") not in ("OUTCOME_OK", None)
            gave = in_short(text(value.get("output")))
            return ProviderPart(data=part, tool="code_execution", gave=gave, failed=failed)
        case "inlineData":
            size = len(text(value.get("data"))) * 3 // 4
            return ProviderPart(
                data=part, tool="file", gave=f"{text(value.get('mimeType'))}, {size} bytes"
            )
        case "toolCall":
            asked = told(obj(value.get("args")))
            return ProviderPart(data=part, tool=_named(value), asked=asked)
        case _:
            return ProviderPart(
                data=part, tool=_named(value), gave=told(obj(value.get("response")))
            )


def answers(part: ProviderPart, earlier: ProviderPart) -> bool:
    """Whether `part` is what came of `earlier`."""
    for result, call in _ASKED_BY.items():
        if result in part.data and call in earlier.data:
            return obj(part.data[result]).get("id") == obj(earlier.data[call]).get("id")
    return False


def _named(value: dict[str, Json]) -> str:
    return text(value.get("toolType")).lower() or "tool"


def sources_of(candidate: dict[str, Json]) -> tuple[dict[str, Json], ...]:
    """The sources that an answer is grounded in: title and address each."""
    chunks = objs(obj(candidate.get("groundingMetadata")).get("groundingChunks"))
    kinds = (
        obj(chunk.get(kind)) for chunk in chunks for kind in ("web", "maps", "retrievedContext")
    )
    return tuple(
        {"url": text(kind.get("uri")), "title": text(kind.get("title"))}
        for kind in kinds
        if kind.get("uri")
    )
