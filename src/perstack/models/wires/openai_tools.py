"""OpenAI's own tools in Responses: how they are asked for, and what their items say to people."""

from __future__ import annotations

from perstack.job import Json, ProviderPart

from ..model import ProviderTools
from .loose import obj, objs, text
from .telling import in_short, told

PROVIDED = frozenset(
    ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
)
"""The types of items that OpenAI's own tools leave."""

_SHOWN = {
    # What an item leaves out unless it is asked for, and what the next request would have to do without.
    "webSearch": "web_search_call.action.sources",
    "fileSearch": "file_search_call.results",
    "codeInterpreter": "code_interpreter_call.outputs",
}


def tools_of(provided: ProviderTools) -> list[dict[str, Json]]:
    """The members of `tools` for the provider's own."""
    return [_tool(name, provided.of(name)) for name in dict.fromkeys(provided.names)]


def _tool(name: str, options: dict[str, Json]) -> dict[str, Json]:
    match name:
        case "webSearch":
            domains = options.get("allowedDomains")
            filters = {"filters": {"allowed_domains": domains}} if domains else {}
            return {"type": "web_search", **filters}
        case "fileSearch":
            most = options.get("maxNumResults")
            stores: dict[str, Json] = {"vector_store_ids": options.get("vectorStoreIds")}
            return {"type": "file_search"} | stores | ({"max_num_results": most} if most else {})
        case "codeInterpreter":
            return {"type": "code_interpreter", "container": {"type": "auto"}}
        case "imageGeneration":
            return {"type": "image_generation"}
        case _:
            raise AssertionError(f"{name} was not refused")  # `provider_faults` does


def included(provided: ProviderTools) -> list[str]:
    """The members of `include` that keep what the tools did whole."""
    return [_SHOWN[name] for name in dict.fromkeys(provided.names) if name in _SHOWN]


def part_of(item: dict[str, Json]) -> ProviderPart:
    """One item of a tool of the provider's."""
    kind = text(item.get("type"))
    asked, gave = _told(kind, item)
    return ProviderPart(
        data=item,
        tool=kind.removesuffix("_call"),
        asked=asked,
        gave=in_short(gave),
        failed=item.get("status") in ("failed", "incomplete"),
    )


def _told(kind: str, item: dict[str, Json]) -> tuple[str, str]:
    match kind:
        case "web_search_call":
            action = obj(item.get("action"))
            return told(action), "\n".join(
                text(row.get("url")) for row in objs(action.get("sources"))
            )
        case "file_search_call":
            found = (text(row.get("filename")) for row in objs(item.get("results")))
            queries = obj({"queries": item.get("queries")})
            return told(queries), "\n".join(found)
        case "code_interpreter_call":
            outputs = objs(item.get("outputs"))
            said = (text(row.get("logs")) or text(row.get("url")) for row in outputs)
            return told({"code": item.get("code")}), "\n".join(said)
        case _:
            size = len(text(item.get("result"))) * 3 // 4
            return text(item.get("revised_prompt")), f"an image of {size} bytes" if size else ""
